#ifndef AGENT_RESULT_BUFFER_H_
#define AGENT_RESULT_BUFFER_H_

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <vector>

#include "absl/time/time.h"
#include "agent/metrics.h"
#include "agent/probe_result.h"
#include "common/clock.h"
#include "common/mutex.h"

namespace failover::agent {

// The results of the last five minutes, once for all reporters (design.md §5.7). Each result has a
// position, counted from 0; a reporter remembers how far it has read. Bounded by count and bytes:
// the oldest go first. Thread-safe.
class ResultBuffer {
 public:
  struct Limits {
    absl::Duration keep = absl::Minutes(5);
    size_t results = 65536;
    size_t bytes = 48 << 20;
    size_t batch_results = 256;  // agent.proto: 256 results and 64 KiB a message
    size_t batch_bytes = 60 << 10;
  };
  using OnDrop = std::function<void(AgentMetrics::Drop, uint64_t)>;

  // `on_drop` is told of results that go before any reporter delivered them.
  ResultBuffer(Clock& clock, Limits limits, OnDrop on_drop);

  // `urgent`: reporters send at once.
  void Add(KeptResult result, bool urgent);

  // The position after the newest result.
  uint64_t end() const;
  struct Batch {
    std::vector<v1::ProbeResult> results;  // oldest first, ages as of now
    uint64_t next = 0;  // where to read on; `until` when there is no more before it
  };
  // Results from `from` to before `until`, as many as one message takes; those that are gone are
  // passed over.
  Batch Read(uint64_t from, uint64_t until) const;
  // A reporter has handed everything before `position` to a connection.
  void Delivered(uint64_t position);

  // Waits until a batch should be sent: something urgent at or after `position`, a full batch, or
  // anything that has waited for `gather`. False as soon as `cancelled` says so; it is asked
  // again after every WakeAll.
  bool WaitForBatch(uint64_t position, absl::Duration gather,
                    const std::function<bool()>& cancelled);
  void WakeAll();

 private:
  struct Entry {
    KeptResult kept;
    size_t bytes = 0;
  };
  void Trim(SteadyTime now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  Clock& clock_;
  const Limits limits_;
  const OnDrop on_drop_;
  mutable Mutex mutex_;
  std::condition_variable_any wake_;
  std::deque<Entry> entries_ ABSL_GUARDED_BY(mutex_);
  size_t bytes_ ABSL_GUARDED_BY(mutex_) = 0;
  uint64_t begin_ ABSL_GUARDED_BY(mutex_) = 0;       // position of the oldest entry
  uint64_t urgent_end_ ABSL_GUARDED_BY(mutex_) = 0;  // after the newest urgent one
  uint64_t delivered_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace failover::agent

#endif  // AGENT_RESULT_BUFFER_H_
