#ifndef CONTROLLER_INTAKE_HUB_H_
#define CONTROLLER_INTAKE_HUB_H_

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "common/mutex.h"
#include "controller/intake/intake.h"
#include "controller/intake/relay_log.h"
#include "controller/intake/table.h"
#include "controller/intake/timers.h"
#include "controller/intake/token_bucket.h"
#include "grpcpp/support/status.h"

namespace failover::intake {

class RelaySession;
class Stream;

// Who is at the other end of a stream, as far as its certificate says.
struct Peer {
  std::string address;
  bool authenticated =
      false;             // false only with --insecure: then `region` and `name` come from Hello
  bool relayed = false;  // an agent of another replica, whose word is taken
  std::string region, name;
  absl::Time certificate_expiry = absl::InfiniteFuture();
};

inline constexpr size_t kMaxIdentities = 4096;
inline constexpr size_t kMaxKnownInstances = 16;  // of an identity, connected or not
inline constexpr absl::Duration kRemembered = absl::Hours(24);

// Of every stream, an agent's or a relay.
inline constexpr absl::Duration kHelloTimeout = absl::Seconds(10);
inline constexpr absl::Duration kCertificateCheck = absl::Minutes(1);
inline constexpr absl::Duration kFinishTimeout = absl::Seconds(2);
inline constexpr size_t kMaxBurstTargets = 4096;

// True for 16 hexadecimal digits.
bool IsInstanceId(const std::string& id);
// OK when the Hello is well-formed, says what the certificate says, and its region is configured;
// else `kind` is the refusal's for the counters.
grpc::Status CheckHello(const Peer& peer, const v1::Hello& hello, const Table& table,
                        std::string& kind);
grpc::Status Exhausted(std::string text);

// What the streams of one intake share: identities and their instances, the table, counters, the
// AgentStream events, and what goes to and comes from other replicas. Thread-safe; calls no stream
// and no sink under its lock.
//
// An instance is connected by its own stream (hub.cc), by relays of other replicas (hub_relay.cc),
// or by both; an AgentStream event says whether it is by any.
class Hub {
 public:
  explicit Hub(IntakeOptions options);

  Clock& clock() const { return *options_.clock; }
  TlsIdentity* tls() const { return options_.tls; }
  Timers& timers() { return timers_; }
  // 16 hex digits, of this process: by it a relay finds that it has reached itself.
  const std::string& instance_id() const { return instance_id_; }
  // What the agents with a stream of their own say.
  RelayLog& relay_log() { return relay_log_; }
  std::shared_ptr<const Table> table() const;

  // A stream begins, before its Hello. Refused: too many of them, of this identity or in all, or
  // too fast. Every call that is not refused is undone by Leave.
  grpc::Status Enter(const Peer& peer);
  // The stream of `agent` has said hello. On success `replaced` is the older stream of the same
  // instance, to be closed by the caller, and an AgentStream event with `hold` follows.
  grpc::Status Admit(const Peer& peer, const v1::Hello& hello, const core::AgentId& agent,
                     const std::shared_ptr<Stream>& stream, std::shared_ptr<void> hold,
                     std::shared_ptr<Stream>& replaced);
  void Leave(const Peer& peer, const core::AgentId& agent, const Stream* stream);

  // False when the mailbox is full or the intake ends.
  bool Deliver(AgentInput input);
  void Note(const core::AgentId& agent, const MessageNote& note);
  void AssignmentSent(const core::AgentId& agent, uint64_t generation);
  // A stream or message refused as a whole. Shown by Agents() too when the instance is known.
  void CountRefusal(const Peer& peer, const std::string& instance, const std::string& kind,
                    const std::string& why);

  // A relay of another replica begins, before its hello. Undone by LeaveRelay.
  grpc::Status EnterRelay();
  // It has said hello as process `instance_id`. The older relay of the same process, if any, is to
  // be closed by the caller.
  std::shared_ptr<RelaySession> AddRelay(const std::string& instance_id,
                                         const std::shared_ptr<RelaySession>& session);
  void LeaveRelay(const std::string& instance_id, const RelaySession* session);
  // An agent of another replica; like Admit. `by` is that replica's address. Admitting it again
  // changes nothing but its hello.
  grpc::Status AdmitRelayed(const core::AgentId& agent, const v1::Hello& hello,
                            const std::string& by, const RelaySession* session,
                            std::shared_ptr<void> hold);
  void LeaveRelayed(const core::AgentId& agent, const RelaySession* session);
  // The relay has passed an assignment on to its agents of a region.
  void RelayedAssignmentSent(const std::string& probe_region, const RelaySession* session,
                             uint64_t generation);
  // From a leading replica: for our own agents of the region, also for those that come later. An
  // agent is not sent what it has, nor what is older.
  void ForwardAssignment(const std::string& probe_region,
                         std::shared_ptr<const v1::ControllerMessage> assignment);
  void ForwardBurst(const std::string& probe_region, const std::vector<std::string>& targets);
  // Null when there is none.
  std::shared_ptr<const v1::ControllerMessage> Forwarded(const std::string& probe_region) const;

  void SetAssignments(Assignments assignments);
  void Burst(const std::string& probe_region, const std::vector<std::string>& targets);
  std::vector<v1::AgentInfo> Agents() const;
  std::vector<AgentCounters> Counters() const;
  std::map<std::string, ReportDelays> Delays() const;

  // Closes every stream and takes no other; `sink` is not called by any later event.
  void Stop();
  // After the server has ended: waits until the last stream has left, then ends the timers.
  void AwaitEmpty();

 private:
  using Key = std::pair<std::string, std::string>;  // probe region, agent name
  struct Instance {
    v1::AgentInfo info;
    std::shared_ptr<Stream> stream;                     // its own; null when there is none
    std::map<const RelaySession*, std::string> relays;  // with the other replica's address
    SteadyTime seen;
    bool connected() const { return stream != nullptr || !relays.empty(); }
  };
  struct Identity {
    int streams = 0;  // open ones, with or without Hello
    TokenBucket connects;
    std::map<std::string, Instance> instances;
  };

  // The instance, connected or not yet, if it may be: room is made for it.
  grpc::Status FindOrAddInstanceLocked(const core::AgentId& agent, const v1::Hello& hello,
                                       Instance*& instance) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  grpc::Status AdmitLocked(const Peer& peer, const v1::Hello& hello, const core::AgentId& agent,
                           const std::shared_ptr<Stream>& stream, std::shared_ptr<Stream>& replaced)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // A path to the instance has ended.
  void PathEndedLocked(const core::AgentId& agent, Instance& instance)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  std::vector<std::shared_ptr<Stream>> StreamsOfLocked(const std::string& probe_region) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  Identity* FindOrAddLocked(const Key& key) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void ForgetOldLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void CountLocked(const Key& key, const std::string& kind, uint64_t n)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  Instance* FindLocked(const core::AgentId& agent) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void ObserveLocked(const std::string& probe_region, absl::Duration delay)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Plans an AgentStream event that says what is true when it is made.
  void AnnounceLocked(const core::AgentId& agent, std::shared_ptr<void> hold)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void
  FlushAnnouncements();  // on the timers' thread only, so that a stream's events keep their order

  const IntakeOptions options_;
  const std::string instance_id_;
  RelayLog relay_log_;
  mutable Mutex mutex_;
  std::shared_ptr<const Table> table_ ABSL_GUARDED_BY(mutex_);
  std::map<Key, Identity> identities_ ABSL_GUARDED_BY(mutex_);
  std::map<Key, std::map<std::string, uint64_t>> counters_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, ReportDelays> delays_ ABSL_GUARDED_BY(mutex_);  // by probe region
  std::map<core::AgentId, std::vector<std::shared_ptr<void>>> announcements_
      ABSL_GUARDED_BY(mutex_);  // with the holds of the streams that wait for them
  bool flush_planned_ ABSL_GUARDED_BY(mutex_) = false;
  std::map<std::string, std::shared_ptr<RelaySession>> relays_
      ABSL_GUARDED_BY(mutex_);  // by instance id of their process
  std::map<std::string, std::shared_ptr<const v1::ControllerMessage>> forwarded_
      ABSL_GUARDED_BY(mutex_);               // newest, by probe region
  int streams_ ABSL_GUARDED_BY(mutex_) = 0;  // of agents and of relays
  int relay_streams_ ABSL_GUARDED_BY(mutex_) = 0;
  std::condition_variable_any left_;
  std::atomic<bool> stopping_ = false;
  Timers timers_;  // last: its thread ends before anything above
};

}  // namespace failover::intake

#endif  // CONTROLLER_INTAKE_HUB_H_
