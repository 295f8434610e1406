// The fake IMDS: what a machine in Azure asks for the tokens of its own identities (azure.md §6.1).
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "tests/azure_emulator/arm.h"

namespace failover::emulator {
namespace {

Answer ImdsError(int status, absl::string_view error, absl::string_view description) {
  return JsonAnswer(
      status, {{"error", std::string(error)}, {"error_description", std::string(description)}});
}

// The identity that the query names or leaves to the machine; else the error.
const Client* ChooseIdentity(const World& world, std::map<std::string, std::string>& query,
                             std::optional<Answer>& refused) {
  const Machine& machine = world.machine;
  std::set<std::string> assigned = machine.user_identities;
  if (!machine.system_identity.empty()) assigned.insert(machine.system_identity);
  std::string wanted = query["client_id"];
  for (const std::string& id : assigned) {
    const auto client = world.clients.find(id);
    if (query["object_id"].empty() || client == world.clients.end()) continue;
    if (absl::EqualsIgnoreCase(client->second.object_id, query["object_id"])) wanted = id;
  }
  const bool named = query.contains("mi_res_id") || !query["object_id"].empty() || !wanted.empty();
  if (!named) wanted = machine.system_identity;
  if (!named && wanted.empty() && assigned.size() == 1) wanted = *assigned.begin();
  if (!named && wanted.empty() && assigned.size() > 1) {
    refused = ImdsError(400, "invalid_request",
                        "Multiple user assigned identities exist, please specify the clientId / "
                        "resourceId of the identity in the token request");
    return nullptr;
  }
  const auto client = world.clients.find(wanted);
  if (client == world.clients.end() || !assigned.contains(client->first)) {
    refused = ImdsError(400, "invalid_request", "Identity not found");
    return nullptr;
  }
  return &client->second;
}

std::optional<Answer> CheckShape(const Request& request,
                                 std::map<std::string, std::string>& query) {
  if (request.path != "/metadata/identity/oauth2/token") {
    return ImdsError(404, "not_found", "The emulated IMDS knows identity/oauth2/token only.");
  }
  if (request.method != "GET") return ImdsError(405, "invalid_request", "GET only.");
  if (request.Header("metadata") != "true") {
    return ImdsError(400, "bad_request_102", "Required metadata header not specified");
  }
  if (!request.Header("x-forwarded-for").empty()) {
    return ImdsError(400, "bad_request_102", "A request with X-Forwarded-For is refused");
  }
  if (query["api-version"] < "2018-02-01") {
    return JsonAnswer(
        400, {{"error", "Bad request. api-version is invalid or was not specified in the request."},
              {"newest-versions", {"2021-12-13", "2021-11-15", "2021-11-01"}}});
  }
  if (query["resource"].empty()) {
    return ImdsError(400, "invalid_request", "Required query variable 'resource' is missing");
  }
  return std::nullopt;
}

}  // namespace

Answer HandleImds(World& world, const Request& request, absl::Time now) {
  std::map<std::string, std::string> query = request.Query();
  if (auto bad = CheckShape(request, query)) return *bad;
  std::optional<Answer> refused;
  const Client* const client = ChooseIdentity(world, query, refused);
  if (client == nullptr) return *refused;
  const std::string audience(absl::StripSuffix(query["resource"], "/"));
  if (!IsKnownAudience(audience)) {
    return ImdsError(400, "invalid_resource",
                     absl::StrCat("AADSTS500011: The resource principal named ", query["resource"],
                                  " was not found in the tenant."));
  }
  // Numbers are texts here, unlike Entra's.
  const int64_t begin = absl::ToUnixSeconds(now),
                lifetime = absl::ToInt64Seconds(world.token_lifetime);
  return JsonAnswer(200, {{"access_token", IssueToken(world, *client, audience, now)},
                          {"client_id", client->client_id},
                          {"expires_in", absl::StrCat(lifetime)},
                          {"expires_on", absl::StrCat(begin + lifetime)},
                          {"ext_expires_in", absl::StrCat(lifetime)},
                          {"not_before", absl::StrCat(begin)},
                          {"refresh_in", absl::StrCat(lifetime / 2)},
                          {"refresh_token", ""},
                          {"resource", query["resource"]},
                          {"token_type", "Bearer"}});
}

}  // namespace failover::emulator
