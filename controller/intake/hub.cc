#include "controller/intake/hub.h"

#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "common/digest.h"
#include "controller/intake/relay_session.h"
#include "controller/intake/stream.h"

namespace failover::intake {
namespace {

constexpr int kMaxStreams = 10'000;
constexpr int kMaxInstances = 4;  // connected ones of an identity (design.md §11)
constexpr int kMaxStreamsOfIdentity =
    2 * kMaxInstances;  // with those about to be replaced or to say Hello
constexpr double kConnectsPerSecond = 1, kConnectBurst = 16;
constexpr absl::Duration kRetryAnnouncement = absl::Milliseconds(100);
constexpr size_t kMaxTextBytes = 64;  // of a boot id or a version

bool IsShortText(const std::string& text) {
  return text.size() <= kMaxTextBytes && std::all_of(text.begin(), text.end(), absl::ascii_isprint);
}

}  // namespace

grpc::Status Exhausted(std::string text) {
  return {grpc::StatusCode::RESOURCE_EXHAUSTED, std::move(text)};
}

bool IsInstanceId(const std::string& id) {
  return id.size() == 16 && std::all_of(id.begin(), id.end(), absl::ascii_isxdigit);
}

grpc::Status CheckHello(const Peer& peer, const v1::Hello& hello, const Table& table,
                        std::string& kind) {
  kind = "refused_hello";
  if (!IsInstanceId(hello.instance_id())) {
    return {grpc::StatusCode::INVALID_ARGUMENT,
            "instance_id of the hello: not 16 hexadecimal digits"};
  }
  if (!IsShortText(hello.boot_id()) || !IsShortText(hello.version())) {
    return {grpc::StatusCode::INVALID_ARGUMENT,
            absl::StrCat("boot_id and version of the hello: at most ", kMaxTextBytes,
                         " printable characters each")};
  }
  if (table.serial == 0) {
    kind = "refused_starting";
    return {grpc::StatusCode::UNAVAILABLE,
            "the controller is starting and has no configuration in force yet"};
  }
  if (peer.authenticated && hello.probe_region() != peer.region) {
    kind = "refused_identity_mismatch";
    return {grpc::StatusCode::PERMISSION_DENIED,
            absl::StrCat("the hello names probe region \"",
                         hello.probe_region().substr(0, kMaxTextBytes), "\", the certificate \"",
                         peer.region, "\"; only the certificate's is allowed")};
  }
  if (table.regions.count(hello.probe_region()) == 0) {
    kind = "refused_region";
    return {grpc::StatusCode::PERMISSION_DENIED,
            absl::StrCat(
                "probe region \"", hello.probe_region().substr(0, kMaxTextBytes),
                "\" is in no failover group's probeRegions; configured: ", table.RegionList())};
  }
  return grpc::Status::OK;
}

Hub::Hub(IntakeOptions options)
    : options_(std::move(options)),
      instance_id_(RandomHex(8)),
      relay_log_(*options_.clock, {}, !options_.replicas_address.empty()),
      table_(std::make_shared<Table>()),
      timers_(*options_.clock) {}

std::shared_ptr<const Table> Hub::table() const {
  MutexLock lock(mutex_);
  return table_;
}

Hub::Identity* Hub::FindOrAddLocked(const Key& key) {
  const auto known = identities_.find(key);
  if (known != identities_.end()) return &known->second;
  if (identities_.size() >= kMaxIdentities) ForgetOldLocked();
  if (identities_.size() >= kMaxIdentities) return nullptr;
  Identity fresh{0, TokenBucket(kConnectsPerSecond, kConnectBurst, clock().Steady()), {}};
  return &identities_.emplace(key, std::move(fresh)).first->second;
}

// Whoever has been gone for a day; when that frees nothing, the identity gone longest.
void Hub::ForgetOldLocked() {
  const SteadyTime now = clock().Steady();
  auto longest = identities_.end();
  SteadyTime longest_seen = SteadyTime::InfiniteFuture();
  for (auto it = identities_.begin(); it != identities_.end();) {
    std::erase_if(it->second.instances, [now](const auto& entry) {
      return !entry.second.connected() && now - entry.second.seen > kRemembered;
    });
    const bool connected = std::any_of(it->second.instances.begin(), it->second.instances.end(),
                                       [](const auto& entry) { return entry.second.connected(); });
    if (it->second.streams > 0 || connected) {
      ++it;
      continue;
    }
    if (it->second.instances.empty()) {
      it = identities_.erase(it);
      continue;
    }
    SteadyTime seen = SteadyTime::InfinitePast();
    for (const auto& [name, instance] : it->second.instances) seen = std::max(seen, instance.seen);
    if (seen < longest_seen) {
      longest_seen = seen;
      longest = it;
    }
    ++it;
  }
  if (identities_.size() >= kMaxIdentities && longest != identities_.end())
    identities_.erase(longest);
}

Hub::Instance* Hub::FindLocked(const core::AgentId& agent) {
  const auto identity = identities_.find({agent.probe_region, agent.name});
  if (identity == identities_.end()) return nullptr;
  const auto instance = identity->second.instances.find(agent.instance);
  return instance == identity->second.instances.end() ? nullptr : &instance->second;
}

grpc::Status Hub::Enter(const Peer& peer) {
  MutexLock lock(mutex_);
  if (stopping_) return {grpc::StatusCode::UNAVAILABLE, "the controller is stopping"};
  const Key key{peer.region, peer.name};
  if (streams_ >= kMaxStreams) {
    CountLocked(key, "refused_streams", 1);
    return Exhausted(
        absl::StrCat("already ", kMaxStreams, " streams, the most this controller takes"));
  }
  if (peer.authenticated) {
    Identity* identity = FindOrAddLocked(key);
    if (identity == nullptr || identity->streams >= kMaxStreamsOfIdentity) {
      CountLocked(key, "refused_streams", 1);
      return Exhausted(absl::StrCat("agent ", peer.region, "/", peer.name, " has ",
                                    kMaxStreamsOfIdentity,
                                    " open streams, the most an identity may have"));
    }
    if (!identity->connects.TryCharge(1, clock().Steady())) {
      CountLocked(key, "refused_connect_rate", 1);
      return Exhausted(absl::StrCat("agent ", peer.region, "/", peer.name, " opens more than ",
                                    kConnectsPerSecond, " stream a second; wait before the next"));
    }
    ++identity->streams;
  }
  ++streams_;
  return grpc::Status::OK;
}

grpc::Status Hub::Admit(const Peer& peer, const v1::Hello& hello, const core::AgentId& agent,
                        const std::shared_ptr<Stream>& stream, std::shared_ptr<void> hold,
                        std::shared_ptr<Stream>& replaced) {
  std::string kind;
  grpc::Status status = CheckHello(peer, hello, *table(), kind);
  if (status.ok()) {
    MutexLock lock(mutex_);
    status = AdmitLocked(peer, hello, agent, stream, replaced);
    if (status.ok()) {
      AnnounceLocked(agent, std::move(hold));
      return status;
    }
    kind = "refused_instances";
  }
  CountRefusal(peer, hello.instance_id(), kind, status.error_message());
  return status;
}

grpc::Status Hub::FindOrAddInstanceLocked(const core::AgentId& agent, const v1::Hello& hello,
                                          Instance*& found) {
  if (stopping_) return {grpc::StatusCode::UNAVAILABLE, "the controller is stopping"};
  Identity* identity = FindOrAddLocked({agent.probe_region, agent.name});
  if (identity == nullptr)
    return Exhausted(absl::StrCat("already ", kMaxIdentities, " agents are connected"));
  int others = 0;
  for (const auto& [id, instance] : identity->instances) {
    if (id != agent.instance && instance.connected()) ++others;
  }
  if (others >= kMaxInstances) {
    return Exhausted(absl::StrCat("agent ", agent.probe_region, "/", agent.name, " is connected ",
                                  kMaxInstances,
                                  " times already, the most instances an identity may have"));
  }
  if (identity->instances.count(agent.instance) == 0 &&
      identity->instances.size() >= kMaxKnownInstances) {
    auto oldest = identity->instances.end();  // there is one: at most 3 others are connected
    for (auto it = identity->instances.begin(); it != identity->instances.end(); ++it) {
      if (it->second.connected()) continue;
      if (oldest == identity->instances.end() || it->second.seen < oldest->second.seen) oldest = it;
    }
    identity->instances.erase(oldest);
  }
  found = &identity->instances[agent.instance];
  found->seen = clock().Steady();
  v1::AgentInfo& info = found->info;
  info.set_probe_region(agent.probe_region);
  info.set_name(agent.name);
  info.set_instance(agent.instance);
  info.set_version(hello.version());
  info.set_connected(true);
  return grpc::Status::OK;
}

grpc::Status Hub::AdmitLocked(const Peer& peer, const v1::Hello& hello, const core::AgentId& agent,
                              const std::shared_ptr<Stream>& stream,
                              std::shared_ptr<Stream>& replaced) {
  Instance* instance = nullptr;
  if (grpc::Status status = FindOrAddInstanceLocked(agent, hello, instance); !status.ok())
    return status;
  replaced = std::exchange(instance->stream, stream);
  if (replaced != nullptr) CountLocked({agent.probe_region, agent.name}, "superseded", 1);
  v1::AgentInfo& info = instance->info;
  info.set_generation(hello.generation());
  info.set_peer(peer.address);
  info.set_certificate_expiry_ms(peer.authenticated ? absl::ToUnixMillis(peer.certificate_expiry)
                                                    : 0);
  relay_log_.Hello(agent, hello);
  return grpc::Status::OK;
}

void Hub::Leave(const Peer& peer, const core::AgentId& agent, const Stream* stream) {
  {
    MutexLock lock(mutex_);
    --streams_;
    if (peer.authenticated) {
      const auto identity = identities_.find({peer.region, peer.name});
      if (identity != identities_.end()) --identity->second.streams;
    }
    Instance* instance = FindLocked(agent);
    if (instance != nullptr && instance->stream.get() == stream) {
      instance->stream = nullptr;  // not the last reference: the stream itself is calling
      relay_log_.Gone(agent);
      PathEndedLocked(agent, *instance);
    }
  }
  left_.notify_all();
}

void Hub::PathEndedLocked(const core::AgentId& agent, Instance& instance) {
  instance.seen = clock().Steady();
  if (instance.stream == nullptr && !instance.relays.empty()) {
    instance.info.set_peer(absl::StrCat("by replica ", instance.relays.begin()->second));
  }
  if (instance.connected()) return;
  instance.info.set_connected(false);
  AnnounceLocked(agent, nullptr);
}

bool Hub::Deliver(AgentInput input) { return !stopping_ && options_.sink(std::move(input)); }

void Hub::AnnounceLocked(const core::AgentId& agent, std::shared_ptr<void> hold) {
  std::vector<std::shared_ptr<void>>& holds = announcements_[agent];
  if (hold != nullptr) holds.push_back(std::move(hold));
  if (std::exchange(flush_planned_, true)) return;
  timers_.After(absl::ZeroDuration(), [this] { FlushAnnouncements(); });
}

void Hub::FlushAnnouncements() {
  std::map<core::AgentId, std::vector<std::shared_ptr<void>>> todo;
  {
    MutexLock lock(mutex_);
    flush_planned_ = false;
    todo.swap(announcements_);
  }
  for (auto it = todo.begin(); it != todo.end(); ++it) {
    const core::AgentId& agent = it->first;
    AgentInput input;
    if (!it->second.empty())
      input.hold = std::make_shared<std::vector<std::shared_ptr<void>>>(it->second);
    {
      MutexLock lock(mutex_);
      const Instance* instance = FindLocked(agent);
      const bool open = instance != nullptr && instance->connected();
      const auto groups = table_->assignments.groups_of_region.find(agent.probe_region);
      if (groups == table_->assignments.groups_of_region.end()) continue;
      input.generation = table_->assignments.generation;
      for (const std::string& group : groups->second) {
        input.events.emplace_back(group, core::AgentStream{agent, open});
      }
    }
    if (Deliver(std::move(input))) continue;
    if (stopping_) return;
    // The mailbox is full: later, with what is true then, and with the holds of both.
    MutexLock lock(mutex_);
    for (; it != todo.end(); ++it) {
      std::vector<std::shared_ptr<void>>& holds = announcements_[it->first];
      holds.insert(holds.begin(), it->second.begin(), it->second.end());
    }
    if (!std::exchange(flush_planned_, true)) {
      timers_.After(kRetryAnnouncement, [this] { FlushAnnouncements(); });
    }
    return;
  }
}

std::vector<std::shared_ptr<Stream>> Hub::StreamsOfLocked(const std::string& probe_region) const {
  std::vector<std::shared_ptr<Stream>> streams;
  for (auto it = identities_.lower_bound({probe_region, ""});
       it != identities_.end() && it->first.first == probe_region; ++it) {
    for (const auto& [name, instance] : it->second.instances) {
      if (instance.stream != nullptr) streams.push_back(instance.stream);
    }
  }
  return streams;
}

void Hub::Stop() {
  std::vector<std::shared_ptr<Stream>> streams;
  std::vector<std::shared_ptr<RelaySession>> relays;
  {
    MutexLock lock(mutex_);
    stopping_ = true;
    for (const auto& [id, relay] : relays_) relays.push_back(relay);
    for (const auto& [key, identity] : identities_) {
      for (const auto& [name, instance] : identity.instances) {
        if (instance.stream != nullptr) streams.push_back(instance.stream);
      }
    }
  }
  const grpc::Status why(grpc::StatusCode::UNAVAILABLE, "the controller is stopping");
  for (const auto& stream : streams) stream->Close(why);
  for (const auto& relay : relays) relay->Close(why);
}

void Hub::AwaitEmpty() ABSL_NO_THREAD_SAFETY_ANALYSIS {
  {
    std::unique_lock<Mutex> lock(mutex_);
    left_.wait(lock, [this] { return streams_ == 0; });
  }
  timers_.Stop();
  announcements_.clear();
}

}  // namespace failover::intake
