#ifndef TESTS_SIM_SIMULATION_H_
#define TESTS_SIM_SIMULATION_H_

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "controller/core/group.h"
#include "tests/sim/oracle.h"
#include "tests/sim/random.h"
#include "tests/sim/truth.h"

namespace failover::sim {

// A fault planted on purpose, to prove that the oracle objects.
enum class Planted {
  kNothing,
  kReleaseEarly,      // held commands leave before their record is durable
  kBlindTraffic,      // traffic reads say what the roles say
  kPostTwice,         // an unclear POST is sent again
  kMadeUpFailures,    // good results about the active service are read as failures
  kForgetCooldown,    // a new process starts without cooldown and daily count
  kTrustFingerprint,  // every fingerprint read says that a standby still is as we left it
  kDeposedSends,      // the core is not told that leadership was lost
  kDisableFirst,      // the old endpoint is disabled before the new one is enabled
  kOldRecord,         // a new process starts from the record before the last
};

struct Options {
  bool trace = false;
  Planted planted = Planted::kNothing;
};

struct Outcome {
  std::vector<std::string> objections;
  Coverage coverage;
  uint64_t hash = 0;  // over every event and command
  uint64_t steps = 0;
};

// One run: several groups, one process at a time, everything drawn from `seed`. First chaos, then
// peace, then one more outage that must end in a switch.
Outcome Simulate(uint64_t seed, const Options& options);

// Which kinds of trouble a run has, each with even odds, and how bad.
struct Trouble {
  bool store = false, crash = false, leadership = false, azure = false, traffic = false,
       foreign_traffic = false;
  bool foreign_edit = false, outage = false, cut = false, agent = false, liar = false,
       pause = false, wall = false;
  bool orders = false, force = false;
  double rate = 0;  // of lost and refused calls
};

class Simulation {
 public:
  Simulation(uint64_t seed, const Options& options);
  Outcome Run();

 private:
  struct Group {
    core::GroupConfig config;
    std::unique_ptr<Truth> truth;
    std::unique_ptr<Oracle> oracle;
    core::GroupState state;
    std::shared_ptr<const v1::GroupRecord> durable, older;
    uint64_t durable_version = 0, wanted = 0, tick = 0;
    bool writing = false;
    std::deque<std::pair<uint64_t, core::Command>> held;
    std::map<uint64_t, int> unclear_posts;
    int ended_runs = 0, good_runs = 0;
    std::string last_run;
    v1::FailoverStage stage = v1::FAILOVER_STAGE_UNSPECIFIED;
  };
  struct Agent {
    core::AgentId id;
    int region = 0;
    bool connected = false, liar = false, silent = false, jumped = false;
    SteadyTime last_arrival = SteadyTime::InfinitePast();
    std::map<std::pair<int, int>, uint64_t> sequence;  // (group, target)
    std::map<std::pair<int, int>, bool> failing;
    std::map<int, std::pair<SteadyTime, std::string>> dns;  // by group
    std::deque<std::pair<int, core::ProbeResults>> kept;    // five minutes
  };

  // ---- the process (process.cc) ----
  void StartLife(bool fresh);
  void Crash();
  void LoseLeadership();
  void Pause(absl::Duration length);
  void Deliver(int group, core::Event event, absl::Duration delay);
  void Arrived(int group, const core::Event& event);
  void Step(int group, const core::Event& event);
  std::string VotesOf(const Group& group) const;
  void ArmTick(int group, SteadyTime wake);
  void Write(int group);
  void Release(int group, const core::Command& command);
  void ReleaseDurable(int group);
  void Send(int group, const core::Command& command);
  void Arrive(int group, const core::Command& command, bool answer, absl::Duration back);
  core::Event Tamper(int group, core::Event event);
  bool IsHeld(const core::Command& command) const;
  Now now() const {
    return {queue_.now, wall_base_ + (queue_.now.since_epoch - absl::Hours(1000))};
  }

  // ---- agents (agents.cc) ----
  void AddAgents();
  void Round(int agent);
  void Completed(int agent, int group, std::vector<core::ProbeSample> samples);
  void Burst(int agent, int group, int service, int times);
  void Transmit(int agent, int group, const core::ProbeResults& results);
  void Connect(int agent);
  void Disconnect(int agent);
  core::ProbeSample Look(int agent, int group, core::TargetRef target) const;

  // ---- trouble, operators, the story (simulation.cc, trouble.cc) ----
  void DrawConfig(int group);
  void Mischief();
  void Outage(int group);
  void Foreign(int group);
  void Edit();
  void Operator();
  core::OrderBody RandomOrder(const Group& group);
  void GiveOrder(int group, core::OrderBody body, bool dry_run);
  void Heal();
  void Help(int group);
  void CheckPeace(int group);
  void LastOutage(int group);
  void Object(int group, const char* rule, const std::string& text);
  std::string Active(const Group& group) const;
  void Trace(int group, const std::string& text);
  void Hash(uint64_t value) { hash_ = (hash_ ^ value) * 0x100000001b3ull; }
  bool Calm() const { return peace_; }

  Random random_;
  Options options_;
  Trouble trouble_;
  Queue queue_;
  absl::Time wall_base_ = absl::FromUnixSeconds(1790000000);
  std::vector<Group> groups_;
  std::vector<Agent> agents_;
  Coverage coverage_;
  std::vector<std::string> objections_;
  bool running_ = false, leading_ = false, paused_ = false, peace_ = false, over_ = false;
  uint64_t process_ = 0, life_ = 0, orders_ = 0, steps_ = 0, hash_ = 0xcbf29ce484222325ull;
  std::vector<std::pair<int, core::Event>> inbox_;
};

// "StartRestore", for traces; and a number that tells two of them apart.
std::string NameOf(const core::Command& command);
std::string NameOf(const core::Event& event);
// The answer to a command that did not go well.
core::Event Failure(const core::Command& command, core::CallStatus status);

}  // namespace failover::sim

#endif  // TESTS_SIM_SIMULATION_H_
