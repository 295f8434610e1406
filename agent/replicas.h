#ifndef AGENT_REPLICAS_H_
#define AGENT_REPLICAS_H_

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "agent/allowed_hosts.h"
#include "agent/metrics.h"
#include "agent/reporter.h"
#include "agent/resolver.h"
#include "common/clock.h"

namespace failover::agent {

inline constexpr size_t kMaxReplicas = 16;

// One stream to each address that names of controllers resolve to, as a headless Service's does;
// followed as addresses come and go. Names are asked for again every 5 s to 10 s, and when a stream
// ends (at most once a second). A name that cannot be resolved keeps its streams. At most 16
// addresses over all names: those with a stream come first. All on a thread of its own, so that a
// dead name server delays neither probes nor open streams.
class Replicas {
 public:
  struct Options {
    std::vector<std::string> names;  // "host:port", validated; IP addresses too
    Resolver::Options resolver;
    absl::Duration interval = absl::Seconds(5);  // between questions; spread up to twice as long
    Clock* clock = nullptr;
    AgentMetrics* metrics = nullptr;
    // A stream to "ip:port"; `ended` is to be called whenever it ends.
    std::function<std::unique_ptr<Reporter>(const std::string& address,
                                            std::function<void()> ended)>
        connect;
  };
  // Errors: no descriptors.
  static absl::StatusOr<std::unique_ptr<Replicas>> Start(Options options);
  virtual ~Replicas() = default;  // ends every stream
};

// The addresses of one name as "ip:port", of one family, since a replica may have one of each and
// must have one stream: IPv4 when there is any. Sorted. Pure.
std::vector<std::string> ReplicaAddresses(const std::vector<IpAddress>& addresses, int port);

}  // namespace failover::agent

#endif  // AGENT_REPLICAS_H_
