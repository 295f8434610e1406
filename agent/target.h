#ifndef AGENT_TARGET_H_
#define AGENT_TARGET_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "agent/assertions.h"
#include "agent/schedule.h"
#include "apim_failover/v1/agent.pb.h"
#include "common/proto.h"

namespace failover::agent {

// One target, checked and ready to be probed. Immutable.
struct Target {
  std::string id;
  std::string url;        // for libcurl; its host is the one of Host, SNI and certificate
  std::string dial_host;  // resolved and connected to; IPv6 without brackets
  int dial_port = 0;
  bool tls = false;
  std::vector<std::string> headers;  // as libcurl takes them
  Assertions assertions;
  Cadence cadence;
  bool reuse_connection = false;
  std::string served_by_header;  // lower case; empty = none
  std::string ca_file;           // empty = the agent's own
  // Labels of its metrics.
  std::string failover_group, azure_region, apim_service, role;
  uint64_t definition = 0;
};

// Bounds: interval 10 ms … 1 h, timeout 10 ms … 5 min and at most 64 intervals, 32 headers, 16
// burst probes. No user information in URLs, no line breaks in headers, no header that frames the
// message (reliability.md R6, R10). Errors name field, value and what is allowed.
absl::StatusOr<Target> PrepareTarget(const v1::Target& target);

// A whole assignment, prepared. A target that cannot be probed is left out: its silence makes the
// vote `unknown`, never `down`.
struct PreparedAssignment {
  uint64_t term = 0, generation = 0;
  std::vector<std::shared_ptr<const Target>> targets;  // ids are unique
  std::vector<std::string> refused;                    // "ID: reason"
};
inline constexpr int kMaxTargets = 4096;
// Errors: more than kMaxTargets targets.
absl::StatusOr<PreparedAssignment> PrepareAssignment(const v1::Assignment& assignment);

}  // namespace failover::agent

#endif  // AGENT_TARGET_H_
