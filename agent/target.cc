#include "agent/target.h"

#include <map>
#include <set>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "common/config_file.h"
#include "common/http_client.h"
#include "common/status_macros.h"

namespace failover::agent {
namespace {

constexpr absl::Duration kMinInterval = absl::Milliseconds(10);
constexpr absl::Duration kMaxInterval = absl::Hours(1);
constexpr absl::Duration kMaxTimeout = absl::Minutes(5);
constexpr int kMaxOverlap = 64;
constexpr int kMaxBurst = 16;
constexpr int kMaxHeaders = 32;
constexpr size_t kMaxHeaderValue = 4096;
constexpr size_t kMaxUrl = 2048;

absl::Status Refused(absl::string_view field, absl::string_view found, absl::string_view allowed) {
  return absl::InvalidArgumentError(
      absl::StrCat(field, ": found \"", found.substr(0, 100), "\"; allowed: ", allowed));
}

absl::Duration FromProto(const google::protobuf::Duration& duration) {
  return absl::Seconds(duration.seconds()) + absl::Nanoseconds(duration.nanos());
}

std::string Bracketed(absl::string_view host) {
  return absl::StrContains(host, ":") ? absl::StrCat("[", host, "]") : std::string(host);
}

bool IsHostName(absl::string_view text) {
  if (text.empty() || text.size() > 253) return false;
  for (const char c : text) {
    if (!absl::ascii_isalnum(static_cast<unsigned char>(c)) && !absl::StrContains("-._:[]", c))
      return false;
  }
  return true;
}

// "host:port" or "host"; IPv6 in brackets. False when malformed.
bool SplitHostPort(absl::string_view text, std::string& host, int& port) {
  absl::string_view name = text;
  const size_t colon = text.rfind(':');
  const bool bracketed = absl::StartsWith(text, "[");
  if (colon != text.npos && (!bracketed || (colon > 0 && text[colon - 1] == ']'))) {
    if (!absl::SimpleAtoi(text.substr(colon + 1), &port) || port < 1 || port > 65535) return false;
    name = text.substr(0, colon);
  }
  if (bracketed) {
    if (!absl::EndsWith(name, "]")) return false;
    name = name.substr(1, name.size() - 2);
  } else if (absl::StrContains(name, ":")) {
    return false;
  }
  host = absl::AsciiStrToLower(name);
  return IsHostName(host) && !absl::StrContains(host, "[");
}

absl::Status PrepareAddress(const v1::Target& from, Target& target) {
  if (from.url().size() > kMaxUrl) return Refused("url", from.url(), "at most 2048 bytes");
  UrlParts url;
  RETURN_IF_ERROR(ParseUrl(from.url(), url));
  // libcurl would convert any other name before it looks for the addresses that we resolved.
  if (!IsHostName(url.host)) return Refused("url", from.url(), "an ASCII host name or an address");
  target.tls = url.scheme == "https";
  target.dial_host = url.host;
  target.dial_port = url.port;
  if (!from.connect_to().empty()) {
    int port = 0;
    if (!SplitHostPort(from.connect_to(), target.dial_host, port) || port == 0) {
      return Refused("connect_to", from.connect_to(), "HOST:PORT");
    }
    target.dial_port = port;
  }
  if (absl::EndsWith(target.dial_host, ".")) target.dial_host.pop_back();  // libcurl drops it too
  std::string host = url.host;
  if (!from.host().empty()) {
    int port = 0;
    if (!SplitHostPort(from.host(), host, port))
      return Refused("host", from.host(), "HOST or HOST:PORT");
    target.headers.push_back(absl::StrCat("Host: ", from.host()));
  }
  target.url = absl::StrCat(url.scheme, "://", Bracketed(host), ":", url.port, url.path_and_query);
  return absl::OkStatus();
}

bool IsToken(absl::string_view name) {
  if (name.empty() || name.size() > 100) return false;
  for (const char c : name) {
    if (!absl::ascii_isalnum(static_cast<unsigned char>(c)) &&
        !absl::StrContains("!#$%&'*+-.^_`|~", c)) {
      return false;
    }
  }
  return true;
}

absl::Status PrepareHeaders(const v1::Target& from, Target& target) {
  static const auto& framing = *new std::set<std::string>{
      "host",    "connection", "content-length", "transfer-encoding", "expect",
      "upgrade", "te",         "trailer",        "keep-alive"};
  if (from.headers_size() > kMaxHeaders) {
    return Refused("headers", absl::StrCat(from.headers_size()), "at most 32");
  }
  // In an order of their own: that of a protobuf map differs from run to run.
  const std::map<std::string, std::string> headers(from.headers().begin(), from.headers().end());
  for (const auto& [name, value] : headers) {
    const std::string lower = absl::AsciiStrToLower(name);
    if (!IsToken(name) || framing.count(lower) != 0 || absl::StartsWith(lower, "proxy-")) {
      return Refused("headers", name, "names of end-to-end headers; the host is set by `host`");
    }
    // The value may be a secret: it is never part of a message.
    bool printable = value.size() <= kMaxHeaderValue;
    for (const char c : value) printable &= c == '\t' || static_cast<unsigned char>(c) >= ' ';
    if (!printable || absl::StrContains(value, "\x7f")) {
      return Refused(absl::StrCat("headers.", name), absl::StrCat(value.size(), " bytes"),
                     "at most 4096 bytes without control characters");
    }
    // libcurl takes "Name:" as an order to leave the header out.
    target.headers.push_back(value.empty() ? absl::StrCat(name, ";")
                                           : absl::StrCat(name, ": ", value));
  }
  if (!from.served_by_header().empty() && !IsToken(from.served_by_header())) {
    return Refused("served_by_header", from.served_by_header(), "the name of a header");
  }
  target.served_by_header = absl::AsciiStrToLower(from.served_by_header());
  return absl::OkStatus();
}

absl::Status PrepareCadence(const v1::Target& from, Cadence& cadence) {
  cadence.interval = FromProto(from.interval());
  cadence.timeout = FromProto(from.timeout());
  cadence.phase = FromProto(from.phase());
  cadence.burst_count = from.burst_count();
  cadence.burst_spacing = FromProto(from.burst_spacing());
  if (cadence.interval < kMinInterval || cadence.interval > kMaxInterval) {
    return Refused("interval", failover::FormatDuration(cadence.interval), "10ms to 1h");
  }
  if (cadence.timeout < kMinInterval || cadence.timeout > kMaxTimeout ||
      cadence.timeout > cadence.interval * kMaxOverlap) {
    return Refused("timeout", failover::FormatDuration(cadence.timeout),
                   "10ms to 5m, at most 64 intervals");
  }
  if (cadence.phase < absl::ZeroDuration() || cadence.phase >= cadence.interval) {
    return Refused("phase", failover::FormatDuration(cadence.phase),
                   "0s to less than the interval");
  }
  if (cadence.burst_count < 0 || cadence.burst_count > kMaxBurst) {
    return Refused("burst_count", absl::StrCat(cadence.burst_count), "0 to 16");
  }
  if (cadence.burst_spacing < absl::ZeroDuration() || cadence.burst_spacing > kMaxInterval) {
    return Refused("burst_spacing", failover::FormatDuration(cadence.burst_spacing), "0s to 1h");
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Target> PrepareTarget(const v1::Target& from) {
  Target target;
  if (from.id().empty() || from.id().size() > 512)
    return Refused("id", from.id(), "1 to 512 bytes");
  target.id = from.id();
  RETURN_IF_ERROR(PrepareAddress(from, target));
  RETURN_IF_ERROR(PrepareHeaders(from, target));
  RETURN_IF_ERROR(PrepareCadence(from, target.cadence));
  ASSIGN_OR_RETURN(target.assertions,
                   Assertions::Parse({from.expect_status().begin(), from.expect_status().end()},
                                     from.expect_body_regex()));
  target.reuse_connection = from.reuse_connection();
  target.ca_file = from.ca_file();
  target.failover_group = from.failover_group();
  target.azure_region = from.azure_region();
  target.apim_service = from.apim_service();
  target.role = from.role();
  target.definition = from.definition();
  return target;
}

absl::StatusOr<PreparedAssignment> PrepareAssignment(const v1::Assignment& assignment) {
  if (assignment.targets_size() > kMaxTargets) {
    return absl::InvalidArgumentError(absl::StrCat("found an assignment of ",
                                                   assignment.targets_size(),
                                                   " targets; allowed: at most ", kMaxTargets));
  }
  PreparedAssignment prepared;
  prepared.term = assignment.term();
  prepared.generation = assignment.generation();
  std::set<std::string> ids;
  for (const v1::Target& from : assignment.targets()) {
    absl::StatusOr<Target> target = PrepareTarget(from);
    if (target.ok() && !ids.insert(from.id()).second) {
      target = absl::InvalidArgumentError("id: found twice in one assignment");
    }
    if (target.ok()) {
      prepared.targets.push_back(std::make_shared<const Target>(*std::move(target)));
    } else {
      prepared.refused.push_back(
          absl::StrCat(from.id().substr(0, 200), ": ", target.status().message()));
    }
  }
  return prepared;
}

}  // namespace failover::agent
