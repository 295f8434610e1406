#include "agent/schedule.h"

#include <algorithm>

namespace failover::agent {
namespace {

// The first slot after `now`.
SteadyTime FirstSlot(const Cadence& cadence, Now now) {
  const absl::Duration since_epoch = now.wall - absl::UnixEpoch();
  absl::Duration into;
  absl::IDivDuration(since_epoch - cadence.phase, cadence.interval, &into);
  if (into < absl::ZeroDuration()) into += cadence.interval;
  return now.steady + (cadence.interval - into);
}

}  // namespace

TargetSchedule::TargetSchedule(const Cadence& cadence, Now now) {
  SetCadence(cadence);
  next_slot_ = FirstSlot(cadence, now);
}

void TargetSchedule::SetCadence(const Cadence& cadence) {
  cadence_ = cadence;
  absl::Duration rest;
  int64_t overlapping = absl::IDivDuration(cadence.timeout, cadence.interval, &rest);
  if (rest > absl::ZeroDuration()) ++overlapping;
  cap_ = static_cast<int>(std::clamp<int64_t>(overlapping, 1, 1000)) + 1;
}

void TargetSchedule::Change(const Cadence& cadence, Now now) {
  const bool moved = cadence.interval != cadence_.interval || cadence.phase != cadence_.phase;
  SetCadence(cadence);
  burst_left_ = 0;
  burst_next_ = SteadyTime::InfiniteFuture();
  if (moved) next_slot_ = FirstSlot(cadence, now);
}

SteadyTime TargetSchedule::next() const { return std::min(next_slot_, burst_next_); }

std::optional<ProbeStart> TargetSchedule::TakeDue(SteadyTime now) {
  if (burst_next_ <= now) {
    const ProbeStart start{burst_next_, true, ++burst_id_};
    --burst_left_;
    ++burst_in_flight_;
    const bool spaced = burst_left_ > 0 && cadence_.burst_spacing > absl::ZeroDuration();
    burst_next_ = spaced ? now + cadence_.burst_spacing : SteadyTime::InfiniteFuture();
    return start;
  }
  if (next_slot_ > now) return std::nullopt;
  const SteadyTime slot = next_slot_;
  absl::Duration rest;
  const int64_t whole = absl::IDivDuration(now - slot, cadence_.interval, &rest);
  next_slot_ = slot + cadence_.interval * (whole + 1);
  if (whole > 0) {
    missed_late_ += static_cast<uint64_t>(whole) + 1;
    return std::nullopt;
  }
  if (in_flight_ >= cap_) {
    ++missed_in_flight_;
    return std::nullopt;
  }
  ++in_flight_;
  return ProbeStart{slot, false, 0};
}

void TargetSchedule::OnResult(const ProbeStart& probe, bool success, SteadyTime now) {
  EndOf(probe, success, now);
  const bool first_failure = !success && !failing_;
  failing_ = !success;
  if (first_failure) RequestBurst(now);
}

void TargetSchedule::OnAbandoned(const ProbeStart& probe, SteadyTime now) {
  EndOf(probe, true, now);
}

void TargetSchedule::EndOf(const ProbeStart& probe, bool stop_burst, SteadyTime now) {
  if (!probe.burst) {
    --in_flight_;
    if (stop_burst && burst_left_ > 0) {
      burst_left_ = 0;
      burst_next_ = SteadyTime::InfiniteFuture();
    }
    return;
  }
  --burst_in_flight_;
  if (probe.burst_ordinal < burst_first_) return;
  if (stop_burst) {
    burst_left_ = 0;
    burst_next_ = SteadyTime::InfiniteFuture();
  } else if (probe.burst_ordinal == burst_id_ && burst_left_ > 0) {
    burst_next_ = std::min(burst_next_, now);
  }
}

void TargetSchedule::RequestBurst(SteadyTime now) {
  if (burst_left_ > 0 || burst_in_flight_ > 0 || cadence_.burst_count <= 0) return;
  burst_left_ = cadence_.burst_count;
  burst_first_ = burst_id_ + 1;
  burst_next_ = now;
}

}  // namespace failover::agent
