#ifndef TESTS_UNIT_CORE_DRIVER_H_
#define TESTS_UNIT_CORE_DRIVER_H_

#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "controller/core/group.h"

namespace failover::core {

// Drives one group's core by a virtual clock: every record is durable at once unless told
// otherwise, and an obliging Azure answers at once unless a script takes the command.
class Driver {
 public:
  struct Service {
    Entities content;
    bool pristine = false, idle = true, reachable = true;
    std::string sku = "Developer", refused;
  };

  Driver();  // three services: weu (active in the traffic layer), neu, uks; three regions
  explicit Driver(GroupConfig group);

  // ---- time and events ----
  Now now() const { return {steady_, wall_}; }
  void Do(const Event& event);
  void Advance(absl::Duration d);  // ticks when the core asks for them; no probe results
  // Lets time pass with results of every region once per interval, as `up`, `silent`, `control` …
  // say.
  void Run(absl::Duration d);
  bool RunUntil(const std::function<bool()>& condition, absl::Duration at_most);
  void Results(int region, bool replay = false);  // one result of everything, completed now
  void SkipWall(absl::Duration d) { wall_ += d; }

  // ---- the story so far ----
  void Lead();  // a fresh process gains leadership
  void
  Restart();  // the process dies: what it observed is lost, the last durable record is reloaded
  void Confirm();  // leads, and has roles confirmed by the traffic layer and the public name
  void Synced();   // … and every standby holds a verified backup
  void Outage();   // every region's probes of the active fail from now on

  // ---- the world ----
  std::map<std::string, Service> services;
  std::map<std::string, bool> endpoints;
  std::map<std::string, Entities> blobs;  // backups, by name
  std::set<std::string> bad_blobs;
  std::optional<Fence> fence;
  std::vector<std::vector<bool>> up;  // [service][region]
  std::vector<bool> silent, control;  // by region
  std::string public_from;            // who answers the public name; empty: nobody
  absl::Duration operation_time = absl::Seconds(4);
  FailedStage failed_stage = FailedStage::kConnect;
  bool switch_path_ok = true;
  // Looks at a command first: true = taken, not answered by the obliging Azure (it stays in
  // `open`).
  std::function<bool(const Command&)> take;
  bool durable = true;  // records become durable at once

  // ---- what the core asked for ----
  std::vector<Command> sent, open;
  std::vector<Reply> replies;
  template <typename C>
  int Count() const {
    int count = 0;
    for (const Command& command : sent) count += std::holds_alternative<C>(command) ? 1 : 0;
    return count;
  }
  template <typename C>
  const C* Last() const {
    for (auto it = sent.rbegin(); it != sent.rend(); ++it) {
      if (const C* found = std::get_if<C>(&*it)) return found;
    }
    return nullptr;
  }
  // From now on commands of this type stay unanswered.
  template <typename C>
  void Take() {
    take = [](const Command& command) { return std::holds_alternative<C>(command); };
  }
  void TakeNothing() { take = nullptr; }
  Event AnswerTo(const Command& command);  // the obliging answer
  Reply Order(OrderBody body, std::string reason = "because", bool dry_run = false);

  const v1::GroupRecord& record() const { return state.record; }
  const v1::ServiceRecord& standby(const std::string& name) const;
  const v1::Operation* operation(v1::OperationKind kind,
                                 const std::string& service) const;  // the newest
  bool Blocked(Blocker blocker, const std::string& service = "") const;
  Verdict verdict(const std::string& service) const;
  std::string Told() const;  // the texts of the history, one a line
  void Durable();            // everything requested so far is durable

  GroupConfig config;
  GroupState state;

 private:
  void Collect(const Commands& commands);
  void AnswerAll();

  SteadyTime steady_{absl::Hours(100)};
  absl::Time wall_ = absl::FromUnixSeconds(1790000000);
  SteadyTime wake_ = SteadyTime::InfiniteFuture();
  v1::GroupRecord stored_;
  std::map<uint64_t, v1::GroupRecord> requested_;  // not durable yet, by version
  std::map<std::string, SteadyTime> begun_;        // operations, by handle
  std::map<std::string, std::string> restores_;    // handle → blob
  std::map<int, uint64_t> sequence_;               // by region
  uint64_t next_order_ = 1;
};

GroupConfig TestConfig();
v1::Fingerprint FingerprintOf(const Entities& entities);

}  // namespace failover::core

#endif  // TESTS_UNIT_CORE_DRIVER_H_
