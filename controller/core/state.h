#ifndef CONTROLLER_CORE_STATE_H_
#define CONTROLLER_CORE_STATE_H_

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "apim_failover/v1/state.pb.h"
#include "common/proto.h"
#include "common/steady_time.h"
#include "controller/core/blockers.h"
#include "controller/core/events.h"
#include "controller/core/verdict.h"
#include "controller/core/votes.h"

namespace failover::core {

// What has been observed since this process began to lead; lost at a restart by design.
struct Observed {
  bool leading = false;
  SteadyTime leading_since;
  bool grace_over = false;  // startup_grace (design.md §7.3)
  SteadyTime distrust_before =
      SteadyTime::InfinitePast();  // ClockGap: older results decide nothing
  bool gap_pending = false;        // no effect before a durable write succeeded after a gap
  uint64_t gap_version = 0;        // that write

  Votes votes;
  std::vector<ServiceVerdict> verdicts;  // by service index, deciding probe
  SteadyTime config_changed = SteadyTime::InfinitePast();
  std::string probed;  // what is probed, as text: votes belong to it
  std::vector<SteadyTime>
      last_burst;  // by service: when the other regions were asked to probe at once

  // Traffic layer.
  bool traffic_known = false;
  std::map<std::string, bool> enabled;  // service → enabled, as last read
  SteadyTime traffic_read = SteadyTime::InfinitePast();
  absl::Time traffic_read_wall = absl::InfinitePast();
  std::string traffic_problem;
  uint64_t traffic_call = 0;  // ReadTraffic in flight
  SteadyTime next_traffic_read = SteadyTime::InfinitePast();
  uint64_t path_call = 0;
  bool path_ok = false;
  bool path_checked_once = false;
  std::string path_problem;
  SteadyTime path_checked = SteadyTime::InfinitePast();
  absl::Time path_checked_wall = absl::InfinitePast();
  SteadyTime next_path_check = SteadyTime::InfinitePast();

  // First contact.
  uint64_t fence_call = 0;
  bool fence_checked = false;  // the group's fence was read once
  std::optional<Fence> fence_found;
  std::string fence_problem;
  SteadyTime next_fence_read = SteadyTime::InfinitePast();

  // Freeze (design.md §6.4).
  std::map<int, SteadyTime> dissent_since;  // region → its lone `down` began
  // last_down_vote_ms of the record, on the clock that nobody sets.
  SteadyTime last_down_vote = SteadyTime::InfinitePast();
  SteadyTime active_up_since = SteadyTime::InfiniteFuture();

  // The open sync run.
  uint64_t sync_call = 0;  // the one call in flight for the run
  std::shared_ptr<const Entities> before, after;
  int sync_tries = 0;
  SteadyTime sync_retry = SteadyTime::InfinitePast();
  std::optional<FingerprintRead> baseline_read;  // of the target about to be restored
  SteadyTime next_sync_attempt = SteadyTime::InfinitePast();
  std::string sync_holding;

  // Operations: by operation id.
  struct OperationProgress {
    uint64_t call = 0;
    SteadyTime next_poll = SteadyTime::InfinitePast();
    SteadyTime ambiguous_since = SteadyTime::InfinitePast();
    bool overdue_noted = false;
  };
  std::map<std::string, OperationProgress> operations;

  // Failover.
  uint64_t set_call = 0;  // SetEndpoint in flight
  uint64_t readback_call =
      0;  // ReadTraffic whose request began after the last SetEndpoint's answer
  bool enable_maybe_applied = false;  // an enable request may have reached the traffic layer
  bool disable_answered = false;
  uint64_t decided_version = 0;  // the record with the decision
  SteadyTime switch_retry = SteadyTime::InfinitePast();
  SteadyTime confirm_deadline = SteadyTime::InfiniteFuture();
  std::optional<SteadyTime> unknown_since;  // verdict unknown before the point of no return
  std::string would_do;
  absl::Time last_repair = absl::InfinitePast();

  // Store.
  uint64_t persist_requested = 0, persist_done = 0;
  bool store_failed = false;
  std::string store_error;

  // What the last evaluation found, for change detection and StatusOf.
  Blockers blockers;
  std::string decision_key;

  uint64_t next_call = 1;
};

struct GroupState {
  v1::GroupRecord record;  // durable
  Observed observed;
};

}  // namespace failover::core

#endif  // CONTROLLER_CORE_STATE_H_
