#ifndef CONTROLLER_KUBERNETES_LEASE_OBJECT_H_
#define CONTROLLER_KUBERNETES_LEASE_OBJECT_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "controller/kubernetes/lease.h"

namespace failover::kubernetes {

// coordination.k8s.io/v1 Lease ↔ what the rules know of it.

// RFC 3339 in UTC with six fractional digits, as MicroTime is written.
std::string MicroTime(absl::Time time);

// InvalidArgument: no Lease, without uid or resourceVersion, or a field of the wrong type.
absl::StatusOr<LeaseObject> ParseLease(absl::string_view body);
// The body of a POST.
std::string NewLeaseBody(const std::string& name_space, const std::string& name,
                         const LeaseRecord& record);
// The body of a PUT: `base` as it was read, metadata, unknown fields and all, with the record's
// fields changed.
absl::StatusOr<std::string> UpdatedLeaseBody(const LeaseObject& base, const LeaseRecord& record);

}  // namespace failover::kubernetes

#endif  // CONTROLLER_KUBERNETES_LEASE_OBJECT_H_
