#include "common/crash_point.h"

#ifdef FAILOVER_CRASH_POINTS
#include <signal.h>

#include <atomic>
#include <cstdlib>
#include <string>

#include "absl/strings/numbers.h"
#endif

namespace failover {

#ifdef FAILOVER_CRASH_POINTS

namespace {

struct Armed {
  std::string name;  // empty: nothing is armed
  int passage = 1;
};

Armed ReadArmed() {
  const char* const value = std::getenv("FAILOVER_CRASH_POINT");
  if (value == nullptr) return {};
  const std::string text = value;
  const size_t colon = text.rfind(':');
  int passage = 0;
  if (colon != std::string::npos && absl::SimpleAtoi(text.substr(colon + 1), &passage)) {
    return {text.substr(0, colon), passage};
  }
  return {text, 1};
}

}  // namespace

void CrashPoint(absl::string_view name) {
  static const Armed* const armed = new Armed(ReadArmed());
  static std::atomic<int> passages{0};
  if (name.empty() || name != armed->name) return;
  if (++passages == armed->passage) raise(SIGKILL);
}

#else

void CrashPoint(absl::string_view) {}

#endif

}  // namespace failover
