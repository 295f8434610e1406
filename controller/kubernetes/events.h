#ifndef CONTROLLER_KUBERNETES_EVENTS_H_
#define CONTROLLER_KUBERNETES_EVENTS_H_

#include <atomic>
#include <cstdint>
#include <map>
#include <string>
#include <thread>
#include <tuple>

#include "absl/time/time.h"
#include "common/clock.h"
#include "common/mailbox.h"
#include "controller/kubernetes/client.h"

namespace failover::kubernetes {

// One Event of events.k8s.io/v1, as `kubectl get events` shows it. Only for changes, never for
// states.
struct ClusterEvent {
  enum About { kLease, kConfigMap };
  bool warning = false;
  std::string reason;  // CamelCase, as "LeaderElection"
  std::string action;  // what was done, CamelCase
  std::string note;    // a sentence; cut at 1 KiB and redacted
  About about = kLease;
  std::string name;  // of the object it is about, in our namespace
};

struct EventPublisherOptions {
  ApiServer server;
  std::string instance;  // this process; at most 128 bytes are sent
  Clock* clock = nullptr;
  ApiClient::MakeHttp make_http;  // null: libcurl
  ApiClient::Observer observe;    // may be null
};

// Writes events on a thread of its own; an event that cannot be written is dropped and counted. The
// repetition of one (all the same but the note) within 6 minutes of its last becomes its series,
// written at most once a minute. Thread-safe.
class EventPublisher {
 public:
  explicit EventPublisher(EventPublisherOptions options);
  // Writes what waits while that works, for a few seconds at most.
  ~EventPublisher();
  EventPublisher(const EventPublisher&) = delete;
  EventPublisher& operator=(const EventPublisher&) = delete;

  // Never waits.
  void Publish(ClusterEvent event);
  uint64_t dropped() const { return dropped_; }

 private:
  using Key = std::tuple<bool, std::string, std::string, int, std::string>;
  struct Series {
    std::string name;  // of the Event object
    int count = 1;
    int written = 1;  // the count that the object has
    absl::Time last_seen;
    SteadyTime seen, wrote;
  };
  struct Item {
    ClusterEvent event;
    Now at;
  };

  void Run();
  // False: it was not written.
  bool Write(const Item& item);
  bool Create(const Item& item, Series& series);
  bool Repeat(Series& series);
  bool Send(ApiRequest request);
  // Repetitions that waited for their minute.
  void Flush();

  const EventPublisherOptions options_;
  Clock& clock_;
  std::atomic<uint64_t> dropped_ = 0;
  std::atomic<bool> ending_ = false;
  Mailbox<Item> mailbox_;
  // Of the thread alone.
  ApiClient client_;
  SteadyTime not_before_ = SteadyTime::InfinitePast();
  std::map<Key, Series> series_;
  std::thread thread_;  // last
};

}  // namespace failover::kubernetes

#endif  // CONTROLLER_KUBERNETES_EVENTS_H_
