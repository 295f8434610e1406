#ifndef AGENT_TRANSFERS_H_
#define AGENT_TRANSFERS_H_

#include <curl/curl.h>

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "agent/poller.h"
#include "common/clock.h"

namespace failover::agent {

// libcurl's multi handles on one Poller: one per CA file, since two files that alternate in one
// would be parsed anew for every connection (stack.md). Handles are kept for use again, a few. One
// thread.
class Transfers {
 public:
  using Done = std::function<void(void* private_data, CURLcode code)>;

  Transfers(Poller& poller, Clock& clock, Done done);
  ~Transfers();  // drops what is in flight
  Transfers(const Transfers&) = delete;
  Transfers& operator=(const Transfers&) = delete;

  // A handle without options; null when out of memory. Goes back by Begin and completion, or by
  // Return.
  CURL* Take(const std::string& ca_file);
  void Return(const std::string& ca_file, CURL* easy);
  // Starts a handle whose options are set. `done` is called from Process, once.
  bool Begin(const std::string& ca_file, CURL* easy);
  SteadyTime next() const;
  void Process();
  // Closes the multi handles, and with them kept connections, of every other CA file that is not in
  // use.
  void KeepOnly(const std::vector<std::string>& ca_files);

 private:
  struct Multi;
  static int OnSocket(CURL* easy, curl_socket_t fd, int what, void* multi, void* socket);
  static int OnTimer(CURLM* curlm, long timeout_ms, void* multi);
  Multi& MultiFor(const std::string& ca_file);
  void Collect(Multi& multi);

  Poller& poller_;
  Clock& clock_;
  const Done done_;
  std::map<std::string, std::unique_ptr<Multi>> multis_;
};

}  // namespace failover::agent

#endif  // AGENT_TRANSFERS_H_
