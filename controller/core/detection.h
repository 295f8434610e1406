#ifndef CONTROLLER_CORE_DETECTION_H_
#define CONTROLLER_CORE_DETECTION_H_

#include "absl/time/time.h"
#include "controller/core/config.h"

namespace failover::core {

// Time from an outage's start to the verdict `down`, without the dwell (design.md §5). Derivation:
// detection.cc. Infinite: with these probe regions the verdict can never be `down`.
struct DetectionBounds {
  absl::Duration worst;  // an outage is detected by then, whatever its kind and moment
  absl::Duration floor;  // what `worst` would be for a detector that believes every first failure
};
DetectionBounds DetectionOf(const GroupConfig& config);

// Time from an outage's start until the dwell (design.md §5.5) is over in every region needed: an
// automatic failover is decided at the later of this and DetectionBounds::worst. Zero when
// minDownDuration is 0.
absl::Duration DwellOf(const GroupConfig& config);

// Whether a verdict `down` on this service remains possible when its whole Azure region is lost, a
// probe region in it included (its silence is no vote).
bool SurvivesRegionLoss(const GroupConfig& config, int service);

// The gap between the starts of burst probes: short against the time-out, so that a hang is
// confirmed by overlapping probes, and long enough not to be the same packet loss (T/20 within
// 50–500 ms).
absl::Duration BurstSpacing(absl::Duration timeout);

}  // namespace failover::core

#endif  // CONTROLLER_CORE_DETECTION_H_
