#include "agent/app.h"

#include <grpcpp/security/credentials.h>

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "agent/assignment.h"
#include "agent/metrics.h"
#include "agent/probe_loop.h"
#include "agent/replicas.h"
#include "agent/reporter.h"
#include "agent/result_buffer.h"
#include "common/admin_server.h"
#include "common/config_file.h"
#include "common/digest.h"
#include "common/log.h"
#include "common/status_macros.h"
#include "common/tls.h"

namespace failover::agent {
namespace {

constexpr absl::Duration kStalled = absl::Seconds(10);

std::string BootId() {
  const absl::StatusOr<std::string> text = ReadSmallFile("/proc/sys/kernel/random/boot_id");
  return text.ok() ? std::string(absl::StripAsciiWhitespace(*text)) : "";
}

class RunningApp : public App {
 public:
  explicit RunningApp(Options options)
      : options_(std::move(options)),
        file_(options_.config.file),
        clock_(*options_.clock),
        metrics_(file_.probe_region(), {file_.controllers().begin(), file_.controllers().end()}),
        results_(
            clock_, {},
            [this](AgentMetrics::Drop reason, uint64_t count) { metrics_.Dropped(reason, count); }),
        assignments_(file_.assignment_file(),
                     [this](std::shared_ptr<const PreparedAssignment> assignment) {
                       metrics_.SetAssignment(*assignment);
                       loop_->SetTargets(std::move(assignment));
                     }) {}

  absl::Status Begin() {
    RETURN_IF_ERROR(CheckFiles(options_.config));
    RETURN_IF_ERROR(LoadTls());
    RETURN_IF_ERROR(StartLoop());
    LoadAssignment();
    RETURN_IF_ERROR(StartAdmin());
    RETURN_IF_ERROR(StartReporters());
    Tick();
    return absl::OkStatus();
  }

  int admin_port() const override { return admin_->port(); }

  void Tick() override {
    if (tls_ == nullptr) return;
    process_metrics_->SetCertificateExpiry(
        "client", absl::ToDoubleSeconds(tls_->CertificateExpiry() - absl::UnixEpoch()));
    process_metrics_->SetCertificateExpiry(
        "ca", absl::ToDoubleSeconds(tls_->CaExpiry() - absl::UnixEpoch()));
  }

 private:
  absl::Status LoadTls() {
    if (options_.insecure) {
      credentials_ = grpc::InsecureChannelCredentials();
      LogWarning("--insecure: streams to controllers are neither encrypted nor authenticated");
      return absl::OkStatus();
    }
    const v1::TlsConfig& tls = file_.tls();
    ASSIGN_OR_RETURN(tls_,
                     TlsIdentity::Load({tls.certificate_file(), tls.key_file(), tls.ca_file()}));
    const SpiffeId self = tls_->Self();
    if (self.kind != "agent" || self.region != file_.probe_region()) {
      return absl::InvalidArgumentError(
          absl::StrCat("tls.certificateFile ", tls.certificate_file(), ": found identity ",
                       self.ToString(), "; allowed: spiffe://", self.trust_domain, "/agent/",
                       file_.probe_region(), "/NAME, since probeRegion is ", file_.probe_region()));
    }
    const std::string expected = tls.controller_identity().empty()
                                     ? absl::StrCat("spiffe://", self.trust_domain, "/controller/*")
                                     : tls.controller_identity();
    credentials_ = tls_->ChannelCredentials(expected);
    return absl::OkStatus();
  }

  absl::Status StartLoop() {
    ProbeLoop::Options loop;
    loop.clock = &clock_;
    loop.metrics = &metrics_;
    loop.probes = {options_.config.allowed_hosts, file_.source_address(), file_.ca_file()};
    loop.resolver = {options_.config.resolver_servers, file_.source_address()};
    loop.on_result = [this](KeptResult result, bool changed) {
      results_.Add(std::move(result), changed);
    };
    ASSIGN_OR_RETURN(loop_, ProbeLoop::Start(std::move(loop)));
    return absl::OkStatus();
  }

  void LoadAssignment() {
    const absl::Status loaded = assignments_.LoadStored();
    if (loaded.ok()) {
      const AssignmentKeeper::Version version = assignments_.version();
      LogInfo("stored assignment in force until a controller sends a newer one",
              {{"file", file_.assignment_file()},
               {"term", version.term},
               {"generation", version.generation}});
    } else if (!absl::IsNotFound(loaded)) {
      LogError("stored assignment not used", {{"error", loaded}});
    }
  }

  absl::Status StartAdmin() {
    process_metrics_ = ProcessMetrics::Create("agent");
    process_metrics_->ConfigLoaded(Sha256Hex(file_.SerializeAsString()), true);
    AdminServer::Options admin;
    admin.address = file_.metrics_address();
    admin.live = [this]() -> AdminServer::Check {
      const absl::Duration still = clock_.Steady() - loop_->last_turn();
      if (still <= kStalled) return {};
      return {false, absl::StrCat("the probe loop has not turned for ",
                                  failover::FormatDuration(absl::Trunc(still, absl::Seconds(1))))};
    };
    admin.ready = [this]() -> AdminServer::Check {
      if (assignments_.version().assigned) return {};
      return {false, "no assignment from any controller yet"};
    };
    ASSIGN_OR_RETURN(admin_, AdminServer::Start(std::move(admin)));
    admin_->AddMetrics(process_metrics_->collectable());
    admin_->AddMetrics(metrics_.collectable());
    return absl::OkStatus();
  }

  std::unique_ptr<Reporter> Report(const std::string& controller, std::function<void()> ended) {
    Reporter::Options reporter;
    reporter.controller = controller;
    reporter.credentials = credentials_;
    reporter.hello = hello_;
    reporter.clock = &clock_;
    reporter.results = &results_;
    reporter.assignments = &assignments_;
    reporter.metrics = &metrics_;
    reporter.burst = [this](std::vector<std::string> targets) { loop_->Burst(std::move(targets)); };
    reporter.ended = std::move(ended);
    return Reporter::Start(std::move(reporter));
  }

  absl::Status StartReporters() {
    hello_.set_probe_region(file_.probe_region());
    hello_.set_instance_id(RandomHex(8));
    hello_.set_boot_id(BootId());
    hello_.set_version(FAILOVER_VERSION);
    for (const std::string& controller : file_.controllers())
      reporters_.push_back(Report(controller, nullptr));
    if (!file_.controller_replicas().empty()) {
      Replicas::Options replicas;
      replicas.names = {file_.controller_replicas().begin(), file_.controller_replicas().end()};
      replicas.resolver = {options_.config.resolver_servers, file_.source_address()};
      replicas.clock = &clock_;
      replicas.metrics = &metrics_;
      replicas.connect = [this](const std::string& address, std::function<void()> ended) {
        return Report(address, std::move(ended));
      };
      ASSIGN_OR_RETURN(replicas_, Replicas::Start(std::move(replicas)));
    }
    LogInfo("agent running", {{"probe_region", file_.probe_region()},
                              {"instance", hello_.instance_id()},
                              {"controllers", file_.controllers_size()},
                              {"controller_replicas", file_.controller_replicas_size()},
                              {"admin_port", admin_->port()}});
    return absl::OkStatus();
  }

  // Destroyed from below: reporters and loop end before what they use.
  const Options options_;
  v1::AgentConfig file_;
  Clock& clock_;
  AgentMetrics metrics_;
  ResultBuffer results_;
  std::unique_ptr<TlsIdentity> tls_;
  std::shared_ptr<grpc::ChannelCredentials> credentials_;
  std::shared_ptr<ProcessMetrics> process_metrics_;
  std::unique_ptr<ProbeLoop> loop_;
  AssignmentKeeper assignments_;
  std::unique_ptr<AdminServer> admin_;
  v1::Hello hello_;
  std::vector<std::unique_ptr<Reporter>> reporters_;
  std::unique_ptr<Replicas> replicas_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<App>> App::Start(Options options) {
  auto app = std::make_unique<RunningApp>(std::move(options));
  RETURN_IF_ERROR(app->Begin());
  return app;
}

}  // namespace failover::agent
