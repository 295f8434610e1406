#include "controller/config.h"

#include <algorithm>
#include <cstdlib>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "common/config_file.h"
#include "common/digest.h"
#include "common/http_client.h"
#include "common/status_macros.h"
#include "controller/config_checks.h"

namespace failover {
namespace {

template <typename Text>
void DefaultText(Text* field, absl::string_view value) {
  if (field->empty()) *field = std::string(value);
}

// ---- Defaults, written into the message so that everybody sees the same ones
// (tests/testdata/config/full.yaml) ----

void DefaultProbe(const v1::TrafficSpec& traffic, v1::ProbeSpec& probe) {
  if (!probe.has_interval()) *probe.mutable_interval() = ToProto(absl::Seconds(5));
  if (!probe.has_timeout()) {
    *probe.mutable_timeout() = ToProto(std::min(absl::Seconds(2), FromProto(probe.interval())));
  }
  if (!probe.has_failure_threshold()) probe.set_failure_threshold(3);
  if (!probe.has_success_threshold()) probe.set_success_threshold(6);
  v1::HttpProbe& http = *probe.mutable_http();
  if (http.expect_status().empty()) http.add_expect_status("200");
  UrlParts parts;
  if (http.host().empty() && !traffic.public_url().empty() &&
      ParseUrl(traffic.public_url(), parts).ok()) {
    http.set_host(parts.host);
  }
}

void DefaultGroup(v1::GroupSpec& group) {
  if (group.mode() == v1::MODE_UNSPECIFIED) group.set_mode(v1::MODE_OBSERVE);
  if (!group.has_quorum()) group.set_quorum(group.probe_regions_size() / 2 + 1);
  bool decided = false;
  for (v1::ProbeSpec& probe : *group.mutable_probes()) {
    DefaultProbe(group.traffic(), probe);
    decided |= probe.decides();
  }
  if (!decided) group.mutable_probes(0)->set_decides(true);
  v1::FailoverSpec& rules = *group.mutable_failover();
  if (!rules.has_min_down_duration())
    *rules.mutable_min_down_duration() = ToProto(absl::Seconds(10));
  if (!rules.has_cooldown()) *rules.mutable_cooldown() = ToProto(absl::Minutes(30));
  if (!rules.has_max_per_day()) rules.set_max_per_day(2);
  if (rules.on_drift() == v1::ON_DRIFT_UNSPECIFIED) rules.set_on_drift(v1::ON_DRIFT_PROCEED);
  if (group.traffic().has_traffic_manager()) {
    DefaultText(group.mutable_traffic()->mutable_traffic_manager()->mutable_endpoint_type(),
                "ExternalEndpoints");
  }
  if (!group.has_sync()) return;
  v1::SyncSpec& sync = *group.mutable_sync();
  if (!sync.has_backup_lifetime()) *sync.mutable_backup_lifetime() = ToProto(absl::Hours(24 * 30));
  if (sync.storage().access() == v1::STORAGE_ACCESS_UNSPECIFIED) {
    sync.mutable_storage()->set_access(v1::STORAGE_ACCESS_SYSTEM_ASSIGNED_IDENTITY);
  }
}

struct CloudEndpoints {
  absl::string_view arm, authority, scope, blob;
};

// azure.md §6.2.
CloudEndpoints EndpointsOf(v1::Cloud cloud) {
  switch (cloud) {
    case v1::CLOUD_US_GOVERNMENT:
      return {"https://management.usgovcloudapi.net", "https://login.microsoftonline.us",
              "https://management.usgovcloudapi.net/.default",
              "https://{account}.blob.core.usgovcloudapi.net"};
    case v1::CLOUD_CHINA:
      return {"https://management.chinacloudapi.cn", "https://login.chinacloudapi.cn",
              "https://management.chinacloudapi.cn/.default",
              "https://{account}.blob.core.chinacloudapi.cn"};
    default:
      return {"https://management.azure.com", "https://login.microsoftonline.com",
              "https://management.azure.com/.default", "https://{account}.blob.core.windows.net"};
  }
}

// What the webhook of workload identity says to the pod, where the file does not say it.
void FillFromEnvironment(v1::AzureSpec& azure) {
  if (azure.auth() != v1::AZURE_AUTH_WORKLOAD_IDENTITY) return;
  const auto fill = [](const char* name, std::string* field) {
    const char* const value = std::getenv(name);
    if (value != nullptr) DefaultText(field, absl::StripAsciiWhitespace(value));
  };
  fill("AZURE_TENANT_ID", azure.mutable_tenant_id());
  fill("AZURE_CLIENT_ID", azure.mutable_client_id());
  fill("AZURE_AUTHORITY_HOST", azure.mutable_authority_endpoint());
  fill("AZURE_FEDERATED_TOKEN_FILE", azure.mutable_federated_token_file());
}

void DefaultAzure(v1::AzureSpec& azure) {
  if (azure.cloud() == v1::CLOUD_UNSPECIFIED) azure.set_cloud(v1::CLOUD_PUBLIC);
  if (azure.auth() == v1::AZURE_AUTH_UNSPECIFIED) azure.set_auth(v1::AZURE_AUTH_CLIENT_SECRET);
  const CloudEndpoints cloud = EndpointsOf(azure.cloud());
  DefaultText(azure.mutable_arm_endpoint(), cloud.arm);
  DefaultText(azure.mutable_authority_endpoint(), cloud.authority);
  DefaultText(azure.mutable_arm_scope(), cloud.scope);
  DefaultText(azure.mutable_blob_endpoint(), cloud.blob);
  DefaultText(azure.mutable_imds_endpoint(), "http://169.254.169.254");
  DefaultText(azure.mutable_api_version(), "2022-08-01");
  DefaultText(azure.mutable_traffic_manager_api_version(), "2022-04-01");
  for (std::string* url : {azure.mutable_arm_endpoint(), azure.mutable_authority_endpoint(),
                           azure.mutable_blob_endpoint(), azure.mutable_imds_endpoint()}) {
    while (!url->empty() && url->back() == '/') url->pop_back();
  }
}

void DefaultTiming(v1::TimingSpec& timing) {
  const core::Timing defaults;
  if (!timing.has_verify_reads_per_second()) timing.set_verify_reads_per_second(10);
  if (!timing.has_ambiguity_wait())
    *timing.mutable_ambiguity_wait() = ToProto(defaults.ambiguity_wait);
  if (!timing.has_ambiguity_watch())
    *timing.mutable_ambiguity_watch() = ToProto(defaults.ambiguity_watch);
  if (!timing.has_freeze_hold()) *timing.mutable_freeze_hold() = ToProto(defaults.freeze_hold);
  if (!timing.has_freeze_thaw()) *timing.mutable_freeze_thaw() = ToProto(defaults.freeze_thaw);
}

void ApplyDefaults(bool insecure, v1::ControllerConfig& config) {
  for (v1::GroupSpec& group : *config.mutable_failover_groups()) DefaultGroup(group);
  DefaultAzure(*config.mutable_azure());
  DefaultTiming(*config.mutable_timing());
  DefaultText(config.mutable_agent_address(), DefaultAddress(insecure, kAgentPort));
  DefaultText(config.mutable_operator_address(), DefaultAddress(insecure, kOperatorPort));
  DefaultText(config.mutable_metrics_address(), DefaultAddress(insecure, kMetricsPort));
}

// ---- Conversion ----

core::Mode ModeOf(v1::Mode mode) {
  switch (mode) {
    case v1::MODE_MANUAL:
      return core::Mode::kManual;
    case v1::MODE_APPROVE:
      return core::Mode::kApprove;
    case v1::MODE_AUTOMATIC:
      return core::Mode::kAutomatic;
    default:
      return core::Mode::kObserve;
  }
}

// In the words of ARM's backup body.
std::string AccessOf(v1::StorageAccess access) {
  switch (access) {
    case v1::STORAGE_ACCESS_ACCESS_KEY:
      return "AccessKey";
    case v1::STORAGE_ACCESS_USER_ASSIGNED_IDENTITY:
      return "UserAssignedManagedIdentity";
    default:
      return "SystemAssignedManagedIdentity";
  }
}

// One length-prefixed line a value: no two probes have the same text by accident of their values.
void AddLine(absl::string_view name, absl::string_view value, std::string& text) {
  absl::StrAppend(&text, name, " ", value.size(), ":", value, "\n");
}

// Everything that changes what the probe's results mean, the gateways' configured addresses
// included.
std::string DefinitionOf(const v1::GroupSpec& group, const v1::ProbeSpec& probe) {
  std::string text;
  const v1::HttpProbe& http = probe.http();
  AddLine("path", http.path(), text);
  for (const std::string& status : http.expect_status()) AddLine("status", status, text);
  AddLine("regex", http.expect_body_regex(), text);
  AddLine("host", http.host(), text);
  for (const auto& [name, value] :
       std::map<std::string, std::string>(http.headers().begin(), http.headers().end())) {
    AddLine("header", name, text);
    AddLine("value", value, text);
  }
  AddLine("interval", failover::FormatDuration(FromProto(probe.interval())), text);
  AddLine("timeout", failover::FormatDuration(FromProto(probe.timeout())), text);
  AddLine("thresholds", absl::StrCat(probe.failure_threshold(), " ", probe.success_threshold()),
          text);
  AddLine("decides", probe.decides() ? "1" : "0", text);
  AddLine("reuse", probe.reuse_connection() ? "1" : "0", text);
  for (const v1::ServiceSpec& service : group.services()) {
    AddLine("gateway", absl::StrCat(service.name(), " ", service.gateway_url()), text);
  }
  return text;
}

void ConvertProbes(const v1::GroupSpec& spec, core::GroupConfig& group) {
  for (int i = 0; i < spec.probes_size(); ++i) {
    const v1::ProbeSpec& probe = spec.probes(i);
    group.probes.push_back({probe.name(), DefinitionOf(spec, probe), FromProto(probe.interval()),
                            FromProto(probe.timeout()), probe.failure_threshold(),
                            probe.success_threshold()});
    if (probe.decides()) group.deciding_probe = i;
  }
}

core::Timing ConvertTiming(const v1::TimingSpec& timing) {
  return {FromProto(timing.ambiguity_wait()), FromProto(timing.ambiguity_watch()),
          FromProto(timing.freeze_hold()), FromProto(timing.freeze_thaw())};
}

core::GroupConfig ConvertGroup(const v1::ControllerConfig& config, const v1::GroupSpec& spec,
                               uint64_t generation) {
  core::GroupConfig group;
  group.name = spec.name();
  group.generation = generation;
  group.mode = ModeOf(spec.mode());
  if (spec.objectives().has_rpo()) group.rpo_objective = FromProto(spec.objectives().rpo());
  if (spec.objectives().has_rto()) group.rto_objective = FromProto(spec.objectives().rto());
  for (const v1::ServiceSpec& service : spec.services()) {
    group.services.push_back(
        {service.name(), service.region(), service.resource_id(), service.gateway_url()});
  }
  ConvertProbes(spec, group);
  group.probe_regions.assign(spec.probe_regions().begin(), spec.probe_regions().end());
  group.quorum = spec.quorum();
  group.control_targets.assign(spec.control_targets().begin(), spec.control_targets().end());
  group.controller_region = config.controller_region();
  group.min_down_duration = FromProto(spec.failover().min_down_duration());
  group.cooldown = FromProto(spec.failover().cooldown());
  group.max_per_day = spec.failover().max_per_day();
  if (spec.failover().has_max_data_loss())
    group.max_data_loss = FromProto(spec.failover().max_data_loss());
  group.drift_blocks = spec.failover().on_drift() == v1::ON_DRIFT_BLOCK;
  group.public_url = spec.traffic().public_url();
  group.served_by_header = spec.traffic().served_by().header();
  group.has_traffic = spec.traffic().has_traffic_manager();
  if (spec.has_sync()) {
    const v1::StorageSpec& storage = spec.sync().storage();
    group.sync_interval = FromProto(spec.sync().interval());
    group.storage = {storage.account(), storage.container(), AccessOf(storage.access()),
                     storage.client_id()};
    group.backup_lifetime = FromProto(spec.sync().backup_lifetime());
  }
  group.timing = ConvertTiming(config.timing());
  return group;
}

azure::GroupAzure ConvertGroupAzure(const v1::GroupSpec& spec) {
  azure::GroupAzure group;
  group.group = spec.name();
  for (const v1::ServiceSpec& service : spec.services())
    group.resource_ids[service.name()] = service.resource_id();
  group.storage_access_key_file = spec.sync().storage().access_key_file();
  const v1::TrafficManagerSpec& manager = spec.traffic().traffic_manager();
  group.traffic_manager_profile = manager.profile_resource_id();
  group.traffic_manager_endpoint_type = manager.endpoint_type();
  group.traffic_endpoints.insert(manager.endpoints().begin(), manager.endpoints().end());
  group.verify_ignore.assign(spec.sync().verify().ignore().begin(),
                             spec.sync().verify().ignore().end());
  return group;
}

azure::Auth AuthOf(v1::AzureAuth auth) {
  switch (auth) {
    case v1::AZURE_AUTH_WORKLOAD_IDENTITY:
      return azure::Auth::kWorkloadIdentity;
    case v1::AZURE_AUTH_MANAGED_IDENTITY:
      return azure::Auth::kManagedIdentity;
    default:
      return azure::Auth::kClientSecret;
  }
}

azure::AzureOptions ConvertAzure(const v1::AzureSpec& azure) {
  azure::AzureOptions options;
  options.auth = AuthOf(azure.auth());
  options.tenant_id = azure.tenant_id();
  options.client_id = azure.client_id();
  options.client_secret_file = azure.client_secret_file();
  options.federated_token_file = azure.federated_token_file();
  options.imds_endpoint = azure.imds_endpoint();
  options.arm_endpoint = azure.arm_endpoint();
  options.authority_endpoint = azure.authority_endpoint();
  options.arm_scope = azure.arm_scope();
  options.blob_endpoint = azure.blob_endpoint();
  options.api_version = azure.api_version();
  options.traffic_manager_api_version = azure.traffic_manager_api_version();
  options.ca_file = azure.ca_file();
  return options;
}

// Every path of a file in the configuration, from the configuration's directory.
void ResolveFiles(const ConfigChecker& check, v1::ControllerConfig& config) {
  std::vector<std::string*> files = {config.mutable_store()->mutable_directory(),
                                     config.mutable_azure()->mutable_client_secret_file(),
                                     config.mutable_azure()->mutable_federated_token_file(),
                                     config.mutable_azure()->mutable_ca_file()};
  if (config.has_tls()) {
    files.insert(files.end(), {config.mutable_tls()->mutable_certificate_file(),
                               config.mutable_tls()->mutable_key_file(),
                               config.mutable_tls()->mutable_ca_file()});
  }
  for (v1::GroupSpec& group : *config.mutable_failover_groups()) {
    if (group.has_sync())
      files.push_back(group.mutable_sync()->mutable_storage()->mutable_access_key_file());
  }
  for (std::string* file : files) *file = check.Resolve(*file);
}

}  // namespace

absl::StatusOr<ControllerSettings> LoadControllerConfig(const std::string& file,
                                                        uint64_t generation, bool insecure) {
  ASSIGN_OR_RETURN(const std::string text, ReadSmallFile(file));
  v1::ControllerConfig config;
  ConfigPlaces places;
  ConfigProblems problems(file);
  ParseYaml(text, config, places, problems);
  FillFromEnvironment(*config.mutable_azure());
  ConfigChecker check(file, insecure, places, problems);
  CheckController(config, check);
  CheckGroups(config, check);
  RETURN_IF_ERROR(problems.ToStatus());
  ApplyDefaults(insecure, config);
  ResolveFiles(check, config);

  ControllerSettings settings;
  for (const v1::GroupSpec& group : config.failover_groups()) {
    settings.runtime.groups.push_back(
        {group, ConvertGroup(config, group, generation), ConvertGroupAzure(group)});
  }
  settings.runtime.controller_region = config.controller_region();
  settings.runtime.verify_reads_per_second = config.timing().verify_reads_per_second();
  settings.runtime.azure = ConvertAzure(config.azure());
  settings.runtime.generation = generation;
  settings.runtime.hash = Sha256Hex(text);
  settings.tls = {config.tls().certificate_file(), config.tls().key_file(), config.tls().ca_file()};
  settings.agent_address = config.agent_address();
  settings.operator_address = config.operator_address();
  settings.metrics_address = config.metrics_address();
  settings.replicas_address = config.replicas_address();
  settings.store_directory = config.store().directory();
  settings.kubernetes = ConvertReplicas(config, check);
  return settings;
}

}  // namespace failover
