#include <cstdio>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/string_view.h"
#include "common/log.h"
#include "controller/app.h"
#include "controller/config.h"

namespace {

constexpr char kHelp[] =
    R"(failover-controller: decides by quorum, keeps standby API Management services in step, moves traffic

  failover-controller --config FILE [--insecure] [--address-file FILE] [--log-format json|text] [--log-level LEVEL]
  failover-controller --check-config FILE [--insecure]
  failover-controller --help | --version

  --config FILE         configuration (YAML); watched, a valid change is put in force without a restart
  --check-config FILE   check a configuration, print what it promises, and exit 0 (valid) or 1
  --insecure            no TLS for agents and operators; every address must then be loopback
  --address-file FILE   write the opened addresses there as JSON (useful with port 0)
  --log-format FORMAT   json (default; one object a line on stderr) or text
  --log-level LEVEL     debug, info (default), warning or error
)";

int UsageError(const std::string& what) {
  std::fprintf(stderr, "failover-controller: %s; see --help\n", what.c_str());
  return 2;
}

int CheckConfig(const std::string& file, bool insecure) {
  const absl::StatusOr<failover::ControllerSettings> settings =
      failover::LoadControllerConfig(file, 1, insecure);
  if (!settings.ok()) {
    std::fprintf(stderr, "%s\n", std::string(settings.status().message()).c_str());
    return 1;
  }
  std::printf("%s: valid\n%s", file.c_str(), failover::ConfigReport(*settings).c_str());
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  failover::AppOptions options;
  std::string check;
  failover::LogFormat format = failover::LogFormat::kJson;
  failover::LogLevel level = failover::LogLevel::kInfo;
  for (int i = 1; i < argc; ++i) {
    const std::string flag = argv[i];
    if (flag == "--help" || flag == "-h") return std::fputs(kHelp, stdout) < 0;
    if (flag == "--version") return std::printf("failover-controller %s\n", FAILOVER_VERSION) < 0;
    if (flag == "--insecure") {
      options.insecure = true;
      continue;
    }
    if (!absl::StartsWith(flag, "--"))
      return UsageError("found \"" + flag + "\"; allowed: flags only");
    if (i + 1 >= argc) return UsageError(flag + " needs a value, or is unknown");
    const std::string value = argv[++i];
    if (flag == "--config") {
      options.config_file = value;
    } else if (flag == "--check-config") {
      check = value;
    } else if (flag == "--address-file") {
      options.address_file = value;
    } else if (flag == "--log-format" && (value == "json" || value == "text")) {
      format = value == "json" ? failover::LogFormat::kJson : failover::LogFormat::kText;
    } else if (flag == "--log-level" &&
               (value == "debug" || value == "info" || value == "warning" || value == "error")) {
      level = value == "debug"   ? failover::LogLevel::kDebug
              : value == "info"  ? failover::LogLevel::kInfo
              : value == "error" ? failover::LogLevel::kError
                                 : failover::LogLevel::kWarning;
    } else if (flag == "--log-format" || flag == "--log-level") {
      return UsageError("found " + flag + " \"" + value + "\"; allowed: " +
                        (flag == "--log-format" ? "json, text" : "debug, info, warning, error"));
    } else {
      return UsageError("found the unknown flag " + flag);
    }
  }
  if (!check.empty()) return CheckConfig(check, options.insecure);
  if (options.config_file.empty()) return UsageError("--config FILE is missing");
  failover::InitLog("controller", format, level);
  const absl::Status status = failover::RunController(options);
  if (status.ok()) return 0;
  failover::LogError("the controller cannot run", {{"error", status.message()}});
  return 1;
}
