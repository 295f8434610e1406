#ifndef AGENT_PROBE_H_
#define AGENT_PROBE_H_

#include <curl/curl.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "agent/allowed_hosts.h"
#include "agent/probe_result.h"
#include "agent/resolver.h"
#include "agent/schedule.h"
#include "agent/target.h"
#include "common/clock.h"

namespace failover::agent {

struct TargetState;  // probe_loop.cc

struct ProbeSettings {
  AllowedHosts allowed;
  std::string source_address;
  std::string ca_file;  // for targets without one of their own
};

// One probe in flight: sets up a libcurl handle and follows it through libcurl's callbacks, from
// which the stages are taken (libcurl's own times do not show a hanging TLS handshake; stack.md).
// Does not move while the handle is in use.
class Probe {
 public:
  Probe(std::shared_ptr<const Target> target, const ProbeStart& start,
        const ProbeSettings& settings, Clock& clock);
  ~Probe();
  Probe(const Probe&) = delete;
  Probe& operator=(const Probe&) = delete;

  // Addresses to connect to, in this order of preference.
  void SetResolution(Resolution resolution);
  // Sets every option; `easy` is fresh or reset. False when libcurl refuses one (out of memory).
  bool Attach(CURL* easy);
  // libcurl is done with the handle. Afterwards `seen` is complete.
  void Complete(CURLcode code);
  // The resolution failed: no handle was used.
  void CompleteUnresolved();

  // No handle could be had.
  void AbandonLocally() { abandoned_ = "local_error"; }

  // Not empty when the probe says nothing about the target, because the agent itself refused the
  // address or lacked something ("address_not_allowed", "local_error"): nothing is reported then,
  // since silence is never evidence. `seen.error` has the details.
  const char* abandoned() const { return abandoned_; }
  SteadyTime deadline() const { return seen.began + target->cadence.timeout; }

  const std::shared_ptr<const Target> target;
  const ProbeStart start;
  Observation seen;
  // Of the loop.
  std::shared_ptr<TargetState> state;
  uint64_t jumps = 0;
  CURL* easy = nullptr;

 private:
  static curl_socket_t OnOpenSocket(void* self, curlsocktype purpose, curl_sockaddr* address);
  static int OnCloseSocket(void* self, curl_socket_t socket);
  static CURLcode OnTlsStart(CURL* easy, void* ssl_ctx, void* self);
  static int OnReady(void* self, char* remote, char* local, int remote_port, int local_port);
  static size_t OnHeader(char* data, size_t size, size_t count, void* self);
  static size_t OnBody(char* data, size_t size, size_t count, void* self);
  void NoteConnectedPeer();
  void ReadHeader(absl::string_view line);
  bool ResolveEntry(std::string& entry) const;
  void JudgeAnswer();
  bool LocalFault(CURLcode code);

  const ProbeSettings& settings_;
  Clock& clock_;
  const char* abandoned_ = "";
  std::vector<IpAddress> addresses_;
  std::vector<curl_socket_t> sockets_;  // opened by this probe and not closed yet
  curl_slist *headers_ = nullptr, *resolve_ = nullptr, *connect_to_ = nullptr;
  char error_[CURL_ERROR_SIZE] = "";
  bool opened_socket_ = false;  // else the connection is a kept one
  bool tried_allowed_ = false;  // at least one address was allowed
  std::string refused_;         // why an address was not
  std::string local_fault_;
  size_t header_bytes_ = 0;
  size_t body_bytes_ = 0;
  bool body_cut_ = false, headers_too_long_ = false;
  std::string body_;
};

}  // namespace failover::agent

#endif  // AGENT_PROBE_H_
