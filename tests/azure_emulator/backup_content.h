#ifndef TESTS_AZURE_EMULATOR_BACKUP_CONTENT_H_
#define TESTS_AZURE_EMULATOR_BACKUP_CONTENT_H_

#include <string>

#include "tests/azure_emulator/world.h"

namespace failover::emulator {

// What a backup blob holds (azure.md §1.5): a snapshot of the configuration, and where, when and by
// which api-version it was taken. The bytes are ours; real ones are opaque.
struct BackupContent {
  std::string service_id, sku, api_version;
  int capacity = 0;
  absl::Time created;
  Json entities = Json::object();  // path → properties, secrets included
};

// False for content that no backup carries along: the developer portal's.
bool IsInBackup(absl::string_view entity_path);

BackupContent Snapshot(const Service& service, absl::string_view api_version, absl::Time now);
std::string EncodeBackup(const BackupContent& content);
// Error: not a backup, or a damaged one.
absl::StatusOr<BackupContent> DecodeBackup(absl::string_view bytes);

// Replaces the entities of `service` by those of the backup; `part` in (0, 1] of them for a restore
// that breaks off half-way. What IsInBackup excludes stays as it is.
void ReplaceEntities(World& world, Service& service, const BackupContent& content, double part,
                     absl::Time now);

}  // namespace failover::emulator

#endif  // TESTS_AZURE_EMULATOR_BACKUP_CONTENT_H_
