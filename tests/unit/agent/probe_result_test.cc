#include "agent/probe_result.h"

#include <gtest/gtest.h>

#include <string>

namespace failover::agent {
namespace {

SteadyTime Ms(int ms) { return {absl::Milliseconds(ms)}; }

Observation GoodHttps() {
  Observation seen;
  seen.success = true;
  seen.stage = v1::PROBE_STAGE_ASSERTION;
  seen.began = Ms(1002);
  seen.resolved = Ms(1007);
  seen.connected = Ms(1017);
  seen.tls_done = Ms(1037);
  seen.sent = Ms(1037);
  seen.first_byte = Ms(1077);
  seen.done = Ms(1080);
  return seen;
}

TEST(BuildResult, PhasesAddUpAndTheTotalCountsFromTheSlot) {
  const KeptResult kept = BuildResult(Target{}, ProbeStart{Ms(1000), false, 0}, GoodHttps());
  const v1::Phases& phases = kept.result.phases();
  EXPECT_EQ(phases.resolve_us(), 5000);
  EXPECT_EQ(phases.connect_us(), 10000);
  EXPECT_EQ(phases.tls_us(), 20000);
  EXPECT_EQ(phases.processing_us(), 40000);
  EXPECT_EQ(phases.transfer_us(), 3000);
  EXPECT_EQ(phases.total_us(), 80000);
  EXPECT_EQ(kept.scheduled, Ms(1000));
  EXPECT_EQ(kept.completed, Ms(1080));
}

TEST(BuildResult, APhaseThatWasNotReachedIsZero) {
  Observation seen = GoodHttps();
  seen.success = false;
  seen.stage = v1::PROBE_STAGE_TLS;
  seen.tls_done = seen.sent = seen.first_byte = SteadyTime::InfinitePast();
  const KeptResult kept = BuildResult(Target{}, ProbeStart{Ms(1000), false, 0}, seen);
  EXPECT_GT(kept.result.phases().connect_us(), 0);
  EXPECT_EQ(kept.result.phases().tls_us(), 0);
  EXPECT_EQ(kept.result.phases().processing_us(), 0);
  EXPECT_EQ(kept.result.phases().transfer_us(), 0);
}

TEST(BuildResult, ASuccessNamesNoStageAndNoError) {
  const KeptResult kept = BuildResult(Target{}, ProbeStart{}, GoodHttps());
  EXPECT_TRUE(kept.result.success());
  EXPECT_EQ(kept.result.failed_stage(), v1::PROBE_STAGE_UNSPECIFIED);
  EXPECT_EQ(kept.result.error(), "");
}

TEST(BuildResult, ForeignTextIsBoundedValidAndRedacted) {
  Observation seen = GoodHttps();
  seen.success = false;
  seen.error = std::string(1000, 'e') + "\xff";
  seen.served_by = "west\xff\x01";
  seen.cname_chain = std::vector<std::string>(20, "a.example");
  KeptResult kept = BuildResult(Target{}, ProbeStart{}, seen);
  EXPECT_LE(kept.result.error().size(), 200u);
  EXPECT_EQ(kept.result.cname_chain_size(), 8);
  std::string wire;
  EXPECT_TRUE(kept.result.SerializeToString(&wire));
  v1::ProbeResult parsed;
  EXPECT_TRUE(parsed.ParseFromString(wire)) << "invalid UTF-8 is refused by the parser";
  seen.error = "sent Authorization: Bearer abcdefghijklmnop";
  kept = BuildResult(Target{}, ProbeStart{}, seen);
  EXPECT_EQ(kept.result.error().find("abcdefghijklmnop"), std::string::npos);
}

TEST(BuildResult, TheDefinitionOfTheTargetIsEchoed) {
  Target target;
  target.id = "a";
  target.definition = 0xfedcba9876543210;
  EXPECT_EQ(BuildResult(target, ProbeStart{}, GoodHttps()).result.definition(), 0xfedcba9876543210);
}

TEST(ResultLabel, EveryOutcomeHasAWordOfTheCatalogue) {
  v1::ProbeResult result;
  result.set_success(true);
  EXPECT_STREQ(ResultLabel(result), "success");
  result.set_success(false);
  const std::pair<v1::ProbeStage, const char*> stages[] = {
      {v1::PROBE_STAGE_RESOLVE, "connect_error"},
      {v1::PROBE_STAGE_CONNECT, "connect_error"},
      {v1::PROBE_STAGE_TLS, "tls_error"},
      {v1::PROBE_STAGE_SEND, "http_error"},
      {v1::PROBE_STAGE_FIRST_BYTE, "http_error"},
      {v1::PROBE_STAGE_BODY, "http_error"},
      {v1::PROBE_STAGE_ASSERTION, "assertion_failed"}};
  for (const auto& [stage, label] : stages) {
    result.set_failed_stage(stage);
    EXPECT_STREQ(ResultLabel(result), label);
  }
  result.set_timed_out(true);
  EXPECT_STREQ(ResultLabel(result), "timeout");
}

}  // namespace
}  // namespace failover::agent
