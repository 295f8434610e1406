#ifndef CONTROLLER_KUBERNETES_LEASE_KEEPER_H_
#define CONTROLLER_KUBERNETES_LEASE_KEEPER_H_

#include <deque>
#include <functional>
#include <memory>
#include <stop_token>
#include <string>
#include <thread>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/clock.h"
#include "common/mutex.h"
#include "controller/kubernetes/client.h"
#include "controller/kubernetes/lease.h"

namespace failover::kubernetes {

// Called one after the other on a thread of the keeper's own; each returns soon and never calls the
// keeper's Release.
struct LeaseCallbacks {
  // Leads from now on, until `ended` with the same number. Everything is to be loaded afresh.
  std::function<void(const Term&)> started;
  // Nothing of the term may go on. What it still sends is stopped by MayAct, already before this
  // call.
  std::function<void(const Term&, const std::string& why)> ended;
  std::function<void(const std::string& identity)> new_leader;
  // This process can never lead (the namespace does not exist): an error of the configuration.
  std::function<void(const absl::Status&)> broken;
};

struct LeaseKeeperOptions {
  ApiServer server;
  std::string lease_name;
  std::string identity;  // NewIdentity of the pod's name
  LeaseTimes times;
  Clock* clock = nullptr;
  LeaseCallbacks callbacks;
  ApiClient::MakeHttp make_http;  // null: libcurl
  ApiClient::Observer observe;    // may be null
  // Told each write of the Lease: `renewed` when it is ours afterwards. May be null.
  std::function<void(absl::Duration took, bool renewed)> on_write;
};

// For metrics and the status.
struct LeaseState {
  bool leading = false;
  Term term;           // while leading
  std::string leader;  // last seen, "" = none
  uint64_t slow_paths = 0, terms = 0, failed_attempts = 0;
  absl::Time last_renewal = absl::InfinitePast();  // when the last write that succeeded was sent
  absl::Status problem;                            // of the last attempt
};

// The elector at work: one thread sends its requests over a connection of its own, a second one
// ends terms on time, also while a request hangs, and makes the callbacks. Thread-safe.
class LeaseKeeper {
 public:
  // InvalidArgument: a name, an address or a time is not allowed.
  static absl::StatusOr<std::unique_ptr<LeaseKeeper>> Start(LeaseKeeperOptions options);
  // Ends at once; a Lease that is still held then runs out by itself.
  ~LeaseKeeper();
  LeaseKeeper(const LeaseKeeper&) = delete;
  LeaseKeeper& operator=(const LeaseKeeper&) = delete;

  // An effect of this term may be sent now: now + W < lead_until, and no gap since the last
  // renewal.
  bool MayAct(uint64_t term) const;
  // After a gap in our own timers: nothing may be sent before a fresh renewal.
  void RequireRenewal();
  // When all work of the term has ended: calls `ended`, gives the Lease back and ends. Waits for
  // it, at most R and a request.
  void Release();

  LeaseState State() const;
  // For /livez: not OK when a thread is stuck, so that a term might be kept up that is none [K24].
  absl::Status Live() const;

 private:
  explicit LeaseKeeper(LeaseKeeperOptions options);
  void RunRequests();
  void RunTerms();
  LeaseAnswer Carry(ApiClient& client, const LeaseAction& action);
  // Takes the elector's events for the other thread, and wakes it.
  void Tell() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Call(const LeaseEvent& event) const;

  const LeaseKeeperOptions options_;
  Clock& clock_;
  const std::stop_source stop_;  // ends everything, a request under way included

  mutable Mutex mutex_;
  Elector elector_ ABSL_GUARDED_BY(mutex_);
  std::deque<LeaseEvent> events_ ABSL_GUARDED_BY(mutex_);
  std::stop_source wake_requests_ ABSL_GUARDED_BY(mutex_);  // each ends one sleep
  std::stop_source wake_terms_ ABSL_GUARDED_BY(mutex_);
  bool ended_ ABSL_GUARDED_BY(mutex_) = false;  // no request will follow
  uint64_t terms_ ABSL_GUARDED_BY(mutex_) = 0, failed_attempts_ ABSL_GUARDED_BY(mutex_) = 0;
  absl::Time last_renewal_ ABSL_GUARDED_BY(mutex_) = absl::InfinitePast();
  SteadyTime turned_ ABSL_GUARDED_BY(mutex_);

  std::thread requests_, terms_thread_;
};

}  // namespace failover::kubernetes

#endif  // CONTROLLER_KUBERNETES_LEASE_KEEPER_H_
