#ifndef COMMON_CRASH_POINT_H_
#define COMMON_CRASH_POINT_H_

#include "absl/strings/string_view.h"

namespace failover {

// Kills this process at once (SIGKILL, nothing is flushed) when FAILOVER_CRASH_POINT in the
// environment is "NAME" or "NAME:N" and this is the N-th passage. Does nothing in builds without
// tests. The names in use are listed in tests/testdata/crash-points.txt; a test compares.
void CrashPoint(absl::string_view name);

}  // namespace failover

#endif  // COMMON_CRASH_POINT_H_
