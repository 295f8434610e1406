#include "tests/sim/oracle_votes.h"

#include <algorithm>

namespace failover::sim {
namespace {

absl::Duration Fresh(const core::GroupConfig& config) {
  return 2 * config.decider().interval + config.decider().timeout;
}

}  // namespace

void OracleVotes::Add(const core::ProbeSample& sample, bool replay, Now now, Line& line) const {
  const bool unbroken = line.any && sample.sequence == line.sequence + 1 &&
                        sample.completed - line.newest <= Fresh(*config_);
  const bool useless = sample.clock_jumped || sample.completed < gap_ ||
                       (replay && now.steady - sample.completed > Fresh(*config_));
  line.any = true;
  line.sequence = sample.sequence;
  line.newest = std::max(line.newest, sample.completed);
  if (sample.success) line.good_at = std::max(line.good_at, sample.completed);
  if (!unbroken || useless) {
    line.bad_row = line.good_row = 0;
    line.up = false;
  }
  if (useless) return;
  if (sample.success) {
    line.proof = std::max(line.proof, sample.completed);
    line.bad_row = 0;
    if (!sample.burst) ++line.good_row;
    if (line.good_row >= config_->decider().success_threshold) line.up = true;
  } else {
    line.good_row = 0;
    ++line.bad_row;
    if (line.bad_row >= config_->decider().failure_threshold) line.up = false;
  }
}

void OracleVotes::Results(const core::ProbeResults& results, Now now) {
  AgentLog& agent = agents_[results.agent];
  for (const core::ProbeSample& sample : results.samples) {
    const bool service = sample.target.kind == core::TargetKind::kService;
    if (!service && sample.target.kind != core::TargetKind::kControl) continue;
    Line& line =
        service ? agent.services[sample.target.service] : agent.controls[sample.target.probe];
    if (line.any && sample.sequence <= line.sequence) continue;  // old or repeated
    Add(sample, results.replay, now, line);
    agent.heard = std::max(agent.heard, sample.completed);
  }
}

void OracleVotes::Stream(const core::AgentStream& stream) {
  agents_[stream.agent].open = stream.open;
}

void OracleVotes::Gap(SteadyTime at) {
  gap_ = at;
  for (auto& [id, agent] : agents_) {
    for (auto* lines : {&agent.services, &agent.controls}) {
      for (auto& [index, line] : *lines) {
        line.bad_row = line.good_row = 0;
        line.up = false;
        line.proof = SteadyTime::InfinitePast();
      }
    }
  }
}

bool OracleVotes::NetworkWorks(const AgentLog& agent, int service, SteadyTime now) const {
  const auto good = [&](const Line& line) {
    return now - line.proof <= 2 * config_->decider().interval;
  };
  for (const auto& [index, line] : agent.controls) {
    if (good(line)) return true;
  }
  for (const auto& [index, line] : agent.services) {
    if (index != service && good(line)) return true;
  }
  return false;
}

OracleVotes::Opinion OracleVotes::Of(int service, int region, SteadyTime now) const {
  bool all_down = true;
  int counted = 0;
  for (const auto& [id, agent] : agents_) {
    if (id.probe_region != config_->probe_regions[region]) continue;
    if (!agent.open && now - agent.heard > absl::Minutes(5)) continue;
    ++counted;
    const auto found = agent.services.find(service);
    const bool fresh =
        found != agent.services.end() && now - found->second.newest <= Fresh(*config_);
    if (fresh && found->second.up) return Opinion::kUp;
    if (!fresh || found->second.bad_row < config_->decider().failure_threshold ||
        !NetworkWorks(agent, service, now)) {
      all_down = false;
    }
  }
  return counted > 0 && all_down ? Opinion::kDown : Opinion::kNone;
}

int OracleVotes::Count(int service, Opinion opinion, SteadyTime now) const {
  int count = 0;
  for (size_t region = 0; region < config_->probe_regions.size(); ++region) {
    count += Of(service, static_cast<int>(region), now) == opinion ? 1 : 0;
  }
  return count;
}

bool OracleVotes::QuorumDown(int service, SteadyTime now) const {
  int down = 0, up = 0;
  bool outsider = false;
  for (size_t region = 0; region < config_->probe_regions.size(); ++region) {
    const Opinion opinion = Of(service, static_cast<int>(region), now);
    up += opinion == Opinion::kUp ? 1 : 0;
    if (opinion != Opinion::kDown) continue;
    ++down;
    const std::string& name = config_->probe_regions[region];
    outsider |=
        name != config_->controller_region && name != config_->services[service].azure_region;
  }
  const int all = static_cast<int>(config_->probe_regions.size());
  return down >= config_->quorum && up < all - config_->quorum + 1 && outsider;
}

SteadyTime OracleVotes::LastSuccess(int service, int region) const {
  SteadyTime last = SteadyTime::InfinitePast();
  for (const auto& [id, agent] : agents_) {
    const auto found = agent.services.find(service);
    if (id.probe_region != config_->probe_regions[region] || found == agent.services.end())
      continue;
    last = std::max(last, found->second.good_at);
  }
  return last;
}

}  // namespace failover::sim
