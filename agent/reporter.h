#ifndef AGENT_REPORTER_H_
#define AGENT_REPORTER_H_

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "agent/assignment.h"
#include "agent/metrics.h"
#include "agent/result_buffer.h"
#include "apim_failover/v1/agent.pb.h"
#include "common/clock.h"
#include "common/proto.h"

namespace grpc {
class ChannelCredentials;
}

namespace failover::agent {

// One stream to one controller address, on two threads of its own: a controller that is dead, hangs
// or reads slowly delays neither probes nor other controllers. After every (re)connect everything
// kept is replayed: a successful write proves no delivery, and behind an address there may be
// another replica than before; what the controller knows already changes nothing there. Then
// results follow in batches at most 200 ms old, at once when a target changes between good and bad.
// Both are paced below the controller's rate limit.
class Reporter {
 public:
  struct Options {
    std::string controller;  // "host:port"
    std::shared_ptr<grpc::ChannelCredentials> credentials;
    v1::Hello hello;  // term and generation are filled in at every connect
    Clock* clock = nullptr;
    ResultBuffer* results = nullptr;
    AssignmentKeeper* assignments = nullptr;
    AgentMetrics* metrics = nullptr;
    std::function<void(std::vector<std::string>)> burst;  // must not block
    std::function<void()> ended;  // after every end of a stream; may be empty, must not block
  };
  static std::unique_ptr<Reporter> Start(Options options);
  virtual ~Reporter() = default;  // closes the stream
};

// Before the next attempt, after `failures` in a row: 0.5 s to 15 s, growing, spread by `random` in
// [0, 1).
absl::Duration ReconnectDelay(int failures, double random);

}  // namespace failover::agent

#endif  // AGENT_REPORTER_H_
