#ifndef CONTROLLER_CORE_EVALUATE_H_
#define CONTROLLER_CORE_EVALUATE_H_

#include "controller/core/context.h"

namespace failover::core {

// What is true now, from votes to blockers. Nothing here sends a request.

// Verdict of every service's deciding probe; the outage of the active service; startup_grace.
void UpdateVerdicts(Context& context);
// Whether restores are frozen (design.md §6.4).
struct Freeze {
  std::string reason;                  // in words; empty = not frozen
  int64_t since_ms = 0, until_ms = 0;  // 0 = unknown; `until` if nothing else happens
};
Freeze FreezeOf(const Look& context);
inline std::string FreezeReason(const Look& context) { return FreezeOf(context).reason; }
// The probe region whose `down` on the active stands alone for longer than timing.freezeHold; -1 =
// none.
int DissentingRegion(const Look& context);
void UpdateFreeze(Context& context);
// The whole table of design.md §7.3.
Blockers EvaluateBlockers(const Look& context);
// Best standby for a failover of this kind, or -1 (design.md §7.2). `forced` are waived.
int ChooseStandby(const Look& context, const Blockers& blockers, bool automatic,
                  const BlockerSet& forced);
// Keeps a snapshot when verdict, blockers or choice changed (design.md §3, §7.13).
void RecordDecision(Context& context, absl::string_view action);

}  // namespace failover::core

#endif  // CONTROLLER_CORE_EVALUATE_H_
