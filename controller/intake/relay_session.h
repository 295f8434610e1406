#ifndef CONTROLLER_INTAKE_RELAY_SESSION_H_
#define CONTROLLER_INTAKE_RELAY_SESSION_H_

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "apim_failover/v1/agent.grpc.pb.h"
#include "common/mutex.h"
#include "controller/intake/hub.h"
#include "controller/intake/judge.h"

namespace failover::intake {

// The receiving end of a relay: what agents say to another replica of the controller. Each of them
// is judged as on a stream of its own, with budgets of its own; one that exceeds them loses the
// batch, since it must not delay the others. A few messages are read and not yet judged at a time;
// nothing is read between an agent's hello and the event that tells of it.
//
// Outgoing, when this replica leads: the newest assignment of each region, and bursts. One write is
// in flight. gRPC's reactions run on its own threads and never block. The object lives until
// OnDone, and as long as someone holds it.
class RelaySession final : public grpc::ServerBidiReactor<v1::RelayMessage, v1::RelayReply>,
                           public std::enable_shared_from_this<RelaySession> {
 public:
  // Checks who calls and begins to read, or ends the call with the reason.
  static RelaySession* Begin(std::shared_ptr<Hub> hub, grpc::CallbackServerContext* context);

  // A leader's assignments that were not sent yet; a follower's withdraw what is unsent. A lower
  // serial than the last is late and ignored.
  void Offer(const Table& table);
  void AskBurst(const std::string& probe_region, const std::vector<std::string>& targets);
  // Ends the call; the first reason counts.
  void Close(grpc::Status status);
  // Messages of that weight have been judged.
  void Judged(int weight);

  void OnReadDone(bool ok) override;
  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override;

 private:
  struct Agent {
    explicit Agent(SteadyTime now);
    v1::Hello hello;
    Judge judge;
    Budget budget;
    bool admitted = false;
    uint64_t serial = 0;    // of the table by which it was admitted or refused
    SteadyTime asked_last;  // when
  };

  RelaySession(std::shared_ptr<Hub> hub, grpc::CallbackServerContext* context);

  grpc::Status Identify(const grpc::CallbackServerContext& context);
  void WatchCertificate();
  void HandleMessage();
  void HandleHello(const v1::RelayHello& hello);
  void HandleAgent(const v1::RelayedAgent& message);
  void HandleResults(const core::AgentId& id, Agent& agent, const v1::RelayedAgent& message);
  void Admit(const core::AgentId& id, Agent& agent);
  // A part of a message, refused without an end of the relay.
  void CountRefused(const core::AgentId& id, const char* kind, std::string why);
  void Refuse(grpc::StatusCode code, const char* kind, std::string why);
  void After(absl::Duration delay, void (*then)(RelaySession&));
  void ReadOnLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void WriteLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  std::shared_ptr<void> MakeHold(int weight);

  const std::shared_ptr<Hub> hub_;

  // Never held while the hub is called, which has a lock of its own.
  Mutex mutex_;
  std::shared_ptr<RelaySession> self_ ABSL_GUARDED_BY(mutex_);    // until OnDone
  grpc::CallbackServerContext* context_ ABSL_GUARDED_BY(mutex_);  // null after OnDone
  bool finished_ ABSL_GUARDED_BY(mutex_) = false;
  bool reading_ ABSL_GUARDED_BY(mutex_) = false;  // until the message has been handled
  int unjudged_ ABSL_GUARDED_BY(mutex_) = 0;
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
  bool greeted_ ABSL_GUARDED_BY(mutex_) = false;  // its hello has come
  bool reply_hello_ ABSL_GUARDED_BY(mutex_) = false;
  uint64_t serial_ ABSL_GUARDED_BY(mutex_) = 0;
  using ByRegion = std::map<std::string, std::shared_ptr<const v1::ControllerMessage>>;
  ByRegion unsent_ ABSL_GUARDED_BY(mutex_), sent_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, std::set<std::string>> bursts_ ABSL_GUARDED_BY(mutex_);
  v1::RelayReply out_ ABSL_GUARDED_BY(mutex_);  // while it is written

  // Written by Begin and the reactions to reads, of which there is one at a time.
  std::string address_;
  absl::Time certificate_expiry_ = absl::InfiniteFuture();
  bool entered_ = false;
  std::string peer_id_;  // instance id of the other process
  v1::RelayMessage in_;
  std::map<core::AgentId, Agent> agents_;
};

}  // namespace failover::intake

#endif  // CONTROLLER_INTAKE_RELAY_SESSION_H_
