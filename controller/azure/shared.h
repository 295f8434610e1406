#ifndef CONTROLLER_AZURE_SHARED_H_
#define CONTROLLER_AZURE_SHARED_H_

#include <map>
#include <memory>
#include <stop_token>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "common/clock.h"
#include "common/mutex.h"
#include "controller/azure/credentials.h"
#include "controller/azure/worker.h"
#include "re2/re2.h"

namespace failover::azure {

// A group's configuration as a call sees it from its beginning to its end.
struct GroupEntry {
  GroupAzure group;
  std::vector<std::unique_ptr<re2::RE2>> ignore;

  // verify.ignore: the whole id must match.
  bool Ignores(absl::string_view id) const;
};

// At most `rate` passages a second over all lanes; no burst. Thread-safe.
class RateLimiter {
 public:
  void SetRate(int per_second);  // at least 1
  // Returns when it is this caller's turn; false when stopped.
  bool Wait(Clock& clock, std::stop_token stop);

 private:
  Mutex mutex_;
  absl::Duration gap_ ABSL_GUARDED_BY(mutex_) = absl::Milliseconds(100);
  SteadyTime next_ ABSL_GUARDED_BY(mutex_) = SteadyTime::InfinitePast();
};

struct AzureData {
  AzureData(AzureOptions azure_options, Clock& process_clock, CallObserver call_observer);

  const AzureOptions options;
  Clock& clock;
  const CallObserver observer;
  Credentials credentials;
  RateLimiter verify_reads;

  // Null when the group is not configured (any more).
  std::shared_ptr<const GroupEntry> Group(const std::string& name) const;
  void SetGroups(std::vector<GroupAzure> groups);

  // When the write path of a group's traffic was proved last (design.md §7.10).
  bool WritePathDue(const std::string& group) const;
  void WritePathProved(const std::string& group);

 private:
  mutable Mutex mutex_;
  std::map<std::string, std::shared_ptr<const GroupEntry>> groups_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, SteadyTime> write_path_proved_ ABSL_GUARDED_BY(mutex_);
};

struct AzureShared::Data : AzureData {
  using AzureData::AzureData;
};

}  // namespace failover::azure

#endif  // CONTROLLER_AZURE_SHARED_H_
