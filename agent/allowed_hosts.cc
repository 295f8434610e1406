#include "agent/allowed_hosts.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <algorithm>
#include <cstring>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

namespace failover::agent {
namespace {

constexpr std::array<uint8_t, 12> kMappedPrefix = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

IpAddress FromV4(const void* four_bytes) {
  IpAddress address;
  std::copy(kMappedPrefix.begin(), kMappedPrefix.end(), address.bytes.begin());
  std::memcpy(address.bytes.data() + 12, four_bytes, 4);
  return address;
}

bool IsNamePattern(absl::string_view name) {
  if (name.empty() || name.size() > 253 || absl::StartsWith(name, ".") ||
      absl::EndsWith(name, ".") || absl::StrContains(name, "..")) {
    return false;
  }
  // Digits and dots alone would be a mistyped address.
  bool letter = false;
  for (const char c : name) {
    if (!absl::ascii_isalnum(static_cast<unsigned char>(c)) && c != '-' && c != '.' && c != '_')
      return false;
    letter |= absl::ascii_isalpha(static_cast<unsigned char>(c));
  }
  return letter;
}

}  // namespace

bool IpAddress::is_v4() const {
  return std::equal(kMappedPrefix.begin(), kMappedPrefix.end(), bytes.begin());
}

std::string IpAddress::ToString() const {
  char text[INET6_ADDRSTRLEN];
  if (is_v4()) {
    inet_ntop(AF_INET, bytes.data() + 12, text, sizeof text);
  } else {
    inet_ntop(AF_INET6, bytes.data(), text, sizeof text);
  }
  return text;
}

std::optional<IpAddress> ParseIp(absl::string_view text) {
  if (absl::ConsumePrefix(&text, "[") && !absl::ConsumeSuffix(&text, "]")) return std::nullopt;
  const std::string copy(text);
  IpAddress address;
  if (in_addr v4; inet_pton(AF_INET, copy.c_str(), &v4) == 1) return FromV4(&v4);
  if (inet_pton(AF_INET6, copy.c_str(), address.bytes.data()) == 1) return address;
  return std::nullopt;
}

std::optional<IpAddress> IpOf(const sockaddr& address) {
  if (address.sa_family == AF_INET) {
    sockaddr_in v4;
    std::memcpy(&v4, &address, sizeof v4);
    return FromV4(&v4.sin_addr);
  }
  if (address.sa_family == AF_INET6) {
    sockaddr_in6 v6;
    std::memcpy(&v6, &address, sizeof v6);
    IpAddress result;
    std::memcpy(result.bytes.data(), &v6.sin6_addr, 16);
    return result;
  }
  return std::nullopt;
}

std::optional<AllowedHosts::Block> AllowedHosts::ParseBlock(absl::string_view text) {
  const size_t slash = text.find('/');
  const std::optional<IpAddress> base = ParseIp(text.substr(0, slash));
  if (!base) return std::nullopt;
  const int width = base->is_v4() ? 32 : 128;
  int prefix = width;
  if (slash != text.npos &&
      (!absl::SimpleAtoi(text.substr(slash + 1), &prefix) || prefix < 0 || prefix > width)) {
    return std::nullopt;
  }
  return Block{*base, prefix + 128 - width};
}

bool AllowedHosts::Covers(const Block& block, const IpAddress& address) {
  const int whole = block.prefix / 8;
  if (!std::equal(block.base.bytes.begin(), block.base.bytes.begin() + whole,
                  address.bytes.begin())) {
    return false;
  }
  const int rest = block.prefix % 8;
  if (rest == 0) return true;
  const auto mask = static_cast<uint8_t>(0xff << (8 - rest));
  const auto at = static_cast<size_t>(whole);
  return (block.base.bytes[at] & mask) == (address.bytes[at] & mask);
}

const char* AllowedHosts::SpecialKind(const IpAddress& address) {
  struct Special {
    Block block;
    const char* kind;
  };
  static const std::vector<Special>& specials = *new std::vector<Special>([] {
    std::vector<Special> list;
    const auto add = [&list](const char* cidr, const char* kind) {
      list.push_back({*ParseBlock(cidr), kind});
    };
    add("169.254.169.254/32", "metadata");
    add("168.63.129.16/32", "metadata");  // Azure's wire server
    add("100.100.100.200/32", "metadata");
    add("fd00:ec2::254/128", "metadata");
    add("127.0.0.0/8", "loopback");
    add("::1/128", "loopback");
    add("0.0.0.0/8", "unspecified");
    add("::/128", "unspecified");
    add("10.0.0.0/8", "private");
    add("172.16.0.0/12", "private");
    add("192.168.0.0/16", "private");
    add("100.64.0.0/10", "private");
    add("fc00::/7", "private");
    add("fec0::/10", "private");
    add("169.254.0.0/16", "link-local");
    add("fe80::/10", "link-local");
    add("224.0.0.0/4", "multicast");
    add("ff00::/8", "multicast");
    add("192.0.0.0/24", "reserved");
    add("198.18.0.0/15", "reserved");
    add("240.0.0.0/4", "reserved");
    return list;
  }());
  for (const Special& special : specials) {
    if (Covers(special.block, address)) return special.kind;
  }
  // Forms that carry an IPv4 address to which a gateway or the kernel would send instead.
  static const Block nat64 = *ParseBlock("64:ff9b::/96");
  static const Block six_to_four = *ParseBlock("2002::/16");
  static const Block compatible = *ParseBlock("::/96");
  if (Covers(nat64, address) || Covers(compatible, address))
    return SpecialKind(FromV4(&address.bytes[12]));
  if (Covers(six_to_four, address)) return SpecialKind(FromV4(&address.bytes[2]));
  return nullptr;
}

absl::Status AllowedHosts::Add(absl::string_view entry) {
  if (const std::optional<Block> block = ParseBlock(entry)) {
    blocks_.push_back(*block);
    return absl::OkStatus();
  }
  const std::string name = absl::AsciiStrToLower(entry);
  if (absl::StartsWith(name, "*.") && IsNamePattern(name.substr(2))) {
    names_.push_back(name.substr(1));
    return absl::OkStatus();
  }
  if (IsNamePattern(name)) {
    names_.push_back(name);
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(
      absl::StrCat("found \"", entry.substr(0, 100),
                   "\"; allowed: an address block (10.1.2.0/24, fd00::/8), an "
                   "address, a host name or *.DOMAIN"));
}

absl::Status AllowedHosts::Check(const IpAddress& address, absl::string_view name) const {
  for (const Block& block : blocks_) {
    if (Covers(block, address)) return absl::OkStatus();
  }
  if (const char* kind = SpecialKind(address)) {
    return absl::PermissionDeniedError(absl::StrCat(kind, " address ", address.ToString(),
                                                    " is in no address block of allowedHosts"));
  }
  if (blocks_.empty() && names_.empty()) return absl::OkStatus();
  std::string host = absl::AsciiStrToLower(name);
  if (absl::EndsWith(host, ".")) host.pop_back();
  for (const std::string& allowed : names_) {
    const bool zone = absl::StartsWith(allowed, ".");
    if (zone ? absl::EndsWith(host, allowed) && host.size() > allowed.size() : host == allowed) {
      return absl::OkStatus();
    }
  }
  return absl::PermissionDeniedError(
      absl::StrCat("neither ", address.ToString(), " nor the name ", host, " is in allowedHosts"));
}

}  // namespace failover::agent
