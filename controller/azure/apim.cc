#include "controller/azure/apim.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "controller/azure/arm.h"
#include "controller/azure/json.h"
#include "nlohmann/json.hpp"

namespace failover::azure {
namespace {

constexpr absl::string_view kIdentityVersion = "2021-04-01-preview";  // the first with accessType
constexpr absl::string_view kTiers[] = {"Developer", "Basic", "Standard", "Premium"};

std::string Refusal(const std::string& sku, const std::string& min_version,
                    absl::string_view api_version) {
  if (absl::EqualsIgnoreCase(sku, "Consumption"))
    return "the Consumption tier has no backup and restore";
  if (absl::EndsWithIgnoreCase(sku, "V2")) {
    return absl::StrCat("the v2 tiers have no backup and restore; its tier is ", sku);
  }
  if (std::none_of(std::begin(kTiers), std::end(kTiers),
                   [&](absl::string_view tier) { return absl::EqualsIgnoreCase(sku, tier); })) {
    return absl::StrCat("found tier \"", sku, "\"; allowed: ", absl::StrJoin(kTiers, ", "));
  }
  if (!min_version.empty() && api_version.substr(0, 10) < min_version) {  // versions are dates
    return absl::StrCat("it accepts api-version ", min_version, " or later; azure.apiVersion is ",
                        api_version);
  }
  return "";
}

std::map<std::string, HostBinding> ReadHosts(const Json& body) {
  std::map<std::string, HostBinding> hosts;
  const Json& list = At(body, {"properties", "hostnameConfigurations"});
  if (!list.is_array()) return hosts;
  const std::string own =
      absl::StrCat(absl::AsciiStrToLower(TextAt(body, {"name"})), ".azure-api.");
  for (const Json& item : list) {
    const std::string host = CleanText(absl::AsciiStrToLower(TextAt(item, {"hostName"})), 255);
    if (host.empty() || !absl::EqualsIgnoreCase(TextAt(item, {"type"}), "Proxy")) continue;
    if (absl::StartsWith(host, own)) continue;  // the default name of every service
    hosts[host] = {CleanText(TextAt(item, {"certificate", "thumbprint"}), 128),
                   CleanText(TextAt(item, {"certificate", "subject"}), 256),
                   CleanText(TextAt(item, {"certificate", "expiry"}), 64)};
  }
  return hosts;
}

}  // namespace

absl::StatusOr<std::string> StorageBody(absl::string_view api_version, const v1::Storage& storage,
                                        absl::string_view blob, absl::string_view access_key) {
  const bool key = storage.access().empty() || storage.access() == "AccessKey";
  Json body = {{"storageAccount", storage.account()},
               {"containerName", storage.container()},
               {"backupName", std::string(blob)}};
  if (key) body["accessKey"] = std::string(access_key);
  if (api_version < kIdentityVersion) {
    if (key) return Dump(body);
    return absl::InvalidArgumentError(absl::StrCat(
        "api-version ", api_version, " reaches storage with an access key only; found access ",
        storage.access(), "; allowed: AccessKey, or azure.apiVersion 2021-08-01 or later"));
  }
  body["accessType"] = key ? "AccessKey" : storage.access();
  if (storage.access() == "UserAssignedManagedIdentity") {
    body["clientId"] = storage.client_id();
  } else if (!key && storage.access() != "SystemAssignedManagedIdentity") {
    return absl::InvalidArgumentError(absl::StrCat(
        "found storage access \"", storage.access(),
        "\"; allowed: AccessKey, SystemAssignedManagedIdentity, UserAssignedManagedIdentity"));
  }
  return Dump(body);
}

ServiceDetails ReadService(const std::string& service, const HttpResponse& response,
                           absl::string_view api_version) {
  ServiceDetails details;
  core::ServiceFacts& facts = details.facts;
  facts.service = service;
  facts.error = ErrorOf(response);
  if (response.status != 200) return details;
  const absl::StatusOr<Json> body = ParseJson(response.body);
  if (!body.ok()) {
    facts.error.set_message(absl::StrCat("the answer to GET service: ", body.status().message()));
    return details;
  }
  const std::string state = CleanText(TextAt(*body, {"properties", "provisioningState"}), 64);
  const std::string target =
      CleanText(TextAt(*body, {"properties", "targetProvisioningState"}), 64);
  facts.sku = CleanText(TextAt(*body, {"sku", "name"}), 64);
  if (state.empty() || facts.sku.empty()) {
    facts.error.set_message(
        "the answer to GET service names no provisioningState or no sku: it is not a service");
    return details;
  }
  facts.error.Clear();
  facts.reachable = true;
  facts.idle = absl::EqualsIgnoreCase(state, "Succeeded") && target.empty();
  facts.state = target.empty() ? state : absl::StrCat(state, "/", target);
  facts.gateway_url = CleanText(TextAt(*body, {"properties", "gatewayUrl"}), 512);
  const std::string min_version =
      TextAt(*body, {"properties", "apiVersionConstraint", "minApiVersion"});
  facts.refused = Refusal(facts.sku, CleanText(min_version, 32), api_version);
  details.hosts = ReadHosts(*body);
  return details;
}

std::vector<std::string> ReadWorkspaces(const HttpResponse& response) {
  std::vector<std::string> names;
  if (response.status != 200) return names;
  const absl::StatusOr<Json> body = ParseJson(response.body);
  if (!body.ok()) return names;
  const Json& list = At(*body, {"value"});
  if (!list.is_array()) return names;
  for (const Json& item : list) names.push_back(CleanText(TextAt(item, {"name"}), 128));
  return names;
}

std::string RefusalForWorkspaces(const std::vector<std::string>& names) {
  if (names.empty()) return "";
  const size_t shown = std::min<size_t>(names.size(), 3);
  return absl::StrCat(
      "a service with workspaces has no backup and restore; it has ", names.size(), " (",
      absl::StrJoin(names.begin(), names.begin() + static_cast<std::ptrdiff_t>(shown), ", "),
      shown < names.size() ? ", …)" : ")");
}

std::vector<std::string> CompareHosts(const ServiceDetails& source, const ServiceDetails& standby) {
  std::vector<std::string> warnings;
  const std::string& name = standby.facts.service;
  for (const auto& [host, binding] : source.hosts) {
    const auto found = standby.hosts.find(host);
    if (found == standby.hosts.end()) {
      warnings.push_back(absl::StrCat(name, " lacks the host name ", host, " of ",
                                      source.facts.service,
                                      "; a backup does not carry host names"));
    } else if (!absl::EqualsIgnoreCase(binding.thumbprint, found->second.thumbprint)) {
      warnings.push_back(absl::StrCat(name, " binds another certificate to ", host, " (",
                                      found->second.thumbprint, ", expires ", found->second.expiry,
                                      ") than ", source.facts.service, " (", binding.thumbprint,
                                      ", expires ", binding.expiry, ")"));
    }
  }
  for (const auto& [host, binding] : standby.hosts) {
    if (!source.hosts.contains(host)) {
      warnings.push_back(absl::StrCat(name, " has the host name ", host, " that ",
                                      source.facts.service, " lacks"));
    }
  }
  return warnings;
}

}  // namespace failover::azure
