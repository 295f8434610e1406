#ifndef COMMON_CLOCK_H_
#define COMMON_CLOCK_H_

#include <stop_token>

#include "absl/time/time.h"
#include "common/steady_time.h"

namespace failover {

// The only source of time of a program; tests put a fake in its place. Thread-safe.
class Clock {
 public:
  virtual ~Clock() = default;
  virtual SteadyTime Steady() const = 0;
  virtual absl::Time Wall() const = 0;
  // Returns at `deadline` or as soon as `stop` is requested; false when stopped.
  virtual bool SleepUntil(SteadyTime deadline, std::stop_token stop) = 0;

  Now Read() const { return {Steady(), Wall()}; }
};

// CLOCK_BOOTTIME and CLOCK_REALTIME. Lives as long as the process.
Clock& RealClock();

}  // namespace failover

#endif  // COMMON_CLOCK_H_
