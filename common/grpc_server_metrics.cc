#include "common/grpc_server_metrics.h"

#include <array>
#include <map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "common/clock.h"
#include "common/mutex.h"
#include "grpcpp/support/interceptor.h"
#include "grpcpp/support/server_interceptor.h"
#include "prometheus/counter.h"
#include "prometheus/family.h"
#include "prometheus/histogram.h"
#include "prometheus/registry.h"

namespace failover {
namespace {

using Hook = grpc::experimental::InterceptionHookPoints;

// By number of the status code, in Go's spelling.
constexpr std::array<const char*, 17> kCodes = {
    "OK",       "Canceled",       "Unknown",          "InvalidArgument",   "DeadlineExceeded",
    "NotFound", "AlreadyExists",  "PermissionDenied", "ResourceExhausted", "FailedPrecondition",
    "Aborted",  "OutOfRange",     "Unimplemented",    "Internal",          "Unavailable",
    "DataLoss", "Unauthenticated"};

const prometheus::Histogram::BucketBoundaries& HandlingBuckets() {
  static const auto* const buckets = new prometheus::Histogram::BucketBoundaries{
      0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10};
  return *buckets;
}

// The series of one method.
struct Series {
  prometheus::Counter& started;
  prometheus::Counter& received;
  prometheus::Counter& sent;
  prometheus::Histogram& handling;
  std::array<prometheus::Counter*, kCodes.size()> handled{};
};

// One call. Ends with the status that the service gives it, or when gRPC lets go of it.
class Watched final : public grpc::experimental::Interceptor {
 public:
  explicit Watched(Series& series) : series_(series), began_(RealClock().Steady()) {
    series_.started.Increment();
  }
  ~Watched() override { End(grpc::StatusCode::CANCELLED); }

  void Intercept(grpc::experimental::InterceptorBatchMethods* batch) override {
    if (batch->QueryInterceptionHookPoint(Hook::POST_RECV_MESSAGE) &&
        batch->GetRecvMessage() != nullptr) {
      series_.received.Increment();
    }
    if (batch->QueryInterceptionHookPoint(Hook::PRE_SEND_MESSAGE)) series_.sent.Increment();
    if (batch->QueryInterceptionHookPoint(Hook::PRE_SEND_STATUS))
      End(batch->GetSendStatus().error_code());
    batch->Proceed();
  }

 private:
  void End(grpc::StatusCode code) {
    if (std::exchange(ended_, true)) return;
    const size_t number = static_cast<size_t>(code);
    series_.handled[number < kCodes.size() ? number : size_t{grpc::StatusCode::UNKNOWN}]
        ->Increment();
    series_.handling.Observe(absl::ToDoubleSeconds(RealClock().Steady() - began_));
  }

  Series& series_;
  const SteadyTime began_;
  bool ended_ = false;  // batches of one call with a status come one after the other
};

using SeriesByPath = std::map<std::string, std::shared_ptr<Series>, std::less<>>;

class Factory final : public grpc::experimental::ServerInterceptorFactoryInterface {
 public:
  Factory(SeriesByPath series, std::shared_ptr<prometheus::Registry> registry)
      : series_(std::move(series)), registry_(std::move(registry)) {}
  grpc::experimental::Interceptor* CreateServerInterceptor(
      grpc::experimental::ServerRpcInfo* info) override {
    const auto found = series_.find(absl::string_view(info->method()));
    return found == series_.end() ? nullptr : new Watched(*found->second);
  }

 private:
  const SeriesByPath series_;
  const std::shared_ptr<prometheus::Registry> registry_;  // owns the counters
};

template <typename Builder>
auto& Register(Builder builder, const char* name, const char* help,
               prometheus::Registry& registry) {
  return builder.Name(name).Help(help).Register(registry);
}

class RegisteredGrpcMetrics final : public GrpcServerMetrics {
 public:
  std::shared_ptr<prometheus::Collectable> collectable() override { return registry_; }

  void Watch(grpc::ServerBuilder& builder, const std::vector<GrpcMethod>& methods) override {
    SeriesByPath series;
    for (const GrpcMethod& method : methods)
      series[absl::StrCat("/", method.service, "/", method.method)] = SeriesOf(method);
    std::vector<std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface>> factories;
    factories.push_back(std::make_unique<Factory>(std::move(series), registry_));
    builder.experimental().SetInterceptorCreators(std::move(factories));
  }

 private:
  std::shared_ptr<Series> SeriesOf(const GrpcMethod& method) {
    prometheus::Labels labels = {{"grpc_type", method.type},
                                 {"grpc_service", method.service},
                                 {"grpc_method", method.method}};
    auto series = std::make_shared<Series>(Series{started_.Add(labels),
                                                  received_.Add(labels),
                                                  sent_.Add(labels),
                                                  handling_.Add(labels, HandlingBuckets()),
                                                  {}});
    for (size_t i = 0; i < kCodes.size(); ++i) {
      labels["grpc_code"] = kCodes[i];
      series->handled[i] = &handled_.Add(labels);
    }
    return series;
  }

  const std::shared_ptr<prometheus::Registry> registry_ = std::make_shared<prometheus::Registry>();
  prometheus::Family<prometheus::Counter>& started_ =
      Register(prometheus::BuildCounter(), "grpc_server_started_total",
               "Calls begun on the gRPC servers of this process.", *registry_);
  prometheus::Family<prometheus::Counter>& handled_ =
      Register(prometheus::BuildCounter(), "grpc_server_handled_total",
               "Calls ended on the gRPC servers of this process, by the status they were given.",
               *registry_);
  prometheus::Family<prometheus::Counter>& received_ =
      Register(prometheus::BuildCounter(), "grpc_server_msg_received_total",
               "Messages received by the gRPC servers of this process.", *registry_);
  prometheus::Family<prometheus::Counter>& sent_ =
      Register(prometheus::BuildCounter(), "grpc_server_msg_sent_total",
               "Messages sent by the gRPC servers of this process.", *registry_);
  prometheus::Family<prometheus::Histogram>& handling_ = Register(
      prometheus::BuildHistogram(), "grpc_server_handling_seconds",
      "From the beginning of a call to its status; of a stream, how long it was open.", *registry_);
};

}  // namespace

std::vector<GrpcMethod> MethodsOf(const google::protobuf::ServiceDescriptor& service) {
  std::vector<GrpcMethod> methods;
  for (int i = 0; i < service.method_count(); ++i) {
    const google::protobuf::MethodDescriptor& method = *service.method(i);
    const bool in = method.client_streaming(), out = method.server_streaming();
    methods.push_back({in && out ? "bidi_stream"
                       : in      ? "client_stream"
                       : out     ? "server_stream"
                                 : "unary",
                       service.full_name(), method.name()});
  }
  return methods;
}

std::shared_ptr<GrpcServerMetrics> GrpcServerMetrics::Create() {
  return std::make_shared<RegisteredGrpcMetrics>();
}

}  // namespace failover
