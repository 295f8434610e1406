#ifndef CONTROLLER_METRICS_RECORD_WATCH_H_
#define CONTROLLER_METRICS_RECORD_WATCH_H_

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <utility>

#include "apim_failover/v1/state.pb.h"
#include "common/mutex.h"
#include "common/proto.h"
#include "prometheus/counter.h"
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
};

// Counts what ended between two records of a group. Records grow by whole operations and failovers,
// so that no end is missed however many records are skipped, and none is counted twice.
// Thread-safe.
class RecordWatch {
 public:
  explicit RecordWatch(prometheus::Registry& registry);

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
  void StartAtZero(const v1::GroupRecord& record);
  void Count(const std::string& group, const std::string& service, const char* operation,
             const char* result, int n);

  prometheus::Family<prometheus::Counter>& operations_;
  prometheus::Family<prometheus::Histogram>& durations_;
  prometheus::Family<prometheus::Counter>& switches_;
  prometheus::Family<prometheus::Histogram>& rto_;
  prometheus::Family<prometheus::Histogram>& rto_phases_;
  mutable Mutex mutex_;
  std::map<std::string, Seen> groups_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace failover::metrics

#endif  // CONTROLLER_METRICS_RECORD_WATCH_H_
