// Parts of config_checks.h: store, leaderElection, kubernetes, replicasAddress.
#include <utility>

#include "absl/strings/str_split.h"
#include "controller/config.h"
#include "controller/config_checks.h"
#include "controller/config_values.h"

namespace failover {
namespace {

constexpr char kDefaultName[] = "apim-failover";

void CheckStore(const v1::ControllerConfig& config, ConfigChecker& check) {
  const v1::StoreSpec& store = config.store();
  if (store.directory().empty() && !store.has_kubernetes()) {
    check.Missing("store", "directory (files) or kubernetes (ConfigMaps)");
  }
  if (!store.directory().empty() && store.has_kubernetes()) {
    check.Wrong("store", "directory and kubernetes", "one of the two");
  }
  const std::string& prefix = store.kubernetes().prefix();
  if (!prefix.empty() && !IsName(prefix)) {
    check.Wrong("store.kubernetes.prefix", prefix,
                "1 to 63 of a-z, 0-9 and '-', neither first nor last a '-'");
  }
}

kubernetes::LeaseTimes TimesOf(const v1::LeaderElectionSpec& spec) {
  kubernetes::LeaseTimes times;
  if (spec.has_lease_duration()) times.duration = FromProto(spec.lease_duration());
  if (spec.has_renew_deadline()) times.renew_deadline = FromProto(spec.renew_deadline());
  if (spec.has_retry_period()) times.retry_period = FromProto(spec.retry_period());
  if (spec.has_request_timeout()) times.request_timeout = FromProto(spec.request_timeout());
  return times;
}

void CheckElection(const v1::ControllerConfig& config, ConfigChecker& check) {
  if (!config.has_leader_election()) {
    if (config.store().has_kubernetes()) {
      check.Missing("leaderElection",
                    "how replicas elect a leader ({}: with the defaults), since "
                    "store.kubernetes is given");
    }
    return;
  }
  if (!config.store().has_kubernetes()) {
    check.Wrong("leaderElection", "it", "only with store.kubernetes");
  }
  const v1::LeaderElectionSpec& spec = config.leader_election();
  if (!spec.lease_name().empty() && !kubernetes::IsObjectName(spec.lease_name())) {
    check.Wrong("leaderElection.leaseName", spec.lease_name(),
                "a name of a Kubernetes object: labels of a-z, 0-9 and '-' with dots between");
  }
  constexpr absl::Duration kShort = absl::Milliseconds(100), kLong = absl::Hours(1);
  check.Range("leaderElection.leaseDuration", spec.has_lease_duration(), spec.lease_duration(),
              absl::Seconds(1), kLong);
  check.Range("leaderElection.renewDeadline", spec.has_renew_deadline(), spec.renew_deadline(),
              kShort, kLong);
  check.Range("leaderElection.retryPeriod", spec.has_retry_period(), spec.retry_period(), kShort,
              kLong);
  check.Range("leaderElection.requestTimeout", spec.has_request_timeout(), spec.request_timeout(),
              kShort, kLong);
  const absl::Status times = kubernetes::CheckLeaseTimes(TimesOf(spec));
  if (times.ok()) return;
  const std::pair<std::string, std::string> problem =
      absl::StrSplit(times.message(), absl::MaxSplits(": ", 1));
  check.Say(problem.first, problem.second);
}

void CheckApiServer(const v1::ControllerConfig& config, ConfigChecker& check) {
  const v1::KubernetesSpec& spec = config.kubernetes();
  if (config.has_kubernetes() && !config.store().has_kubernetes())
    check.Wrong("kubernetes", "it", "only with store.kubernetes");
  if (!spec.api_server().empty()) {
    const absl::Status server = kubernetes::CheckServer({spec.api_server(), "any", "", ""});
    if (!server.ok()) {
      check.Wrong("kubernetes.apiServer", spec.api_server(),
                  "https://HOST:PORT, or http on loopback");
    }
    if (spec.namespace_().empty())
      check.Missing("kubernetes.namespace", "where the Lease and the ConfigMaps are");
  }
  if (!spec.namespace_().empty() && !kubernetes::IsLabel(spec.namespace_()))
    check.Wrong("kubernetes.namespace", spec.namespace_(), "a namespace: 1 to 63 of a-z, 0-9, '-'");
}

}  // namespace

void CheckReplicas(const v1::ControllerConfig& config, ConfigChecker& check) {
  CheckStore(config, check);
  CheckElection(config, check);
  CheckApiServer(config, check);
  std::string host;
  int port = 0;
  if (!config.replicas_address().empty() &&
      (!ParseHostPort(config.replicas_address(), host, port) || port == 0)) {
    check.Wrong("replicasAddress", config.replicas_address(), "HOST:PORT or [IPV6]:PORT");
  }
}

std::optional<KubernetesSettings> ConvertReplicas(const v1::ControllerConfig& config,
                                                  const ConfigChecker& check) {
  if (!config.store().has_kubernetes()) return std::nullopt;
  const auto or_default = [](const std::string& text) {
    return text.empty() ? kDefaultName : text;
  };
  KubernetesSettings settings;
  settings.server = {config.kubernetes().api_server(), config.kubernetes().namespace_(),
                     check.Resolve(config.kubernetes().token_file()),
                     check.Resolve(config.kubernetes().ca_file())};
  settings.prefix = or_default(config.store().kubernetes().prefix());
  settings.lease_name = or_default(config.leader_election().lease_name());
  settings.times = TimesOf(config.leader_election());
  return settings;
}

}  // namespace failover
