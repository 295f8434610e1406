#include "tests/azure_emulator/dns_server.h"

#include <arpa/inet.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"

namespace failover::emulator {
namespace {

constexpr int kWaitMs = 100;  // how late a stop is noticed

}  // namespace

absl::StatusOr<std::unique_ptr<DnsServer>> DnsServer::Start(const std::string& address, int port) {
  std::unique_ptr<DnsServer> server(new DnsServer);
  sockaddr_in name{};
  name.sin_family = AF_INET;
  name.sin_port = htons(static_cast<uint16_t>(port));
  if (inet_pton(AF_INET, address.c_str(), &name.sin_addr) != 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("found DNS address '", address, "'; allowed: an IPv4 address"));
  }
  server->socket_ = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (bind(server->socket_, reinterpret_cast<sockaddr*>(&name), sizeof(name)) != 0) {
    return absl::UnavailableError(
        absl::StrCat("bind DNS on ", address, ":", port, ": ", strerror(errno)));
  }
  socklen_t size = sizeof(name);
  getsockname(server->socket_, reinterpret_cast<sockaddr*>(&name), &size);
  server->port_ = ntohs(name.sin_port);
  server->thread_ = std::thread([raw = server.get()] { raw->Run(); });
  return server;
}

DnsServer::~DnsServer() {
  stop_ = true;
  if (thread_.joinable()) thread_.join();
  if (socket_ >= 0) close(socket_);
}

void DnsServer::Publish(std::map<std::string, DnsView> names) {
  MutexLock lock(mutex_);
  names_ = std::move(names);
}

void DnsServer::Run() {
  const auto lookup = [this](const std::string& name) {
    MutexLock lock(mutex_);
    const auto it = names_.find(name);
    return it != names_.end() ? it->second : DnsView{kNameError, {}, "", 0};
  };
  char buffer[1500];
  while (!stop_) {
    pollfd fd{socket_, POLLIN, 0};
    if (poll(&fd, 1, kWaitMs) <= 0) continue;
    sockaddr_in peer{};
    socklen_t size = sizeof(peer);
    const ssize_t n =
        recvfrom(socket_, buffer, sizeof(buffer), 0, reinterpret_cast<sockaddr*>(&peer), &size);
    if (n <= 0) continue;
    const std::string answer =
        AnswerDnsPacket(absl::string_view(buffer, static_cast<size_t>(n)), lookup);
    if (answer.empty()) continue;
    (void)sendto(socket_, answer.data(), answer.size(), 0, reinterpret_cast<sockaddr*>(&peer),
                 size);
  }
}

}  // namespace failover::emulator
