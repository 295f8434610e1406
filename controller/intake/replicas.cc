#include "controller/intake/replicas.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <sys/socket.h>

#include <algorithm>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/log.h"
#include "common/mutex.h"

namespace failover::intake {
namespace {

constexpr size_t kMaxReplicas = 16;

absl::StatusOr<std::vector<std::string>> LookUp(const std::string& host, const std::string& port) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  const int code = getaddrinfo(host.c_str(), nullptr, &hints, &found);
  if (code != 0) {
    return absl::UnavailableError(absl::StrCat("resolving ", host, ": ", gai_strerror(code)));
  }
  std::vector<std::string> addresses;
  for (const addrinfo* at = found; at != nullptr; at = at->ai_next) {
    char text[NI_MAXHOST];
    if (getnameinfo(at->ai_addr, at->ai_addrlen, text, sizeof text, nullptr, 0, NI_NUMERICHOST) !=
        0) {
      continue;
    }
    addresses.push_back(at->ai_family == AF_INET6 ? absl::StrCat("[", text, "]:", port)
                                                  : absl::StrCat(text, ":", port));
  }
  freeaddrinfo(found);
  return addresses;
}

// getaddrinfo waits for a dead name server as long as the system is configured to, and cannot be
// cancelled: an end of the program abandons it.
absl::StatusOr<std::vector<std::string>> LookUpUnless(const std::stop_token& stop,
                                                      const std::string& host,
                                                      const std::string& port) {
  struct Shared {
    Mutex mutex;
    std::condition_variable_any done;
    std::optional<absl::StatusOr<std::vector<std::string>>> answer;
  };
  const auto shared = std::make_shared<Shared>();
  std::thread([shared, host, port] {
    absl::StatusOr<std::vector<std::string>> answer = LookUp(host, port);
    MutexLock lock(shared->mutex);
    shared->answer = std::move(answer);
    shared->done.notify_all();
  }).detach();
  std::unique_lock<Mutex> lock(shared->mutex);
  shared->done.wait(lock, stop, [&shared] { return shared->answer.has_value(); });
  if (!shared->answer.has_value()) return absl::CancelledError("the controller is stopping");
  return *shared->answer;
}

}  // namespace

absl::Status SplitAddress(absl::string_view address, std::string& host, std::string& port) {
  const size_t colon = address.rfind(':');
  int number = 0;
  absl::string_view name = colon == address.npos ? "" : address.substr(0, colon);
  if (absl::StartsWith(name, "[") && absl::EndsWith(name, "]")) {
    name = name.substr(1, name.size() - 2);
  } else if (absl::StrContains(name, ":")) {
    name = "";
  }
  if (name.empty() || !absl::SimpleAtoi(address.substr(colon + 1), &number) || number < 1 ||
      number > 65535) {
    return absl::InvalidArgumentError(
        absl::StrCat("replicas' address: found \"", address, "\"; allowed: HOST:PORT"));
  }
  host = std::string(name);
  port = absl::StrCat(number);
  return absl::OkStatus();
}

std::vector<std::string> ChooseReplicas(std::vector<std::string> addresses) {
  const auto is_v6 = [](const std::string& address) { return absl::StartsWith(address, "["); };
  if (!std::all_of(addresses.begin(), addresses.end(), is_v6)) std::erase_if(addresses, is_v6);
  std::sort(addresses.begin(), addresses.end());
  addresses.erase(std::unique(addresses.begin(), addresses.end()), addresses.end());
  if (addresses.size() > kMaxReplicas) addresses.resize(kMaxReplicas);
  return addresses;
}

Replicas::Replicas(Options options)
    : options_(std::move(options)), thread_([this](std::stop_token stop) { Run(stop); }) {}

void Replicas::Run(std::stop_token stop) {
  std::string host, port;
  const absl::Status split = SplitAddress(options_.address, host, port);
  while (!stop.stop_requested()) {
    if (options_.resolve) {
      Update(options_.resolve());
    } else {
      Update(split.ok() ? LookUpUnless(stop, host, port) : split);
    }
    options_.clock->SleepUntil(options_.clock->Steady() + options_.interval, stop);
  }
  relays_.clear();
}

void Replicas::Update(const absl::StatusOr<std::vector<std::string>>& addresses) {
  absl::Status status = addresses.status();
  if (status.ok() && addresses->empty()) status = absl::NotFoundError("no address");
  const std::string error = status.ok() ? "" : std::string(status.message());
  if (error != last_error_ && !absl::IsCancelled(status)) {
    if (!status.ok()) {
      LogWarning("addresses of the other replicas not known; relays stay as they are",
                 {{"replicas", options_.address}, {"error", error}});
    }
    last_error_ = error;
  }
  if (!status.ok()) return;
  const std::vector<std::string> chosen = ChooseReplicas(*addresses);
  const std::set<std::string> wanted(chosen.begin(), chosen.end());
  bool changed = std::erase_if(relays_, [&wanted](const auto& entry) {
                   return wanted.count(entry.first) == 0;
                 }) > 0;
  for (const std::string& address : wanted) {
    if (relays_.count(address) > 0) continue;
    relays_[address] = options_.connect(address);
    changed = true;
  }
  if (changed) {
    LogInfo("addresses of replicas",
            {{"replicas", options_.address}, {"addresses", absl::StrJoin(wanted, ",")}});
  }
}

}  // namespace failover::intake
