#ifndef CONTROLLER_CORE_FAILOVER_H_
#define CONTROLLER_CORE_FAILOVER_H_

#include <string>

#include "controller/core/context.h"

namespace failover::core {

// Failover, step by step (design.md §7). Each step is durable before it is done; a new process
// resumes.

// Decides when the rules allow, asks for approval, continues an open one.
void AdvanceFailover(Context& context);
void OnEndpointSet(Context& context, const EndpointSet& set);
// A traffic read that may be the read-back of an open failover.
void OnReadBack(Context& context, const TrafficRead& read);
// A new life: what may have been sent counts as sent.
void ResumeFailover(Context& context);
// Epoch +1, sync stopped, roles unchanged.
void DecideFailover(Context& context, int to, absl::string_view trigger, absl::string_view who,
                    absl::string_view reason, const BlockerSet& forced);

}  // namespace failover::core

#endif  // CONTROLLER_CORE_FAILOVER_H_
