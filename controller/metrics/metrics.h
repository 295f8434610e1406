#ifndef CONTROLLER_METRICS_METRICS_H_
#define CONTROLLER_METRICS_METRICS_H_

#include <cstdint>
#include <functional>
#include <map>
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

namespace failover {
class Exemplars;
}

namespace failover::metrics {

struct AgentCounter {  // as intake::AgentCounters
  std::string probe_region, agent, kind;
  uint64_t count = 0;
};

// How late results came, by bucket; as intake::ReportDelays.
struct Delays {
  std::vector<uint64_t> counts;  // one more than there are bounds
  double sum = 0;
};

// One replica's part in the election of a leader, since its start.
struct ElectionState {
  std::string name;  // of the Lease; empty: there is no election
  bool leading = false;
  std::string leader;   // last seen; empty = none
  std::string problem;  // of the last attempt
  uint64_t acquired = 0, lost = 0, released = 0, slow_paths = 0, failed_attempts = 0;
  uint64_t dropped_events = 0;
  int64_t last_renewal_ms = 0;  // 0 = never
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
  std::vector<double> delay_bounds;       // seconds
  std::map<std::string, Delays> delays;   // by probe region
  std::vector<std::string> entity_kinds;  // that are compared, in a standby's drift
  int64_t token_expiry_ms = 0;            // of the token for Azure; 0 = none
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
  // By which slow operations are found in log, history and Azure.
  virtual std::shared_ptr<const Exemplars> exemplars() = 0;

  // A group's record as it was loaded, at the start of a term or later: what has ended in it was
  // counted by whoever led then.
  virtual void RecordLoaded(const v1::GroupRecord& record) = 0;
  // As this process made it durable: operations and failovers that ended since the record before
  // are counted, and what GroupStatus does not show is kept for the scrapes.
  virtual void RecordIs(const v1::GroupRecord& record) = 0;
  // `request_id`: by which our log and Azure's know the request.
  virtual void AzureCall(const std::string& api, const std::string& operation,
                         const std::string& code, absl::Duration took,
                         const std::string& request_id) = 0;
  // This process uses the Kubernetes API at `host`: what is counted of it begins at 0.
  virtual void UsesKubernetes(const std::string& host) = 0;
  // A request to it: `code` a status or "<error>".
  virtual void KubernetesCall(const std::string& method, const std::string& host,
                              const std::string& code, absl::Duration took) = 0;
  // A write of the Lease: a renewal or a takeover.
  virtual void LeaseWrite(absl::Duration took, bool ok) = 0;
  virtual void StoreWrite(absl::Duration took, bool ok) = 0;
  virtual void CoreStep(absl::Duration took) = 0;
  // From the receipt of the vote that completed a decision to the enable request's first byte.
  virtual void SwitchLatency(absl::Duration took) = 0;
  virtual void ClockGap() = 0;
  virtual void OrderAnswered(const std::string& verb, bool ok) = 0;
};

}  // namespace failover::metrics

#endif  // CONTROLLER_METRICS_METRICS_H_
