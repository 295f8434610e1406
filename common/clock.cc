#include "common/clock.h"

#include <time.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>

#include "common/mutex.h"

namespace failover {
namespace {

absl::Duration ReadClock(clockid_t id) {
  timespec now;
  clock_gettime(id, &now);
  return absl::DurationFromTimespec(now);
}

class SystemClock final : public Clock {
 public:
  SteadyTime Steady() const override { return {ReadClock(CLOCK_BOOTTIME)}; }
  absl::Time Wall() const override { return absl::UnixEpoch() + ReadClock(CLOCK_REALTIME); }

  bool SleepUntil(SteadyTime deadline,
                  std::stop_token stop) ABSL_NO_THREAD_SAFETY_ANALYSIS override {
    Mutex mutex;
    std::condition_variable_any wake;
    std::unique_lock<Mutex> lock(mutex);
    while (!stop.stop_requested()) {
      const absl::Duration left = deadline - Steady();
      if (left <= absl::ZeroDuration()) return true;
      // The wait below runs on a clock that stands still in a suspend, the deadline does not: wait
      // in slices, so that a deadline passed while suspended is noticed within one.
      wake.wait_for(lock, stop, absl::ToChronoNanoseconds(std::min(left, absl::Seconds(1))),
                    [] { return false; });
    }
    return false;
  }
};

}  // namespace

Clock& RealClock() {
  static SystemClock* const clock = new SystemClock;  // never destroyed: threads may still sleep
  return *clock;
}

}  // namespace failover
