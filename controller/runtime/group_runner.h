#ifndef CONTROLLER_RUNTIME_GROUP_RUNNER_H_
#define CONTROLLER_RUNTIME_GROUP_RUNNER_H_

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "common/steady_time.h"
#include "controller/core/group.h"
#include "controller/operators/operators.h"
#include "controller/runtime/settings.h"

namespace failover::runtime {

// One failover group in the core thread: its configuration, its state, and commands that wait until
// what they follow from is durable. Used by the core thread alone.
class GroupRunner {
 public:
  // Where commands go once they may leave.
  struct Outlets {
    std::function<void(const std::string& group, std::shared_ptr<v1::GroupRecord>,
                       uint64_t version)>
        save;
    // `decided`: for the enable request of an unattended failover, when the vote that decided it
    // was received.
    std::function<void(const GroupRunner&, const core::Command&, std::optional<SteadyTime> decided)>
        carry_out;
  };
  GroupRunner(GroupSettings settings, Outlets outlets)
      : settings_(std::move(settings)), outlets_(std::move(outlets)) {}

  const std::string& name() const { return settings_.core.name; }
  uint64_t life() const { return life_; }
  const GroupSettings& settings() const { return settings_; }
  const core::GroupState& state() const { return state_; }
  SteadyTime wake() const { return wake_; }
  // Why the group cannot be worked on (its record is corrupt, newer, or bound otherwise); empty =
  // it can.
  const std::string& broken() const { return broken_; }
  void SetBroken(std::string why);
  bool leading() const { return state_.observed.leading; }
  bool removed() const { return removed_; }
  void Remove() { removed_ = true; }
  // Nothing of it is under way, and nobody waits for an answer: a removed group may go.
  bool Quiet() const;

  // A record that was just loaded: its term raised, and LeadershipGained is to follow; or a
  // follower's. `life`: of no other load of this process, since answers to calls of an earlier one
  // bear the same numbers.
  void Load(v1::GroupRecord record, uint64_t life);
  // Nothing that was decided leaves any more.
  void StopLeading(Now now, uint64_t life);
  // ConfigChanged is to follow. A removed group is so configured again.
  void Reconfigure(GroupSettings settings);
  void Handle(const core::Event& event, Now now);
  void GiveOrder(core::Order order, operators::Done<v1::OrderResponse> done, Now now);
  v1::GroupStatus Status(Now now) const;

 private:
  struct Held {
    uint64_t version;  // must be durable first
    core::Command command;
  };
  // Nothing that waited leaves any more.
  void DropHeld();
  void Release();
  void CarryOut(const core::Command& command);

  GroupSettings settings_;
  const Outlets outlets_;
  uint64_t life_ = 0;
  core::GroupState state_;
  std::deque<Held> held_;
  std::map<uint64_t, operators::Done<v1::OrderResponse>> orders_;
  uint64_t next_order_ = 1;
  SteadyTime wake_ = SteadyTime::InfinitePast();
  std::string broken_ = "its record is being loaded";
  bool removed_ = false;
  std::string decided_failover_;
  std::optional<SteadyTime> decided_at_;
};

// Commands that change the world or acknowledge (commands.h: held).
bool IsHeld(const core::Command& command);

}  // namespace failover::runtime

#endif  // CONTROLLER_RUNTIME_GROUP_RUNNER_H_
