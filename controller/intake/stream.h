#ifndef CONTROLLER_INTAKE_STREAM_H_
#define CONTROLLER_INTAKE_STREAM_H_

#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "apim_failover/v1/agent.grpc.pb.h"
#include "common/mutex.h"
#include "controller/intake/hub.h"
#include "controller/intake/judge.h"

namespace failover::intake {

// One agent's stream. At most one message is read and not yet judged: the next read begins when the
// message's hold is destroyed, not before the token buckets allow it. Outgoing: one write in
// flight, one assignment of our own and one of a leading replica's (a newer one replaces it), and
// one set of burst targets.
//
// gRPC's reactions run on its own threads and never block. The object lives until OnDone, and as
// long as someone holds it.
class Stream final : public grpc::ServerBidiReactor<v1::AgentMessage, v1::ControllerMessage>,
                     public std::enable_shared_from_this<Stream> {
 public:
  // Checks who calls and begins to read, or ends the call with the reason.
  static Stream* Begin(std::shared_ptr<Hub> hub, grpc::CallbackServerContext* context);

  // The newest assignment of the stream's region; null: nothing is assigned, what is unsent is
  // withdrawn. A lower serial than the last is late and ignored.
  void Offer(uint64_t serial, std::shared_ptr<const v1::ControllerMessage> assignment);
  // One that a leading replica has passed on; sent unless the agent has it, or a newer one.
  void OfferForwarded(std::shared_ptr<const v1::ControllerMessage> assignment);
  void AskBurst(const std::vector<std::string>& targets);
  // Ends the call; the first reason counts.
  void Close(grpc::Status status);
  // The message last read has been judged.
  void ReadOn();

  void OnReadDone(bool ok) override;
  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override;

 private:
  // (term, generation): the order in which agents obey assignments.
  using Version = std::pair<uint64_t, uint64_t>;

  Stream(std::shared_ptr<Hub> hub, grpc::CallbackServerContext* context);

  grpc::Status Identify(const grpc::CallbackServerContext& context);
  void HandleHello(const v1::Hello& hello);
  void HandleResults(const v1::ResultBatch& batch);
  void WatchReplay();
  // Pays for a message; true when the stream is in debt now and will be slowed.
  bool Charge(double results_per_second, int results);
  void Refuse(grpc::StatusCode code, const char* kind, std::string why);
  void WatchCertificate();
  // Runs `then` after `delay` unless the stream has gone.
  void After(absl::Duration delay, void (*then)(Stream&));
  void WriteLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  std::shared_ptr<void> MakeHold();

  const std::shared_ptr<Hub> hub_;

  // Never held while the hub is called, which has a lock of its own.
  Mutex mutex_;
  std::shared_ptr<Stream> self_ ABSL_GUARDED_BY(mutex_);          // until OnDone
  grpc::CallbackServerContext* context_ ABSL_GUARDED_BY(mutex_);  // null after OnDone
  bool finished_ ABSL_GUARDED_BY(mutex_) = false;                 // Finish was called
  bool reading_ ABSL_GUARDED_BY(mutex_) = false;
  bool read_planned_ ABSL_GUARDED_BY(mutex_) = false;
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
  bool writing_assignment_ ABSL_GUARDED_BY(mutex_) = false;
  bool admitted_ ABSL_GUARDED_BY(mutex_) = false;
  SteadyTime replay_since_ ABSL_GUARDED_BY(mutex_) =
      SteadyTime::InfiniteFuture();  // of the one in progress
  Budget budget_ ABSL_GUARDED_BY(mutex_);
  uint64_t serial_ ABSL_GUARDED_BY(mutex_) = 0;
  std::shared_ptr<const v1::ControllerMessage> unsent_ ABSL_GUARDED_BY(mutex_), sent_
      ABSL_GUARDED_BY(mutex_);
  std::shared_ptr<const v1::ControllerMessage> forwarded_ ABSL_GUARDED_BY(mutex_);  // unsent
  Version known_ ABSL_GUARDED_BY(mutex_);  // newest that the agent has or is being sent
  std::set<std::string> burst_ ABSL_GUARDED_BY(mutex_);
  v1::ControllerMessage burst_message_ ABSL_GUARDED_BY(mutex_);  // while it is written

  // Written by Begin and the reactions to reads, of which there is one at a time; `agent_` before
  // the hub knows of the stream, so that every later reader sees it.
  Peer peer_;
  bool entered_ = false;
  core::AgentId agent_;
  v1::AgentMessage in_;
  Judge judge_;
};

}  // namespace failover::intake

#endif  // CONTROLLER_INTAKE_STREAM_H_
