#include "tests/gateway_stub/name_server.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace failover {
namespace {

constexpr int kA = 1, kCname = 5, kAaaa = 28;

void Append16(std::string& out, int value) {
  out.push_back(static_cast<char>(value >> 8));
  out.push_back(static_cast<char>(value & 0xff));
}

std::string Encoded(const std::string& name) {
  std::string out;
  for (const absl::string_view label : absl::StrSplit(name, '.')) {
    out.push_back(static_cast<char>(label.size()));
    absl::StrAppend(&out, label);
  }
  out.push_back('\0');
  return out;
}

void AppendRecord(std::string& out, const std::string& name, int type, const std::string& data) {
  out += Encoded(name);
  Append16(out, type);
  Append16(out, 1);  // IN
  Append16(out, 0);
  Append16(out, 1);  // TTL
  Append16(out, static_cast<int>(data.size()));
  out += data;
}

// What another server answers within a second; empty: nothing.
std::string AnswerOf(const std::string& server, const std::string& query) {
  const std::vector<std::string> parts = absl::StrSplit(server, ':');
  sockaddr_in where{};
  where.sin_family = AF_INET;
  int port = 0;
  if (parts.size() != 2 || inet_pton(AF_INET, parts[0].c_str(), &where.sin_addr) != 1 ||
      !absl::SimpleAtoi(parts[1], &port))
    return "";
  where.sin_port = htons(static_cast<uint16_t>(port));
  const int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  sendto(fd, query.data(), query.size(), 0, reinterpret_cast<sockaddr*>(&where), sizeof where);
  char data[1500];
  pollfd readable{fd, POLLIN, 0};
  const ssize_t n = poll(&readable, 1, 1000) > 0 ? recv(fd, data, sizeof data, 0) : 0;
  close(fd);
  return n > 0 ? std::string(data, static_cast<size_t>(n)) : "";
}

}  // namespace

NameServerStub::NameServerStub() {
  socket_ = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  sockaddr_in where{};
  where.sin_family = AF_INET;
  where.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof where;
  if (bind(socket_, reinterpret_cast<sockaddr*>(&where), length) != 0 ||
      getsockname(socket_, reinterpret_cast<sockaddr*>(&where), &length) != 0) {
    std::perror("name server stub");
    std::abort();
  }
  port_ = ntohs(where.sin_port);
  thread_ = std::jthread([this](std::stop_token stop) { Serve(stop); });
}

NameServerStub::~NameServerStub() {
  thread_.request_stop();
  thread_.join();
  close(socket_);
}

std::string NameServerStub::address() const { return absl::StrCat("127.0.0.1:", port_); }

void NameServerStub::Set(const std::string& name, std::vector<std::string> cnames,
                         std::vector<std::string> addresses) {
  MutexLock lock(mutex_);
  records_[name] = {std::move(cnames), std::move(addresses)};
}

void NameServerStub::AskElsewhere(const std::string& address) {
  MutexLock lock(mutex_);
  elsewhere_ = address;
}

void NameServerStub::SetSilent(bool all, bool aaaa_only) {
  MutexLock lock(mutex_);
  silent_ = all;
  aaaa_silent_ = aaaa_only;
}

int NameServerStub::queries() const {
  MutexLock lock(mutex_);
  return queries_;
}

void NameServerStub::Serve(std::stop_token stop) {
  while (!stop.stop_requested()) {
    pollfd readable{socket_, POLLIN, 0};
    if (poll(&readable, 1, 20) <= 0) continue;
    char data[1500];
    sockaddr_in from{};
    socklen_t length = sizeof from;
    const ssize_t n =
        recvfrom(socket_, data, sizeof data, 0, reinterpret_cast<sockaddr*>(&from), &length);
    if (n < 12) continue;
    const std::string answer = Answer(std::string(data, static_cast<size_t>(n)));
    if (!answer.empty()) {
      sendto(socket_, answer.data(), answer.size(), 0, reinterpret_cast<sockaddr*>(&from), length);
    }
  }
}

std::string NameServerStub::Answer(const std::string& query) {
  std::string name;
  size_t at = 12;
  while (at < query.size() && query[at] != 0) {
    const auto length = static_cast<uint8_t>(query[at]);
    absl::StrAppend(&name, name.empty() ? "" : ".", query.substr(at + 1, length));
    at += 1u + length;
  }
  if (at + 5 > query.size()) return "";
  const int type = static_cast<uint8_t>(query[at + 1]) << 8 | static_cast<uint8_t>(query[at + 2]);
  MutexLock lock(mutex_);
  ++queries_;
  if (silent_ || (aaaa_silent_ && type == kAaaa)) return "";
  const auto found = records_.find(absl::AsciiStrToLower(name));
  if (found == records_.end() && !elsewhere_.empty()) return AnswerOf(elsewhere_, query);
  std::string records;
  int count = 0;
  if (found != records_.end()) {
    std::string owner = name;
    for (const std::string& cname : found->second.cnames) {
      AppendRecord(records, owner, kCname, Encoded(cname));
      owner = cname;
      ++count;
    }
    for (const std::string& address : found->second.addresses) {
      in_addr v4{};
      if (type != kA || inet_pton(AF_INET, address.c_str(), &v4) != 1) continue;
      AppendRecord(records, owner, kA, std::string(reinterpret_cast<const char*>(&v4), 4));
      ++count;
    }
  }
  std::string answer = query.substr(0, 2);
  Append16(answer, 0x8180 | (found == records_.end() ? 3 : 0));  // NXDOMAIN
  Append16(answer, 1);
  Append16(answer, count);
  Append16(answer, 0);
  Append16(answer, 0);
  answer += query.substr(12, at + 5 - 12);
  return answer + records;
}

}  // namespace failover
