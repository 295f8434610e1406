#ifndef AGENT_ASSIGNMENT_H_
#define AGENT_ASSIGNMENT_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "agent/target.h"
#include "apim_failover/v1/agent.pb.h"
#include "common/mutex.h"
#include "common/proto.h"

namespace failover::agent {

// The assignment in force: the highest (term, generation) offered by any controller (design.md §4).
// Kept in a file when one is configured, so that an agent that starts cut off from every controller
// probes on. The file may hold header values that are secrets: mode 0600. Thread-safe.
class AssignmentKeeper {
 public:
  using Apply = std::function<void(std::shared_ptr<const PreparedAssignment>)>;

  // `file` empty = nowhere. `apply` is called in the order of the assignments, under a lock.
  AssignmentKeeper(std::string file, Apply apply);

  // NotFound when there is none; InvalidArgument when it is unreadable: the agent goes on without,
  // and the file is kept until the next assignment replaces it.
  absl::Status LoadStored();
  // OK when it is now in force (also if it could not be stored: that is logged). FailedPrecondition
  // when it is older than the one in force, AlreadyExists when it is the one in force,
  // InvalidArgument when it is out of bounds.
  absl::Status Offer(const v1::Assignment& assignment);

  struct Version {
    bool assigned = false;
    uint64_t term = 0, generation = 0;
  };
  Version version() const;

 private:
  absl::Status Take(const v1::Assignment& assignment) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status Store(const v1::Assignment& assignment) const;

  const std::string file_;
  const Apply apply_;
  mutable Mutex mutex_;
  Version version_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace failover::agent

#endif  // AGENT_ASSIGNMENT_H_
