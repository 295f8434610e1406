#include "controller/azure/credentials.h"

#include <algorithm>
#include <mutex>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "common/config_file.h"
#include "common/log.h"
#include "common/status_macros.h"
#include "controller/azure/arm.h"
#include "controller/azure/json.h"
#include "controller/azure/url_text.h"
#include "nlohmann/json.hpp"

namespace failover::azure {
namespace {

constexpr absl::Duration kRefreshBefore = absl::Minutes(20);
constexpr absl::Duration kAfterFailure = absl::Seconds(5);
constexpr absl::Duration kFetchTimeout = absl::Seconds(10);
constexpr int64_t kMaxLifetime = 604'800;  // a week, in seconds

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

}  // namespace

HttpRequest TokenRequest(const CredentialsOptions& options, absl::string_view secret) {
  HttpRequest request;
  request.method = "POST";
  request.url = absl::StrCat(absl::StripSuffix(options.authority_endpoint, "/"), "/",
                             PercentEncoded(options.tenant_id, ""), "/oauth2/v2.0/token");
  request.headers = {{"Content-Type", "application/x-www-form-urlencoded"},
                     {"Accept", "application/json"}};
  request.body =
      absl::StrCat("client_id=", PercentEncoded(options.client_id, ""),
                   "&scope=", PercentEncoded(options.scope, ""),
                   "&grant_type=client_credentials&client_secret=", PercentEncoded(secret, ""));
  request.timeout = kFetchTimeout;
  request.max_response_bytes = 256 << 10;
  return request;
}

absl::StatusOr<TokenAnswer> ReadTokenAnswer(const HttpResponse& response) {
  if (response.status != 200) {
    const v1::AzureError error = ErrorOf(response);
    return absl::PermissionDeniedError(absl::StrCat("Entra refused a token: HTTP ", response.status,
                                                    " ", error.code(), " ", error.message()));
  }
  const absl::StatusOr<Json> body = ParseJson(response.body);
  if (!body.ok()) {
    return absl::DataLossError(
        absl::StrCat("the token answer of Entra: ", body.status().message()));
  }
  TokenAnswer answer{TextAt(*body, {"access_token"}), absl::ZeroDuration()};
  const std::string type = TextAt(*body, {"token_type"});
  const int64_t seconds = SecondsAt(*body, "expires_in");
  if (!absl::EqualsIgnoreCase(type, "Bearer") || !IsTokenText(answer.token) || seconds <= 0) {
    return absl::DataLossError(
        absl::StrCat("the token answer of Entra: found token_type \"", CleanText(type, 32),
                     "\", access_token ", IsTokenText(answer.token) ? "present" : "unusable",
                     ", expires_in ", seconds, "; allowed: a Bearer token with a positive life"));
  }
  answer.lifetime = absl::Seconds(std::min(seconds, kMaxLifetime));
  return answer;
}

absl::StatusOr<TokenAnswer> Credentials::Fetch(const Send& send) const {
  ASSIGN_OR_RETURN(const std::string secret, ReadSecretFile(options_.client_secret_file));
  const HttpResult result = send(TokenRequest(options_, secret));
  if (!result.response.has_value()) {
    return absl::UnavailableError(absl::StrCat("no token from Entra: ", result.error.message()));
  }
  return ReadTokenAnswer(*result.response);
}

absl::StatusOr<std::string> Credentials::Token(const Send& send, const std::stop_token& stop)
    ABSL_NO_THREAD_SAFETY_ANALYSIS {  // a unique_lock, since it waits
  std::unique_lock<Mutex> lock(mutex_);
  const uint64_t seen = fetches_;
  while (fetching_ && !IsGood(clock_.Steady())) {
    if (!fetched_.wait(lock, stop, [this]() ABSL_NO_THREAD_SAFETY_ANALYSIS { return !fetching_; }))
      return absl::CancelledError("stopped");
    if (fetches_ != seen && !IsGood(clock_.Steady()))
      return last_error_;  // that fetch was ours as well
  }
  const SteadyTime now = clock_.Steady();
  if (IsGood(now) && (fetching_ || now < refresh_at_)) return token_;
  fetching_ = true;
  lock.unlock();
  const absl::Time wall = clock_.Wall();
  absl::StatusOr<TokenAnswer> answer = Fetch(send);
  lock.lock();
  fetching_ = false;
  ++fetches_;
  fetched_.notify_all();
  if (answer.ok()) {
    token_ = std::move(answer->token);
    expires_ = now + answer->lifetime;
    refresh_at_ = expires_ - std::min(kRefreshBefore, answer->lifetime / 2);
    expires_wall_ = wall + answer->lifetime;
    last_error_ = absl::OkStatus();
    return token_;
  }
  last_error_ = absl::Status(answer.status().code(), CleanText(answer.status().message(), 1024));
  LogWarning("no new Azure token", {{"error", last_error_.message()}});
  if (!IsGood(clock_.Steady())) return last_error_;
  refresh_at_ = clock_.Steady() + kAfterFailure;
  return token_;
}

void Credentials::Refused(absl::string_view token) {
  MutexLock lock(mutex_);
  if (token_ != token) return;
  token_.clear();
  expires_ = SteadyTime::InfinitePast();
  expires_wall_ = absl::InfinitePast();
}

absl::Time Credentials::Expiry() const {
  MutexLock lock(mutex_);
  return expires_wall_;
}

absl::Duration Credentials::Left() const {
  MutexLock lock(mutex_);
  const SteadyTime now = clock_.Steady();
  return IsGood(now) ? expires_ - now : absl::ZeroDuration();
}

}  // namespace failover::azure
