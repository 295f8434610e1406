#include <iterator>
#include <utility>

#include "absl/strings/str_join.h"
#include "common/digest.h"
#include "common/log.h"
#include "controller/runtime/loop.h"
#include "google/protobuf/util/message_differencer.h"

namespace failover::runtime {
namespace {

constexpr absl::Duration kLoadAgain = absl::Seconds(10);
// Holds the term of assignments; no group can have this name.
constexpr char kProcessRecord[] = "@controller";

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

}  // namespace

// Loads again what could not be loaded, and lets go of removed groups that have come to rest.
void Loop::TendGroups(SteadyTime now) {
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
}

void Loop::AddGroup(GroupSettings settings) {
  const std::string name = settings.core.name;
  groups_[name] = std::make_unique<GroupRunner>(std::move(settings), Outlets());
  looked_.erase(name);
  if (Leads()) BeginGroup(name);
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
      [this, group, lease_term = lease_term_](absl::StatusOr<v1::GroupRecord> record) {
        if (record.ok()) {
          if (options_.metrics != nullptr) options_.metrics->RecordLoaded(*record);
          told_[group] = record->history().empty() ? 0 : record->history().rbegin()->sequence();
        }
        auto shared = std::make_shared<absl::StatusOr<v1::GroupRecord>>(std::move(record));
        mailbox_.Put([this, group, lease_term, shared] {
          if (lease_term_ == lease_term) Began(group, std::move(*shared));
        });
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
    runner->Load(*std::move(record), ++lives_);
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
      [this, lease_term = lease_term_](absl::StatusOr<v1::GroupRecord> record) {
        auto shared = std::make_shared<absl::StatusOr<v1::GroupRecord>>(std::move(record));
        mailbox_.Put([this, lease_term, shared] {
          if (lease_term_ != lease_term) return;
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
  Settings settings = options_.settings;
  if (!Leads()) {  // by which results are judged; nobody is told
    return intake_->SetAssignments(
        MakeAssignments(settings, facts_, 0, ++assignment_generation_, false));
  }
  if (term_ == 0) return;
  std::erase_if(settings.groups, [this](const GroupSettings& group) {
    const GroupRunner* runner = Find(group.core.name);
    return runner == nullptr ||
           runner->state().record.services().empty();  // never loaded; probing outlives leading
  });
  intake_->SetAssignments(MakeAssignments(settings, facts_, term_, ++assignment_generation_, true));
}

}  // namespace failover::runtime
