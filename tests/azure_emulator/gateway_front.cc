#include "tests/azure_emulator/gateway_front.h"

#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"

namespace failover::emulator {
namespace {

constexpr absl::string_view kStatusPath = "/status-0123456789abcdef";

Answer GatewayError(int status, absl::string_view message) {
  return JsonAnswer(status, {{"statusCode", status}, {"message", std::string(message)}});
}

Answer Text(const std::string& body) { return Answer{200, {{"Content-Type", "text/plain"}}, body}; }

// Refused only when nobody gets through; else a cut region is reset after the accept.
bool IsCutForAll(const GatewayView& view) {
  if (view.all.mode != "cut") return false;
  for (const auto& [region, behavior] : view.regions) {
    if (behavior.mode != "cut") return false;
  }
  return true;
}

std::string HostOf(const Request& request) {
  const absl::string_view host = request.Header("host");
  return absl::AsciiStrToLower(host.substr(0, host.rfind(':')));
}

Answer Healthy(const GatewayView& view, const Request& request) {
  if (!view.hosts.contains(HostOf(request))) return GatewayError(404, "Resource not found");
  if (request.method != "GET" && request.method != "HEAD") {
    return GatewayError(404, "Resource not found");
  }
  if (view.service.empty()) return Text(request.method == "HEAD" ? "" : "neutral host\n");
  if (request.path == kStatusPath) return Text(view.status_body);
  if (request.path == "/config-version") return Text(view.version);
  return GatewayError(404, "Resource not found");
}

}  // namespace

GatewayView ViewOfService(const World& world, const Service& service) {
  const Gateway& gateway = service.gateway;
  GatewayView view;
  view.service = service.name;
  view.all = gateway.all;
  view.regions = gateway.regions;
  view.probe_regions = world.probe_regions;
  for (const std::string& host : CertificateHosts(world, service)) {
    view.hosts.insert(absl::AsciiStrToLower(host));
  }
  view.hosts.insert(gateway.address);
  view.certificate = gateway.certificate;
  view.version = gateway.stale ? gateway.stale_version : service.ConfigurationVersion();
  view.status_body = world.switches.status_body;
  const auto running = world.operations.find(service.operation);
  const bool restoring = running != world.operations.end() && running->second.verb == "Restore";
  if (restoring && world.switches.gateway_during_restore != "ok") {
    view.all.mode = world.switches.gateway_during_restore;
    view.all.status = 503;
    view.regions.clear();
  }
  return view;
}

GatewayView ViewOfNeutral(const World& world) {
  GatewayView view;
  view.all = world.neutral.all;
  view.regions = world.neutral.regions;
  view.probe_regions = world.probe_regions;
  view.hosts = {absl::AsciiStrToLower(world.neutral_host), world.neutral_address};
  view.certificate = world.neutral.certificate;
  return view;
}

std::vector<std::string> CertificateHosts(const World& world, const Service& service) {
  const std::string name = absl::AsciiStrToLower(service.name);
  std::vector<std::string> hosts = {
      absl::StrCat(name, ".azure-api.net"),
      absl::StrCat(name, "-", service.region, "-01.regional.azure-api.net")};
  for (const auto* own : {&service.host_names, &service.gateway.host_names}) {
    hosts.insert(hosts.end(), own->begin(), own->end());
  }
  for (const auto& [key, profile] : world.profiles) {
    if (!profile.public_name.empty()) hosts.push_back(profile.public_name);
  }
  return hosts;
}

GatewayBehavior BehaviorFor(const GatewayView& view, const std::string& remote) {
  const auto region = view.probe_regions.find(remote);
  if (region == view.probe_regions.end()) return view.all;
  const auto own = view.regions.find(region->second);
  return own == view.regions.end() ? view.all : own->second;
}

Answer AnswerGateway(const GatewayView& view, const Request& request) {
  const GatewayBehavior behavior = BehaviorFor(view, request.remote);
  Answer answer = Healthy(view, request);
  if (behavior.mode == "status") answer = GatewayError(behavior.status, "Emulated failure");
  if (behavior.mode == "wrongBody" && answer.status == 200) {
    answer.body = "<html><body>Parked</body></html>";
  }
  if (behavior.mode == "slow") answer.delay = behavior.delay;
  if (behavior.mode == "slowBody") answer.slow_body = true;
  if (behavior.mode == "hang" || behavior.mode == "tlsHang") answer.wire = Wire::kSilence;
  if (behavior.mode == "reset" || behavior.mode == "cut") answer.wire = Wire::kReset;
  if (!view.service.empty()) answer.Set("x-served-by", view.service);
  answer.Set("Date", HttpDate(absl::Now()));
  return answer;
}

absl::StatusOr<std::unique_ptr<GatewayFront>> GatewayFront::Start(
    const CertificateAuthority& authority, Options options, GatewayView view) {
  std::unique_ptr<GatewayFront> front(new GatewayFront);
  if (options.tls) {
    for (const char* mode : {"good", "wrongName", "expired", "selfSigned"}) {
      absl::StatusOr<TlsContext> context = authority.Issue(options.hosts, {options.address}, mode);
      if (!context.ok()) return context.status();
      front->contexts_[mode] = *std::move(context);
    }
  }
  GatewayFront* const raw = front.get();
  {
    MutexLock lock(raw->mutex_);
    raw->view_ = view;
  }
  HttpServerOptions server;
  server.address = options.address;
  server.port = options.port;
  server.front = Front::kGateway;
  server.max_body = 1 << 20;
  if (options.tls) {
    server.tls = [raw] {
      MutexLock lock(raw->mutex_);
      return raw->contexts_.at(raw->view_.certificate);
    };
  }
  server.greet = [raw](const std::string& remote) {
    MutexLock lock(raw->mutex_);
    const std::string mode = BehaviorFor(raw->view_, remote).mode;
    return mode == "reset" || mode == "cut" ? Greeting::kReset
           : mode == "tlsHang"              ? Greeting::kHang
                                            : Greeting::kServe;
  };
  server.handle = [raw](const Request& request) {
    MutexLock lock(raw->mutex_);
    return AnswerGateway(raw->view_, request);
  };
  absl::StatusOr<std::unique_ptr<HttpServer>> started = HttpServer::Start(std::move(server));
  if (!started.ok()) return started.status();
  front->server_ = *std::move(started);
  if (IsCutForAll(view)) front->server_->SetListening(false);
  return front;
}

void GatewayFront::Publish(const GatewayView& view) {
  bool listen_changes = false;
  {
    MutexLock lock(mutex_);
    if (view_ == view) return;
    listen_changes = IsCutForAll(view_) != IsCutForAll(view);
    view_ = view;
  }
  if (listen_changes) server_->SetListening(!IsCutForAll(view));
}

}  // namespace failover::emulator
