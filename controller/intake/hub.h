#ifndef CONTROLLER_INTAKE_HUB_H_
#define CONTROLLER_INTAKE_HUB_H_

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "common/mutex.h"
#include "controller/intake/intake.h"
#include "controller/intake/timers.h"
#include "controller/intake/token_bucket.h"
#include "grpcpp/support/status.h"

namespace failover::intake {

class Stream;

// Who is at the other end of a stream, as far as its certificate says.
struct Peer {
  std::string address;
  bool authenticated =
      false;  // false only with --insecure: then `region` and `name` come from Hello
  std::string region, name;
  absl::Time certificate_expiry = absl::InfiniteFuture();
};

// The assignments in force with what every stream needs of them; immutable, replaced as a whole.
struct Table {
  Assignments assignments;
  uint64_t serial = 0;  // of the SetAssignments call; 0 = none yet
  struct Region {
    std::shared_ptr<const v1::ControllerMessage> message;  // null on a follower
    double results_per_second = 0;                         // regular probes of one agent
  };
  std::map<std::string, Region> regions;  // every configured one

  std::string RegionList() const;  // "northeurope, westeurope"
};

// What one message brought, for the counters and Agents().
struct MessageNote {
  uint64_t accepted = 0, replayed = 0;
  std::map<std::string, uint64_t> refused;  // by kind
  std::string refused_why;
  bool slowed = false;  // the token buckets delay the next read
  std::optional<absl::Duration> report_delay;
};

// What the streams of one intake share: identities and their instances, the table, counters, and
// the AgentStream events. Thread-safe; calls no stream and no sink under its lock.
class Hub {
 public:
  explicit Hub(IntakeOptions options);

  Clock& clock() const { return *options_.clock; }
  TlsIdentity* tls() const { return options_.tls; }
  Timers& timers() { return timers_; }
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

  void SetAssignments(Assignments assignments);
  void Burst(const std::string& probe_region, const std::vector<std::string>& targets);
  std::vector<v1::AgentInfo> Agents() const;
  std::vector<AgentCounters> Counters() const;

  // Closes every stream and takes no other; `sink` is not called by any later event.
  void Stop();
  // After the server has ended: waits until the last stream has left, then ends the timers.
  void AwaitEmpty();

 private:
  using Key = std::pair<std::string, std::string>;  // probe region, agent name
  struct Instance {
    v1::AgentInfo info;
    std::shared_ptr<Stream> stream;  // null when not connected
    SteadyTime seen;
  };
  struct Identity {
    int streams = 0;  // open ones, with or without Hello
    TokenBucket connects;
    std::map<std::string, Instance> instances;
  };

  grpc::Status AdmitLocked(const Peer& peer, const v1::Hello& hello, const core::AgentId& agent,
                           const std::shared_ptr<Stream>& stream, std::shared_ptr<Stream>& replaced)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  Identity* FindOrAddLocked(const Key& key) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void ForgetOldLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void CountLocked(const Key& key, const std::string& kind, uint64_t n)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  Instance* FindLocked(const core::AgentId& agent) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Plans an AgentStream event that says what is true when it is made.
  void AnnounceLocked(const core::AgentId& agent, std::shared_ptr<void> hold)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void
  FlushAnnouncements();  // on the timers' thread only, so that a stream's events keep their order

  const IntakeOptions options_;
  mutable Mutex mutex_;
  std::shared_ptr<const Table> table_ ABSL_GUARDED_BY(mutex_);
  std::map<Key, Identity> identities_ ABSL_GUARDED_BY(mutex_);
  std::map<Key, std::map<std::string, uint64_t>> counters_ ABSL_GUARDED_BY(mutex_);
  std::map<core::AgentId, std::shared_ptr<void>> announcements_ ABSL_GUARDED_BY(mutex_);
  bool flush_planned_ ABSL_GUARDED_BY(mutex_) = false;
  int streams_ ABSL_GUARDED_BY(mutex_) = 0;
  std::condition_variable_any left_;
  std::atomic<bool> stopping_ = false;
  Timers timers_;  // last: its thread ends before anything above
};

}  // namespace failover::intake

#endif  // CONTROLLER_INTAKE_HUB_H_
