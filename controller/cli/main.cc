#include <cstdlib>

#include "common/log.h"
#include "controller/cli/run.h"

int main(int argc, char** argv) {
  failover::InitLog("failoverctl", failover::LogFormat::kText, failover::LogLevel::kError);
  return failover::cli::Run(
      {argv + 1, argv + argc}, [](const char* name) { return std::getenv(name); },
      failover::cli::RealIo());
}
