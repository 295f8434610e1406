#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "controller/core/evaluate.h"
#include "controller/core/status.h"
#include "controller/core/traffic.h"

namespace failover::core {
namespace {

std::string Short(absl::Duration d) {
  return absl::FormatDuration(absl::Trunc(d, absl::Seconds(1)));
}

BlockerWords ModeWords(const Look& c) {
  const char* mode = c.config.mode == Mode::kObserve ? "observe" : "manual";
  return {absl::StrCat("mode is ", mode, ": nothing fails over by itself"),
          "set mode: approve or automatic in the configuration, or: failoverctl failover"};
}

BlockerWords TrafficWords(const Look& c) {
  if (!c.seen().traffic_known)
    return {"the traffic layer has not been read yet", "the next read (every 3 s until it works)"};
  if (!c.seen().traffic_problem.empty())
    return {c.seen().traffic_problem, "repair it in the traffic layer"};
  std::string enabled;
  for (const auto& [service, on] : c.seen().enabled) {
    if (on) absl::StrAppend(&enabled, enabled.empty() ? "" : ", ", service);
  }
  return {absl::StrCat("enabled is ", enabled.empty() ? "no endpoint" : enabled,
                       ", the active service is ", c.Service(c.ActiveIndex()).name()),
          "undo the foreign change, or: failoverctl adopt --active SERVICE"};
}

BlockerWords SwitchPathWords(const Look& c) {
  const Observed& seen = c.seen();
  if (!c.config.has_traffic)
    return {"no traffic section is configured", "configure traffic.trafficManager"};
  if (!seen.path_checked_once)
    return {"the switch path has not been checked yet",
            "the next check (every 10 s until it works)"};
  return {seen.path_problem.empty()
              ? absl::StrCat("last checked ", Short(c.now.steady - seen.path_checked), " ago")
              : seen.path_problem,
          "token, permissions and reachability of the traffic layer"};
}

BlockerWords GroupWords(const Look& c, Blocker blocker) {
  const v1::GroupRecord& record = c.record();
  switch (blocker) {
    case Blocker::kMode:
      return ModeWords(c);
    case Blocker::kPaused:
      return {absl::StrCat("paused by ", record.pause().who(),
                           record.pause().reason().empty() ? "" : ": ", record.pause().reason()),
              "failoverctl resume", record.pause().until_ms()};
    case Blocker::kCooldown:
      return {absl::StrCat("cooldown after ", record.failover().id(), " until ",
                           FormatMs(record.cooldown_until_ms())),
              "failoverctl ack", record.cooldown_until_ms()};
    case Blocker::kDailyLimit:
      return {absl::StrCat(record.failover_ms_size(), " failovers in 24 hours, the limit is ",
                           c.config.max_per_day),
              "time, or failover.maxPerDay, or an order: failoverctl failover",
              record.failover_ms_size() == 0
                  ? 0
                  : record.failover_ms(0) + absl::ToInt64Milliseconds(absl::Hours(24))};
    case Blocker::kNoQuorum: {
      const int active = c.ActiveIndex();
      const int known =
          active < 0 ? 0 : c.seen().verdicts[active].up + c.seen().verdicts[active].down;
      return {absl::StrCat(known, " of ", c.config.probe_regions.size(),
                           " probe regions can tell, the quorum is ", c.config.quorum),
              "agents that report: failoverctl agents"};
    }
    case Blocker::kCommonFault:
      return {
          "services in two or more Azure regions, or only the deciding probe, failed together: "
          "this looks like a common fault",
          "it holds for at most 10 minutes, or an order: failoverctl failover"};
    case Blocker::kStartupGrace:
      return {"this process has just started to lead and waits for fresh results",
              "by itself, within 60 s",
              absl::ToUnixMillis(c.now.wall +
                                 (c.seen().leading_since + absl::Seconds(60) - c.now.steady))};
    case Blocker::kRolesUnconfirmed:
      return {c.seen().fence_problem.empty() ? "it is not confirmed which service is active"
                                             : c.seen().fence_problem,
              c.seen().fence_problem.empty()
                  ? "by itself, when exactly one endpoint is enabled and the public name agrees, "
                    "or: failoverctl adopt --active SERVICE"
                  : "failoverctl adopt --active SERVICE"};
    case Blocker::kTrafficMismatch:
      return TrafficWords(c);
    case Blocker::kNotLeader:
      return {"this controller does not lead", "the leader"};
    case Blocker::kStoreUnavailable:
      return {c.seen().store_failed
                  ? absl::StrCat("the state cannot be stored: ", c.seen().store_error)
                  : "a clock gap: waiting for a durable write",
              "the store"};
    default:
      return SwitchPathWords(c);
  }
}

BlockerWords OperationWords(const Look& c, const v1::ServiceRecord& standby) {
  const v1::Operation* open = OpenOperationOn(c.record(), standby.name());
  if (open == nullptr) return {};
  const char* kind = open->kind() == v1::OPERATION_KIND_BACKUP ? "backup" : "restore";
  if (open->state() == v1::OPERATION_STATE_NEEDS_OPERATOR) {
    return {absl::StrCat("it cannot be told what the ", kind, " ", open->id(), " did"),
            absl::StrCat("look at the service, then: failoverctl operations abandon ", open->id())};
  }
  if (open->state() == v1::OPERATION_STATE_AMBIGUOUS) {
    return {absl::StrCat("it is not known whether the ", kind, " ", open->id(), " was started"),
            "by itself, when its effect is seen or its watch ends"};
  }
  const absl::Duration p95 = P95(c.record(), open->kind());
  return {absl::StrCat("a ", kind, " has been running for ",
                       Short(absl::Milliseconds(c.wall_ms() - open->sent_ms()))),
          "its end",
          p95 == absl::ZeroDuration() || open->sent_ms() == 0
              ? 0
              : open->sent_ms() + absl::ToInt64Milliseconds(p95)};
}

BlockerWords StandbyWords(const Look& c, Blocker blocker, int index) {
  const v1::ServiceRecord& standby = c.Service(index);
  const ServiceVerdict& verdict = c.seen().verdicts[index];
  const std::string run = absl::StrCat("a sync run: failoverctl sync run ", c.config.name);
  switch (blocker) {
    case Blocker::kStandbyDown:
      return {
          absl::StrCat(verdict.down, " of ", verdict.regions.size(), " probe regions see it down"),
          "its recovery"};
    case Blocker::kStandbyUnknown:
      return {absl::StrCat("votes are ", verdict.up, " up, ", verdict.down, " down, ",
                           verdict.unknown, " unknown"),
              "a quorum of good results"};
    case Blocker::kPublicNameUnready:
      return {"its gateway answers, but not under the public host name (TLS or content)",
              "host name and certificate on the standby"};
    case Blocker::kNeverSynced:
      return {"it holds no verified backup of the active service", run};
    case Blocker::kUnverified:
      return {"its content was not proved equal to a backup", run};
    case Blocker::kBackupExpired:
      return {
          absl::StrCat("its backup's lifetime ended at ", FormatMs(standby.backup_expires_ms())),
          run};
    case Blocker::kTierMismatch: {
      const int active = c.ActiveIndex();
      return {absl::StrCat("its tier is ", standby.sku(), ", the active one's is ",
                           active < 0 ? "unknown" : c.Service(active).sku()),
              "equal tiers"};
    }
    case Blocker::kNotResynced:
      return {"it was active before and has not been synced back",
              "an approved reverse sync, not built yet in this version"};
    case Blocker::kRecoveryPointTooOld:
      return {absl::StrCat("RPO now is ", Short(RpoNow(standby, c.now.wall)),
                           ", failover.maxDataLoss is ", Short(c.config.max_data_loss)),
              run};
    case Blocker::kDrift:
      return {
          absl::StrCat("somebody changed it since our last restore (", standby.drift().count(),
                       " kinds differ)"),
          absl::StrCat("failoverctl sync diff ", c.config.name, " ", standby.name(),
                       "; then: failoverctl standby discard ", c.config.name, " ", standby.name())};
    default:
      return OperationWords(c, standby);
  }
}

}  // namespace

BlockerWords WordsOf(const Look& c, Blocker blocker, int service) {
  const bool standby = BlockerTable()[static_cast<size_t>(blocker)].standby;
  return standby ? StandbyWords(c, blocker, service) : GroupWords(c, blocker);
}

}  // namespace failover::core
