#include "controller/metrics/record_watch.h"

#include <algorithm>

#include "controller/core/context.h"

namespace failover::metrics {
namespace {

constexpr char kDurations[] = "apim_failover_sync_operation_duration_seconds";
constexpr char kRto[] = "apim_failover_rto_seconds";

using Buckets = prometheus::Histogram::BucketBoundaries;
const Buckets& OperationBuckets() {
  static const auto* const kBuckets =
      new Buckets{30, 60, 120, 300, 600, 900, 1200, 1800, 2400, 2700, 3600, 5400, 7200};
  return *kBuckets;
}
const Buckets& RtoBuckets() {
  static const auto* const kBuckets =
      new Buckets{1, 2, 5, 15, 30, 60, 90, 120, 180, 300, 600, 900, 1800, 3600};
  return *kBuckets;
}

const char* KindOf(const v1::Operation& operation) {
  return operation.kind() == v1::OPERATION_KIND_BACKUP ? "backup" : "restore";
}

const char* ResultOf(const v1::Operation& operation) {
  if (operation.state() == v1::OPERATION_STATE_SUCCEEDED) return "success";
  // Given up, or planned and never sent: Azure has refused nothing.
  const bool given_up =
      operation.state() == v1::OPERATION_STATE_ABANDONED || operation.sent_ms() == 0;
  return given_up ? "cancelled" : "failure";
}

bool HasEnded(const v1::Failover& failover) {
  return !failover.id().empty() && !core::IsOpen(failover);
}

std::string RegionOf(const v1::GroupRecord& record, const std::string& service) {
  for (const v1::ServiceRecord& candidate : record.services()) {
    if (candidate.name() == service) return candidate.azure_region();
  }
  return "";
}

RecordFacts FactsFrom(const v1::GroupRecord& record) {
  RecordFacts facts;
  for (const v1::BackupRecord& backup : record.backups()) {
    if (!backup.checked() || backup.purpose() == "adopt" || backup.purpose() == "discard") continue;
    if (backup.ended_ms() <= facts.backup_ended_ms[backup.service()]) continue;
    facts.backup_ended_ms[backup.service()] = backup.ended_ms();
    facts.backup_size_bytes[backup.service()] = backup.size_bytes();
    facts.newest_backup_expires_ms = std::max(facts.newest_backup_expires_ms, backup.expires_ms());
  }
  for (const v1::Operation& operation : record.operations()) {  // oldest first
    if (core::IsOpen(operation)) continue;
    const std::pair key{operation.service(), std::string(KindOf(operation))};
    const std::string result = ResultOf(operation);
    if (result == "failure") ++facts.failures_in_a_row[key];
    if (result != "success") continue;
    facts.failures_in_a_row[key] = 0;
    if (operation.sent_ms() != 0)
      facts.last_duration_ms[key] = operation.ended_ms() - operation.sent_ms();
  }
  return facts;
}

}  // namespace

RecordWatch::RecordWatch(prometheus::Registry& registry, Exemplars& exemplars)
    : exemplars_(exemplars),
      durations_(prometheus::BuildHistogram()
                     .Name(kDurations)
                     .Help("From the request of a backup or restore to its end.")
                     .Register(registry)),
      rto_(prometheus::BuildHistogram()
               .Name(kRto)
               .Help("Measured RTO of failovers that switched traffic, from the earliest start of "
                     "the outage.")
               .Register(registry)),
      rto_phases_(prometheus::BuildHistogram()
                      .Name("apim_failover_rto_phase_seconds")
                      .Help("Measured RTO of failovers that switched traffic, by phase.")
                      .Register(registry)) {
  // So that the first event of a kind is an increase, which rate() can see.
  for (const char* phase : {"detect", "decide", "switch", "visible"})
    rto_phases_.Add({{"phase", phase}}, RtoBuckets());
  for (const char* trigger : kTriggers)
    rto_.Add({{"trigger", trigger}, {"result", "success"}}, RtoBuckets());
  for (const char* operation : {"backup", "restore"}) {
    for (const char* result : kOperationResults)
      durations_.Add({{"operation", operation}, {"result", result}}, OperationBuckets());
  }
}

RecordFacts RecordWatch::FactsOf(const std::string& group) const {
  MutexLock lock(mutex_);
  const auto seen = groups_.find(group);
  return seen == groups_.end() ? RecordFacts() : seen->second.facts;
}

void RecordWatch::RecordLoaded(const v1::GroupRecord& record) {
  MutexLock lock(mutex_);
  Take(record, true);
}

void RecordWatch::RecordIs(const v1::GroupRecord& record) {
  MutexLock lock(mutex_);
  Take(record, groups_.count(record.name()) == 0);
}

void RecordWatch::Take(const v1::GroupRecord& record, bool baseline) {
  Seen& seen = groups_[record.name()];
  CountOperations(record, baseline, seen);
  CountTargets(record, baseline, seen);
  CountFailover(record, baseline, seen);
  RecordFacts facts = FactsFrom(record);
  facts.operations = std::move(seen.facts.operations);
  facts.switches = std::move(seen.facts.switches);
  seen.facts = std::move(facts);
}

void RecordWatch::CountOperations(const v1::GroupRecord& record, bool baseline, Seen& seen) {
  std::set<std::string> ended;
  for (const v1::Operation& operation : record.operations()) {
    if (core::IsOpen(operation)) continue;
    ended.insert(operation.id());
    if (baseline || seen.ended_operations.count(operation.id()) > 0) continue;
    const char* result = ResultOf(operation);
    ++seen.facts.operations[{operation.service(), KindOf(operation), result}];
    if (operation.sent_ms() == 0 || operation.ended_ms() < operation.sent_ms()) continue;
    const prometheus::Labels labels = {{"operation", KindOf(operation)}, {"result", result}};
    const double seconds = static_cast<double>(operation.ended_ms() - operation.sent_ms()) / 1000;
    durations_.Add(labels, OperationBuckets()).Observe(seconds);
    exemplars_.Note(kDurations, labels, OperationBuckets(),
                    {operation.id(), seconds, absl::FromUnixMillis(operation.ended_ms())});
  }
  seen.ended_operations = std::move(ended);
}

// Verification ends a restore's target: done, or failed with differences. A target that was left
// out is no failure, and is seen in no other way.
void RecordWatch::CountTargets(const v1::GroupRecord& record, bool baseline, Seen& seen) {
  std::set<std::pair<std::string, std::string>> ended;
  for (const v1::RestoreTarget& target : record.sync_run().targets()) {
    const bool good = target.stage() == v1::RESTORE_STAGE_DONE;
    const bool bad = target.stage() == v1::RESTORE_STAGE_FAILED && target.differences() > 0;
    const bool skipped = target.stage() == v1::RESTORE_STAGE_SKIPPED;
    if (!good && !bad && !skipped) continue;
    const std::pair key{record.sync_run().id(), target.service()};
    ended.insert(key);
    if (baseline || seen.ended_targets.count(key) > 0) continue;
    ++seen.facts.operations[{target.service(), skipped ? "restore" : "verify",
                             good      ? "success"
                             : skipped ? kSkipped
                                       : "failure"}];
  }
  seen.ended_targets = std::move(ended);
}

void RecordWatch::CountFailover(const v1::GroupRecord& record, bool baseline, Seen& seen) {
  const v1::Failover& failover = record.failover();
  if (!HasEnded(failover) || failover.id() == seen.ended_failover) return;
  seen.ended_failover = failover.id();
  if (baseline) return;
  const bool done = failover.stage() == v1::FAILOVER_STAGE_DONE;
  const char* result = done                                             ? "success"
                       : failover.stage() == v1::FAILOVER_STAGE_ABORTED ? "aborted"
                                                                        : "failure";
  ++seen.facts.switches[{RegionOf(record, failover.from()), RegionOf(record, failover.to()),
                         "failover", failover.trigger(), result}];
  // What was not seen has no RTO yet: to count it up to the switch would flatter.
  const v1::Rto rto = core::RtoOf(failover);
  if (!done || rto.total_ms() <= 0) return;
  const prometheus::Labels labels = {{"trigger", failover.trigger()}, {"result", result}};
  const double seconds = static_cast<double>(rto.total_ms()) / 1000;
  rto_.Add(labels, RtoBuckets()).Observe(seconds);
  exemplars_.Note(kRto, labels, RtoBuckets(),
                  {failover.id(), seconds, absl::FromUnixMillis(failover.ended_ms())});
  const std::pair<const char*, int64_t> phases[] = {{"detect", rto.detect_ms()},
                                                    {"decide", rto.decide_ms()},
                                                    {"switch", rto.switch_ms()},
                                                    {"visible", rto.visible_ms()}};
  for (const auto& [phase, ms] : phases) {
    if (ms > 0)
      rto_phases_.Add({{"phase", phase}}, RtoBuckets()).Observe(static_cast<double>(ms) / 1000);
  }
}

}  // namespace failover::metrics
