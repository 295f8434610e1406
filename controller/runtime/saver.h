#ifndef CONTROLLER_RUNTIME_SAVER_H_
#define CONTROLLER_RUNTIME_SAVER_H_

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "apim_failover/v1/state.pb.h"
#include "common/clock.h"
#include "common/mutex.h"
#include "common/proto.h"
#include "common/steady_time.h"
#include "controller/store/store.h"

namespace failover::runtime {

// What the store lane tells, on its own thread.
struct SaverEvents {
  std::function<void(const v1::GroupRecord& record, uint64_t version, absl::Duration took)> saved;
  // Tried again every second with the newest record until it works.
  std::function<void(const std::string& group, const absl::Status& error)> failed;
  // Somebody else wrote the record: this life of the group is over; it must be loaded again.
  std::function<void(const std::string& group)> overtaken;
};

// A record as a follower reads it.
struct LookedAt {
  std::string group, version;
  absl::StatusOr<v1::GroupRecord> record;
};

// The store lane: the only user of the store. Only a group's newest record waits; versions in
// between are skipped. Crash points: each sync and failover stage, before and after it is durable
// (see StageCrashPoints).
class Saver {
 public:
  Saver(store::Store& store, Clock& clock, SaverEvents events);
  ~Saver();  // writes what waits, once, and ends

  // Loads the group's record, or takes `fresh` when there is none, checks it with `problem` (empty
  // = fine), raises its term by compare-and-swap and calls `done` with it, durable. Errors: those
  // of the store, or FailedPrecondition with the problem's text.
  void Begin(std::string group, v1::GroupRecord fresh,
             std::function<std::string(const v1::GroupRecord&)> problem,
             std::function<void(absl::StatusOr<v1::GroupRecord>)> done);
  void Save(const std::string& group, std::shared_ptr<v1::GroupRecord> record, uint64_t version);
  // Reads, without raising any term, the records whose version is not the one in `have`. Error:
  // they cannot be listed.
  void Look(std::map<std::string, std::string> have,
            std::function<void(absl::StatusOr<std::vector<LookedAt>>)> done);
  // What waits is given up: this process leads no more. What is being written may still be.
  void Forget();

 private:
  struct Pending {
    std::shared_ptr<v1::GroupRecord> record;
    uint64_t version = 0;
    uint64_t life = 0;  // Begin calls of the group when it was given
  };
  void Run(std::stop_token stop);
  absl::StatusOr<v1::GroupRecord> Raise(
      const std::string& group, const v1::GroupRecord& fresh,
      const std::function<std::string(const v1::GroupRecord&)>& problem);
  void Write(const std::string& group, const Pending& pending);

  store::Store& store_;
  Clock& clock_;
  const SaverEvents events_;
  // Of the thread alone.
  std::map<std::string, std::string> stored_;  // group → version in the store
  std::map<std::string, std::vector<std::string>>
      stages_;          // group → crash-point names of the stored stages
  std::string served_;  // the group written last: the others come first

  Mutex mutex_;
  std::condition_variable_any changed_;
  std::map<std::string, Pending> pending_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, uint64_t> lives_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, SteadyTime> retry_
      ABSL_GUARDED_BY(mutex_);  // groups whose last write failed
  std::deque<std::function<void()>> begins_ ABSL_GUARDED_BY(mutex_);
  std::jthread thread_;  // last
};

// Names of the stages of a record that are crash points: "sync.backup", "restore.fence",
// "failover.enabling" …; each is passed as NAME.before just before, and NAME.after just after, the
// record that reaches it is durable.
std::vector<std::string> StagesOf(const v1::GroupRecord& record);
std::vector<std::string> StageCrashPoints();

}  // namespace failover::runtime

#endif  // CONTROLLER_RUNTIME_SAVER_H_
