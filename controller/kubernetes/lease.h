#ifndef CONTROLLER_KUBERNETES_LEASE_H_
#define CONTROLLER_KUBERNETES_LEASE_H_

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "common/steady_time.h"

namespace failover::kubernetes {

// Leader election on a coordination.k8s.io/v1 Lease as rules alone: no clock, no I/O. The numbers
// in brackets are those of the rules: [K…] as client-go does, [B…] stricter on purpose.
//
// A leader counts its time from the moment its last successful request was sent, a follower from
// the moment it saw the record change; neither compares the other's dates with its own clock. Two
// leaders are so excluded while clocks run at rates that differ by less than duration /
// renew_deadline.

struct LeaseTimes {
  absl::Duration duration = absl::Seconds(15);        // D: how long others wait for a silent holder
  absl::Duration renew_deadline = absl::Seconds(10);  // R: how long a request sent lets us lead
  absl::Duration retry_period = absl::Seconds(2);     // P
  absl::Duration request_timeout;                     // zero: max(1 s, R / 2) [K4]

  absl::Duration RequestTimeout() const;
  bool operator==(const LeaseTimes&) const = default;
};

// W: an effect leaves only if now + W < lead_until (design.md §9).
constexpr absl::Duration kEffectMargin = absl::Seconds(1);

// InvalidArgument names the value and the rule [K1, K2, B1]; also R − P − request time-out < W.
absl::Status CheckLeaseTimes(const LeaseTimes& times);

// `<pod name>_<random UUID>`, new for each process [K3].
std::string NewIdentity(absl::string_view pod_name);

// What a Lease says; a date that is absent is InfinitePast.
struct LeaseRecord {
  std::string holder;  // "" = free
  int64_t duration_seconds = 0;
  absl::Time acquired = absl::InfinitePast(), renewed = absl::InfinitePast();  // in microseconds
  int64_t transitions = 0;
  std::string preferred_holder;  // of coordinated election [K11]
};
// The five fields that count as a sign of life are equal [K14]; nothing else of the object is one.
bool SameClaim(const LeaseRecord& a, const LeaseRecord& b);

// A Lease as it was read. `json` is the whole object: what a write is derived from [K10].
struct LeaseObject {
  LeaseRecord record;
  std::string uid, resource_version, json;
};

struct LeaseAnswer {
  enum Kind {
    kOk,         // 200 with the object; of a create: 201
    kCreated,    // an update answered 201: the Lease had been deleted and was made anew [B2]
    kNotFound,   // 404
    kConflict,   // 409
    kForbidden,  // 401 after a new token, 403
    kFailed,     // everything else, also no answer: what was sent may have been done
  };
  Kind kind = kFailed;
  std::optional<LeaseObject> object;  // with kOk and kCreated
  absl::Duration retry_after;         // zero: none was given
  std::string error;                  // of the other kinds, for people
};

// What is to be done next, one thing at a time.
struct LeaseAction {
  enum Kind { kWait, kGet, kCreate, kUpdate, kEnd };
  Kind kind = kWait;
  SteadyTime until;    // kWait: ask again then; a request: give it up then
  LeaseRecord record;  // kCreate, kUpdate
  LeaseObject base;    // kUpdate: to be sent with its resourceVersion [K9]
};

// One uninterrupted time of leading. A gap ends it, even if nobody else led in between [B6].
struct Term {
  uint64_t number = 0;    // 1, 2, … in this process
  std::string lease_uid;  // with the next: what the cluster calls this term [B2]
  int64_t transitions = 0;
  SteadyTime lead_until = SteadyTime::InfinitePast();  // sent(last success) + R [B3]
};

struct LeaseEvent {
  enum Kind { kStarted, kEnded, kNewLeader, kBroken };
  Kind kind = kStarted;
  Term term;         // kStarted, kEnded
  std::string text;  // kEnded, kBroken: why; kNewLeader: its identity
};

// The elector of one process. Not thread-safe. Use: ask Next; carry the action out; tell Answered;
// again. Expire may be called at any time in between, so that a term ends on time with a request
// under way.
class Elector {
 public:
  // `times` passed CheckLeaseTimes; `identity` is not empty.
  Elector(std::string identity, LeaseTimes times) : identity_(std::move(identity)), times_(times) {}

  LeaseAction Next(Now now);
  // The answer to the last action, sent at `sent` and known at `now`; `uniform` is random in [0,1).
  void Answered(LeaseAnswer answer, SteadyTime sent, SteadyTime now, double uniform);
  // Ends the term if its time is over.
  void Expire(SteadyTime now);
  // The work of the term has ended [K23]: gives the Lease back, at most for R; then kEnd [B8].
  void Release(SteadyTime now);
  // Nothing may leave before a renewal that is sent from now on has succeeded (a gap in our
  // timers).
  void RequireRenewal(SteadyTime now);

  const std::optional<Term>& term() const { return term_; }
  // An effect of this term may leave now [B9].
  bool MayAct(uint64_t term, SteadyTime now) const;
  // Why the last attempt failed; OK after one that did not.
  const absl::Status& problem() const { return problem_; }
  uint64_t slow_paths() const { return slow_paths_; }
  // The last one seen; "" = none.
  const std::string& leader() const { return leader_; }
  std::vector<LeaseEvent> TakeEvents() { return std::exchange(events_, {}); }

 private:
  enum class Step { kAttempt, kGet, kCreate, kClaim, kGiveBack, kEnd };

  bool IsOurs() const;
  bool IsHeld(SteadyTime at) const;
  LeaseAction Request(LeaseAction::Kind kind, Now now);
  LeaseRecord Claim(absl::Time wall) const;
  void Observe(LeaseObject object, SteadyTime now);
  void StartTerm(SteadyTime sent, SteadyTime now);
  void EndTerm(absl::string_view why);
  void AnsweredRead(const LeaseAnswer& answer, SteadyTime sent, SteadyTime now, double uniform);
  void AnsweredWrite(const LeaseAnswer& answer, bool created, SteadyTime sent, SteadyTime now,
                     double uniform);
  void AnsweredRelease(const LeaseAnswer& answer, SteadyTime now);
  void Failed(const LeaseAnswer& answer, SteadyTime now, double uniform);
  // The attempt is over; the next one comes as [K16, K17] say.
  void Rest(SteadyTime now, double uniform);

  const std::string identity_;
  const LeaseTimes times_;

  Step step_ = Step::kAttempt;
  LeaseAction::Kind asked_ = LeaseAction::kWait;  // the request under way
  SteadyTime next_attempt_ = SteadyTime::InfinitePast();
  SteadyTime attempt_begun_ = SteadyTime::InfinitePast();
  bool reread_ = false;  // this attempt already fell back to reading
  bool cached_ = false;  // observed_ is what the server has, as far as we know [K18]
  SteadyTime lead_from_ = SteadyTime::InfinitePast();  // no term by a request sent earlier
  bool wrote_ = false;                                 // some write of ours may stand in the Lease
  bool releasing_ = false;
  SteadyTime release_until_;

  std::optional<LeaseObject> observed_;
  SteadyTime observed_at_;                  // when it was last seen to change [K12]
  std::optional<SteadyTime> absent_since_;  // first reading without a Lease after one with it
  SteadyTime absent_seen_;                  // the last one
  std::string leader_;

  std::optional<Term> term_;
  uint64_t terms_ = 0;
  std::optional<SteadyTime> gap_;  // effects wait for a renewal sent from then on
  absl::Status problem_;
  uint64_t slow_paths_ = 0;
  std::vector<LeaseEvent> events_;
};

}  // namespace failover::kubernetes

#endif  // CONTROLLER_KUBERNETES_LEASE_H_
