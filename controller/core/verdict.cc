#include "controller/core/verdict.h"

#include <algorithm>

namespace failover::core {

Verdict VerdictOf(const GroupConfig& config, int service, const std::vector<RegionVote>& regions) {
  int up = 0, down = 0;
  bool outside = false;
  for (size_t i = 0; i < regions.size(); ++i) {
    if (regions[i].vote == Vote::kUp) ++up;
    if (regions[i].vote != Vote::kDown) continue;
    ++down;
    const std::string& region = config.probe_regions[i];
    if (region != config.services[service].azure_region && region != config.controller_region)
      outside = true;
  }
  const int all = static_cast<int>(config.probe_regions.size());
  if (down >= config.quorum && up < all - config.quorum + 1 && outside) return Verdict::kDown;
  if (up >= config.quorum) return Verdict::kUp;
  return Verdict::kUnknown;
}

ServiceVerdict Judge(const GroupConfig& config, const Votes& votes, int service, int probe,
                     const ServiceVerdict& before, Now now) {
  ServiceVerdict result;
  result.regions.reserve(config.probe_regions.size());
  for (size_t region = 0; region < config.probe_regions.size(); ++region) {
    result.regions.push_back(
        RegionVoteOf(config, votes, service, probe, static_cast<int>(region), now.steady));
    switch (result.regions.back().vote) {
      case Vote::kUp:
        ++result.up;
        break;
      case Vote::kDown:
        ++result.down;
        break;
      case Vote::kUnknown:
        ++result.unknown;
        break;
    }
  }
  result.verdict = VerdictOf(config, service, result.regions);
  const bool same = result.verdict == before.verdict && before.since != SteadyTime::InfinitePast();
  result.since = same ? before.since : now.steady;
  result.since_wall = same ? before.since_wall : now.wall;
  return result;
}

SteadyTime DwellOver(const ServiceVerdict& verdict) {
  if (verdict.verdict != Verdict::kDown) return SteadyTime::InfiniteFuture();
  SteadyTime over = SteadyTime::InfinitePast();
  for (const RegionVote& region : verdict.regions) {
    if (region.vote == Vote::kDown) over = std::max(over, region.dwell_over);
  }
  return over;
}

}  // namespace failover::core
