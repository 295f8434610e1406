#include "controller/core/restore.h"

#include <algorithm>
#include <cstdlib>

#include "absl/strings/str_cat.h"
#include "controller/core/evaluate.h"
#include "controller/core/operations.h"
#include "controller/core/progress.h"
#include "controller/core/sync.h"
#include "controller/core/traffic.h"

namespace failover::core {
namespace {

constexpr absl::Duration kGuardAge = absl::Seconds(10);  // design.md §6.3
constexpr absl::Duration kTrafficKnown = absl::Minutes(2);
constexpr absl::Duration kRestoreRetry = absl::Seconds(10);
constexpr absl::Duration kVerifyRetry = absl::Seconds(5);
constexpr int kVerifyTries = 3;  // a restored service may take a moment to answer consistently
constexpr int kMaxListed = 50;

v1::RestoreTarget* Current(v1::SyncRun& run) {
  return run.next_target() < run.targets_size() ? run.mutable_targets(run.next_target()) : nullptr;
}

void SetStage(Context& c, v1::RestoreTarget& target, v1::RestoreStage stage) {
  target.set_stage(stage);
  target.set_stage_since_ms(c.wall_ms());
  c.seen().sync_call = 0;
  c.seen().sync_tries = 0;
  c.seen().sync_retry = SteadyTime::InfinitePast();
  c.Persist();
  c.again = true;
}

void EndTarget(Context& c, v1::SyncRun& run, v1::RestoreTarget& target, v1::RestoreStage stage,
               std::string reason) {
  if (!reason.empty()) {
    c.History("sync", absl::StrCat(target.service(), ": ", reason),
              stage == v1::RESTORE_STAGE_DONE ? "ok" : "failed", run.id());
    if (stage != v1::RESTORE_STAGE_DONE)
      c.Log(1, absl::StrCat(target.service(), ": ", reason), run.id());
  }
  target.set_reason(std::move(reason));
  SetStage(c, target, stage);
  run.set_next_target(run.next_target() + 1);
  c.seen().baseline_read.reset();
}

// The guard does not hold now: wait for it, but not beyond the next scheduled run or the backup's
// life.
void Wait(Context& c, v1::SyncRun& run, v1::RestoreTarget& target, const std::string& why) {
  if (target.stage() != v1::RESTORE_STAGE_WAITING) SetStage(c, target, v1::RESTORE_STAGE_WAITING);
  if (target.waiting_since_ms() == 0) target.set_waiting_since_ms(c.wall_ms());
  if (target.reason() != why) {
    target.set_reason(why);
    c.Persist();
  }
  c.seen().baseline_read.reset();
  const bool next_due =
      c.wall_ms() >= run.started_ms() + absl::ToInt64Milliseconds(c.config.sync_interval);
  if (next_due || c.wall_ms() >= run.backup().expires_ms()) {
    EndTarget(c, run, target, v1::RESTORE_STAGE_FAILED, absl::StrCat("not restored: ", why));
    return;
  }
  c.seen().sync_retry = c.now.steady + absl::Seconds(1);
  c.WakeAt(c.seen().sync_retry);
}

void TryAgain(Context& c, v1::SyncRun& run, v1::RestoreTarget& target, absl::string_view what,
              const CallResult& result) {
  if (++c.seen().sync_tries >= kMaxTries) {
    return EndTarget(c, run, target, v1::RESTORE_STAGE_FAILED,
                     absl::StrCat(what, ": ", Describe(result.error)));
  }
  c.seen().sync_retry = c.now.steady + kRestoreRetry;
}

void BeginOwnBackup(Context& c, v1::SyncRun& run, v1::RestoreTarget& target,
                    v1::ServiceRecord& standby, const FingerprintRead& read) {
  if (std::string why = RestoreGuard(c, run, standby); !why.empty())
    return Wait(c, run, target, why);
  if (!c.MayAct()) return Wait(c, run, target, "the state cannot be stored");
  const v1::Operation& operation = NewBackup(c, standby, run.id(), run.storage(), "adopt");
  target.set_operation_id(operation.id());
  *standby.mutable_kept_content() = read.fingerprint;
  standby.clear_kept_backup_blob();
  SetStage(c, target, v1::RESTORE_STAGE_OWN_BACKUP);
}

void AdvanceOwnBackup(Context& c, v1::SyncRun& run, v1::RestoreTarget& target) {
  v1::Operation* operation = FindOperation(c.record(), target.operation_id());
  if (operation != nullptr && IsOpen(*operation)) return;
  if (operation == nullptr || operation->state() != v1::OPERATION_STATE_SUCCEEDED) {
    return EndTarget(c, run, target, v1::RESTORE_STAGE_FAILED,
                     "its own content could not be backed up, so it was not replaced");
  }
  c.seen().sync_call = c.Emit(CheckBlob{0, operation->id(), operation->blob(), operation->storage(),
                                        operation->intent_ms()});
}

// What was read from the standby decides: ours, pristine, to be backed up first, or somebody
// else's.
void JudgeBaseline(Context& c, v1::SyncRun& run, v1::RestoreTarget& target,
                   v1::ServiceRecord& standby, const FingerprintRead& read) {
  const bool backed_up = standby.adopted() && !standby.kept_backup_blob().empty() &&
                         SameContent(standby.kept_content(), read.fingerprint);
  if (standby.content_unverified() || backed_up) {
    c.seen().baseline_read = read;  // our own failed restore, or already kept safe
  } else if (!standby.has_baseline()) {
    if (!read.pristine && !standby.adopted()) {
      return EndTarget(
          c, run, target, v1::RESTORE_STAGE_SKIPPED,
          absl::StrCat(
              "it was never synced and holds content of its own; to replace it after a backup: "
              "failoverctl sync run --adopt ",
              standby.name()));
    }
    if (!read.pristine) return BeginOwnBackup(c, run, target, standby, read);
    c.seen().baseline_read = read;
  } else if (!SameContent(standby.baseline(), read.fingerprint)) {
    if (standby.adopted()) return BeginOwnBackup(c, run, target, standby, read);
    v1::Drift& drift = *standby.mutable_drift();
    drift.Clear();
    drift.set_found_ms(c.wall_ms());
    for (int i = 0; i < read.fingerprint.kinds_size(); ++i) {
      const v1::KindDigest& now = read.fingerprint.kinds(i);
      const bool known = i < standby.baseline().kinds_size();
      if (known && standby.baseline().kinds(i).digest() == now.digest()) continue;
      drift.add_differences(absl::StrCat(
          now.kind(), ": ", known ? standby.baseline().kinds(i).count() : 0, " → ", now.count(),
          known && standby.baseline().kinds(i).count() == now.count() ? " (changed)" : ""));
      drift.set_count(drift.count() + 1);
      v1::KindCount& differs = *drift.add_kinds();
      differs.set_kind(now.kind());
      differs.set_count(
          std::max(1, std::abs(now.count() - (known ? standby.baseline().kinds(i).count() : 0))));
    }
    // Not a failure to try again: it waits for a person, who sees the blocker.
    return EndTarget(c, run, target, v1::RESTORE_STAGE_SKIPPED,
                     absl::StrCat("somebody changed it since our last restore; see failoverctl "
                                  "sync diff; to let that go after a "
                                  "backup: failoverctl standby discard ",
                                  standby.name()));
  } else {
    standby.clear_drift();
    c.seen().baseline_read = read;
  }
  HastenTrafficRead(c);  // the guard wants a fresh one as well
  SetStage(c, target, v1::RESTORE_STAGE_FENCE);
}

std::string FreshGuard(const Look& c, const v1::SyncRun& run, const v1::ServiceRecord& standby) {
  if (std::string why = RestoreGuard(c, run, standby); !why.empty()) return why;
  const std::optional<FingerprintRead>& baseline = c.seen().baseline_read;
  if (!baseline.has_value() || c.now.steady - baseline->finished > kGuardAge)
    return "the standby was read too long ago";
  if (absl::ToInt64Milliseconds(baseline->begun - c.now.steady) + c.wall_ms() <
      run.backup().ended_ms()) {
    return "the standby was read before the backup ended";
  }
  return "";
}

// Plans the operation and writes its fence; the POST follows when the fence is ours.
void AdvanceFence(Context& c, v1::SyncRun& run, v1::RestoreTarget& target,
                  v1::ServiceRecord& standby) {
  if (std::string why = FreshGuard(c, run, standby); !why.empty()) return Wait(c, run, target, why);
  if (!c.MayAct()) return;
  if (c.now.steady - c.seen().traffic_read > kGuardAge / 2) {
    if (c.seen().traffic_call == 0) HastenTrafficRead(c);
    c.WakeAt(c.now.steady + absl::Milliseconds(200));
    return;
  }
  const v1::Operation& operation =
      PlanRestore(c, standby, run.id(), run.storage(), run.backup().blob());
  target.set_operation_id(operation.id());
  const Fence fence{c.record().store_id(), c.record().epoch(), c.record().term(), operation.id()};
  c.seen().sync_call = c.Emit(
      WriteFence{0, fence, c.record().fence_adopted(), run.storage(), c.now.steady + kGuardAge});
}

void Verified(Context& c, v1::SyncRun& run, v1::RestoreTarget& target, v1::ServiceRecord& standby,
              const FingerprintRead& read) {
  standby.set_recovery_point_ms(run.backup().started_ms());
  standby.set_confirmed_at_ms(run.backup().started_ms());
  standby.set_recovery_blob(run.backup().blob());
  standby.set_backup_expires_ms(run.backup().expires_ms());
  standby.set_backup_sku(run.backup().sku());
  standby.set_restored_at_ms(c.wall_ms());
  standby.set_verify_failures_in_a_row(0);
  NoteStep(c.record(), kStepVerify, target.stage_since_ms(), c.wall_ms());
  *standby.mutable_baseline() = read.fingerprint;
  standby.set_content_unverified(false);
  standby.set_not_resynced(false);
  standby.set_adopted(false);
  standby.clear_kept_content();
  standby.clear_drift();
  for (v1::BackupRecord& backup : *c.record().mutable_backups()) {
    if (backup.blob() == run.backup().blob()) backup.add_verified_on(standby.name());
  }
  EndTarget(c, run, target, v1::RESTORE_STAGE_DONE,
            absl::StrCat("verified equal to the backup of ", FormatMs(run.backup().started_ms()),
                         run.backup().in_flux() > 0
                             ? absl::StrCat(" (", run.backup().in_flux(), " entities were in flux)")
                             : ""));
}

void JudgeVerification(Context& c, v1::SyncRun& run, v1::RestoreTarget& target,
                       v1::ServiceRecord& standby, const FingerprintRead& read) {
  std::vector<std::string> differences;
  const int count =
      DifferencesFromBackup(*c.seen().before, *c.seen().after, *read.entities, &differences);
  target.set_differences(count);
  target.clear_difference_list();
  for (std::string& difference : differences) target.add_difference_list(std::move(difference));
  if (count == 0) return Verified(c, run, target, standby, read);
  if (++c.seen().sync_tries < kVerifyTries) {
    c.seen().sync_retry = c.now.steady + kVerifyRetry;
    return;
  }
  standby.set_verify_failures_in_a_row(standby.verify_failures_in_a_row() + 1);
  EndTarget(c, run, target, v1::RESTORE_STAGE_FAILED,
            absl::StrCat("restored, but ", count,
                         " entities differ from the backup, first: ", target.difference_list(0)));
}

void AdvanceVerify(Context& c, v1::SyncRun& run, const v1::ServiceRecord& standby) {
  if (c.seen().before == nullptr || c.seen().after == nullptr) {
    c.seen().sync_call = c.Emit(ReadManifest{0, run.backup().blob(), run.storage()});
  } else {
    c.seen().sync_call = c.Emit(ReadFingerprint{0, standby.name(), standby.resource_id()});
  }
}

void AdvanceRunning(Context& c, v1::SyncRun& run, v1::RestoreTarget& target) {
  v1::Operation* operation = FindOperation(c.record(), target.operation_id());
  if (operation != nullptr && IsOpen(*operation) &&
      operation->state() != v1::OPERATION_STATE_NEEDS_OPERATOR)
    return;
  if (operation != nullptr && operation->state() == v1::OPERATION_STATE_SUCCEEDED) {
    return SetStage(c, target, v1::RESTORE_STAGE_VERIFY);
  }
  if (operation != nullptr && operation->state() == v1::OPERATION_STATE_NEVER_STARTED &&
      operation->error().http_status() == 0 && run.epoch() == c.record().epoch()) {
    return Wait(c, run, target, "its restore was not sent; trying again with a new operation");
  }
  EndTarget(c, run, target, v1::RESTORE_STAGE_FAILED,
            operation == nullptr
                ? "its operation is no longer known"
                : absl::StrCat("the restore did not succeed: ", Describe(operation->error())));
}

}  // namespace

std::string RestoreGuard(const Look& c, const v1::SyncRun& run, const v1::ServiceRecord& target) {
  const v1::GroupRecord& record = c.record();
  if (run.epoch() != record.epoch()) return "roles changed since the run began";
  if (target.role() != v1::ROLE_STANDBY) return "it is not a standby";
  const int active = c.ActiveIndex();
  if (active < 0 || record.services(active).name() != run.source())
    return "the source is no longer active";
  if (record.services(active).resource_id() == target.resource_id())
    return "it is the active service itself";
  if (IsOpen(record.failover())) return "a failover is in progress";
  if (record.approval().expires_ms() != 0) return "a failover waits for approval";
  if (run.trigger() == "schedule" && record.pause().active()) return "paused";
  if (!c.config.has_traffic)
    return "without a traffic section nobody can tell that it serves no traffic";
  if (!TrafficMatches(c)) return "the traffic layer does not agree with the roles";
  if (c.now.steady - c.seen().traffic_read > kTrafficKnown)
    return "the traffic layer cannot be read";
  if (std::string frozen = FreezeReason(c); !frozen.empty()) return frozen;
  if (target.not_resynced())
    return "a former active service is not overwritten without an approved reverse sync";
  const v1::BackupRecord& backup = run.backup();
  if (!backup.checked()) return "the backup is not proved";
  if (c.wall_ms() >= backup.expires_ms()) return "the backup has expired";
  if (!target.sku().empty() && target.sku() != backup.sku()) return "the tiers differ";
  for (const v1::Operation& operation : record.operations()) {
    if (!IsOpen(operation)) continue;
    if (operation.service() == target.name() && operation.state() != v1::OPERATION_STATE_PLANNED) {
      return "an operation of ours is open on it";
    }
    if (operation.kind() == v1::OPERATION_KIND_RESTORE && operation.service() != target.name() &&
        operation.state() != v1::OPERATION_STATE_NEEDS_OPERATOR) {
      return "another standby is being restored";
    }
  }
  return "";
}

int DifferencesFromBackup(const Entities& before, const Entities& after, const Entities& target,
                          std::vector<std::string>* list) {
  int count = 0;
  const auto note = [&](absl::string_view what, const std::string& id) {
    ++count;
    if (list != nullptr && list->size() < kMaxListed) list->push_back(absl::StrCat(what, " ", id));
  };
  for (const auto& [id, digest] : before) {
    const auto later = after.find(id);
    if (later == after.end() || later->second != digest) continue;  // in flux
    const auto found = target.find(id);
    if (found == target.end()) {
      note("missing", id);
    } else if (found->second != digest) {
      note("changed", id);
    }
  }
  for (const auto& [id, digest] : target) {
    if (!before.contains(id) && !after.contains(id)) note("extra", id);
  }
  return count;
}

void AdvanceRestores(Context& c, v1::SyncRun& run) {
  v1::RestoreTarget* target = Current(run);
  if (target == nullptr) return FinishRun(c);
  v1::ServiceRecord* standby = c.FindService(target->service());
  if (standby == nullptr)
    return EndTarget(c, run, *target, v1::RESTORE_STAGE_FAILED, "no longer configured");
  switch (target->stage()) {
    case v1::RESTORE_STAGE_WAITING:
      if (run.epoch() != c.record().epoch()) {
        return EndTarget(c, run, *target, v1::RESTORE_STAGE_FAILED,
                         "not restored: roles changed since the run began");
      }
      if (std::string why = RestoreGuard(c, run, *standby); !why.empty())
        return Wait(c, run, *target, why);
      target->clear_reason();
      return SetStage(c, *target, v1::RESTORE_STAGE_READ_BASELINE);
    case v1::RESTORE_STAGE_READ_BASELINE:
      c.seen().sync_call = c.Emit(ReadFingerprint{0, standby->name(), standby->resource_id()});
      return;
    case v1::RESTORE_STAGE_OWN_BACKUP:
      return AdvanceOwnBackup(c, run, *target);
    case v1::RESTORE_STAGE_FENCE:
      return AdvanceFence(c, run, *target, *standby);
    case v1::RESTORE_STAGE_RESTORE:
      return AdvanceRunning(c, run, *target);
    case v1::RESTORE_STAGE_VERIFY:
      return AdvanceVerify(c, run, *standby);
    default:
      run.set_next_target(run.next_target() + 1);
      c.Persist();
      c.again = true;
  }
}

void OnTargetFingerprint(Context& c, const FingerprintRead& read) {
  v1::SyncRun& run = *c.record().mutable_sync_run();
  v1::RestoreTarget* target = Current(run);
  v1::ServiceRecord* standby = target == nullptr ? nullptr : c.FindService(target->service());
  if (standby == nullptr || read.service != standby->name()) return;
  if (read.result.status != CallStatus::kOk || read.entities == nullptr) {
    return TryAgain(c, run, *target, "it could not be read", read.result);
  }
  if (target->stage() == v1::RESTORE_STAGE_READ_BASELINE) {
    JudgeBaseline(c, run, *target, *standby, read);
  } else if (target->stage() == v1::RESTORE_STAGE_VERIFY) {
    JudgeVerification(c, run, *target, *standby, read);
  }
}

void OnOwnBackupChecked(Context& c, const BlobChecked& checked) {
  v1::SyncRun& run = *c.record().mutable_sync_run();
  v1::RestoreTarget* target = Current(run);
  v1::ServiceRecord* standby = target == nullptr ? nullptr : c.FindService(target->service());
  if (standby == nullptr || target->stage() != v1::RESTORE_STAGE_OWN_BACKUP) return;
  if (checked.result.status != CallStatus::kOk) {
    return TryAgain(c, run, *target, "the backup of its own content is not good", checked.result);
  }
  const v1::Operation* operation = FindOperation(c.record(), target->operation_id());
  standby->set_kept_backup_blob(operation->blob());
  v1::BackupRecord kept;
  kept.set_blob(operation->blob());
  kept.set_operation_id(operation->id());
  kept.set_service(standby->name());
  kept.set_sku(standby->sku());
  kept.set_started_ms(operation->intent_ms());
  kept.set_ended_ms(operation->ended_ms());
  kept.set_expires_ms(operation->intent_ms() + run.backup_lifetime_ms());
  kept.set_size_bytes(checked.size_bytes);
  kept.set_checked(true);
  kept.set_kept(true);
  kept.set_purpose("adopt");
  KeepBackup(c, kept);
  SetStage(c, *target, v1::RESTORE_STAGE_READ_BASELINE);
}

void OnManifestRead(Context& c, const ManifestRead& read) {
  v1::SyncRun& run = *c.record().mutable_sync_run();
  v1::RestoreTarget* target = Current(run);
  if (read.call != c.seen().sync_call || target == nullptr) return;
  c.seen().sync_call = 0;
  if (read.result.status != CallStatus::kOk || read.before == nullptr || read.after == nullptr) {
    return TryAgain(c, run, *target, "the manifest of its backup could not be read", read.result);
  }
  c.seen().before = read.before;
  c.seen().after = read.after;
  c.again = true;
}

void OnFenceWritten(Context& c, const FenceDone& fence) {
  v1::SyncRun& run = *c.record().mutable_sync_run();
  v1::RestoreTarget* target = Current(run);
  if (fence.call != c.seen().sync_call || target == nullptr ||
      target->stage() != v1::RESTORE_STAGE_FENCE)
    return;
  c.seen().sync_call = 0;
  v1::Operation* operation = FindOperation(c.record(), target->operation_id());
  v1::ServiceRecord* standby = c.FindService(target->service());
  if (operation == nullptr || standby == nullptr ||
      operation->state() != v1::OPERATION_STATE_PLANNED)
    return;
  if (fence.result.status != CallStatus::kOk) {
    const std::string why = absl::StrCat("the fence refuses: ", Describe(fence.result.error));
    EndUnsent(c, *operation, why);
    if (fence.result.status == CallStatus::kFailed) {
      return EndTarget(c, run, *target, v1::RESTORE_STAGE_FAILED, why);
    }
    return Wait(c, run, *target, why);
  }
  std::string why = FreshGuard(c, run, *standby);
  if (why.empty() && c.now.steady - c.seen().traffic_read > kGuardAge)
    why = "the traffic layer was read too long ago";
  if (why.empty() && !c.MayAct()) why = "the state cannot be stored";
  if (!why.empty()) {
    EndUnsent(c, *operation, why);
    return Wait(c, run, *target, why);
  }
  *operation->mutable_target_before() = c.seen().baseline_read->fingerprint;
  const SteadyTime send_by =
      std::min(c.seen().baseline_read->finished, c.seen().traffic_read) + kGuardAge;
  SendRestore(c, *operation, send_by);
  SetStage(c, *target, v1::RESTORE_STAGE_RESTORE);
}

}  // namespace failover::core
