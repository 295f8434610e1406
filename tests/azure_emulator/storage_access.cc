#include "tests/azure_emulator/storage_access.h"

#include "absl/strings/str_cat.h"

namespace failover::emulator {
namespace {

Failure Invalid(absl::string_view message) {
  return {400, "ValidationError", std::string(message)};
}

std::optional<Failure> CheckKey(const Service& service, const StorageAccount& account,
                                const StorageTarget& target, const std::string& denied) {
  if (!account.shared_key_access) {
    return Failure{400, denied,
                   absl::StrCat("Key based authentication is not permitted on storage account ",
                                account.name, ".")};
  }
  if (target.access_key != account.key) {
    return Failure{
        400, denied,
        absl::StrCat("The access key is not a key of storage account ", account.name, ".")};
  }
  if (account.firewall && account.region == service.region) {
    return Failure{400, denied,
                   absl::StrCat("Storage account ", account.name,
                                " has a firewall and is in the region of the service: ",
                                "an access key cannot pass.")};
  }
  if (account.firewall && !account.firewall_regions.contains(service.region)) {
    return Failure{400, denied,
                   absl::StrCat("The firewall of storage account ", account.name,
                                " does not let the region ", service.region, " in.")};
  }
  return std::nullopt;
}

std::optional<Failure> CheckIdentity(const World& world, const Service& service,
                                     const StorageAccount& account, const StorageTarget& target,
                                     const std::string& denied, absl::string_view otherwise) {
  const bool system = target.access_type == "SystemAssignedManagedIdentity";
  bool assigned = system && service.system_identity;
  for (const auto& [id, client] : service.user_identities) {
    assigned |= !system && client == target.client_id;
  }
  if (!assigned) {
    return Failure{400, ErrorCode(world, "identityMissing", otherwise),
                   system
                       ? absl::StrCat("Service ", service.name, " has no system assigned identity.")
                       : absl::StrCat("The identity with client id ", target.client_id,
                                      " is not assigned to service ", service.name, ".")};
  }
  if (!account.contributors.contains(system ? service.name : target.client_id)) {
    return Failure{
        400, denied,
        absl::StrCat("The identity has no permission on storage account ", account.name, ".")};
  }
  if (account.firewall && (!system || !account.trusted_services)) {
    return Failure{
        400, denied,
        absl::StrCat("The firewall of storage account ", account.name, " refuses the identity.")};
  }
  return std::nullopt;
}

}  // namespace

std::string ErrorCode(const World& world, absl::string_view failure, absl::string_view otherwise) {
  const auto it = world.switches.error_codes.find(std::string(failure));
  return it == world.switches.error_codes.end() ? std::string(otherwise) : it->second;
}

std::optional<Failure> ReadStorageTarget(const Request& request, absl::string_view api_version,
                                         StorageTarget& target) {
  Json body;
  if (const absl::Status parsed = ParseJson(request.body, body);
      !parsed.ok() || !body.is_object()) {
    return Failure{400, "InvalidRequestContent",
                   "The request content was invalid and could not be deserialized."};
  }
  const bool identities = api_version >= "2021-04-01";  // older versions know keys only
  for (const auto& [name, field] :
       {std::pair<const char*, std::string*>{"storageAccount", &target.account},
        {"containerName", &target.container},
        {"backupName", &target.blob},
        {"accessType", &target.access_type},
        {"accessKey", &target.access_key},
        {"clientId", &target.client_id}}) {
    const auto it = body.find(name);
    if (it == body.end() || it->is_null()) continue;
    if (!it->is_string()) return Invalid(absl::StrCat("Property ", name, " must be a string."));
    *field = it->get<std::string>();
  }
  if (!identities) target.access_type = "AccessKey";
  if (target.account.empty()) return Invalid("Property storageAccount is required.");
  if (target.container.empty()) return Invalid("Property containerName is required.");
  if (target.blob.empty()) return Invalid("Property backupName is required.");
  if (target.blob.size() > 1024) return Invalid("Property backupName is longer than 1024.");
  if (target.access_type == "AccessKey") {
    if (target.access_key.empty()) return Invalid("Property accessKey is required.");
  } else if (target.access_type == "UserAssignedManagedIdentity") {
    if (target.client_id.empty()) return Invalid("Property clientId is required.");
  } else if (target.access_type != "SystemAssignedManagedIdentity") {
    return Invalid(
        absl::StrCat("Property accessType has the unknown value '", target.access_type, "'."));
  }
  return std::nullopt;
}

std::optional<Failure> CheckStorageAccess(const World& world, const Service& service,
                                          const StorageTarget& target, absl::string_view verb) {
  const bool early = world.switches.storage_errors == "early";
  const std::string otherwise = early ? "InvalidParameters" : absl::StrCat(verb, "Failed");
  const std::string denied = ErrorCode(world, "storageDenied", otherwise);
  const auto it = world.accounts.find(target.account);
  if (it == world.accounts.end()) {
    return Failure{400, denied,
                   absl::StrCat("Storage account ", target.account, " could not be reached.")};
  }
  const StorageAccount& account = it->second;
  if (target.access_type == "AccessKey") {
    if (auto failure = CheckKey(service, account, target, denied)) return failure;
    return std::nullopt;
  }
  return CheckIdentity(world, service, account, target, denied, otherwise);
}

}  // namespace failover::emulator
