#ifndef CONTROLLER_CORE_OPERATIONS_H_
#define CONTROLLER_CORE_OPERATIONS_H_

#include <string>

#include "controller/core/context.h"

namespace failover::core {

// The life of a backup or restore operation, from intent to a terminal state (design.md §6.9):
// intent before the POST, the handle before the first poll, never a second POST, ambiguity settled
// by looking.

// A new operation with an intent in this term and epoch. A backup starts as SENDING and its POST is
// emitted; a restore starts as PLANNED (its fence comes first).
v1::Operation& NewBackup(Context& context, const v1::ServiceRecord& service,
                         const std::string& run_id, const v1::Storage& storage,
                         const std::string& purpose);
v1::Operation& PlanRestore(Context& context, const v1::ServiceRecord& service,
                           const std::string& run_id, const v1::Storage& storage,
                           const std::string& blob);
// PLANNED → SENDING; the POST leaves before `send_by` or never.
void SendRestore(Context& context, v1::Operation& operation, SteadyTime send_by);
// Ends an operation of which nothing was sent.
void EndUnsent(Context& context, v1::Operation& operation, absl::string_view why);

void OnOperationStarted(Context& context, const OperationStarted& started);
void OnOperationPolled(Context& context, const OperationPolled& polled);
void OnOperationInspected(Context& context, const OperationInspected& inspected);
// At the start of a life: SENDING becomes AMBIGUOUS, PLANNED ends, RUNNING is adopted.
void AdoptOperations(Context& context);
// Polls and inspections that are due.
void AdvanceOperations(Context& context);
// An operator declares an operation ended.
void AbandonOperation(Context& context, v1::Operation& operation, const std::string& who,
                      const std::string& reason);

// How long an ambiguous operation is looked at from the moment it became so (design.md §6.9).
absl::Duration AmbiguityWatch(const Look& look, const v1::Operation& operation);

// Same digests for the same kinds.
bool SameContent(const v1::Fingerprint& a, const v1::Fingerprint& b);

}  // namespace failover::core

#endif  // CONTROLLER_CORE_OPERATIONS_H_
