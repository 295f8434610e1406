#include "controller/intake/relay_log.h"

#include <algorithm>
#include <mutex>
#include <set>
#include <utility>

namespace failover::intake {
namespace {

constexpr size_t kItemsARead = 64;
constexpr size_t kItemOverhead = 256;

v1::RelayedAgent MessageOf(const core::AgentId& agent) {
  v1::RelayedAgent message;
  message.set_probe_region(agent.probe_region);
  message.set_name(agent.name);
  message.set_instance_id(agent.instance);
  return message;
}

core::AgentId AgentOf(const v1::RelayedAgent& message) {
  return {message.probe_region(), message.name(), message.instance_id()};
}

RelayItem AsReplay(const RelayItem& item) {
  auto message = std::make_shared<v1::RelayedAgent>(*item.message);
  message->mutable_results()->set_replay(true);
  message->mutable_results()->set_replay_end(false);
  return {std::move(message), item.received};
}

void SetHeld(absl::Duration held, v1::RelayedAgent& message) {
  absl::Duration rest;
  message.mutable_held()->set_seconds(absl::IDivDuration(held, absl::Seconds(1), &rest));
  message.mutable_held()->set_nanos(static_cast<int32_t>(absl::ToInt64Nanoseconds(rest)));
}

}  // namespace

void RelayLog::Hello(const core::AgentId& agent, const v1::Hello& hello) {
  if (!enabled_) return;
  v1::RelayedAgent message = MessageOf(agent);
  *message.mutable_hello() = hello;
  MutexLock lock(mutex_);
  connected_[agent] = {std::make_shared<v1::RelayedAgent>(message), clock_.Steady()};
  AddLocked(std::move(message));
}

void RelayLog::Results(const core::AgentId& agent, const v1::ResultBatch& batch) {
  if (!enabled_) return;
  v1::RelayedAgent message = MessageOf(agent);
  *message.mutable_results() = batch;
  MutexLock lock(mutex_);
  AddLocked(std::move(message));
}

void RelayLog::Gone(const core::AgentId& agent) {
  if (!enabled_) return;
  v1::RelayedAgent message = MessageOf(agent);
  message.set_gone(true);
  MutexLock lock(mutex_);
  if (connected_.erase(agent) > 0) AddLocked(std::move(message));
}

void RelayLog::AddLocked(v1::RelayedAgent message) {
  const SteadyTime now = clock_.Steady();
  sizes_.push_back(message.ByteSizeLong() + kItemOverhead);
  bytes_ += sizes_.back();
  items_.push_back({std::make_shared<v1::RelayedAgent>(std::move(message)), now});
  while (!items_.empty() &&
         (bytes_ > limits_.bytes || now - items_.front().received > limits_.keep)) {
    bytes_ -= sizes_.front();
    sizes_.pop_front();
    items_.pop_front();
    ++begin_;
  }
  wake_.notify_all();
}

RelayLog::Beginning RelayLog::Begin() const {
  Beginning beginning;
  std::vector<RelayItem> kept;
  {
    MutexLock lock(mutex_);
    for (const auto& [agent, hello] : connected_) beginning.items.push_back(hello);
    for (const RelayItem& item : items_) {
      if (item.message->has_results() && connected_.count(AgentOf(*item.message)) > 0)
        kept.push_back(item);
    }
    beginning.next = begin_ + items_.size();
  }
  std::map<core::AgentId, SteadyTime> newest;
  for (const RelayItem& item : kept) {
    beginning.items.push_back(AsReplay(item));
    newest[AgentOf(*item.message)] = item.received;
  }
  for (const auto& [agent, received] : newest) {
    auto end = std::make_shared<v1::RelayedAgent>(MessageOf(agent));
    end->mutable_results()->set_replay(true);
    end->mutable_results()->set_replay_end(true);
    beginning.items.push_back({std::move(end), received});
  }
  return beginning;
}

std::optional<std::vector<RelayItem>> RelayLog::Read(uint64_t& position) const {
  MutexLock lock(mutex_);
  if (position < begin_) return std::nullopt;
  const uint64_t end = std::min(begin_ + items_.size(), position + kItemsARead);
  const auto at = [this](uint64_t where) ABSL_NO_THREAD_SAFETY_ANALYSIS {
    return items_.begin() + static_cast<std::ptrdiff_t>(where - begin_);
  };
  std::vector<RelayItem> items(at(position), at(end));
  position = end;
  return items;
}

bool RelayLog::Wait(uint64_t position,
                    const std::function<bool()>& cancelled) const ABSL_NO_THREAD_SAFETY_ANALYSIS {
  std::unique_lock<Mutex> lock(mutex_);
  wake_.wait(lock, [&]() ABSL_NO_THREAD_SAFETY_ANALYSIS {
    return cancelled() || begin_ + items_.size() > position;
  });
  return !cancelled();
}

void RelayLog::WakeAll() {
  // Under the lock, so that a waiter which has just found `cancelled` false is not missed.
  MutexLock lock(mutex_);
  wake_.notify_all();
}

v1::RelayMessage ToMessage(const RelayItem& item, SteadyTime now) {
  v1::RelayMessage message;
  *message.mutable_agent() = *item.message;
  const absl::Duration held = std::max(absl::ZeroDuration(), now - item.received);
  if (item.message->has_results()) SetHeld(held, *message.mutable_agent());
  return message;
}

}  // namespace failover::intake
