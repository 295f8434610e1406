#include "controller/azure/arm.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "common/log.h"
#include "common/utf8.h"
#include "controller/azure/json.h"
#include "nlohmann/json.hpp"
#include "pugixml.hpp"

namespace failover::azure {
namespace {

constexpr size_t kMaxMessage = 1024;
constexpr size_t kMaxCode = 128;
constexpr int kMaxRetryAfter = 24 * 3600;

// The action of ARM's sentence "does not have authorization to perform action 'A' over scope 'S'".
std::string MissingAction(absl::string_view message) {
  constexpr absl::string_view kBefore = "perform action '";
  const size_t begin = message.find(kBefore);
  if (begin == message.npos) return "";
  const absl::string_view rest = message.substr(begin + kBefore.size());
  const size_t end = rest.find('\'');
  return end == rest.npos ? "" : std::string(rest.substr(0, end));
}

// The narrowest built-in role that has an action the controller needs (azure.md §9); empty = none
// is known.
std::string RoleWith(absl::string_view action) {
  if (absl::StartsWithIgnoreCase(action, "Microsoft.ApiManagement/service/")) {
    return absl::EndsWithIgnoreCase(action, "/read") ? "API Management Service Reader Role"
                                                     : "API Management Service Operator Role";
  }
  if (absl::StartsWithIgnoreCase(action, "Microsoft.Network/trafficManagerProfiles/")) {
    return "Traffic Manager Contributor";
  }
  if (absl::StartsWithIgnoreCase(action, "Microsoft.Storage/storageAccounts/blobServices/")) {
    return "Storage Blob Data Contributor";
  }
  return "";
}

// ARM's error object: code, message and, of data-model errors, the details.
void ReadArmError(const Json& error, std::string& code, std::string& message) {
  code = TextAt(error, {"code"});
  message = TextAt(error, {"message"});
  const Json& details = At(error, {"details"});
  if (!details.is_array()) return;
  int taken = 0;
  for (const Json& detail : details) {
    if (++taken > 5) break;
    absl::StrAppend(&message, "; ", TextAt(detail, {"code"}), " ", TextAt(detail, {"target"}), ": ",
                    TextAt(detail, {"message"}));
  }
}

void ReadJsonError(const Json& body, std::string& code, std::string& message) {
  const Json& error = At(body, {"error"});
  if (error.is_object()) {
    ReadArmError(error, code, message);
  } else if (error.is_string()) {  // Entra
    code = error.get<std::string>();
    message = TextAt(body, {"error_description"});
  } else if (body.is_object()) {
    ReadArmError(body, code, message);
  }
}

void ReadXmlError(const std::string& body, std::string& code, std::string& message) {
  pugi::xml_document document;
  if (!document.load_buffer(body.data(), body.size())) return;
  const pugi::xml_node error = document.child("Error");
  code = error.child_value("Code");
  message = error.child_value("Message");
}

}  // namespace

std::string ArmUrl(absl::string_view endpoint, absl::string_view path,
                   absl::string_view api_version) {
  return absl::StrCat(absl::StripSuffix(endpoint, "/"), path,
                      absl::StrContains(path, '?') ? "&" : "?", "api-version=", api_version);
}

HttpRequest ArmRequest(absl::string_view method, std::string url, std::string body) {
  HttpRequest request;
  request.method = std::string(method);
  request.url = std::move(url);
  request.headers.emplace_back("Accept", "application/json");
  if (!body.empty()) request.headers.emplace_back("Content-Type", "application/json");
  request.body = std::move(body);
  return request;
}

absl::StatusOr<std::string> OnArmHost(absl::string_view endpoint, absl::string_view url) {
  if (url.size() > 8192) {
    return absl::InvalidArgumentError(
        absl::StrCat("found a URL of ", url.size(), " bytes; allowed: at most 8192"));
  }
  for (const char c : url) {
    if (c <= ' ' || c == 0x7f) {
      return absl::InvalidArgumentError(
          "found a URL with a blank or control character; allowed: none");
    }
  }
  if (absl::StartsWith(url, "/") && !absl::StartsWith(url, "//") && !absl::StartsWith(url, "/\\")) {
    return absl::StrCat(absl::StripSuffix(endpoint, "/"), url);
  }
  UrlParts ours, theirs;
  if (absl::Status bad = ParseUrl(endpoint, ours); !bad.ok()) return bad;
  if (absl::Status bad = ParseUrl(url, theirs); !bad.ok()) return bad;
  if (ours.scheme != theirs.scheme || ours.host != theirs.host || ours.port != theirs.port) {
    return absl::PermissionDeniedError(absl::StrCat(
        "found a URL on ", CleanText(theirs.scheme, 16), "://", CleanText(theirs.host, 200), ":",
        theirs.port, "; allowed: the configured ARM endpoint ", endpoint));
  }
  return std::string(url);
}

int RetryAfterSeconds(const HttpResponse& response) {
  const absl::string_view text = response.Header("Retry-After");
  int64_t seconds = 0;
  if (absl::SimpleAtoi(text, &seconds)) {
    if (seconds < 0) return 0;
    return static_cast<int>(std::clamp<int64_t>(seconds, 1, kMaxRetryAfter));
  }
  const std::optional<absl::Time> then = ParseHttpDate(text);
  const std::optional<absl::Time> now = ParseHttpDate(response.Header("Date"));
  if (!then.has_value() || !now.has_value()) return 0;
  return static_cast<int>(
      std::clamp<int64_t>(absl::ToInt64Seconds(*then - *now), 1, kMaxRetryAfter));
}

std::optional<absl::Time> ParseHttpDate(absl::string_view text) {
  absl::Time time;
  std::string error;
  if (!absl::EndsWith(text, " GMT")) return std::nullopt;
  if (!absl::ParseTime("%a, %d %b %Y %H:%M:%S GMT", text, absl::UTCTimeZone(), &time, &error)) {
    return std::nullopt;
  }
  return time;
}

std::string FormatHttpDate(absl::Time time) {
  return absl::FormatTime("%a, %d %b %Y %H:%M:%S GMT", time, absl::UTCTimeZone());
}

core::CallStatus StatusOfWrite(int http_status) {
  if (http_status >= 200 && http_status < 300) return core::CallStatus::kOk;
  if (http_status == 408 || http_status == 409) return core::CallStatus::kUnclear;
  if (http_status >= 400 && http_status < 500) return core::CallStatus::kFailed;
  return core::CallStatus::kUnclear;
}

std::string MayNot(absl::string_view action) {
  const std::string role = RoleWith(action);
  return absl::StrCat("the controller's identity may not do ", action,
                      role.empty() ? " (give it a role with this action)"
                                   : absl::StrCat(" (give it the built-in role \"", role,
                                                  "\" or a custom one with this action)"));
}

v1::AzureError ErrorOf(const HttpResponse& response) {
  std::string code, message;
  const absl::string_view body = absl::StripLeadingAsciiWhitespace(response.body);
  if (absl::StartsWith(body, "{")) {
    if (const absl::StatusOr<Json> json = ParseJson(body); json.ok())
      ReadJsonError(*json, code, message);
  } else if (!body.empty()) {  // a byte order mark may precede storage's '<'
    ReadXmlError(response.body, code, message);
  }
  if (code.empty()) code = std::string(response.Header("x-ms-error-code"));
  if (const std::string action = MissingAction(message); !action.empty()) {
    message = absl::StrCat(MayNot(action), ": ", message);
  }
  v1::AzureError error;
  error.set_http_status(response.status);
  error.set_code(CleanText(code, kMaxCode));
  error.set_message(CleanText(message, kMaxMessage));
  error.set_request_id(CleanText(response.Header("x-ms-request-id"), kMaxCode));
  error.set_correlation_id(CleanText(response.Header("x-ms-correlation-request-id"), kMaxCode));
  return error;
}

v1::AzureError ErrorText(absl::string_view message) {
  v1::AzureError error;
  error.set_message(CleanText(message, kMaxMessage));
  return error;
}

std::string CleanText(absl::string_view text, size_t max_bytes) {
  std::string clean = Redacted(ToValidUtf8(text.substr(0, 64 * 1024)));
  for (char& c : clean) {
    if (static_cast<unsigned char>(c) < ' ' || c == 0x7f) c = ' ';
  }
  const absl::string_view trimmed = absl::StripAsciiWhitespace(clean);
  return trimmed.size() <= max_bytes ? std::string(trimmed) : CutText(trimmed, max_bytes - 3);
}

}  // namespace failover::azure
