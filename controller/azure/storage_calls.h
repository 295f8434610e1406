#ifndef CONTROLLER_AZURE_STORAGE_CALLS_H_
#define CONTROLLER_AZURE_STORAGE_CALLS_H_

#include <cstdint>
#include <string>

#include "controller/azure/lane.h"
#include "controller/core/commands.h"
#include "controller/core/events.h"

namespace failover::azure {

// The calls about our blobs. `group` is null when it is not configured.

// kOk when the container exists, having been created if it did not.
core::CallResult EnsureContainer(Lane& lane, const GroupEntry& group, const v1::Storage& storage);

struct BackupLook {
  core::CallResult result;  // kFailed: it could not be looked at
  bool exists = false;      // not empty, not older than `not_before_ms`
  int64_t size = 0;
  v1::AzureError problem;  // why it does not count as existing
};
BackupLook LookForBackup(Lane& lane, const GroupEntry& group, const v1::Storage& storage,
                         const std::string& blob, int64_t not_before_ms);

core::BlobChecked CheckBlob(Lane& lane, const GroupEntry* group, const core::CheckBlob& command);
core::ManifestWritten WriteManifest(Lane& lane, const GroupEntry* group,
                                    const core::WriteManifest& command);
core::ManifestRead ReadManifest(Lane& lane, const GroupEntry* group,
                                const core::ReadManifest& command);
core::FenceDone WriteFence(Lane& lane, const GroupEntry* group, const core::WriteFence& command);
core::FenceDone ReadFence(Lane& lane, const GroupEntry* group, const core::ReadFence& command);

}  // namespace failover::azure

#endif  // CONTROLLER_AZURE_STORAGE_CALLS_H_
