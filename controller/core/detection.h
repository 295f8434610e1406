#ifndef CONTROLLER_CORE_DETECTION_H_
#define CONTROLLER_CORE_DETECTION_H_

#include "absl/time/time.h"
#include "controller/core/config.h"

namespace failover::core {

// Time from an outage's start to the verdict `down`, without the dwell (design.md §5).
struct DetectionBounds {
  absl::Duration worst, floor;
};
DetectionBounds DetectionOf(const GroupConfig& config);

}  // namespace failover::core

#endif  // CONTROLLER_CORE_DETECTION_H_
