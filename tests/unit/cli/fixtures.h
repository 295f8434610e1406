#ifndef TESTS_UNIT_CLI_FIXTURES_H_
#define TESTS_UNIT_CLI_FIXTURES_H_

#include <cstdint>
#include <string>

#include "apim_failover/v1/operator.pb.h"
#include "common/proto.h"

// Statuses of a group in the situations that a screen must show, all at the same moment.
namespace failover::cli {

inline constexpr int64_t kNow = 1'795'592'400'000;  // 2026-11-25 07:40:00 UTC
inline constexpr int64_t kSecond = 1000, kMinute = 60 * kSecond, kHour = 60 * kMinute,
                         kDay = 24 * kHour;

inline v1::Blocker MakeBlocker(const std::string& name, const std::string& text,
                               const std::string& clears, bool manual) {
  v1::Blocker blocker;
  blocker.set_name(name);
  blocker.set_active(true);
  blocker.set_text(text);
  blocker.set_clears(clears);
  blocker.set_stops_automatic(true);
  blocker.set_stops_manual(manual);
  return blocker;
}

inline void AddService(const std::string& name, const std::string& region, v1::Role role,
                       v1::GroupStatus* group) {
  v1::ServiceStatus* service = group->add_services();
  service->set_name(name);
  service->set_azure_region(region);
  service->set_role(role);
  service->set_verdict("up");
  service->set_verdict_since_ms(kNow - 3 * kDay - 4 * kHour);
  service->set_up(3);
  service->set_serving(role == v1::ROLE_ACTIVE ? "enabled" : "disabled");
  for (const char* probe_region : {"westeurope", "northeurope", "uksouth"}) {
    v1::RegionStatus* vote = service->add_regions();
    vote->set_probe_region(probe_region);
    vote->set_vote(v1::VOTE_UP);
    vote->set_why("good");
    vote->set_agents(1);
    vote->set_control_ok(true);
  }
  if (role != v1::ROLE_STANDBY) return;
  service->set_ready(true);
  service->set_rpo_now_ms(14 * kMinute);
  service->set_rpo_source("recovery_point");
  service->mutable_record()->set_recovery_point_ms(kNow - 14 * kMinute);
}

inline void SetVotes(v1::ServiceStatus* service, const std::string& verdict, v1::Vote vote,
                     const std::string& why) {
  service->set_verdict(verdict);
  service->set_verdict_since_ms(kNow - 12 * kSecond);
  service->set_up(0);
  service->set_down(vote == v1::VOTE_DOWN ? 3 : 0);
  service->set_unknown(vote == v1::VOTE_DOWN ? 0 : 3);
  for (v1::RegionStatus& region : *service->mutable_regions()) {
    region.set_vote(vote);
    region.set_why(why);
  }
}

inline void AddForecast(const std::string& step, int64_t p95_ms, v1::GroupStatus* group) {
  v1::StepForecast* forecast = group->add_forecasts();
  forecast->set_step(step);
  forecast->set_p95_ms(p95_ms);
  forecast->set_samples(3);
}

inline v1::GroupStatus Healthy() {
  v1::GroupStatus group;
  group.set_name("orders-api");
  group.set_mode("automatic");
  group.set_state("healthy");
  group.set_term(3);
  group.set_epoch(7);
  group.set_active("apim-weu");
  AddService("apim-weu", "westeurope", v1::ROLE_ACTIVE, &group);
  AddService("apim-neu", "northeurope", v1::ROLE_STANDBY, &group);
  group.set_quorum(2);
  for (const char* region : {"westeurope", "northeurope", "uksouth"}) {
    group.add_probe_regions(region);
    v1::PublicView* seen = group.add_public_views();
    seen->set_probe_region(region);
    seen->set_success(true);
    seen->set_served_by("apim-weu");
    seen->set_at_ms(kNow - kSecond);
  }
  group.set_rpo_objective_ms(8 * kHour);
  group.set_rto_objective_ms(2 * kMinute);
  group.set_best_standby("apim-neu");
  group.set_rpo_now_ms(14 * kMinute);
  group.set_rpo_source("recovery_point");
  v1::SyncStatus* sync = group.mutable_sync();
  sync->set_configured(true);
  sync->set_interval_ms(6 * kHour);
  sync->set_next_run_ms(kNow + 5 * kHour + 46 * kMinute);
  v1::SyncRun* run = sync->mutable_run();
  run->set_id("R11");
  run->set_trigger("schedule");
  run->set_stage(v1::SYNC_STAGE_DONE);
  run->set_source("apim-weu");
  run->set_started_ms(kNow - 14 * kMinute);
  run->set_ended_ms(kNow - 2 * kMinute);
  v1::RestoreTarget* target = run->add_targets();
  target->set_service("apim-neu");
  target->set_stage(v1::RESTORE_STAGE_DONE);
  group.set_sync_cycle_p95_ms(13 * kMinute);
  group.set_backup_p95_ms(5 * kMinute);
  group.set_restore_p95_ms(8 * kMinute);
  v1::TrafficStatus* traffic = group.mutable_traffic();
  traffic->set_known(true);
  traffic->set_matches(true);
  traffic->set_read_ms(kNow - 12 * kSecond);
  traffic->set_path_ok(true);
  traffic->set_path_checked_ms(kNow - 40 * kSecond);
  group.set_detection_bound_ms(16 * kSecond);
  group.set_detection_floor_ms(10 * kSecond);
  group.set_min_down_ms(10 * kSecond);
  group.set_forecast_switch_ms(1200);
  group.set_forecast_visible_ms(14 * kSecond);
  group.set_forecast_rto_ms(41200);
  group.set_has_public_url(true);
  group.set_failovers_max_per_day(2);
  group.set_max_data_loss_ms(kDay);
  group.set_at_ms(kNow);
  return group;
}

// The active gateway has just died; the dwell is not over.
inline v1::GroupStatus InOutage() {
  v1::GroupStatus group = Healthy();
  group.set_state("degraded");
  SetVotes(group.mutable_services(0), "down", v1::VOTE_DOWN, "3 of 3 failed: connect");
  group.mutable_outage()->set_active(true);
  group.mutable_outage()->set_down_ms(kNow - 3 * kSecond);
  group.mutable_outage()->set_last_good_ms(kNow - 15 * kSecond);
  group.mutable_outage()->set_first_failed_ms(kNow - 10 * kSecond);
  group.mutable_outage()->set_dwell_left_ms(4 * kSecond);
  group.set_frozen(true);
  group.set_frozen_reason("the verdict on apim-weu is down");
  group.set_frozen_since_ms(kNow - 3 * kSecond);
  for (v1::PublicView& seen : *group.mutable_public_views()) seen.set_success(false);
  return group;
}

inline v1::Failover* BeginFailover(v1::GroupStatus* group) {
  v1::Failover* failover = group->mutable_failover();
  failover->set_id("F3");
  failover->set_trigger("automatic");
  failover->set_from("apim-weu");
  failover->set_to("apim-neu");
  failover->set_epoch(8);
  failover->set_public_url("https://api.contoso.com/status");
  failover->set_last_good_ms(kNow - 22 * kSecond);
  failover->set_first_failed_ms(kNow - 17 * kSecond);
  failover->set_down_ms(kNow - 10 * kSecond);
  failover->set_decided_ms(kNow - 4200);
  failover->set_enable_sent_ms(kNow - 4100);
  failover->set_switched_ms(kNow - 3400);
  failover->set_rpo_ms(14 * kMinute);
  failover->set_rpo_source("recovery_point");
  return failover;
}

// The enable request is out: past the point of no return.
inline v1::GroupStatus FailingOver() {
  v1::GroupStatus group = InOutage();
  AddForecast("enable", 150, &group);
  AddForecast("switch", 900, &group);  // this one takes longer
  AddForecast("disable", 4500, &group);
  AddForecast("visible", 15 * kSecond, &group);
  AddForecast("failover", 15 * kSecond, &group);
  group.set_state("failing_over");
  group.set_epoch(8);
  v1::Failover* failover = BeginFailover(&group);
  failover->set_stage(v1::FAILOVER_STAGE_ENABLING);
  failover->clear_switched_ms();
  return group;
}

// Three minutes after: the other service serves, cooldown, no way back yet.
inline v1::GroupStatus FailedOver() {
  v1::GroupStatus group = Healthy();
  group.set_state("failed_over");
  group.set_epoch(8);
  group.set_active("apim-neu");
  group.clear_best_standby();
  group.mutable_services(0)->set_role(v1::ROLE_STANDBY);
  group.mutable_services(1)->set_role(v1::ROLE_ACTIVE);
  group.mutable_services(0)->set_serving("disabled");
  group.mutable_services(1)->set_serving("enabled");
  SetVotes(group.mutable_services(0), "down", v1::VOTE_DOWN, "3 of 3 failed: connect");
  v1::ServiceStatus* former = group.mutable_services(0);
  former->set_rpo_now_ms(-1);
  *former->add_blockers() =
      MakeBlocker("standby_down", "3 of 3 probe regions vote down", "apim-weu answers again", true);
  *former->add_blockers() =
      MakeBlocker("not_resynced", "it was active until epoch 8 and holds changes of its own",
                  "a sync run onto it", true);
  group.set_rpo_now_ms(-1);
  group.set_cooldown_until_ms(kNow + 27 * kMinute + 41 * kSecond);
  group.set_cooldown_since_ms(kNow + 27 * kMinute + 41 * kSecond - 30 * kMinute);
  *group.add_blockers() =
      MakeBlocker("cooldown", "a failover ended 2m ago", "failoverctl ack orders-api", false);
  v1::Failover* failover = BeginFailover(&group);
  failover->set_stage(v1::FAILOVER_STAGE_DONE);
  failover->set_disabled_ms(kNow - 3 * kMinute);
  failover->set_visible_ms(kNow - 3 * kMinute);
  failover->set_ended_ms(kNow - 3 * kMinute);
  failover->set_proved(true);
  failover->set_outcome("seen through the public name");
  v1::Rto* rto = group.mutable_rto();
  rto->set_total_ms(32600);
  rto->set_detect_ms(12000);
  rto->set_decide_ms(5900);
  rto->set_switch_ms(700);
  rto->set_visible_ms(14000);
  rto->set_width_ms(5000);
  rto->set_proved(true);
  v1::LastSwitch* last = group.add_last_switches();
  last->set_trigger("automatic");
  last->set_at_ms(kNow - 3 * kMinute);
  last->set_success(true);
  *last->mutable_rto() = *rto;
  last->set_rpo_ms(14 * kMinute);
  group.set_failovers_last_day(1);
  for (v1::PublicView& seen : *group.mutable_public_views()) seen.set_served_by("apim-neu");
  return group;
}

// A backup under way, two standbys, one of them unsynced.
inline v1::GroupStatus Syncing() {
  v1::GroupStatus group = Healthy();
  AddService("apim-ukw", "ukwest", v1::ROLE_STANDBY, &group);
  v1::ServiceStatus* third = group.mutable_services(2);
  third->set_ready(false);
  third->set_rpo_now_ms(-1);
  third->mutable_record()->clear_recovery_point_ms();
  third->set_up(2);
  third->set_unknown(1);
  third->mutable_regions(2)->set_vote(v1::VOTE_UNKNOWN);
  third->mutable_regions(2)->set_why("no result for 14s");
  *third->add_blockers() =
      MakeBlocker("never_synced", "no backup has been restored and verified on it",
                  "failoverctl sync run orders-api", true);
  v1::SyncRun* run = group.mutable_sync()->mutable_run();
  run->Clear();
  run->set_id("R12");
  run->set_trigger("operator");
  run->set_who("spiffe://contoso/operator/alice");
  run->set_stage(v1::SYNC_STAGE_BACKUP);
  run->set_source("apim-weu");
  run->set_started_ms(kNow - 3 * kMinute);
  for (const char* name : {"apim-ukw", "apim-neu"}) {
    v1::RestoreTarget* target = run->add_targets();
    target->set_service(name);
    target->set_stage(v1::RESTORE_STAGE_WAITING);
  }
  v1::Operation* operation = group.add_open_operations();
  operation->set_id("0f1e2d3c4b5a6978");
  operation->set_kind(v1::OPERATION_KIND_BACKUP);
  operation->set_state(v1::OPERATION_STATE_RUNNING);
  operation->set_service("apim-weu");
  operation->set_run_id("R12");
  operation->set_intent_ms(kNow - 2 * kMinute);
  operation->set_sent_ms(kNow - 2 * kMinute);
  group.mutable_services(0)->set_operation_forecast_ms(kNow + 3 * kMinute);
  return group;
}

// The first standby is done, the second one is being compared.
inline v1::GroupStatus Verifying() {
  v1::GroupStatus group = Syncing();
  AddForecast("read", 45 * kSecond, &group);
  AddForecast("verify", 80 * kSecond, &group);
  AddForecast("run", 24 * kMinute, &group);
  group.clear_open_operations();
  group.mutable_services(0)->clear_operation_forecast_ms();
  v1::SyncRun* run = group.mutable_sync()->mutable_run();
  run->set_stage(v1::SYNC_STAGE_RESTORE);
  run->set_started_ms(kNow - 21 * kMinute);
  run->set_stage_since_ms(kNow - 15 * kMinute);
  run->mutable_targets(0)->set_stage(v1::RESTORE_STAGE_DONE);
  run->mutable_targets(1)->set_stage(v1::RESTORE_STAGE_VERIFY);
  run->mutable_targets(1)->set_stage_since_ms(kNow - 32 * kSecond);
  return group;
}

// A backup that may have begun is being looked for, and a lone `down` has just ended.
inline v1::GroupStatus Uncertain() {
  v1::GroupStatus group = Syncing();
  v1::Operation* operation = group.mutable_open_operations(0);
  operation->set_state(v1::OPERATION_STATE_AMBIGUOUS);
  operation->set_ambiguous_since_ms(kNow - 110 * kSecond);
  group.mutable_services(0)->set_watch_until_ms(kNow + 30 * kMinute + 10 * kSecond);
  group.set_frozen(true);
  group.set_frozen_reason(
      "the last down vote on apim-weu is 3m20s old; restores wait until it is 10m");
  group.set_frozen_since_ms(kNow - 200 * kSecond);
  group.set_frozen_until_ms(kNow + 400 * kSecond);
  return group;
}

inline v1::GroupStatus WaitingForApproval() {
  v1::GroupStatus group = InOutage();
  group.set_mode("approve");
  group.mutable_outage()->clear_dwell_left_ms();
  v1::Approval* approval = group.mutable_approval();
  approval->set_id("A4");
  approval->set_from("apim-weu");
  approval->set_to("apim-neu");
  approval->set_created_ms(kNow - kMinute);
  approval->set_expires_ms(kNow + 14 * kMinute);
  return group;
}

inline v1::GroupStatus Unconfirmed() {
  v1::GroupStatus group = Healthy();
  group.set_state("unknown");
  group.set_epoch(0);
  group.clear_active();
  group.clear_best_standby();
  group.set_rpo_now_ms(-1);
  group.set_forecast_rto_ms(-1);
  group.set_sync_cycle_p95_ms(0);
  group.mutable_sync()->clear_run();
  for (v1::ServiceStatus& service : *group.mutable_services()) {
    service.set_role(v1::ROLE_UNCONFIRMED);
    service.set_serving("unknown");
    service.set_ready(false);
    service.mutable_record()->Clear();
  }
  group.mutable_traffic()->Clear();
  group.mutable_traffic()->set_problem("HTTP 403 AuthorizationFailed");
  *group.add_blockers() = MakeBlocker("roles_unconfirmed", "nothing tells which service is active",
                                      "failoverctl adopt orders-api --active SERVICE", true);
  return group;
}

// Its state file is damaged.
inline v1::GroupStatus Broken() {
  v1::GroupStatus group = Unconfirmed();
  group.add_notices("dissenting_region: uksouth alone has seen apim-weu down for 12m");
  group.add_notices(
      "not worked on: state/orders-api.state: damaged: it does not begin as a state file");
  return group;
}

// Everything that needs a person, at once.
inline v1::GroupStatus Troubled() {
  v1::GroupStatus group = Syncing();
  group.set_mode("observe");
  group.set_state("paused");
  group.clear_best_standby();
  v1::ServiceStatus* standby = group.mutable_services(1);
  standby->set_ready(false);
  *standby->add_blockers() =
      MakeBlocker("operation_ambiguous", "the restore 89abcdef01234567 may or may not have begun",
                  "failoverctl operations abandon", true);
  v1::Blocker drift = MakeBlocker("drift", "4 entities were changed by somebody",
                                  "failoverctl standby discard orders-api apim-neu", true);
  drift.set_stops_automatic(false);
  drift.set_stops_manual(false);
  *standby->add_blockers() = drift;
  standby->add_other_probes()->set_probe("orders-route");
  standby->mutable_other_probes(0)->set_verdict("down");
  v1::SyncRun* run = group.mutable_sync()->mutable_run();
  run->set_stage(v1::SYNC_STAGE_FAILED);
  run->set_failure("HTTP 409 ServiceLocked: another operation is in progress");
  run->set_ended_ms(kNow - kMinute);
  run->mutable_targets(0)->set_stage(v1::RESTORE_STAGE_FAILED);
  run->mutable_targets(0)->set_reason("differs after the restore");
  run->mutable_targets(0)->set_differences(2);
  group.mutable_sync()->set_failures_in_a_row(3);
  group.mutable_sync()->set_holding("the backup container cannot be read");
  v1::Operation* operation = group.mutable_open_operations(0);
  operation->set_id("89abcdef01234567");
  operation->set_kind(v1::OPERATION_KIND_RESTORE);
  operation->set_state(v1::OPERATION_STATE_NEEDS_OPERATOR);
  operation->set_service("apim-neu");
  v1::Pause* pause = group.mutable_pause();
  pause->set_active(true);
  pause->set_who("spiffe://contoso/operator/bob");
  pause->set_reason("planned maintenance of the network");
  pause->set_since_ms(kNow - 10 * kMinute);
  pause->set_until_ms(kNow + 110 * kMinute);
  group.set_frozen(true);
  group.set_frozen_by_operator(true);
  group.set_frozen_reason("frozen by an operator: investigation");
  group.set_frozen_since_ms(kNow - 20 * kMinute);
  group.mutable_traffic()->set_matches(false);
  group.mutable_services(1)->set_serving("enabled");
  group.mutable_traffic()->set_path_ok(false);
  group.mutable_traffic()->set_path_problem("the token ends in 4m");
  for (int i = 1; i <= 10; ++i)
    group.add_notices("dissenting_region: uksouth alone has seen apim-weu down for " +
                      std::to_string(i) + "m");
  group.set_would_do("failover apim-weu → apim-neu, 2m ago");
  group.add_not_compared("developer portal");
  return group;
}

inline v1::GetStatusResponse Status(const v1::GroupStatus& group) {
  v1::GetStatusResponse status;
  *status.add_groups() = group;
  status.set_controller("spiffe://contoso/controller/ctl-1");
  status.set_leader(true);
  status.set_term(3);
  status.set_at_ms(kNow);
  status.set_version("0.1.0");
  status.set_store_ok(true);
  status.add_not_built_yet("failback and switchover");
  status.add_not_built_yet("RPO by change log");
  return status;
}

}  // namespace failover::cli

#endif  // TESTS_UNIT_CLI_FIXTURES_H_
