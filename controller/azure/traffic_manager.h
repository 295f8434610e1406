#ifndef CONTROLLER_AZURE_TRAFFIC_MANAGER_H_
#define CONTROLLER_AZURE_TRAFFIC_MANAGER_H_

#include <map>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/http_client.h"
#include "controller/azure/worker.h"
#include "controller/core/events.h"

namespace failover::azure {

// Traffic Manager's profiles and endpoints (azure.md §7.1). Pure.

struct ProfileRead {
  std::map<std::string, bool> enabled;  // service → endpoint enabled; every configured service
  std::string problem;  // what keeps the endpoints from meaning what they say; empty = nothing
};
// Reads GET of the profile. The error says what is missing in an answer that is not a profile.
absl::StatusOr<ProfileRead> ReadProfile(const HttpResponse& response, const GroupAzure& group);

struct EndpointState {
  bool enabled = false;
  std::optional<int> weight;
};
absl::StatusOr<EndpointState> ReadEndpoint(const HttpResponse& response);

// Resource id of an endpoint: {profile}/{type}/{name}.
std::string EndpointId(const GroupAzure& group, const std::string& endpoint);
// Sets endpointStatus and nothing else.
std::string StatusBody(bool enabled);
// Writes the weight that was read and never endpointStatus: proves the path of a PATCH (design.md
// §7.10).
std::string ProofBody(const EndpointState& state);

// Whether the answer to GET …/providers/Microsoft.Authorization/permissions grants `action`; absent
// when it is no list of permissions.
std::optional<bool> Grants(const HttpResponse& response, absl::string_view action);
// The action that a PATCH of such an endpoint needs.
std::string WriteAction(const GroupAzure& group);

}  // namespace failover::azure

#endif  // CONTROLLER_AZURE_TRAFFIC_MANAGER_H_
