// Backups in a real blob service (Azurite), over HTTP with Shared Key.
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "common/digest.h"
#include "common/http_client.h"
#include "tests/azure_emulator/arm.h"

namespace failover::emulator {
namespace {

constexpr absl::string_view kVersion = "2021-12-02";
constexpr absl::Duration kTimeout = absl::Seconds(5);
constexpr size_t kLargestBackup = 64 << 20;

class ExternalBlobs : public BlobStore {
 public:
  ExternalBlobs(std::string endpoint, std::string ca_file, std::map<std::string, std::string> keys)
      : endpoint_(absl::StripSuffix(endpoint, "/")), keys_(std::move(keys)) {
    CurlHttpClientOptions options;
    options.ca_file = std::move(ca_file);
    options.user_agent = "azure-emulator";
    client_ = NewCurlHttpClient(std::move(options));
  }

  absl::Status FindContainer(const std::string& account, const std::string& container) override {
    return ToStatus(Send("GET", account, container, "restype=container", {}, ""), container);
  }

  absl::Status CreateContainer(const std::string& account, const std::string& container,
                               absl::Time) override {
    return ToStatus(Send("PUT", account, container, "restype=container", {}, ""), container);
  }

  absl::Status Put(const std::string& account, const std::string& container,
                   const std::string& blob, const std::string& content, absl::Time) override {
    return ToStatus(
        Send("PUT", account, absl::StrCat(container, "/", blob), "",
             {{"x-ms-blob-type", "BlockBlob"}, {"Content-Type", "application/octet-stream"}},
             content),
        blob);
  }

  absl::StatusOr<std::string> Get(const std::string& account, const std::string& container,
                                  const std::string& blob) override {
    HttpResult result = Send("GET", account, absl::StrCat(container, "/", blob), "", {}, "");
    if (absl::Status status = ToStatus(result, blob); !status.ok()) return status;
    return std::move(result.response->body);
  }

 private:
  HttpResult Send(const std::string& method, const std::string& account, const std::string& path,
                  const std::string& query, Headers headers, const std::string& body) {
    UrlParts parts;
    const auto key = keys_.find(account);
    absl::Status problem = ParseUrl(endpoint_, parts);
    if (key == keys_.end()) {
      problem = absl::NotFoundError(absl::StrCat("storage account ", account, " does not exist"));
    }
    if (!problem.ok()) return {std::nullopt, problem, false};
    Request request;
    request.method = method;
    request.path = absl::StrCat("/", account, "/", PercentEncode(path));
    request.query = query;
    request.headers = std::move(headers);
    request.headers.emplace_back("x-ms-date", HttpDate(absl::Now()));
    request.headers.emplace_back("x-ms-version", std::string(kVersion));
    // Of this pair only the length is signed; the client sends it by itself.
    Request to_sign = request;
    if (!body.empty()) to_sign.headers.emplace_back("Content-Length", absl::StrCat(body.size()));
    const std::string signature = Base64(
        HmacSha256(FromBase64(key->second).value_or(""), SharedKeyStringToSign(to_sign, account)));
    request.headers.emplace_back("Authorization",
                                 absl::StrCat("SharedKey ", account, ":", signature));
    HttpRequest out;
    out.method = method;
    out.url = absl::StrCat(endpoint_, request.path, query.empty() ? "" : "?", query);
    out.headers = request.headers;
    out.body = body;
    out.connect_timeout = absl::Seconds(2);
    out.timeout = kTimeout;
    out.max_response_bytes = kLargestBackup;
    return client_->Send(out);
  }

  static absl::Status ToStatus(const HttpResult& result, const std::string& what) {
    if (!result.response) return result.error;
    const int status = result.response->status;
    if (status < 300) return absl::OkStatus();
    const std::string text = absl::StrCat(what, ": the blob service answered ", status, " ",
                                          result.response->Header("x-ms-error-code"));
    if (status == 404) return absl::NotFoundError(text);
    if (status == 409) return absl::AlreadyExistsError(text);
    return absl::UnavailableError(text);
  }

  const std::string endpoint_;
  const std::map<std::string, std::string> keys_;
  std::unique_ptr<HttpClient> client_;
};

}  // namespace

std::unique_ptr<BlobStore> NewExternalBlobs(std::string endpoint, std::string ca_file,
                                            std::map<std::string, std::string> keys) {
  return std::make_unique<ExternalBlobs>(std::move(endpoint), std::move(ca_file), std::move(keys));
}

}  // namespace failover::emulator
