#include "tests/azure_emulator/backup_content.h"

#include <cmath>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "common/digest.h"

namespace failover::emulator {
namespace {

constexpr absl::string_view kMagic = "EMULATED-APIM-BACKUP-1 ";
constexpr size_t kDigest = 64;

}  // namespace

bool IsInBackup(absl::string_view entity_path) {
  for (const absl::string_view kind :
       {"portalsettings/", "portalconfigs/", "portalrevisions/", "contenttypes/"}) {
    if (absl::StartsWithIgnoreCase(entity_path, kind)) return false;
  }
  return true;
}

BackupContent Snapshot(const Service& service, absl::string_view api_version, absl::Time now) {
  BackupContent content{service.Id(),     service.sku, std::string(api_version),
                        service.capacity, now,         Json::object()};
  for (const auto& [key, entity] : service.entities) {
    if (IsInBackup(key)) content.entities[entity.path] = entity.properties;
  }
  return content;
}

std::string EncodeBackup(const BackupContent& content) {
  const std::string body = Dump({{"service", content.service_id},
                                 {"sku", content.sku},
                                 {"capacity", content.capacity},
                                 {"apiVersion", content.api_version},
                                 {"created", absl::ToUnixMicros(content.created)},
                                 {"entities", content.entities}});
  return absl::StrCat(kMagic, Sha256Hex(body), "\n", body);
}

absl::StatusOr<BackupContent> DecodeBackup(absl::string_view bytes) {
  if (bytes.empty()) return absl::DataLossError("the backup is empty");
  if (!absl::ConsumePrefix(&bytes, kMagic) || bytes.size() < kDigest + 1) {
    return absl::DataLossError("the blob is not a backup");
  }
  const absl::string_view body = bytes.substr(kDigest + 1);
  if (Sha256Hex(body) != bytes.substr(0, kDigest)) {
    return absl::DataLossError("the backup is damaged");
  }
  Json json;
  if (const absl::Status parsed = ParseJson(body, json); !parsed.ok()) return parsed;
  BackupContent content;
  content.service_id = json.value("service", "");
  content.sku = json.value("sku", "");
  content.capacity = json.value("capacity", 0);
  content.api_version = json.value("apiVersion", "");
  content.created = absl::FromUnixMicros(json.value("created", int64_t{0}));
  content.entities = json.value("entities", Json::object());
  return content;
}

void ReplaceEntities(World& world, Service& service, const BackupContent& content, double part,
                     absl::Time now) {
  std::map<std::string, Json> kept;
  for (const auto& [key, entity] : service.entities) {
    if (!IsInBackup(key)) kept[entity.path] = entity.properties;
  }
  ClearEntities(service, now);
  for (auto& [path, properties] : kept) PutEntity(world, service, path, properties, now);
  const size_t count =
      static_cast<size_t>(std::ceil(part * static_cast<double>(content.entities.size())));
  size_t done = 0;
  for (const auto& [path, properties] : content.entities.items()) {
    if (done++ == count) break;
    PutEntity(world, service, path, properties, now);
  }
}

}  // namespace failover::emulator
