#include "controller/intake/results.h"

#include <cstring>
#include <functional>
#include <limits>
#include <string>

#include "controller/intake/token_bucket.h"
#include "gtest/gtest.h"

namespace failover::intake {
namespace {

constexpr uint64_t kDefinition = 42;

v1::ProbeResult Good() {
  v1::ProbeResult result;
  result.set_target("orders/weu/status");
  result.set_sequence(1);
  result.set_success(true);
  result.set_definition(kDefinition);
  result.set_http_status(200);
  result.mutable_start_age()->set_nanos(300'000'000);
  result.mutable_complete_age()->set_nanos(100'000'000);
  return result;
}

TargetEntry Entry() { return {kDefinition, {{"orders", {core::TargetKind::kService, 0, 0}}}}; }

TEST(WhyRefused, GoodResultIsTaken) {
  const TargetEntry entry = Entry();
  EXPECT_EQ(WhyRefused(Good(), &entry), nullptr);
}

TEST(WhyRefused, OldestAllowedAgeAndLongestErrorAreTaken) {
  const TargetEntry entry = Entry();
  v1::ProbeResult result = Good();
  result.mutable_start_age()->set_seconds(600);
  result.mutable_start_age()->set_nanos(0);
  result.set_error(std::string(200, 'x'));
  EXPECT_EQ(WhyRefused(result, &entry), nullptr);
}

TEST(WhyRefused, UnassignedTargetIsRefused) {
  EXPECT_STREQ(WhyRefused(Good(), nullptr), "refused_unknown_target");
}

struct Bad {
  const char* what;
  const char* kind;
  std::function<void(v1::ProbeResult&)> change;
};

TEST(WhyRefused, EveryMalformedResultIsRefusedWithItsReason) {
  const int64_t most = std::numeric_limits<int64_t>::max();
  const Bad table[] = {
      {"other definition", "refused_other_definition", [](auto& r) { r.set_definition(7); }},
      {"no definition", "refused_other_definition", [](auto& r) { r.clear_definition(); }},
      {"sequence zero", "refused_sequence", [](auto& r) { r.set_sequence(0); }},
      {"negative start age", "refused_age",
       [](auto& r) { r.mutable_start_age()->set_seconds(-1); }},
      {"negative completion age", "refused_age",
       [](auto& r) { r.mutable_complete_age()->set_nanos(-1); }},
      {"too old", "refused_age", [](auto& r) { r.mutable_start_age()->set_seconds(601); }},
      {"too old by a nanosecond", "refused_age",
       [](auto& r) {
         r.mutable_start_age()->set_seconds(600);
         r.mutable_start_age()->set_nanos(1);
       }},
      {"overflowing age", "refused_age",
       [most](auto& r) { r.mutable_start_age()->set_seconds(most); }},
      {"too many nanoseconds", "refused_age",
       [](auto& r) { r.mutable_start_age()->set_nanos(1'000'000'000); }},
      {"completed before it began", "refused_age",
       [](auto& r) { r.mutable_complete_age()->set_seconds(1); }},
      {"success with a failed stage", "refused_stage",
       [](auto& r) { r.set_failed_stage(v1::PROBE_STAGE_CONNECT); }},
      {"success that timed out", "refused_stage", [](auto& r) { r.set_timed_out(true); }},
      {"failure without a stage", "refused_stage", [](auto& r) { r.set_success(false); }},
      {"failure in an unknown stage", "refused_stage",
       [](auto& r) {
         r.set_success(false);
         r.set_failed_stage(static_cast<v1::ProbeStage>(99));
       }},
      {"negative status", "refused_http_status", [](auto& r) { r.set_http_status(-1); }},
      {"status of four digits", "refused_http_status", [](auto& r) { r.set_http_status(1000); }},
      {"long error", "refused_text", [](auto& r) { r.set_error(std::string(201, 'x')); }},
      {"long address", "refused_text", [](auto& r) { r.set_remote_address(std::string(65, '1')); }},
      {"long name", "refused_text", [](auto& r) { r.add_cname_chain(std::string(256, 'a')); }},
      {"long chain", "refused_text",
       [](auto& r) {
         for (int i = 0; i < 9; ++i) r.add_cname_chain("a.example");
       }},
  };
  const TargetEntry entry = Entry();
  for (const Bad& bad : table) {
    v1::ProbeResult result = Good();
    bad.change(result);
    const char* why = WhyRefused(result, &entry);
    ASSERT_NE(why, nullptr) << bad.what;
    EXPECT_STREQ(why, bad.kind) << bad.what;
  }
}

TEST(ToSample, MomentsAreReceiptMinusAge) {
  const SteadyTime receipt{absl::Seconds(1000)};
  const core::ProbeSample sample = ToSample(Good(), receipt);
  EXPECT_EQ(sample.started, receipt - absl::Milliseconds(300));
  EXPECT_EQ(sample.completed, receipt - absl::Milliseconds(100));
}

TEST(ToSample, StagesKeepTheirMeaning) {
  v1::ProbeResult result = Good();
  result.set_success(false);
  result.set_failed_stage(v1::PROBE_STAGE_TLS);
  EXPECT_EQ(ToSample(result, {}).failed_stage, core::FailedStage::kTls);
  result.set_failed_stage(v1::PROBE_STAGE_FIRST_BYTE);
  EXPECT_EQ(ToSample(result, {}).failed_stage, core::FailedStage::kFirstByte);
}

TEST(ToSample, OverlongServedByIsIgnoredButTheVoteCounts) {
  v1::ProbeResult result = Good();
  result.set_served_by(std::string(257, 'x'));
  EXPECT_EQ(ToSample(result, {}).served_by, "");
  EXPECT_TRUE(ToSample(result, {}).success);
  result.set_served_by("apim-weu");
  EXPECT_EQ(ToSample(result, {}).served_by, "apim-weu");
}

TEST(AddSample, ControlTargetReachesEveryGroupWithItsOwnIndexAndWithoutAddresses) {
  TargetEntry entry{
      kDefinition,
      {{"a", {core::TargetKind::kControl, -1, 0}}, {"b", {core::TargetKind::kControl, -1, 2}}}};
  core::ProbeSample sample;
  sample.sequence = 5;
  sample.success = true;
  sample.remote_address = "192.0.2.1";
  SamplesByGroup groups;
  AddSample(entry, sample, groups);
  ASSERT_EQ(groups.size(), 2u);
  EXPECT_EQ(groups["a"].at(0).target.probe, 0);
  EXPECT_EQ(groups["b"].at(0).target.probe, 2);
  EXPECT_EQ(groups["b"].at(0).sequence, 5u);
  EXPECT_TRUE(groups["b"].at(0).success);
  EXPECT_EQ(groups["b"].at(0).remote_address, "");
}

TEST(AddSample, AttributionIsKeptForThePublicNameAndTheAddressForServices) {
  core::ProbeSample sample;
  sample.remote_address = "192.0.2.1";
  sample.cname_chain = {"weu.example"};
  sample.served_by = "apim-weu";
  SamplesByGroup groups;
  AddSample(
      {1, {{"g", {core::TargetKind::kPublic, -1, -1}}, {"g", {core::TargetKind::kService, 1, 0}}}},
      sample, groups);
  ASSERT_EQ(groups["g"].size(), 2u);
  EXPECT_EQ(groups["g"][0].served_by, "apim-weu");
  EXPECT_EQ(groups["g"][0].cname_chain.size(), 1u);
  EXPECT_EQ(groups["g"][1].remote_address, "192.0.2.1");
  EXPECT_EQ(groups["g"][1].served_by, "");
  EXPECT_TRUE(groups["g"][1].cname_chain.empty());
}

TEST(TokenBucket, DebtDelaysByExactlyTheTimeThatPaysIt) {
  const SteadyTime start{absl::Seconds(10)};
  TokenBucket bucket(10, 100, start);
  bucket.Charge(100, start);
  EXPECT_EQ(bucket.Wait(start), absl::ZeroDuration());
  bucket.Charge(20, start);
  EXPECT_EQ(bucket.Wait(start), absl::Seconds(2));
  EXPECT_EQ(bucket.Wait(start + absl::Seconds(2)), absl::ZeroDuration());
}

TEST(TokenBucket, FillsUpToItsBurstOnly) {
  const SteadyTime start{absl::Seconds(10)};
  TokenBucket bucket(10, 5, start);
  EXPECT_FALSE(bucket.TryCharge(6, start + absl::Hours(1)));
  EXPECT_TRUE(bucket.TryCharge(5, start + absl::Hours(1)));
  EXPECT_FALSE(bucket.TryCharge(1, start + absl::Hours(1)));
}

TEST(TokenBucket, LowerLimitsForfeitWhatIsAboveThem) {
  const SteadyTime start{absl::Seconds(10)};
  TokenBucket bucket(10, 100, start);
  bucket.SetLimits(1, 2, start);
  EXPECT_FALSE(bucket.TryCharge(3, start));
  EXPECT_TRUE(bucket.TryCharge(2, start));
}

TEST(TokenBucket, ClockThatStandsStillGivesNothing) {
  const SteadyTime start{absl::Seconds(10)};
  TokenBucket bucket(10, 1, start);
  EXPECT_TRUE(bucket.TryCharge(1, start));
  EXPECT_FALSE(bucket.TryCharge(1, start - absl::Seconds(5)));
}

}  // namespace
}  // namespace failover::intake
