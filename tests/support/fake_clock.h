#ifndef TESTS_SUPPORT_FAKE_CLOCK_H_
#define TESTS_SUPPORT_FAKE_CLOCK_H_

#include <chrono>
#include <condition_variable>
#include <map>
#include <stop_token>

#include "absl/time/time.h"
#include "common/clock.h"
#include "common/mutex.h"

namespace failover {

// A clock that moves only when a test moves it. Sleepers wake when their deadline is reached.
class FakeClock final : public Clock {
 public:
  explicit FakeClock(absl::Time wall = absl::FromUnixSeconds(1'780'000'000),
                     SteadyTime steady = {absl::Hours(1)})
      : steady_(steady), wall_(wall) {}

  SteadyTime Steady() const override {
    MutexLock lock(mutex_);
    return steady_;
  }
  absl::Time Wall() const override {
    MutexLock lock(mutex_);
    return wall_;
  }

  bool SleepUntil(SteadyTime deadline,
                  std::stop_token stop) ABSL_NO_THREAD_SAFETY_ANALYSIS override {
    std::unique_lock<Mutex> lock(mutex_);
    const auto sleeper = sleepers_.emplace(deadline.since_epoch, 0);
    changed_.notify_all();
    const bool reached = changed_.wait(lock, stop, [&] { return steady_ >= deadline; });
    sleepers_.erase(sleeper);
    changed_.notify_all();
    return reached && !stop.stop_requested();
  }

  // Moves both clocks on.
  void Advance(absl::Duration by) {
    MutexLock lock(mutex_);
    steady_ = steady_ + by;
    wall_ += by;
    changed_.notify_all();
  }

  // Moves the wall clock alone, as a correction of the machine's time does.
  void JumpWall(absl::Duration by) {
    MutexLock lock(mutex_);
    wall_ += by;
  }

  // Waits (in real time) until at least `count` threads sleep with a deadline that is still to
  // come. False when that did not happen within `timeout`.
  bool WaitForSleepers(size_t count,
                       absl::Duration timeout = absl::Seconds(10)) ABSL_NO_THREAD_SAFETY_ANALYSIS {
    std::unique_lock<Mutex> lock(mutex_);
    const auto until = std::chrono::steady_clock::now() + absl::ToChronoNanoseconds(timeout);
    return changed_.wait_until(lock, until, [&] { return Sleeping() >= count; });
  }

  // Moves both clocks to the earliest deadline of a sleeper; false when nobody sleeps.
  bool AdvanceToNextSleeper() {
    MutexLock lock(mutex_);
    const auto next = sleepers_.upper_bound(steady_.since_epoch);
    if (next == sleepers_.end()) return false;
    wall_ += next->first - steady_.since_epoch;
    steady_ = {next->first};
    changed_.notify_all();
    return true;
  }

 private:
  size_t Sleeping() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return static_cast<size_t>(
        std::distance(sleepers_.upper_bound(steady_.since_epoch), sleepers_.end()));
  }

  mutable Mutex mutex_;
  std::condition_variable_any changed_;
  SteadyTime steady_ ABSL_GUARDED_BY(mutex_);
  absl::Time wall_ ABSL_GUARDED_BY(mutex_);
  std::multimap<absl::Duration, int> sleepers_ ABSL_GUARDED_BY(mutex_);  // by deadline
};

}  // namespace failover

#endif  // TESTS_SUPPORT_FAKE_CLOCK_H_
