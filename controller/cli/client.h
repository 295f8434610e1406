#ifndef CONTROLLER_CLI_CLIENT_H_
#define CONTROLLER_CLI_CLIENT_H_

#include <memory>
#include <stop_token>

#include "absl/status/statusor.h"
#include "apim_failover/v1/operator.pb.h"
#include "common/proto.h"
#include "controller/cli/settings.h"

namespace failover::cli {

// The controller, as an operator calls it. Where its name resolves to several replicas, GetStatus
// looks for the one that leads, and every call goes to the one that answered it last. Each call
// ends within the settings' timeout, or when stopped. Errors carry the controller's words;
// Unavailable names the address.
class Client {
 public:
  static absl::StatusOr<std::unique_ptr<Client>> Connect(const Settings& settings);
  ~Client();

  absl::StatusOr<v1::GetStatusResponse> Call(const v1::GetStatusRequest& request);
  absl::StatusOr<v1::GetHistoryResponse> Call(const v1::GetHistoryRequest& request);
  absl::StatusOr<v1::ListAgentsResponse> Call(const v1::ListAgentsRequest& request);
  absl::StatusOr<v1::ListOperationsResponse> Call(const v1::ListOperationsRequest& request);
  absl::StatusOr<v1::ListBackupsResponse> Call(const v1::ListBackupsRequest& request);
  absl::StatusOr<v1::SyncDiffResponse> Call(const v1::SyncDiffRequest& request);
  absl::StatusOr<v1::OrderResponse> Call(const v1::OrderRequest& request);
  // Calls from now on end when `stop` is requested.
  void StopOn(std::stop_token stop);

 private:
  struct Parts;
  explicit Client(std::unique_ptr<Parts> parts);
  std::unique_ptr<Parts> parts_;
};

}  // namespace failover::cli

#endif  // CONTROLLER_CLI_CLIENT_H_
