// What the hub counts and shows of agents.
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/log.h"
#include "controller/intake/hub.h"

namespace failover::intake {

void Hub::CountLocked(const Key& key, const std::string& kind, uint64_t n) {
  // What has no room of its own is still counted.
  const bool room = counters_.count(key) > 0 || counters_.size() < kMaxIdentities;
  counters_[room ? key : Key()][kind] += n;
}

void Hub::ObserveLocked(const std::string& probe_region, absl::Duration delay) {
  ReportDelays& delays = delays_[probe_region];
  const double seconds = absl::ToDoubleSeconds(delay);
  const auto& bounds = ReportDelays::kBounds;
  const auto bucket = std::lower_bound(bounds.begin(), bounds.end(), seconds);
  ++delays.counts[static_cast<size_t>(bucket - bounds.begin())];
  delays.sum += seconds;
}

void Hub::Note(const core::AgentId& agent, const MessageNote& note) {
  MutexLock lock(mutex_);
  const Key key{agent.probe_region, agent.name};
  uint64_t refused = 0;
  const uint64_t taken = note.accepted + note.replayed;
  if (note.relayed) {
    if (taken > 0) CountLocked(key, "relayed", taken);
  } else {
    if (note.accepted > 0) CountLocked(key, "accepted", note.accepted);
    if (note.replayed > 0) CountLocked(key, "replayed", note.replayed);
  }
  if (note.slowed) CountLocked(key, "slowed", 1);
  for (const auto& [kind, n] : note.refused) {
    CountLocked(key, kind, n);
    refused += n;
  }
  Instance* instance = FindLocked(agent);
  if (instance == nullptr) return;
  instance->seen = clock().Steady();
  v1::AgentInfo& info = instance->info;
  info.set_refused(info.refused() + refused);
  if (!note.refused_why.empty()) info.set_refused_why(note.refused_why);
  if (taken > 0) info.set_last_report_ms(absl::ToUnixMillis(clock().Wall()));
  if (note.relayed && instance->stream != nullptr) return;  // said by its own stream too
  info.set_results(info.results() + taken);
  if (note.clock_skew.has_value())
    info.set_clock_skew_ms(absl::ToInt64Milliseconds(*note.clock_skew));
  if (!note.report_delay.has_value()) return;
  info.set_report_delay_ms(absl::ToInt64Milliseconds(*note.report_delay));
  ObserveLocked(agent.probe_region, *note.report_delay);
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
      if (!peer.relayed || !instance.connected()) instance.info.set_peer(peer.address);
      if (peer.authenticated && !peer.relayed) {
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

std::vector<v1::AgentInfo> Hub::Agents() const {
  std::vector<v1::AgentInfo> agents;
  MutexLock lock(mutex_);
  const SteadyTime now = clock().Steady();
  for (const auto& [key, identity] : identities_) {
    for (const auto& [name, instance] : identity.instances) {
      if (!instance.connected() && now - instance.seen > kRemembered) continue;
      agents.push_back(instance.info);
      agents.back().set_current_generation(table_->assignments.generation);
    }
  }
  return agents;
}

std::map<std::string, ReportDelays> Hub::Delays() const {
  MutexLock lock(mutex_);
  return delays_;
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

}  // namespace failover::intake
