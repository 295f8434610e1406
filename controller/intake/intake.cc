#include "controller/intake/intake.h"

#include <chrono>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "apim_failover/v1/agent.grpc.pb.h"
#include "controller/intake/hub.h"
#include "controller/intake/stream.h"
#include "grpcpp/resource_quota.h"
#include "grpcpp/security/server_credentials.h"
#include "grpcpp/server.h"
#include "grpcpp/server_builder.h"

namespace failover::intake {
namespace {

constexpr int kKeepaliveMs = 10'000, kKeepaliveTimeoutMs = 5'000, kLeastPingIntervalMs = 5'000;
// gRPC spreads it by ±10 %: certificates are verified anew, and agents do not all come back at
// once.
constexpr int kConnectionAgeMs = 3'600'000, kConnectionGraceMs = 5'000;
constexpr int kConnectionIdleMs = 300'000;
constexpr int kStreamsPerConnection = 4, kMetadataBytes = 8 << 10;
// Beyond our own limit of 64 KiB: so a message a little too long is refused by us, with its size
// and counted.
constexpr int kReceiveBytes = 4 * static_cast<int>(kMaxMessageBytes);
constexpr size_t kBufferBytes = 512 << 20;

class Service final : public v1::AgentService::CallbackService {
 public:
  explicit Service(std::shared_ptr<Hub> hub) : hub_(std::move(hub)) {}
  grpc::ServerBidiReactor<v1::AgentMessage, v1::ControllerMessage>* Connect(
      grpc::CallbackServerContext* context) override {
    return Stream::Begin(hub_, context);
  }

 private:
  const std::shared_ptr<Hub> hub_;
};

void SetLimits(grpc::ServerBuilder& builder) {
  builder.SetMaxReceiveMessageSize(kReceiveBytes);
  builder.SetResourceQuota(grpc::ResourceQuota("intake").Resize(kBufferBytes));
  builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, kStreamsPerConnection);
  builder.AddChannelArgument(GRPC_ARG_MAX_METADATA_SIZE, kMetadataBytes);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, kKeepaliveMs);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, kKeepaliveTimeoutMs);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS,
                             kLeastPingIntervalMs);
  builder.AddChannelArgument(GRPC_ARG_MAX_CONNECTION_AGE_MS, kConnectionAgeMs);
  builder.AddChannelArgument(GRPC_ARG_MAX_CONNECTION_AGE_GRACE_MS, kConnectionGraceMs);
  builder.AddChannelArgument(GRPC_ARG_MAX_CONNECTION_IDLE_MS, kConnectionIdleMs);
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT,
                             0);  // a port in use is an error, not a shared one
}

class IntakeServer final : public Intake {
 public:
  explicit IntakeServer(IntakeOptions options)
      : address_(options.address),
        hub_(std::make_shared<Hub>(std::move(options))),
        service_(hub_) {}

  ~IntakeServer() override {
    hub_->Stop();
    if (server_ != nullptr) {
      server_->Shutdown(std::chrono::system_clock::now() + std::chrono::milliseconds(200));
    }
    hub_->AwaitEmpty();
  }

  absl::Status Listen() {
    grpc::ServerBuilder builder;
    SetLimits(builder);
    builder.AddListeningPort(address_,
                             hub_->tls() != nullptr ? hub_->tls()->ServerCredentials()
                                                    : grpc::InsecureServerCredentials(),
                             &port_);
    builder.RegisterService(&service_);
    server_ = builder.BuildAndStart();
    if (server_ == nullptr || port_ == 0) {
      return absl::UnavailableError(
          absl::StrCat("agents' address ", address_,
                       ": cannot listen there; it is in use, not permitted, or not host:port"));
    }
    return absl::OkStatus();
  }

  void SetAssignments(Assignments assignments) override {
    hub_->SetAssignments(std::move(assignments));
  }
  void Burst(const std::string& probe_region, const std::vector<std::string>& targets) override {
    hub_->Burst(probe_region, targets);
  }
  std::vector<v1::AgentInfo> Agents() const override { return hub_->Agents(); }
  std::vector<AgentCounters> Counters() const override { return hub_->Counters(); }
  int port() const override { return port_; }

 private:
  const std::string address_;
  const std::shared_ptr<Hub> hub_;
  Service service_;
  std::unique_ptr<grpc::Server> server_;
  int port_ = 0;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Intake>> Intake::Start(IntakeOptions options) {
  absl::string_view host = options.address;
  host = host.substr(0, host.rfind(':'));
  if (absl::ConsumePrefix(&host, "[")) absl::ConsumeSuffix(&host, "]");
  if (options.tls == nullptr && !IsLoopback(host)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "agents' address ", options.address, ": without TLS only a loopback address is allowed"));
  }
  auto intake = std::make_unique<IntakeServer>(std::move(options));
  const absl::Status status = intake->Listen();
  if (!status.ok()) return status;
  return intake;
}

}  // namespace failover::intake
