#ifndef AGENT_METRICS_H_
#define AGENT_METRICS_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "agent/target.h"
#include "apim_failover/v1/agent.pb.h"
#include "common/proto.h"

namespace prometheus {
class Collectable;
}

namespace failover::agent {

// The agent's families of the catalogue (reference/kubernetes.md §2.5, "Probes (agents)"), and of
// its own loop. Targets with equal labels share series; `probe_success` is then 1 only while all of
// them are good. Series of targets that are no longer assigned go. Thread-safe.
class AgentMetrics {
 public:
  AgentMetrics(const std::string& probe_region, const std::vector<std::string>& controllers);
  ~AgentMetrics();

  std::shared_ptr<prometheus::Collectable> collectable() const;

  void SetAssignment(const PreparedAssignment& assignment);
  void Result(const Target& target, const v1::ProbeResult& result, absl::Time now);
  void Started(absl::Duration lateness);
  enum class Missed { kLate, kInFlight };
  void SlotsMissed(Missed reason, uint64_t count);
  void ClockJumped();
  // Results that no controller will hear of.
  enum class Drop { kBufferFull, kExpired, kAddressNotAllowed, kLocalError };
  void Dropped(Drop reason, uint64_t count);
  void StreamConnected(const std::string& controller, bool connected);
  // No stream is held to this address any more: its series goes.
  void StreamGone(const std::string& controller);

 private:
  struct State;
  const std::unique_ptr<State> state_;
};

}  // namespace failover::agent

#endif  // AGENT_METRICS_H_
