// The APIM service as a resource: its identity card and what may be asked of it (azure.md §2).
#include <cstring>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/digest.h"
#include "tests/azure_emulator/arm.h"
#include "tests/azure_emulator/content.h"

namespace failover::emulator {
namespace {

std::string ServiceEtag(const Service& service) {
  std::string bytes(8, '\0');
  for (int i = 0; i < 8; ++i) bytes[7 - i] = static_cast<char>(service.etag >> (8 * i));
  return Base64(bytes);
}

Json IdentityDocument(const World& world, const Service& service) {
  if (!service.system_identity && service.user_identities.empty()) return nullptr;
  Json identity;
  identity["type"] = !service.system_identity          ? "UserAssigned"
                     : service.user_identities.empty() ? "SystemAssigned"
                                                       : "SystemAssigned, UserAssigned";
  if (service.system_identity) {
    identity["principalId"] =
        absl::StrCat("00000000-0000-4000-8000-", Sha256Hex(service.Id()).substr(0, 12));
    identity["tenantId"] = world.clients.empty() ? "" : world.clients.begin()->second.tenant;
  }
  for (const auto& [id, client] : service.user_identities) {
    identity["userAssignedIdentities"][id] = {{"clientId", client}, {"principalId", client}};
  }
  return identity;
}

Json HostNames(const Service& service) {
  Json list = Json::array();
  const auto add = [&](const std::string& name, bool is_default, absl::string_view source) {
    list.push_back({{"type", "Proxy"},
                    {"hostName", name},
                    {"encodedCertificate", nullptr},
                    {"keyVaultId", nullptr},
                    {"certificatePassword", nullptr},
                    {"negotiateClientCertificate", false},
                    {"certificate", nullptr},
                    {"defaultSslBinding", is_default},
                    {"identityClientId", nullptr},
                    {"certificateSource", std::string(source)},
                    {"certificateStatus", nullptr}});
  };
  add(absl::StrCat(service.name, ".azure-api.net"), service.host_names.empty(), "BuiltIn");
  for (size_t i = 0; i < service.host_names.size(); ++i) {
    add(service.host_names[i], i + 1 == service.host_names.size(), "Custom");
  }
  return list;
}

Answer SyncState(const World& world, const Service& service) {
  if (world.switches.sync_state == "notFound") {
    return ArmError(404, "ResourceNotFound", "Git repository is not enabled.");
  }
  const absl::Time changed =
      world.switches.sync_state == "frozen" ? service.created : service.configuration_changed;
  return JsonAnswer(200, {{"id", absl::StrCat(service.Id(), "/tenant/configuration/syncState")},
                          {"type", "Microsoft.ApiManagement/service/tenant/syncState"},
                          {"name", "syncState"},
                          {"properties",
                           {{"branch", "master"},
                            {"commitId", nullptr},
                            {"isExport", false},
                            {"isSynced", false},
                            {"isGitEnabled", true},
                            {"syncDate", "0001-01-01T00:00:00"},
                            {"configurationChangeDate", IsoTime(changed)},
                            {"lastOperationId", nullptr}}}});
}

Answer ReadService(const World& world, const Service& service) {
  Answer answer = JsonAnswer(200, ServiceDocument(world, service));
  answer.Set("ETag", absl::StrCat("\"", ServiceEtag(service), "\""));
  return answer;
}

Answer Workspaces(const Service& service) {
  Json value = Json::array();
  for (const std::string& name : service.workspaces) {
    value.push_back({{"id", absl::StrCat(service.Id(), "/workspaces/", name)},
                     {"type", "Microsoft.ApiManagement/service/workspaces"},
                     {"name", name},
                     {"properties", {{"displayName", name}, {"description", nullptr}}}});
  }
  return JsonAnswer(200, {{"value", value}, {"count", value.size()}});
}

}  // namespace

std::string Service::Id() const {
  return absl::StrCat("/subscriptions/", subscription, "/resourceGroups/", resource_group,
                      "/providers/Microsoft.ApiManagement/service/", name);
}

std::string Service::ConfigurationVersion() const {
  return absl::StrFormat("%016x-%d", configuration_hash, entities.size());
}

Json ServiceDocument(const World& world, const Service& service) {
  const bool busy = !service.operation.empty() && !world.switches.busy_state.empty();
  const std::string lower = absl::AsciiStrToLower(service.name);
  Json p = {
      {"publisherEmail", "admin@contoso.com"},
      {"publisherName", "Contoso"},
      {"notificationSenderEmail", "apimgmt-noreply@mail.windowsazure.com"},
      {"provisioningState", busy ? world.switches.busy_state : service.provisioning_state},
      {"targetProvisioningState", busy ? world.switches.busy_target_state : ""},
      {"createdAtUtc", IsoTime(service.created)},
      {"gatewayUrl", absl::StrCat("https://", lower, ".azure-api.net")},
      {"gatewayRegionalUrl",
       absl::StrCat("https://", lower, "-", service.region, "-01.regional.azure-api.net")},
      {"portalUrl", absl::StrCat("https://", lower, ".portal.azure-api.net")},
      {"developerPortalUrl", absl::StrCat("https://", lower, ".developer.azure-api.net")},
      {"managementApiUrl", absl::StrCat("https://", lower, ".management.azure-api.net")},
      {"scmUrl", absl::StrCat("https://", lower, ".scm.azure-api.net")},
      {"hostnameConfigurations", HostNames(service)},
      {"publicIPAddresses", Json::array({"192.0.2.10"})},
      {"privateIPAddresses", nullptr},
      {"additionalLocations", nullptr},
      {"virtualNetworkConfiguration", nullptr},
      {"customProperties", service.custom_properties},
      {"virtualNetworkType", "None"},
      {"certificates", nullptr},
      {"disableGateway", false},
      {"natGatewayState", "Unsupported"},
      {"outboundPublicIPAddresses", Json::array({"192.0.2.10"})},
      {"apiVersionConstraint",
       {{"minApiVersion",
         service.min_api_version.empty() ? Json(nullptr) : Json(service.min_api_version)}}},
      {"publicNetworkAccess", "Enabled"},
      {"publicIpAddressId", nullptr},
      {"privateEndpointConnections", nullptr},
      {"platformVersion", "stv2"},
  };
  return {{"id", service.Id()},
          {"name", service.name},
          {"type", "Microsoft.ApiManagement/service"},
          {"tags", service.tags},
          {"location", DisplayRegion(service.region)},
          {"etag", ServiceEtag(service)},
          {"properties", std::move(p)},
          {"sku", {{"name", service.sku}, {"capacity", service.capacity}}},
          {"identity", IdentityDocument(world, service)},
          {"zones", nullptr},
          {"systemData", {{"createdAt", IsoTime(service.created)}, {"createdByType", "User"}}}};
}

std::string ServiceAction(const Request& request, const std::vector<std::string>& rest) {
  std::string action = "Microsoft.ApiManagement/service/";
  const bool read = request.method == "GET" || request.method == "HEAD";
  if (request.method == "POST" && !rest.empty()) {
    for (size_t i = 0; i < rest.size(); ++i) {
      if (i % 2 == 0) absl::StrAppend(&action, rest[i], "/");
    }
    if (rest.size() % 2 == 0) absl::StrAppend(&action, rest.back(), "/");
    return absl::StrCat(action, "action");
  }
  if (rest.size() == 3 && absl::EqualsIgnoreCase(rest[0], "tenant")) {
    return absl::StrCat(action, "tenant/", rest[2], "/", read ? "read" : "write");
  }
  for (size_t i = 0; i < rest.size(); i += 2) absl::StrAppend(&action, rest[i], "/");
  return absl::StrCat(action, read ? "read" : request.method == "DELETE" ? "delete" : "write");
}

Answer HandleService(World& world, const Request& request, Service& service,
                     const std::vector<std::string>& rest, LogEntry& entry, absl::Time now) {
  const bool read = request.method == "GET" || request.method == "HEAD";
  if (rest.empty()) {
    return read ? ReadService(world, service) : StartUpdate(world, request, service, entry, now);
  }
  const std::string first = absl::AsciiStrToLower(rest[0]);
  if (rest.size() == 1 && first == "backup" && request.method == "POST") {
    return StartBackup(world, request, service, entry, now);
  }
  if (rest.size() == 1 && first == "restore" && request.method == "POST") {
    return StartRestore(world, request, service, entry, now);
  }
  if (rest.size() == 2 && first == "operationresults" && read) {
    entry.operation_id = rest[1];
    return PollOperation(world, request, service, rest[1], now);
  }
  if (rest.size() == 3 && first == "tenant" && absl::EqualsIgnoreCase(rest[2], "syncState") &&
      read) {
    return SyncState(world, service);
  }
  if (rest.size() == 1 && first == "workspaces" && read) return Workspaces(service);
  const uint64_t before = service.configuration_hash;
  const uint64_t versions = world.versions;
  Answer answer = HandleEntities(world, service, request, rest, now);
  entry.applied = service.configuration_hash != before || world.versions != versions;
  return answer;
}

Answer CreateService(World& world, const Request& request, const std::string& subscription,
                     const std::string& resource_group, const std::string& name, LogEntry& entry,
                     absl::Time now) {
  const std::string key = absl::AsciiStrToLower(name);
  if (world.soft_deleted.contains(key)) {
    return ArmError(
        409, "ServiceAlreadyExistsInSoftDeletedState",
        absl::StrCat("Api service ", name,
                     " was soft-deleted. In order to create the new service with the "
                     "same name, you have to either undelete the service or purge it."));
  }
  Json body;
  if (const absl::Status parsed = ParseJson(request.body, body);
      !parsed.ok() || !body.is_object() || !body.contains("location") ||
      !body["location"].is_string()) {
    return ArmError(400, "InvalidRequestContent", "The request must name a location.");
  }
  Service service;
  service.subscription = subscription;
  service.resource_group = resource_group;
  service.name = name;
  for (const char c : body["location"].get<std::string>()) {
    if (c != ' ') service.region.push_back(absl::ascii_tolower(c));
  }
  service.created = now;
  service.etag = ++world.versions;
  service.system_identity = false;
  Service& stored = world.services.emplace(key, std::move(service)).first->second;
  FillPristine(world, stored, now);
  Answer answer = StartUpdate(world, request, stored, entry, now);
  if (answer.status >= 400) world.services.erase(key);
  return answer;
}

}  // namespace failover::emulator
