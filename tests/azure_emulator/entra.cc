// Tokens: the fake Entra and the fake IMDS issue them, ARM and the blob endpoint check them
// (azure.md §6.1, §9).
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "common/digest.h"
#include "tests/azure_emulator/arm.h"

namespace failover::emulator {
namespace {

std::string Base64Url(absl::string_view bytes) {
  std::string text = absl::StrReplaceAll(Base64(bytes), {{"+", "-"}, {"/", "_"}});
  while (!text.empty() && text.back() == '=') text.pop_back();
  return text;
}

std::optional<std::string> FromBase64Url(absl::string_view text) {
  std::string padded = absl::StrReplaceAll(text, {{"-", "+"}, {"_", "/"}});
  while (padded.size() % 4 != 0) padded.push_back('=');
  return FromBase64(padded);
}

std::string Signature(const World& world, absl::string_view signed_part) {
  return Base64Url(HmacSha256(absl::StrCat("emulated-entra-", world.seed), signed_part));
}

Answer TokenError(int status, absl::string_view error, int number, absl::string_view text,
                  World& world, absl::Time now) {
  const std::string trace = DrawGuid(world);
  return JsonAnswer(
      status,
      {{"error", std::string(error)},
       {"error_description", absl::StrCat("AADSTS", number, ": ", text, " Trace ID: ", trace)},
       {"error_codes", {number}},
       {"timestamp", absl::FormatTime("%Y-%m-%d %H:%M:%SZ", now, absl::UTCTimeZone())},
       {"trace_id", trace},
       {"correlation_id", DrawGuid(world)},
       {"error_uri", absl::StrCat("https://login.microsoftonline.com/error?code=", number)}});
}

Answer Unauthorized(absl::string_view tenant, absl::string_view code, absl::string_view message) {
  Answer answer = ArmError(401, code, message);
  answer.Set("WWW-Authenticate",
             absl::StrCat("Bearer authorization_uri=\"https://login.windows.net/", tenant,
                          "\", error=\"invalid_token\", error_description=\"", message, "\""));
  return answer;
}

std::string WithoutSlash(absl::string_view text) {
  return std::string(absl::StripSuffix(text, "/"));
}

bool IsArm(absl::string_view audience) { return absl::StartsWith(audience, "https://management."); }

// '*' matches any run of characters.
bool TextMatches(absl::string_view pattern, absl::string_view text) {
  if (pattern.empty()) return text.empty();
  if (pattern.front() == '*') {
    for (size_t i = 0; i <= text.size(); ++i) {
      if (TextMatches(pattern.substr(1), text.substr(i))) return true;
    }
    return false;
  }
  return !text.empty() && pattern.front() == text.front() &&
         TextMatches(pattern.substr(1), text.substr(1));
}

bool ActionMatches(absl::string_view pattern, absl::string_view action) {
  return TextMatches(absl::AsciiStrToLower(pattern), absl::AsciiStrToLower(action));
}

bool ScopeCovers(absl::string_view scope, absl::string_view id) {
  scope = absl::StripSuffix(scope, "/");
  return absl::StartsWithIgnoreCase(id, scope) &&
         (id.size() == scope.size() || id[scope.size()] == '/');
}

// The claims of a JWT, unverified; null when it is none.
Json ClaimsOf(absl::string_view token) {
  const std::vector<absl::string_view> parts = absl::StrSplit(token, '.');
  Json claims;
  if (parts.size() != 3 || parts[0].empty() || parts[2].empty()) return nullptr;
  const std::optional<std::string> text = FromBase64Url(parts[1]);
  if (!text || !ParseJson(*text, claims).ok() || !claims.is_object()) return nullptr;
  return claims;
}

std::string TextOf(const Json& claims, const char* name) {
  const auto it = claims.find(name);
  if (it == claims.end()) return "";
  if (it->is_array() && !it->empty() && (*it)[0].is_string()) return (*it)[0].get<std::string>();
  return it->is_string() ? it->get<std::string>() : "";
}

absl::Time TimeOf(const Json& claims, const char* name, absl::Time otherwise) {
  const auto it = claims.find(name);
  return it != claims.end() && it->is_number_integer() ? absl::FromUnixSeconds(it->get<int64_t>())
                                                       : otherwise;
}

// The error unless `assertion` proves that the caller is `client`. Its signature is taken on trust:
// the issuer's keys are outside of this world.
std::optional<Answer> CheckAssertion(const Client& client, std::map<std::string, std::string>& form,
                                     World& world, absl::Time now) {
  constexpr absl::string_view kType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
  const std::string& type = form["client_assertion_type"];
  if (type != kType) {
    return TokenError(
        400, "invalid_request", 9002313,
        absl::StrCat("Invalid request. The client_assertion_type '", type, "' is not ", kType, "."),
        world, now);
  }
  const std::string& assertion = form["client_assertion"];
  if (assertion.empty()) {
    return TokenError(401, "invalid_client", 7000218,
                      "The request body must contain the following parameter: 'client_assertion' "
                      "or 'client_secret'.",
                      world, now);
  }
  const Json claims = ClaimsOf(assertion);
  if (claims.is_null()) {
    return TokenError(400, "invalid_request", 50027, "JWT token is invalid or malformed.", world,
                      now);
  }
  const std::string issuer = TextOf(claims, "iss"), subject = TextOf(claims, "sub"),
                    audience = TextOf(claims, "aud");
  bool issuer_known = false, subject_known = false;
  for (const FederatedCredential& credential : client.federated) {
    if (!TextMatches(credential.issuer, issuer) || credential.audience != audience) continue;
    issuer_known = true;
    subject_known |= TextMatches(credential.subject, subject);
  }
  if (!issuer_known) {
    return TokenError(401, "invalid_client", 70021,
                      absl::StrCat("No matching federated identity record found for presented "
                                   "assertion. Assertion Issuer: '",
                                   issuer, "'. Assertion Subject: '", subject,
                                   "'. Assertion Audience: '", audience, "'."),
                      world, now);
  }
  if (!subject_known) {
    return TokenError(401, "invalid_client", 700213,
                      absl::StrCat("No matching federated identity record found for presented "
                                   "assertion subject '",
                                   subject,
                                   "'. Check your federated identity credential Subject, Audience "
                                   "and Issuer against the presented assertion."),
                      world, now);
  }
  const absl::Time begin = TimeOf(claims, "nbf", absl::InfinitePast()),
                   end = TimeOf(claims, "exp", absl::InfinitePast());
  if (end <= now || begin > now + absl::Minutes(5)) {
    return TokenError(401, "invalid_client", 700024,
                      absl::StrCat("Client assertion is not within its valid time range. Current "
                                   "time: ",
                                   IsoTime(now), ", expiry time of assertion ",
                                   end == absl::InfinitePast() ? "none" : IsoTime(end), "."),
                      world, now);
  }
  return std::nullopt;
}

// The error unless the form proves that the caller is `client`.
std::optional<Answer> CheckProof(const Client& client, std::map<std::string, std::string>& form,
                                 World& world, absl::Time now) {
  if (form.contains("client_assertion_type") || form.contains("client_assertion")) {
    return CheckAssertion(client, form, world, now);
  }
  if (client.secret.empty() || form["client_secret"] != client.secret) {
    return TokenError(401, "invalid_client", 7000215, "Invalid client secret provided.", world,
                      now);
  }
  return std::nullopt;
}

Answer Forbidden(const Client& client, absl::string_view action, absl::string_view scope) {
  return ArmError(
      403, "AuthorizationFailed",
      absl::StrCat("The client '", client.client_id, "' with object id '", client.object_id,
                   "' does not have authorization to perform action '", action, "' over scope '",
                   scope,
                   "' or the scope is invalid. If access was recently granted, please refresh your "
                   "credentials."));
}

}  // namespace

bool IsKnownAudience(absl::string_view audience) {
  return IsArm(audience) || audience == "https://storage.azure.com";
}

std::string IssueToken(World& world, const Client& client, absl::string_view audience,
                       absl::Time now) {
  const int64_t issued = absl::ToUnixSeconds(now);
  const Json claims = {{"aud", std::string(audience)},
                       {"iss", absl::StrCat("https://sts.windows.net/", client.tenant, "/")},
                       {"iat", issued},
                       {"nbf", issued},
                       {"exp", issued + absl::ToInt64Seconds(world.token_lifetime)},
                       {"appid", client.client_id},
                       {"oid", client.object_id},
                       {"tid", client.tenant},
                       {"number", ++world.tokens_issued}};
  const std::string signed_part =
      absl::StrCat(Base64Url(R"({"typ":"JWT","alg":"HS256"})"), ".", Base64Url(Dump(claims)));
  return absl::StrCat(signed_part, ".", Signature(world, signed_part));
}

Answer HandleToken(World& world, const Request& request, absl::Time now) {
  if (request.method != "POST")
    return TokenError(405, "invalid_request", 900561, "POST only.", world, now);
  const std::string tenant = request.Segments().at(0);
  std::map<std::string, std::string> form = ParseForm(request.body);
  if (form["grant_type"] != "client_credentials") {
    return TokenError(400, "unsupported_grant_type", 70003,
                      absl::StrCat("The grant type '", form["grant_type"], "' is not supported."),
                      world, now);
  }
  const auto it = world.clients.find(form["client_id"]);
  bool tenant_known = false;
  for (const auto& [id, client] : world.clients) {
    tenant_known |= absl::EqualsIgnoreCase(client.tenant, tenant);
  }
  if (!tenant_known) {
    return TokenError(400, "invalid_request", 90002,
                      absl::StrCat("Tenant '", tenant, "' not found."), world, now);
  }
  if (it == world.clients.end() || !absl::EqualsIgnoreCase(it->second.tenant, tenant)) {
    return TokenError(400, "unauthorized_client", 700016,
                      absl::StrCat("Application with identifier '", form["client_id"],
                                   "' was not found in the directory."),
                      world, now);
  }
  if (auto refused = CheckProof(it->second, form, world, now)) return *refused;
  const absl::string_view suffix = "/.default";
  const std::string& scope = form["scope"];
  if (!absl::EndsWith(scope, suffix)) {
    return TokenError(400, "invalid_scope", 1002012,
                      absl::StrCat("The scope '", scope, "' must end with /.default."), world, now);
  }
  const std::string audience = WithoutSlash(scope.substr(0, scope.size() - suffix.size()));
  if (!IsKnownAudience(audience)) {
    return TokenError(400, "invalid_resource", 500011,
                      absl::StrCat("The resource principal named ", audience, " was not found."),
                      world, now);
  }
  const int64_t lifetime = absl::ToInt64Seconds(world.token_lifetime);
  Answer answer = JsonAnswer(200, {{"token_type", "Bearer"},
                                   {"expires_in", lifetime},
                                   {"ext_expires_in", lifetime},
                                   {"access_token", IssueToken(world, it->second, audience, now)}});
  answer.Set("Cache-Control", "no-store, no-cache");
  answer.Set("Pragma", "no-cache");
  return answer;
}

std::optional<Answer> Authenticate(const World& world, const Request& request,
                                   absl::string_view audience, absl::Time now, Caller& caller) {
  const std::string tenant =
      world.clients.empty() ? "common" : world.clients.begin()->second.tenant;
  const absl::string_view header = request.Header("authorization");
  if (header.empty()) {
    return Unauthorized(tenant, "AuthenticationFailed",
                        "Authentication failed. The 'Authorization' header is missing.");
  }
  const auto invalid = [&](absl::string_view what) {
    return Unauthorized(tenant, "InvalidAuthenticationToken", what);
  };
  if (!absl::StartsWithIgnoreCase(header, "Bearer ")) {
    return invalid("The authentication scheme must be Bearer.");
  }
  const std::vector<absl::string_view> parts = absl::StrSplit(header.substr(7), '.');
  if (parts.size() != 3) return invalid("The access token is invalid.");
  if (Signature(world, absl::StrCat(parts[0], ".", parts[1])) != parts[2]) {
    return invalid("The access token has an invalid signature.");
  }
  const std::optional<std::string> text = FromBase64Url(parts[1]);
  Json claims;
  if (!text || !ParseJson(*text, claims).ok()) return invalid("The access token is invalid.");
  const std::string found = WithoutSlash(claims.value("aud", ""));
  if (IsArm(audience) ? !IsArm(found) : found != audience) {
    return Unauthorized(tenant, "InvalidAuthenticationTokenAudience",
                        absl::StrCat("The access token has been obtained for wrong audience or "
                                     "resource '",
                                     found, "'. It should match '", audience, "'."));
  }
  if (absl::FromUnixSeconds(claims.value("exp", int64_t{0})) <= now) {
    return Unauthorized(tenant, "ExpiredAuthenticationToken",
                        "The access token expiry UTC time is in the past.");
  }
  if (absl::FromUnixSeconds(claims.value("nbf", int64_t{0})) > now + absl::Minutes(5)) {
    return invalid("The access token is not yet valid.");
  }
  if (claims.value("number", uint64_t{0}) <= world.tokens_revoked) {
    return invalid("The access token has been revoked.");
  }
  const auto it = world.clients.find(claims.value("appid", ""));
  if (it == world.clients.end()) return invalid("The access token names an unknown application.");
  caller.client = &it->second;
  caller.tenant = it->second.tenant;
  return std::nullopt;
}

std::optional<Answer> Authorize(const Caller& caller, absl::string_view action,
                                absl::string_view scope) {
  for (const std::string& lacking : caller.client->lacks) {
    if (ActionMatches(lacking, action)) return Forbidden(*caller.client, action, scope);
  }
  for (const RoleAssignment& role : caller.client->roles) {
    if (!ScopeCovers(role.scope, scope)) continue;
    for (const std::string& allowed : role.actions) {
      if (ActionMatches(allowed, action)) return std::nullopt;
    }
  }
  return Forbidden(*caller.client, action, scope);
}

}  // namespace failover::emulator
