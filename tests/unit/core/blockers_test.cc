#include "controller/core/blockers.h"

#include <gtest/gtest.h>

#include "tests/unit/core/driver.h"

namespace failover::core {
namespace {

// design.md §7.3, row by row, written again on purpose.
struct Row {
  const char* name;
  char scope;      // g group, s standby
  char automatic;  // y yes, o by option
  char manual;     // y, n
  char force;      // - cannot, a by adopt, n never, y by name
};
constexpr Row kDesign[] = {
    {"mode", 'g', 'y', 'n', '-'},
    {"paused", 'g', 'y', 'n', '-'},
    {"cooldown", 'g', 'y', 'n', '-'},
    {"daily_limit", 'g', 'y', 'n', '-'},
    {"no_quorum", 'g', 'y', 'n', '-'},
    {"common_fault", 'g', 'y', 'n', '-'},
    {"startup_grace", 'g', 'y', 'n', '-'},
    {"roles_unconfirmed", 'g', 'y', 'y', 'a'},
    {"traffic_mismatch", 'g', 'y', 'y', 'a'},
    {"not_leader", 'g', 'y', 'y', 'n'},
    {"store_unavailable", 'g', 'y', 'y', 'n'},
    {"switch_path_broken", 'g', 'y', 'y', 'n'},
    {"standby_down", 's', 'y', 'y', 'y'},
    {"standby_unknown", 's', 'y', 'y', 'y'},
    {"public_name_unready", 's', 'y', 'y', 'y'},
    {"never_synced", 's', 'y', 'y', 'y'},
    {"unverified", 's', 'y', 'y', 'y'},
    {"backup_expired", 's', 'y', 'y', 'y'},
    {"tier_mismatch", 's', 'y', 'y', 'y'},
    {"not_resynced", 's', 'y', 'y', 'y'},
    {"recovery_point_too_old", 's', 'y', 'y', 'y'},
    {"restore_running", 's', 'y', 'y', 'y'},
    {"operation_ambiguous", 's', 'y', 'y', 'y'},
    {"drift", 's', 'o', 'n', 'y'},
};

TEST(BlockerTable, EqualsTheTableOfTheDesignRowByRow) {
  ASSERT_EQ(BlockerTable().size(), std::size(kDesign));
  for (size_t i = 0; i < std::size(kDesign); ++i) {
    const BlockerRule& rule = BlockerTable()[i];
    const Row& row = kDesign[i];
    EXPECT_STREQ(rule.name, row.name);
    EXPECT_EQ(static_cast<size_t>(rule.blocker), i) << row.name;
    EXPECT_EQ(rule.standby, row.scope == 's') << row.name;
    EXPECT_TRUE(rule.stops_automatic) << row.name;
    EXPECT_EQ(rule.stops_manual, row.manual == 'y') << row.name;
    const Force force = row.force == 'a'   ? Force::kByAdopt
                        : row.force == 'n' ? Force::kNever
                        : row.force == 'y' ? Force::kByName
                                           : Force::kNone;
    EXPECT_EQ(rule.force, force) << row.name;
    EXPECT_EQ(FindBlocker(row.name), &rule);
  }
  EXPECT_EQ(FindBlocker("nonsense"), nullptr);
}

TEST(BlockerSetTest, StopsAreTheColumnsOfTheTable) {
  for (const Row& row : kDesign) {
    BlockerSet set;
    set.Set(FindBlocker(row.name)->blocker);
    EXPECT_EQ(StoppingAutomatic(set, false).empty(), row.automatic == 'o') << row.name;
    EXPECT_FALSE(StoppingAutomatic(set, true).empty()) << row.name;
    EXPECT_EQ(StoppingManual(set).empty(), row.manual == 'n') << row.name;
    EXPECT_EQ(set.Names(), std::vector<std::string>{row.name});
    EXPECT_TRUE(set.Without(set).empty());
  }
}

// Each blocker raised in a running group, one at a time, from a state in which none stands.
class BlockersTest : public ::testing::Test {
 protected:
  void SetUp() override {
    d.Synced();
    ASSERT_TRUE(d.state.observed.blockers.group.empty())
        << d.state.observed.blockers.group.Names()[0];
    ASSERT_TRUE(d.state.observed.blockers.Of(1).empty())
        << d.state.observed.blockers.Of(1).Names()[0];
  }
  Driver d;
};

TEST_F(BlockersTest, ModeStandsInObserveAndManual) {
  for (const auto& [mode, blocked] : {std::pair{Mode::kObserve, true},
                                      {Mode::kManual, true},
                                      {Mode::kApprove, false},
                                      {Mode::kAutomatic, false}}) {
    d.config.mode = mode;
    d.Do(ConfigChanged{});
    EXPECT_EQ(d.Blocked(Blocker::kMode), blocked);
  }
}

TEST_F(BlockersTest, PausedStandsUntilResumedOrOver) {
  EXPECT_TRUE(d.Order(OrderPause{}).ok);
  EXPECT_TRUE(d.Blocked(Blocker::kPaused));
  EXPECT_TRUE(d.Order(OrderPause{false}).ok);
  EXPECT_FALSE(d.Blocked(Blocker::kPaused));
  EXPECT_TRUE(d.Order(OrderPause{true, absl::Seconds(20)}).ok);
  d.Run(absl::Seconds(15));
  EXPECT_TRUE(d.Blocked(Blocker::kPaused));
  d.Run(absl::Seconds(10));
  EXPECT_FALSE(d.Blocked(Blocker::kPaused));
}

TEST_F(BlockersTest, NoQuorumStandsWithFewerThanQuorumVotes) {
  d.silent = {false, true, true};
  d.Run(absl::Seconds(10));
  EXPECT_TRUE(d.Blocked(Blocker::kNoQuorum));
  EXPECT_EQ(d.verdict("weu"), Verdict::kUnknown);
}

TEST_F(BlockersTest, StartupGraceEndsWithEnoughFreshResultsOrAfterAMinute) {
  d.silent = {true, true, true};
  d.Restart();
  EXPECT_TRUE(d.Blocked(Blocker::kStartupGrace));
  d.Advance(absl::Seconds(59));
  EXPECT_TRUE(d.Blocked(Blocker::kStartupGrace));
  d.Advance(absl::Seconds(2));
  EXPECT_FALSE(d.Blocked(Blocker::kStartupGrace));
  d.silent = {false, false, true};
  d.Restart();
  EXPECT_TRUE(d.Blocked(Blocker::kStartupGrace));
  d.Run(absl::Seconds(4));
  EXPECT_FALSE(d.Blocked(Blocker::kStartupGrace));
}

TEST_F(BlockersTest, TrafficMismatchStandsAfterAForeignChange) {
  d.endpoints["neu"] = true;
  d.Run(absl::Seconds(35));
  EXPECT_TRUE(d.Blocked(Blocker::kTrafficMismatch));
  EXPECT_TRUE(d.endpoints["neu"]) << "a foreign change is not undone";
  EXPECT_FALSE(d.Order(OrderFailover{"neu", {}}).ok);
  d.endpoints["neu"] = false;
  d.Run(absl::Seconds(35));
  EXPECT_FALSE(d.Blocked(Blocker::kTrafficMismatch));
}

TEST_F(BlockersTest, NotLeaderRefusesEveryOrder) {
  d.Do(LeadershipLost{});
  const Reply reply = d.Order(OrderFailover{});
  EXPECT_FALSE(reply.ok);
  EXPECT_NE(reply.text.find("does not lead"), std::string::npos) << reply.text;
}

TEST_F(BlockersTest, StoreUnavailableStandsUntilARecordIsDurableAgain) {
  d.Do(StoreFailed{"disk full"});
  EXPECT_TRUE(d.Blocked(Blocker::kStoreUnavailable));
  EXPECT_FALSE(d.Order(OrderFailover{"neu", {}}).ok);
  d.Do(Persisted{d.state.observed.persist_requested});
  EXPECT_FALSE(d.Blocked(Blocker::kStoreUnavailable));
}

TEST_F(BlockersTest, SwitchPathBrokenStandsWhenTheTokenIsShortOrNobodyLooked) {
  d.switch_path_ok = false;
  d.Run(absl::Seconds(65));
  EXPECT_TRUE(d.Blocked(Blocker::kSwitchPathBroken));
  EXPECT_FALSE(d.Order(OrderFailover{"neu", {}}).ok);
  d.switch_path_ok = true;
  d.Run(absl::Seconds(15));
  EXPECT_FALSE(d.Blocked(Blocker::kSwitchPathBroken));
  d.Take<CheckSwitchPath>();
  d.Run(absl::Minutes(5));
  EXPECT_TRUE(d.Blocked(Blocker::kSwitchPathBroken)) << "the last proof is too old";
}

TEST_F(BlockersTest, StandbyDownAndUnknownFollowItsVerdict) {
  d.up[1] = {false, false, false};
  d.Run(absl::Seconds(5));
  EXPECT_TRUE(d.Blocked(Blocker::kStandbyDown, "neu"));
  EXPECT_FALSE(d.Blocked(Blocker::kPublicNameUnready, "neu"));
  d.up[1] = {true, true, true};
  d.Run(absl::Seconds(2));
  EXPECT_TRUE(d.Blocked(Blocker::kStandbyUnknown, "neu"));
  d.Run(absl::Seconds(5));
  EXPECT_TRUE(d.state.observed.blockers.Of(1).empty());
}

TEST_F(BlockersTest, PublicNameUnreadyStandsWhenTheStandbyFailsUnderThePublicName) {
  d.failed_stage = FailedStage::kTls;
  d.up[1] = {false, false, false};
  d.Run(absl::Seconds(5));
  EXPECT_TRUE(d.Blocked(Blocker::kPublicNameUnready, "neu"));
}

TEST_F(BlockersTest, BackupExpiredTierAndDataLossFollowTheRecord) {
  v1::ServiceRecord& neu = *d.state.record.mutable_services(1);
  const v1::ServiceRecord kept = neu;
  neu.set_backup_expires_ms(absl::ToUnixMillis(d.now().wall));
  d.Do(Tick{});
  EXPECT_TRUE(d.Blocked(Blocker::kBackupExpired, "neu"));
  neu = kept;
  neu.set_sku("Premium");
  d.Do(Tick{});
  EXPECT_TRUE(d.Blocked(Blocker::kTierMismatch, "neu"));
  neu = kept;
  neu.set_recovery_point_ms(absl::ToUnixMillis(d.now().wall - absl::Hours(25)));
  d.Do(Tick{});
  EXPECT_TRUE(d.Blocked(Blocker::kRecoveryPointTooOld, "neu"));
  neu = kept;
  neu.set_recovery_point_ms(0);
  d.Do(Tick{});
  EXPECT_TRUE(d.Blocked(Blocker::kNeverSynced, "neu"));
  neu = kept;
  neu.set_content_unverified(true);
  d.Do(Tick{});
  EXPECT_TRUE(d.Blocked(Blocker::kUnverified, "neu"));
  neu = kept;
  neu.set_not_resynced(true);
  d.Do(Tick{});
  EXPECT_TRUE(d.Blocked(Blocker::kNotResynced, "neu"));
  neu = kept;
  neu.mutable_drift()->set_found_ms(1);
  d.Do(Tick{});
  EXPECT_TRUE(d.Blocked(Blocker::kDrift, "neu"));
  neu = kept;
  d.Do(Tick{});
  EXPECT_TRUE(d.state.observed.blockers.Of(1).empty());
}

TEST_F(BlockersTest, AnOpenOperationBlocksItsStandby) {
  v1::Operation& operation = *d.state.record.add_operations();
  operation.set_id("00000000000000ff");
  operation.set_service("neu");
  operation.set_kind(v1::OPERATION_KIND_RESTORE);
  for (const auto& [state, blocker] :
       {std::pair{v1::OPERATION_STATE_PLANNED, Blocker::kRestoreRunning},
        {v1::OPERATION_STATE_SENDING, Blocker::kRestoreRunning},
        {v1::OPERATION_STATE_NEEDS_OPERATOR, Blocker::kOperationAmbiguous}}) {
    d.state.record.mutable_operations(d.state.record.operations_size() - 1)->set_state(state);
    d.Do(Tick{});
    EXPECT_TRUE(d.Blocked(blocker, "neu")) << state;
  }
}

TEST_F(BlockersTest, CommonFaultHoldsWhileRegionsFailTogetherAndEndsAfterTenMinutes) {
  d.up[1] = d.up[0] = {false, false, false};
  d.Run(absl::Seconds(20));
  EXPECT_TRUE(d.Blocked(Blocker::kCommonFault));
  EXPECT_EQ(d.Count<SetEndpoint>(), 0) << "uks is fit, and still nothing is switched";
  EXPECT_TRUE(d.RunUntil([&] { return d.Count<SetEndpoint>() > 0; }, absl::Minutes(11)));
  EXPECT_EQ(d.Last<SetEndpoint>()->service.empty(), false);
}

TEST_F(BlockersTest, StandbysThatFailedLongBeforeAreNoCommonFault) {
  d.up[1] = {false, false, false};
  d.Run(absl::Minutes(3));
  d.Outage();
  d.Run(absl::Seconds(6));
  EXPECT_FALSE(d.Blocked(Blocker::kCommonFault));
}

TEST(CommonFault, ADecidingProbeThatFailsAloneRightAfterAConfigurationChangeHolds) {
  GroupConfig config = TestConfig();
  config.probes.push_back(config.probes[0]);
  config.probes[1].name = "deep";
  Driver d(config);
  d.Synced();
  d.config.probes[0].definition = "GET /changed";
  d.Do(ConfigChanged{});
  // Every result of the deciding probe fails from now on, the other probe is good.
  for (int i = 0; i < 20; ++i) {
    d.Advance(absl::Seconds(1));
    for (int region = 0; region < 3; ++region) {
      ProbeResults results;
      results.agent = {config.probe_regions[region], "agent", "instance-1"};
      for (int service = 0; service < 3; ++service) {
        for (int probe = 0; probe < 2; ++probe) {
          ProbeSample sample;
          sample.target = {TargetKind::kService, static_cast<int16_t>(service),
                           static_cast<int16_t>(probe)};
          sample.sequence = 1000 + i;
          sample.success = service != 0 || probe == 1;
          sample.failed_stage = sample.success ? FailedStage::kNone : FailedStage::kAssertion;
          sample.started = sample.completed = d.now().steady;
          results.samples.push_back(sample);
        }
      }
      d.Do(results);
    }
  }
  EXPECT_EQ(d.verdict("weu"), Verdict::kDown);
  EXPECT_TRUE(d.Blocked(Blocker::kCommonFault));
  EXPECT_EQ(d.Count<SetEndpoint>(), 0);
}

}  // namespace
}  // namespace failover::core
