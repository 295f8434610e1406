#ifndef CONTROLLER_INTAKE_TABLE_H_
#define CONTROLLER_INTAKE_TABLE_H_

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "apim_failover/v1/agent.pb.h"
#include "common/proto.h"
#include "controller/intake/intake.h"

namespace failover::intake {

// The assignments in force with what every stream needs of them; immutable, replaced as a whole.
struct Table {
  Assignments assignments;  // without by_probe_region, which is in `regions`
  uint64_t serial = 0;      // of the SetAssignments call; 0 = none yet
  struct Region {
    std::shared_ptr<const v1::ControllerMessage> message;  // null on a follower
    double results_per_second = 0;                         // regular probes of one agent
  };
  std::map<std::string, Region> regions;  // every configured one

  std::string RegionList() const;  // "northeurope, westeurope"
  double RateOf(const std::string& region) const;
  const TargetEntry* Find(const std::string& target) const;  // null when it is not assigned
};

// The table after `before`. A region whose assignment stays keeps its message: the same object
// tells a stream that there is nothing new to send.
std::shared_ptr<const Table> MakeTable(Assignments assignments, const Table& before);

// What one message brought, for the counters and Agents().
struct MessageNote {
  uint64_t accepted = 0, replayed = 0;
  std::map<std::string, uint64_t> refused;  // by kind
  std::string refused_why;
  bool slowed = false;   // the token buckets delay the next read
  bool relayed = false;  // it came by another replica
  std::optional<absl::Duration> report_delay;
  std::optional<absl::Duration> clock_skew;  // the agent's wall clock less ours

  void Refuse(const char* kind, const std::string& target);
};

}  // namespace failover::intake

#endif  // CONTROLLER_INTAKE_TABLE_H_
