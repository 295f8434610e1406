#include "controller/azure/lane.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "common/config_file.h"
#include "common/digest.h"
#include "common/log.h"
#include "common/status_macros.h"
#include "controller/azure/arm.h"
#include "controller/azure/shared_key.h"

namespace failover::azure {
namespace {

constexpr absl::Duration kLongestWait = absl::Seconds(30);
constexpr absl::Duration kWarm = absl::Seconds(45);
constexpr char kEndpointsVersion[] = "2022-09-01";
constexpr char kClientRequestId[] = "x-ms-client-request-id";

// A GUID; of an operation's requests the first half is the operation's id.
std::string ClientRequestId(const std::string& id) {
  const bool hex = id.size() >= 16 && std::all_of(id.begin(), id.begin() + 16, [](char c) {
                     return absl::ascii_isxdigit(static_cast<unsigned char>(c));
                   });
  if (!hex) return RandomUuid();
  const std::string rest = RandomHex(8);
  return absl::StrCat(id.substr(0, 8), "-", id.substr(8, 4), "-", id.substr(12, 4), "-",
                      rest.substr(0, 4), "-", rest.substr(4));
}

std::string CodeOf(const HttpResult& result) {
  if (result.response.has_value()) return absl::StrCat(result.response->status);
  return absl::IsDeadlineExceeded(result.error) ? "timeout" : "connect_error";
}

bool IsTransient(const Sent& sent) {
  if (!sent.response.has_value()) return true;
  const int status = sent.response->status;
  return status == 408 || status == 429 || (status >= 500 && status != 501 && status != 505);
}

Sent NotSent(absl::string_view why) { return {std::nullopt, false, ErrorText(why)}; }

}  // namespace

core::CallResult ResultOfWrite(const Sent& sent) {
  if (!sent.response.has_value()) {
    return {sent.maybe_sent ? core::CallStatus::kUnclear : core::CallStatus::kNotSent, sent.error};
  }
  const core::CallStatus status = StatusOfWrite(sent.response->status);
  return {status, status == core::CallStatus::kOk ? v1::AzureError() : ErrorOf(*sent.response)};
}

core::CallResult ResultOfRead(const Sent& sent) {
  if (!sent.response.has_value()) return {core::CallStatus::kFailed, sent.error};
  if (sent.response->status == 200) return {};
  return {core::CallStatus::kFailed, ErrorOf(*sent.response)};
}

core::CallResult Failure(absl::string_view message) {
  return {core::CallStatus::kFailed, ErrorText(message)};
}

HttpResult Lane::Observed(const HttpRequest& request, const std::string& api,
                          const std::string& operation) {
  const SteadyTime begun = clock().Steady();
  HttpResult result = http_->Send(request);
  const SteadyTime ended = clock().Steady();
  const std::string code = CodeOf(result);
  const bool to_arm = api != "storage" && api != "entra" && api != "imds";
  if (to_arm && result.response.has_value()) arm_used_ = ended;
  std::string request_id;
  for (const auto& [name, value] : request.headers) {
    if (name == kClientRequestId) request_id = value;
  }
  if (data_.observer) data_.observer(api, operation, code, ended - begun, request_id);
  const bool good = result.response.has_value() && result.response->status < 400;
  if (!good && !(result.response.has_value() && result.response->status == 404)) {
    const v1::AzureError error =
        result.response.has_value() ? ErrorOf(*result.response) : ErrorText(result.error.message());
    LogInfo("a call to Azure did not succeed", {{"api", api},
                                                {"operation", operation},
                                                {"code", code},
                                                {"client_request_id", request_id},
                                                {"error_code", error.code()},
                                                {"error", error.message()},
                                                {"request_id", error.request_id()},
                                                {"correlation_id", error.correlation_id()}});
  } else {
    LogDebug("a call to Azure was answered", {{"api", api},
                                              {"operation", operation},
                                              {"code", code},
                                              {"client_request_id", request_id},
                                              {"took", ended - begun}});
  }
  return result;
}

absl::StatusOr<std::string> Lane::Token(const TokenWait& wait) {
  const char* const api = options().auth == Auth::kManagedIdentity ? "imds" : "entra";
  return data_.credentials.Token(
      [&](const HttpRequest& request) { return Observed(request, api, "token"); }, stop_, wait);
}

absl::Status Lane::EnsureToken(absl::Duration wait) {
  return Token({clock().Steady() + wait}).status();
}

Sent Lane::Once(HttpRequest request, const Call& call, const Authorize& authorize) {
  request.headers.emplace_back(kClientRequestId, ClientRequestId(call.id));
  if (absl::Status bad = authorize(request); !bad.ok()) return NotSent(bad.message());
  const absl::Duration left = call.send_by - clock().Steady();
  if (left <= absl::ZeroDuration())
    return NotSent("not sent: the moment by which it had to leave has passed");
  // The connection must stand by then, so that the first byte leaves in time.
  request.connect_timeout =
      std::max(absl::Milliseconds(1), std::min(request.connect_timeout, left));
  HttpResult result = Observed(request, call.api, call.operation);
  if (result.response.has_value()) return {std::move(result.response), true, {}};
  return {std::nullopt, result.maybe_sent, ErrorText(result.error.message())};
}

Sent Lane::Repeatedly(const HttpRequest& request, const Call& call, const Authorize& authorize) {
  absl::Duration backoff = absl::Seconds(1);
  for (int attempt = 1;; ++attempt) {
    Sent sent = Once(request, call, authorize);
    if (attempt >= call.tries || !IsTransient(sent)) return sent;
    const int asked = sent.response.has_value() ? RetryAfterSeconds(*sent.response) : 0;
    const absl::Duration wait = asked > 0 ? absl::Seconds(asked) : backoff;
    if (wait > kLongestWait) return sent;
    backoff = std::min(2 * backoff, kLongestWait);
    if (!clock().SleepUntil(clock().Steady() + wait, stop_)) return sent;
  }
}

Sent Lane::Arm(const HttpRequest& request, const Call& call) {
  std::string token;
  const Authorize authorize = [&](HttpRequest& copy) -> absl::Status {
    // What must leave in time goes with the token at hand; others see to the next one.
    const bool urgent = call.send_by < SteadyTime::InfiniteFuture();
    ASSIGN_OR_RETURN(token, Token({std::min(call.send_by, clock().Steady() + call.token_wait),
                                   /*refresh=*/!urgent}));
    copy.headers.emplace_back("Authorization", absl::StrCat("Bearer ", token));
    return absl::OkStatus();
  };
  Sent sent = Repeatedly(request, call, authorize);
  if (!sent.response.has_value() || sent.response->status != 401) return sent;
  data_.credentials.Refused(token);
  const Sent again = Repeatedly(request, call, authorize);
  // Without a second answer, the first one explains more.
  return again.response.has_value() || again.maybe_sent ? again : sent;
}

Sent Lane::Blob(const HttpRequest& request, const Call& call, const std::string& account,
                const std::string& key_file) {
  return Repeatedly(request, call, [&](HttpRequest& copy) -> absl::Status {
    ASSIGN_OR_RETURN(const std::string key, ReadSecretFile(key_file));
    copy.headers.emplace_back("x-ms-date", FormatHttpDate(clock().Wall()));
    return Sign(copy, account, key);
  });
}

void Lane::KeepWarm() {
  // No waiting: it is called again soon. Failures are logged where the token was fetched.
  if (absl::Status status = EnsureToken(absl::ZeroDuration()); !status.ok()) return;
  if (clock().Steady() - arm_used_ < kWarm) return;
  // A public document: any answer keeps the connection open.
  HttpRequest request = ArmRequest(
      "GET", ArmUrl(options().arm_endpoint, "/metadata/endpoints", kEndpointsVersion), "");
  request.timeout = absl::Seconds(10);
  Arm(request, {.api = "arm", .operation = "keep_warm", .id = ""});
}

}  // namespace failover::azure
