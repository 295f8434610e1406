#ifndef TESTS_SUPPORT_TCP_PEER_H_
#define TESTS_SUPPORT_TCP_PEER_H_

#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/string_view.h"
#include "common/mutex.h"

namespace failover {

// A TCP server on 127.0.0.1 that does exactly what a test says, byte by byte: what no HTTP server
// does.
class TcpPeer {
 public:
  // One accepted connection; closed when the script returns.
  class Connection {
   public:
    explicit Connection(int fd) : fd_(fd) {}
    // Reads until the header section and a body of Content-Length are complete; what came until
    // then or until the end of the stream.
    std::string ReadRequest();
    // False: the other side is gone.
    bool Write(absl::string_view bytes);
    // Blocks until the other side closes or the peer is destroyed.
    void Hang();

   private:
    const int fd_;
  };
  // Called for each connection in a thread of its own; `number` counts from 0.
  using Script = std::function<void(Connection&, int number)>;

  explicit TcpPeer(Script script);
  ~TcpPeer();
  TcpPeer(const TcpPeer&) = delete;
  TcpPeer& operator=(const TcpPeer&) = delete;

  int port() const { return port_; }
  std::string Url(absl::string_view path) const;
  int connections() const;

 private:
  void Accept();

  const Script script_;
  int listener_ = -1;
  int port_ = 0;
  mutable Mutex mutex_;
  bool closing_ ABSL_GUARDED_BY(mutex_) = false;
  std::vector<int> open_ ABSL_GUARDED_BY(mutex_);
  std::vector<std::thread> threads_ ABSL_GUARDED_BY(mutex_);
  int accepted_ ABSL_GUARDED_BY(mutex_) = 0;
  std::thread acceptor_;
};

}  // namespace failover

#endif  // TESTS_SUPPORT_TCP_PEER_H_
