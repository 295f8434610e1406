#include "controller/azure/storage_calls.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/crash_point.h"
#include "controller/azure/arm.h"
#include "controller/azure/blob.h"

namespace failover::azure {
namespace {

constexpr size_t kMaxManifest = 64 << 20;
constexpr absl::Duration kManifestTimeout = absl::Minutes(2);
constexpr char kUnknownGroup[] = "the failover group is not configured";

Sent Send(Lane& lane, const GroupEntry& group, const v1::Storage& storage,
          const HttpRequest& request, Call call) {
  call.api = "storage";
  return lane.Blob(request, call, storage.account(), group.group.storage_access_key_file);
}

// What the fence blob held. `result` is kOk also when there is none.
struct FenceLook {
  core::CallResult result;
  std::optional<core::Fence> fence;
  std::string etag;
};

FenceLook LookAtFence(Lane& lane, const GroupEntry& group, const v1::Storage& storage) {
  FenceLook look;
  const HttpRequest request = BlobRequest(
      "GET", BlobUrl(lane.options().blob_endpoint, storage, FenceName(group.group.group)), "");
  const Sent sent = Send(lane, group, storage, request,
                         {.api = "", .operation = "get_fence", .id = "", .tries = kReadTries});
  if (sent.response.has_value() && sent.response->status == 404) return look;
  look.result = ResultOfRead(sent);
  if (look.result.status != core::CallStatus::kOk) return look;
  absl::StatusOr<core::Fence> fence = ReadFenceText(sent.response->body);
  look.etag = std::string(sent.response->Header("ETag"));
  if (!fence.ok()) {
    look.result = Failure(fence.status().message());
  } else if (look.etag.empty()) {
    look.result =
        Failure("the answer with the fence blob carries no ETag: it cannot be replaced safely");
  } else {
    look.fence = *std::move(fence);
  }
  return look;
}

// Whether a fence whose PUT was refused by its condition, or not answered, is ours after all.
void SettleFence(Lane& lane, const GroupEntry& group, const core::WriteFence& command,
                 core::FenceDone& done) {
  FenceLook look = LookAtFence(lane, group, command.storage);
  done.found = look.fence;
  if (look.result.status != core::CallStatus::kOk) return;
  if (look.fence.has_value() && SameFence(*look.fence, command.fence)) {
    done.result = {};
    return;
  }
  if (!look.fence.has_value()) return;
  if (std::string why = FenceRefusal(*look.fence, command.fence, command.adopted_store_id);
      !why.empty()) {
    done.result = Failure(why);
  }
}

}  // namespace

core::CallResult EnsureContainer(Lane& lane, const GroupEntry& group, const v1::Storage& storage) {
  const std::string url = ContainerUrl(lane.options().blob_endpoint, storage);
  const Sent head = Send(lane, group, storage, BlobRequest("HEAD", url, ""),
                         {.api = "", .operation = "head_container", .id = "", .tries = kReadTries});
  if (!head.response.has_value() || head.response->status != 404) {
    core::CallResult result = ResultOfRead(head);
    if (result.status != core::CallStatus::kOk && result.error.message().empty()) {
      result.error.set_message(absl::StrCat("container ", storage.container(),
                                            " of storage account ", storage.account(),
                                            " cannot be read"));
    }
    return result;
  }
  const Sent put = Send(lane, group, storage, BlobRequest("PUT", url, ""),
                        {.api = "", .operation = "create_container", .id = ""});
  if (put.response.has_value() && put.response->status == 409 &&
      ErrorOf(*put.response).code() == "ContainerAlreadyExists") {
    return {};
  }
  core::CallResult result = ResultOfWrite(put);
  if (result.status == core::CallStatus::kOk) return result;
  return {core::CallStatus::kFailed, std::move(result.error)};  // the next preflight looks again
}

BackupLook LookForBackup(Lane& lane, const GroupEntry& group, const v1::Storage& storage,
                         const std::string& blob, int64_t not_before_ms) {
  BackupLook result;
  const HttpRequest request =
      BlobRequest("HEAD", BlobUrl(lane.options().blob_endpoint, storage, blob), "");
  const Sent sent = Send(lane, group, storage, request,
                         {.api = "", .operation = "head_blob", .id = "", .tries = kReadTries});
  if (!sent.response.has_value()) {
    result.result = {core::CallStatus::kFailed, sent.error};
    return result;
  }
  BlobLook look =
      LookAtBlob(*sent.response, absl::FromUnixMillis(not_before_ms), lane.clock().Wall());
  result.exists = look.good;
  result.size = look.size;
  result.problem = std::move(look.error);
  const int status = sent.response->status;
  if (status != 200 && status != 404) result.result = {core::CallStatus::kFailed, result.problem};
  return result;
}

core::BlobChecked CheckBlob(Lane& lane, const GroupEntry* group, const core::CheckBlob& command) {
  core::BlobChecked checked;
  checked.call = command.call;
  checked.operation_id = command.operation_id;
  if (group == nullptr) {
    checked.result = Failure(kUnknownGroup);
    return checked;
  }
  const BackupLook look =
      LookForBackup(lane, *group, command.storage, command.blob, command.not_before_ms);
  checked.size_bytes = look.size;
  checked.result = look.result;
  if (look.result.status == core::CallStatus::kOk && !look.exists) {
    checked.result = {core::CallStatus::kFailed, look.problem};
  }
  return checked;
}

core::ManifestWritten WriteManifest(Lane& lane, const GroupEntry* group,
                                    const core::WriteManifest& command) {
  if (group == nullptr)
    return {command.call, {core::CallStatus::kNotSent, ErrorText(kUnknownGroup)}};
  static const core::Entities none;
  const core::Entities& before = command.before == nullptr ? none : *command.before;
  const core::Entities& after = command.after == nullptr ? none : *command.after;
  HttpRequest request = BlobRequest(
      "PUT",
      BlobUrl(lane.options().blob_endpoint, command.storage, ManifestName(command.backup.blob())),
      ManifestText(group->group.group, command.backup, before, after));
  request.timeout = kManifestTimeout;
  CrashPoint("manifest.before_put");
  const Sent sent =
      Send(lane, *group, command.storage, request,
           {.api = "", .operation = "put_manifest", .id = command.backup.operation_id()});
  CrashPoint("manifest.after_put");
  return {command.call, ResultOfWrite(sent)};
}

core::ManifestRead ReadManifest(Lane& lane, const GroupEntry* group,
                                const core::ReadManifest& command) {
  core::ManifestRead read;
  read.call = command.call;
  if (group == nullptr) {
    read.result = Failure(kUnknownGroup);
    return read;
  }
  HttpRequest request = BlobRequest(
      "GET", BlobUrl(lane.options().blob_endpoint, command.storage, ManifestName(command.blob)),
      "");
  request.max_response_bytes = kMaxManifest;
  request.timeout = kManifestTimeout;
  const Sent sent = Send(lane, *group, command.storage, request,
                         {.api = "", .operation = "get_manifest", .id = "", .tries = kReadTries});
  read.result = ResultOfRead(sent);
  if (read.result.status != core::CallStatus::kOk) return read;
  absl::StatusOr<Manifest> manifest = ReadManifestText(sent.response->body, command.blob);
  if (!manifest.ok()) {
    read.result = Failure(manifest.status().message());
    return read;
  }
  read.before = std::make_shared<const core::Entities>(std::move(manifest->before));
  read.after = std::make_shared<const core::Entities>(std::move(manifest->after));
  return read;
}

core::FenceDone WriteFence(Lane& lane, const GroupEntry* group, const core::WriteFence& command) {
  core::FenceDone done;
  done.call = command.call;
  if (group == nullptr) {
    done.result = {core::CallStatus::kNotSent, ErrorText(kUnknownGroup)};
    return done;
  }
  FenceLook look = LookAtFence(lane, *group, command.storage);
  done.found = look.fence;
  if (look.result.status != core::CallStatus::kOk) {
    // An unreadable fence is a definite no only if it was read: a blob that is not a fence.
    done.result = std::move(look.result);
    if (look.etag.empty()) done.result.status = core::CallStatus::kNotSent;
    return done;
  }
  if (look.fence.has_value()) {
    if (std::string why = FenceRefusal(*look.fence, command.fence, command.adopted_store_id);
        !why.empty()) {
      done.result = Failure(why);
      return done;
    }
  }
  HttpRequest request = BlobRequest(
      "PUT", BlobUrl(lane.options().blob_endpoint, command.storage, FenceName(group->group.group)),
      FenceText(command.fence));
  if (look.fence.has_value()) {
    OnlyIfUnchanged(request, look.etag);
  } else {
    OnlyIfAbsent(request);
  }
  CrashPoint("fence.before_put");
  const Sent sent = Send(lane, *group, command.storage, request,
                         {.api = "",
                          .operation = "put_fence",
                          .id = command.fence.operation_id,
                          .send_by = command.send_by});
  CrashPoint("fence.after_put");
  done.result = ResultOfWrite(sent);
  const bool by_condition =
      sent.response.has_value() && (sent.response->status == 412 || sent.response->status == 409);
  if (by_condition || done.result.status == core::CallStatus::kUnclear)
    SettleFence(lane, *group, command, done);
  return done;
}

core::FenceDone ReadFence(Lane& lane, const GroupEntry* group, const core::ReadFence& command) {
  core::FenceDone done;
  done.call = command.call;
  if (group == nullptr) {
    done.result = Failure(kUnknownGroup);
    return done;
  }
  FenceLook look = LookAtFence(lane, *group, command.storage);
  done.result = std::move(look.result);
  done.found = std::move(look.fence);
  return done;
}

}  // namespace failover::azure
