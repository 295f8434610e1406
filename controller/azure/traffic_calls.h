#ifndef CONTROLLER_AZURE_TRAFFIC_CALLS_H_
#define CONTROLLER_AZURE_TRAFFIC_CALLS_H_

#include "controller/azure/lane.h"
#include "controller/core/commands.h"
#include "controller/core/events.h"

namespace failover::azure {

// The calls of the traffic lane. None is repeated here: the core decides what follows. `group` is
// null when it is not configured.
core::TrafficRead ReadTraffic(Lane& lane, const GroupEntry* group,
                              const core::ReadTraffic& command);
core::EndpointSet SetEndpoint(Lane& lane, const GroupEntry* group,
                              const core::SetEndpoint& command);
// Token and every endpoint readable; once an hour also the permission and a PATCH that sets no
// status.
core::SwitchPathChecked CheckSwitchPath(Lane& lane, const GroupEntry* group,
                                        const core::CheckSwitchPath& command);

}  // namespace failover::azure

#endif  // CONTROLLER_AZURE_TRAFFIC_CALLS_H_
