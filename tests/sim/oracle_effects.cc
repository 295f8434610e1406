// The half of the oracle that watches records become durable and requests leave and arrive.
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "tests/sim/oracle.h"

namespace failover::sim {
namespace {

bool IsOpen(v1::FailoverStage stage) {
  return stage >= v1::FAILOVER_STAGE_DECIDED && stage <= v1::FAILOVER_STAGE_CONFIRMING;
}

bool IsOpen(const v1::Operation& operation) {
  return (operation.state() >= v1::OPERATION_STATE_PLANNED &&
          operation.state() <= v1::OPERATION_STATE_AMBIGUOUS) ||
         operation.state() == v1::OPERATION_STATE_NEEDS_OPERATOR;
}

}  // namespace

const v1::Operation* FindOperation(const v1::GroupRecord& record, const std::string& id) {
  for (const v1::Operation& operation : record.operations()) {
    if (operation.id() == id) return &operation;
  }
  return nullptr;
}

void Oracle::Durable(std::shared_ptr<const v1::GroupRecord> record, Now now) {
  Require(record->term() >= durable_->term() && record->epoch() >= durable_->epoch(),
          "durable_numbers_only_grow",
          absl::StrCat("term ", record->term(), ", epoch ", record->epoch()), now);
  durable_ = std::move(record);
}

void Oracle::Sent(const core::Command& command, bool deposed, Now now) {
  Require(!deposed, "deposed_sends_nothing", "a request left after leadership was lost", now);
  IntentIsDurable(command, now);
  const auto post = [&](const std::string& id) {
    Require(posts_.insert(id).second, "never_a_second_post", absl::StrCat("operation ", id), now);
  };
  if (const auto* backup = std::get_if<core::StartBackup>(&command)) post(backup->operation_id);
  if (const auto* restore = std::get_if<core::StartRestore>(&command)) post(restore->operation_id);
  if (const auto* set = std::get_if<core::SetEndpoint>(&command)) {
    writes_[{set->service, set->enabled}] = now.steady;
    if (set->enabled && durable_->failover().stage() == v1::FAILOVER_STAGE_ENABLING) {
      switches_.try_emplace(durable_->failover().id(), now);
    }
  }
}

void Oracle::IntentIsDurable(const core::Command& command, Now now) {
  const auto operation = [&](const std::string& id, bool planned) {
    const v1::Operation* intent = FindOperation(*durable_, id);
    const bool good =
        intent != nullptr && (planned || intent->state() != v1::OPERATION_STATE_PLANNED);
    Require(good, "intent_before_effect", absl::StrCat("operation ", id), now);
  };
  if (const auto* backup = std::get_if<core::StartBackup>(&command))
    operation(backup->operation_id, false);
  if (const auto* restore = std::get_if<core::StartRestore>(&command))
    operation(restore->operation_id, false);
  if (const auto* fence = std::get_if<core::WriteFence>(&command))
    operation(fence->fence.operation_id, true);
  if (const auto* poll = std::get_if<core::PollOperation>(&command)) {
    const v1::Operation* intent = FindOperation(*durable_, poll->operation_id);
    Require(intent != nullptr && intent->handle() == poll->handle, "handle_before_poll",
            poll->operation_id, now);
  }
  const auto* set = std::get_if<core::SetEndpoint>(&command);
  if (set == nullptr) return;
  const v1::Failover& failover = durable_->failover();
  bool noted = false;
  for (const v1::TrafficWrite& write : durable_->traffic_writes()) {
    noted |= write.service() == set->service && write.enabled() == set->enabled;
  }
  Require(noted, "traffic_intent_before_effect", set->service, now);
  if (!IsOpen(failover.stage())) {
    Require(writes_.contains({set->service, !set->enabled}), "only_our_own_late_write_is_repaired",
            absl::StrCat(set->service, set->enabled ? " enabled" : " disabled"), now);
    return;
  }
  if (set->enabled) {
    Require(failover.to() == set->service && failover.stage() != v1::FAILOVER_STAGE_DECIDED,
            "enable_intent_before_effect", set->service, now);
  } else {
    Require(failover.from() == set->service && failover.stage() == v1::FAILOVER_STAGE_DISABLING,
            "disable_after_roles", set->service, now);
  }
}

void Oracle::OnePost(const std::string& service, const std::string& id, Now now) {
  for (const v1::Operation& other : durable_->operations()) {
    if (other.service() != service || other.id() == id || !IsOpen(other)) continue;
    Require(false, "one_operation_per_service",
            absl::StrCat(service, ": ", id, " beside ", other.id()), now);
  }
  const std::string& running = truth_->services.at(service).running;
  Require(running.empty() || running == id || abandoned_.contains(running),
          "one_operation_per_service", absl::StrCat(service, ": ", id, " while ", running, " runs"),
          now);
}

void Oracle::RestoreArrives(const core::StartRestore& restore, bool accepted, Now now) {
  if (abandoned_.contains(restore.operation_id)) return;
  bool waived = false;
  for (const std::string& name : durable_->failover().forced())
    waived |= name == "restore_running" || name == "operation_ambiguous";
  for (const v1::ServiceRecord& service : durable_->services()) {
    if (service.name() != restore.service || waived) continue;
    Require(service.role() == v1::ROLE_STANDBY, "never_restore_onto_traffic",
            absl::StrCat(restore.service, " is active"), now);
  }
  const bool switching =
      IsOpen(durable_->failover().stage()) && durable_->failover().to() == restore.service;
  if (!waived)
    Require(!switching, "never_restore_onto_traffic",
            absl::StrCat(restore.service, " is about to be active"), now);
  const bool foreign = truth_->foreign_traffic >= read_before_[restore.call];
  if (!foreign && !waived) {
    Require(!truth_->services.at(restore.service).endpoint, "never_restore_onto_traffic",
            absl::StrCat(restore.service, " is enabled"), now);
  }
  if (!accepted) return;
  const Blob& blob = truth_->blobs.at(restore.blob);
  Require(blob.complete && !blob.bad, "restore_from_a_good_backup", restore.blob, now);
  Require(blob.sku == truth_->services.at(restore.service).sku, "restore_of_the_same_tier",
          restore.blob, now);
  Require(now.steady - blob.snapshot < config_->backup_lifetime + absl::Minutes(2) || wall_jumps_,
          "restore_inside_the_lifetime", restore.blob, now);
}

void Oracle::EndpointSetArrives(const core::SetEndpoint& set, bool emptied, Now now) {
  if (set.enabled) return;
  const SteadyTime read = read_before_[set.call];
  const bool surprised = truth_->foreign_traffic >= read && now.steady - read <= absl::Seconds(20);
  Require(!emptied || surprised, "never_an_empty_target",
          absl::StrCat("disabling ", set.service, " left nothing; the last read was ",
                       absl::FormatDuration(now.steady - read), " old"),
          now);
}

void Oracle::Effect(const core::Command& command, const core::Event& answer, Now now) {
  const auto* started = std::get_if<core::OperationStarted>(&answer);
  const bool accepted = started != nullptr && started->result.status == core::CallStatus::kOk;
  if (const auto* backup = std::get_if<core::StartBackup>(&command))
    OnePost(backup->service, backup->operation_id, now);
  if (const auto* restore = std::get_if<core::StartRestore>(&command)) {
    OnePost(restore->service, restore->operation_id, now);
    RestoreArrives(*restore, accepted, now);
  }
  if (const auto* set = std::get_if<core::SetEndpoint>(&command))
    EndpointSetArrives(*set, truth_->EnabledCount() == 0, now);
}

void Oracle::Served(const core::Command& command, const core::Event& answer, Now now) {
  if (const auto* read = std::get_if<core::ReadFingerprint>(&command)) {
    const ServiceTruth& service = truth_->services.at(read->service);
    fingerprints_[read->call] = {now.steady, EntitiesOf(service.content), service.sample_only};
    while (fingerprints_.size() > 16) fingerprints_.erase(fingerprints_.begin());
  }
  const auto* traffic = std::get_if<core::TrafficRead>(&answer);
  if (traffic == nullptr) return;
  std::map<std::string, bool> enabled;
  for (const auto& [name, service] : truth_->services) enabled[name] = service.endpoint;
  traffic_served_[traffic->call] = {now.steady, std::move(enabled)};
  while (traffic_served_.size() > 64) traffic_served_.erase(traffic_served_.begin());
}

void Oracle::Bounds(const v1::GroupRecord& record, Now now) {
  Require(record.history_size() <= 500 && record.decisions_size() <= 20 &&
              record.backups_size() <= 200 && record.traffic_writes_size() <= 8,
          "record_is_bounded", absl::StrCat(record.history_size(), " history entries"), now);
  int ended = 0;
  for (const v1::Operation& operation : record.operations()) ended += IsOpen(operation) ? 0 : 1;
  Require(ended <= 101, "operations_are_bounded", absl::StrCat(ended, " ended operations"), now);
  for (int i = std::max(0, record.history_size() - 70); i < record.history_size(); ++i) {
    Require(record.history(i).ByteSizeLong() <= 1024, "history_entries_are_small",
            record.history(i).text(), now);
  }
}

void Oracle::End(Now now) {
  for (const std::string& id : posts_) {
    bool told = durable_->history_size() >= 500;
    for (const v1::HistoryEntry& entry : durable_->history()) told |= entry.reference() == id;
    Require(told, "history_is_reality", absl::StrCat("operation ", id, " is not in the history"),
            now);
  }
}

const std::vector<std::string>& RulesToCover() {
  static const std::vector<std::string> rules = {
      "numbers_only_grow", "durable_numbers_only_grow", "intent_in_this_term_and_epoch",
      "one_active", "roles_commit_after_read_back", "roles_change_in_a_new_epoch",
      "first_contact_follows_traffic", "decision_raises_the_epoch", "one_failover_at_a_time",
      "decision_leaves_roles", "operator_failover_was_ordered", "approved_failover_was_approved",
      "only_automatic_acts_alone", "quorum_of_fresh_down_votes", "down_votes_were_measured",
      "dwell", "paused_decides_nothing", "cooldown", "daily_limit",
      "no_switch_over_a_foreign_change", "standby_is_verified", "never_back_to_the_former_active",
      "data_loss_is_bounded", "backup_is_inside_its_lifetime", "standby_is_up", "same_tier",
      "standby_is_whole", "standby_is_idle", "standby_has_no_open_operation",
      "recovery_point_has_a_backup", "verified_is_equal", "recovery_point_is_the_start",
      "operator_freeze_holds", "restore_needs_the_active_up", "suspicion_freezes_restores",
      "restore_only_onto_a_standby", "no_restore_during_a_failover",
      "restore_in_the_epoch_of_its_run", "guard_reads_traffic", "traffic_says_standby",
      "guard_reads_the_standby", "standby_read_after_the_backup", "nothing_is_lost",
      "rpo_never_flatters", "deposed_sends_nothing", "never_a_second_post", "intent_before_effect",
      "handle_before_poll", "traffic_intent_before_effect", "enable_intent_before_effect",
      "disable_after_roles", "one_operation_per_service", "never_restore_onto_traffic",
      "restore_from_a_good_backup", "restore_of_the_same_tier", "restore_inside_the_lifetime",
      "never_an_empty_target", "record_is_bounded", "operations_are_bounded",
      "history_entries_are_small", "history_is_reality", "order_has_one_reply",
      "order_has_a_sentence",
      // Situations in which a rule held something back.
      "held_by_pause", "held_by_cooldown", "held_by_daily_limit", "held_by_mode",
      "freeze_thawed_by_rpo", "freeze_lone_dissent", "life_with_open_operation",
      "life_with_open_failover", "ends_in_peace", "switches_when_it_should"};
  return rules;
}

}  // namespace failover::sim
