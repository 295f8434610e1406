#include "controller/azure/entities.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "common/digest.h"
#include "nlohmann/json.hpp"

namespace failover::azure {
namespace {

constexpr size_t kDigestDigits = 32;

// Never compared and never kept, wherever they stand: values of secrets.
constexpr absl::string_view kSecrets[] = {"primaryKey",       "secondaryKey", "password",
                                          "clientSecret",     "data",         "credentials",
                                          "connectionString", "sasToken",     "accessKey"};
// Set by the service itself.
constexpr absl::string_view kReadOnly[] = {"etag", "isOnline", "provisioningState", "lastStatus",
                                           "systemData"};

template <size_t N>
bool IsOneOf(absl::string_view key, const absl::string_view (&names)[N]) {
  return std::any_of(std::begin(names), std::end(names),
                     [&](absl::string_view name) { return absl::EqualsIgnoreCase(key, name); });
}

bool IsDate(absl::string_view key) {
  for (const absl::string_view ending : {"Date", "DateTime", "AtUtc", "DateUtc", "TimeUtc"}) {
    if (absl::EndsWith(key, ending)) return true;
  }
  return key == "createdAt" || key == "updatedAt" || key == "lastModifiedAt";
}

// "/subscriptions/…/service/NAME/users/1" → "/users/1". Texts that merely mention the id stay: a
// restore brings them unchanged.
std::string Relative(const std::string& text, absl::string_view resource_id) {
  if (resource_id.empty() || !absl::StartsWithIgnoreCase(text, resource_id)) return text;
  const std::string rest = text.substr(resource_id.size());
  return rest.empty() || rest.front() == '/' ? rest : text;
}

Json Stripped(const Json& value, absl::string_view resource_id) {
  if (value.is_string()) return Relative(value.get<std::string>(), resource_id);
  if (value.is_array()) {
    Json result = Json::array();
    for (const Json& item : value) result.push_back(Stripped(item, resource_id));
    return result;
  }
  if (!value.is_object()) return value;
  Json result = Json::object();
  for (const auto& [key, item] : value.items()) {
    if (item.is_null() || IsOneOf(key, kSecrets) || IsOneOf(key, kReadOnly) || IsDate(key))
      continue;
    result[key] = Stripped(item, resource_id);
  }
  return result;
}

// Part `index` of an id, counted from 0 (the kind).
absl::string_view Part(absl::string_view id, int index) {
  for (; index > 0; --index) {
    const size_t slash = id.find('/');
    if (slash == id.npos) return "";
    id.remove_prefix(slash + 1);
  }
  return id.substr(0, id.find('/'));
}

bool IsSampleProduct(absl::string_view name) { return name == "starter" || name == "unlimited"; }
bool IsBuiltInGroup(absl::string_view name) {
  return name == "administrators" || name == "developers" || name == "guests";
}

bool IsSampleSubscription(const Json& subscription) {
  const std::string scope = absl::AsciiStrToLower(TextAt(subscription, {"scope"}));
  const std::string owner = absl::AsciiStrToLower(TextAt(subscription, {"ownerId"}));
  const bool of_sample =
      absl::EndsWith(scope, "/products/starter") || absl::EndsWith(scope, "/products/unlimited");
  const bool all_access = scope.empty() || scope == "/" || absl::EndsWith(scope, "/apis");
  return (of_sample || all_access) && (owner.empty() || absl::EndsWith(owner, "/users/1"));
}

// Azure's sample API calls Azure's sample backend; one that was turned into something else does
// not.
bool IsSampleApi(const std::string& id, const Json& api) {
  const std::string backend = absl::AsciiStrToLower(TextAt(api, {"serviceUrl"}));
  return Part(id, 1) == "echo-api" &&
         (backend.empty() || absl::StrContains(backend, "://echoapi."));
}

bool IsSample(const std::string& id, const Json& entity) {
  const absl::string_view kind = KindOf(id);
  if (kind == "apis") return IsSampleApi(id, entity);
  if (kind == "operations") return Part(id, 1) == "echo-api";
  if (kind == "products") {
    if (!IsSampleProduct(Part(id, 1))) return false;
    if (Part(id, 2) == "apis") return Part(id, 3) == "echo-api";
    return Part(id, 2) != "groups" || IsBuiltInGroup(Part(id, 3));
  }
  if (kind == "groups")
    return IsBuiltInGroup(Part(id, 1)) && (Part(id, 2).empty() || Part(id, 3) == "1");
  if (kind == "users") return Part(id, 1) == "1";
  if (kind == "subscriptions") return IsSampleSubscription(entity);
  if (kind == "policies") {
    return Part(id, 1) == "service" || (Part(id, 1) == "apis" && Part(id, 2) == "echo-api") ||
           (Part(id, 1) == "products" && IsSampleProduct(Part(id, 2)));
  }
  return false;
}

}  // namespace

const std::vector<std::string>& Kinds() {
  static const auto& kinds = *new std::vector<std::string>{
      "apiVersionSets",  "apis",     "backends",      "certificates", "diagnostics",
      "groups",          "loggers",  "namedValues",   "operations",   "policies",
      "policyFragments", "products", "subscriptions", "tags",         "users"};
  return kinds;
}

absl::string_view KindOf(absl::string_view id) { return id.substr(0, id.find('/')); }

Json Canonical(absl::string_view kind, const Json& entity, absl::string_view resource_id) {
  Json result = Stripped(At(entity, {"properties"}), resource_id);
  if (!result.is_object()) return Json::object();
  if (kind == "namedValues" && At(result, {"secret"}) == Json(true)) result.erase("value");
  if (kind == "policies" || kind == "policyFragments") {
    result.erase("format");
    if (result.contains("value") && result["value"].is_string()) {
      result["value"] = absl::StrReplaceAll(result["value"].get<std::string>(), {{"\r\n", "\n"}});
    }
  }
  return result;
}

std::string EntityDigest(absl::string_view key, absl::string_view id, const Json& canonical) {
  return ToHex(HmacSha256(key, absl::StrCat(id, "\n", Dump(canonical)))).substr(0, kDigestDigits);
}

core::Entities Digests(absl::string_view key, const CanonicalEntities& entities) {
  core::Entities digests;
  for (const auto& [id, entity] : entities) digests.emplace(id, EntityDigest(key, id, entity));
  return digests;
}

v1::Fingerprint FingerprintOf(const core::Entities& entities) {
  std::map<std::string, std::pair<int, std::string>> lines;  // kind → count, "id=digest" lines
  for (const std::string& kind : Kinds()) lines[kind];
  for (const auto& [id, digest] : entities) {
    auto& [count, text] = lines[std::string(KindOf(id))];
    ++count;
    absl::StrAppend(&text, id, "=", digest, "\n");
  }
  v1::Fingerprint fingerprint;
  for (const auto& [kind, of_kind] : lines) {
    v1::KindDigest* digest = fingerprint.add_kinds();
    digest->set_kind(kind);
    digest->set_count(of_kind.first);
    digest->set_digest(Sha256Hex(of_kind.second));
  }
  return fingerprint;
}

bool IsPristine(const CanonicalEntities& entities) {
  return std::all_of(entities.begin(), entities.end(),
                     [](const auto& entry) { return IsSample(entry.first, entry.second); });
}

}  // namespace failover::azure
