#ifndef CONTROLLER_METRICS_METRICS_H_
#define CONTROLLER_METRICS_METRICS_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "apim_failover/v1/operator.pb.h"
#include "apim_failover/v1/state.pb.h"
#include "common/proto.h"

namespace prometheus {
class Collectable;
}

namespace failover::metrics {

struct AgentCounter {  // as intake::AgentCounters
  std::string probe_region, agent, kind;
  uint64_t count = 0;
};

// One replica's part in the election of a leader, since its start.
struct ElectionState {
  std::string name;  // of the Lease; empty: there is no election
  bool leading = false;
  std::string leader;   // last seen; empty = none
  std::string problem;  // of the last attempt
  uint64_t acquired = 0, lost = 0, released = 0, slow_paths = 0, failed_attempts = 0;
  uint64_t dropped_events = 0;
};

// Everything state metrics are made from, taken at one moment.
struct Snapshot {
  bool leader = false;
  uint64_t term = 0;
  bool store_ok = true;
  ElectionState election;
  int64_t at_ms = 0;
  std::vector<v1::GroupStatus> groups;  // empty on a follower
  std::vector<v1::AgentInfo> agents;
  std::vector<AgentCounter> agent_counters;
  uint64_t mailbox_size = 0, mailbox_capacity = 0, mailbox_refused = 0;
};

// Every metric of the controller, registered once (reference/kubernetes.md §2.5 with the words of
// design.md). State comes from the snapshot at each scrape; what happens between scrapes is counted
// by the calls below. Thread-safe.
class Metrics {
 public:
  // `snapshot` is called by each scrape and must answer fast.
  static std::shared_ptr<Metrics> Create(std::function<Snapshot()> snapshot);
  virtual ~Metrics() = default;
  virtual std::vector<std::weak_ptr<prometheus::Collectable>> collectables() = 0;

  // A group's record as loaded or as made durable: operations and failovers that ended are counted,
  // and what GroupStatus does not show is kept for the scrapes. The first record of a group is the
  // baseline.
  virtual void RecordIs(const v1::GroupRecord& record) = 0;
  virtual void AzureCall(const std::string& api, const std::string& operation,
                         const std::string& code, absl::Duration took) = 0;
  virtual void StoreWrite(absl::Duration took, bool ok) = 0;
  virtual void CoreStep(absl::Duration took) = 0;
  // From the receipt of the vote that completed a decision to the enable request's first byte.
  virtual void SwitchLatency(absl::Duration took) = 0;
  virtual void ClockGap() = 0;
  virtual void OrderAnswered(const std::string& verb, bool ok) = 0;
};

}  // namespace failover::metrics

#endif  // CONTROLLER_METRICS_METRICS_H_
