#ifndef AGENT_ALLOWED_HOSTS_H_
#define AGENT_ALLOWED_HOSTS_H_

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

struct sockaddr;

namespace failover::agent {

// An IP address; IPv4 in its IPv4-mapped form, so that both families compare as 16 bytes.
struct IpAddress {
  std::array<uint8_t, 16> bytes{};

  bool is_v4() const;
  std::string ToString() const;
  friend bool operator==(const IpAddress&, const IpAddress&) = default;
};
// "10.1.2.3", "fd00::1", "[fd00::1]"; nothing when it is no address.
std::optional<IpAddress> ParseIp(absl::string_view text);
std::optional<IpAddress> IpOf(const sockaddr& address);

// What may be connected to (config.proto AgentConfig.allowed_hosts, reliability.md R10). A public
// address is allowed when the list is empty, when a CIDR covers it, or when the name that was
// resolved to it matches. Every other address (loopback, private, link-local, metadata, multicast,
// reserved, and IPv6 forms that embed one of these) only when a CIDR covers it: a name never
// suffices, since whoever answers for the name chooses the address. Immutable, so thread-safe.
class AllowedHosts {
 public:
  AllowedHosts() = default;
  // One entry: "10.1.2.0/24", "10.1.2.3", "fd00::/8", "host.example", "*.example". Errors say what
  // is allowed.
  absl::Status Add(absl::string_view entry);

  // OK, or PermissionDenied with the reason. `name`: the host that was resolved to the address.
  absl::Status Check(const IpAddress& address, absl::string_view name) const;

 private:
  struct Block {
    IpAddress base;
    int prefix = 0;  // of 128 bits
  };
  static std::optional<Block> ParseBlock(absl::string_view text);
  static bool Covers(const Block& block, const IpAddress& address);
  // "loopback", "private", …; null for a public address.
  static const char* SpecialKind(const IpAddress& address);

  std::vector<Block> blocks_;
  std::vector<std::string> names_;  // lower case; "*.example" as ".example"
};

}  // namespace failover::agent

#endif  // AGENT_ALLOWED_HOSTS_H_
