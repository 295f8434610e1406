#include "controller/core/blockers.h"

namespace failover::core {

const std::array<BlockerRule, kBlockerCount>& BlockerTable() {
  static constexpr std::array<BlockerRule, kBlockerCount> kTable = {{
      // blocker                        name                      standby automatic manual force
      {Blocker::kMode, "mode", false, true, false, Force::kNone},
      {Blocker::kPaused, "paused", false, true, false, Force::kNone},
      {Blocker::kCooldown, "cooldown", false, true, false, Force::kNone},
      {Blocker::kDailyLimit, "daily_limit", false, true, false, Force::kNone},
      {Blocker::kNoQuorum, "no_quorum", false, true, false, Force::kNone},
      {Blocker::kCommonFault, "common_fault", false, true, false, Force::kNone},
      {Blocker::kStartupGrace, "startup_grace", false, true, false, Force::kNone},
      {Blocker::kRolesUnconfirmed, "roles_unconfirmed", false, true, true, Force::kByAdopt},
      {Blocker::kTrafficMismatch, "traffic_mismatch", false, true, true, Force::kByAdopt},
      {Blocker::kNotLeader, "not_leader", false, true, true, Force::kNever},
      {Blocker::kStoreUnavailable, "store_unavailable", false, true, true, Force::kNever},
      {Blocker::kSwitchPathBroken, "switch_path_broken", false, true, true, Force::kNever},
      {Blocker::kStandbyDown, "standby_down", true, true, true, Force::kByName},
      {Blocker::kStandbyUnknown, "standby_unknown", true, true, true, Force::kByName},
      {Blocker::kPublicNameUnready, "public_name_unready", true, true, true, Force::kByName},
      {Blocker::kNeverSynced, "never_synced", true, true, true, Force::kByName},
      {Blocker::kUnverified, "unverified", true, true, true, Force::kByName},
      {Blocker::kBackupExpired, "backup_expired", true, true, true, Force::kByName},
      {Blocker::kTierMismatch, "tier_mismatch", true, true, true, Force::kByName},
      {Blocker::kNotResynced, "not_resynced", true, true, true, Force::kByName},
      {Blocker::kRecoveryPointTooOld, "recovery_point_too_old", true, true, true, Force::kByName},
      {Blocker::kRestoreRunning, "restore_running", true, true, true, Force::kByName},
      {Blocker::kOperationAmbiguous, "operation_ambiguous", true, true, true, Force::kByName},
      {Blocker::kDrift, "drift", true, true, false, Force::kByName},
  }};
  return kTable;
}

const BlockerRule* FindBlocker(absl::string_view name) {
  for (const BlockerRule& rule : BlockerTable()) {
    if (name == rule.name) return &rule;
  }
  return nullptr;
}

std::vector<std::string> BlockerSet::Names() const {
  std::vector<std::string> names;
  for (const BlockerRule& rule : BlockerTable()) {
    if (Has(rule.blocker)) names.emplace_back(rule.name);
  }
  return names;
}

BlockerSet StoppingAutomatic(const BlockerSet& set, bool drift_blocks) {
  BlockerSet result = set;
  if (!drift_blocks) result.Clear(Blocker::kDrift);
  return result;
}

BlockerSet StoppingManual(const BlockerSet& set) {
  BlockerSet result = set;
  for (const BlockerRule& rule : BlockerTable()) {
    if (!rule.stops_manual) result.Clear(rule.blocker);
  }
  return result;
}

}  // namespace failover::core
