#include "controller/core/context.h"

#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace failover::core {
namespace {

constexpr int kMaxHistory = 500;
constexpr size_t kMaxHistoryText = 700;

}  // namespace

void Context::History(absl::string_view kind, std::string text, absl::string_view outcome,
                      absl::string_view reference, absl::string_view who) {
  v1::GroupRecord& r = record();
  const uint64_t sequence =
      r.history_size() == 0 ? 1 : r.history(r.history_size() - 1).sequence() + 1;
  v1::HistoryEntry* entry = r.add_history();
  entry->set_sequence(sequence);
  entry->set_at_ms(wall_ms());
  entry->set_term(r.term());
  entry->set_epoch(r.epoch());
  entry->set_kind(std::string(kind));
  if (text.size() > kMaxHistoryText) text = CutUtf8(text, kMaxHistoryText) + "…";
  entry->set_text(std::move(text));
  entry->set_outcome(std::string(outcome));
  entry->set_reference(std::string(reference));
  entry->set_who(CutUtf8(who, 200));
  if (r.history_size() > kMaxHistory)
    r.mutable_history()->DeleteSubrange(0, r.history_size() - kMaxHistory);
  Persist();
}

uint64_t Context::Random() {  // splitmix64
  uint64_t x = record().random_state() + 0x9e3779b97f4a7c15ull;
  record().set_random_state(x);
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
  return x ^ (x >> 31);
}

std::string Context::RandomId() { return absl::StrFormat("%016x", Random()); }

int Look::ActiveIndex() const {
  for (int i = 0; i < record().services_size(); ++i) {
    if (record().services(i).role() == v1::ROLE_ACTIVE) return i;
  }
  return -1;
}

v1::ServiceRecord* Context::FindService(const std::string& name) const {
  for (v1::ServiceRecord& service : *record().mutable_services()) {
    if (service.name() == name) return &service;
  }
  return nullptr;
}

void MakeActive(v1::ServiceRecord& service) {
  service.set_role(v1::ROLE_ACTIVE);
  service.set_content_unverified(false);
  service.set_not_resynced(false);
  service.set_adopted(false);
  service.clear_drift();
  service.clear_baseline();
  service.clear_kept_content();
  service.clear_recovery_point_ms();
  service.clear_confirmed_at_ms();
  service.clear_recovery_blob();
  service.clear_backup_expires_ms();
}

void CapRecoveryPoints(v1::GroupRecord& record, const std::string& active) {
  for (const v1::ServiceRecord& service : record.services()) {
    if (service.name() == active && service.recovery_point_ms() != 0 &&
        !service.content_unverified())
      return;
  }
  int64_t newest = 0;
  for (const v1::BackupRecord& backup : record.backups()) {
    if (backup.service() == active && backup.purpose() == "sync")
      newest = std::max(newest, backup.started_ms());
  }
  for (v1::ServiceRecord& service : *record.mutable_services()) {
    if (service.name() == active || service.recovery_point_ms() <= newest) continue;
    service.set_recovery_point_ms(newest);
    service.set_confirmed_at_ms(newest);
  }
}

std::string CutUtf8(absl::string_view text, size_t bytes) {
  if (text.size() <= bytes) return std::string(text);
  size_t end = bytes;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) --end;
  return std::string(text.substr(0, end));
}

bool IsOpen(const v1::Operation& operation) {
  switch (operation.state()) {
    case v1::OPERATION_STATE_PLANNED:
    case v1::OPERATION_STATE_SENDING:
    case v1::OPERATION_STATE_RUNNING:
    case v1::OPERATION_STATE_AMBIGUOUS:
    case v1::OPERATION_STATE_NEEDS_OPERATOR:
      return true;
    default:
      return false;
  }
}

bool IsOpen(const v1::Failover& failover) {
  return failover.stage() == v1::FAILOVER_STAGE_DECIDED ||
         failover.stage() == v1::FAILOVER_STAGE_ENABLING ||
         failover.stage() == v1::FAILOVER_STAGE_DISABLING ||
         failover.stage() == v1::FAILOVER_STAGE_CONFIRMING;
}

bool IsOpen(const v1::SyncRun& run) {
  return run.stage() != v1::SYNC_STAGE_UNSPECIFIED && run.stage() != v1::SYNC_STAGE_DONE &&
         run.stage() != v1::SYNC_STAGE_FAILED;
}

v1::Operation* OpenOperationOn(v1::GroupRecord& record, const std::string& service) {
  for (v1::Operation& operation : *record.mutable_operations()) {
    if (operation.service() == service && IsOpen(operation)) return &operation;
  }
  return nullptr;
}

const v1::Operation* OpenOperationOn(const v1::GroupRecord& record, const std::string& service) {
  for (const v1::Operation& operation : record.operations()) {
    if (operation.service() == service && IsOpen(operation)) return &operation;
  }
  return nullptr;
}

v1::Operation* FindOperation(v1::GroupRecord& record, const std::string& id) {
  for (v1::Operation& operation : *record.mutable_operations()) {
    if (operation.id() == id) return &operation;
  }
  return nullptr;
}

absl::Duration P95(std::vector<int64_t> ms) {
  if (ms.empty()) return absl::ZeroDuration();
  std::sort(ms.begin(), ms.end());
  return absl::Milliseconds(ms[(ms.size() * 95 + 99) / 100 - 1]);
}

absl::Duration P95(const v1::GroupRecord& record, v1::OperationKind kind) {
  for (const v1::Durations& durations : record.durations()) {
    if (durations.kind() == kind) return P95({durations.ms().begin(), durations.ms().end()});
  }
  return absl::ZeroDuration();
}

absl::Duration RpoNow(const v1::ServiceRecord& standby, absl::Time now) {
  if (standby.recovery_point_ms() == 0 || standby.content_unverified())
    return absl::InfiniteDuration();
  return std::max(absl::ZeroDuration(), now - absl::FromUnixMillis(standby.recovery_point_ms()));
}

v1::Rto RtoOf(const v1::Failover& failover) {
  // Each moment is at least the one before it: clocks may have been set in between.
  int64_t start =
      failover.last_good_ms() != 0 ? failover.last_good_ms() : failover.first_failed_ms();
  if (start == 0) start = failover.decided_ms();
  const int64_t down = std::max(start, failover.down_ms());
  const int64_t sent = std::max(down, failover.enable_sent_ms());
  const int64_t switched = std::max(sent, failover.switched_ms());
  const int64_t visible = std::max(switched, failover.visible_ms());
  v1::Rto rto;
  rto.set_detect_ms(down - start);
  rto.set_decide_ms(sent - down);
  rto.set_switch_ms(switched - sent);
  rto.set_visible_ms(visible - switched);
  rto.set_total_ms(visible - start);
  rto.set_width_ms(
      failover.last_good_ms() == 0
          ? 0
          : std::max<int64_t>(0, failover.first_failed_ms() - failover.last_good_ms()));
  rto.set_proved(failover.proved());
  rto.set_to_switch_only(failover.visible_ms() == 0);
  return rto;
}

std::string Describe(const v1::AzureError& error) {
  std::string text = error.http_status() != 0 ? absl::StrCat("HTTP ", error.http_status()) : "";
  if (!error.code().empty()) absl::StrAppend(&text, text.empty() ? "" : " ", error.code());
  if (!error.message().empty()) absl::StrAppend(&text, text.empty() ? "" : ": ", error.message());
  if (!error.request_id().empty())
    absl::StrAppend(&text, " (x-ms-request-id ", error.request_id(), ")");
  return text.empty() ? "no details" : text;
}

std::string FormatMs(int64_t ms) {
  return absl::FormatTime("%Y-%m-%dT%H:%M:%SZ", absl::FromUnixMillis(ms), absl::UTCTimeZone());
}

}  // namespace failover::core
