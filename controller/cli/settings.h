#ifndef CONTROLLER_CLI_SETTINGS_H_
#define CONTROLLER_CLI_SETTINGS_H_

#include <functional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/tls.h"
#include "controller/cli/args.h"

namespace failover::cli {

enum class Format { kTable, kJson, kYaml };

// Of a variable's name; null when it is not set.
using Environment = std::function<const char*(const char*)>;

struct Settings {
  std::string controller;  // "host:port"; may be empty: see NeedController
  TlsFiles tls;
  std::string controller_identity;  // empty: any controller of our trust domain
  bool insecure = false;
  Format format = Format::kTable;
  absl::Duration timeout = absl::Seconds(10);
};

// Flags before the environment before the file of --config. Errors name the flag, variable or line.
absl::StatusOr<Settings> ResolveSettings(const Args& args, const Environment& environment);

// Whether a controller is named and how it is spoken to is complete: an address, and either all
// three TLS files or --insecure with a loopback address.
absl::Status NeedController(const Settings& settings);

}  // namespace failover::cli

#endif  // CONTROLLER_CLI_SETTINGS_H_
