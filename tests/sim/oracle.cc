#include "tests/sim/oracle.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace failover::sim {
namespace {

using Opinion = OracleVotes::Opinion;

bool Open(v1::FailoverStage stage) {
  return stage == v1::FAILOVER_STAGE_DECIDED || stage == v1::FAILOVER_STAGE_ENABLING ||
         stage == v1::FAILOVER_STAGE_DISABLING || stage == v1::FAILOVER_STAGE_CONFIRMING;
}

bool Open(v1::OperationState state) {
  return state == v1::OPERATION_STATE_PLANNED || state == v1::OPERATION_STATE_SENDING ||
         state == v1::OPERATION_STATE_RUNNING || state == v1::OPERATION_STATE_AMBIGUOUS ||
         state == v1::OPERATION_STATE_NEEDS_OPERATOR;
}

const v1::ServiceRecord* FindService(const v1::GroupRecord& record, const std::string& name) {
  for (const v1::ServiceRecord& service : record.services()) {
    if (service.name() == name) return &service;
  }
  return nullptr;
}

std::string ActiveOf(const v1::GroupRecord& record) {
  for (const v1::ServiceRecord& service : record.services()) {
    if (service.role() == v1::ROLE_ACTIVE) return service.name();
  }
  return "";
}

bool Mutates(const core::Command& command) {
  return std::holds_alternative<core::StartBackup>(command) ||
         std::holds_alternative<core::StartRestore>(command) ||
         std::holds_alternative<core::WriteFence>(command) ||
         std::holds_alternative<core::WriteManifest>(command) ||
         std::holds_alternative<core::SetEndpoint>(command);
}

}  // namespace

Oracle::Oracle(const core::GroupConfig& config, const Truth& truth, bool wall_jumps,
               Coverage& coverage)
    : config_(&config),
      truth_(&truth),
      wall_jumps_(wall_jumps),
      coverage_(&coverage),
      votes_(config) {}

void Oracle::Require(bool holds, const char* rule, const std::string& text, Now now) {
  Count(rule);
  if (holds || objections_.size() > 20) return;
  objections_.push_back(
      absl::StrCat(rule, " at ", absl::FormatDuration(now.steady.since_epoch - absl::Hours(1000)),
                   " in ", config_->name, ": ", text));
}

void Oracle::Remember(const v1::GroupRecord& record) {
  before_.failover = record.failover().id();
  before_.stage = record.failover().stage();
  before_.term = record.term();
  before_.epoch = record.epoch();
  before_.paused = record.pause().active();
  before_.sync_run = record.sync_run().id();
  before_.roles.clear();
  before_.recovery.clear();
  for (const v1::ServiceRecord& service : record.services()) {
    before_.roles.push_back(service.role());
    before_.recovery.push_back(service.recovery_point_ms());
  }
  const int count = record.operations_size();
  const std::string& last = count == 0 ? before_.last_operation : record.operations(count - 1).id();
  if (last == before_.last_operation && !before_.operations.empty()) return;
  before_.last_operation = last;
  before_.operations.clear();
  for (const v1::Operation& operation : record.operations())
    before_.operations.insert(operation.id());
}

// Operations that the last step added; new ones stand at the end.
std::vector<const v1::Operation*> Oracle::Added(const v1::GroupRecord& record) const {
  std::vector<const v1::Operation*> added;
  for (int i = record.operations_size() - 1;
       i >= 0 && !before_.operations.contains(record.operations(i).id()); --i) {
    added.push_back(&record.operations(i));
  }
  return added;
}

void Oracle::Life(const v1::GroupRecord& record, bool fresh, Now now) {
  if (fresh) {
    votes_.Forget();
    fingerprints_.clear();  // a new process numbers its calls from 1
    traffic_served_.clear();
    read_before_.clear();
  }
  // The record knows when a down vote began and when its end was seen; what happens between lives,
  // or was not durable yet, is known to nobody.
  for (const auto& [region, since] : down_since_) last_down_[region] = since;
  const absl::Time known = absl::FromUnixMillis(record.last_down_vote_ms());
  for (auto& [region, at] : last_down_) at = std::min(at, now.steady - (now.wall - known));
  down_since_.clear();
  up_since_ = SteadyTime::InfiniteFuture();
  for (const v1::Operation& operation : record.operations()) {
    if (Open(operation.state())) Count("life_with_open_operation");
  }
  if (Open(record.failover().stage())) Count("life_with_open_failover");
  Remember(record);
  durable_ = std::make_shared<v1::GroupRecord>(record);
}

void Oracle::BeforeStep(const core::Event& event, Now now) {
  if (const auto* results = std::get_if<core::ProbeResults>(&event)) votes_.Results(*results, now);
  if (const auto* stream = std::get_if<core::AgentStream>(&event)) votes_.Stream(*stream);
  if (std::holds_alternative<core::ClockGap>(event)) votes_.Gap(now.steady);
  if (const auto* read = std::get_if<core::FingerprintRead>(&event)) {
    const auto found = fingerprints_.find(read->call);
    if (found != fingerprints_.end() && read->result.status == core::CallStatus::kOk)
      served_[read->service] = found->second;
  }
  if (const auto* read = std::get_if<core::TrafficRead>(&event)) {
    const auto served = traffic_served_.find(read->call);
    if (served != traffic_served_.end() && read->result.status == core::CallStatus::kOk)
      traffic_known_ = served->second;
  }
}

void Oracle::AfterStep(const core::Event& event, const core::GroupState& state,
                       const core::Commands& commands, Now now) {
  const v1::GroupRecord& record = state.record;
  leading_ = state.observed.leading;
  for (const core::Command& command : commands.list) {
    if (!leading_)
      Require(!Mutates(command), "deposed_sends_nothing",
              "a request was asked for without leadership", now);
  }
  if (!leading_) return;
  if (const auto* order = std::get_if<core::Order>(&event)) OrderAnswered(*order, commands, now);
  NoteDownVotes(record, now);
  Numbers(record, now);
  Roles(event, record, now);
  Decision(event, state, now);
  PauseHolds(event, record, now);
  Recovery(event, record, now);
  for (const core::Command& command : commands.list) {
    if (const auto* restore = std::get_if<core::StartRestore>(&command)) {
      read_before_[restore->call] = traffic_known_.first;
      RestoreLeaves(*restore, record, now);
    }
    if (const auto* set = std::get_if<core::SetEndpoint>(&command))
      read_before_[set->call] = traffic_known_.first;
  }
  if (++steps_ % 64 == 0) {
    Bounds(record, now);
    Rpo(state, now);
  }
  Remember(record);
  before_.at = now.steady;
}

void Oracle::OrderAnswered(const core::Order& order, const core::Commands& commands, Now now) {
  int replies = 0;
  bool ok = false;
  for (const core::Command& command : commands.list) {
    const auto* reply = std::get_if<core::Reply>(&command);
    if (reply == nullptr || reply->order_id != order.order_id) continue;
    ++replies;
    ok = reply->ok;
    Require(!reply->text.empty(), "order_has_a_sentence", "a reply without words", now);
  }
  Require(replies == 1, "order_has_one_reply", absl::StrCat(replies, " replies"), now);
  if (!ok || order.dry_run) return;
  if (std::holds_alternative<core::OrderAck>(order.body)) acknowledged_ = now.wall;
  if (const auto* abandon = std::get_if<core::OrderAbandon>(&order.body))
    abandoned_.insert(abandon->operation_id);
}

void Oracle::Numbers(const v1::GroupRecord& record, Now now) {
  if (record.term() != before_.term || record.epoch() != before_.epoch) {
    Require(record.term() >= before_.term && record.epoch() >= before_.epoch, "numbers_only_grow",
            absl::StrCat("term ", before_.term, " → ", record.term(), ", epoch ", before_.epoch,
                         " → ", record.epoch()),
            now);
  }
  for (const v1::Operation* operation : Added(record)) {
    Require(operation->epoch() == record.epoch() && operation->term() == record.term(),
            "intent_in_this_term_and_epoch", absl::StrCat("operation ", operation->id()), now);
  }
}

void Oracle::Roles(const core::Event& event, const v1::GroupRecord& record, Now now) {
  int active = 0;
  bool changed = false;
  for (int i = 0; i < record.services_size(); ++i) {
    active += record.services(i).role() == v1::ROLE_ACTIVE ? 1 : 0;
    changed |= before_.roles[i] != record.services(i).role();
  }
  if (active > 1) Require(false, "one_active", absl::StrCat(active, " active services"), now);
  if (!changed) return;
  Require(active <= 1, "one_active", absl::StrCat(active, " active services"), now);
  const std::string chosen = ActiveOf(record);
  if (before_.stage == v1::FAILOVER_STAGE_ENABLING && record.failover().id() == before_.failover) {
    const auto* read = std::get_if<core::TrafficRead>(&event);
    const bool seen = read != nullptr && traffic_served_.contains(read->call) &&
                      traffic_served_[read->call].second[record.failover().to()];
    Require(seen && chosen == record.failover().to(), "roles_commit_after_read_back", chosen, now);
    return;
  }
  Require(record.epoch() > before_.epoch, "roles_change_in_a_new_epoch", chosen, now);
  if (std::holds_alternative<core::Order>(event)) return;
  int enabled = 0;
  for (const auto& [name, on] : traffic_known_.second) enabled += on ? 1 : 0;
  Require(enabled == 1 && traffic_known_.second[chosen], "first_contact_follows_traffic", chosen,
          now);
}

void Oracle::Decision(const core::Event& event, const core::GroupState& state, Now now) {
  const v1::GroupRecord& record = state.record;
  const v1::Failover& failover = record.failover();
  const int active = config_->ServiceIndex(watched_);
  if (active >= 0 && votes_.QuorumDown(active, now.steady) && !Open(failover.stage())) {
    if (record.pause().active()) Count("held_by_pause");
    if (record.cooldown_until_ms() > absl::ToUnixMillis(now.wall)) Count("held_by_cooldown");
    if (record.failover_ms_size() >= config_->max_per_day) Count("held_by_daily_limit");
    if (config_->mode != core::Mode::kAutomatic) Count("held_by_mode");
  }
  if (failover.stage() == v1::FAILOVER_STAGE_ABORTED) switches_.erase(failover.id());
  if (failover.id() == before_.failover) return;
  Require(record.epoch() == before_.epoch + 1 && failover.epoch() == record.epoch(),
          "decision_raises_the_epoch", failover.id(), now);
  Require(!Open(before_.stage), "one_failover_at_a_time", failover.id(), now);
  Require(ActiveOf(record) == failover.from(), "decision_leaves_roles", failover.id(), now);
  const auto* order = std::get_if<core::Order>(&event);
  if (order != nullptr) Require(!order->dry_run, "dry_run_changes_nothing", failover.id(), now);
  if (failover.trigger() == "operator") {
    Require(order != nullptr && std::holds_alternative<core::OrderFailover>(order->body),
            "operator_failover_was_ordered", failover.id(), now);
    return;
  }
  if (failover.trigger() == "approved") {
    const auto* approve =
        order == nullptr ? nullptr : std::get_if<core::OrderApprove>(&order->body);
    Require(approve != nullptr && approve->approve, "approved_failover_was_approved", failover.id(),
            now);
  } else {
    Require(config_->mode == core::Mode::kAutomatic, "only_automatic_acts_alone", failover.id(),
            now);
  }
  AutomaticDecision(record, now);
}

void Oracle::Measured(const core::AgentId& agent, const core::ProbeSample& sample, Now now) {
  if (sample.target.kind != core::TargetKind::kService) return;
  Row& row = measured_[{agent, sample.target.service}];
  row.length = sample.success ? 0 : row.length + 1;
  if (row.length >= config_->decider().failure_threshold) row.long_enough = now.steady;
}

// Silence is no evidence: failures were measured in a row, not only heard of in a row (S7). What is
// fresh may have been on its way for a second.
bool Oracle::Failed(int service, int region, Now now) const {
  const absl::Duration fresh =
      2 * config_->decider().interval + config_->decider().timeout + absl::Seconds(1);
  return std::any_of(measured_.begin(), measured_.end(), [&](const auto& line) {
    const auto& [agent, of] = line.first;
    return of == service && agent.probe_region == config_->probe_regions[region] &&
           now.steady - line.second.long_enough <= fresh;
  });
}

void Oracle::AutomaticDecision(const v1::GroupRecord& record, Now now) {
  const v1::Failover& failover = record.failover();
  const int from = config_->ServiceIndex(failover.from());
  Require(votes_.QuorumDown(from, now.steady), "quorum_of_fresh_down_votes",
          absl::StrCat(failover.id(), ": ", votes_.Count(from, Opinion::kDown, now.steady),
                       " down, ", votes_.Count(from, Opinion::kUp, now.steady), " up"),
          now);
  for (size_t region = 0; region < config_->probe_regions.size(); ++region) {
    if (votes_.Of(from, static_cast<int>(region), now.steady) != Opinion::kDown) continue;
    Require(Failed(from, static_cast<int>(region), now), "down_votes_were_measured",
            config_->probe_regions[region], now);
    if (failover.trigger() != "automatic") continue;
    Require(now.steady - votes_.LastSuccess(from, static_cast<int>(region)) >=
                config_->min_down_duration,
            "dwell", config_->probe_regions[region], now);
  }
  Require(!before_.paused || !record.pause().active(), "paused_decides_nothing", failover.id(),
          now);
  int last_day = 0;
  for (const auto& [id, at] : switches_) {
    if (id == failover.id()) continue;
    last_day += now.wall - at.wall < absl::Hours(24) ? 1 : 0;
    const absl::Duration since =
        std::max(now.wall - at.wall, now.steady - at.steady);  // the wall clock may be set
    Require(acknowledged_ >= at.wall || since >= config_->cooldown - absl::Milliseconds(1),
            "cooldown", absl::StrCat(failover.id(), " after ", id), now);
  }
  Require(last_day < config_->max_per_day, "daily_limit",
          absl::StrCat(failover.id(), " is number ", last_day + 1), now);
  bool matched = true;
  for (const auto& [name, on] : traffic_known_.second) matched &= on == (name == failover.from());
  Require(matched, "no_switch_over_a_foreign_change", failover.id(), now);
  Fit(record, failover.to(), now);
}

void Oracle::Fit(const v1::GroupRecord& record, const std::string& to, Now now) {
  const v1::ServiceRecord& standby = *FindService(record, to);
  const ServiceTruth& truth = truth_->services.at(to);
  Require(standby.role() == v1::ROLE_STANDBY && standby.recovery_point_ms() != 0 &&
              !standby.content_unverified(),
          "standby_is_verified", to, now);
  Require(!standby.not_resynced(), "never_back_to_the_former_active", to, now);
  Require(absl::ToUnixMillis(now.wall) - standby.recovery_point_ms() <=
              absl::ToInt64Milliseconds(config_->max_data_loss),
          "data_loss_is_bounded", to, now);
  Require(standby.backup_expires_ms() > absl::ToUnixMillis(now.wall),
          "backup_is_inside_its_lifetime", to, now);
  Require(votes_.QuorumUp(config_->ServiceIndex(to), now.steady), "standby_is_up", to, now);
  Require(truth.sku == truth_->services.at(record.failover().from()).sku, "same_tier", to, now);
  Require(!truth.half_restored, "standby_is_whole", to, now);
  Require(truth.running.empty() || abandoned_.contains(truth.running), "standby_is_idle",
          absl::StrCat(to, " runs ", truth.running), now);
  for (const v1::Operation& operation : record.operations()) {
    if (operation.service() == to)
      Require(!Open(operation.state()), "standby_has_no_open_operation", operation.id(), now);
  }
}

void Oracle::PauseHolds(const core::Event&, const v1::GroupRecord& record, Now now) {
  if (!before_.paused || !record.pause().active()) return;
  const bool scheduled = record.sync_run().trigger() == "schedule";
  if (record.sync_run().id() != before_.sync_run)
    Require(!scheduled, "paused_starts_no_sync", record.sync_run().id(), now);
  const bool went_on = before_.stage == v1::FAILOVER_STAGE_DECIDED &&
                       record.failover().stage() == v1::FAILOVER_STAGE_ENABLING;
  if (went_on)
    Require(record.failover().trigger() == "operator", "paused_enables_nothing",
            record.failover().id(), now);
  for (const v1::Operation* operation : Added(record)) {
    if (operation->run_id() == record.sync_run().id())
      Require(!scheduled, "paused_starts_no_operation", operation->id(), now);
  }
}

// A standby's recovery point moves only when its content, as the truth gave it, is the backup's.
void Oracle::Recovery(const core::Event& event, const v1::GroupRecord& record, Now now) {
  for (int i = 0; i < record.services_size(); ++i) {
    const v1::ServiceRecord& service = record.services(i);
    const bool read = std::holds_alternative<core::FingerprintRead>(event);
    const bool back = service.recovery_point_ms() < before_.recovery[i];  // capped: roles changed
    if (service.recovery_point_ms() == 0 || service.recovery_point_ms() == before_.recovery[i])
      continue;
    if (back && !read) continue;
    const auto blob = truth_->blobs.find(service.recovery_blob());
    Require(read && blob != truth_->blobs.end() && blob->second.complete && !blob->second.bad,
            "recovery_point_has_a_backup", service.name(), now);
    if (blob == truth_->blobs.end()) continue;
    Require(served_[service.name()].content == EntitiesOf(blob->second.content),
            "verified_is_equal", absl::StrCat(service.name(), " from ", service.recovery_blob()),
            now);
    left_[service.name()] = served_[service.name()].content;
    if (wall_jumps_) continue;
    const absl::Time snapshot = now.wall - (now.steady - blob->second.snapshot);
    Require(absl::FromUnixMillis(service.recovery_point_ms()) <= snapshot,
            "recovery_point_is_the_start", service.name(), now);
  }
}

void Oracle::NoteDownVotes(const v1::GroupRecord& record, Now now) {
  const std::string active = ActiveOf(record);
  if (active != watched_) {
    watched_ = active;
    down_since_.clear();
    last_down_.clear();
    up_since_ = SteadyTime::InfiniteFuture();
  }
  const int index = config_->ServiceIndex(active);
  if (index < 0) return;
  for (size_t i = 0; i < config_->probe_regions.size(); ++i) {
    const int region = static_cast<int>(i);
    if (votes_.Of(index, region, now.steady) == Opinion::kDown) {
      down_since_.try_emplace(region, now.steady);
      last_down_[region] = now.steady;
    } else {
      down_since_.erase(region);
    }
  }
  if (!votes_.QuorumUp(index, now.steady)) {
    up_since_ = SteadyTime::InfiniteFuture();
  } else if (up_since_ == SteadyTime::InfiniteFuture()) {
    up_since_ = now.steady;
  }
}

void Oracle::FreezeHolds(const v1::GroupRecord& record, int active, Now now) {
  Require(!record.frozen_by_operator(), "operator_freeze_holds", "a restore was sent", now);
  // A vote that grew stale since the step before counts: timers are late by a moment.
  Require(votes_.QuorumUp(active, now.steady) || votes_.QuorumUp(active, before_.at),
          "restore_needs_the_active_up",
          absl::StrCat(votes_.Count(active, Opinion::kUp, now.steady), " up"), now);
  absl::Duration rpo = absl::ZeroDuration();
  for (const v1::ServiceRecord& service : record.services()) {
    if (service.role() != v1::ROLE_STANDBY) continue;
    rpo = service.content_unverified()
              ? absl::InfiniteDuration()  // nobody knows what it holds
              : std::max(rpo, now.wall - absl::FromUnixMillis(service.recovery_point_ms()));
    if (service.content_unverified()) break;
  }
  if (rpo > config_->rpo_objective / 2 && now.steady - up_since_ >= config_->timing.freeze_thaw)
    return Count("freeze_thawed_by_rpo");
  const bool lone = down_since_.size() == 1 &&
                    now.steady - down_since_.begin()->second >= config_->timing.freeze_hold;
  if (lone) Count("freeze_lone_dissent");
  for (const auto& [region, at] : last_down_) {
    if (lone && region == down_since_.begin()->first) continue;
    Require(
        now.steady - at >= config_->timing.freeze_hold - absl::Seconds(1),
        "suspicion_freezes_restores",
        absl::StrCat(config_->probe_regions[region], " voted down ",
                     absl::FormatDuration(now.steady - at), " ago; RPO ", absl::FormatDuration(rpo),
                     ", up for ", absl::FormatDuration(now.steady - up_since_)),
        now);
  }
}

bool Oracle::Replaceable(const core::StartRestore& restore, const v1::GroupRecord& record) const {
  const auto served = served_.find(restore.service);
  if (served == served_.end()) return false;
  const Reading& seen = served->second;
  const auto left = left_.find(restore.service);
  if (left != left_.end() && left->second == seen.content) return true;
  if (left == left_.end() && seen.sample_only) return true;
  const v1::Operation* operation = FindOperation(record, restore.operation_id);
  if (operation != nullptr && operation->was_unverified())
    return true;  // left by our own failed restore
  for (const auto& [name, blob] : truth_->blobs) {
    if (blob.service == restore.service && blob.complete && !blob.bad &&
        EntitiesOf(blob.content) == seen.content)
      return true;
  }
  return false;
}

void Oracle::RestoreLeaves(const core::StartRestore& restore, const v1::GroupRecord& record,
                           Now now) {
  const v1::ServiceRecord* target = FindService(record, restore.service);
  const std::string active = ActiveOf(record);
  Require(target != nullptr && target->role() == v1::ROLE_STANDBY && !target->not_resynced(),
          "restore_only_onto_a_standby", restore.service, now);
  Require(!Open(record.failover().stage()), "no_restore_during_a_failover", restore.service, now);
  Require(record.sync_run().epoch() == record.epoch(), "restore_in_the_epoch_of_its_run",
          restore.service, now);
  FreezeHolds(record, config_->ServiceIndex(active), now);
  Require(now.steady - traffic_known_.first <= absl::Seconds(10), "guard_reads_traffic",
          absl::StrCat("read ", absl::FormatDuration(now.steady - traffic_known_.first), " ago"),
          now);
  bool matched = true;
  for (const auto& [name, on] : traffic_known_.second) matched &= on == (name == active);
  Require(matched, "traffic_says_standby", restore.service, now);
  const Reading& seen = served_[restore.service];
  Require(now.steady - seen.at <= absl::Seconds(10), "guard_reads_the_standby",
          absl::StrCat("read ", absl::FormatDuration(now.steady - seen.at), " ago"), now);
  const v1::Operation* backup = FindOperation(record, record.sync_run().backup().operation_id());
  if (!wall_jumps_ && backup != nullptr) {
    Require(now.wall - (now.steady - seen.at) >=
                absl::FromUnixMillis(backup->ended_ms()) - absl::Milliseconds(1),
            "standby_read_after_the_backup", restore.service, now);
  }
  Require(Replaceable(restore, record), "nothing_is_lost",
          absl::StrCat(restore.service, " holds content of somebody else"), now);
}

void Oracle::Rpo(const core::GroupState& state, Now now) {
  const std::string active = ActiveOf(state.record);
  if (active.empty() || wall_jumps_) return;
  const v1::GroupStatus status = core::StatusOf(*config_, state, now);
  for (const v1::ServiceStatus& service : status.services()) {
    const v1::ServiceRecord* record = FindService(state.record, service.name());
    if (service.role() != v1::ROLE_STANDBY || service.rpo_now_ms() < 0 || record->not_resynced())
      continue;
    const ServiceTruth& mine = truth_->services.at(service.name());
    absl::Duration oldest = absl::ZeroDuration();
    const ServiceTruth& source = truth_->services.at(active);
    for (const auto& [id, entity] : source.content) {
      const auto held = mine.content.find(id);
      const bool same =
          held != mine.content.end() ? held->second.digest == entity.digest : entity.digest.empty();
      if (same || mine.edited.contains(id) || source.edited.contains(id) ||
          entity.changed == SteadyTime::InfinitePast())
        continue;
      if (held != mine.content.end() && held->second.changed > entity.changed) continue;
      oldest = std::max(oldest, now.steady - entity.changed);
    }
    if (oldest == absl::ZeroDuration()) continue;
    Require(absl::Milliseconds(service.rpo_now_ms() + 1) >= oldest, "rpo_never_flatters",
            absl::StrCat(service.name(), " says ", service.rpo_now_ms(), " ms, is ",
                         absl::FormatDuration(oldest)),
            now);
  }
}

}  // namespace failover::sim
