#include "tests/azure_emulator/world_file.h"

#include <arpa/inet.h>

#include <fstream>
#include <sstream>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "common/digest.h"
#include "tests/azure_emulator/content.h"

namespace failover::emulator {
namespace {

// What is filled once everything else is known to be right.
struct Content {
  std::string service, kind = "pristine";
  int seed = 1, apis = 30;
};

struct Reading {
  World world;
  std::string subscription, resource_group;
  std::vector<Content> contents;
  absl::Time now;
};

void CheckLoopback(Fields& f, absl::string_view key, const std::string& address) {
  in_addr parsed{};
  if (!address.empty() &&
      (inet_pton(AF_INET, address.c_str(), &parsed) != 1 || (ntohl(parsed.s_addr) >> 24) != 127)) {
    f.Problem(key, "allowed: an IPv4 loopback address");
  }
}

void ReadBucket(Fields& fields, absl::string_view key, TokenBucket& bucket) {
  fields.Object(key, [&](Fields& f) {
    f.Number("burst", bucket.burst, 1, 1e9);
    f.Number("perSecond", bucket.per_second, 0.001, 1e9);
    bucket.level = bucket.burst;
  });
}

void ReadGateway(Fields& f, Gateway& gateway) {
  f.Require({"address"});
  f.String("address", gateway.address);
  CheckLoopback(f, "address", gateway.address);
  f.Bool("tls", gateway.tls);
  f.Strings("hostNames", gateway.host_names);
  ReadCertificateMode(f, gateway);
  ReadGatewayBehavior(f, gateway.all);
}

void ReadService(Fields& f, Reading& reading) {
  Service service;
  Content content;
  service.subscription = reading.subscription;
  service.resource_group = reading.resource_group;
  f.Require({"name", "region"});
  f.String("name", service.name);
  f.String("region", service.region);
  f.String("subscription", service.subscription);
  f.String("resourceGroup", service.resource_group);
  ReadServiceSettings(f, service);
  f.Strings("hostNames", service.host_names);
  f.Any("tags", service.tags);
  f.Any("customProperties", service.custom_properties);
  f.Object("gateway", [&](Fields& g) { ReadGateway(g, service.gateway); });
  content.service = service.name;
  f.Object("content", [&](Fields& c) {
    c.Choice("kind", content.kind, {"realistic", "pristine", "empty"});
    c.Int("seed", content.seed, 0, 1000000);
    c.Int("apis", content.apis, 0, 1000);
  });
  service.created = service.configuration_changed = reading.now - absl::Hours(24 * 90);
  service.etag = ++reading.world.versions;
  reading.world.subscriptions.insert(absl::AsciiStrToLower(service.subscription));
  const std::string key = absl::AsciiStrToLower(service.name);
  if (!reading.world.services.emplace(key, std::move(service)).second) {
    f.Problem("name", "allowed: every name once");
  }
  reading.contents.push_back(std::move(content));
}

void ReadAccount(Fields& f, Reading& reading) {
  StorageAccount account;
  std::vector<std::string> containers;
  f.Require({"name", "region", "key"});
  f.String("name", account.name);
  f.String("region", account.region);
  ReadAccountSettings(f, account);
  if (!FromBase64(account.key)) f.Problem("key", "allowed: base64");
  f.Strings("containers", containers);
  for (const std::string& container : containers) {
    (void)reading.world.memory.CreateContainer(account.name, container, reading.now);
  }
  const std::string name = account.name;
  reading.world.accounts[name] = std::move(account);
}

void ReadEndpoint(Fields& f, TrafficProfile& profile) {
  TrafficEndpoint endpoint;
  f.Require({"name", "target"});
  f.String("name", endpoint.name);
  f.Choice("type", endpoint.type, {"externalEndpoints"});
  f.String("target", endpoint.target);
  f.String("location", endpoint.location);
  endpoint.priority = static_cast<int>(profile.endpoints.size()) + 1;
  f.Int("priority", endpoint.priority, 1, 1000);
  f.Int("weight", endpoint.weight, 1, 1000);
  f.Bool("enabled", endpoint.enabled);
  f.Bool("alwaysServe", endpoint.always_serve);
  for (const TrafficEndpoint& other : profile.endpoints) {
    if (other.priority == endpoint.priority) f.Problem("priority", "allowed: every priority once");
    if (other.name == endpoint.name) f.Problem("name", "allowed: every name once");
  }
  profile.endpoints.push_back(std::move(endpoint));
}

void ReadProfile(Fields& f, Reading& reading) {
  TrafficProfile profile;
  profile.subscription = reading.subscription;
  profile.resource_group = reading.resource_group;
  f.Require({"name", "endpoints"});
  f.String("name", profile.name);
  profile.relative_name = profile.name;
  f.String("subscription", profile.subscription);
  f.String("resourceGroup", profile.resource_group);
  f.String("relativeName", profile.relative_name);
  f.String("publicName", profile.public_name);
  f.Int("ttl", profile.ttl, 0, 2147483647);
  f.Bool("enabled", profile.enabled);
  f.Span("propagation", profile.propagation);
  f.Span("monitorLag", profile.monitor_lag);
  f.Any("tags", profile.tags);
  profile.monitor_config = {
      {"protocol", "HTTPS"},     {"port", 443},           {"path", "/status-0123456789abcdef"},
      {"intervalInSeconds", 10}, {"timeoutInSeconds", 5}, {"toleratedNumberOfFailures", 1}};
  f.Any("monitorConfig", profile.monitor_config);
  f.Each("endpoints", [&](Fields& e) { ReadEndpoint(e, profile); });
  ProfileChanged(profile, reading.now);
  // A world begins at rest: checks have come out and everything has reached the name servers.
  for (TrafficEndpoint& endpoint : profile.endpoints) {
    if (endpoint.monitor == "CheckingEndpoint") endpoint.monitor = "Online";
    endpoint.monitor_due.reset();
  }
  profile.changes.clear();
  profile.served = profile.endpoints;
  profile.served_enabled = profile.enabled;
  reading.world.subscriptions.insert(absl::AsciiStrToLower(profile.subscription));
  const std::string key = absl::AsciiStrToLower(profile.name);
  reading.world.profiles[key] = std::move(profile);
}

void ReadClient(Fields& f, World& world) {
  Client client;
  f.Require({"tenant", "clientId"});
  f.String("tenant", client.tenant);
  f.String("clientId", client.client_id);
  client.object_id = client.client_id;
  f.String("objectId", client.object_id);
  f.String("secret", client.secret);
  client.roles = ReadRoles(f, "roles");
  f.Strings("lacks", client.lacks);
  client.federated = ReadFederated(f, "federatedCredentials");
  if (client.secret.empty() && f.Has("secret")) f.Problem("secret", "allowed: a text, or no key");
  const std::string id = client.client_id;
  world.clients[id] = std::move(client);
}

void ReadProbeRegions(Fields& f, World& world) {
  Json regions;
  if (!f.Any("probeRegions", regions)) return;
  if (!regions.is_object()) {
    f.Problem("probeRegions", "allowed: an object of source address → probe region");
    return;
  }
  for (const auto& [address, region] : regions.items()) {
    in_addr unused;
    if (inet_pton(AF_INET, address.c_str(), &unused) != 1 || !region.is_string()) {
      f.Problem("probeRegions", "allowed: an object of source address → probe region");
      return;
    }
    world.probe_regions[address] = region.get<std::string>();
  }
}

void ReadEverything(Fields& f, Reading& reading) {
  World& world = reading.world;
  int seed = 1;
  f.Require({"subscription", "resourceGroup", "services"});
  f.Int("seed", seed, 0, 2147483647);
  world.seed = static_cast<uint64_t>(seed);
  f.String("subscription", reading.subscription);
  f.String("resourceGroup", reading.resource_group);
  world.subscriptions.insert(absl::AsciiStrToLower(reading.subscription));
  f.Object("timing", [&](Fields& t) { ReadTiming(t, world); });
  f.Object("limits", [&](Fields& l) {
    ReadBucket(l, "reads", world.reads);
    ReadBucket(l, "writes", world.writes);
    ReadBucket(l, "deletes", world.deletes);
  });
  f.Object("switches", [&](Fields& s) { ReadSwitches(s, world.switches); });
  f.Each("clients", [&](Fields& c) { ReadClient(c, world); });
  f.Object("machine", [&](Fields& m) { ReadMachine(m, world.clients, world.machine); });
  f.Each("services", [&](Fields& s) { ReadService(s, reading); });
  f.Each("storageAccounts", [&](Fields& a) { ReadAccount(a, reading); });
  f.Each("trafficManagerProfiles", [&](Fields& p) { ReadProfile(p, reading); });
  ReadProbeRegions(f, world);
  f.Object("neutral", [&](Fields& n) {
    n.Require({"host", "address"});
    n.String("host", world.neutral_host);
    n.String("address", world.neutral_address);
    CheckLoopback(n, "address", world.neutral_address);
    n.Bool("tls", world.neutral.tls);
    world.neutral.address = world.neutral_address;
    world.neutral.host_names = {world.neutral_host};
  });
  f.StringSet("softDeleted", world.soft_deleted);
  f.Each("faults", [&](Fields& rule) {
    world.faults.push_back(ReadFaultRule(rule));
    world.faults.back().id = absl::StrCat("f", world.next_fault++);
  });
}

}  // namespace

absl::StatusOr<World> ReadWorld(absl::string_view text, absl::Time now, uint64_t seed) {
  Json json;
  if (const absl::Status parsed = ParseJson(text, json); !parsed.ok()) return parsed;
  Reading reading;
  reading.now = now;
  std::vector<std::string> problems;
  Fields fields(json, "", problems);
  ReadEverything(fields, reading);
  fields.Finish();
  if (absl::Status status = ProblemsToStatus(problems); !status.ok()) return status;
  World& world = reading.world;
  if (seed != 0) world.seed = seed;
  world.random.seed(world.seed);
  world.clock = {now, now, 1};
  for (const Content& content : reading.contents) {
    Service& service = *FindService(world, content.service);
    const absl::Status filled =
        Fill(world, service, content.kind, static_cast<uint64_t>(content.seed), content.apis, now);
    if (!filled.ok()) return filled;
    service.configuration_changed = service.created;
  }
  return std::move(reading.world);
}

absl::StatusOr<World> ReadWorldFile(const std::string& path, absl::Time now, uint64_t seed) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return absl::NotFoundError(absl::StrCat("world file ", path, " cannot be read"));
  std::stringstream text;
  text << file.rdbuf();
  absl::StatusOr<World> world = ReadWorld(text.str(), now, seed);
  if (world.ok()) return world;
  const std::string indented = absl::StrReplaceAll(world.status().message(), {{"\n", "\n  "}});
  return absl::InvalidArgumentError(absl::StrCat("world file ", path, ":\n  ", indented));
}

}  // namespace failover::emulator
