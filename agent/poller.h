#ifndef AGENT_POLLER_H_
#define AGENT_POLLER_H_

#include <functional>
#include <memory>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace failover::agent {

// One epoll set for the sockets of libcurl and c-ares, with a timer of microseconds (libcurl's own
// poll waits for whole milliseconds and knows one multi handle only). One thread; Wake from any.
class Poller {
 public:
  using Handler = std::function<void(bool readable, bool writable)>;

  static absl::StatusOr<std::unique_ptr<Poller>> Create();
  ~Poller();
  Poller(const Poller&) = delete;
  Poller& operator=(const Poller&) = delete;

  // Calls `handler` from Wait while the socket is ready; replaces an earlier call for it.
  void Watch(int fd, bool read, bool write, Handler handler);
  void Unwatch(int fd);
  // Waits at most that long and calls the handlers of what is ready.
  void Wait(absl::Duration at_most);
  void Wake();

 private:
  Poller(int epoll, int timer, int event) : epoll_(epoll), timer_(timer), event_(event) {}

  const int epoll_, timer_, event_;
  absl::flat_hash_map<int, Handler> handlers_;
};

}  // namespace failover::agent

#endif  // AGENT_POLLER_H_
