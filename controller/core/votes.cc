#include "controller/core/votes.h"

#include <algorithm>

#include "absl/strings/match.h"

namespace failover::core {
namespace {

constexpr absl::Duration kAgentGone = absl::Minutes(5);
constexpr size_t kMaxAgents = 256;

Agent* FindOrAdd(const GroupConfig& config, const AgentId& id, Votes& votes) {
  for (Agent& agent : votes.agents) {
    if (agent.id == id) return &agent;
  }
  const int region = config.RegionIndex(id.probe_region);
  if (region < 0 || votes.agents.size() >= kMaxAgents) return nullptr;
  Agent agent;
  agent.id = id;
  agent.region = region;
  agent.services.resize(config.services.size() * config.probes.size());
  agent.controls.resize(config.control_targets.size());
  agent.addresses.resize(config.services.size());
  agent.public_successes.resize(config.services.size());
  votes.agents.push_back(std::move(agent));
  return &votes.agents.back();
}

void BreakRun(View& view) {
  view.vote = Vote::kUnknown;
  view.failures = 0;
  view.successes = 0;
  view.observed_since = SteadyTime::InfinitePast();
}

// A good answer from before a clock gap does not prove that the agent's network works.
void Distrust(View& view) {
  BreakRun(view);
  view.trusted_success = SteadyTime::InfinitePast();
}

View* ViewOf(const GroupConfig& config, const TargetRef& target, Agent& agent) {
  switch (target.kind) {
    case TargetKind::kPublic:
      return &agent.public_name;
    case TargetKind::kControl:
      if (target.probe < 0 || static_cast<size_t>(target.probe) >= agent.controls.size())
        return nullptr;
      return &agent.controls[target.probe];
    case TargetKind::kService: {
      const size_t probes = config.probes.size();
      if (target.service < 0 || target.probe < 0 || static_cast<size_t>(target.probe) >= probes)
        return nullptr;
      const size_t index = target.service * probes + target.probe;
      return index < agent.services.size() ? &agent.services[index] : nullptr;
    }
  }
  return nullptr;
}

void ApplySuccess(const ProbeSample& sample, int threshold, View& view) {
  view.failures = 0;
  if (!sample.burst) ++view.successes;
  if (view.vote == Vote::kDown) view.vote = Vote::kUnknown;
  if (view.successes >= threshold) view.vote = Vote::kUp;
}

void ApplyFailure(const ProbeSample& sample, int threshold, View& view) {
  view.successes = 0;
  if (++view.failures == 1) {
    view.first_failure = sample.completed;
    view.last_regular_failure_started = SteadyTime::InfinitePast();
  }
  if (!sample.burst) view.last_regular_failure_started = sample.started;
  if (view.failures >= threshold) view.vote = Vote::kDown;
}

// False when the sample is old, replayed or stale and so cannot vote.
bool ApplySample(const ProbeConfig& probe, const ProbeSample& sample, bool replay, Now now,
                 View& view) {
  if (view.seen && sample.sequence <= view.last_sequence) return false;
  const absl::Duration freshness = Freshness(probe);
  const bool gap = view.seen && (sample.sequence != view.last_sequence + 1 ||
                                 sample.completed - view.newest > freshness);
  const bool failed_before = view.seen && !view.newest_success;
  view.seen = true;
  view.last_sequence = sample.sequence;
  view.newest = std::max(view.newest, sample.completed);
  view.newest_success = sample.success;
  view.newest_stage = sample.failed_stage;
  if (sample.success) {
    view.last_success = std::max(view.last_success, sample.completed);
    view.last_success_started = std::max(view.last_success_started, sample.started);
  } else if (!failed_before) {
    view.truth_first_failed_started = sample.started;
  }
  if (gap || sample.clock_jumped) BreakRun(view);
  if (sample.clock_jumped || (replay && now.steady - sample.completed > freshness)) {
    BreakRun(view);
    return false;
  }
  if (view.observed_since == SteadyTime::InfinitePast()) view.observed_since = sample.completed;
  if (sample.success) {
    view.trusted_success = std::max(view.trusted_success, sample.completed);
    ApplySuccess(sample, probe.success_threshold, view);
  } else {
    ApplyFailure(sample, probe.failure_threshold, view);
  }
  return true;
}

void ApplyPublic(const GroupConfig& config, const ProbeSample& sample, Agent& agent) {
  PublicAnswer answer{sample.success,   sample.started,        sample.completed,
                      sample.served_by, sample.remote_address, sample.cname_chain};
  const int service = answer.success ? ServedBy(config, agent, answer) : -1;
  if (service >= 0) agent.public_successes[service] = answer;
  agent.public_answer = std::move(answer);
}

// A `down` counts only from an agent whose own network provably works (design.md §5.2).
bool ControlOk(const GroupConfig& config, const Agent& agent, int service, SteadyTime now) {
  const absl::Duration window = 2 * config.decider().interval;
  for (const View& view : agent.controls) {
    if (now - view.trusted_success <= window) return true;
  }
  const int probes = static_cast<int>(config.probes.size());
  for (size_t i = 0; i < agent.services.size(); ++i) {
    if (static_cast<int>(i) / probes != service &&
        now - agent.services[i].trusted_success <= window)
      return true;
  }
  return false;
}

SteadyTime DwellOver(const GroupConfig& config, const ProbeConfig& probe, const View& view,
                     SteadyTime now) {
  const absl::Duration dwell = config.min_down_duration;
  if (view.newest_success || now - view.newest > probe.interval + probe.timeout)
    return SteadyTime::InfiniteFuture();
  if (dwell <= absl::ZeroDuration()) return now;
  if (view.last_regular_failure_started <= view.first_failure) return SteadyTime::InfiniteFuture();
  return std::max(view.last_success, view.observed_since) + dwell;
}

}  // namespace

absl::Duration Freshness(const ProbeConfig& probe) { return 2 * probe.interval + probe.timeout; }

void ForgetRuns(Votes& votes) {
  for (Agent& agent : votes.agents) {
    for (View& view : agent.services) Distrust(view);
    for (View& view : agent.controls) Distrust(view);
    Distrust(agent.public_name);
  }
  std::fill(votes.fresh_results.begin(), votes.fresh_results.end(), 0);
}

void ApplyResults(const GroupConfig& config, const ProbeResults& results, Now now, Votes& votes) {
  Agent* agent = FindOrAdd(config, results.agent, votes);
  if (agent == nullptr) return;
  votes.fresh_results.resize(config.probe_regions.size());
  for (const ProbeSample& sample : results.samples) {
    View* view = ViewOf(config, sample.target, *agent);
    if (view == nullptr || (view->seen && sample.sequence <= view->last_sequence)) continue;
    const bool service = sample.target.kind == TargetKind::kService;
    const ProbeConfig& probe = service ? config.probes[sample.target.probe] : config.decider();
    const bool counted = ApplySample(probe, sample, results.replay, now, *view);
    agent->last_result = std::max(agent->last_result, sample.completed);
    if (service && !sample.remote_address.empty())
      agent->addresses[sample.target.service] = sample.remote_address;
    if (sample.target.kind == TargetKind::kPublic) ApplyPublic(config, sample, *agent);
    if (counted && service && sample.target.probe == config.deciding_probe &&
        now.steady - sample.completed <= Freshness(probe)) {
      ++votes.fresh_results[agent->region];
    }
  }
}

void ApplyStream(const GroupConfig& config, const AgentStream& stream, Votes& votes) {
  Agent* agent = FindOrAdd(config, stream.agent, votes);
  if (agent != nullptr) agent->stream_open = stream.open;
}

void DropGoneAgents(SteadyTime now, Votes& votes) {
  std::erase_if(votes.agents, [now](const Agent& agent) {
    return !agent.stream_open && now - agent.last_result > kAgentGone;
  });
}

RegionVote RegionVoteOf(const GroupConfig& config, const Votes& votes, int service, int probe,
                        int region, SteadyTime now) {
  const ProbeConfig& rules = config.probes[probe];
  const absl::Duration freshness = Freshness(rules);
  RegionVote result;
  bool any_up = false, all_down = true;
  result.dwell_over = SteadyTime::InfinitePast();
  for (const Agent& agent : votes.agents) {
    if (agent.region != region) continue;
    if (!agent.stream_open && now - agent.last_result > kAgentGone) continue;
    ++result.agents;
    const View& view = agent.services[service * config.probes.size() + probe];
    const bool fresh = view.seen && now - view.newest <= freshness;
    const bool control_ok = ControlOk(config, agent, service, now);
    if (view.newest > result.newest) {
      result.newest = view.newest;
      result.failures = view.failures;
      result.stage = view.newest_stage;
    }
    result.control_ok |= control_ok;
    result.fresh |= fresh;
    if (fresh && view.vote == Vote::kUp) any_up = true;
    if (!fresh || view.vote != Vote::kDown || !control_ok) {
      all_down = false;
      continue;
    }
    result.dwell_over = std::max(result.dwell_over, DwellOver(config, rules, view, now));
    result.last_good_started = std::max(result.last_good_started, view.last_success_started);
    result.first_failed_started =
        result.first_failed_started == SteadyTime::InfinitePast()
            ? view.truth_first_failed_started
            : std::min(result.first_failed_started, view.truth_first_failed_started);
  }
  if (any_up) {
    result.vote = Vote::kUp;
  } else if (result.agents > 0 && all_down) {
    result.vote = Vote::kDown;
  }
  if (result.vote != Vote::kDown) result.dwell_over = SteadyTime::InfiniteFuture();
  return result;
}

int ServedBy(const GroupConfig& config, const Agent& agent, const PublicAnswer& answer) {
  int found = -1;
  for (size_t i = 0; i < config.services.size(); ++i) {
    bool matches = false;
    if (!config.served_by_header.empty()) {
      matches = answer.served_by == config.services[i].name;
    } else {
      matches = !answer.remote_address.empty() && answer.remote_address == agent.addresses[i];
    }
    if (!matches) continue;
    if (found >= 0) return -1;
    found = static_cast<int>(i);
  }
  return found;
}

}  // namespace failover::core
