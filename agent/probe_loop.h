#ifndef AGENT_PROBE_LOOP_H_
#define AGENT_PROBE_LOOP_H_

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "agent/metrics.h"
#include "agent/probe.h"
#include "agent/probe_result.h"
#include "agent/resolver.h"
#include "agent/target.h"
#include "common/clock.h"

namespace failover::agent {

// Probes every target in its slots, all on one thread that never blocks (design.md §5). Results are
// numbered per target at completion, over assignments and for as long as the process lives.
class ProbeLoop {
 public:
  struct Options {
    Clock* clock = nullptr;
    AgentMetrics* metrics = nullptr;
    ProbeSettings probes;
    Resolver::Options resolver;
    // On the loop's thread, in the order of completion; must not block. `changed`: this target was
    // bad and is good now, or the reverse, or is heard of for the first time.
    std::function<void(KeptResult result, bool changed)> on_result;
  };
  // Errors: no descriptors.
  static absl::StatusOr<std::unique_ptr<ProbeLoop>> Start(Options options);
  virtual ~ProbeLoop() = default;  // drops what is in flight; returns at once

  // Replaces the targets. Those whose id stays keep their place in time and their numbers.
  // Thread-safe.
  virtual void SetTargets(std::shared_ptr<const PreparedAssignment> assignment) = 0;
  // Begins a burst for each of these targets (unless one is running). Thread-safe.
  virtual void Burst(std::vector<std::string> targets) = 0;
  // When the loop last turned; at least once a second when all is well. Thread-safe.
  virtual SteadyTime last_turn() const = 0;
};

}  // namespace failover::agent

#endif  // AGENT_PROBE_LOOP_H_
