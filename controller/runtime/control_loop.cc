#include "controller/runtime/control_loop.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/log.h"
#include "controller/runtime/loop.h"

namespace failover::runtime {
namespace {

constexpr absl::Duration kTurn =
    absl::Milliseconds(200);                       // the core thread turns at least so often
constexpr absl::Duration kGap = absl::Seconds(2);  // design.md §9
constexpr absl::Duration kClocksDisagree = absl::Seconds(1);

bool IsTraffic(const core::Command& command) {
  return core::HoldsAny<core::ReadTraffic, core::SetEndpoint, core::CheckSwitchPath>(command);
}

// Lower goes first: switches before reads; what keeps an operation going before what may take long.
int PriorityOf(const core::Command& command) {
  if (core::HoldsAny<core::SetEndpoint>(command)) return 0;
  if (core::HoldsAny<core::ReadTraffic, core::PollOperation, core::StartRestore, core::WriteFence>(
          command))
    return 1;
  return core::HoldsAny<core::ReadFingerprint, core::InspectOperation, core::CheckSwitchPath>(
             command)
             ? Lane::kLong
             : 2;
}

}  // namespace

void Loop::Start(intake::Intake* intake) {
  intake_ = intake;
  azure_.SetVerifyReadsPerSecond(options_.settings.verify_reads_per_second);
  saver_ = std::make_unique<Saver>(*options_.store, *options_.clock, EventsOfSaver());
  last_turn_ = absl::ToInt64Nanoseconds(options_.clock->Steady().since_epoch);
  mailbox_.Put([this] {
    for (GroupSettings& group : options_.settings.groups) AddGroup(group);
    if (!options_.election.has_value()) return BeginTerm(1);
    started_ = true;  // a follower is ready
    UpdateAssignments();
  });
  thread_ = std::jthread([this](std::stop_token stop) { Run(std::move(stop)); });
}

SaverEvents Loop::EventsOfSaver() {
  SaverEvents events;
  events.saved = [this](const v1::GroupRecord& record, uint64_t version, absl::Duration took) {
    if (options_.metrics != nullptr) {
      options_.metrics->StoreWrite(took, true);
      options_.metrics->RecordIs(record);
    }
    uint64_t& told = told_[record.name()];
    for (const v1::HistoryEntry& entry : record.history()) {
      if (entry.sequence() <= told) continue;
      told = entry.sequence();
      if (options_.on_history) options_.on_history(record.name(), entry);
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
      if (runner == nullptr || !Leads() || loading_.contains(group)) return;
      LogError("somebody else wrote a group's record: loading it again",
               {{"failover_group", group}});
      Handle(*runner, core::LeadershipLost{});
      BeginGroup(group);
    });
  };
  return events;
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
  if (options_.election.has_value()) options_.election->require_renewal();
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
  TendGroups(now);
  LookAtRecords();
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
  if (runner != nullptr && Leads() && !loading_.contains(group)) Handle(*runner, event);
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
  if (!Leads()) return;  // the last words of a term
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
      "traffic by Azure DNS, webhook or Front Door (Traffic Manager only)",
  };
  return *kFeatures;
}

}  // namespace failover::runtime
