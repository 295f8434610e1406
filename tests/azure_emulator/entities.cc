// The configuration of a service: its entities, their rules of naming, and what is read of them.
#include <algorithm>
#include <cstring>
#include <iterator>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "common/digest.h"
#include "tests/azure_emulator/arm.h"
#include "tests/azure_emulator/world.h"

namespace failover::emulator {
namespace {

// Collections under a service (azure.md §3.2), '*' stands for an entity's name.
constexpr absl::string_view kCollections[] = {
    "apis",
    "apis/*/operations",
    "apis/*/operations/*/policies",
    "apis/*/policies",
    "apis/*/schemas",
    "apis/*/releases",
    "apis/*/diagnostics",
    "apis/*/tags",
    "apis/*/tagdescriptions",
    "apis/*/wikis",
    "apis/*/resolvers",
    "apiversionsets",
    "products",
    "products/*/apis",
    "products/*/groups",
    "products/*/policies",
    "products/*/tags",
    "products/*/apilinks",
    "products/*/grouplinks",
    "subscriptions",
    "users",
    "groups",
    "groups/*/users",
    "namedvalues",
    "backends",
    "certificates",
    "loggers",
    "diagnostics",
    "caches",
    "gateways",
    "gateways/*/apis",
    "identityproviders",
    "authorizationservers",
    "openidconnectproviders",
    "authorizationproviders",
    "policies",
    "policyfragments",
    "schemas",
    "tags",
    "templates",
    "notifications",
    "portalsettings",
    "portalconfigs",
    "portalrevisions",
    "contenttypes",
    "documentations",
    "settings",
};

// Properties no reader gets back (azure.md §3.2): only POST listSecrets and the like show them.
constexpr absl::string_view kSecretProperties[] = {"primaryKey",   "secondaryKey", "password",
                                                   "clientSecret", "data",         "credentials"};

bool MatchesPattern(const std::vector<absl::string_view>& parts, absl::string_view pattern,
                    bool collection) {
  const std::vector<absl::string_view> wanted = absl::StrSplit(pattern, '/');
  if (parts.size() != wanted.size() + (collection ? 0 : 1)) return false;
  for (size_t i = 0; i < wanted.size(); ++i) {
    if (wanted[i] == "*" ? parts[i].empty() : !absl::EqualsIgnoreCase(parts[i], wanted[i])) {
      return false;
    }
  }
  return collection || !parts.back().empty();
}

bool IsKnown(absl::string_view path, bool collection) {
  const std::vector<absl::string_view> parts = absl::StrSplit(path, '/');
  return std::any_of(std::begin(kCollections), std::end(kCollections),
                     [&](absl::string_view p) { return MatchesPattern(parts, p, collection); });
}

uint64_t HashOf(const std::string& key, const Json& properties) {
  const std::string digest = Sha256Hex(absl::StrCat(key, "\n", Dump(properties))).substr(0, 16);
  uint64_t value = 0;
  for (const char c : digest) {
    value = value * 16 + static_cast<uint64_t>(c <= '9' ? c - '0' : c - 'a' + 10);
  }
  return value;
}

// "apis/x/operations/y" → "Microsoft.ApiManagement/service/apis/operations"
std::string TypeOf(absl::string_view path) {
  std::string type = "Microsoft.ApiManagement/service";
  const std::vector<absl::string_view> parts = absl::StrSplit(path, '/');
  for (size_t i = 0; i < parts.size(); i += 2) absl::StrAppend(&type, "/", parts[i]);
  return type;
}

std::string Quoted(absl::string_view etag) { return absl::StrCat("\"", etag, "\""); }

Answer EntityMissing(absl::string_view path) {
  return ArmError(404, "ResourceNotFound", absl::StrCat(path, " not found."));
}

// OK when the conditions of a write hold (azure.md §3.2).
std::optional<Answer> CheckConditions(const World& world, const Request& request,
                                      const Entity* entity, bool deletes) {
  const absl::string_view match = request.Header("if-match");
  if (entity == nullptr) {
    if (!match.empty() && match != "*" && !deletes) {
      return ArmError(412, "PreconditionFailed", "Resource was modified since last retrieval.");
    }
    return std::nullopt;
  }
  if (request.Header("if-none-match") == "*") {
    return ArmError(412, "PreconditionFailed", "Resource already exists.");
  }
  if (match.empty()) {
    if (!world.switches.if_match_required) return std::nullopt;
    return ArmError(412, "PreconditionFailed",
                    "The request must be conditional: header If-Match is missing.");
  }
  const std::string etag = EntityEtag(*entity);
  if (match == "*" || match == Quoted(etag) || match == etag) return std::nullopt;
  return ArmError(412, "PreconditionFailed", "Resource was modified since last retrieval.");
}

Answer ListEntities(World& world, const Service& service, const Request& request,
                    const std::string& collection);
Answer ListSecrets(const Service& service, const std::string& path, absl::string_view verb);

Answer ReadEntity(const Service& service, const Request& request, const Entity& entity) {
  Json document = EntityDocument(service, entity);
  const auto query = request.Query();
  const bool policy = absl::StrContains(absl::AsciiStrToLower(entity.path), "policies/");
  if (policy && query.contains("format") && query.at("format") == "rawxml") {
    document["properties"]["format"] = "rawxml";
  }
  Answer answer = JsonAnswer(200, document);
  answer.Set("ETag", Quoted(EntityEtag(entity)));
  return answer;
}

Answer WriteEntity(World& world, Service& service, const Request& request, const std::string& path,
                   absl::Time now) {
  const auto it = service.entities.find(absl::AsciiStrToLower(path));
  const Entity* old = it == service.entities.end() ? nullptr : &it->second;
  if (auto refused = CheckConditions(world, request, old, request.method == "DELETE")) {
    return *refused;
  }
  if (request.method == "DELETE") {
    if (old == nullptr) return Answer{204, {}, ""};
    EraseEntity(service, path, now);
    return Answer{200, {}, ""};
  }
  if (request.method == "PATCH" && old == nullptr) return EntityMissing(path);
  const std::vector<std::string> parts = absl::StrSplit(path, '/');
  if (parts.size() > 2) {  // the parent must exist
    const std::string parent = absl::StrJoin(parts.begin(), parts.end() - 2, "/");
    if (!service.entities.contains(absl::AsciiStrToLower(parent))) return EntityMissing(parent);
  }
  Json body = Json::object();
  if (!request.body.empty()) {
    if (const absl::Status parsed = ParseJson(request.body, body); !parsed.ok()) {
      return ArmError(400, "InvalidRequestContent", parsed.message());
    }
  }
  if (!body.is_object() || (body.contains("properties") && !body["properties"].is_object())) {
    return ArmError(400, "InvalidRequestContent", "The request content must be an object.");
  }
  Json properties = body.value("properties", Json::object());
  if (request.method == "PATCH") {
    Json merged = old->properties;
    merged.merge_patch(properties);
    properties = std::move(merged);
  }
  const bool created = old == nullptr;
  const std::string spelling = created ? path : old->path;
  PutEntity(world, service, spelling, std::move(properties), now);
  Answer answer = ReadEntity(service, request, service.entities.at(absl::AsciiStrToLower(path)));
  answer.status = created ? 201 : 200;
  return answer;
}

// `key eq 'value'` on the name or a top-level property; the only filters the emulator understands.
bool ParseFilter(absl::string_view text, std::string& field, std::string& value) {
  const std::vector<absl::string_view> parts = absl::StrSplit(text, absl::MaxSplits(' ', 2));
  if (parts.size() != 3 || parts[1] != "eq" || parts[2].size() < 2 || parts[2].front() != '\'' ||
      parts[2].back() != '\'') {
    return false;
  }
  field = std::string(parts[0]);
  value = std::string(parts[2].substr(1, parts[2].size() - 2));
  return true;
}

Answer ListEntities(World& world, const Service& service, const Request& request,
                    const std::string& collection) {
  const auto query = request.Query();
  int top = world.page_size, skip = 0;
  if (query.contains("$top") && (!absl::SimpleAtoi(query.at("$top"), &top) || top < 1)) {
    return ArmError(400, "ValidationError", "$top must be a positive number.");
  }
  if (query.contains("$skip") && (!absl::SimpleAtoi(query.at("$skip"), &skip) || skip < 0)) {
    return ArmError(400, "ValidationError", "$skip must not be negative.");
  }
  std::string field, wanted;
  if (query.contains("$filter") && !ParseFilter(query.at("$filter"), field, wanted)) {
    return ArmError(400, "ValidationError",
                    absl::StrCat("The emulator knows no $filter '", query.at("$filter"), "'."));
  }
  const int page = std::min(top, world.page_size);
  const std::string prefix = absl::StrCat(absl::AsciiStrToLower(collection), "/");
  std::vector<const Entity*> found;
  for (auto it = service.entities.lower_bound(prefix);
       it != service.entities.end() && absl::StartsWith(it->first, prefix); ++it) {
    if (absl::StrContains(absl::string_view(it->first).substr(prefix.size()), '/')) continue;
    if (!field.empty()) {
      const std::string name = it->second.path.substr(prefix.size());
      const Json& p = it->second.properties;
      const std::string value =
          field == "name"
              ? name
              : (p.contains(field) && p[field].is_string() ? p[field].get<std::string>() : "");
      if (value != wanted) continue;
    }
    found.push_back(&it->second);
  }
  const int total = static_cast<int>(found.size());
  Json value = Json::array();
  for (int i = skip; i < total && i < skip + page; ++i) {
    value.push_back(EntityDocument(service, *found[i]));
  }
  Json body = {{"value", std::move(value)}, {"count", total}};
  const bool more = skip + page < total && (!query.contains("$top") || top > page);
  if (more) {
    std::string link = absl::StrCat("https://", request.Header("host"), request.path, "?");
    for (const auto& [name, text] : query) {
      if (name == "$skip" || name == "$top") continue;
      absl::StrAppend(&link, name, "=", PercentEncode(text), "&");
    }
    if (query.contains("$top")) absl::StrAppend(&link, "$top=", top - page, "&");
    body["nextLink"] = absl::StrCat(link, "$skip=", skip + page);
  }
  return JsonAnswer(200, body);
}

Answer ListSecrets(const Service& service, const std::string& path, absl::string_view verb) {
  const auto it = service.entities.find(absl::AsciiStrToLower(path));
  if (it == service.entities.end()) return EntityMissing(path);
  const Json& p = it->second.properties;
  Json body = Json::object();
  if (absl::EqualsIgnoreCase(verb, "listValue")) {
    body["value"] = p.value("value", "");
  } else {
    for (const absl::string_view key : kSecretProperties) {
      if (p.contains(std::string(key))) body[std::string(key)] = p[std::string(key)];
    }
  }
  return JsonAnswer(200, body);
}

}  // namespace

bool IsEntityPath(absl::string_view path) { return IsKnown(path, false); }

void PutEntity(World& world, Service& service, const std::string& path, Json properties,
               absl::Time now) {
  const std::string key = absl::AsciiStrToLower(path);
  Entity& entity = service.entities[key];
  service.configuration_hash ^= entity.hash;
  entity.path = path;
  entity.properties = std::move(properties);
  entity.version = ++world.versions;
  entity.hash = HashOf(key, entity.properties);
  service.configuration_hash ^= entity.hash;
  service.configuration_changed = now;
}

bool EraseEntity(Service& service, absl::string_view path, absl::Time now) {
  const std::string key = absl::AsciiStrToLower(path);
  if (!service.entities.contains(key)) return false;
  const std::string prefix = absl::StrCat(key, "/");
  for (auto it = service.entities.find(key); it != service.entities.end();) {
    if (it->first != key && !absl::StartsWith(it->first, key)) break;
    if (it->first != key && !absl::StartsWith(it->first, prefix)) {
      ++it;
      continue;
    }
    service.configuration_hash ^= it->second.hash;
    it = service.entities.erase(it);
  }
  service.configuration_changed = now;
  return true;
}

void ClearEntities(Service& service, absl::Time now) {
  service.entities.clear();
  service.configuration_hash = 0;
  service.configuration_changed = now;
}

std::string EntityEtag(const Entity& entity) {
  std::string bytes(16, '\0');
  for (int i = 0; i < 8; ++i) bytes[7 - i] = static_cast<char>(entity.version >> (8 * i));
  return Base64(bytes);
}

Json EntityDocument(const Service& service, const Entity& entity) {
  Json shown = entity.properties;
  for (const absl::string_view key : kSecretProperties) shown.erase(std::string(key));
  if (shown.value("secret", false)) shown.erase("value");
  return Json{{"id", absl::StrCat(service.Id(), "/", entity.path)},
              {"type", TypeOf(entity.path)},
              {"name", entity.path.substr(entity.path.rfind('/') + 1)},
              {"properties", std::move(shown)}};
}

Answer HandleEntities(World& world, Service& service, const Request& request,
                      const std::vector<std::string>& rest, absl::Time now) {
  const std::string path = absl::StrJoin(rest, "/");
  const bool read = request.method == "GET" || request.method == "HEAD";
  if (IsKnown(path, true)) {
    if (!read) return ArmError(405, "MethodNotAllowed", "A collection can only be read.");
    return ListEntities(world, service, request, path);
  }
  if (request.method == "POST" && rest.size() >= 3 &&
      (absl::StartsWithIgnoreCase(rest.back(), "listSecrets") ||
       absl::StartsWithIgnoreCase(rest.back(), "listValue"))) {
    return ListSecrets(service, absl::StrJoin(rest.begin(), rest.end() - 1, "/"), rest.back());
  }
  if (!IsEntityPath(path)) {
    return ArmError(404, "InvalidResourceType",
                    absl::StrCat("The emulator knows no resource '", path, "' of a service."));
  }
  if (!read) {
    if (request.method != "PUT" && request.method != "PATCH" && request.method != "DELETE") {
      return ArmError(405, "MethodNotAllowed", "The method is not allowed on an entity.");
    }
    return WriteEntity(world, service, request, path, now);
  }
  const auto it = service.entities.find(absl::AsciiStrToLower(path));
  if (it == service.entities.end()) return EntityMissing(path);
  Answer answer = ReadEntity(service, request, it->second);
  if (request.method == "HEAD") answer.body.clear();
  return answer;
}

}  // namespace failover::emulator
