#include "controller/core/failover.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "controller/core/evaluate.h"
#include "controller/core/operations.h"
#include "controller/core/progress.h"
#include "controller/core/traffic.h"

namespace failover::core {
namespace {

constexpr absl::Duration kApprovalLife = absl::Minutes(15);
constexpr absl::Duration kConfirmWithin = absl::Minutes(5);
constexpr absl::Duration kPatchBudget = absl::Seconds(5);
constexpr absl::Duration kSwitchRetry = absl::Seconds(1);
constexpr absl::Duration kGiveUp =
    absl::Seconds(60);  // of an order whose enable request is refused all the time

v1::Failover& Open(Context& c) { return *c.record().mutable_failover(); }

bool Unattended(const v1::Failover& failover) { return failover.trigger() != "operator"; }

BlockerSet Forced(const v1::Failover& failover) {
  BlockerSet set;
  for (const std::string& name : failover.forced()) {
    if (const BlockerRule* rule = FindBlocker(name)) set.Set(rule->blocker);
  }
  return set;
}

void End(Context& c, v1::FailoverStage stage, std::string outcome) {
  v1::Failover& failover = Open(c);
  failover.set_stage(stage);
  failover.set_ended_ms(c.wall_ms());
  failover.set_outcome(outcome);
  const bool good = stage == v1::FAILOVER_STAGE_DONE;
  if (good) NoteFailoverSteps(c.record());
  if (stage != v1::FAILOVER_STAGE_ABORTED) {
    v1::LastSwitch* last = nullptr;
    for (v1::LastSwitch& candidate : *c.record().mutable_last_switches()) {
      if (candidate.trigger() == failover.trigger()) last = &candidate;
    }
    if (last == nullptr) last = c.record().add_last_switches();
    last->set_trigger(failover.trigger());
    last->set_at_ms(failover.switched_ms());
    last->set_success(good);
    last->set_acknowledged(false);
    *last->mutable_rto() = RtoOf(failover);
    last->set_rpo_ms(failover.rpo_ms());
  }
  c.seen().set_call = 0;
  c.seen().readback_call = 0;
  c.History("failover",
            absl::StrCat("failover ", failover.from(), " → ", failover.to(), ": ", outcome),
            good                                  ? "ok"
            : stage == v1::FAILOVER_STAGE_ABORTED ? "refused"
                                                  : "failed",
            failover.id(), failover.who());
  c.Log(good ? 0 : 2,
        absl::StrCat("failover ", failover.from(), " → ", failover.to(), ": ", outcome),
        failover.id());
  HastenTrafficRead(c);
  c.again = true;
}

// Nothing can have reached the traffic layer: the failover did not happen, and does not count.
void Abort(Context& c, std::string why) {
  v1::GroupRecord& record = c.record();
  v1::Failover& failover = Open(c);
  if (failover.enable_sent_ms() != 0) {
    auto* times = record.mutable_failover_ms();
    if (!times->empty() && times->Get(times->size() - 1) == failover.enable_sent_ms())
      times->RemoveLast();
    record.set_cooldown_until_ms(failover.cooldown_before_ms());
  }
  End(c, v1::FAILOVER_STAGE_ABORTED, absl::StrCat("aborted before anything was switched: ", why));
}

// Why an unattended failover must not go on before its point of no return (design.md §7.4); empty =
// go on.
std::string AbortReason(Context& c) {
  const v1::Failover& failover = Open(c);
  Observed& seen = c.seen();
  if (!Unattended(failover)) return "";
  if (c.record().pause().active()) return "paused by an operator";
  const bool allowed = c.config.mode == Mode::kAutomatic ||
                       (c.config.mode == Mode::kApprove && failover.trigger() == "approved");
  if (!allowed) return "the mode was changed and no longer allows it";
  const int from = c.config.ServiceIndex(failover.from());
  const Verdict verdict = from < 0 ? Verdict::kUnknown : seen.verdicts[from].verdict;
  if (verdict == Verdict::kUp) return absl::StrCat(failover.from(), " is up");
  if (verdict == Verdict::kDown || !seen.grace_over) {
    seen.unknown_since.reset();
    return "";
  }
  if (!seen.unknown_since.has_value()) seen.unknown_since = c.now.steady;
  const absl::Duration patience = Freshness(c.config.decider());
  c.WakeAt(*seen.unknown_since + patience);
  if (c.now.steady - *seen.unknown_since < patience) return "";
  return absl::StrCat("the verdict on ", failover.from(), " has been unknown for ",
                      absl::FormatDuration(patience));
}

void SendEnable(Context& c) {
  v1::Failover& failover = Open(c);
  failover.set_enable_attempts(failover.enable_attempts() + 1);
  NoteTrafficWrite(c, failover.to(), true);
  c.seen().set_call = c.Emit(SetEndpoint{0, failover.to(), true, c.now.steady + kPatchBudget});
}

// DECIDED → ENABLING: the last look before the point of no return.
void AdvanceDecided(Context& c) {
  v1::GroupRecord& record = c.record();
  v1::Failover& failover = Open(c);
  if (std::string why = AbortReason(c); !why.empty()) return Abort(c, why);
  const int to = c.config.ServiceIndex(failover.to());
  if (to < 0) return Abort(c, absl::StrCat(failover.to(), " is no longer configured"));
  if (!c.seen().traffic_known) return;
  if (!TrafficMatches(c)) return Abort(c, "the traffic layer was changed by somebody else");
  const bool down =
      !Unattended(failover) ||
      c.seen().verdicts[c.config.ServiceIndex(failover.from())].verdict == Verdict::kDown;
  if (!c.MayAct() || !down || (Unattended(failover) && !c.seen().grace_over)) return;
  const BlockerSet stops = Unattended(failover)
                               ? StoppingAutomatic(c.seen().blockers.Of(to), c.config.drift_blocks)
                               : StoppingManual(c.seen().blockers.Of(to));
  if (const BlockerSet left = stops.Without(Forced(failover)); !left.empty()) {
    if (!c.seen().grace_over) return;  // after a restart the standby's votes come back first
    return Abort(
        c, absl::StrCat(failover.to(), " is no longer fit: ", absl::StrJoin(left.Names(), ", ")));
  }
  failover.set_stage(v1::FAILOVER_STAGE_ENABLING);
  failover.set_term(record.term());
  failover.set_enable_sent_ms(c.wall_ms());
  failover.set_cooldown_before_ms(record.cooldown_until_ms());
  record.add_failover_ms(c.wall_ms());
  record.set_cooldown_until_ms(c.wall_ms() + absl::ToInt64Milliseconds(c.config.cooldown));
  c.seen().enable_maybe_applied = false;
  SendEnable(c);
}

void ReadBackNow(Context& c) { c.seen().readback_call = c.Emit(ReadTraffic{}); }

void CommitRoles(Context& c) {
  v1::GroupRecord& record = c.record();
  v1::Failover& failover = Open(c);
  CapRecoveryPoints(record, failover.to());
  for (v1::ServiceRecord& service : *record.mutable_services()) {
    if (service.name() == failover.to()) {
      MakeActive(service);
    } else if (service.role() == v1::ROLE_ACTIVE) {
      service.set_role(v1::ROLE_STANDBY);
      service.set_not_resynced(true);
    }
  }
  record.set_roles_since_ms(c.wall_ms());
  record.set_roles_since_epoch(record.epoch());
  record.clear_outage();
  record.set_last_down_vote_ms(0);
  c.seen().dissent_since.clear();
  c.seen().last_down_vote = SteadyTime::InfinitePast();
  c.seen().active_up_since = SteadyTime::InfiniteFuture();
  failover.set_switched_ms(c.wall_ms());
  failover.set_stage(v1::FAILOVER_STAGE_DISABLING);
  c.seen().confirm_deadline = c.now.steady + kConfirmWithin;
  c.History("roles", absl::StrCat(failover.to(), " is active, ", failover.from(), " is a standby"),
            "ok", failover.id());
  c.Log(1, absl::StrCat("traffic switched: ", failover.from(), " → ", failover.to()),
        failover.id());
  c.again = true;
}

void AdvanceEnabling(Context& c) {
  Observed& seen = c.seen();
  if (seen.set_call != 0 || seen.readback_call != 0) return;
  if (c.now.steady < seen.switch_retry) return c.WakeAt(seen.switch_retry);
  if (seen.enable_maybe_applied) return ReadBackNow(c);
  if (std::string why = AbortReason(c); !why.empty()) return Abort(c, why);
  if (c.MayAct()) SendEnable(c);
}

void SendDisable(Context& c) {
  v1::Failover& failover = Open(c);
  NoteTrafficWrite(c, failover.from(), false);
  c.seen().set_call = c.Emit(SetEndpoint{0, failover.from(), false, c.now.steady + kPatchBudget});
}

// Which regions have seen a good answer of the public name, begun after the switch, from the new
// active.
void LookForVisibility(Context& c) {
  v1::Failover& failover = Open(c);
  if (failover.visible_ms() != 0 || failover.public_url().empty()) return;
  const int to = c.config.ServiceIndex(failover.to());
  if (to < 0) return;
  std::vector<int64_t> proved, unproved;
  for (size_t region = 0; region < c.config.probe_regions.size(); ++region) {
    int64_t first = 0, first_unproved = 0;
    for (const Agent& agent : c.seen().votes.agents) {
      if (agent.region != static_cast<int>(region)) continue;
      const PublicAnswer& mine = agent.public_successes[to];
      if (mine.success && c.WallMs(mine.started) >= failover.switched_ms())
        first = c.WallMs(mine.completed);
      const PublicAnswer& any = agent.public_answer;
      if (any.success && c.WallMs(any.started) >= failover.switched_ms() &&
          ServedBy(c.config, agent, any) < 0) {
        first_unproved = c.WallMs(any.completed);
      }
    }
    if (first != 0) {
      proved.push_back(first);
    } else if (first_unproved != 0) {
      unproved.push_back(first_unproved);
    }
  }
  const int needed = c.config.quorum;
  const bool proven = static_cast<int>(proved.size()) >= needed;
  if (!proven && static_cast<int>(proved.size() + unproved.size()) < needed) return;
  if (!proven) proved.insert(proved.end(), unproved.begin(), unproved.end());
  std::sort(proved.begin(), proved.end());
  failover.set_visible_ms(std::max(failover.switched_ms(), proved[needed - 1]));
  failover.set_proved(proven);
  c.Persist();
}

void AdvanceDisabling(Context& c) {
  Observed& seen = c.seen();
  v1::Failover& failover = Open(c);
  LookForVisibility(c);
  if (seen.set_call != 0 || seen.readback_call != 0) return;
  if (c.now.steady < seen.switch_retry) return c.WakeAt(seen.switch_retry);
  if (c.config.ServiceIndex(failover.from()) < 0) {
    failover.set_stage(v1::FAILOVER_STAGE_CONFIRMING);
    return c.Persist();
  }
  // Never leave nothing enabled: the new endpoint is seen enabled just before the old one is
  // disabled, and a disable that may have been applied is looked for, not repeated.
  const auto to = seen.enabled.find(failover.to());
  const bool sure =
      c.now.steady - seen.traffic_read <= kFreshRead && to != seen.enabled.end() && to->second;
  if (seen.disable_answered || !sure) return ReadBackNow(c);
  if (c.MayAct()) SendDisable(c);
}

void AdvanceConfirming(Context& c) {
  v1::Failover& failover = Open(c);
  if (failover.public_url().empty()) {
    return End(c, v1::FAILOVER_STAGE_DONE,
               "switched; without a public URL the RTO ends at the switch");
  }
  LookForVisibility(c);
  if (failover.visible_ms() != 0) {
    return End(c, v1::FAILOVER_STAGE_DONE,
               absl::StrCat("seen through the public name",
                            failover.proved() ? "" : " (not proved by servedBy)", ", RTO ",
                            absl::FormatDuration(absl::Milliseconds(RtoOf(failover).total_ms()))));
  }
  if (c.now.steady >= c.seen().confirm_deadline) {
    return End(c, v1::FAILOVER_STAGE_SWITCHED_NOT_SEEN,
               "switched, but not seen through the public name within 5 minutes; nothing is "
               "switched back");
  }
  c.WakeAt(c.seen().confirm_deadline);
}

bool ApprovalStands(const Look& c) {
  const v1::Approval& approval = c.record().approval();
  return approval.expires_ms() > c.wall_ms() && approval.epoch() == c.record().epoch();
}

void AskApproval(Context& c, int active, int to) {
  v1::GroupRecord& record = c.record();
  if (ApprovalStands(c)) return;
  if (record.approval().denied() && record.approval().epoch() == record.epoch() &&
      record.approval().outage_down_ms() == record.outage().down_ms()) {
    return;  // denied for this outage
  }
  v1::Approval& approval = *record.mutable_approval();
  approval.Clear();
  approval.set_id(absl::StrCat("A", record.next_id()));
  record.set_next_id(record.next_id() + 1);
  approval.set_epoch(record.epoch());
  approval.set_from(c.config.services[active].name);
  approval.set_to(c.config.services[to].name);
  approval.set_created_ms(c.wall_ms());
  approval.set_expires_ms(c.wall_ms() + absl::ToInt64Milliseconds(kApprovalLife));
  approval.set_outage_down_ms(record.outage().down_ms());
  c.History("failover",
            absl::StrCat("failover ", approval.from(), " → ", approval.to(),
                         " waits for approval: failoverctl approve ", approval.id()),
            "", approval.id());
  c.Log(2, absl::StrCat("failover waits for approval: failoverctl approve ", approval.id()),
        approval.id());
}

// The rules of design.md §7.1 and §5.5; returns what was, or would have been, done.
const char* MaybeDecide(Context& c) {
  Observed& seen = c.seen();
  const int active = c.ActiveIndex();
  seen.would_do.clear();
  if (active < 0) return "none";
  const ServiceVerdict& verdict = seen.verdicts[active];
  if (c.record().approval().expires_ms() != 0 &&
      (!ApprovalStands(c) || verdict.verdict != Verdict::kDown)) {
    c.History("failover", absl::StrCat("approval ", c.record().approval().id(), " is void"),
              "refused");
    c.record().mutable_approval()->clear_expires_ms();
  }
  if (verdict.verdict != Verdict::kDown) return "none";
  BlockerSet stops = seen.blockers.group;
  stops.Clear(Blocker::kMode);
  const int to = ChooseStandby(c, seen.blockers, true, {});
  const SteadyTime dwell = DwellOver(verdict);
  if (!stops.empty() || to < 0) return "none";
  if (c.now.steady < dwell) {
    c.WakeAt(dwell);
    return "none";
  }
  switch (c.config.mode) {
    case Mode::kAutomatic:
      if (c.MayAct()) DecideFailover(c, to, "automatic", "", "quorum of fresh down votes", {});
      return "failover";
    case Mode::kApprove:
      if (c.MayAct()) AskApproval(c, active, to);
      return "asked_approval";
    case Mode::kObserve:
    case Mode::kManual:
      seen.would_do = absl::StrCat("failover ", c.config.services[active].name, " → ",
                                   c.config.services[to].name);
      return "would_failover";
  }
  return "none";
}

}  // namespace

void DecideFailover(Context& c, int to, absl::string_view trigger, absl::string_view who,
                    absl::string_view reason, const BlockerSet& forced) {
  v1::GroupRecord& record = c.record();
  const int active = c.ActiveIndex();
  record.set_epoch(record.epoch() + 1);
  v1::Failover& failover = *record.mutable_failover();
  failover.Clear();
  failover.set_id(absl::StrCat("failover-", record.next_id()));
  record.set_next_id(record.next_id() + 1);
  failover.set_trigger(std::string(trigger));
  failover.set_who(std::string(who));
  failover.set_reason(std::string(reason));
  for (std::string& name : forced.Names()) failover.add_forced(std::move(name));
  failover.set_stage(v1::FAILOVER_STAGE_DECIDED);
  failover.set_epoch(record.epoch());
  failover.set_term(record.term());
  failover.set_from(c.config.services[active].name);
  failover.set_to(c.config.services[to].name);
  failover.set_last_good_ms(record.outage().last_good_ms());
  failover.set_first_failed_ms(record.outage().first_failed_ms());
  failover.set_down_ms(record.outage().down_ms());
  failover.set_decided_ms(c.wall_ms());
  failover.set_public_url(c.config.public_url);
  const int64_t lost_from =
      record.outage().first_failed_ms() != 0 ? record.outage().first_failed_ms() : c.wall_ms();
  const int64_t held = c.Service(to).recovery_point_ms();
  failover.set_rpo_ms(held == 0 ? -1 : std::max<int64_t>(0, lost_from - held));
  failover.set_rpo_source("recovery_point");
  record.clear_approval();
  Observed& seen = c.seen();
  seen.set_call = 0;
  seen.readback_call = 0;
  seen.enable_maybe_applied = false;
  seen.disable_answered = false;
  seen.switch_retry = SteadyTime::InfinitePast();
  seen.unknown_since.reset();
  std::string text = absl::StrCat("decided: failover ", failover.from(), " → ", failover.to(), " (",
                                  trigger, "): ", reason);
  if (!forced.empty())
    absl::StrAppend(&text, "; forced over ", absl::StrJoin(forced.Names(), ", "));
  c.History("failover", text, "", failover.id(), who);
  c.Log(1, text, failover.id());
  seen.decided_version = seen.persist_requested + 1;  // this step's record
}

void AdvanceFailover(Context& c) {
  if (!IsOpen(c.record().failover())) {
    const char* action = MaybeDecide(c);
    RecordDecision(c, action);
    return;
  }
  switch (c.record().failover().stage()) {
    case v1::FAILOVER_STAGE_DECIDED:
      if (c.seen().persist_done >= c.seen().decided_version) AdvanceDecided(c);
      return;
    case v1::FAILOVER_STAGE_ENABLING:
      return AdvanceEnabling(c);
    case v1::FAILOVER_STAGE_DISABLING:
      return AdvanceDisabling(c);
    case v1::FAILOVER_STAGE_CONFIRMING:
      return AdvanceConfirming(c);
    default:
      return;
  }
}

void OnEndpointSet(Context& c, const EndpointSet& set) {
  Observed& seen = c.seen();
  if (set.call != seen.set_call) return;
  seen.set_call = 0;
  v1::Failover& failover = Open(c);
  if (!IsOpen(failover)) {  // a repair
    HastenTrafficRead(c);
    return;
  }
  const bool sent =
      set.result.status == CallStatus::kOk || set.result.status == CallStatus::kUnclear;
  if (!sent && failover.stage() == v1::FAILOVER_STAGE_ENABLING && !seen.enable_maybe_applied &&
      !Unattended(failover) &&
      c.wall_ms() - failover.enable_sent_ms() > absl::ToInt64Milliseconds(kGiveUp)) {
    return Abort(c, absl::StrCat("the enable request is refused: ", Describe(set.result.error)));
  }
  if (!sent) {
    seen.switch_retry = c.now.steady + kSwitchRetry;
    c.Log(2,
          absl::StrCat(set.enabled ? "enabling " : "disabling ", set.service,
                       " failed: ", Describe(set.result.error)),
          failover.id());
    return;
  }
  if (failover.stage() == v1::FAILOVER_STAGE_ENABLING && set.service == failover.to())
    seen.enable_maybe_applied = true;
  if (failover.stage() == v1::FAILOVER_STAGE_DISABLING && set.service == failover.from())
    seen.disable_answered = true;
  c.again = true;
}

void OnReadBack(Context& c, const TrafficRead& read) {
  Observed& seen = c.seen();
  if (read.call == 0 || read.call != seen.readback_call) return;
  seen.readback_call = 0;
  v1::Failover& failover = Open(c);
  const auto enabled = [&](const std::string& service) {
    const auto found = read.enabled.find(service);
    return read.result.status == CallStatus::kOk && found != read.enabled.end() && found->second;
  };
  const bool read_ok = read.result.status == CallStatus::kOk;
  if (failover.stage() == v1::FAILOVER_STAGE_ENABLING) {
    if (enabled(failover.to())) return CommitRoles(c);
    // Not seen enabled: forward only. "Set enabled" may be sent again, it is idempotent by shape.
    seen.switch_retry = c.now.steady + kSwitchRetry;
    if (read_ok && c.MayAct()) {
      c.Log(2, absl::StrCat(failover.to(), " is not enabled yet; setting it again"), failover.id());
      SendEnable(c);
    }
  } else if (failover.stage() == v1::FAILOVER_STAGE_DISABLING) {
    if (read_ok && !enabled(failover.from()) && enabled(failover.to())) {
      failover.set_disabled_ms(c.wall_ms());
      failover.set_stage(v1::FAILOVER_STAGE_CONFIRMING);
      c.History("traffic", absl::StrCat(failover.from(), "'s endpoint is disabled"), "ok",
                failover.id());
      c.again = true;
      return;
    }
    if (read_ok) seen.disable_answered = false;
    seen.switch_retry = c.now.steady + kSwitchRetry;
    if (read_ok && !enabled(failover.to())) {
      c.Log(2,
            absl::StrCat(failover.to(),
                         " is no longer enabled: somebody else changed the traffic layer"),
            failover.id());
      NoteTrafficWrite(c, failover.to(), true);
      if (c.MayAct())
        seen.set_call = c.Emit(SetEndpoint{0, failover.to(), true, c.now.steady + kPatchBudget});
    }
  }
}

void ResumeFailover(Context& c) {
  v1::Failover& failover = Open(c);
  if (!IsOpen(failover)) return;
  Observed& seen = c.seen();
  seen.enable_maybe_applied = failover.stage() == v1::FAILOVER_STAGE_ENABLING;
  seen.disable_answered = failover.stage() == v1::FAILOVER_STAGE_DISABLING;
  seen.decided_version = 0;
  seen.confirm_deadline = c.now.steady + kConfirmWithin;
  c.History(
      "failover",
      absl::StrCat("failover ", failover.from(), " → ", failover.to(), " goes on after a restart"),
      "", failover.id());
}

}  // namespace failover::core
