#include "tests/azure_emulator/http_message.h"

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"

namespace failover::emulator {
namespace {

constexpr size_t kLargestHead = 64 << 10;
constexpr size_t kMostHeaders = 200;

const char* Reason(int status) {
  switch (status) {
    case 200:
      return "OK";
    case 201:
      return "Created";
    case 202:
      return "Accepted";
    case 204:
      return "No Content";
    case 304:
      return "Not Modified";
    case 400:
      return "Bad Request";
    case 401:
      return "Unauthorized";
    case 403:
      return "Forbidden";
    case 404:
      return "Not Found";
    case 405:
      return "Method Not Allowed";
    case 409:
      return "Conflict";
    case 412:
      return "Precondition Failed";
    case 413:
      return "Content Too Large";
    case 429:
      return "Too Many Requests";
    case 500:
      return "Internal Server Error";
    case 502:
      return "Bad Gateway";
    case 503:
      return "Service Unavailable";
    case 504:
      return "Gateway Timeout";
    default:
      return "Status";
  }
}

bool ParseHead(absl::string_view head, IncomingRequest& out, absl::string_view& version) {
  const std::vector<absl::string_view> lines = absl::StrSplit(head, "\r\n");
  const std::vector<absl::string_view> first = absl::StrSplit(lines[0], ' ');
  if (first.size() != 3 || first[0].empty() || !absl::StartsWith(first[1], "/")) return false;
  version = first[2];
  if (version != "HTTP/1.1" && version != "HTTP/1.0") return false;
  const std::pair<absl::string_view, absl::string_view> target =
      absl::StrSplit(first[1], absl::MaxSplits('?', 1));
  out.request.method = std::string(first[0]);
  out.request.path = std::string(target.first);
  out.request.query = std::string(target.second);
  if (lines.size() > kMostHeaders) return false;
  for (size_t i = 1; i < lines.size(); ++i) {
    const size_t colon = lines[i].find(':');
    if (colon == absl::string_view::npos || colon == 0) return false;
    out.request.headers.emplace_back(
        std::string(lines[i].substr(0, colon)),
        std::string(absl::StripAsciiWhitespace(lines[i].substr(colon + 1))));
  }
  return true;
}

// Reads a chunked body at `at`; trailers are passed over.
Parsed ParseChunks(absl::string_view input, size_t at, size_t max_body, IncomingRequest& out) {
  while (true) {
    const size_t end = input.find("\r\n", at);
    if (end == absl::string_view::npos) return Parsed::kNeedMore;
    uint64_t size = 0;
    const absl::string_view line = input.substr(at, end - at);
    if (!absl::SimpleHexAtoi(line.substr(0, line.find(';')), &size)) return Parsed::kBad;
    if (size > max_body || out.request.body.size() + size > max_body) return Parsed::kTooLarge;
    at = end + 2;
    if (size == 0) break;
    if (input.size() < at + size + 2) return Parsed::kNeedMore;
    absl::StrAppend(&out.request.body, input.substr(at, size));
    at += size + 2;
  }
  while (true) {
    const size_t end = input.find("\r\n", at);
    if (end == absl::string_view::npos) return Parsed::kNeedMore;
    const bool last = end == at;
    at = end + 2;
    if (last) break;
  }
  out.consumed = at;
  return Parsed::kDone;
}

}  // namespace

Parsed ParseRequest(absl::string_view input, size_t max_body, IncomingRequest& out) {
  out = IncomingRequest();
  const size_t end = input.find("\r\n\r\n");
  if (end == absl::string_view::npos) {
    return input.size() > kLargestHead ? Parsed::kTooLarge : Parsed::kNeedMore;
  }
  if (end > kLargestHead) return Parsed::kTooLarge;
  absl::string_view version;
  if (!ParseHead(input.substr(0, end), out, version)) return Parsed::kBad;
  const absl::string_view connection = out.request.Header("connection");
  out.keep_alive = version == "HTTP/1.1" ? !absl::EqualsIgnoreCase(connection, "close")
                                         : absl::EqualsIgnoreCase(connection, "keep-alive");
  out.expects_continue = absl::EqualsIgnoreCase(out.request.Header("expect"), "100-continue");
  const size_t body = end + 4;
  if (absl::EqualsIgnoreCase(out.request.Header("transfer-encoding"), "chunked")) {
    return ParseChunks(input, body, max_body, out);
  }
  uint64_t length = 0;
  const absl::string_view text = out.request.Header("content-length");
  if (!text.empty() && !absl::SimpleAtoi(text, &length)) return Parsed::kBad;
  if (length > max_body) return Parsed::kTooLarge;
  if (input.size() < body + length) return Parsed::kNeedMore;
  out.request.body = std::string(input.substr(body, length));
  out.consumed = body + length;
  return Parsed::kDone;
}

std::string ResponseHead(const Answer& answer, bool head, bool keep_alive) {
  std::string out = absl::StrCat("HTTP/1.1 ", answer.status, " ", Reason(answer.status), "\r\n");
  for (const auto& [name, value] : answer.headers) {
    absl::StrAppend(&out, name, ": ", value, "\r\n");
  }
  const bool bodiless = answer.status == 204 || answer.status == 304 || answer.status < 200;
  if (!bodiless && !(head && answer.body.empty())) {
    absl::StrAppend(&out, "Content-Length: ", answer.body.size(), "\r\n");
  }
  if (!keep_alive) absl::StrAppend(&out, "Connection: close\r\n");
  return absl::StrCat(out, "\r\n");
}

}  // namespace failover::emulator
