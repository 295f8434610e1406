#ifndef TESTS_KUBERNETES_STUB_STATE_H_
#define TESTS_KUBERNETES_STUB_STATE_H_

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "common/mutex.h"
#include "nlohmann/json.hpp"
#include "tests/kubernetes_stub/api_server.h"
#include "tests/support/tcp_peer.h"

// Private to the stub.
namespace failover::stub {

using Json = nlohmann::json;

struct Answer {
  int status = 200;
  std::string body;
  std::vector<std::pair<std::string, std::string>> headers;
};
Answer Refuse(int status, const std::string& reason, const std::string& message);

// Where a path leads: the collection's path, and the object's name or "".
struct Place {
  std::string collection, name_space, resource, name;
};
std::optional<Place> PlaceOf(absl::string_view path);
// Of the query; "" = not given.
std::string Parameter(absl::string_view path, absl::string_view name);
// By the labels that the request asks for.
bool IsSelected(const Json& object, const KubernetesStub::Seen& request);

}  // namespace failover::stub

namespace failover {

// Members are for whoever holds the mutex.
struct KubernetesStub::State {
  // Of an object, as a watch tells it.
  struct Change {
    int64_t version = 0;
    std::string type, collection;
    stub::Json object;
  };

  mutable Mutex mutex;
  std::condition_variable_any changed;
  std::set<std::string> namespaces, tokens;
  std::map<std::string, stub::Json> objects;  // by path
  std::vector<Fault> faults;
  std::vector<Seen> seen;
  int64_t version = 1000;
  int uids = 0;
  size_t page = 0;  // 0 = no bound of ours
  int held = 0;
  uint64_t releases = 0;
  bool closing = false;

  std::deque<Change> changes;
  int64_t forgotten = 0;          // the last change that a watch cannot begin before
  std::vector<std::string> told;  // lines for every watch, beside the changes
  int watches = 0;
  uint64_t watches_ended = 0, watches_cut = 0;

  const RealServer* real = nullptr;            // null: the objects are here
  std::unique_ptr<RealServerClient> upstream;  // one call at a time: under the mutex
  std::stop_source stop;                       // ends watches of the real server
  std::unique_ptr<TcpPeer> peer;               // last: its threads use the rest

  // objects.cc
  void Store(const stub::Place& place, const std::string& path, stub::Json object);
  void Erase(const std::string& path);
  stub::Answer Carry(const Seen& request);
  stub::Answer List(const stub::Place& place, const Seen& request) const;
  stub::Answer Alter(const stub::Place& place, const std::string& path, const Seen& request,
                     stub::Json body);

  // watch.cc; without the mutex. False: the connection is to be closed.
  bool Watch(TcpPeer::Connection& connection, const Seen& request);
  bool ForwardWatch(TcpPeer::Connection& connection, const Seen& request);

  // api_server.cc
  stub::Answer Forward(const Seen& request);
  // As the administrator: the object, or null.
  stub::Json OfReal(const std::string& method, const std::string& path,
                    const std::string& body = "") const;
  stub::Json Object(const std::string& path) const;
  std::optional<Fault> TakeFault(const Seen& request);
  void Hold();
  bool ServeOne(TcpPeer::Connection& connection, const Seen& request);
};

}  // namespace failover

#endif  // TESTS_KUBERNETES_STUB_STATE_H_
