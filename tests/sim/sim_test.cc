#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "tests/sim/simulation.h"

namespace failover::sim {
namespace {

// A part; there are four, so that they can run side by side. Under a sanitizer, which looks for
// other faults and is many times slower, a few are enough.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kSanitized = true;
#else
constexpr bool kSanitized = false;
#endif
constexpr uint64_t kSeeds = kSanitized ? 10 : 130;

// FAILOVER_SIM_SEED=N repeats one seed with everything that happens in it.
bool OneSeed(uint64_t& seed) {
  const char* text = std::getenv("FAILOVER_SIM_SEED");
  return text != nullptr && absl::SimpleAtoi(text, &seed);
}

uint64_t Count(const char* variable, uint64_t otherwise) {
  const char* text = std::getenv(variable);
  uint64_t value = 0;
  return text != nullptr && absl::SimpleAtoi(text, &value) ? value : otherwise;
}

void Expect(uint64_t seed, const Outcome& outcome) {
  if (outcome.objections.empty()) return;
  ADD_FAILURE() << "seed " << seed << " breaks a rule; repeat it with: FAILOVER_SIM_SEED=" << seed
                << " bin/sim --gtest_filter=Simulation.RepeatsOneSeed\n  "
                << absl::StrJoin(outcome.objections, "\n  ");
}

class SimulationPart : public ::testing::TestWithParam<int> {};

TEST_P(SimulationPart, HoldsEveryRuleAndTestsEachOfThem) {
  Coverage coverage;
  uint64_t steps = 0;
  const uint64_t seeds = Count("FAILOVER_SIM_SEEDS", kSeeds);
  const uint64_t first = 1 + seeds * static_cast<uint64_t>(GetParam());
  int failing = 0;
  for (uint64_t seed = first; seed < first + seeds && failing < 5; ++seed) {
    const Outcome outcome = Simulate(seed, {});
    Expect(seed, outcome);
    failing += outcome.objections.empty() ? 0 : 1;
    steps += outcome.steps;
    for (const auto& [rule, times] : outcome.coverage) coverage[rule] += times;
  }
  std::printf("%llu seeds, %llu events; how often each rule was put to the test:\n",
              static_cast<unsigned long long>(seeds), static_cast<unsigned long long>(steps));
  for (const auto& [rule, times] : coverage)
    std::printf("  %-36s %lld\n", rule.c_str(), static_cast<long long>(times));
  if (seeds < 130) return;  // too few to meet every rule
  for (const std::string& rule : RulesToCover()) {
    EXPECT_GT(coverage[rule], 0) << rule << " was never put to the test in " << seeds << " seeds";
  }
}

INSTANTIATE_TEST_SUITE_P(Seeds, SimulationPart, ::testing::Range(0, 4));

// FAILOVER_SIM_SEED=N bin/sim --gtest_filter=Simulation.RepeatsOneSeed
TEST(Simulation, RepeatsOneSeed) {
  uint64_t seed = 0;
  const bool trace = OneSeed(seed);
  if (!trace) seed = 1;
  Expect(seed, Simulate(seed, {.trace = trace}));
}

TEST(Simulation, TheSameSeedGivesTheSameRun) {
  for (uint64_t seed : {3u, 77u, 1234u}) {
    const Outcome first = Simulate(seed, {}), second = Simulate(seed, {});
    EXPECT_EQ(first.hash, second.hash) << "seed " << seed;
    EXPECT_EQ(first.steps, second.steps);
  }
  EXPECT_NE(Simulate(3, {}).hash, Simulate(4, {}).hash);
}

// A fault planted in the shell, and the rule that must catch it.
struct Bug {
  const char* name;
  Planted planted;
  const char* rule;
};

class OracleTest : public ::testing::TestWithParam<Bug> {};

TEST_P(OracleTest, ObjectsToThePlantedFault) {
  if (kSanitized) GTEST_SKIP() << "needs many seeds; the other builds run it";
  for (uint64_t seed = 1; seed <= 150; ++seed) {
    for (const std::string& objection :
         Simulate(seed, {.planted = GetParam().planted}).objections) {
      if (objection.find(GetParam().rule) == 0) return;
    }
  }
  ADD_FAILURE() << "nobody noticed within 150 seeds";
}

INSTANTIATE_TEST_SUITE_P(
    Oracle, OracleTest,
    ::testing::Values(Bug{"ReleaseEarly", Planted::kReleaseEarly, "intent_before_effect"},
                      Bug{"BlindTraffic", Planted::kBlindTraffic, "traffic_says_standby"},
                      Bug{"PostTwice", Planted::kPostTwice, "never_a_second_post"},
                      Bug{"MadeUpFailures", Planted::kMadeUpFailures, "quorum_of_fresh_down_votes"},
                      Bug{"ForgetCooldown", Planted::kForgetCooldown, "cooldown"},
                      Bug{"TrustFingerprint", Planted::kTrustFingerprint, "nothing_is_lost"},
                      Bug{"DeposedSends", Planted::kDeposedSends, "deposed_sends_nothing"},
                      Bug{"DisableFirst", Planted::kDisableFirst, "never_an_empty_target"},
                      Bug{"OldRecord", Planted::kOldRecord, "durable_numbers_only_grow"}),
    [](const auto& test) { return std::string(test.param.name); });

}  // namespace
}  // namespace failover::sim
