#ifndef CONTROLLER_AZURE_OPERATION_CALLS_H_
#define CONTROLLER_AZURE_OPERATION_CALLS_H_

#include "controller/azure/lane.h"
#include "controller/core/commands.h"
#include "controller/core/events.h"

namespace failover::azure {

// The calls about services and their long operations. `group` is null when it is not configured.
core::OperationStarted Start(Lane& lane, const GroupEntry* group, const core::StartBackup& command);
core::OperationStarted Start(Lane& lane, const GroupEntry* group,
                             const core::StartRestore& command);
// Needs no group: the operation of a removed group is polled to its end.
core::OperationPolled Poll(Lane& lane, const core::PollOperation& command);
core::OperationInspected Inspect(Lane& lane, const GroupEntry* group,
                                 const core::InspectOperation& command);
core::PreflightDone Preflight(Lane& lane, const GroupEntry* group,
                              const core::RunPreflight& command);
core::FingerprintRead ReadFingerprint(Lane& lane, const GroupEntry* group,
                                      const core::ReadFingerprint& command);

}  // namespace failover::azure

#endif  // CONTROLLER_AZURE_OPERATION_CALLS_H_
