#ifndef CONTROLLER_CORE_STATUS_H_
#define CONTROLLER_CORE_STATUS_H_

#include <cstdint>
#include <string>

#include "controller/core/blockers.h"
#include "controller/core/context.h"

namespace failover::core {

// Begins the notice of a group that has no usable record; the reason follows.
inline constexpr char kNotWorkedOn[] = "not worked on: ";

// A blocker in words: why it holds now, with values, and what clears it (a command or a condition).
struct BlockerWords {
  std::string text, clears;
  int64_t until_ms = 0;  // when it ends by itself; 0 = unknown
};
// `service`: the standby, for blockers of that scope.
BlockerWords WordsOf(const Look& look, Blocker blocker, int service);

}  // namespace failover::core

#endif  // CONTROLLER_CORE_STATUS_H_
