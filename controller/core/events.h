#ifndef CONTROLLER_CORE_EVENTS_H_
#define CONTROLLER_CORE_EVENTS_H_

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "absl/time/time.h"
#include "apim_failover/v1/state.pb.h"
#include "common/proto.h"
#include "common/steady_time.h"

namespace failover::core {

// Everything that can happen to a group (design.md §3). Steady times are the controller's own:
// receipt minus the age that the agent reported.

// ---- probes ----

enum class TargetKind : uint8_t { kService, kPublic, kControl };

struct TargetRef {
  TargetKind kind = TargetKind::kService;
  int16_t service = -1;  // index in GroupConfig::services, kService only
  int16_t probe = -1;    // index in GroupConfig::probes (kService) or control_targets (kControl)
};

enum class FailedStage : uint8_t {
  kNone,
  kResolve,
  kConnect,
  kTls,
  kSend,
  kFirstByte,
  kBody,
  kAssertion
};

struct ProbeSample {
  TargetRef target;
  uint64_t sequence = 0;
  bool success = false;
  bool burst = false;
  bool clock_jumped = false;
  FailedStage failed_stage = FailedStage::kNone;
  SteadyTime started, completed;
  // For attribution (design.md §7.11): of public probes, and of service probes the address alone.
  std::string remote_address;
  std::vector<std::string> cname_chain;
  std::string served_by;
};

struct AgentId {
  std::string probe_region, name, instance;  // region and name from the certificate only
  friend bool operator==(const AgentId&, const AgentId&) = default;
  friend auto operator<=>(const AgentId&, const AgentId&) = default;
};

// Results of the configuration generation in force only; the intake drops others.
struct ProbeResults {
  AgentId agent;
  std::vector<ProbeSample> samples;  // in the order of their sequence numbers per target
  bool replay = false;               // a whole replay, delivered after its end mark
};

struct AgentStream {
  AgentId agent;
  bool open = true;
};

// ---- outcomes of commands; `call` is the command's number ----

enum class CallStatus : uint8_t {
  kOk,
  kFailed,   // a definite no: nothing was or will be changed by this call
  kUnclear,  // perhaps applied: the answer was lost, malformed or a 5xx
  kNotSent,  // provably not one byte was sent, or the command's send_by had passed
};

struct CallResult {
  CallStatus status = CallStatus::kOk;
  v1::AzureError error;  // of kFailed and kUnclear; for kNotSent only the message
};

// Of StartBackup and StartRestore.
struct OperationStarted {
  uint64_t call = 0;
  std::string operation_id;
  CallResult result;  // kOk: accepted with a handle. 409 is kUnclear with http_status 409
  std::string handle;
  int retry_after_s = 0;  // 0 = absent
};

// Of PollOperation: the rules of azure.md §1.3 have been applied already.
struct OperationPolled {
  enum class State : uint8_t {
    kRunning,
    kSucceeded,
    kFailed,
    kGone,
    kUnknown
  };  // kGone: 404; kUnknown: transient
  uint64_t call = 0;
  std::string operation_id;
  State state = State::kUnknown;
  v1::AzureError error;
  std::string handle;  // when it changed
  int retry_after_s = 0;
};

// Entities of a service: "<kind>/<relative id>" → HMAC of the canonical entity (design.md §6.7).
using Entities = std::map<std::string, std::string>;

// Of ReadFingerprint.
struct FingerprintRead {
  uint64_t call = 0;
  std::string service;
  CallResult result;
  v1::Fingerprint fingerprint;  // with begun_ms and finished_ms
  std::shared_ptr<const Entities> entities;
  bool pristine = false;  // Azure's sample content only
  SteadyTime begun, finished;
};

// Of InspectOperation (design.md §6.9).
struct OperationInspected {
  uint64_t call = 0;
  std::string operation_id;
  CallResult result;
  bool service_idle = false;
  bool blob_exists = false;  // backups: exists, not empty, not older than the intent
  int64_t blob_size = 0;
  v1::Fingerprint fingerprint;  // restores
  std::shared_ptr<const Entities> entities;
};

struct ServiceFacts {
  std::string service;
  bool reachable = false;
  bool idle = false;
  std::string state;  // provisioningState/targetProvisioningState as found
  std::string sku;
  std::string gateway_url;
  std::string
      refused;  // non-empty: why this service can never take part (v2, Consumption, workspaces)
  v1::AzureError error;
};

// Of RunPreflight.
struct PreflightDone {
  uint64_t call = 0;
  std::string run_id;
  CallResult result;  // token, container and blob endpoint; kOk even if a service has problems
  std::vector<ServiceFacts> services;
  std::vector<std::string> warnings;  // host names or certificates that differ
};

// Of CheckBlob.
struct BlobChecked {
  uint64_t call = 0;
  std::string operation_id;
  CallResult result;  // kFailed: missing, empty, or older than the operation
  int64_t size_bytes = 0;
};

// Of WriteManifest.
struct ManifestWritten {
  uint64_t call = 0;
  CallResult result;
};

// Of ReadManifest: what a restarted controller needs to verify a running restore.
struct ManifestRead {
  uint64_t call = 0;
  CallResult result;
  std::shared_ptr<const Entities> before, after;
};

struct Fence {
  std::string store_id;
  uint64_t epoch = 0, term = 0;
  std::string operation_id;
};

// Of WriteFence and ReadFence. WriteFence fails (kFailed) when the fence found is higher than ours
// or was not written by our store; `found` says what was there.
struct FenceDone {
  uint64_t call = 0;
  CallResult result;
  std::optional<Fence> found;  // ReadFence: absent = no fence blob exists
};

// Of ReadTraffic.
struct TrafficRead {
  uint64_t call = 0;
  CallResult result;
  std::map<std::string, bool> enabled;  // service → endpoint enabled; every configured service
  std::string problem;                  // profile disabled, endpoint missing, not ours …
  absl::Duration took;
};

// Of SetEndpoint.
struct EndpointSet {
  uint64_t call = 0;
  std::string service;
  bool enabled = false;
  CallResult result;
};

// Of CheckSwitchPath (design.md §7.10).
struct SwitchPathChecked {
  uint64_t call = 0;
  CallResult result;
  absl::Duration token_left;
  absl::Duration read_took;
};

// ---- orders of operators ----

struct OrderSyncRun {
  std::string adopt;  // a standby whose own content may be replaced after a backup of it
};
struct OrderStandbyDiscard {
  std::string service;
};
struct OrderFreeze {
  bool freeze = true;
};
struct OrderFailover {
  std::string to;                  // empty = the core's choice
  std::vector<std::string> force;  // blockers by name
};
struct OrderApprove {
  std::string id;
  bool approve = true;
};
struct OrderAck {};
struct OrderAdopt {
  std::string active;
};
struct OrderPause {
  bool pause = true;
  absl::Duration duration = absl::InfiniteDuration();
};
struct OrderAbandon {
  std::string operation_id;
};
using OrderBody = std::variant<OrderSyncRun, OrderStandbyDiscard, OrderFreeze, OrderFailover,
                               OrderApprove, OrderAck, OrderAdopt, OrderPause, OrderAbandon>;
struct Order {
  uint64_t order_id = 0;  // given by the shell; answered by exactly one Reply
  std::string who;        // identity
  std::string reason;
  OrderBody body;
  bool dry_run = false;  // say what would happen; change nothing
};

// ---- the rest ----

struct Tick {};
// The record was loaded and its term raised: this process leads. First event of every life.
struct LeadershipGained {};
struct LeadershipLost {};
// The configuration passed to Step is new. Votes start again from unknown if what is probed has
// changed.
struct ConfigChanged {};
// The record as of Commands::persist number `version` is durable.
struct Persisted {
  uint64_t version = 0;
};
struct StoreFailed {
  std::string error;
};
// The loop was late by > 2 s, or wall and boot clock disagreed by > 1 s (design.md §9).
struct ClockGap {};

using Event =
    std::variant<Tick, ProbeResults, AgentStream, OperationStarted, OperationPolled,
                 FingerprintRead, OperationInspected, PreflightDone, BlobChecked, ManifestWritten,
                 ManifestRead, FenceDone, TrafficRead, EndpointSet, SwitchPathChecked, Order,
                 LeadershipGained, LeadershipLost, ConfigChanged, Persisted, StoreFailed, ClockGap>;

}  // namespace failover::core

#endif  // CONTROLLER_CORE_EVENTS_H_
