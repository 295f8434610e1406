// Our elector alone, as a process: the counterpart of tests/tools/client_go/main.go, with the same
// flags and the same lines, one JSON object each on standard output. "at" and "until" are
// nanoseconds of CLOCK_BOOTTIME.
#include <csignal>
#include <cstdio>
#include <map>
#include <string>

#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "common/clock.h"
#include "common/mutex.h"
#include "controller/kubernetes/lease_keeper.h"
#include "nlohmann/json.hpp"

namespace failover::kubernetes {
namespace {

int64_t Nanoseconds(SteadyTime time) { return absl::ToInt64Nanoseconds(time.since_epoch); }

void Say(const std::string& event, nlohmann::json line = {}) {
  static Mutex printing;
  MutexLock lock(printing);
  line["at"] = Nanoseconds(RealClock().Steady());
  line["event"] = event;
  std::printf("%s\n", line.dump().c_str());
  std::fflush(stdout);
}

int Run(std::map<std::string, std::string> flags) {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  const auto time = [&flags](const char* name, absl::Duration& into) {
    if (!absl::ParseDuration(flags[name], &into))
      std::fprintf(stderr, "found --%s=%s; allowed: a duration\n", name, flags[name].c_str());
  };
  LeaseKeeperOptions options;
  options.server = {flags["server"], flags["namespace"], flags["token-file"], flags["ca-file"]};
  options.lease_name = flags["lease"];
  options.identity = flags["identity"];
  time("lease-duration", options.times.duration);
  time("renew-deadline", options.times.renew_deadline);
  time("retry-period", options.times.retry_period);
  time("request-timeout", options.times.request_timeout);
  options.clock = &RealClock();
  options.callbacks.started = [](const Term& term) {
    Say("started", {{"until", Nanoseconds(term.lead_until)}});
  };
  options.callbacks.ended = [](const Term&, const std::string& why) {
    Say("ended", {{"why", why}});
  };
  options.callbacks.new_leader = [](const std::string& leader) {
    Say("leader", {{"leader", leader}});
  };
  absl::StatusOr<std::unique_ptr<LeaseKeeper>> keeper = LeaseKeeper::Start(std::move(options));
  if (!keeper.ok()) {
    std::fprintf(stderr, "%s\n", keeper.status().ToString().c_str());
    return 1;
  }
  SteadyTime told = SteadyTime::InfinitePast();
  const timespec pace = {0, 5'000'000};
  while (sigtimedwait(&signals, nullptr, &pace) != SIGTERM) {
    const LeaseState state = (*keeper)->State();
    if (!state.leading) continue;
    if (told < state.term.lead_until) {
      told = state.term.lead_until;
      Say("renewed", {{"until", Nanoseconds(told)}});
    }
    if ((*keeper)->MayAct(state.term.number)) Say("act");
  }
  (*keeper)->Release();
  return 0;
}

}  // namespace
}  // namespace failover::kubernetes

int main(int argc, char** argv) {
  std::map<std::string, std::string> flags;
  for (int i = 1; i < argc; ++i) {
    const std::pair<std::string, std::string> flag =
        absl::StrSplit(absl::StripPrefix(argv[i], "--"), absl::MaxSplits('=', 1));
    flags.insert(flag);
  }
  return failover::kubernetes::Run(std::move(flags));
}
