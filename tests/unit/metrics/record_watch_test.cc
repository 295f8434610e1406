#include <cmath>
#include <map>
#include <string>

#include "absl/strings/str_cat.h"
#include "common/exposition.h"
#include "gtest/gtest.h"
#include "tests/unit/metrics/fixture.h"

namespace failover::metrics {
namespace {

class RecordWatchTest : public MetricsTest {
 protected:
  double Switches() {
    double sum = 0;
    for (const auto& [labels, count] : Samples("apim_failover_switches_total")) sum += count;
    return sum;
  }
};

constexpr char kBackups[] = "failover_group=orders,apim_service=weu,operation=backup,result=";

TEST_F(RecordWatchTest, OperationsAreCountedOnceFromZeroAndNotThoseOfThePast) {
  v1::GroupRecord record = Record();
  AddOperation("0", v1::OPERATION_KIND_BACKUP, v1::OPERATION_STATE_SUCCEEDED,
               record);  // of a former leader
  metrics_->RecordIs(record);
  EXPECT_EQ(Value("apim_failover_sync_operations_total", absl::StrCat(kBackups, "success")), 0);
  AddOperation("1", v1::OPERATION_KIND_BACKUP, v1::OPERATION_STATE_RUNNING, record);
  metrics_->RecordIs(record);
  EXPECT_EQ(Value("apim_failover_sync_operations_total", absl::StrCat(kBackups, "success")), 0);
  record.mutable_operations(1)->set_state(v1::OPERATION_STATE_SUCCEEDED);
  AddOperation("2", v1::OPERATION_KIND_BACKUP, v1::OPERATION_STATE_FAILED, record);
  AddOperation("3", v1::OPERATION_KIND_BACKUP, v1::OPERATION_STATE_LOST, record);
  AddOperation("4", v1::OPERATION_KIND_BACKUP, v1::OPERATION_STATE_ABANDONED, record);
  metrics_->RecordIs(record);
  metrics_->RecordIs(record);
  EXPECT_EQ(Value("apim_failover_sync_operations_total", absl::StrCat(kBackups, "success")), 1);
  EXPECT_EQ(Value("apim_failover_sync_operations_total", absl::StrCat(kBackups, "failure")), 2);
  EXPECT_EQ(Value("apim_failover_sync_operations_total", absl::StrCat(kBackups, "cancelled")), 1);
  EXPECT_EQ(
      Value("apim_failover_sync_operation_duration_seconds", "operation=backup,result=success"), 1);
  EXPECT_EQ(Value("apim_failover_sync_last_duration_seconds",
                  "failover_group=orders,apim_service=weu,operation=backup"),
            60);
}

TEST_F(RecordWatchTest, VerificationsAreCountedByRunAndStandby) {
  const std::string verify = "failover_group=orders,apim_service=neu,operation=verify,result=";
  v1::GroupRecord record = Record();
  metrics_->RecordIs(record);
  record.mutable_sync_run()->set_id("R1");
  v1::RestoreTarget* target = record.mutable_sync_run()->add_targets();
  target->set_service("neu");
  target->set_stage(v1::RESTORE_STAGE_VERIFY);
  metrics_->RecordIs(record);
  EXPECT_EQ(Value("apim_failover_sync_operations_total", verify + "success"), 0);
  target->set_stage(v1::RESTORE_STAGE_DONE);
  metrics_->RecordIs(record);
  metrics_->RecordIs(record);
  EXPECT_EQ(Value("apim_failover_sync_operations_total", verify + "success"), 1);
  record.mutable_sync_run()->set_id("R2");
  target->set_stage(v1::RESTORE_STAGE_FAILED);
  target->set_differences(3);
  metrics_->RecordIs(record);
  EXPECT_EQ(Value("apim_failover_sync_operations_total", verify + "failure"), 1);
}

TEST_F(RecordWatchTest, EndedFailoverIsCountedOnceWithItsMeasuredTime) {
  v1::GroupRecord record = Record();
  metrics_->RecordIs(record);
  EndFailover(v1::FAILOVER_STAGE_CONFIRMING, record);
  metrics_->RecordIs(record);
  EXPECT_EQ(Switches(), 0);
  EndFailover(v1::FAILOVER_STAGE_DONE, record);
  metrics_->RecordIs(record);
  metrics_->RecordIs(record);
  EXPECT_EQ(
      Value("apim_failover_switches_total",
            "failover_group=orders,from_region=westeurope,to_region=northeurope,kind=failover,"
            "trigger=automatic,result=success"),
      1);
  EXPECT_EQ(Value("apim_failover_rto_seconds", "result=success,trigger=automatic"), 1);
  EXPECT_EQ(Value("apim_failover_rto_phase_seconds", "phase=visible"), 1);
}

TEST_F(RecordWatchTest, SwitchThatWasNeverSeenAndAbortedOneHaveNoRto) {
  v1::GroupRecord record = Record();
  metrics_->RecordIs(record);
  EndFailover(v1::FAILOVER_STAGE_SWITCHED_NOT_SEEN, record);
  metrics_->RecordIs(record);
  EndFailover(v1::FAILOVER_STAGE_ABORTED, record);
  metrics_->RecordIs(record);
  EXPECT_EQ(Switches(), 2);
  EXPECT_EQ(Value("apim_failover_rto_seconds", "result=success,trigger=automatic"), 0);
}

TEST_F(RecordWatchTest, BackupOfTheRecordIsShownEvenWhileANewRunIsOpen) {
  metrics_->RecordIs(Record());
  const std::string labels = "failover_group=orders,apim_service=weu";
  EXPECT_EQ(Value("apim_failover_backup_last_success_timestamp_seconds", labels),
            static_cast<double>(kNow - kHour) / 1000);
  EXPECT_EQ(Value("apim_failover_backup_size_bytes", labels), 4096);
  EXPECT_EQ(Value("apim_failover_backup_expiry_timestamp_seconds", "failover_group=orders"),
            static_cast<double>(kNow + 30 * 24 * kHour) / 1000);
}

TEST_F(RecordWatchTest, WhatAnotherLeaderEndedInBetweenIsNotCounted) {
  v1::GroupRecord record = Record();
  metrics_->RecordLoaded(record);
  AddOperation("1", v1::OPERATION_KIND_BACKUP, v1::OPERATION_STATE_SUCCEEDED, record);
  metrics_->RecordIs(record);
  // The term is lost; another leader ends a backup, a verification and a failover.
  AddOperation("2", v1::OPERATION_KIND_BACKUP, v1::OPERATION_STATE_SUCCEEDED, record);
  record.mutable_sync_run()->set_id("R1");
  v1::RestoreTarget* target = record.mutable_sync_run()->add_targets();
  target->set_service("neu");
  target->set_stage(v1::RESTORE_STAGE_DONE);
  EndFailover(v1::FAILOVER_STAGE_DONE, record);
  metrics_->RecordLoaded(record);
  metrics_->RecordIs(record);
  const std::string done = absl::StrCat(kBackups, "success");
  EXPECT_EQ(Value("apim_failover_sync_operations_total", done), 1) << "only our own";
  EXPECT_EQ(Value("apim_failover_sync_operations_total",
                  "failover_group=orders,apim_service=neu,operation=verify,result=success"),
            0);
  EXPECT_EQ(Switches(), 0);
  EXPECT_EQ(Value("apim_failover_rto_seconds", "result=success,trigger=automatic"), 0);
  AddOperation("3", v1::OPERATION_KIND_BACKUP, v1::OPERATION_STATE_SUCCEEDED, record);
  metrics_->RecordIs(record);
  EXPECT_EQ(Value("apim_failover_sync_operations_total", done), 2) << "and goes on from there";
}

TEST_F(RecordWatchTest, FailuresInARowAreCountedByServiceFromTheRecord) {
  const auto in_a_row = [this](const std::string& service, const std::string& operation) {
    return Value(
        "apim_failover_sync_consecutive_failures",
        absl::StrCat("failover_group=orders,apim_service=", service, ",operation=", operation));
  };
  v1::GroupRecord record = Record();
  metrics_->RecordLoaded(record);
  for (const char* service : {"weu", "neu"}) {
    for (const char* operation : {"backup", "restore", "verify"})
      EXPECT_EQ(in_a_row(service, operation), 0) << service << " " << operation;
  }
  AddOperation("1", v1::OPERATION_KIND_BACKUP, v1::OPERATION_STATE_SUCCEEDED, record);
  AddOperation("2", v1::OPERATION_KIND_BACKUP, v1::OPERATION_STATE_FAILED, record);
  AddOperation("3", v1::OPERATION_KIND_BACKUP, v1::OPERATION_STATE_LOST, record);
  AddOperation("4", v1::OPERATION_KIND_BACKUP, v1::OPERATION_STATE_ABANDONED, record);
  AddOperation("5", v1::OPERATION_KIND_RESTORE, v1::OPERATION_STATE_NEVER_STARTED, record);
  record.mutable_operations(4)->set_sent_ms(0);  // the guard did not hold: nothing was sent
  metrics_->RecordLoaded(record);                // a new leader knows of them too
  EXPECT_EQ(in_a_row("weu", "backup"), 2) << "giving one up is no failure";
  EXPECT_EQ(in_a_row("neu", "restore"), 0);
  standby().mutable_record()->set_verify_failures_in_a_row(2);
  group().mutable_sync()->set_failures_in_a_row(3);
  EXPECT_EQ(in_a_row("neu", "verify"), 2);
  EXPECT_EQ(in_a_row("weu", "run"), 3);
  AddOperation("6", v1::OPERATION_KIND_BACKUP, v1::OPERATION_STATE_SUCCEEDED, record);
  metrics_->RecordIs(record);
  EXPECT_EQ(in_a_row("weu", "backup"), 0);
}

TEST_F(RecordWatchTest, CountersOfARemovedGroupGo) {
  v1::GroupRecord record = Record();
  metrics_->RecordLoaded(record);
  AddOperation("1", v1::OPERATION_KIND_BACKUP, v1::OPERATION_STATE_SUCCEEDED, record);
  metrics_->RecordIs(record);
  EXPECT_FALSE(Samples("apim_failover_sync_operations_total").empty());
  snapshot_.groups.clear();
  EXPECT_TRUE(Samples("apim_failover_sync_operations_total").empty());
  EXPECT_TRUE(Samples("apim_failover_switches_total").empty());
}

TEST_F(RecordWatchTest, ExemplarsNameTheOperationAndTheFailover) {
  v1::GroupRecord record = Record();
  metrics_->RecordLoaded(record);
  AddOperation("0123456789abcdef", v1::OPERATION_KIND_BACKUP, v1::OPERATION_STATE_SUCCEEDED,
               record);
  EndFailover(v1::FAILOVER_STAGE_DONE, record);
  metrics_->RecordIs(record);
  const auto all = metrics_->exemplars()->All();
  const auto& backups = all.at("apim_failover_sync_operation_duration_seconds")
                            .at({{"operation", "backup"}, {"result", "success"}});
  ASSERT_EQ(backups.count(60), 1u) << "a minute";
  EXPECT_EQ(backups.at(60).trace_id, "0123456789abcdef");
  const auto& rto =
      all.at("apim_failover_rto_seconds").at({{"trigger", "automatic"}, {"result", "success"}});
  ASSERT_EQ(rto.count(15), 1u) << "ten seconds";
  EXPECT_EQ(rto.at(15).trace_id, record.failover().id());
}

}  // namespace
}  // namespace failover::metrics
