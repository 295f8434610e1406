#ifndef TESTS_SIM_RANDOM_H_
#define TESTS_SIM_RANDOM_H_

#include <cstdint>
#include <functional>
#include <map>
#include <utility>

#include "absl/time/time.h"
#include "common/steady_time.h"

namespace failover::sim {

// splitmix64: the same numbers on every machine and in every build.
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}
  uint64_t Next() {
    uint64_t x = state_ += 0x9e3779b97f4a7c15ull;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
    return x ^ (x >> 31);
  }
  int Int(int low, int high) {
    return low + static_cast<int>(Next() % static_cast<uint64_t>(high - low + 1));
  }  // both in
  bool Chance(double p) { return static_cast<double>(Next() >> 11) * 0x1.0p-53 < p; }
  absl::Duration Between(absl::Duration low, absl::Duration high) {
    const int64_t span = absl::ToInt64Milliseconds(high - low);
    return span <= 0 ? low
                     : low + absl::Milliseconds(
                                 static_cast<int64_t>(Next() % static_cast<uint64_t>(span + 1)));
  }

 private:
  uint64_t state_;
};

// What happens when, in virtual time; equal moments in the order they were asked for.
class Queue {
 public:
  SteadyTime now{absl::Hours(1000)};

  void At(SteadyTime when, std::function<void()> what) {
    events_.emplace(std::pair(std::max(when, now), next_++), std::move(what));
  }
  void In(absl::Duration delay, std::function<void()> what) { At(now + delay, std::move(what)); }
  // False when nothing is left before `end`; the time is then `end`.
  bool RunNext(SteadyTime end) {
    const auto first = events_.begin();
    if (first == events_.end() || first->first.first > end) {
      now = std::max(now, end);
      return false;
    }
    now = first->first.first;
    const std::function<void()> what = std::move(first->second);
    events_.erase(first);
    what();
    return true;
  }

 private:
  std::map<std::pair<SteadyTime, uint64_t>, std::function<void()>> events_;
  uint64_t next_ = 0;
};

}  // namespace failover::sim

#endif  // TESTS_SIM_RANDOM_H_
