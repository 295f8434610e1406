#ifndef TESTS_SIM_ORACLE_H_
#define TESTS_SIM_ORACLE_H_

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "controller/core/commands.h"
#include "controller/core/group.h"
#include "tests/sim/oracle_votes.h"
#include "tests/sim/truth.h"

namespace failover::sim {

// How often each rule was really put to the test.
using Coverage = std::map<std::string, int64_t>;

// Null when the record has no such operation.
const v1::Operation* FindOperation(const v1::GroupRecord& record, const std::string& id);

// Judges one group. It sees the truth, what reaches the process, the records that become durable,
// and the requests that leave and arrive; of the core it reads the record alone, as any successor
// would.
class Oracle {
 public:
  // `wall_jumps`: the wall clock is set now and then, so that wall ages prove nothing.
  Oracle(const core::GroupConfig& config, const Truth& truth, bool wall_jumps, Coverage& coverage);

  // ---- told by the simulation, in the order in which things happen ----
  // An agent has measured this, whether or not anybody will ever hear of it.
  void Measured(const core::AgentId& agent, const core::ProbeSample& sample, Now now);
  void BeforeStep(const core::Event& event, Now now);
  void AfterStep(const core::Event& event, const core::GroupState& state,
                 const core::Commands& commands, Now now);
  void Durable(std::shared_ptr<const v1::GroupRecord> record, Now now);
  // A new life: the record it starts from, its term already durable. `fresh`: a new process.
  void Life(const v1::GroupRecord& record, bool fresh, Now now);
  void Sent(const core::Command& command, bool deposed, Now now);
  // Arrived and was applied; `answer` is the honest one.
  void Effect(const core::Command& command, const core::Event& answer, Now now);
  void Served(const core::Command& command, const core::Event& answer,
              Now now);  // a read, answered by the truth
  void End(Now now);

  const std::vector<std::string>& objections() const { return objections_; }
  const OracleVotes& votes() const { return votes_; }

 private:
  struct Before {  // of the record, before the step
    std::string failover, last_operation;
    std::vector<v1::Role> roles;  // in the record's order
    std::vector<int64_t> recovery;
    SteadyTime at = SteadyTime::InfinitePast();
    uint64_t term = 0, epoch = 0;
    bool paused = false;
    std::string sync_run;
    std::set<std::string> operations;
    v1::FailoverStage stage = v1::FAILOVER_STAGE_UNSPECIFIED;
  };
  void Require(bool holds, const char* rule, const std::string& text, Now now);
  std::vector<const v1::Operation*> Added(const v1::GroupRecord& record) const;
  void Remember(const v1::GroupRecord& record);
  void Numbers(const v1::GroupRecord& record, Now now);
  void Bounds(const v1::GroupRecord& record, Now now);
  void Roles(const core::Event& event, const v1::GroupRecord& record, Now now);
  void Decision(const core::Event& event, const core::GroupState& state, Now now);
  void AutomaticDecision(const v1::GroupRecord& record, Now now);
  bool Failed(int service, int region, Now now) const;
  void PauseHolds(const core::Event& event, const v1::GroupRecord& record, Now now);
  void Recovery(const core::Event& event, const v1::GroupRecord& record, Now now);
  void RestoreLeaves(const core::StartRestore& restore, const v1::GroupRecord& record, Now now);
  void FreezeHolds(const v1::GroupRecord& record, int active, Now now);
  void Rpo(const core::GroupState& state, Now now);
  void NoteDownVotes(const v1::GroupRecord& record, Now now);
  void IntentIsDurable(const core::Command& command, Now now);
  void RestoreArrives(const core::StartRestore& restore, bool accepted, Now now);
  void EndpointSetArrives(const core::SetEndpoint& set, bool emptied, Now now);
  void OnePost(const std::string& service, const std::string& id, Now now);
  void Count(const char* what) { ++(*coverage_)[what]; }
  void OrderAnswered(const core::Order& order, const core::Commands& commands, Now now);
  void Fit(const v1::GroupRecord& record, const std::string& to, Now now);
  bool Replaceable(const core::StartRestore& restore, const v1::GroupRecord& record) const;

  const core::GroupConfig* config_;
  const Truth* truth_;
  bool wall_jumps_;
  Coverage* coverage_;
  OracleVotes votes_;
  std::vector<std::string> objections_;
  Before before_;
  std::shared_ptr<const v1::GroupRecord> durable_ = std::make_shared<v1::GroupRecord>();
  std::set<std::string> posts_, abandoned_;
  std::map<std::string, Now> switches_;  // past their point of no return, by failover
  absl::Time acknowledged_ = absl::InfinitePast();
  struct Reading {
    SteadyTime at = SteadyTime::InfinitePast();
    core::Entities content;
    bool sample_only = false;
  };
  std::map<std::string, Reading>
      served_;  // of the newest fingerprint read that reached the process
  std::map<uint64_t, Reading> fingerprints_;  // what the truth gave, by call
  std::map<uint64_t, std::pair<SteadyTime, std::map<std::string, bool>>>
      traffic_served_;  // by call
  std::pair<SteadyTime, std::map<std::string, bool>> traffic_known_{SteadyTime::InfinitePast(), {}};
  std::map<std::string, core::Entities> left_;  // what we verifiably left on a standby
  std::map<std::pair<std::string, bool>, SteadyTime>
      writes_;  // (service, enabled) → last one of ours
  std::map<uint64_t, SteadyTime>
      read_before_;  // SetEndpoint and StartRestore, by call: the traffic read they rest on
  std::map<int, SteadyTime> down_since_,
      last_down_;  // regions that vote down on the active, or did
  struct Row {     // of failures, as one agent measured them at one service
    int length = 0;
    SteadyTime long_enough = SteadyTime::InfinitePast();  // for a vote, when last
  };
  std::map<std::pair<core::AgentId, int>, Row> measured_;
  SteadyTime up_since_ = SteadyTime::InfiniteFuture();
  std::string watched_;  // the active service those are about
  std::set<std::string> sent_operations_;
  bool leading_ = false;
  uint64_t steps_ = 0;
};

// The rules that every run as a whole must have put to the test.
const std::vector<std::string>& RulesToCover();

}  // namespace failover::sim

#endif  // TESTS_SIM_ORACLE_H_
