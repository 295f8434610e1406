#include "agent/replicas.h"

#include <algorithm>
#include <map>
#include <optional>
#include <random>
#include <set>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "agent/config.h"
#include "agent/poller.h"
#include "common/log.h"
#include "common/mutex.h"
#include "common/status_macros.h"

namespace failover::agent {
namespace {

constexpr absl::Duration kResolveTimeout = absl::Seconds(4);
constexpr absl::Duration kLeastInterval = absl::Seconds(1);
constexpr absl::Duration kMaxTurn = absl::Seconds(1);

struct Name {
  std::string text, host;  // text: as configured
  int port = 0;
  bool asking = false;
  std::vector<std::string> addresses;  // of the last good answer
  std::string error;                   // of the last answer, for the log
};

class Follower : public Replicas {
 public:
  Follower(Options options, std::unique_ptr<Poller> poller)
      : options_(std::move(options)),
        clock_(*options_.clock),
        poller_(std::move(poller)),
        random_(std::random_device{}()) {
    options_.resolver.search_domains = true;
    resolver_.emplace(options_.resolver, *poller_, clock_);
    for (const std::string& text : options_.names) {
      Name& name = names_.emplace_back();
      name.text = text;
      SplitAddress(text, name.host, name.port);
      options_.metrics->StreamConnected(text, false);  // until it has addresses
    }
  }

  ~Follower() override {
    thread_.request_stop();
    poller_->Wake();
    if (thread_.joinable()) thread_.join();
    reporters_.clear();  // they call Ended
  }

  void Run() {
    thread_ = std::jthread([this](std::stop_token stop) {
      while (!stop.stop_requested()) Turn();
    });
  }

 private:
  void Turn();
  void AskAll(SteadyTime now);
  void Answer(Name& name, const Resolution& resolution);
  void Update();
  void Ended();

  Options options_;
  Clock& clock_;
  std::unique_ptr<Poller> poller_;
  std::optional<Resolver> resolver_;
  std::mt19937 random_;
  std::vector<Name> names_;
  std::map<std::string, std::unique_ptr<Reporter>> reporters_;  // by address
  bool too_many_ = false;
  SteadyTime asked_ = SteadyTime::InfinitePast();
  SteadyTime ask_at_ = SteadyTime::InfinitePast();
  Mutex mutex_;
  bool ended_ ABSL_GUARDED_BY(mutex_) = false;
  std::jthread thread_;
};

void Follower::Turn() {
  {
    MutexLock lock(mutex_);
    if (std::exchange(ended_, false)) ask_at_ = std::min(ask_at_, asked_ + kLeastInterval);
  }
  const SteadyTime now = clock_.Steady();
  if (now >= ask_at_) AskAll(now);
  const SteadyTime next = std::min(ask_at_, resolver_->next());
  poller_->Wait(std::clamp(next - clock_.Steady(), absl::ZeroDuration(), kMaxTurn));
  resolver_->Process();
}

void Follower::AskAll(SteadyTime now) {
  std::uniform_real_distribution<double> spread(1, 2);
  asked_ = now;
  ask_at_ = now + options_.interval * spread(random_);
  for (Name& name : names_) {
    if (const std::optional<IpAddress> literal = ParseIp(name.host)) {
      Answer(name, {absl::OkStatus(), false, {*literal}, {}});
    } else if (!std::exchange(name.asking, true)) {
      resolver_->Resolve(name.host, now + kResolveTimeout, [this, &name](Resolution resolution) {
        name.asking = false;
        Answer(name, resolution);
      });
    }
  }
}

void Follower::Answer(Name& name, const Resolution& resolution) {
  const std::string error = resolution.status.ok() ? "" : std::string(resolution.status.message());
  if (!error.empty() && error != name.error) {
    LogWarning("addresses of controllers not known; streams stay as they are",
               {{"controllers", name.text}, {"error", error}});
  }
  name.error = error;
  if (!error.empty()) return;
  std::vector<std::string> addresses = ReplicaAddresses(resolution.addresses, name.port);
  if (addresses == name.addresses) return;
  LogInfo("addresses of controllers",
          {{"controllers", name.text}, {"addresses", absl::StrJoin(addresses, ",")}});
  if (name.addresses.empty()) options_.metrics->StreamGone(name.text);
  name.addresses = std::move(addresses);
  Update();
}

void Follower::Update() {
  std::set<std::string> known;
  for (const Name& name : names_) known.insert(name.addresses.begin(), name.addresses.end());
  for (auto at = reporters_.begin(); at != reporters_.end();) {
    if (known.count(at->first) > 0) {
      ++at;
      continue;
    }
    const std::string address = at->first;
    at = reporters_.erase(at);  // waits for its threads: its last word on the metric comes before
    options_.metrics->StreamGone(address);
  }
  bool too_many = false;
  for (const std::string& address : known) {
    if (reporters_.count(address) > 0) continue;
    too_many |= reporters_.size() >= kMaxReplicas;
    if (reporters_.size() >= kMaxReplicas) break;
    options_.metrics->StreamConnected(address, false);
    reporters_[address] = options_.connect(address, [this] { Ended(); });
  }
  if (too_many && !too_many_) {
    LogWarning("more addresses of controllers than streams are opened to",
               {{"addresses", known.size()}, {"streams", kMaxReplicas}});
  }
  too_many_ = too_many;
}

void Follower::Ended() {
  {
    MutexLock lock(mutex_);
    ended_ = true;
  }
  poller_->Wake();
}

}  // namespace

std::vector<std::string> ReplicaAddresses(const std::vector<IpAddress>& addresses, int port) {
  bool any_v4 = false;
  for (const IpAddress& address : addresses) any_v4 |= address.is_v4();
  std::set<std::string> texts;
  for (const IpAddress& address : addresses) {
    if (any_v4 && !address.is_v4()) continue;
    texts.insert(any_v4 ? absl::StrCat(address.ToString(), ":", port)
                        : absl::StrCat("[", address.ToString(), "]:", port));
  }
  return {texts.begin(), texts.end()};
}

absl::StatusOr<std::unique_ptr<Replicas>> Replicas::Start(Options options) {
  ASSIGN_OR_RETURN(std::unique_ptr<Poller> poller, Poller::Create());
  auto replicas = std::make_unique<Follower>(std::move(options), std::move(poller));
  replicas->Run();
  return replicas;
}

}  // namespace failover::agent
