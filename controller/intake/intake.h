#ifndef CONTROLLER_INTAKE_INTAKE_H_
#define CONTROLLER_INTAKE_INTAKE_H_

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "apim_failover/v1/agent.pb.h"
#include "apim_failover/v1/operator.pb.h"
#include "common/clock.h"
#include "common/grpc_server_metrics.h"
#include "common/proto.h"
#include "common/tls.h"
#include "controller/core/events.h"

namespace failover::intake {

// What one message of an agent means to the groups: ProbeResults or AgentStream events, group by
// group.
struct AgentInput {
  std::vector<std::pair<std::string, core::Event>> events;  // group → event
  // Destroyed when the input has been judged: only then the stream is read on, so that a fast or
  // hostile agent has one message in the mailbox and no more (stack.md, gRPC).
  std::shared_ptr<void> hold;
  // Of the Assignments by which the events' indices were found. Results of an older one than the
  // configuration in force may name other services by the same index and must not be judged.
  uint64_t generation = 0;
};

// Where a target's results go: every group that probes it and what it is to that group. Control
// targets are shared between groups.
struct TargetUse {
  std::string group;
  core::TargetRef ref;
};
struct TargetEntry {
  uint64_t definition = 0;  // results of another definition are refused
  std::vector<TargetUse> uses;
};

struct Assignments {
  uint64_t term = 0, generation = 0;
  bool leading = false;                                   // a follower assigns nothing
  std::map<std::string, v1::Assignment> by_probe_region;  // complete messages
  std::map<std::string, TargetEntry> targets;             // by Target.id
  std::map<std::string, std::vector<std::string>>
      groups_of_region;  // who hears of AgentStream events
};

struct AgentCounters {  // of one (probe region, agent name, result) since the start
  std::string probe_region, agent;
  // accepted | replayed | relayed (by another replica, live or replayed) | slowed | superseded |
  // refused_…
  std::string kind;
  uint64_t count = 0;
};

// How late results reached this process: from a probe's end to its receipt, newest result of each
// live batch, by probe region.
struct ReportDelays {
  static constexpr std::array<double, 12> kBounds = {0.05, 0.1, 0.2, 0.3, 0.5, 1,
                                                     2,    5,   10,  30,  60,  300};  // seconds
  std::array<uint64_t, kBounds.size() + 1> counts{};  // of each bucket alone; the last is beyond
  double sum = 0;
};

struct IntakeOptions {
  std::string address;  // "host:port", port 0 = any
  TlsIdentity* tls =
      nullptr;  // null: --insecure, loopback only; the agent's word for region and name is taken
  Clock* clock = nullptr;
  GrpcServerMetrics* grpc_metrics = nullptr;  // may be null
  // False when the mailbox is full: the message is dropped, the stream closed with
  // RESOURCE_EXHAUSTED, and the agent replays after its back-off. Called on gRPC's threads; must
  // not block.
  std::function<bool(AgentInput)> sink;

  // "host:port" whose name resolves to the agent port of every replica, this one included; what
  // agents say to one of them reaches the others (relay_session.h). Empty: no relay to others.
  std::string replicas_address;
  // Instead of getaddrinfo for the name of `replicas_address`: "ip:port" of every replica. For
  // tests; called on a thread of the intake's, must return soon.
  std::function<absl::StatusOr<std::vector<std::string>>()> resolve_replicas;
  absl::Duration resolve_interval = absl::Seconds(5);
};

// AgentService (design.md §5, §11). Regions and names come from certificates alone. Bounded: 4
// instances an identity, 256 results and 64 KiB a message, a token bucket per stream; everything
// else is refused with the reason, counted, and shown by Agents(). Receipt times are the clock's; a
// result's moment is receipt − age. Replayed batches are collected per stream (bounded) and
// delivered as one event after their end mark.
//
// Other replicas of the controller relay what agents say to them (AgentService.Relay, mutual TLS,
// identities of kind `controller` only). An agent is connected while any path to it is open, its
// own stream or a relay; results that come on several paths are told apart by their sequence
// numbers in the core. What a leader has for agents of other replicas goes back on their relays. At
// most 16 replicas; a relay is bounded like a stream, agent by agent.
class Intake {
 public:
  static absl::StatusOr<std::unique_ptr<Intake>> Start(IntakeOptions options);
  virtual ~Intake() = default;  // closes every stream; no call of `sink` afterwards
  // Sends the new assignment to every connected agent of each region and maps results by it from
  // now on.
  virtual void SetAssignments(Assignments assignments) = 0;
  virtual void Burst(const std::string& probe_region, const std::vector<std::string>& targets) = 0;
  // Connected instances, and those of the last 24 h that are not. `peer` of one that is connected
  // to other replicas only says by which its results come.
  virtual std::vector<v1::AgentInfo> Agents() const = 0;
  virtual std::vector<AgentCounters> Counters() const = 0;
  virtual std::map<std::string, ReportDelays> Delays() const = 0;
  virtual int port() const = 0;
};

}  // namespace failover::intake

#endif  // CONTROLLER_INTAKE_INTAKE_H_
