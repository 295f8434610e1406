#ifndef COMMON_STEADY_TIME_H_
#define COMMON_STEADY_TIME_H_

#include <compare>

#include "absl/time/time.h"

namespace failover {

// A point on the monotonic clock of this process (CLOCK_BOOTTIME, so a suspend counts). Not a date:
// it means nothing in another process and is never written to disk or to the wire.
struct SteadyTime {
  absl::Duration since_epoch;

  friend SteadyTime operator+(SteadyTime t, absl::Duration d) { return {t.since_epoch + d}; }
  friend SteadyTime operator-(SteadyTime t, absl::Duration d) { return {t.since_epoch - d}; }
  friend absl::Duration operator-(SteadyTime a, SteadyTime b) {
    return a.since_epoch - b.since_epoch;
  }
  friend bool operator==(SteadyTime a, SteadyTime b) { return a.since_epoch == b.since_epoch; }
  friend bool operator<(SteadyTime a, SteadyTime b) { return a.since_epoch < b.since_epoch; }
  friend bool operator>(SteadyTime a, SteadyTime b) { return b < a; }
  friend bool operator<=(SteadyTime a, SteadyTime b) { return !(b < a); }
  friend bool operator>=(SteadyTime a, SteadyTime b) { return !(a < b); }

  static SteadyTime InfinitePast() { return {-absl::InfiniteDuration()}; }
  static SteadyTime InfiniteFuture() { return {absl::InfiniteDuration()}; }
};

// Both clocks, read together: what the pure core is given instead of a clock (design.md §3).
struct Now {
  SteadyTime steady;
  absl::Time wall;
};

}  // namespace failover

#endif  // COMMON_STEADY_TIME_H_
