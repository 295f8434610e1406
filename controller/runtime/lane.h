#ifndef CONTROLLER_RUNTIME_LANE_H_
#define CONTROLLER_RUNTIME_LANE_H_

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <stop_token>
#include <thread>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "common/mutex.h"
#include "controller/azure/worker.h"

namespace failover::runtime {

// A queue of work for Azure with its own threads and connections (design.md §3): no lane waits for
// another. Jobs of a lower `priority` go first; equal ones in their order. Those of kLong and above
// read hundreds of entities one after the other: of several threads one never takes them, so that a
// poll or a restore's request waits for none. Bounded by its senders: the core has one call of each
// purpose in flight, the operator service limits its own.
class Lane {
 public:
  static constexpr int kLong = 3;
  using Job = std::function<void(azure::Worker&)>;
  using MakeWorker = std::function<std::unique_ptr<azure::Worker>(std::stop_token)>;

  // `keep_warm`: how often an idle thread calls Worker::KeepWarm; infinite = never.
  Lane(int threads, MakeWorker make_worker, absl::Duration keep_warm);
  ~Lane();  // drops what has not begun, aborts what has

  void Put(int priority, Job job);

 private:
  // `spared`: this thread takes no long jobs.
  void Run(std::stop_token stop, bool spared);

  const MakeWorker make_worker_;
  const absl::Duration keep_warm_;
  Mutex mutex_;
  std::condition_variable_any changed_;
  std::map<std::pair<int, uint64_t>, Job> jobs_ ABSL_GUARDED_BY(mutex_);
  uint64_t next_ ABSL_GUARDED_BY(mutex_) = 0;
  std::vector<std::jthread> threads_;  // last: ends before the rest
};

}  // namespace failover::runtime

#endif  // CONTROLLER_RUNTIME_LANE_H_
