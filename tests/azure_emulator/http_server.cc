#include "tests/azure_emulator/http_server.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <condition_variable>
#include <cstring>
#include <list>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/azure_emulator/connection.h"

namespace failover::emulator {
namespace {

class PollServer : public HttpServer {
 public:
  explicit PollServer(HttpServerOptions options) : options_(std::move(options)) {}

  ~PollServer() override {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      stop_ = true;
    }
    Wake();
    if (thread_.joinable()) thread_.join();
    connections_.clear();
    if (listener_ >= 0) close(listener_);
    if (wake_ >= 0) close(wake_);
  }

  absl::Status Open() {
    wake_ = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (absl::Status bound = Bind(options_.port); !bound.ok()) return bound;
    sockaddr_in address{};
    socklen_t size = sizeof(address);
    getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size);
    port_ = ntohs(address.sin_port);
    if (listen(listener_, 128) != 0) return Problem("listen");
    thread_ = std::thread([this] { Run(); });
    return absl::OkStatus();
  }

  int port() const override { return port_; }

  void SetListening(bool listening) override {
    std::unique_lock<std::mutex> lock(mutex_);
    wanted_ = listening;
    Wake();
    changed_.wait(lock, [&] { return listening_ == wanted_ || stop_; });
  }

 private:
  absl::Status Problem(absl::string_view what) const {
    return absl::UnavailableError(
        absl::StrCat(what, " on ", options_.address, ":", options_.port, ": ", strerror(errno)));
  }

  absl::Status Bind(int port) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<uint16_t>(port));
    if (inet_pton(AF_INET, options_.address.c_str(), &address.sin_addr) != 1) {
      return absl::InvalidArgumentError(
          absl::StrCat("found address '", options_.address, "'; allowed: an IPv4 address"));
    }
    listener_ = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    const int on = 1;
    setsockopt(listener_, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (bind(listener_, reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0) {
      return Problem("bind");
    }
    return absl::OkStatus();
  }

  void Wake() {
    const uint64_t one = 1;
    if (wake_ >= 0 && write(wake_, &one, sizeof(one)) < 0) return;  // full: it is awake anyway
  }

  // A bound socket that does not listen refuses connections and keeps the port.
  void Refuse() {
    for (auto& connection : connections_) connection->Reset();
    connections_.clear();
    close(listener_);
    listener_ = -1;
    (void)Bind(port_);
  }

  // False when the server is to stop.
  bool FollowOrders() {
    std::lock_guard<std::mutex> lock(mutex_);
    if (wanted_ != listening_ && !stop_) {
      if (wanted_) {
        if (listener_ < 0) (void)Bind(port_);
        listen(listener_, 128);
      } else {
        Refuse();
      }
      listening_ = wanted_;
    }
    changed_.notify_all();
    return !stop_;
  }

  void Accept() {
    while (connections_.size() < options_.max_connections) {
      sockaddr_in peer{};
      socklen_t size = sizeof(peer);
      const int fd = accept4(listener_, reinterpret_cast<sockaddr*>(&peer), &size,
                             SOCK_NONBLOCK | SOCK_CLOEXEC);
      if (fd < 0) return;
      const int on = 1;
      setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
      char text[INET_ADDRSTRLEN] = "";
      inet_ntop(AF_INET, &peer.sin_addr, text, sizeof(text));
      const Greeting greeting = options_.greet ? options_.greet(text) : Greeting::kServe;
      auto connection = std::make_unique<Connection>(
          fd, text, options_.tls ? options_.tls() : nullptr, greeting == Greeting::kHang);
      if (greeting == Greeting::kReset) {
        connection->Reset();
        continue;
      }
      connections_.push_back(std::move(connection));
    }
  }

  int PollTimeout(absl::Time now) const {
    absl::Duration wait = absl::Seconds(10);
    for (const auto& connection : connections_) {
      wait = std::min(wait, connection->Deadline() - now);
    }
    return std::max(
        0, static_cast<int>(absl::ToInt64Milliseconds(absl::Ceil(wait, absl::Milliseconds(1)))));
  }

  void Run() {
    // OpenSSL writes without MSG_NOSIGNAL; blocked, the signal becomes EPIPE.
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &signals, nullptr);
    std::vector<pollfd> fds;
    while (FollowOrders()) {
      fds.clear();
      fds.push_back({wake_, POLLIN, 0});
      const bool accepts = listening_ && connections_.size() < options_.max_connections;
      fds.push_back({accepts ? listener_ : -1, POLLIN, 0});
      for (const auto& connection : connections_) {
        fds.push_back({connection->fd(), connection->Events(), 0});
      }
      poll(fds.data(), fds.size(), PollTimeout(absl::Now()));
      uint64_t woken = 0;
      if (fds[0].revents != 0 && read(wake_, &woken, sizeof(woken)) < 0) continue;
      StepAll(fds);
      if (fds[1].revents != 0) Accept();
    }
  }

  void StepAll(const std::vector<pollfd>& fds) {
    const absl::Time now = absl::Now();
    size_t i = 2;
    for (auto it = connections_.begin(); it != connections_.end(); ++i) {
      const bool due = fds[i].revents != 0 || now >= (*it)->Deadline();
      const bool broken = (fds[i].revents & (POLLERR | POLLNVAL)) != 0;
      if (broken || (due && !(*it)->Step(options_, now))) {
        it = connections_.erase(it);
      } else {
        ++it;
      }
    }
  }

  const HttpServerOptions options_;
  int listener_ = -1, wake_ = -1, port_ = 0;
  std::list<std::unique_ptr<Connection>> connections_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool wanted_ = true, listening_ = true, stop_ = false;
  std::thread thread_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<HttpServer>> HttpServer::Start(HttpServerOptions options) {
  auto server = std::make_unique<PollServer>(std::move(options));
  if (absl::Status opened = server->Open(); !opened.ok()) return opened;
  return server;
}

}  // namespace failover::emulator
