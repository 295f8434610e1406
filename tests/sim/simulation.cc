#include "tests/sim/simulation.h"

#include <cstdio>
#include <optional>

#include "absl/strings/str_cat.h"

namespace failover::sim {
namespace {

constexpr absl::Duration kChaos = absl::Minutes(12);
constexpr int kPeaceMinutes = 9;
constexpr absl::Duration kSwitchWithin = absl::Seconds(150);

const char* const kRegions[] = {"westeurope", "northeurope", "uksouth", "eastus"};

Trouble Draw(Random& random) {
  Trouble trouble;
  for (bool Trouble::*family :
       {&Trouble::store, &Trouble::crash, &Trouble::leadership, &Trouble::azure, &Trouble::traffic,
        &Trouble::foreign_traffic, &Trouble::foreign_edit, &Trouble::outage, &Trouble::cut,
        &Trouble::agent, &Trouble::liar, &Trouble::pause, &Trouble::orders, &Trouble::force}) {
    trouble.*family = random.Chance(0.5);
  }
  trouble.wall = random.Chance(0.15);
  trouble.rate = random.Chance(0.3) ? 0.3 : 0.08;
  return trouble;
}

}  // namespace

Outcome Simulate(uint64_t seed, const Options& options) { return Simulation(seed, options).Run(); }

Simulation::Simulation(uint64_t seed, const Options& options) : random_(seed), options_(options) {
  trouble_ = Draw(random_);
  groups_.resize(random_.Chance(0.75) ? 2 : 3);
  for (size_t i = 0; i < groups_.size(); ++i) DrawConfig(static_cast<int>(i));
  for (Group& group : groups_) {
    group.truth = std::make_unique<Truth>(group.config, random_);
    group.oracle = std::make_unique<Oracle>(group.config, *group.truth, trouble_.wall, coverage_);
    group.durable = std::make_shared<v1::GroupRecord>(
        core::NewRecord(group.config, absl::StrCat("store-of-", group.config.name),
                        std::string(32, 'k'), random_.Next()));
    group.older = group.durable;
    if (random_.Chance(0.07))
      group.truth->fence = core::Fence{"an-older-store", 40, 7, "0000000000000000"};
    if (random_.Chance(0.07))
      group.truth->services[group.config.services.back().name].sku = "Premium";
  }
  AddAgents();
  const int liar = random_.Int(0, 5);
  if (trouble_.liar && liar < static_cast<int>(agents_.size())) agents_[liar].liar = true;
}

// The numbers are those of a small installation, with intervals shortened so that much happens in
// half an hour.
void Simulation::DrawConfig(int index) {
  core::GroupConfig& config = groups_[index].config;
  config.name = absl::StrCat("group-", index);
  const int mode = random_.Int(0, 9);
  config.mode = mode < 6   ? core::Mode::kAutomatic
                : mode < 8 ? core::Mode::kApprove
                : mode < 9 ? core::Mode::kManual
                           : core::Mode::kObserve;
  const int services = random_.Int(2, 3);
  for (int i = 0; i < services; ++i) {
    config.services.push_back({absl::StrCat("apim-", index, i), kRegions[i],
                               absl::StrCat("/subscriptions/s/service/apim-", index, i), ""});
  }
  core::ProbeConfig probe;
  probe.name = "status";
  probe.definition = "GET /status";
  probe.interval = absl::Seconds(5);
  probe.timeout = absl::Seconds(2);
  probe.failure_threshold = index == 0 ? 3 : 2;
  probe.success_threshold = 3;
  config.probes.push_back(probe);
  config.probe_regions = {kRegions[0], kRegions[1], kRegions[2]};
  config.quorum = 2;
  config.control_targets = {"https://neutral.example/"};
  config.controller_region = random_.Chance(0.8) ? "swedencentral" : kRegions[1];
  config.min_down_duration = random_.Chance(0.3) ? absl::ZeroDuration() : absl::Seconds(10);
  config.cooldown = random_.Chance(0.5) ? absl::Minutes(2) : absl::Minutes(6);
  config.max_per_day = random_.Int(1, 3);
  config.max_data_loss = random_.Chance(0.7) ? absl::Hours(2) : absl::Minutes(8);
  config.rpo_objective = random_.Chance(0.5) ? absl::Minutes(7) : absl::Hours(4);
  config.drift_blocks = random_.Chance(0.3);
  config.public_url = random_.Chance(0.85) ? "https://api.example/status" : "";
  config.served_by_header = "x-served-by";
  config.has_traffic = true;
  config.sync_interval = random_.Between(absl::Minutes(2), absl::Minutes(4));
  config.storage = {"account", "backups", "SystemAssignedManagedIdentity", ""};
  config.backup_lifetime = random_.Chance(0.2) ? absl::Minutes(6) : absl::Hours(24 * 30);
  config.timing = {absl::Seconds(20), absl::Seconds(90), absl::Seconds(60), absl::Seconds(30)};
}

std::string Simulation::Active(const Group& group) const {
  for (const v1::ServiceRecord& service : group.state.record.services()) {
    if (service.role() == v1::ROLE_ACTIVE) return service.name();
  }
  return "";
}

void Simulation::Trace(int group, const std::string& text) {
  if (!options_.trace) return;
  std::fprintf(stderr, "%10.3f %s %s\n",
               absl::ToDoubleSeconds(queue_.now.since_epoch - absl::Hours(1000)),
               group < 0 ? "-" : absl::StrCat("g", group).c_str(), text.c_str());
}

void Simulation::Object(int group, const char* rule, const std::string& text) {
  ++coverage_[rule];
  if (!text.empty())
    objections_.push_back(absl::StrCat(rule, " in ", groups_[group].config.name, ": ", text));
}

Outcome Simulation::Run() {
  StartLife(true);
  if (options_.trace) {
    for (size_t i = 0; i < groups_.size(); ++i)
      Trace(static_cast<int>(i), absl::StrCat("mode ", static_cast<int>(groups_[i].config.mode)));
  }
  queue_.In(absl::Seconds(20), [this] { Mischief(); });
  queue_.In(absl::Seconds(10), [this] { Edit(); });
  if (trouble_.orders) queue_.In(absl::Seconds(30), [this] { Operator(); });
  const SteadyTime peace = queue_.now + kChaos;
  while (queue_.RunNext(peace)) {
  }
  Heal();
  for (int minute = 0; minute < kPeaceMinutes; ++minute) {
    for (size_t i = 0; i < groups_.size(); ++i) Help(static_cast<int>(i));
    const SteadyTime next = queue_.now + absl::Minutes(1);
    while (queue_.RunNext(next)) {
    }
  }
  for (size_t i = 0; i < groups_.size(); ++i) CheckPeace(static_cast<int>(i));
  for (size_t i = 0; i < groups_.size(); ++i) LastOutage(static_cast<int>(i));
  const SteadyTime end = queue_.now + kSwitchWithin + absl::Seconds(1);
  while (queue_.RunNext(end)) {
  }
  over_ = true;
  Outcome outcome;
  for (Group& group : groups_) {
    group.oracle->End(now());
    const std::vector<std::string>& said = group.oracle->objections();
    outcome.objections.insert(outcome.objections.end(), said.begin(), said.end());
  }
  outcome.objections.insert(outcome.objections.end(), objections_.begin(), objections_.end());
  outcome.coverage = coverage_;
  outcome.hash = hash_;
  outcome.steps = steps_;
  return outcome;
}

// Everything works again, and nobody meddles any more.
void Simulation::Heal() {
  peace_ = true;
  Trace(-1, "peace");
  for (Agent& agent : agents_) {
    agent.liar = agent.silent = agent.jumped = false;
  }
  for (Group& group : groups_) {
    group.truth->spoil_next = false;
    group.ended_runs = 0;
    for (auto& [name, service] : group.truth->services) {
      service.gateway_up = true;
      service.hangs = false;
      service.cut.clear();
    }
  }
}

// What a good operator does in peace: finishes what waits for people, never more.
void Simulation::Help(int index) {
  Group& group = groups_[index];
  if (!leading_ || paused_) return;
  const v1::GroupRecord& record = group.state.record;
  if (record.frozen_by_operator()) GiveOrder(index, core::OrderFreeze{false}, false);
  if (record.pause().active()) GiveOrder(index, core::OrderPause{false}, false);
  if (Active(group).empty()) {
    const bool stuck =
        group.state.observed.fence_checked && group.state.observed.fence_found.has_value();
    if (stuck || group.truth->EnabledCount() != 1) {
      GiveOrder(index, core::OrderAdopt{group.config.services[0].name}, false);
    }
  }
  const std::string active = Active(group);
  const std::optional<core::Fence>& fence = group.state.observed.fence_found;
  const bool foreign_fence = fence.has_value() && fence->store_id != record.store_id() &&
                             fence->store_id != record.fence_adopted();
  if (!active.empty() && foreign_fence) GiveOrder(index, core::OrderAdopt{active}, false);
  const bool switching = record.failover().stage() >= v1::FAILOVER_STAGE_DECIDED &&
                         record.failover().stage() <= v1::FAILOVER_STAGE_CONFIRMING;
  for (auto& [name, service] : group.truth->services) {
    if (active.empty() || switching || service.endpoint == (name == active)) continue;
    service.endpoint = name == active;
    group.truth->foreign_traffic = queue_.now;
  }
  for (const v1::Operation& operation : record.operations()) {
    if (operation.state() == v1::OPERATION_STATE_NEEDS_OPERATOR &&
        group.truth->Idle(operation.service(), queue_.now)) {
      GiveOrder(index, core::OrderAbandon{operation.id()}, false);
      break;
    }
  }
  for (const v1::ServiceRecord& service : group.state.record.services()) {
    const bool foreign = service.role() == v1::ROLE_STANDBY && !service.not_resynced() &&
                         !service.adopted() &&
                         (service.drift().found_ms() != 0 ||
                          (!service.has_baseline() && !service.content_unverified()));
    if (foreign && !group.truth->services[service.name()].sample_only) {
      GiveOrder(index, core::OrderStandbyDiscard{service.name()}, false);
      break;
    }
  }
}

// L4, L5, L6: nothing stays open, and runs end well again.
void Simulation::CheckPeace(int index) {
  Group& group = groups_[index];
  const v1::GroupRecord& record = group.state.record;
  std::string open;
  if (!leading_) open = "nobody leads";
  if (Active(group).empty()) absl::StrAppend(&open, " roles are unconfirmed;");
  if (record.failover().stage() >= v1::FAILOVER_STAGE_DECIDED &&
      record.failover().stage() <= v1::FAILOVER_STAGE_CONFIRMING) {
    absl::StrAppend(&open, " failover ", record.failover().id(), " is in stage ",
                    record.failover().stage(), ";");
  }
  for (const v1::Operation& operation : record.operations()) {
    const bool ended = operation.state() >= v1::OPERATION_STATE_SUCCEEDED &&
                       operation.state() != v1::OPERATION_STATE_NEEDS_OPERATOR;
    const absl::Duration age = now().wall - absl::FromUnixMillis(operation.intent_ms());
    const bool looking =
        operation.state() == v1::OPERATION_STATE_AMBIGUOUS;  // as long as twice the p95
    if (!ended && age > absl::Minutes(looking ? 15 : 4))
      absl::StrAppend(&open, " operation ", operation.id(), " in state ", operation.state(), ";");
  }
  if (group.good_runs == 0 && group.ended_runs > 1)
    absl::StrAppend(&open, " no sync run ended well, last: ", record.sync_run().failure(), ";");
  const bool run_open = record.sync_run().stage() >= v1::SYNC_STAGE_PREFLIGHT &&
                        record.sync_run().stage() < v1::SYNC_STAGE_DONE;
  const absl::Duration run_age = now().wall - absl::FromUnixMillis(record.sync_run().started_ms());
  bool looking = false;
  for (const v1::Operation& operation : record.operations())
    looking |= operation.state() == v1::OPERATION_STATE_AMBIGUOUS;
  if (run_open && run_age > absl::Minutes(looking ? 15 : 6)) {
    absl::StrAppend(&open, " sync run ", record.sync_run().id(), " is in stage ",
                    record.sync_run().stage(), ";");
  }
  Object(index, "ends_in_peace", open);
}

// L1, L2: the active gateway dies for good; a fit standby takes over without anybody's help.
void Simulation::LastOutage(int index) {
  Group& group = groups_[index];
  const std::string active = Active(group);
  if (group.config.mode != core::Mode::kAutomatic || active.empty() || !leading_) return;
  if (group.state.record.failover_ms_size() >= group.config.max_per_day) return;
  GiveOrder(index, core::OrderAck{}, false);
  const v1::GroupRecord& record = group.state.record;
  const std::string& tier = group.truth->services[active].sku;
  bool fit = false;
  for (const v1::ServiceRecord& service : record.services()) {
    bool busy = false;
    for (const v1::Operation& operation : record.operations()) {
      const bool ended = operation.state() >= v1::OPERATION_STATE_SUCCEEDED &&
                         operation.state() != v1::OPERATION_STATE_NEEDS_OPERATOR;
      busy |= operation.service() == service.name() && !ended;
    }
    const absl::Duration age = now().wall - absl::FromUnixMillis(service.recovery_point_ms());
    const bool sound = service.role() == v1::ROLE_STANDBY && service.recovery_point_ms() != 0 &&
                       !service.content_unverified() && !service.not_resynced() &&
                       (!group.config.drift_blocks || service.drift().found_ms() == 0);
    fit |= sound && !busy && age + kSwitchWithin < group.config.max_data_loss &&
           group.truth->services[service.name()].sku == tier &&
           absl::FromUnixMillis(service.backup_expires_ms()) > now().wall + kSwitchWithin;
  }
  // A restore about to start would hold the switch up for its whole length.
  const bool restoring = record.sync_run().stage() == v1::SYNC_STAGE_RESTORE;
  if (!fit || restoring) return;
  group.truth->services[active].gateway_up = false;
  Trace(index, absl::StrCat("the last outage: ", active));
  const uint64_t epoch = record.epoch();
  queue_.In(kSwitchWithin, [this, index, active, epoch] {
    Group& later = groups_[index];
    const bool switched = Active(later) != active && later.state.record.epoch() > epoch;
    Object(index, "switches_when_it_should",
           switched ? ""
                    : absl::StrCat(active, " is dead and still active; blockers ",
                                   later.state.observed.blockers.group.bits()));
  });
}

}  // namespace failover::sim
