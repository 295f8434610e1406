// The control API's view of services, operations, storage, traffic and gateways.
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/digest.h"
#include "tests/azure_emulator/content.h"
#include "tests/azure_emulator/control_parts.h"
#include "tests/azure_emulator/world_file.h"

namespace failover::emulator {
namespace {

Json ServiceJson(const Service& s) {
  Json identities = Json::object();
  for (const auto& [id, client] : s.user_identities) identities[id] = client;
  return {{"name", s.name},
          {"region", s.region},
          {"sku", s.sku},
          {"capacity", s.capacity},
          {"systemIdentity", s.system_identity},
          {"userIdentities", identities},
          {"workspaces", s.workspaces},
          {"minApiVersion", s.min_api_version},
          {"provisioningState", s.provisioning_state},
          {"operation", s.operation},
          {"configurationVersion", s.ConfigurationVersion()}};
}

Answer Configure(World& world, const Request& request, Service& service, absl::Time now) {
  if (request.method != "POST") return WrongMethod(request, "POST");
  std::string kind = "realistic";
  int seed = 1, apis = 30;
  auto bad = ReadBody(request, [&](Fields& f) {
    f.Require({"kind"});
    f.Choice("kind", kind, {"realistic", "pristine", "empty"});
    f.Int("seed", seed, 0, 1000000);
    f.Int("apis", apis, 0, 1000);
  });
  if (bad) return *bad;
  const absl::Status filled = Fill(world, service, kind, static_cast<uint64_t>(seed), apis, now);
  if (!filled.ok()) return Problems({std::string(filled.message())});
  return JsonAnswer(200, ServiceJson(service));
}

Answer EntityControl(World& world, const Request& request, Service& service, const Segments& parts,
                     absl::Time now) {
  if (parts.empty()) {
    if (request.method != "GET") return WrongMethod(request, "GET");
    Json all = Json::object();
    for (const auto& [key, entity] : service.entities) all[entity.path] = entity.properties;
    return JsonAnswer(200, {{"entities", std::move(all)}});
  }
  const std::string path = absl::StrJoin(parts, "/");
  if (!IsEntityPath(path)) {
    return Problems({absl::StrCat("path: found '", path,
                                  "'; allowed: the path of an entity such as apis/orders")});
  }
  const std::string key = absl::AsciiStrToLower(path);
  if (request.method == "PUT") {
    Json properties;
    if (const absl::Status parsed = ParseJson(request.body, properties); !parsed.ok()) {
      return Problems({absl::StrCat("body: ", parsed.message())});
    }
    if (!properties.is_object()) return Problems({"body: allowed: a JSON object"});
    PutEntity(world, service, path, std::move(properties), now);
  }
  const auto it = service.entities.find(key);
  if (it == service.entities.end()) return UnknownThing(absl::StrCat("entity ", path));
  if (request.method == "DELETE") {
    EraseEntity(service, path, now);
    return JsonAnswer(200, Json::object());
  }
  if (request.method != "GET" && request.method != "PUT") {
    return WrongMethod(request, "GET, PUT, DELETE");
  }
  return JsonAnswer(200, it->second.properties);
}

Json OperationJson(const Operation& o) {
  return {{"id", o.id},
          {"service", o.service},
          {"verb", o.verb},
          {"start", IsoTime(o.start)},
          {"end", o.end == absl::InfiniteFuture() ? Json(nullptr) : Json(IsoTime(o.end))},
          {"ended", o.ended},
          {"blob", o.blob},
          {"container", o.container},
          {"errorStatus", o.error_status},
          {"errorCode", o.error_code},
          {"errorMessage", o.error_message}};
}

Answer ChangeOperation(World& world, const Request& request, const std::string& id,
                       absl::Time now) {
  bool finish = false;
  absl::Duration extend;
  auto bad = ReadBody(request, [&](Fields& f) {
    f.Bool("finish", finish);
    f.Span("extend", extend);
  });
  if (bad) return *bad;
  Operation& operation = world.operations.at(id);
  if (operation.ended) return Problems({absl::StrCat("operation ", id, " has ended")});
  if (finish) {
    operation.work_at = std::min(operation.work_at, now);
    operation.end = now;
    Advance(world, now);
  } else {
    operation.end += extend;
  }
  return JsonAnswer(200, OperationJson(world.operations.at(id)));
}

Json GatewayJson(const Gateway& g) {
  Json regions = Json::object();
  const auto behavior = [](const GatewayBehavior& b) {
    return Json{{"mode", b.mode}, {"status", b.status}, {"delay", FormatSpan(b.delay)}};
  };
  for (const auto& [region, b] : g.regions) regions[region] = behavior(b);
  Json json = behavior(g.all);
  json["address"] = g.address;
  json["certificate"] = g.certificate;
  json["stale"] = g.stale;
  json["regions"] = regions;
  return json;
}

Answer ChangeGateway(const Request& request, const std::string& version, Gateway& gateway) {
  Gateway changed = gateway;
  auto bad = ReadBody(request, [&](Fields& f) {
    std::string region;
    f.String("region", region);
    const bool behaves = f.Has("mode") || f.Has("status") || f.Has("delay");
    if (region.empty()) {
      if (behaves) changed.regions.clear();
      ReadGatewayBehavior(f, changed.all);
    } else {
      ReadGatewayBehavior(f, changed.regions[region]);
    }
    f.Bool("stale", changed.stale);
    ReadCertificateMode(f, changed);
  });
  if (bad) return *bad;
  if (changed.stale && !gateway.stale) changed.stale_version = version;
  gateway = std::move(changed);
  return JsonAnswer(200, GatewayJson(gateway));
}

Json ProfileJson(const TrafficProfile& p) {
  Json endpoints = Json::object();
  for (const TrafficEndpoint& e : p.endpoints) {
    endpoints[e.name] = {{"enabled", e.enabled},
                         {"priority", e.priority},
                         {"target", e.target},
                         {"monitor", e.monitor}};
  }
  return {{"name", p.name},
          {"fqdn", p.Fqdn()},
          {"publicName", p.public_name},
          {"enabled", p.enabled},
          {"ttl", p.ttl},
          {"propagation", FormatSpan(p.propagation)},
          {"monitorLag", FormatSpan(p.monitor_lag)},
          {"endpoints", endpoints}};
}

void ReadProfileChange(Fields& f, TrafficProfile& profile) {
  f.Bool("enabled", profile.enabled);
  f.Int("ttl", profile.ttl, 0, 2147483647);
  f.Span("propagation", profile.propagation);
  f.Span("monitorLag", profile.monitor_lag);
  f.Object("endpoints", [&](Fields& endpoints) {
    for (TrafficEndpoint& endpoint : profile.endpoints) {
      endpoints.Object(endpoint.name, [&](Fields& e) {
        e.Bool("enabled", endpoint.enabled);
        e.Int("priority", endpoint.priority, 1, 1000);
        e.String("target", endpoint.target);
      });
    }
  });
}

}  // namespace

Answer ControlServices(World& world, const Request& request, const Segments& rest, absl::Time now) {
  Service* service = rest.empty() ? nullptr : FindService(world, rest[0]);
  if (service == nullptr) {
    return UnknownThing(absl::StrCat("service ", rest.empty() ? "(no name)" : rest[0]));
  }
  if (rest.size() == 1) {
    if (request.method == "PATCH") {
      Service changed = *service;
      if (auto bad = ReadBody(request, [&](Fields& f) { ReadServiceSettings(f, changed); })) {
        return *bad;
      }
      *service = std::move(changed);
    } else if (request.method != "GET") {
      return WrongMethod(request, "GET, PATCH");
    }
    return JsonAnswer(200, ServiceJson(*service));
  }
  if (rest.size() == 2 && rest[1] == "configuration") {
    return Configure(world, request, *service, now);
  }
  if (rest[1] == "entities") {
    return EntityControl(world, request, *service, {rest.begin() + 2, rest.end()}, now);
  }
  return UnknownThing(request.path);
}

Answer ControlOperations(World& world, const Request& request, const Segments& rest,
                         absl::Time now) {
  if (rest.empty()) {
    if (request.method != "GET") return WrongMethod(request, "GET");
    Json list = Json::array();
    for (const auto& [id, operation] : world.operations) list.push_back(OperationJson(operation));
    return JsonAnswer(200, {{"operations", list}});
  }
  const std::string id = absl::StrJoin(rest, "/");  // base64 may hold a '/'
  const auto it = world.operations.find(id);
  if (it == world.operations.end()) return UnknownThing(absl::StrCat("operation ", id));
  if (request.method == "PATCH") return ChangeOperation(world, request, id, now);
  if (request.method != "GET") return WrongMethod(request, "GET, PATCH");
  return JsonAnswer(200, OperationJson(it->second));
}

Answer ControlAccounts(World& world, const Request& request, const Segments& rest) {
  const auto it = rest.size() == 1 ? world.accounts.find(rest[0]) : world.accounts.end();
  if (it == world.accounts.end()) {
    return UnknownThing(absl::StrCat("storage account ", absl::StrJoin(rest, "/")));
  }
  if (request.method != "PATCH") return WrongMethod(request, "PATCH");
  StorageAccount changed = it->second;
  auto bad = ReadBody(request, [&](Fields& f) {
    ReadAccountSettings(f, changed);
    if (!FromBase64(changed.key)) f.Problem("key", "allowed: base64");
  });
  if (bad) return *bad;
  it->second = std::move(changed);
  return JsonAnswer(200, Json::object());
}

Answer ControlProfiles(World& world, const Request& request, const Segments& rest, absl::Time now) {
  TrafficProfile* profile = rest.size() == 1 ? FindProfile(world, rest[0]) : nullptr;
  if (profile == nullptr) {
    return UnknownThing(absl::StrCat("Traffic Manager profile ", absl::StrJoin(rest, "/")));
  }
  if (request.method == "PATCH") {
    TrafficProfile changed = *profile;
    if (auto bad = ReadBody(request, [&](Fields& f) { ReadProfileChange(f, changed); })) {
      return *bad;
    }
    ProfileChanged(changed, now);
    *profile = std::move(changed);
    Advance(world, now);
  } else if (request.method != "GET") {
    return WrongMethod(request, "GET, PATCH");
  }
  return JsonAnswer(200, ProfileJson(*profile));
}

Answer ControlGateways(World& world, const Request& request, const Segments& rest) {
  if (rest.empty()) {
    if (request.method != "GET") return WrongMethod(request, "GET");
    Json all = Json::object();
    for (const auto& [key, service] : world.services) {
      all[service.name] = GatewayJson(service.gateway);
    }
    all["neutral"] = GatewayJson(world.neutral);
    return JsonAnswer(200, {{"gateways", all}});
  }
  const bool neutral = absl::EqualsIgnoreCase(rest[0], "neutral");
  Service* service = FindService(world, rest[0]);
  if (rest.size() != 1 || (!neutral && service == nullptr)) {
    return UnknownThing(absl::StrCat("gateway ", absl::StrJoin(rest, "/")));
  }
  Gateway& gateway = service != nullptr ? service->gateway : world.neutral;
  if (request.method == "PATCH") {
    return ChangeGateway(request, service != nullptr ? service->ConfigurationVersion() : "",
                         gateway);
  }
  if (request.method != "GET") return WrongMethod(request, "GET, PATCH");
  return JsonAnswer(200, GatewayJson(gateway));
}

}  // namespace failover::emulator
