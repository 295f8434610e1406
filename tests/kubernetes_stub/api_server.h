#ifndef TESTS_KUBERNETES_STUB_API_SERVER_H_
#define TESTS_KUBERNETES_STUB_API_SERVER_H_

#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "tests/kubernetes_stub/real_server.h"

namespace failover {

// An API server of Kubernetes as far as ours is spoken to: Leases, ConfigMaps and Events of
// existing namespaces, with resourceVersions and their conflicts, the differences between kinds (a
// Lease is created by the PUT of a deleted one, and never written without a version), watches of
// collections, and faults as a test orders them. Plain HTTP on 127.0.0.1. Thread-safe.
//
// With a real API server behind it, requests are logged, held, dropped and refused here, and
// carried out there, as the account of the controller.
class KubernetesStub {
 public:
  struct Fault {
    enum What {
      kAnswer,      // answer `status` at once
      kDropBefore,  // close the connection; nothing is done
      kDropAfter,   // carry it out and close the connection
      kHoldBefore,  // carry it out and answer when ReleaseHeld is called
      kHoldAfter,   // carry it out, answer when ReleaseHeld is called
    };
    What what = kAnswer;
    std::string method;     // empty: each
    std::string path_part;  // of the requests it is for; empty: each
    int times = 1;          // negative: until ClearFaults
    int status = 500;
    std::string reason;  // of the Status object
    std::vector<std::pair<std::string, std::string>> headers;
    std::string body;  // instead of a Status object
  };
  struct Seen {
    std::string method, path, body, token, content_type, accept;
  };

  explicit KubernetesStub(std::set<std::string> namespaces = {"dr"})
      : KubernetesStub(nullptr, std::move(namespaces)) {}
  // `real` may be null; else its namespace dr is emptied first.
  explicit KubernetesStub(const RealServer* real, std::set<std::string> namespaces = {"dr"});
  ~KubernetesStub();

  std::string url() const;
  int connections() const;

  void Add(Fault fault);
  void ClearFaults();
  // What is held now goes on; true if something was.
  bool ReleaseHeld();
  int held() const;
  // Other tokens are answered 401; empty = none is asked for.
  void AcceptTokens(std::set<std::string> tokens);
  // Lists then have at most this many items a page.
  void SetPage(size_t items);

  // Objects by their path. `json` is merged into what is there, as another client's write; a new
  // object is made.
  void Write(const std::string& path, absl::string_view json);
  void Delete(const std::string& path);
  bool Has(const std::string& path) const;
  // The value at a JSON pointer: text as it is, else as JSON; empty when there is none.
  std::string Field(const std::string& path, const std::string& pointer) const;

  // Watches that are open now, or are being passed on.
  int watches() const;
  // Ends them: as their time-out does (not with a real server), or by closing the connections.
  void EndWatches(bool in_order);
  // Sends them a bookmark of the present version.
  void Bookmark();
  // Sends them a line as it is.
  void Tell(absl::string_view line);
  // Changes before this moment are forgotten: a watch from an older version is told 410.
  void Forget();

  std::vector<Seen> Requests() const;
  // How many requests of the method there were whose path contains `part`.
  int Count(absl::string_view method, absl::string_view part = "") const;

 private:
  struct State;
  const std::unique_ptr<State> state_;
};

}  // namespace failover

#endif  // TESTS_KUBERNETES_STUB_API_SERVER_H_
