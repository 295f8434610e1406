#include "controller/azure/blob.h"

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/strip.h"
#include "controller/azure/arm.h"
#include "controller/azure/json.h"
#include "controller/azure/url_text.h"
#include "nlohmann/json.hpp"

namespace failover::azure {
namespace {

constexpr char kServiceVersion[] = "2021-12-02";
constexpr absl::Duration kClockGrain = absl::Seconds(2);  // Last-Modified counts whole seconds

std::string AccountUrl(absl::string_view endpoint, const v1::Storage& storage) {
  const std::string url = absl::StrReplaceAll(endpoint, {{"{account}", storage.account()}});
  return std::string(absl::StripSuffix(url, "/"));
}

Json ToJson(const v1::Fingerprint& fingerprint) {
  Json kinds = Json::object();
  for (const v1::KindDigest& kind : fingerprint.kinds()) {
    kinds[kind.kind()] = {{"count", kind.count()}, {"digest", kind.digest()}};
  }
  return {{"begun", fingerprint.begun_ms()},
          {"finished", fingerprint.finished_ms()},
          {"kinds", std::move(kinds)}};
}

absl::StatusOr<core::Entities> ReadEntitiesObject(const Json& manifest, const char* key) {
  const Json& object = At(manifest, {key});
  if (!object.is_object()) {
    return absl::DataLossError(absl::StrCat("the manifest has no object \"", key, "\""));
  }
  core::Entities entities;
  for (const auto& [id, digest] : object.items()) {
    if (!digest.is_string()) {
      return absl::DataLossError(
          absl::StrCat("the manifest's \"", key, "\" holds something else than texts"));
    }
    entities.emplace(id, digest.get<std::string>());
  }
  return entities;
}

BlobLook Bad(const HttpResponse& response, absl::string_view message) {
  BlobLook look;
  look.error = ErrorOf(response);
  look.error.set_message(std::string(message));
  return look;
}

}  // namespace

std::string ContainerUrl(absl::string_view endpoint, const v1::Storage& storage) {
  return absl::StrCat(AccountUrl(endpoint, storage), "/", PercentEncoded(storage.container(), ""),
                      "?restype=container");
}

std::string BlobUrl(absl::string_view endpoint, const v1::Storage& storage,
                    absl::string_view blob) {
  return absl::StrCat(AccountUrl(endpoint, storage), "/", PercentEncoded(storage.container(), ""),
                      "/", PercentEncoded(blob, "/"));
}

HttpRequest BlobRequest(absl::string_view method, std::string url, std::string body) {
  HttpRequest request;
  request.method = std::string(method);
  request.url = std::move(url);
  request.headers.emplace_back("x-ms-version", kServiceVersion);
  if (!body.empty()) {
    request.headers.emplace_back("Content-Type", "application/json");
    request.headers.emplace_back("x-ms-blob-type", "BlockBlob");
  }
  request.body = std::move(body);
  return request;
}

void OnlyIfAbsent(HttpRequest& request) { request.headers.emplace_back("If-None-Match", "*"); }
void OnlyIfUnchanged(HttpRequest& request, absl::string_view etag) {
  request.headers.emplace_back("If-Match", std::string(etag));
}

BlobLook LookAtBlob(const HttpResponse& response, absl::Time not_before, absl::Time now) {
  if (response.status == 404) return Bad(response, "the blob does not exist");
  if (response.status != 200) {
    return Bad(response, absl::StrCat("the blob cannot be looked at (HTTP ", response.status, ")"));
  }
  BlobLook look;
  if (!absl::SimpleAtoi(response.Header("Content-Length"), &look.size) || look.size < 0) {
    return Bad(response, "the blob's answer carries no Content-Length");
  }
  if (look.size == 0) return Bad(response, "the blob is empty");
  const std::optional<absl::Time> written = ParseHttpDate(response.Header("Last-Modified"));
  if (!written.has_value()) return Bad(response, "the blob's answer carries no Last-Modified");
  const std::optional<absl::Time> server = ParseHttpDate(response.Header("Date"));
  const bool old_here = *written + kClockGrain < not_before;
  const bool old_there =
      !server.has_value() || *server - *written > (now - not_before) + kClockGrain;
  if (old_here && old_there) {
    return Bad(response, absl::StrCat("the blob was written at ",
                                      absl::FormatTime(*written, absl::UTCTimeZone()),
                                      ", before its operation began at ",
                                      absl::FormatTime(not_before, absl::UTCTimeZone())));
  }
  look.good = true;
  return look;
}

std::string ManifestName(absl::string_view blob) { return absl::StrCat(blob, ".manifest.json"); }

std::string ManifestText(const std::string& group, const v1::BackupRecord& backup,
                         const core::Entities& before, const core::Entities& after) {
  const Json manifest = {{"schemaVersion", 1},
                         {"writtenBy", "apim-failover"},
                         {"failoverGroup", group},
                         {"blob", backup.blob()},
                         {"operationId", backup.operation_id()},
                         {"apimService", backup.service()},
                         {"sku", backup.sku()},
                         {"purpose", backup.purpose()},
                         {"startedMs", backup.started_ms()},
                         {"endedMs", backup.ended_ms()},
                         {"expiresMs", backup.expires_ms()},
                         {"sizeBytes", backup.size_bytes()},
                         {"inFlux", backup.in_flux()},
                         {"fingerprintBefore", ToJson(backup.before())},
                         {"fingerprintAfter", ToJson(backup.after())},
                         {"before", before},
                         {"after", after}};
  return Dump(manifest);
}

absl::StatusOr<Manifest> ReadManifestText(absl::string_view text, absl::string_view blob) {
  const absl::StatusOr<Json> json = ParseJson(text);
  if (!json.ok())
    return absl::DataLossError(absl::StrCat("the manifest: ", json.status().message()));
  if (At(*json, {"schemaVersion"}) != Json(1)) {
    return absl::DataLossError("the manifest's schemaVersion is not 1, the only one allowed");
  }
  if (TextAt(*json, {"blob"}) != blob) {
    return absl::DataLossError(absl::StrCat("the manifest beside ", blob, " is of another blob, \"",
                                            CleanText(TextAt(*json, {"blob"}), 256), "\""));
  }
  absl::StatusOr<core::Entities> before = ReadEntitiesObject(*json, "before");
  if (!before.ok()) return before.status();
  absl::StatusOr<core::Entities> after = ReadEntitiesObject(*json, "after");
  if (!after.ok()) return after.status();
  return Manifest{*std::move(before), *std::move(after)};
}

std::string FenceName(absl::string_view group) { return absl::StrCat(group, "/fence"); }

std::string FenceText(const core::Fence& fence) {
  return Dump(Json{{"storeId", fence.store_id},
                   {"epoch", fence.epoch},
                   {"term", fence.term},
                   {"operationId", fence.operation_id}});
}

absl::StatusOr<core::Fence> ReadFenceText(absl::string_view text) {
  const absl::StatusOr<Json> json = ParseJson(text);
  if (!json.ok())
    return absl::DataLossError(absl::StrCat("the fence blob: ", json.status().message()));
  const Json &epoch = At(*json, {"epoch"}), &term = At(*json, {"term"});
  core::Fence fence;
  fence.store_id = CleanText(TextAt(*json, {"storeId"}), 128);
  fence.operation_id = CleanText(TextAt(*json, {"operationId"}), 128);
  if (!epoch.is_number_unsigned() || !term.is_number_unsigned() || fence.store_id.empty()) {
    return absl::DataLossError(
        "the fence blob holds no storeId, epoch and term: it was not written by a controller");
  }
  fence.epoch = epoch.get<uint64_t>();
  fence.term = term.get<uint64_t>();
  return fence;
}

std::string FenceRefusal(const core::Fence& found, const core::Fence& ours,
                         absl::string_view adopted_store_id) {
  if (found.store_id != ours.store_id &&
      (adopted_store_id.empty() || found.store_id != adopted_store_id)) {
    return absl::StrCat("the fence was written by another store, ", found.store_id, " (epoch ",
                        found.epoch, ", term ", found.term, "); ours is ", ours.store_id,
                        ": another controller serves this group, or `adopt` is needed");
  }
  if (found.epoch > ours.epoch || found.term > ours.term) {
    return absl::StrCat("the fence is at epoch ", found.epoch, ", term ", found.term,
                        ", higher than our epoch ", ours.epoch, ", term ", ours.term,
                        ": this controller has been replaced");
  }
  return "";
}

bool SameFence(const core::Fence& a, const core::Fence& b) {
  return a.store_id == b.store_id && a.epoch == b.epoch && a.term == b.term &&
         a.operation_id == b.operation_id;
}

}  // namespace failover::azure
