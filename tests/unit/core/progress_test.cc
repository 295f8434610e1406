// What long steps took, what the next should take, and since when something holds.
#include "controller/core/progress.h"

#include <gtest/gtest.h>

#include "controller/core/evaluate.h"
#include "controller/core/status.h"
#include "tests/unit/core/driver.h"

namespace failover::core {
namespace {

class ProgressTest : public ::testing::Test {
 protected:
  void SetUp() override { d.Synced(); }
  v1::GroupStatus Status() { return StatusOf(d.config, d.state, d.now()); }
  int Samples(const std::string& step) {
    for (const v1::StepDurations& durations : d.record().step_durations()) {
      if (durations.step() == step) return durations.ms_size();
    }
    return 0;
  }
  int64_t now_ms() { return absl::ToUnixMillis(d.now().wall); }
  bool RunEnded() {
    return d.RunUntil([&] { return d.record().sync_run().stage() >= v1::SYNC_STAGE_DONE; },
                      absl::Minutes(15));
  }
  Driver d;
};

TEST_F(ProgressTest, ARunAndItsStepsAreKeptWhenTheyEndWell) {
  const int runs = Samples(kStepRun), verified = Samples(kStepVerify), read = Samples(kStepRead);
  EXPECT_GT(runs, 0) << "of the first run";
  d.services["weu"].content["apis/new"] = "v1";
  ASSERT_TRUE(d.Order(OrderSyncRun{}).ok);
  const int64_t begun = now_ms();
  ASSERT_TRUE(RunEnded());
  EXPECT_EQ(Samples(kStepRun), runs + 1);
  EXPECT_EQ(Samples(kStepVerify), verified + 2) << "two standbys";
  EXPECT_EQ(Samples(kStepRead), read + 2) << "before and after the backup";
  const v1::GroupStatus status = Status();
  bool told = false;
  for (const v1::StepForecast& forecast : status.forecasts()) {
    if (forecast.step() != kStepRun) continue;
    told = true;
    EXPECT_EQ(forecast.samples(), runs + 1);
    EXPECT_GE(forecast.p95_ms(), 2 * absl::ToInt64Milliseconds(d.operation_time))
        << "a backup and restores of some seconds each";
    EXPECT_LE(forecast.p95_ms(), now_ms() - begun + absl::ToInt64Milliseconds(absl::Hours(1)));
  }
  EXPECT_TRUE(told);
}

TEST_F(ProgressTest, AFailedRunTeachesNothing) {
  const int runs = Samples(kStepRun);
  d.services["weu"].reachable = false;
  ASSERT_TRUE(d.Order(OrderSyncRun{}).ok);
  ASSERT_TRUE(RunEnded());
  EXPECT_EQ(d.record().sync_run().stage(), v1::SYNC_STAGE_FAILED);
  EXPECT_EQ(Samples(kStepRun), runs);
}

TEST_F(ProgressTest, AStageSaysSinceWhen) {
  d.Take<ReadFingerprint>();
  ASSERT_TRUE(d.Order(OrderSyncRun{}).ok);
  ASSERT_TRUE(
      d.RunUntil([&] { return d.record().sync_run().stage() == v1::SYNC_STAGE_READ_BEFORE; },
                 absl::Minutes(1)));
  const int64_t since = d.record().sync_run().stage_since_ms();
  EXPECT_GE(since, d.record().sync_run().started_ms());
  d.Advance(absl::Seconds(20));
  EXPECT_EQ(d.record().sync_run().stage_since_ms(), since);
}

TEST_F(ProgressTest, AFailoversMomentsAreKeptSinceItsDecision) {
  d.Outage();
  ASSERT_TRUE(d.RunUntil([&] { return d.record().services(0).role() != v1::ROLE_ACTIVE; },
                         absl::Seconds(30)));
  EXPECT_EQ(Samples(kStepFailover), 0) << "not over yet";
  d.public_from = "neu";
  ASSERT_TRUE(d.RunUntil([&] { return d.record().failover().stage() == v1::FAILOVER_STAGE_DONE; },
                         absl::Seconds(30)));
  const v1::Failover& failover = d.record().failover();
  for (const char* step : {kStepEnable, kStepSwitch, kStepDisable, kStepVisible, kStepFailover})
    EXPECT_EQ(Samples(step), 1) << step;
  EXPECT_EQ(absl::ToInt64Milliseconds(P95OfStep(d.record(), kStepVisible)),
            failover.visible_ms() - failover.decided_ms());
  EXPECT_EQ(absl::ToInt64Milliseconds(P95OfStep(d.record(), kStepFailover)),
            failover.ended_ms() - failover.decided_ms());
  const v1::GroupStatus status = Status();
  EXPECT_EQ(status.cooldown_since_ms(), failover.enable_sent_ms());
  EXPECT_EQ(status.cooldown_until_ms() - status.cooldown_since_ms(),
            absl::ToInt64Milliseconds(d.config.cooldown));
}

TEST_F(ProgressTest, OnlyTheLastTwentyAreKept) {
  for (int i = 1; i <= 25; ++i) NoteStep(d.state.record, "x", 1000, 1000 + i);
  NoteStep(d.state.record, "x", 1000, 995);  // a clock that was set
  NoteStep(d.state.record, "x", 0, 1000);  // a record of an older version: since when is not known
  ASSERT_EQ(Samples("x"), 20);
  EXPECT_EQ(P95OfStep(d.record(), "x"), absl::Milliseconds(24));
  EXPECT_EQ(P95OfStep(d.record(), "y"), absl::ZeroDuration());
}

TEST_F(ProgressTest, FailedVerificationsInARowAreKeptUntilOneIsGood) {
  bool spoil = true;  // what is restored is not what was backed up
  d.take = [&](const Command& command) {
    const auto* read = std::get_if<ReadFingerprint>(&command);
    const v1::SyncRun& run = d.record().sync_run();
    const bool verifies = run.next_target() < run.targets_size() &&
                          run.targets(run.next_target()).stage() == v1::RESTORE_STAGE_VERIFY;
    if (spoil && read != nullptr && read->service == "neu" && verifies)
      d.services["neu"].content["apis/ghost"] = "x";
    return false;
  };
  ASSERT_TRUE(d.Order(OrderSyncRun{}).ok);
  ASSERT_TRUE(
      d.RunUntil([&] { return d.standby("neu").verify_failures_in_a_row() == 2; }, absl::Hours(1)))
      << d.Told();
  EXPECT_EQ(d.standby("uks").verify_failures_in_a_row(), 0);
  spoil = false;
  ASSERT_TRUE(d.RunUntil([&] { return !d.standby("neu").content_unverified(); }, absl::Hours(1)));
  EXPECT_EQ(d.standby("neu").verify_failures_in_a_row(), 0);
}

TEST_F(ProgressTest, AFreezeSaysSinceWhenAndUntilWhen) {
  d.config.rpo_objective = absl::InfiniteDuration();
  EXPECT_EQ(Status().frozen_since_ms(), 0);
  d.up[0][2] = false;
  ASSERT_TRUE(
      d.RunUntil([&] { return !d.state.observed.dissent_since.empty(); }, absl::Minutes(1)));
  const int64_t began = now_ms();
  const int64_t hold = absl::ToInt64Milliseconds(d.config.timing.freeze_hold);
  d.Run(absl::Minutes(2));
  v1::GroupStatus status = Status();
  EXPECT_TRUE(status.frozen());
  EXPECT_NEAR(static_cast<double>(status.frozen_since_ms()), static_cast<double>(began), 1000);
  EXPECT_NEAR(static_cast<double>(status.frozen_until_ms()), static_cast<double>(began + hold),
              1000);
  d.Run(d.config.timing.freeze_hold);
  EXPECT_FALSE(Status().frozen()) << Status().frozen_reason();
}

TEST_F(ProgressTest, ALoneDissentIsTheRegionsOnceItIsOlderThanTheFreeze) {
  const auto dissenting = [&] {
    std::string regions;
    const v1::GroupStatus status = Status();
    for (const v1::ServiceStatus& service : status.services()) {
      for (const v1::RegionStatus& region : service.regions())
        if (region.dissenting()) regions += service.name() + "/" + region.probe_region() + " ";
    }
    return regions;
  };
  d.up[0][2] = false;
  d.Run(d.config.timing.freeze_hold / 2);
  EXPECT_EQ(dissenting(), "");
  d.Run(d.config.timing.freeze_hold);
  EXPECT_EQ(dissenting(), "weu/" + d.config.probe_regions[2] + " ");
  d.up[0][2] = true;
  d.Run(absl::Minutes(1));
  EXPECT_EQ(dissenting(), "");
}

TEST_F(ProgressTest, TheOperatorsFreezeSaysSinceWhenAlsoAfterARestart) {
  ASSERT_TRUE(d.Order(OrderFreeze{true}).ok);
  const int64_t began = now_ms();
  d.Run(absl::Minutes(1));
  EXPECT_EQ(Status().frozen_since_ms(), began);
  EXPECT_EQ(Status().frozen_until_ms(), 0);
  d.Restart();
  d.Run(absl::Minutes(1));
  EXPECT_EQ(Status().frozen_since_ms(), began);
}

TEST_F(ProgressTest, AnAmbiguousOperationSaysUntilWhenItIsLookedAt) {
  d.Take<StartBackup>();
  ASSERT_TRUE(d.Order(OrderSyncRun{}).ok);
  ASSERT_TRUE(d.RunUntil([&] { return !d.open.empty(); }, absl::Minutes(1)));
  const StartBackup backup = std::get<StartBackup>(d.open.front());
  d.Do(OperationStarted{backup.call, backup.operation_id, {CallStatus::kUnclear, {}}, "", 0});
  const v1::GroupStatus status = Status();
  const v1::ServiceStatus& weu = status.services(0);
  ASSERT_EQ(weu.operation().state(), v1::OPERATION_STATE_AMBIGUOUS);
  EXPECT_EQ(weu.watch_until_ms() - weu.operation().ambiguous_since_ms(),
            absl::ToInt64Milliseconds(d.config.timing.ambiguity_wait +
                                      std::max(2 * P95(d.record(), v1::OPERATION_KIND_BACKUP),
                                               d.config.timing.ambiguity_watch)));
}

}  // namespace
}  // namespace failover::core
