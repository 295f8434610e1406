#include "controller/operators/operators.h"

#include <atomic>
#include <chrono>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "apim_failover/v1/operator.grpc.pb.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/utf8.h"
#include "controller/operators/call.h"
#include "controller/operators/check.h"
#include "grpcpp/ext/proto_server_reflection_plugin.h"
#include "grpcpp/health_check_service_interface.h"
#include "grpcpp/resource_quota.h"
#include "grpcpp/server.h"
#include "grpcpp/server_builder.h"

namespace failover::operators {
namespace {

constexpr int kMaxMessage = 1 << 20;
constexpr size_t kMaxErrorText = 2048;

// The caller's identity, or why it may not call: the reason goes to the caller and into the log.
absl::StatusOr<std::string> Caller(const grpc::CallbackServerContext& context,
                                   const TlsIdentity* tls) {
  if (tls == nullptr) return "insecure";
  const std::shared_ptr<const grpc::AuthContext> auth = context.auth_context();
  if (auth == nullptr)
    return absl::UnauthenticatedError("found no client certificate; allowed: one of kind operator");
  absl::Time expires = absl::InfiniteFuture();
  const absl::StatusOr<SpiffeId> id = PeerIdentity(*auth, &expires);
  if (!id.ok()) return absl::UnauthenticatedError(id.status().message());
  const std::string name = id->ToString();
  if (expires <= RealClock().Wall()) {
    return absl::UnauthenticatedError(absl::StrCat("the certificate of ", name, " ended at ",
                                                   absl::FormatTime(expires, absl::UTCTimeZone())));
  }
  const std::string ours = tls->Self().trust_domain;
  if (id->trust_domain != ours) {
    return absl::PermissionDeniedError(
        absl::StrCat("found ", name, "; allowed: identities of trust domain ", ours));
  }
  if (id->kind != "operator") {
    return absl::PermissionDeniedError(
        absl::StrCat("found ", name, "; allowed: identities of kind operator (spiffe://", ours,
                     "/operator/NAME)"));
  }
  return name;
}

class Service final : public v1::OperatorService::CallbackService {
 public:
  Service(const OperatorServerOptions& options)
      : options_(options),
        rate_(options.max_dangerous_orders_a_minute),
        open_(std::make_shared<std::atomic<int>>(0)) {}

  grpc::ServerUnaryReactor* GetStatus(grpc::CallbackServerContext* context,
                                      const v1::GetStatusRequest* request,
                                      v1::GetStatusResponse* response) override {
    return Read(*context, *request, response, options_.handlers.get_status, "GetStatus");
  }
  grpc::ServerUnaryReactor* GetHistory(grpc::CallbackServerContext* context,
                                       const v1::GetHistoryRequest* request,
                                       v1::GetHistoryResponse* response) override {
    return Read(*context, *request, response, options_.handlers.get_history, "GetHistory");
  }
  grpc::ServerUnaryReactor* ListAgents(grpc::CallbackServerContext* context,
                                       const v1::ListAgentsRequest* request,
                                       v1::ListAgentsResponse* response) override {
    return Read(*context, *request, response, options_.handlers.list_agents, "ListAgents");
  }
  grpc::ServerUnaryReactor* ListOperations(grpc::CallbackServerContext* context,
                                           const v1::ListOperationsRequest* request,
                                           v1::ListOperationsResponse* response) override {
    return Read(*context, *request, response, options_.handlers.list_operations, "ListOperations");
  }
  grpc::ServerUnaryReactor* ListBackups(grpc::CallbackServerContext* context,
                                        const v1::ListBackupsRequest* request,
                                        v1::ListBackupsResponse* response) override {
    return Read(*context, *request, response, options_.handlers.list_backups, "ListBackups");
  }
  grpc::ServerUnaryReactor* SyncDiff(grpc::CallbackServerContext* context,
                                     const v1::SyncDiffRequest* request,
                                     v1::SyncDiffResponse* response) override {
    return Read(*context, *request, response, options_.handlers.sync_diff, "SyncDiff");
  }
  grpc::ServerUnaryReactor* GiveOrder(grpc::CallbackServerContext* context,
                                      const v1::OrderRequest* request,
                                      v1::OrderResponse* response) override {
    std::string who;
    auto* call = Begin(*context, *request, response, options_.handlers.give_order != nullptr,
                       "GiveOrder", &who);
    if (who.empty()) return call;
    absl::Status allowed = CheckOrder(*request);
    if (allowed.ok() && !request->dry_run() && IsDangerous(*request))
      allowed = rate_.Take(who, RealClock().Steady());
    if (!allowed.ok()) {
      LogWarning("order refused",
                 {{"operator", who}, {"group", request->group()}, {"reason", allowed}});
      call->End(std::move(allowed));
    } else {
      options_.handlers.give_order(*request, who, call->Done());
    }
    return call;
  }

 private:
  template <typename Request, typename Response>
  grpc::ServerUnaryReactor* Read(const grpc::CallbackServerContext& context, const Request& request,
                                 Response* response,
                                 const std::function<void(const Request&, Done<Response>)>& handler,
                                 const char* method) {
    std::string who;
    auto* call = Begin(context, request, response, handler != nullptr, method, &who);
    if (!who.empty()) handler(request, call->Done());
    return call;
  }

  // A call under its limit. `who` stays empty when it was refused, and so ended, here.
  template <typename Response>
  Call<Response>* Begin(const grpc::CallbackServerContext& context,
                        const google::protobuf::Message& request, Response* response,
                        bool has_handler, const char* method, std::string* who) {
    const int open = open_->fetch_add(1) + 1;
    auto* call = new Call<Response>(response, open_, method);
    absl::StatusOr<std::string> caller = Caller(context, options_.tls);
    absl::Status allowed = caller.status();
    if (allowed.ok() && open > options_.max_calls) {
      allowed = absl::ResourceExhaustedError(absl::StrCat("found more than ", options_.max_calls,
                                                          " operator calls at once; try again"));
    }
    if (allowed.ok()) allowed = CheckBounds(request);
    if (allowed.ok() && !has_handler)
      allowed = absl::UnimplementedError(absl::StrCat(method, " is not served here"));
    if (!allowed.ok()) {
      LogWarning("operator call refused",
                 {{"method", method}, {"peer", context.peer()}, {"reason", allowed}});
      call->End(std::move(allowed));
      return call;
    }
    *who = *std::move(caller);
    call->Limit(options_.call_limit);
    return call;
  }

  const OperatorServerOptions options_;
  OrderRate rate_;
  std::shared_ptr<std::atomic<int>> open_;
};

// Of the three services on this port.
std::vector<GrpcMethod> Methods() {
  const auto* file = v1::OrderRequest::descriptor()->file();
  std::vector<GrpcMethod> methods = MethodsOf(*file->FindServiceByName("OperatorService"));
  methods.push_back({"unary", "grpc.health.v1.Health", "Check"});
  methods.push_back({"server_stream", "grpc.health.v1.Health", "Watch"});
  methods.push_back(
      {"bidi_stream", "grpc.reflection.v1alpha.ServerReflection", "ServerReflectionInfo"});
  return methods;
}

class Server final : public OperatorServer {
 public:
  explicit Server(const OperatorServerOptions& options) : service_(options) {}
  ~Server() override {
    if (server_ == nullptr) return;
    if (auto* health = server_->GetHealthCheckService()) health->Shutdown();
    server_->Shutdown(std::chrono::system_clock::now());  // cancels every call
    server_->Wait();
  }
  int port() const override { return port_; }

  absl::Status Listen(const OperatorServerOptions& options) {
    grpc::EnableDefaultHealthCheckService(true);
    grpc::reflection::InitProtoReflectionServerBuilderPlugin();
    grpc::ServerBuilder builder;
    builder.AddListeningPort(options.address,
                             options.tls == nullptr ? grpc::InsecureServerCredentials()
                                                    : options.tls->ServerCredentials(),
                             &port_);
    builder.RegisterService(&service_);
    if (options.grpc_metrics != nullptr) options.grpc_metrics->Watch(builder, Methods());
    builder.SetMaxReceiveMessageSize(kMaxMessage);
    builder.SetSyncServerOption(grpc::ServerBuilder::NUM_CQS, 1);  // only reflection is synchronous
    builder.SetSyncServerOption(grpc::ServerBuilder::MIN_POLLERS, 1);
    builder.SetSyncServerOption(grpc::ServerBuilder::MAX_POLLERS, 2);
    builder.SetResourceQuota(grpc::ResourceQuota("operators").Resize(64 << 20).SetMaxThreads(16));
    builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT,
                               0);  // or two controllers would share a port unnoticed
    builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, 32);
    builder.AddChannelArgument(GRPC_ARG_MAX_METADATA_SIZE, 8 << 10);
    builder.AddChannelArgument(GRPC_ARG_MAX_CONNECTION_IDLE_MS, 10 * 60 * 1000);
    builder.AddChannelArgument(GRPC_ARG_MAX_CONNECTION_AGE_MS,
                               30 * 60 * 1000);  // gRPC adds 10 % of jitter
    builder.AddChannelArgument(GRPC_ARG_MAX_CONNECTION_AGE_GRACE_MS, 60 * 1000);
    builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, 30 * 1000);
    builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 10 * 1000);
    server_ = builder.BuildAndStart();
    if (server_ != nullptr && port_ != 0) return absl::OkStatus();
    return absl::UnavailableError(
        absl::StrCat("operator address ", options.address,
                     ": cannot listen there (in use, or not an address of this machine)"));
  }

 private:
  Service service_;
  std::unique_ptr<grpc::Server> server_;
  int port_ = 0;
};

// "host:port" or "[v6]:port".
absl::Status CheckAddress(const OperatorServerOptions& options) {
  const size_t colon = options.address.rfind(':');
  int port = -1;
  if (colon == std::string::npos || colon == 0 ||
      !absl::SimpleAtoi(options.address.substr(colon + 1), &port) || port < 0 || port > 65535) {
    return absl::InvalidArgumentError(
        absl::StrCat("operator address: found \"", options.address, "\"; allowed: HOST:PORT"));
  }
  std::string host = options.address.substr(0, colon);
  if (host.size() > 2 && host.front() == '[' && host.back() == ']')
    host = host.substr(1, host.size() - 2);
  if (options.tls == nullptr && !IsLoopback(host)) {
    return absl::InvalidArgumentError(
        absl::StrCat("operator address: found \"", options.address,
                     "\" without TLS; allowed with --insecure: a loopback address"));
  }
  return absl::OkStatus();
}

}  // namespace

grpc::Status ToGrpcStatus(const absl::Status& status) {
  return {static_cast<grpc::StatusCode>(status.code()),
          CutText(Redacted(status.message()), kMaxErrorText)};
}

absl::StatusOr<std::unique_ptr<OperatorServer>> OperatorServer::Start(
    OperatorServerOptions options) {
  if (absl::Status status = CheckAddress(options); !status.ok()) return status;
  auto server = std::make_unique<Server>(options);
  if (absl::Status status = server->Listen(options); !status.ok()) return status;
  LogInfo(
      "operator service listens",
      {{"address", options.address}, {"port", server->port()}, {"tls", options.tls != nullptr}});
  return server;
}

}  // namespace failover::operators
