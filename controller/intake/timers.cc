#include "controller/intake/timers.h"

#include <utility>

namespace failover::intake {
namespace {

constexpr absl::Duration kLongestSleep = absl::Minutes(1);

}  // namespace

Timers::Timers(Clock& clock)
    : clock_(clock), thread_([this](std::stop_token stop) { Run(stop); }) {}

void Timers::At(SteadyTime when, std::function<void()> run) {
  std::stop_source wake;
  {
    MutexLock lock(mutex_);
    if (stopped_) return;
    const bool first = pending_.empty() || when < pending_.begin()->first;
    pending_.emplace(when, std::move(run));
    if (!first) return;
    wake = wake_;
  }
  wake.request_stop();
}

void Timers::Stop() {
  std::stop_source wake;
  std::multimap<SteadyTime, std::function<void()>> dropped;
  {
    MutexLock lock(mutex_);
    stopped_ = true;
    dropped.swap(pending_);
    wake = wake_;
  }
  thread_.request_stop();
  wake.request_stop();
  if (thread_.joinable()) thread_.join();
}

void Timers::Run(std::stop_token stop) {
  while (!stop.stop_requested()) {
    const SteadyTime now = clock_.Steady();
    SteadyTime until = now + kLongestSleep;
    std::stop_token woken;
    std::function<void()> due;
    {
      MutexLock lock(mutex_);
      if (stopped_) return;
      if (!pending_.empty() && pending_.begin()->first <= now) {
        due = std::move(pending_.begin()->second);
        pending_.erase(pending_.begin());
      } else {
        if (!pending_.empty()) until = std::min(until, pending_.begin()->first);
        wake_ = std::stop_source();
        woken = wake_.get_token();
      }
    }
    if (due) {
      due();
    } else {
      clock_.SleepUntil(until, woken);
    }
  }
}

}  // namespace failover::intake
