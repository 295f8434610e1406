#include "agent/config.h"

#include <set>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "common/config_file.h"
#include "common/status_macros.h"
#include "common/tls.h"

namespace failover::agent {
namespace {

constexpr int kMaxControllers = 8;
constexpr int kMaxReplicaNames = 4;
constexpr int kMaxResolvers = 4;
constexpr int kMaxAllowed = 256;
constexpr const char* kDefaultMetricsAddress = "127.0.0.1:9465";

bool IsRegionName(absl::string_view name) {
  if (name.empty() || name.size() > 63) return false;
  for (const char c : name) {
    if (!absl::ascii_islower(static_cast<unsigned char>(c)) &&
        !absl::ascii_isdigit(static_cast<unsigned char>(c)) && c != '-') {
      return false;
    }
  }
  return name.front() != '-' && name.back() != '-';
}

class Checker {
 public:
  Checker(Config& config, const ConfigPlaces& places, ConfigProblems& problems, bool insecure)
      : config_(config),
        file_(config.file),
        places_(places),
        problems_(problems),
        insecure_(insecure) {}

  void Check() {
    if (!IsRegionName(file_.probe_region())) {
      Found("probeRegion", file_.probe_region(),
            "1 to 63 lower-case letters, digits and dashes, as in the certificate");
    }
    CheckControllers();
    CheckTls();
    CheckAllowedHosts();
    CheckResolver();
    CheckAddresses();
  }

 private:
  void Found(absl::string_view path, absl::string_view value, absl::string_view allowed) {
    problems_.Add(places_, path,
                  absl::StrCat("found \"", value.substr(0, 200), "\"; allowed: ", allowed));
  }

  void CheckControllers() {
    const auto& controllers = file_.controllers();
    const auto& replicas = file_.controller_replicas();
    if (controllers.empty() && replicas.empty()) {
      problems_.Add(places_, "controllers",
                    "found no address here and none in controllerReplicas; allowed: at least one "
                    "HOST:PORT in either");
    }
    if (controllers.size() > kMaxControllers) {
      problems_.Add(places_, "controllers",
                    absl::StrCat("found ", controllers.size(), " addresses; allowed: at most ",
                                 kMaxControllers));
    }
    if (replicas.size() > kMaxReplicaNames) {
      problems_.Add(
          places_, "controllerReplicas",
          absl::StrCat("found ", replicas.size(), " names; allowed: at most ", kMaxReplicaNames));
    }
    std::set<std::string> seen;
    for (int i = 0; i < controllers.size(); ++i)
      CheckController(absl::StrCat("controllers[", i, "]"), controllers[i], seen);
    for (int i = 0; i < replicas.size(); ++i)
      CheckController(absl::StrCat("controllerReplicas[", i, "]"), replicas[i], seen);
  }

  void CheckController(const std::string& path, const std::string& address,
                       std::set<std::string>& seen) {
    std::string host;
    int port = 0;
    if (!SplitAddress(address, host, port) || port == 0) {
      Found(path, address, "HOST:PORT");
    } else if (insecure_ && !IsLoopback(host)) {
      Found(path, address, "with --insecure only loopback addresses (127.0.0.0/8, ::1, localhost)");
    } else if (!seen.insert(absl::AsciiStrToLower(address)).second) {
      Found(path, address, "each address once, in one of controllers and controllerReplicas");
    }
  }

  void CheckTls() {
    if (!file_.has_tls()) {
      if (!insecure_) {
        problems_.Add(places_, "tls",
                      "found nothing; allowed: certificateFile, keyFile and caFile (only "
                      "--insecure does without)");
      }
      return;
    }
    if (insecure_) {
      problems_.Add(places_, "tls", "found beside --insecure; allowed: one of them");
      return;
    }
    const v1::TlsConfig& tls = file_.tls();
    const std::pair<const char*, const std::string&> files[] = {
        {"tls.certificateFile", tls.certificate_file()},
        {"tls.keyFile", tls.key_file()},
        {"tls.caFile", tls.ca_file()}};
    for (const auto& [path, value] : files) {
      if (value.empty()) Found(path, value, "the path of a PEM file");
    }
    const std::string& identity = tls.controller_identity();
    if (!identity.empty() && !absl::StartsWith(identity, "spiffe://")) {
      Found("tls.controllerIdentity", identity,
            "spiffe://TRUST-DOMAIN/controller/NAME; a final * matches any rest");
    }
  }

  void CheckAllowedHosts() {
    if (file_.allowed_hosts_size() > kMaxAllowed) {
      problems_.Add(places_, "allowedHosts",
                    absl::StrCat("found ", file_.allowed_hosts_size(),
                                 " entries; allowed: at most ", kMaxAllowed));
    }
    for (int i = 0; i < file_.allowed_hosts_size(); ++i) {
      if (const absl::Status added = config_.allowed_hosts.Add(file_.allowed_hosts(i));
          !added.ok()) {
        problems_.Add(places_, absl::StrCat("allowedHosts[", i, "]"), added.message());
      }
    }
  }

  void CheckResolver() {
    const auto& servers = file_.resolver().servers();
    if (servers.size() > kMaxResolvers) {
      problems_.Add(
          places_, "resolver.servers",
          absl::StrCat("found ", servers.size(), " servers; allowed: at most ", kMaxResolvers));
    }
    for (int i = 0; i < servers.size(); ++i) {
      std::string host;
      int port = 53;
      const bool bare = ParseIp(servers[i]).has_value();
      if (bare) host = servers[i];
      if ((!bare && !SplitAddress(servers[i], host, port)) || port == 0 || !ParseIp(host)) {
        Found(absl::StrCat("resolver.servers[", i, "]"), servers[i],
              "IP:PORT, or an IP address for port 53");
        continue;
      }
      const bool v6 = absl::StrContains(host, ":");
      if (absl::StartsWith(host, "[")) host = host.substr(1, host.size() - 2);
      config_.resolver_servers.push_back(v6 ? absl::StrCat("[", host, "]:", port)
                                            : absl::StrCat(host, ":", port));
    }
  }

  void CheckAddresses() {
    const std::string& source = file_.source_address();
    if (!source.empty() && (!ParseIp(source) || absl::StartsWith(source, "["))) {
      Found("sourceAddress", source, "an IP address of this machine");
    }
    if (file_.metrics_address().empty()) file_.set_metrics_address(kDefaultMetricsAddress);
    std::string host;
    int port = 0;
    if (!SplitAddress(file_.metrics_address(), host, port)) {
      Found("metricsAddress", file_.metrics_address(), "HOST:PORT");
    }
  }

  Config& config_;
  v1::AgentConfig& file_;
  const ConfigPlaces& places_;
  ConfigProblems& problems_;
  const bool insecure_;
};

}  // namespace

bool SplitAddress(absl::string_view text, std::string& host, int& port) {
  const size_t colon = text.rfind(':');
  if (colon == text.npos || !absl::SimpleAtoi(text.substr(colon + 1), &port) || port < 0 ||
      port > 65535) {
    return false;
  }
  absl::string_view name = text.substr(0, colon);
  if (absl::StartsWith(name, "[") && absl::EndsWith(name, "]")) {
    name = name.substr(1, name.size() - 2);
    if (!ParseIp(name)) return false;
  } else if (absl::StrContains(name, ":")) {
    return false;
  }
  if (name.empty() || name.size() > 253) return false;
  for (const char c : name) {
    if (!absl::ascii_isalnum(static_cast<unsigned char>(c)) && !absl::StrContains(".-_:", c))
      return false;
  }
  host = std::string(name);
  return true;
}

absl::StatusOr<Config> ParseConfig(const std::string& file_name, absl::string_view text,
                                   bool insecure) {
  Config config;
  ConfigPlaces places;
  ConfigProblems problems(file_name);
  ParseYaml(text, config.file, places, problems);
  Checker(config, places, problems, insecure).Check();
  RETURN_IF_ERROR(problems.ToStatus());
  return config;
}

absl::StatusOr<Config> LoadConfig(const std::string& file_name, bool insecure) {
  ASSIGN_OR_RETURN(const std::string text, ReadSmallFile(file_name));
  ASSIGN_OR_RETURN(Config config, ParseConfig(file_name, text, insecure));
  // Every path of a file in the configuration, from the configuration's directory (as the
  // controller does).
  std::vector<std::string*> files = {config.file.mutable_ca_file(),
                                     config.file.mutable_assignment_file()};
  if (config.file.has_tls()) {
    v1::TlsConfig& tls = *config.file.mutable_tls();
    files.insert(files.end(),
                 {tls.mutable_certificate_file(), tls.mutable_key_file(), tls.mutable_ca_file()});
  }
  const size_t slash = file_name.rfind('/');
  for (std::string* file : files) {
    if (file->empty() || absl::StartsWith(*file, "/") || slash == std::string::npos) continue;
    *file = absl::StrCat(file_name.substr(0, slash + 1), *file);
  }
  return config;
}

absl::Status CheckFiles(const Config& config) {
  std::vector<std::string> problems;
  if (config.file.has_tls()) {
    const v1::TlsConfig& tls = config.file.tls();
    const absl::Status status =
        CheckTlsFiles({tls.certificate_file(), tls.key_file(), tls.ca_file()}, absl::Now());
    if (!status.ok()) problems.push_back(absl::StrCat("tls: ", status.message()));
  }
  if (!config.file.ca_file().empty()) {
    const absl::StatusOr<std::string> ca = ReadSmallFile(config.file.ca_file());
    if (!ca.ok()) {
      problems.push_back(absl::StrCat("caFile: ", ca.status().message()));
    } else if (!absl::StrContains(*ca, "-----BEGIN CERTIFICATE-----")) {
      problems.push_back(absl::StrCat("caFile: found no certificate in ", config.file.ca_file(),
                                      "; allowed: PEM certificates"));
    }
  }
  return problems.empty() ? absl::OkStatus()
                          : absl::InvalidArgumentError(absl::StrJoin(problems, "\n"));
}

}  // namespace failover::agent
