#ifndef COMMON_GRPC_SERVER_METRICS_H_
#define COMMON_GRPC_SERVER_METRICS_H_

#include <memory>
#include <string>
#include <vector>

#include "google/protobuf/descriptor.h"
#include "grpcpp/server_builder.h"

namespace prometheus {
class Collectable;
}

namespace failover {

// One method of a gRPC service, as the metrics name it.
struct GrpcMethod {
  std::string type;     // unary, client_stream, server_stream, bidi_stream
  std::string service;  // "apim_failover.v1.AgentService"
  std::string method;   // "Connect"
};
// Every method of a service.
std::vector<GrpcMethod> MethodsOf(const google::protobuf::ServiceDescriptor& service);

// Calls of this process's gRPC servers under the names, labels and buckets of go-grpc-middleware,
// so that public dashboards fit. A message costs one counter. Thread-safe.
class GrpcServerMetrics {
 public:
  static std::shared_ptr<GrpcServerMetrics> Create();
  virtual ~GrpcServerMetrics() = default;
  virtual std::shared_ptr<prometheus::Collectable> collectable() = 0;
  // Has the server to be built count its calls of these methods, from 0 on; others are not counted.
  // The server keeps what it needs of this object.
  virtual void Watch(grpc::ServerBuilder& builder, const std::vector<GrpcMethod>& methods) = 0;
};

}  // namespace failover

#endif  // COMMON_GRPC_SERVER_METRICS_H_
