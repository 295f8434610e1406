#ifndef CONTROLLER_APP_H_
#define CONTROLLER_APP_H_

#include <string>

#include "absl/status/status.h"

namespace failover {

struct AppOptions {
  std::string config_file;
  bool insecure = false;     // no TLS; loopback addresses only
  std::string address_file;  // where the bound addresses are written as JSON once all ports are
                             // open; empty = nowhere
};

// Runs the controller until SIGTERM or SIGINT. Errors: what kept it from starting, for the
// operator.
absl::Status RunController(const AppOptions& options);

}  // namespace failover

#endif  // CONTROLLER_APP_H_
