#ifndef CONTROLLER_AZURE_ENTITIES_H_
#define CONTROLLER_AZURE_ENTITIES_H_

#include <map>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "apim_failover/v1/state.pb.h"
#include "common/proto.h"
#include "controller/azure/json.h"
#include "controller/core/events.h"

namespace failover::azure {

// Entities of a service as they are compared (design.md §6.7). Pure.

// Every kind that is compared, sorted. An id is "<kind>/<names>", lower case: "apis/orders",
// "operations/orders/get", "products/gold/apis/orders", "groups/staff/users/1", "policies/service",
// "policies/apis/orders/operations/get", "policies/products/gold".
const std::vector<std::string>& Kinds();
// The kind of an id: what stands before its first '/'.
absl::string_view KindOf(absl::string_view id);

// The entity without what may differ between equal ones: dates, etags, read-only fields and nulls;
// ids of `resource_id`'s own entities relative to it; no value of a secret. `entity` is one item of
// a list or one resource; only its `properties` count.
Json Canonical(absl::string_view kind, const Json& entity, absl::string_view resource_id);

// id → canonical entity.
using CanonicalEntities = std::map<std::string, Json>;

// HMAC of one canonical entity, 32 hex digits.
std::string EntityDigest(absl::string_view key, absl::string_view id, const Json& canonical);
core::Entities Digests(absl::string_view key, const CanonicalEntities& entities);
// Every kind is listed, with a count of 0 where there is nothing. Times are left out.
v1::Fingerprint FingerprintOf(const core::Entities& entities);

// Nothing but what Azure puts into a new service: the echo API, the products starter and unlimited,
// their subscriptions, the three built-in groups, the administrator and policies on these.
bool IsPristine(const CanonicalEntities& entities);

}  // namespace failover::azure

#endif  // CONTROLLER_AZURE_ENTITIES_H_
