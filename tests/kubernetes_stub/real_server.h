#ifndef TESTS_KUBERNETES_STUB_REAL_SERVER_H_
#define TESTS_KUBERNETES_STUB_REAL_SERVER_H_

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <ostream>
#include <stop_token>
#include <string>

#include "absl/strings/string_view.h"
#include "common/http_client.h"

namespace failover {

// A real API server that tests/kubernetes_stub/real_server.py has started for this process, with
// the namespace dr and an account in it that has the rights of the controller's chart.
struct RealServer {
  std::string url, ca_file;
  std::string token;        // of the account
  std::string token_file;   // with it
  std::string admin_token;  // may do everything
};
// Null: none was started, and tests that need it skip.
const RealServer* RealServerOfTests();
// Why there is none, for whoever skips.
extern const char kNoRealServer[];

// One connection to it. Blocking; one call at a time.
class RealServerClient {
 public:
  explicit RealServerClient(const RealServer& server, std::stop_token stop = {});
  struct Request {
    std::string method = "GET", path, body, content_type, accept;
    bool as_admin = false;
    std::function<bool(absl::string_view)> on_body;  // of HttpRequest
  };
  // 503 when there was no answer.
  HttpResponse Send(const Request& request);
  // Deletes what tests leave in a namespace: Leases, ConfigMaps and Events.
  void Clear(const std::string& name_space);

 private:
  const RealServer& server_;
  const std::unique_ptr<HttpClient> http_;
};

// What a test with a parameter runs against: the stub alone, or the stub in front of a real server.
enum class ServerKind { kStub, kReal };
inline void PrintTo(ServerKind kind, std::ostream* out) {
  *out << (kind == ServerKind::kReal ? "a real server" : "the stub");
}
// The names of such tests end with "/Stub" and "/RealServer"; the label `kubernetes` is those with
// the latter.
std::string NameOf(const testing::TestParamInfo<ServerKind>& kind);
#define INSTANTIATE_ON_EVERY_SERVER(suite)                                           \
  INSTANTIATE_TEST_SUITE_P(                                                          \
      Against, suite,                                                                \
      testing::Values(::failover::ServerKind::kStub, ::failover::ServerKind::kReal), \
      ::failover::NameOf)
// The real server for that kind; null for the stub, or when there is none.
inline const RealServer* ServerOf(ServerKind kind) {
  return kind == ServerKind::kReal ? RealServerOfTests() : nullptr;
}

}  // namespace failover

#endif  // TESTS_KUBERNETES_STUB_REAL_SERVER_H_
