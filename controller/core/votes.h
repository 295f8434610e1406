#ifndef CONTROLLER_CORE_VOTES_H_
#define CONTROLLER_CORE_VOTES_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "common/steady_time.h"
#include "controller/core/config.h"
#include "controller/core/events.h"

namespace failover::core {

// From probe results to one vote per probe region (design.md §5.1, §5.2). Silence is never
// evidence: taking results away can only turn a vote into `unknown`.

enum class Vote : uint8_t { kUnknown, kUp, kDown };

// One agent instance's view of one target.
struct View {
  bool seen = false;
  uint64_t last_sequence = 0;
  Vote vote =
      Vote::kUnknown;  // by thresholds alone; freshness and control are judged by RegionVoteOf
  int failures = 0;    // in a row, burst included
  int successes = 0;   // regular ones in a row
  bool newest_success = false;
  FailedStage newest_stage = FailedStage::kNone;
  SteadyTime newest = SteadyTime::InfinitePast();  // completion of the newest result
  SteadyTime observed_since =
      SteadyTime::InfinitePast();  // first result of the unbroken row of results
  SteadyTime last_success = SteadyTime::InfinitePast();  // completion, fresh or stale
  SteadyTime trusted_success =
      SteadyTime::InfinitePast();  // as last_success, not stale and of a sound clock
  SteadyTime last_success_started = SteadyTime::InfinitePast();
  SteadyTime first_failure = SteadyTime::InfinitePast();  // completion of the first one of this run
  SteadyTime last_regular_failure_started = SteadyTime::InfinitePast();  // within this run
  // For the truth about an outage's start: stale results count here too.
  SteadyTime truth_first_failed_started = SteadyTime::InfinitePast();
};

// The newest answer of the public name.
struct PublicAnswer {
  bool success = false;
  SteadyTime started = SteadyTime::InfinitePast();
  SteadyTime completed = SteadyTime::InfinitePast();
  std::string served_by, remote_address;
  std::vector<std::string> cname_chain;
};

struct Agent {
  AgentId id;
  int region = -1;  // index in GroupConfig::probe_regions
  bool stream_open = false;
  SteadyTime last_result = SteadyTime::InfinitePast();
  std::vector<View> services;  // [service * probes + probe]
  std::vector<View> controls;
  View public_name;
  PublicAnswer public_answer;
  std::vector<std::string> addresses;          // by service: where its own probes connected last
  std::vector<PublicAnswer> public_successes;  // by service: newest answer attributed to it
};

struct Votes {
  std::vector<Agent> agents;
  std::vector<int> fresh_results;  // by region, of the deciding probe, since the last reset
};

struct RegionVote {
  Vote vote = Vote::kUnknown;
  int agents = 0;
  int failures = 0;
  bool control_ok = false;
  bool fresh = false;  // at least one fresh result
  FailedStage stage = FailedStage::kNone;
  SteadyTime newest = SteadyTime::InfinitePast();
  // Of regions that vote `down`: when §5.5's dwell is over (InfiniteFuture: not without a further
  // result), and the bounds of the outage's start as this region saw them.
  SteadyTime dwell_over = SteadyTime::InfiniteFuture();
  SteadyTime last_good_started = SteadyTime::InfinitePast();
  SteadyTime first_failed_started = SteadyTime::InfinitePast();
};

// Older results say nothing: 2 × interval + timeout.
absl::Duration Freshness(const ProbeConfig& probe);

// Everything forgotten but sequence numbers, so that a replay still changes nothing.
void ForgetRuns(Votes& votes);
void ApplyResults(const GroupConfig& config, const ProbeResults& results, Now now, Votes& votes);
void ApplyStream(const GroupConfig& config, const AgentStream& stream, Votes& votes);
// Drops agents without a stream and without a result in the last 5 minutes.
void DropGoneAgents(SteadyTime now, Votes& votes);

RegionVote RegionVoteOf(const GroupConfig& config, const Votes& votes, int service, int probe,
                        int region, SteadyTime now);

// The service that gave this answer of the public name, or -1 when it cannot be told (design.md
// §7.11): by header, else by the connected address when it belongs to exactly one service.
int ServedBy(const GroupConfig& config, const Agent& agent, const PublicAnswer& answer);

}  // namespace failover::core

#endif  // CONTROLLER_CORE_VOTES_H_
