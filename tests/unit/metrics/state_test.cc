#include <cmath>
#include <map>
#include <string>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "tests/unit/metrics/fixture.h"

namespace failover::metrics {
namespace {

TEST_F(MetricsTest, UnknownRpoIsInfiniteAndNotAbsent) {
  standby().set_rpo_now_ms(-1);
  standby().set_rpo_source("");
  group().set_rpo_now_ms(-1);
  EXPECT_TRUE(std::isinf(Value("apim_failover_rpo_seconds",
                               "failover_group=orders,apim_service=neu,source=recovery_point")));
  EXPECT_TRUE(std::isinf(
      Value("apim_failover_group_rpo_seconds", "failover_group=orders,source=recovery_point")));
}

TEST_F(MetricsTest, KnownRpoIsInSeconds) {
  EXPECT_EQ(Value("apim_failover_rpo_seconds",
                  "failover_group=orders,apim_service=neu,source=recovery_point"),
            90);
}

TEST_F(MetricsTest, RecoveryPointIsAbsentAndTheStandbyUnprotectedWhileItHoldsNothing) {
  standby().mutable_record()->set_recovery_point_ms(0);
  EXPECT_TRUE(Samples("apim_failover_recovery_point_timestamp_seconds").empty());
  EXPECT_EQ(Value("apim_failover_standby_protected",
                  "failover_group=orders,azure_region=northeurope,apim_service=neu"),
            0);
}

TEST_F(MetricsTest, ExpiredOrUnverifiedContentProtectsNobody) {
  const std::string labels = "failover_group=orders,azure_region=northeurope,apim_service=neu";
  EXPECT_EQ(Value("apim_failover_standby_protected", labels), 1);
  standby().mutable_record()->set_backup_expires_ms(kNow);
  EXPECT_EQ(Value("apim_failover_standby_protected", labels), 0);
  standby().mutable_record()->set_backup_expires_ms(kNow + 1);
  standby().mutable_record()->set_content_unverified(true);
  EXPECT_EQ(Value("apim_failover_standby_protected", labels), 0);
}

TEST_F(MetricsTest, EveryBlockerIsPresentAndOnlyTheActiveOneIsSet) {
  const std::map<std::string, double> blocked = Samples("apim_failover_blocked");
  EXPECT_EQ(blocked.size(), 12u);
  double sum = 0;
  for (const auto& [labels, value] : blocked) sum += value;
  EXPECT_EQ(sum, 1);
  EXPECT_EQ(Value("apim_failover_blocked", "failover_group=orders,reason=cooldown"), 1);
  EXPECT_EQ(Samples("apim_failover_standby_blocked").size(), 12u);
  EXPECT_EQ(
      Value("apim_failover_standby_blocked", "failover_group=orders,apim_service=neu,reason=drift"),
      0);
  standby().clear_blockers();
  AddBlockers(true, "drift", standby().mutable_blockers());
  EXPECT_EQ(
      Value("apim_failover_standby_blocked", "failover_group=orders,apim_service=neu,reason=drift"),
      1);
}

TEST_F(MetricsTest, GroupThatIsNotLoadedYetDoesNotClaimToBeUnblocked) {
  v1::GroupStatus& loading = group();
  loading.clear_blockers();
  loading.clear_services();
  loading.set_state("unknown");
  EXPECT_TRUE(Samples("apim_failover_blocked").empty());
  EXPECT_EQ(Value("apim_failover_group_state", "failover_group=orders,state=unknown"), 1);
}

TEST_F(MetricsTest, StateSetsHaveExactlyOneSeriesThatHolds) {
  group().set_state("failing_over");
  const std::map<std::string, double> states = Samples("apim_failover_group_state");
  EXPECT_EQ(states.size(), 6u);
  EXPECT_EQ(states.at("failover_group=orders,state=failing_over"), 1);
  EXPECT_EQ(states.at("failover_group=orders,state=healthy"), 0);
  const std::string service = "failover_group=orders,azure_region=northeurope,apim_service=neu,";
  EXPECT_EQ(Value("apim_failover_service_role", service + "role=standby"), 1);
  EXPECT_EQ(Value("apim_failover_service_role", service + "role=active"), 0);
  standby().set_verdict("down");
  EXPECT_EQ(Value("apim_failover_service_verdict", service + "verdict=down"), 1);
  EXPECT_EQ(Value("apim_failover_service_verdict", service + "verdict=up"), 0);
  standby().mutable_regions(2)->set_vote(v1::VOTE_DOWN);
  EXPECT_EQ(Value("apim_failover_probe_region_vote", service + "probe_region=uksouth,vote=down"),
            1);
  EXPECT_EQ(Value("apim_failover_probe_region_vote", service + "probe_region=uksouth,vote=up"), 0);
  EXPECT_EQ(Value("apim_failover_service_votes", service + "vote=up"), 2);
  EXPECT_EQ(Value("apim_failover_service_votes", service + "vote=down"), 1);
  EXPECT_EQ(Value("apim_failover_service_votes", service + "vote=unknown"), 0);
}

TEST_F(MetricsTest, StateOfAnotherVersionIsShownAsUnknown) {
  group().set_state("dreaming");
  EXPECT_EQ(Value("apim_failover_group_state", "failover_group=orders,state=unknown"), 1);
}

TEST_F(MetricsTest, UnknownVerdictIsNotHealthy) {
  const std::string labels =
      "failover_group=orders,azure_region=westeurope,apim_service=weu,role=active";
  EXPECT_EQ(Value("apim_failover_service_healthy", labels), 1);
  group().mutable_services(0)->set_verdict("unknown");
  EXPECT_EQ(Value("apim_failover_service_healthy", labels), 0);
  group().mutable_services(0)->clear_regions();
  EXPECT_EQ(Value("apim_failover_service_votes",
                  "failover_group=orders,azure_region=westeurope,apim_service=weu,vote=unknown"),
            3)
      << "regions that never reported vote unknown";
}

TEST_F(MetricsTest, UnknownTrafficIsAbsentAndDoesNotMatch) {
  standby().set_serving("unknown");
  group().mutable_traffic()->set_known(false);
  EXPECT_EQ(Samples("apim_failover_service_serving_traffic").size(), 1u);
  EXPECT_EQ(Value("apim_failover_traffic_matches", "failover_group=orders"), 0);
}

TEST_F(MetricsTest, UnconfirmedRolesShowNoActiveService) {
  for (v1::ServiceStatus& service : *group().mutable_services())
    service.set_role(v1::ROLE_UNCONFIRMED);
  EXPECT_TRUE(Samples("apim_failover_active_region_info").empty());
  EXPECT_TRUE(Samples("apim_failover_standby_info").empty());
  EXPECT_EQ(
      Value("apim_failover_service_role",
            "failover_group=orders,azure_region=westeurope,apim_service=weu,role=unconfirmed"),
      1);
}

TEST_F(MetricsTest, EveryConfiguredRegionIsPresentBeforeItsFirstAgent) {
  EXPECT_EQ(Value("apim_failover_agent_connected", "failover_group=orders,probe_region=westeurope"),
            1);
  EXPECT_EQ(Value("apim_failover_agent_connected", "failover_group=orders,probe_region=uksouth"),
            0);
  EXPECT_EQ(Value("apim_failover_agent_instances", "probe_region=uksouth"), 0);
  EXPECT_EQ(Value("apim_failover_agent_results_total", "probe_region=uksouth,result=accepted"), 0);
  EXPECT_EQ(
      Value("apim_failover_agent_refused_total", "probe_region=uksouth,reason=identity_mismatch"),
      0);
  EXPECT_EQ(Samples("apim_failover_agent_last_report_timestamp_seconds").size(), 1u);
}

TEST_F(MetricsTest, CountersOfAgentsAreSummedByRegion) {
  EXPECT_EQ(Value("apim_failover_agent_results_total", "probe_region=westeurope,result=accepted"),
            15);
  EXPECT_EQ(Value("apim_failover_agent_refused_total", "probe_region=westeurope,reason=age"), 2);
  EXPECT_EQ(Value("apim_failover_agent_slowed_total", "probe_region=westeurope"), 1);
}

TEST_F(MetricsTest, OutageCountsFromItsEarlierBoundAndSaysItsWidth) {
  EXPECT_EQ(Value("apim_failover_outage_start_timestamp_seconds", "failover_group=orders"),
            static_cast<double>(kNow - kHour - 10'000) / 1000)
      << "of the last one";
  group().mutable_outage()->set_active(true);
  group().mutable_outage()->set_last_good_ms(kNow - 5000);
  group().mutable_outage()->set_first_failed_ms(kNow - 4000);
  EXPECT_EQ(Value("apim_failover_outage_start_timestamp_seconds", "failover_group=orders"),
            static_cast<double>(kNow - 5000) / 1000);
  EXPECT_EQ(Value("apim_failover_outage_start_width_seconds", "failover_group=orders"), 1);
}

TEST_F(MetricsTest, AVerificationIsAnOperationOfItsStandby) {
  const std::string labels = "failover_group=orders,apim_service=neu,operation=verify";
  const auto started = [&] {
    return Samples("apim_failover_sync_operation_started_timestamp_seconds");
  };
  EXPECT_EQ(Value("apim_failover_sync_operation_in_progress", labels), 0);
  EXPECT_EQ(started().count(labels), 0u);
  v1::SyncRun* run = group().mutable_sync()->mutable_run();
  run->set_stage(v1::SYNC_STAGE_RESTORE);
  v1::RestoreTarget* target = run->add_targets();
  target->set_service("neu");
  target->set_stage(v1::RESTORE_STAGE_VERIFY);
  target->set_stage_since_ms(kNow - 5000);
  EXPECT_EQ(Value("apim_failover_sync_operation_in_progress", labels), 1);
  EXPECT_EQ(started().at(labels), static_cast<double>(kNow - 5000) / 1000);
  EXPECT_EQ(Samples("apim_failover_sync_operation_expected_end_timestamp_seconds").count(labels),
            0u)
      << "no history, no promise";
  v1::StepForecast* forecast = group().add_forecasts();
  forecast->set_step("verify");
  forecast->set_p95_ms(80'000);
  EXPECT_EQ(Value("apim_failover_sync_operation_expected_end_timestamp_seconds", labels),
            static_cast<double>(kNow + 75'000) / 1000);
  run->set_stage(v1::SYNC_STAGE_FAILED);
  EXPECT_EQ(Value("apim_failover_sync_operation_in_progress", labels), 0) << "of the last run";
}

TEST_F(MetricsTest, ARunThatWasNeverSeenToEndIsExpectedByItsParts) {
  v1::SyncRun* run = group().mutable_sync()->mutable_run();
  run->set_stage(v1::SYNC_STAGE_BACKUP);
  run->set_started_ms(kNow - 60'000);
  const auto expected = [this] {
    return Value("apim_failover_sync_run_expected_end_timestamp_seconds", "failover_group=orders");
  };
  EXPECT_EQ(expected(), static_cast<double>(kNow - 60'000 + 1'800'000) / 1000)
      << "a backup and a restore";
  v1::StepForecast* forecast = group().add_forecasts();
  forecast->set_step("run");
  forecast->set_p95_ms(2'000'000);
  EXPECT_EQ(expected(), static_cast<double>(kNow - 60'000 + 2'000'000) / 1000);
  run->set_stage(v1::SYNC_STAGE_DONE);
  EXPECT_TRUE(Samples("apim_failover_sync_run_started_timestamp_seconds").empty());
}

TEST_F(MetricsTest, LastSwitchIsShownByPhase) {
  EXPECT_EQ(
      Value("apim_failover_last_switch_rto_seconds", "failover_group=orders,trigger=automatic"),
      10);
  EXPECT_EQ(Value("apim_failover_last_switch_rto_phase_seconds",
                  "failover_group=orders,trigger=automatic,phase=decide"),
            3);
  EXPECT_EQ(Value("apim_failover_last_switch_proved", "failover_group=orders,trigger=automatic"),
            1);
}

TEST_F(MetricsTest, SwitchThatWasNeverSeenHasAnInfiniteRto) {
  v1::LastSwitch* last = group().mutable_last_switches(0);
  last->set_success(false);
  last->set_rpo_ms(-1);
  last->mutable_rto()->set_to_switch_only(true);
  EXPECT_TRUE(std::isinf(
      Value("apim_failover_last_switch_rto_seconds", "failover_group=orders,trigger=automatic")));
  EXPECT_TRUE(std::isinf(
      Value("apim_failover_last_switch_rpo_seconds", "failover_group=orders,trigger=automatic")));
  EXPECT_EQ(Samples("apim_failover_last_switch_rto_phase_seconds").size(), 3u)
      << "visible was not reached";
}

TEST_F(MetricsTest, AcknowledgedSwitchIsNoFailureAnyMore) {
  const auto success = [this] {
    return Value("apim_failover_last_switch_success", "failover_group=orders,trigger=automatic");
  };
  group().mutable_last_switches(0)->set_success(false);
  EXPECT_EQ(success(), 0);
  group().mutable_last_switches(0)->set_acknowledged(true);
  EXPECT_EQ(success(), 1);
  EXPECT_TRUE(std::isinf(
      Value("apim_failover_last_switch_rto_seconds", "failover_group=orders,trigger=automatic")))
      << "it was never seen all the same";
}

TEST_F(MetricsTest, ForecastIsInfiniteUntilASwitchWasMeasured) {
  group().set_forecast_rto_ms(-1);
  EXPECT_TRUE(std::isinf(Value("apim_failover_forecast_rto_seconds", "failover_group=orders")));
}

}  // namespace
}  // namespace failover::metrics
