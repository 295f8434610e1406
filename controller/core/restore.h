#ifndef CONTROLLER_CORE_RESTORE_H_
#define CONTROLLER_CORE_RESTORE_H_

#include <string>

#include "controller/core/context.h"

namespace failover::core {

// The restore half of a sync run, standby by standby; used by sync.cc alone.

void AdvanceRestores(Context& context, v1::SyncRun& run);
void OnTargetFingerprint(Context& context, const FingerprintRead& read);
void OnOwnBackupChecked(Context& context, const BlobChecked& checked);

// In sync.cc: the run's end, and the list of backups.
void FinishRun(Context& context);
void FailRun(Context& context, std::string why);
void KeepBackup(Context& context, const v1::BackupRecord& backup);

}  // namespace failover::core

#endif  // CONTROLLER_CORE_RESTORE_H_
