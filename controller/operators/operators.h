#ifndef CONTROLLER_OPERATORS_OPERATORS_H_
#define CONTROLLER_OPERATORS_OPERATORS_H_

#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "apim_failover/v1/operator.pb.h"
#include "common/grpc_server_metrics.h"
#include "common/proto.h"
#include "common/tls.h"

namespace failover::operators {

// The answer to one call; called exactly once, on any thread.
template <typename Response>
using Done = std::function<void(absl::StatusOr<Response>)>;

// What the runtime does for operators. Each starts work and returns at once (gRPC's threads call
// them). An error status reaches the operator with its message; NotFound for a group that is not
// configured names those that are.
struct Handlers {
  std::function<void(const v1::GetStatusRequest&, Done<v1::GetStatusResponse>)> get_status;
  std::function<void(const v1::GetHistoryRequest&, Done<v1::GetHistoryResponse>)> get_history;
  std::function<void(const v1::ListAgentsRequest&, Done<v1::ListAgentsResponse>)> list_agents;
  std::function<void(const v1::ListOperationsRequest&, Done<v1::ListOperationsResponse>)>
      list_operations;
  std::function<void(const v1::ListBackupsRequest&, Done<v1::ListBackupsResponse>)> list_backups;
  std::function<void(const v1::SyncDiffRequest&, Done<v1::SyncDiffResponse>)> sync_diff;
  // `who`: the operator's identity from the certificate.
  std::function<void(const v1::OrderRequest&, const std::string& who, Done<v1::OrderResponse>)>
      give_order;
};

struct OperatorServerOptions {
  std::string address;         // "host:port", port 0 = any
  TlsIdentity* tls = nullptr;  // null: --insecure, loopback only; identity "insecure"
  Handlers handlers;
  GrpcServerMetrics* grpc_metrics = nullptr;  // may be null
  absl::Duration call_limit = absl::Seconds(60);
  int max_calls = 64;  // at once; further ones are answered RESOURCE_EXHAUSTED
  int max_dangerous_orders_a_minute =
      6;  // of one operator; dry runs do not count (reliability.md R17)
};

// OperatorService with health and reflection on its own port (design.md §10, §11): only identities
// of kind `operator` in our trust domain; messages of at most 1 MiB; a call that outlives
// `call_limit` is answered DEADLINE_EXCEEDED, and what its handler answers later is dropped.
class OperatorServer {
 public:
  static absl::StatusOr<std::unique_ptr<OperatorServer>> Start(OperatorServerOptions options);
  virtual ~OperatorServer() = default;  // ends every call
  virtual int port() const = 0;
};

}  // namespace failover::operators

#endif  // CONTROLLER_OPERATORS_OPERATORS_H_
