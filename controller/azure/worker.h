#ifndef CONTROLLER_AZURE_WORKER_H_
#define CONTROLLER_AZURE_WORKER_H_

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/clock.h"
#include "common/http_client.h"
#include "controller/azure/auth.h"
#include "controller/core/commands.h"
#include "controller/core/events.h"

namespace failover::azure {

// Everything about Azure that is configuration (config.proto AzureSpec), defaults applied.
struct AzureOptions {
  Auth auth = Auth::kClientSecret;
  std::string tenant_id, client_id, client_secret_file;
  std::string federated_token_file;  // workload identity
  std::string imds_endpoint;         // managed identity
  std::string arm_endpoint, authority_endpoint, arm_scope;
  std::string blob_endpoint;  // template with {account}
  std::string api_version, traffic_manager_api_version;
  std::string ca_file;
};

// One group's part that the core does not carry in its commands. Secrets stay in files.
struct GroupAzure {
  std::string group;
  std::map<std::string, std::string> resource_ids;       // service → APIM resource id
  std::string storage_access_key_file;                   // signs our own blob calls
  std::string traffic_manager_profile;                   // resource id; empty = no traffic section
  std::string traffic_manager_endpoint_type;             // ExternalEndpoints, …
  std::map<std::string, std::string> traffic_endpoints;  // service → endpoint name
  std::vector<std::string> verify_ignore;                // RE2 on "<kind>/<id>"
  std::string fingerprint_key;
};

// Per call, for metrics: api is arm, apim, storage, entra, imds or trafficmanager; code a status,
// "timeout" or "connect_error"; request_id what we sent as x-ms-client-request-id, empty for token
// requests. Called on the worker's thread.
using CallObserver = std::function<void(const std::string& api, const std::string& operation,
                                        const std::string& code, absl::Duration took,
                                        const std::string& request_id)>;

// What all workers share. Thread-safe after construction.
class AzureShared {
 public:
  AzureShared(AzureOptions options, Clock& clock, CallObserver observer);
  ~AzureShared();
  // Replaces the groups after a configuration change; calls in progress keep what they began with.
  void SetGroups(std::vector<GroupAzure> groups);
  void SetVerifyReadsPerSecond(int reads);
  // Expiry of the ARM token in memory; InfinitePast = none yet.
  absl::Time TokenExpiry() const;

 private:
  friend class Worker;
  struct Data;
  std::unique_ptr<Data> data_;
};

// Carries commands out, one at a time, blocking: one Worker and one HttpClient per lane thread, so
// that connections and TLS stay warm and no lane waits for another (design.md §3).
class Worker {
 public:
  Worker(AzureShared& shared, std::unique_ptr<HttpClient> http, std::stop_token stop);
  ~Worker();
  // The event that answers `command`; none for commands that are not Azure's (RequestBurst, Reply,
  // Note). `now_steady` of FingerprintRead etc. come from the clock. A send_by in the past gives
  // kNotSent. Crash points: before and after each request that changes something.
  std::optional<core::Event> CarryOut(const std::string& group, const core::Command& command);
  // For `sync diff`: canonical entities of a service.
  absl::StatusOr<core::Entities> ReadEntities(const std::string& group, const std::string& service);
  // Keeps the token and the connection to ARM warm; cheap when they are.
  void KeepWarm();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// Kinds of configuration that no comparison and no backup covers, in words, for `check` and the
// README.
const std::vector<std::string>& NotCompared();

}  // namespace failover::azure

#endif  // CONTROLLER_AZURE_WORKER_H_
