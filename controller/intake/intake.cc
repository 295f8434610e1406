#include "controller/intake/intake.h"

#include <chrono>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "apim_failover/v1/agent.grpc.pb.h"
#include "controller/intake/hub.h"
#include "controller/intake/relay_client.h"
#include "controller/intake/relay_session.h"
#include "controller/intake/replicas.h"
#include "controller/intake/stream.h"
#include "grpcpp/create_channel.h"
#include "grpcpp/resource_quota.h"
#include "grpcpp/security/credentials.h"
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
  grpc::ServerBidiReactor<v1::RelayMessage, v1::RelayReply>* Relay(
      grpc::CallbackServerContext* context) override {
    return RelaySession::Begin(hub_, context);
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
  explicit IntakeServer(const IntakeOptions& options)
      : options_(options), hub_(std::make_shared<Hub>(options)), service_(hub_) {}

  ~IntakeServer() override {
    hub_->Stop();
    replicas_.reset();
    if (server_ != nullptr) {
      server_->Shutdown(std::chrono::system_clock::now() + std::chrono::milliseconds(200));
    }
    hub_->AwaitEmpty();
  }

  absl::Status Listen() {
    grpc::ServerBuilder builder;
    SetLimits(builder);
    builder.AddListeningPort(options_.address,
                             hub_->tls() != nullptr ? hub_->tls()->ServerCredentials()
                                                    : grpc::InsecureServerCredentials(),
                             &port_);
    builder.RegisterService(&service_);
    if (options_.grpc_metrics != nullptr) {
      const auto* file = v1::AgentMessage::descriptor()->file();
      options_.grpc_metrics->Watch(builder, MethodsOf(*file->FindServiceByName("AgentService")));
    }
    server_ = builder.BuildAndStart();
    if (server_ == nullptr || port_ == 0) {
      return absl::UnavailableError(
          absl::StrCat("agents' address ", options_.address,
                       ": cannot listen there; it is in use, not permitted, or not host:port"));
    }
    return absl::OkStatus();
  }

  void StartRelays() {
    if (options_.replicas_address.empty()) return;
    RelayClient::Options relay;
    relay.credentials = grpc::InsecureChannelCredentials();
    if (options_.tls != nullptr) {
      relay.credentials = options_.tls->ChannelCredentials(
          absl::StrCat("spiffe://", options_.tls->Self().trust_domain, "/controller/*"));
    }
    relay.instance_id = hub_->instance_id();
    relay.clock = options_.clock;
    relay.log = &hub_->relay_log();
    relay.on_reply = [this](const v1::RelayReply& reply) { OnReply(reply); };
    Replicas::Options replicas;
    replicas.address = options_.replicas_address;
    replicas.resolve = options_.resolve_replicas;
    replicas.interval = options_.resolve_interval;
    replicas.clock = options_.clock;
    replicas.connect = [relay](const std::string& address) {
      RelayClient::Options options = relay;
      options.address = address;
      return std::make_unique<RelayClient>(std::move(options));
    };
    replicas_ = std::make_unique<Replicas>(std::move(replicas));
  }

  void SetAssignments(Assignments assignments) override {
    hub_->SetAssignments(std::move(assignments));
  }
  void Burst(const std::string& probe_region, const std::vector<std::string>& targets) override {
    hub_->Burst(probe_region, targets);
  }
  std::vector<v1::AgentInfo> Agents() const override { return hub_->Agents(); }
  std::vector<AgentCounters> Counters() const override { return hub_->Counters(); }
  std::map<std::string, ReportDelays> Delays() const override { return hub_->Delays(); }
  int port() const override { return port_; }

 private:
  void OnReply(const v1::RelayReply& reply) {
    const v1::ControllerMessage& message = reply.message();
    if (message.has_assignment()) {
      hub_->ForwardAssignment(reply.probe_region(),
                              std::make_shared<const v1::ControllerMessage>(message));
    } else if (message.has_burst()) {
      const auto& targets = message.burst().targets();
      hub_->ForwardBurst(reply.probe_region(), {targets.begin(), targets.end()});
    }
  }

  const IntakeOptions options_;
  const std::shared_ptr<Hub> hub_;
  Service service_;
  std::unique_ptr<grpc::Server> server_;
  int port_ = 0;
  std::unique_ptr<Replicas> replicas_;
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
  if (!options.replicas_address.empty()) {
    std::string replicas_host, port;
    if (const absl::Status status = SplitAddress(options.replicas_address, replicas_host, port);
        !status.ok()) {
      return status;
    }
    if (options.tls == nullptr && !IsLoopback(replicas_host)) {
      return absl::InvalidArgumentError(
          absl::StrCat("replicas' address ", options.replicas_address,
                       ": without TLS only a loopback address is allowed"));
    }
  }
  auto intake = std::make_unique<IntakeServer>(options);
  const absl::Status status = intake->Listen();
  if (!status.ok()) return status;
  intake->StartRelays();
  return intake;
}

}  // namespace failover::intake
