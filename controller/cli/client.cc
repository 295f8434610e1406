#include "controller/cli/client.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "apim_failover/v1/operator.grpc.pb.h"
#include "common/status_macros.h"
#include "controller/cli/text.h"
#include "grpcpp/create_channel.h"
#include "grpcpp/security/credentials.h"

namespace failover::cli {
namespace {

constexpr int kMaxAnswer = 64 << 20;

absl::Status ToStatus(const grpc::Status& status, const std::string& address) {
  std::string text = Clean(status.error_message());
  if (status.error_code() == grpc::StatusCode::UNAVAILABLE)
    text = absl::StrCat("cannot reach the controller at ", address, ": ", text);
  if (status.error_code() == grpc::StatusCode::DEADLINE_EXCEEDED && text == "Deadline Exceeded")
    text = absl::StrCat("the controller at ", address, " did not answer in time");
  return absl::Status(static_cast<absl::StatusCode>(status.error_code()), text);
}

}  // namespace

struct Client::Parts {
  std::string address;
  absl::Duration timeout;
  std::unique_ptr<TlsIdentity> tls;  // outlives the channel
  std::unique_ptr<v1::OperatorService::Stub> stub;
  std::stop_token stop;

  template <typename Response, typename Request>
  absl::StatusOr<Response> Do(grpc::Status (v1::OperatorService::Stub::*method)(
                                  grpc::ClientContext*, const Request&, Response*),
                              const Request& request) {
    grpc::ClientContext context;
    context.set_deadline(absl::ToChronoTime(absl::Now() + timeout));
    const std::stop_callback cancel(stop, [&context] { context.TryCancel(); });
    Response response;
    const grpc::Status status = (stub.get()->*method)(&context, request, &response);
    if (!status.ok()) return ToStatus(status, address);
    return response;
  }
};

Client::Client(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}
Client::~Client() = default;

absl::StatusOr<std::unique_ptr<Client>> Client::Connect(const Settings& settings) {
  RETURN_IF_ERROR(NeedController(settings));
  auto parts = std::make_unique<Parts>();
  parts->address = settings.controller;
  parts->timeout = settings.timeout;
  std::shared_ptr<grpc::ChannelCredentials> credentials = grpc::InsecureChannelCredentials();
  if (!settings.insecure) {
    ASSIGN_OR_RETURN(parts->tls, TlsIdentity::Load(settings.tls));
    std::string expected = settings.controller_identity;
    if (expected.empty())
      expected = absl::StrCat("spiffe://", parts->tls->Self().trust_domain, "/controller/*");
    credentials = parts->tls->ChannelCredentials(std::move(expected));
  }
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(kMaxAnswer);
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS,
                   200);  // `status -w` sees a controller come back soon
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 1000);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 1000);
  parts->stub = v1::OperatorService::NewStub(
      grpc::CreateCustomChannel(settings.controller, credentials, arguments));
  return std::unique_ptr<Client>(new Client(std::move(parts)));
}

void Client::StopOn(std::stop_token stop) { parts_->stop = std::move(stop); }

absl::StatusOr<v1::GetStatusResponse> Client::Call(const v1::GetStatusRequest& request) {
  return parts_->Do(&v1::OperatorService::Stub::GetStatus, request);
}
absl::StatusOr<v1::GetHistoryResponse> Client::Call(const v1::GetHistoryRequest& request) {
  return parts_->Do(&v1::OperatorService::Stub::GetHistory, request);
}
absl::StatusOr<v1::ListAgentsResponse> Client::Call(const v1::ListAgentsRequest& request) {
  return parts_->Do(&v1::OperatorService::Stub::ListAgents, request);
}
absl::StatusOr<v1::ListOperationsResponse> Client::Call(const v1::ListOperationsRequest& request) {
  return parts_->Do(&v1::OperatorService::Stub::ListOperations, request);
}
absl::StatusOr<v1::ListBackupsResponse> Client::Call(const v1::ListBackupsRequest& request) {
  return parts_->Do(&v1::OperatorService::Stub::ListBackups, request);
}
absl::StatusOr<v1::SyncDiffResponse> Client::Call(const v1::SyncDiffRequest& request) {
  return parts_->Do(&v1::OperatorService::Stub::SyncDiff, request);
}
absl::StatusOr<v1::OrderResponse> Client::Call(const v1::OrderRequest& request) {
  return parts_->Do(&v1::OperatorService::Stub::GiveOrder, request);
}

}  // namespace failover::cli
