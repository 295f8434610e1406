#ifndef CONTROLLER_CORE_VERDICT_H_
#define CONTROLLER_CORE_VERDICT_H_

#include <vector>

#include "absl/time/time.h"
#include "common/steady_time.h"
#include "controller/core/config.h"
#include "controller/core/votes.h"

namespace failover::core {

enum class Verdict : uint8_t { kUnknown, kUp, kDown };

// The quorum's view of one service (design.md §5.3).
struct ServiceVerdict {
  Verdict verdict = Verdict::kUnknown;
  SteadyTime since = SteadyTime::InfinitePast();
  absl::Time since_wall = absl::InfinitePast();
  int up = 0, down = 0, unknown = 0;
  std::vector<RegionVote> regions;
};

// `down` needs `quorum` votes `down`, fewer than R − quorum + 1 votes `up`, and a `down` voter
// outside the service's and the controller's region; `up` needs `quorum` votes `up`; anything else
// is `unknown`. R and the quorum count configured regions.
Verdict VerdictOf(const GroupConfig& config, int service, const std::vector<RegionVote>& regions);

// Votes and verdict of one service and probe at `now`; `since` is carried over from `before` while
// unchanged.
ServiceVerdict Judge(const GroupConfig& config, const Votes& votes, int service, int probe,
                     const ServiceVerdict& before, Now now);

// When the dwell of §5.5 is over in every region that votes `down`; InfiniteFuture when the verdict
// is not `down` or a region needs a further result first.
SteadyTime DwellOver(const ServiceVerdict& verdict);

}  // namespace failover::core

#endif  // CONTROLLER_CORE_VERDICT_H_
