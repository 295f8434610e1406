#ifndef TESTS_AZURE_EMULATOR_DNS_SERVER_H_
#define TESTS_AZURE_EMULATOR_DNS_SERVER_H_

#include <atomic>
#include <map>
#include <memory>
#include <string>
#include <thread>

#include "absl/status/statusor.h"
#include "common/mutex.h"
#include "tests/azure_emulator/dns_view.h"

namespace failover::emulator {

// Answers UDP queries from a table; whoever owns it keeps the table fresh. Unknown names: NXDOMAIN.
class DnsServer {
 public:
  static absl::StatusOr<std::unique_ptr<DnsServer>> Start(const std::string& address, int port);
  ~DnsServer();
  int port() const { return port_; }
  void Publish(std::map<std::string, DnsView> names);

 private:
  DnsServer() = default;
  void Run();

  int socket_ = -1, port_ = 0;
  std::atomic<bool> stop_ = false;
  Mutex mutex_;
  std::map<std::string, DnsView> names_ ABSL_GUARDED_BY(mutex_);
  std::thread thread_;
};

}  // namespace failover::emulator

#endif  // TESTS_AZURE_EMULATOR_DNS_SERVER_H_
