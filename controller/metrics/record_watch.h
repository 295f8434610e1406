#ifndef CONTROLLER_METRICS_RECORD_WATCH_H_
#define CONTROLLER_METRICS_RECORD_WATCH_H_

#include <array>
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <tuple>
#include <utility>

#include "apim_failover/v1/state.pb.h"
#include "common/exposition.h"
#include "common/mutex.h"
#include "common/proto.h"
#include "prometheus/family.h"
#include "prometheus/histogram.h"
#include "prometheus/registry.h"

namespace failover::metrics {

// What a record holds and GroupStatus does not show; by APIM service. Moments in ms, 0 = none.
struct RecordFacts {
  std::map<std::string, int64_t> backup_ended_ms, backup_size_bytes;
  std::map<std::pair<std::string, std::string>, int64_t>
      last_duration_ms;  // (service, backup | restore)
  int64_t newest_backup_expires_ms = 0;
  // By (service, backup | restore): those that failed since the last one that succeeded.
  std::map<std::pair<std::string, std::string>, int> failures_in_a_row;

  // What ended while this process led. By (service, operation, result).
  std::map<std::tuple<std::string, std::string, std::string>, double> operations;
  // By (from_region, to_region, kind, trigger, result).
  std::map<std::array<std::string, 5>, double> switches;
};

inline constexpr const char* kOperationNames[] = {"backup", "restore", "verify"};
inline constexpr const char* kOperationResults[] = {"success", "failure", "cancelled"};
inline constexpr const char* kSkipped = "skipped";  // a standby that a run left out: of restore
inline constexpr const char* kTriggers[] = {"automatic", "approved", "operator"};
inline constexpr const char* kSwitchResults[] = {"success", "failure", "aborted"};

// Counts what ended between two records of a group that this process wrote. Records grow by whole
// operations and failovers, so that no end is missed however many records are skipped, and none is
// counted twice. Thread-safe.
class RecordWatch {
 public:
  // Both outlive this.
  RecordWatch(prometheus::Registry& registry, Exemplars& exemplars);

  // The baseline of what follows: what has ended in it was counted before, or by another leader.
  void RecordLoaded(const v1::GroupRecord& record);
  void RecordIs(const v1::GroupRecord& record);
  // Of a group never seen: empty facts.
  RecordFacts FactsOf(const std::string& group) const;

 private:
  struct Seen {
    std::set<std::string> ended_operations;  // among those still in the record
    std::set<std::pair<std::string, std::string>>
        ended_targets;  // (run, service) of the run in the record
    std::string ended_failover;
    RecordFacts facts;
  };

  void CountOperations(const v1::GroupRecord& record, bool baseline, Seen& seen)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void CountTargets(const v1::GroupRecord& record, bool baseline, Seen& seen)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void CountFailover(const v1::GroupRecord& record, bool baseline, Seen& seen)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Take(const v1::GroupRecord& record, bool baseline) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  Exemplars& exemplars_;
  prometheus::Family<prometheus::Histogram>& durations_;
  prometheus::Family<prometheus::Histogram>& rto_;
  prometheus::Family<prometheus::Histogram>& rto_phases_;
  mutable Mutex mutex_;
  std::map<std::string, Seen> groups_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace failover::metrics

#endif  // CONTROLLER_METRICS_RECORD_WATCH_H_
