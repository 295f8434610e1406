#ifndef CONTROLLER_RUNTIME_CONTROL_LOOP_H_
#define CONTROLLER_RUNTIME_CONTROL_LOOP_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "common/clock.h"
#include "common/http_client.h"
#include "controller/intake/intake.h"
#include "controller/metrics/metrics.h"
#include "controller/operators/operators.h"
#include "controller/runtime/settings.h"
#include "controller/store/store.h"

namespace failover::runtime {

// Leader election by somebody else: kubernetes::LeaseKeeper. Its terms are numbers from 1 on.
struct Election {
  // A request of this term may be sent now. From any thread.
  std::function<bool(uint64_t term)> may_act;
  // After a gap in this process's timers: nothing may be sent before the claim is renewed.
  std::function<void()> require_renewal;
  // Who leads, "" = nobody that is known; and why this process cannot take part, "" = it can.
  std::function<std::pair<std::string, std::string>()> leader;
};

struct ControlLoopOptions {
  Settings settings;
  store::Store* store = nullptr;
  Clock* clock = nullptr;
  std::string identity;  // of this controller, for the status
  // One client per lane thread; each request asks `may_send` just before it leaves
  // (CurlHttpClientOptions).
  std::function<std::unique_ptr<HttpClient>(std::stop_token,
                                            std::function<absl::Status()> may_send)>
      make_http;
  // Told about calls, writes and steps; may be null. Set before Start.
  metrics::Metrics* metrics = nullptr;
  // Without: this process leads from Start to Stop.
  std::optional<Election> election;
  // Told each new entry of a group's history once it is durable; may be null. The store lane's
  // thread; must not wait.
  std::function<void(const std::string& group, const v1::HistoryEntry&)> on_history;
};

// The imperative shell (design.md §3): gRPC's threads and the lanes put what happened into a
// bounded mailbox; one thread gives it to the core of each group, makes records durable, and only
// then releases commands that change the world.
//
//   intake ─▶ mailbox ─▶ core thread ─▶ store lane   (records, newest wins)
//                ▲            ├───────▶ traffic lane (reads and switches, warm)
//                └────────────┴───────▶ work lane    (everything else of Azure, polls first)
class ControlLoop {
 public:
  static std::unique_ptr<ControlLoop> Create(ControlLoopOptions options);
  virtual ~ControlLoop() = default;  // stops everything; the last records are written

  // Thread-safe; false when the mailbox is full.
  virtual bool Receive(intake::AgentInput input) = 0;
  // Begins to work; without an election also to lead. `intake` outlives the loop's last call of it.
  virtual void Start(intake::Intake* intake) = 0;
  // With an election: a term begins. Every group's record is loaded, and its term raised. Until
  // then, and after StopLeading, this is a follower: it judges what agents report, reads the
  // records that the leader writes, and sends nothing. Thread-safe.
  virtual void Lead(uint64_t term) = 0;
  // The term is over. When it returns, nothing of it goes on: no call of Azure, no write of a
  // record. Thread-safe; not after Stop.
  virtual void StopLeading(uint64_t term, const std::string& why) = 0;
  // Others may have written records: a follower reads them now, not only at its next turn.
  // Thread-safe.
  virtual void RecordsChanged() = 0;
  // Ends every thread. No call of intake or metrics afterwards. Called by the destructor too.
  virtual void Stop() = 0;

  // A new configuration; settings.azure must equal the old one. `done` is called once: OK when it
  // is in force, else why it was refused as a whole (a name bound to another service, the active
  // service removed).
  virtual void Reconfigure(Settings settings, std::function<void(absl::Status)> done) = 0;
  // Shown in the status until the next reload; empty = none.
  virtual void SetConfigError(std::string error) = 0;

  virtual operators::Handlers OperatorHandlers() = 0;
  // For metrics; at most a second old, older only while the core thread is busy.
  virtual metrics::Snapshot Snapshot() = 0;
  // Every configured group has been loaded once, or is known to be broken.
  virtual bool started() const = 0;
  // Time since the core thread last turned.
  virtual absl::Duration Idle() const = 0;
};

// Features of the product that this version lacks, in words.
const std::vector<std::string>& NotBuiltYet();

}  // namespace failover::runtime

#endif  // CONTROLLER_RUNTIME_CONTROL_LOOP_H_
