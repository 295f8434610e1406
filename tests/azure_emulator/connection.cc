#include "tests/azure_emulator/connection.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "tests/azure_emulator/http_message.h"

namespace failover::emulator {
namespace {

constexpr absl::Duration kHandshakeTime = absl::Seconds(30);
constexpr absl::Duration kIdleTime = absl::Seconds(75);
constexpr absl::Duration kSilentTime = absl::Minutes(10);
constexpr absl::Duration kDripTime = absl::Seconds(1);

}  // namespace

Connection::Connection(int fd, std::string remote, TlsContext tls, bool silent)
    : fd_(fd),
      remote_(std::move(remote)),
      context_(std::move(tls)),
      ssl_(nullptr, SSL_free),
      deadline_(absl::Now() + kHandshakeTime) {
  if (silent) {
    state_ = State::kSilent;
    deadline_ = absl::Now() + kSilentTime;
  } else if (context_) {
    ssl_.reset(SSL_new(context_.get()));
    SSL_set_fd(ssl_.get(), fd_);
    SSL_set_accept_state(ssl_.get());
    state_ = State::kHandshake;
  }
}

Connection::~Connection() {
  ssl_.reset();
  if (fd_ >= 0) close(fd_);
}

void Connection::Reset() {
  const linger hard{1, 0};
  setsockopt(fd_, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
}

short Connection::Events() const {
  if (state_ == State::kDelay || state_ == State::kDrip || state_ == State::kWrite) {
    return output_.empty() ? 0 : POLLOUT;
  }
  return static_cast<short>(POLLIN | (want_write_ || !output_.empty() ? POLLOUT : 0));
}

bool Connection::Handshake() {
  ERR_clear_error();
  const int result = SSL_do_handshake(ssl_.get());
  if (result == 1) {
    state_ = State::kRead;
    want_write_ = false;
    return true;
  }
  const int error = SSL_get_error(ssl_.get(), result);
  want_write_ = error == SSL_ERROR_WANT_WRITE;
  return want_write_ || error == SSL_ERROR_WANT_READ;
}

bool Connection::Fill() {
  char buffer[16 << 10];
  while (true) {
    if (ssl_) {
      ERR_clear_error();
      const int n = SSL_read(ssl_.get(), buffer, sizeof(buffer));
      if (n > 0) {
        input_.append(buffer, static_cast<size_t>(n));
        continue;
      }
      const int error = SSL_get_error(ssl_.get(), n);
      return error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE;
    }
    const ssize_t n = recv(fd_, buffer, sizeof(buffer), 0);
    if (n > 0) {
      input_.append(buffer, static_cast<size_t>(n));
      continue;
    }
    return n < 0 && (errno == EAGAIN || errno == EINTR);
  }
}

bool Connection::Flush() {
  while (!output_.empty()) {
    ssize_t n = 0;
    if (ssl_) {
      ERR_clear_error();
      n = SSL_write(ssl_.get(), output_.data(),
                    static_cast<int>(std::min<size_t>(output_.size(), 1 << 20)));
      if (n <= 0) {
        const int error = SSL_get_error(ssl_.get(), static_cast<int>(n));
        return error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE;
      }
    } else {
      n = send(fd_, output_.data(), output_.size(), MSG_NOSIGNAL);
      if (n <= 0) return n < 0 && (errno == EAGAIN || errno == EINTR);
    }
    output_.erase(0, static_cast<size_t>(n));
  }
  return true;
}

void Connection::Refuse(int status, absl::Time now) {
  keep_alive_ = false;
  Answer answer;
  answer.status = status;
  Send(std::move(answer), false, now);
}

bool Connection::Send(Answer answer, bool head, absl::Time now) {
  if (answer.wire == Wire::kReset) {
    Reset();
    return false;
  }
  if (answer.wire == Wire::kSilence) {
    state_ = State::kSilent;
    deadline_ = now + kSilentTime;
    return true;
  }
  const bool cut = answer.wire == Wire::kTruncated;
  if (cut || answer.slow_body) keep_alive_ = false;
  output_ += ResponseHead(answer, head, keep_alive_);
  state_ = State::kWrite;
  deadline_ = now + kIdleTime;
  if (!head) {
    if (cut) answer.body.resize(answer.body.size() / 2);
    if (answer.slow_body) {
      drip_ = std::move(answer.body);
      state_ = State::kDrip;
      deadline_ = now + kDripTime;
    } else {
      output_ += answer.body;
    }
  }
  if (answer.delay > absl::ZeroDuration()) {
    drip_ = std::move(output_);
    output_.clear();
    state_ = State::kDelay;
    deadline_ = now + answer.delay;
  }
  return true;
}

bool Connection::StepRead(const HttpServerOptions& options, absl::Time now) {
  const bool open = Fill();
  if (input_.size() > options.max_body + (128 << 10)) return false;
  IncomingRequest incoming;
  const Parsed parsed = ParseRequest(input_, options.max_body, incoming);
  if (parsed == Parsed::kNeedMore) {
    if (incoming.expects_continue && !continued_) {
      continued_ = true;
      output_ += "HTTP/1.1 100 Continue\r\n\r\n";
      if (!Flush()) return false;
    }
    return open;
  }
  if (parsed != Parsed::kDone) {
    Refuse(parsed == Parsed::kBad ? 400 : 413, now);
    return true;
  }
  input_.erase(0, incoming.consumed);
  continued_ = false;
  keep_alive_ = incoming.keep_alive && open;
  incoming.request.front = options.front;
  incoming.request.remote = remote_;
  return Send(options.handle(incoming.request), incoming.request.method == "HEAD", now);
}

bool Connection::StepDrip(absl::Time now) {
  if (now < deadline_) return true;
  if (drip_.empty()) return false;
  output_.push_back(drip_.front());
  drip_.erase(0, 1);
  deadline_ = now + kDripTime;
  return Flush();
}

// Only watches for the end.
bool Connection::StepSilent() {
  char buffer[4096];
  while (true) {
    const ssize_t n = recv(fd_, buffer, sizeof(buffer), 0);
    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) return false;
    if (n < 0) return true;
  }
}

bool Connection::AfterWrite(absl::Time now) {
  if (!output_.empty()) return true;
  if (!keep_alive_) {
    if (ssl_) SSL_shutdown(ssl_.get());
    shutdown(fd_, SHUT_WR);
    return false;
  }
  state_ = State::kRead;
  deadline_ = now + kIdleTime;
  return true;
}

bool Connection::Step(const HttpServerOptions& options, absl::Time now) {
  const bool waits = state_ == State::kDelay || state_ == State::kDrip;
  if (!waits && now >= deadline_) return false;
  if (state_ == State::kHandshake && !Handshake()) return false;
  if (state_ == State::kDelay && now >= deadline_) {
    output_ = std::move(drip_);
    drip_.clear();
    state_ = State::kWrite;
    deadline_ = now + kIdleTime;
  }
  while (true) {
    switch (state_) {
      case State::kRead:
        if (!StepRead(options, now)) return false;
        if (state_ == State::kRead) return true;
        break;
      case State::kWrite:
        if (!Flush() || !AfterWrite(now)) return false;
        // An answer may be followed by a request that has arrived already.
        if (state_ == State::kWrite || !HasInput()) return true;
        break;
      case State::kDrip:
        return Flush() && StepDrip(now);
      case State::kSilent:
        return StepSilent();
      case State::kHandshake:
      case State::kDelay:
        return true;
    }
  }
}

bool Connection::HasInput() const {
  return !input_.empty() || (ssl_ && SSL_pending(ssl_.get()) > 0);
}

}  // namespace failover::emulator
