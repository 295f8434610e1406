#ifndef CONTROLLER_CORE_GROUP_H_
#define CONTROLLER_CORE_GROUP_H_

#include <string>

#include "apim_failover/v1/operator.pb.h"
#include "common/proto.h"
#include "controller/core/commands.h"
#include "controller/core/config.h"
#include "controller/core/events.h"
#include "controller/core/state.h"

namespace failover::core {

// The whole of failover and synchronisation for one group: one event in, commands out. Reads no
// clock, does no I/O, keeps everything in `state` (design.md §3). Called by one thread.
//
// The shell loads `state.record` from the store, sets record.term (+1 by compare-and-swap, already
// durable) and sends LeadershipGained before anything else. A fresh record comes from NewRecord.
Commands Step(const GroupConfig& config, GroupState& state, const Event& event, Now now);

// An empty store's record: roles unconfirmed. `store_id`, `fingerprint_key` and `seed` are random.
v1::GroupRecord NewRecord(const GroupConfig& config, std::string store_id,
                          std::string fingerprint_key, uint64_t seed);

// Why `config` cannot be used with this record: a service's resourceId re-bound, the active service
// removed. Empty when it can (design.md §4).
std::string RebindingProblem(const GroupConfig& config, const v1::GroupRecord& record);

// The group as operators and metrics see it. Pure; may be called between steps at any rate.
v1::GroupStatus StatusOf(const GroupConfig& config, const GroupState& state, Now now);

}  // namespace failover::core

#endif  // CONTROLLER_CORE_GROUP_H_
