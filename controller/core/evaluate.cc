#include "controller/core/evaluate.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "controller/core/traffic.h"

namespace failover::core {
namespace {

constexpr absl::Duration kGraceMax = absl::Seconds(60);
constexpr absl::Duration kCommonFaultWindow = absl::Minutes(2);
constexpr absl::Duration kCommonFaultMax = absl::Minutes(10);
constexpr absl::Duration kPathStale = absl::Minutes(3);
constexpr int kMaxDecisions = 20;

void UpdateGrace(Context& c) {
  Observed& seen = c.seen();
  if (seen.grace_over) return;
  int ready = 0;
  for (int results : seen.votes.fresh_results) {
    if (results >= c.config.decider().failure_threshold) ++ready;
  }
  if (ready >= c.config.quorum || c.now.steady - seen.leading_since >= kGraceMax)
    seen.grace_over = true;
  c.WakeAt(seen.leading_since + kGraceMax);
}

// The bounds of the outage's start: the earliest of what the `down` regions saw (design.md §7.11).
void BeginOutage(Context& c, const ServiceVerdict& verdict) {
  SteadyTime last_good = SteadyTime::InfiniteFuture(), first_failed = SteadyTime::InfiniteFuture();
  for (const RegionVote& region : verdict.regions) {
    if (region.vote != Vote::kDown) continue;
    if (region.last_good_started != SteadyTime::InfinitePast()) {
      last_good = std::min(last_good, region.last_good_started);
    }
    first_failed = std::min(first_failed, region.first_failed_started);
  }
  v1::Outage* outage = c.record().mutable_outage();
  outage->set_first_failed_ms(c.WallMs(first_failed));
  outage->set_last_good_ms(
      last_good == SteadyTime::InfiniteFuture() ? 0 : c.WallMs(std::min(last_good, first_failed)));
  outage->set_down_ms(c.wall_ms());
  const int active = c.ActiveIndex();
  c.History("outage", absl::StrCat(c.config.services[active].name, " is down by the quorum: ",
                                   verdict.down, " of ", verdict.regions.size(), " probe regions"));
  c.Log(2, absl::StrCat("outage: ", c.config.services[active].name, " is down"));
}

void UpdateOutage(Context& c) {
  const int active = c.ActiveIndex();
  if (active < 0) return;
  const ServiceVerdict& verdict = c.seen().verdicts[active];
  v1::Outage* outage = c.record().mutable_outage();
  if (verdict.verdict == Verdict::kDown && outage->down_ms() == 0) BeginOutage(c, verdict);
  if (verdict.verdict == Verdict::kUp && outage->down_ms() != 0) {
    c.History(
        "outage",
        absl::StrCat(c.config.services[active].name, " is up again after ",
                     absl::FormatDuration(absl::Milliseconds(c.wall_ms() - outage->down_ms()))));
    outage->Clear();
    c.Persist();
  }
}

bool BeingRestored(const Look& c, int service) {
  const v1::Operation* operation =
      OpenOperationOn(std::as_const(c.record()), c.config.services[service].name);
  return operation != nullptr && operation->kind() == v1::OPERATION_KIND_RESTORE;
}

// design.md §5.6, first half: several Azure regions went down together.
bool RegionsFailTogether(const Look& c, int active) {
  const ServiceVerdict& mine = c.seen().verdicts[active];
  for (size_t i = 0; i < c.config.services.size(); ++i) {
    const ServiceVerdict& other = c.seen().verdicts[i];
    if (other.verdict != Verdict::kDown ||
        c.config.services[i].azure_region == c.config.services[active].azure_region ||
        BeingRestored(c, static_cast<int>(i))) {
      continue;
    }
    const SteadyTime later = std::max(mine.since, other.since);
    if (later - std::min(mine.since, other.since) <= kCommonFaultWindow &&
        c.now.steady - later <= kCommonFaultMax) {
      return true;
    }
  }
  return false;
}

// Second half: right after a configuration change the deciding probe fails and all others are good.
bool ProbeChangeFails(const Look& c, int active) {
  const ServiceVerdict& mine = c.seen().verdicts[active];
  if (c.config.probes.size() < 2 || mine.since - c.seen().config_changed > kCommonFaultWindow ||
      c.now.steady - mine.since > kCommonFaultMax) {
    return false;
  }
  for (size_t probe = 0; probe < c.config.probes.size(); ++probe) {
    if (static_cast<int>(probe) == c.config.deciding_probe) continue;
    const ServiceVerdict other =
        Judge(c.config, c.seen().votes, active, static_cast<int>(probe), {}, c.now);
    if (other.verdict != Verdict::kUp) return false;
  }
  return true;
}

BlockerSet GroupBlockers(const Look& c, int active) {
  const Observed& seen = c.seen();
  const v1::GroupRecord& record = c.record();
  BlockerSet set;
  set.Set(Blocker::kMode, c.config.mode == Mode::kObserve || c.config.mode == Mode::kManual);
  set.Set(Blocker::kPaused, record.pause().active());
  set.Set(Blocker::kCooldown, record.cooldown_until_ms() > c.wall_ms());
  set.Set(Blocker::kDailyLimit, record.failover_ms_size() >= c.config.max_per_day);
  set.Set(Blocker::kStartupGrace, !seen.grace_over);
  set.Set(Blocker::kRolesUnconfirmed, active < 0);
  const bool switching =
      IsOpen(record.failover()) && record.failover().stage() != v1::FAILOVER_STAGE_DECIDED;
  set.Set(Blocker::kTrafficMismatch, !TrafficMatches(c) && !switching);
  set.Set(Blocker::kNotLeader, !seen.leading);
  set.Set(Blocker::kStoreUnavailable, seen.store_failed || seen.gap_pending);
  set.Set(Blocker::kSwitchPathBroken,
          !c.config.has_traffic || !seen.path_ok || c.now.steady - seen.path_checked > kPathStale);
  if (active >= 0) {
    const ServiceVerdict& verdict = seen.verdicts[active];
    set.Set(Blocker::kNoQuorum, verdict.up + verdict.down < c.config.quorum);
    set.Set(Blocker::kCommonFault,
            verdict.verdict == Verdict::kDown &&
                (RegionsFailTogether(c, active) || ProbeChangeFails(c, active)));
  }
  return set;
}

BlockerSet StandbyBlockers(const Look& c, int index) {
  const v1::ServiceRecord& standby = c.Service(index);
  const ServiceVerdict& verdict = c.seen().verdicts[index];
  BlockerSet set;
  set.Set(Blocker::kStandbyDown, verdict.verdict == Verdict::kDown);
  set.Set(Blocker::kStandbyUnknown, verdict.verdict == Verdict::kUnknown);
  bool misnamed = false;
  for (const RegionVote& region : verdict.regions) {
    misnamed |= region.vote == Vote::kDown &&
                (region.stage == FailedStage::kTls || region.stage == FailedStage::kAssertion);
  }
  set.Set(Blocker::kPublicNameUnready, misnamed && verdict.verdict != Verdict::kUp);
  // A former active service is not_resynced: it has content, though of its own.
  set.Set(Blocker::kNeverSynced, standby.recovery_point_ms() == 0 && !standby.not_resynced());
  set.Set(Blocker::kUnverified, standby.content_unverified());
  set.Set(Blocker::kBackupExpired,
          standby.backup_expires_ms() != 0 && standby.backup_expires_ms() <= c.wall_ms());
  const int active = c.ActiveIndex();
  const std::string sku = active >= 0 ? c.Service(active).sku() : "";
  set.Set(Blocker::kTierMismatch, !sku.empty() && !standby.sku().empty() && sku != standby.sku());
  set.Set(Blocker::kNotResynced, standby.not_resynced());
  set.Set(Blocker::kRecoveryPointTooOld,
          standby.recovery_point_ms() != 0 && RpoNow(standby, c.now.wall) > c.config.max_data_loss);
  set.Set(Blocker::kDrift, standby.drift().found_ms() != 0);
  if (const v1::Operation* open = OpenOperationOn(std::as_const(c.record()), standby.name())) {
    const bool unclear = open->state() == v1::OPERATION_STATE_AMBIGUOUS ||
                         open->state() == v1::OPERATION_STATE_NEEDS_OPERATOR;
    set.Set(unclear ? Blocker::kOperationAmbiguous : Blocker::kRestoreRunning);
  }
  return set;
}

}  // namespace

void UpdateVerdicts(Context& c) {
  Observed& seen = c.seen();
  DropGoneAgents(c.now.steady, seen.votes);
  seen.verdicts.resize(c.config.services.size());
  for (size_t i = 0; i < c.config.services.size(); ++i) {
    seen.verdicts[i] = Judge(c.config, seen.votes, static_cast<int>(i), c.config.deciding_probe,
                             seen.verdicts[i], c.now);
  }
  UpdateGrace(c);
  UpdateOutage(c);
  v1::GroupRecord& record = c.record();
  auto* failovers = record.mutable_failover_ms();
  while (!failovers->empty() &&
         failovers->Get(0) <= c.wall_ms() - absl::ToInt64Milliseconds(absl::Hours(24))) {
    failovers->erase(failovers->begin());
  }
  if (record.pause().active() && record.pause().until_ms() != 0 &&
      record.pause().until_ms() <= c.wall_ms()) {
    c.History("order", "the pause is over");
    record.clear_pause();
  }
}

void UpdateFreeze(Context& c) {
  Observed& seen = c.seen();
  const int active = c.ActiveIndex();
  if (active < 0) return;
  const ServiceVerdict& verdict = seen.verdicts[active];
  if (verdict.verdict != Verdict::kUp) {
    seen.active_up_since = SteadyTime::InfiniteFuture();
  } else if (seen.active_up_since == SteadyTime::InfiniteFuture()) {
    seen.active_up_since = c.now.steady;
  }
  for (size_t i = 0; i < verdict.regions.size(); ++i) {
    const int region = static_cast<int>(i);
    const bool down = verdict.regions[i].vote == Vote::kDown;
    const auto known = seen.dissent_since.find(region);
    if (down == (known != seen.dissent_since.end())) continue;
    if (down) {
      seen.dissent_since[region] = c.now.steady;
    } else {
      seen.dissent_since.erase(known);
    }
    c.record().set_last_down_vote_ms(c.wall_ms());
    seen.last_down_vote = c.now.steady;
    c.Persist();
  }
  // For a next life, which will not see the end of a vote that stands now.
  const absl::Duration hold = c.config.timing.freeze_hold;
  const bool young =
      std::any_of(seen.dissent_since.begin(), seen.dissent_since.end(),
                  [&](const auto& dissent) { return c.now.steady - dissent.second < hold; });
  if (young == c.record().young_down_vote()) return;
  c.record().set_young_down_vote(young);
  c.Persist();
}

int DissentingRegion(const Look& c) {
  const auto& dissent = c.seen().dissent_since;
  if (dissent.size() != 1) return -1;
  const auto& [region, since] = *dissent.begin();
  return c.now.steady - since >= c.config.timing.freeze_hold ? region : -1;
}

Freeze FreezeOf(const Look& c) {
  const Observed& seen = c.seen();
  const v1::GroupRecord& record = c.record();
  const int active = c.ActiveIndex();
  if (record.frozen_by_operator()) {
    return {absl::StrCat("frozen by an operator: ", record.frozen_reason()),
            record.frozen_since_ms()};
  }
  if (active < 0) return {"roles are unconfirmed"};
  const std::string& name = c.config.services[active].name;
  const ServiceVerdict& verdict = seen.verdicts[active];
  if (verdict.verdict != Verdict::kUp) {
    return {
        absl::StrCat("the verdict on ", name, " is ",
                     verdict.verdict == Verdict::kDown ? "down" : "unknown"),
        verdict.since_wall == absl::InfinitePast() ? 0 : absl::ToUnixMillis(verdict.since_wall)};
  }
  absl::Duration rpo = absl::ZeroDuration();
  for (const v1::ServiceRecord& service : record.services()) {
    if (service.role() == v1::ROLE_STANDBY) rpo = std::max(rpo, RpoNow(service, c.now.wall));
  }
  const bool urgent =
      c.config.rpo_objective != absl::InfiniteDuration() && rpo > c.config.rpo_objective / 2;
  if (urgent && c.now.steady - seen.active_up_since >= c.config.timing.freeze_thaw) return {};
  const absl::Duration hold = c.config.timing.freeze_hold;
  const int64_t hold_ms = absl::ToInt64Milliseconds(hold);
  if (!seen.dissent_since.empty() && DissentingRegion(c) < 0) {
    const auto first =
        std::min_element(seen.dissent_since.begin(), seen.dissent_since.end(),
                         [](const auto& a, const auto& b) { return a.second < b.second; });
    const int64_t since = c.WallMs(first->second);
    return {absl::StrCat("a probe region votes down on ", name), since,
            seen.dissent_since.size() == 1 ? since + hold_ms : 0};
  }
  const absl::Duration quiet = c.now.steady - seen.last_down_vote;
  if (quiet < hold) {
    const int64_t last = c.WallMs(seen.last_down_vote);
    return {absl::StrCat("the last down vote on ", name, " is ",
                         absl::FormatDuration(absl::Trunc(quiet, absl::Seconds(1))),
                         " old; restores wait until it is ", absl::FormatDuration(hold)),
            last, last + hold_ms};
  }
  return {};
}

Blockers EvaluateBlockers(const Look& c) {
  const int active = c.ActiveIndex();
  Blockers blockers;
  blockers.group = GroupBlockers(c, active);
  blockers.services.resize(c.config.services.size());
  for (size_t i = 0; i < blockers.services.size(); ++i) {
    if (static_cast<int>(i) != active)
      blockers.services[i] = StandbyBlockers(c, static_cast<int>(i));
  }
  return blockers;
}

int ChooseStandby(const Look& c, const Blockers& blockers, bool automatic,
                  const BlockerSet& forced) {
  int best = -1;
  absl::Duration best_rpo;
  for (int i = 0; i < c.record().services_size(); ++i) {
    if (c.Service(i).role() != v1::ROLE_STANDBY) continue;
    const BlockerSet stops = automatic ? StoppingAutomatic(blockers.Of(i), c.config.drift_blocks)
                                       : StoppingManual(blockers.Of(i));
    if (!stops.Without(forced).empty()) continue;
    const absl::Duration rpo = RpoNow(c.Service(i), c.now.wall);
    if (best < 0 || rpo < best_rpo) {
      best = i;
      best_rpo = rpo;
    }
  }
  return best;
}

void RecordDecision(Context& c, absl::string_view action) {
  Observed& seen = c.seen();
  const int active = c.ActiveIndex();
  const Verdict verdict = active < 0 ? Verdict::kUnknown : seen.verdicts[active].verdict;
  const int choice = ChooseStandby(c, seen.blockers, true, {});
  std::string key = absl::StrCat(static_cast<int>(verdict), " ", seen.blockers.group.bits(), " ",
                                 choice, " ", action);
  for (const BlockerSet& set : seen.blockers.services) absl::StrAppend(&key, " ", set.bits());
  if (key == seen.decision_key) return;
  seen.decision_key = std::move(key);
  static constexpr const char* kVerdicts[] = {"unknown", "up", "down"};
  v1::Decision* decision = c.record().add_decisions();
  decision->set_at_ms(c.wall_ms());
  decision->set_epoch(c.record().epoch());
  decision->set_verdict(kVerdicts[static_cast<int>(verdict)]);
  decision->set_config_generation(c.config.generation);
  decision->set_action(std::string(action));
  if (choice >= 0) decision->set_choice(c.config.services[choice].name);
  for (std::string& name : seen.blockers.group.Names())
    decision->add_group_blockers(std::move(name));
  for (size_t i = 0; i < seen.blockers.services.size(); ++i) {
    if (static_cast<int>(i) == active) continue;
    v1::StandbyDecision* standby = decision->add_standbys();
    standby->set_service(c.config.services[i].name);
    for (std::string& name : seen.blockers.services[i].Names())
      standby->add_blockers(std::move(name));
    const absl::Duration rpo = RpoNow(c.Service(static_cast<int>(i)), c.now.wall);
    standby->set_rpo_ms(rpo == absl::InfiniteDuration() ? -1 : absl::ToInt64Milliseconds(rpo));
  }
  if (active >= 0) {
    for (size_t i = 0; i < seen.verdicts[active].regions.size(); ++i) {
      const RegionVote& region = seen.verdicts[active].regions[i];
      v1::RegionVote* vote = decision->add_votes();
      vote->set_probe_region(c.config.probe_regions[i]);
      vote->set_vote(region.vote == Vote::kUp     ? "up"
                     : region.vote == Vote::kDown ? "down"
                                                  : "unknown");
      vote->set_failures_in_a_row(region.failures);
      vote->set_control_ok(region.control_ok);
    }
  }
  if (verdict != Verdict::kDown) {
    decision->set_rule("the verdict on the active service is not down");
  } else if (!seen.blockers.group.empty()) {
    decision->set_rule(absl::StrCat("held by ", absl::StrJoin(seen.blockers.group.Names(), ", ")));
  } else {
    decision->set_rule(choice < 0 ? "no standby without a blocker"
                                  : "failover after failover.minDownDuration");
  }
  auto* decisions = c.record().mutable_decisions();
  if (decisions->size() > kMaxDecisions)
    decisions->DeleteSubrange(0, decisions->size() - kMaxDecisions);
  if (!seen.store_failed) c.Persist();
}

}  // namespace failover::core
