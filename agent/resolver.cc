#include "agent/resolver.h"

#include <ares.h>
#include <netdb.h>
#include <netinet/in.h>

#include <algorithm>
#include <cstring>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace failover::agent {
namespace {

constexpr size_t kMaxAddresses = 16;
constexpr size_t kMaxCnames = 8;
constexpr absl::Duration kResolutionDelay = absl::Milliseconds(50);
constexpr int kTries = 3;

std::string Canonical(absl::string_view name) {
  std::string lower = absl::AsciiStrToLower(name);
  if (absl::EndsWith(lower, ".")) lower.pop_back();
  return lower;
}

}  // namespace

struct Resolver::Request {
  Resolver* owner = nullptr;
  uint64_t id = 0;
  std::string host;
  SteadyTime deadline;
  SteadyTime scheduled;                                 // its entry in timers_
  SteadyTime answer_at = SteadyTime::InfiniteFuture();  // one family is there, the other not yet
  Done done;
  ares_channel channel = nullptr;
  int pending = 0;
  bool closing = false;
  int error = ARES_SUCCESS;
  std::vector<IpAddress> v4, v6;
  std::map<std::string, std::string> aliases;

  ~Request() {
    closing = true;
    if (channel != nullptr) ares_destroy(channel);
  }
  static void OnSocketState(void* data, ares_socket_t fd, int readable, int writable);
  static void OnAnswer(void* data, int status, int timeouts, ares_addrinfo* answer);
  std::vector<std::string> CnameChain() const;
};

void Resolver::Request::OnSocketState(void* data, ares_socket_t fd, int readable, int writable) {
  Request& request = *static_cast<Request*>(data);
  Resolver& owner = *request.owner;
  if (readable == 0 && writable == 0) {
    owner.poller_.Unwatch(fd);
    return;
  }
  owner.poller_.Watch(fd, readable != 0, writable != 0,
                      [&owner, fd, id = request.id](bool can_read, bool can_write) {
                        owner.ProcessSocket(id, can_read ? fd : ARES_SOCKET_BAD,
                                            can_write ? fd : ARES_SOCKET_BAD);
                      });
}

void Resolver::Request::OnAnswer(void* data, int status, int /*timeouts*/, ares_addrinfo* answer) {
  Request& request = *static_cast<Request*>(data);
  if (request.closing) {
    if (answer != nullptr) ares_freeaddrinfo(answer);
    return;
  }
  --request.pending;
  request.owner->Touch(request.id);
  if (status != ARES_SUCCESS || answer == nullptr) {
    // "No such record" of one family explains less than any other error.
    if (request.error == ARES_SUCCESS || request.error == ARES_ENODATA) request.error = status;
    if (answer != nullptr) ares_freeaddrinfo(answer);
    return;
  }
  for (const ares_addrinfo_node* node = answer->nodes; node != nullptr; node = node->ai_next) {
    const std::optional<IpAddress> address = IpOf(*node->ai_addr);
    if (!address) continue;
    std::vector<IpAddress>& list = address->is_v4() ? request.v4 : request.v6;
    if (list.size() < kMaxAddresses) list.push_back(*address);
  }
  for (const ares_addrinfo_cname* cname = answer->cnames; cname != nullptr; cname = cname->next) {
    if (cname->alias != nullptr && cname->name != nullptr &&
        request.aliases.size() < 4 * kMaxCnames) {
      request.aliases[Canonical(cname->alias)] = Canonical(cname->name);
    }
  }
  ares_freeaddrinfo(answer);
}

std::vector<std::string> Resolver::Request::CnameChain() const {
  std::vector<std::string> chain;
  for (auto at = aliases.find(Canonical(host)); at != aliases.end() && chain.size() < kMaxCnames;
       at = aliases.find(at->second)) {
    chain.push_back(at->second);
  }
  return chain;
}

Resolver::Resolver(Options options, Poller& poller, Clock& clock)
    : options_(std::move(options)), poller_(poller), clock_(clock) {
  ares_library_init(ARES_LIB_INIT_ALL);
}

Resolver::~Resolver() {
  requests_.clear();
  ares_library_cleanup();
}

absl::Status Resolver::OpenChannel(Request& request, absl::Duration per_try) {
  ares_options options{};
  options.flags = options_.search_domains ? 0 : ARES_FLAG_NOSEARCH;
  options.timeout = static_cast<int>(absl::ToInt64Milliseconds(per_try));
  options.tries = kTries;
  options.sock_state_cb = &Request::OnSocketState;
  options.sock_state_cb_data = &request;
  int mask = ARES_OPT_FLAGS | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_SOCK_STATE_CB;
  in_addr nowhere{};
  char dns_only[] = "b";
  if (!options_.servers.empty()) {  // with all of these given, c-ares reads no file of the system
    options.servers = &nowhere;
    options.nservers = 1;
    options.lookups = dns_only;
    mask |= ARES_OPT_SERVERS | ARES_OPT_LOOKUPS;
    if (!options_.search_domains) {
      options.ndomains = 0;
      mask |= ARES_OPT_DOMAINS;
    }
  }
  int code = ares_init_options(&request.channel, &options, mask);
  if (code == ARES_SUCCESS && !options_.servers.empty()) {
    code =
        ares_set_servers_ports_csv(request.channel, absl::StrJoin(options_.servers, ",").c_str());
  }
  if (code != ARES_SUCCESS) {
    return absl::UnavailableError(absl::StrCat("c-ares cannot start: ", ares_strerror(code)));
  }
  if (const std::optional<IpAddress> source = ParseIp(options_.source_address)) {
    if (source->is_v4()) {
      uint32_t v4;
      std::memcpy(&v4, source->bytes.data() + 12, 4);
      ares_set_local_ip4(request.channel, ntohl(v4));
    } else {
      ares_set_local_ip6(request.channel, source->bytes.data());
    }
  }
  return absl::OkStatus();
}

void Resolver::Resolve(const std::string& host, SteadyTime deadline, Done done) {
  auto owned = std::make_unique<Request>();
  Request& request = *owned;
  request.owner = this;
  request.id = ++last_id_;
  request.host = host;
  request.deadline = deadline;
  request.done = std::move(done);
  requests_[request.id] = std::move(owned);
  request.scheduled = deadline;
  timers_.emplace(deadline, request.id);
  Touch(request.id);

  // Every server is asked once, and the first again, before the deadline.
  const auto servers = static_cast<int>(options_.servers.empty() ? 2 : options_.servers.size());
  const absl::Duration per_try = std::clamp((deadline - clock_.Steady()) / (servers + 1),
                                            absl::Milliseconds(20), absl::Seconds(2));
  if (!OpenChannel(request, per_try).ok()) {
    request.error = ARES_ENOTINITIALIZED;
    return;
  }
  request.pending = 2;
  for (const int family : {AF_INET, AF_INET6}) {
    ares_addrinfo_hints hints{};
    hints.ai_family = family;
    hints.ai_socktype = SOCK_STREAM;
    hints.ai_flags = ARES_AI_CANONNAME | ARES_AI_NOSORT;
    ares_getaddrinfo(request.channel, host.c_str(), nullptr, &hints, &Request::OnAnswer, &request);
  }
}

void Resolver::ProcessSocket(uint64_t id, int readable, int writable) {
  const auto found = requests_.find(id);
  if (found == requests_.end()) return;
  ares_process_fd(found->second->channel, readable, writable);
  Touch(id);
}

SteadyTime Resolver::next() const {
  if (!touched_.empty()) return SteadyTime::InfinitePast();
  return timers_.empty() ? SteadyTime::InfiniteFuture() : timers_.begin()->first;
}

void Resolver::Schedule(Request& request) {
  SteadyTime when = std::min(request.deadline, request.answer_at);
  timeval left;
  if (request.channel != nullptr && ares_timeout(request.channel, nullptr, &left) != nullptr) {
    when = std::min(when, clock_.Steady() + absl::DurationFromTimeval(left));
  }
  timers_.erase({request.scheduled, request.id});
  request.scheduled = when;
  timers_.emplace(when, request.id);
}

bool Resolver::FinishIfDone(Request& request, SteadyTime now) {
  const bool some = !request.v4.empty() || !request.v6.empty();
  const bool late = now >= request.deadline;
  if (request.pending > 0 && !late) {
    if (!some) return false;
    if (request.answer_at == SteadyTime::InfiniteFuture())
      request.answer_at = now + kResolutionDelay;
    if (now < request.answer_at) return false;
  }
  Resolution resolution;
  resolution.cname_chain = request.CnameChain();
  if (some) {
    resolution.addresses = request.v4;
    resolution.addresses.insert(resolution.addresses.end(), request.v6.begin(), request.v6.end());
  } else {
    const bool silent = request.pending > 0 || request.error == ARES_ETIMEOUT;
    resolution.timed_out = silent;
    const std::string why = silent ? "no answer from a name server" : ares_strerror(request.error);
    resolution.status = absl::UnavailableError(absl::StrCat("resolving ", request.host, ": ", why));
  }
  const Done done = std::move(request.done);
  timers_.erase({request.scheduled, request.id});
  touched_.erase(request.id);
  requests_.erase(request.id);  // closes its sockets
  done(std::move(resolution));
  return true;
}

void Resolver::Process() {
  const SteadyTime now = clock_.Steady();
  while (!timers_.empty() && timers_.begin()->first <= now) {
    const uint64_t id = timers_.begin()->second;
    Request& request = *requests_.at(id);
    // Out of the way; Schedule below puts it back.
    timers_.erase(timers_.begin());
    request.scheduled = SteadyTime::InfiniteFuture();
    timers_.emplace(request.scheduled, id);
    if (request.channel != nullptr)
      ares_process_fd(request.channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
    Touch(id);
  }
  const std::set<uint64_t> touched = std::exchange(touched_, {});
  for (const uint64_t id : touched) {
    const auto found = requests_.find(id);
    if (found == requests_.end()) continue;
    if (!FinishIfDone(*found->second, now)) Schedule(*found->second);
  }
}

}  // namespace failover::agent
