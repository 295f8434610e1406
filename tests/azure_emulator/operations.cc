// Backups, restores and updates of a service: accepted here, carried out by Advance().
#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/digest.h"
#include "tests/azure_emulator/arm.h"
#include "tests/azure_emulator/backup_content.h"
#include "tests/azure_emulator/storage_access.h"

namespace failover::emulator {
namespace {

constexpr size_t kKeptOperations = 2000;

// States in which somebody else's operation is under way.
bool IsTransitional(absl::string_view state) {
  for (const absl::string_view idle : {"Succeeded", "Failed", "Stopped", "Canceled", "Created"}) {
    if (state == idle) return false;
  }
  return true;
}

bool IsLocked(const Service& service) {
  return !service.operation.empty() || IsTransitional(service.provisioning_state);
}

Answer ToAnswer(const Failure& failure) {
  return ArmError(failure.status, failure.code, failure.message);
}

std::string ApiVersion(const Request& request) {
  const auto query = request.Query();
  const auto it = query.find("api-version");
  return it == query.end() ? "" : it->second;
}

std::string NewOperationId(World& world, const Service& service, absl::string_view verb) {
  return Base64(absl::StrFormat("%s:%s_%s_%08x", service.region, service.name, verb,
                                static_cast<uint32_t>(world.random())));
}

std::string OperationUrl(const Request& request, const Service& service, const std::string& id,
                         const std::string& api_version, bool async) {
  return absl::StrCat("https://", request.Header("host"), service.Id(), "/operationresults/", id,
                      "?api-version=", api_version, async ? "&asyncResponse" : "");
}

// The 202 of an operation that runs (azure.md §1.2): an empty body, Location, Retry-After.
Answer Running(World& world, const Request& request, const Service& service, Operation& operation,
               std::string id) {
  if (world.active_fault && world.active_fault->action == "location" &&
      world.active_fault->location == "changed") {
    id = NewOperationId(world, service, operation.verb);
    operation.aliases.insert(id);
  }
  Answer answer;
  answer.status = 202;
  answer.Set("Location", OperationUrl(request, service, id, operation.api_version, false));
  answer.Set("Retry-After", absl::StrCat(world.retry_after));
  return answer;
}

void ForgetOldOperations(World& world) {
  while (world.operations.size() > kKeptOperations) {
    auto oldest = world.operations.end();
    for (auto it = world.operations.begin(); it != world.operations.end(); ++it) {
      if (!it->second.ended) continue;
      if (oldest == world.operations.end() || it->second.end < oldest->second.end) oldest = it;
    }
    if (oldest == world.operations.end()) return;
    world.operations.erase(oldest);
  }
}

Operation& Begin(World& world, const Request& request, Service& service, const std::string& verb,
                 const Span& span, LogEntry& entry, absl::Time now) {
  ForgetOldOperations(world);
  Operation operation;
  operation.id = NewOperationId(world, service, verb);
  operation.service = absl::AsciiStrToLower(service.name);
  operation.verb = verb;
  operation.api_version = ApiVersion(request);
  operation.start = now;
  if (world.active_fault && world.active_fault->action == "operation" && verb != "Act") {
    operation.fault = world.active_fault->on_operation;
  }
  absl::Duration duration = DrawSpan(world, span);
  if (operation.fault.duration) duration = *operation.fault.duration;
  // Drawn in any case, so that the switch does not shift everything drawn later.
  const double drawn = 0.1 + 0.8 * DrawFraction(world);
  const double fraction = world.switches.work_fraction >= 0 ? world.switches.work_fraction : drawn;
  operation.work_at = now + fraction * duration;
  operation.end = now + duration;
  if (operation.fault.kind == "stuck") {
    operation.work_at = operation.end = absl::InfiniteFuture();
  }
  entry.applied = true;
  entry.operation_id = operation.id;
  service.operation = operation.id;
  const std::string id = operation.id;
  return world.operations[id] = std::move(operation);
}

std::optional<Failure> CheckTier(const Service& service, absl::string_view what) {
  for (const absl::string_view tier : {"Developer", "Basic", "Standard", "Premium"}) {
    if (service.sku != tier) continue;
    if (service.workspaces.empty()) return std::nullopt;
    return Failure{400, "OperationNotSupported",
                   absl::StrCat("Operation ", what, " is not supported on service ", service.name,
                                ": it has workspaces.")};
  }
  return Failure{
      400, "MethodNotAllowedInPricingTier",
      absl::StrCat("Method ", what, " is not allowed in ", service.sku, " pricing tier.")};
}

std::optional<Failure> ContainerProblem(World& world, const StorageTarget& target,
                                        absl::string_view verb) {
  const absl::Status found = world.blobs().FindContainer(target.account, target.container);
  if (found.ok()) return std::nullopt;
  const bool creates = verb == "Backup" && world.switches.missing_container == "create";
  if (creates && absl::IsNotFound(found)) return std::nullopt;
  return Failure{400, ErrorCode(world, "containerMissing", absl::StrCat(verb, "Failed")),
                 absl::StrCat("Container ", target.container, " of storage account ",
                              target.account, ": ", found.message())};
}

bool RefusesCors(const World& world, const StorageTarget& target) {
  const auto it = world.accounts.find(target.account);
  return it != world.accounts.end() && it->second.cors_with_patch &&
         target.access_type == "AccessKey";
}

// Everything both operations check before they are accepted; `late`: what they will fail with.
std::optional<Failure> CheckBeforeStart(World& world, const Request& request, Service& service,
                                        absl::string_view verb, StorageTarget& target,
                                        std::optional<Failure>& late) {
  if (auto bad = ReadStorageTarget(request, ApiVersion(request), target)) return bad;
  if (IsLocked(service)) return Failure{409, "ServiceLocked", ""};
  if (auto bad = CheckTier(service, verb)) return bad;
  if (verb == "Backup" && RefusesCors(world, target)) {
    return Failure{400, "InvalidParameters",
                   "Invalid parameter: Requested value 'GET,HEAD,POST,PUT,PATCH' was not found."
                   "\r\nParameter name: backupStorageAccount"};
  }
  std::optional<Failure> storage = CheckStorageAccess(world, service, target, verb);
  if (!storage) storage = ContainerProblem(world, target, verb);
  if (storage && world.switches.storage_errors == "early") return storage;
  late = storage;
  return std::nullopt;
}

Answer StartStorageOperation(World& world, const Request& request, Service& service,
                             const std::string& verb, LogEntry& entry, absl::Time now) {
  StorageTarget target;
  std::optional<Failure> late;
  const std::optional<Failure> early =
      CheckBeforeStart(world, request, service, verb, target, late);
  entry.what.blob = target.blob;
  if (early) return early->status == 409 ? ServiceLocked(service) : ToAnswer(*early);
  if (verb == "Restore" && !late && world.switches.restore_errors == "early") {
    Json unused;
    if (auto bad = ReadBackup(world, service, target.account, target.container, target.blob, now,
                              unused)) {
      return ToAnswer(*bad);
    }
  }
  const Span& span = verb == "Backup" ? world.backup_duration : world.restore_duration;
  Operation& operation = Begin(world, request, service, verb, span, entry, now);
  operation.account = target.account;
  operation.container = target.container;
  operation.blob = target.blob;
  if (late) {
    operation.error_status = late->status;
    operation.error_code = late->code;
    operation.error_message = late->message;
  }
  return Running(world, request, service, operation, operation.id);
}

// Only what can be changed by an update, and of the right type.
std::optional<Failure> CheckUpdate(const Json& body) {
  const auto bad = [](absl::string_view what) {
    return Failure{400, "InvalidRequestContent", std::string(what)};
  };
  if (!body.is_object()) return bad("The request content must be an object.");
  if (body.contains("sku") &&
      (!body["sku"].is_object() ||
       (body["sku"].contains("name") && !body["sku"]["name"].is_string()) ||
       (body["sku"].contains("capacity") && !body["sku"]["capacity"].is_number_integer()))) {
    return bad("Property sku must be {name, capacity}.");
  }
  for (const char* key : {"tags", "properties"}) {
    if (body.contains(key) && !body[key].is_object()) {
      return bad(absl::StrCat("Property ", key, " must be an object."));
    }
  }
  if (body.contains("identity") && !body["identity"].is_object()) {
    return bad("Property identity must be an object.");
  }
  return std::nullopt;
}

const Operation* FindOperation(const World& world, const std::string& id) {
  const auto it = world.operations.find(id);
  if (it != world.operations.end()) return &it->second;
  for (const auto& [key, operation] : world.operations) {
    if (operation.aliases.contains(id)) return &operation;
  }
  return nullptr;
}

// The same resource in the style of Azure-AsyncOperation: always 200, the state in the body.
Answer AsyncAnswer(World& world, const Operation& operation) {
  if (!operation.ended) {
    Answer answer = JsonAnswer(200, {{"status", "InProgress"}});
    answer.Set("Retry-After", absl::StrCat(world.retry_after));
    return answer;
  }
  if (operation.error_status == 0) return JsonAnswer(200, {{"status", "Succeeded"}});
  return JsonAnswer(
      200, {{"status", "Failed"},
            {"error", {{"code", operation.error_code}, {"message", operation.error_message}}}});
}

}  // namespace

Answer ServiceLocked(const Service& service) {
  return ArmError(409, "ServiceLocked",
                  absl::StrCat("The API Service ", service.name,
                               " is transitioning at this time. Please try the request again "
                               "later."));
}

Answer StartBackup(World& world, const Request& request, Service& service, LogEntry& entry,
                   absl::Time now) {
  return StartStorageOperation(world, request, service, "Backup", entry, now);
}

Answer StartRestore(World& world, const Request& request, Service& service, LogEntry& entry,
                    absl::Time now) {
  return StartStorageOperation(world, request, service, "Restore", entry, now);
}

Answer StartUpdate(World& world, const Request& request, Service& service, LogEntry& entry,
                   absl::Time now) {
  const bool deletes = request.method == "DELETE";
  const bool creates =
      request.method == "PUT" && service.created == now && service.operation.empty();
  if (!deletes && request.method != "PATCH" && request.method != "PUT") {
    return ArmError(405, "MethodNotAllowed", "The method is not allowed on a service.");
  }
  Json body = Json::object();
  if (!deletes) {
    if (const absl::Status parsed = ParseJson(request.body, body); !parsed.ok()) {
      return ArmError(400, "InvalidRequestContent", parsed.message());
    }
    if (auto bad = CheckUpdate(body)) return ToAnswer(*bad);
  }
  if (IsLocked(service)) return ServiceLocked(service);
  Operation& operation = Begin(world, request, service, "Act", world.update_duration, entry, now);
  operation.payload = std::move(body);
  operation.deletes = deletes;
  Answer answer = Running(world, request, service, operation, operation.id);
  if (request.method == "PUT") {
    answer.Set("Azure-AsyncOperation",
               OperationUrl(request, service, operation.id, operation.api_version, true));
  }
  if (creates) {
    answer.status = 201;
    Json document = ServiceDocument(world, service);
    document["properties"]["provisioningState"] = "Created";
    document["properties"]["targetProvisioningState"] = "Activating";
    answer.body = Dump(document);
    answer.Set("Content-Type", "application/json; charset=utf-8");
  }
  return answer;
}

Answer PollOperation(World& world, const Request& request, const Service& service,
                     const std::string& id, absl::Time now) {
  const Operation* found = FindOperation(world, id);
  if (found == nullptr || found->service != absl::AsciiStrToLower(service.name) ||
      found->api_version != ApiVersion(request) ||
      (found->ended && now - found->end > world.switches.result_retention)) {
    return ArmError(404, "ResourceNotFound",
                    absl::StrCat("The operation result ", id, " was not found."));
  }
  Operation& operation = world.operations.at(found->id);
  if (request.Query().contains("asyncresponse")) return AsyncAnswer(world, operation);
  if (!operation.ended) return Running(world, request, service, operation, id);
  if (operation.error_status != 0) {
    return ArmError(operation.error_status, operation.error_code, operation.error_message);
  }
  return JsonAnswer(200, ServiceDocument(world, service));
}

}  // namespace failover::emulator
