#include <sys/prctl.h>
#include <sys/resource.h>

#include <csignal>
#include <cstdio>
#include <ctime>
#include <memory>
#include <string>
#include <vector>

#include "agent/app.h"
#include "agent/config.h"
#include "agent/flags.h"
#include "common/clock.h"
#include "common/log.h"

namespace {

using failover::agent::App;
using failover::agent::Config;
using failover::agent::Flags;

// Threads inherit the mask, so only SIGTERM's and SIGINT's wait below sees them.
sigset_t BlockSignals() {
  sigset_t ending;
  sigemptyset(&ending);
  sigaddset(&ending, SIGTERM);
  sigaddset(&ending, SIGINT);
  pthread_sigmask(SIG_BLOCK, &ending, nullptr);
  signal(SIGPIPE, SIG_IGN);
  return ending;
}

// The private key is in memory (reliability.md R13).
void ForbidCoreDumps() {
  const rlimit none{0, 0};
  setrlimit(RLIMIT_CORE, &none);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
  prctl(PR_SET_DUMPABLE, 0);
#endif
}

int CheckConfig(const Flags& flags) {
  const absl::StatusOr<Config> config = failover::agent::LoadConfig(flags.config, flags.insecure);
  absl::Status status = config.status();
  if (config.ok()) status = CheckFiles(*config);
  if (!status.ok()) {
    std::fprintf(stderr, "%s\n", std::string(status.message()).c_str());
    return 1;
  }
  std::printf("%s: good; probe region %s, %d controller(s), assignment kept in %s\n",
              flags.config.c_str(), config->file.probe_region().c_str(),
              config->file.controllers_size(),
              config->file.assignment_file().empty() ? "memory only"
                                                     : config->file.assignment_file().c_str());
  return 0;
}

int Run(const Flags& flags) {
  const sigset_t ending = BlockSignals();
  ForbidCoreDumps();
  failover::InitLog("agent", flags.log_format, flags.log_level);
  absl::StatusOr<Config> config = failover::agent::LoadConfig(flags.config, flags.insecure);
  if (!config.ok()) {
    std::fprintf(stderr, "%s\n", std::string(config.status().message()).c_str());
    return 1;
  }
  absl::StatusOr<std::unique_ptr<App>> app =
      App::Start({*std::move(config), flags.insecure, &failover::RealClock()});
  if (!app.ok()) {
    failover::LogError("agent cannot start", {{"error", std::string(app.status().message())}});
    return 1;
  }
  const timespec tick{5, 0};
  int signal = -1;
  while ((signal = sigtimedwait(&ending, nullptr, &tick)) < 0) (*app)->Tick();
  failover::LogInfo("ending", {{"signal", signal}});
  app->reset();
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const absl::StatusOr<Flags> flags = failover::agent::ParseFlags({argv + 1, argv + argc});
  if (!flags.ok()) {
    std::fprintf(stderr, "failover-agent: %s\n", std::string(flags.status().message()).c_str());
    return 2;
  }
  switch (flags->action) {
    case Flags::Action::kHelp:
      std::fputs(failover::agent::kHelp, stdout);
      return 0;
    case Flags::Action::kVersion:
      std::puts("failover-agent " FAILOVER_VERSION);
      return 0;
    case Flags::Action::kCheckConfig:
      return CheckConfig(*flags);
    case Flags::Action::kRun:
      return Run(*flags);
  }
  return 2;
}
