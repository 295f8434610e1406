#ifndef CONTROLLER_CORE_PROGRESS_H_
#define CONTROLLER_CORE_PROGRESS_H_

#include <cstdint>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "apim_failover/v1/state.pb.h"
#include "common/proto.h"

namespace failover::core {

// How long steps took, kept in the record for the last 20 that succeeded: what the next one is
// expected to take. Backups and restores have their own (P95 of context.h).
inline constexpr char kStepRead[] = "read";      // a fingerprint of the source
inline constexpr char kStepVerify[] = "verify";  // of one standby
inline constexpr char kStepRun[] = "run";        // a whole sync run
// Moments of a failover, each since its decision.
inline constexpr char kStepEnable[] = "enable";    // the enable request is sent
inline constexpr char kStepSwitch[] = "switch";    // read back enabled
inline constexpr char kStepDisable[] = "disable";  // the old endpoint is disabled
inline constexpr char kStepVisible[] = "visible";  // seen through the public name
inline constexpr char kStepFailover[] = "failover";

inline constexpr int kMaxDurations = 20;

// Left out: a beginning that is not known (0), and an end before it (the clock was set).
void NoteStep(v1::GroupRecord& record, absl::string_view step, int64_t began_ms, int64_t ended_ms);
// Of a failover that ended well.
void NoteFailoverSteps(v1::GroupRecord& record);
// Nearest-rank 95th percentile; zero without history.
absl::Duration P95OfStep(const v1::GroupRecord& record, absl::string_view step);

}  // namespace failover::core

#endif  // CONTROLLER_CORE_PROGRESS_H_
