#ifndef AGENT_CONFIG_H_
#define AGENT_CONFIG_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "agent/allowed_hosts.h"
#include "apim_failover/v1/config.pb.h"
#include "common/proto.h"

namespace failover::agent {

// The agent's own file (design.md §4), with defaults applied. Read once, at the start: every change
// but that of certificate, key and CA files (which are reloaded) needs a restart.
struct Config {
  v1::AgentConfig file;
  AllowedHosts allowed_hosts;
  std::vector<std::string> resolver_servers;  // "ip:port"
};

// All problems at once, one a line: FILE:LINE: PATH: found "VALUE"; allowed: … (InvalidArgument).
absl::StatusOr<Config> ParseConfig(const std::string& file_name, absl::string_view text,
                                   bool insecure);
// Relative paths of files count from the configuration's directory.
absl::StatusOr<Config> LoadConfig(const std::string& file_name, bool insecure);

// "host:port", IPv6 in brackets, which `host` has not. False when it is not one.
bool SplitAddress(absl::string_view text, std::string& host, int& port);

// What a start needs besides values: certificates and CA files that can be read. One problem a
// line.
absl::Status CheckFiles(const Config& config);

}  // namespace failover::agent

#endif  // AGENT_CONFIG_H_
