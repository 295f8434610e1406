#include "controller/core/operations.h"

#include "absl/strings/str_cat.h"
#include "controller/core/progress.h"

namespace failover::core {
namespace {

constexpr int kMaxEndedOperations = 100;
constexpr absl::Duration kDefaultRetryAfter = absl::Seconds(60);  // azure.md §1.3
constexpr absl::Duration kOverdue = absl::Hours(8);
constexpr absl::Duration kPostBudget = absl::Seconds(30);

const char* KindName(const v1::Operation& operation) {
  return operation.kind() == v1::OPERATION_KIND_BACKUP ? "backup" : "restore";
}

absl::Duration RetryAfter(int seconds) {
  return seconds <= 0 ? kDefaultRetryAfter : absl::Seconds(std::min(seconds, 3600));
}

void DropOldOperations(v1::GroupRecord& record) {
  int ended = 0;
  for (const v1::Operation& operation : record.operations()) ended += IsOpen(operation) ? 0 : 1;
  for (int i = 0; i < record.operations_size() && ended > kMaxEndedOperations;) {
    if (IsOpen(record.operations(i))) {
      ++i;
      continue;
    }
    record.mutable_operations()->DeleteSubrange(i, 1);
    --ended;
  }
}

v1::Operation& Add(Context& c, const v1::ServiceRecord& service, const std::string& run_id,
                   const v1::Storage& storage) {
  DropOldOperations(c.record());
  v1::Operation& operation = *c.record().add_operations();
  operation.set_id(c.RandomId());
  operation.set_run_id(run_id);
  operation.set_service(service.name());
  operation.set_resource_id(service.resource_id());
  *operation.mutable_storage() = storage;
  operation.set_term(c.record().term());
  operation.set_epoch(c.record().epoch());
  operation.set_intent_ms(c.wall_ms());
  c.Persist();
  return operation;
}

void NoteDuration(Context& c, const v1::Operation& operation) {
  v1::Durations* durations = nullptr;
  for (v1::Durations& candidate : *c.record().mutable_durations()) {
    if (candidate.kind() == operation.kind()) durations = &candidate;
  }
  if (durations == nullptr) {
    durations = c.record().add_durations();
    durations->set_kind(operation.kind());
  }
  durations->add_ms(operation.ended_ms() - operation.sent_ms());
  if (durations->ms_size() > kMaxDurations) durations->mutable_ms()->erase(durations->ms().begin());
}

void End(Context& c, v1::Operation& operation, v1::OperationState state, absl::string_view text) {
  operation.set_state(state);
  operation.set_ended_ms(c.wall_ms());
  c.seen().operations.erase(operation.id());
  const bool good = state == v1::OPERATION_STATE_SUCCEEDED;
  if (good && operation.ambiguous_since_ms() == 0)
    NoteDuration(c, operation);  // else its end was found late, by looking
  const bool content_unchanged = operation.kind() == v1::OPERATION_KIND_RESTORE &&
                                 state == v1::OPERATION_STATE_NEVER_STARTED &&
                                 operation.sent_ms() != 0;
  if (content_unchanged) {
    if (v1::ServiceRecord* service = c.FindService(operation.service())) {
      service->set_content_unverified(operation.was_unverified());
    }
  }
  c.History(KindName(operation),
            absl::StrCat(KindName(operation), " of ", operation.service(), " ", text),
            good ? "ok" : "failed", operation.id());
  if (!good)
    c.Log(1, absl::StrCat(KindName(operation), " of ", operation.service(), " ", text),
          operation.id());
  c.again = true;
}

void BecomeAmbiguous(Context& c, v1::Operation& operation, absl::string_view why) {
  operation.set_state(v1::OPERATION_STATE_AMBIGUOUS);
  operation.set_ambiguous_since_ms(c.wall_ms());
  Observed::OperationProgress& progress = c.seen().operations[operation.id()];
  progress.call = 0;
  progress.ambiguous_since = c.now.steady;
  progress.next_poll = c.now.steady + c.config.timing.ambiguity_wait;
  c.History(KindName(operation),
            absl::StrCat("it is not known whether the ", KindName(operation), " of ",
                         operation.service(), " was started: ", why, "; looking, not repeating"),
            "unknown", operation.id());
  c.Log(1, absl::StrCat(KindName(operation), " of ", operation.service(), " is ambiguous: ", why),
        operation.id());
}

// Until the next look at an ambiguous operation: Azure's Retry-After; where it gave none, more
// often than the usual minute when the watch is configured to be short, as in tests and demo.
absl::Duration LookAgain(const Look& c, const v1::Operation& operation) {
  const absl::Duration asked = RetryAfter(operation.retry_after_s());
  return operation.retry_after_s() > 0 ? asked
                                       : std::min(asked, c.config.timing.ambiguity_watch / 4);
}

void SettleBackup(Context& c, v1::Operation& operation, const OperationInspected& look,
                  bool watch_over) {
  if (look.blob_exists && look.service_idle) {
    End(c, operation, v1::OPERATION_STATE_SUCCEEDED, "was found finished: its blob is there");
  } else if (watch_over && look.service_idle) {
    End(c, operation, v1::OPERATION_STATE_LOST, "left no blob and the service is idle: lost");
  } else if (watch_over &&
             c.wall_ms() - operation.ambiguous_since_ms() > absl::ToInt64Milliseconds(kOverdue)) {
    operation.set_state(v1::OPERATION_STATE_NEEDS_OPERATOR);
    c.History("backup",
              absl::StrCat("the backup of ", operation.service(),
                           " needs an operator: the service is still busy"),
              "unknown", operation.id());
  }
}

// The content that a restore of this operation leaves: either side of its backup counts, in flux or
// not.
bool HoldsBackup(const Look& c, const v1::Operation& operation, const OperationInspected& look) {
  for (const v1::BackupRecord& backup : c.record().backups()) {
    if (backup.blob() == operation.blob()) {
      return SameContent(look.fingerprint, backup.before()) ||
             SameContent(look.fingerprint, backup.after());
    }
  }
  return false;
}

void SettleRestore(Context& c, v1::Operation& operation, const OperationInspected& look,
                   bool watch_over) {
  if (look.service_idle && HoldsBackup(c, operation, look)) {
    End(c, operation, v1::OPERATION_STATE_SUCCEEDED,
        "was found finished: the service holds the backup's content");
  } else if (watch_over && look.service_idle && operation.has_target_before() &&
             SameContent(look.fingerprint, operation.target_before())) {
    End(c, operation, v1::OPERATION_STATE_NEVER_STARTED,
        "never started: the service still holds its old content");
  } else if (watch_over) {
    operation.set_state(v1::OPERATION_STATE_NEEDS_OPERATOR);
    c.seen().operations.erase(operation.id());
    c.History(
        "restore",
        absl::StrCat("the restore of ", operation.service(),
                     " needs an operator: its content is neither the backup's nor the old one; ",
                     "look at the service, then: failoverctl operations abandon ", operation.id()),
        "unknown", operation.id());
    c.Log(2, absl::StrCat("restore of ", operation.service(), " needs an operator"),
          operation.id());
    c.again = true;
  }
}

}  // namespace

absl::Duration AmbiguityWatch(const Look& c, const v1::Operation& operation) {
  return c.config.timing.ambiguity_wait +
         std::max(2 * P95(c.record(), operation.kind()), c.config.timing.ambiguity_watch);
}

bool SameContent(const v1::Fingerprint& a, const v1::Fingerprint& b) {
  if (a.kinds_size() == 0 || a.kinds_size() != b.kinds_size()) return false;
  for (int i = 0; i < a.kinds_size(); ++i) {
    if (a.kinds(i).kind() != b.kinds(i).kind() || a.kinds(i).digest() != b.kinds(i).digest() ||
        a.kinds(i).count() != b.kinds(i).count()) {
      return false;
    }
  }
  return true;
}

v1::Operation& NewBackup(Context& c, const v1::ServiceRecord& service, const std::string& run_id,
                         const v1::Storage& storage, const std::string& purpose) {
  v1::Operation& operation = Add(c, service, run_id, storage);
  operation.set_kind(v1::OPERATION_KIND_BACKUP);
  operation.set_purpose(purpose);
  operation.set_blob(absl::StrCat(
      c.config.name, "/", service.name(), "/",
      absl::FormatTime("%Y%m%dT%H%M%SZ", c.now.wall, absl::UTCTimeZone()), "-", operation.id()));
  operation.set_state(v1::OPERATION_STATE_SENDING);
  operation.set_sent_ms(c.wall_ms());
  c.seen().operations[operation.id()].call =
      c.Emit(StartBackup{0, operation.id(), operation.service(), operation.resource_id(),
                         operation.blob(), operation.storage(), c.now.steady + kPostBudget});
  c.History("backup", absl::StrCat("backup of ", service.name(), " to ", operation.blob()), "",
            operation.id());
  return operation;
}

v1::Operation& PlanRestore(Context& c, const v1::ServiceRecord& service, const std::string& run_id,
                           const v1::Storage& storage, const std::string& blob) {
  v1::Operation& operation = Add(c, service, run_id, storage);
  operation.set_kind(v1::OPERATION_KIND_RESTORE);
  operation.set_blob(blob);
  operation.set_state(v1::OPERATION_STATE_PLANNED);
  return operation;
}

void SendRestore(Context& c, v1::Operation& operation, SteadyTime send_by) {
  operation.set_state(v1::OPERATION_STATE_SENDING);
  operation.set_sent_ms(c.wall_ms());
  if (v1::ServiceRecord* service = c.FindService(operation.service())) {
    operation.set_was_unverified(service->content_unverified());
    service->set_content_unverified(true);
  }
  c.seen().operations[operation.id()].call =
      c.Emit(StartRestore{0, operation.id(), operation.service(), operation.resource_id(),
                          operation.blob(), operation.storage(), send_by});
  c.History("restore", absl::StrCat("restore of ", operation.service(), " from ", operation.blob()),
            "", operation.id());
}

void EndUnsent(Context& c, v1::Operation& operation, absl::string_view why) {
  End(c, operation,
      operation.kind() == v1::OPERATION_KIND_BACKUP ? v1::OPERATION_STATE_LOST
                                                    : v1::OPERATION_STATE_NEVER_STARTED,
      absl::StrCat("was not sent: ", why));
}

void OnOperationStarted(Context& c, const OperationStarted& started) {
  v1::Operation* operation = FindOperation(c.record(), started.operation_id);
  const auto progress = c.seen().operations.find(started.operation_id);
  if (operation == nullptr || operation->state() != v1::OPERATION_STATE_SENDING ||
      progress == c.seen().operations.end() || progress->second.call != started.call) {
    return;
  }
  progress->second.call = 0;
  *operation->mutable_error() = started.result.error;
  switch (started.result.status) {
    case CallStatus::kOk:
      operation->clear_error();
      operation->set_state(v1::OPERATION_STATE_RUNNING);
      operation->set_handle(started.handle);
      operation->set_retry_after_s(started.retry_after_s);
      progress->second.next_poll = c.now.steady + RetryAfter(started.retry_after_s);
      c.Persist();
      break;
    case CallStatus::kFailed:
      if (v1::ServiceRecord* service = c.FindService(operation->service());
          service != nullptr && operation->kind() == v1::OPERATION_KIND_RESTORE) {
        service->set_content_unverified(
            operation->was_unverified());  // refused: nothing was changed
      }
      End(c, *operation, v1::OPERATION_STATE_FAILED,
          absl::StrCat("was refused: ", Describe(started.result.error)));
      break;
    case CallStatus::kNotSent:
      EndUnsent(c, *operation, Describe(started.result.error));
      break;
    case CallStatus::kUnclear:
      BecomeAmbiguous(c, *operation, Describe(started.result.error));
      break;
  }
}

void OnOperationPolled(Context& c, const OperationPolled& polled) {
  v1::Operation* operation = FindOperation(c.record(), polled.operation_id);
  const auto progress = c.seen().operations.find(polled.operation_id);
  if (operation == nullptr || operation->state() != v1::OPERATION_STATE_RUNNING ||
      progress == c.seen().operations.end() || progress->second.call != polled.call) {
    return;
  }
  progress->second.call = 0;
  const int retry = polled.retry_after_s != 0 ? polled.retry_after_s : operation->retry_after_s();
  progress->second.next_poll = c.now.steady + RetryAfter(retry);
  switch (polled.state) {
    case OperationPolled::State::kRunning:
      if (!polled.handle.empty() && polled.handle != operation->handle()) {
        operation->set_handle(polled.handle);
        c.Persist();
      }
      break;
    case OperationPolled::State::kSucceeded:
      End(c, *operation, v1::OPERATION_STATE_SUCCEEDED,
          absl::StrCat("ended well after ", absl::FormatDuration(absl::Milliseconds(
                                                c.wall_ms() - operation->sent_ms()))));
      break;
    case OperationPolled::State::kFailed:
      *operation->mutable_error() = polled.error;
      End(c, *operation, v1::OPERATION_STATE_FAILED,
          absl::StrCat("failed: ", Describe(polled.error)));
      break;
    case OperationPolled::State::kGone:
      *operation->mutable_error() = polled.error;
      BecomeAmbiguous(c, *operation, "its result is gone (404)");
      break;
    case OperationPolled::State::kUnknown:
      break;
  }
}

void OnOperationInspected(Context& c, const OperationInspected& look) {
  v1::Operation* operation = FindOperation(c.record(), look.operation_id);
  const auto progress = c.seen().operations.find(look.operation_id);
  if (operation == nullptr || operation->state() != v1::OPERATION_STATE_AMBIGUOUS ||
      progress == c.seen().operations.end() || progress->second.call != look.call) {
    return;
  }
  progress->second.call = 0;
  progress->second.next_poll = c.now.steady + LookAgain(c, *operation);
  if (look.result.status != CallStatus::kOk) return;
  const bool over =
      c.now.steady - progress->second.ambiguous_since >= AmbiguityWatch(c, *operation);
  if (operation->kind() == v1::OPERATION_KIND_BACKUP) {
    SettleBackup(c, *operation, look, over);
  } else {
    SettleRestore(c, *operation, look, over);
  }
}

void AdoptOperations(Context& c) {
  for (v1::Operation& operation : *c.record().mutable_operations()) {
    if (operation.state() == v1::OPERATION_STATE_PLANNED) {
      EndUnsent(c, operation, "the controller restarted first");
    } else if (operation.state() == v1::OPERATION_STATE_SENDING) {
      BecomeAmbiguous(c, operation, "the controller restarted while it was being sent");
    } else if (operation.state() == v1::OPERATION_STATE_AMBIGUOUS) {
      Observed::OperationProgress& progress = c.seen().operations[operation.id()];
      progress.ambiguous_since = c.now.steady;  // deadlines start again at their full length
      progress.next_poll = c.now.steady + c.config.timing.ambiguity_wait;
    } else if (operation.state() == v1::OPERATION_STATE_RUNNING) {
      c.seen().operations[operation.id()].next_poll = c.now.steady;
      c.History(
          KindName(operation),
          absl::StrCat("adopted the running ", KindName(operation), " of ", operation.service()),
          "", operation.id());
    }
  }
}

void AdvanceOperations(Context& c) {
  for (v1::Operation& operation : *c.record().mutable_operations()) {
    if (operation.state() != v1::OPERATION_STATE_RUNNING &&
        operation.state() != v1::OPERATION_STATE_AMBIGUOUS)
      continue;
    Observed::OperationProgress& progress = c.seen().operations[operation.id()];
    if (operation.state() == v1::OPERATION_STATE_RUNNING && !progress.overdue_noted &&
        c.wall_ms() - operation.sent_ms() > absl::ToInt64Milliseconds(kOverdue)) {
      progress.overdue_noted = true;
      c.History(KindName(operation),
                absl::StrCat("the ", KindName(operation), " of ", operation.service(),
                             " has been running for over 8 hours; still polling"),
                "unknown", operation.id());
    }
    if (progress.call != 0) continue;
    if (c.now.steady < progress.next_poll) {
      c.WakeAt(progress.next_poll);
    } else if (operation.state() == v1::OPERATION_STATE_RUNNING) {
      progress.call =
          c.Emit(PollOperation{0, operation.id(), operation.service(), operation.handle()});
    } else {
      progress.call = c.Emit(InspectOperation{0, operation});
    }
  }
}

void AbandonOperation(Context& c, v1::Operation& operation, const std::string& who,
                      const std::string& reason) {
  operation.set_state(v1::OPERATION_STATE_ABANDONED);
  operation.set_ended_ms(c.wall_ms());
  c.seen().operations.erase(operation.id());
  c.History(KindName(operation),
            absl::StrCat("the ", KindName(operation), " of ", operation.service(),
                         " was declared ended: ", reason),
            "unknown", operation.id(), who);
  c.again = true;
}

}  // namespace failover::core
