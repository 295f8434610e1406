// Sync runs, the restore guard, freeze and first contact (design.md §6.1–6.7).
#include <gtest/gtest.h>

#include "controller/core/evaluate.h"
#include "controller/core/sync.h"
#include "tests/unit/core/driver.h"

namespace failover::core {
namespace {

class SyncTest : public ::testing::Test {
 protected:
  void SetUp() override { d.Synced(); }
  bool Ended(absl::Duration within = absl::Minutes(15)) {
    const std::string id = d.record().sync_run().id();
    return d.RunUntil(
        [&] {
          return d.record().sync_run().stage() >= v1::SYNC_STAGE_DONE &&
                 d.record().sync_run().id() == id;
        },
        within);
  }
  const v1::RestoreTarget& target(const std::string& name) {
    for (const v1::RestoreTarget& found : d.record().sync_run().targets()) {
      if (found.service() == name) return found;
    }
    static const v1::RestoreTarget kNone;
    return kNone;
  }
  Driver d;
};

TEST_F(SyncTest, ARunBringsEveryStandbyToTheActiveContent) {
  d.services["weu"].content["apis/new"] = "v1";
  ASSERT_TRUE(d.Order(OrderSyncRun{}).ok);
  const int64_t before = absl::ToUnixMillis(d.now().wall);
  ASSERT_TRUE(Ended());
  EXPECT_EQ(d.record().sync_run().stage(), v1::SYNC_STAGE_DONE);
  for (const char* name : {"neu", "uks"}) {
    EXPECT_EQ(d.services[name].content, d.services["weu"].content);
    EXPECT_GE(d.standby(name).recovery_point_ms(), before);
    EXPECT_EQ(d.standby(name).recovery_point_ms(), d.record().sync_run().backup().started_ms())
        << "the START of the backup";
    EXPECT_FALSE(d.standby(name).content_unverified());
  }
}

TEST_F(SyncTest, TwoStandbysAreNeverRestoredAtOnceAndTheWorstComesFirst) {
  d.state.record.mutable_services(2)->set_recovery_point_ms(1000);
  d.Take<StartRestore>();
  ASSERT_TRUE(d.Order(OrderSyncRun{}).ok);
  d.Run(absl::Minutes(5));
  EXPECT_EQ(d.open.size(), 1u);
  EXPECT_EQ(d.Last<StartRestore>()->service, "uks");
}

TEST_F(SyncTest, OneRunPerGroup) {
  ASSERT_TRUE(d.Order(OrderSyncRun{}).ok);
  const Reply reply = d.Order(OrderSyncRun{});
  EXPECT_FALSE(reply.ok);
  EXPECT_NE(reply.text.find("in progress"), std::string::npos) << reply.text;
}

TEST_F(SyncTest, TheScheduleCountsFromTheLastStart) {
  const std::string first = d.record().sync_run().id();
  d.config.sync_interval = absl::Minutes(6);
  d.Run(absl::Minutes(5));
  EXPECT_EQ(d.record().sync_run().id(), first);
  d.Run(absl::Minutes(1));
  EXPECT_NE(d.record().sync_run().id(), first);
}

TEST_F(SyncTest, ABusyOrUnsupportedSourceFailsTheRun) {
  d.services["weu"].idle = false;
  d.Order(OrderSyncRun{});
  d.Run(absl::Seconds(2));
  EXPECT_NE(d.Told().find("weu is busy"), std::string::npos);
  d.services["weu"].idle = true;
  d.services["weu"].refused = "a v2 tier has no backup";
  d.RunUntil([&] { return d.Told().find("v2 tier") != std::string::npos; }, absl::Minutes(10));
  EXPECT_NE(d.Told().find("v2 tier"), std::string::npos);
  EXPECT_EQ(d.Count<StartBackup>(), 1) << "only the run of the fixture made one";
}

TEST_F(SyncTest, AStandbyOfAnotherTierIsLeftOutWithTheReason) {
  d.services["neu"].sku = "Premium";
  d.Order(OrderSyncRun{});
  ASSERT_TRUE(Ended());
  EXPECT_EQ(target("neu").stage(), v1::RESTORE_STAGE_SKIPPED);
  EXPECT_NE(target("neu").reason().find("Premium"), std::string::npos);
  EXPECT_EQ(target("uks").stage(), v1::RESTORE_STAGE_DONE);
  EXPECT_TRUE(d.Blocked(Blocker::kTierMismatch, "neu"));
}

TEST_F(SyncTest, ABackupWhoseBlobIsBadIsNeverRestored) {
  d.take = [&](const Command& c) {
    if (const auto* backup = std::get_if<StartBackup>(&c)) d.bad_blobs.insert(backup->blob);
    return false;
  };
  const int restores = d.Count<StartRestore>();
  d.Order(OrderSyncRun{});
  ASSERT_TRUE(Ended());
  EXPECT_EQ(d.record().sync_run().stage(), v1::SYNC_STAGE_FAILED);
  EXPECT_EQ(d.Count<StartRestore>(), restores);
}

TEST_F(SyncTest, ADriftedStandbyIsNotOverwrittenUntilDiscardedAndThenBackedUpFirst) {
  d.services["neu"].content["apis/foreign"] = "x";
  const int restores = d.Count<StartRestore>();
  d.Order(OrderSyncRun{});
  ASSERT_TRUE(Ended());
  EXPECT_EQ(target("neu").stage(), v1::RESTORE_STAGE_SKIPPED)
      << "a drift waits for a person; trying again sooner is no use";
  EXPECT_TRUE(d.Blocked(Blocker::kDrift, "neu"));
  EXPECT_EQ(d.Count<StartRestore>(), restores + 1) << "uks alone";
  EXPECT_TRUE(d.services["neu"].content.contains("apis/foreign"));
  ASSERT_TRUE(d.Order(OrderStandbyDiscard{"neu"}).ok);
  ASSERT_TRUE(Ended());
  EXPECT_EQ(d.services["neu"].content, d.services["weu"].content);
  EXPECT_FALSE(d.Blocked(Blocker::kDrift, "neu"));
  const std::string kept = d.standby("neu").kept_backup_blob();
  ASSERT_FALSE(kept.empty());
  EXPECT_TRUE(d.blobs[kept].contains("apis/foreign")) << "what was discarded is kept";
}

TEST_F(SyncTest, ASecondDiscardMakesItsOwnBackup) {
  d.services["neu"].content["apis/one"] = "x";
  d.Order(OrderStandbyDiscard{"neu"});
  ASSERT_TRUE(Ended());
  const std::string first = d.standby("neu").kept_backup_blob();
  d.services["neu"].content["apis/two"] = "x";
  d.Order(OrderStandbyDiscard{"neu"});
  ASSERT_TRUE(Ended());
  EXPECT_NE(d.standby("neu").kept_backup_blob(), first);
  EXPECT_TRUE(d.blobs[d.standby("neu").kept_backup_blob()].contains("apis/two"));
}

TEST_F(SyncTest, ADifferenceAfterTheRestoreLeavesTheStandbyUnverified) {
  d.services["weu"].content["apis/new"] = "v1";
  d.take = [&](const Command& c) {  // somebody removes an API while the restore runs
    if (std::holds_alternative<PollOperation>(c) && d.Last<StartRestore>() != nullptr) return false;
    if (std::holds_alternative<ReadFingerprint>(c) &&
        std::get<ReadFingerprint>(c).service == "neu" && d.record().sync_run().targets_size() > 0 &&
        target("neu").stage() == v1::RESTORE_STAGE_VERIFY) {
      d.services["neu"].content.erase("apis/orders");
    }
    return false;
  };
  d.Order(OrderSyncRun{});
  ASSERT_TRUE(Ended());
  EXPECT_EQ(target("neu").stage(), v1::RESTORE_STAGE_FAILED);
  EXPECT_EQ(target("neu").differences(), 1);
  EXPECT_EQ(target("neu").difference_list(0), "missing apis/orders");
  EXPECT_TRUE(d.Blocked(Blocker::kUnverified, "neu"));
}

TEST_F(SyncTest, AForeignFenceRefusesTheRestore) {
  d.fence = Fence{"another-store", 99, 9, "x"};
  const int restores = d.Count<StartRestore>();
  d.Order(OrderSyncRun{});
  ASSERT_TRUE(Ended());
  EXPECT_EQ(d.Count<StartRestore>(), restores);
  EXPECT_NE(target("neu").reason().find("fence"), std::string::npos) << target("neu").reason();
}

TEST_F(SyncTest, APausedGroupStartsNoScheduledRunButObeysAnOrder) {
  d.Order(OrderPause{});
  d.config.sync_interval = absl::Minutes(2);
  const std::string before = d.record().sync_run().id();
  d.Run(absl::Minutes(4));
  EXPECT_EQ(d.record().sync_run().id(), before);
  EXPECT_TRUE(d.Order(OrderSyncRun{}).ok);
  ASSERT_TRUE(Ended());
  EXPECT_EQ(d.record().sync_run().stage(), v1::SYNC_STAGE_DONE);
}

TEST_F(SyncTest, ARunSurvivesARestartAtEveryStage) {
  for (int stage = v1::SYNC_STAGE_PREFLIGHT; stage <= v1::SYNC_STAGE_RESTORE; ++stage) {
    d.services["weu"].content["apis/new"] = std::to_string(stage);
    ASSERT_TRUE(d.Order(OrderSyncRun{}).ok) << stage;
    const std::string id = d.record().sync_run().id();
    d.RunUntil([&] { return d.record().sync_run().stage() >= stage; }, absl::Minutes(5));
    d.Restart();
    ASSERT_TRUE(d.RunUntil(
        [&] {
          return d.services["uks"].content == d.services["weu"].content &&
                 d.record().sync_run().stage() == v1::SYNC_STAGE_DONE;
        },
        absl::Minutes(30)))
        << "stage " << stage << " of " << id << ": " << d.record().sync_run().failure();
  }
}

// ---- the restore guard, condition by condition (§6.3) ----

class GuardTest : public SyncTest {
 protected:
  void SetUp() override {
    SyncTest::SetUp();
    d.Take<StartRestore>();
    ASSERT_TRUE(d.Order(OrderSyncRun{}).ok);
    d.RunUntil([&] { return d.Count<StartRestore>() > 2; }, absl::Minutes(5));
    d.open.clear();
    for (v1::Operation& operation : *d.state.record.mutable_operations()) {
      if (operation.state() == v1::OPERATION_STATE_SENDING)
        operation.set_state(v1::OPERATION_STATE_NEVER_STARTED);
    }
    ASSERT_EQ(Refusal(), "");
  }
  std::string Refusal() {
    return RestoreGuard(Look{d.config, d.state, d.now()}, d.record().sync_run(), d.standby("neu"));
  }
  void Refuses(const char* words) {
    EXPECT_NE(Refusal().find(words), std::string::npos) << "said: \"" << Refusal() << "\"";
  }
  v1::GroupRecord& record() { return d.state.record; }
};

TEST_F(GuardTest, RefusesAnotherEpoch) {
  record().set_epoch(record().epoch() + 1);
  Refuses("roles changed");
}
TEST_F(GuardTest, RefusesWhatIsNotAStandby) {
  record().mutable_services(1)->set_role(v1::ROLE_UNCONFIRMED);
  Refuses("not a standby");
}
TEST_F(GuardTest, RefusesASourceThatIsNoLongerActive) {
  record().mutable_services(0)->set_role(v1::ROLE_STANDBY);
  record().mutable_services(2)->set_role(v1::ROLE_ACTIVE);
  Refuses("no longer active");
}
TEST_F(GuardTest, RefusesTheActiveServiceUnderAnotherName) {
  record().mutable_services(1)->set_resource_id(record().services(0).resource_id());
  Refuses("active service itself");
}
TEST_F(GuardTest, RefusesDuringAFailover) {
  record().mutable_failover()->set_stage(v1::FAILOVER_STAGE_DECIDED);
  Refuses("failover is in progress");
}
TEST_F(GuardTest, RefusesWhileAnApprovalWaits) {
  record().mutable_approval()->set_expires_ms(1);
  Refuses("approval");
}
TEST_F(GuardTest, RefusesWhatTrafficContradicts) {
  d.state.observed.enabled["neu"] = true;
  Refuses("traffic");
  d.state.observed.enabled = {{"weu", false}, {"neu", false}, {"uks", false}};
  Refuses("traffic");
}
TEST_F(GuardTest, RefusesWhenFrozen) {
  record().set_frozen_by_operator(true);
  Refuses("frozen by an operator");
}
TEST_F(GuardTest, RefusesUnlessTheActiveIsUp) {
  d.state.observed.verdicts[0].verdict = Verdict::kUnknown;
  Refuses("unknown");
}
TEST_F(GuardTest, RefusesAFormerActive) {
  record().mutable_services(1)->set_not_resynced(true);
  Refuses("former active");
}
TEST_F(GuardTest, RefusesAnUnprovedExpiredOrForeignTierBackup) {
  v1::BackupRecord& backup = *record().mutable_sync_run()->mutable_backup();
  const v1::BackupRecord good = backup;
  backup.set_checked(false);
  Refuses("not proved");
  backup = good;
  backup.set_expires_ms(absl::ToUnixMillis(d.now().wall));
  Refuses("expired");
  backup = good;
  backup.set_sku("Premium");
  Refuses("tiers differ");
}
TEST_F(GuardTest, RefusesBesideAnotherOperation) {
  v1::Operation& operation = *record().add_operations();
  operation.set_id("x");
  operation.set_service("neu");
  operation.set_kind(v1::OPERATION_KIND_BACKUP);
  operation.set_state(v1::OPERATION_STATE_RUNNING);
  Refuses("operation of ours is open");
  record().mutable_operations(record().operations_size() - 1)->set_service("uks");
  record().mutable_operations(record().operations_size() - 1)->set_kind(v1::OPERATION_KIND_RESTORE);
  Refuses("another standby");
}
TEST_F(GuardTest, RefusesAScheduledRunWhilePaused) {
  record().mutable_sync_run()->set_trigger("schedule");
  record().mutable_pause()->set_active(true);
  Refuses("paused");
}

// ---- freeze (§6.4) ----

TEST_F(SyncTest, ADownVoteFreezesRestoresForTenMinutesAndNeverBackups) {
  d.config.rpo_objective = absl::InfiniteDuration();
  d.up[0][2] = false;
  d.Run(absl::Seconds(5));
  d.up[0][2] = true;
  d.Run(absl::Seconds(10));
  ASSERT_EQ(d.verdict("weu"), Verdict::kUp);
  const int restores = d.Count<StartRestore>(), backups = d.Count<StartBackup>();
  d.Order(OrderSyncRun{});
  d.Run(absl::Minutes(8));
  EXPECT_EQ(d.Count<StartBackup>(), backups + 1);
  EXPECT_EQ(d.Count<StartRestore>(), restores);
  d.Restart();
  d.Run(absl::Minutes(1));
  EXPECT_EQ(d.Count<StartRestore>(), restores) << "a restart does not forget the vote";
  d.Run(absl::Minutes(2));
  EXPECT_GT(d.Count<StartRestore>(), restores);
}

TEST_F(SyncTest, AWallClockThatIsSetNeitherEndsAFreezeNorProlongsIt) {
  d.config.rpo_objective = absl::InfiniteDuration();
  for (const absl::Duration jump : {absl::Hours(1), -absl::Hours(1)}) {
    d.up[0][2] = false;
    d.Run(absl::Seconds(5));
    d.up[0][2] = true;
    d.Run(absl::Seconds(10));
    d.SkipWall(jump);
    d.Run(absl::Minutes(8));
    EXPECT_NE(FreezeReason(Look{d.config, d.state, d.now()}), "") << jump;
    d.Run(absl::Minutes(3));
    EXPECT_EQ(FreezeReason(Look{d.config, d.state, d.now()}), "") << jump;
  }
}

TEST_F(SyncTest, ALoneDissentFreezesNoMoreAfterTenMinutes) {
  d.config.rpo_objective = absl::InfiniteDuration();
  d.up[0][2] = false;
  d.Run(absl::Minutes(9));
  EXPECT_NE(FreezeReason(Look{d.config, d.state, d.now()}), "");
  d.Run(absl::Minutes(2));
  EXPECT_EQ(FreezeReason(Look{d.config, d.state, d.now()}), "");
}

TEST(Freeze, ASecondShortDissentFreezesAgainBesideAnOldOne) {
  GroupConfig config = TestConfig();
  config.rpo_objective = absl::InfiniteDuration();
  config.probe_regions = {"westeurope", "northeurope", "uksouth", "eastus", "westus"};
  config.quorum = 3;
  Driver d(config);
  d.Confirm();
  d.up[0][2] = false;
  d.Run(absl::Minutes(11));
  EXPECT_EQ(FreezeReason(Look{d.config, d.state, d.now()}), "");
  d.up[0][1] = false;
  d.Run(absl::Seconds(4));
  d.up[0][1] = true;
  d.Run(absl::Seconds(10));
  ASSERT_EQ(d.verdict("weu"), Verdict::kUp);
  EXPECT_NE(FreezeReason(Look{d.config, d.state, d.now()}), "") << "a down vote is 10 seconds old";
}

TEST_F(SyncTest, FiveMinutesOfUpThawWhenTheObjectiveIsHalfSpent) {
  d.config.rpo_objective = absl::Minutes(10);
  d.Run(absl::Minutes(6));
  d.up[0][2] = false;
  d.Run(absl::Seconds(30));
  d.up[0][2] = true;
  d.Run(absl::Seconds(10));
  EXPECT_EQ(FreezeReason(Look{d.config, d.state, d.now()}), "")
      << "up all the time, and RPO beyond half of it";
}

TEST_F(SyncTest, TheOperatorsFreezeOutlivesARestart) {
  ASSERT_TRUE(d.Order(OrderFreeze{true}).ok);
  d.Restart();
  d.Run(absl::Seconds(20));
  EXPECT_NE(FreezeReason(Look{d.config, d.state, d.now()}).find("operator"), std::string::npos);
  ASSERT_TRUE(d.Order(OrderFreeze{false}).ok);
  d.Run(absl::Seconds(5));
  EXPECT_EQ(FreezeReason(Look{d.config, d.state, d.now()}), "");
}

// ---- first contact (§6.5) ----

TEST(FirstContact, RolesFollowTheOnlyEnabledEndpointAndThePublicName) {
  Driver d;
  d.Confirm();
  EXPECT_EQ(d.record().services(0).role(), v1::ROLE_ACTIVE);
  EXPECT_EQ(d.record().services(1).role(), v1::ROLE_STANDBY);
  EXPECT_EQ(d.record().epoch(), 1u);
}

TEST(FirstContact, RolesStayUnconfirmedWhenTrafficOrThePublicNameDisagree) {
  for (int wrong = 0; wrong < 4; ++wrong) {
    Driver d;
    if (wrong == 0) d.endpoints["neu"] = true;
    if (wrong == 1) d.endpoints["weu"] = false;
    if (wrong == 2) d.public_from = "neu";
    if (wrong == 3) d.fence = Fence{"another-store", 12, 5, "x"};
    d.Confirm();
    EXPECT_EQ(d.record().services(0).role(), v1::ROLE_UNCONFIRMED) << wrong;
    EXPECT_TRUE(d.Blocked(Blocker::kRolesUnconfirmed)) << wrong;
    EXPECT_EQ(d.Count<StartBackup>() + d.Count<SetEndpoint>(), 0) << wrong;
    EXPECT_FALSE(d.Order(OrderSyncRun{}).ok) << wrong;
    EXPECT_FALSE(d.Order(OrderFailover{"neu", {}}).ok) << wrong;
  }
}

TEST(FirstContact, AdoptStartsTermAndEpochAboveTheFence) {
  Driver d;
  d.fence = Fence{"another-store", 12, 5, "x"};
  d.Confirm();
  EXPECT_TRUE(d.Order(OrderAdopt{"weu"}, "", true).ok);
  EXPECT_EQ(d.record().services(0).role(), v1::ROLE_UNCONFIRMED) << "a dry run changes nothing";
  ASSERT_TRUE(d.Order(OrderAdopt{"weu"}).ok);
  EXPECT_EQ(d.record().services(0).role(), v1::ROLE_ACTIVE);
  EXPECT_GT(d.record().epoch(), 12u);
  EXPECT_GT(d.record().term(), 5u);
  EXPECT_TRUE(d.RunUntil([&] { return d.record().sync_run().stage() == v1::SYNC_STAGE_DONE; },
                         absl::Minutes(15)))
      << "restores are not refused by the fence that was adopted";
}

TEST(FirstContact, AStandbyWithContentOfItsOwnIsRestoredOnlyAfterAdoptAndABackup) {
  Driver d;
  d.services["neu"].pristine = false;
  d.services["neu"].content = {{"apis/theirs", "x"}};
  d.Confirm();
  d.RunUntil([&] { return d.record().sync_run().stage() >= v1::SYNC_STAGE_DONE; },
             absl::Minutes(15));
  EXPECT_TRUE(d.services["neu"].content.contains("apis/theirs"));
  EXPECT_TRUE(d.Blocked(Blocker::kNeverSynced, "neu"));
  ASSERT_TRUE(d.Order(OrderSyncRun{"neu"}).ok);
  d.RunUntil([&] { return d.record().sync_run().stage() >= v1::SYNC_STAGE_DONE; },
             absl::Minutes(15));
  EXPECT_EQ(d.services["neu"].content, d.services["weu"].content);
  EXPECT_TRUE(d.blobs[d.standby("neu").kept_backup_blob()].contains("apis/theirs"));
}

TEST(Differences, LeaveOutWhatChangedDuringTheBackup) {
  const Entities before = {{"apis/a", "1"}, {"apis/b", "1"}, {"apis/c", "1"}},
                 after = {{"apis/a", "1"}, {"apis/b", "2"}, {"apis/d", "1"}};
  std::vector<std::string> list;
  EXPECT_EQ(DifferencesFromBackup(before, after, {{"apis/a", "1"}, {"apis/b", "9"}}, &list), 0);
  EXPECT_EQ(DifferencesFromBackup(before, after, {{"apis/a", "2"}, {"apis/x", "1"}}, &list), 2);
  EXPECT_EQ(list, (std::vector<std::string>{"changed apis/a", "extra apis/x"}));
  EXPECT_EQ(DifferencesFromBackup(before, after, {}, nullptr), 1);
}

}  // namespace
}  // namespace failover::core
