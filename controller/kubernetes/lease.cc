#include "controller/kubernetes/lease.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "common/config_file.h"
#include "common/digest.h"

namespace failover::kubernetes {
namespace {

constexpr double kJitter = 1.2;  // [K16]
constexpr absl::Duration kReleaseRetry =
    absl::Milliseconds(250);  // after a failed request of a release

absl::Status Refused(absl::string_view name, absl::Duration found, absl::string_view allowed) {
  return absl::InvalidArgumentError(absl::StrCat("leaderElection.", name, ": found ",
                                                 failover::FormatDuration(found),
                                                 "; allowed: ", allowed));
}

}  // namespace

absl::Duration LeaseTimes::RequestTimeout() const {
  if (request_timeout != absl::ZeroDuration()) return request_timeout;
  return std::max(absl::Seconds(1), renew_deadline / 2);
}

absl::Status CheckLeaseTimes(const LeaseTimes& times) {
  const absl::Duration d = times.duration, r = times.renew_deadline, p = times.retry_period;
  if (p <= absl::ZeroDuration()) return Refused("retryPeriod", p, "more than 0s");
  if (d < absl::Seconds(1) || d % absl::Seconds(1) != absl::ZeroDuration() || d > absl::Hours(1)) {
    return Refused("leaseDuration", d, "whole seconds from 1s to 1h");
  }
  if (r <= 1.2 * p) return Refused("renewDeadline", r, "more than 1.2 times retryPeriod");
  if (d - r < std::max(absl::Seconds(2), 0.2 * d)) {
    return Refused("renewDeadline", r,
                   "less than leaseDuration by at least 2s and a fifth of it: the only time "
                   "between our stepping down "
                   "and another's taking over");
  }
  const absl::Duration timeout = times.RequestTimeout();
  if (timeout <= absl::ZeroDuration()) return Refused("requestTimeout", timeout, "more than 0s");
  if (r - p - timeout < kEffectMargin) {
    return Refused("requestTimeout", timeout,
                   "renewDeadline less retryPeriod less requestTimeout is 1s at least, or a single "
                   "slow renewal would "
                   "stop the work of a leader");
  }
  return absl::OkStatus();
}

std::string NewIdentity(absl::string_view pod_name) {
  return absl::StrCat(pod_name, "_", RandomUuid());
}

bool SameClaim(const LeaseRecord& a, const LeaseRecord& b) {
  return a.holder == b.holder && a.duration_seconds == b.duration_seconds &&
         a.acquired == b.acquired && a.renewed == b.renewed && a.transitions == b.transitions;
}

// Strictly, and by the holder's own duration [K12].
bool Elector::IsHeld(SteadyTime at) const {
  if (!observed_.has_value() || observed_->record.holder.empty()) return false;
  return observed_at_ + absl::Seconds(observed_->record.duration_seconds) > at;
}

// A name that we did not write is another's, also if it is the same: of an earlier life, perhaps.
bool Elector::IsOurs() const {
  return wrote_ && observed_.has_value() && observed_->record.holder == identity_;
}

bool Elector::MayAct(uint64_t term, SteadyTime now) const {
  return term_.has_value() && term_->number == term && !gap_.has_value() &&
         now + kEffectMargin < term_->lead_until;
}

void Elector::Expire(SteadyTime now) {
  if (!term_.has_value() || now < term_->lead_until) return;
  EndTerm(absl::StrCat("no renewal within ", failover::FormatDuration(times_.renew_deadline),
                       problem_.ok() ? "" : ": ", problem_.message()));
}

void Elector::RequireRenewal(SteadyTime now) {
  Expire(now);
  if (!term_.has_value()) return;
  gap_ = now;
  next_attempt_ = std::min(next_attempt_, now);
}

void Elector::Release(SteadyTime now) {
  if (releasing_ || step_ == Step::kEnd) return;
  if (term_.has_value()) EndTerm("it is given back");
  releasing_ = true;
  release_until_ = now + times_.renew_deadline;
  next_attempt_ = now;
  step_ = wrote_ ? Step::kGet : Step::kEnd;
}

LeaseAction Elector::Request(LeaseAction::Kind kind, Now now) {
  asked_ = kind;
  LeaseAction action;
  action.kind = kind;
  action.until = now.steady + times_.RequestTimeout();
  if (releasing_) action.until = std::min(action.until, release_until_);
  if (kind == LeaseAction::kUpdate) action.base = *observed_;
  if (kind != LeaseAction::kGet) {
    action.record = Claim(now.wall);
    wrote_ = true;
  }
  return action;
}

// What we write: a new Lease [K5], a renewal [K6, K19], a takeover [K7] or a release [K8].
LeaseRecord Elector::Claim(absl::Time wall) const {
  LeaseRecord record;
  record.holder = identity_;
  record.duration_seconds = absl::ToInt64Seconds(times_.duration);
  record.renewed = absl::FromUnixMicros(absl::ToUnixMicros(wall));
  record.acquired = record.renewed;
  if (step_ == Step::kCreate) return record;
  const LeaseRecord& old = observed_->record;
  // A clock that stands still must not hide a sign of life.
  if (record.renewed == old.renewed) record.renewed += absl::Microseconds(1);
  record.transitions = old.transitions;
  if (step_ == Step::kGiveBack) {
    record.holder.clear();
    record.duration_seconds = 1;  // 0 is not valid
    record.acquired = record.renewed;
  } else if (IsOurs()) {
    record.acquired = old.acquired;
  } else {
    record.acquired = record.renewed;
    ++record.transitions;
  }
  return record;
}

LeaseAction Elector::Next(Now now) {
  Expire(now.steady);
  if (releasing_ && now.steady >= release_until_) step_ = Step::kEnd;
  LeaseAction wait;
  wait.until = releasing_ ? std::min(next_attempt_, release_until_) : next_attempt_;
  switch (step_) {
    case Step::kEnd:
      wait.kind = LeaseAction::kEnd;
      return wait;
    case Step::kCreate:
      return Request(LeaseAction::kCreate, now);
    case Step::kClaim:
    case Step::kGiveBack:
      return Request(LeaseAction::kUpdate, now);
    case Step::kGet:
      if (now.steady < next_attempt_) return wait;
      return Request(LeaseAction::kGet, now);
    case Step::kAttempt:
      break;
  }
  if (now.steady < next_attempt_) return wait;
  if (term_.has_value() && cached_ && !observed_->record.preferred_holder.empty()) {  // [K11]
    wait.until = term_->lead_until;
    return wait;
  }
  attempt_begun_ = now.steady;
  reread_ = false;
  if (!term_.has_value() || !cached_) return Request(LeaseAction::kGet, now);
  step_ = Step::kClaim;
  return Request(LeaseAction::kUpdate, now);
}

void Elector::Observe(LeaseObject object, SteadyTime now) {
  if (!observed_.has_value() || observed_->uid != object.uid ||
      !SameClaim(observed_->record, object.record)) {
    observed_at_ = now;
  }
  observed_ = std::move(object);
  absent_since_.reset();
  cached_ = true;
  if (leader_ == observed_->record.holder) return;
  leader_ = observed_->record.holder;
  if (!leader_.empty()) events_.push_back({LeaseEvent::kNewLeader, {}, leader_});
}

void Elector::StartTerm(SteadyTime sent, SteadyTime now) {
  if (now >= sent + times_.renew_deadline) return;  // the answer came too late to lead by it
  term_ =
      Term{++terms_, observed_->uid, observed_->record.transitions, sent + times_.renew_deadline};
  gap_.reset();
  events_.push_back({LeaseEvent::kStarted, *term_, ""});
}

void Elector::EndTerm(absl::string_view why) {
  events_.push_back({LeaseEvent::kEnded, *std::exchange(term_, std::nullopt), std::string(why)});
  gap_.reset();
}

void Elector::Answered(LeaseAnswer answer, SteadyTime sent, SteadyTime now, double uniform) {
  Expire(now);
  const bool read = asked_ == LeaseAction::kGet, created = asked_ == LeaseAction::kCreate;
  asked_ = LeaseAction::kWait;
  if (answer.kind == LeaseAnswer::kOk || answer.kind == LeaseAnswer::kCreated) {
    if (!answer.object.has_value()) {
      answer.kind = LeaseAnswer::kFailed;
      answer.error = "found an answer without a Lease";
    } else {
      Observe(*std::move(answer.object), now);
    }
  } else {
    cached_ = false;
  }
  if (step_ == Step::kEnd) return;
  if (releasing_) return AnsweredRelease(answer, now);
  if (read) return AnsweredRead(answer, sent, now, uniform);
  AnsweredWrite(answer, created, sent, now, uniform);
}

void Elector::AnsweredRead(const LeaseAnswer& answer, SteadyTime sent, SteadyTime now,
                           double uniform) {
  if (answer.kind == LeaseAnswer::kNotFound) {
    problem_ = absl::OkStatus();
    step_ = Step::kCreate;
    if (term_.has_value()) return EndTerm("the Lease was deleted");
    if (!observed_.has_value()) return;
    // Its deletion does not tell a holder, whom we need not even have seen, that its time is over.
    const absl::Duration longest =
        std::max(times_.duration, absl::Seconds(observed_->record.duration_seconds));
    // Unless we looked often, somebody may have led in between.
    if (!absent_since_.has_value() || sent - absent_seen_ > times_.duration / 2)
      absent_since_ = now;
    absent_seen_ = now;
    if (*absent_since_ + longest > sent) Rest(now, uniform);
    return;
  }
  if (answer.kind != LeaseAnswer::kOk) return Failed(answer, now, uniform);
  problem_ = absl::OkStatus();
  if (term_.has_value() && !IsOurs()) {  // [B5]
    EndTerm(leader_.empty() ? "another released the Lease"
                            : absl::StrCat("another leads: ", leader_));
  }
  const bool end_of_term = IsOurs() && !observed_->record.preferred_holder.empty();
  if (IsHeld(sent) && (!IsOurs() || end_of_term)) return Rest(now, uniform);
  step_ = Step::kClaim;
}

void Elector::AnsweredWrite(const LeaseAnswer& answer, bool created, SteadyTime sent,
                            SteadyTime now, double uniform) {
  step_ = Step::kAttempt;
  if (created && answer.kind == LeaseAnswer::kNotFound) {
    step_ = Step::kEnd;
    problem_ = absl::NotFoundError(answer.error);
    events_.push_back({LeaseEvent::kBroken, {}, answer.error});
    return;
  }
  const bool done = answer.kind == LeaseAnswer::kOk || answer.kind == LeaseAnswer::kCreated;
  if (done && IsOurs()) {
    problem_ = absl::OkStatus();
    const bool was_leading = term_.has_value();
    if (was_leading && answer.kind == LeaseAnswer::kCreated) EndTerm("the Lease had been deleted");
    if (term_.has_value()) {
      term_->lead_until = std::max(term_->lead_until, sent + times_.renew_deadline);
      if (gap_.has_value() && sent >= *gap_) gap_.reset();
      Rest(now, uniform);
      if (gap_.has_value()) next_attempt_ = now;
      return;
    }
    // The Lease that we meant to take over is gone; somebody may have taken it before it went, and
    // still lead. The new one keeps others out meanwhile.
    if (answer.kind == LeaseAnswer::kCreated && !was_leading) lead_from_ = now + times_.duration;
    if (sent < lead_from_) return Rest(now, uniform);
    StartTerm(sent, now);
    next_attempt_ = now;  // the first renewal follows at once [K17]
    return;
  }
  // The server asks us to wait, or this attempt has read already: a failed attempt. Else read and
  // decide [K9, K18].
  if (done || answer.retry_after > absl::ZeroDuration() || !term_.has_value() || reread_) {
    return Failed(answer, now, uniform);
  }
  problem_ = absl::UnavailableError(answer.error);
  reread_ = true;
  ++slow_paths_;
  step_ = Step::kGet;
  next_attempt_ = now;
}

void Elector::AnsweredRelease(const LeaseAnswer& answer, SteadyTime now) {
  const bool giving_back = step_ == Step::kGiveBack;
  step_ = Step::kGet;
  next_attempt_ = now;
  switch (answer.kind) {
    case LeaseAnswer::kOk:
    case LeaseAnswer::kCreated:
      // Only what was just read decides whether it is still ours [B8].
      step_ = !giving_back && IsOurs() ? Step::kGiveBack : Step::kEnd;
      return;
    case LeaseAnswer::kNotFound:
      step_ = Step::kEnd;
      return;
    case LeaseAnswer::kConflict:
      return;
    case LeaseAnswer::kForbidden:
    case LeaseAnswer::kFailed:
      problem_ = absl::UnavailableError(answer.error);
      next_attempt_ = now + std::max(kReleaseRetry, answer.retry_after);
  }
}

void Elector::Failed(const LeaseAnswer& answer, SteadyTime now, double uniform) {
  if (answer.kind == LeaseAnswer::kForbidden) {
    problem_ = absl::PermissionDeniedError(answer.error);
  } else if (answer.kind != LeaseAnswer::kConflict) {  // a lost race is no error [K20]
    problem_ = absl::UnavailableError(answer.error);
  }
  Rest(now, uniform);
  if (answer.retry_after <= absl::ZeroDuration()) return;
  SteadyTime asked = now + answer.retry_after;
  if (term_.has_value()) {  // [B7] one more attempt before the term ends
    asked = std::min(asked, term_->lead_until - times_.RequestTimeout());
  } else {
    asked = std::min(asked, now + times_.duration);
  }
  next_attempt_ = std::max(next_attempt_, asked);
}

void Elector::Rest(SteadyTime now, double uniform) {
  step_ = Step::kAttempt;
  if (term_.has_value()) {
    next_attempt_ = std::max(now, attempt_begun_ + times_.retry_period);
  } else {
    next_attempt_ = now + times_.retry_period * (1 + kJitter * uniform);
    // Not later than the Lease runs out: else a takeover took another wait, beyond D + 2.2 P.
    if (IsHeld(now)) {
      next_attempt_ =
          std::min(next_attempt_, observed_at_ + absl::Seconds(observed_->record.duration_seconds));
    }
  }
}

}  // namespace failover::kubernetes
