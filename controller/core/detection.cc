#include "controller/core/detection.h"

#include <algorithm>

// The arithmetic. I interval, T timeout, F failureThreshold, R probe regions, Q quorum, c burst
// spacing.
//
// Waiting. The regions' phases are spread evenly over I, so after any moment the j-th region to
// begin a probe does so within j·I/R. A region's probe that was already under way may still have
// been answered.
//
// How many regions. The verdict needs Q `down` votes, one of them from outside the active service's
// and the controller's region. With n probe regions inside those two, the worst order has the
// insiders first: k = max(Q, n + 1) regions. A probe region in the active service's Azure region is
// lost with it and stays silent: its slot passes unused, so Q + 1 slots must pass. (Losing the
// controller's region as well is not this bound's business: then there is no controller.) If Q = R,
// such a loss can never be detected; the bound then is the one of an outage that leaves the agent
// alive, and --check-config warns.
//
// One region. It votes `down` after F failures in a row, by the faster of
//   cadence   its F regular probes:          (F−1)·I + T
//   burst     on its first failure (T) it probes again at once, F−1 times, begun at most min(c, T)
//   apart:
//             T + (F−2)·min(c, T) + T        (F = 1: T)
// A hang is the worst kind: every failure takes T; a refused connection fails at once. That the
// controller also asks all other regions to burst makes it faster still but is not relied upon: the
// request is rate-limited and travels the network.
//
//   worst = k·I/R + min(cadence, burst)
//
// Floor. Insurance taken away (F = 1), and every region asked to probe at once when the first one
// fails: a hang shows after T in the regions' own probes, or after T in the first and T again in
// those asked:
//   floor = min(k·I/R + T, first·I/R + 2·T)      first = 1, or 2 if the first slot may be a lost
//   region's
//
// Not in it, because no configuration knows it: the way of a result from agent to controller
// (milliseconds).

namespace failover::core {
namespace {

struct Slots {
  int needed = 0;  // 0: never enough
  int first = 1;
};

// Probe regions inside the service's or the controller's region.
int Insiders(const GroupConfig& config, int service, bool& in_its_region) {
  int inside = 0;
  in_its_region = false;
  for (const std::string& region : config.probe_regions) {
    const bool its = region == config.services[service].azure_region;
    in_its_region |= its;
    if (its || region == config.controller_region) ++inside;
  }
  return inside;
}

Slots SlotsFor(const GroupConfig& config, int service) {
  bool in_its_region = false;
  const int inside = Insiders(config, service, in_its_region);
  const int all = static_cast<int>(config.probe_regions.size());
  Slots slots;
  slots.needed = std::max(config.quorum, inside + 1);
  if (slots.needed > all) return {};
  if (in_its_region && config.quorum + 1 <= all) {
    slots.needed = std::max(slots.needed, config.quorum + 1);
    slots.first = 2;
  }
  return slots;
}

// Over every service as the active one.
Slots WorstSlots(const GroupConfig& config) {
  Slots worst;
  for (size_t i = 0; i < config.services.size(); ++i) {
    const Slots slots = SlotsFor(config, static_cast<int>(i));
    if (slots.needed == 0) return {};
    worst.needed = std::max(worst.needed, slots.needed);
    worst.first = std::max(worst.first, slots.first);
  }
  return worst;
}

// From the first failing probe's start to the vote `down`.
absl::Duration RegionWorst(const ProbeConfig& probe) {
  const absl::Duration cadence = (probe.failure_threshold - 1) * probe.interval + probe.timeout;
  if (probe.failure_threshold == 1) return cadence;
  const absl::Duration spacing = std::min(BurstSpacing(probe.timeout), probe.timeout);
  return std::min(cadence, 2 * probe.timeout + (probe.failure_threshold - 2) * spacing);
}

}  // namespace

absl::Duration BurstSpacing(absl::Duration timeout) {
  return std::clamp(timeout / 20, absl::Milliseconds(50), absl::Milliseconds(500));
}

bool SurvivesRegionLoss(const GroupConfig& config, int service) {
  int voters = 0;
  bool outside = false;
  for (const std::string& region : config.probe_regions) {
    if (region == config.services[service].azure_region) continue;
    ++voters;
    outside |= region != config.controller_region;
  }
  return voters >= config.quorum && outside;
}

DetectionBounds DetectionOf(const GroupConfig& config) {
  const ProbeConfig& probe = config.decider();
  const Slots slots = WorstSlots(config);
  if (slots.needed == 0) return {absl::InfiniteDuration(), absl::InfiniteDuration()};
  const absl::Duration slot = probe.interval / static_cast<int64_t>(config.probe_regions.size());
  DetectionBounds bounds;
  bounds.worst = slots.needed * slot + RegionWorst(probe);
  bounds.floor =
      std::min(slots.needed * slot + probe.timeout, slots.first * slot + 2 * probe.timeout);
  return bounds;
}

// In a region whose first failing probe begins within k·I/R: no success since T after the outage's
// start at the latest (an answer on its way), and a regular probe begun after the first failure (T
// later, at most one interval more) has failed too (T).
absl::Duration DwellOf(const GroupConfig& config) {
  if (config.min_down_duration <= absl::ZeroDuration()) return absl::ZeroDuration();
  const ProbeConfig& probe = config.decider();
  const Slots slots = WorstSlots(config);
  if (slots.needed == 0) return absl::InfiniteDuration();
  const absl::Duration slot = probe.interval / static_cast<int64_t>(config.probe_regions.size());
  return std::max(probe.timeout + config.min_down_duration,
                  slots.needed * slot + probe.interval + 2 * probe.timeout);
}

}  // namespace failover::core
