#ifndef CONTROLLER_CORE_COMMANDS_H_
#define CONTROLLER_CORE_COMMANDS_H_

#include <cstdint>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "apim_failover/v1/state.pb.h"
#include "common/proto.h"
#include "common/steady_time.h"
#include "controller/core/events.h"

namespace failover::core {

// What the core wants done. The shell carries each out once and answers with the event named beside
// it, quoting `call`. Commands marked (held) change the world or acknowledge: the shell releases
// them only when every record requested up to and including the same step is durable, and drops one
// whose `send_by` has passed before its first byte (answering kNotSent).

struct StartBackup {  // (held) → OperationStarted
  uint64_t call = 0;
  std::string operation_id, service, resource_id, blob;
  v1::Storage storage;
  SteadyTime send_by;
};
struct StartRestore {  // (held) → OperationStarted
  uint64_t call = 0;
  std::string operation_id, service, resource_id, blob;
  v1::Storage storage;
  SteadyTime send_by;
};
struct PollOperation {  // (held: the handle is durable before the first poll) → OperationPolled
  uint64_t call = 0;
  std::string operation_id, service, handle;
};
struct InspectOperation {  // → OperationInspected
  uint64_t call = 0;
  v1::Operation operation;
};
struct RunPreflight {  // → PreflightDone
  uint64_t call = 0;
  std::string run_id;
  std::vector<std::string> services;  // source first
  v1::Storage storage;
};
struct CheckBlob {  // → BlobChecked
  uint64_t call = 0;
  std::string operation_id, blob;
  v1::Storage storage;
  int64_t not_before_ms = 0;
};
struct WriteManifest {  // (held) → ManifestWritten
  uint64_t call = 0;
  v1::BackupRecord backup;
  v1::Storage storage;
  std::shared_ptr<const Entities> before, after;
};
struct ReadManifest {  // → ManifestRead
  uint64_t call = 0;
  std::string blob;
  v1::Storage storage;
};
struct ReadFingerprint {  // → FingerprintRead
  uint64_t call = 0;
  std::string service, resource_id;
};
struct WriteFence {  // (held) → FenceDone
  uint64_t call = 0;
  Fence fence;
  std::string adopted_store_id;  // a fence of this store counts as ours as well; may be empty
  v1::Storage storage;
  SteadyTime send_by;
};
struct ReadFence {  // → FenceDone
  uint64_t call = 0;
  v1::Storage storage;
};
struct ReadTraffic {  // traffic lane → TrafficRead
  uint64_t call = 0;
};
struct SetEndpoint {  // (held) traffic lane → EndpointSet
  uint64_t call = 0;
  std::string service;
  bool enabled = false;
  SteadyTime send_by;
};
struct CheckSwitchPath {  // traffic lane → SwitchPathChecked
  uint64_t call = 0;
};
struct RequestBurst {  // ask agents of these regions to probe this service now; no answer
  int service = 0;
  std::vector<int> probe_regions;
};
// (held when `ok`) the answer to an order.
struct Reply {
  uint64_t order_id = 0;
  bool ok = true;
  std::string text;  // a sentence for the operator: what was done, or what stands in the way and
                     // what clears it
};
// Something an operator should find in the log; `severity` 0 info, 1 warning, 2 error.
struct Note {
  int severity = 0;
  std::string text;
  std::string reference;
};

using Command =
    std::variant<StartBackup, StartRestore, PollOperation, InspectOperation, RunPreflight,
                 CheckBlob, WriteManifest, ReadManifest, ReadFingerprint, WriteFence, ReadFence,
                 ReadTraffic, SetEndpoint, CheckSwitchPath, RequestBurst, Reply, Note>;

template <typename... Types>
bool HoldsAny(const Command& command) {
  return (std::holds_alternative<Types>(command) || ...);
}

struct Commands {
  std::vector<Command> list;  // in order
  bool persist = false;       // make GroupState::record durable now; `version` numbers the request
  uint64_t version = 0;
  SteadyTime wake = SteadyTime::InfiniteFuture();  // send a Tick then, at the latest
};

}  // namespace failover::core

#endif  // CONTROLLER_CORE_COMMANDS_H_
