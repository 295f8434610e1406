#ifndef CONTROLLER_INTAKE_TIMERS_H_
#define CONTROLLER_INTAKE_TIMERS_H_

#include <functional>
#include <map>
#include <stop_token>
#include <thread>

#include "common/clock.h"
#include "common/mutex.h"

namespace failover::intake {

// Runs functions at their moments, one after the other, on one thread of its own. Thread-safe.
class Timers {
 public:
  explicit Timers(Clock& clock);
  ~Timers() { Stop(); }
  Timers(const Timers&) = delete;
  Timers& operator=(const Timers&) = delete;

  void At(SteadyTime when, std::function<void()> run);
  void After(absl::Duration delay, std::function<void()> run) {
    At(clock_.Steady() + delay, std::move(run));
  }
  // What has not run yet never will. Waits for the one that runs. Not to be called by a timer.
  void Stop();

 private:
  void Run(std::stop_token stop);

  Clock& clock_;
  Mutex mutex_;
  std::multimap<SteadyTime, std::function<void()>> pending_ ABSL_GUARDED_BY(mutex_);
  std::stop_source wake_ ABSL_GUARDED_BY(mutex_);  // of the sleep in progress
  bool stopped_ ABSL_GUARDED_BY(mutex_) = false;
  std::jthread thread_;
};

}  // namespace failover::intake

#endif  // CONTROLLER_INTAKE_TIMERS_H_
