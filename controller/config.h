#ifndef CONTROLLER_CONFIG_H_
#define CONTROLLER_CONFIG_H_

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "common/tls.h"
#include "controller/kubernetes/client.h"
#include "controller/kubernetes/lease.h"
#include "controller/runtime/settings.h"

namespace failover {

// Several replicas, of which one leads (design.md §9): state in ConfigMaps, election on a Lease.
struct KubernetesSettings {
  kubernetes::ApiServer server;  // what is empty is what the pod finds: see FillFromPod
  std::string prefix;            // of the ConfigMaps' names
  std::string lease_name;
  kubernetes::LeaseTimes times;

  bool operator==(const KubernetesSettings&) const = default;
};

// A whole, valid controller configuration file (design.md §4), defaults applied.
struct ControllerSettings {
  runtime::Settings runtime;
  TlsFiles tls;  // empty: only with --insecure
  std::string agent_address, operator_address, metrics_address;
  std::string replicas_address;  // empty: nothing is passed on
  std::string store_directory;   // empty: `kubernetes` is set
  std::optional<KubernetesSettings> kubernetes;
};

// Reads and checks `file`. Errors: every problem at once, one a line, "FILE:LINE: PATH: found …;
// allowed: …". `insecure`: TLS files may be absent and addresses must be loopback.
absl::StatusOr<ControllerSettings> LoadControllerConfig(const std::string& file,
                                                        uint64_t generation, bool insecure);

// What --check-config prints for a valid file: per group the worst-case detection and its floor,
// the sync cycle against the RPO objective, the unready share of a standby, then warnings (every
// timing value below its default).
std::string ConfigReport(const ControllerSettings& settings);
}  // namespace failover

#endif  // CONTROLLER_CONFIG_H_
