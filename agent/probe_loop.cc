#include "agent/probe_loop.h"

#include <atomic>
#include <map>
#include <optional>
#include <set>
#include <thread>
#include <unordered_map>
#include <utility>

#include "agent/poller.h"
#include "agent/transfers.h"
#include "common/log.h"
#include "common/mutex.h"

namespace failover::agent {

// One assigned target. Probes in flight hold it, so that it outlives its assignment as long as they
// do.
struct TargetState {
  TargetState(std::shared_ptr<const Target> t, Now now)
      : target(std::move(t)), schedule(target->cadence, now) {}

  std::shared_ptr<const Target> target;
  TargetSchedule schedule;
  bool assigned = true;
  SteadyTime queued = SteadyTime::InfiniteFuture();  // its entry in the loop's queue
  std::optional<bool> good;                          // last result
  uint64_t jumps_told = 0;                           // clock jumps that a result of it has carried
  uint64_t late_told = 0, in_flight_told = 0;        // missed slots already counted
  SteadyTime warned = SteadyTime::InfinitePast();    // last log line about an abandoned probe
};

namespace {

constexpr absl::Duration kMaxWait = absl::Seconds(1);  // for last_turn
constexpr absl::Duration kJump = absl::Seconds(1);
constexpr absl::Duration kStall = absl::Seconds(2);
constexpr absl::Duration kWarnEvery = absl::Minutes(1);
constexpr int kStartsATurn = 32;  // then sockets are served again
constexpr size_t kMaxSequences = size_t{4} * kMaxTargets;
constexpr size_t kMaxBurstNames = kMaxTargets;

class Loop : public ProbeLoop {
 public:
  Loop(Options options, std::unique_ptr<Poller> poller)
      : options_(std::move(options)),
        clock_(*options_.clock),
        poller_(std::move(poller)),
        resolver_(options_.resolver, *poller_, clock_),
        transfers_(std::in_place, *poller_, clock_,
                   [this](void* probe, CURLcode code) {
                     OnTransferDone(*static_cast<Probe*>(probe), code);
                   }),
        last_(clock_.Read()),
        wake_at_(last_.steady),
        last_turn_(absl::ToInt64Nanoseconds(last_.steady.since_epoch)) {}

  ~Loop() override {
    thread_.request_stop();
    poller_->Wake();
    if (thread_.joinable()) thread_.join();
    transfers_.reset();  // its callbacks reach into probes
  }

  void Run() {
    thread_ = std::jthread([this](std::stop_token stop) {
      while (!stop.stop_requested()) Turn();
    });
  }

  void SetTargets(std::shared_ptr<const PreparedAssignment> assignment) override {
    {
      MutexLock lock(mutex_);
      new_assignment_ = std::move(assignment);
    }
    poller_->Wake();
  }

  void Burst(std::vector<std::string> targets) override {
    {
      MutexLock lock(mutex_);
      for (std::string& id : targets) {
        if (bursts_.size() < kMaxBurstNames) bursts_.insert(std::move(id));
      }
    }
    poller_->Wake();
  }

  SteadyTime last_turn() const override {
    return {absl::Nanoseconds(last_turn_.load(std::memory_order_relaxed))};
  }

 private:
  void Turn();
  void CheckClocks(Now now);
  void TakeOrders(Now now);
  void Assign(const PreparedAssignment& assignment, Now now);
  bool StartDue();
  void Queue(const std::shared_ptr<TargetState>& state);
  void Begin(const std::shared_ptr<TargetState>& state, const ProbeStart& start, SteadyTime now);
  void OnResolved(Probe& probe, Resolution resolution);
  void BeginTransfer(Probe& probe);
  void OnTransferDone(Probe& probe, CURLcode code);
  void Finish(Probe& probe);
  void Abandon(Probe& probe, SteadyTime now);
  void CountMissed(TargetState& state);
  uint64_t NextSequence(const std::string& id);
  const std::string& CaFileOf(const Target& target) const {
    return target.ca_file.empty() ? options_.probes.ca_file : target.ca_file;
  }

  const Options options_;
  Clock& clock_;
  const std::unique_ptr<Poller> poller_;
  // Of the loop's thread, in this order: the resolver and libcurl call back into probes.
  std::map<std::string, std::shared_ptr<TargetState>> targets_;
  std::set<std::pair<SteadyTime, std::shared_ptr<TargetState>>> queue_;
  std::unordered_map<const Probe*, std::unique_ptr<Probe>> probes_;
  Resolver resolver_;
  std::optional<Transfers> transfers_;
  std::unordered_map<std::string, uint64_t> sequences_;
  Now last_;
  SteadyTime wake_at_;
  uint64_t jumps_ = 0;

  std::atomic<int64_t> last_turn_;
  Mutex mutex_;
  std::shared_ptr<const PreparedAssignment> new_assignment_ ABSL_GUARDED_BY(mutex_);
  std::set<std::string> bursts_ ABSL_GUARDED_BY(mutex_);
  std::jthread thread_;
};

void Loop::Turn() {
  const Now now = clock_.Read();
  last_turn_.store(absl::ToInt64Nanoseconds(now.steady.since_epoch), std::memory_order_relaxed);
  CheckClocks(now);
  TakeOrders(now);
  const bool more = StartDue();
  resolver_.Process();
  transfers_->Process();
  SteadyTime wake = std::min(resolver_.next(), transfers_->next());
  if (more) wake = SteadyTime::InfinitePast();
  if (!queue_.empty()) wake = std::min(wake, queue_.begin()->first);
  const SteadyTime end = clock_.Steady();
  wake_at_ = std::clamp(wake, end, end + kMaxWait);
  poller_->Wait(wake_at_ - end);
}

// design.md §9: a step of the wall clock, a suspended machine or a starved process. Results of such
// a moment are marked; the controller does not decide on them.
void Loop::CheckClocks(Now now) {
  const absl::Duration drift = (now.wall - last_.wall) - (now.steady - last_.steady);
  const absl::Duration late = now.steady - wake_at_;
  last_ = now;
  if (absl::AbsDuration(drift) <= kJump && late <= kStall) return;
  ++jumps_;
  options_.metrics->ClockJumped();
  LogWarning("clock jumped or the probe loop stalled",
             {{"clocks_differ_by", drift}, {"late_by", late}});
}

void Loop::TakeOrders(Now now) {
  std::shared_ptr<const PreparedAssignment> assignment;
  std::set<std::string> bursts;
  {
    MutexLock lock(mutex_);
    assignment = std::exchange(new_assignment_, nullptr);
    bursts = std::exchange(bursts_, {});
  }
  if (assignment != nullptr) Assign(*assignment, now);
  for (const std::string& id : bursts) {
    const auto found = targets_.find(id);
    if (found == targets_.end()) continue;
    found->second->schedule.RequestBurst(now.steady);
    Queue(found->second);
  }
}

void Loop::Assign(const PreparedAssignment& assignment, Now now) {
  std::map<std::string, std::shared_ptr<TargetState>> targets;
  std::vector<std::string> ca_files;
  for (const auto& target : assignment.targets) {
    std::shared_ptr<TargetState>& state = targets[target->id];
    ca_files.push_back(CaFileOf(*target));
    if (const auto old = targets_.find(target->id); old != targets_.end()) {
      state = old->second;
      state->schedule.Change(target->cadence, now);
      if (state->target->definition != target->definition) {
        state->schedule.Forget();
        state->good.reset();
      }
      state->target = target;
    } else {
      state = std::make_shared<TargetState>(target, now);
      state->jumps_told = jumps_;
    }
  }
  for (const auto& [id, state] : targets_) {
    if (targets.count(id) == 0) state->assigned = false;
  }
  queue_.clear();
  targets_ = std::move(targets);
  for (const auto& [id, state] : targets_) {
    state->queued = SteadyTime::InfiniteFuture();
    Queue(state);
  }
  transfers_->KeepOnly(ca_files);
  if (sequences_.size() > kMaxSequences) {
    std::erase_if(sequences_,
                  [this](const auto& entry) { return targets_.count(entry.first) == 0; });
  }
}

void Loop::Queue(const std::shared_ptr<TargetState>& state) {
  if (!state->assigned) return;
  const SteadyTime next = state->schedule.next();
  if (state->queued == next) return;
  queue_.erase({state->queued, state});
  state->queued = next;
  queue_.emplace(next, state);
}

// True when more is due than one turn may start.
bool Loop::StartDue() {
  for (int started = 0; !queue_.empty();) {
    const SteadyTime now = clock_.Steady();
    const std::shared_ptr<TargetState> state = queue_.begin()->second;
    if (state->queued > now) return false;
    if (started == kStartsATurn) return true;
    if (const std::optional<ProbeStart> start = state->schedule.TakeDue(now)) {
      ++started;
      Begin(state, *start, now);
    }
    CountMissed(*state);
    Queue(state);
  }
  return false;
}

void Loop::CountMissed(TargetState& state) {
  const auto tell = [this](AgentMetrics::Missed reason, uint64_t count, uint64_t& told) {
    if (count > told) options_.metrics->SlotsMissed(reason, count - told);
    told = count;
  };
  tell(AgentMetrics::Missed::kLate, state.schedule.missed_late(), state.late_told);
  tell(AgentMetrics::Missed::kInFlight, state.schedule.missed_in_flight(), state.in_flight_told);
}

void Loop::Begin(const std::shared_ptr<TargetState>& state, const ProbeStart& start,
                 SteadyTime now) {
  options_.metrics->Started(now - start.scheduled);
  auto owned = std::make_unique<Probe>(state->target, start, options_.probes, clock_);
  Probe& probe = *owned;
  probe.state = state;
  probe.jumps = jumps_;
  probes_.emplace(&probe, std::move(owned));
  if (const std::optional<IpAddress> literal = ParseIp(probe.target->dial_host)) {
    Resolution resolution;
    resolution.addresses.push_back(*literal);
    return OnResolved(probe, std::move(resolution));
  }
  resolver_.Resolve(
      probe.target->dial_host, probe.deadline(),
      [this, &probe](Resolution resolution) { OnResolved(probe, std::move(resolution)); });
}

void Loop::OnResolved(Probe& probe, Resolution resolution) {
  const bool resolved = resolution.status.ok();
  probe.SetResolution(std::move(resolution));
  if (resolved) return BeginTransfer(probe);
  probe.CompleteUnresolved();
  Finish(probe);
}

void Loop::BeginTransfer(Probe& probe) {
  const std::string& ca_file = CaFileOf(*probe.target);
  CURL* easy = transfers_->Take(ca_file);
  if (easy != nullptr) {
    if (probe.Attach(easy) && transfers_->Begin(ca_file, easy)) return;
    transfers_->Return(ca_file, easy);
  }
  probe.seen.error = "libcurl has no memory for the probe";
  probe.AbandonLocally();
  Finish(probe);
}

void Loop::OnTransferDone(Probe& probe, CURLcode code) {
  probe.Complete(code);
  Finish(probe);
}

void Loop::Finish(Probe& probe) {
  const auto found = probes_.find(&probe);
  const std::unique_ptr<Probe> owned = std::move(found->second);
  probes_.erase(found);
  const std::shared_ptr<TargetState> state = probe.state;
  const SteadyTime now = clock_.Steady();
  if (probe.abandoned()[0] != '\0') {
    Abandon(probe, now);
  } else {
    state->schedule.OnResult(probe.start, probe.seen.success, now);
    if (state->assigned) {
      probe.seen.clock_jumped = probe.jumps != jumps_ || state->jumps_told != jumps_;
      state->jumps_told = jumps_;
      KeptResult kept = BuildResult(*probe.target, probe.start, probe.seen);
      kept.result.set_sequence(NextSequence(probe.target->id));
      options_.metrics->Result(*probe.target, kept.result, clock_.Wall());
      const bool changed = state->good != probe.seen.success;
      if (!probe.seen.success)
        LogDebug("probe failed", {{"target", probe.target->id}, {"error", probe.seen.error}});
      state->good = probe.seen.success;
      options_.on_result(std::move(kept), changed);
    }
  }
  Queue(state);
}

void Loop::Abandon(Probe& probe, SteadyTime now) {
  TargetState& state = *probe.state;
  state.schedule.OnAbandoned(probe.start, now);
  const bool refused = absl::string_view(probe.abandoned()) == "address_not_allowed";
  options_.metrics->Dropped(
      refused ? AgentMetrics::Drop::kAddressNotAllowed : AgentMetrics::Drop::kLocalError, 1);
  if (now - state.warned < kWarnEvery) return;
  state.warned = now;
  LogError(
      "probe not reported: this agent could not or may not make it",
      {{"target", probe.target->id}, {"reason", probe.abandoned()}, {"error", probe.seen.error}});
}

uint64_t Loop::NextSequence(const std::string& id) { return ++sequences_[id]; }

}  // namespace

absl::StatusOr<std::unique_ptr<ProbeLoop>> ProbeLoop::Start(Options options) {
  static const CURLcode initialised = curl_global_init(CURL_GLOBAL_DEFAULT);
  if (initialised != CURLE_OK) return absl::InternalError("libcurl cannot start");
  absl::StatusOr<std::unique_ptr<Poller>> poller = Poller::Create();
  if (!poller.ok()) return poller.status();
  auto loop = std::make_unique<Loop>(std::move(options), *std::move(poller));
  loop->Run();
  return loop;
}

}  // namespace failover::agent
