#include "tests/azure_emulator/emulator.h"

#include <condition_variable>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <thread>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "tests/azure_emulator/control_api.h"
#include "tests/azure_emulator/dns_server.h"
#include "tests/azure_emulator/gateway_front.h"
#include "tests/azure_emulator/http_server.h"
#include "tests/azure_emulator/world_file.h"

namespace failover::emulator {
namespace {

constexpr absl::Duration kTick = absl::Milliseconds(50);
constexpr int kPortAttempts = 50;
constexpr absl::string_view kNeutral = "";  // key of the neutral host among the gateways

absl::Status SplitAddress(absl::string_view text, std::string& address, int& port) {
  const std::vector<absl::string_view> parts = absl::StrSplit(text, ':');
  if (parts.size() != 2 || parts[0].empty() || !absl::SimpleAtoi(parts[1], &port) || port < 0 ||
      port > 65535) {
    return absl::InvalidArgumentError(
        absl::StrCat("found address '", text, "'; allowed: IPv4:PORT, port 0 for a free one"));
  }
  address = std::string(parts[0]);
  return absl::OkStatus();
}

// Write-new and rename: a reader sees all or nothing.
absl::Status WriteFile(const std::string& path, const std::string& text) {
  const std::string fresh = absl::StrCat(path, ".new");
  {
    std::ofstream file(fresh, std::ios::binary | std::ios::trunc);
    file << text;
    file.close();
    if (!file) return absl::UnavailableError(absl::StrCat("file ", fresh, " cannot be written"));
  }
  std::error_code error;
  std::filesystem::rename(fresh, path, error);
  if (error) return absl::UnavailableError(absl::StrCat("file ", path, ": ", error.message()));
  return absl::OkStatus();
}

class RunningEmulator : public Emulator {
 public:
  RunningEmulator(World world, EmulatorOptions options)
      : options_(std::move(options)), world_(std::move(world)) {}

  ~RunningEmulator() override {
    {
      std::lock_guard<std::mutex> lock(tick_mutex_);
      stop_ = true;
    }
    tick_wake_.notify_all();
    if (ticker_.joinable()) ticker_.join();
    control_.reset();
    imds_.reset();
    blob_.reset();
    arm_.reset();
  }

  absl::Status Open() {
    world_.clock.real_anchor = absl::Now();
    world_.clock.virtual_anchor = std::max(world_.clock.virtual_anchor, world_.clock.real_anchor);
    for (const auto& step : {&RunningEmulator::OpenDirectory, &RunningEmulator::OpenBlobs,
                             &RunningEmulator::OpenFronts, &RunningEmulator::OpenGateways,
                             &RunningEmulator::OpenDns, &RunningEmulator::WriteEndpoints}) {
      if (absl::Status status = (this->*step)(); !status.ok()) return status;
    }
    ticker_ = std::thread([this] { Tick(); });
    return absl::OkStatus();
  }

  const Endpoints& endpoints() const override { return endpoints_; }

  Result Control(absl::string_view method, absl::string_view path_and_query,
                 absl::string_view body) override {
    const std::pair<absl::string_view, absl::string_view> target =
        absl::StrSplit(path_and_query, absl::MaxSplits('?', 1));
    Request request;
    request.front = Front::kControl;
    request.method = std::string(method);
    request.path = std::string(target.first);
    request.query = std::string(target.second);
    request.body = std::string(body);
    Answer answer = OnControl(request);
    return {answer.status, std::move(answer.body)};
  }

  void With(const std::function<void(World&, absl::Time)>& use) override {
    std::lock_guard<std::mutex> lock(mutex_);
    const absl::Time now = world_.clock.At(absl::Now());
    Advance(world_, now);
    use(world_, now);
    Publish();
  }

 private:
  absl::Status OpenDirectory() {
    std::error_code error;
    std::filesystem::create_directories(options_.directory, error);
    if (options_.directory.empty() || !std::filesystem::is_directory(options_.directory)) {
      return absl::InvalidArgumentError(
          absl::StrCat("directory '", options_.directory, "' cannot be made: ", error.message()));
    }
    absl::StatusOr<std::unique_ptr<CertificateAuthority>> authority = CertificateAuthority::New();
    if (!authority.ok()) return authority.status();
    authority_ = *std::move(authority);
    endpoints_.ca_file = absl::StrCat(options_.directory, "/ca.pem");
    if (!options_.log_file.empty()) {
      log_.open(options_.log_file, std::ios::app);
      if (!log_) {
        return absl::InvalidArgumentError(
            absl::StrCat("log file ", options_.log_file, " cannot be written"));
      }
    }
    return WriteFile(endpoints_.ca_file, authority_->pem());
  }

  absl::Status OpenBlobs() {
    if (options_.external_blobs.empty()) return absl::OkStatus();
    std::map<std::string, std::string> keys;
    for (const auto& [name, account] : world_.accounts) keys[name] = account.key;
    external_ = NewExternalBlobs(
        options_.external_blobs,
        options_.external_blobs_ca.empty() ? endpoints_.ca_file : options_.external_blobs_ca, keys);
    world_.external = external_.get();
    for (const auto& [account, containers] : world_.memory.accounts) {
      for (const auto& [container, content] : containers) {
        const absl::Status made =
            external_->CreateContainer(account, container, world_.clock.virtual_anchor);
        if (made.ok() || absl::IsAlreadyExists(made)) continue;
        return absl::UnavailableError(absl::StrCat("external blobs ", options_.external_blobs,
                                                   ": container ", container, ": ",
                                                   made.message()));
      }
    }
    return absl::OkStatus();
  }

  absl::StatusOr<std::unique_ptr<HttpServer>> OpenFront(const std::string& address, Front front,
                                                        bool tls, std::string& url) {
    HttpServerOptions server;
    if (absl::Status split = SplitAddress(address, server.address, server.port); !split.ok()) {
      return split;
    }
    server.front = front;
    if (tls) {
      absl::StatusOr<TlsContext> context =
          authority_->Issue({"localhost"}, {server.address}, "good");
      if (!context.ok()) return context.status();
      server.tls = [context = *context] { return context; };
    }
    server.handle = [this, front](const Request& request) {
      return front == Front::kControl ? OnControl(request) : OnAzure(request);
    };
    const std::string host = server.address;
    absl::StatusOr<std::unique_ptr<HttpServer>> started = HttpServer::Start(std::move(server));
    if (started.ok())
      url = absl::StrCat(tls ? "https://" : "http://", host, ":", (*started)->port());
    return started;
  }

  absl::Status OpenFronts() {
    const auto open = [&](const std::string& address, Front front, bool tls,
                          std::unique_ptr<HttpServer>& server, std::string& url) {
      absl::StatusOr<std::unique_ptr<HttpServer>> started = OpenFront(address, front, tls, url);
      if (started.ok()) server = *std::move(started);
      return started.status();
    };
    for (const absl::Status& status :
         {open(options_.arm, Front::kArm, true, arm_, endpoints_.arm),
          open(options_.blob, Front::kBlob, true, blob_, endpoints_.blob),
          open(options_.control, Front::kControl, false, control_, endpoints_.control),
          open(options_.imds, Front::kImds, false, imds_, endpoints_.imds)}) {
      if (!status.ok()) return status;
    }
    endpoints_.authority = endpoints_.arm;
    if (external_ != nullptr) endpoints_.blob = options_.external_blobs;
    return absl::OkStatus();
  }

  // Every gateway on its own address and the same port.
  absl::Status OpenGatewaysAt(int port) {
    gateways_.clear();
    for (const auto& [key, service] : world_.services) {
      if (service.gateway.address.empty()) continue;
      if (absl::Status s = OpenGateway(key, service.gateway, CertificateHosts(world_, service),
                                       ViewOfService(world_, service), port);
          !s.ok()) {
        return s;
      }
    }
    if (world_.neutral_address.empty()) return absl::OkStatus();
    return OpenGateway(std::string(kNeutral), world_.neutral, {world_.neutral_host},
                       ViewOfNeutral(world_), port);
  }

  absl::Status OpenGateway(const std::string& key, const Gateway& gateway,
                           std::vector<std::string> hosts, GatewayView view, int& port) {
    GatewayFront::Options options{gateway.address, port, gateway.tls, std::move(hosts)};
    absl::StatusOr<std::unique_ptr<GatewayFront>> front =
        GatewayFront::Start(*authority_, std::move(options), std::move(view));
    if (!front.ok()) return front.status();
    port = (*front)->port();
    gateways_[key] = *std::move(front);
    endpoints_.gateway_port = port;
    return absl::OkStatus();
  }

  absl::Status OpenGateways() {
    std::lock_guard<std::mutex> lock(mutex_);
    absl::Status status;
    const int attempts = options_.gateway_port == 0 ? kPortAttempts : 1;
    for (int i = 0; i < attempts; ++i) {
      status = OpenGatewaysAt(options_.gateway_port);
      if (status.ok() || !absl::IsUnavailable(status)) break;
    }
    if (!status.ok()) return status;
    for (const auto& [key, service] : world_.services) {
      if (service.gateway.address.empty()) continue;
      const std::string host = absl::StrCat(service.name, ".azure-api.net");
      endpoints_.gateways[service.name] = {service.gateway.address, Url(service.gateway.tls, host),
                                           host};
    }
    if (!world_.neutral_host.empty()) {
      endpoints_.neutral = absl::StrCat(Url(world_.neutral.tls, world_.neutral_host), "/");
    }
    for (const auto& [key, profile] : world_.profiles) {
      if (endpoints_.public_name.empty()) endpoints_.public_name = profile.public_name;
    }
    return absl::OkStatus();
  }

  std::string Url(bool tls, const std::string& host) const {
    return absl::StrCat(tls ? "https://" : "http://", host, ":", endpoints_.gateway_port);
  }

  absl::Status OpenDns() {
    std::string address;
    int port = 0;
    if (absl::Status split = SplitAddress(options_.dns, address, port); !split.ok()) return split;
    absl::StatusOr<std::unique_ptr<DnsServer>> started = DnsServer::Start(address, port);
    if (!started.ok()) return started.status();
    std::lock_guard<std::mutex> lock(mutex_);
    dns_ = *std::move(started);
    endpoints_.dns = absl::StrCat(address, ":", dns_->port());
    Publish();
    return absl::OkStatus();
  }

  absl::Status WriteEndpoints() {
    Json gateways = Json::object();
    for (const auto& [name, gateway] : endpoints_.gateways) {
      gateways[name] = {{"address", gateway.address}, {"url", gateway.url}, {"host", gateway.host}};
    }
    const Json json = {{"arm", endpoints_.arm},
                       {"authority", endpoints_.authority},
                       {"blob", endpoints_.blob},
                       {"control", endpoints_.control},
                       {"imds", endpoints_.imds},
                       {"dns", endpoints_.dns},
                       {"gatewayPort", endpoints_.gateway_port},
                       {"caFile", endpoints_.ca_file},
                       {"neutral", endpoints_.neutral},
                       {"publicName", endpoints_.public_name},
                       {"gateways", gateways}};
    return WriteFile(absl::StrCat(options_.directory, "/endpoints.json"),
                     absl::StrCat(json.dump(2), "\n"));
  }

  Answer OnAzure(const Request& request) {
    std::lock_guard<std::mutex> lock(mutex_);
    Answer answer = Handle(world_, request, world_.clock.At(absl::Now()));
    Publish();
    if (log_.is_open() && !world_.log.empty()) {
      const LogEntry& entry = world_.log.back();
      log_ << Dump({{"sequence", entry.sequence},
                    {"time", IsoTime(entry.time)},
                    {"method", entry.method},
                    {"path", entry.path},
                    {"operation", entry.what.operation},
                    {"status", entry.status},
                    {"applied", entry.applied},
                    {"answerLost", entry.answer_lost},
                    {"fault", entry.fault},
                    {"errorCode", entry.error_code}})
           << std::endl;
    }
    return answer;
  }

  Answer OnControl(const Request& request) {
    std::lock_guard<std::mutex> lock(mutex_);
    const absl::Time real = absl::Now();
    Answer answer = HandleControl(world_, request, world_.clock.At(real), real);
    Publish();
    return answer;
  }

  // Hands the present over to gateways and name server. With mutex_ held.
  void Publish() {
    for (const auto& [key, front] : gateways_) {
      const auto service = world_.services.find(key);
      GatewayView view;
      if (key == kNeutral) {
        view = ViewOfNeutral(world_);
      } else if (service != world_.services.end()) {
        view = ViewOfService(world_, service->second);
      } else {
        view.all.mode = "cut";  // the service has been deleted
      }
      front->Publish(view);
    }
    if (dns_ != nullptr) dns_->Publish(ResolveAll(world_));
  }

  void Tick() {
    std::unique_lock<std::mutex> tick(tick_mutex_);
    while (!tick_wake_.wait_for(tick, absl::ToChronoMilliseconds(kTick), [&] { return stop_; })) {
      With([](World&, absl::Time) {});
    }
  }

  const EmulatorOptions options_;
  Endpoints endpoints_;  // constant after Open()
  std::unique_ptr<CertificateAuthority> authority_;
  std::unique_ptr<BlobStore> external_;
  std::mutex mutex_;  // guards world_, log_, gateways_ and dns_ (the pointers)
  World world_;
  std::ofstream log_;
  std::map<std::string, std::unique_ptr<GatewayFront>> gateways_;
  std::unique_ptr<DnsServer> dns_;
  std::unique_ptr<HttpServer> arm_, blob_, control_, imds_;
  std::mutex tick_mutex_;
  std::condition_variable tick_wake_;
  bool stop_ = false;
  std::thread ticker_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Emulator>> Emulator::Start(World world, EmulatorOptions options) {
  auto emulator = std::make_unique<RunningEmulator>(std::move(world), std::move(options));
  if (absl::Status opened = emulator->Open(); !opened.ok()) return opened;
  return emulator;
}

absl::StatusOr<std::unique_ptr<Emulator>> Emulator::StartFile(const std::string& world_file,
                                                              EmulatorOptions options,
                                                              uint64_t seed) {
  absl::StatusOr<World> world = ReadWorldFile(world_file, absl::Now(), seed);
  if (!world.ok()) return world.status();
  return Start(*std::move(world), std::move(options));
}

}  // namespace failover::emulator
