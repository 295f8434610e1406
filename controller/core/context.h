#ifndef CONTROLLER_CORE_CONTEXT_H_
#define CONTROLLER_CORE_CONTEXT_H_

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "controller/core/commands.h"
#include "controller/core/config.h"
#include "controller/core/state.h"

namespace failover::core {

// A group at one moment, for everything that only looks.
struct Look {
  const GroupConfig& config;
  const GroupState& state;
  const Now now;

  const v1::GroupRecord& record() const { return state.record; }
  const Observed& seen() const { return state.observed; }
  int64_t wall_ms() const { return absl::ToUnixMillis(now.wall); }
  // The wall-clock moment of a steady one, in ms; 0 for InfinitePast.
  int64_t WallMs(SteadyTime t) const {
    return t == SteadyTime::InfinitePast() ? 0 : absl::ToUnixMillis(now.wall - (now.steady - t));
  }
  int ActiveIndex() const;  // -1 while roles are unconfirmed
  const v1::ServiceRecord& Service(int index) const { return record().services(index); }
  // Mutating requests may leave now: we lead, the store answers, no clock gap is unsettled.
  bool MayAct() const { return seen().leading && !seen().store_failed && !seen().gap_pending; }
};

// Of one stage of a sync run.
constexpr int kMaxTries = 6;

// One step in progress: what the parts of the core share. Lives for one call of Step.
struct Context : Look {
  Context(const GroupConfig& group, GroupState& group_state, Now at, Commands& commands)
      : Look{group, group_state, at}, mutable_state(group_state), out(commands) {}

  GroupState& mutable_state;
  Commands& out;
  bool again = false;  // a part changed something that an earlier part looks at: evaluate once more

  v1::GroupRecord& record() const { return mutable_state.record; }
  Observed& seen() const { return mutable_state.observed; }
  v1::ServiceRecord& Service(int index) const { return *record().mutable_services(index); }
  v1::ServiceRecord* FindService(const std::string& name) const;

  // The number that the answer will quote.
  template <typename C>
  uint64_t Emit(C command) {
    const uint64_t call = seen().next_call++;
    command.call = call;
    out.list.emplace_back(std::move(command));
    return call;
  }
  template <typename C>
  void Say(C command) {
    out.list.emplace_back(std::move(command));
  }
  void Persist() { out.persist = true; }
  void WakeAt(SteadyTime t) { out.wake = std::min(out.wake, t); }

  // Adds to the history (kept at 500 entries of ≤ 1 KiB) and makes it durable.
  void History(absl::string_view kind, std::string text, absl::string_view outcome = "",
               absl::string_view reference = "", absl::string_view who = "");
  void Log(int severity, std::string text, absl::string_view reference = "") {
    Say(Note{severity, std::move(text), std::string(reference)});
  }
  // Pseudo-random from the record alone, so that the same seed gives the same run.
  uint64_t Random();
  std::string RandomId();  // 16 hex digits
};

// A service that becomes active: its own content is the truth now, whatever it held as a standby.
void MakeActive(v1::ServiceRecord& service);
// Before `active` becomes active with content that is not a verified backup of ours: the other
// standbys hold nothing newer of it than the last backup that was made of it, whatever they hold of
// another service.
void CapRecoveryPoints(v1::GroupRecord& record, const std::string& active);
// At most `bytes` bytes of valid UTF-8, cut between characters.
std::string CutUtf8(absl::string_view text, size_t bytes);
// Open: not ended and not given up.
bool IsOpen(const v1::Operation& operation);
bool IsOpen(const v1::Failover& failover);
bool IsOpen(const v1::SyncRun& run);
// The open operation on a service; null when none.
v1::Operation* OpenOperationOn(v1::GroupRecord& record, const std::string& service);
const v1::Operation* OpenOperationOn(const v1::GroupRecord& record, const std::string& service);
v1::Operation* FindOperation(v1::GroupRecord& record, const std::string& id);
// Nearest-rank 95th percentile; zero of nothing.
absl::Duration P95(std::vector<int64_t> ms);
// Of the last 20 successful ones.
absl::Duration P95(const v1::GroupRecord& record, v1::OperationKind kind);
// RPO now of a standby (design.md §6.10, by recovery point): never flatters; Infinite when it holds
// nothing.
absl::Duration RpoNow(const v1::ServiceRecord& standby, absl::Time now);
// By phase, as far as the failover has come.
v1::Rto RtoOf(const v1::Failover& failover);
std::string Describe(const v1::AzureError& error);
std::string FormatMs(int64_t ms);  // "2026-11-23T20:38:29Z"

}  // namespace failover::core

#endif  // CONTROLLER_CORE_CONTEXT_H_
