#ifndef TESTS_SUPPORT_WAIT_UNTIL_H_
#define TESTS_SUPPORT_WAIT_UNTIL_H_

#include <chrono>
#include <thread>

#include "absl/time/time.h"

namespace failover {

// Waits for `condition` to hold, for what happens in another thread or process. False when it did
// not within `timeout`; a test never waits for a time alone.
template <typename Condition>
bool WaitUntil(Condition condition, absl::Duration timeout = absl::Seconds(10)) {
  const auto until = std::chrono::steady_clock::now() + absl::ToChronoNanoseconds(timeout);
  while (!condition()) {
    if (std::chrono::steady_clock::now() >= until) return condition();
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return true;
}

}  // namespace failover

#endif  // TESTS_SUPPORT_WAIT_UNTIL_H_
