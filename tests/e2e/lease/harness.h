#ifndef TESTS_E2E_LEASE_HARNESS_H_
#define TESTS_E2E_LEASE_HARNESS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "tests/e2e/system.h"
#include "tests/kubernetes_stub/api_server.h"

namespace failover::e2e {

// Both electors with 5/3/0.5 s and a request time-out of 1 s.
constexpr absl::Duration kDuration = absl::Seconds(5), kDeadline = absl::Seconds(3);
// A follower tries again after at most P · (1 + 1.2) = 1.1 s; the rest is a busy machine.
constexpr absl::Duration kTry = absl::Seconds(3);
constexpr char kLeases[] = "/apis/coordination.k8s.io/v1/namespaces/dr/leases";

// From a moment on until one, of CLOCK_BOOTTIME.
struct Interval {
  absl::Duration from, until;
};

// One elector as a process of its own, ours or that of client-go.
class Elector {
 public:
  enum Kind { kOurs, kOriginal };
  struct Line {
    absl::Duration at, until;
    std::string event, leader;
  };

  // The token is the identity: by it the server's log tells whose a request is.
  Elector(Kind kind, const KubernetesStub& stub, const std::string& identity,
          const std::string& lease);
  // Why the elector of client-go cannot be run; empty = it can.
  static std::string OriginalIsMissing();

  const std::string& identity() const { return identity_; }
  Process& process() { return process_; }
  std::vector<Line> Lines() const;
  // How often it has said so; of "leader" only that one.
  int Said(const std::string& event, const std::string& leader = "") const;
  bool Says(const std::string& event, int times, absl::Duration timeout,
            const std::string& leader = "") const;
  // When it said so first; InfiniteDuration = never.
  absl::Duration When(const std::string& event) const;

  void Kill();
  void Freeze();
  void Thaw();
  void Release();  // waits for its end

  // The times in which it led. Ours: to the last lead_until that it named, or to the end that it
  // said, whichever is earlier. Client-go's: to its end as it said it, or its last act. What it
  // still believes after it was frozen is left out: it looks at the clock of its Lease only at its
  // next renewal, and tells its user after R (kubernetes.md B5).
  std::vector<Interval> Terms() const;
  std::string Log() const;

 private:
  const Kind kind_;
  const std::string identity_;
  TempDir dir_;
  Process process_;
  absl::Duration frozen_ = absl::InfiniteDuration(), thawed_ = absl::InfiniteDuration();
};

// Now, by the same clock.
absl::Duration Boottime();

}  // namespace failover::e2e

#endif  // TESTS_E2E_LEASE_HARNESS_H_
