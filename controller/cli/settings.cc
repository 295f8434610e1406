#include "controller/cli/settings.h"

#include <filesystem>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "apim_failover/v1/config.pb.h"
#include "common/config_file.h"
#include "common/proto.h"
#include "common/status_macros.h"

namespace failover::cli {
namespace {

absl::StatusOr<v1::CtlConfig> LoadFile(const std::string& path) {
  v1::CtlConfig config;
  if (path.empty()) return config;
  ASSIGN_OR_RETURN(const std::string text, ReadSmallFile(path));
  ConfigPlaces places;
  ConfigProblems problems(path);
  ParseYaml(text, config, places, problems);
  RETURN_IF_ERROR(problems.ToStatus());
  if (config.has_tls()) {  // paths count from the file's directory, as in the other programs' files
    const std::filesystem::path directory = std::filesystem::path(path).parent_path();
    for (std::string* file :
         {config.mutable_tls()->mutable_certificate_file(),
          config.mutable_tls()->mutable_key_file(), config.mutable_tls()->mutable_ca_file()}) {
      if (!file->empty()) *file = (directory / *file).lexically_normal().string();
    }
  }
  return config;
}

std::string Variable(const Environment& environment, const char* name) {
  const char* value = environment(name);
  return value == nullptr ? "" : value;
}

std::string First(std::string a, std::string b, const std::string& c) {
  return !a.empty() ? a : !b.empty() ? b : c;
}

}  // namespace

absl::StatusOr<Settings> ResolveSettings(const Args& args, const Environment& environment) {
  ASSIGN_OR_RETURN(
      const v1::CtlConfig file,
      LoadFile(First(args.Value("--config"), Variable(environment, "FAILOVERCTL_CONFIG"), "")));
  Settings settings;
  settings.controller = First(args.Value("--controller"),
                              Variable(environment, "FAILOVERCTL_CONTROLLER"), file.controller());
  settings.insecure = args.Has("--insecure");
  if (!settings.insecure) {
    settings.tls.certificate_file =
        First(args.Value("--tls-cert"), Variable(environment, "FAILOVERCTL_TLS_CERT"),
              file.tls().certificate_file());
    settings.tls.key_file =
        First(args.Value("--tls-key"), Variable(environment, "FAILOVERCTL_TLS_KEY"),
              file.tls().key_file());
    settings.tls.ca_file = First(args.Value("--tls-ca"),
                                 Variable(environment, "FAILOVERCTL_TLS_CA"), file.tls().ca_file());
    settings.controller_identity = file.tls().controller_identity();
  }
  const std::string format = args.Value("--output");
  settings.format = format == "json"   ? Format::kJson
                    : format == "yaml" ? Format::kYaml
                                       : Format::kTable;
  if (args.verb != nullptr && args.verb->id == VerbId::kSyncDiff)
    settings.timeout = absl::Seconds(55);
  if (args.Has("--timeout")) {
    ASSIGN_OR_RETURN(settings.timeout, ParseDuration(args.Value("--timeout")));
  }
  return settings;
}

absl::Status NeedController(const Settings& settings) {
  const std::string& address = settings.controller;
  if (address.empty()) {
    return absl::InvalidArgumentError(
        "found no controller; name it with --controller HOST:PORT, FAILOVERCTL_CONTROLLER, or "
        "`controller:` in the file of --config");
  }
  const size_t colon = address.rfind(':');
  int port = 0;
  if (colon == std::string::npos || colon == 0 ||
      !absl::SimpleAtoi(address.substr(colon + 1), &port) || port < 1 || port > 65535) {
    return absl::InvalidArgumentError(
        absl::StrCat("controller: found \"", address, "\"; allowed: HOST:PORT"));
  }
  std::string host = address.substr(0, colon);
  if (host.size() > 2 && host.front() == '[' && host.back() == ']')
    host = host.substr(1, host.size() - 2);
  if (settings.insecure) {
    if (IsLoopback(host)) return absl::OkStatus();
    return absl::InvalidArgumentError(absl::StrCat(
        "controller: found \"", address, "\" with --insecure; allowed: a loopback address"));
  }
  std::vector<std::string> missing;
  if (settings.tls.certificate_file.empty()) missing.emplace_back("--tls-cert");
  if (settings.tls.key_file.empty()) missing.emplace_back("--tls-key");
  if (settings.tls.ca_file.empty()) missing.emplace_back("--tls-ca");
  if (missing.empty()) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("found no ", absl::StrJoin(missing, ", "),
                   "; give them as flags, as FAILOVERCTL_TLS_CERT, _KEY and _CA, or in the file of "
                   "--config (or --insecure on loopback)"));
}

}  // namespace failover::cli
