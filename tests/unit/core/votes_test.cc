#include "controller/core/votes.h"

#include <gtest/gtest.h>

#include "controller/core/verdict.h"
#include "tests/unit/core/driver.h"

namespace failover::core {
namespace {

// Votes of one service from hand-made results; interval and timeout 1 s, so a result is fresh for 3
// s.
class VotesTest : public ::testing::Test {
 protected:
  struct Options {
    bool burst = false, jumped = false, replay = false;
    std::string name = "agent";
    absl::Duration age = absl::ZeroDuration();
    TargetKind kind = TargetKind::kService;
    int service = 0;
  };

  void Give(int region, bool success, const Options& options) {
    ProbeResults results;
    results.agent = {config_.probe_regions[region], options.name, "i"};
    results.replay = options.replay;
    ProbeSample sample;
    sample.target = {
        options.kind,
        static_cast<int16_t>(options.kind == TargetKind::kService ? options.service : -1), 0};
    sample.sequence =
        ++sequence_[{region, options.name, static_cast<int>(options.kind) * 10 + options.service}];
    sample.success = success;
    sample.burst = options.burst;
    sample.clock_jumped = options.jumped;
    sample.completed = now_.steady - options.age;
    sample.started = sample.completed - absl::Milliseconds(10);
    results.samples = {sample};
    ApplyResults(config_, results, now_, votes_);
  }
  void Give(int region, bool success) { Give(region, success, Options{}); }
  void Control(int region, std::string name = "agent", bool success = true) {
    Give(region, success, {.name = std::move(name), .kind = TargetKind::kControl});
  }
  void Pass(absl::Duration d) {
    now_.steady = now_.steady + d;
    now_.wall += d;
  }
  // One result a second, with a good answer of the control target beside it.
  void Every(int region, bool success, int times) { Every(region, success, times, Options{}); }
  void Every(int region, bool success, int times, const Options& options) {
    for (int i = 0; i < times; ++i) {
      Pass(absl::Seconds(1));
      Control(region, options.name);
      Give(region, success, options);
    }
  }
  RegionVote Of(int region) const {
    return RegionVoteOf(config_, votes_, 0, 0, region, now_.steady);
  }
  void Skip(int region) { ++sequence_[{region, "agent", 0}]; }

  GroupConfig config_ = TestConfig();
  Votes votes_;
  Now now_{{absl::Hours(5)}, absl::FromUnixSeconds(1790000000)};
  std::map<std::tuple<int, std::string, int>, uint64_t> sequence_;
};

TEST_F(VotesTest, DownNeedsTheFailureThresholdInARow) {
  Every(0, false, 2);
  EXPECT_EQ(Of(0).vote, Vote::kUnknown);
  Every(0, false, 1);
  EXPECT_EQ(Of(0).vote, Vote::kDown);
  EXPECT_EQ(Of(0).failures, 3);
}

TEST_F(VotesTest, ASuccessInBetweenBreaksTheRowOfFailures) {
  Every(0, false, 2);
  Every(0, true, 1);
  Every(0, false, 2);
  EXPECT_EQ(Of(0).vote, Vote::kUnknown);
}

TEST_F(VotesTest, UpNeedsTheSuccessThresholdAndBurstSuccessesDoNotCount) {
  Every(0, true, 3);
  for (int i = 0; i < 5; ++i) Give(0, true, {.burst = true});
  EXPECT_EQ(Of(0).vote, Vote::kUnknown);
  Every(0, true, 1);
  EXPECT_EQ(Of(0).vote, Vote::kUp);
}

TEST_F(VotesTest, TheFirstSuccessTurnsDownIntoUnknown) {
  Every(0, false, 3);
  ASSERT_EQ(Of(0).vote, Vote::kDown);
  Give(0, true);
  EXPECT_EQ(Of(0).vote, Vote::kUnknown);
}

TEST_F(VotesTest, AnUpVoteOutlivesFewerFailuresThanTheThreshold) {
  Every(0, true, 4);
  Every(0, false, 2);
  EXPECT_EQ(Of(0).vote, Vote::kUp);
  Every(0, false, 1);
  EXPECT_EQ(Of(0).vote, Vote::kDown);
}

TEST_F(VotesTest, BurstFailuresCountTowardTheThreshold) {
  Control(0);
  Give(0, false);
  Give(0, false, {.burst = true});
  Give(0, false, {.burst = true});
  EXPECT_EQ(Of(0).vote, Vote::kDown);
}

TEST_F(VotesTest, AGapInTheSequenceResetsTheRunAndTheView) {
  Every(0, true, 4);
  Every(0, false, 2);
  Skip(0);
  Every(0, false, 1);
  EXPECT_EQ(Of(0).vote, Vote::kUnknown);
  EXPECT_EQ(Of(0).failures, 1);
}

TEST_F(VotesTest, APauseBetweenResultsLongerThanFreshnessIsAGapToo) {
  Every(0, false, 2);
  Pass(absl::Seconds(4));
  Every(0, false, 1);
  EXPECT_EQ(Of(0).vote, Vote::kUnknown);
}

TEST_F(VotesTest, SilenceTurnsEveryVoteIntoUnknown) {
  Every(0, false, 3);
  Every(1, true, 4);
  Pass(absl::Seconds(3) + absl::Milliseconds(1));
  EXPECT_EQ(Of(0).vote, Vote::kUnknown);
  EXPECT_EQ(Of(1).vote, Vote::kUnknown);
  EXPECT_EQ(Of(2).vote, Vote::kUnknown);
}

TEST_F(VotesTest, AReplayedOrOldResultChangesNothing) {
  Every(0, true, 4);
  const uint64_t kept = sequence_[std::make_tuple(0, "agent", 0)];
  for (int i = 0; i < 5; ++i) {
    sequence_[std::make_tuple(0, "agent", 0)] = kept - 1;
    Give(0, false);
  }
  EXPECT_EQ(Of(0).vote, Vote::kUp);
  EXPECT_EQ(Of(0).failures, 0);
}

TEST_F(VotesTest, AStaleReplayNeverVotes) {
  for (int i = 0; i < 4; ++i) Give(0, false, {.replay = true, .age = absl::Seconds(60 - i)});
  Control(0);
  EXPECT_EQ(Of(0).vote, Vote::kUnknown);
  Give(0, false);
  EXPECT_EQ(Of(0).failures, 1) << "the stale ones must not count toward the run";
}

TEST_F(VotesTest, AFreshReplayVotes) {
  Control(0);
  for (int i = 0; i < 3; ++i)
    Give(0, false, {.replay = true, .age = absl::Milliseconds(1500 - 500 * i)});
  EXPECT_EQ(Of(0).vote, Vote::kDown);
}

TEST_F(VotesTest, AJumpOfTheAgentsClockMakesTheViewUnknown) {
  Every(0, false, 3);
  ASSERT_EQ(Of(0).vote, Vote::kDown);
  Control(0);
  Give(0, false, {.jumped = true});
  EXPECT_EQ(Of(0).vote, Vote::kUnknown);
  Every(0, false, 2);
  EXPECT_EQ(Of(0).vote, Vote::kUnknown);
}

TEST_F(VotesTest, DownCountsOnlyWithAGoodControlTargetOrAnotherService) {
  for (int i = 0; i < 3; ++i) {
    Pass(absl::Seconds(1));
    Give(0, false);
  }
  EXPECT_EQ(Of(0).vote, Vote::kUnknown);
  EXPECT_FALSE(Of(0).control_ok);
  Give(0, true, {.service = 1});
  EXPECT_EQ(Of(0).vote, Vote::kDown) << "another service's good answer proves the agent's network";
}

TEST_F(VotesTest, AControlAnswerOlderThanTwoIntervalsProvesNothing) {
  Every(0, false, 3);
  Pass(absl::Seconds(2));
  EXPECT_EQ(Of(0).vote, Vote::kDown);
  Pass(absl::Milliseconds(1));
  EXPECT_EQ(Of(0).vote, Vote::kUnknown);
}

TEST_F(VotesTest, SeveralAgentsOfARegionAreOneVoteAndAFreshUpWins) {
  for (int i = 0; i < 4; ++i) {
    Pass(absl::Seconds(1));
    Control(0, "a");
    Control(0, "b");
    Give(0, false, {.name = "a"});
    Give(0, true, {.name = "b"});
  }
  EXPECT_EQ(Of(0).vote, Vote::kUp);
  EXPECT_EQ(Of(0).agents, 2);
}

TEST_F(VotesTest, ARegionIsDownOnlyIfAllItsAgentsAre) {
  Every(0, false, 3, {.name = "a"});
  ASSERT_EQ(Of(0).vote, Vote::kDown);
  ApplyStream(config_, {{config_.probe_regions[0], "b", "i"}, true}, votes_);
  EXPECT_EQ(Of(0).vote, Vote::kUnknown) << "an agent with an open stream that said nothing yet";
  ApplyStream(config_, {{config_.probe_regions[0], "b", "i"}, false}, votes_);
  EXPECT_EQ(Of(0).vote, Vote::kDown) << "it closed its stream and never delivered a result";
}

TEST_F(VotesTest, AnAgentGoneForFiveMinutesNoLongerCounts) {
  Give(0, true, {.name = "gone"});
  Pass(absl::Minutes(5) - absl::Seconds(3));
  Every(0, false, 3, {.name = "a"});
  EXPECT_EQ(Of(0).vote, Vote::kUnknown);
  Every(0, false, 1, {.name = "a"});
  EXPECT_EQ(Of(0).vote, Vote::kDown);
  DropGoneAgents(now_.steady, votes_);
  EXPECT_EQ(votes_.agents.size(), 1u);
}

TEST_F(VotesTest, OneIdentityInfluencesOnlyItsOwnRegion) {
  Every(0, false, 3);
  EXPECT_EQ(Of(0).vote, Vote::kDown);
  EXPECT_EQ(Of(1).agents, 0);
  EXPECT_EQ(Of(1).vote, Vote::kUnknown);
}

TEST_F(VotesTest, AnAgentOfAnUnknownRegionIsIgnored) {
  ProbeResults results;
  results.agent = {"atlantis", "agent", "i"};
  results.samples.resize(1);
  results.samples[0].target = {TargetKind::kService, 0, 0};
  ApplyResults(config_, results, now_, votes_);
  EXPECT_TRUE(votes_.agents.empty());
}

TEST_F(VotesTest, TheNumberOfAgentsIsBounded) {
  for (int i = 0; i < 400; ++i) Give(0, true, {.name = std::to_string(i)});
  EXPECT_EQ(votes_.agents.size(), 256u);
}

TEST_F(VotesTest, TargetsOutsideTheConfigurationAreIgnored) {
  ProbeResults results;
  results.agent = {config_.probe_regions[0], "agent", "i"};
  for (const auto& [service, probe] : {std::pair{99, 0}, {0, 99}, {-1, 0}, {0, -1}}) {
    ProbeSample sample;
    sample.sequence = 1;
    sample.target = {TargetKind::kService, static_cast<int16_t>(service),
                     static_cast<int16_t>(probe)};
    results.samples.push_back(sample);
    sample.target.kind = TargetKind::kControl;
    if (probe != 0) results.samples.push_back(sample);
  }
  ApplyResults(config_, results, now_, votes_);
  EXPECT_EQ(Of(0).newest, SteadyTime::InfinitePast());
}

TEST_F(VotesTest, TheDwellCountsFromTheLastSuccess) {
  Every(0, true, 4);
  const SteadyTime last_good = now_.steady;
  Every(0, false, 3);
  EXPECT_EQ(Of(0).dwell_over, last_good + config_.min_down_duration);
}

TEST_F(VotesTest, WithoutAnySuccessTheDwellCountsFromTheFirstResultOfTheRow) {
  Every(0, false, 1);
  const SteadyTime first = now_.steady;
  Every(0, false, 2);
  EXPECT_EQ(Of(0).dwell_over, first + config_.min_down_duration);
}

TEST_F(VotesTest, ABurstAloneNeverEndsTheDwell) {
  Control(0);
  Give(0, false);
  for (int i = 0; i < 5; ++i) {
    Pass(absl::Milliseconds(100));
    Give(0, false, {.burst = true});
  }
  EXPECT_EQ(Of(0).vote, Vote::kDown);
  EXPECT_EQ(Of(0).dwell_over, SteadyTime::InfiniteFuture());
  Pass(absl::Milliseconds(500));
  Control(0);
  Give(0, false);
  EXPECT_NE(Of(0).dwell_over, SteadyTime::InfiniteFuture())
      << "a regular failure begun after the first one";
}

TEST_F(VotesTest, WithoutADwellABurstIsEnough) {
  config_.min_down_duration = absl::ZeroDuration();
  Control(0);
  Give(0, false);
  Give(0, false, {.burst = true});
  Give(0, false, {.burst = true});
  EXPECT_LE(Of(0).dwell_over, now_.steady);
}

TEST_F(VotesTest, TheDwellNeedsANewestFailureNoOlderThanIntervalPlusTimeout) {
  Every(0, false, 4);
  Pass(absl::Seconds(2));
  Control(0);
  EXPECT_NE(Of(0).dwell_over, SteadyTime::InfiniteFuture());
  Pass(absl::Milliseconds(1));
  EXPECT_EQ(Of(0).vote, Vote::kDown);
  EXPECT_EQ(Of(0).dwell_over, SteadyTime::InfiniteFuture());
}

TEST_F(VotesTest, TheOutageOfARegionStartsBetweenItsLastGoodAndItsFirstFailedProbe) {
  Every(0, true, 4);
  const SteadyTime last_good = now_.steady - absl::Milliseconds(10);
  Every(0, false, 5);
  EXPECT_EQ(Of(0).last_good_started, last_good);
  EXPECT_EQ(Of(0).first_failed_started, last_good + absl::Seconds(1));
}

TEST_F(VotesTest, RemovingResultsNeverCreatesADownOrUpVote) {
  // Every subset of eight mixed results: where the full row gives no vote, no subset may.
  const std::vector<bool> row = {false, false, true, false, false, true, true, true};
  for (unsigned mask = 0; mask < 256; ++mask) {
    votes_ = Votes();
    sequence_.clear();
    for (size_t i = 0; i < row.size(); ++i) {
      Pass(absl::Seconds(1));
      Control(0);
      if ((mask >> i) & 1u) {
        Give(0, row[i]);
        EXPECT_EQ(Of(0).vote, Vote::kUnknown) << "mask " << mask << " result " << i;
      } else {
        Skip(0);
      }
    }
  }
}

class VerdictTest : public ::testing::Test {
 protected:
  Verdict Of(std::vector<Vote> votes) {
    std::vector<RegionVote> regions(votes.size());
    for (size_t i = 0; i < votes.size(); ++i) regions[i].vote = votes[i];
    return VerdictOf(config_, 0, regions);
  }
  static constexpr Vote U = Vote::kUp, D = Vote::kDown, N = Vote::kUnknown;
  GroupConfig config_ = TestConfig();
};

TEST_F(VerdictTest, DownNeedsAQuorumOfConfiguredRegions) {
  EXPECT_EQ(Of({D, D, D}), Verdict::kDown);
  EXPECT_EQ(Of({N, D, D}), Verdict::kDown);
  EXPECT_EQ(Of({N, N, D}), Verdict::kUnknown);
  EXPECT_EQ(Of({N, N, N}), Verdict::kUnknown);
}

TEST_F(VerdictTest, ADownVoterOutsideTheServicesAndTheControllersRegionIsNeeded) {
  EXPECT_EQ(Of({D, D, U}), Verdict::kDown);
  config_.controller_region = "northeurope";
  EXPECT_EQ(Of({D, D, U}), Verdict::kUnknown)
      << "weu's own region and the controller's say nothing alone";
  EXPECT_EQ(Of({D, D, D}), Verdict::kDown);
  EXPECT_EQ(Of({U, D, D}), Verdict::kDown);
}

TEST_F(VerdictTest, TooManyUpVotesForbidDown) {
  config_.probe_regions = {"a", "b", "c", "d", "e"};
  config_.quorum = 2;  // down needs 2 and fewer than 4 up
  EXPECT_EQ(Of({D, D, U, U, U}), Verdict::kDown);
  config_.quorum = 4;  // fewer than 2 up
  EXPECT_EQ(Of({D, D, D, D, U}), Verdict::kDown);
  EXPECT_EQ(Of({D, D, D, U, U}), Verdict::kUnknown);
}

TEST_F(VerdictTest, UpNeedsAQuorumOfUpVotes) {
  EXPECT_EQ(Of({U, U, D}), Verdict::kUp);
  EXPECT_EQ(Of({U, N, D}), Verdict::kUnknown);
  EXPECT_EQ(Of({U, U, N}), Verdict::kUp);
}

TEST_F(VerdictTest, TheDwellOfAVerdictIsTheLongestOfItsDownRegions) {
  ServiceVerdict verdict;
  verdict.verdict = Verdict::kDown;
  verdict.regions.resize(3);
  verdict.regions[0].vote = verdict.regions[1].vote = Vote::kDown;
  verdict.regions[0].dwell_over = {absl::Seconds(7)};
  verdict.regions[1].dwell_over = {absl::Seconds(9)};
  verdict.regions[2].dwell_over = {absl::Seconds(99)};
  EXPECT_EQ(DwellOver(verdict), SteadyTime{absl::Seconds(9)});
  verdict.verdict = Verdict::kUnknown;
  EXPECT_EQ(DwellOver(verdict), SteadyTime::InfiniteFuture());
}

TEST_F(VerdictTest, SinceIsKeptWhileTheVerdictStays) {
  Votes votes;
  Now now{{absl::Hours(1)}, absl::FromUnixSeconds(1)};
  ServiceVerdict verdict = Judge(config_, votes, 0, 0, {}, now);
  const SteadyTime since = verdict.since;
  now.steady = now.steady + absl::Seconds(5);
  verdict = Judge(config_, votes, 0, 0, verdict, now);
  EXPECT_EQ(verdict.since, since);
  EXPECT_EQ(verdict.unknown, 3);
}

}  // namespace
}  // namespace failover::core
