#ifndef TESTS_AZURE_EMULATOR_HTTP_SERVER_H_
#define TESTS_AZURE_EMULATOR_HTTP_SERVER_H_

#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "tests/azure_emulator/certificates.h"
#include "tests/azure_emulator/message.h"

namespace failover::emulator {

// How a new connection is met.
enum class Greeting {
  kServe,
  kReset,  // reset at once
  kHang,   // accepted, then silence (before TLS begins)
};

struct HttpServerOptions {
  std::string address = "127.0.0.1";
  int port = 0;  // 0 = a free one
  Front front = Front::kArm;
  size_t max_connections = 1000;  // further ones wait in the kernel's queue
  size_t max_body = 64 << 20;
  // All three are called on the server's thread.
  std::function<TlsContext()> tls;  // for each new connection; null = plain
  std::function<Greeting(const std::string& remote)> greet;  // null = kServe
  std::function<Answer(const Request&)> handle;
};

// One listener, one thread, non-blocking sockets: small enough to spoil answers at the level of the
// socket (Wire), which no HTTP library offers, and to keep a hung server apart from every other.
class HttpServer {
 public:
  // Errors name the address.
  static absl::StatusOr<std::unique_ptr<HttpServer>> Start(HttpServerOptions options);
  virtual ~HttpServer() = default;  // stops, closes everything
  virtual int port() const = 0;
  // False: connections are refused and existing ones reset; the port stays ours. Returns when done.
  virtual void SetListening(bool listening) = 0;
};

}  // namespace failover::emulator

#endif  // TESTS_AZURE_EMULATOR_HTTP_SERVER_H_
