#ifndef COMMON_ADMIN_SERVER_H_
#define COMMON_ADMIN_SERVER_H_

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "absl/status/statusor.h"

namespace prometheus {
class Collectable;
}

namespace failover {

class Exemplars;

// The plain HTTP port: /metrics, /livez, /readyz, /startupz. 64 workers, 1 s read time-out.
class AdminServer {
 public:
  struct Check {
    bool ok = true;
    std::string text;  // shown to the caller; one line
  };
  struct Options {
    std::string address;                          // "host:port"; port 0 picks a free one
    std::function<Check()> live, ready, started;  // each fast and thread-safe; absent = always ok
    std::shared_ptr<const Exemplars>
        exemplars;  // shown where OpenMetrics is asked for; may be null
  };
  // Errors: address malformed or in use.
  static absl::StatusOr<std::unique_ptr<AdminServer>> Start(Options options);
  virtual ~AdminServer() = default;
  // Added to what /metrics collects. prometheus::Registry is a Collectable.
  virtual void AddMetrics(std::weak_ptr<prometheus::Collectable> collectable) = 0;
  virtual int port() const = 0;
};

// process_* families with their standard names, build_info, config reload and log metrics of this
// process: every binary adds one. Thread-safe.
class ProcessMetrics {
 public:
  static std::shared_ptr<ProcessMetrics> Create(std::string component);
  virtual ~ProcessMetrics() = default;
  virtual std::shared_ptr<prometheus::Collectable> collectable() = 0;
  virtual void ConfigLoaded(std::string config_hash, bool success) = 0;
  // purpose: server, client or ca.
  virtual void SetCertificateExpiry(const std::string& purpose, double unix_seconds) = 0;
  // Instead: asked at each scrape, since certificates are renewed while the process runs. Unix
  // seconds by purpose.
  virtual void CertificatesFrom(std::function<std::map<std::string, double>()> expiries) = 0;
};

}  // namespace failover

#endif  // COMMON_ADMIN_SERVER_H_
