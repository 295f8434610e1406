#include "controller/replica.h"

#include <cstdlib>
#include <utility>

#include <unistd.h>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/status_macros.h"
#include "controller/kubernetes/config_map_store.h"

namespace failover {
namespace {

// What the configuration leaves open is what a pod finds.
absl::StatusOr<kubernetes::ApiServer> Complete(kubernetes::ApiServer server) {
  if (!server.url.empty()) return server;
  ASSIGN_OR_RETURN(kubernetes::ApiServer pod, kubernetes::ServerOfPod());
  if (!server.name_space.empty()) pod.name_space = server.name_space;
  if (!server.token_file.empty()) pod.token_file = server.token_file;
  if (!server.ca_file.empty()) pod.ca_file = server.ca_file;
  return pod;
}

// A history's kind as the reason of an event: "sync" → "Sync".
std::string Reason(absl::string_view kind) {
  std::string reason;
  for (absl::string_view word : absl::StrSplit(kind, '_', absl::SkipEmpty())) {
    reason += absl::ascii_toupper(static_cast<unsigned char>(word[0]));
    absl::StrAppend(&reason, word.substr(1));
  }
  return reason.empty() ? "Changed" : reason;
}

}  // namespace

std::string PodName() {
  const char* const pod = std::getenv("POD_NAME");
  if (pod != nullptr && *pod != '\0') return pod;
  char host[256] = {};
  return gethostname(host, sizeof(host) - 1) == 0 ? host : "controller";
}

absl::StatusOr<std::unique_ptr<Replica>> Replica::Create(const KubernetesSettings& settings,
                                                         metrics::Metrics& metrics) {
  KubernetesSettings complete = settings;
  ASSIGN_OR_RETURN(complete.server, Complete(settings.server));
  std::unique_ptr<Replica> replica(new Replica(std::move(complete), metrics));
  kubernetes::ConfigMapStoreOptions options;
  options.server = replica->settings_.server;
  options.prefix = replica->settings_.prefix;
  options.clock = &RealClock();
  options.stop = replica->stop_.get_token();
  options.observe = replica->observe_;
  options.may_write = [replica = replica.get()] { return replica->MayWrite(); };
  ASSIGN_OR_RETURN(replica->store_, kubernetes::OpenConfigMapStore(std::move(options)));
  return replica;
}

Replica::Replica(KubernetesSettings settings, metrics::Metrics& metrics)
    : settings_(std::move(settings)),
      metrics_(metrics),
      observe_(
          [&metrics](const std::string& method, const std::string& host, const std::string& code,
                     absl::Duration took) { metrics.KubernetesCall(method, host, code, took); }),
      identity_(kubernetes::NewIdentity(PodName())),
      events_({settings_.server, identity_, &RealClock(), nullptr, observe_}) {
  metrics_.UsesKubernetes(kubernetes::HostOf(settings_.server));
}

Replica::~Replica() { stop_.request_stop(); }

bool Replica::MayAct(uint64_t term) const {
  const kubernetes::LeaseKeeper* const keeper = at_work_;
  return keeper != nullptr && keeper->MayAct(term);
}

absl::Status Replica::MayWrite() const {
  const kubernetes::LeaseKeeper* const keeper = at_work_;
  if (keeper != nullptr) {
    const kubernetes::LeaseState state = keeper->State();
    if (state.leading && keeper->MayAct(state.term.number)) return absl::OkStatus();
  }
  return absl::UnavailableError("this replica does not lead, or cannot be sure that it still does");
}

runtime::Election Replica::Election() {
  runtime::Election election;
  election.may_act = [this](uint64_t term) { return MayAct(term); };
  election.require_renewal = [this] {
    if (kubernetes::LeaseKeeper* const keeper = at_work_) keeper->RequireRenewal();
  };
  election.leader = [this]() -> std::pair<std::string, std::string> {
    const metrics::ElectionState state = State();
    return {state.leader, state.problem};
  };
  return election;
}

void Replica::OnHistory(const std::string& group, const v1::HistoryEntry& entry) {
  kubernetes::ClusterEvent event;
  event.warning =
      entry.outcome() == "failed" || entry.outcome() == "refused" || entry.kind() == "outage";
  event.reason = Reason(entry.kind());
  event.action = event.reason;
  event.note = entry.text();
  event.about = kubernetes::ClusterEvent::kConfigMap;
  event.name = absl::StrCat(settings_.prefix, "-", group);
  events_.Publish(std::move(event));
}

void Replica::PublishLease(bool warning, const std::string& action, const std::string& note) {
  events_.Publish({warning, "LeaderElection", action, note, kubernetes::ClusterEvent::kLease,
                   settings_.lease_name});
}

kubernetes::LeaseCallbacks Replica::Callbacks(runtime::ControlLoop& loop) {
  kubernetes::LeaseCallbacks callbacks;
  callbacks.started = [this, &loop](const kubernetes::Term& term) {
    MutexLock lock(joining_);
    ++acquired_;
    PublishLease(false, "BecameLeader", absl::StrCat(identity_, " became leader"));
    loop.Lead(term.number);
  };
  callbacks.ended = [this, &loop](const kubernetes::Term& term, const std::string& why) {
    ++(leaving_ ? released_ : lost_);
    PublishLease(!leaving_, "StoppedLeading", absl::StrCat(identity_, " stopped leading: ", why));
    loop.StopLeading(term.number, why);
  };
  callbacks.new_leader = [](const std::string& identity) {
    LogInfo("leader election", {{"leader", identity}});
  };
  callbacks.broken = [](const absl::Status& why) {
    LogError("this replica can never lead", {{"error", why}});
  };
  return callbacks;
}

absl::Status Replica::Join(runtime::ControlLoop& loop) {
  MutexLock lock(joining_);
  kubernetes::LeaseKeeperOptions options;
  options.server = settings_.server;
  options.lease_name = settings_.lease_name;
  options.identity = identity_;
  options.times = settings_.times;
  options.clock = &RealClock();
  options.callbacks = Callbacks(loop);
  options.observe = observe_;
  options.on_write = [this](absl::Duration took, bool renewed) {
    metrics_.LeaseWrite(took, renewed);
  };
  ASSIGN_OR_RETURN(keeper_, kubernetes::LeaseKeeper::Start(std::move(options)));
  at_work_ = keeper_.get();
  kubernetes::WatchOptions watch;
  watch.server = settings_.server;
  watch.collection = kubernetes::ConfigMapsOfStore(settings_.server.name_space, settings_.prefix);
  watch.clock = &RealClock();
  watch.changed = [&loop] { loop.RecordsChanged(); };
  watch_ = std::make_unique<kubernetes::Watch>(std::move(watch));
  return absl::OkStatus();
}

void Replica::Leave() {
  leaving_ = true;
  watch_.reset();
  if (keeper_ != nullptr) keeper_->Release();
  at_work_ = nullptr;
  keeper_.reset();
}

metrics::ElectionState Replica::State() const {
  metrics::ElectionState state;
  state.name = settings_.lease_name;
  const kubernetes::LeaseKeeper* const keeper = at_work_;
  if (keeper == nullptr) return state;
  const kubernetes::LeaseState lease = keeper->State();
  state.leading = lease.leading;
  state.leader = lease.leader;
  state.slow_paths = lease.slow_paths;
  state.failed_attempts = lease.failed_attempts;
  if (!lease.problem.ok()) state.problem = std::string(lease.problem.message());
  state.acquired = acquired_;
  state.lost = lost_;
  state.released = released_;
  state.dropped_events = events_.dropped();
  if (lease.last_renewal != absl::InfinitePast())
    state.last_renewal_ms = absl::ToUnixMillis(lease.last_renewal);
  return state;
}

absl::Status Replica::Live() const {
  const kubernetes::LeaseKeeper* const keeper = at_work_;
  return keeper == nullptr ? absl::OkStatus() : keeper->Live();
}

}  // namespace failover
