#include "controller/runtime/group_runner.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/log.h"
#include "controller/core/context.h"
#include "controller/core/status.h"
#include "controller/store/store.h"

namespace failover::runtime {
namespace {

void WriteNote(const std::string& group, const core::Note& note) {
  const LogLevel level = note.severity >= 2   ? LogLevel::kError
                         : note.severity == 1 ? LogLevel::kWarning
                                              : LogLevel::kInfo;
  Log(level, "group",
      {{"failover_group", group}, {"event", note.text}, {"reference", note.reference}});
}

}  // namespace

bool IsHeld(const core::Command& command) {
  if (const auto* reply = std::get_if<core::Reply>(&command)) return reply->ok;
  return core::HoldsAny<core::StartBackup, core::StartRestore, core::PollOperation,
                        core::WriteManifest, core::WriteFence, core::SetEndpoint>(command);
}

bool GroupRunner::Quiet() const {
  if (core::IsOpen(state_.record.failover()) || !held_.empty() || !orders_.empty()) return false;
  for (const v1::Operation& operation : state_.record.operations()) {
    if (core::IsOpen(operation) && operation.state() != v1::OPERATION_STATE_NEEDS_OPERATOR)
      return false;
  }
  return true;
}

void GroupRunner::SetBroken(std::string why) {
  broken_ = std::move(why);
  DropHeld();
}

void GroupRunner::DropHeld() {
  held_.clear();
  for (auto& [id, done] : orders_) {
    v1::OrderResponse response;
    response.set_text(
        "this controller lost the group's state before the order was durable; look at the status, "
        "then order again");
    done(std::move(response));
  }
  orders_.clear();
}

void GroupRunner::StopLeading(Now now, uint64_t life) {
  life_ = life;
  if (leading()) Handle(core::LeadershipLost{}, now);
  DropHeld();
}

void GroupRunner::Load(v1::GroupRecord record, uint64_t life) {
  DropHeld();
  life_ = life;
  broken_.clear();
  state_.record = std::move(record);
}

void GroupRunner::Reconfigure(GroupSettings settings) {
  settings_ = std::move(settings);
  removed_ = false;
}

void GroupRunner::Handle(const core::Event& event, Now now) {
  core::Commands commands = core::Step(settings_.core, state_, event, now);
  wake_ = commands.wake;
  const v1::Failover& failover = state_.record.failover();
  if (failover.id() != decided_failover_) {
    decided_failover_ = failover.id();
    decided_at_ = std::holds_alternative<core::ProbeResults>(event) ? std::optional(now.steady)
                                                                    : std::nullopt;
  }
  if (commands.persist) {
    store::SealHistory(state_.record);
    outlets_.save(name(), std::make_shared<v1::GroupRecord>(state_.record), commands.version);
  }
  for (core::Command& command : commands.list) {
    if (IsHeld(command)) {
      held_.push_back({state_.observed.persist_requested, std::move(command)});
    } else {
      CarryOut(command);
    }
  }
  Release();
}

void GroupRunner::Release() {
  while (!held_.empty() && held_.front().version <= state_.observed.persist_done) {
    const core::Command command = std::move(held_.front().command);
    held_.pop_front();
    CarryOut(command);
  }
}

void GroupRunner::CarryOut(const core::Command& command) {
  if (const auto* note = std::get_if<core::Note>(&command)) return WriteNote(name(), *note);
  if (const auto* reply = std::get_if<core::Reply>(&command)) {
    const auto order = orders_.find(reply->order_id);
    if (order == orders_.end()) return;
    v1::OrderResponse response;
    response.set_ok(reply->ok);
    response.set_text(reply->text);
    const operators::Done<v1::OrderResponse> done = std::move(order->second);
    orders_.erase(order);
    return done(std::move(response));
  }
  std::optional<SteadyTime> decided;
  if (const auto* set = std::get_if<core::SetEndpoint>(&command); set != nullptr && set->enabled)
    decided = std::exchange(decided_at_, std::nullopt);
  outlets_.carry_out(*this, command, decided);
}

void GroupRunner::GiveOrder(core::Order order, operators::Done<v1::OrderResponse> done, Now now) {
  order.order_id = next_order_++;
  orders_.emplace(order.order_id, std::move(done));
  Handle(order, now);
}

v1::GroupStatus GroupRunner::Status(Now now) const {
  v1::GroupStatus status = core::StatusOf(settings_.core, state_, now);
  if (!broken_.empty()) status.add_notices(absl::StrCat(core::kNotWorkedOn, broken_));
  return status;
}

}  // namespace failover::runtime
