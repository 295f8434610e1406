#include "controller/core/group.h"

#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "controller/core/context.h"
#include "controller/core/evaluate.h"
#include "controller/core/failover.h"
#include "controller/core/operations.h"
#include "controller/core/orders.h"
#include "controller/core/sync.h"
#include "controller/core/traffic.h"

namespace failover::core {
namespace {

constexpr int kMaxRounds =
    32;  // of one step; each round follows from a stage that the one before it reached

// Everything that gives a vote its meaning. Indices in votes refer to these lists.
std::string Probed(const GroupConfig& config) {
  std::string text = absl::StrCat(config.deciding_probe, "\n");
  for (const ServiceConfig& service : config.services)
    absl::StrAppend(&text, service.name, " ", service.resource_id, "\n");
  for (const ProbeConfig& probe : config.probes)
    absl::StrAppend(&text, probe.name, " ", probe.definition, "\n");
  for (const std::string& region : config.probe_regions) absl::StrAppend(&text, region, "\n");
  for (const std::string& target : config.control_targets) absl::StrAppend(&text, target, "\n");
  return text;
}

// Agents stay known, with their streams; everything they reported about the old targets goes.
void ForgetVotes(const GroupConfig& config, Observed& seen) {
  std::vector<Agent> agents = std::move(seen.votes.agents);
  seen.votes = Votes{};
  seen.verdicts.clear();
  seen.last_burst.clear();
  seen.dissent_since.clear();
  seen.active_up_since = SteadyTime::InfiniteFuture();
  for (const Agent& agent : agents) {
    if (agent.stream_open) ApplyStream(config, {agent.id, true}, seen.votes);
  }
}

v1::ServiceRecord NewService(const ServiceConfig& config) {
  v1::ServiceRecord service;
  service.set_name(config.name);
  service.set_resource_id(config.resource_id);
  service.set_azure_region(config.azure_region);
  service.set_role(v1::ROLE_UNCONFIRMED);
  return service;
}

v1::ServiceRecord* FindRecord(google::protobuf::RepeatedPtrField<v1::ServiceRecord>& services,
                              const std::string& name) {
  for (v1::ServiceRecord& service : services) {
    if (service.name() == name) return &service;
  }
  return nullptr;
}

// The record's services in the configuration's order; new ones are added, removed ones stay bound.
void ReconcileServices(Context& c) {
  v1::GroupRecord& record = c.record();
  const bool confirmed = c.ActiveIndex() >= 0;
  google::protobuf::RepeatedPtrField<v1::ServiceRecord> services;
  for (const ServiceConfig& config : c.config.services) {
    v1::ServiceRecord* known = FindRecord(*record.mutable_services(), config.name);
    if (known == nullptr) known = FindRecord(*record.mutable_removed_services(), config.name);
    v1::ServiceRecord* service = services.Add();
    *service = known != nullptr ? *known : NewService(config);
    service->set_azure_region(config.azure_region);
    if (!config.gateway_url.empty()) service->set_gateway_url(config.gateway_url);
    if (service->role() == v1::ROLE_UNCONFIRMED && confirmed) service->set_role(v1::ROLE_STANDBY);
  }
  google::protobuf::RepeatedPtrField<v1::ServiceRecord> removed;
  for (auto* list : {record.mutable_services(), record.mutable_removed_services()}) {
    for (const v1::ServiceRecord& service : *list) {
      if (FindRecord(services, service.name()) == nullptr &&
          FindRecord(removed, service.name()) == nullptr) {
        *removed.Add() = service;
      }
    }
  }
  record.mutable_services()->Swap(&services);
  record.mutable_removed_services()->Swap(&removed);
  c.Persist();
}

void OnConfig(Context& c) {
  Observed& seen = c.seen();
  std::string probed = Probed(c.config);
  if (probed != seen.probed) {
    if (!seen.probed.empty()) seen.config_changed = c.now.steady;
    seen.probed = std::move(probed);
    ForgetVotes(c.config, seen);
  }
  if (!seen.leading) return;
  ReconcileServices(c);
  HastenTrafficRead(c);
}

// A wall clock that was once ahead must not hold anything back for longer than it should last
// (design.md §3).
void ClipDeadlines(Context& c) {
  v1::GroupRecord& record = c.record();
  const int64_t now = c.wall_ms();
  record.set_cooldown_until_ms(
      std::min(record.cooldown_until_ms(), now + absl::ToInt64Milliseconds(c.config.cooldown)));
  if (record.approval().expires_ms() != 0) {
    const int64_t length = record.approval().expires_ms() - record.approval().created_ms();
    record.mutable_approval()->set_expires_ms(
        std::min(record.approval().expires_ms(), now + length));
  }
  if (record.pause().until_ms() != 0) {
    const int64_t length = record.pause().until_ms() - record.pause().since_ms();
    record.mutable_pause()->set_until_ms(std::min(record.pause().until_ms(), now + length));
  }
  record.set_last_down_vote_ms(
      record.young_down_vote() ? now : std::min(record.last_down_vote_ms(), now));
  record.set_young_down_vote(false);
  if (record.last_down_vote_ms() != 0) {
    c.seen().last_down_vote =
        c.now.steady - (c.now.wall - absl::FromUnixMillis(record.last_down_vote_ms()));
  }
  record.set_last_sync_start_ms(std::min(record.last_sync_start_ms(), now));
  record.set_roles_since_ms(std::min(record.roles_since_ms(), now));
  for (int64_t& at : *record.mutable_failover_ms()) at = std::min(at, now);
}

// The record has just been loaded: everything observed for an older one is void, but for the votes.
void OnLeadershipGained(Context& c) {
  Observed& seen = c.seen();
  Observed fresh;
  fresh.votes = std::move(seen.votes);
  fresh.verdicts = std::move(seen.verdicts);
  fresh.config_changed = seen.config_changed;
  fresh.probed = std::move(seen.probed);
  fresh.distrust_before = seen.distrust_before;
  fresh.next_call = seen.next_call;  // answers to an earlier life's calls match nothing
  fresh.persist_requested = fresh.persist_done = seen.persist_requested;  // nor do its writes
  seen = std::move(fresh);
  seen.leading = true;
  seen.leading_since = c.now.steady;
  seen.votes.fresh_results.assign(c.config.probe_regions.size(), 0);
  ClipDeadlines(c);
  OnConfig(c);
  c.History("start", absl::StrCat("a controller leads in term ", c.record().term()));
  AdoptOperations(c);
  ResumeFailover(c);
}

void OnLeadershipLost(Context& c) {
  c.seen().leading = false;
  c.seen().operations.clear();
  c.seen().sync_call = c.seen().set_call = c.seen().readback_call = c.seen().traffic_call = 0;
  c.Log(1, "leadership lost: nothing more is sent in this term");
}

void OnClockGap(Context& c) {
  Observed& seen = c.seen();
  seen.distrust_before = c.now.steady;
  ForgetRuns(seen.votes);
  if (!seen.leading) return;
  seen.gap_pending = true;
  seen.gap_version = seen.persist_requested + 1;
  c.History("start",
            "this process was stopped or its clock jumped: results from before it decide nothing");
}

void OnResults(Context& c, const ProbeResults& results) {
  Observed& seen = c.seen();
  ProbeResults trusted = results;
  for (ProbeSample& sample : trusted.samples) {
    sample.clock_jumped |= sample.completed < seen.distrust_before;
    sample.completed = std::min(sample.completed, c.now.steady);  // nobody reports the future
    sample.started = std::min(sample.started, sample.completed);
  }
  ApplyResults(c.config, trusted, c.now, seen.votes);
}

// The first failure of a row in one region: the others are asked to look at once (design.md §5.4).
void RequestBursts(Context& c, const ProbeResults& results) {
  if (results.replay || !c.seen().leading) return;
  Observed& seen = c.seen();
  seen.last_burst.resize(c.config.services.size(), SteadyTime::InfinitePast());
  const int from = c.config.RegionIndex(results.agent.probe_region);
  for (const ProbeSample& sample : results.samples) {
    const TargetRef& target = sample.target;
    if (target.kind != TargetKind::kService || target.probe != c.config.deciding_probe ||
        sample.success)
      continue;
    if (target.service < 0 || static_cast<size_t>(target.service) >= seen.last_burst.size())
      continue;
    if (c.now.steady - sample.completed > Freshness(c.config.decider())) continue;
    SteadyTime& last = seen.last_burst[target.service];
    const ServiceVerdict& before =
        seen.verdicts[target.service];  // of the step before these results
    const bool known_down = from >= 0 && before.regions[from].vote == Vote::kDown;
    if (known_down || c.now.steady - last < c.config.decider().interval) continue;
    last = c.now.steady;
    RequestBurst burst{target.service, {}};
    for (int region = 0; region < static_cast<int>(c.config.probe_regions.size()); ++region) {
      if (region != from && before.regions[region].vote != Vote::kDown)
        burst.probe_regions.push_back(region);
    }
    if (!burst.probe_regions.empty()) c.Say(std::move(burst));
  }
}

void OnPersisted(Context& c, const Persisted& persisted) {
  Observed& seen = c.seen();
  seen.persist_done = std::max(seen.persist_done, persisted.version);
  if (seen.gap_pending && seen.persist_done >= seen.gap_version) seen.gap_pending = false;
  if (!seen.store_failed) return;
  seen.store_failed = false;
  seen.store_error.clear();
  c.History("store", "the state can be stored again", "ok");
}

void OnStoreFailed(Context& c, const StoreFailed& failed) {
  if (!c.seen().store_failed) c.Log(2, absl::StrCat("the state cannot be stored: ", failed.error));
  c.seen().store_failed = true;
  c.seen().store_error = failed.error;
}

struct Dispatch {
  Context& c;
  void operator()(const Tick&) {}
  void operator()(const ProbeResults& e) {
    if (c.seen().verdicts.size() == c.config.services.size()) RequestBursts(c, e);
    OnResults(c, e);
  }
  void operator()(const AgentStream& e) { ApplyStream(c.config, e, c.seen().votes); }
  void operator()(const OperationStarted& e) { OnOperationStarted(c, e); }
  void operator()(const OperationPolled& e) { OnOperationPolled(c, e); }
  void operator()(const FingerprintRead& e) { OnFingerprint(c, e); }
  void operator()(const OperationInspected& e) { OnOperationInspected(c, e); }
  void operator()(const PreflightDone& e) { OnPreflight(c, e); }
  void operator()(const BlobChecked& e) { OnBlobChecked(c, e); }
  void operator()(const ManifestWritten& e) { OnManifestWritten(c, e); }
  void operator()(const ManifestRead& e) { OnManifestRead(c, e); }
  void operator()(const FenceDone& e) {
    OnFenceRead(c, e);
    OnFenceWritten(c, e);
  }
  void operator()(const TrafficRead& e) {
    OnTrafficRead(c, e);
    OnReadBack(c, e);
  }
  void operator()(const EndpointSet& e) { OnEndpointSet(c, e); }
  void operator()(const SwitchPathChecked& e) { OnSwitchPathChecked(c, e); }
  void operator()(const Order& e) { OnOrder(c, e); }
  void operator()(const LeadershipGained&) { OnLeadershipGained(c); }
  void operator()(const LeadershipLost&) { OnLeadershipLost(c); }
  void operator()(const ConfigChanged&) { OnConfig(c); }
  void operator()(const Persisted& e) { OnPersisted(c, e); }
  void operator()(const StoreFailed& e) { OnStoreFailed(c, e); }
  void operator()(const ClockGap&) { OnClockGap(c); }
};

void Observe(Context& c) {
  UpdateVerdicts(c);
  if (!c.seen().leading) return;
  UpdateFreeze(c);
  c.seen().blockers = EvaluateBlockers(c);
}

// Votes alone, for a follower; for the leader everything that follows from them, until nothing
// changes.
void Settle(Context& c) {
  for (int round = 0; round < kMaxRounds; ++round) {
    c.again = false;
    Observe(c);
    if (!c.seen().leading) return;
    AdvanceFailover(c);
    AdvanceTraffic(c);
    AdvanceOperations(c);
    AdvanceSync(c);
    if (!c.again) return;
  }
  c.WakeAt(c.now.steady);
}

// A verdict can change by time alone: when the newest result of a region grows stale, when a dwell
// ends.
void WakeForVotes(Context& c) {
  const ProbeConfig& probe = c.config.decider();
  for (const Agent& agent : c.seen().votes.agents) {
    for (size_t i = c.config.deciding_probe; i < agent.services.size();
         i += c.config.probes.size()) {
      const SteadyTime stale = agent.services[i].newest + Freshness(probe) + absl::Milliseconds(1);
      if (stale > c.now.steady) c.WakeAt(stale);
    }
  }
  c.WakeAt(c.now.steady + absl::Seconds(1));
}

}  // namespace

Commands Step(const GroupConfig& config, GroupState& state, const Event& event, Now now) {
  Commands out;
  Context c(config, state, now, out);
  if (c.seen().probed.empty()) c.seen().probed = Probed(config);
  // What may send at once is judged by what is true now, not by what the last step saw.
  if (std::holds_alternative<FenceDone>(event) || std::holds_alternative<Order>(event)) Observe(c);
  std::visit(Dispatch{c}, event);
  Settle(c);
  WakeForVotes(c);
  out.persist &= c.seen().leading;
  if (out.persist) out.version = ++c.seen().persist_requested;
  return out;
}

v1::GroupRecord NewRecord(const GroupConfig& config, std::string store_id,
                          std::string fingerprint_key, uint64_t seed) {
  v1::GroupRecord record;
  record.set_schema_version(1);
  record.set_name(config.name);
  record.set_store_id(std::move(store_id));
  record.set_fingerprint_key(std::move(fingerprint_key));
  record.set_random_state(seed);
  record.set_next_id(1);
  for (const ServiceConfig& service : config.services) *record.add_services() = NewService(service);
  return record;
}

std::string RebindingProblem(const GroupConfig& config, const v1::GroupRecord& record) {
  for (const auto* list : {&record.services(), &record.removed_services()}) {
    for (const v1::ServiceRecord& known : *list) {
      const int index = config.ServiceIndex(known.name());
      if (index < 0 && known.role() == v1::ROLE_ACTIVE) {
        return absl::StrCat("failover group ", config.name, ": service ", known.name(),
                            " is the active one and cannot be removed; fail over first");
      }
      if (index >= 0 &&
          !absl::EqualsIgnoreCase(config.services[index].resource_id, known.resource_id())) {
        return absl::StrCat("failover group ", config.name, ": service ", known.name(),
                            " is bound to ", known.resource_id(), ", found ",
                            config.services[index].resource_id,
                            "; give another service another name");
      }
    }
  }
  for (const ServiceConfig& service : config.services) {
    for (const auto* list : {&record.services(), &record.removed_services()}) {
      for (const v1::ServiceRecord& known : *list) {
        if (known.name() != service.name &&
            absl::EqualsIgnoreCase(known.resource_id(), service.resource_id)) {
          return absl::StrCat("failover group ", config.name, ": ", service.resource_id,
                              " is bound to the name ", known.name(), ", found ", service.name);
        }
      }
    }
  }
  return "";
}

}  // namespace failover::core
