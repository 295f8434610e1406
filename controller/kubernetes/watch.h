#ifndef CONTROLLER_KUBERNETES_WATCH_H_
#define CONTROLLER_KUBERNETES_WATCH_H_

#include <cstdint>
#include <functional>
#include <random>
#include <stop_token>
#include <string>
#include <thread>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "common/clock.h"
#include "common/mutex.h"
#include "controller/kubernetes/client.h"

namespace failover::kubernetes {

struct WatchOptions {
  ApiServer server;
  std::string collection;  // its path, with the query that selects objects, if any
  Clock* clock = nullptr;
  // Objects may have changed: at the beginning, at each change, and when changes may have been
  // missed. On a thread of the watch's own; returns soon.
  std::function<void()> changed;
  ApiClient::MakeHttp make_http;  // null: libcurl
};

// For the log and for tests.
struct WatchState {
  std::string version;    // the last that was told; "" = to be listed anew
  absl::Status problem;   // of the last attempt
  uint64_t attempts = 0;  // requests for a list or a watch
};

// Keeps one watch of a collection open, on a thread and a connection of its own, and tells that
// something changed, not what: whoever wants to know reads, so nothing is lost when the watch is.
//
// Metadata alone is asked for. A watch ends after 60 to 90 s by its own time-out and goes on from
// the last version it was told, which bookmarks move on while nothing changes; 410 begins anew with
// a list. Failures are tried again after 0.5 s, doubled up to 30 s, jittered, and not before a
// Retry-After. Thread-safe.
class Watch {
 public:
  explicit Watch(WatchOptions options);
  ~Watch();  // ends it within a moment
  Watch(const Watch&) = delete;
  Watch& operator=(const Watch&) = delete;

  WatchState State() const;

 private:
  void Run();
  // A version to watch from.
  absl::Status List();
  // Until it ends; OK when the server ended it in order.
  absl::Status Follow();
  // The complete lines of `buffer_`, which stay behind it; false: no more is wanted.
  bool TakeLines(absl::string_view part);
  absl::Status TakeLine(absl::string_view line, bool& changed);
  void Note(const absl::Status& status);
  void Forget();  // the version
  ApiRequest Request(absl::string_view query, absl::string_view kind) const;

  const WatchOptions options_;
  Clock& clock_;
  std::stop_source stop_;
  // Of the thread alone.
  ApiClient client_;
  std::minstd_rand random_{std::random_device{}()};
  std::string buffer_;  // of a line that is not complete
  absl::Status line_;   // why a line ended the watch
  absl::Duration retry_after_;
  bool progressed_ = false;  // since the last failure

  mutable Mutex mutex_;
  WatchState state_ ABSL_GUARDED_BY(mutex_);
  std::thread thread_;  // last
};

}  // namespace failover::kubernetes

#endif  // CONTROLLER_KUBERNETES_WATCH_H_
