#ifndef AGENT_FLAGS_H_
#define AGENT_FLAGS_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/log.h"

namespace failover::agent {

struct Flags {
  enum class Action { kRun, kCheckConfig, kHelp, kVersion };
  Action action = Action::kRun;
  std::string config;
  bool insecure = false;
  LogFormat log_format = LogFormat::kJson;
  LogLevel log_level = LogLevel::kInfo;
};

// Without the program's name. Values as --flag=VALUE or --flag VALUE. Errors name the argument and
// what is allowed.
absl::StatusOr<Flags> ParseFlags(const std::vector<std::string>& arguments);

extern const char kHelp[];

}  // namespace failover::agent

#endif  // AGENT_FLAGS_H_
