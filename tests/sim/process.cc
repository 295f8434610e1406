// The process around the core: lives, the store, held commands, requests on their way.
#include <algorithm>
#include <memory>

#include "absl/strings/str_cat.h"
#include "tests/sim/simulation.h"

namespace failover::sim {
namespace {

using core::CallStatus;

bool Changes(const core::Command& command) {
  return std::holds_alternative<core::StartBackup>(command) ||
         std::holds_alternative<core::StartRestore>(command) ||
         std::holds_alternative<core::WriteManifest>(command) ||
         std::holds_alternative<core::WriteFence>(command) ||
         std::holds_alternative<core::SetEndpoint>(command);
}

bool OfTraffic(const core::Command& command) {
  return std::holds_alternative<core::SetEndpoint>(command) ||
         std::holds_alternative<core::ReadTraffic>(command) ||
         std::holds_alternative<core::CheckSwitchPath>(command);
}

bool Silent(const core::Command& command) {
  return std::holds_alternative<core::Note>(command) ||
         std::holds_alternative<core::Reply>(command);
}

SteadyTime SendBy(const core::Command& command) {
  if (const auto* c = std::get_if<core::StartBackup>(&command)) return c->send_by;
  if (const auto* c = std::get_if<core::StartRestore>(&command)) return c->send_by;
  if (const auto* c = std::get_if<core::WriteFence>(&command)) return c->send_by;
  if (const auto* c = std::get_if<core::SetEndpoint>(&command)) return c->send_by;
  return SteadyTime::InfiniteFuture();
}

}  // namespace

bool Simulation::IsHeld(const core::Command& command) const {
  if (const auto* reply = std::get_if<core::Reply>(&command)) return reply->ok;
  return Changes(command) || std::holds_alternative<core::PollOperation>(command);
}

// A process starts, or one that lost leadership wins it again: term +1, durable before anything
// else.
void Simulation::StartLife(bool fresh) {
  if (over_) return;
  if (fresh) ++process_;
  ++life_;
  running_ = leading_ = true;
  for (size_t i = 0; i < groups_.size(); ++i) {
    Group& group = groups_[i];
    v1::GroupRecord record =
        options_.planted == Planted::kOldRecord ? *group.older : *group.durable;
    record.set_term(record.term() + 1);
    if (options_.planted == Planted::kForgetCooldown) {
      record.set_cooldown_until_ms(0);
      record.clear_failover_ms();
    }
    if (fresh) group.state = core::GroupState{};
    group.state.record = record;
    group.durable_version = 0;
    group.wanted = 0;
    group.writing = false;
    group.held.clear();
    group.durable = std::make_shared<v1::GroupRecord>(std::move(record));
    group.oracle->Durable(group.durable, now());
    group.oracle->Life(*group.durable, fresh, now());
    Step(static_cast<int>(i), core::LeadershipGained{});
  }
  for (size_t agent = 0; agent < agents_.size() && fresh; ++agent) {
    queue_.In(random_.Between(absl::Milliseconds(50), absl::Seconds(2)),
              [this, agent] { Connect(static_cast<int>(agent)); });
  }
}

void Simulation::Crash() {
  if (!running_) return;
  running_ = leading_ = paused_ = false;
  inbox_.clear();
  ++process_;  // answers on their way find nobody
  for (size_t agent = 0; agent < agents_.size(); ++agent) agents_[agent].connected = false;
  for (Group& group : groups_) {
    if (group.writing && random_.Chance(0.5)) {  // the write in flight may have made it
      group.older = group.durable;
      group.durable = std::make_shared<v1::GroupRecord>(group.state.record);
      group.oracle->Durable(group.durable, now());
    }
    group.writing = false;
    ++group.tick;
  }
  Trace(-1, "crash");
  queue_.In(random_.Between(absl::Seconds(1), absl::Seconds(40)), [this] { StartLife(true); });
}

void Simulation::LoseLeadership() {
  if (!leading_ || paused_) return;
  Trace(-1, "leadership lost");
  leading_ = false;
  ++life_;
  for (size_t i = 0; i < groups_.size(); ++i) {
    groups_[i].writing = false;
    groups_[i].held.clear();
    if (options_.planted != Planted::kDeposedSends)
      Step(static_cast<int>(i), core::LeadershipLost{});
  }
  const uint64_t process = process_;
  queue_.In(random_.Between(absl::Seconds(1), absl::Seconds(30)), [this, process] {
    if (running_ && process == process_ && !leading_) StartLife(false);
  });
}

// The whole process stands still; what arrives waits; on waking it notices the gap first.
void Simulation::Pause(absl::Duration length) {
  if (!running_ || paused_) return;
  paused_ = true;
  const uint64_t process = process_;
  Trace(-1, absl::StrCat("paused for ", absl::FormatDuration(length)));
  queue_.In(length, [this, process, length] {
    if (process != process_) return;
    paused_ = false;
    if (length > absl::Seconds(2)) {
      for (size_t i = 0; i < groups_.size(); ++i) Step(static_cast<int>(i), core::ClockGap{});
    }
    std::vector<std::pair<int, core::Event>> waiting = std::move(inbox_);
    inbox_.clear();
    for (const auto& [group, event] : waiting) Step(group, event);
    for (size_t i = 0; i < groups_.size(); ++i) {
      Step(static_cast<int>(i), core::Tick{});
      ReleaseDurable(static_cast<int>(i));
    }
  });
}

void Simulation::Deliver(int group, core::Event event, absl::Duration delay) {
  const uint64_t process = process_;
  queue_.In(delay, [this, group, process, event = std::move(event)] {
    if (process == process_) Arrived(group, event);
  });
}

void Simulation::Arrived(int group, const core::Event& event) {
  if (!running_) return;
  if (paused_) {
    inbox_.emplace_back(group, event);
    return;
  }
  Step(group, event);
}

// Tampers with what the core learns; the oracle is told the truth.
core::Event Simulation::Tamper(int index, core::Event event) {
  Group& group = groups_[index];
  if (options_.planted == Planted::kBlindTraffic) {
    if (auto* read = std::get_if<core::TrafficRead>(&event)) {
      for (auto& [name, on] : read->enabled) on = name == Active(group);
    }
  }
  const absl::Duration age = queue_.now.since_epoch - absl::Hours(1000);
  auto* results = std::get_if<core::ProbeResults>(&event);
  if (options_.planted == Planted::kMadeUpFailures && results != nullptr &&
      age > absl::Minutes(6)) {
    for (core::ProbeSample& sample : results->samples) {
      const bool active = sample.target.kind == core::TargetKind::kService &&
                          group.config.services[sample.target.service].name == Active(group);
      if (active) sample.success = false;
    }
  }
  auto* read = std::get_if<core::FingerprintRead>(&event);
  if (options_.planted == Planted::kTrustFingerprint && read != nullptr) {
    for (const v1::ServiceRecord& service : group.state.record.services()) {
      if (service.name() == read->service && service.has_baseline())
        read->fingerprint = service.baseline();
    }
  }
  return event;
}

void Simulation::Step(int index, const core::Event& event) {
  Group& group = groups_[index];
  ++steps_;
  group.oracle->BeforeStep(event, now());
  const core::Commands commands =
      options_.planted == Planted::kNothing
          ? core::Step(group.config, group.state, event, now())
          : core::Step(group.config, group.state, Tamper(index, event), now());
  group.oracle->AfterStep(event, group.state, commands, now());
  Hash(static_cast<uint64_t>(absl::ToInt64Microseconds(queue_.now.since_epoch)) * 31 +
       event.index());
  if (options_.trace && !std::holds_alternative<core::Tick>(event))
    Trace(index, absl::StrCat(NameOf(event), VotesOf(group)));
  const v1::SyncRun& run = group.state.record.sync_run();
  if (run.stage() >= v1::SYNC_STAGE_DONE && run.id() != group.last_run) {
    group.last_run = run.id();
    ++group.ended_runs;
    group.good_runs += run.stage() == v1::SYNC_STAGE_DONE ? 1 : 0;
  }
  if (commands.persist) {
    group.wanted = commands.version;
    Write(index);
  }
  const uint64_t needed = group.state.observed.persist_requested;
  for (const core::Command& command : commands.list) {
    Hash(command.index());
    if (options_.trace && !std::holds_alternative<core::Note>(command))
      Trace(index, absl::StrCat("    → ", NameOf(command)));
    if (IsHeld(command) && needed > group.durable_version &&
        options_.planted != Planted::kReleaseEarly) {
      group.held.emplace_back(needed, command);
    } else {
      Release(index, command);
    }
  }
  ArmTick(index, commands.wake);
  const v1::FailoverStage stage = group.state.record.failover().stage();
  const bool moved = stage != group.stage && stage >= v1::FAILOVER_STAGE_DECIDED &&
                     stage <= v1::FAILOVER_STAGE_CONFIRMING;
  group.stage = stage;
  if (moved && trouble_.crash && !Calm() && random_.Chance(0.2)) {  // the moments that matter most
    queue_.In(random_.Between(absl::ZeroDuration(), absl::Milliseconds(400)), [this] { Crash(); });
  }
}

// "weu: +-?" of the active service, as the core counts them, for traces.
std::string Simulation::VotesOf(const Group& group) const {
  const int active = group.config.ServiceIndex(Active(group));
  if (active < 0 || static_cast<size_t>(active) >= group.state.observed.verdicts.size()) return "";
  std::string text = absl::StrCat("   [", Active(group), ": ");
  for (const core::RegionVote& region : group.state.observed.verdicts[active].regions) {
    absl::StrAppend(&text, region.vote == core::Vote::kUp     ? "+"
                           : region.vote == core::Vote::kDown ? "-"
                                                              : "?");
  }
  return absl::StrCat(text, "]");
}

// Timers are a little late, as they are on a busy machine.
void Simulation::ArmTick(int index, SteadyTime wake) {
  const uint64_t tick = ++groups_[index].tick;
  if (wake == SteadyTime::InfiniteFuture()) return;
  const SteadyTime at = std::max(wake, queue_.now + absl::Milliseconds(1)) +
                        random_.Between(absl::Milliseconds(1), absl::Milliseconds(1500));
  queue_.At(at, [this, index, tick] {
    if (groups_[index].tick != tick || !running_ || paused_) return;
    Step(index, core::Tick{});
  });
}

void Simulation::Write(int index) {
  Group& group = groups_[index];
  if (group.writing) return;
  group.writing = true;
  auto snapshot = std::make_shared<v1::GroupRecord>(group.state.record);
  const uint64_t version = group.wanted, life = life_;
  const bool fails = trouble_.store && !Calm() && random_.Chance(0.03);
  const bool applied = !fails || random_.Chance(0.3);
  const bool slow = trouble_.store && !Calm() && random_.Chance(0.05);
  const absl::Duration takes = slow ? random_.Between(absl::Milliseconds(100), absl::Seconds(8))
                                    : absl::Milliseconds(random_.Int(1, 6));
  queue_.In(takes, [this, index, snapshot, version, life, fails, applied] {
    Group& written = groups_[index];
    if (life != life_ || !running_) return;  // settled when that life ended
    if (applied) {
      written.older = written.durable;
      written.durable = snapshot;
      written.oracle->Durable(written.durable, now());
    }
    written.writing = false;
    if (fails) {
      Arrived(index, core::StoreFailed{"simulated"});
      queue_.In(absl::Seconds(1), [this, index, life] {
        if (life == life_ && running_) Write(index);
      });
      return;
    }
    written.durable_version = version;
    if (!paused_) ReleaseDurable(index);
    Arrived(index, core::Persisted{version});
    if (groups_[index].wanted > version) Write(index);
  });
}

void Simulation::ReleaseDurable(int index) {
  Group& group = groups_[index];
  while (!group.held.empty() && group.held.front().first <= group.durable_version) {
    const core::Command command = std::move(group.held.front().second);
    group.held.pop_front();
    Release(index, command);
  }
}

void Simulation::Release(int index, const core::Command& command) {
  if (Silent(command)) return;
  if (const auto* burst = std::get_if<core::RequestBurst>(&command)) {
    for (size_t agent = 0; agent < agents_.size(); ++agent) {
      const auto& regions = burst->probe_regions;
      if (std::find(regions.begin(), regions.end(), agents_[agent].region) != regions.end()) {
        Burst(static_cast<int>(agent), index, burst->service, 2);
      }
    }
    return;
  }
  if (queue_.now > SendBy(command))
    return Deliver(index, Failure(command, CallStatus::kNotSent), absl::Milliseconds(1));
  const auto* set = std::get_if<core::SetEndpoint>(&command);
  const bool early = options_.planted == Planted::kDisableFirst && set != nullptr && set->enabled;
  if (early) groups_[index].truth->services[Active(groups_[index])].endpoint = false;
  Send(index, command);
  if (early && groups_[index].truth->EnabledCount() == 0) {
    groups_[index].oracle->Effect(core::SetEndpoint{0, Active(groups_[index]), false, {}},
                                  core::Tick{}, now());
  }
}

// A request leaves: it may get lost before or after its effect, arrive late, or be refused.
void Simulation::Send(int index, const core::Command& command) {
  groups_[index].oracle->Sent(command, !leading_, now());
  const bool shaky = !Calm() && (OfTraffic(command) ? trouble_.traffic : trouble_.azure) &&
                     random_.Chance(trouble_.rate);
  const absl::Duration there =
      random_.Between(absl::Milliseconds(5), absl::Milliseconds(OfTraffic(command) ? 80 : 400));
  const absl::Duration back =
      random_.Between(absl::Milliseconds(5), absl::Milliseconds(OfTraffic(command) ? 80 : 400));
  const auto arrive = [this, index, command, back](absl::Duration after, bool answer) {
    queue_.In(after,
              [this, index, command, back, answer] { Arrive(index, command, answer, back); });
  };
  if (!shaky) return arrive(there, true);
  const absl::Duration patience =
      random_.Between(absl::Seconds(1), OfTraffic(command) ? absl::Seconds(4) : absl::Seconds(10));
  switch (random_.Int(0, 4)) {
    case 0:
      return Deliver(index, Failure(command, CallStatus::kNotSent), there);
    case 1:
      return Deliver(index, Failure(command, CallStatus::kFailed), there + back);
    case 2:
      return Deliver(index, Failure(command, CallStatus::kUnclear), patience);
    case 3:
      arrive(there, false);
      return Deliver(index, Failure(command, CallStatus::kUnclear), patience);
    default:
      arrive(random_.Between(absl::Seconds(1),
                             OfTraffic(command) ? absl::Seconds(5) : absl::Seconds(15)),
             false);
      return Deliver(index, Failure(command, CallStatus::kUnclear), patience);
  }
}

void Simulation::Arrive(int index, const core::Command& command, bool answer, absl::Duration back) {
  Group& group = groups_[index];
  group.truth->fault_rate = !Calm() && trouble_.azure ? trouble_.rate : 0;
  const core::Event honest = group.truth->Arrive(command, queue_.now, now().wall, random_);
  Hash(command.index() + 1000);
  if (options_.trace)
    Trace(index, absl::StrCat("      arrived: ", NameOf(command), " | ", NameOf(honest)));
  if (Changes(command)) {
    group.oracle->Effect(command, honest, now());
  } else {
    group.oracle->Served(command, honest, now());
  }
  if (answer) return Deliver(index, honest, back);
  const auto* backup = std::get_if<core::StartBackup>(&command);
  const auto* restore = std::get_if<core::StartRestore>(&command);
  if (options_.planted == Planted::kPostTwice && (backup != nullptr || restore != nullptr))
    Send(index, command);
}

}  // namespace failover::sim
