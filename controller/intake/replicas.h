#ifndef CONTROLLER_INTAKE_REPLICAS_H_
#define CONTROLLER_INTAKE_REPLICAS_H_

#include <functional>
#include <map>
#include <memory>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/clock.h"
#include "controller/intake/relay_client.h"

namespace failover::intake {

// "host:port", IPv6 in brackets. Errors name the address.
absl::Status SplitAddress(absl::string_view address, std::string& host, std::string& port);

// Addresses of one family, since each replica may have one of each, and two relays to one replica
// would displace each other: IPv4 when there is any. Sorted, each once, at most 16. Pure.
std::vector<std::string> ChooseReplicas(std::vector<std::string> addresses);

// One relay to each address that a name resolves to, followed as addresses come and go. While the
// name cannot be resolved, relays stay as they are.
class Replicas {
 public:
  using Resolve = std::function<absl::StatusOr<std::vector<std::string>>()>;
  struct Options {
    std::string address;  // "host:port"
    Resolve resolve;      // null: getaddrinfo, on threads that the end does not wait for
    absl::Duration interval;
    Clock* clock = nullptr;
    std::function<std::unique_ptr<RelayClient>(const std::string&)> connect;
  };
  explicit Replicas(Options options);
  ~Replicas() = default;  // ends every relay

 private:
  void Run(std::stop_token stop);
  void Update(const absl::StatusOr<std::vector<std::string>>& addresses);

  const Options options_;
  std::string last_error_;
  std::map<std::string, std::unique_ptr<RelayClient>> relays_;  // on the thread only
  std::jthread thread_;
};

}  // namespace failover::intake

#endif  // CONTROLLER_INTAKE_REPLICAS_H_
