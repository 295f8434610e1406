#ifndef AGENT_PROBE_RESULT_H_
#define AGENT_PROBE_RESULT_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "agent/target.h"
#include "apim_failover/v1/agent.pb.h"
#include "common/proto.h"
#include "common/steady_time.h"

namespace failover::agent {

// Everything seen of one probe, as plain data; BuildResult turns it into what is reported.
struct Observation {
  bool success = false;
  v1::ProbeStage stage = v1::PROBE_STAGE_RESOLVE;  // reached; of a failed probe: where it failed
  bool timed_out = false;
  bool clock_jumped = false;
  int http_status = 0;
  std::string error;  // any bytes
  std::string remote_address;
  std::vector<std::string> cname_chain;
  std::string served_by;  // any bytes
  int64_t certificate_expiry_unix = 0;
  // When each phase ended; InfinitePast = not reached (or, on a kept connection, not needed).
  SteadyTime began = SteadyTime::InfinitePast();
  SteadyTime resolved = SteadyTime::InfinitePast();
  SteadyTime connected = SteadyTime::InfinitePast();
  SteadyTime tls_done = SteadyTime::InfinitePast();
  SteadyTime sent = SteadyTime::InfinitePast();
  SteadyTime first_byte = SteadyTime::InfinitePast();
  SteadyTime done = SteadyTime::InfinitePast();
};

// A completed probe, as kept for five minutes. Ages are filled in at every send (design.md §5.1).
struct KeptResult {
  SteadyTime scheduled;
  SteadyTime completed;
  v1::ProbeResult result;
};

// Everything but the sequence number. Foreign text is cut, made valid UTF-8 and redacted.
KeptResult BuildResult(const Target& target, const ProbeStart& start, const Observation& seen);

// The metric's word for a result: success, timeout, connect_error, tls_error, http_error,
// assertion_failed.
const char* ResultLabel(const v1::ProbeResult& result);
inline constexpr const char* kResultLabels[] = {"success",   "timeout",    "connect_error",
                                                "tls_error", "http_error", "assertion_failed"};

// `kept` as it is sent at `now`.
v1::ProbeResult WithAges(const KeptResult& kept, SteadyTime now);

}  // namespace failover::agent

#endif  // AGENT_PROBE_RESULT_H_
