#ifndef TESTS_SIM_ORACLE_VOTES_H_
#define TESTS_SIM_ORACLE_VOTES_H_

#include <map>
#include <string>
#include <vector>

#include "controller/core/config.h"
#include "controller/core/events.h"

namespace failover::sim {

// The oracle's own reading of design.md §5.2 from the results that reached the process. Shares no
// code with the core.
class OracleVotes {
 public:
  enum class Opinion { kNone, kUp, kDown };

  explicit OracleVotes(const core::GroupConfig& config) : config_(&config) {}
  void Results(const core::ProbeResults& results, Now now);
  void Stream(const core::AgentStream& stream);
  void Gap(SteadyTime at);
  void Forget() { agents_.clear(); }  // the process died

  Opinion Of(int service, int region, SteadyTime now) const;
  int Count(int service, Opinion opinion, SteadyTime now) const;
  // Quorum of down, fewer up than would forbid it, one of them outside both regions.
  bool QuorumDown(int service, SteadyTime now) const;
  bool QuorumUp(int service, SteadyTime now) const {
    return Count(service, Opinion::kUp, now) >= config_->quorum;
  }
  // The newest success of any kind that a region's agents delivered.
  SteadyTime LastSuccess(int service, int region) const;

 private:
  struct Line {  // one target as one agent sees it
    uint64_t sequence = 0;
    bool any = false, up = false;
    int bad_row = 0, good_row = 0;
    SteadyTime newest = SteadyTime::InfinitePast(), good_at = SteadyTime::InfinitePast();
    SteadyTime proof =
        SteadyTime::InfinitePast();  // a success that may still vouch for the agent's network
  };
  struct AgentLog {
    bool open = false;
    SteadyTime heard = SteadyTime::InfinitePast();
    std::map<int, Line> services, controls;  // deciding probe only
  };
  bool NetworkWorks(const AgentLog& agent, int service, SteadyTime now) const;
  void Add(const core::ProbeSample& sample, bool replay, Now now, Line& line) const;

  const core::GroupConfig* config_;
  SteadyTime gap_ = SteadyTime::InfinitePast();
  std::map<core::AgentId, AgentLog> agents_;
};

}  // namespace failover::sim

#endif  // TESTS_SIM_ORACLE_VOTES_H_
