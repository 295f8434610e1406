#ifndef TESTS_AZURE_EMULATOR_CONNECTION_H_
#define TESTS_AZURE_EMULATOR_CONNECTION_H_

#include <memory>
#include <string>

#include "absl/time/time.h"
#include "tests/azure_emulator/http_server.h"

struct ssl_st;

namespace failover::emulator {

// One accepted connection of an HttpServer; used by its thread only.
class Connection {
 public:
  // Takes `fd` over. `tls` null = plain; `silent`: never answers anything.
  Connection(int fd, std::string remote, TlsContext tls, bool silent);
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  int fd() const { return fd_; }
  short Events() const;                              // for poll()
  absl::Time Deadline() const { return deadline_; }  // Step() is due then even without events
  // Does what can be done; false when the connection is over.
  bool Step(const HttpServerOptions& options, absl::Time now);
  void Reset();  // closes with RST

 private:
  enum class State { kHandshake, kRead, kDelay, kWrite, kDrip, kSilent };

  bool Handshake();
  bool Fill();   // socket → input_; false at the end
  bool Flush();  // output_ → socket; false on error
  bool StepRead(const HttpServerOptions& options, absl::Time now);
  bool StepDrip(absl::Time now);
  bool StepSilent();
  bool Send(Answer answer, bool head, absl::Time now);
  bool AfterWrite(absl::Time now);
  bool HasInput() const;
  void Refuse(int status, absl::Time now);

  int fd_;
  std::string remote_;
  TlsContext context_;
  std::unique_ptr<ssl_st, void (*)(ssl_st*)> ssl_;
  State state_ = State::kRead;
  bool want_write_ = false;  // TLS asks for it
  bool keep_alive_ = true, continued_ = false;
  std::string input_, output_, drip_;
  absl::Time deadline_;
};

}  // namespace failover::emulator

#endif  // TESTS_AZURE_EMULATOR_CONNECTION_H_
