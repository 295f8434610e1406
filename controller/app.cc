#include "controller/app.h"

#include <csignal>
#include <cstdio>
#include <fstream>
#include <map>
#include <memory>
#include <utility>

#include <unistd.h>

#include "absl/strings/str_cat.h"
#include "common/admin_server.h"
#include "common/clock.h"
#include "common/config_file.h"
#include "common/exposition.h"
#include "common/grpc_server_metrics.h"
#include "common/http_client.h"
#include "common/log.h"
#include "common/mutex.h"
#include "common/status_macros.h"
#include "common/tls.h"
#include "controller/config.h"
#include "controller/intake/intake.h"
#include "controller/metrics/metrics.h"
#include "controller/operators/operators.h"
#include "controller/replica.h"
#include "controller/runtime/control_loop.h"
#include "controller/store/file_store.h"

namespace failover {
namespace {

constexpr absl::Duration kStuck =
    absl::Seconds(30);  // the core thread has not turned for so long: not alive

std::string HostOf(const std::string& address) { return address.substr(0, address.rfind(':')); }

// The addresses with the ports that were really opened, for whoever started us with port 0.
absl::Status WriteAddresses(const std::string& file, const ControllerSettings& settings, int agent,
                            int operators, int metrics) {
  if (file.empty()) return absl::OkStatus();
  const std::string temporary = absl::StrCat(file, ".new");
  std::ofstream out(temporary, std::ios::trunc);
  out << "{\"agent\":\"" << HostOf(settings.agent_address) << ":" << agent << "\",\"operator\":\""
      << HostOf(settings.operator_address) << ":" << operators << "\",\"metrics\":\""
      << HostOf(settings.metrics_address) << ":" << metrics << "\"}\n";
  out.close();
  if (!out || std::rename(temporary.c_str(), file.c_str()) != 0) {
    return absl::UnavailableError(absl::StrCat("the address file ", file, " cannot be written"));
  }
  return absl::OkStatus();
}

bool SameAzure(const azure::AzureOptions& a, const azure::AzureOptions& b) {
  return a.auth == b.auth && a.tenant_id == b.tenant_id && a.client_id == b.client_id &&
         a.client_secret_file == b.client_secret_file &&
         a.federated_token_file == b.federated_token_file && a.imds_endpoint == b.imds_endpoint &&
         a.arm_endpoint == b.arm_endpoint && a.authority_endpoint == b.authority_endpoint &&
         a.arm_scope == b.arm_scope && a.blob_endpoint == b.blob_endpoint &&
         a.api_version == b.api_version &&
         a.traffic_manager_api_version == b.traffic_manager_api_version && a.ca_file == b.ca_file;
}

// What a running process cannot change; empty when `next` differs only in what it can.
std::string NeedsRestart(const ControllerSettings& now, const ControllerSettings& next) {
  if (!SameAzure(now.runtime.azure, next.runtime.azure)) return "azure";
  if (now.agent_address != next.agent_address) return "agentAddress";
  if (now.operator_address != next.operator_address) return "operatorAddress";
  if (now.metrics_address != next.metrics_address) return "metricsAddress";
  if (now.replicas_address != next.replicas_address) return "replicasAddress";
  if (now.store_directory != next.store_directory) return "store.directory";
  if (now.kubernetes != next.kubernetes) return "store, leaderElection or kubernetes";
  if (now.tls.certificate_file != next.tls.certificate_file ||
      now.tls.key_file != next.tls.key_file || now.tls.ca_file != next.tls.ca_file) {
    return "tls";
  }
  return "";
}

// Reads the changed file and puts it in force, or leaves the old configuration and says why.
// Outlives the loop's last turn.
class Reloader {
 public:
  Reloader(AppOptions options, ControllerSettings settings, runtime::ControlLoop& loop,
           ProcessMetrics& metrics)
      : options_(std::move(options)),
        settings_(std::move(settings)),
        loop_(loop),
        metrics_(metrics) {
    hash_ = settings_.runtime.hash;
    metrics_.ConfigLoaded(hash_, true);
  }

  void Reload() {  // one thread: the file watcher's
    absl::StatusOr<ControllerSettings> next = LoadControllerConfig(
        options_.config_file, settings_.runtime.generation + 1, options_.insecure);
    if (!next.ok()) return Refuse(next.status());
    if (std::string what = NeedsRestart(settings_, *next); !what.empty()) {
      return Refuse(absl::FailedPreconditionError(
          absl::StrCat("a change of ", what, " needs a restart of the controller")));
    }
    settings_.runtime.generation = next->runtime.generation;
    loop_.Reconfigure(next->runtime, [this, hash = next->runtime.hash](const absl::Status& status) {
      if (!status.ok()) return Refuse(status);
      MutexLock lock(mutex_);
      hash_ = hash;
      metrics_.ConfigLoaded(hash_, true);
    });
  }

 private:
  void Refuse(const absl::Status& why) {
    LogError("the changed configuration is refused; the old one stays in force",
             {{"file", options_.config_file}, {"error", why.message()}});
    {
      MutexLock lock(mutex_);
      metrics_.ConfigLoaded(hash_, false);
    }
    loop_.SetConfigError(std::string(why.message()));
  }

  const AppOptions options_;
  ControllerSettings settings_;  // of the start, but for the generation: the watcher's thread
  runtime::ControlLoop& loop_;
  ProcessMetrics& metrics_;
  Mutex mutex_;  // the watcher's thread and the core thread both tell the metrics
  std::string hash_ ABSL_GUARDED_BY(mutex_);  // of the file in force
};

int WaitForSignal() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  int received = 0;
  while (sigwait(&signals, &received) != 0) {
  }
  return received;
}

// `replica` may be null.
absl::StatusOr<std::unique_ptr<AdminServer>> StartAdmin(
    const std::string& address, runtime::ControlLoop& loop, const Replica* replica,
    std::shared_ptr<const Exemplars> exemplars) {
  AdminServer::Options admin;
  admin.exemplars = std::move(exemplars);
  admin.address = address;
  admin.live = [&loop, replica]() -> AdminServer::Check {
    const absl::Duration idle = loop.Idle();
    if (idle >= kStuck) {
      return {false,
              absl::StrCat("the core thread has not turned for ", absl::FormatDuration(idle))};
    }
    const absl::Status election = replica == nullptr ? absl::OkStatus() : replica->Live();
    return {election.ok(), election.ok() ? "ok" : std::string(election.message())};
  };
  admin.ready = admin.started = [&loop]() -> AdminServer::Check {
    return {loop.started(),
            loop.started() ? "ok" : "the state of the failover groups is being loaded"};
  };
  return AdminServer::Start(std::move(admin));
}

std::unique_ptr<runtime::ControlLoop> MakeLoop(const ControllerSettings& settings,
                                               store::Store& store, Replica* replica,
                                               std::string identity, metrics::Metrics& metrics) {
  runtime::ControlLoopOptions options;
  options.settings = settings.runtime;
  options.store = &store;
  options.clock = &RealClock();
  options.identity = std::move(identity);
  options.metrics = &metrics;
  // Azure's logs then tell the replicas apart.
  const std::string user_agent =
      replica == nullptr ? ""
                         : absl::StrCat("apim-failover/" FAILOVER_VERSION " (", PodName(), ")");
  options.make_http = [ca_file = settings.runtime.azure.ca_file, user_agent](
                          std::stop_token stop, std::function<absl::Status()> may_send) {
    return NewCurlHttpClient({ca_file, user_agent, std::move(stop), std::move(may_send)});
  };
  if (replica != nullptr) {
    options.election = replica->Election();
    options.on_history = [replica](const std::string& group, const v1::HistoryEntry& entry) {
      replica->OnHistory(group, entry);
    };
  }
  return runtime::ControlLoop::Create(std::move(options));
}

// Before any thread exists, so that WaitForSignal alone receives them.
void BlockSignals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  signal(SIGPIPE, SIG_IGN);  // a peer that goes, or a log nobody reads, is an error of one write
}

// Null with --insecure.
absl::StatusOr<std::unique_ptr<TlsIdentity>> OwnIdentity(const AppOptions& options,
                                                         const ControllerSettings& settings) {
  if (options.insecure) return nullptr;
  ASSIGN_OR_RETURN(std::unique_ptr<TlsIdentity> tls, TlsIdentity::Load(settings.tls));
  if (tls->Self().kind != "controller") {
    return absl::InvalidArgumentError(
        absl::StrCat(settings.tls.certificate_file, ": found the identity ", tls->Self().ToString(),
                     "; allowed: spiffe://<trust domain>/controller/<name>"));
  }
  return tls;
}

// `tls` may be null and outlives the metrics.
std::shared_ptr<ProcessMetrics> MetricsOfProcess(const TlsIdentity* tls) {
  std::shared_ptr<ProcessMetrics> process = ProcessMetrics::Create("controller");
  if (tls != nullptr) {
    process->CertificatesFrom([tls]() -> std::map<std::string, double> {
      return {{"server", absl::ToUnixSeconds(tls->CertificateExpiry())},
              {"ca", absl::ToUnixSeconds(tls->CaExpiry())}};
    });
  }
  return process;
}

// Without what comes from the loop. What is pointed to outlives the servers.
intake::IntakeOptions IntakeOf(const ControllerSettings& settings, TlsIdentity* tls,
                               GrpcServerMetrics* grpc_metrics) {
  intake::IntakeOptions options;
  options.address = settings.agent_address;
  options.tls = tls;
  options.clock = &RealClock();
  options.grpc_metrics = grpc_metrics;
  options.replicas_address = settings.replicas_address;
  return options;
}
operators::OperatorServerOptions OperatorsOf(const ControllerSettings& settings, TlsIdentity* tls,
                                             GrpcServerMetrics* grpc_metrics) {
  operators::OperatorServerOptions options;
  options.address = settings.operator_address;
  options.tls = tls;
  options.grpc_metrics = grpc_metrics;
  return options;
}

}  // namespace

absl::Status RunController(const AppOptions& options) {
  BlockSignals();
  ASSIGN_OR_RETURN(ControllerSettings settings,
                   LoadControllerConfig(options.config_file, 1, options.insecure));
  ASSIGN_OR_RETURN(const std::unique_ptr<TlsIdentity> tls, OwnIdentity(options, settings));
  // Set before the first scrape; metrics outlive what tells them.
  runtime::ControlLoop* loop_for_metrics = nullptr;
  const Replica* replica_for_metrics = nullptr;
  std::shared_ptr<metrics::Metrics> metrics =
      metrics::Metrics::Create([&loop_for_metrics, &replica_for_metrics] {
        metrics::Snapshot snapshot = loop_for_metrics->Snapshot();
        if (replica_for_metrics != nullptr) snapshot.election = replica_for_metrics->State();
        return snapshot;
      });
  std::unique_ptr<Replica> replica;
  std::unique_ptr<store::Store> files;
  if (settings.kubernetes.has_value()) {
    ASSIGN_OR_RETURN(replica, Replica::Create(*settings.kubernetes, *metrics));
    replica_for_metrics = replica.get();
  } else {
    ASSIGN_OR_RETURN(files, store::OpenFileStore({settings.store_directory}));
  }
  std::unique_ptr<runtime::ControlLoop> loop =
      MakeLoop(settings, replica != nullptr ? replica->store() : *files, replica.get(),
               tls ? tls->Self().ToString() : "insecure", *metrics);
  loop_for_metrics = loop.get();
  const std::shared_ptr<ProcessMetrics> process = MetricsOfProcess(tls.get());
  const std::shared_ptr<GrpcServerMetrics> grpc_metrics = GrpcServerMetrics::Create();
  intake::IntakeOptions intake_options = IntakeOf(settings, tls.get(), grpc_metrics.get());
  intake_options.sink = [&loop](intake::AgentInput input) {
    return loop->Receive(std::move(input));
  };
  ASSIGN_OR_RETURN(std::unique_ptr<intake::Intake> intake,
                   intake::Intake::Start(std::move(intake_options)));
  loop->Start(intake.get());
  operators::OperatorServerOptions operator_options =
      OperatorsOf(settings, tls.get(), grpc_metrics.get());
  operator_options.handlers = loop->OperatorHandlers();
  absl::StatusOr<std::unique_ptr<operators::OperatorServer>> operators =
      operators::OperatorServer::Start(std::move(operator_options));
  absl::StatusOr<std::unique_ptr<AdminServer>> admin =
      StartAdmin(settings.metrics_address, *loop, replica.get(), metrics->exemplars());
  absl::Status status = operators.ok() ? admin.status() : operators.status();
  if (status.ok()) {
    for (const std::weak_ptr<prometheus::Collectable>& collectable : metrics->collectables())
      (*admin)->AddMetrics(collectable);
    (*admin)->AddMetrics(process->collectable());
    (*admin)->AddMetrics(grpc_metrics->collectable());
    status = WriteAddresses(options.address_file, settings, intake->port(), (*operators)->port(),
                            (*admin)->port());
  }
  if (status.ok() && replica != nullptr) status = replica->Join(*loop);
  Reloader reloader(options, settings, *loop, *process);
  if (status.ok()) {
    FileWatcher watcher({options.config_file}, [&reloader] { reloader.Reload(); });
    LogInfo("controller started", {{"version", FAILOVER_VERSION},
                                   {"groups", static_cast<int>(settings.runtime.groups.size())},
                                   {"agent_port", intake->port()},
                                   {"operator_port", (*operators)->port()},
                                   {"metrics_port", (*admin)->port()}});
    LogInfo("stopping", {{"signal", WaitForSignal()}});
  }
  // From the outside in. Operations of Azure go on: the next leader polls them.
  if (admin.ok()) admin->reset();
  if (operators.ok()) operators->reset();
  loop->Stop();
  if (replica != nullptr) replica->Leave();
  intake.reset();
  return status;
}

}  // namespace failover
