#ifndef AGENT_SCHEDULE_H_
#define AGENT_SCHEDULE_H_

#include <cstdint>
#include <optional>

#include "absl/time/time.h"
#include "common/steady_time.h"

namespace failover::agent {

// When one target is probed (design.md §5.1, §5.4). Pure.
struct Cadence {
  absl::Duration interval = absl::Seconds(5);
  absl::Duration timeout = absl::Seconds(2);
  absl::Duration phase;          // offset of the slots in the interval
  int burst_count = 0;           // probes in a burst, at most; 0 = no bursts
  absl::Duration burst_spacing;  // 0: each begins only when the previous one failed

  friend bool operator==(const Cadence&, const Cadence&) = default;
};

// A probe to begin now.
struct ProbeStart {
  SteadyTime scheduled;  // latency counts from here, so that a late start shows
  bool burst = false;
  uint64_t burst_ordinal = 0;  // to be handed back to OnResult
};

// Slots lie at k × interval + phase. They are counted once from the wall clock's epoch, so that
// regions with synchronised clocks are spread as assigned, and then advance on the boot clock
// alone: a step of the wall clock moves no probe. Slots missed by a late loop are skipped, never
// made up for.
class TargetSchedule {
 public:
  TargetSchedule(const Cadence& cadence, Now now);

  // A new cadence from now on. Slots stay where they are unless interval or phase differ. A running
  // burst ends.
  void Change(const Cadence& cadence, Now now);
  // The target means something else now: its next failure is a first one.
  void Forget() { failing_ = false; }
  // When TakeDue has something to say next.
  SteadyTime next() const;
  // The probe that is due, if any; to be called until it returns nothing.
  std::optional<ProbeStart> TakeDue(SteadyTime now);
  // A probe has ended. The first failure after a success (or after the start) begins a burst.
  void OnResult(const ProbeStart& probe, bool success, SteadyTime now);
  // A probe ended without saying anything about the target.
  void OnAbandoned(const ProbeStart& probe, SteadyTime now);
  // Asked for by a controller; nothing happens while a burst is running.
  void RequestBurst(SteadyTime now);

  // Regular probes that may be in flight at once: enough for every slot of a hanging target.
  int cap() const { return cap_; }
  uint64_t missed_late() const { return missed_late_; }
  uint64_t missed_in_flight() const { return missed_in_flight_; }

 private:
  void SetCadence(const Cadence& cadence);
  void EndOf(const ProbeStart& probe, bool stop_burst, SteadyTime now);

  Cadence cadence_;
  int cap_ = 1;
  SteadyTime next_slot_;
  int in_flight_ = 0;
  bool failing_ = false;

  int burst_left_ = 0;  // probes that the running burst may still begin
  int burst_in_flight_ = 0;
  uint64_t burst_id_ = 0;  // ordinals below the burst's first one belong to earlier bursts
  uint64_t burst_first_ = 0;
  SteadyTime burst_next_ = SteadyTime::InfiniteFuture();

  uint64_t missed_late_ = 0;
  uint64_t missed_in_flight_ = 0;
};

}  // namespace failover::agent

#endif  // AGENT_SCHEDULE_H_
