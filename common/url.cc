// ParseUrl of http_client.h.
#include <curl/curl.h>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "common/http_client.h"
#include "common/utf8.h"

namespace failover {
namespace {

absl::Status BadUrl(absl::string_view url, absl::string_view why) {
  // Neither user information nor a query belongs into a message.
  absl::string_view shown = url.substr(0, url.find_first_of("?#"));
  if (const size_t at = shown.rfind('@'); at != shown.npos) shown.remove_prefix(at);
  return absl::InvalidArgumentError(absl::StrCat("found URL \"", CutText(shown, 200), "\", ", why,
                                                 "; allowed: http(s)://HOST[:PORT][/PATH]"));
}

std::string Part(CURLU* url, CURLUPart part, unsigned int flags) {
  char* text = nullptr;
  if (curl_url_get(url, part, &text, flags) != CURLUE_OK) return "";
  std::string copy = text;
  curl_free(text);
  return copy;
}

}  // namespace

// libcurl's own parser, so that what is checked is what will be connected to.
absl::Status ParseUrl(absl::string_view url, UrlParts& parts) {
  for (const char c : url) {
    if (static_cast<unsigned char>(c) <= ' ' || c == 0x7f) {
      return BadUrl(url, "with a space or control character in it");
    }
  }
  const size_t separator = url.find("://");
  if (separator == url.npos || separator == 0) return BadUrl(url, "without a scheme");
  const std::string scheme = absl::AsciiStrToLower(url.substr(0, separator));
  if (scheme != "http" && scheme != "https") return BadUrl(url, "of another scheme");
  const absl::string_view rest = url.substr(separator + 3);
  const size_t authority_end = std::min(rest.find_first_of("/?#"), rest.size());
  if (authority_end == 0) return BadUrl(url, "without a host");

  const std::unique_ptr<CURLU, decltype(&curl_url_cleanup)> parsed(curl_url(), curl_url_cleanup);
  const CURLUcode code = curl_url_set(parsed.get(), CURLUPART_URL, std::string(url).c_str(),
                                      CURLU_PATH_AS_IS | CURLU_DISALLOW_USER);
  if (code == CURLUE_USER_NOT_ALLOWED) return BadUrl(url, "with user information");
  if (code != CURLUE_OK) return BadUrl(url, curl_url_strerror(code));
  std::string host = absl::AsciiStrToLower(Part(parsed.get(), CURLUPART_HOST, 0));
  if (absl::StartsWith(host, "[") && absl::EndsWith(host, "]")) {
    host = host.substr(1, host.size() - 2);
  }
  int port = 0;
  if (host.empty()) return BadUrl(url, "without a host");
  if (!absl::SimpleAtoi(Part(parsed.get(), CURLUPART_PORT, CURLU_DEFAULT_PORT), &port) ||
      port < 1 || port > 65535) {
    return BadUrl(url, "with a port outside 1..65535");
  }
  absl::string_view target = rest.substr(authority_end);
  target = target.substr(0, target.find('#'));
  parts = {scheme, host, port,
           absl::StartsWith(target, "/") ? std::string(target) : absl::StrCat("/", target)};
  return absl::OkStatus();
}

}  // namespace failover
