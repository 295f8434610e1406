#ifndef TESTS_SIM_TRUTH_H_
#define TESTS_SIM_TRUTH_H_

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "controller/core/commands.h"
#include "controller/core/config.h"
#include "controller/core/events.h"
#include "tests/sim/random.h"

namespace failover::sim {

// What is really there, for one failover group: the virtual Azure, its gateways and its traffic
// layer. Deterministic; asks no questions about why a request came.

// A configured entity. Deleted ones stay as tombstones with an empty digest.
struct Entity {
  std::string digest;
  SteadyTime changed;  // when it got this value, on the service where that happened
};
using Content = std::map<std::string, Entity>;

struct Blob {
  Content content;
  SteadyTime snapshot;  // the moment whose content it holds
  Content source_at_begin, source_at_end;
  std::string service, sku, operation_id;
  bool complete = false;
  bool bad = false;  // empty or missing, although Azure said otherwise
};

struct ManagementOperation {
  std::string id, service, blob;
  bool restore = false;
  bool running = true;
  bool fails = false;  // decided when it begins
  SteadyTime begun, ends;
};

struct ServiceTruth {
  Content content;
  std::string sku = "Developer";
  bool sample_only = false;  // Azure's sample content
  bool gateway_up = true, hangs = false;
  bool endpoint = false;  // enabled in the traffic layer
  SteadyTime foreign_busy_until = SteadyTime::InfinitePast();
  std::string running;           // id of the management operation that is changing it
  std::set<int> cut;             // probe regions that cannot reach its gateway
  std::set<std::string> edited;  // entities changed on it by somebody else while it was a standby
  bool half_restored = false;    // a restore failed on the way
};

struct Truth {
  explicit Truth(const core::GroupConfig& group, Random& random);

  const core::GroupConfig* config;
  std::map<std::string, ServiceTruth> services;
  std::map<std::string, Blob> blobs;
  std::map<std::string, ManagementOperation> operations;  // accepted ones, by our operation id
  std::set<std::string> lost_results;                     // operations whose polls answer 404
  std::optional<core::Fence> fence;
  SteadyTime foreign_traffic = SteadyTime::InfinitePast();  // the last change that was not ours
  std::string traffic_problem;
  bool spoil_next = false;  // the next backup leaves an empty blob
  double fault_rate = 0;    // of operations that end badly
  using Kept = std::shared_ptr<const core::Entities>;
  std::map<std::string, std::pair<Kept, Kept>> manifests;  // by blob

  // A request arrives: its effect and the honest answer. The time is `now`.
  core::Event Arrive(const core::Command& command, SteadyTime now, absl::Time wall, Random& random);
  // Lets operations end.
  void Settle(SteadyTime now);

  bool Reachable(const std::string& service, int region) const;
  bool Idle(const std::string& service, SteadyTime now) const;
  std::string Change(const std::string& service, Random& random,
                     SteadyTime now);            // the entity that was changed
  std::string PublicName(SteadyTime now) const;  // the service that DNS gives; empty: none enabled
  int EnabledCount() const;
};

core::Entities EntitiesOf(const Content& content);
v1::Fingerprint FingerprintOf(const core::Entities& entities, int64_t begun_ms,
                              int64_t finished_ms);

}  // namespace failover::sim

#endif  // TESTS_SIM_TRUTH_H_
