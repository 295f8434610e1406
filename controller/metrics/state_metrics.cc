#include "controller/metrics/state_metrics.h"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <limits>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>

#include "absl/strings/match.h"
#include "controller/core/blockers.h"
#include "controller/core/context.h"
#include "controller/core/progress.h"
#include "controller/metrics/catalogue.h"
#include "controller/metrics/service_page.h"

namespace failover::metrics {
namespace {

using enum StateFamily;

const std::vector<const char*>& GroupStates() {
  static const auto* const kStates = new std::vector<const char*>{
      "healthy", "degraded", "failing_over", "failed_over", "paused", "unknown"};
  return *kStates;
}

// Kinds of refusals that begin at 0 in every region; the intake's names without "refused_". Others
// appear when they happen.
constexpr const char* kRefusals[] = {"age",           "certificate_expired",
                                     "connect_rate",  "hello",
                                     "http_status",   "identity_mismatch",
                                     "instances",     "mailbox_full",
                                     "message_kind",  "message_results",
                                     "message_size",  "other_definition",
                                     "rate",          "relays",
                                     "replay_length", "sequence",
                                     "stage",         "streams",
                                     "text",          "unknown_target"};

void AddProcess(const Snapshot& snapshot, Page& page) {
  const ElectionState& election = snapshot.election;
  const std::string name = election.name.empty() ? "apim-failover" : election.name;
  page.Add(kMasterStatus, {name}, snapshot.leader);
  if (!election.name.empty()) {
    page.Add(kElectionSlowPath, {name}, static_cast<double>(election.slow_paths));
    page.Add(kElectionTransitions, {"acquired"}, static_cast<double>(election.acquired));
    page.Add(kElectionTransitions, {"lost"}, static_cast<double>(election.lost));
    page.Add(kElectionTransitions, {"released"}, static_cast<double>(election.released));
    page.Add(kElectionFailedAttempts, {}, static_cast<double>(election.failed_attempts));
    page.Add(kEventsDropped, {}, static_cast<double>(election.dropped_events));
    if (election.last_renewal_ms != 0)
      page.Add(kLeaseLastRenewal, {}, Seconds(election.last_renewal_ms));
  }
  page.Add(kFencingEpoch, {}, static_cast<double>(snapshot.term));
  page.Add(kStoreAvailable, {}, snapshot.store_ok);
  page.Add(kMailboxMessages, {}, static_cast<double>(snapshot.mailbox_size));
  page.Add(kMailboxCapacity, {}, static_cast<double>(snapshot.mailbox_capacity));
  page.Add(kMailboxRefused, {}, static_cast<double>(snapshot.mailbox_refused));
}

std::set<std::string> ProbeRegions(const Snapshot& snapshot) {
  std::set<std::string> regions;
  for (const v1::GroupStatus& group : snapshot.groups) {
    regions.insert(group.probe_regions().begin(), group.probe_regions().end());
  }
  return regions;
}

// Summed over the agents of a region: an agent's name is no label (one series per region, not per
// process).
void AddAgentCounters(const Snapshot& snapshot, const std::set<std::string>& regions, Page& page) {
  std::map<std::pair<std::string, std::string>, double> results, refused;
  std::map<std::string, double> slowed, superseded;
  for (const std::string& region : regions) {
    results[{region, "accepted"}] = results[{region, "replayed"}] = results[{region, "relayed"}] =
        slowed[region] = superseded[region] = 0;
    for (const char* reason : kRefusals) refused[{region, reason}] = 0;
  }
  for (const AgentCounter& counter : snapshot.agent_counters) {
    const double count = static_cast<double>(counter.count);
    if (absl::StartsWith(counter.kind, "refused_")) {
      refused[{counter.probe_region, counter.kind.substr(8)}] += count;
    } else if (counter.kind == "slowed") {
      slowed[counter.probe_region] += count;
    } else if (counter.kind == "superseded") {
      superseded[counter.probe_region] += count;
    } else {
      results[{counter.probe_region, counter.kind}] += count;
    }
  }
  for (const auto& [key, count] : results) page.Add(kAgentResults, {key.first, key.second}, count);
  for (const auto& [key, count] : refused) page.Add(kAgentRefused, {key.first, key.second}, count);
  for (const auto& [region, count] : slowed) page.Add(kAgentSlowed, {region}, count);
  for (const auto& [region, count] : superseded) page.Add(kAgentSuperseded, {region}, count);
}

void AddAgents(const Snapshot& snapshot, const std::set<std::string>& regions, Page& page) {
  struct Region {
    int connected = 0;
    int64_t last_report_ms = 0, expiry_ms = 0;
    std::optional<int64_t> skew_ms;
    std::set<std::string> versions;
  };
  std::map<std::string, Region> by_region;
  for (const std::string& region : regions) by_region[region];
  for (const v1::AgentInfo& agent : snapshot.agents) {
    const auto known = by_region.find(agent.probe_region());
    if (known == by_region.end()) continue;  // of a region that is configured no more
    Region& region = known->second;
    region.last_report_ms = std::max(region.last_report_ms, agent.last_report_ms());
    if (!agent.connected()) continue;
    ++region.connected;
    region.versions.insert(agent.version());
    const bool furthest = agent.has_clock_skew_ms() &&
                          std::abs(agent.clock_skew_ms()) >= std::abs(region.skew_ms.value_or(0));
    if (furthest) region.skew_ms = agent.clock_skew_ms();
    const int64_t expiry = agent.certificate_expiry_ms();
    if (expiry != 0 && (region.expiry_ms == 0 || expiry < region.expiry_ms))
      region.expiry_ms = expiry;
  }
  for (const auto& [name, region] : by_region) {
    page.Add(kAgentInstances, {name}, region.connected);
    if (region.last_report_ms != 0)
      page.Add(kAgentLastReport, {name}, Seconds(region.last_report_ms));
    if (region.skew_ms.has_value()) page.Add(kAgentClockSkew, {name}, Seconds(*region.skew_ms));
    const auto delays = snapshot.delays.find(name);
    const Delays none;
    const Delays& seen = delays == snapshot.delays.end() ? none : delays->second;
    page.AddHistogram(kAgentReportDelay, {name}, snapshot.delay_bounds, seen.counts, seen.sum);
    for (const std::string& version : region.versions) page.Add(kAgentInfo, {name, version}, 1);
    if (region.expiry_ms != 0) page.Add(kAgentCertificateExpiry, {name}, Seconds(region.expiry_ms));
  }
  for (const v1::GroupStatus& group : snapshot.groups) {
    for (const std::string& region : group.probe_regions()) {
      page.Add(kAgentConnected, {group.name(), region}, by_region[region].connected > 0);
    }
  }
}

void AddTopology(const v1::GroupStatus& group, Page& page) {
  const std::string& g = group.name();
  page.Add(kGroupInfo, {g, group.mode()}, 1);
  const auto& states = GroupStates();
  const bool known =
      std::any_of(states.begin(), states.end(), [&](const char* s) { return group.state() == s; });
  page.AddStateSet(kGroupState, {g}, states, known ? group.state() : "unknown");
  page.Add(kEpoch, {g}, static_cast<double>(group.epoch()));
  page.Add(kQuorumSize, {g}, group.quorum());
  if (group.rpo_objective_ms() > 0) page.Add(kRpoObjective, {g}, Seconds(group.rpo_objective_ms()));
  if (group.rto_objective_ms() > 0) page.Add(kRtoObjective, {g}, Seconds(group.rto_objective_ms()));
  // A group whose record is not loaded yet has no blockers at all: "not blocked" would be a lie.
  if (group.blockers().empty()) return;
  for (const core::BlockerRule& rule : core::BlockerTable()) {
    if (rule.standby) continue;
    bool active = false;
    for (const v1::Blocker& blocker : group.blockers())
      active |= blocker.name() == rule.name && blocker.active();
    page.Add(kBlocked, {g, rule.name}, active);
  }
}

void AddSync(const v1::GroupStatus& group, const RecordFacts& facts, Page& page) {
  const std::string& g = group.name();
  const v1::SyncStatus& sync = group.sync();
  page.Add(kGroupRpo, {g, group.rpo_source().empty() ? "recovery_point" : group.rpo_source()},
           SecondsOrInfinity(group.rpo_now_ms()));
  page.Add(kSyncFrozen, {g}, group.frozen());
  if (group.frozen_since_ms() > 0) page.Add(kFreezeStarted, {g}, Seconds(group.frozen_since_ms()));
  if (group.frozen_until_ms() > 0)
    page.Add(kFreezeExpectedEnd, {g}, Seconds(group.frozen_until_ms()));
  if (!group.active().empty())
    page.Add(kConsecutiveFailures, {g, group.active(), "run"}, sync.failures_in_a_row());
  if (sync.configured()) page.Add(kScheduleInterval, {g}, Seconds(sync.interval_ms()));
  if (sync.next_run_ms() > 0) page.Add(kNextRun, {g}, Seconds(sync.next_run_ms()));
  if (facts.newest_backup_expires_ms > 0)
    page.Add(kBackupExpiry, {g}, Seconds(facts.newest_backup_expires_ms));
  if (group.backup_p95_ms() > 0)
    page.Add(kOperationP95, {g, "backup"}, Seconds(group.backup_p95_ms()));
  if (group.restore_p95_ms() > 0)
    page.Add(kOperationP95, {g, "restore"}, Seconds(group.restore_p95_ms()));
  if (group.sync_cycle_p95_ms() > 0)
    page.Add(kOperationP95, {g, "cycle"}, Seconds(group.sync_cycle_p95_ms()));
  for (const char* step : {core::kStepVerify, core::kStepRun}) {
    if (const int64_t p95 = Forecast(group, step); p95 > 0)
      page.Add(kOperationP95, {g, step}, Seconds(p95));
  }
  if (!core::IsOpen(sync.run())) return;
  page.Add(kRunStarted, {g}, Seconds(sync.run().started_ms()));
  // Until a whole run was seen, the sum of what it is made of.
  const int64_t run = Forecast(group, core::kStepRun);
  const int64_t expected = run > 0 ? run : group.sync_cycle_p95_ms();
  if (expected > 0) page.Add(kRunExpectedEnd, {g}, Seconds(sync.run().started_ms() + expected));
}

void AddTraffic(const v1::GroupStatus& group, Page& page) {
  const std::string& g = group.name();
  const v1::TrafficStatus& traffic = group.traffic();
  page.Add(kTrafficMatches, {g}, traffic.known() && traffic.matches());
  if (traffic.read_ms() > 0) page.Add(kTrafficLastRead, {g}, Seconds(traffic.read_ms()));
  page.Add(kSwitchPathOk, {g}, traffic.path_ok());
  if (traffic.path_checked_ms() > 0)
    page.Add(kSwitchPathChecked, {g}, Seconds(traffic.path_checked_ms()));
  if (!group.has_public_url()) return;
  for (const std::string& region : group.probe_regions()) {
    bool success = false;
    for (const v1::PublicView& view : group.public_views())
      success |= view.probe_region() == region && view.success();
    page.Add(kPublicNameSuccess, {g, region}, success);
  }
}

// The earlier bound of an outage's start and the width of the interval (design.md §7.11).
void AddOutageStart(const std::string& g, int64_t last_good_ms, int64_t first_failed_ms,
                    Page& page) {
  if (first_failed_ms == 0) return;
  const int64_t start =
      last_good_ms != 0 ? std::min(last_good_ms, first_failed_ms) : first_failed_ms;
  page.Add(kOutageStart, {g}, Seconds(start));
  page.Add(kOutageStartWidth, {g}, Seconds(first_failed_ms - start));
}

void AddFailover(const v1::GroupStatus& group, Page& page) {
  const std::string& g = group.name();
  page.Add(kOutageActive, {g}, group.outage().active());
  if (group.outage().active()) {
    AddOutageStart(g, group.outage().last_good_ms(), group.outage().first_failed_ms(), page);
  } else {
    AddOutageStart(g, group.failover().last_good_ms(), group.failover().first_failed_ms(), page);
  }
  if (group.detection_bound_ms() > 0) {
    page.Add(kDetectionBound, {g}, Seconds(group.detection_bound_ms()));
    page.Add(kDetectionFloor, {g}, Seconds(group.detection_floor_ms()));
    page.Add(kForecastRto, {g}, SecondsOrInfinity(group.forecast_rto_ms()));
  }
  if (group.cooldown_until_ms() > 0)
    page.Add(kCooldownUntil, {g}, Seconds(group.cooldown_until_ms()));
  if (group.cooldown_since_ms() > 0)
    page.Add(kCooldownStarted, {g}, Seconds(group.cooldown_since_ms()));
  page.Add(kFailoversLastDay, {g}, group.failovers_last_day());
  page.Add(kFailoversMaxPerDay, {g}, group.failovers_max_per_day());
  page.Add(kApprovalPending, {g}, !group.approval().id().empty() && !group.approval().denied());
}

// Those that a failover from the present active service could add to are there before it, so that
// it is an increase.
void AddSwitches(const v1::GroupStatus& group, const RecordFacts& facts, Page& page) {
  const std::string& g = group.name();
  std::map<std::array<std::string, 5>, double> counts = facts.switches;
  const auto region_of = [&](const std::string& name) {
    for (const v1::ServiceStatus& service : group.services()) {
      if (service.name() == name) return service.azure_region();
    }
    return std::string();
  };
  for (const v1::ServiceStatus& standby : group.services()) {
    if (group.active().empty() || standby.name() == group.active()) continue;
    for (const char* trigger : kTriggers) {
      for (const char* result : kSwitchResults)
        counts[{region_of(group.active()), standby.azure_region(), "failover", trigger, result}];
    }
  }
  for (const auto& [key, count] : counts)
    page.Add(kSwitches, {g, key[0], key[1], key[2], key[3], key[4]}, count);
  const v1::Failover& failover = group.failover();
  if (!core::IsOpen(failover)) return;
  page.Add(kSwitchStarted, {g}, Seconds(failover.decided_ms()));
  if (const int64_t expected = Forecast(group, core::kStepFailover); expected > 0)
    page.Add(kSwitchExpectedEnd, {g}, Seconds(failover.decided_ms() + expected));
}

// Durable, so that rare events survive a restart and a change of the leader.
void AddLastSwitches(const v1::GroupStatus& group, Page& page) {
  const std::string& g = group.name();
  for (const v1::LastSwitch& last : group.last_switches()) {
    const std::string& trigger = last.trigger();
    const v1::Rto& rto = last.rto();
    page.Add(kLastSwitch, {g, trigger}, Seconds(last.at_ms()));
    page.Add(kLastSwitchSuccess, {g, trigger}, last.success() || last.acknowledged());
    // Switched but never seen through the public name: the outage has no measured end.
    page.Add(kLastSwitchRto, {g, trigger},
             last.success() ? Seconds(rto.total_ms()) : std::numeric_limits<double>::infinity());
    page.Add(kLastSwitchRtoWidth, {g, trigger}, Seconds(rto.width_ms()));
    page.Add(kLastSwitchProved, {g, trigger}, rto.proved());
    page.Add(kLastSwitchRpo, {g, trigger}, SecondsOrInfinity(last.rpo_ms()));
    const std::pair<const char*, int64_t> phases[] = {{"detect", rto.detect_ms()},
                                                      {"decide", rto.decide_ms()},
                                                      {"switch", rto.switch_ms()},
                                                      {"visible", rto.visible_ms()}};
    for (const auto& [phase, ms] : phases) {
      if (phase == std::string("visible") && rto.to_switch_only()) continue;
      page.Add(kLastSwitchRtoPhase, {g, trigger, phase}, Seconds(ms));
    }
  }
}

}  // namespace

std::vector<prometheus::MetricFamily> StateMetrics::Collect() const {
  const Snapshot snapshot = snapshot_();
  Page page;
  AddProcess(snapshot, page);
  const std::set<std::string> regions =
      snapshot.leader ? ProbeRegions(snapshot) : std::set<std::string>();
  AddAgentCounters(snapshot, regions, page);
  if (!snapshot.leader) return page.Take();
  if (snapshot.token_expiry_ms != 0)
    page.Add(kTokenExpiry, {"arm"}, Seconds(snapshot.token_expiry_ms));
  AddAgents(snapshot, regions, page);
  for (const v1::GroupStatus& group : snapshot.groups) {
    const RecordFacts facts = records_.FactsOf(group.name());
    AddTopology(group, page);
    for (const v1::ServiceStatus& service : group.services())
      AddService(group, service, facts, snapshot.entity_kinds, page);
    AddSync(group, facts, page);
    AddTraffic(group, page);
    AddFailover(group, page);
    AddSwitches(group, facts, page);
    AddLastSwitches(group, page);
  }
  return page.Take();
}

}  // namespace failover::metrics
