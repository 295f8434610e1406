#ifndef COMMON_LEAF_H_
#define COMMON_LEAF_H_

#include "absl/status/statusor.h"
#include "common/certificate.h"
#include "common/tls.h"

namespace failover {

// The identity that a certificate gives. Errors: it may sign others, it has not exactly one URI
// name, or a malformed one.
absl::StatusOr<SpiffeId> IdentityOfLeaf(const Certificate& leaf);

}  // namespace failover

#endif  // COMMON_LEAF_H_
