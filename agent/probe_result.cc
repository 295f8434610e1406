#include "agent/probe_result.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "common/log.h"
#include "common/utf8.h"

namespace failover::agent {
namespace {

constexpr size_t kMaxError = 190;  // CutText may add an ellipsis of three bytes
constexpr size_t kMaxReportedServedBy = 250;
constexpr size_t kMaxReportedCnames = 8;
constexpr size_t kMaxName = 253;

std::string ForeignText(absl::string_view text, size_t max_bytes) {
  std::string clean = Redacted(ToValidUtf8(text.substr(0, 4 * max_bytes)));
  for (char& c : clean) {
    if (absl::ascii_iscntrl(static_cast<unsigned char>(c))) c = ' ';
  }
  return CutText(clean, max_bytes);
}

// Whole microseconds, 1 at least: 0 means "not reached".
int64_t Phase(SteadyTime from, SteadyTime to) {
  if (from == SteadyTime::InfinitePast() || to == SteadyTime::InfinitePast()) return 0;
  return std::max<int64_t>(1, absl::ToInt64Microseconds(to - from));
}

void SetAge(SteadyTime moment, SteadyTime now, google::protobuf::Duration& age) {
  const absl::Duration since = std::max(now - moment, absl::ZeroDuration());
  absl::Duration rest;
  age.set_seconds(absl::IDivDuration(since, absl::Seconds(1), &rest));
  age.set_nanos(static_cast<int32_t>(absl::ToInt64Nanoseconds(rest)));
}

void SetPhases(const ProbeStart& start, const Observation& seen, v1::Phases& phases) {
  const SteadyTime none = SteadyTime::InfinitePast();
  phases.set_resolve_us(Phase(seen.began, seen.resolved));
  phases.set_connect_us(Phase(seen.resolved, seen.connected));
  phases.set_tls_us(Phase(seen.connected, seen.tls_done));
  phases.set_processing_us(Phase(seen.sent, seen.first_byte));
  phases.set_transfer_us(seen.first_byte == none ? 0 : Phase(seen.first_byte, seen.done));
  phases.set_total_us(Phase(start.scheduled, seen.done));
}

}  // namespace

KeptResult BuildResult(const Target& target, const ProbeStart& start, const Observation& seen) {
  KeptResult kept;
  kept.scheduled = start.scheduled;
  kept.completed = seen.done;
  v1::ProbeResult& result = kept.result;
  result.set_target(target.id);
  result.set_success(seen.success);
  if (!seen.success) {
    result.set_failed_stage(seen.stage);
    result.set_timed_out(seen.timed_out);
    result.set_error(ForeignText(seen.error, kMaxError));
  }
  result.set_burst(start.burst);
  result.set_clock_jumped(seen.clock_jumped);
  result.set_http_status(seen.http_status);
  result.set_remote_address(seen.remote_address);
  for (size_t i = 0; i < seen.cname_chain.size() && i < kMaxReportedCnames; ++i) {
    result.add_cname_chain(ForeignText(seen.cname_chain[i], kMaxName));
  }
  result.set_served_by(ForeignText(seen.served_by, kMaxReportedServedBy));
  result.set_certificate_expiry_unix(seen.certificate_expiry_unix);
  SetPhases(start, seen, *result.mutable_phases());
  result.set_definition(target.definition);
  return kept;
}

const char* ResultLabel(const v1::ProbeResult& result) {
  if (result.success()) return "success";
  if (result.timed_out()) return "timeout";
  switch (result.failed_stage()) {
    case v1::PROBE_STAGE_RESOLVE:
    case v1::PROBE_STAGE_CONNECT:
      return "connect_error";
    case v1::PROBE_STAGE_TLS:
      return "tls_error";
    case v1::PROBE_STAGE_ASSERTION:
      return "assertion_failed";
    default:
      return "http_error";
  }
}

v1::ProbeResult WithAges(const KeptResult& kept, SteadyTime now) {
  v1::ProbeResult result = kept.result;
  SetAge(kept.scheduled, now, *result.mutable_start_age());
  SetAge(kept.completed, now, *result.mutable_complete_age());
  return result;
}

}  // namespace failover::agent
