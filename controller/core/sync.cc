#include "controller/core/sync.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "controller/core/evaluate.h"
#include "controller/core/operations.h"
#include "controller/core/progress.h"
#include "controller/core/restore.h"
#include "controller/core/traffic.h"

namespace failover::core {
namespace {

constexpr absl::Duration kReadRetry = absl::Seconds(10);
constexpr absl::Duration kBusyRetry = absl::Minutes(1);
constexpr int kMaxBackups = 200;

// A failed run is tried again sooner than the interval, ever later, with jitter from the record's
// seed.
absl::Duration RetryPause(Context& c) {
  const int failures = std::min(c.record().sync_failures_in_a_row(), 6);
  const absl::Duration pause =
      std::min(kBusyRetry * (1 << failures), std::max(kBusyRetry, c.config.sync_interval));
  return pause + absl::Milliseconds(c.Random() % 5000);
}

void ReadSource(Context& c) {
  v1::SyncRun& run = *c.record().mutable_sync_run();
  const v1::ServiceRecord* source = c.FindService(run.source());
  if (source == nullptr) return FailRun(c, absl::StrCat(run.source(), " is no longer configured"));
  c.seen().sync_call = c.Emit(ReadFingerprint{0, source->name(), source->resource_id()});
}

// A call of the run failed: try again a few times, then give the run up.
void RetryOrFail(Context& c, absl::string_view what, const CallResult& result) {
  Observed& seen = c.seen();
  if (++seen.sync_tries >= kMaxTries)
    return FailRun(c, absl::StrCat(what, ": ", Describe(result.error)));
  seen.sync_retry = c.now.steady + kReadRetry;
}

void NextStage(Context& c, v1::SyncStage stage) {
  c.record().mutable_sync_run()->set_stage(stage);
  c.record().mutable_sync_run()->set_stage_since_ms(c.wall_ms());
  c.seen().sync_call = 0;
  c.seen().sync_tries = 0;
  c.seen().sync_retry = SteadyTime::InfinitePast();
  c.Persist();
  c.again = true;
}

void BeginBackup(Context& c, v1::SyncRun& run) {
  const v1::ServiceRecord* source = c.FindService(run.source());
  if (source == nullptr) return FailRun(c, "the source is no longer configured");
  if (OpenOperationOn(std::as_const(c.record()), run.source()) != nullptr) {
    return FailRun(c, absl::StrCat("another operation of ours is open on ", run.source()));
  }
  const v1::Operation& operation = NewBackup(c, *source, run.id(), run.storage(), "sync");
  v1::BackupRecord& backup = *run.mutable_backup();
  backup.set_blob(operation.blob());
  backup.set_operation_id(operation.id());
  backup.set_service(run.source());
  backup.set_sku(source->sku());
  backup.set_started_ms(operation.intent_ms());
  backup.set_expires_ms(operation.intent_ms() + run.backup_lifetime_ms());
  backup.set_purpose("sync");
}

void AdvanceBackup(Context& c, v1::SyncRun& run) {
  if (run.backup().operation_id().empty()) {
    if (run.epoch() != c.record().epoch()) return FailRun(c, "roles changed before the backup");
    if (c.MayAct()) BeginBackup(c, run);
    return;
  }
  v1::Operation* operation = FindOperation(c.record(), run.backup().operation_id());
  if (operation == nullptr) return FailRun(c, "the backup's operation is no longer known");
  if (IsOpen(*operation)) return;
  if (operation->state() != v1::OPERATION_STATE_SUCCEEDED) {
    return FailRun(c, absl::StrCat("the backup did not succeed: ", Describe(operation->error())));
  }
  run.mutable_backup()->set_ended_ms(operation->ended_ms());
  NextStage(c, v1::SYNC_STAGE_CHECK_BLOB);
}

void AdvanceManifest(Context& c, v1::SyncRun& run) {
  if (c.seen().before == nullptr || c.seen().after == nullptr) {
    return NextStage(c, v1::SYNC_STAGE_READ_AFTER);  // a restart lost them
  }
  if (c.MayAct()) {
    c.seen().sync_call =
        c.Emit(WriteManifest{0, run.backup(), run.storage(), c.seen().before, c.seen().after});
  }
}

void OrderTargets(Context& c, v1::SyncRun& run) {
  std::vector<const v1::ServiceRecord*> targets;
  for (const v1::ServiceRecord& service : c.record().services()) {
    if (service.role() == v1::ROLE_STANDBY) targets.push_back(&service);
  }
  std::stable_sort(targets.begin(), targets.end(),
                   [](const v1::ServiceRecord* a, const v1::ServiceRecord* b) {
                     return a->recovery_point_ms() < b->recovery_point_ms();  // worst first
                   });
  for (const v1::ServiceRecord* service : targets) {
    v1::RestoreTarget* target = run.add_targets();
    target->set_service(service->name());
    target->set_stage(v1::RESTORE_STAGE_WAITING);
    if (service->not_resynced()) {
      target->set_stage(v1::RESTORE_STAGE_SKIPPED);
      target->set_reason(
          "a former active service: not overwritten without an approved reverse sync");
    }
  }
}

// A restart lost the entities from before the backup; their digests are durable. Kinds whose digest
// is the same now did not change; all entities of the others count as in flux.
std::shared_ptr<const Entities> RebuiltBefore(const v1::Fingerprint& before,
                                              const FingerprintRead& after) {
  std::set<std::string> same;
  for (const v1::KindDigest& then : before.kinds()) {
    for (const v1::KindDigest& now : after.fingerprint.kinds()) {
      if (then.kind() == now.kind() && then.digest() == now.digest()) same.insert(then.kind());
    }
  }
  auto result = std::make_shared<Entities>();
  for (const auto& [id, digest] : *after.entities) {
    if (same.contains(id.substr(0, id.find('/')))) result->emplace(id, digest);
  }
  return result;
}

// Why a scheduled run does not start now; empty = it may.
std::string Holding(const Look& c) {
  const v1::GroupRecord& record = c.record();
  if (c.config.sync_interval <= absl::ZeroDuration()) return "no sync is configured";
  const int active = c.ActiveIndex();
  if (active < 0) return "roles are unconfirmed";
  if (IsOpen(record.failover())) return "a failover is in progress";
  if (!c.MayAct()) return "the state cannot be stored";
  if (!TrafficMatches(c)) return "the traffic layer does not agree with the roles";
  if (const v1::Operation* open = OpenOperationOn(record, record.services(active).name())) {
    return absl::StrCat("operation ", open->id(), " on ", open->service(), " is open");
  }
  return "";
}

void MaybeStart(Context& c) {
  Observed& seen = c.seen();
  const absl::Time due = NextSync(c);
  if (due == absl::InfiniteFuture()) return;
  seen.sync_holding.clear();
  if (c.now.wall < due) return c.WakeAt(c.now.steady + (due - c.now.wall));
  if (c.now.steady < seen.next_sync_attempt) return c.WakeAt(seen.next_sync_attempt);
  seen.sync_holding = c.record().pause().active() ? "paused" : Holding(c);
  if (!seen.sync_holding.empty()) return;
  StartSync(c, "schedule", "");
}

void ApplyFacts(Context& c, const ServiceFacts& facts) {
  v1::ServiceRecord* service = c.FindService(facts.service);
  if (service == nullptr || !facts.reachable) return;
  if (!facts.sku.empty()) service->set_sku(facts.sku);
  const int index = c.config.ServiceIndex(facts.service);
  const bool configured = index >= 0 && !c.config.services[index].gateway_url.empty();
  if (!facts.gateway_url.empty() && !configured) service->set_gateway_url(facts.gateway_url);
}

std::string FactsProblem(const ServiceFacts& facts) {
  if (!facts.reachable) return absl::StrCat("cannot be read: ", Describe(facts.error));
  if (!facts.refused.empty()) return facts.refused;
  if (!facts.idle) return absl::StrCat("is busy: ", facts.state);
  return "";
}

void JudgeTargets(Context& c, v1::SyncRun& run, const PreflightDone& done,
                  const std::string& source_sku) {
  for (v1::RestoreTarget& target : *run.mutable_targets()) {
    if (target.stage() != v1::RESTORE_STAGE_WAITING) continue;
    for (const ServiceFacts& facts : done.services) {
      if (facts.service != target.service()) continue;
      std::string problem = FactsProblem(facts);
      if (problem.empty() && facts.sku != source_sku) {
        problem = absl::StrCat("its tier is ", facts.sku, ", the source's is ", source_sku,
                               ": Azure refuses such a restore");
      }
      if (problem.empty() || (facts.reachable && facts.refused.empty() && !facts.idle))
        continue;  // busy: waits
      target.set_stage(v1::RESTORE_STAGE_SKIPPED);
      target.set_reason(problem);
      c.History("sync", absl::StrCat(target.service(), " is left out: ", problem), "failed",
                run.id());
    }
  }
}

}  // namespace

void FinishRun(Context& c) {
  v1::SyncRun& run = *c.record().mutable_sync_run();
  int good = 0, bad = 0;
  for (const v1::RestoreTarget& target : run.targets()) {
    if (target.stage() == v1::RESTORE_STAGE_DONE) ++good;
    if (target.stage() == v1::RESTORE_STAGE_FAILED) ++bad;
  }
  run.set_ended_ms(c.wall_ms());
  run.set_stage(bad == 0 ? v1::SYNC_STAGE_DONE : v1::SYNC_STAGE_FAILED);
  if (bad == 0 && good > 0) NoteStep(c.record(), kStepRun, run.started_ms(), run.ended_ms());
  if (bad != 0 && run.failure().empty())
    run.set_failure(absl::StrCat(bad, " standby(s) were not restored"));
  c.record().set_sync_failures_in_a_row(bad == 0 ? 0 : c.record().sync_failures_in_a_row() + 1);
  c.seen().next_sync_attempt = bad == 0 ? c.now.steady : c.now.steady + RetryPause(c);
  c.History("sync",
            absl::StrCat("sync run ended: ", good, " standby(s) verified, ", bad, " failed"),
            bad == 0 ? "ok" : "failed", run.id());
  c.seen().before = c.seen().after = nullptr;
  c.seen().baseline_read.reset();
  c.seen().sync_call = 0;
  c.again = true;
}

void FailRun(Context& c, std::string why) {
  v1::SyncRun& run = *c.record().mutable_sync_run();
  run.set_stage(v1::SYNC_STAGE_FAILED);
  run.set_failure(why);
  run.set_ended_ms(c.wall_ms());
  c.record().set_sync_failures_in_a_row(c.record().sync_failures_in_a_row() + 1);
  c.seen().next_sync_attempt = c.now.steady + RetryPause(c);
  c.seen().sync_call = 0;
  c.seen().before = c.seen().after = nullptr;
  c.seen().baseline_read.reset();
  c.Log(1, absl::StrCat("sync run failed: ", why), run.id());
  c.History("sync", absl::StrCat("sync run failed: ", why), "failed", run.id());
  c.again = true;
}

absl::Time NextSync(const Look& c) {
  if (c.config.sync_interval <= absl::ZeroDuration()) return absl::InfiniteFuture();
  const v1::GroupRecord& record = c.record();
  if (record.last_sync_start_ms() == 0) return absl::UnixEpoch();
  if (record.sync_run().stage() == v1::SYNC_STAGE_FAILED && record.sync_failures_in_a_row() > 0)
    return absl::UnixEpoch();
  return absl::FromUnixMillis(record.last_sync_start_ms()) + c.config.sync_interval;
}

std::string SyncObstacle(const Look& c) {
  const v1::SyncRun& run = c.record().sync_run();
  return IsOpen(run) ? absl::StrCat("sync run ", run.id(), " is in progress") : Holding(c);
}

std::string StartSync(Context& c, absl::string_view trigger, absl::string_view who) {
  v1::GroupRecord& record = c.record();
  if (std::string why = SyncObstacle(c); !why.empty()) return why;
  Observed& seen = c.seen();
  v1::SyncRun& run = *record.mutable_sync_run();
  run.Clear();
  run.set_id(absl::StrCat("sync-", record.next_id()));
  record.set_next_id(record.next_id() + 1);
  run.set_trigger(std::string(trigger));
  run.set_who(std::string(who));
  run.set_stage(v1::SYNC_STAGE_PREFLIGHT);
  run.set_source(record.services(c.ActiveIndex()).name());
  run.set_started_ms(c.wall_ms());
  run.set_stage_since_ms(c.wall_ms());
  run.set_epoch(record.epoch());
  run.set_backup_lifetime_ms(absl::ToInt64Milliseconds(c.config.backup_lifetime));
  run.mutable_storage()->set_account(c.config.storage.account);
  run.mutable_storage()->set_container(c.config.storage.container);
  run.mutable_storage()->set_access(c.config.storage.access);
  run.mutable_storage()->set_client_id(c.config.storage.client_id);
  OrderTargets(c, run);
  record.set_last_sync_start_ms(c.wall_ms());
  seen.sync_call = 0;
  seen.sync_tries = 0;
  seen.sync_retry = SteadyTime::InfinitePast();
  seen.before = seen.after = nullptr;
  seen.baseline_read.reset();
  c.History("sync", absl::StrCat("sync run ", run.id(), " (", trigger, ") from ", run.source()), "",
            run.id(), who);
  c.again = true;
  return "";
}

void AdvanceSync(Context& c) {
  Observed& seen = c.seen();
  v1::SyncRun& run = *c.record().mutable_sync_run();
  if (!IsOpen(run)) return MaybeStart(c);
  if (seen.sync_call != 0) return;
  if (c.now.steady < seen.sync_retry) return c.WakeAt(seen.sync_retry);
  const bool sending = run.stage() == v1::SYNC_STAGE_BACKUP && !run.backup().operation_id().empty();
  if (!sending && run.stage() <= v1::SYNC_STAGE_BACKUP && IsOpen(c.record().failover())) {
    return FailRun(c, "a failover stopped it");
  }
  if (!sending && run.stage() <= v1::SYNC_STAGE_BACKUP && run.trigger() == "schedule" &&
      c.record().pause().active()) {
    return FailRun(c, "paused");
  }
  switch (run.stage()) {
    case v1::SYNC_STAGE_PREFLIGHT: {
      RunPreflight preflight{0, run.id(), {run.source()}, run.storage()};
      for (const v1::RestoreTarget& target : run.targets())
        preflight.services.push_back(target.service());
      seen.sync_call = c.Emit(std::move(preflight));
      return;
    }
    case v1::SYNC_STAGE_READ_BEFORE:
    case v1::SYNC_STAGE_READ_AFTER:
      return ReadSource(c);
    case v1::SYNC_STAGE_BACKUP:
      return AdvanceBackup(c, run);
    case v1::SYNC_STAGE_CHECK_BLOB:
      seen.sync_call = c.Emit(CheckBlob{0, run.backup().operation_id(), run.backup().blob(),
                                        run.storage(), run.backup().started_ms()});
      return;
    case v1::SYNC_STAGE_MANIFEST:
      return AdvanceManifest(c, run);
    case v1::SYNC_STAGE_RESTORE:
      return AdvanceRestores(c, run);
    default:
      return;
  }
}

void OnPreflight(Context& c, const PreflightDone& done) {
  v1::SyncRun& run = *c.record().mutable_sync_run();
  if (done.call != c.seen().sync_call || run.stage() != v1::SYNC_STAGE_PREFLIGHT) return;
  c.seen().sync_call = 0;
  if (done.result.status != CallStatus::kOk) return RetryOrFail(c, "preflight", done.result);
  std::string source_sku;
  for (const ServiceFacts& facts : done.services) {
    ApplyFacts(c, facts);
    if (facts.service != run.source()) continue;
    source_sku = facts.sku;
    if (std::string problem = FactsProblem(facts); !problem.empty()) {
      return FailRun(c, absl::StrCat(run.source(), " ", problem));
    }
  }
  if (source_sku.empty())
    return FailRun(c, absl::StrCat("the tier of ", run.source(), " is unknown"));
  for (const std::string& warning : done.warnings) c.Log(1, warning, run.id());
  JudgeTargets(c, run, done, source_sku);
  NextStage(c, v1::SYNC_STAGE_READ_BEFORE);
}

void OnFingerprint(Context& c, const FingerprintRead& read) {
  v1::SyncRun& run = *c.record().mutable_sync_run();
  if (read.call != c.seen().sync_call) return;
  c.seen().sync_call = 0;
  if (run.stage() == v1::SYNC_STAGE_RESTORE) return OnTargetFingerprint(c, read);
  if (run.stage() != v1::SYNC_STAGE_READ_BEFORE && run.stage() != v1::SYNC_STAGE_READ_AFTER) return;
  if (read.result.status != CallStatus::kOk || read.entities == nullptr) {
    return RetryOrFail(c, absl::StrCat("reading ", run.source()), read.result);
  }
  NoteStep(c.record(), kStepRead, run.stage_since_ms(), c.wall_ms());
  if (run.stage() == v1::SYNC_STAGE_READ_BEFORE) {
    c.seen().before = read.entities;
    *run.mutable_backup()->mutable_before() = read.fingerprint;
    return NextStage(c, v1::SYNC_STAGE_BACKUP);
  }
  if (c.seen().before == nullptr) c.seen().before = RebuiltBefore(run.backup().before(), read);
  c.seen().after = read.entities;
  *run.mutable_backup()->mutable_after() = read.fingerprint;
  run.mutable_backup()->set_in_flux(
      DifferencesFromBackup(*c.seen().before, *c.seen().before, *read.entities, nullptr));
  NextStage(c, v1::SYNC_STAGE_MANIFEST);
}

void OnBlobChecked(Context& c, const BlobChecked& checked) {
  v1::SyncRun& run = *c.record().mutable_sync_run();
  if (checked.call != c.seen().sync_call) return;
  c.seen().sync_call = 0;
  if (run.stage() == v1::SYNC_STAGE_RESTORE) return OnOwnBackupChecked(c, checked);
  if (run.stage() != v1::SYNC_STAGE_CHECK_BLOB) return;
  if (checked.result.status != CallStatus::kOk) {
    return RetryOrFail(c, "Azure reported the backup as done, but its blob is not good",
                       checked.result);
  }
  run.mutable_backup()->set_checked(true);
  run.mutable_backup()->set_size_bytes(checked.size_bytes);
  NextStage(c, v1::SYNC_STAGE_READ_AFTER);
}

void KeepBackup(Context& c, const v1::BackupRecord& backup) {
  *c.record().add_backups() = backup;
  auto* backups = c.record().mutable_backups();
  for (int i = 0; i < backups->size() && backups->size() > kMaxBackups;) {
    if (backups->Get(i).kept()) {
      ++i;
    } else {
      backups->DeleteSubrange(i, 1);
    }
  }
  c.Persist();
}

void OnManifestWritten(Context& c, const ManifestWritten& written) {
  v1::SyncRun& run = *c.record().mutable_sync_run();
  if (written.call != c.seen().sync_call || run.stage() != v1::SYNC_STAGE_MANIFEST) return;
  c.seen().sync_call = 0;
  if (written.result.status != CallStatus::kOk)
    return RetryOrFail(c, "writing the manifest", written.result);
  KeepBackup(c, run.backup());
  NextStage(c, v1::SYNC_STAGE_RESTORE);
}

}  // namespace failover::core
