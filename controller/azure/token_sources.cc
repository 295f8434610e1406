#include "controller/azure/token_sources.h"

#include <algorithm>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "common/digest.h"
#include "controller/azure/arm.h"
#include "controller/azure/json.h"
#include "controller/azure/url_text.h"
#include "nlohmann/json.hpp"

namespace failover::azure {
namespace {

constexpr absl::Duration kFetchTimeout = absl::Seconds(10);
constexpr absl::Duration kImdsConnectTimeout = absl::Seconds(2);  // it is in the same machine
constexpr int64_t kMaxLifetime = 604'800;                         // a week, in seconds
constexpr char kImdsVersion[] = "2018-02-01";

const char* SourceName(Auth auth) { return auth == Auth::kManagedIdentity ? "IMDS" : "Entra"; }

// Entra sends numbers, IMDS and some proxies send them as text.
int64_t SecondsAt(const Json& body, const char* key) {
  const Json& value = At(body, {key});
  if (value.is_number_integer()) return value.get<int64_t>();
  int64_t seconds = 0;
  return value.is_string() && absl::SimpleAtoi(value.get<std::string>(), &seconds) ? seconds : 0;
}

bool IsTokenText(absl::string_view token) {
  if (token.empty() || token.size() > 65'536) return false;
  return std::all_of(token.begin(), token.end(), [](char c) { return c > ' ' && c < 0x7f; });
}

// Of Entra's error object: the numbers of error_codes, else that of the text.
std::vector<int64_t> EntraCodes(const HttpResponse& response) {
  std::vector<int64_t> codes;
  const absl::StatusOr<Json> body = ParseJson(response.body);
  if (!body.ok()) return codes;
  if (const Json& list = At(*body, {"error_codes"}); list.is_array()) {
    for (const Json& code : list) {
      if (code.is_number_integer() && codes.size() < 10) codes.push_back(code.get<int64_t>());
    }
  }
  const std::string text = TextAt(*body, {"error_description"});
  absl::string_view rest = text;
  int64_t code = 0;
  if (codes.empty() && absl::ConsumePrefix(&rest, "AADSTS") &&
      absl::SimpleAtoi(rest.substr(0, rest.find_first_not_of("0123456789")), &code)) {
    codes.push_back(code);
  }
  return codes;
}

// What a federated token says of itself, for messages. Unverified, and no secret.
std::string ClaimsText(absl::string_view assertion) {
  const std::vector<absl::string_view> parts = absl::StrSplit(assertion, '.');
  std::string padded;
  if (parts.size() == 3) padded = absl::StrReplaceAll(parts[1], {{"-", "+"}, {"_", "/"}});
  while (padded.size() % 4 != 0) padded.push_back('=');
  const std::optional<std::string> text = FromBase64(padded);
  const absl::StatusOr<Json> claims = ParseJson(text.value_or(""));
  if (!claims.ok() || !claims->is_object()) return "it is no JWT";
  std::string audience = TextAt(*claims, {"aud"});
  if (const Json& list = At(*claims, {"aud"}); list.is_array() && !list.empty()) {
    audience = list[0].is_string() ? list[0].get<std::string>() : "";
  }
  return absl::StrCat(
      "issuer \"", CleanText(TextAt(*claims, {"iss"}), 200), "\", subject \"",
      CleanText(TextAt(*claims, {"sub"}), 200), "\", audience \"", CleanText(audience, 100),
      "\", valid until ",
      absl::FormatTime("%Y-%m-%d %H:%M:%SZ", absl::FromUnixSeconds(SecondsAt(*claims, "exp")),
                       absl::UTCTimeZone()));
}

std::string EntraAdvice(const CredentialsOptions& options, absl::string_view proof,
                        const HttpResponse& response) {
  const std::string& file = ProofFile(options);
  for (const int64_t code : EntraCodes(response)) {
    switch (code) {
      case 70021:
      case 700211:
      case 700212:
      case 700213:
        return absl::StrCat("no federated credential of client ", options.client_id,
                            " matches the token in ", file, " (", ClaimsText(proof),
                            "); issuer, subject and audience must be equal to the letter");
      case 700024:
        return absl::StrCat("the token in ", file, " is not valid now (", ClaimsText(proof),
                            "); the kubelet renews a projected token before its end: is it one, "
                            "and are the clocks right");
      case 50027:
        return absl::StrCat("the content of ", file, " is not accepted as a token (",
                            ClaimsText(proof), ")");
      case 700016:
        return absl::StrCat("tenant ", options.tenant_id, " does not know client ",
                            options.client_id, ": azure.clientId or azure.tenantId is wrong");
      case 90002:
        return absl::StrCat(options.authority_endpoint, " does not know tenant ", options.tenant_id,
                            ": azure.tenantId or azure.cloud is wrong");
      case 7000215:
        return absl::StrCat("the secret in ", file, " is wrong (its value is needed, not its id)");
      case 7000222:
        return absl::StrCat("the secret in ", file, " has expired");
      default:
        break;
    }
  }
  return "";
}

std::string ImdsAdvice(const CredentialsOptions& options, int status) {
  if (status == 400 && options.client_id.empty()) {
    return "this machine has no identity of its own, or several identities: assign one, or name "
           "one by azure.clientId";
  }
  if (status == 400) {
    return absl::StrCat("identity ", options.client_id,
                        " is not assigned to this machine (VM, scale set or node pool): assign "
                        "it, or correct azure.clientId");
  }
  if (status == 403) return "requests from here are not allowed, or passed a proxy";
  if (status == 404 || status == 410 || status == 429 || status >= 500)
    return "it is being updated, or overloaded";
  return "";
}

HttpRequest ImdsRequest(const CredentialsOptions& options) {
  HttpRequest request;
  request.url =
      absl::StrCat(absl::StripSuffix(options.imds_endpoint, "/"),
                   "/metadata/identity/oauth2/token?api-version=", kImdsVersion,
                   "&resource=", PercentEncoded(absl::StripSuffix(options.scope, ".default"), ""));
  if (!options.client_id.empty()) {
    absl::StrAppend(&request.url, "&client_id=", PercentEncoded(options.client_id, ""));
  }
  request.headers = {{"Metadata", "true"}, {"Accept", "application/json"}};
  request.connect_timeout = kImdsConnectTimeout;
  return request;
}

HttpRequest EntraRequest(const CredentialsOptions& options, absl::string_view proof) {
  HttpRequest request;
  request.method = "POST";
  request.url = absl::StrCat(absl::StripSuffix(options.authority_endpoint, "/"), "/",
                             PercentEncoded(options.tenant_id, ""), "/oauth2/v2.0/token");
  request.headers = {{"Content-Type", "application/x-www-form-urlencoded"},
                     {"Accept", "application/json"}};
  request.body =
      absl::StrCat("client_id=", PercentEncoded(options.client_id, ""),
                   "&scope=", PercentEncoded(options.scope, ""), "&grant_type=client_credentials");
  if (options.auth == Auth::kWorkloadIdentity) {
    constexpr absl::string_view kType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
    absl::StrAppend(&request.body, "&client_assertion_type=", PercentEncoded(kType, ""),
                    "&client_assertion=", PercentEncoded(absl::StripAsciiWhitespace(proof), ""));
  } else {
    absl::StrAppend(&request.body, "&client_secret=", PercentEncoded(proof, ""));
  }
  return request;
}

}  // namespace

const std::string& ProofFile(const CredentialsOptions& options) {
  static const auto& none = *new std::string();
  if (options.auth == Auth::kManagedIdentity) return none;
  return options.auth == Auth::kWorkloadIdentity ? options.federated_token_file
                                                 : options.client_secret_file;
}

HttpRequest TokenRequest(const CredentialsOptions& options, absl::string_view proof) {
  HttpRequest request =
      options.auth == Auth::kManagedIdentity ? ImdsRequest(options) : EntraRequest(options, proof);
  request.timeout = kFetchTimeout;
  request.max_response_bytes = 256 << 10;
  return request;
}

absl::StatusOr<TokenAnswer> ReadTokenAnswer(const CredentialsOptions& options,
                                            absl::string_view proof, const HttpResponse& response) {
  const char* const source = SourceName(options.auth);
  if (response.status != 200) {
    const v1::AzureError error = ErrorOf(response);
    const std::string advice = options.auth == Auth::kManagedIdentity
                                   ? ImdsAdvice(options, response.status)
                                   : EntraAdvice(options, proof, response);
    return absl::PermissionDeniedError(
        absl::StrCat(source, " gave no token: ", advice, advice.empty() ? "" : ": ", "HTTP ",
                     response.status, " ", error.code(), " ", error.message()));
  }
  const absl::StatusOr<Json> body = ParseJson(response.body);
  if (!body.ok()) {
    return absl::DataLossError(
        absl::StrCat("the token answer of ", source, ": ", body.status().message()));
  }
  TokenAnswer answer;
  answer.token = TextAt(*body, {"access_token"});
  const std::string type = TextAt(*body, {"token_type"});
  const int64_t seconds = SecondsAt(*body, "expires_in");
  if (!absl::EqualsIgnoreCase(type, "Bearer") || !IsTokenText(answer.token) || seconds <= 0) {
    return absl::DataLossError(
        absl::StrCat("the token answer of ", source, ": found token_type \"", CleanText(type, 32),
                     "\", access_token ", IsTokenText(answer.token) ? "present" : "unusable",
                     ", expires_in ", seconds, "; allowed: a Bearer token with a positive life"));
  }
  answer.lifetime = absl::Seconds(std::min(seconds, kMaxLifetime));
  const int64_t refresh = SecondsAt(*body, "refresh_in");
  if (refresh > 0 && refresh < seconds) answer.refresh_in = absl::Seconds(refresh);
  return answer;
}

absl::Status NoTokenAnswer(const CredentialsOptions& options, const HttpResult& result) {
  if (options.auth != Auth::kManagedIdentity || result.maybe_sent) {
    return absl::UnavailableError(
        absl::StrCat("no token from ", SourceName(options.auth), ": ", result.error.message()));
  }
  return absl::UnavailableError(absl::StrCat(
      "no token: there is no IMDS at ", options.imds_endpoint,
      "; this is not a machine in Azure, or something blocks the way (a NetworkPolicy, a firewall "
      "of the node); elsewhere azure.auth is clientSecret or workloadIdentity: ",
      result.error.message()));
}

absl::Status NoProof(const CredentialsOptions& options, const absl::Status& why) {
  if (options.auth != Auth::kWorkloadIdentity) return why;
  return absl::Status(
      why.code(),
      absl::StrCat("no federated token: ", why.message(),
                   "; a pod gets one by the label azure.workload.identity/use: \"true\" and a "
                   "ServiceAccount annotated with azure.workload.identity/client-id"));
}

Repeat RepeatOf(Auth auth, const HttpResult& result) {
  if (auth != Auth::kManagedIdentity) return {};
  const Repeat usual{absl::Seconds(2), absl::Seconds(35), absl::ZeroDuration()};
  if (!result.response.has_value()) return result.maybe_sent ? usual : Repeat{};
  const int status = result.response->status;
  const absl::Duration asked = absl::Seconds(RetryAfterSeconds(*result.response));
  if (status == 410) return {absl::Seconds(3), absl::Seconds(90), asked};
  if (status != 404 && status != 429 && status < 500) return {};
  return {usual.first, usual.patience, asked};
}

}  // namespace failover::azure
