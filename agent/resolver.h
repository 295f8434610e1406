#ifndef AGENT_RESOLVER_H_
#define AGENT_RESOLVER_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "agent/allowed_hosts.h"
#include "agent/poller.h"
#include "common/clock.h"

namespace failover::agent {

struct Resolution {
  absl::Status status;  // OK exactly when there are addresses
  bool timed_out = false;
  std::vector<IpAddress> addresses;  // IPv4 first: one order everywhere, so results compare
  std::vector<std::string>
      cname_chain;  // lower case, no final dots, without the name asked for; at most 8
};

// Name resolution by c-ares on the probe loop's thread; it never blocks it (stack.md). Nothing is
// cached or shared: each call asks anew, on sockets of its own, and leaves nothing behind at its
// deadline, so a dead name server costs only the probe that waits for it. A and AAAA are asked
// together; when one family has answered, the other is given 50 ms more (RFC 8305 §3). Search
// domains are used only when asked for: never for what is probed.
class Resolver {
 public:
  struct Options {
    std::vector<std::string>
        servers;  // "ip:port", tried in order; empty = the system's, with its hosts file
    std::string source_address;
    bool search_domains = false;  // the system's, for names that are not fully qualified
  };
  using Done = std::function<void(Resolution)>;

  Resolver(Options options, Poller& poller, Clock& clock);
  ~Resolver();  // open calls are dropped without an answer
  Resolver(const Resolver&) = delete;
  Resolver& operator=(const Resolver&) = delete;

  // `done` is called once, from Process, at `deadline` at the latest.
  void Resolve(const std::string& host, SteadyTime deadline, Done done);
  SteadyTime next() const;
  void Process();
  size_t open() const { return requests_.size(); }

 private:
  struct Request;
  absl::Status OpenChannel(Request& request, absl::Duration per_try);
  void ProcessSocket(uint64_t id, int readable, int writable);
  void Touch(uint64_t id) { touched_.insert(id); }
  void Schedule(Request& request);
  bool FinishIfDone(Request& request, SteadyTime now);

  const Options options_;
  Poller& poller_;
  Clock& clock_;
  uint64_t last_id_ = 0;
  std::map<uint64_t, std::unique_ptr<Request>> requests_;
  std::set<std::pair<SteadyTime, uint64_t>> timers_;  // one for each request
  std::set<uint64_t> touched_;                        // to be looked at in Process
};

}  // namespace failover::agent

#endif  // AGENT_RESOLVER_H_
