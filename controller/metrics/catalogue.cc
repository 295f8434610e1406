#include "controller/metrics/catalogue.h"

#include <limits>
#include <utility>

namespace failover::metrics {
namespace {

using enum StateFamily;
constexpr auto kGauge = prometheus::MetricType::Gauge;
constexpr auto kCounter = prometheus::MetricType::Counter;
constexpr auto kHistogram = prometheus::MetricType::Histogram;

using Labels = std::vector<const char*>;

// Label sets that recur. `apim_service` stands beside every `azure_region`.
Labels None() { return {}; }
Labels Group() { return {"failover_group"}; }
Labels ProbeRegion() { return {"probe_region"}; }
Labels Trigger() { return {"failover_group", "trigger"}; }
Labels Service() { return {"failover_group", "apim_service"}; }
Labels ServiceRegion() { return {"failover_group", "azure_region", "apim_service"}; }
Labels Operation() { return {"failover_group", "apim_service", "operation"}; }

Labels With(Labels labels, const char* more) {
  labels.push_back(more);
  return labels;
}

std::vector<FamilySpec> ProcessSpecs() {
  return {
      {kMasterStatus,
       "leader_election_master_status",
       kGauge,
       {"name"},
       "1 while this process leads, else 0."},
      {kElectionSlowPath,
       "leader_election_slowpath_total",
       kCounter,
       {"name"},
       "Renewals for which the Lease had to be read first."},
      {kElectionTransitions,
       "apim_failover_leader_election_transitions_total",
       kCounter,
       {"event"},
       "Terms of this replica as the leader that began (acquired), ended against its will (lost) "
       "or "
       "when it stopped (released)."},
      {kElectionFailedAttempts, "apim_failover_leader_election_failed_attempts_total", kCounter,
       None(), "Attempts to renew or take over the Lease that failed."},
      {kEventsDropped, "apim_failover_kubernetes_events_dropped_total", kCounter, None(),
       "Events that could not be written to the cluster."},
      {kLeaseLastRenewal, "apim_failover_leader_lease_last_renew_timestamp_seconds", kGauge, None(),
       "When this replica last took or renewed the Lease. Absent if never."},
      {kFencingEpoch, "apim_failover_leader_fencing_epoch", kGauge, None(),
       "Term of this process: grows with every leadership or start."},
      {kStoreAvailable, "apim_failover_store_available", kGauge, None(),
       "1 while durable state can be written, else 0: nothing is changed then."},
      {kMailboxMessages, "apim_failover_mailbox_messages", kGauge, None(),
       "Events that wait for the core thread."},
      {kMailboxCapacity, "apim_failover_mailbox_capacity_messages", kGauge, None(),
       "Most events that may wait before agents are turned away."},
      {kMailboxRefused, "apim_failover_mailbox_refused_total", kCounter, None(),
       "Messages of agents turned away because the mailbox was full."},
      {kAgentResults, "apim_failover_agent_results_total", kCounter, With(ProbeRegion(), "result"),
       "Probe results taken from the agents of a region, live (accepted), after a reconnect "
       "(replayed), or by another replica (relayed)."},
      {kAgentRefused, "apim_failover_agent_refused_total", kCounter, With(ProbeRegion(), "reason"),
       "Results, messages and streams of agents that were refused. An empty region: no identity "
       "could be told."},
      {kAgentSlowed, "apim_failover_agent_slowed_total", kCounter, ProbeRegion(),
       "Messages after which an agent had used up its rate and was read later."},
      {kAgentSuperseded, "apim_failover_agent_streams_superseded_total", kCounter, ProbeRegion(),
       "Streams replaced by a newer one of the same agent instance. Without a reconnect: the "
       "identity is used twice."},
  };
}

std::vector<FamilySpec> TopologySpecs() {
  return {
      {kTokenExpiry,
       "apim_failover_azure_token_expiry_timestamp_seconds",
       kGauge,
       {"audience"},
       "End of the leader's token for calls to Azure. Absent while there is none."},
      {kGroupInfo, "apim_failover_group_info", kGauge, With(Group(), "mode"),
       "Always 1; mode of the failover group."},
      {kGroupState, "apim_failover_group_state", kGauge, With(Group(), "state"),
       "State set: 1 for the state the group is in, 0 for the others."},
      {kEpoch, "apim_failover_epoch", kGauge, Group(),
       "Grows with every decision to change roles."},
      {kActiveRegionInfo, "apim_failover_active_region_info", kGauge, ServiceRegion(),
       "Always 1; the active service. Absent while roles are unconfirmed."},
      {kStandbyInfo, "apim_failover_standby_info", kGauge, With(ServiceRegion(), "sku"),
       "Always 1; one standby."},
      {kServiceRole, "apim_failover_service_role", kGauge, With(ServiceRegion(), "role"),
       "State set: 1 for the role of the service, 0 for the others."},
      {kRpoObjective, "apim_failover_rpo_objective_seconds", kGauge, Group(),
       "Objective for the RPO; absent if none."},
      {kRtoObjective, "apim_failover_rto_objective_seconds", kGauge, Group(),
       "Objective for the RTO; absent if none."},
      {kQuorumSize, "apim_failover_probe_quorum_size", kGauge, Group(),
       "Votes that make a verdict."},
  };
}

std::vector<FamilySpec> SyncSpecs() {
  return {
      {kRecoveryPoint, "apim_failover_recovery_point_timestamp_seconds", kGauge, ServiceRegion(),
       "Start of the backup that the standby verifiably holds. Absent while it holds none."},
      {kStandbyProtected, "apim_failover_standby_protected", kGauge, ServiceRegion(),
       "1 if the standby verifiably holds a backup that has not expired, else 0."},
      {kRpo, "apim_failover_rpo_seconds", kGauge, With(Service(), "source"),
       "RPO now: age of the oldest change that the standby does not hold. +Inf while unknown."},
      {kGroupRpo, "apim_failover_group_rpo_seconds", kGauge, With(Group(), "source"),
       "RPO now of the standby that a failover would choose, else of the least bad. +Inf while "
       "unknown."},
      {kStandbyBlocked, "apim_failover_standby_blocked", kGauge, With(Service(), "reason"),
       "1 while the reason keeps the standby from being chosen, else 0."},
      {kStandbyPromotable, "apim_failover_standby_promotable", kGauge, ServiceRegion(),
       "1 if nothing keeps the standby from an automatic failover, else 0."},
      {kBlocked, "apim_failover_blocked", kGauge, With(Group(), "reason"),
       "1 while the reason holds back a failover of the group, else 0."},
      {kSyncFrozen, "apim_failover_sync_frozen", kGauge, Group(),
       "1 while no restore may start, else 0."},
      {kFreezeStarted, "apim_failover_sync_freeze_started_timestamp_seconds", kGauge, Group(),
       "Since when no restore may start. Absent while one may, or where nobody knows."},
      {kFreezeExpectedEnd, "apim_failover_sync_freeze_expected_end_timestamp_seconds", kGauge,
       Group(),
       "When restores may start again if nothing else happens. Absent while they may, or where "
       "that depends on something else."},
      {kBackupLastSuccess, "apim_failover_backup_last_success_timestamp_seconds", kGauge, Service(),
       "End of the newest checked backup of the service. Absent if there is none."},
      {kRestoreLastSuccess, "apim_failover_restore_last_success_timestamp_seconds", kGauge,
       Service(), "End of the last verified restore into the service. Absent if there is none."},
      {kBackupExpiry, "apim_failover_backup_expiry_timestamp_seconds", kGauge, Group(),
       "When Azure will refuse the newest backup. Absent if there is none."},
      {kBackupSize, "apim_failover_backup_size_bytes", kGauge, Service(),
       "Size of the newest checked backup."},
      {kScheduleInterval, "apim_failover_sync_schedule_interval_seconds", kGauge, Group(),
       "Interval of the sync runs. Absent without a schedule."},
      {kNextRun, "apim_failover_sync_next_run_timestamp_seconds", kGauge, Group(),
       "When the next sync run is due. Absent without a schedule."},
      {kOperationInProgress, "apim_failover_sync_operation_in_progress", kGauge, Operation(),
       "1 while such an operation is open on the service, else 0."},
      {kOperationStarted, "apim_failover_sync_operation_started_timestamp_seconds", kGauge,
       Operation(), "When the open operation was begun. Absent while there is none."},
      {kOperationExpectedEnd, "apim_failover_sync_operation_expected_end_timestamp_seconds", kGauge,
       Operation(),
       "When the open operation should end: its start and the 95th percentile of its own history. "
       "Absent without either."},
      {kOperationWatchEnd, "apim_failover_sync_operation_watch_end_timestamp_seconds", kGauge,
       Operation(),
       "When an operation that may or may not have begun is settled at the latest. Absent while "
       "there is none."},
      {kRunStarted, "apim_failover_sync_run_started_timestamp_seconds", kGauge, Group(),
       "When the open sync run began. Absent while there is none."},
      {kRunExpectedEnd, "apim_failover_sync_run_expected_end_timestamp_seconds", kGauge, Group(),
       "When the open sync run should end, by the runs before it. Absent without either."},
      {kSyncOperations, "apim_failover_sync_operations_total", kCounter,
       With(Operation(), "result"),
       "Backups, restores and verifications that ended while this process led. skipped: a standby "
       "that a run left out."},
      {kConsecutiveFailures, "apim_failover_sync_consecutive_failures", kGauge, Operation(),
       "Operations that failed since the last one that succeeded; run, on the active service: "
       "whole "
       "sync runs."},
      {kLastDuration, "apim_failover_sync_last_duration_seconds", kGauge, Operation(),
       "How long the last successful operation of its kind took."},
      {kOperationP95, "apim_failover_sync_operation_p95_seconds", kGauge,
       With(Group(), "operation"),
       "95th percentile of the last 20 successful operations; cycle: a backup and a restore per "
       "standby; run: whole sync runs."},
      {kDriftItems, "apim_failover_config_drift_items", kGauge, With(Service(), "kind"),
       "Entities that somebody changed on the standby since our last restore, at least."},
  };
}

std::vector<FamilySpec> VerdictSpecs() {
  return {
      {kServiceHealthy, "apim_failover_service_healthy", kGauge, With(ServiceRegion(), "role"),
       "1 if the quorum's verdict is up, 0 if it is down or unknown."},
      {kServiceVerdict, "apim_failover_service_verdict", kGauge, With(ServiceRegion(), "verdict"),
       "State set: 1 for the quorum's verdict, 0 for the others."},
      {kServiceVotes, "apim_failover_service_votes", kGauge, With(ServiceRegion(), "vote"),
       "Probe regions by their vote on the service."},
      {kRegionVote, "apim_failover_probe_region_vote", kGauge,
       With(With(ServiceRegion(), "probe_region"), "vote"),
       "State set: 1 for the vote of the probe region on the service, 0 for the others."},
      {kDissenting, "apim_failover_dissenting_region", kGauge, With(Service(), "probe_region"),
       "1 while the probe region alone has seen the active service down for longer than "
       "timing.freezeHold, else 0."},
      {kServingTraffic, "apim_failover_service_serving_traffic", kGauge, ServiceRegion(),
       "1 if the traffic layer was found to send traffic to the service, 0 if not. Absent while "
       "unknown."},
      {kTrafficMatches, "apim_failover_traffic_matches", kGauge, Group(),
       "1 if the traffic layer was found to agree with the roles, else 0."},
      {kTrafficLastRead, "apim_failover_traffic_last_read_timestamp_seconds", kGauge, Group(),
       "When the traffic layer was last read. Absent if never."},
      {kSwitchPathOk, "apim_failover_switch_path_ok", kGauge, Group(),
       "1 if the last proof of the way to switch traffic was good, else 0."},
      {kSwitchPathChecked, "apim_failover_switch_path_checked_timestamp_seconds", kGauge, Group(),
       "When the way to switch traffic was last proved. Absent if never."},
      {kPublicNameSuccess, "apim_failover_public_name_success", kGauge,
       With(Group(), "probe_region"),
       "1 if the newest probe of the public name was good, 0 if it failed or there is none."},
  };
}

std::vector<FamilySpec> FailoverSpecs() {
  return {
      {kOutageActive, "apim_failover_outage_active", kGauge, Group(),
       "1 while the active service is down, else 0."},
      {kOutageStart, "apim_failover_outage_start_timestamp_seconds", kGauge, Group(),
       "Earliest start of the running outage, or of the last one that led to a failover: the last "
       "good probe."},
      {kOutageStartWidth, "apim_failover_outage_start_width_seconds", kGauge, Group(),
       "How much later that outage may have begun: up to its first failed probe."},
      {kDetectionBound, "apim_failover_detection_bound_seconds", kGauge, Group(),
       "Longest time from the start of an outage to the verdict, by the configuration."},
      {kDetectionFloor, "apim_failover_detection_floor_seconds", kGauge, Group(),
       "Shortest time from the start of an outage to the verdict, by the configuration."},
      {kForecastRto, "apim_failover_forecast_rto_seconds", kGauge, Group(),
       "Expected RTO, detection at its worst. +Inf until a switch was measured."},
      {kCooldownStarted, "apim_failover_cooldown_start_timestamp_seconds", kGauge, Group(),
       "Start of the cooldown. Absent while there is none."},
      {kCooldownUntil, "apim_failover_cooldown_end_timestamp_seconds", kGauge, Group(),
       "End of the cooldown. Absent while there is none."},
      {kFailoversLastDay, "apim_failover_failovers_last_day", kGauge, Group(),
       "Failovers past their point of no return in the last 24 hours."},
      {kFailoversMaxPerDay, "apim_failover_failovers_max_per_day", kGauge, Group(),
       "Most of them before automatic failover stops."},
      {kApprovalPending, "apim_failover_approval_pending", kGauge, Group(),
       "1 while a failover waits for an operator's approval, else 0."},
      {kSwitches,
       "apim_failover_switches_total",
       kCounter,
       {"failover_group", "from_region", "to_region", "kind", "trigger", "result"},
       "Failovers that ended while this process led."},
      {kSwitchStarted, "apim_failover_switch_started_timestamp_seconds", kGauge, Group(),
       "When the open failover was decided. Absent while there is none."},
      {kSwitchExpectedEnd, "apim_failover_switch_expected_end_timestamp_seconds", kGauge, Group(),
       "When the open failover should end, by those before it. Absent without either."},
      {kLastSwitch, "apim_failover_last_switch_timestamp_seconds", kGauge, Trigger(),
       "When traffic was last switched; one series per trigger ever used."},
      {kLastSwitchSuccess, "apim_failover_last_switch_success", kGauge, Trigger(),
       "1 if the last switch was seen to succeed or was acknowledged, else 0."},
      {kLastSwitchRto, "apim_failover_last_switch_rto_seconds", kGauge, Trigger(),
       "Measured RTO of the last switch, from the earliest start of the outage."},
      {kLastSwitchRtoPhase, "apim_failover_last_switch_rto_phase_seconds", kGauge,
       With(Trigger(), "phase"),
       "Measured RTO of the last switch by phase; a phase that was not reached is absent."},
      {kLastSwitchRtoWidth, "apim_failover_last_switch_rto_width_seconds", kGauge, Trigger(),
       "How much shorter that RTO may have been: width of the interval in which the outage began."},
      {kLastSwitchProved, "apim_failover_last_switch_proved", kGauge, Trigger(),
       "1 if an answer through the public name was proved to come from the new active service, "
       "else 0."},
      {kLastSwitchRpo, "apim_failover_last_switch_rpo_seconds", kGauge, Trigger(),
       "Age of the promoted recovery point at the start of the outage. +Inf if unknown."},
  };
}

std::vector<FamilySpec> AgentSpecs() {
  return {
      {kAgentConnected, "apim_failover_agent_connected", kGauge, With(Group(), "probe_region"),
       "1 if an agent of the configured probe region is connected, else 0."},
      {kAgentInstances, "apim_failover_agent_instances", kGauge, ProbeRegion(),
       "Connected agent processes."},
      {kAgentLastReport, "apim_failover_agent_last_report_timestamp_seconds", kGauge, ProbeRegion(),
       "Receipt of the newest results of the region. Absent if there was none."},
      {kAgentReportDelay, "apim_failover_agent_report_delay_seconds", kHistogram, ProbeRegion(),
       "From a probe's end to its receipt here, newest result of each live batch."},
      {kAgentClockSkew, "apim_failover_agent_clock_skew_seconds", kGauge, ProbeRegion(),
       "Wall clock of an agent less ours, the connected one that is furthest off. Decides nothing; "
       "absent until one tells."},
      {kAgentInfo, "apim_failover_agent_info", kGauge, With(ProbeRegion(), "version"),
       "Always 1; versions of the connected agents."},
      {kAgentCertificateExpiry, "apim_failover_agent_certificate_expiry_timestamp_seconds", kGauge,
       ProbeRegion(), "Earliest end of a connected agent's certificate."},
  };
}

}  // namespace

const std::vector<FamilySpec>& Catalogue() {
  static const std::vector<FamilySpec>* const kCatalogue = [] {
    auto* all = new std::vector<FamilySpec>;
    for (auto part :
         {ProcessSpecs, TopologySpecs, SyncSpecs, VerdictSpecs, FailoverSpecs, AgentSpecs}) {
      for (FamilySpec& spec : part()) all->push_back(std::move(spec));
    }
    return all;
  }();
  return *kCatalogue;
}

Page::Page() {
  families_.resize(Catalogue().size());
  for (const FamilySpec& spec : Catalogue()) {
    prometheus::MetricFamily& family = families_[static_cast<size_t>(spec.family)];
    family.name = spec.name;
    family.help = spec.help;
    family.type = spec.type;
  }
}

prometheus::ClientMetric& Page::NewSample(StateFamily family, std::vector<std::string> values) {
  const FamilySpec& spec = Catalogue()[static_cast<size_t>(family)];
  prometheus::ClientMetric& metric = families_[static_cast<size_t>(family)].metric.emplace_back();
  metric.label.reserve(values.size());
  for (size_t i = 0; i < values.size(); ++i)
    metric.label.push_back({spec.labels.at(i), std::move(values[i])});
  return metric;
}

void Page::Add(StateFamily family, std::vector<std::string> values, double value) {
  const bool counter = Catalogue()[static_cast<size_t>(family)].type == kCounter;
  prometheus::ClientMetric& metric = NewSample(family, std::move(values));
  (counter ? metric.counter.value : metric.gauge.value) = value;
}

void Page::AddHistogram(StateFamily family, std::vector<std::string> values,
                        const std::vector<double>& bounds, const std::vector<uint64_t>& counts,
                        double sum) {
  prometheus::ClientMetric::Histogram& histogram = NewSample(family, std::move(values)).histogram;
  histogram.sample_sum = sum;
  for (size_t i = 0; i <= bounds.size(); ++i) {
    if (i < counts.size()) histogram.sample_count += counts[i];
    histogram.bucket.push_back(
        {histogram.sample_count,
         i < bounds.size() ? bounds[i] : std::numeric_limits<double>::infinity()});
  }
}

void Page::AddStateSet(StateFamily family, const std::vector<std::string>& values,
                       const std::vector<const char*>& states, const std::string& holds) {
  for (const char* state : states) {
    std::vector<std::string> all = values;
    all.emplace_back(state);
    Add(family, std::move(all), holds == state ? 1 : 0);
  }
}

std::vector<prometheus::MetricFamily> Page::Take() {
  std::erase_if(families_,
                [](const prometheus::MetricFamily& family) { return family.metric.empty(); });
  return std::move(families_);
}

}  // namespace failover::metrics
