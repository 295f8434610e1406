// What happens by itself as time passes.
#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "tests/azure_emulator/arm.h"
#include "tests/azure_emulator/backup_content.h"
#include "tests/azure_emulator/storage_access.h"

namespace failover::emulator {
namespace {

void Fail(Operation& operation, int status, absl::string_view code, absl::string_view message) {
  operation.error_status = status;
  operation.error_code = std::string(code);
  operation.error_message = std::string(message);
}

bool IsFailing(const Operation& operation) {
  return operation.fault.kind == "fail" || operation.fault.kind == "failPartial";
}

void FailAsPlanned(Operation& operation, const World& world) {
  const std::string code =
      operation.fault.code.empty()
          ? ErrorCode(world, "activationFailed", absl::StrCat(operation.verb, "Failed"))
          : operation.fault.code;
  const std::string message = operation.fault.message.empty()
                                  ? absl::StrCat(operation.verb, " did not succeed.")
                                  : operation.fault.message;
  Fail(operation, operation.fault.status, code, message);
}

// Half-way through: the snapshot of a backup, the replacement by a restore.
void Work(World& world, Service& service, Operation& operation) {
  operation.worked = true;
  const absl::Time at = operation.work_at;
  if (operation.error_status != 0) return;
  if (operation.verb == "Backup") {
    operation.payload = EncodeBackup(Snapshot(service, operation.api_version, at));
  } else if (operation.verb == "Restore") {
    Json entities;
    if (auto bad = ReadBackup(world, service, operation.account, operation.container,
                              operation.blob, at, entities)) {
      Fail(operation, bad->status, bad->code, bad->message);
      return;
    }
    if (operation.fault.kind == "fail") return;
    BackupContent content;
    content.entities = std::move(entities);
    ReplaceEntities(world, service, content, operation.fault.kind == "failPartial" ? 0.5 : 1, at);
  }
}

void StoreBackup(World& world, const Service& service, Operation& operation) {
  std::string bytes = operation.payload.get<std::string>();
  absl::Time time = operation.end;
  if (operation.fault.kind == "blobMissing") return;
  if (operation.fault.kind == "blobEmpty") bytes.clear();
  if (operation.fault.kind == "blobGarbage") bytes = std::string(1024, '\x5a');
  if (operation.fault.kind == "blobOld") {
    time = operation.start - absl::Hours(24);
    bytes = EncodeBackup(Snapshot(service, operation.api_version, time));
  }
  if (!world.blobs().FindContainer(operation.account, operation.container).ok()) {
    if (world.switches.missing_container != "create") {
      Fail(operation, 400, ErrorCode(world, "containerMissing", "BackupFailed"),
           absl::StrCat("Container ", operation.container, " does not exist."));
      return;
    }
    (void)world.blobs().CreateContainer(operation.account, operation.container, operation.end);
  }
  const absl::Status stored =
      world.blobs().Put(operation.account, operation.container, operation.blob, bytes, time);
  if (!stored.ok()) {
    Fail(operation, 400, ErrorCode(world, "storageDenied", "BackupFailed"), stored.message());
  }
}

void ApplyUpdate(Service& service, const Json& body) {
  if (body.contains("sku")) {
    service.sku = body["sku"].value("name", service.sku);
    service.capacity = body["sku"].value("capacity", service.capacity);
  }
  if (body.contains("tags")) service.tags = body["tags"];
  if (body.contains("identity")) {
    const Json& type = body["identity"].value("type", Json());
    const std::string text = type.is_string() ? type.get<std::string>() : "";
    service.system_identity = text == "SystemAssigned" || text == "SystemAssigned, UserAssigned";
  }
  const Json properties = body.value("properties", Json::object());
  if (properties.contains("customProperties") && properties["customProperties"].is_object()) {
    service.custom_properties = properties["customProperties"];
  }
  if (properties.contains("apiVersionConstraint") &&
      properties["apiVersionConstraint"].is_object()) {
    const Json version = properties["apiVersionConstraint"].value("minApiVersion", Json());
    service.min_api_version = version.is_string() ? version.get<std::string>() : "";
  }
  if (properties.contains("hostnameConfigurations") &&
      properties["hostnameConfigurations"].is_array()) {
    service.host_names.clear();
    for (const Json& item : properties["hostnameConfigurations"]) {
      if (item.is_object() && item.value("type", "") == "Proxy" &&
          item.value("hostName", "") != absl::StrCat(service.name, ".azure-api.net")) {
        service.host_names.push_back(item.value("hostName", ""));
      }
    }
  }
}

// The service of `operation` may be gone afterwards.
void End(World& world, Service& service, Operation& operation) {
  operation.ended = true;
  service.operation.clear();
  if (world.switches.etag_changes_with_operations) service.etag = ++world.versions;
  if (operation.error_status == 0) {
    if (IsFailing(operation)) {
      FailAsPlanned(operation, world);
    } else if (operation.verb == "Backup") {
      StoreBackup(world, service, operation);
    } else if (operation.verb == "Act" && !operation.deletes) {
      ApplyUpdate(service, operation.payload);
    }
  }
  operation.payload = nullptr;
  if (operation.deletes && operation.error_status == 0) {
    world.soft_deleted.insert(operation.service);
    world.services.erase(operation.service);
  }
}

absl::Time DueAt(const Operation& operation) {
  return operation.worked ? operation.end : std::min(operation.work_at, operation.end);
}

// The running operation that is due first.
Operation* NextOperation(World& world) {
  Operation* next = nullptr;
  for (auto& [key, service] : world.services) {
    const auto it = world.operations.find(service.operation);
    if (it == world.operations.end()) continue;
    if (next == nullptr || DueAt(it->second) < DueAt(*next)) next = &it->second;
  }
  return next;
}

}  // namespace

std::optional<Failure> ReadBackup(World& world, const Service& service, const std::string& account,
                                  const std::string& container, const std::string& blob,
                                  absl::Time now, Json& entities) {
  const absl::StatusOr<std::string> bytes = world.blobs().Get(account, container, blob);
  if (!bytes.ok()) {
    return Failure{400, ErrorCode(world, "blobMissing", "RestoreFailed"),
                   absl::StrCat("Cannot restore: backup ", container, "/", blob,
                                " could not be read: ", bytes.status().message())};
  }
  absl::StatusOr<BackupContent> content = DecodeBackup(*bytes);
  if (!content.ok()) {
    return Failure{400, ErrorCode(world, "blobGarbage", "RestoreFailed"),
                   absl::StrCat("Cannot restore: ", content.status().message())};
  }
  const absl::Duration lifetime = content->api_version < "2016"
                                      ? world.switches.legacy_backup_lifetime
                                      : world.switches.backup_lifetime;
  if (now - content->created > lifetime) {
    return Failure{400, ErrorCode(world, "backupExpired", "RestoreFailed"),
                   "Cannot restore: backup expired"};
  }
  if (content->sku != service.sku) {
    return Failure{400, "RestoreFailed",
                   absl::StrCat("Cannot restore: current SKU is '", service.sku,
                                "', backup SKU is '", content->sku, "'")};
  }
  if (world.switches.restore_checks_capacity && content->capacity != service.capacity) {
    return Failure{400, "RestoreFailed",
                   absl::StrCat("Cannot restore: current capacity is ", service.capacity,
                                ", backup capacity is ", content->capacity)};
  }
  entities = std::move(content->entities);
  return std::nullopt;
}

void Advance(World& world, absl::Time now) {
  while (Operation* operation = NextOperation(world)) {
    const absl::Time due = DueAt(*operation);
    if (due > now) break;
    AdvanceTraffic(world, due);
    Service& service = world.services.at(operation->service);
    if (!operation->worked && operation->work_at <= operation->end) {
      Work(world, service, *operation);
    } else {
      operation->worked = true;
      End(world, service, *operation);
    }
  }
  AdvanceTraffic(world, now);
}

}  // namespace failover::emulator
