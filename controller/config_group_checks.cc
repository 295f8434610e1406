// CheckGroups of config_checks.h: what makes a failover group impossible.
#include <algorithm>
#include <set>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/digest.h"
#include "common/http_client.h"
#include "controller/config_checks.h"
#include "controller/config_values.h"

namespace failover {
namespace {

constexpr int kMaxGroups = 1000, kMaxServices = 16, kMaxProbes = 8, kMaxRegions = 32,
              kMaxControlTargets = 16;
constexpr int kMaxHeaders = 32, kMaxPatterns = 64;
constexpr absl::Duration kDay = absl::Hours(24);
constexpr absl::string_view kResourceId =
    "/subscriptions/ID/resourceGroups/NAME/providers/Microsoft.ApiManagement/service/NAME";

std::string At(const std::string& path, int index) { return absl::StrCat(path, "[", index, "]"); }

void Count(const std::string& path, int found, int low, int high, absl::string_view what,
           ConfigChecker& check) {
  if (found < low || found > high) {
    check.Say(path, absl::StrCat("found ", found, "; allowed: ", low, " to ", high, " ", what));
  }
}

// Names that several groups must not share, with the path where each was first found.
struct Shared {
  std::map<std::string, std::string> groups, resource_ids, gateways, profiles;
};

void CheckServices(const v1::GroupSpec& group, const std::string& path, Shared& shared,
                   ConfigChecker& check) {
  Count(path + ".services", group.services_size(), 2, kMaxServices,
        "services, an active one and its standbys", check);
  std::map<std::string, std::string> names;
  for (int i = 0; i < group.services_size(); ++i) {
    const v1::ServiceSpec& service = group.services(i);
    const std::string at = At(path + ".services", i);
    check.Name(at + ".name", service.name());
    check.Unique(at + ".name", service.name(), service.name(), names,
                 "each service name once in a group");
    check.Name(at + ".region", service.region());
    const std::string& id = service.resource_id();
    if (check.Require(at + ".resourceId", id,
                      IsResourceId(id, "Microsoft.ApiManagement", "service"), kResourceId)) {
      check.Unique(at + ".resourceId", id, absl::AsciiStrToLower(id), shared.resource_ids,
                   "each API Management service once, whatever the case of its id");
    }
    if (service.gateway_url().empty()) continue;
    UrlParts parts;
    check.Url(at + ".gatewayUrl", service.gateway_url());
    if (!ParseUrl(service.gateway_url(), parts).ok()) continue;
    if (absl::StrContains(parts.path_and_query, '?')) {
      check.Wrong(at + ".gatewayUrl", service.gateway_url(), "a URL without a query");
    }
    check.Unique(
        at + ".gatewayUrl", service.gateway_url(),
        absl::StrCat(parts.scheme, "://", parts.host, ":", parts.port, parts.path_and_query),
        shared.gateways, "each gateway for one service");
  }
}

void CheckHeaders(const v1::HttpProbe& http, const std::string& path, ConfigChecker& check) {
  Count(path, http.headers_size(), 0, kMaxHeaders, "headers", check);
  static const auto* const kOwn = new std::set<std::string>{
      "host", "connection", "content-length", "transfer-encoding", "upgrade", "te", "trailer"};
  std::map<std::string, std::string> names;
  for (const auto& [name, value] :
       std::map<std::string, std::string>(http.headers().begin(), http.headers().end())) {
    const std::string at = absl::StrCat(path, ".", name);
    const std::string lower = absl::AsciiStrToLower(name);
    if (!IsToken(name)) {
      check.Wrong(path, name, "a header name: letters, digits and !#$%&'*+-.^_`|~");
    } else if (kOwn->contains(lower)) {
      check.Wrong(at, name,
                  lower == "host" ? "other headers; the public host name is set by http.host"
                                  : "other headers; this one belongs to the connection");
    } else {
      check.Unique(at, name, lower, names, "each header once");
    }
    if (!IsHeaderValue(value)) {  // may be a key: never shown
      check.Say(at,
                "found a value with a line break or another control character, or of more than "
                "1024 bytes; "
                "allowed: printable ASCII");
    }
  }
}

void CheckHttp(const v1::HttpProbe& http, const std::string& path, ConfigChecker& check) {
  const std::string& target = http.path();
  const bool plain = target.size() <= 2048 && absl::StartsWith(target, "/") &&
                     std::all_of(target.begin(), target.end(),
                                 [](char c) { return c > ' ' && c <= '~' && c != '#'; });
  check.Require(path + ".path", target, plain,
                "a path beginning with '/', without spaces or '#', percent-encoded");
  Count(path + ".expectStatus", http.expect_status_size(), 0, kMaxHeaders, "forms", check);
  for (int i = 0; i < http.expect_status_size(); ++i) {
    const std::string& status = http.expect_status(i);
    check.Require(At(path + ".expectStatus", i), status, IsStatusRange(status),
                  "a status such as \"200\" or a range such as \"200-299\", 100 to 599");
  }
  check.Regex(path + ".expectBodyRegex", http.expect_body_regex());
  if (!http.host().empty() && !IsHostName(http.host())) {
    check.Wrong(path + ".host", http.host(), "a host name without scheme, port and path");
  }
  CheckHeaders(http, path + ".headers", check);
}

void CheckCadence(const v1::ProbeSpec& probe, const std::string& path, ConfigChecker& check) {
  constexpr absl::Duration kShortest = absl::Milliseconds(50), kLongestTimeout = absl::Minutes(1);
  check.Range(path + ".interval", probe.has_interval(), probe.interval(), kShortest,
              absl::Minutes(10));
  check.Range(path + ".timeout", probe.has_timeout(), probe.timeout(), absl::Milliseconds(10),
              kLongestTimeout);
  const absl::Duration interval =
      probe.has_interval() ? FromProto(probe.interval()) : absl::Seconds(5);
  const absl::Duration timeout = FromProto(probe.timeout());
  if (probe.has_timeout() && interval >= kShortest && timeout > interval &&
      timeout <= kLongestTimeout) {
    check.Wrong(path + ".timeout", failover::FormatDuration(timeout),
                absl::StrCat("at most the interval, ", failover::FormatDuration(interval)));
  }
}

void CheckProbes(const v1::GroupSpec& group, const std::string& path, ConfigChecker& check) {
  Count(path + ".probes", group.probes_size(), 1, kMaxProbes, "probes", check);
  std::map<std::string, std::string> names;
  int deciding = 0;
  for (int i = 0; i < group.probes_size(); ++i) {
    const v1::ProbeSpec& probe = group.probes(i);
    const std::string at = At(path + ".probes", i);
    check.Name(at + ".name", probe.name());
    check.Unique(at + ".name", probe.name(), probe.name(), names,
                 "each probe name once in a group");
    CheckHttp(probe.http(), at + ".http", check);
    CheckCadence(probe, at, check);
    if (probe.has_failure_threshold())
      check.Range(at + ".failureThreshold", probe.failure_threshold(), 1, 20);
    if (probe.has_success_threshold())
      check.Range(at + ".successThreshold", probe.success_threshold(), 1, 100);
    if (probe.decides() && ++deciding == 2) {
      check.Wrong(at + ".decides", "true",
                  "one deciding probe in a group (default: the first probe)");
    }
  }
}

void CheckQuorum(const v1::GroupSpec& group, const std::string& path, ConfigChecker& check) {
  const int regions = group.probe_regions_size();
  Count(path + ".probeRegions", regions, 1, kMaxRegions, "probe regions", check);
  std::map<std::string, std::string> names;
  for (int i = 0; i < regions; ++i) {
    check.Name(At(path + ".probeRegions", i), group.probe_regions(i));
    check.Unique(At(path + ".probeRegions", i), group.probe_regions(i), group.probe_regions(i),
                 names, "each probe region once");
  }
  if (regions == 0) return;
  if (group.has_quorum() && (group.quorum() < 1 || group.quorum() > regions)) {
    check.Wrong(path + ".quorum", absl::StrCat(group.quorum()),
                absl::StrCat("1 to ", regions, ", the number of probeRegions"));
  } else if (group.mode() == v1::MODE_AUTOMATIC && group.has_quorum() &&
             2 * group.quorum() <= regions) {
    check.Wrong(
        path + ".quorum", absl::StrCat(group.quorum()),
        absl::StrCat("with mode automatic more than half of the ", regions, " probeRegions"));
  }
  if (group.mode() == v1::MODE_AUTOMATIC && regions < 3) {
    check.Say(path + ".probeRegions",
              absl::StrCat("found ", regions, "; allowed: with mode automatic at least 3"));
  }
}

void CheckObjectives(const v1::GroupSpec& group, const std::string& path, ConfigChecker& check) {
  const v1::Objectives& objectives = group.objectives();
  check.Range(path + ".objectives.rpo", objectives.has_rpo(), objectives.rpo(), absl::Seconds(1),
              365 * kDay);
  check.Range(path + ".objectives.rto", objectives.has_rto(), objectives.rto(), absl::Seconds(1),
              7 * kDay);
  const v1::FailoverSpec& rules = group.failover();
  check.Range(path + ".failover.minDownDuration", rules.has_min_down_duration(),
              rules.min_down_duration(), absl::ZeroDuration(), absl::Hours(1));
  check.Range(path + ".failover.cooldown", rules.has_cooldown(), rules.cooldown(), absl::Seconds(1),
              7 * kDay);
  if (rules.has_max_per_day())
    check.Range(path + ".failover.maxPerDay", rules.max_per_day(), 1, 100);
  check.Range(path + ".failover.maxDataLoss", rules.has_max_data_loss(), rules.max_data_loss(),
              absl::Seconds(1), 365 * kDay);
}

void CheckControlTargets(const v1::GroupSpec& group, const std::string& path,
                         ConfigChecker& check) {
  Count(path + ".controlTargets", group.control_targets_size(), 0, kMaxControlTargets, "URLs",
        check);
  std::map<std::string, std::string> urls;
  for (int i = 0; i < group.control_targets_size(); ++i) {
    const std::string at = At(path + ".controlTargets", i);
    check.Url(at, group.control_targets(i));
    check.Unique(at, group.control_targets(i), group.control_targets(i), urls, "each URL once");
  }
}

void CheckEndpoints(const v1::GroupSpec& group, const std::string& path, ConfigChecker& check) {
  const auto& endpoints = group.traffic().traffic_manager().endpoints();
  std::vector<std::string> services;
  for (const v1::ServiceSpec& service : group.services()) {
    services.push_back(service.name());
    if (!service.name().empty() && !endpoints.contains(service.name())) {
      check.Say(path, absl::StrCat("found no endpoint for service \"", service.name(),
                                   "\"; allowed: one for each of ", "the group's services"));
    }
  }
  std::map<std::string, std::string> names;
  for (const auto& [service, endpoint] :
       std::map<std::string, std::string>(endpoints.begin(), endpoints.end())) {
    const std::string at = absl::StrCat(path, ".", service);
    if (std::find(services.begin(), services.end(), service) == services.end()) {
      check.Wrong(at, service,
                  absl::StrCat("the group's services: ", absl::StrJoin(services, ", ")));
    }
    check.Require(at, endpoint, IsEndpointName(endpoint),
                  "an endpoint's name: 1 to 260 letters, digits, '-', '_', '.'");
    check.Unique(at, endpoint, absl::AsciiStrToLower(endpoint), names,
                 "another endpoint for each service");
  }
}

}  // namespace

void CheckTraffic(const v1::GroupSpec& group, const std::string& path, ConfigChecker& check) {
  const v1::TrafficSpec& traffic = group.traffic();
  const std::string at = path + ".traffic";
  const bool acts = group.mode() == v1::MODE_AUTOMATIC || group.mode() == v1::MODE_APPROVE;
  if (!traffic.has_traffic_manager() && acts) {
    check.Missing(at + ".trafficManager",
                  "with mode automatic or approve a section that says what to switch");
  }
  if (!traffic.public_url().empty()) check.Url(at + ".publicUrl", traffic.public_url());
  const std::string& header = traffic.served_by().header();
  if (!header.empty() && !IsToken(header)) {
    check.Wrong(at + ".servedBy.header", header,
                "a header name: letters, digits and !#$%&'*+-.^_`|~");
  }
  if (!traffic.has_traffic_manager()) return;
  const v1::TrafficManagerSpec& manager = traffic.traffic_manager();
  const std::string& id = manager.profile_resource_id();
  check.Require(at + ".trafficManager.profileResourceId", id,
                IsResourceId(id, "Microsoft.Network", "trafficManagerProfiles"),
                "/subscriptions/ID/resourceGroups/NAME/providers/Microsoft.Network/"
                "trafficManagerProfiles/NAME");
  const std::string& type = manager.endpoint_type();
  if (!type.empty() && type != "ExternalEndpoints" && type != "AzureEndpoints" &&
      type != "NestedEndpoints") {
    check.Wrong(at + ".trafficManager.endpointType", type,
                "ExternalEndpoints, AzureEndpoints, NestedEndpoints");
  }
  CheckEndpoints(group, at + ".trafficManager.endpoints", check);
}

void CheckSync(const v1::GroupSpec& group, const std::string& path, ConfigChecker& check) {
  if (!group.has_sync()) return;
  const v1::SyncSpec& sync = group.sync();
  const std::string at = path + ".sync", storage_at = at + ".storage";
  if (!sync.has_interval())
    check.Missing(at + ".interval", "how often the standbys are brought up to date, such as 6h");
  check.Range(at + ".interval", sync.has_interval(), sync.interval(), absl::Seconds(1), 30 * kDay);
  check.Range(at + ".backupLifetime", sync.has_backup_lifetime(), sync.backup_lifetime(),
              absl::Seconds(1), 30 * kDay);
  const absl::Duration lifetime =
      sync.has_backup_lifetime() ? FromProto(sync.backup_lifetime()) : 30 * kDay;
  if (sync.has_interval() && lifetime <= FromProto(sync.interval())) {
    check.Wrong(sync.has_backup_lifetime() ? at + ".backupLifetime" : at + ".interval",
                failover::FormatDuration(sync.has_backup_lifetime() ? lifetime
                                                                    : FromProto(sync.interval())),
                "a backupLifetime longer than the interval");
  }
  const v1::StorageSpec& storage = sync.storage();
  check.Require(storage_at + ".account", storage.account(), IsStorageAccount(storage.account()),
                "a storage account's name: 3 to 24 of a-z and 0-9");
  check.Require(storage_at + ".container", storage.container(), IsContainer(storage.container()),
                "a container's name: 3 to 63 of a-z, 0-9 and single '-', beginning and ending with "
                "a letter or digit");
  if (storage.access() == v1::STORAGE_ACCESS_USER_ASSIGNED_IDENTITY) {
    check.Require(storage_at + ".clientId", storage.client_id(),
                  IsDirectoryId(storage.client_id(), false),
                  "with userAssignedIdentity the identity's client id");
  } else if (!storage.client_id().empty()) {
    check.Wrong(storage_at + ".clientId", storage.client_id(),
                "nothing, except with access: userAssignedIdentity");
  }
  std::string key;
  if (check.File(storage_at + ".accessKeyFile", storage.access_key_file(),
                 "a readable file with the storage account's access key", &key) &&
      !FromBase64(key).has_value()) {  // the content is never shown
    check.Wrong(storage_at + ".accessKeyFile", storage.access_key_file(),
                "a file with one access key in base64");
  }
  Count(at + ".verify.ignore", sync.verify().ignore_size(), 0, kMaxPatterns, "patterns", check);
  for (int i = 0; i < sync.verify().ignore_size(); ++i) {
    const std::string& pattern = sync.verify().ignore(i);
    if (pattern.empty())
      check.Missing(At(at + ".verify.ignore", i), "a regular expression on KIND/ID");
    check.Regex(At(at + ".verify.ignore", i), pattern);
  }
}

void CheckGroups(const v1::ControllerConfig& config, ConfigChecker& check) {
  Count("failoverGroups", config.failover_groups_size(), 1, kMaxGroups, "failover groups", check);
  Shared shared;
  for (int i = 0; i < config.failover_groups_size(); ++i) {
    const v1::GroupSpec& group = config.failover_groups(i);
    const std::string path = At("failoverGroups", i);
    check.Name(path + ".name", group.name());
    check.Unique(path + ".name", group.name(), group.name(), shared.groups, "each group name once");
    CheckObjectives(group, path, check);
    CheckServices(group, path, shared, check);
    CheckProbes(group, path, check);
    CheckQuorum(group, path, check);
    CheckControlTargets(group, path, check);
    CheckTraffic(group, path, check);
    const std::string& profile = group.traffic().traffic_manager().profile_resource_id();
    check.Unique(path + ".traffic.trafficManager.profileResourceId", profile,
                 absl::AsciiStrToLower(profile), shared.profiles,
                 "each Traffic Manager profile for one group");
    CheckSync(group, path, check);
  }
}

}  // namespace failover
