#ifndef CONTROLLER_METRICS_CATALOGUE_H_
#define CONTROLLER_METRICS_CATALOGUE_H_

#include <cstdint>
#include <string>
#include <vector>

#include "prometheus/metric_family.h"
#include "prometheus/metric_type.h"

namespace failover::metrics {

// The families that are built anew at every scrape (reference: tests/testdata/metrics.txt).
enum class StateFamily {
  // Of this process, leader or not.
  kMasterStatus,
  kElectionSlowPath,
  kElectionTransitions,
  kElectionFailedAttempts,
  kEventsDropped,
  kLeaseLastRenewal,
  kFencingEpoch,
  kStoreAvailable,
  kMailboxMessages,
  kMailboxCapacity,
  kMailboxRefused,
  kAgentResults,
  kAgentRefused,
  kAgentSlowed,
  kAgentSuperseded,
  // The leader's only, of groups but for the first.
  kTokenExpiry,
  kGroupInfo,
  kGroupState,
  kEpoch,
  kActiveRegionInfo,
  kStandbyInfo,
  kServiceRole,
  kRpoObjective,
  kRtoObjective,
  kQuorumSize,
  kRecoveryPoint,
  kStandbyProtected,
  kRpo,
  kGroupRpo,
  kStandbyBlocked,
  kStandbyPromotable,
  kBlocked,
  kSyncFrozen,
  kFreezeStarted,
  kFreezeExpectedEnd,
  kBackupLastSuccess,
  kRestoreLastSuccess,
  kBackupExpiry,
  kBackupSize,
  kScheduleInterval,
  kNextRun,
  kOperationInProgress,
  kOperationStarted,
  kOperationExpectedEnd,
  kOperationWatchEnd,
  kRunStarted,
  kRunExpectedEnd,
  kSyncOperations,
  kConsecutiveFailures,
  kLastDuration,
  kOperationP95,
  kDriftItems,
  kServiceHealthy,
  kServiceVerdict,
  kServiceVotes,
  kRegionVote,
  kDissenting,
  kServingTraffic,
  kTrafficMatches,
  kTrafficLastRead,
  kSwitchPathOk,
  kSwitchPathChecked,
  kPublicNameSuccess,
  kOutageActive,
  kOutageStart,
  kOutageStartWidth,
  kDetectionBound,
  kDetectionFloor,
  kForecastRto,
  kCooldownStarted,
  kCooldownUntil,
  kFailoversLastDay,
  kFailoversMaxPerDay,
  kApprovalPending,
  kSwitches,
  kSwitchStarted,
  kSwitchExpectedEnd,
  kLastSwitch,
  kLastSwitchSuccess,
  kLastSwitchRto,
  kLastSwitchRtoPhase,
  kLastSwitchRtoWidth,
  kLastSwitchProved,
  kLastSwitchRpo,
  kAgentConnected,
  kAgentInstances,
  kAgentLastReport,
  kAgentReportDelay,
  kAgentClockSkew,
  kAgentInfo,
  kAgentCertificateExpiry,
  kCount,
};

struct FamilySpec {
  StateFamily family;
  const char* name;
  prometheus::MetricType type;
  std::vector<const char*> labels;
  const char* help;
};

// In the order of the enumeration.
const std::vector<FamilySpec>& Catalogue();

// Collects samples by family. Label values are given in the order of the catalogue.
class Page {
 public:
  Page();
  void Add(StateFamily family, std::vector<std::string> values, double value);
  // `counts` of each bucket alone, the last one beyond the bounds; empty: nothing was observed.
  void AddHistogram(StateFamily family, std::vector<std::string> values,
                    const std::vector<double>& bounds, const std::vector<uint64_t>& counts,
                    double sum);
  // One series for each of `states`, 1 for the one that holds; `values` come before the state's
  // label.
  void AddStateSet(StateFamily family, const std::vector<std::string>& values,
                   const std::vector<const char*>& states, const std::string& holds);
  // Families without a sample are left out.
  std::vector<prometheus::MetricFamily> Take();

 private:
  prometheus::ClientMetric& NewSample(StateFamily family, std::vector<std::string> values);

  std::vector<prometheus::MetricFamily> families_;
};

}  // namespace failover::metrics

#endif  // CONTROLLER_METRICS_CATALOGUE_H_
