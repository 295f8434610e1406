#include "controller/cli/words.h"

#include <algorithm>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "controller/core/status.h"

namespace failover::cli {
namespace {

// "SYNC_STAGE_READ_BEFORE" without "SYNC_STAGE_" → "read before".
std::string Lower(const std::string& name, size_t prefix) {
  if (name.size() <= prefix) return "unknown";
  return absl::AsciiStrToLower(absl::StrReplaceAll(name.substr(prefix), {{"_", " "}}));
}

}  // namespace

std::string RoleWord(v1::Role role) { return Lower(v1::Role_Name(role), sizeof("ROLE_") - 1); }
std::string VoteWord(v1::Vote vote) {
  return vote == v1::VOTE_UP ? "up" : vote == v1::VOTE_DOWN ? "down" : "unknown";
}
std::string KindWord(v1::OperationKind kind) {
  return Lower(v1::OperationKind_Name(kind), sizeof("OPERATION_KIND_") - 1);
}
std::string OperationStateWord(v1::OperationState state) {
  return Lower(v1::OperationState_Name(state), sizeof("OPERATION_STATE_") - 1);
}
std::string SyncStageWord(v1::SyncStage stage) {
  return Lower(v1::SyncStage_Name(stage), sizeof("SYNC_STAGE_") - 1);
}
std::string RestoreStageWord(v1::RestoreStage stage) {
  return Lower(v1::RestoreStage_Name(stage), sizeof("RESTORE_STAGE_") - 1);
}

Tone ToneOfState(const std::string& state) {
  if (state == "healthy") return Tone::kGood;
  return state == "degraded" || state == "failed_over" || state == "paused" ? Tone::kWarn
                                                                            : Tone::kBad;
}

Tone ToneOfVerdict(const std::string& verdict) {
  return verdict == "up" ? Tone::kGood : verdict == "down" ? Tone::kBad : Tone::kWarn;
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

bool IsOpen(const v1::SyncRun& run) {
  return run.stage() != v1::SYNC_STAGE_UNSPECIFIED && run.stage() != v1::SYNC_STAGE_DONE &&
         run.stage() != v1::SYNC_STAGE_FAILED;
}

bool IsOpen(const v1::Failover& failover) {
  return failover.stage() >= v1::FAILOVER_STAGE_DECIDED &&
         failover.stage() <= v1::FAILOVER_STAGE_CONFIRMING;
}

bool NeedsOperator(const v1::Operation& operation) {
  return operation.state() == v1::OPERATION_STATE_NEEDS_OPERATOR;
}

std::string NotWorkedOn(const v1::GroupStatus& group) {
  for (const std::string& notice : group.notices()) {
    if (absl::StartsWith(notice, core::kNotWorkedOn))
      return notice.substr(sizeof(core::kNotWorkedOn) - 1);
  }
  return "";
}

const v1::ServiceStatus* FindService(const v1::GroupStatus& group, const std::string& name) {
  for (const v1::ServiceStatus& service : group.services()) {
    if (service.name() == name) return &service;
  }
  return nullptr;
}

int64_t Forecast(const v1::GroupStatus& group, const std::string& step) {
  for (const v1::StepForecast& forecast : group.forecasts()) {
    if (forecast.step() == step) return forecast.p95_ms();
  }
  return 0;
}

std::string ElapsedOf(int64_t elapsed_ms, int64_t expected_ms) {
  if (expected_ms <= 0) return Span(elapsed_ms);
  const double part = static_cast<double>(elapsed_ms) / static_cast<double>(expected_ms);
  // A bar at its end would promise an end that nobody has seen.
  return absl::StrCat(Span(elapsed_ms), " of about ", Span(expected_ms), " ",
                      Bar(std::min(part, 0.99), 20), part > 1 ? ", longer than usual" : "");
}

std::string SpanOrUnknown(int64_t ms) { return ms < 0 ? "unknown" : Span(ms); }

std::string ShortId(const std::string& identity) {
  const size_t slash = identity.rfind('/');
  if (!absl::StartsWith(identity, "spiffe://") || slash == std::string::npos)
    return Clean(identity);
  return Clean(identity.substr(slash + 1));
}

std::string Count(int64_t n, const std::string& noun) {
  return absl::StrCat(n, " ", noun, n == 1 ? "" : "s");
}

std::string RtoWords(const v1::Rto& rto) {
  if (rto.total_ms() <= 0) return "not known";
  std::vector<std::string> parts;
  const auto add = [&parts](const char* name, int64_t ms) {
    if (ms > 0) parts.push_back(absl::StrCat(name, " ", Span(ms)));
  };
  add("detect", rto.detect_ms());
  add("decide", rto.decide_ms());
  add("switch", rto.switch_ms());
  add("visible", rto.visible_ms());
  std::string words = Span(rto.total_ms());
  if (!parts.empty()) absl::StrAppend(&words, " = ", absl::StrJoin(parts, " + "));
  if (rto.width_ms() > 0) absl::StrAppend(&words, "; start known within ", Span(rto.width_ms()));
  return absl::StrCat(words, rto.to_switch_only() ? "; ends at the switch, not at a public answer"
                             : rto.proved()       ? "; proved by servedBy"
                                                  : "; not proved by servedBy");
}

}  // namespace failover::cli
