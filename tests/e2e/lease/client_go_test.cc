// Our elector and the one of client-go compete for one Lease (kubernetes.md §3.7): whoever leads is
// killed, frozen or asked to leave, in both directions.
#include <algorithm>
#include <memory>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "re2/re2.h"
#include "tests/e2e/lease/harness.h"

namespace failover::e2e {
namespace {

using nlohmann::json;

constexpr char kLease[] = "apim-failover";  // the one that the chart's Role names

class ClientGo : public testing::TestWithParam<ServerKind> {
 protected:
  void SetUp() override {
    if (GetParam() == ServerKind::kReal && RealServerOfTests() == nullptr)
      GTEST_SKIP() << kNoRealServer;
    if (const std::string why = Elector::OriginalIsMissing(); !why.empty()) GTEST_SKIP() << why;
  }
  void TearDown() override {
    for (const auto& a : electors_) {
      for (const auto& b : electors_) {
        if (a != b) ExpectApart(*a, *b);
      }
    }
  }

  Elector& Start(Elector::Kind kind) {
    const std::string name = kind == Elector::kOurs ? "ours-" : "original-";
    electors_.push_back(
        std::make_unique<Elector>(kind, server_, absl::StrCat(name, electors_.size()), kLease));
    return *electors_.back();
  }
  // One that leads, and one of the other kind that knows it.
  std::pair<Elector&, Elector&> Pair(Elector::Kind leader) {
    Elector& leads = Start(leader);
    EXPECT_TRUE(leads.Says("act", 1, kTry * 3)) << leads.Log();
    Elector& follows = Start(leader == Elector::kOurs ? Elector::kOriginal : Elector::kOurs);
    EXPECT_TRUE(follows.Says("leader", 1, kTry * 3, leads.identity())) << follows.Log();
    EXPECT_TRUE(Renews(leads, 2)) << leads.Log();
    return {leads, follows};
  }
  int Writes(const Elector& elector, size_t after = 0) const {
    int writes = 0;
    const std::vector<KubernetesStub::Seen> seen = server_.Requests();
    for (size_t i = after; i < seen.size(); ++i)
      writes += seen[i].token == elector.identity() && seen[i].method != "GET";
    return writes;
  }
  bool Renews(const Elector& elector, int times) const {
    const int before = Writes(elector);
    return Eventually(kTry * 2, [&] { return Writes(elector) >= before + times; });
  }
  std::string Spec(const std::string& field) const {
    return server_.Field(absl::StrCat(kLeases, "/", kLease), "/spec/" + field);
  }
  void ExpectApart(const Elector& a, const Elector& b) {
    for (const Interval& one : a.Terms()) {
      for (const Interval& other : b.Terms()) {
        EXPECT_TRUE(one.until <= other.from || other.until <= one.from)
            << a.identity() << " led from " << one.from << " to " << one.until << ", "
            << b.identity() << " from " << other.from << " to " << other.until;
      }
    }
  }

  KubernetesStub server_{ServerOf(GetParam())};
  std::vector<std::unique_ptr<Elector>> electors_;
};

class BothWays : public ClientGo {
 protected:
  void Release(Elector::Kind leader) {
    auto [leads, follows] = Pair(leader);
    const absl::Duration begun = Boottime();
    leads.Release();
    ASSERT_TRUE(follows.Says("act", 1, kTry)) << follows.Log();
    EXPECT_LT(follows.When("started") - begun, kTry) << "the Lease did not have to run out";
    EXPECT_EQ(Spec("holderIdentity"), follows.identity());
    EXPECT_EQ(Spec("leaseTransitions"), "1");
    EXPECT_EQ(Spec("leaseDurationSeconds"), "5");
    EXPECT_TRUE(Renews(follows, 2));
  }
  void Kill(Elector::Kind leader) {
    auto [leads, follows] = Pair(leader);
    const absl::Duration killed = Boottime();
    leads.Kill();
    ASSERT_TRUE(follows.Says("act", 1, kDuration + 2 * kTry)) << follows.Log();
    const absl::Duration took = follows.When("started") - killed;
    EXPECT_GT(took, kDuration - absl::Seconds(1.5)) << "a Lease that nobody gave back runs out";
    EXPECT_LT(took, kDuration + kTry);
    EXPECT_EQ(Spec("leaseTransitions"), "1");
    // And one of the killed one's kind follows the new one.
    Elector& again = Start(leader);
    EXPECT_TRUE(again.Says("leader", 1, kTry, follows.identity())) << again.Log();
    EXPECT_TRUE(Renews(follows, 3));
    EXPECT_EQ(follows.Said("ended"), 0);
    EXPECT_EQ(again.Said("started"), 0);
  }
};

TEST_P(BothWays, WhatOursGivesBackTheOriginalTakesAtItsNextTurn) { Release(Elector::kOurs); }
TEST_P(BothWays, WhatTheOriginalGivesBackOursTakesAtItsNextTurn) { Release(Elector::kOriginal); }
TEST_P(BothWays, TheOriginalReplacesOursThatWasKilledAfterItsLease) { Kill(Elector::kOurs); }
TEST_P(BothWays, OursReplacesTheOriginalThatWasKilledAfterItsLease) { Kill(Elector::kOriginal); }

TEST_P(ClientGo, OursThatWasFrozenWakesAsAFollowerAndWritesNothing) {
  auto [ours, original] = Pair(Elector::kOurs);
  ours.Freeze();
  const int acts = ours.Said("act");
  ASSERT_TRUE(original.Says("act", 1, kDuration + 2 * kTry)) << original.Log();
  const size_t before = server_.Requests().size();
  ours.Thaw();
  EXPECT_TRUE(ours.Says("ended", 1, kTry)) << ours.Log();
  EXPECT_TRUE(ours.Says("leader", 1, kTry, original.identity())) << ours.Log();
  EXPECT_TRUE(Renews(original, 4));
  EXPECT_EQ(Writes(ours, before), 0) << "not even one that would be refused";
  EXPECT_EQ(ours.Said("act"), acts) << "not one effect after it woke";
  EXPECT_EQ(original.Said("ended"), 0) << original.Log();
  EXPECT_EQ(Spec("holderIdentity"), original.identity());
  original.Release();
  EXPECT_TRUE(ours.Says("started", 2, kTry)) << "it takes part as before: " << ours.Log();
}

TEST_P(ClientGo, TheOriginalThatWasFrozenTakesNothingBackFromOurs) {
  auto [original, ours] = Pair(Elector::kOriginal);
  original.Freeze();
  ASSERT_TRUE(ours.Says("act", 1, kDuration + 2 * kTry)) << ours.Log();
  EXPECT_EQ(Spec("leaseTransitions"), "1");
  original.Thaw();
  // It believes for as long as R, and says so; nothing of the Lease follows from that.
  EXPECT_TRUE(original.Says("ended", 1, kDeadline + kTry)) << original.Log();
  EXPECT_TRUE(original.Says("leader", 1, kTry, ours.identity())) << original.Log();
  EXPECT_TRUE(Renews(ours, 4));
  EXPECT_EQ(ours.Said("ended"), 0) << ours.Log();
  EXPECT_EQ(Spec("holderIdentity"), ours.identity());
  EXPECT_EQ(Spec("leaseTransitions"), "1");
}

// What a request says, in words that are the same for both: whose it is, when and which version are
// left out.
std::string Shape(const KubernetesStub::Seen& seen) {
  std::string path = seen.path.substr(0, seen.path.find('?'));
  std::vector<std::string> words = {seen.method, path};
  const json body = json::parse(seen.body, nullptr, false);
  if (body.is_object()) {
    words.push_back(seen.content_type);
    for (const char* at : {"/apiVersion", "/kind", "/metadata/name", "/metadata/namespace"}) {
      const std::string text = body.value(json::json_pointer(at), std::string("none"));
      words.push_back(absl::StrCat(at, "=", text));
    }
    for (const char* at : {"/metadata/uid", "/metadata/resourceVersion"})
      words.push_back(absl::StrCat(
          at, body.value(json::json_pointer(at), std::string()).empty() ? " absent" : " present"));
    const json spec = body.value("spec", json::object());
    for (const auto& [field, value] : spec.items()) {
      std::string text = value.dump();
      if (field == "holderIdentity" && value == seen.token) text = "ITSELF";
      if (absl::EndsWith(field, "Time")) {
        EXPECT_TRUE(RE2::FullMatch(text, "\"\\d{4}-\\d\\d-\\d\\dT\\d\\d:\\d\\d:\\d\\d\\.\\d{6}Z\""))
            << field << " " << text;
        text = value == spec["renewTime"] ? "RENEWED" : "EARLIER";
      }
      words.push_back(absl::StrCat(field, "=", text));
    }
  }
  return absl::StrJoin(words, " ");
}

class Wire : public ClientGo {
 protected:
  // The exchange of one elector that makes the Lease, keeps it and gives it back, and of another
  // that takes it then; the same request several times in a row is told once.
  std::vector<std::string> Exchange(Elector::Kind kind) {
    Elector& first = Start(kind);
    EXPECT_TRUE(first.Says("act", 1, kTry * 3)) << first.Log();
    EXPECT_TRUE(Renews(first, 3));
    first.Release();
    Elector& second = Start(kind);
    EXPECT_TRUE(second.Says("act", 1, kTry)) << second.Log();
    EXPECT_TRUE(Renews(second, 2));
    second.Kill();
    server_.Delete(absl::StrCat(kLeases, "/", kLease));
    std::vector<std::string> told;
    for (const KubernetesStub::Seen& seen : server_.Requests()) {
      if (seen.token != first.identity() && seen.token != second.identity()) continue;
      std::string shape = Shape(seen);
      if (told.empty() || told.back() != shape) told.push_back(std::move(shape));
    }
    return told;
  }
};

TEST_P(Wire, BothSayTheSameFieldByField) {
  const std::vector<std::string> original = Exchange(Elector::kOriginal);
  const std::vector<std::string> ours = Exchange(Elector::kOurs);
  EXPECT_EQ(absl::StrJoin(ours, "\n"), absl::StrJoin(original, "\n"));
  const std::string get = absl::StrCat("GET ", kLeases, "/", kLease);
  const std::string body =
      " application/json /apiVersion=coordination.k8s.io/v1 /kind=Lease "
      "/metadata/name=apim-failover "
      "/metadata/namespace=dr /metadata/uid ";
  const std::string create =
      absl::StrCat("POST ", kLeases, body, "absent /metadata/resourceVersion absent acquireTime=");
  const std::string update = absl::StrCat("PUT ", kLeases, "/", kLease, body,
                                          "present /metadata/resourceVersion present acquireTime=");
  const std::string held = " leaseDurationSeconds=5 leaseTransitions=";
  EXPECT_THAT(
      ours,
      testing::ElementsAre(
          get, absl::StrCat(create, "RENEWED holderIdentity=ITSELF", held, "0 renewTime=RENEWED"),
          absl::StrCat(update, "EARLIER holderIdentity=ITSELF", held, "0 renewTime=RENEWED"), get,
          absl::StrCat(update,
                       "RENEWED holderIdentity=\"\" leaseDurationSeconds=1 "
                       "leaseTransitions=0 renewTime=RENEWED"),
          get, absl::StrCat(update, "RENEWED holderIdentity=ITSELF", held, "1 renewTime=RENEWED"),
          absl::StrCat(update, "EARLIER holderIdentity=ITSELF", held, "1 renewTime=RENEWED")));
}

INSTANTIATE_ON_EVERY_SERVER(ClientGo);
INSTANTIATE_ON_EVERY_SERVER(BothWays);
INSTANTIATE_ON_EVERY_SERVER(Wire);

}  // namespace
}  // namespace failover::e2e
