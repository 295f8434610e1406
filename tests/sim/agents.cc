// Agents: what they see, when they say it, and how it gets lost.
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "tests/sim/simulation.h"

namespace failover::sim {
namespace {

int Number(const core::TargetRef& target) {
  return target.kind == core::TargetKind::kService   ? target.service
         : target.kind == core::TargetKind::kControl ? 100
                                                     : 101;
}

}  // namespace

void Simulation::AddAgents() {
  const std::vector<std::string>& regions = groups_[0].config.probe_regions;
  for (size_t region = 0; region < regions.size(); ++region) {
    const int count = random_.Chance(0.2) ? 2 : 1;
    for (int i = 0; i < count; ++i) {
      Agent agent;
      agent.id = {regions[region], absl::StrCat("agent-", i), "1"};
      agent.region = static_cast<int>(region);
      agents_.push_back(std::move(agent));
    }
  }
  for (size_t i = 0; i < agents_.size(); ++i) {
    const absl::Duration interval = groups_[0].config.decider().interval;
    queue_.In(interval * static_cast<double>(i) / static_cast<double>(agents_.size()),
              [this, i] { Round(static_cast<int>(i)); });
  }
}

core::ProbeSample Simulation::Look(int index, int group_index, core::TargetRef target) const {
  const Agent& agent = agents_[index];
  const Group& group = groups_[group_index];
  core::ProbeSample sample;
  sample.target = target;
  sample.started = queue_.now;
  sample.completed = queue_.now + absl::Milliseconds(20);
  sample.success = true;
  if (target.kind == core::TargetKind::kService) {
    const std::string& name = group.config.services[target.service].name;
    const ServiceTruth& service = group.truth->services.at(name);
    sample.success = group.truth->Reachable(name, agent.region) && !agent.liar;
    if (service.hangs && service.gateway_up)
      sample.completed = queue_.now + group.config.decider().timeout;
    sample.remote_address = absl::StrCat("10.0.0.", target.service);
  } else if (target.kind == core::TargetKind::kPublic) {
    const auto known = agent.dns.find(group_index);
    const std::string name = known == agent.dns.end() ? "" : known->second.second;
    sample.success = !name.empty() && group.truth->Reachable(name, agent.region);
    sample.served_by = sample.success ? name : "";
  } else {
    sample.success = !agent.silent;  // its own network
  }
  if (agent.silent) sample.success = false;
  if (!sample.success) sample.failed_stage = core::FailedStage::kConnect;
  return sample;
}

// One probe of everything, at a fixed cadence.
void Simulation::Round(int index) {
  if (over_) return;
  Agent& agent = agents_[index];
  queue_.In(groups_[0].config.decider().interval, [this, index] { Round(index); });
  for (size_t i = 0; i < groups_.size(); ++i) {
    const int group = static_cast<int>(i);
    std::pair<SteadyTime, std::string>& dns = agent.dns[group];
    if (dns.second.empty() || queue_.now >= dns.first)
      dns = {queue_.now + absl::Seconds(8), groups_[i].truth->PublicName(queue_.now)};
    std::map<SteadyTime, std::vector<core::ProbeSample>> done;
    const auto look = [&](core::TargetRef target) {
      const core::ProbeSample sample = Look(index, group, target);
      done[sample.completed].push_back(sample);
    };
    for (size_t service = 0; service < groups_[i].config.services.size(); ++service) {
      look({core::TargetKind::kService, static_cast<int16_t>(service), 0});
    }
    look({core::TargetKind::kControl, -1, 0});
    look({core::TargetKind::kPublic, -1, -1});
    for (auto& [when, samples] : done) {
      queue_.At(when, [this, index, group, samples = std::move(samples)] {
        Completed(index, group, samples);
      });
    }
  }
}

// Sequence numbers are given at completion.
void Simulation::Completed(int index, int group, std::vector<core::ProbeSample> samples) {
  Agent& agent = agents_[index];
  core::ProbeResults results;
  results.agent = agent.id;
  for (core::ProbeSample& sample : samples) {
    const std::pair target(group, Number(sample.target));
    sample.sequence = ++agent.sequence[target];
    if (agent.jumped) {
      sample.clock_jumped = true;
      sample.completed = sample.completed - absl::Seconds(7);
    }
    groups_[group].oracle->Measured(agent.id, sample, now());
    const bool first = !sample.success && !agent.failing[target];
    agent.failing[target] = !sample.success;
    if (first && !sample.burst && sample.target.kind == core::TargetKind::kService)
      Burst(index, group, sample.target.service, 2);
  }
  agent.jumped = false;
  if (trouble_.agent && !Calm() && random_.Chance(0.01)) return;  // lost for ever: a gap
  results.samples = std::move(samples);
  agent.kept.emplace_back(group, results);
  while (!agent.kept.empty() &&
         queue_.now - agent.kept.front().second.samples[0].completed > absl::Minutes(5))
    agent.kept.pop_front();
  Transmit(index, group, results);
  if (trouble_.agent && !Calm() && random_.Chance(0.01) &&
      agent.kept.size() > 3) {  // somebody repeats an old one
    Transmit(index, agent.kept.front().first, agent.kept.front().second);
  }
}

void Simulation::Burst(int index, int group, int service, int times) {
  for (int i = 1; i <= times; ++i) {
    queue_.In(absl::Milliseconds(120 * i), [this, index, group, service] {
      core::ProbeSample sample =
          Look(index, group, {core::TargetKind::kService, static_cast<int16_t>(service), 0});
      sample.burst = true;
      const SteadyTime when = sample.completed;
      queue_.At(when, [this, index, group, sample] { Completed(index, group, {sample}); });
    });
  }
}

void Simulation::Transmit(int index, int group, const core::ProbeResults& results) {
  Agent& agent = agents_[index];
  if (!agent.connected || !running_) return;
  const absl::Duration delay = random_.Between(
      absl::Milliseconds(5), absl::Milliseconds(trouble_.agent && !Calm() ? 900 : 120));
  agent.last_arrival = std::max(queue_.now + delay, agent.last_arrival + absl::Milliseconds(1));
  Deliver(group, results, agent.last_arrival - queue_.now);
}

// A new stream: everything of the last five minutes again, as one batch.
void Simulation::Connect(int index) {
  Agent& agent = agents_[index];
  if (!running_ || agent.connected) return;
  agent.connected = true;
  for (size_t i = 0; i < groups_.size(); ++i) {
    const int group = static_cast<int>(i);
    agent.last_arrival =
        std::max(queue_.now + absl::Milliseconds(1), agent.last_arrival + absl::Milliseconds(1));
    Deliver(group, core::AgentStream{agent.id, true}, agent.last_arrival - queue_.now);
    core::ProbeResults replay;
    replay.agent = agent.id;
    replay.replay = true;
    for (const auto& [of, results] : agent.kept) {
      if (of == group && results.agent == agent.id) {
        replay.samples.insert(replay.samples.end(), results.samples.begin(), results.samples.end());
      }
    }
    if (!replay.samples.empty()) Transmit(index, group, replay);
  }
}

void Simulation::Disconnect(int index) {
  Agent& agent = agents_[index];
  if (!agent.connected) return;
  agent.connected = false;
  for (size_t i = 0; i < groups_.size(); ++i)
    Deliver(static_cast<int>(i), core::AgentStream{agent.id, false}, absl::Milliseconds(5));
  queue_.In(random_.Between(absl::Seconds(2), absl::Seconds(90)), [this, index] {
    Agent& again = agents_[index];
    if (trouble_.agent && !Calm() && random_.Chance(0.3)) {  // it was restarted meanwhile
      again.id.instance = absl::StrCat(std::stoi(again.id.instance) + 1);
      again.sequence.clear();
      again.kept.clear();
    }
    Connect(index);
  });
}

}  // namespace failover::sim
