#ifndef CONTROLLER_INTAKE_RELAY_LOG_H_
#define CONTROLLER_INTAKE_RELAY_LOG_H_

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "apim_failover/v1/agent.pb.h"
#include "common/clock.h"
#include "common/mutex.h"
#include "common/proto.h"
#include "controller/core/events.h"

namespace failover::intake {

// What an agent connected to this replica has said, or that it has gone.
struct RelayItem {
  std::shared_ptr<const v1::RelayedAgent> message;  // without `held`
  SteadyTime received;
};

// Kept once for all relays to other replicas, in the order of receipt; each relay reads on from a
// position of its own, so a slow one holds up neither agents nor other relays. Bounded by age and
// bytes: the oldest go first, and a relay that has not read them by then has lost its place and
// begins anew. What is kept also tells a relay that begins what was said before. A single gap in an
// agent's sequence numbers makes its view unknown (design.md §5.2), so nothing is ever left out in
// between. Thread-safe, never blocks its writers.
class RelayLog {
 public:
  struct Limits {
    absl::Duration keep = absl::Minutes(2);
    size_t bytes = 64 << 20;
  };
  // Not `enabled`: keeps nothing.
  RelayLog(Clock& clock, Limits limits, bool enabled)
      : clock_(clock), limits_(limits), enabled_(enabled) {}

  void Hello(const core::AgentId& agent, const v1::Hello& hello);
  void Results(const core::AgentId& agent, const v1::ResultBatch& batch);
  void Gone(const core::AgentId& agent);

  // What a relay says first: the hello of every connected agent, then what is kept of each as one
  // replay with its end mark. `next` is the position to read on from.
  struct Beginning {
    std::vector<RelayItem> items;
    uint64_t next = 0;
  };
  Beginning Begin() const;
  // Items from `position` on, which moves behind them; none when the first of them have been
  // dropped already.
  std::optional<std::vector<RelayItem>> Read(uint64_t& position) const;
  // Waits for something at or after `position`. False as soon as `cancelled` says so, which is
  // asked again after every WakeAll.
  bool Wait(uint64_t position, const std::function<bool()>& cancelled) const;
  void WakeAll();

 private:
  void AddLocked(v1::RelayedAgent message) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  Clock& clock_;
  const Limits limits_;
  const bool enabled_;
  mutable Mutex mutex_;
  mutable std::condition_variable_any wake_;
  std::map<core::AgentId, RelayItem> connected_ ABSL_GUARDED_BY(mutex_);  // with its hello
  std::deque<RelayItem> items_ ABSL_GUARDED_BY(mutex_);
  std::deque<size_t> sizes_ ABSL_GUARDED_BY(mutex_);  // of the items in memory, about
  size_t bytes_ ABSL_GUARDED_BY(mutex_) = 0;
  uint64_t begin_ ABSL_GUARDED_BY(mutex_) = 0;  // position of the oldest item
};

// The message on the wire: its ages grow by the time it has spent here.
v1::RelayMessage ToMessage(const RelayItem& item, SteadyTime now);

}  // namespace failover::intake

#endif  // CONTROLLER_INTAKE_RELAY_LOG_H_
