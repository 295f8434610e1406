#include "tests/gateway_stub/gateway.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace failover {
namespace {

int Listen(const std::string& address, int& port) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in where{};
  where.sin_family = AF_INET;
  inet_pton(AF_INET, address.c_str(), &where.sin_addr);
  socklen_t length = sizeof where;
  if (bind(fd, reinterpret_cast<sockaddr*>(&where), length) != 0 || listen(fd, 128) != 0 ||
      getsockname(fd, reinterpret_cast<sockaddr*>(&where), &length) != 0) {
    std::perror("gateway stub");
    std::abort();
  }
  port = ntohs(where.sin_port);
  return fd;
}

std::shared_ptr<SSL_CTX> TlsContext(const PemPair& pair) {
  if (pair.certificate.empty()) return nullptr;
  std::shared_ptr<SSL_CTX> context(SSL_CTX_new(TLS_server_method()), SSL_CTX_free);
  BIO* certificate =
      BIO_new_mem_buf(pair.certificate.data(), static_cast<int>(pair.certificate.size()));
  BIO* key = BIO_new_mem_buf(pair.key.data(), static_cast<int>(pair.key.size()));
  X509* x509 = PEM_read_bio_X509(certificate, nullptr, nullptr, nullptr);
  EVP_PKEY* private_key = PEM_read_bio_PrivateKey(key, nullptr, nullptr, nullptr);
  if (SSL_CTX_use_certificate(context.get(), x509) != 1 ||
      SSL_CTX_use_PrivateKey(context.get(), private_key) != 1) {
    std::fputs("gateway stub: bad certificate\n", stderr);
    std::abort();
  }
  X509_free(x509);
  EVP_PKEY_free(private_key);
  BIO_free(certificate);
  BIO_free(key);
  return context;
}

}  // namespace

struct GatewayStub::Connection {
  int fd = -1;
  int number = 0;
  std::unique_ptr<SSL, decltype(&SSL_free)> ssl{nullptr, SSL_free};
  std::string buffer;

  long Read(char* data, size_t size) {
    return ssl != nullptr ? SSL_read(ssl.get(), data, static_cast<int>(size))
                          : recv(fd, data, size, 0);
  }
  bool Write(const std::string& text) {
    size_t sent = 0;
    while (sent < text.size()) {
      const long n =
          ssl != nullptr
              ? SSL_write(ssl.get(), text.data() + sent, static_cast<int>(text.size() - sent))
              : send(fd, text.data() + sent, text.size() - sent, MSG_NOSIGNAL);
      if (n <= 0) return false;
      sent += static_cast<size_t>(n);
    }
    return true;
  }
};

GatewayStub::GatewayStub(const PemPair& tls, const std::string& address)
    : address_(address), tls_(TlsContext(tls)) {
  signal(SIGPIPE, SIG_IGN);  // SSL_write knows no MSG_NOSIGNAL
  listener_ = Listen(address, port_);
  acceptor_ = std::thread([this] { Accept(); });
}

GatewayStub::~GatewayStub() { Kill(); }

void GatewayStub::Kill() {
  {
    MutexLock lock(mutex_);
    if (closing_) return;
    closing_ = true;
    for (const int fd : open_) shutdown(fd, SHUT_RDWR);
  }
  shutdown(listener_, SHUT_RDWR);
  acceptor_.join();
  close(listener_);
  std::vector<std::thread> threads;
  {
    MutexLock lock(mutex_);
    threads = std::exchange(threads_, {});
  }
  for (std::thread& thread : threads) thread.join();
}

std::string GatewayStub::Url(const std::string& path) const {
  return absl::StrCat(tls_ != nullptr ? "https://" : "http://", address_, ":", port_, path);
}

void GatewayStub::Set(Behaviour behaviour) {
  MutexLock lock(mutex_);
  behaviour_ = std::move(behaviour);
}

GatewayStub::Behaviour GatewayStub::behaviour() const {
  MutexLock lock(mutex_);
  return behaviour_;
}

std::vector<GatewayStub::Request> GatewayStub::requests() const {
  MutexLock lock(mutex_);
  return requests_;
}

void GatewayStub::Accept() {
  for (int number = 0;; ++number) {
    const int fd = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
    if (fd < 0) return;
    MutexLock lock(mutex_);
    if (closing_) {
      close(fd);
      return;
    }
    open_.push_back(fd);
    threads_.emplace_back([this, fd, number] { Serve(fd, number); });
  }
}

// Until the client closes, the stub is killed, or the time is over.
void GatewayStub::Pause(Connection& connection, absl::Duration at_most) {
  pollfd gone{connection.fd, POLLRDHUP, 0};
  const int64_t ms = at_most == absl::InfiniteDuration() ? -1 : absl::ToInt64Milliseconds(at_most);
  poll(&gone, 1, static_cast<int>(ms));
}

void GatewayStub::Serve(int fd, int number) {
  {
    Connection connection;
    connection.fd = fd;
    connection.number = number;
    bool ready = true;
    if (behaviour().mode == Mode::kHangBeforeTls) {
      Pause(connection, absl::InfiniteDuration());
      ready = false;
    } else if (tls_ != nullptr) {
      connection.ssl.reset(SSL_new(tls_.get()));
      SSL_set_fd(connection.ssl.get(), fd);
      ready = SSL_accept(connection.ssl.get()) == 1;
    }
    while (ready && ServeOne(connection)) {
    }
  }
  MutexLock lock(mutex_);
  open_.erase(std::find(open_.begin(), open_.end(), fd));
  close(fd);
}

bool GatewayStub::ServeOne(Connection& connection) {
  size_t end;
  while ((end = connection.buffer.find("\r\n\r\n")) == std::string::npos) {
    char data[4096];
    const long n = connection.Read(data, sizeof data);
    if (n <= 0 || connection.buffer.size() > 65536) return false;
    connection.buffer.append(data, static_cast<size_t>(n));
  }
  const char* sni = connection.ssl != nullptr
                        ? SSL_get_servername(connection.ssl.get(), TLSEXT_NAMETYPE_host_name)
                        : nullptr;
  {
    MutexLock lock(mutex_);
    requests_.push_back(
        {connection.buffer.substr(0, end + 2), sni != nullptr ? sni : "", connection.number});
  }
  connection.buffer.erase(0, end + 4);
  const Behaviour now = behaviour();
  if (now.delay > absl::ZeroDuration()) Pause(connection, now.delay);
  const std::string head =
      absl::StrCat("HTTP/1.1 ", now.status, " X\r\ncontent-length: ", now.body.size(), "\r\n",
                   now.headers, "\r\n");
  switch (now.mode) {
    case Mode::kAnswer:
      return connection.Write(head + now.body);
    case Mode::kHangBeforeTls:
    case Mode::kHangOnRequest:
      break;
    case Mode::kHangInHeaders:
      connection.Write("HTTP/1.1 200 OK\r\nx-half: ");
      break;
    case Mode::kHangInBody:
      connection.Write(head + now.body.substr(0, now.body.size() / 2));
      break;
    case Mode::kReset: {
      const linger at_once{1, 0};
      setsockopt(connection.fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
      return false;
    }
    case Mode::kClose:
      return false;
    case Mode::kEndlessHeaders:
      connection.Write("HTTP/1.1 200 OK\r\n");
      while (connection.Write(absl::StrCat("x: ", std::string(1000, 'y'), "\r\n"))) {
      }
      return false;
  }
  Pause(connection, absl::InfiniteDuration());
  return false;
}

int FreeTcpPort() {
  int port = 0;
  close(Listen("127.0.0.1", port));
  return port;
}

}  // namespace failover
