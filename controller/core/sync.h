#ifndef CONTROLLER_CORE_SYNC_H_
#define CONTROLLER_CORE_SYNC_H_

#include <string>
#include <vector>

#include "controller/core/context.h"

namespace failover::core {

// The sync run (design.md §6): preflight → fingerprint → backup → check the blob → fingerprint →
// manifest → per standby: baseline, restore guard, fence, restore, verify.

// Starts a run now. Empty on success, else what stands in the way. `adopt` names a standby whose
// own content may be replaced once it has been backed up.
std::string StartSync(Context& context, absl::string_view trigger, absl::string_view who);
void AdvanceSync(Context& context);
// Why a run cannot start now; empty = it can.
std::string SyncObstacle(const Look& context);

void OnPreflight(Context& context, const PreflightDone& done);
void OnFingerprint(Context& context, const FingerprintRead& read);
void OnBlobChecked(Context& context, const BlobChecked& checked);
void OnManifestWritten(Context& context, const ManifestWritten& written);
void OnManifestRead(Context& context, const ManifestRead& read);
void OnFenceWritten(Context& context, const FenceDone& fence);

// When the next scheduled run is due; InfiniteFuture without a schedule.
absl::Time NextSync(const Look& context);

// What §6.3 demands before a restore of `target` may be sent; empty when all of it holds. The age
// of the baseline and of the traffic read is checked by the caller.
std::string RestoreGuard(const Look& context, const v1::SyncRun& run,
                         const v1::ServiceRecord& target);

// "changed apis/orders", "missing apis/x", "extra apis/y" of `target` against a backup, entities in
// flux (different before and after it) left out; the first 50 in `list`.
int DifferencesFromBackup(const Entities& before, const Entities& after, const Entities& target,
                          std::vector<std::string>* list);

}  // namespace failover::core

#endif  // CONTROLLER_CORE_SYNC_H_
