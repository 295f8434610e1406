#include "controller/core/traffic.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace failover::core {
namespace {

constexpr absl::Duration kReadEvery = absl::Seconds(30);
constexpr absl::Duration kReadSoon = absl::Seconds(3);
constexpr absl::Duration kPathEvery = absl::Seconds(60);
constexpr absl::Duration kPathSoon = absl::Seconds(10);
constexpr absl::Duration kTokenLeft = absl::Minutes(10);
constexpr absl::Duration kReadBudget = absl::Seconds(2);
constexpr absl::Duration kLateWrite = absl::Minutes(10);
constexpr absl::Duration kRepairEvery = absl::Seconds(10);
constexpr int kMaxWrites = 8;

std::string EnabledNames(const Look& c) {
  std::vector<std::string> names;
  for (const auto& [service, enabled] : c.seen().enabled) {
    if (enabled) names.push_back(service);
  }
  return names.empty() ? "no endpoint" : absl::StrJoin(names, ", ");
}

// Which service every fresh answer of the public name came from; -1 when none, or when answers
// disagree.
int PublicNameSays(const Look& c) {
  int service = -1;
  for (const Agent& agent : c.seen().votes.agents) {
    const PublicAnswer& answer = agent.public_answer;
    if (!answer.success || c.now.steady - answer.completed > Freshness(c.config.decider()))
      continue;
    const int from = ServedBy(c.config, agent, answer);
    if (from < 0 || (service >= 0 && from != service)) return -1;
    service = from;
  }
  return service;
}

// First contact (design.md §6.5).
void ConfirmRoles(Context& c) {
  const Observed& seen = c.seen();
  if (!seen.traffic_known || !c.MayAct()) return;
  if (!seen.fence_checked || seen.fence_found.has_value()) return;
  int only = -1;
  for (size_t i = 0; i < c.config.services.size(); ++i) {
    const auto found = seen.enabled.find(c.config.services[i].name);
    if (found == seen.enabled.end() || !found->second) continue;
    if (only >= 0) return;
    only = static_cast<int>(i);
  }
  if (only < 0 || !seen.traffic_problem.empty() ||
      c.now.steady - seen.traffic_read > kReadSoon + kFreshRead)
    return;
  if (!c.config.public_url.empty() && PublicNameSays(c) != only) return;
  AssignRoles(c, only, "its endpoint is the only enabled one and the public name agrees", "");
}

// A deviation that one of our own writes, since overruled, explains.
bool LateWriteOfOurs(const Look& c, const std::string& service, bool enabled) {
  bool wrote = false;
  for (const v1::TrafficWrite& write : c.record().traffic_writes()) {
    if (write.service() == service && write.enabled() == enabled &&
        c.wall_ms() - write.sent_ms() < absl::ToInt64Milliseconds(kLateWrite)) {
      wrote = true;
    }
  }
  return wrote;
}

// Only when every deviation is late and ours; enables before it disables, one write at a time.
void RepairLateWrite(Context& c) {
  Observed& seen = c.seen();
  const int active = c.ActiveIndex();
  if (!c.MayAct() || seen.set_call != 0 || c.now.wall - seen.last_repair < kRepairEvery) return;
  if (!seen.traffic_problem.empty()) return;
  if (c.now.steady - seen.traffic_read > kFreshRead) {  // an old picture is no ground to write
    if (seen.traffic_call == 0) HastenTrafficRead(c);
    return;
  }
  std::string repair;
  bool to = false;
  for (size_t i = 0; i < c.config.services.size(); ++i) {
    const std::string& name = c.config.services[i].name;
    const auto found = seen.enabled.find(name);
    const bool wanted = static_cast<int>(i) == active;
    if (found == seen.enabled.end() || found->second == wanted) continue;
    if (!LateWriteOfOurs(c, name, found->second)) return;
    if (repair.empty() || wanted) {
      repair = name;
      to = wanted;
    }
  }
  if (repair.empty()) return;
  seen.last_repair = c.now.wall;
  NoteTrafficWrite(c, repair, to);
  c.History("traffic", absl::StrCat("a late write of our own left ", repair,
                                    to ? " disabled" : " enabled", "; repaired"));
  seen.set_call = c.Emit(SetEndpoint{0, repair, to, c.now.steady + absl::Seconds(5)});
}

}  // namespace

bool TrafficMatches(const Look& c) {
  const Observed& seen = c.seen();
  const int active = c.ActiveIndex();
  if (!c.config.has_traffic || active < 0) return active < 0 || !c.config.has_traffic;
  if (!seen.traffic_known || !seen.traffic_problem.empty()) return false;
  for (size_t i = 0; i < c.config.services.size(); ++i) {
    const auto found = seen.enabled.find(c.config.services[i].name);
    if (found == seen.enabled.end() || found->second != (static_cast<int>(i) == active))
      return false;
  }
  return true;
}

void NoteTrafficWrite(Context& c, const std::string& service, bool enabled) {
  v1::TrafficWrite* write = c.record().add_traffic_writes();
  write->set_service(service);
  write->set_enabled(enabled);
  write->set_sent_ms(c.wall_ms());
  write->set_epoch(c.record().epoch());
  auto* writes = c.record().mutable_traffic_writes();
  if (writes->size() > kMaxWrites) writes->DeleteSubrange(0, writes->size() - kMaxWrites);
  c.Persist();
}

void HastenTrafficRead(Context& c) { c.seen().next_traffic_read = c.now.steady; }

void OnTrafficRead(Context& c, const TrafficRead& read) {
  Observed& seen = c.seen();
  if (read.call == 0 || (read.call != seen.traffic_call && read.call != seen.readback_call)) return;
  if (read.call == seen.traffic_call) seen.traffic_call = 0;
  const bool confirmed = c.ActiveIndex() >= 0;
  if (read.result.status != CallStatus::kOk) {
    seen.next_traffic_read = c.now.steady + kReadSoon;
    return;
  }
  const bool matched = seen.traffic_known && TrafficMatches(c);
  seen.traffic_known = true;
  seen.enabled = read.enabled;
  seen.traffic_problem = read.problem;
  seen.traffic_read = c.now.steady - read.took;  // what it shows may be as old as the request
  seen.traffic_read_wall = c.now.wall - read.took;
  const bool matches = TrafficMatches(c);
  seen.next_traffic_read = c.now.steady + (confirmed && matches ? kReadEvery : kReadSoon);
  if (!confirmed || IsOpen(c.record().failover())) return;
  if (matched && !matches) {
    c.History("traffic",
              absl::StrCat("the traffic layer does not agree with the roles: enabled is ",
                           EnabledNames(c), seen.traffic_problem.empty() ? "" : "; ",
                           seen.traffic_problem),
              "failed");
    c.Log(2, absl::StrCat("traffic mismatch: enabled is ", EnabledNames(c)));
  } else if (!matched && matches) {
    c.Log(0, "the traffic layer agrees with the roles");
  }
}

void OnSwitchPathChecked(Context& c, const SwitchPathChecked& check) {
  Observed& seen = c.seen();
  if (check.call != seen.path_call) return;
  seen.path_call = 0;
  const bool was_ok = seen.path_ok;
  seen.path_problem.clear();
  if (check.result.status != CallStatus::kOk) {
    seen.path_problem = Describe(check.result.error);
  } else if (check.token_left < kTokenLeft) {
    seen.path_problem =
        absl::StrCat("the token is valid for only ", absl::FormatDuration(check.token_left));
  } else if (check.read_took > kReadBudget) {
    seen.path_problem =
        absl::StrCat("reading the endpoint took ", absl::FormatDuration(check.read_took));
  }
  seen.path_ok = seen.path_problem.empty();
  if (seen.path_checked_once && was_ok != seen.path_ok) {
    c.Log(seen.path_ok ? 0 : 2,
          seen.path_ok ? "the switch path works again"
                       : absl::StrCat("the switch path is broken: ", seen.path_problem));
  }
  seen.path_checked_once = true;
  seen.path_checked = c.now.steady;
  seen.path_checked_wall = c.now.wall;
  seen.next_path_check = c.now.steady + (seen.path_ok ? kPathEvery : kPathSoon);
}

void OnFenceRead(Context& c, const FenceDone& fence) {
  Observed& seen = c.seen();
  if (fence.call != seen.fence_call) return;
  seen.fence_call = 0;
  if (fence.result.status != CallStatus::kOk) {
    seen.fence_problem = Describe(fence.result.error);
    seen.next_fence_read = c.now.steady + kPathSoon;
    return;
  }
  seen.fence_checked = true;
  seen.fence_found = fence.found;
  seen.fence_problem.clear();
  const std::string found = fence.found.has_value() ? fence.found->store_id : "";
  if (!found.empty() && found != c.record().store_id() && found != c.record().fence_adopted()) {
    seen.fence_problem =
        absl::StrCat("the storage holds a fence of epoch ", fence.found->epoch, ", term ",
                     fence.found->term, " that this store does not know");
    c.Log(2, seen.fence_problem);
  }
}

void AssignRoles(Context& c, int active, absl::string_view why, absl::string_view who) {
  v1::GroupRecord& record = c.record();
  const std::optional<Fence>& fence = c.seen().fence_found;
  uint64_t epoch = record.epoch(), term = record.term();
  if (fence.has_value() && fence->store_id != record.store_id()) {
    epoch = std::max(epoch, fence->epoch);
    term = std::max(term, fence->term + 1);
    record.set_fence_adopted(fence->store_id);
  }
  record.set_epoch(epoch + 1);
  record.set_term(term);
  CapRecoveryPoints(record, record.services(active).name());
  for (int i = 0; i < record.services_size(); ++i) {
    v1::ServiceRecord& service = c.Service(i);
    const bool was_active = service.role() == v1::ROLE_ACTIVE;
    if (i == active) {
      MakeActive(service);
    } else {
      service.set_role(v1::ROLE_STANDBY);
    }
    if (was_active && i != active) service.set_not_resynced(true);
  }
  record.set_roles_since_ms(c.wall_ms());
  record.set_roles_since_epoch(record.epoch());
  record.clear_outage();
  record.clear_approval();
  record.clear_traffic_writes();  // meant for other roles: no ground for a repair
  record.set_last_down_vote_ms(0);
  c.seen().dissent_since.clear();
  c.seen().last_down_vote = SteadyTime::InfinitePast();
  c.seen().active_up_since = SteadyTime::InfiniteFuture();
  c.History("roles", absl::StrCat(record.services(active).name(), " is active: ", why), "ok", "",
            who);
  c.Log(0, absl::StrCat("roles confirmed: ", record.services(active).name(), " is active"));
  HastenTrafficRead(c);
  c.again = true;
}

void AdvanceTraffic(Context& c) {
  Observed& seen = c.seen();
  if (c.config.storage.account.empty()) seen.fence_checked = true;
  const bool needs_fence = !seen.fence_checked;
  if (needs_fence && seen.fence_call == 0 && c.now.steady >= seen.next_fence_read) {
    v1::Storage storage;
    storage.set_account(c.config.storage.account);
    storage.set_container(c.config.storage.container);
    seen.fence_call = c.Emit(ReadFence{0, storage});
  }
  if (!c.config.has_traffic) return;
  if (seen.traffic_call == 0 && c.now.steady >= seen.next_traffic_read) {
    seen.traffic_call = c.Emit(ReadTraffic{});
  }
  if (seen.path_call == 0 && c.now.steady >= seen.next_path_check) {
    seen.path_call = c.Emit(CheckSwitchPath{});
  }
  if (seen.traffic_call == 0) c.WakeAt(seen.next_traffic_read);
  if (seen.path_call == 0) c.WakeAt(seen.next_path_check);
  if (c.ActiveIndex() < 0) {
    ConfirmRoles(c);
  } else if (seen.traffic_known && !TrafficMatches(c) && !IsOpen(c.record().failover())) {
    RepairLateWrite(c);
  }
}

}  // namespace failover::core
