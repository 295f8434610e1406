#include "common/admin_server.h"

#include <httplib.h>
#include <poll.h>
#include <prometheus/collectable.h>
#include <prometheus/metric_family.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>
#include <thread>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/time.h"
#include "common/clock.h"
#include "common/exposition.h"
#include "common/log.h"
#include "common/mutex.h"

namespace failover {
namespace {

constexpr size_t kWorkers = 64;  // a slow or idle client holds one of them for a second
constexpr size_t kMaxRequestBytes = 16 << 10;          // its line, headers and body
constexpr absl::Duration kIdle = absl::Seconds(1);     // without a byte from the client
constexpr absl::Duration kLongest = absl::Seconds(5);  // of a connection, answer included

struct HostPort {
  std::string host;
  int port = 0;
};

absl::StatusOr<HostPort> ParseAddress(absl::string_view address) {
  const size_t colon = address.rfind(':');
  HostPort parsed;
  const bool good = colon != address.npos && colon > 0 &&
                    absl::SimpleAtoi(address.substr(colon + 1), &parsed.port) && parsed.port >= 0 &&
                    parsed.port <= 65535;
  absl::string_view host = good ? address.substr(0, colon) : "";
  if (absl::StartsWith(host, "[") && absl::EndsWith(host, "]")) {
    host = host.substr(1, host.size() - 2);
  } else if (absl::StrContains(host, ":")) {
    host = "";
  }
  if (host.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("found address \"", address,
                     "\"; allowed: HOST:PORT or [IPV6]:PORT, port 0 for a free one"));
  }
  parsed.host = std::string(host);
  return parsed;
}

// One connection with one request. httplib bounds neither the length of a line nor the number of
// headers, nor a body without Content-Length (CVE-2025-46728, CVE-2025-53628 in Debian 12), and
// everybody may connect to this port: a longer or slower request ends here.
class OneRequest final : public httplib::Stream {
 public:
  explicit OneRequest(int socket) : socket_(socket) {}
  ~OneRequest() override {
    shutdown(socket_, SHUT_RDWR);
    close(socket_);
  }

  bool is_readable() const override { return next_ < end_ || Wait(POLLIN); }
  bool is_writable() const override { return Wait(POLLOUT); }
  ssize_t read(char* to, size_t size) override {
    if (next_ == end_) {
      const size_t wanted = std::min(buffer_.size(), kMaxRequestBytes - received_);
      if (wanted == 0 || !Wait(POLLIN)) return -1;
      const ssize_t got = recv(socket_, buffer_.data(), wanted, 0);
      if (got <= 0) return got;
      received_ += static_cast<size_t>(got);
      next_ = 0;
      end_ = static_cast<size_t>(got);
    }
    const size_t taken = std::min(size, end_ - next_);
    std::memcpy(to, buffer_.data() + next_, taken);
    next_ += taken;
    return static_cast<ssize_t>(taken);
  }
  ssize_t write(const char* from, size_t size) override {
    return Wait(POLLOUT) ? send(socket_, from, size, MSG_NOSIGNAL | MSG_DONTWAIT) : -1;
  }
  void get_remote_ip_and_port(std::string&, int&) const override {}
  void get_local_ip_and_port(std::string&, int&) const override {}
  socket_t socket() const override { return socket_; }

 private:
  bool Wait(short what) const {  // NOLINT(runtime/int): as poll has it
    const absl::Duration left = until_ - RealClock().Steady();
    const int64_t ms = absl::ToInt64Milliseconds(std::min(left, what == POLLIN ? kIdle : left));
    pollfd one{socket_, what, 0};
    return ms > 0 && poll(&one, 1, static_cast<int>(ms)) > 0;
  }

  const int socket_;
  const SteadyTime until_ = RealClock().Steady() + kLongest;
  std::array<char, 4096> buffer_;
  size_t next_ = 0, end_ = 0, received_ = 0;
};

class BoundedServer final : public httplib::Server {
 private:
  bool process_and_close_socket(socket_t socket) override {
    OneRequest stream(socket);
    bool closed = false;
    return process_request(stream, /*close_connection=*/true, closed, nullptr);
  }
};

class HttplibAdminServer final : public AdminServer {
 public:
  explicit HttplibAdminServer(Options options) : options_(std::move(options)) {}

  ~HttplibAdminServer() override {
    server_.stop();
    if (thread_.joinable()) thread_.join();
  }

  absl::Status Listen() {
    auto address = ParseAddress(options_.address);
    if (!address.ok()) return address.status();
    Configure();
    const bool bound = address->port == 0
                           ? (port_ = server_.bind_to_any_port(address->host)) > 0
                           : server_.bind_to_port(address->host, port_ = address->port);
    if (!bound) {
      return absl::UnavailableError(
          absl::StrCat("cannot listen on \"", options_.address,
                       "\"; allowed: an address of this machine with a free port"));
    }
    // The listener exists since the bind; stop() works only once the loop runs.
    std::atomic<bool> ended{false};
    thread_ = std::thread([this, &ended] {
      if (!server_.listen_after_bind()) ended = true;
    });
    while (!server_.is_running() && !ended) std::this_thread::yield();
    return absl::OkStatus();
  }

  void AddMetrics(std::weak_ptr<prometheus::Collectable> collectable) override {
    MutexLock lock(mutex_);
    sources_.push_back(std::move(collectable));
  }

  int port() const override { return port_; }

 private:
  void Configure() {
    server_.new_task_queue = [] { return new httplib::ThreadPool(kWorkers); };
    // Not httplib's default, SO_REUSEPORT: a second program on the port would go unnoticed.
    server_.set_socket_options([](int socket) {
      const int on = 1;
      setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    });
    server_.Get("/metrics", [this](const httplib::Request& request, httplib::Response& response) {
      const auto [begin, end] = request.headers.equal_range("Accept");
      const auto value = [](std::string* out, const auto& header) { out->append(header.second); };
      const ExpositionFormat format = FormatFor(absl::StrJoin(begin, end, ",", value));
      response.set_content(Exposition(format), ContentType(format));
    });
    AddCheck("/livez", options_.live);
    AddCheck("/readyz", options_.ready);
    AddCheck("/startupz", options_.started);
    server_.set_exception_handler([](const httplib::Request& request, httplib::Response& response,
                                     const std::exception_ptr& error) {
      std::string what = "unknown";
      try {
        std::rethrow_exception(error);
      } catch (const std::exception& known) {
        what = known.what();
      } catch (...) {
      }
      LogError("an HTTP request failed", {{"path", request.path}, {"error", what}});
      response.status = 500;
      response.set_content("internal error\n", "text/plain; charset=utf-8");
    });
  }

  void AddCheck(const std::string& path, const std::function<Check()>& check) {
    server_.Get(path, [check](const httplib::Request&, httplib::Response& response) {
      const Check result = check ? check() : Check{};
      response.status = result.ok ? 200 : 503;
      const std::string text = !result.text.empty() ? result.text : result.ok ? "ok" : "not ok";
      response.set_content(text + "\n", "text/plain; charset=utf-8");
    });
  }

  std::string Exposition(ExpositionFormat format) {
    std::vector<prometheus::MetricFamily> families;
    for (const auto& source : Sources()) {
      for (prometheus::MetricFamily& family : source->Collect())
        families.push_back(std::move(family));
    }
    families = Merged(std::move(families));
    if (format == ExpositionFormat::kText) return TextExposition(std::move(families));
    return OpenMetricsExposition(families, options_.exemplars == nullptr
                                               ? std::map<std::string, Exemplars::Series>()
                                               : options_.exemplars->All());
  }

  std::vector<std::shared_ptr<prometheus::Collectable>> Sources() {
    MutexLock lock(mutex_);
    std::vector<std::shared_ptr<prometheus::Collectable>> alive;
    std::erase_if(sources_, [&alive](const auto& source) {
      auto held = source.lock();
      if (held == nullptr) return true;
      alive.push_back(std::move(held));
      return false;
    });
    return alive;
  }

  const Options options_;
  BoundedServer server_;
  std::thread thread_;
  int port_ = 0;
  Mutex mutex_;
  std::vector<std::weak_ptr<prometheus::Collectable>> sources_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace

absl::StatusOr<std::unique_ptr<AdminServer>> AdminServer::Start(Options options) {
  auto server = std::make_unique<HttplibAdminServer>(std::move(options));
  if (absl::Status status = server->Listen(); !status.ok()) return status;
  return std::unique_ptr<AdminServer>(std::move(server));
}

}  // namespace failover
