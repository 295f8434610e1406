// Traffic Manager (azure.md §7.1): profiles, endpoints, their health as reported, their way to DNS.
#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "tests/azure_emulator/arm.h"

namespace failover::emulator {
namespace {

constexpr absl::string_view kType = "Microsoft.Network/trafficManagerProfiles";

bool IsMonitored(const TrafficProfile& profile, const TrafficEndpoint& endpoint) {
  return profile.enabled && endpoint.enabled && !endpoint.always_serve;
}

std::string ProfileMonitor(const TrafficProfile& profile,
                           const std::vector<TrafficEndpoint>& endpoints) {
  if (!profile.enabled) return "Disabled";
  bool any = false, checking = false, degraded = false;
  for (const TrafficEndpoint& endpoint : endpoints) {
    any |= endpoint.enabled;
    checking |= endpoint.monitor == "CheckingEndpoint";
    degraded |= endpoint.monitor == "Degraded";
  }
  return !any ? "Inactive" : degraded ? "Degraded" : checking ? "CheckingEndpoints" : "Online";
}

Json EndpointDocument(const TrafficProfile& profile, const TrafficEndpoint& endpoint) {
  return {{"id", absl::StrCat(profile.Id(), "/", endpoint.type, "/", endpoint.name)},
          {"name", endpoint.name},
          {"type", absl::StrCat(kType, "/", endpoint.type)},
          {"properties",
           {{"endpointStatus", endpoint.enabled ? "Enabled" : "Disabled"},
            {"endpointMonitorStatus", endpoint.monitor},
            {"target", endpoint.target},
            {"weight", endpoint.weight},
            {"priority", endpoint.priority},
            {"endpointLocation", endpoint.location},
            {"alwaysServe", endpoint.always_serve ? "Enabled" : "Disabled"}}}};
}

Json ProfileDocument(const TrafficProfile& profile, const std::vector<TrafficEndpoint>& endpoints) {
  Json list = Json::array();
  for (const TrafficEndpoint& endpoint : endpoints) {
    list.push_back(EndpointDocument(profile, endpoint));
  }
  Json monitor = profile.monitor_config.is_object() ? profile.monitor_config : Json::object();
  monitor["profileMonitorStatus"] = ProfileMonitor(profile, endpoints);
  return {
      {"id", profile.Id()},
      {"name", profile.name},
      {"type", std::string(kType)},
      {"location", "global"},
      {"tags", profile.tags},
      {"properties",
       {{"profileStatus", profile.enabled ? "Enabled" : "Disabled"},
        {"trafficRoutingMethod", "Priority"},
        {"dnsConfig",
         {{"relativeName", profile.relative_name}, {"fqdn", profile.Fqdn()}, {"ttl", profile.ttl}}},
        {"monitorConfig", std::move(monitor)},
        {"endpoints", std::move(list)},
        {"trafficViewEnrollmentStatus", "Disabled"},
        {"maxReturn", nullptr}}}};
}

Answer BadRequest(absl::string_view message) { return ArmError(400, "BadRequest", message); }

// "Enabled" or "Disabled"; the text says what is wrong otherwise.
std::string ReadStatus(const Json& properties, const char* key, bool& out) {
  if (!properties.contains(key) || properties[key].is_null()) return "";
  const Json& value = properties[key];
  if (value == "Enabled" || value == "Disabled") {
    out = value == "Enabled";
    return "";
  }
  return absl::StrCat("The value of ", key, " must be Enabled or Disabled.");
}

std::string ReadNumber(const Json& properties, const char* key, int& out) {
  if (!properties.contains(key) || properties[key].is_null()) return "";
  const Json& value = properties[key];
  if (!value.is_number_integer() || value < 1 || value > 1000) {
    return absl::StrCat("The value of ", key, " must be a number from 1 to 1000.");
  }
  out = value.get<int>();
  return "";
}

// Merges `properties` into `endpoint`; the text says what is wrong.
std::string MergeEndpoint(const Json& properties, TrafficEndpoint& endpoint) {
  if (!properties.is_object()) return "The request must carry properties.";
  for (const std::string& problem : {ReadStatus(properties, "endpointStatus", endpoint.enabled),
                                     ReadStatus(properties, "alwaysServe", endpoint.always_serve),
                                     ReadNumber(properties, "priority", endpoint.priority),
                                     ReadNumber(properties, "weight", endpoint.weight)}) {
    if (!problem.empty()) return problem;
  }
  for (const auto& [key, field] : {std::pair<const char*, std::string*>{"target", &endpoint.target},
                                   {"endpointLocation", &endpoint.location}}) {
    if (!properties.contains(key) || properties[key].is_null()) continue;
    if (!properties[key].is_string()) return absl::StrCat("The value of ", key, " must be a text.");
    *field = properties[key].get<std::string>();
  }
  return endpoint.target.empty() ? "The endpoint has no target." : "";
}

std::string CheckProfile(const TrafficProfile& profile) {
  for (size_t i = 0; i < profile.endpoints.size(); ++i) {
    for (size_t j = 0; j < i; ++j) {
      const TrafficEndpoint &a = profile.endpoints[j], &b = profile.endpoints[i];
      if (a.priority == b.priority) {
        return absl::StrCat("Endpoints ", a.name, " and ", b.name, " have the same priority ",
                            a.priority, ".");
      }
      if (a.type == b.type && absl::EqualsIgnoreCase(a.target, b.target)) {
        return absl::StrCat("Endpoints ", a.name, " and ", b.name, " have the same target ",
                            a.target, ".");
      }
    }
  }
  return "";
}

std::string MergeEndpoints(const Json& list, TrafficProfile& profile) {
  if (!list.is_array()) return "The value of endpoints must be an array.";
  std::vector<TrafficEndpoint> merged;
  for (const Json& item : list) {
    if (!item.is_object() || !item.contains("name") || !item["name"].is_string()) {
      return "Every endpoint must have a name.";
    }
    TrafficEndpoint endpoint;
    endpoint.name = item["name"].get<std::string>();
    endpoint.monitor.clear();
    for (const TrafficEndpoint& old : profile.endpoints) {
      if (absl::EqualsIgnoreCase(old.name, endpoint.name)) endpoint = old;
    }
    if (std::string bad = MergeEndpoint(item.value("properties", Json()), endpoint); !bad.empty()) {
      return bad;
    }
    merged.push_back(std::move(endpoint));
  }
  profile.endpoints = std::move(merged);
  return "";
}

std::string MergeProfile(const Json& body, TrafficProfile& profile) {
  if (body.contains("tags") && body["tags"].is_object()) profile.tags = body["tags"];
  const Json properties = body.value("properties", Json::object());
  if (!properties.is_object()) return "The value of properties must be an object.";
  if (std::string bad = ReadStatus(properties, "profileStatus", profile.enabled); !bad.empty()) {
    return bad;
  }
  if (properties.contains("trafficRoutingMethod") &&
      properties["trafficRoutingMethod"] != "Priority") {
    return "The emulator knows the routing method Priority only.";
  }
  if (properties.contains("dnsConfig") && properties["dnsConfig"].is_object()) {
    const Json ttl = properties["dnsConfig"].value("ttl", Json());
    if (!ttl.is_null() && (!ttl.is_number_integer() || ttl < 0 || ttl > 2147483647)) {
      return "The value of ttl must be a number from 0 to 2147483647.";
    }
    if (!ttl.is_null()) profile.ttl = ttl.get<int>();
  }
  if (properties.contains("monitorConfig") && properties["monitorConfig"].is_object()) {
    profile.monitor_config = properties["monitorConfig"];
    profile.monitor_config.erase("profileMonitorStatus");
  }
  return properties.contains("endpoints") ? MergeEndpoints(properties["endpoints"], profile) : "";
}

const std::vector<TrafficEndpoint>& Visible(const TrafficProfile& profile, absl::Time now) {
  return now < profile.old_until ? profile.old : profile.endpoints;
}

const TrafficEndpoint* FindEndpoint(const std::vector<TrafficEndpoint>& endpoints,
                                    const std::vector<std::string>& rest) {
  for (const TrafficEndpoint& endpoint : endpoints) {
    if (absl::EqualsIgnoreCase(endpoint.type, rest[1]) &&
        absl::EqualsIgnoreCase(endpoint.name, rest[2])) {
      return &endpoint;
    }
  }
  return nullptr;
}

Answer EndpointMissing(const TrafficProfile& profile, const std::string& name) {
  return ArmError(404, "NotFound",
                  absl::StrCat("Endpoint ", name, " of profile ", profile.name, " was not found."));
}

// Carries out a write on `changed`, a copy of the profile; the answer shows it as written.
Answer WriteEndpoint(const Request& request, const std::vector<std::string>& rest, const Json& body,
                     TrafficProfile& changed) {
  const TrafficEndpoint* found = FindEndpoint(changed.endpoints, rest);
  if (request.method == "DELETE") {
    if (found == nullptr) return Answer{204, {}, ""};
    changed.endpoints.erase(changed.endpoints.begin() + (found - changed.endpoints.data()));
    return Answer{200, {}, ""};
  }
  const bool created = found == nullptr;
  if (created && request.method == "PATCH") return EndpointMissing(changed, rest[2]);
  TrafficEndpoint endpoint;
  endpoint.name = rest[2];
  endpoint.monitor.clear();
  if (created) {
    if (!absl::EqualsIgnoreCase(rest[1], "externalEndpoints")) {
      return BadRequest("The emulator knows external endpoints only.");
    }
    endpoint.priority = 0;
    for (const TrafficEndpoint& other : changed.endpoints) {
      endpoint.priority = std::max(endpoint.priority, other.priority);
    }
    endpoint.priority += 1;
  } else {
    endpoint = *found;
  }
  if (std::string bad = MergeEndpoint(body.value("properties", Json()), endpoint); !bad.empty()) {
    return BadRequest(bad);
  }
  if (created) {
    changed.endpoints.push_back(endpoint);
  } else {
    changed.endpoints[found - changed.endpoints.data()] = endpoint;
  }
  return Answer{created ? 201 : 200, {}, ""};
}

Answer Write(World& world, const Request& request, const std::vector<std::string>& rest,
             TrafficProfile& profile, LogEntry& entry, absl::Time now) {
  Json body = Json::object();
  if (request.method != "DELETE") {
    if (const absl::Status parsed = ParseJson(request.body, body);
        !parsed.ok() || !body.is_object()) {
      return ArmError(400, "InvalidRequestContent", "The request content must be an object.");
    }
  }
  if (const Json properties = body.value("properties", Json()); properties.is_object()) {
    const auto status = properties.find("endpointStatus");
    if (status != properties.end() && status->is_string()) entry.endpoint_status = *status;
  }
  TrafficProfile changed = profile;
  Answer answer;
  if (rest.size() == 1) {
    if (request.method == "DELETE") {
      return ArmError(405, "MethodNotAllowed", "The emulator does not delete profiles.");
    }
    if (std::string bad = MergeProfile(body, changed); !bad.empty()) return BadRequest(bad);
  } else {
    answer = WriteEndpoint(request, rest, body, changed);
  }
  if (answer.status >= 300 || answer.status == 204) return answer;
  if (std::string bad = CheckProfile(changed); !bad.empty()) return BadRequest(bad);
  const std::string fault = world.active_fault ? world.active_fault->action : "";
  ProfileChanged(changed, now);
  const int status = answer.status;
  if (request.method != "DELETE") {
    answer =
        JsonAnswer(status, rest.size() == 1
                               ? ProfileDocument(changed, changed.endpoints)
                               : EndpointDocument(changed, *FindEndpoint(changed.endpoints, rest)));
  }
  if (fault == "trafficIgnored") return answer;
  if (fault == "trafficOldRead") {
    changed.old = Visible(profile, now);
    changed.old_until = now + world.active_fault->delay;
  }
  profile = std::move(changed);
  entry.applied = true;
  AdvanceTraffic(world, now);
  return answer;
}

void AdvanceMonitor(const World& world, TrafficProfile& profile, TrafficEndpoint& endpoint,
                    absl::Time now) {
  if (!IsMonitored(profile, endpoint)) return;
  const std::string desired = GatewayHealthy(world, endpoint.target) ? "Online" : "Degraded";
  if (endpoint.monitor == desired) {
    endpoint.monitor_due.reset();
    return;
  }
  if (!endpoint.monitor_due) endpoint.monitor_due = now + profile.monitor_lag;
  endpoint.monitor_next = desired;
  if (*endpoint.monitor_due > now) return;
  endpoint.monitor = desired;
  endpoint.monitor_due.reset();
}

bool AnswersWell(const GatewayBehavior& behavior) {
  return behavior.mode == "ok" || behavior.mode == "wrongBody" ||
         (behavior.mode == "slow" && behavior.delay < absl::Seconds(5));
}

}  // namespace

std::string TrafficProfile::Id() const {
  return absl::StrCat("/subscriptions/", subscription, "/resourceGroups/", resource_group,
                      "/providers/", kType, "/", name);
}

std::string TrafficProfile::Fqdn() const {
  return absl::StrCat(absl::AsciiStrToLower(relative_name), ".trafficmanager.net");
}

bool GatewayHealthy(const World& world, absl::string_view target) {
  for (const auto& [key, service] : world.services) {
    bool matches = absl::EqualsIgnoreCase(target, absl::StrCat(service.name, ".azure-api.net")) ||
                   target == service.gateway.address;
    for (const std::string& name : service.gateway.host_names) {
      matches |= absl::EqualsIgnoreCase(target, name);
    }
    for (const std::string& name : service.host_names) {
      matches |= absl::EqualsIgnoreCase(target, name);
    }
    if (matches) return AnswersWell(service.gateway.all);
  }
  return false;
}

void ProfileChanged(TrafficProfile& profile, absl::Time now) {
  for (TrafficEndpoint& endpoint : profile.endpoints) {
    if (IsMonitored(profile, endpoint)) {
      const bool was_watched = endpoint.monitor == "Online" || endpoint.monitor == "Degraded" ||
                               endpoint.monitor == "CheckingEndpoint";
      if (was_watched) continue;
      endpoint.monitor = "CheckingEndpoint";
      endpoint.monitor_due = now + profile.monitor_lag;
      continue;
    }
    endpoint.monitor = !endpoint.enabled  ? "Disabled"
                       : !profile.enabled ? "Inactive"
                                          : "Unmonitored";
    endpoint.monitor_due.reset();
  }
  absl::Time due = now + profile.propagation;
  if (!profile.changes.empty()) due = std::max(due, profile.changes.back().due);
  profile.changes.push_back({due, profile.enabled, profile.endpoints});
}

void AdvanceTraffic(World& world, absl::Time now) {
  for (auto& [key, profile] : world.profiles) {
    while (!profile.changes.empty() && profile.changes.front().due <= now) {
      profile.served_enabled = profile.changes.front().enabled;
      profile.served = std::move(profile.changes.front().endpoints);
      profile.changes.pop_front();
    }
    for (TrafficEndpoint& endpoint : profile.endpoints) {
      AdvanceMonitor(world, profile, endpoint, now);
    }
  }
}

Answer HandleTraffic(World& world, const Request& request, const std::vector<std::string>& rest,
                     LogEntry& entry, absl::Time now) {
  TrafficProfile& profile = *FindProfile(world, rest[0]);
  if (rest.size() != 1 && rest.size() != 3) {
    return ArmError(404, "NotFound", "The emulator knows profiles and their endpoints.");
  }
  if (request.method == "PUT" || request.method == "PATCH" || request.method == "DELETE") {
    return Write(world, request, rest, profile, entry, now);
  }
  if (request.method != "GET" && request.method != "HEAD") {
    return ArmError(405, "MethodNotAllowed", "The method is not allowed on a profile.");
  }
  const std::vector<TrafficEndpoint>& visible = Visible(profile, now);
  if (rest.size() == 1) return JsonAnswer(200, ProfileDocument(profile, visible));
  const TrafficEndpoint* endpoint = FindEndpoint(visible, rest);
  if (endpoint == nullptr) return EndpointMissing(profile, rest[2]);
  return JsonAnswer(200, EndpointDocument(profile, *endpoint));
}

}  // namespace failover::emulator
