#include "controller/core/detection.h"

#include "gtest/gtest.h"

namespace failover::core {
namespace {

// Interval 6 s, so that one slot of three regions is 2 s; timeout 1 s, so that the burst spacing is
// 50 ms.
GroupConfig Config() {
  GroupConfig config;
  config.services = {{"a", "region-a", "", ""}, {"b", "region-b", "", ""}};
  config.probes = {{"status", "", absl::Seconds(6), absl::Seconds(1), 3, 6}};
  config.probe_regions = {"region-x", "region-y", "region-z"};
  config.quorum = 2;
  config.controller_region = "region-c";
  config.min_down_duration = absl::ZeroDuration();
  return config;
}

TEST(DetectionTest, TheQuorumsWaitAndOneBurstBoundAnOutage) {
  // 2 slots; the first failure, a second one begun at once and a third 50 ms later.
  EXPECT_EQ(DetectionOf(Config()).worst,
            absl::Seconds(4) + absl::Seconds(2) + absl::Milliseconds(50));
  // 2 slots and one time-out, or 1 slot, a time-out, and one of the regions asked.
  EXPECT_EQ(DetectionOf(Config()).floor, absl::Seconds(4));
}

TEST(DetectionTest, ASingleFailureNeedsNoBurst) {
  GroupConfig config = Config();
  config.probes[0].failure_threshold = 1;
  EXPECT_EQ(DetectionOf(config).worst, absl::Seconds(5));
}

TEST(DetectionTest, AFastCadenceBeatsTheBurst) {
  GroupConfig config = Config();
  config.probes[0] = {"status", "", absl::Seconds(1), absl::Seconds(1), 2, 6};
  config.probe_regions = {"x"};
  config.quorum = 1;
  EXPECT_EQ(DetectionOf(config).worst,
            absl::Seconds(3));  // slot 1 s, 1 s later the second probe, its time-out
}

TEST(DetectionTest, ARegionThatDiesWithItsAgentCostsASlot) {
  GroupConfig config = Config();
  config.probe_regions[0] = "region-a";
  EXPECT_EQ(DetectionOf(config).worst, DetectionOf(Config()).worst + absl::Seconds(2));
  EXPECT_EQ(DetectionOf(config).floor, absl::Seconds(6));
}

TEST(DetectionTest, VotesFromInsideAloneDoNotSuffice) {
  GroupConfig config = Config();
  config.probe_regions = {"region-a", "region-c", "region-z"};  // the outsider may be the last
  EXPECT_EQ(DetectionOf(config).worst, DetectionOf(Config()).worst + absl::Seconds(2));
  config.probe_regions = {"region-a", "region-c"};
  EXPECT_EQ(DetectionOf(config).worst, absl::InfiniteDuration());
  EXPECT_EQ(DetectionOf(config).floor, absl::InfiniteDuration());
  EXPECT_EQ(DwellOf([&] {
              config.min_down_duration = absl::Seconds(1);
              return config;
            }()),
            absl::InfiniteDuration());
}

TEST(DetectionTest, TheFloorIsNeverAboveTheBound) {
  for (int interval = 1; interval <= 20; ++interval) {
    for (int timeout = 1; timeout <= interval; ++timeout) {
      for (int threshold = 1; threshold <= 4; ++threshold) {
        for (int quorum = 1; quorum <= 3; ++quorum) {
          GroupConfig config = Config();
          config.probes[0] = {"p",       "", absl::Seconds(interval), absl::Seconds(timeout),
                              threshold, 6};
          config.quorum = quorum;
          const DetectionBounds bounds = DetectionOf(config);
          EXPECT_LE(bounds.floor, bounds.worst)
              << interval << " " << timeout << " " << threshold << " " << quorum;
        }
      }
    }
  }
}

TEST(DetectionTest, ARegionLossIsSurvivedOnlyByAQuorumWithoutIt) {
  GroupConfig config = Config();
  config.probe_regions[0] = "region-a";
  EXPECT_TRUE(SurvivesRegionLoss(config, 0));
  config.quorum = 3;
  EXPECT_FALSE(SurvivesRegionLoss(config, 0));
  EXPECT_TRUE(SurvivesRegionLoss(config, 1));
  config.quorum = 1;
  config.probe_regions = {"region-a", "region-c"};
  EXPECT_FALSE(SurvivesRegionLoss(config, 0));
}

TEST(DetectionTest, TheDwellWaitsForItsDurationAndForARegularProbe) {
  GroupConfig config = Config();
  EXPECT_EQ(DwellOf(config), absl::ZeroDuration());
  config.min_down_duration = absl::Seconds(1);
  EXPECT_EQ(DwellOf(config), absl::Seconds(4 + 6 + 2));  // 2 slots, one interval, two time-outs
  config.min_down_duration = absl::Minutes(1);
  EXPECT_EQ(DwellOf(config), absl::Seconds(61));
}

TEST(DetectionTest, BurstProbesAreApartButWithinReason) {
  EXPECT_EQ(BurstSpacing(absl::Milliseconds(100)), absl::Milliseconds(50));
  EXPECT_EQ(BurstSpacing(absl::Seconds(4)), absl::Milliseconds(200));
  EXPECT_EQ(BurstSpacing(absl::Minutes(1)), absl::Milliseconds(500));
}

}  // namespace
}  // namespace failover::core
