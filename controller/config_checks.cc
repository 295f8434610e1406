#include "controller/config_checks.h"

#include <filesystem>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "common/http_client.h"
#include "common/tls.h"
#include "common/utf8.h"
#include "controller/config_values.h"
#include "re2/re2.h"

namespace failover {
namespace {

constexpr size_t kMaxPattern = 1000;
constexpr absl::string_view kNameAllowed =
    "1 to 63 of a-z, 0-9 and '-', beginning and ending with a letter or digit";

}  // namespace

absl::Duration FromProto(const google::protobuf::Duration& duration) {
  return absl::Seconds(duration.seconds()) + absl::Nanoseconds(duration.nanos());
}

google::protobuf::Duration ToProto(absl::Duration duration) {
  google::protobuf::Duration proto;
  absl::Duration rest;
  proto.set_seconds(absl::IDivDuration(duration, absl::Seconds(1), &rest));
  proto.set_nanos(static_cast<int32_t>(absl::ToInt64Nanoseconds(rest)));
  return proto;
}

ConfigChecker::ConfigChecker(std::string file, bool insecure, const ConfigPlaces& places,
                             ConfigProblems& problems)
    : directory_(std::filesystem::path(file).parent_path().string()),
      insecure_(insecure),
      places_(places),
      problems_(problems) {
  // A line of the report is FILE:LINE: PATH: found …; paths hold no ": ".
  const absl::Status status = problems.ToStatus();
  for (absl::string_view line : absl::StrSplit(status.message(), '\n', absl::SkipEmpty())) {
    if (!absl::ConsumePrefix(&line, absl::StrCat(file, ":"))) continue;
    line.remove_prefix(std::min(line.size(), line.find(": ") + 2));
    const size_t end = line.find(": found ");
    reported_.insert(end == absl::string_view::npos ? "" : std::string(line.substr(0, end)));
  }
}

// The path itself or a section that it stands in.
bool ConfigChecker::Reported(absl::string_view path) const {
  if (reported_.contains("")) return true;
  while (!path.empty()) {
    if (reported_.contains(std::string(path))) return true;
    const size_t cut = path.find_last_of(".[");
    path = cut == absl::string_view::npos ? absl::string_view() : path.substr(0, cut);
  }
  return false;
}

std::string ConfigChecker::Resolve(const std::string& path) const {
  if (path.empty()) return "";
  return (std::filesystem::path(directory_) / path).lexically_normal().string();
}

void ConfigChecker::Say(const std::string& path, absl::string_view what) {
  if (!Reported(path)) problems_.Add(places_, path, what);
}

void ConfigChecker::Wrong(const std::string& path, absl::string_view value,
                          absl::string_view allowed) {
  Say(path, absl::StrCat("found \"", CutText(value, 200), "\"; allowed: ", allowed));
}

void ConfigChecker::Missing(const std::string& path, absl::string_view allowed) {
  Say(path, absl::StrCat("found nothing; allowed: ", allowed));
}

bool ConfigChecker::Require(const std::string& path, absl::string_view value, bool ok,
                            absl::string_view allowed) {
  if (value.empty()) {
    Missing(path, allowed);
    return false;
  }
  if (!ok) Wrong(path, value, allowed);
  return ok;
}

void ConfigChecker::Name(const std::string& path, const std::string& value) {
  Require(path, value, IsName(value), kNameAllowed);
}

void ConfigChecker::Unique(const std::string& path, absl::string_view value, absl::string_view key,
                           std::map<std::string, std::string>& seen, absl::string_view allowed) {
  if (key.empty()) return;
  const auto [first, fresh] = seen.emplace(std::string(key), path);
  if (fresh) return;
  Say(path, absl::StrCat("found \"", CutText(value, 200), "\" again, as in ", first->second,
                         "; allowed: ", allowed));
}

void ConfigChecker::Range(const std::string& path, int64_t value, int64_t low, int64_t high) {
  if (value < low || value > high)
    Wrong(path, absl::StrCat(value), absl::StrCat(low, " to ", high));
}

void ConfigChecker::Range(const std::string& path, bool present,
                          const google::protobuf::Duration& value, absl::Duration low,
                          absl::Duration high) {
  if (!present) return;
  const absl::Duration duration = FromProto(value);
  if (duration >= low && duration <= high) return;
  Wrong(path, failover::FormatDuration(duration),
        absl::StrCat(failover::FormatDuration(low), " to ", failover::FormatDuration(high)));
}

void ConfigChecker::Url(const std::string& path, const std::string& value) {
  UrlParts parts;
  if (value.size() > 2048)
    return Say(path, "found a URL of more than 2048 bytes; allowed: at most 2048");
  const absl::Status status = ParseUrl(value, parts);
  if (!status.ok()) Say(path, status.message());
}

void ConfigChecker::Regex(const std::string& path, const std::string& value) {
  if (value.size() > kMaxPattern) {
    return Say(path,
               absl::StrCat("found ", value.size(),
                            " bytes; allowed: a regular expression of at most ", kMaxPattern));
  }
  const RE2 pattern(value, RE2::Quiet);
  if (!pattern.ok()) {
    Wrong(path, value,
          absl::StrCat("a regular expression in RE2's syntax (", pattern.error(), ")"));
  }
}

bool ConfigChecker::File(const std::string& path, const std::string& value, absl::string_view what,
                         std::string* content) {
  if (!Require(path, value, true, what)) return false;
  const absl::StatusOr<std::string> text = ReadSecretFile(Resolve(value));
  if (!text.ok()) {
    Say(path, absl::StrCat("found \"", CutText(value, 200), "\" (", text.status().message(),
                           "); allowed: ", what));
    return false;
  }
  if (content != nullptr) *content = *text;
  return true;
}

namespace {

struct Listener {
  std::string path, host;
  int port = 0;
};

void CheckAddress(const std::string& path, const std::string& given, int default_port,
                  std::vector<Listener>& listeners, ConfigChecker& check) {
  const std::string value = given.empty() ? DefaultAddress(check.insecure(), default_port) : given;
  Listener mine{path, "", 0};
  if (!ParseHostPort(value, mine.host, mine.port)) {
    return check.Wrong(path, value, "HOST:PORT, port 0 to 65535, an IPv6 address in brackets");
  }
  if (check.insecure() && !IsLoopback(mine.host)) {
    return check.Wrong(path, value,
                       "with --insecure a loopback address only: 127.0.0.1, [::1] or localhost");
  }
  for (const Listener& other : listeners) {
    const auto any = [](const std::string& host) { return host == "0.0.0.0" || host == "::"; };
    if (mine.port != 0 && mine.port == other.port &&
        (mine.host == other.host || any(mine.host) || any(other.host))) {
      check.Wrong(path, value, absl::StrCat("another address than ", other.path));
    }
  }
  listeners.push_back(std::move(mine));
}

void CheckTls(const v1::ControllerConfig& config, ConfigChecker& check) {
  if (!config.has_tls()) {
    if (!check.insecure())
      check.Missing("tls", "a section with certificateFile, keyFile and caFile (or --insecure)");
    return;
  }
  const v1::TlsConfig& tls = config.tls();
  check.File("tls.certificateFile", tls.certificate_file(),
             "a readable PEM file with the controller's certificate");
  check.File("tls.keyFile", tls.key_file(),
             "a readable PEM file with the certificate's private key");
  check.File("tls.caFile", tls.ca_file(),
             "a readable PEM file with the authority of agents and operators");
  if (!tls.controller_identity().empty()) {
    check.Wrong("tls.controllerIdentity", tls.controller_identity(),
                "nothing: agents and failoverctl say which controller they expect");
  }
}

// Credentials travel to these: plain HTTP only inside this machine, its link-local addresses
// included where `link_local` says so.
void CheckEndpoint(const std::string& path, const std::string& value, ConfigChecker& check,
                   bool link_local = false) {
  if (value.empty()) return;
  UrlParts parts;
  const absl::Status status = ParseUrl(value, parts);
  if (!status.ok()) return check.Say(path, status.message());
  if (parts.scheme == "http" && !IsLoopback(parts.host) &&
      !(link_local && absl::StartsWith(parts.host, "169.254."))) {
    check.Wrong(path, value,
                absl::StrCat("an https URL (http for a ", link_local ? "link-local or " : "",
                             "loopback address only)"));
  } else if (absl::StrContains(parts.path_and_query, '?')) {
    check.Wrong(path, value, "a URL without a query");
  }
}

void CheckCertificates(const std::string& path, const std::string& value, ConfigChecker& check) {
  std::string pem;
  if (value.empty() || !check.File(path, value, "a readable PEM file of certificates", &pem))
    return;
  if (!absl::StrContains(pem, "-----BEGIN CERTIFICATE-----")) {
    check.Wrong(path, value, "a PEM file with at least one certificate");
  }
}

// What azure.auth needs, after the environment has filled in what the file leaves out.
void CheckIdentity(const v1::AzureSpec& azure, ConfigChecker& check) {
  const bool workload = azure.auth() == v1::AZURE_AUTH_WORKLOAD_IDENTITY,
             managed = azure.auth() == v1::AZURE_AUTH_MANAGED_IDENTITY;
  const auto allowed = [&](absl::string_view what, absl::string_view variable) {
    return workload ? absl::StrCat(what, " (default: ", variable, " of the environment)")
                    : std::string(what);
  };
  if (!managed || !azure.tenant_id().empty()) {
    check.Require("azure.tenantId", azure.tenant_id(), IsDirectoryId(azure.tenant_id(), true),
                  allowed("the directory's id or domain", "AZURE_TENANT_ID"));
  }
  if (!managed || !azure.client_id().empty()) {
    check.Require("azure.clientId", azure.client_id(), IsDirectoryId(azure.client_id(), false),
                  allowed("letters, digits and '-'", "AZURE_CLIENT_ID"));
  }
  const auto file = [&](bool needed, const char* path, const std::string& value,
                        absl::string_view what, absl::string_view auth) {
    if (needed) {
      check.File(path, value, what);
    } else if (!value.empty()) {
      check.Wrong(path, value, absl::StrCat("nothing, except with auth: ", auth));
    }
  };
  file(!workload && !managed, "azure.clientSecretFile", azure.client_secret_file(),
       "a readable file with the client secret", "clientSecret");
  file(workload, "azure.federatedTokenFile", azure.federated_token_file(),
       allowed("a readable file with the pod's federated token", "AZURE_FEDERATED_TOKEN_FILE"),
       "workloadIdentity");
}

void CheckAzure(const v1::AzureSpec& azure, ConfigChecker& check) {
  CheckIdentity(azure, check);
  CheckEndpoint("azure.imdsEndpoint", azure.imds_endpoint(), check, /*link_local=*/true);
  CheckEndpoint("azure.armEndpoint", azure.arm_endpoint(), check);
  CheckEndpoint("azure.authorityEndpoint", azure.authority_endpoint(), check);
  if (const std::string& scope = azure.arm_scope(); !scope.empty()) {
    check.Require("azure.armScope", scope,
                  absl::EndsWith(scope, "/.default") && IsHeaderValue(scope) &&
                      !absl::StrContains(scope, ' '),
                  "a scope ending in /.default");
  }
  if (const std::string& blob = azure.blob_endpoint(); !blob.empty()) {
    if (!absl::StrContains(blob, "{account}")) {
      check.Wrong("azure.blobEndpoint", blob, "a URL with {account} in it");
    } else {
      CheckEndpoint("azure.blobEndpoint", absl::StrReplaceAll(blob, {{"{account}", "account"}}),
                    check);
    }
  }
  constexpr absl::string_view kVersion = "YYYY-MM-DD or YYYY-MM-DD-preview";
  for (const auto& [path, value] :
       {std::pair("azure.apiVersion", azure.api_version()),
        std::pair("azure.trafficManagerApiVersion", azure.traffic_manager_api_version())}) {
    if (!value.empty()) check.Require(path, value, IsApiVersion(value), kVersion);
  }
  CheckCertificates("azure.caFile", azure.ca_file(), check);
}

void CheckTiming(const v1::TimingSpec& timing, ConfigChecker& check) {
  constexpr absl::Duration kShort = absl::Milliseconds(1), kDay = absl::Hours(24);
  if (timing.has_verify_reads_per_second()) {
    check.Range("timing.verifyReadsPerSecond", timing.verify_reads_per_second(), 1, 1000);
  }
  check.Range("timing.ambiguityWait", timing.has_ambiguity_wait(), timing.ambiguity_wait(), kShort,
              kDay);
  check.Range("timing.ambiguityWatch", timing.has_ambiguity_watch(), timing.ambiguity_watch(),
              kShort, kDay);
  check.Range("timing.freezeHold", timing.has_freeze_hold(), timing.freeze_hold(), kShort, kDay);
  check.Range("timing.freezeThaw", timing.has_freeze_thaw(), timing.freeze_thaw(), kShort, kDay);
}

}  // namespace

std::string DefaultAddress(bool insecure, int port) {
  return absl::StrCat(insecure ? "127.0.0.1" : "0.0.0.0", ":", port);
}

void CheckController(const v1::ControllerConfig& config, ConfigChecker& check) {
  check.Name("controllerRegion", config.controller_region());
  std::vector<Listener> listeners;
  CheckAddress("agentAddress", config.agent_address(), kAgentPort, listeners, check);
  CheckAddress("operatorAddress", config.operator_address(), kOperatorPort, listeners, check);
  CheckAddress("metricsAddress", config.metrics_address(), kMetricsPort, listeners, check);
  CheckReplicas(config, check);
  CheckTls(config, check);
  CheckAzure(config.azure(), check);
  CheckTiming(config.timing(), check);
}

}  // namespace failover
