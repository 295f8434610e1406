#ifndef CONTROLLER_CORE_TRAFFIC_H_
#define CONTROLLER_CORE_TRAFFIC_H_

#include "controller/core/context.h"

namespace failover::core {

// The traffic layer as found: read every 30 s, compared with the roles; the switch path proven
// always (design.md §7.9, §7.10); roles of an empty store confirmed by it (§6.5).

// A picture of the traffic layer older than this is no ground to write, and proves no write.
inline constexpr absl::Duration kFreshRead = absl::Seconds(5);

// The active service's endpoint is enabled and no other is, by the last successful read.
bool TrafficMatches(const Look& context);
void OnTrafficRead(Context& context, const TrafficRead& read);
void OnSwitchPathChecked(Context& context, const SwitchPathChecked& check);
void OnFenceRead(Context& context, const FenceDone& fence);
// Arms the next reads, confirms roles at first contact, repairs a late write of our own.
void AdvanceTraffic(Context& context);
// Makes `active` the active service and every other one a standby; epoch +1, above any fence found.
void AssignRoles(Context& context, int active, absl::string_view why, absl::string_view who);
// Read the traffic layer as soon as possible.
void HastenTrafficRead(Context& context);
// Notes a write of ours, so that a late effect of it can be told from a foreign change.
void NoteTrafficWrite(Context& context, const std::string& service, bool enabled);

}  // namespace failover::core

#endif  // CONTROLLER_CORE_TRAFFIC_H_
