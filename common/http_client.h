#ifndef COMMON_HTTP_CLIENT_H_
#define COMMON_HTTP_CLIENT_H_

#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace failover {

using HttpHeaders = std::vector<std::pair<std::string, std::string>>;

struct HttpRequest {
  std::string method = "GET";
  std::string
      url;  // absolute, http or https; sent verbatim (Azure's operation URLs contain raw '=')
  HttpHeaders headers;
  std::string body;
  absl::Duration connect_timeout = absl::Seconds(5);
  absl::Duration timeout = absl::Seconds(60);  // of the whole exchange
  size_t max_response_bytes = 8 << 20;         // a longer answer is an error, not a cut body
  // Set: gets the body of a 2xx answer part by part as it arrives, of any length, instead of the
  // response. False: no more of it is wanted, and the call ends as Cancelled.
  std::function<bool(absl::string_view part)> on_body = nullptr;
};

struct HttpResponse {
  int status = 0;
  HttpHeaders headers;  // names as received
  std::string body;

  // First header of that name (case-insensitive); empty when absent.
  absl::string_view Header(absl::string_view name) const;
};

// An HTTP error status is a response; a missing or incomplete response is an error.
struct HttpResult {
  std::optional<HttpResponse> response;
  absl::Status error;      // OK exactly when `response` is set
  bool maybe_sent = true;  // false only when no byte of the request can have reached the server
};

// Blocking; one call at a time per object (each lane has its own, design.md §3). No redirects, no
// proxy from the environment, no .netrc; the server's certificate is always verified.
class HttpClient {
 public:
  virtual ~HttpClient() = default;
  virtual HttpResult Send(const HttpRequest& request) = 0;
};

struct CurlHttpClientOptions {
  std::string ca_file;     // PEM; empty = the system's store
  std::string user_agent;  // "apim-failover/VERSION" when empty
  std::stop_token stop;    // aborts a call in progress within 100 ms
  // Asked before connecting, and again when the connection stands, just before the request's first
  // byte: an error is the call's, with nothing sent. Null: always.
  std::function<absl::Status()> may_send = nullptr;
};
// Keeps connections alive between calls.
std::unique_ptr<HttpClient> NewCurlHttpClient(CurlHttpClientOptions options);

// Splits an absolute URL. Errors: no scheme, other scheme than http/https, user information, no
// host.
struct UrlParts {
  std::string scheme, host;    // lower case; IPv6 hosts without brackets
  int port = 0;                // explicit or the scheme's default
  std::string path_and_query;  // "/" at least
};
absl::Status ParseUrl(absl::string_view url, UrlParts& parts);

}  // namespace failover

#endif  // COMMON_HTTP_CLIENT_H_
