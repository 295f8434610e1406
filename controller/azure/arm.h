#ifndef CONTROLLER_AZURE_ARM_H_
#define CONTROLLER_AZURE_ARM_H_

#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "apim_failover/v1/state.pb.h"
#include "common/http_client.h"
#include "common/proto.h"
#include "controller/core/events.h"

namespace failover::azure {

// Requests to Azure Resource Manager and what its answers mean. Pure: no clock, no I/O.

// `{endpoint}{path}?api-version={version}`; `path` begins with '/' and may already hold a query.
std::string ArmUrl(absl::string_view endpoint, absl::string_view path,
                   absl::string_view api_version);

// A JSON request without its token. `body` empty = none.
HttpRequest ArmRequest(absl::string_view method, std::string url, std::string body);

// An absolute URL that an answer names (Location, nextLink) may carry our token only to the host,
// port and scheme of the configured ARM endpoint (design.md §11); an absolute path is taken as on
// that host. The error names what was found and what is allowed.
absl::StatusOr<std::string> OnArmHost(absl::string_view endpoint, absl::string_view url);

// Retry-After in seconds: an integer, or an HTTP date measured against the answer's own Date. 0
// when absent or unreadable; never less than 1 otherwise.
int RetryAfterSeconds(const HttpResponse& response);

// "Mon, 23 Nov 2026 21:00:00 GMT" (RFC 9110).
std::optional<absl::Time> ParseHttpDate(absl::string_view text);
std::string FormatHttpDate(absl::Time time);

// What the HTTP status of a request that changes something says about its effect:
//   2xx kOk · 408, 409, 5xx and everything unexpected kUnclear · other 4xx kFailed. 429 is kFailed:
//   a throttled request is not processed, whichever of ARM and the provider throttles (azure.md
//   §6.3).
core::CallStatus StatusOfWrite(int http_status);

// Code, message and request ids of an answer that is an error: ARM's {"error":{…}}, Entra's
// {"error":"…"}, storage's XML, or the x-ms-error-code header alone (HEAD). The message is valid
// UTF-8, redacted, at most 1 KiB; one of a missing role begins with the action that is missing.
v1::AzureError ErrorOf(const HttpResponse& response);

// "the controller's identity may not do ACTION", and which role would give it.
std::string MayNot(absl::string_view action);

// An error without an answer: `message` alone, treated the same way.
v1::AzureError ErrorText(absl::string_view message);

// A foreign text as it may enter state and history: valid UTF-8, no control characters, redacted,
// cut.
std::string CleanText(absl::string_view text, size_t max_bytes);

}  // namespace failover::azure

#endif  // CONTROLLER_AZURE_ARM_H_
