#include "controller/core/status.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "controller/core/detection.h"
#include "controller/core/evaluate.h"
#include "controller/core/group.h"
#include "controller/core/operations.h"
#include "controller/core/progress.h"
#include "controller/core/sync.h"
#include "controller/core/traffic.h"

namespace failover::core {
namespace {

const char* Name(Mode mode) {
  static constexpr const char* kNames[] = {"observe", "manual", "approve", "automatic"};
  return kNames[static_cast<int>(mode)];
}
const char* Name(Verdict verdict) {
  static constexpr const char* kNames[] = {"unknown", "up", "down"};
  return kNames[static_cast<int>(verdict)];
}
const char* Name(FailedStage stage) {
  static constexpr const char* kNames[] = {"",     "resolve",    "connect", "tls",
                                           "send", "first byte", "body",    "assertion"};
  return kNames[static_cast<int>(stage)];
}
v1::Vote Proto(Vote vote) {
  return vote == Vote::kUp ? v1::VOTE_UP : vote == Vote::kDown ? v1::VOTE_DOWN : v1::VOTE_UNKNOWN;
}
int64_t Ms(absl::Duration d) {
  return d == absl::InfiniteDuration() ? 0 : absl::ToInt64Milliseconds(d);
}
int64_t MsOrMinusOne(absl::Duration d) {
  return d == absl::InfiniteDuration() ? -1 : absl::ToInt64Milliseconds(d);
}
int64_t WallMsOf(absl::Time t) {
  return t == absl::InfinitePast() || t == absl::InfiniteFuture() ? 0 : absl::ToUnixMillis(t);
}

void FillBlocker(const Look& c, const BlockerRule& rule, const BlockerSet& set, int service,
                 v1::Blocker* out) {
  out->set_name(rule.name);
  out->set_active(set.Has(rule.blocker));
  out->set_stops_automatic(rule.blocker == Blocker::kDrift ? c.config.drift_blocks
                                                           : rule.stops_automatic);
  out->set_stops_manual(rule.stops_manual);
  if (!out->active()) return;
  BlockerWords words = WordsOf(c, rule.blocker, service);
  out->set_text(std::move(words.text));
  out->set_clears(std::move(words.clears));
  out->set_until_ms(words.until_ms);
}

std::string WhyVote(const Look& c, const RegionVote& vote) {
  if (vote.agents == 0) return "no agent has reported";
  if (!vote.fresh) {
    return vote.newest == SteadyTime::InfinitePast()
               ? "no result yet"
               : absl::StrCat("no result for ", absl::FormatDuration(absl::Trunc(
                                                    c.now.steady - vote.newest, absl::Seconds(1))));
  }
  if (vote.failures > 0) {
    std::string text = absl::StrCat(vote.failures, " failed in a row: ", Name(vote.stage));
    if (!vote.control_ok) absl::StrAppend(&text, "; its control targets fail too");
    return text;
  }
  return vote.vote == Vote::kUp ? "good" : "good, not often enough yet";
}

void FillRegions(const Look& c, const ServiceVerdict& verdict, bool active,
                 v1::ServiceStatus* out) {
  for (size_t i = 0; i < c.config.probe_regions.size(); ++i) {
    v1::RegionStatus* region = out->add_regions();
    region->set_probe_region(c.config.probe_regions[i]);
    region->set_vote(v1::VOTE_UNKNOWN);
    if (i >= verdict.regions.size()) continue;
    const RegionVote& vote = verdict.regions[i];
    region->set_vote(Proto(vote.vote));
    region->set_why(WhyVote(c, vote));
    region->set_newest_ms(c.WallMs(vote.newest));
    region->set_agents(vote.agents);
    region->set_control_ok(vote.control_ok);
    region->set_dissenting(active && verdict.verdict != Verdict::kDown &&
                           DissentingRegion(c) == static_cast<int>(i));
  }
}

// When an ambiguous operation is settled at the latest. A new process looks for the full length.
int64_t WatchUntil(const Look& c, const v1::Operation& operation) {
  const auto progress = c.seen().operations.find(operation.id());
  const int64_t since =
      progress == c.seen().operations.end() ? 0 : c.WallMs(progress->second.ambiguous_since);
  return (since != 0 ? since : operation.ambiguous_since_ms()) +
         absl::ToInt64Milliseconds(AmbiguityWatch(c, operation));
}

void FillService(const Look& c, const Blockers& blockers, int index, v1::ServiceStatus* out) {
  const v1::ServiceRecord& record = c.Service(index);
  const ServiceConfig& config = c.config.services[index];
  out->set_name(config.name);
  out->set_azure_region(config.azure_region);
  out->set_resource_id(config.resource_id);
  out->set_role(record.role());
  out->set_sku(record.sku());
  out->set_gateway_url(record.gateway_url());
  *out->mutable_record() = record;
  if (static_cast<size_t>(index) < c.seen().verdicts.size()) {
    const ServiceVerdict& verdict = c.seen().verdicts[index];
    out->set_verdict(Name(verdict.verdict));
    out->set_verdict_since_ms(WallMsOf(verdict.since_wall));
    out->set_up(verdict.up);
    out->set_down(verdict.down);
    out->set_unknown(verdict.unknown);
    FillRegions(c, verdict, record.role() == v1::ROLE_ACTIVE, out);
  }
  for (int probe = 0; probe < static_cast<int>(c.config.probes.size()); ++probe) {
    if (probe == c.config.deciding_probe) continue;
    v1::ProbeVerdict* other = out->add_other_probes();
    other->set_probe(c.config.probes[probe].name);
    other->set_verdict(Name(Judge(c.config, c.seen().votes, index, probe, {}, c.now).verdict));
  }
  const auto enabled = c.seen().enabled.find(config.name);
  out->set_serving(!c.seen().traffic_known || enabled == c.seen().enabled.end() ? "unknown"
                   : enabled->second                                            ? "enabled"
                                                                                : "disabled");
  if (const v1::Operation* open = OpenOperationOn(c.record(), config.name)) {
    *out->mutable_operation() = *open;
    const absl::Duration p95 = P95(c.record(), open->kind());
    if (p95 > absl::ZeroDuration() && open->sent_ms() != 0)
      out->set_operation_forecast_ms(open->sent_ms() + absl::ToInt64Milliseconds(p95));
    if (open->state() == v1::OPERATION_STATE_AMBIGUOUS)
      out->set_watch_until_ms(WatchUntil(c, *open));
  }
  if (record.role() == v1::ROLE_ACTIVE) return;
  for (const BlockerRule& rule : BlockerTable()) {
    if (rule.standby) FillBlocker(c, rule, blockers.Of(index), index, out->add_blockers());
  }
  out->set_ready(record.role() == v1::ROLE_STANDBY &&
                 StoppingAutomatic(blockers.Of(index), c.config.drift_blocks).empty());
  out->set_rpo_now_ms(MsOrMinusOne(RpoNow(record, c.now.wall)));
  out->set_rpo_source("recovery_point");
}

void FillOutage(const Look& c, int active, v1::OutageStatus* out) {
  const v1::Outage& outage = c.record().outage();
  out->set_active(outage.down_ms() != 0);
  out->set_last_good_ms(outage.last_good_ms());
  out->set_first_failed_ms(outage.first_failed_ms());
  out->set_down_ms(outage.down_ms());
  if (outage.down_ms() == 0 || active < 0) return;
  const SteadyTime over = DwellOver(c.seen().verdicts[active]);
  out->set_dwell_left_ms(
      over == SteadyTime::InfiniteFuture()
          ? absl::ToInt64Milliseconds(c.config.min_down_duration)
          : std::max<int64_t>(0, absl::ToInt64Milliseconds(over - c.now.steady)));
}

void FillSync(const Look& c, v1::SyncStatus* out) {
  const v1::GroupRecord& record = c.record();
  out->set_configured(c.config.sync_interval > absl::ZeroDuration());
  if (!record.sync_run().id().empty()) *out->mutable_run() = record.sync_run();
  out->set_failures_in_a_row(record.sync_failures_in_a_row());
  out->set_interval_ms(absl::ToInt64Milliseconds(c.config.sync_interval));
  if (out->configured()) {
    absl::Time next = NextSync(c);
    if (c.seen().next_sync_attempt > c.now.steady)
      next = std::max(next, c.now.wall + (c.seen().next_sync_attempt - c.now.steady));
    out->set_next_run_ms(std::max(c.wall_ms(), absl::ToUnixMillis(next)));
  }
  out->set_holding(c.seen().sync_holding);
  if (!IsOpen(record.sync_run())) return;
  out->clear_holding();
  const int target = record.sync_run().next_target();
  if (record.sync_run().stage() == v1::SYNC_STAGE_RESTORE &&
      target < record.sync_run().targets_size()) {
    out->set_holding(record.sync_run().targets(target).reason());
  }
}

void FillTraffic(const Look& c, v1::TrafficStatus* out) {
  const Observed& seen = c.seen();
  out->set_known(seen.traffic_known);
  out->set_matches(seen.traffic_known && c.ActiveIndex() >= 0 && TrafficMatches(c));
  out->set_problem(seen.traffic_problem);
  out->set_read_ms(WallMsOf(seen.traffic_read_wall));
  out->set_path_checked_ms(WallMsOf(seen.path_checked_wall));
  out->set_path_ok(seen.path_ok);
  out->set_path_problem(seen.path_problem);
}

void FillPublic(const Look& c, v1::GroupStatus* out) {
  if (c.config.public_url.empty()) return;
  for (size_t region = 0; region < c.config.probe_regions.size(); ++region) {
    const Agent* newest = nullptr;
    for (const Agent& agent : c.seen().votes.agents) {
      if (agent.region != static_cast<int>(region)) continue;
      if (newest == nullptr || agent.public_answer.completed > newest->public_answer.completed)
        newest = &agent;
    }
    v1::PublicView* view = out->add_public_views();
    view->set_probe_region(c.config.probe_regions[region]);
    if (newest == nullptr || newest->public_answer.completed == SteadyTime::InfinitePast())
      continue;
    view->set_success(newest->public_answer.success);
    view->set_at_ms(c.WallMs(newest->public_answer.completed));
    const int service =
        newest->public_answer.success ? ServedBy(c.config, *newest, newest->public_answer) : -1;
    if (service >= 0) view->set_served_by(c.config.services[service].name);
  }
}

// What an SRE should look at although nothing is blocked by it.
void FillNotices(const Look& c, int active, v1::GroupStatus* out) {
  const v1::GroupRecord& record = c.record();
  if (active >= 0 && c.seen().verdicts[active].verdict != Verdict::kDown) {
    if (const int region = DissentingRegion(c); region >= 0) {
      const absl::Duration old = c.now.steady - c.seen().dissent_since.at(region);
      out->add_notices(absl::StrCat("dissenting_region: ", c.config.probe_regions[region],
                                    " alone has seen ", c.config.services[active].name,
                                    " down for ",
                                    absl::FormatDuration(absl::Trunc(old, absl::Seconds(1)))));
    }
  }
  if (!c.seen().fence_problem.empty())
    out->add_notices(absl::StrCat("fence: ", c.seen().fence_problem));
  if (record.failover().stage() == v1::FAILOVER_STAGE_SWITCHED_NOT_SEEN &&
      !record.failover().acknowledged()) {
    out->add_notices(absl::StrCat("switched_not_seen: ", record.failover().outcome(),
                                  "; when it is settled: failoverctl ack ", c.config.name));
  }
  if (c.config.rpo_objective != absl::InfiniteDuration() && out->rpo_now_ms() >= 0 &&
      absl::Milliseconds(out->rpo_now_ms()) > c.config.rpo_objective) {
    out->add_notices(absl::StrCat(
        "rpo: ",
        absl::FormatDuration(absl::Trunc(absl::Milliseconds(out->rpo_now_ms()), absl::Seconds(1))),
        " exceeds the objective of ", absl::FormatDuration(c.config.rpo_objective)));
  }
  for (const v1::ServiceRecord& service : record.services()) {
    if (service.drift().found_ms() == 0) continue;
    out->add_notices(absl::StrCat("drift: somebody changed ", service.name(),
                                  " since our last restore; failoverctl sync diff ", c.config.name,
                                  " ", service.name()));
  }
  if (record.sync_failures_in_a_row() > 0) {
    out->add_notices(absl::StrCat("sync: ", record.sync_failures_in_a_row(),
                                  " run(s) failed in a row: ", record.sync_run().failure()));
  }
  for (const v1::Operation& operation : record.operations()) {
    if (operation.state() == v1::OPERATION_STATE_NEEDS_OPERATOR) {
      out->add_notices(absl::StrCat("operation ", operation.id(), " on ", operation.service(),
                                    " needs an operator"));
    }
  }
}

// Least bad standby, for an RPO that exists even when none is fit.
void FillRpo(const Look& c, const Blockers& blockers, v1::GroupStatus* out) {
  int best = ChooseStandby(c, blockers, true, {});
  if (best >= 0) out->set_best_standby(c.config.services[best].name);
  for (int i = 0; best < 0 && i < c.record().services_size(); ++i) {
    if (c.Service(i).role() != v1::ROLE_STANDBY) continue;
    best = i;
    for (int other = i + 1; other < c.record().services_size(); ++other) {
      if (c.Service(other).role() == v1::ROLE_STANDBY &&
          RpoNow(c.Service(other), c.now.wall) < RpoNow(c.Service(best), c.now.wall))
        best = other;
    }
  }
  out->set_rpo_now_ms(best < 0 ? -1 : MsOrMinusOne(RpoNow(c.Service(best), c.now.wall)));
  out->set_rpo_source("recovery_point");
}

std::string StateOf(const Look& c, int active, const v1::GroupStatus& status,
                    const Blockers& blockers) {
  const v1::GroupRecord& record = c.record();
  if (active < 0) return "unknown";
  if (IsOpen(record.failover())) return "failing_over";
  const Verdict verdict = c.seen().verdicts[active].verdict;
  if (verdict == Verdict::kDown) return "degraded";
  if (record.pause().active()) return "paused";
  if (verdict == Verdict::kUnknown) return "unknown";
  BlockerSet group = blockers.group;
  group.Clear(Blocker::kMode);
  group.Clear(Blocker::kCooldown);
  if (!record.failover().id().empty() && record.failover().to() == c.config.services[active].name &&
      record.failover().switched_ms() != 0 && status.best_standby().empty()) {
    return "failed_over";  // no way back yet
  }
  return group.empty() && !status.best_standby().empty() ? "healthy" : "degraded";
}

void FillPromise(const Look& c, v1::GroupStatus* out) {
  const DetectionBounds bounds = DetectionOf(c.config);
  out->set_detection_bound_ms(MsOrMinusOne(bounds.worst));  // -1: a verdict `down` is impossible
  out->set_detection_floor_ms(MsOrMinusOne(bounds.floor));
  // Switch and visibility as measured by the last failovers; without one, nothing is promised.
  const v1::Failover& last = c.record().failover();
  // A failover is decided at the later of detection and dwell; what the dwell adds is told apart.
  out->set_min_down_ms(
      std::max<int64_t>(0, absl::ToInt64Milliseconds(DwellOf(c.config) - bounds.worst)));
  out->set_forecast_rto_ms(-1);
  if (last.switched_ms() != 0 && out->detection_bound_ms() >= 0) {
    out->set_forecast_switch_ms(RtoOf(last).switch_ms());
    out->set_forecast_visible_ms(RtoOf(last).visible_ms());
    out->set_forecast_rto_ms(out->detection_bound_ms() + out->min_down_ms() +
                             out->forecast_switch_ms() + out->forecast_visible_ms());
  }
  out->set_backup_p95_ms(absl::ToInt64Milliseconds(P95(c.record(), v1::OPERATION_KIND_BACKUP)));
  out->set_restore_p95_ms(absl::ToInt64Milliseconds(P95(c.record(), v1::OPERATION_KIND_RESTORE)));
  const int standbys = std::max(0, c.record().services_size() - 1);
  if (out->backup_p95_ms() != 0 && out->restore_p95_ms() != 0) {
    out->set_sync_cycle_p95_ms(out->backup_p95_ms() + standbys * out->restore_p95_ms());
  }
  for (const v1::StepDurations& durations : c.record().step_durations()) {
    v1::StepForecast* forecast = out->add_forecasts();
    forecast->set_step(durations.step());
    forecast->set_p95_ms(absl::ToInt64Milliseconds(P95OfStep(c.record(), durations.step())));
    forecast->set_samples(durations.ms_size());
  }
}

void FillRecord(const Look& c, v1::GroupStatus* out) {
  const v1::GroupRecord& record = c.record();
  out->set_term(record.term());
  out->set_epoch(record.epoch());
  if (!record.failover().id().empty()) {
    *out->mutable_failover() = record.failover();
    *out->mutable_rto() = RtoOf(record.failover());
  }
  if (record.approval().expires_ms() > c.wall_ms()) *out->mutable_approval() = record.approval();
  if (record.pause().active()) *out->mutable_pause() = record.pause();
  out->set_cooldown_until_ms(record.cooldown_until_ms() > c.wall_ms() ? record.cooldown_until_ms()
                                                                      : 0);
  if (out->cooldown_until_ms() != 0 && !record.failover_ms().empty())
    out->set_cooldown_since_ms(*record.failover_ms().rbegin());
  *out->mutable_last_switches() = record.last_switches();
  out->set_frozen_by_operator(record.frozen_by_operator());
  out->set_failovers_last_day(record.failover_ms_size());
  for (const v1::Operation& operation : record.operations()) {
    if (IsOpen(operation)) *out->add_open_operations() = operation;
  }
}

}  // namespace

v1::GroupStatus StatusOf(const GroupConfig& config, const GroupState& state, Now now) {
  const Look c{config, state, now};
  v1::GroupStatus out;
  const bool evaluated = state.observed.verdicts.size() == config.services.size() &&
                         state.record.services_size() == static_cast<int>(config.services.size());
  out.set_name(config.name);
  out.set_mode(Name(config.mode));
  out.set_at_ms(c.wall_ms());
  out.set_quorum(config.quorum);
  for (const std::string& region : config.probe_regions) out.add_probe_regions(region);
  out.set_config_generation(config.generation);
  out.set_rpo_objective_ms(Ms(config.rpo_objective));
  out.set_rto_objective_ms(Ms(config.rto_objective));
  out.set_failovers_max_per_day(config.max_per_day);
  out.set_max_data_loss_ms(Ms(config.max_data_loss));
  out.set_has_public_url(!config.public_url.empty());
  out.set_rpo_now_ms(-1);
  if (!evaluated) {
    out.set_state("unknown");
    return out;
  }
  const int active = c.ActiveIndex();
  const Blockers blockers = EvaluateBlockers(c);
  if (active >= 0) out.set_active(config.services[active].name);
  FillRecord(c, &out);
  for (int i = 0; i < static_cast<int>(config.services.size()); ++i)
    FillService(c, blockers, i, out.add_services());
  for (const BlockerRule& rule : BlockerTable()) {
    if (!rule.standby) FillBlocker(c, rule, blockers.group, -1, out.add_blockers());
  }
  FillRpo(c, blockers, &out);
  FillOutage(c, active, out.mutable_outage());
  FillSync(c, out.mutable_sync());
  FillTraffic(c, out.mutable_traffic());
  FillPublic(c, &out);
  FillPromise(c, &out);
  out.set_would_do(state.observed.would_do);
  const Freeze freeze = FreezeOf(c);
  out.set_frozen(!freeze.reason.empty());
  out.set_frozen_reason(freeze.reason);
  out.set_frozen_since_ms(freeze.since_ms);
  out.set_frozen_until_ms(freeze.until_ms);
  out.set_state(StateOf(c, active, out, blockers));
  FillNotices(c, active, &out);
  return out;
}

}  // namespace failover::core
