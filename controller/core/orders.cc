#include "controller/core/orders.h"

#include <algorithm>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "controller/core/evaluate.h"
#include "controller/core/failover.h"
#include "controller/core/operations.h"
#include "controller/core/status.h"
#include "controller/core/sync.h"
#include "controller/core/traffic.h"

namespace failover::core {
namespace {

constexpr int64_t kAbandonRunningMs = 8LL * 3600 * 1000;

struct Answer {
  bool ok = true;
  std::string text;
};
Answer Refuse(std::string text) { return {false, std::move(text)}; }

std::string ServiceNames(const Look& c) {
  std::vector<std::string> names;
  for (const ServiceConfig& service : c.config.services) names.push_back(service.name);
  return absl::StrJoin(names, ", ");
}

// The index of a configured standby, or -1 with the refusal.
int StandbyIndex(const Look& c, const std::string& name, Answer& refusal) {
  const int index = c.config.ServiceIndex(name);
  if (index < 0) {
    refusal = Refuse(absl::StrCat("found service \"", name, "\"; allowed: ", ServiceNames(c)));
    return -1;
  }
  if (c.Service(index).role() != v1::ROLE_STANDBY) {
    refusal = Refuse(absl::StrCat(
        name,
        c.ActiveIndex() == index
            ? " is the active service, not a standby"
            : " is not a standby: roles are unconfirmed; confirm them with: failoverctl adopt"));
    return -1;
  }
  return index;
}

// Whether a sync run may replace what the standby holds; false fills the refusal.
bool Replaceable(const Context& c, const std::string& name, Answer& refusal) {
  const int index = StandbyIndex(c, name, refusal);
  if (index < 0) return false;
  if (!c.Service(index).not_resynced()) return true;
  refusal = Refuse(absl::StrCat(
      name, " was the active service and holds changes of its own (not_resynced): no sync run ",
      "overwrites it, and the way back is not built in this version"));
  return false;
}

Answer Give(Context& c, const Order& order, const OrderSyncRun& run) {
  Answer refusal;
  if (!run.adopt.empty() && !Replaceable(c, run.adopt, refusal)) return refusal;
  if (order.dry_run) {
    const std::string why = SyncObstacle(c);
    return why.empty() ? Answer{true, "a sync run would start now"} : Refuse(why);
  }
  if (std::string why = StartSync(c, "operator", order.who); !why.empty()) return Refuse(why);
  std::string text = absl::StrCat("sync run ", c.record().sync_run().id(), " started");
  if (!run.adopt.empty()) {
    v1::ServiceRecord* standby = c.FindService(run.adopt);
    standby->set_adopted(true);
    standby->clear_kept_backup_blob();
    absl::StrAppend(&text, "; ", run.adopt, " is backed up before its content is replaced");
  }
  if (std::string frozen = FreezeReason(c); !frozen.empty())
    absl::StrAppend(&text, "; its restores wait: ", frozen);
  return {true, text};
}

Answer Give(Context& c, const Order& order, const OrderStandbyDiscard& discard) {
  Answer refusal;
  if (!Replaceable(c, discard.service, refusal)) return refusal;
  const std::string obstacle = SyncObstacle(c);
  if (order.dry_run) {
    return {true, absl::StrCat(discard.service, " would be backed up, kept, and then restored by ",
                               obstacle.empty()
                                   ? "a sync run that starts now"
                                   : absl::StrCat("the next sync run (not now: ", obstacle, ")"))};
  }
  v1::ServiceRecord* standby = c.FindService(discard.service);
  standby->set_adopted(true);
  standby->clear_kept_backup_blob();
  standby->clear_drift();
  std::string text =
      absl::StrCat(discard.service, " is backed up before its content is replaced, by ");
  if (obstacle.empty()) {
    StartSync(c, "operator", order.who);
    return {true,
            absl::StrCat(text, "sync run ", c.record().sync_run().id(), ", which has started")};
  }
  return {true, absl::StrCat(text, "the next sync run (not now: ", obstacle, ")")};
}

Answer Give(Context& c, const Order& order, const OrderFreeze& freeze) {
  if (freeze.freeze == c.record().frozen_by_operator()) {
    return {true, freeze.freeze ? "restores are frozen already"
                                : "restores are not frozen by an operator"};
  }
  if (order.dry_run)
    return {true, freeze.freeze ? "restores would be frozen; backups go on"
                                : "the operator's freeze would end"};
  c.record().set_frozen_by_operator(freeze.freeze);
  c.record().set_frozen_since_ms(freeze.freeze ? c.wall_ms() : 0);
  c.record().set_frozen_reason(freeze.freeze ? absl::StrCat(order.who, ": ", order.reason) : "");
  return {true,
          freeze.freeze ? "restores are frozen; backups go on" : "the operator's freeze is over"};
}

// The blockers to waive; a refusal when one is unknown or not forceable.
bool ReadForces(const OrderFailover& order, BlockerSet& forced, Answer& refusal) {
  std::vector<std::string> allowed;
  for (const BlockerRule& rule : BlockerTable()) {
    if (rule.force == Force::kByName) allowed.emplace_back(rule.name);
  }
  for (const std::string& name : order.force) {
    const BlockerRule* rule = FindBlocker(name);
    if (rule == nullptr || rule->force != Force::kByName) {
      refusal = Refuse(absl::StrCat("found --force ", name,
                                    rule == nullptr ? "" : ", which can never be forced",
                                    "; allowed: ", absl::StrJoin(allowed, ", ")));
      return false;
    }
    forced.Set(rule->blocker);
  }
  return true;
}

std::string Explain(const Look& c, const BlockerSet& set, int service) {
  std::vector<std::string> parts;
  for (const BlockerRule& rule : BlockerTable()) {
    if (!set.Has(rule.blocker)) continue;
    const BlockerWords words = WordsOf(c, rule.blocker, service);
    parts.push_back(
        absl::StrCat(rule.name, ": ", words.text,
                     words.clears.empty() ? "" : absl::StrCat(" (", words.clears, ")")));
  }
  return absl::StrJoin(parts, "; ");
}

// What stands in the way of an operator's failover to `to`; empty = nothing.
std::string FailoverObstacle(const Look& c, const Blockers& blockers, int to,
                             const BlockerSet& forced) {
  if (IsOpen(c.record().failover()))
    return absl::StrCat(c.record().failover().id(), " is in progress");
  const BlockerSet group = StoppingManual(blockers.group);
  if (!group.empty()) return Explain(c, group, -1);
  if (to == c.ActiveIndex()) return absl::StrCat(c.config.services[to].name, " is active already");
  const BlockerSet left = StoppingManual(blockers.Of(to)).Without(forced);
  if (left.empty()) return "";
  return absl::StrCat(c.config.services[to].name, " is not fit: ", Explain(c, left, to),
                      "; to do it all the same: --force ", absl::StrJoin(left.Names(), " --force "),
                      " --reason TEXT");
}

Answer Give(Context& c, const Order& order, const OrderFailover& failover) {
  BlockerSet forced;
  Answer refusal;
  if (!ReadForces(failover, forced, refusal)) return refusal;
  if (!forced.empty() && order.reason.empty())
    return Refuse("a force needs a reason: --reason TEXT");
  const Blockers blockers = EvaluateBlockers(c);
  int to = -1;
  if (failover.to.empty()) {
    to = ChooseStandby(c, blockers, false, forced);
    if (to < 0) {
      std::vector<std::string> parts;
      const std::string group = Explain(c, StoppingManual(blockers.group), -1);
      if (!group.empty()) parts.push_back(group);
      for (size_t i = 0; i < c.config.services.size(); ++i) {
        const BlockerSet left = StoppingManual(blockers.Of(static_cast<int>(i))).Without(forced);
        if (!left.empty())
          parts.push_back(
              absl::StrCat(c.config.services[i].name, ": ", absl::StrJoin(left.Names(), ", ")));
      }
      return Refuse(absl::StrCat("no standby is fit: ", absl::StrJoin(parts, "; ")));
    }
  } else {
    to = c.config.ServiceIndex(failover.to);
    if (to < 0)
      return Refuse(absl::StrCat("found --to ", failover.to, "; allowed: ", ServiceNames(c)));
  }
  if (std::string why = FailoverObstacle(c, blockers, to, forced); !why.empty())
    return Refuse(std::move(why));
  BlockerSet waived;  // only what is there
  for (const BlockerRule& rule : BlockerTable())
    waived.Set(rule.blocker, forced.Has(rule.blocker) && blockers.Of(to).Has(rule.blocker));
  const std::string step = absl::StrCat("failover ", c.config.services[c.ActiveIndex()].name, " → ",
                                        c.config.services[to].name);
  if (order.dry_run)
    return {true, absl::StrCat(step, " would be decided", waived.empty() ? "" : " over ",
                               absl::StrJoin(waived.Names(), ", "))};
  DecideFailover(c, to, "operator", order.who, order.reason, waived);
  return {true, absl::StrCat(step, " decided as ", c.record().failover().id(), ", epoch ",
                             c.record().epoch())};
}

Answer Give(Context& c, const Order& order, const OrderApprove& approve) {
  v1::Approval& approval = *c.record().mutable_approval();
  if (approval.id().empty() || approval.expires_ms() == 0)
    return Refuse("nothing waits for approval");
  if (approval.id() != approve.id)
    return Refuse(absl::StrCat("found approval ", approve.id, "; allowed: ", approval.id()));
  if (approval.expires_ms() <= c.wall_ms())
    return Refuse(absl::StrCat("approval ", approval.id(), " has expired"));
  if (!approve.approve) {
    if (order.dry_run) return {true, absl::StrCat(approval.id(), " would be denied")};
    approval.set_denied(true);
    approval.clear_expires_ms();
    return {true, absl::StrCat(approval.id(), " is denied; it is not asked again for this outage")};
  }
  const int active = c.ActiveIndex(), to = c.config.ServiceIndex(approval.to());
  if (approval.epoch() != c.record().epoch() || active < 0 || to < 0 ||
      IsOpen(c.record().failover())) {
    return Refuse("roles have changed since the approval was asked for");
  }
  if (c.seen().verdicts[active].verdict != Verdict::kDown) {
    return Refuse(
        absl::StrCat("the verdict on ", approval.from(),
                     " is no longer down; to move traffic all the same: failoverctl failover"));
  }
  const Blockers blockers = EvaluateBlockers(c);
  BlockerSet group = blockers.group;
  group.Clear(Blocker::kMode);
  if (!group.empty()) return Refuse(Explain(c, group, -1));
  if (const BlockerSet left = StoppingAutomatic(blockers.Of(to), c.config.drift_blocks);
      !left.empty()) {
    return Refuse(absl::StrCat(approval.to(), " is no longer fit: ", Explain(c, left, to)));
  }
  if (order.dry_run)
    return {true,
            absl::StrCat("failover ", approval.from(), " → ", approval.to(), " would be decided")};
  const std::string reason =
      order.reason.empty() ? absl::StrCat("approved ", approval.id()) : order.reason;
  DecideFailover(c, to, "approved", order.who, reason, {});
  return {true,
          absl::StrCat("failover ", c.record().failover().from(), " → ", c.record().failover().to(),
                       " decided as ", c.record().failover().id(), ", epoch ", c.record().epoch())};
}

Answer Give(Context& c, const Order& order, const OrderAck&) {
  const bool cooling = c.record().cooldown_until_ms() > c.wall_ms();
  auto& switches = *c.record().mutable_last_switches();
  const bool failed = std::any_of(switches.begin(), switches.end(), [](const v1::LastSwitch& last) {
    return !last.success() && !last.acknowledged();
  });
  if (!cooling && !failed &&
      (c.record().failover().id().empty() || c.record().failover().acknowledged())) {
    return {true, "nothing waits for an acknowledgement"};
  }
  if (IsOpen(c.record().failover()))
    return Refuse(absl::StrCat(c.record().failover().id(), " is still in progress"));
  const std::string text =
      cooling ? absl::StrCat("the cooldown until ", FormatMs(c.record().cooldown_until_ms())) : "";
  if (order.dry_run)
    return {true, absl::StrCat(c.record().failover().id(), " would be acknowledged",
                               cooling ? ", ending " : "", text)};
  c.record().mutable_failover()->set_acknowledged(true);
  for (v1::LastSwitch& last : switches) last.set_acknowledged(true);
  c.record().set_cooldown_until_ms(0);
  return {true, absl::StrCat(c.record().failover().id(), " is acknowledged",
                             cooling ? "; lifted " : "", text)};
}

Answer Give(Context& c, const Order& order, const OrderAdopt& adopt) {
  const int index = c.config.ServiceIndex(adopt.active);
  if (index < 0)
    return Refuse(absl::StrCat("found --active ", adopt.active, "; allowed: ", ServiceNames(c)));
  if (IsOpen(c.record().failover()))
    return Refuse(absl::StrCat(c.record().failover().id(), " is in progress"));
  if (const v1::Operation* open = OpenOperationOn(std::as_const(c.record()), adopt.active)) {
    return Refuse(absl::StrCat("operation ", open->id(), " on ", adopt.active, " is open"));
  }
  const Observed& seen = c.seen();
  std::string doubt;
  if (!seen.fence_checked) {
    doubt = absl::StrCat(
        "; the fence in the storage could not be read yet", seen.fence_problem.empty() ? "" : ": ",
        seen.fence_problem,
        "; restores are refused until it was, then repeat this order if they still are");
  }
  const auto enabled = seen.enabled.find(adopt.active);
  if (seen.traffic_known && (enabled == seen.enabled.end() || !enabled->second)) {
    absl::StrAppend(&doubt,
                    "; its endpoint is not enabled in the traffic layer: nothing is synced or "
                    "switched until that agrees");
  }
  if (order.dry_run)
    return {true, absl::StrCat(adopt.active, " would become the active service", doubt)};
  AssignRoles(
      c, index,
      absl::StrCat("adopted by ", order.who, order.reason.empty() ? "" : ": ", order.reason),
      order.who);
  return {true,
          absl::StrCat(adopt.active, " is the active service, epoch ", c.record().epoch(), doubt)};
}

Answer Give(Context& c, const Order& order, const OrderPause& pause) {
  v1::Pause& state = *c.record().mutable_pause();
  if (!pause.pause) {
    if (!state.active()) return {true, "it is not paused"};
    if (order.dry_run) return {true, "it would be resumed"};
    c.record().clear_pause();
    return {true, "resumed: scheduled sync runs and automatic failover go on"};
  }
  const bool bounded = pause.duration != absl::InfiniteDuration();
  if (bounded && pause.duration <= absl::ZeroDuration())
    return Refuse("found --for of no length; allowed: more than 0s");
  if (order.dry_run)
    return {true, "it would be paused: no scheduled sync run, no automatic failover"};
  state.set_active(true);
  state.set_who(order.who);
  state.set_reason(order.reason);
  state.set_since_ms(c.wall_ms());
  state.set_until_ms(bounded ? c.wall_ms() + absl::ToInt64Milliseconds(pause.duration) : 0);
  return {true, absl::StrCat(
                    "paused ",
                    bounded ? absl::StrCat("until ", FormatMs(state.until_ms())) : "until resumed",
                    ": no scheduled sync run, no automatic failover; orders still work")};
}

Answer Give(Context& c, const Order& order, const OrderAbandon& abandon) {
  v1::Operation* operation = FindOperation(c.record(), abandon.operation_id);
  if (operation == nullptr)
    return Refuse(absl::StrCat("found operation ", abandon.operation_id,
                               "; allowed: one that failoverctl operations lists"));
  if (!IsOpen(*operation))
    return Refuse(absl::StrCat("operation ", operation->id(), " has ended already"));
  const bool unclear = operation->state() == v1::OPERATION_STATE_AMBIGUOUS ||
                       operation->state() == v1::OPERATION_STATE_NEEDS_OPERATOR;
  if (!unclear && c.wall_ms() - operation->sent_ms() < kAbandonRunningMs) {
    return Refuse(
        absl::StrCat("operation ", operation->id(),
                     " is running and polled; it can be abandoned 8 hours after it was sent"));
  }
  if (order.reason.empty()) return Refuse("abandoning an operation needs a reason: --reason TEXT");
  if (order.dry_run)
    return {true, absl::StrCat("operation ", operation->id(), " on ", operation->service(),
                               " would count as ended")};
  const std::string service = operation->service();
  AbandonOperation(c, *operation, order.who, order.reason);
  return {true, absl::StrCat("operation ", abandon.operation_id, " on ", service,
                             " counts as ended; a restored standby stays ",
                             "unverified until the next sync run")};
}

const char* Verb(const OrderBody& body) {
  struct Names {
    const char* operator()(const OrderSyncRun&) { return "sync run"; }
    const char* operator()(const OrderStandbyDiscard&) { return "standby discard"; }
    const char* operator()(const OrderFreeze& e) { return e.freeze ? "sync freeze" : "sync thaw"; }
    const char* operator()(const OrderFailover&) { return "failover"; }
    const char* operator()(const OrderApprove& e) { return e.approve ? "approve" : "deny"; }
    const char* operator()(const OrderAck&) { return "ack"; }
    const char* operator()(const OrderAdopt&) { return "adopt"; }
    const char* operator()(const OrderPause& e) { return e.pause ? "pause" : "resume"; }
    const char* operator()(const OrderAbandon&) { return "operations abandon"; }
  };
  return std::visit(Names{}, body);
}

// A script that asks for the impossible in a loop must not push the history out.
bool ToldAlready(const v1::GroupRecord& record, const std::string& text, const std::string& who) {
  for (int i = record.history_size() - 1; i >= 0 && i >= record.history_size() - 10; --i) {
    const v1::HistoryEntry& entry = record.history(i);
    if (entry.outcome() == "refused" && entry.text() == text && entry.who() == who) return true;
  }
  return false;
}

}  // namespace

void OnOrder(Context& c, const Order& order) {
  Answer answer;
  if (!c.seen().leading) {
    answer = Refuse("this controller does not lead; nothing was changed");
  } else if (!order.dry_run && !c.MayAct()) {
    answer = Refuse(absl::StrCat("the state cannot be stored now",
                                 c.seen().store_error.empty() ? "" : ": ", c.seen().store_error,
                                 "; nothing was changed"));
  } else {
    answer = std::visit([&](const auto& body) { return Give(c, order, body); }, order.body);
  }
  if (!order.dry_run && c.seen().leading) {
    const std::string text = absl::StrCat(Verb(order.body), ": ", answer.text,
                                          order.reason.empty() ? "" : " — reason: ", order.reason);
    if (answer.ok || !ToldAlready(c.record(), text, order.who))
      c.History("order", text, answer.ok ? "ok" : "refused", "", order.who);
    if (answer.ok) c.again = true;
  }
  c.Say(Reply{order.order_id, answer.ok, std::move(answer.text)});
}

}  // namespace failover::core
