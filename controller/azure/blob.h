#ifndef CONTROLLER_AZURE_BLOB_H_
#define CONTROLLER_AZURE_BLOB_H_

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "apim_failover/v1/state.pb.h"
#include "common/http_client.h"
#include "common/proto.h"
#include "controller/core/events.h"

namespace failover::azure {

// Requests to the blob service and the formats of our own blobs (azure.md §8, design.md §6.1).
// Pure.

// `endpoint` is a template with {account}. Blob names may contain '/'.
std::string ContainerUrl(absl::string_view endpoint,
                         const v1::Storage& storage);  // with ?restype=container
std::string BlobUrl(absl::string_view endpoint, const v1::Storage& storage, absl::string_view blob);

// Without signature, x-ms-date and request id.
HttpRequest BlobRequest(absl::string_view method, std::string url, std::string body);

// The condition of a write: nothing exists yet, or exactly the version read before.
void OnlyIfAbsent(HttpRequest& request);
void OnlyIfUnchanged(HttpRequest& request, absl::string_view etag);

// Whether the answer to HEAD shows a backup of an operation that began at `not_before`. The blob
// counts as older only if both our clock and the server's own (its Date) say so, so that a wrong
// clock here does not condemn every backup.
struct BlobLook {
  bool good = false;
  int64_t size = 0;
  v1::AzureError error;  // when not good: missing, empty or older; http_status 200 for the last two
};
BlobLook LookAtBlob(const HttpResponse& response, absl::Time not_before, absl::Time now);

// The manifest beside a backup.
std::string ManifestName(absl::string_view blob);
std::string ManifestText(const std::string& group, const v1::BackupRecord& backup,
                         const core::Entities& before, const core::Entities& after);
struct Manifest {
  core::Entities before, after;
};
// The error names what is missing or wrong, also when the manifest is of another blob.
absl::StatusOr<Manifest> ReadManifestText(absl::string_view text, absl::string_view blob);

// The fence blob.
std::string FenceName(absl::string_view group);
std::string FenceText(const core::Fence& fence);
absl::StatusOr<core::Fence> ReadFenceText(absl::string_view text);
// Why the fence found forbids `ours`; empty = it may be replaced.
std::string FenceRefusal(const core::Fence& found, const core::Fence& ours,
                         absl::string_view adopted_store_id);
bool SameFence(const core::Fence& a, const core::Fence& b);

}  // namespace failover::azure

#endif  // CONTROLLER_AZURE_BLOB_H_
