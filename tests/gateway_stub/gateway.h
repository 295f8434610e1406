#ifndef TESTS_GATEWAY_STUB_GATEWAY_H_
#define TESTS_GATEWAY_STUB_GATEWAY_H_

#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/time/time.h"
#include "common/mutex.h"
#include "tests/support/test_ca.h"

struct ssl_ctx_st;
struct ssl_st;

namespace failover {

// A small HTTP(S) gateway on loopback whose misbehaviour is steered while it runs.
class GatewayStub {
 public:
  enum class Mode {
    kAnswer,
    kHangBeforeTls,  // accepts and says nothing
    kHangOnRequest,  // reads the request and says nothing
    kHangInHeaders,  // half of the header section
    kHangInBody,     // half of the body
    kReset,          // resets the connection when the request came
    kClose,          // closes without an answer
    kEndlessHeaders,
  };
  struct Behaviour {
    Mode mode = Mode::kAnswer;
    int status = 200;
    std::string headers;  // "name: value\r\n" each
    std::string body = "{\"status\":\"ok\"}";
    absl::Duration delay;  // before the answer
  };
  struct Request {
    std::string head;  // request line and headers
    std::string sni;
    int connection = 0;  // counted from 0
  };

  // `tls` with a certificate serves HTTPS. `address`: 127.0.0.0/8.
  explicit GatewayStub(const PemPair& tls = {}, const std::string& address = "127.0.0.1");
  ~GatewayStub();
  GatewayStub(const GatewayStub&) = delete;
  GatewayStub& operator=(const GatewayStub&) = delete;

  int port() const { return port_; }
  std::string Url(const std::string& path = "/status") const;
  // For connections and requests that begin from now on.
  void Set(Behaviour behaviour);
  // Stops listening and closes everything: connections are refused from now on.
  void Kill();
  std::vector<Request> requests() const;

 private:
  struct Connection;
  void Accept();
  void Serve(int fd, int number);
  bool ServeOne(Connection& connection);
  void Pause(Connection& connection, absl::Duration at_most);
  Behaviour behaviour() const;

  const std::string address_;
  std::shared_ptr<ssl_ctx_st> tls_;
  int listener_ = -1;
  int port_ = 0;
  mutable Mutex mutex_;
  Behaviour behaviour_ ABSL_GUARDED_BY(mutex_);
  std::vector<Request> requests_ ABSL_GUARDED_BY(mutex_);
  bool closing_ ABSL_GUARDED_BY(mutex_) = false;
  std::vector<int> open_ ABSL_GUARDED_BY(mutex_);
  std::vector<std::thread> threads_ ABSL_GUARDED_BY(mutex_);
  std::thread acceptor_;
};

// A port of 127.0.0.1 on which nothing listens (any more).
int FreeTcpPort();

}  // namespace failover

#endif  // TESTS_GATEWAY_STUB_GATEWAY_H_
