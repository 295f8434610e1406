#include "agent/transfers.h"

#include <algorithm>
#include <set>

namespace failover::agent {
namespace {

constexpr size_t kIdleHandles = 64;
constexpr long kKeptConnections =
    8192;  // more than targets: libcurl drops kept ones silently otherwise

}  // namespace

struct Transfers::Multi {
  Transfers* owner = nullptr;
  CURLM* handle = nullptr;
  SteadyTime timer = SteadyTime::InfiniteFuture();
  std::set<CURL*> running;
  std::vector<CURL*> idle;

  ~Multi() {
    for (CURL* easy : running) {
      curl_multi_remove_handle(handle, easy);
      curl_easy_cleanup(easy);
    }
    for (CURL* easy : idle) curl_easy_cleanup(easy);
    curl_multi_cleanup(handle);
  }
};

Transfers::Transfers(Poller& poller, Clock& clock, Done done)
    : poller_(poller), clock_(clock), done_(std::move(done)) {}

Transfers::~Transfers() = default;

Transfers::Multi& Transfers::MultiFor(const std::string& ca_file) {
  std::unique_ptr<Multi>& multi = multis_[ca_file];
  if (multi == nullptr) {
    multi = std::make_unique<Multi>();
    multi->owner = this;
    multi->handle = curl_multi_init();
    curl_multi_setopt(multi->handle, CURLMOPT_SOCKETFUNCTION, &Transfers::OnSocket);
    curl_multi_setopt(multi->handle, CURLMOPT_SOCKETDATA, multi.get());
    curl_multi_setopt(multi->handle, CURLMOPT_TIMERFUNCTION, &Transfers::OnTimer);
    curl_multi_setopt(multi->handle, CURLMOPT_TIMERDATA, multi.get());
    curl_multi_setopt(multi->handle, CURLMOPT_MAXCONNECTS, kKeptConnections);
    curl_multi_setopt(multi->handle, CURLMOPT_PIPELINING, static_cast<long>(CURLPIPE_NOTHING));
  }
  return *multi;
}

CURL* Transfers::Take(const std::string& ca_file) {
  Multi& multi = MultiFor(ca_file);
  if (multi.idle.empty()) return curl_easy_init();
  CURL* easy = multi.idle.back();
  multi.idle.pop_back();
  return easy;
}

void Transfers::Return(const std::string& ca_file, CURL* easy) {
  Multi& multi = MultiFor(ca_file);
  if (multi.idle.size() >= kIdleHandles) return curl_easy_cleanup(easy);
  curl_easy_reset(easy);
  multi.idle.push_back(easy);
}

bool Transfers::Begin(const std::string& ca_file, CURL* easy) {
  Multi& multi = MultiFor(ca_file);
  if (curl_multi_add_handle(multi.handle, easy) != CURLM_OK) return false;
  multi.running.insert(easy);
  return true;
}

int Transfers::OnSocket(CURL* /*easy*/, curl_socket_t fd, int what, void* data, void* /*socket*/) {
  Multi& multi = *static_cast<Multi*>(data);
  if (what == CURL_POLL_REMOVE) {
    multi.owner->poller_.Unwatch(fd);
    return 0;
  }
  multi.owner->poller_.Watch(fd, (what & CURL_POLL_IN) != 0, (what & CURL_POLL_OUT) != 0,
                             [&multi, fd](bool readable, bool writable) {
                               int running = 0;
                               const int ready = (readable ? CURL_CSELECT_IN : 0) |
                                                 (writable ? CURL_CSELECT_OUT : 0);
                               curl_multi_socket_action(multi.handle, fd, ready, &running);
                             });
  return 0;
}

int Transfers::OnTimer(CURLM* /*curlm*/, long timeout_ms, void* data) {
  Multi& multi = *static_cast<Multi*>(data);
  multi.timer = timeout_ms < 0 ? SteadyTime::InfiniteFuture()
                               : multi.owner->clock_.Steady() + absl::Milliseconds(timeout_ms);
  return 0;
}

SteadyTime Transfers::next() const {
  SteadyTime next = SteadyTime::InfiniteFuture();
  for (const auto& [ca_file, multi] : multis_) next = std::min(next, multi->timer);
  return next;
}

void Transfers::Process() {
  const SteadyTime now = clock_.Steady();
  for (const auto& [ca_file, multi] : multis_) {
    if (multi->timer <= now) {
      multi->timer = SteadyTime::InfiniteFuture();
      int running = 0;
      curl_multi_socket_action(multi->handle, CURL_SOCKET_TIMEOUT, 0, &running);
    }
    Collect(*multi);
  }
}

void Transfers::Collect(Multi& multi) {
  int queued = 0;
  while (const CURLMsg* message = curl_multi_info_read(multi.handle, &queued)) {
    if (message->msg != CURLMSG_DONE) continue;
    CURL* easy = message->easy_handle;
    const CURLcode code = message->data.result;
    void* data = nullptr;
    curl_easy_getinfo(easy, CURLINFO_PRIVATE, &data);
    multi.running.erase(easy);
    curl_multi_remove_handle(multi.handle, easy);  // closes a connection that is not to be kept
    done_(data, code);
    if (multi.idle.size() >= kIdleHandles) {
      curl_easy_cleanup(easy);
    } else {
      curl_easy_reset(easy);
      multi.idle.push_back(easy);
    }
  }
}

void Transfers::KeepOnly(const std::vector<std::string>& ca_files) {
  for (auto at = multis_.begin(); at != multis_.end();) {
    const bool wanted = std::find(ca_files.begin(), ca_files.end(), at->first) != ca_files.end();
    at = wanted || !at->second->running.empty() ? std::next(at) : multis_.erase(at);
  }
}

}  // namespace failover::agent
