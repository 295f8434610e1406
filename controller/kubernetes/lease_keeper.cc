#include "controller/kubernetes/lease_keeper.h"

#include <random>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/log.h"
#include "common/status_macros.h"
#include "controller/kubernetes/lease_object.h"

namespace failover::kubernetes {
namespace {

constexpr absl::Duration kStuckAfter = absl::Seconds(20);  // beyond a lease duration [K24]
constexpr absl::Duration kLongSleep = absl::Hours(1);

LeaseAnswer Failure(LeaseAnswer::Kind kind, const absl::Status& why) {
  LeaseAnswer answer;
  answer.kind = kind;
  answer.error = std::string(why.message());
  return answer;
}

LeaseAnswer::Kind KindOf(const ApiAnswer& answer) {
  // Only the API server itself says so with a reason; anything in between answers 404 for its own.
  if (absl::IsNotFound(answer.status) && answer.reason == "NotFound") return LeaseAnswer::kNotFound;
  if (absl::IsAborted(answer.status) || absl::IsAlreadyExists(answer.status))
    return LeaseAnswer::kConflict;
  if (absl::IsPermissionDenied(answer.status) || absl::IsUnauthenticated(answer.status))
    return LeaseAnswer::kForbidden;
  return LeaseAnswer::kFailed;
}

}  // namespace

absl::StatusOr<std::unique_ptr<LeaseKeeper>> LeaseKeeper::Start(LeaseKeeperOptions options) {
  RETURN_IF_ERROR(CheckLeaseTimes(options.times));
  RETURN_IF_ERROR(CheckServer(options.server));
  if (!IsObjectName(options.lease_name)) {
    return absl::InvalidArgumentError(
        absl::StrCat("leaderElection.leaseName: found \"", options.lease_name,
                     "\"; allowed: 1 to 253 of a-z, 0-9, '-' and '.'"));
  }
  if (options.identity.empty())
    return absl::InvalidArgumentError(
        "the elector's identity is empty; allowed: a pod's name and a UUID");
  std::unique_ptr<LeaseKeeper> keeper(new LeaseKeeper(std::move(options)));
  keeper->requests_ = std::thread([k = keeper.get()] { k->RunRequests(); });
  keeper->terms_thread_ = std::thread([k = keeper.get()] { k->RunTerms(); });
  return keeper;
}

LeaseKeeper::LeaseKeeper(LeaseKeeperOptions options)
    : options_(std::move(options)),
      clock_(*options_.clock),
      elector_(options_.identity, options_.times),
      turned_(clock_.Steady()) {}

LeaseKeeper::~LeaseKeeper() {
  std::stop_source(stop_).request_stop();
  {
    MutexLock lock(mutex_);
    ended_ = true;
    wake_requests_.request_stop();
    wake_terms_.request_stop();
  }
  if (requests_.joinable()) requests_.join();
  if (terms_thread_.joinable()) terms_thread_.join();
}

bool LeaseKeeper::MayAct(uint64_t term) const {
  MutexLock lock(mutex_);
  return elector_.MayAct(term, clock_.Steady());
}

void LeaseKeeper::RequireRenewal() {
  MutexLock lock(mutex_);
  elector_.RequireRenewal(clock_.Steady());
  wake_requests_.request_stop();
  Tell();
}

void LeaseKeeper::Release() {
  {
    MutexLock lock(mutex_);
    elector_.Release(clock_.Steady());
    wake_requests_.request_stop();
    Tell();
  }
  if (requests_.joinable()) requests_.join();
  if (terms_thread_.joinable()) terms_thread_.join();
}

LeaseState LeaseKeeper::State() const {
  MutexLock lock(mutex_);
  LeaseState state;
  const std::optional<Term>& term = elector_.term();
  state.leading = term.has_value() && clock_.Steady() < term->lead_until;
  if (state.leading) state.term = *term;
  state.leader = elector_.leader();
  state.slow_paths = elector_.slow_paths();
  state.terms = terms_;
  state.failed_attempts = failed_attempts_;
  state.problem = elector_.problem();
  state.last_renewal = last_renewal_;
  return state;
}

absl::Status LeaseKeeper::Live() const {
  MutexLock lock(mutex_);
  const absl::Duration idle = clock_.Steady() - turned_;
  if (ended_ || idle <= options_.times.duration + kStuckAfter) return absl::OkStatus();
  return absl::UnavailableError(
      absl::StrCat("the Lease has not been looked at for ", absl::ToInt64Seconds(idle), " s"));
}

void LeaseKeeper::Tell() {
  for (LeaseEvent& event : elector_.TakeEvents()) {
    if (event.kind == LeaseEvent::kStarted) ++terms_;
    events_.push_back(std::move(event));
  }
  wake_terms_.request_stop();  // also for a new lead_until
}

LeaseAnswer LeaseKeeper::Carry(ApiClient& client, const LeaseAction& action) {
  const std::string& name_space = options_.server.name_space;
  ApiRequest request;
  request.timeout = action.until - clock_.Steady();
  request.path =
      LeasePath(name_space, action.kind == LeaseAction::kCreate ? "" : options_.lease_name);
  if (action.kind == LeaseAction::kCreate) {
    request.method = "POST";
    request.body = NewLeaseBody(name_space, options_.lease_name, action.record);
  } else if (action.kind == LeaseAction::kUpdate) {
    absl::StatusOr<std::string> body = UpdatedLeaseBody(action.base, action.record);
    if (!body.ok()) return Failure(LeaseAnswer::kFailed, body.status());
    request.method = "PUT";
    request.body = *std::move(body);
  }
  const ApiAnswer answered = client.Call(request);
  if (!answered.status.ok()) {
    LeaseAnswer failed = Failure(KindOf(answered), answered.status);
    failed.retry_after = answered.retry_after;
    return failed;
  }
  absl::StatusOr<LeaseObject> lease = ParseLease(answered.body);
  if (!lease.ok()) return Failure(LeaseAnswer::kFailed, lease.status());
  LeaseAnswer answer;
  answer.kind =
      request.method == "PUT" && answered.http == 201 ? LeaseAnswer::kCreated : LeaseAnswer::kOk;
  answer.object = *std::move(lease);
  return answer;
}

void LeaseKeeper::RunRequests() {
  ApiClient client(options_.server, clock_, stop_.get_token(), options_.make_http,
                   options_.observe);
  std::minstd_rand random{std::random_device{}()};
  std::uniform_real_distribution<double> uniform(0, 1);
  while (!stop_.stop_requested()) {
    LeaseAction action;
    std::stop_token wake;
    {
      MutexLock lock(mutex_);
      if (wake_requests_.stop_requested() && !ended_) wake_requests_ = std::stop_source();
      wake = wake_requests_.get_token();
      turned_ = clock_.Steady();
      action = elector_.Next(clock_.Read());
      Tell();
    }
    if (action.kind == LeaseAction::kEnd) break;
    if (action.kind == LeaseAction::kWait) {
      clock_.SleepUntil(action.until, wake);
      continue;
    }
    const auto [sent, sent_wall] = clock_.Read();
    LeaseAnswer answer = Carry(client, action);
    // A release, without a holder, is none of these.
    const bool wrote =
        (action.kind == LeaseAction::kCreate || action.kind == LeaseAction::kUpdate) &&
        !action.record.holder.empty();
    const bool renewed =
        wrote && (answer.kind == LeaseAnswer::kOk || answer.kind == LeaseAnswer::kCreated);
    if (wrote && options_.on_write) options_.on_write(clock_.Steady() - sent, renewed);
    MutexLock lock(mutex_);
    if (renewed) last_renewal_ = sent_wall;
    if (answer.kind == LeaseAnswer::kFailed || answer.kind == LeaseAnswer::kForbidden)
      ++failed_attempts_;
    elector_.Answered(std::move(answer), sent, clock_.Steady(), uniform(random));
    Tell();
  }
  MutexLock lock(mutex_);
  ended_ = true;
  wake_terms_.request_stop();
}

void LeaseKeeper::RunTerms() {
  while (true) {
    std::deque<LeaseEvent> events;
    std::stop_token wake;
    SteadyTime until;
    bool last = false;
    {
      MutexLock lock(mutex_);
      const SteadyTime now = clock_.Steady();
      elector_.Expire(now);
      Tell();
      events = std::exchange(events_, {});
      last = ended_;
      if (!last) wake_terms_ = std::stop_source();
      wake = wake_terms_.get_token();
      until = elector_.term().has_value() ? elector_.term()->lead_until : now + kLongSleep;
    }
    for (const LeaseEvent& event : events) Call(event);
    if (last) return;
    clock_.SleepUntil(until, wake);
  }
}

void LeaseKeeper::Call(const LeaseEvent& event) const {
  const LeaseCallbacks& call = options_.callbacks;
  const int64_t transitions = event.term.transitions;
  switch (event.kind) {
    case LeaseEvent::kStarted:
      LogInfo("this controller leads", {{"lease", options_.lease_name},
                                        {"identity", options_.identity},
                                        {"term", event.term.number},
                                        {"transitions", transitions}});
      if (call.started) call.started(event.term);
      break;
    case LeaseEvent::kEnded:
      LogWarning("this controller leads no longer", {{"lease", options_.lease_name},
                                                     {"identity", options_.identity},
                                                     {"term", event.term.number},
                                                     {"reason", event.text}});
      if (call.ended) call.ended(event.term, event.text);
      break;
    case LeaseEvent::kNewLeader:
      LogInfo("the leader has changed", {{"lease", options_.lease_name}, {"leader", event.text}});
      if (call.new_leader) call.new_leader(event.text);
      break;
    case LeaseEvent::kBroken:
      LogError("this controller can never lead",
               {{"lease", options_.lease_name}, {"error", event.text}});
      if (call.broken) call.broken(absl::NotFoundError(event.text));
      break;
  }
}

}  // namespace failover::kubernetes
