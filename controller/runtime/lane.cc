#include "controller/runtime/lane.h"

#include <chrono>
#include <optional>

namespace failover::runtime {

Lane::Lane(int threads, MakeWorker make_worker, absl::Duration keep_warm)
    : make_worker_(std::move(make_worker)), keep_warm_(keep_warm) {
  for (int i = 0; i < threads; ++i) {
    const bool spared = i > 0 && i == threads - 1;
    threads_.emplace_back([this, spared](std::stop_token stop) { Run(std::move(stop), spared); });
  }
}

Lane::~Lane() {
  for (std::jthread& thread : threads_) thread.request_stop();
  threads_.clear();
}

void Lane::Put(int priority, Job job) {
  {
    MutexLock lock(mutex_);
    jobs_.emplace(std::make_pair(priority, next_++), std::move(job));
  }
  changed_.notify_all();  // not every thread takes every job
}

void Lane::Run(std::stop_token stop, bool spared) ABSL_NO_THREAD_SAFETY_ANALYSIS {
  const std::unique_ptr<azure::Worker> worker = make_worker_(stop);
  const bool warms = keep_warm_ != absl::InfiniteDuration();
  const auto idle = absl::ToChronoMilliseconds(warms ? keep_warm_ : absl::Hours(1));
  while (!stop.stop_requested()) {
    Job job;
    {
      std::unique_lock<Mutex> lock(mutex_);
      const auto ready = [this, spared] {
        return !jobs_.empty() && (!spared || jobs_.begin()->first.first < kLong);
      };
      changed_.wait_for(lock, stop, idle, ready);
      if (stop.stop_requested()) return;
      if (ready()) {
        job = std::move(jobs_.begin()->second);
        jobs_.erase(jobs_.begin());
      }
    }
    if (job) {
      job(*worker);
    } else if (warms) {
      worker->KeepWarm();
    }
  }
}

}  // namespace failover::runtime
