#include "controller/cli/client.h"

#include <algorithm>
#include <utility>
#include <vector>

#include <netdb.h>
#include <sys/socket.h>

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
constexpr size_t kMaxReplicas = 16;
constexpr absl::Duration kLookTime = absl::Seconds(2);  // for a replica that may be gone

absl::Status ToStatus(const grpc::Status& status, const std::string& address) {
  std::string text = Clean(status.error_message());
  if (status.error_code() == grpc::StatusCode::UNAVAILABLE)
    text = absl::StrCat("cannot reach the controller at ", address, ": ", text);
  if (status.error_code() == grpc::StatusCode::DEADLINE_EXCEEDED && text == "Deadline Exceeded")
    text = absl::StrCat("the controller at ", address, " did not answer in time");
  return absl::Status(static_cast<absl::StatusCode>(status.error_code()), text);
}

// The addresses behind "host:port", when there are several; else what was given.
std::vector<std::string> Replicas(const std::string& controller) {
  const size_t colon = controller.rfind(':');
  if (colon == std::string::npos) return {controller};
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  std::vector<std::string> addresses;
  if (getaddrinfo(controller.substr(0, colon).c_str(), controller.c_str() + colon + 1, &hints,
                  &found) == 0) {
    for (const addrinfo* one = found; one != nullptr && addresses.size() < kMaxReplicas;
         one = one->ai_next) {
      char host[NI_MAXHOST], port[NI_MAXSERV];
      if (getnameinfo(one->ai_addr, one->ai_addrlen, host, sizeof(host), port, sizeof(port),
                      NI_NUMERICHOST | NI_NUMERICSERV) == 0) {
        addresses.push_back(one->ai_family == AF_INET6 ? absl::StrCat("[", host, "]:", port)
                                                       : absl::StrCat(host, ":", port));
      }
    }
    freeaddrinfo(found);
  }
  return addresses.size() > 1 ? addresses : std::vector<std::string>{controller};
}

}  // namespace

struct Client::Parts {
  struct Replica {
    std::string address;
    std::unique_ptr<v1::OperatorService::Stub> stub;
  };
  absl::Duration timeout;
  std::unique_ptr<TlsIdentity> tls;  // outlives the channels
  std::string controller;            // as given
  std::shared_ptr<grpc::ChannelCredentials> credentials;
  grpc::ChannelArguments arguments;
  std::vector<Replica> replicas;
  size_t current = 0;
  std::stop_token stop;

  // Pods come and go while `status -w` goes on. `anew`: by new connections in any case, since one
  // that has failed is mended only while a call waits for it, and calls do not wait.
  void Resolve(bool anew = false) {
    const std::vector<std::string> addresses = Replicas(controller);
    if (!anew &&
        std::equal(addresses.begin(), addresses.end(), replicas.begin(), replicas.end(),
                   [](const std::string& a, const Replica& b) { return a == b.address; })) {
      return;
    }
    replicas.clear();
    current = 0;
    for (const std::string& address : addresses) {
      replicas.push_back({address, v1::OperatorService::NewStub(grpc::CreateCustomChannel(
                                       address, credentials, arguments))});
    }
  }

  template <typename Response, typename Request>
  absl::StatusOr<Response> Do(grpc::Status (v1::OperatorService::Stub::*method)(
                                  grpc::ClientContext*, const Request&, Response*),
                              const Request& request) {
    return DoAt(replicas[current], timeout, method, request);
  }
  template <typename Response, typename Request>
  absl::StatusOr<Response> DoAt(const Replica& replica, absl::Duration limit,
                                grpc::Status (v1::OperatorService::Stub::*method)(
                                    grpc::ClientContext*, const Request&, Response*),
                                const Request& request) {
    grpc::ClientContext context;
    context.set_deadline(absl::ToChronoTime(absl::Now() + limit));
    const std::stop_callback cancel(stop, [&context] { context.TryCancel(); });
    Response response;
    const grpc::Status status = (replica.stub.get()->*method)(&context, request, &response);
    if (!status.ok()) return ToStatus(status, replica.address);
    return response;
  }
};

Client::Client(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}
Client::~Client() = default;

absl::StatusOr<std::unique_ptr<Client>> Client::Connect(const Settings& settings) {
  RETURN_IF_ERROR(NeedController(settings));
  auto parts = std::make_unique<Parts>();
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
  // A failed connection is not waited for: the next call of `status -w` makes its own (see Call).
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  parts->controller = settings.controller;
  parts->credentials = std::move(credentials);
  parts->arguments = std::move(arguments);
  parts->Resolve();
  return std::unique_ptr<Client>(new Client(std::move(parts)));
}

void Client::StopOn(std::stop_token stop) { parts_->stop = std::move(stop); }

absl::StatusOr<v1::GetStatusResponse> Client::Call(const v1::GetStatusRequest& request) {
  constexpr auto kMethod = &v1::OperatorService::Stub::GetStatus;
  absl::StatusOr<v1::GetStatusResponse> best = parts_->Do(kMethod, request);
  if (best.ok() && best->leader()) return best;
  const size_t asked = parts_->current;
  for (size_t i = 0; i < parts_->replicas.size() && !parts_->stop.stop_requested(); ++i) {
    if (i == asked) continue;
    absl::StatusOr<v1::GetStatusResponse> answer =
        parts_->DoAt(parts_->replicas[i], std::min(kLookTime, parts_->timeout), kMethod, request);
    if (!answer.ok() || (best.ok() && !answer->leader())) continue;
    parts_->current = i;
    best = std::move(answer);
    if (best->leader()) break;
  }
  if (!best.ok() || !best->leader()) parts_->Resolve(!best.ok());  // for the next call
  return best;
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
