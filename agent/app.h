#ifndef AGENT_APP_H_
#define AGENT_APP_H_

#include <memory>

#include "absl/status/statusor.h"
#include "agent/config.h"
#include "common/clock.h"

namespace failover::agent {

// A whole running agent: probe loop, results, one reporter per controller and per
// replica of a controller, admin port.
class App {
 public:
  struct Options {
    Config config;
    bool insecure = false;
    Clock* clock = nullptr;
  };
  // Errors name the file or address that is at fault.
  static absl::StatusOr<std::unique_ptr<App>> Start(Options options);
  virtual ~App() = default;  // ends everything within a second

  virtual int admin_port() const = 0;
  // Refreshes what is only read now and then (expiry of certificates in memory). Every few seconds.
  virtual void Tick() = 0;
};

}  // namespace failover::agent

#endif  // AGENT_APP_H_
