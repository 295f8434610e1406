#include "tests/support/tcp_peer.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace failover {
namespace {

// Length of the body that the header section announces.
size_t BodyLength(absl::string_view head) {
  const std::string lower = absl::AsciiStrToLower(head);
  const size_t at = lower.find("\r\ncontent-length:");
  if (at == std::string::npos) return 0;
  const absl::string_view value = absl::string_view(lower).substr(at + 17);
  size_t length = 0;
  (void)absl::SimpleAtoi(value.substr(0, value.find('\r')), &length);
  return length;
}

}  // namespace

std::string TcpPeer::Connection::ReadRequest() {
  std::string text;
  std::array<char, 4096> buffer;
  for (;;) {
    const size_t end = text.find("\r\n\r\n");
    if (end != std::string::npos && text.size() >= end + 4 + BodyLength(text.substr(0, end + 2)))
      return text;
    const ssize_t n = recv(fd_, buffer.data(), buffer.size(), 0);
    if (n <= 0) return text;
    text.append(buffer.data(), static_cast<size_t>(n));
  }
}

bool TcpPeer::Connection::Write(absl::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t n = send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (n <= 0) return false;
    bytes.remove_prefix(static_cast<size_t>(n));
  }
  return true;
}

void TcpPeer::Connection::Hang() {
  std::array<char, 4096> buffer;
  while (recv(fd_, buffer.data(), buffer.size(), 0) > 0) {
  }
}

TcpPeer::TcpPeer(Script script) : script_(std::move(script)) {
  listener_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(address);
  auto* const generic = reinterpret_cast<sockaddr*>(&address);
  if (bind(listener_, generic, size) != 0 || listen(listener_, 16) != 0 ||
      getsockname(listener_, generic, &size) != 0) {
    std::perror("TcpPeer");
    std::abort();
  }
  port_ = ntohs(address.sin_port);
  acceptor_ = std::thread([this] { Accept(); });
}

TcpPeer::~TcpPeer() {
  std::vector<std::thread> threads;
  {
    MutexLock lock(mutex_);
    closing_ = true;
    for (const int fd : open_) shutdown(fd, SHUT_RDWR);
  }
  shutdown(listener_, SHUT_RDWR);
  acceptor_.join();
  {
    MutexLock lock(mutex_);
    threads = std::move(threads_);
  }
  for (std::thread& thread : threads) thread.join();
  close(listener_);
}

void TcpPeer::Accept() {
  for (;;) {
    const int fd = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
    if (fd < 0) return;
    MutexLock lock(mutex_);
    if (closing_) {
      close(fd);
      return;
    }
    open_.push_back(fd);
    threads_.emplace_back([this, fd, number = accepted_++] {
      Connection connection(fd);
      script_(connection, number);
      MutexLock closing(mutex_);
      std::erase(open_, fd);
      close(fd);
    });
  }
}

std::string TcpPeer::Url(absl::string_view path) const {
  return absl::StrCat("http://127.0.0.1:", port_, path);
}

int TcpPeer::connections() const {
  MutexLock lock(mutex_);
  return accepted_;
}

}  // namespace failover
