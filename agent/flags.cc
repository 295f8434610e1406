#include "agent/flags.h"

#include <map>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace failover::agent {

const char kHelp[] = R"(failover-agent: probes gateways and reports to the failover controllers

usage: failover-agent --config FILE [options]

  --config FILE         run with this configuration
  --check-config FILE   check it and the files it names; exit 0 when good, 1 when not
  --insecure            no TLS; loopback controllers only
  --log-format FORMAT   json (default) or text
  --log-level LEVEL     debug, info (default), warning or error
  --version             print the version
  --help                print this

The configuration is read once: changes need a restart. Certificate, key and CA files are reloaded
when they change. Targets come from the controller.
)";

absl::StatusOr<Flags> ParseFlags(const std::vector<std::string>& arguments) {
  static const auto& formats =
      *new std::map<std::string, LogFormat>{{"json", LogFormat::kJson}, {"text", LogFormat::kText}};
  static const auto& levels = *new std::map<std::string, LogLevel>{{"debug", LogLevel::kDebug},
                                                                   {"info", LogLevel::kInfo},
                                                                   {"warning", LogLevel::kWarning},
                                                                   {"error", LogLevel::kError}};
  Flags flags;
  for (size_t i = 0; i < arguments.size(); ++i) {
    const std::string& argument = arguments[i];
    const size_t equals = argument.find('=');
    const std::string name = argument.substr(0, equals);
    const bool plain =
        name == "--help" || name == "-h" || name == "--version" || name == "--insecure";
    const bool valued = name == "--config" || name == "--check-config" || name == "--log-format" ||
                        name == "--log-level";
    if (plain ? equals != std::string::npos : !valued) {
      return absl::InvalidArgumentError(
          absl::StrCat("found argument \"", argument.substr(0, 100), "\"; allowed: see --help"));
    }
    std::string value;
    if (valued && equals != std::string::npos) {
      value = argument.substr(equals + 1);
    } else if (valued && i + 1 < arguments.size()) {
      value = arguments[++i];
    }
    if (valued && value.empty()) {
      return absl::InvalidArgumentError(
          absl::StrCat("found ", name, " without a value; see --help"));
    }
    if (name == "--help" || name == "-h") {
      flags.action = Flags::Action::kHelp;
      return flags;
    }
    if (name == "--version") {
      flags.action = Flags::Action::kVersion;
      return flags;
    }
    if (name == "--insecure") flags.insecure = true;
    if (name == "--config" || name == "--check-config") {
      if (!flags.config.empty()) {
        return absl::InvalidArgumentError(
            absl::StrCat("found ", name, " besides another configuration; allowed: one"));
      }
      flags.config = value;
      if (name == "--check-config") flags.action = Flags::Action::kCheckConfig;
    }
    if (name == "--log-format") {
      const auto found = formats.find(value);
      if (found == formats.end()) {
        return absl::InvalidArgumentError(
            absl::StrCat("found --log-format \"", value, "\"; allowed: json, text"));
      }
      flags.log_format = found->second;
    }
    if (name == "--log-level") {
      const auto found = levels.find(value);
      if (found == levels.end()) {
        return absl::InvalidArgumentError(absl::StrCat("found --log-level \"", value,
                                                       "\"; allowed: debug, info, warning, error"));
      }
      flags.log_level = found->second;
    }
  }
  if (flags.config.empty()) {
    return absl::InvalidArgumentError(
        "found no configuration; allowed: --config FILE (see --help)");
  }
  return flags;
}

}  // namespace failover::agent
