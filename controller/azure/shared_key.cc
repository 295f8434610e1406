#include "controller/azure/shared_key.h"

#include <map>
#include <optional>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/digest.h"
#include "controller/azure/url_text.h"

namespace failover::azure {
namespace {

absl::string_view HeaderOf(const HttpRequest& request, absl::string_view name) {
  for (const auto& [key, value] : request.headers) {
    if (absl::EqualsIgnoreCase(key, name)) return value;
  }
  return "";
}

std::string CanonicalHeaders(const HttpRequest& request) {
  std::map<std::string, std::string> sorted;
  for (const auto& [name, value] : request.headers) {
    const std::string lower = absl::AsciiStrToLower(name);
    if (absl::StartsWith(lower, "x-ms-"))
      sorted[lower] = std::string(absl::StripAsciiWhitespace(value));
  }
  std::string text;
  for (const auto& [name, value] : sorted) absl::StrAppend(&text, name, ":", value, "\n");
  return text;
}

std::string CanonicalResource(const HttpRequest& request, absl::string_view account) {
  UrlParts url;
  if (!ParseUrl(request.url, url).ok()) return "";
  const std::pair<absl::string_view, absl::string_view> parts =
      absl::StrSplit(url.path_and_query, absl::MaxSplits('?', 1));
  std::string text = absl::StrCat("/", account, parts.first);
  std::map<std::string, std::string> query;
  for (const absl::string_view item : absl::StrSplit(parts.second, '&', absl::SkipEmpty())) {
    const std::pair<absl::string_view, absl::string_view> pair =
        absl::StrSplit(item, absl::MaxSplits('=', 1));
    query[absl::AsciiStrToLower(PercentDecoded(pair.first))] = PercentDecoded(pair.second);
  }
  for (const auto& [name, value] : query) absl::StrAppend(&text, "\n", name, ":", value);
  return text;
}

}  // namespace

std::string StringToSign(const HttpRequest& request, absl::string_view account) {
  std::string text = absl::StrCat(request.method, "\n");
  for (const absl::string_view name :
       {"Content-Encoding", "Content-Language", "Content-Length", "Content-MD5", "Content-Type",
        "Date", "If-Modified-Since", "If-Match", "If-None-Match", "If-Unmodified-Since", "Range"}) {
    if (name == "Content-Length") {  // empty when 0, since 2015-02-21
      absl::StrAppend(&text, request.body.empty() ? "" : absl::StrCat(request.body.size()), "\n");
    } else {
      absl::StrAppend(&text, HeaderOf(request, name), "\n");
    }
  }
  return absl::StrCat(text, CanonicalHeaders(request), CanonicalResource(request, account));
}

absl::Status Sign(HttpRequest& request, absl::string_view account, absl::string_view key) {
  const std::optional<std::string> bytes = FromBase64(key);
  if (!bytes.has_value() || bytes->empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("the access key of storage account ", account,
                     " is not base64; allowed: an account key as Azure shows it"));
  }
  request.headers.emplace_back(
      "Authorization", absl::StrCat("SharedKey ", account, ":",
                                    Base64(HmacSha256(*bytes, StringToSign(request, account)))));
  return absl::OkStatus();
}

}  // namespace failover::azure
