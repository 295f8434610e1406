#ifndef CONTROLLER_KUBERNETES_CLIENT_H_
#define CONTROLLER_KUBERNETES_CLIENT_H_

#include <functional>
#include <memory>
#include <stop_token>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "common/clock.h"
#include "common/http_client.h"

namespace failover::kubernetes {

constexpr char kServiceAccountDirectory[] = "/var/run/secrets/kubernetes.io/serviceaccount";

// Where the API server is, and as whom we speak to it. Both files are read again as they change.
struct ApiServer {
  std::string url;         // https://HOST:PORT; http on loopback only
  std::string name_space;  // the pod's
  std::string token_file;  // empty: no token
  std::string ca_file;     // PEM; empty: the system's authorities

  bool operator==(const ApiServer&) const = default;
};

// As a pod finds it: KUBERNETES_SERVICE_HOST (also IPv6) and _PORT, and the files token, ca.crt and
// namespace of the projected volume `directory`. FailedPrecondition: this is no pod; the message
// names what is missing.
using Environment = std::function<std::string(const char*)>;  // "" = not set
absl::StatusOr<ApiServer> ServerOfPod(const std::string& directory = kServiceAccountDirectory,
                                      const Environment& environment = {});

struct ApiRequest {
  std::string method = "GET";
  std::string path;  // with its query
  std::string body;
  std::string content_type = "application/json";
  std::string accept = "application/json";
  absl::Duration timeout = absl::Seconds(5);  // of everything, a second try after a 401 included
  size_t max_answer_bytes = 4u << 20;
  // A watch: gets a 2xx answer part by part instead (HttpRequest::on_body).
  std::function<bool(absl::string_view part)> on_body = nullptr;
};

struct ApiAnswer {
  // OK: 2xx. Unauthenticated 401, PermissionDenied 403, NotFound 404, AlreadyExists or Aborted 409,
  // OutOfRange 410, ResourceExhausted 429, InvalidArgument other 4xx; Unavailable 5xx or no answer
  // (DeadlineExceeded, Cancelled as well).
  absl::Status status;
  int http = 0;        // 0: no answer
  std::string reason;  // of the server's Status object: "AlreadyExists", "Conflict", "Expired" …
  std::string body;
  absl::Duration retry_after;  // zero: none was given; at most an hour
  bool maybe_done = false;     // not OK, and yet the server may have carried it out
};

// Calls of the Kubernetes API over the common HTTP client: never through a proxy, the token and the
// authority re-read, a 401 answered once with the token as it is then. Blocking; one call at a
// time: each user has its own, so that none waits for another's hung connection.
class ApiClient {
 public:
  using MakeHttp =
      std::function<std::unique_ptr<HttpClient>(const std::string& ca_file, std::stop_token)>;

  // Told each request with its answer, for metrics: `host` is the API server's with its port,
  // `code` a status or "<error>" where there was none. On the caller's thread.
  using Observer = std::function<void(const std::string& method, const std::string& host,
                                      const std::string& code, absl::Duration took)>;

  // `stop` aborts a call. A null `make_http` means libcurl.
  ApiClient(ApiServer server, Clock& clock, std::stop_token stop, MakeHttp make_http = nullptr,
            Observer observe = nullptr);

  ApiAnswer Call(const ApiRequest& request);
  const ApiServer& server() const { return server_; }

 private:
  // Made anew when the authority's file has changed: libcurl keeps what it has read for a day.
  absl::StatusOr<HttpClient*> Http();
  HttpResult Send(const ApiRequest& request, SteadyTime give_up);

  const ApiServer server_;
  Clock& clock_;
  const std::stop_token stop_;
  const MakeHttp make_http_;
  const Observer observe_;
  std::string authority_;  // the file's text that http_ was made with
  std::unique_ptr<HttpClient> http_;
};

// As a label of metrics: "10.0.0.1:443".
std::string HostOf(const ApiServer& server);
// OK if a token may be sent there: https, or http on loopback.
absl::Status CheckServer(const ApiServer& server);
// 1 to 63 of a–z, 0–9 and '-', beginning and ending with a letter or digit.
bool IsLabel(absl::string_view name);
// Labels with dots between them, 253 characters at most: what most objects may be called.
bool IsObjectName(absl::string_view name);
// Of the collection, or of one object in it.
std::string LeasePath(const std::string& name_space, absl::string_view name = "");
std::string ConfigMapPath(const std::string& name_space, absl::string_view name = "");

}  // namespace failover::kubernetes

#endif  // CONTROLLER_KUBERNETES_CLIENT_H_
