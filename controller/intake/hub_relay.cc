// What goes to agents, of our own and by relays of other replicas, and who comes by a relay.
#include <tuple>
#include <utility>

#include "absl/strings/str_cat.h"
#include "controller/intake/hub.h"
#include "controller/intake/relay_session.h"
#include "controller/intake/stream.h"

namespace failover::intake {
namespace {

constexpr int kMaxRelays = 16;
constexpr size_t kMaxForwardedRegions = 256;

std::string ByReplica(const std::string& address) { return absl::StrCat("by replica ", address); }

bool IsNewer(const v1::ControllerMessage& a, const v1::ControllerMessage& b) {
  return std::make_tuple(a.assignment().term(), a.assignment().generation()) >
         std::make_tuple(b.assignment().term(), b.assignment().generation());
}

}  // namespace

grpc::Status Hub::EnterRelay() {
  MutexLock lock(mutex_);
  if (stopping_) return {grpc::StatusCode::UNAVAILABLE, "the controller is stopping"};
  if (relay_streams_ >= kMaxRelays) {
    CountLocked({"", ""}, "refused_relays", 1);
    return Exhausted(
        absl::StrCat("already ", kMaxRelays, " relays, the most this controller takes"));
  }
  ++relay_streams_;
  ++streams_;
  return grpc::Status::OK;
}

std::shared_ptr<RelaySession> Hub::AddRelay(const std::string& instance_id,
                                            const std::shared_ptr<RelaySession>& session) {
  MutexLock lock(mutex_);
  return std::exchange(relays_[instance_id], session);
}

void Hub::LeaveRelay(const std::string& instance_id, const RelaySession* session) {
  {
    MutexLock lock(mutex_);
    --relay_streams_;
    --streams_;
    const auto relay = relays_.find(instance_id);
    if (relay != relays_.end() && relay->second.get() == session) relays_.erase(relay);
    for (auto& [key, identity] : identities_) {
      for (auto& [name, instance] : identity.instances) {
        if (instance.relays.erase(session) > 0)
          PathEndedLocked({key.first, key.second, name}, instance);
      }
    }
  }
  left_.notify_all();
}

grpc::Status Hub::AdmitRelayed(const core::AgentId& agent, const v1::Hello& hello,
                               const std::string& by, const RelaySession* session,
                               std::shared_ptr<void> hold) {
  Peer peer;
  peer.address = ByReplica(by);
  peer.authenticated = true;
  peer.relayed = true;
  peer.region = agent.probe_region;
  peer.name = agent.name;
  std::string kind;
  grpc::Status status = CheckHello(peer, hello, *table(), kind);
  if (status.ok()) {
    MutexLock lock(mutex_);
    const Instance* known = FindLocked(agent);
    const bool was_connected = known != nullptr && known->connected();
    Instance* instance = nullptr;
    status = FindOrAddInstanceLocked(agent, hello, instance);
    if (status.ok()) {
      instance->relays[session] = by;
      if (instance->stream == nullptr) {
        instance->info.set_peer(peer.address);
        instance->info.set_generation(hello.generation());
      }
      if (!was_connected || announcements_.count(agent) > 0) AnnounceLocked(agent, std::move(hold));
      return status;
    }
    kind = "refused_instances";
  }
  CountRefusal(peer, agent.instance, kind, status.error_message());
  return status;
}

void Hub::LeaveRelayed(const core::AgentId& agent, const RelaySession* session) {
  MutexLock lock(mutex_);
  Instance* instance = FindLocked(agent);
  if (instance != nullptr && instance->relays.erase(session) > 0) PathEndedLocked(agent, *instance);
}

void Hub::RelayedAssignmentSent(const std::string& probe_region, const RelaySession* session,
                                uint64_t generation) {
  MutexLock lock(mutex_);
  for (auto it = identities_.lower_bound({probe_region, ""});
       it != identities_.end() && it->first.first == probe_region; ++it) {
    for (auto& [name, instance] : it->second.instances) {
      if (instance.stream == nullptr && instance.relays.count(session) > 0)
        instance.info.set_generation(generation);
    }
  }
}

void Hub::ForwardAssignment(const std::string& probe_region,
                            std::shared_ptr<const v1::ControllerMessage> assignment) {
  std::vector<std::shared_ptr<Stream>> streams;
  {
    MutexLock lock(mutex_);
    const auto known = forwarded_.find(probe_region);
    if (known == forwarded_.end()) {
      if (forwarded_.size() >= kMaxForwardedRegions) return;
      forwarded_[probe_region] = assignment;
    } else if (IsNewer(*assignment, *known->second)) {
      known->second = assignment;
    }
    streams = StreamsOfLocked(probe_region);
  }
  for (const auto& stream : streams) stream->OfferForwarded(assignment);
}

void Hub::ForwardBurst(const std::string& probe_region, const std::vector<std::string>& targets) {
  std::vector<std::shared_ptr<Stream>> streams;
  {
    MutexLock lock(mutex_);
    streams = StreamsOfLocked(probe_region);
  }
  for (const auto& stream : streams) stream->AskBurst(targets);
}

std::shared_ptr<const v1::ControllerMessage> Hub::Forwarded(const std::string& probe_region) const {
  MutexLock lock(mutex_);
  const auto known = forwarded_.find(probe_region);
  return known == forwarded_.end() ? nullptr : known->second;
}

void Hub::SetAssignments(Assignments assignments) {
  struct Change {
    std::shared_ptr<Stream> stream;
    bool configured;
    std::shared_ptr<const v1::ControllerMessage> message;
  };
  std::vector<Change> changes;
  std::vector<std::shared_ptr<RelaySession>> relays;
  std::shared_ptr<const Table> table;
  {
    MutexLock lock(mutex_);
    table_ = MakeTable(std::move(assignments), *table_);
    table = table_;
    for (const auto& [id, relay] : relays_) relays.push_back(relay);
    for (auto& [key, identity] : identities_) {
      const auto region = table->regions.find(key.first);
      const bool configured = region != table->regions.end();
      for (auto& [name, instance] : identity.instances) {
        const core::AgentId agent{key.first, key.second, name};
        if (!configured && !instance.relays.empty()) {
          instance.relays.clear();  // each admits it again when the region comes back
          PathEndedLocked(agent, instance);
        }
        if (instance.stream != nullptr) {
          changes.push_back(
              {instance.stream, configured, configured ? region->second.message : nullptr});
        }
        // Also those that were known before: a group may be new, or its core may have begun anew.
        if (instance.connected() && announcements_.count(agent) == 0)
          AnnounceLocked(agent, nullptr);
      }
    }
  }
  for (const Change& change : changes) {
    if (change.configured) {
      change.stream->Offer(table->serial, change.message);
    } else {
      change.stream->Close(
          {grpc::StatusCode::PERMISSION_DENIED,
           absl::StrCat("the probe region is in no failover group's probeRegions any more; "
                        "configured: ",
                        table->RegionList())});
    }
  }
  for (const auto& relay : relays) relay->Offer(*table);
}

void Hub::Burst(const std::string& probe_region, const std::vector<std::string>& targets) {
  std::vector<std::shared_ptr<Stream>> streams;
  std::vector<std::shared_ptr<RelaySession>> relays;
  {
    MutexLock lock(mutex_);
    if (!table_->assignments.leading) return;
    streams = StreamsOfLocked(probe_region);
    // An agent that has a stream of its own to us needs not be asked once more.
    std::set<const RelaySession*> needed;
    for (auto it = identities_.lower_bound({probe_region, ""});
         it != identities_.end() && it->first.first == probe_region; ++it) {
      for (const auto& [name, instance] : it->second.instances) {
        if (instance.stream != nullptr) continue;
        for (const auto& [relay, address] : instance.relays) needed.insert(relay);
      }
    }
    for (const auto& [id, relay] : relays_) {
      if (needed.count(relay.get()) > 0) relays.push_back(relay);
    }
  }
  for (const auto& stream : streams) stream->AskBurst(targets);
  for (const auto& relay : relays) relay->AskBurst(probe_region, targets);
}

}  // namespace failover::intake
