#ifndef CONTROLLER_CORE_CONFIG_H_
#define CONTROLLER_CORE_CONFIG_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/time/time.h"

namespace failover::core {

// One failover group's configuration, validated and with defaults applied (controller/config.cc).
// The index of a service, probe or region in these lists is its name inside the core.

enum class Mode { kObserve, kManual, kApprove, kAutomatic };

struct ServiceConfig {
  std::string name, azure_region, resource_id;
  std::string gateway_url;  // may be empty until read from ARM
};

struct ProbeConfig {
  std::string name;
  std::string
      definition;  // everything about the probe as text: a change of it resets the group's votes
  absl::Duration interval, timeout;
  int failure_threshold = 3;
  int success_threshold = 6;
};

struct StorageConfig {
  std::string account, container;
  std::string access;  // as in ARM's body: AccessKey, SystemAssignedManagedIdentity, …
  std::string client_id;
};

struct Timing {
  absl::Duration ambiguity_wait = absl::Seconds(120);
  absl::Duration ambiguity_watch = absl::Minutes(30);
  absl::Duration freeze_hold = absl::Minutes(10);
  absl::Duration freeze_thaw = absl::Minutes(5);
};

struct GroupConfig {
  std::string name;
  uint64_t generation = 1;  // of the configuration file in force
  Mode mode = Mode::kObserve;
  absl::Duration rpo_objective = absl::InfiniteDuration();
  absl::Duration rto_objective = absl::InfiniteDuration();
  std::vector<ServiceConfig> services;  // order = preference
  std::vector<ProbeConfig> probes;
  int deciding_probe = 0;
  std::vector<std::string> probe_regions;
  int quorum = 2;
  std::vector<std::string> control_targets;
  std::string controller_region;

  absl::Duration min_down_duration = absl::Seconds(10);
  absl::Duration cooldown = absl::Minutes(30);
  int max_per_day = 2;
  absl::Duration max_data_loss = absl::InfiniteDuration();
  bool drift_blocks = false;  // onDrift: block

  std::string public_url;        // empty: RTO ends at `switch`
  std::string served_by_header;  // empty: by address
  bool has_traffic = false;      // a traffic section exists; without it nothing can be switched

  absl::Duration sync_interval = absl::ZeroDuration();  // zero: no sync section, nothing is synced
  StorageConfig storage;
  absl::Duration backup_lifetime = absl::Hours(24 * 30);

  Timing timing;

  const ProbeConfig& decider() const { return probes[deciding_probe]; }
  int ServiceIndex(const std::string& service) const {
    for (size_t i = 0; i < services.size(); ++i) {
      if (services[i].name == service) return static_cast<int>(i);
    }
    return -1;
  }
  int RegionIndex(const std::string& region) const {
    for (size_t i = 0; i < probe_regions.size(); ++i) {
      if (probe_regions[i] == region) return static_cast<int>(i);
    }
    return -1;
  }
};

}  // namespace failover::core

#endif  // CONTROLLER_CORE_CONFIG_H_
