#include "tests/azure_emulator/control_api.h"

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "tests/azure_emulator/control_parts.h"
#include "tests/azure_emulator/dns_view.h"
#include "tests/azure_emulator/world_file.h"

namespace failover::emulator {
namespace {

const char* FrontName(Front front) {
  switch (front) {
    case Front::kArm:
      return "arm";
    case Front::kBlob:
      return "blob";
    case Front::kControl:
      return "control";
    case Front::kGateway:
      return "gateway";
    case Front::kImds:
      return "imds";
  }
  return "";
}

Json EntryJson(const LogEntry& e) {
  return {{"sequence", e.sequence},
          {"time", IsoTime(e.time)},
          {"front", FrontName(e.front)},
          {"method", e.method},
          {"path", e.path},
          {"query", e.query},
          {"operation", e.what.operation},
          {"service", e.what.service},
          {"blob", e.what.blob},
          {"endpointStatus", e.endpoint_status},
          {"status", e.status},
          {"applied", e.applied},
          {"answerLost", e.answer_lost},
          {"fault", e.fault},
          {"clientRequestId", e.client_request_id},
          {"requestId", e.request_id},
          {"clientId", e.client_id},
          {"errorCode", e.error_code},
          {"operationId", e.operation_id}};
}

Answer Status(const World& world, absl::Time now) {
  Json services = Json::array();
  for (const auto& [key, s] : world.services) {
    services.push_back({{"name", s.name},
                        {"region", s.region},
                        {"sku", s.sku},
                        {"state", s.provisioning_state},
                        {"operation", s.operation},
                        {"configurationVersion", s.ConfigurationVersion()},
                        {"entities", s.entities.size()}});
  }
  return JsonAnswer(
      200, {{"time", IsoTime(now)}, {"services", services}, {"requests", world.log_sequence}});
}

Answer ReplaceWorld(World& world, const Request& request, absl::Time now, absl::Time real_now) {
  absl::StatusOr<World> read = ReadWorld(request.body, now);
  if (!read.ok()) return Problems(absl::StrSplit(read.status().message(), '\n'));
  for (const auto& [key, service] : read->services) {
    const Service* old = FindService(world, key);
    const std::string address = old == nullptr ? "" : old->gateway.address;
    if (address == service.gateway.address) continue;
    return Problems(
        {absl::StrCat("services: found address '", service.gateway.address, "' of service ",
                      service.name, "; allowed: '", address, "' as at the start")});
  }
  if (read->neutral_address != world.neutral_address) {
    return Problems({absl::StrCat("neutral.address: found '", read->neutral_address,
                                  "'; allowed: '", world.neutral_address, "' as at the start")});
  }
  read->external = world.external;
  read->clock = {real_now, now, world.clock.rate};
  read->log_sequence = world.log_sequence;
  world = *std::move(read);
  return JsonAnswer(200, Json::object());
}

Answer Requests(World& world, const Request& request) {
  if (request.method == "DELETE") {
    world.log.clear();
    world.effects.clear();
    return JsonAnswer(200, Json::object());
  }
  if (request.method != "GET") return WrongMethod(request, "GET, DELETE");
  const auto query = request.Query();
  uint64_t after = 0;
  std::vector<std::string> problems;
  for (const auto& [name, value] : query) {
    if (name == "after" ? !absl::SimpleAtoi(value, &after)
                        : name != "all" || (value != "true" && value != "false")) {
      problems.push_back(
          absl::StrCat(name, ": found '", value, "'; allowed: after=NUMBER, all=true|false"));
    }
  }
  if (!problems.empty()) return Problems(problems);
  const bool all = query.contains("all") && query.at("all") == "true";
  Json list = Json::array();
  for (const LogEntry& entry : all ? world.log : world.effects) {
    if (entry.sequence > after) list.push_back(EntryJson(entry));
  }
  return JsonAnswer(200, {{"requests", std::move(list)}, {"next", world.log_sequence}});
}

Answer AddFaults(World& world, const Request& request) {
  std::vector<FaultRule> rules;
  auto bad = ReadBody(request, [&](Fields& f) {
    if (f.Has("rules")) {
      f.Each("rules", [&](Fields& rule) { rules.push_back(ReadFaultRule(rule)); });
    } else {
      rules.push_back(ReadFaultRule(f));
    }
  });
  if (bad) return *bad;
  Json ids = Json::array();
  for (FaultRule& rule : rules) {
    rule.id = absl::StrCat("f", world.next_fault++);
    ids.push_back(rule.id);
    world.faults.push_back(std::move(rule));
  }
  return JsonAnswer(200, {{"ids", ids}});
}

Answer Faults(World& world, const Request& request, const Segments& rest) {
  if (rest.empty() && request.method == "POST") return AddFaults(world, request);
  if (rest.empty() && request.method == "GET") {
    Json list = Json::array();
    for (const FaultRule& rule : world.faults) list.push_back(ToJson(rule));
    return JsonAnswer(200, {{"faults", list}});
  }
  if (request.method != "DELETE") return WrongMethod(request, "GET, POST, DELETE");
  if (rest.empty()) {
    world.faults.clear();
    return JsonAnswer(200, Json::object());
  }
  const size_t erased =
      std::erase_if(world.faults, [&](const FaultRule& rule) { return rule.id == rest[0]; });
  if (erased == 0) return UnknownThing(absl::StrCat("fault ", rest[0]));
  return JsonAnswer(200, Json::object());
}

Answer ClockControl(World& world, const Request& request, absl::Time now, absl::Time real_now) {
  if (request.method == "PATCH") {
    absl::Time target = now;
    double rate = world.clock.rate;
    auto bad = ReadBody(request, [&](Fields& f) {
      absl::Duration advance;
      std::string text;
      if (f.Span("advance", advance)) target += advance;
      f.Number("rate", rate, 0, 1e6);
      if (!f.String("now", text)) return;
      std::string error;
      absl::Time time;
      if (f.Has("advance")) {
        f.Problem("now", "allowed: either now or advance");
      } else if (!absl::ParseTime(absl::RFC3339_full, text, &time, &error) || time < now) {
        f.Problem("now", absl::StrCat("allowed: an RFC 3339 time not before ", IsoTime(now)));
      } else {
        target = time;
      }
    });
    if (bad) return *bad;
    world.clock = {real_now, target, rate};
    Advance(world, target);
    now = target;
  } else if (request.method != "GET") {
    return WrongMethod(request, "GET, PATCH");
  }
  return JsonAnswer(200, {{"now", IsoTime(now)}, {"rate", world.clock.rate}});
}

Answer SwitchControl(World& world, const Request& request) {
  if (request.method == "PATCH") {
    Switches changed = world.switches;
    if (auto bad = ReadBody(request, [&](Fields& f) { ReadSwitches(f, changed); })) return *bad;
    world.switches = changed;
  } else if (request.method != "GET") {
    return WrongMethod(request, "GET, PATCH");
  }
  return JsonAnswer(200, SwitchesJson(world.switches));
}

Answer TimingControl(World& world, const Request& request) {
  if (request.method == "PATCH") {
    World changed;  // carries the timing only
    changed.backup_duration = world.backup_duration;
    changed.restore_duration = world.restore_duration;
    changed.update_duration = world.update_duration;
    changed.retry_after = world.retry_after;
    changed.token_lifetime = world.token_lifetime;
    changed.page_size = world.page_size;
    if (auto bad = ReadBody(request, [&](Fields& f) { ReadTiming(f, changed); })) return *bad;
    world.backup_duration = changed.backup_duration;
    world.restore_duration = changed.restore_duration;
    world.update_duration = changed.update_duration;
    world.retry_after = changed.retry_after;
    world.token_lifetime = changed.token_lifetime;
    world.page_size = changed.page_size;
  } else if (request.method != "GET") {
    return WrongMethod(request, "GET, PATCH");
  }
  return JsonAnswer(200, TimingJson(world));
}

Json RolesJson(const Client& client) {
  Json roles = Json::array();
  for (const RoleAssignment& role : client.roles) {
    roles.push_back({{"scope", role.scope}, {"actions", role.actions}});
  }
  return {{"roles", roles}};
}

Json FederatedJson(const Client& client) {
  Json list = Json::array();
  for (const FederatedCredential& credential : client.federated) {
    list.push_back({{"issuer", credential.issuer},
                    {"subject", credential.subject},
                    {"audience", credential.audience}});
  }
  return {{"federatedCredentials", list}};
}

Answer ClientControl(World& world, const Request& request, const Segments& rest) {
  const auto it = rest.empty() ? world.clients.end() : world.clients.find(rest[0]);
  const std::string part = rest.size() == 2 ? rest[1] : "";
  if (it == world.clients.end() ||
      (part != "roles" && part != "lacks" && part != "federatedCredentials")) {
    return UnknownThing(absl::StrCat("client ", absl::StrJoin(rest, "/")));
  }
  Client& client = it->second;
  if (request.method == "PUT") {
    Client changed = client;
    auto bad = ReadBody(request, [&](Fields& f) {
      f.Require({part == "lacks" ? "actions" : part});
      if (part == "roles") changed.roles = ReadRoles(f, part);
      if (part == "lacks") f.Strings("actions", changed.lacks);
      if (part == "federatedCredentials") changed.federated = ReadFederated(f, part);
    });
    if (bad) return *bad;
    client = std::move(changed);
  } else if (request.method != "GET") {
    return WrongMethod(request, "GET, PUT");
  }
  if (part == "lacks") return JsonAnswer(200, {{"actions", client.lacks}});
  return JsonAnswer(200, part == "roles" ? RolesJson(client) : FederatedJson(client));
}

Answer MachineControl(World& world, const Request& request) {
  if (request.method == "PATCH") {
    Machine changed = world.machine;
    auto bad = ReadBody(request, [&](Fields& f) { ReadMachine(f, world.clients, changed); });
    if (bad) return *bad;
    world.machine = std::move(changed);
  } else if (request.method != "GET") {
    return WrongMethod(request, "GET, PATCH");
  }
  return JsonAnswer(200, MachineJson(world.machine));
}

Answer DnsControl(const World& world, const Request& request) {
  const auto query = request.Query();
  const auto it = query.find("name");
  if (it == query.end()) return Problems({"name: missing, but required"});
  const DnsView view = ResolveName(world, it->second);
  Json chain = Json::array();
  for (const DnsRecord& record : view.chain) {
    chain.push_back({{"name", record.name},
                     {"type", record.alias ? "CNAME" : "A"},
                     {"value", record.value},
                     {"ttl", record.ttl}});
  }
  return JsonAnswer(200, {{"chain", chain},
                          {"address", view.address},
                          {"ttl", view.ttl},
                          {"rcode", view.rcode == 0 ? "NOERROR" : "NXDOMAIN"}});
}

Answer DeleteBlob(World& world, const Request& request, const Segments& rest) {
  if (request.method != "DELETE") return WrongMethod(request, "DELETE");
  if (rest.size() < 3) return UnknownThing("blobs need ACCOUNT/CONTAINER/NAME");
  const std::string name = absl::StrJoin(rest.begin() + 2, rest.end(), "/");
  Container* container = world.memory.Find(rest[0], rest[1]);
  if (container == nullptr || container->blobs.erase(name) == 0) {
    return UnknownThing(absl::StrCat("blob ", absl::StrJoin(rest, "/")));
  }
  return JsonAnswer(200, Json::object());
}

Answer Dispatch(World& world, const Request& request, const std::string& first,
                const Segments& rest, absl::Time now, absl::Time real_now) {
  if (first == "faults") return Faults(world, request, rest);
  if (first == "clients") return ClientControl(world, request, rest);
  if (first == "services") return ControlServices(world, request, rest, now);
  if (first == "operations") return ControlOperations(world, request, rest, now);
  if (first == "storageaccounts") return ControlAccounts(world, request, rest);
  if (first == "trafficmanagerprofiles") return ControlProfiles(world, request, rest, now);
  if (first == "gateways") return ControlGateways(world, request, rest);
  if (first == "blobs") return DeleteBlob(world, request, rest);
  if (first == "tokens" && rest == Segments{"revoke"}) {
    if (request.method != "POST") return WrongMethod(request, "POST");
    world.tokens_revoked = world.tokens_issued;
    return JsonAnswer(200, Json::object());
  }
  if (!rest.empty()) return UnknownThing(request.path);
  if (first == "status") return Status(world, now);
  if (first == "world") {
    if (request.method != "PUT") return WrongMethod(request, "PUT");
    return ReplaceWorld(world, request, now, real_now);
  }
  if (first == "requests") return Requests(world, request);
  if (first == "clock") return ClockControl(world, request, now, real_now);
  if (first == "switches") return SwitchControl(world, request);
  if (first == "timing") return TimingControl(world, request);
  if (first == "machine") return MachineControl(world, request);
  if (first == "dns") return DnsControl(world, request);
  return UnknownThing(request.path);
}

}  // namespace

Answer Problems(const std::vector<std::string>& problems) {
  return JsonAnswer(400, {{"problems", problems}});
}

Answer UnknownThing(absl::string_view what) {
  return JsonAnswer(404, {{"problems", {absl::StrCat("unknown: ", what)}}});
}

Answer WrongMethod(const Request& request, absl::string_view allowed) {
  Answer answer = JsonAnswer(
      405,
      {{"problems", {absl::StrCat("method: found ", request.method, "; allowed: ", allowed)}}});
  answer.Set("Allow", allowed);
  return answer;
}

std::optional<Answer> ReadBody(const Request& request, const std::function<void(Fields&)>& read) {
  Json json;
  if (const absl::Status parsed = ParseJson(request.body, json); !parsed.ok()) {
    return Problems({absl::StrCat("body: ", parsed.message())});
  }
  std::vector<std::string> problems;
  Fields fields(json, "", problems);
  read(fields);
  fields.Finish();
  if (problems.empty()) return std::nullopt;
  return Problems(problems);
}

Answer HandleControl(World& world, const Request& request, absl::Time now, absl::Time real_now) {
  Advance(world, now);
  const Segments s = request.Segments();
  if (s.size() < 2 || s[0] != "_emulator") return UnknownThing(request.path);
  return Dispatch(world, request, absl::AsciiStrToLower(s[1]), {s.begin() + 2, s.end()}, now,
                  real_now);
}

}  // namespace failover::emulator
