#include "controller/runtime/control_loop.h"

#include <algorithm>
#include <atomic>
#include <future>
#include <map>
#include <set>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/digest.h"
#include "common/log.h"
#include "common/mailbox.h"
#include "controller/core/context.h"
#include "controller/runtime/assignments.h"
#include "controller/runtime/group_runner.h"
#include "controller/runtime/lane.h"
#include "controller/runtime/operator_calls.h"
#include "controller/runtime/saver.h"
#include "google/protobuf/util/message_differencer.h"

namespace failover::runtime {
namespace {

constexpr size_t kMailbox = 16384;
constexpr int kWorkThreads = 4;
constexpr absl::Duration kWarm = absl::Seconds(20);
constexpr absl::Duration kTurn =
    absl::Milliseconds(200);                       // the core thread turns at least so often
constexpr absl::Duration kGap = absl::Seconds(2);  // design.md §9
constexpr absl::Duration kClocksDisagree = absl::Seconds(1);
constexpr absl::Duration kLoadAgain = absl::Seconds(10);
constexpr absl::Duration kSnapshotWait = absl::Seconds(1);
constexpr char kProcessRecord[] =
    "@controller";  // holds the term of assignments; no group can have this name

template <typename... Types>
bool HoldsAny(const core::Command& command) {
  return (std::holds_alternative<Types>(command) || ...);
}

// Whether an index in a probe result means the same by both.
bool SameProbes(const v1::GroupSpec& a, const v1::GroupSpec& b) {
  const auto probed = [](const v1::GroupSpec& spec) {
    v1::GroupSpec part;
    *part.mutable_services() = spec.services();
    *part.mutable_probes() = spec.probes();
    *part.mutable_probe_regions() = spec.probe_regions();
    *part.mutable_control_targets() = spec.control_targets();
    return part;
  };
  return google::protobuf::util::MessageDifferencer::Equals(probed(a), probed(b));
}

bool IsTraffic(const core::Command& command) {
  return HoldsAny<core::ReadTraffic, core::SetEndpoint, core::CheckSwitchPath>(command);
}

// Lower goes first: switches before reads; what keeps an operation going before what may take long.
int PriorityOf(const core::Command& command) {
  if (HoldsAny<core::SetEndpoint>(command)) return 0;
  if (HoldsAny<core::ReadTraffic, core::PollOperation, core::StartRestore, core::WriteFence>(
          command))
    return 1;
  return HoldsAny<core::ReadFingerprint, core::InspectOperation, core::CheckSwitchPath>(command)
             ? Lane::kLong
             : 2;
}

// Members belong to the core thread unless they say otherwise.
class Loop : public ControlLoop {
 public:
  explicit Loop(ControlLoopOptions options)
      : options_(std::move(options)),
        azure_(options_.settings.azure, *options_.clock,
               [metrics = options_.metrics](const std::string& api, const std::string& operation,
                                            const std::string& code, absl::Duration took) {
                 if (metrics != nullptr) metrics->AzureCall(api, operation, code, took);
               }),
        mailbox_(kMailbox) {}
  ~Loop() override { Stop(); }

  bool Receive(intake::AgentInput input) override {
    auto shared = std::make_shared<intake::AgentInput>(std::move(input));
    const bool taken = mailbox_.TryPut([this, shared] {
      for (const auto& [group, event] : shared->events) {
        GroupRunner* runner = Find(group);
        if (runner != nullptr && MayJudge(*runner, event, shared->generation))
          Handle(*runner, event);
      }
    });
    if (!taken) refused_.fetch_add(1);
    return taken;
  }

  void Start(intake::Intake* intake) override;
  void Stop() override;
  void Reconfigure(Settings settings, std::function<void(absl::Status)> done) override {
    auto shared = std::make_shared<Settings>(std::move(settings));
    mailbox_.Put([this, shared, done = std::move(done)] { done(PutInForce(std::move(*shared))); });
  }
  void SetConfigError(std::string error) override {
    mailbox_.Put([this, error = std::move(error)] { config_error_ = error; });
  }
  operators::Handlers OperatorHandlers() override;
  metrics::Snapshot Snapshot() override;
  bool started() const override { return started_.load(); }
  absl::Duration Idle() const override {
    return options_.clock->Steady() - SteadyTime{absl::Nanoseconds(last_turn_.load())};
  }

 private:
  void Run(std::stop_token stop);
  void CheckClocks();
  void Turn();
  Now Read() const { return options_.clock->Read(); }
  bool Locate(const std::string& group, absl::Status& error, GroupRunner*& runner);
  v1::GetStatusResponse StatusNow(const std::string& group);
  void Diff(const v1::SyncDiffRequest& request, operators::Done<v1::SyncDiffResponse> done);
  void Order(const v1::OrderRequest& request, const std::string& who,
             operators::Done<v1::OrderResponse> done);
  GroupRunner* Find(const std::string& group) {
    const auto found = groups_.find(group);
    return found == groups_.end() ? nullptr : found->second.get();
  }
  // Null also when the runner is no more the one of that life.
  GroupRunner* Find(const std::string& group, uint64_t life) {
    GroupRunner* runner = Find(group);
    return runner != nullptr && runner->life() == life ? runner : nullptr;
  }
  bool MayJudge(const GroupRunner& runner, const core::Event& event, uint64_t generation) const;
  void Handle(GroupRunner& runner, const core::Event& event);
  // What a save led to belongs to the life before when the group is being loaded.
  void HandleSaved(const std::string& group, const core::Event& event);
  void Arm(const GroupRunner& runner);
  void AddGroup(GroupSettings settings);
  void BeginGroup(const std::string& group);
  void Began(const std::string& group, absl::StatusOr<v1::GroupRecord> record);
  void BeginProcess();
  void ShareGroups();
  absl::Status PutInForce(Settings settings);
  void UpdateAssignments();
  void CarryOut(const GroupRunner& runner, const core::Command& command,
                std::optional<SteadyTime> decided);
  GroupRunner::Outlets Outlets();
  Lane::MakeWorker MakeWorker();

  ControlLoopOptions options_;
  azure::AzureShared azure_;
  Mailbox<std::function<void()>> mailbox_;
  std::atomic<uint64_t> refused_{0};
  std::atomic<bool> started_{false};
  std::atomic<int64_t> last_turn_{0};

  intake::Intake* intake_ = nullptr;
  std::map<std::string, std::unique_ptr<GroupRunner>> groups_;
  std::set<std::pair<SteadyTime, std::string>> wakes_;
  std::map<std::string, SteadyTime> armed_;
  std::map<std::string, SteadyTime> load_again_;
  std::set<std::string> loading_;
  std::map<std::string, GroupFacts> facts_;  // what agents were last told
  // Group → first assignment made of what it probes now; results by an older one name other things
  // by the same index.
  std::map<std::string, uint64_t> judged_from_;
  uint64_t term_ = 0, assignment_generation_ = 0, lives_ = 0;
  bool facts_changed_ = false;
  std::string config_error_;
  bool process_record_ok_ = true;
  std::optional<Now> previous_;

  Mutex snapshot_mutex_;
  metrics::Snapshot snapshot_ ABSL_GUARDED_BY(snapshot_mutex_);

  std::unique_ptr<Saver> saver_;
  std::unique_ptr<Lane> traffic_lane_, work_lane_;
  std::jthread thread_;
};

Lane::MakeWorker Loop::MakeWorker() {
  return [this](std::stop_token stop) {
    return std::make_unique<azure::Worker>(azure_, options_.make_http(stop), stop);
  };
}

void Loop::Start(intake::Intake* intake) {
  intake_ = intake;
  azure_.SetVerifyReadsPerSecond(options_.settings.verify_reads_per_second);
  SaverEvents events;
  events.saved = [this](const v1::GroupRecord& record, uint64_t version, absl::Duration took) {
    if (options_.metrics != nullptr) {
      options_.metrics->StoreWrite(took, true);
      options_.metrics->RecordIs(record);
    }
    mailbox_.Put(
        [this, group = record.name(), version] { HandleSaved(group, core::Persisted{version}); });
  };
  events.failed = [this](const std::string& group, const absl::Status& error) {
    if (options_.metrics != nullptr) options_.metrics->StoreWrite(absl::ZeroDuration(), false);
    mailbox_.Put([this, group, text = std::string(error.message())] {
      HandleSaved(group, core::StoreFailed{text});
    });
  };
  events.overtaken = [this](const std::string& group) {
    mailbox_.Put([this, group] {
      GroupRunner* runner = Find(group);
      if (runner == nullptr || loading_.contains(group)) return;
      LogError("somebody else wrote a group's record: loading it again",
               {{"failover_group", group}});
      Handle(*runner, core::LeadershipLost{});
      BeginGroup(group);
    });
  };
  saver_ = std::make_unique<Saver>(*options_.store, *options_.clock, std::move(events));
  traffic_lane_ = std::make_unique<Lane>(1, MakeWorker(), kWarm);
  work_lane_ = std::make_unique<Lane>(kWorkThreads, MakeWorker(), absl::InfiniteDuration());
  last_turn_ = absl::ToInt64Nanoseconds(options_.clock->Steady().since_epoch);
  mailbox_.Put([this] {
    for (GroupSettings& group : options_.settings.groups) AddGroup(group);
    BeginProcess();
  });
  thread_ = std::jthread([this](std::stop_token stop) { Run(std::move(stop)); });
}

void Loop::Stop() {
  thread_.request_stop();
  mailbox_.Close();  // wakes the core thread; what is in it holds agents' streams until this object
                     // goes
  if (thread_.joinable()) thread_.join();
  traffic_lane_.reset();
  work_lane_.reset();
  saver_.reset();
}

void Loop::Run(std::stop_token stop) {
  while (!stop.stop_requested()) {
    const SteadyTime now = options_.clock->Steady();
    SteadyTime due = now + kTurn;
    if (!wakes_.empty()) due = std::max(now, std::min(due, wakes_.begin()->first));
    std::optional<std::function<void()>> item = mailbox_.Take(due - now);
    CheckClocks();
    for (int i = 0; item.has_value(); ++i) {
      (*item)();
      item = i < 256 ? mailbox_.Take(absl::ZeroDuration()) : std::nullopt;
    }
    Turn();
  }
}

// A process that was stopped, or whose clock was set, must not decide on what it knew before
// (design.md §9). Measured from turn to turn, since a process can be stopped anywhere, not only
// while it waits.
void Loop::CheckClocks() {
  const Now now = Read();
  const Now before = previous_.value_or(now);
  const absl::Duration late = now.steady - before.steady - kTurn;
  const absl::Duration moved =
      absl::AbsDuration((now.wall - before.wall) - (now.steady - before.steady));
  previous_ = now;
  last_turn_ = absl::ToInt64Nanoseconds(now.steady.since_epoch);
  if (late <= kGap && moved <= kClocksDisagree) return;
  LogWarning("clock gap", {{"late", late}, {"wall_against_boot", moved}});
  if (options_.metrics != nullptr) options_.metrics->ClockGap();
  for (auto& [name, runner] : groups_) Handle(*runner, core::ClockGap{});
}

void Loop::Turn() {
  const SteadyTime now = options_.clock->Steady();
  while (!wakes_.empty() && wakes_.begin()->first <= now) {
    const std::string group = wakes_.begin()->second;
    wakes_.erase(wakes_.begin());
    armed_.erase(group);
    if (GroupRunner* runner = Find(group)) Handle(*runner, core::Tick{});
  }
  for (auto it = load_again_.begin(); it != load_again_.end();) {
    const std::string group = it->first;
    const bool due = it->second <= now;
    it = due ? load_again_.erase(it) : std::next(it);
    if (due && group == kProcessRecord) BeginProcess();
    if (due && group != kProcessRecord && Find(group) != nullptr) BeginGroup(group);
  }
  for (auto it = groups_.begin(); it != groups_.end();) {
    const bool gone = it->second->removed() && !loading_.contains(it->first) && it->second->Quiet();
    if (gone) {
      LogInfo("a removed group has come to rest; its state is kept",
              {{"failover_group", it->first}});
      facts_.erase(it->first);
      judged_from_.erase(it->first);
    }
    it = gone ? groups_.erase(it) : std::next(it);
  }
  if (facts_changed_) UpdateAssignments();
}

void Loop::Arm(const GroupRunner& runner) {
  const auto armed = armed_.find(runner.name());
  if (armed != armed_.end()) wakes_.erase({armed->second, runner.name()});
  armed_[runner.name()] = runner.wake();
  wakes_.insert({runner.wake(), runner.name()});
}

// A removed group gets no more votes: it decides nothing new.
bool Loop::MayJudge(const GroupRunner& runner, const core::Event& event,
                    uint64_t generation) const {
  if (!std::holds_alternative<core::ProbeResults>(event)) return true;
  const auto from = judged_from_.find(runner.name());
  return !runner.removed() && (from == judged_from_.end() || generation >= from->second);
}

void Loop::HandleSaved(const std::string& group, const core::Event& event) {
  GroupRunner* runner = Find(group);
  if (runner != nullptr && !loading_.contains(group)) Handle(*runner, event);
}

void Loop::Handle(GroupRunner& runner, const core::Event& event) {
  const Now now = Read();
  runner.Handle(event, now);
  if (options_.metrics != nullptr)
    options_.metrics->CoreStep(options_.clock->Steady() - now.steady);
  Arm(runner);
  const core::GroupState& state = runner.state();
  GroupFacts facts;
  for (int i = 0; i < state.record.services_size(); ++i) {
    if (state.record.services(i).role() == v1::ROLE_ACTIVE) facts.active = i;
    facts.gateway_urls.push_back(state.record.services(i).gateway_url());
  }
  GroupFacts& told = facts_[runner.name()];
  if (facts.active == told.active && facts.gateway_urls == told.gateway_urls) return;
  told = std::move(facts);
  facts_changed_ = true;
}

GroupRunner::Outlets Loop::Outlets() {
  return {[this](const std::string& group, std::shared_ptr<v1::GroupRecord> record,
                 uint64_t version) { saver_->Save(group, std::move(record), version); },
          [this](const GroupRunner& runner, const core::Command& command,
                 std::optional<SteadyTime> decided) { CarryOut(runner, command, decided); }};
}

void Loop::CarryOut(const GroupRunner& runner, const core::Command& command,
                    std::optional<SteadyTime> decided) {
  if (const auto* burst = std::get_if<core::RequestBurst>(&command)) {
    const core::GroupConfig& config = runner.settings().core;
    const std::string target = absl::StrCat(config.name, "/", config.services[burst->service].name,
                                            "/", config.decider().name);
    for (const int region : burst->probe_regions)
      intake_->Burst(config.probe_regions[region], {target});
    return;
  }
  Lane& lane = IsTraffic(command) ? *traffic_lane_ : *work_lane_;
  lane.Put(PriorityOf(command), [this, group = runner.name(), life = runner.life(), command,
                                 decided](azure::Worker& worker) {
    if (decided.has_value() && options_.metrics != nullptr)
      options_.metrics->SwitchLatency(options_.clock->Steady() - *decided);
    std::optional<core::Event> event = worker.CarryOut(group, command);
    if (!event.has_value()) return;
    mailbox_.Put([this, group, life, event = *std::move(event)] {
      if (GroupRunner* found = Find(group, life)) Handle(*found, event);
    });
  });
}

// ---- groups ----

void Loop::AddGroup(GroupSettings settings) {
  const std::string name = settings.core.name;
  groups_[name] = std::make_unique<GroupRunner>(std::move(settings), Outlets(), ++lives_);
  BeginGroup(name);
}

void Loop::BeginGroup(const std::string& group) {
  GroupRunner* runner = Find(group);
  if (runner == nullptr || loading_.contains(group)) return;
  loading_.insert(group);
  const core::GroupConfig& config = runner->settings().core;
  uint64_t seed = 0;
  for (const char c : RandomHex(8)) seed = seed * 31 + static_cast<unsigned char>(c);
  saver_->Begin(
      group, core::NewRecord(config, RandomHex(8), RandomHex(32), seed),
      [config](const v1::GroupRecord& record) { return core::RebindingProblem(config, record); },
      [this, group](absl::StatusOr<v1::GroupRecord> record) {
        if (record.ok() && options_.metrics != nullptr) options_.metrics->RecordIs(*record);
        auto shared = std::make_shared<absl::StatusOr<v1::GroupRecord>>(std::move(record));
        mailbox_.Put([this, group, shared] { Began(group, std::move(*shared)); });
      });
}

void Loop::Began(const std::string& group, absl::StatusOr<v1::GroupRecord> record) {
  loading_.erase(group);
  GroupRunner* runner = Find(group);
  if (runner != nullptr && record.ok()) {  // the configuration may have changed while it was loaded
    std::string why = core::RebindingProblem(runner->settings().core, *record);
    if (!why.empty()) record = absl::FailedPreconditionError(std::move(why));
  }
  if (runner != nullptr && record.ok()) {
    runner->Load(*std::move(record));
    ShareGroups();  // before anything is sent for the group
    Handle(*runner, core::LeadershipGained{});
    facts_changed_ = true;  // agents' work is that of groups that were loaded
  } else if (runner != nullptr) {
    if (runner->broken() != record.status().message()) {
      LogError("a group cannot be worked on; its record is kept as it is",
               {{"failover_group", group}, {"error", record.status().message()}});
    }
    runner->SetBroken(std::string(record.status().message()));
    load_again_[group] = options_.clock->Steady() + kLoadAgain;
  }
  if (loading_.empty()) started_ = true;
}

// The term of this process orders assignments of successive processes (agent.proto).
void Loop::BeginProcess() {
  v1::GroupRecord fresh;
  fresh.set_schema_version(1);
  fresh.set_name(kProcessRecord);
  loading_.insert(kProcessRecord);
  saver_->Begin(
      kProcessRecord, fresh, [](const v1::GroupRecord&) { return ""; },
      [this](absl::StatusOr<v1::GroupRecord> record) {
        auto shared = std::make_shared<absl::StatusOr<v1::GroupRecord>>(std::move(record));
        mailbox_.Put([this, shared] {
          loading_.erase(kProcessRecord);
          if (shared->ok()) {
            term_ = (*shared)->term();
            process_record_ok_ = true;
            LogInfo("this controller leads", {{"term", term_}});
            facts_changed_ = true;
          } else {
            LogError("the controller's own record cannot be used", {{"error", shared->status()}});
            process_record_ok_ = false;
            load_again_[kProcessRecord] = options_.clock->Steady() + kLoadAgain;
          }
          if (loading_.empty()) started_ = true;
        });
      });
}

// What the lanes know of the groups, with the keys of their records.
void Loop::ShareGroups() {
  std::vector<azure::GroupAzure> azures;
  for (const auto& [name, runner] : groups_) {
    azures.push_back(runner->settings().azure);
    azures.back().fingerprint_key = runner->state().record.fingerprint_key();
  }
  azure_.SetGroups(std::move(azures));
}

absl::Status Loop::PutInForce(Settings settings) {
  std::vector<std::string> problems;
  for (const GroupSettings& group : settings.groups) {
    GroupRunner* runner = Find(group.core.name);
    if (runner == nullptr || !runner->broken().empty()) continue;
    if (std::string why = core::RebindingProblem(group.core, runner->state().record); !why.empty())
      problems.push_back(std::move(why));
  }
  if (!problems.empty()) return absl::FailedPreconditionError(absl::StrJoin(problems, "\n"));
  for (auto& [name, runner] : groups_) runner->Remove();  // those that are configured come back
  options_.settings = settings;
  azure_.SetVerifyReadsPerSecond(settings.verify_reads_per_second);
  for (GroupSettings& group : settings.groups) {
    const std::string name = group.core.name;
    GroupRunner* runner = Find(name);
    if (runner == nullptr || !SameProbes(runner->settings().spec, group.spec)) {
      judged_from_[name] = assignment_generation_ + 1;
    }
    if (runner == nullptr || !runner->broken().empty()) {
      AddGroup(std::move(group));
    } else {
      runner->Reconfigure(std::move(group));
    }
  }
  ShareGroups();  // before anything is sent by the new configuration
  for (auto& [name, runner] : groups_) {
    if (!runner->removed()) Handle(*runner, core::ConfigChanged{});
  }
  config_error_.clear();
  facts_changed_ = true;
  LogInfo("configuration in force", {{"generation", settings.generation}, {"hash", settings.hash}});
  return absl::OkStatus();
}

void Loop::UpdateAssignments() {
  facts_changed_ = false;
  if (term_ == 0) return;
  Settings settings = options_.settings;
  std::erase_if(settings.groups, [this](const GroupSettings& group) {
    const GroupRunner* runner = Find(group.core.name);
    return runner == nullptr ||
           runner->state().record.services().empty();  // never loaded; probing outlives leading
  });
  intake_->SetAssignments(MakeAssignments(settings, facts_, term_, ++assignment_generation_, true));
}

// ---- operators and metrics ----

bool Loop::Locate(const std::string& group, absl::Status& error, GroupRunner*& runner) {
  runner = Find(group);
  if (runner != nullptr && !runner->removed()) return true;
  std::vector<std::string> names;
  for (const auto& [name, other] : groups_) {
    if (!other->removed()) names.push_back(name);
  }
  error = absl::NotFoundError(
      absl::StrCat("found failover group \"", group, "\"; allowed: ", absl::StrJoin(names, ", ")));
  return false;
}

v1::GetStatusResponse Loop::StatusNow(const std::string& group) {
  v1::GetStatusResponse response;
  const Now now = Read();
  response.set_controller(options_.identity);
  response.set_leader(term_ != 0);
  response.set_term(term_);
  response.set_at_ms(absl::ToUnixMillis(now.wall));
  response.set_version(FAILOVER_VERSION);
  response.set_store_ok(process_record_ok_ &&
                        std::none_of(groups_.begin(), groups_.end(), [](const auto& entry) {
                          return entry.second->state().observed.store_failed;
                        }));
  response.set_config_error(config_error_);
  for (const std::string& feature : NotBuiltYet()) response.add_not_built_yet(feature);
  for (const auto& [name, runner] : groups_) {
    if (runner->removed() || (!group.empty() && name != group)) continue;
    v1::GroupStatus* status = response.add_groups();
    *status = runner->Status(now);
    for (const std::string& kind : azure::NotCompared()) status->add_not_compared(kind);
    for (const std::string& pattern : runner->settings().azure.verify_ignore) {
      status->add_not_compared(absl::StrCat("ignored by sync.verify: ", pattern));
    }
  }
  return response;
}

void Loop::Diff(const v1::SyncDiffRequest& request, operators::Done<v1::SyncDiffResponse> done) {
  absl::Status error;
  GroupRunner* runner = nullptr;
  if (!Locate(request.group(), error, runner)) return done(error);
  std::string active, standby;
  std::vector<std::string> standbys;
  for (const v1::ServiceRecord& service : runner->state().record.services()) {
    if (service.role() == v1::ROLE_ACTIVE) active = service.name();
    if (service.role() == v1::ROLE_STANDBY) standbys.push_back(service.name());
  }
  if (active.empty() || standbys.empty())
    return done(absl::FailedPreconditionError("roles are unconfirmed: nothing to compare"));
  standby = request.standby().empty() ? standbys.front() : request.standby();
  if (std::find(standbys.begin(), standbys.end(), standby) == standbys.end()) {
    return done(absl::InvalidArgumentError(
        absl::StrCat("found standby \"", standby, "\"; allowed: ", absl::StrJoin(standbys, ", "))));
  }
  work_lane_->Put(Lane::kLong, [group = request.group(), active, standby,
                                done = std::move(done)](azure::Worker& worker) {
    absl::StatusOr<core::Entities> on_active = worker.ReadEntities(group, active);
    if (!on_active.ok()) return done(on_active.status());
    absl::StatusOr<core::Entities> on_standby = worker.ReadEntities(group, standby);
    if (!on_standby.ok()) return done(on_standby.status());
    v1::SyncDiffResponse response = DiffOf(active, *on_active, standby, *on_standby);
    for (const std::string& kind : azure::NotCompared()) response.add_not_compared(kind);
    done(std::move(response));
  });
}

void Loop::Order(const v1::OrderRequest& request, const std::string& who,
                 operators::Done<v1::OrderResponse> done) {
  const std::string verb = VerbOf(request);
  operators::Done<v1::OrderResponse> counted =
      [this, verb, done = std::move(done)](absl::StatusOr<v1::OrderResponse> response) {
        if (options_.metrics != nullptr)
          options_.metrics->OrderAnswered(verb, response.ok() && response->ok());
        done(std::move(response));
      };
  absl::Status error;
  GroupRunner* runner = nullptr;
  if (!Locate(request.group(), error, runner)) return counted(error);
  absl::StatusOr<core::Order> order = ToOrder(request, who);
  if (!order.ok()) return counted(order.status());
  v1::OrderResponse refusal;
  if (!runner->broken().empty()) {
    refusal.set_text(absl::StrCat("the group is not worked on: ", runner->broken()));
    return counted(refusal);
  }
  const uint64_t epoch = runner->state().record.epoch();
  if (request.expected_epoch() != 0 && request.expected_epoch() != epoch) {
    refusal.set_text(absl::StrCat("roles have changed since you looked: found epoch ",
                                  request.expected_epoch(), ", now it is ", epoch));
    return counted(refusal);
  }
  runner->GiveOrder(*std::move(order), std::move(counted), Read());
  Handle(*runner, core::Tick{});
}

operators::Handlers Loop::OperatorHandlers() {
  operators::Handlers handlers;
  // Runs on the core thread, for the group that the request names.
  const auto with_group = [this](const auto& request, auto done, auto answer) {
    mailbox_.Put([this, request, done = std::move(done), answer] {
      absl::Status error;
      GroupRunner* runner = nullptr;
      if (!Locate(request.group(), error, runner)) return done(error);
      done(answer(request, *runner));
    });
  };
  handlers.get_status = [this](const v1::GetStatusRequest& request,
                               operators::Done<v1::GetStatusResponse> done) {
    mailbox_.Put([this, request, done = std::move(done)] {
      absl::Status error;
      GroupRunner* runner = nullptr;
      if (!request.group().empty() && !Locate(request.group(), error, runner)) return done(error);
      done(StatusNow(request.group()));
    });
  };
  handlers.get_history = [with_group](const v1::GetHistoryRequest& request,
                                      operators::Done<v1::GetHistoryResponse> done) {
    with_group(request, std::move(done),
               [](const v1::GetHistoryRequest& asked, const GroupRunner& runner) {
                 const v1::GroupRecord& record = runner.state().record;
                 v1::GetHistoryResponse response;
                 const int limit = asked.limit() <= 0 ? 50 : asked.limit();
                 for (int i = std::max(0, record.history_size() - limit); i < record.history_size();
                      ++i)
                   *response.add_entries() = record.history(i);
                 response.set_chain_intact(store::HistoryIntact(record));
                 if (asked.decisions()) *response.mutable_decisions() = record.decisions();
                 return response;
               });
  };
  handlers.list_agents = [this](const v1::ListAgentsRequest& request,
                                operators::Done<v1::ListAgentsResponse> done) {
    mailbox_.Put([this, request, done = std::move(done)] {
      absl::Status error;
      GroupRunner* runner = nullptr;
      if (!request.group().empty() && !Locate(request.group(), error, runner)) return done(error);
      std::set<std::string> regions;
      for (const auto& [name, other] : groups_) {
        if (runner != nullptr && other.get() != runner) continue;
        regions.insert(other->settings().core.probe_regions.begin(),
                       other->settings().core.probe_regions.end());
      }
      done(AgentsOf({regions.begin(), regions.end()}, intake_->Agents()));
    });
  };
  handlers.list_operations = [with_group](const v1::ListOperationsRequest& request,
                                          operators::Done<v1::ListOperationsResponse> done) {
    with_group(request, std::move(done),
               [](const v1::ListOperationsRequest& asked, const GroupRunner& runner) {
                 v1::ListOperationsResponse response;
                 for (const v1::Operation& operation : runner.state().record.operations()) {
                   if (asked.all() || core::IsOpen(operation))
                     *response.add_operations() = operation;
                 }
                 return response;
               });
  };
  handlers.list_backups = [with_group](const v1::ListBackupsRequest& request,
                                       operators::Done<v1::ListBackupsResponse> done) {
    with_group(request, std::move(done),
               [](const v1::ListBackupsRequest&, const GroupRunner& runner) {
                 v1::ListBackupsResponse response;
                 *response.mutable_backups() = runner.state().record.backups();
                 return response;
               });
  };
  handlers.sync_diff = [this](const v1::SyncDiffRequest& request,
                              operators::Done<v1::SyncDiffResponse> done) {
    mailbox_.Put([this, request, done = std::move(done)] { Diff(request, done); });
  };
  handlers.give_order = [this](const v1::OrderRequest& request, const std::string& who,
                               operators::Done<v1::OrderResponse> done) {
    mailbox_.Put([this, request, who, done = std::move(done)] { Order(request, who, done); });
  };
  return handlers;
}

metrics::Snapshot Loop::Snapshot() {
  auto promise = std::make_shared<std::promise<metrics::Snapshot>>();
  std::future<metrics::Snapshot> future = promise->get_future();
  mailbox_.Put([this, promise] {
    const v1::GetStatusResponse status = StatusNow("");
    metrics::Snapshot snapshot;
    snapshot.leader = status.leader();
    snapshot.term = status.term();
    snapshot.store_ok = status.store_ok();
    snapshot.at_ms = status.at_ms();
    snapshot.groups = {status.groups().begin(), status.groups().end()};
    promise->set_value(std::move(snapshot));
  });
  const bool fresh =
      future.wait_for(absl::ToChronoMilliseconds(kSnapshotWait)) == std::future_status::ready;
  MutexLock lock(snapshot_mutex_);
  if (fresh) snapshot_ = future.get();
  metrics::Snapshot result = snapshot_;
  if (intake_ != nullptr) {
    result.agents = intake_->Agents();
    for (const intake::AgentCounters& counter : intake_->Counters()) {
      result.agent_counters.push_back(
          {counter.probe_region, counter.agent, counter.kind, counter.count});
    }
  }
  result.mailbox_size = mailbox_.size();
  result.mailbox_capacity = kMailbox;
  result.mailbox_refused = refused_.load();
  return result;
}

}  // namespace

std::unique_ptr<ControlLoop> ControlLoop::Create(ControlLoopOptions options) {
  return std::make_unique<Loop>(std::move(options));
}

const std::vector<std::string>& NotBuiltYet() {
  static const auto* const kFeatures = new std::vector<std::string>{
      "the way back: reverse sync, failback and switchover",
      "change detection and RPO by change log (RPO counts from the recovery point)",
      "usage reports in an archive",
      "the poison guard and the retention of backups (nothing is deleted)",
      "overrides after a restore (sync.afterRestore)",
      "drills, explain and backtest",
      "failoverctl --direct",
      "managed and workload identity (client secret only)",
      "traffic by Azure DNS, webhook or Front Door (Traffic Manager only)",
      "Kubernetes: leader election, several replicas, the ConfigMap store",
  };
  return *kFeatures;
}

}  // namespace failover::runtime
