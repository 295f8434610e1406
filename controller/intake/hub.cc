#include "controller/intake/hub.h"

#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/log.h"
#include "controller/intake/stream.h"
#include "google/protobuf/util/message_differencer.h"

namespace failover::intake {
namespace {

constexpr int kMaxStreams = 10'000;
constexpr int kMaxInstances = 4;  // connected ones of an identity (design.md §11)
constexpr int kMaxStreamsOfIdentity =
    2 * kMaxInstances;                     // with those about to be replaced or to say Hello
constexpr size_t kMaxKnownInstances = 16;  // connected or not
constexpr size_t kMaxIdentities = 4096;
constexpr double kConnectsPerSecond = 1, kConnectBurst = 16;
constexpr absl::Duration kRemembered = absl::Hours(24);
constexpr absl::Duration kRetryAnnouncement = absl::Milliseconds(100);
constexpr size_t kMaxTextBytes = 64;  // of a boot id or a version

grpc::Status Exhausted(std::string text) {
  return {grpc::StatusCode::RESOURCE_EXHAUSTED, std::move(text)};
}

bool IsInstanceId(const std::string& id) {
  return id.size() == 16 && std::all_of(id.begin(), id.end(), absl::ascii_isxdigit);
}

bool IsShortText(const std::string& text) {
  return text.size() <= kMaxTextBytes && std::all_of(text.begin(), text.end(), absl::ascii_isprint);
}

double ResultsPerSecond(const v1::Assignment& assignment) {
  double sum = 0;
  for (const v1::Target& target : assignment.targets()) {
    const double seconds = static_cast<double>(target.interval().seconds()) +
                           static_cast<double>(target.interval().nanos()) * 1e-9;
    if (seconds > 0) sum += 1 / seconds;
  }
  return sum;
}

std::shared_ptr<const Table> MakeTable(Assignments assignments, const Table& before) {
  auto table = std::make_shared<Table>();
  table->serial = before.serial + 1;
  for (const auto& [region, groups] : assignments.groups_of_region) table->regions[region];
  for (const auto& [region, assignment] : assignments.by_probe_region) {
    Table::Region& entry = table->regions[region];
    entry.results_per_second = ResultsPerSecond(assignment);
    if (!assignments.leading) continue;
    const auto old = before.regions.find(region);
    // The same object tells a stream that there is nothing new to send.
    if (old != before.regions.end() && old->second.message != nullptr &&
        google::protobuf::util::MessageDifferencer::Equals(old->second.message->assignment(),
                                                           assignment)) {
      entry.message = old->second.message;
      continue;
    }
    auto message = std::make_shared<v1::ControllerMessage>();
    *message->mutable_assignment() = assignment;
    entry.message = std::move(message);
  }
  table->assignments = std::move(assignments);
  table->assignments.by_probe_region.clear();  // kept once, in `regions`
  return table;
}

// Empty when the Hello is well-formed and says what the certificate says.
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

}  // namespace

std::string Table::RegionList() const {
  std::vector<std::string> names;
  for (const auto& [name, region] : regions) names.push_back(name);
  return names.empty() ? "none" : absl::StrJoin(names, ", ");
}

Hub::Hub(IntakeOptions options)
    : options_(std::move(options)), table_(std::make_shared<Table>()), timers_(*options_.clock) {}

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
      return entry.second.stream == nullptr && now - entry.second.seen > kRemembered;
    });
    const bool connected =
        std::any_of(it->second.instances.begin(), it->second.instances.end(),
                    [](const auto& entry) { return entry.second.stream != nullptr; });
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

void Hub::CountLocked(const Key& key, const std::string& kind, uint64_t n) {
  // What has no room of its own is still counted.
  const bool room = counters_.count(key) > 0 || counters_.size() < kMaxIdentities;
  counters_[room ? key : Key()][kind] += n;
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

grpc::Status Hub::AdmitLocked(const Peer& peer, const v1::Hello& hello, const core::AgentId& agent,
                              const std::shared_ptr<Stream>& stream,
                              std::shared_ptr<Stream>& replaced) {
  if (stopping_) return {grpc::StatusCode::UNAVAILABLE, "the controller is stopping"};
  Identity* identity = FindOrAddLocked({agent.probe_region, agent.name});
  if (identity == nullptr)
    return Exhausted(absl::StrCat("already ", kMaxIdentities, " agents are connected"));
  int others = 0;
  for (const auto& [id, instance] : identity->instances) {
    if (id != agent.instance && instance.stream != nullptr) ++others;
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
      if (it->second.stream != nullptr) continue;
      if (oldest == identity->instances.end() || it->second.seen < oldest->second.seen) oldest = it;
    }
    identity->instances.erase(oldest);
  }
  Instance& instance = identity->instances[agent.instance];
  replaced = std::exchange(instance.stream, stream);
  instance.seen = clock().Steady();
  if (replaced != nullptr) CountLocked({agent.probe_region, agent.name}, "superseded", 1);
  v1::AgentInfo& info = instance.info;
  info.set_probe_region(agent.probe_region);
  info.set_name(agent.name);
  info.set_instance(agent.instance);
  info.set_version(hello.version());
  info.set_connected(true);
  info.set_generation(hello.generation());
  info.set_peer(peer.address);
  info.set_certificate_expiry_ms(peer.authenticated ? absl::ToUnixMillis(peer.certificate_expiry)
                                                    : 0);
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
      instance->seen = clock().Steady();
      instance->info.set_connected(false);
      AnnounceLocked(agent, nullptr);
    }
  }
  left_.notify_all();
}

bool Hub::Deliver(AgentInput input) { return !stopping_ && options_.sink(std::move(input)); }

void Hub::Note(const core::AgentId& agent, const MessageNote& note) {
  MutexLock lock(mutex_);
  const Key key{agent.probe_region, agent.name};
  uint64_t refused = 0;
  if (note.accepted > 0) CountLocked(key, "accepted", note.accepted);
  if (note.replayed > 0) CountLocked(key, "replayed", note.replayed);
  if (note.slowed) CountLocked(key, "slowed", 1);
  for (const auto& [kind, n] : note.refused) {
    CountLocked(key, kind, n);
    refused += n;
  }
  Instance* instance = FindLocked(agent);
  if (instance == nullptr) return;
  instance->seen = clock().Steady();
  v1::AgentInfo& info = instance->info;
  info.set_results(info.results() + note.accepted + note.replayed);
  info.set_refused(info.refused() + refused);
  if (!note.refused_why.empty()) info.set_refused_why(note.refused_why);
  if (note.accepted + note.replayed > 0)
    info.set_last_report_ms(absl::ToUnixMillis(clock().Wall()));
  if (note.report_delay.has_value())
    info.set_report_delay_ms(absl::ToInt64Milliseconds(*note.report_delay));
}

void Hub::AssignmentSent(const core::AgentId& agent, uint64_t generation) {
  MutexLock lock(mutex_);
  if (Instance* instance = FindLocked(agent)) instance->info.set_generation(generation);
}

void Hub::CountRefusal(const Peer& peer, const std::string& instance_id, const std::string& kind,
                       const std::string& why) {
  {
    MutexLock lock(mutex_);
    const Key key{peer.region, peer.name};
    CountLocked(key, kind, 1);
    Identity* identity =
        !peer.name.empty() && IsInstanceId(instance_id) ? FindOrAddLocked(key) : nullptr;
    if (identity != nullptr && (identity->instances.count(instance_id) > 0 ||
                                identity->instances.size() < kMaxKnownInstances)) {
      Instance& instance = identity->instances[instance_id];
      instance.seen = clock().Steady();
      instance.info.set_probe_region(peer.region);
      instance.info.set_name(peer.name);
      instance.info.set_instance(instance_id);
      instance.info.set_peer(peer.address);
      if (peer.authenticated) {
        instance.info.set_certificate_expiry_ms(absl::ToUnixMillis(peer.certificate_expiry));
      }
      instance.info.set_refused(instance.info.refused() + 1);
      instance.info.set_refused_why(why);
    }
  }
  LogWarning("agent refused", {{"probe_region", peer.region},
                               {"agent", peer.name},
                               {"peer", peer.address},
                               {"kind", kind},
                               {"why", why}});
}

void Hub::AnnounceLocked(const core::AgentId& agent, std::shared_ptr<void> hold) {
  // A hold that is replaced belongs to a stream that is being closed.
  announcements_[agent] = std::move(hold);
  if (std::exchange(flush_planned_, true)) return;
  timers_.After(absl::ZeroDuration(), [this] { FlushAnnouncements(); });
}

void Hub::FlushAnnouncements() {
  std::map<core::AgentId, std::shared_ptr<void>> todo;
  {
    MutexLock lock(mutex_);
    flush_planned_ = false;
    todo.swap(announcements_);
  }
  for (auto it = todo.begin(); it != todo.end(); ++it) {
    const core::AgentId& agent = it->first;
    AgentInput input;
    input.hold = it->second;
    {
      MutexLock lock(mutex_);
      const Instance* instance = FindLocked(agent);
      const bool open = instance != nullptr && instance->stream != nullptr;
      const auto groups = table_->assignments.groups_of_region.find(agent.probe_region);
      if (groups == table_->assignments.groups_of_region.end()) continue;
      input.generation = table_->assignments.generation;
      for (const std::string& group : groups->second) {
        input.events.emplace_back(group, core::AgentStream{agent, open});
      }
    }
    if (Deliver(std::move(input))) continue;
    if (stopping_) return;
    // The mailbox is full: later, with what is true then. An event in between is newer and stays.
    MutexLock lock(mutex_);
    announcements_.insert(it, todo.end());
    if (!std::exchange(flush_planned_, true)) {
      timers_.After(kRetryAnnouncement, [this] { FlushAnnouncements(); });
    }
    return;
  }
}

void Hub::SetAssignments(Assignments assignments) {
  struct Change {
    std::shared_ptr<Stream> stream;
    bool configured;
    std::shared_ptr<const v1::ControllerMessage> message;
  };
  std::vector<Change> changes;
  std::shared_ptr<const Table> table;
  {
    MutexLock lock(mutex_);
    table_ = MakeTable(std::move(assignments), *table_);
    table = table_;
    for (auto& [key, identity] : identities_) {
      const auto region = table->regions.find(key.first);
      const bool configured = region != table->regions.end();
      for (auto& [name, instance] : identity.instances) {
        if (instance.stream == nullptr) continue;
        changes.push_back(
            {instance.stream, configured, configured ? region->second.message : nullptr});
        // Also those that were known before: a group may be new, or its core may have begun anew.
        const core::AgentId agent{key.first, key.second, name};
        if (announcements_.count(agent) == 0) AnnounceLocked(agent, nullptr);
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
}

void Hub::Burst(const std::string& probe_region, const std::vector<std::string>& targets) {
  std::vector<std::shared_ptr<Stream>> streams;
  {
    MutexLock lock(mutex_);
    if (!table_->assignments.leading) return;
    for (auto it = identities_.lower_bound({probe_region, ""});
         it != identities_.end() && it->first.first == probe_region; ++it) {
      for (const auto& [name, instance] : it->second.instances) {
        if (instance.stream != nullptr) streams.push_back(instance.stream);
      }
    }
  }
  for (const auto& stream : streams) stream->AskBurst(targets);
}

std::vector<v1::AgentInfo> Hub::Agents() const {
  std::vector<v1::AgentInfo> agents;
  MutexLock lock(mutex_);
  const SteadyTime now = clock().Steady();
  for (const auto& [key, identity] : identities_) {
    for (const auto& [name, instance] : identity.instances) {
      if (instance.stream == nullptr && now - instance.seen > kRemembered) continue;
      agents.push_back(instance.info);
      agents.back().set_current_generation(table_->assignments.generation);
    }
  }
  return agents;
}

std::vector<AgentCounters> Hub::Counters() const {
  std::vector<AgentCounters> counters;
  MutexLock lock(mutex_);
  for (const auto& [key, kinds] : counters_) {
    for (const auto& [kind, count] : kinds)
      counters.push_back({key.first, key.second, kind, count});
  }
  return counters;
}

void Hub::Stop() {
  std::vector<std::shared_ptr<Stream>> streams;
  {
    MutexLock lock(mutex_);
    stopping_ = true;
    for (const auto& [key, identity] : identities_) {
      for (const auto& [name, instance] : identity.instances) {
        if (instance.stream != nullptr) streams.push_back(instance.stream);
      }
    }
  }
  for (const auto& stream : streams)
    stream->Close({grpc::StatusCode::UNAVAILABLE, "the controller is stopping"});
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
