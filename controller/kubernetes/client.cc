#include "controller/kubernetes/client.h"

#include <algorithm>
#include <cstdlib>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/config_file.h"
#include "common/log.h"
#include "common/status_macros.h"
#include "common/tls.h"
#include "common/utf8.h"
#include "controller/kubernetes/json.h"
#include "nlohmann/json.hpp"

namespace failover::kubernetes {
namespace {

constexpr absl::Duration kConnectTimeout = absl::Seconds(3);
constexpr absl::Duration kMaxRetryAfter = absl::Hours(1);
constexpr size_t kMaxMessage = 1024;

absl::StatusCode CodeOf(int http, absl::string_view reason) {
  switch (http) {
    case 401:
      return absl::StatusCode::kUnauthenticated;
    case 403:
      return absl::StatusCode::kPermissionDenied;
    case 404:
      return absl::StatusCode::kNotFound;
    case 409:
      return reason == "AlreadyExists" ? absl::StatusCode::kAlreadyExists
                                       : absl::StatusCode::kAborted;
    case 410:
      return absl::StatusCode::kOutOfRange;
    case 429:
      return absl::StatusCode::kResourceExhausted;
    default:
      return http >= 400 && http < 500 ? absl::StatusCode::kInvalidArgument
                                       : absl::StatusCode::kUnavailable;
  }
}

absl::Duration RetryAfter(const HttpResponse& response) {
  int64_t seconds = 0;
  if (!absl::SimpleAtoi(response.Header("retry-after"), &seconds) || seconds < 0)
    return absl::ZeroDuration();
  return std::min(absl::Seconds(seconds), kMaxRetryAfter);
}

std::string EnvironmentOfProcess(const char* name) {
  const char* const value = std::getenv(name);
  return value == nullptr ? "" : value;
}

std::unique_ptr<HttpClient> MakeCurl(const std::string& ca_file, std::stop_token stop) {
  return NewCurlHttpClient({ca_file, "", std::move(stop)});
}

ApiAnswer AnswerOf(const ApiRequest& request, HttpResponse response) {
  ApiAnswer answer;
  answer.http = response.status;
  answer.retry_after = RetryAfter(response);
  if (response.status >= 200 && response.status < 300) {
    answer.body = std::move(response.body);
    return answer;
  }
  std::string message;
  if (const absl::StatusOr<Json> status = ParseObject(response.body); status.ok()) {
    answer.reason = FindText(*status, {"reason"});
    message = FindText(*status, {"message"});
  }
  const absl::string_view path = absl::string_view(request.path).substr(0, request.path.find('?'));
  const std::string text = absl::StrCat(request.method, " ", path, ": HTTP ", response.status,
                                        answer.reason.empty() ? "" : " ", answer.reason,
                                        message.empty() ? "" : ": ", message);
  answer.status = absl::Status(CodeOf(response.status, answer.reason),
                               CutText(ToValidUtf8(Redacted(text)), kMaxMessage));
  // A 5xx may be a time-out of the storage behind the server.
  answer.maybe_done = response.status >= 500 && request.method != "GET";
  return answer;
}

}  // namespace

absl::StatusOr<ApiServer> ServerOfPod(const std::string& directory,
                                      const Environment& environment) {
  const auto get = [&environment](const char* name) {
    return environment ? environment(name) : EnvironmentOfProcess(name);
  };
  const std::string host = get("KUBERNETES_SERVICE_HOST"), port = get("KUBERNETES_SERVICE_PORT");
  if (host.empty() || port.empty()) {
    return absl::FailedPreconditionError(
        "this is no pod of Kubernetes: KUBERNETES_SERVICE_HOST or KUBERNETES_SERVICE_PORT is not "
        "set");
  }
  ApiServer server;
  const bool ipv6 = host.find(':') != std::string::npos;
  server.url = absl::StrCat("https://", ipv6 ? "[" : "", host, ipv6 ? "]" : "", ":", port);
  server.token_file = absl::StrCat(directory, "/token");
  server.ca_file = absl::StrCat(directory, "/ca.crt");
  for (const std::string& file : {server.token_file, server.ca_file}) {
    if (absl::Status read = ReadSecretFile(file).status(); !read.ok()) {
      return absl::FailedPreconditionError(
          absl::StrCat("this pod has no service account token: ", read.message()));
    }
  }
  absl::StatusOr<std::string> name_space = ReadSecretFile(absl::StrCat(directory, "/namespace"));
  if (!name_space.ok()) return absl::FailedPreconditionError(name_space.status().message());
  server.name_space = *std::move(name_space);
  RETURN_IF_ERROR(CheckServer(server));
  return server;
}

std::string HostOf(const ApiServer& server) {
  UrlParts parts;
  if (!ParseUrl(server.url, parts).ok()) return "";
  const bool ipv6 = parts.host.find(':') != std::string::npos;
  return absl::StrCat(ipv6 ? "[" : "", parts.host, ipv6 ? "]" : "", ":", parts.port);
}

absl::Status CheckServer(const ApiServer& server) {
  UrlParts parts;
  RETURN_IF_ERROR(ParseUrl(server.url, parts));
  if (parts.scheme == "http" && !IsLoopback(parts.host)) {
    return absl::InvalidArgumentError(
        absl::StrCat("found the API server ", server.url, "; allowed: https"));
  }
  if (!IsLabel(server.name_space)) {
    return absl::InvalidArgumentError(
        absl::StrCat("found the namespace \"", server.name_space, "\"; allowed: a DNS label"));
  }
  return absl::OkStatus();
}

bool IsLabel(absl::string_view name) {
  const auto alphanumeric = [](char c) { return absl::ascii_islower(c) || absl::ascii_isdigit(c); };
  return !name.empty() && name.size() <= 63 && alphanumeric(name.front()) &&
         alphanumeric(name.back()) &&
         std::all_of(name.begin(), name.end(), [&](char c) { return alphanumeric(c) || c == '-'; });
}

bool IsObjectName(absl::string_view name) {
  if (name.size() > 253) return false;
  const std::vector<absl::string_view> labels = absl::StrSplit(name, '.');
  return std::all_of(labels.begin(), labels.end(), IsLabel);
}

std::string LeasePath(const std::string& name_space, absl::string_view name) {
  return absl::StrCat("/apis/coordination.k8s.io/v1/namespaces/", name_space, "/leases",
                      name.empty() ? "" : "/", name);
}

std::string ConfigMapPath(const std::string& name_space, absl::string_view name) {
  return absl::StrCat("/api/v1/namespaces/", name_space, "/configmaps", name.empty() ? "" : "/",
                      name);
}

ApiClient::ApiClient(ApiServer server, Clock& clock, std::stop_token stop, MakeHttp make_http,
                     Observer observe)
    : server_(std::move(server)),
      clock_(clock),
      stop_(std::move(stop)),
      make_http_(make_http ? std::move(make_http) : MakeHttp(&MakeCurl)),
      observe_(std::move(observe)) {}

absl::StatusOr<HttpClient*> ApiClient::Http() {
  std::string authority;
  if (!server_.ca_file.empty()) {
    absl::StatusOr<std::string> read = ReadSmallFile(server_.ca_file);
    if (read.ok())
      authority = *std::move(read);
    else if (http_ == nullptr)
      return read.status();
    else
      authority = authority_;  // between two versions of the volume
  }
  if (http_ == nullptr || authority != authority_) {
    http_ = make_http_(server_.ca_file, stop_);
    authority_ = std::move(authority);
  }
  return http_.get();
}

HttpResult ApiClient::Send(const ApiRequest& request, SteadyTime give_up) {
  HttpResult failed;
  failed.maybe_sent = false;
  absl::StatusOr<HttpClient*> http = Http();
  failed.error = http.status();
  if (!http.ok()) return failed;
  HttpRequest sent;
  sent.method = request.method;
  sent.url = absl::StrCat(server_.url, request.path);
  sent.headers = {{"Accept", request.accept}};
  if (!request.body.empty()) sent.headers.emplace_back("Content-Type", request.content_type);
  if (!server_.token_file.empty()) {
    absl::StatusOr<std::string> token = ReadSecretFile(server_.token_file);
    failed.error = token.status();
    if (!token.ok()) return failed;
    sent.headers.emplace_back("Authorization", absl::StrCat("Bearer ", *token));
  }
  sent.body = request.body;
  sent.timeout = give_up - clock_.Steady();
  sent.connect_timeout = std::min(kConnectTimeout, sent.timeout);
  sent.max_response_bytes = request.max_answer_bytes;
  sent.on_body = request.on_body;
  const SteadyTime begun = clock_.Steady();
  HttpResult result = (*http)->Send(sent);
  if (observe_) {
    observe_(request.method, HostOf(server_),
             result.response.has_value() ? absl::StrCat(result.response->status) : "<error>",
             clock_.Steady() - begun);
  }
  return result;
}

ApiAnswer ApiClient::Call(const ApiRequest& request) {
  const SteadyTime give_up = clock_.Steady() + request.timeout;
  HttpResult result = Send(request, give_up);
  if (result.response.has_value() && result.response->status == 401 && clock_.Steady() < give_up) {
    result = Send(request, give_up);  // with the token as the file has it now
  }
  if (result.response.has_value()) return AnswerOf(request, *std::move(result.response));
  if (absl::IsFailedPrecondition(result.error))
    http_.reset();  // an authority that has changed, perhaps
  ApiAnswer answer;
  absl::StatusCode code = absl::StatusCode::kUnavailable;
  if (absl::IsDeadlineExceeded(result.error) || absl::IsCancelled(result.error))
    code = result.error.code();
  answer.status =
      absl::Status(code, absl::StrCat("no answer of the API server: ", result.error.message()));
  answer.maybe_done = result.maybe_sent && request.method != "GET";
  return answer;
}

}  // namespace failover::kubernetes
