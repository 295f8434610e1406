#include "controller/metrics/service_page.h"

#include <algorithm>
#include <limits>
#include <map>
#include <tuple>

#include "controller/core/blockers.h"
#include "controller/core/context.h"
#include "controller/core/progress.h"

namespace failover::metrics {
namespace {

using enum StateFamily;

const char* RoleName(v1::Role role) {
  if (role == v1::ROLE_ACTIVE) return "active";
  return role == v1::ROLE_STANDBY ? "standby" : "unconfirmed";
}

const char* VoteName(v1::Vote vote) {
  if (vote == v1::VOTE_UP) return "up";
  return vote == v1::VOTE_DOWN ? "down" : "unknown";
}

void AddDrift(const std::string& g, const v1::ServiceStatus& service,
              const std::vector<std::string>& entity_kinds, Page& page) {
  const v1::Drift& drift = service.record().drift();
  std::map<std::string, int> items;
  for (const std::string& kind : entity_kinds) items[kind] = 0;
  if (drift.found_ms() != 0) {
    for (const v1::KindCount& kind : drift.kinds()) items[kind.kind()] = kind.count();
    // Found by a version that did not tell the kinds.
    if (drift.kinds().empty()) items["unknown"] = std::max(1, drift.count());
  }
  for (const auto& [kind, count] : items) page.Add(kDriftItems, {g, service.name(), kind}, count);
}

void AddStandby(const v1::GroupStatus& group, const v1::ServiceStatus& service, Page& page) {
  const std::string &g = group.name(), &s = service.name(), &region = service.azure_region();
  const v1::ServiceRecord& record = service.record();
  page.Add(kStandbyInfo, {g, region, s, service.sku()}, 1);
  if (record.recovery_point_ms() > 0)
    page.Add(kRecoveryPoint, {g, region, s}, Seconds(record.recovery_point_ms()));
  const bool expired =
      record.backup_expires_ms() != 0 && record.backup_expires_ms() <= group.at_ms();
  page.Add(kStandbyProtected, {g, region, s},
           record.recovery_point_ms() > 0 && !record.content_unverified() && !expired);
  const std::string source = service.rpo_source().empty() ? "recovery_point" : service.rpo_source();
  page.Add(kRpo, {g, s, source}, SecondsOrInfinity(service.rpo_now_ms()));
  page.Add(kStandbyPromotable, {g, region, s}, service.ready());
  for (const core::BlockerRule& rule : core::BlockerTable()) {
    if (!rule.standby) continue;
    bool active = false;
    for (const v1::Blocker& blocker : service.blockers())
      active |= blocker.name() == rule.name && blocker.active();
    page.Add(kStandbyBlocked, {g, s, rule.name}, active);
  }
}

void AddVerdict(const v1::GroupStatus& group, const v1::ServiceStatus& service, Page& page) {
  const std::string &g = group.name(), &s = service.name(), &region = service.azure_region();
  const std::string verdict = service.verdict().empty() ? "unknown" : service.verdict();
  page.Add(kServiceHealthy, {g, region, s, RoleName(service.role())}, verdict == "up");
  page.AddStateSet(kServiceVerdict, {g, region, s}, {"up", "down", "unknown"}, verdict);
  int up = 0, down = 0;
  for (const std::string& probe_region : group.probe_regions()) {
    v1::Vote vote = v1::VOTE_UNKNOWN;
    bool dissenting = false;
    for (const v1::RegionStatus& status : service.regions()) {
      if (status.probe_region() != probe_region) continue;
      vote = status.vote();
      dissenting = status.dissenting();
    }
    page.Add(kDissenting, {g, s, probe_region}, dissenting);
    up += vote == v1::VOTE_UP;
    down += vote == v1::VOTE_DOWN;
    page.AddStateSet(kRegionVote, {g, region, s, probe_region}, {"up", "down", "unknown"},
                     VoteName(vote));
  }
  page.Add(kServiceVotes, {g, region, s, "up"}, up);
  page.Add(kServiceVotes, {g, region, s, "down"}, down);
  page.Add(kServiceVotes, {g, region, s, "unknown"}, group.probe_regions_size() - up - down);
  if (service.serving() == "enabled" || service.serving() == "disabled") {
    page.Add(kServingTraffic, {g, region, s}, service.serving() == "enabled");
  }
}

// Every result of every operation, so that the first one is an increase.
void AddCounts(const std::string& g, const std::string& s, const RecordFacts& facts, Page& page) {
  const auto add = [&](const std::string& operation, const std::string& result) {
    const auto count = facts.operations.find({s, operation, result});
    page.Add(kSyncOperations, {g, s, operation, result},
             count == facts.operations.end() ? 0 : count->second);
  };
  for (const char* operation : kOperationNames) {
    for (const char* result : kOperationResults) add(operation, result);
  }
  add("restore", kSkipped);
}

// A verification has no operation in Azure; the run says which standby is being compared.
void AddVerification(const v1::GroupStatus& group, const std::string& s, Page& page) {
  const std::string& g = group.name();
  const v1::SyncRun& run = group.sync().run();
  int64_t since_ms = 0;
  for (const v1::RestoreTarget& target : run.targets()) {
    if (core::IsOpen(run) && target.service() == s && target.stage() == v1::RESTORE_STAGE_VERIFY)
      since_ms = target.stage_since_ms();
  }
  page.Add(kOperationInProgress, {g, s, "verify"}, since_ms != 0);
  if (since_ms == 0) return;
  page.Add(kOperationStarted, {g, s, "verify"}, Seconds(since_ms));
  if (const int64_t expected = Forecast(group, core::kStepVerify); expected > 0)
    page.Add(kOperationExpectedEnd, {g, s, "verify"}, Seconds(since_ms + expected));
}

void AddOperations(const std::string& g, const v1::ServiceStatus& service, const RecordFacts& facts,
                   Page& page) {
  const std::string& s = service.name();
  const struct {
    const char* name;
    v1::OperationKind kind;
  } kKinds[] = {{"backup", v1::OPERATION_KIND_BACKUP}, {"restore", v1::OPERATION_KIND_RESTORE}};
  for (const auto& [name, kind] : kKinds) {
    const v1::Operation& open = service.operation();
    const bool running = service.has_operation() && open.kind() == kind;
    page.Add(kOperationInProgress, {g, s, name}, running);
    if (running) {
      page.Add(kOperationStarted, {g, s, name},
               Seconds(open.sent_ms() != 0 ? open.sent_ms() : open.intent_ms()));
      if (service.operation_forecast_ms() > 0)
        page.Add(kOperationExpectedEnd, {g, s, name}, Seconds(service.operation_forecast_ms()));
      if (service.watch_until_ms() > 0)
        page.Add(kOperationWatchEnd, {g, s, name}, Seconds(service.watch_until_ms()));
    }
    const auto last = facts.last_duration_ms.find({s, name});
    if (last != facts.last_duration_ms.end())
      page.Add(kLastDuration, {g, s, name}, Seconds(last->second));
  }
  for (const char* name : kOperationNames) {
    const auto failures = facts.failures_in_a_row.find({s, name});
    page.Add(kConsecutiveFailures, {g, s, name},
             std::string(name) == "verify" ? service.record().verify_failures_in_a_row()
             : failures == facts.failures_in_a_row.end() ? 0
                                                         : failures->second);
  }
  AddCounts(g, s, facts, page);
  if (service.record().restored_at_ms() > 0) {
    page.Add(kRestoreLastSuccess, {g, s}, Seconds(service.record().restored_at_ms()));
  }
  const auto ended = facts.backup_ended_ms.find(s);
  if (ended == facts.backup_ended_ms.end()) return;
  page.Add(kBackupLastSuccess, {g, s}, Seconds(ended->second));
  page.Add(kBackupSize, {g, s}, static_cast<double>(facts.backup_size_bytes.at(s)));
}

}  // namespace

int64_t Forecast(const v1::GroupStatus& group, const std::string& step) {
  for (const v1::StepForecast& forecast : group.forecasts()) {
    if (forecast.step() == step) return forecast.p95_ms();
  }
  return 0;
}

double SecondsOrInfinity(int64_t ms) {
  return ms < 0 ? std::numeric_limits<double>::infinity() : Seconds(ms);
}

void AddService(const v1::GroupStatus& group, const v1::ServiceStatus& service,
                const RecordFacts& facts, const std::vector<std::string>& entity_kinds,
                Page& page) {
  page.AddStateSet(kServiceRole, {group.name(), service.azure_region(), service.name()},
                   {"active", "standby", "unconfirmed"}, RoleName(service.role()));
  if (service.role() == v1::ROLE_ACTIVE) {
    page.Add(kActiveRegionInfo, {group.name(), service.azure_region(), service.name()}, 1);
  }
  if (service.role() == v1::ROLE_STANDBY) {
    AddStandby(group, service, page);
    AddDrift(group.name(), service, entity_kinds, page);
  }
  AddVerdict(group, service, page);
  AddOperations(group.name(), service, facts, page);
  AddVerification(group, service.name(), page);
}

}  // namespace failover::metrics
