#ifndef CONTROLLER_CORE_BLOCKERS_H_
#define CONTROLLER_CORE_BLOCKERS_H_

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace failover::core {

// The named reasons of design.md §7.3, in its order.
enum class Blocker : uint8_t {
  kMode,
  kPaused,
  kCooldown,
  kDailyLimit,
  kNoQuorum,
  kCommonFault,
  kStartupGrace,
  kRolesUnconfirmed,
  kTrafficMismatch,
  kNotLeader,
  kStoreUnavailable,
  kSwitchPathBroken,
  kStandbyDown,
  kStandbyUnknown,
  kPublicNameUnready,
  kNeverSynced,
  kUnverified,
  kBackupExpired,
  kTierMismatch,
  kNotResynced,
  kRecoveryPointTooOld,
  kRestoreRunning,
  kOperationAmbiguous,
  kDrift,
};
inline constexpr int kBlockerCount = 24;

enum class Force : uint8_t { kNone, kByAdopt, kNever, kByName };

struct BlockerRule {
  Blocker blocker;
  const char* name;
  bool standby;          // scope: one standby, else the group
  bool stops_automatic;  // drift: only with onDrift: block
  bool stops_manual;
  Force force;
};

// One row per blocker, in the order of the enumeration.
const std::array<BlockerRule, kBlockerCount>& BlockerTable();
// Null when there is no blocker of that name.
const BlockerRule* FindBlocker(absl::string_view name);

// A set of blockers.
class BlockerSet {
 public:
  void Set(Blocker blocker, bool on = true) {
    if (on) bits_ |= 1u << static_cast<int>(blocker);
  }
  void Clear(Blocker blocker) { bits_ &= ~(1u << static_cast<int>(blocker)); }
  bool Has(Blocker blocker) const { return (bits_ >> static_cast<int>(blocker)) & 1u; }
  bool empty() const { return bits_ == 0; }
  uint32_t bits() const { return bits_; }
  BlockerSet Without(const BlockerSet& other) const { return BlockerSet(bits_ & ~other.bits_); }
  std::vector<std::string> Names() const;

  BlockerSet() = default;
  explicit BlockerSet(uint32_t bits) : bits_(bits) {}
  friend bool operator==(const BlockerSet&, const BlockerSet&) = default;

 private:
  uint32_t bits_ = 0;
};

struct Blockers {
  BlockerSet group;
  std::vector<BlockerSet> services;  // by service index; empty for the active one

  BlockerSet Of(int service) const {
    return static_cast<size_t>(service) < services.size() ? services[service] : BlockerSet();
  }
};

// Those of `set` that stop an automatic or approved failover, or an operator's order.
BlockerSet StoppingAutomatic(const BlockerSet& set, bool drift_blocks);
BlockerSet StoppingManual(const BlockerSet& set);

}  // namespace failover::core

#endif  // CONTROLLER_CORE_BLOCKERS_H_
