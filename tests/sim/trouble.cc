// What goes wrong, who meddles, and what operators order.
#include <string>

#include "absl/strings/str_cat.h"
#include "tests/sim/simulation.h"

namespace failover::sim {

// Configuration changes of every day on the service that has the traffic.
void Simulation::Edit() {
  if (over_) return;
  queue_.In(random_.Between(absl::Seconds(15), absl::Seconds(90)), [this] { Edit(); });
  const int group = random_.Int(0, static_cast<int>(groups_.size()) - 1);
  const std::string active = Active(groups_[group]);
  if (active.empty() || !groups_[group].truth->services[active].running.empty()) return;
  groups_[group].truth->Change(active, random_, queue_.now);
}

void Simulation::Mischief() {
  if (Calm()) return;
  queue_.In(random_.Between(absl::Seconds(4), absl::Seconds(40)), [this] { Mischief(); });
  const int group = random_.Int(0, static_cast<int>(groups_.size()) - 1);
  Agent& agent = agents_[random_.Int(0, static_cast<int>(agents_.size()) - 1)];
  switch (random_.Int(0, 9)) {
    case 0:
    case 1:
      if (trouble_.outage) Outage(group);
      break;
    case 2:
      if (trouble_.cut) {
        const std::string name =
            groups_[group]
                .config
                .services[random_.Int(0,
                                      static_cast<int>(groups_[group].config.services.size()) - 1)]
                .name;
        const int region = random_.Int(0, 2);
        groups_[group].truth->services[name].cut.insert(region);
        queue_.In(random_.Between(absl::Seconds(10), absl::Minutes(4)),
                  [this, group, name, region] {
                    groups_[group].truth->services[name].cut.erase(region);
                  });
      }
      break;
    case 3:
      if (trouble_.crash && random_.Chance(0.5)) Crash();
      break;
    case 4:
      if (trouble_.leadership && random_.Chance(0.5)) LoseLeadership();
      break;
    case 5:
      if (trouble_.pause) Pause(random_.Between(absl::Milliseconds(500), absl::Seconds(25)));
      break;
    case 6:
      if (trouble_.agent) {
        if (random_.Chance(0.3)) agent.jumped = true;
        if (random_.Chance(0.5)) Disconnect(static_cast<int>(&agent - agents_.data()));
      }
      break;
    case 7:
      if (trouble_.cut) {  // the agent's own network
        agent.silent = true;
        const size_t index = &agent - agents_.data();
        queue_.In(random_.Between(absl::Seconds(10), absl::Seconds(90)),
                  [this, index] { agents_[index].silent = false; });
      }
      break;
    case 8:
      Foreign(group);
      break;
    default:
      if (trouble_.wall) {
        wall_base_ += random_.Between(-absl::Minutes(10), absl::Minutes(10));
        for (size_t i = 0; i < groups_.size() && running_ && !paused_; ++i)
          Step(static_cast<int>(i), core::ClockGap{});
      }
      break;
  }
}

// A gateway crashes or hangs; mostly the active one; sometimes two together.
void Simulation::Outage(int index) {
  Group& group = groups_[index];
  std::string name = Active(group);
  const int any = random_.Int(0, static_cast<int>(group.config.services.size()) - 1);
  if (name.empty() || random_.Chance(0.3)) name = group.config.services[any].name;
  ServiceTruth& service = group.truth->services[name];
  if (random_.Chance(0.3)) {
    service.hangs = true;
  } else {
    service.gateway_up = false;
  }
  Trace(index, absl::StrCat("outage of ", name));
  queue_.In(random_.Between(absl::Seconds(10), absl::Minutes(5)), [this, index, name] {
    if (Calm()) return;
    ServiceTruth& healed = groups_[index].truth->services[name];
    healed.gateway_up = true;
    healed.hangs = false;
  });
}

// Somebody else works in the same subscription.
void Simulation::Foreign(int index) {
  Group& group = groups_[index];
  Truth& truth = *group.truth;
  const std::string name =
      group.config.services[random_.Int(0, static_cast<int>(group.config.services.size()) - 1)]
          .name;
  const std::string active = Active(group);
  if (trouble_.foreign_traffic && random_.Chance(0.5)) {
    truth.services[name].endpoint = !truth.services[name].endpoint;
    truth.foreign_traffic = queue_.now;
    Trace(index, absl::StrCat("somebody sets the endpoint of ", name,
                              truth.services[name].endpoint ? " on" : " off"));
    queue_.In(random_.Between(absl::Seconds(20), absl::Minutes(3)),
              [this, index] {  // and puts it right later
                Group& again = groups_[index];
                const std::string wanted = Active(again);
                if (wanted.empty()) return;
                again.truth->foreign_traffic = queue_.now;
                for (auto& [service, facts] : again.truth->services)
                  facts.endpoint = service == wanted;
              });
  }
  if (!trouble_.foreign_edit) return;
  if (name != active && truth.services[name].running.empty() && random_.Chance(0.4)) {
    truth.services[name].edited.insert(truth.Change(name, random_, queue_.now));
    Trace(index, absl::StrCat("somebody edits ", name));
  } else if (truth.Idle(name, queue_.now)) {
    truth.services[name].foreign_busy_until =
        queue_.now + random_.Between(absl::Seconds(10), absl::Seconds(60));
  }
  if (random_.Chance(0.3)) truth.spoil_next = true;
}

core::OrderBody Simulation::RandomOrder(const Group& group) {
  const auto service = [&] {
    return random_.Chance(0.1)
               ? std::string("nonsense")
               : group.config
                     .services[random_.Int(0, static_cast<int>(group.config.services.size()) - 1)]
                     .name;
  };
  const v1::GroupRecord& record = group.state.record;
  switch (random_.Int(0, 12)) {
    case 0:
      return core::OrderSyncRun{random_.Chance(0.5) ? service() : ""};
    case 1:
      return core::OrderStandbyDiscard{service()};
    case 2:
      return core::OrderFreeze{random_.Chance(0.4)};
    case 3:
    case 4: {
      core::OrderFailover failover{random_.Chance(0.5) ? service() : "", {}};
      if (!trouble_.force) return failover;
      for (const char* name : {"never_synced", "not_resynced", "unverified", "standby_unknown",
                               "standby_down", "restore_running", "operation_ambiguous",
                               "recovery_point_too_old", "backup_expired", "paused", "nonsense"}) {
        if (random_.Chance(0.25)) failover.force.emplace_back(name);
      }
      return failover;
    }
    case 5:
    case 6:
    case 7:
      return core::OrderApprove{random_.Chance(0.9) ? record.approval().id() : "A99",
                                random_.Chance(0.8)};
    case 8:
      return core::OrderAck{};
    case 9:
      return random_.Chance(0.3) ? core::OrderBody(core::OrderAdopt{service()})
                                 : core::OrderBody(core::OrderAck{});
    case 10:
      return core::OrderPause{random_.Chance(0.5),
                              random_.Chance(0.5) ? absl::Minutes(2) : absl::InfiniteDuration()};
    case 11:
      return core::OrderPause{false};
    default: {
      const int count = record.operations_size();
      return core::OrderAbandon{count == 0 ? "nonsense" : record.operations(count - 1).id()};
    }
  }
}

void Simulation::Operator() {
  if (Calm()) return;
  queue_.In(random_.Between(absl::Seconds(10), absl::Seconds(90)), [this] { Operator(); });
  for (size_t i = 0; i < groups_.size();
       ++i) {  // an approval that is asked for gets an answer soon
    const v1::Approval& approval = groups_[i].state.record.approval();
    if (approval.expires_ms() != 0 && random_.Chance(0.7)) {
      GiveOrder(static_cast<int>(i), core::OrderApprove{approval.id(), random_.Chance(0.8)}, false);
    }
  }
  const int group = random_.Int(0, static_cast<int>(groups_.size()) - 1);
  GiveOrder(group, RandomOrder(groups_[group]), random_.Chance(0.15));
}

void Simulation::GiveOrder(int index, core::OrderBody body, bool dry_run) {
  if (!running_) return;
  core::Order order;
  order.order_id = ++orders_;
  order.who = "spiffe://test/operator/ann";
  order.reason = "simulated → because";
  order.body = std::move(body);
  order.dry_run = dry_run;
  Arrived(index, order);
}

}  // namespace failover::sim
