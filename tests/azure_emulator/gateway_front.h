#ifndef TESTS_AZURE_EMULATOR_GATEWAY_FRONT_H_
#define TESTS_AZURE_EMULATOR_GATEWAY_FRONT_H_

#include <map>
#include <memory>
#include <set>
#include <string>

#include "common/mutex.h"
#include "tests/azure_emulator/http_server.h"
#include "tests/azure_emulator/world.h"

namespace failover::emulator {

// What a gateway needs to know of the world; a copy, so that nothing that happens elsewhere delays
// it.
struct GatewayView {
  std::string service;  // empty: the neutral host
  GatewayBehavior all;
  std::map<std::string, GatewayBehavior> regions;
  std::map<std::string, std::string> probe_regions;  // source address → probe region
  std::set<std::string> hosts;                       // lower case; others get 404
  std::string certificate = "good", version, status_body;
  bool operator==(const GatewayView&) const = default;
};

GatewayView ViewOfService(const World& world, const Service& service);
GatewayView ViewOfNeutral(const World& world);
// Host names for the certificate of that gateway: its own and the public ones.
std::vector<std::string> CertificateHosts(const World& world, const Service& service);

GatewayBehavior BehaviorFor(const GatewayView& view, const std::string& remote);
// Pure: how a request is answered.
Answer AnswerGateway(const GatewayView& view, const Request& request);

// The data plane of one service (or the neutral host) on its own address and thread.
class GatewayFront {
 public:
  struct Options {
    std::string address;
    int port = 0;
    bool tls = true;
    std::vector<std::string> hosts;  // in the certificate
  };
  static absl::StatusOr<std::unique_ptr<GatewayFront>> Start(const CertificateAuthority& authority,
                                                             Options options, GatewayView view);
  int port() const { return server_->port(); }
  // Takes effect before it returns.
  void Publish(const GatewayView& view);

 private:
  GatewayFront() = default;

  std::map<std::string, TlsContext> contexts_;  // by certificate mode; constant after Start
  Mutex mutex_;
  GatewayView view_ ABSL_GUARDED_BY(mutex_);
  std::unique_ptr<HttpServer> server_;  // last: its thread uses the rest
};

}  // namespace failover::emulator

#endif  // TESTS_AZURE_EMULATOR_GATEWAY_FRONT_H_
