#include "controller/azure/operation_calls.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/config_file.h"
#include "common/crash_point.h"
#include "common/log.h"
#include "controller/azure/apim.h"
#include "controller/azure/arm.h"
#include "controller/azure/fingerprint.h"
#include "controller/azure/long_operation.h"
#include "controller/azure/storage_calls.h"
#include "nlohmann/json.hpp"

namespace failover::azure {
namespace {

constexpr absl::Duration kPostTimeout = absl::Seconds(70);  // ARM itself answers 504 after 60 s
// Workspaces are known from 2022-09-01-preview on; asked with a version that has them.
constexpr char kWorkspacesVersion[] = "2024-05-01";

// A backup's or a restore's verb and crash points.
struct Verb {
  const char *name, *before, *after;
};
constexpr Verb kBackup{"backup", "backup.before_post", "backup.after_post"};
constexpr Verb kRestore{"restore", "restore.before_post", "restore.after_post"};

core::CallResult Unsent(absl::string_view message) {
  return {core::CallStatus::kNotSent, ErrorText(message)};
}

// The body, with the account key where APIM is to use it.
absl::StatusOr<std::string> BodyFor(Lane& lane, const GroupEntry& group, const v1::Storage& storage,
                                    const std::string& blob) {
  std::string key;
  if (storage.access().empty() || storage.access() == "AccessKey") {
    absl::StatusOr<std::string> read = ReadSecretFile(group.group.storage_access_key_file);
    if (!read.ok()) return read.status();
    key = *std::move(read);
  }
  return StorageBody(lane.options().api_version, storage, blob, key);
}

template <typename Command>
core::OperationStarted Post(Lane& lane, const GroupEntry* group, const Command& command,
                            const Verb& verb) {
  core::OperationStarted started;
  started.call = command.call;
  started.operation_id = command.operation_id;
  if (group == nullptr) {
    started.result = Unsent("the failover group is not configured");
    return started;
  }
  absl::StatusOr<std::string> body = BodyFor(lane, *group, command.storage, command.blob);
  if (!body.ok()) {
    started.result = Unsent(body.status().message());
    return started;
  }
  HttpRequest request = ArmRequest(
      "POST",
      ArmUrl(lane.options().arm_endpoint, absl::StrCat(command.resource_id, "/", verb.name),
             lane.options().api_version),
      *std::move(body));
  request.timeout = kPostTimeout;
  CrashPoint(verb.before);
  const Sent sent = lane.Arm(request, {.api = "apim",
                                       .operation = verb.name,
                                       .id = command.operation_id,
                                       .send_by = command.send_by});
  CrashPoint(verb.after);
  if (!sent.response.has_value()) {
    started.result = ResultOfWrite(sent);
    return started;
  }
  StartOutcome outcome = OutcomeOfStart(*sent.response, lane.options().arm_endpoint);
  started.result = std::move(outcome.result);
  started.handle = std::move(outcome.handle);
  started.retry_after_s = outcome.retry_after_s;
  return started;
}

// GET service.
ServiceDetails Look(Lane& lane, const std::string& service, const std::string& resource_id) {
  const Sent sent = lane.Arm(
      ArmRequest("GET",
                 ArmUrl(lane.options().arm_endpoint, resource_id, lane.options().api_version), ""),
      {.api = "apim", .operation = "get_service", .id = "", .tries = kReadTries});
  if (sent.response.has_value())
    return ReadService(service, *sent.response, lane.options().api_version);
  ServiceDetails details;
  details.facts.service = service;
  details.facts.error = sent.error;
  return details;
}

// Refuses a service with workspaces. One that cannot be asked is not refused: the version or the
// role may not know them.
void LookForWorkspaces(Lane& lane, const std::string& resource_id, core::ServiceFacts& facts,
                       std::vector<std::string>& warnings) {
  const Sent sent =
      lane.Arm(ArmRequest("GET",
                          ArmUrl(lane.options().arm_endpoint,
                                 absl::StrCat(resource_id, "/workspaces"), kWorkspacesVersion),
                          ""),
               {.api = "apim", .operation = "list_workspaces", .id = "", .tries = kReadTries});
  if (!sent.response.has_value()) {
    warnings.push_back(absl::StrCat("workspaces of ", facts.service,
                                    " could not be listed: ", sent.error.message()));
    return;
  }
  const int status = sent.response->status;
  if (status != 200 && status != 404 && status != 400) {
    const v1::AzureError error = ErrorOf(*sent.response);
    warnings.push_back(absl::StrCat("workspaces of ", facts.service, " could not be listed: HTTP ",
                                    status, " ", error.code(), " ", error.message()));
    return;
  }
  facts.refused = RefusalForWorkspaces(ReadWorkspaces(*sent.response));
}

}  // namespace

core::OperationStarted Start(Lane& lane, const GroupEntry* group,
                             const core::StartBackup& command) {
  return Post(lane, group, command, kBackup);
}

core::OperationStarted Start(Lane& lane, const GroupEntry* group,
                             const core::StartRestore& command) {
  return Post(lane, group, command, kRestore);
}

core::OperationPolled Poll(Lane& lane, const core::PollOperation& command) {
  core::OperationPolled polled;
  polled.call = command.call;
  polled.operation_id = command.operation_id;
  // The handle may be older than the configuration: it is checked again before a token goes there.
  const absl::StatusOr<std::string> url = OnArmHost(lane.options().arm_endpoint, command.handle);
  if (!url.ok()) {
    polled.state = core::OperationPolled::State::kGone;
    polled.error =
        ErrorText(absl::StrCat("the operation's URL is refused: ", url.status().message()));
    return polled;
  }
  const Sent sent = lane.Arm(ArmRequest("GET", *url, ""),
                             {.api = "apim", .operation = "poll", .id = command.operation_id});
  if (!sent.response.has_value()) {
    polled.error = sent.error;
    return polled;
  }
  PollOutcome outcome = OutcomeOfPoll(*sent.response, lane.options().arm_endpoint, command.handle);
  polled.state = outcome.state;
  polled.error = std::move(outcome.error);
  polled.handle = std::move(outcome.handle);
  polled.retry_after_s = outcome.retry_after_s;
  return polled;
}

core::OperationInspected Inspect(Lane& lane, const GroupEntry* group,
                                 const core::InspectOperation& command) {
  const v1::Operation& operation = command.operation;
  core::OperationInspected look;
  look.call = command.call;
  look.operation_id = operation.id();
  if (group == nullptr) {
    look.result = Failure("the failover group is not configured");
    return look;
  }
  const ServiceDetails details = Look(lane, operation.service(), operation.resource_id());
  if (!details.facts.reachable) {
    look.result = {core::CallStatus::kFailed, details.facts.error};
    return look;
  }
  look.service_idle = details.facts.idle;
  if (operation.kind() == v1::OPERATION_KIND_BACKUP) {
    const BackupLook blob =
        LookForBackup(lane, *group, operation.storage(), operation.blob(), operation.intent_ms());
    look.result = blob.result;
    look.blob_exists = blob.exists;
    look.blob_size = blob.size;
    return look;
  }
  if (!look.service_idle) return look;  // its content is still changing and proves nothing
  const core::FingerprintRead read = ReadFingerprint(
      lane, group, core::ReadFingerprint{0, operation.service(), operation.resource_id()});
  look.result = read.result;
  look.fingerprint = read.fingerprint;
  look.entities = read.entities;
  return look;
}

core::PreflightDone Preflight(Lane& lane, const GroupEntry* group,
                              const core::RunPreflight& command) {
  core::PreflightDone done;
  done.call = command.call;
  done.run_id = command.run_id;
  if (group == nullptr) {
    done.result = Failure("the failover group is not configured");
    return done;
  }
  if (absl::Status token = lane.EnsureToken(); !token.ok()) {
    done.result = Failure(token.message());
    return done;
  }
  done.result = EnsureContainer(lane, *group, command.storage);
  if (done.result.status != core::CallStatus::kOk) return done;
  std::vector<ServiceDetails> services;
  for (const std::string& service : command.services) {
    const auto id = group->group.resource_ids.find(service);
    if (id == group->group.resource_ids.end()) {
      ServiceDetails unknown;
      unknown.facts.service = service;
      unknown.facts.error =
          ErrorText(absl::StrCat(service, " has no resource id in the configuration"));
      services.push_back(std::move(unknown));
      continue;
    }
    ServiceDetails details = Look(lane, service, id->second);
    if (details.facts.reachable && details.facts.refused.empty()) {
      LookForWorkspaces(lane, id->second, details.facts, done.warnings);
    }
    services.push_back(std::move(details));
  }
  for (size_t i = 0; i < services.size(); ++i) {
    if (i > 0 && services[0].facts.reachable && services[i].facts.reachable) {
      for (std::string& warning : CompareHosts(services[0], services[i]))
        done.warnings.push_back(std::move(warning));
    }
  }
  for (ServiceDetails& details : services) done.services.push_back(std::move(details.facts));
  return done;
}

core::FingerprintRead ReadFingerprint(Lane& lane, const GroupEntry* group,
                                      const core::ReadFingerprint& command) {
  core::FingerprintRead done;
  done.call = command.call;
  done.service = command.service;
  done.begun = lane.clock().Steady();
  const absl::Time begun = lane.clock().Wall();
  if (group == nullptr) {
    done.result = Failure("the failover group is not configured");
    done.finished = lane.clock().Steady();
    return done;
  }
  ConfigurationRead read = ReadConfiguration(lane, *group, command.resource_id);
  done.finished = lane.clock().Steady();
  done.result = std::move(read.result);
  if (done.result.status != core::CallStatus::kOk) return done;
  auto entities =
      std::make_shared<core::Entities>(Digests(group->group.fingerprint_key, read.entities));
  done.fingerprint = FingerprintOf(*entities);
  done.fingerprint.set_begun_ms(absl::ToUnixMillis(begun));
  done.fingerprint.set_finished_ms(absl::ToUnixMillis(lane.clock().Wall()));
  done.entities = std::move(entities);
  done.pristine = read.pristine;
  return done;
}

}  // namespace failover::azure
