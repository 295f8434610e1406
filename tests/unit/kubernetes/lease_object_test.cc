#include "controller/kubernetes/lease_object.h"

#include <gtest/gtest.h>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "controller/kubernetes/json.h"
#include "nlohmann/json.hpp"

namespace failover::kubernetes {
namespace {

constexpr char kLease[] =
    R"({"apiVersion":"coordination.k8s.io/v1","kind":"Lease","metadata":{"name":"l","namespace":"dr",
  "uid":"u-1","resourceVersion":"17","labels":{"team":"edge"},"ownerReferences":[{"name":"d"}]},
  "spec":{"holderIdentity":"a_1","leaseDurationSeconds":15,"acquireTime":"2026-11-23T10:01:01.455033Z",
  "renewTime":"2026-11-23T12:01:03.000007+02:00","leaseTransitions":3,"strategy":"OldestEmulationVersion","later":{"x":1}}})";

TEST(LeaseObjectTest, TimesAreWrittenInUtcWithExactlySixDigits) {
  EXPECT_EQ(MicroTime(absl::FromUnixMicros(1'763'892'061'455'033)), "2025-11-23T10:01:01.455033Z");
  EXPECT_EQ(MicroTime(absl::FromUnixSeconds(1'763'892'061)), "2025-11-23T10:01:01.000000Z");
}

TEST(LeaseObjectTest, ALeaseIsReadWithMicroseconds) {
  const absl::StatusOr<LeaseObject> lease = ParseLease(kLease);
  ASSERT_TRUE(lease.ok()) << lease.status();
  EXPECT_EQ(lease->uid, "u-1");
  EXPECT_EQ(lease->resource_version, "17");
  EXPECT_EQ(lease->record.holder, "a_1");
  EXPECT_EQ(lease->record.duration_seconds, 15);
  EXPECT_EQ(lease->record.transitions, 3);
  EXPECT_EQ(MicroTime(lease->record.acquired), "2026-11-23T10:01:01.455033Z");
  EXPECT_EQ(MicroTime(lease->record.renewed), "2026-11-23T10:01:03.000007Z");
}

TEST(LeaseObjectTest, ALeaseThatNobodyHeldYetIsRead) {
  const absl::StatusOr<LeaseObject> lease = ParseLease(
      R"({"kind":"Lease","metadata":{"uid":"u","resourceVersion":"1"},"spec":{"holderIdentity":null}})");
  ASSERT_TRUE(lease.ok()) << lease.status();
  EXPECT_EQ(lease->record.holder, "");
  EXPECT_EQ(lease->record.renewed, absl::InfinitePast());
  EXPECT_TRUE(ParseLease(R"({"kind":"Lease","metadata":{"uid":"u","resourceVersion":"1"}})").ok());
}

TEST(LeaseObjectTest, WhatIsNoLeaseIsRefused) {
  const std::pair<const char*, const char*> cases[] = {
      {"\"kind\":\"Lease\"", "\"kind\":\"Status\""},
      {"\"uid\":\"u-1\"", "\"uid\":\"\""},
      {"\"resourceVersion\":\"17\"", "\"resourceVersion\":17"},
      {"\"holderIdentity\":\"a_1\"", "\"holderIdentity\":7"},
      {"\"leaseDurationSeconds\":15", "\"leaseDurationSeconds\":\"15\""},
      {"\"leaseDurationSeconds\":15", "\"leaseDurationSeconds\":99999999999"},
      {"\"leaseTransitions\":3", "\"leaseTransitions\":1.5"},
      {"\"2026-11-23T10:01:01.455033Z\"", "\"yesterday\""},
      {"\"2026-11-23T10:01:01.455033Z\"", "\"infinite-past\""}};
  for (const auto& [from, to] : cases) {
    const std::string body = absl::StrReplaceAll(kLease, {{from, to}});
    ASSERT_NE(body, kLease) << from;
    EXPECT_TRUE(absl::IsInvalidArgument(ParseLease(body).status())) << to;
  }
  EXPECT_FALSE(ParseLease("").ok());
  EXPECT_FALSE(ParseLease("[1]").ok());
  EXPECT_FALSE(ParseLease(absl::string_view(kLease).substr(0, 100)).ok());
}

TEST(LeaseObjectTest, AWriteKeepsEverythingThatIsNotOurs) {
  const LeaseObject base = ParseLease(kLease).value();
  LeaseRecord record = base.record;
  record.holder = "b_2";
  record.transitions = 4;
  const Json before = ParseObject(kLease).value(),
             after = ParseObject(UpdatedLeaseBody(base, record).value()).value();
  EXPECT_EQ(after["metadata"], before["metadata"]);
  EXPECT_EQ(after["spec"]["strategy"], "OldestEmulationVersion");
  EXPECT_EQ(after["spec"]["later"], before["spec"]["later"]);
  EXPECT_EQ(after["spec"]["holderIdentity"], "b_2");
  EXPECT_EQ(after["spec"]["leaseTransitions"], 4);
  EXPECT_EQ(after["spec"]["renewTime"], "2026-11-23T10:01:03.000007Z");
}

TEST(LeaseObjectTest, AMarkOfThePreferredHolderIsReadAndGoesWithATakeover) {
  const std::string marked =
      absl::StrReplaceAll(kLease, {{"\"later\"", "\"preferredHolder\":\"c\",\"later\""}});
  const LeaseObject base = ParseLease(marked).value();
  EXPECT_EQ(base.record.preferred_holder, "c");
  LeaseRecord record;
  record.acquired = record.renewed = absl::UnixEpoch();
  EXPECT_FALSE(absl::StrContains(UpdatedLeaseBody(base, record).value(), "preferredHolder"));
}

TEST(LeaseObjectTest, ANewLeaseHasItsNameAndTheFiveFields) {
  LeaseRecord record;
  record.holder = "a_1";
  record.duration_seconds = 15;
  record.acquired = record.renewed = absl::FromUnixMicros(1'763'892'061'455'033);
  const Json body = ParseObject(NewLeaseBody("dr", "l", record)).value();
  EXPECT_EQ(body["metadata"]["name"], "l");
  EXPECT_EQ(body["metadata"]["namespace"], "dr");
  EXPECT_EQ(body["spec"],
            Json::parse(R"({"holderIdentity":"a_1","leaseDurationSeconds":15,"leaseTransitions":0,
      "acquireTime":"2025-11-23T10:01:01.455033Z","renewTime":"2025-11-23T10:01:01.455033Z"})"));
}

TEST(KubernetesJsonTest, ObjectsOfTooManyLevelsAreRefused) {
  const auto nested = [](int levels) {
    return absl::StrCat("{\"a\":", std::string(levels, '['), std::string(levels, ']'), "}");
  };
  EXPECT_TRUE(ParseObject(nested(20)).ok());
  EXPECT_FALSE(ParseObject(nested(40)).ok());
  EXPECT_FALSE(ParseObject(nested(100'000)).ok());
}

TEST(KubernetesJsonTest, WhatIsMissingIsNullAndNoText) {
  const Json object = ParseObject(R"({"a":{"b":"c","n":1},"l":[{"b":"x"}]})").value();
  EXPECT_EQ(FindText(object, {"a", "b"}), "c");
  EXPECT_EQ(FindText(object, {"a", "n"}), "");
  EXPECT_EQ(FindText(object, {"a", "b", "c"}), "");
  EXPECT_EQ(FindText(object, {"l", "b"}), "");
  EXPECT_TRUE(Find(object, {"z"}).is_null());
}

}  // namespace
}  // namespace failover::kubernetes
