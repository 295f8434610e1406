#include "controller/metrics/record_watch.h"

#include <algorithm>

#include "controller/core/context.h"

namespace failover::metrics {
namespace {

constexpr const char* kResults[] = {"success", "failure", "cancelled"};
constexpr const char* kOperations[] = {"backup", "restore", "verify"};

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

const char* ResultOf(v1::OperationState state) {
  if (state == v1::OPERATION_STATE_SUCCEEDED) return "success";
  return state == v1::OPERATION_STATE_ABANDONED ? "cancelled" : "failure";
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
    if (operation.state() != v1::OPERATION_STATE_SUCCEEDED || operation.sent_ms() == 0) continue;
    facts.last_duration_ms[{operation.service(), KindOf(operation)}] =
        operation.ended_ms() - operation.sent_ms();
  }
  return facts;
}

}  // namespace

RecordWatch::RecordWatch(prometheus::Registry& registry)
    : operations_(prometheus::BuildCounter()
                      .Name("apim_failover_sync_operations_total")
                      .Help("Backups, restores and verifications that ended since this process "
                            "began to lead.")
                      .Register(registry)),
      durations_(prometheus::BuildHistogram()
                     .Name("apim_failover_sync_operation_duration_seconds")
                     .Help("From the request of a backup or restore to its end.")
                     .Register(registry)),
      switches_(prometheus::BuildCounter()
                    .Name("apim_failover_switches_total")
                    .Help("Failovers that ended since this process began to lead.")
                    .Register(registry)),
      rto_(prometheus::BuildHistogram()
               .Name("apim_failover_rto_seconds")
               .Help("Measured RTO of failovers that switched traffic, from the earliest start of "
                     "the outage.")
               .Register(registry)),
      rto_phases_(prometheus::BuildHistogram()
                      .Name("apim_failover_rto_phase_seconds")
                      .Help("Measured RTO of failovers that switched traffic, by phase.")
                      .Register(registry)) {
  for (const char* phase : {"detect", "decide", "switch", "visible"})
    rto_phases_.Add({{"phase", phase}}, RtoBuckets());
}

RecordFacts RecordWatch::FactsOf(const std::string& group) const {
  MutexLock lock(mutex_);
  const auto seen = groups_.find(group);
  return seen == groups_.end() ? RecordFacts() : seen->second.facts;
}

void RecordWatch::RecordIs(const v1::GroupRecord& record) {
  MutexLock lock(mutex_);
  const auto [it, baseline] = groups_.try_emplace(record.name());
  Seen& seen = it->second;
  StartAtZero(record);
  CountOperations(record, baseline, seen);
  CountTargets(record, baseline, seen);
  CountFailover(record, baseline, seen);
  seen.facts = FactsFrom(record);
}

// So that the first event of a kind is an increase, which rate() can see.
void RecordWatch::StartAtZero(const v1::GroupRecord& record) {
  for (const v1::ServiceRecord& service : record.services()) {
    for (const char* operation : kOperations) {
      for (const char* result : kResults)
        Count(record.name(), service.name(), operation, result, 0);
    }
  }
}

void RecordWatch::Count(const std::string& group, const std::string& service, const char* operation,
                        const char* result, int n) {
  operations_
      .Add({{"failover_group", group},
            {"apim_service", service},
            {"operation", operation},
            {"result", result}})
      .Increment(n);
}

void RecordWatch::CountOperations(const v1::GroupRecord& record, bool baseline, Seen& seen) {
  std::set<std::string> ended;
  for (const v1::Operation& operation : record.operations()) {
    if (core::IsOpen(operation)) continue;
    ended.insert(operation.id());
    if (baseline || seen.ended_operations.count(operation.id()) > 0) continue;
    const char* result = ResultOf(operation.state());
    Count(record.name(), operation.service(), KindOf(operation), result, 1);
    if (operation.sent_ms() == 0 || operation.ended_ms() < operation.sent_ms()) continue;
    durations_.Add({{"operation", KindOf(operation)}, {"result", result}}, OperationBuckets())
        .Observe(static_cast<double>(operation.ended_ms() - operation.sent_ms()) / 1000);
  }
  seen.ended_operations = std::move(ended);
}

// Verification ends a restore's target: done, or failed with differences.
void RecordWatch::CountTargets(const v1::GroupRecord& record, bool baseline, Seen& seen) {
  std::set<std::pair<std::string, std::string>> ended;
  for (const v1::RestoreTarget& target : record.sync_run().targets()) {
    const bool good = target.stage() == v1::RESTORE_STAGE_DONE;
    const bool bad = target.stage() == v1::RESTORE_STAGE_FAILED && target.differences() > 0;
    if (!good && !bad) continue;
    const std::pair key{record.sync_run().id(), target.service()};
    ended.insert(key);
    if (baseline || seen.ended_targets.count(key) > 0) continue;
    Count(record.name(), target.service(), "verify", good ? "success" : "failure", 1);
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
  switches_
      .Add({{"failover_group", record.name()},
            {"from_region", RegionOf(record, failover.from())},
            {"to_region", RegionOf(record, failover.to())},
            {"kind", "failover"},
            {"trigger", failover.trigger()},
            {"result", result}})
      .Increment();
  // What was not seen has no RTO yet: to count it up to the switch would flatter.
  const v1::Rto rto = core::RtoOf(failover);
  if (!done || rto.total_ms() <= 0) return;
  rto_.Add({{"trigger", failover.trigger()}, {"result", result}}, RtoBuckets())
      .Observe(static_cast<double>(rto.total_ms()) / 1000);
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
