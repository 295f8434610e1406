#ifndef CONTROLLER_RUNTIME_OPERATOR_CALLS_H_
#define CONTROLLER_RUNTIME_OPERATOR_CALLS_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "apim_failover/v1/operator.pb.h"
#include "common/proto.h"
#include "controller/core/config.h"
#include "controller/core/events.h"

namespace failover::runtime {

// Between the operators' protocol and the core. All pure.

// Errors: InvalidArgument for an order that is empty, or lacks what it needs.
absl::StatusOr<core::Order> ToOrder(const v1::OrderRequest& request, const std::string& who);
// "failover", "sync run" …, for metrics.
std::string VerbOf(const v1::OrderRequest& request);

// Agents of the given probe regions, and one line for every region that has none; sorted.
v1::ListAgentsResponse AgentsOf(const std::vector<std::string>& probe_regions,
                                const std::vector<v1::AgentInfo>& known);

// What differs between the two services' entities now.
v1::SyncDiffResponse DiffOf(const std::string& active, const core::Entities& on_active,
                            const std::string& standby, const core::Entities& on_standby);

}  // namespace failover::runtime

#endif  // CONTROLLER_RUNTIME_OPERATOR_CALLS_H_
