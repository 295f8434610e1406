#include "common/http_client.h"

#include <curl/curl.h>

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

namespace failover {
namespace {

constexpr size_t kMaxHeaderBytes = 128 << 10;

struct EasyDeleter {
  void operator()(CURL* easy) const { curl_easy_cleanup(easy); }
};
struct MultiDeleter {
  void operator()(CURLM* multi) const { curl_multi_cleanup(multi); }
};
struct SlistDeleter {
  void operator()(curl_slist* list) const { curl_slist_free_all(list); }
};

// One request under way, as libcurl's callbacks see it.
struct Exchange {
  const HttpRequest* request = nullptr;
  std::stop_token stop;
  const std::function<absl::Status()>* may_send = nullptr;  // null: always
  absl::Status refused;                                     // by may_send
  HttpResponse response;
  size_t header_bytes = 0;
  bool succeeds = false;  // 2xx
  bool unwanted = false;  // on_body wants no more
  int attempts = 0;       // times that a connection was ready and the request about to be written
  bool headers_ended = false;  // by their empty line
  bool too_long = false;       // the answer exceeds its bound
  bool sent_twice = false;     // libcurl wanted to repeat a request that must not be repeated
};

bool IsRepeatable(absl::string_view method) { return method == "GET" || method == "HEAD"; }

// Called when the connection stands (TLS included), before the first byte of the request. libcurl
// repeats a request by itself when a kept-alive connection dies before an answer, a POST as well,
// even though the server may have acted on it: only what changes nothing may be sent a second time.
int OnConnected(void* data, char*, char*, int, int) {
  auto& exchange = *static_cast<Exchange*>(data);
  if (exchange.stop.stop_requested()) return CURL_PREREQFUNC_ABORT;
  if (exchange.attempts > 0 && !IsRepeatable(exchange.request->method)) {
    exchange.sent_twice = true;
    return CURL_PREREQFUNC_ABORT;
  }
  if (exchange.may_send != nullptr) exchange.refused = (*exchange.may_send)();
  if (!exchange.refused.ok()) return CURL_PREREQFUNC_ABORT;
  ++exchange.attempts;
  return CURL_PREREQFUNC_OK;
}

size_t OnHeader(char* bytes, size_t, size_t size, void* data) {
  auto& exchange = *static_cast<Exchange*>(data);
  absl::string_view line(bytes, size);
  exchange.header_bytes += size;
  if (exchange.header_bytes > kMaxHeaderBytes) {
    exchange.too_long = true;
    return 0;
  }
  if (absl::StartsWith(line, "HTTP/")) {  // again after a 1xx answer
    exchange.response.headers.clear();
    exchange.headers_ended = false;
    exchange.succeeds = absl::StartsWith(line.substr(std::min(line.find(' '), line.size())), " 2");
    return size;
  }
  exchange.headers_ended = line == "\r\n" || line == "\n";
  const size_t colon = line.find(':');
  if (colon != line.npos) {
    exchange.response.headers.emplace_back(
        std::string(line.substr(0, colon)),
        std::string(absl::StripAsciiWhitespace(line.substr(colon + 1))));
  }
  return size;
}

size_t OnBody(char* bytes, size_t, size_t size, void* data) {
  auto& exchange = *static_cast<Exchange*>(data);
  if (exchange.succeeds && exchange.request->on_body) {
    exchange.unwanted = !exchange.request->on_body(absl::string_view(bytes, size));
    return exchange.unwanted ? 0 : size;
  }
  if (exchange.response.body.size() + size > exchange.request->max_response_bytes) {
    exchange.too_long = true;
    return 0;
  }
  exchange.response.body.append(bytes, size);
  return size;
}

long ToMillis(absl::Duration duration) {  // NOLINT(runtime/int) libcurl's type
  return static_cast<long>(std::clamp<int64_t>(absl::ToInt64Milliseconds(duration), 1, 86'400'000));
}

bool IsToken(absl::string_view text) {
  if (text.empty()) return false;
  return std::all_of(text.begin(), text.end(), [](char c) {
    return absl::ascii_isalnum(static_cast<unsigned char>(c)) ||
           absl::string_view("!#$%&'*+-.^_`|~").find(c) != absl::string_view::npos;
  });
}

// What would change the meaning of the request on the wire.
absl::Status CheckRequest(const HttpRequest& request) {
  UrlParts parts;
  if (absl::Status status = ParseUrl(request.url, parts); !status.ok()) return status;
  if (!IsToken(request.method)) {
    return absl::InvalidArgumentError(
        absl::StrCat("found HTTP method \"", request.method, "\"; allowed: a token"));
  }
  for (const auto& [name, value] : request.headers) {
    if (!IsToken(name)) {
      return absl::InvalidArgumentError(
          absl::StrCat("found HTTP header name \"", name, "\"; allowed: a token"));
    }
    if (absl::string_view(value).find_first_of({"\r\n\0", 3}) != absl::string_view::npos) {
      return absl::InvalidArgumentError(
          absl::StrCat("found a line break in HTTP header \"", name, "\"; allowed: one line"));
    }
  }
  return absl::OkStatus();
}

std::unique_ptr<curl_slist, SlistDeleter> HeaderList(const HttpRequest& request) {
  curl_slist* list = nullptr;
  bool has_type = false;
  for (const auto& [name, value] : request.headers) {
    has_type |= absl::EqualsIgnoreCase(name, "content-type");
    const std::string line =
        value.empty() ? absl::StrCat(name, ";") : absl::StrCat(name, ": ", value);
    list = curl_slist_append(list, line.c_str());
  }
  list = curl_slist_append(list, "Expect:");
  if (!has_type) list = curl_slist_append(list, "Content-Type:");  // else libcurl invents one
  return std::unique_ptr<curl_slist, SlistDeleter>(list);
}

absl::StatusCode CodeOf(CURLcode result, const Exchange& exchange) {
  if (exchange.stop.stop_requested() || exchange.unwanted) return absl::StatusCode::kCancelled;
  if (exchange.too_long) return absl::StatusCode::kResourceExhausted;
  switch (result) {
    case CURLE_OPERATION_TIMEDOUT:
      return absl::StatusCode::kDeadlineExceeded;
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_CERTPROBLEM:
      return absl::StatusCode::kFailedPrecondition;
    default:
      return absl::StatusCode::kUnavailable;
  }
}

class CurlHttpClient final : public HttpClient {
 public:
  explicit CurlHttpClient(CurlHttpClientOptions options) : options_(std::move(options)) {
    static const CURLcode global = curl_global_init(CURL_GLOBAL_DEFAULT);
    if (global == CURLE_OK) {
      easy_.reset(curl_easy_init());
      multi_.reset(curl_multi_init());
    }
    if (options_.user_agent.empty()) options_.user_agent = "apim-failover/" FAILOVER_VERSION;
  }

  HttpResult Send(const HttpRequest& request) override {
    if (absl::Status bad = CheckRequest(request); !bad.ok()) return {std::nullopt, bad, false};
    if (options_.stop.stop_requested()) {
      return {std::nullopt, absl::CancelledError(Describe(request, "stopped")), false};
    }
    if (easy_ == nullptr || multi_ == nullptr) {
      return {std::nullopt, absl::InternalError("libcurl cannot be initialised"), false};
    }
    Exchange exchange;
    exchange.request = &request;
    exchange.stop = options_.stop;
    if (options_.may_send) {
      exchange.may_send = &options_.may_send;
      if (absl::Status refused = options_.may_send(); !refused.ok())
        return {std::nullopt, refused, false};
    }
    char error[CURL_ERROR_SIZE] = "";
    const auto headers = HeaderList(request);
    Prepare(request, exchange, headers.get(), error);
    const CURLcode result = Perform();
    HttpResult answer;
    answer.maybe_sent = exchange.attempts > 0;
    if (result == CURLE_OK && exchange.headers_ended) {
      long status = 0;  // NOLINT(runtime/int)
      curl_easy_getinfo(easy_.get(), CURLINFO_RESPONSE_CODE, &status);
      exchange.response.status = static_cast<int>(status);
      answer.response = std::move(exchange.response);
    } else if (!exchange.refused.ok()) {
      answer.error = exchange.refused;
    } else {
      answer.error =
          absl::Status(CodeOf(result, exchange), Describe(request, Cause(result, exchange, error)));
    }
    curl_easy_reset(easy_.get());  // forgets the pointers of this call, keeps the connections
    return answer;
  }

 private:
  static std::string Cause(CURLcode result, const Exchange& exchange, absl::string_view error) {
    if (exchange.stop.stop_requested()) return "stopped";
    if (exchange.unwanted) return "no more of the answer was wanted";
    if (exchange.too_long) {
      return absl::StrCat("found an answer longer than allowed: at most ",
                          exchange.request->max_response_bytes, " bytes and ", kMaxHeaderBytes,
                          " bytes of headers");
    }
    if (exchange.sent_twice) {
      return "the connection closed before the answer; the server may have acted on the request";
    }
    // libcurl takes headers that end with the connection for complete ones.
    if (result == CURLE_OK) return "the connection closed amid the headers of the answer";
    return absl::StrCat(curl_easy_strerror(result), error.empty() ? "" : ": ", error);
  }

  // The query may hold a signature.
  static std::string Describe(const HttpRequest& request, absl::string_view what) {
    const absl::string_view url = request.url;
    return absl::StrCat(request.method, " ", url.substr(0, url.find_first_of("?#")), ": ", what);
  }

  void Prepare(const HttpRequest& request, Exchange& exchange, curl_slist* headers, char* error) {
    CURL* const easy = easy_.get();
    curl_easy_setopt(easy, CURLOPT_URL, request.url.c_str());
    curl_easy_setopt(easy, CURLOPT_PATH_AS_IS, 1L);
    curl_easy_setopt(easy, CURLOPT_DISALLOW_USERNAME_IN_URL, 1L);
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(easy, CURLOPT_PROXY, "");
    curl_easy_setopt(easy, CURLOPT_NETRC, static_cast<long>(CURL_NETRC_IGNORED));
    curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_1_1));
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L);  // never wait for a resolver thread
    curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L);
    curl_easy_setopt(easy, CURLOPT_USERAGENT, options_.user_agent.c_str());
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, error);
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, ToMillis(request.connect_timeout));
    curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, ToMillis(request.timeout));
    PrepareTls();
    PrepareMethod(request);
    curl_easy_setopt(easy, CURLOPT_PREREQFUNCTION, OnConnected);
    curl_easy_setopt(easy, CURLOPT_PREREQDATA, &exchange);
    curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, OnHeader);
    curl_easy_setopt(easy, CURLOPT_HEADERDATA, &exchange);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, OnBody);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, &exchange);
  }

  void PrepareTls() {
    CURL* const easy = easy_.get();
    curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 1L);
    curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 2L);
    curl_easy_setopt(easy, CURLOPT_SSLVERSION, static_cast<long>(CURL_SSLVERSION_TLSv1_2));
    // With a directory libcurl would look through all of the system's authorities on each
    // handshake, and trust them beside those of the file.
    curl_easy_setopt(easy, CURLOPT_CAPATH, nullptr);
    if (!options_.ca_file.empty()) {
      curl_easy_setopt(easy, CURLOPT_CAINFO, options_.ca_file.c_str());
    }
  }

  void PrepareMethod(const HttpRequest& request) {
    CURL* const easy = easy_.get();
    if (request.method == "HEAD") {
      curl_easy_setopt(easy, CURLOPT_NOBODY, 1L);
      return;
    }
    const bool has_body = !request.body.empty() || request.method == "POST" ||
                          request.method == "PUT" || request.method == "PATCH";
    if (has_body) {
      curl_easy_setopt(easy, CURLOPT_POST, 1L);
      curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE,
                       static_cast<curl_off_t>(request.body.size()));
      curl_easy_setopt(easy, CURLOPT_POSTFIELDS, request.body.c_str());
    } else {
      curl_easy_setopt(easy, CURLOPT_HTTPGET, 1L);
    }
    curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, request.method.c_str());
  }

  // curl_easy_perform looks at nothing but its sockets for up to a second; this loop is woken at
  // once when a stop is requested.
  CURLcode Perform() {
    CURLM* const multi = multi_.get();
    const std::stop_callback wake(options_.stop, [multi] { curl_multi_wakeup(multi); });
    if (curl_multi_add_handle(multi, easy_.get()) != CURLM_OK) return CURLE_FAILED_INIT;
    CURLcode result = CURLE_ABORTED_BY_CALLBACK;
    while (!options_.stop.stop_requested()) {
      int running = 0;
      if (curl_multi_perform(multi, &running) != CURLM_OK) break;
      int left = 0;
      if (const CURLMsg* const message = curl_multi_info_read(multi, &left);
          message != nullptr && message->msg == CURLMSG_DONE) {
        result = message->data.result;
        break;
      }
      if (curl_multi_poll(multi, nullptr, 0, 1000, nullptr) != CURLM_OK) break;
    }
    curl_multi_remove_handle(multi, easy_.get());
    return result;
  }

  CurlHttpClientOptions options_;
  std::unique_ptr<CURLM, MultiDeleter> multi_;  // owns the kept-alive connections
  std::unique_ptr<CURL, EasyDeleter> easy_;
};

}  // namespace

absl::string_view HttpResponse::Header(absl::string_view name) const {
  for (const auto& [header, value] : headers) {
    if (absl::EqualsIgnoreCase(header, name)) return value;
  }
  return "";
}

std::unique_ptr<HttpClient> NewCurlHttpClient(CurlHttpClientOptions options) {
  return std::make_unique<CurlHttpClient>(std::move(options));
}

}  // namespace failover
