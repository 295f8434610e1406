#include <grpc/support/log.h>
#include <signal.h>

#include <algorithm>
#include <cstdlib>

#include "common/log.h"
#include "controller/cli/run.h"

int main(int argc, char** argv) {
  signal(SIGPIPE, SIG_IGN);  // an order that was begun is seen through, whoever reads along
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  const bool watches = std::any_of(
      arguments.begin(), arguments.end(),
      [](const std::string& argument) { return argument == "-w" || argument == "--watch"; });
  // A line of the log would tear the screen that is redrawn in place.
  failover::InitLog("failoverctl", failover::LogFormat::kText,
                    watches ? failover::LogLevel::kError : failover::LogLevel::kWarning);
  gpr_set_log_function([](gpr_log_func_args*) {});  // its errors come with the call's status
  return failover::cli::Run(
      arguments, [](const char* name) { return std::getenv(name); }, failover::cli::RealIo());
}
