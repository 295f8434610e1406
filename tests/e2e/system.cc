#include "tests/e2e/system.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmath>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <random>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "google/protobuf/util/json_util.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"

namespace failover::e2e {
namespace {

using Json = nlohmann::json;

struct RegionOf {
  const char* region;
  const char* source;
};
constexpr RegionOf kRegions[] = {
    {"westeurope", "127.0.2.1"}, {"northeurope", "127.0.2.2"}, {"uksouth", "127.0.2.3"}};

Json ReadJson(const std::string& file) {
  std::ifstream in(file);
  return Json::parse(in, nullptr, false);
}

std::string Scope(const Json& world) {
  return absl::StrCat("/subscriptions/", world["subscription"].get<std::string>(),
                      "/resourceGroups/", world["resourceGroup"].get<std::string>(), "/providers/");
}

}  // namespace

const char kOtherGroup[] = R"(- name: billing-api
  mode: observe
  services:
  - {name: bill-weu, region: westeurope, resourceId: /subscriptions/00000000-0000-4000-8000-00000000abcd/resourceGroups/contoso-apis/providers/Microsoft.ApiManagement/service/bill-weu, gatewayUrl: "https://bill-weu.azure-api.net"}
  - {name: bill-neu, region: northeurope, resourceId: /subscriptions/00000000-0000-4000-8000-00000000abcd/resourceGroups/contoso-apis/providers/Microsoft.ApiManagement/service/bill-neu, gatewayUrl: "https://bill-neu.azure-api.net"}
  probes:
  - {name: status, http: {path: /status}, interval: 500ms, timeout: 500ms}
  probeRegions: [westeurope, northeurope, uksouth]
)";

int FreePort() {
  std::random_device random;
  for (;;) {
    const int port = std::uniform_int_distribution<int>(12000, 31000)(random);
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<uint16_t>(port));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    const bool free = bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0;
    close(fd);
    if (free) return port;
  }
}

System::System(SystemOptions chosen)
    : options(std::move(chosen)),
      ca_("test CA", absl::Now() - absl::Hours(1), absl::Now() + 2 * options.certificates_last) {
  Json world = ReadJson(absl::StrCat(FAILOVER_TESTDATA, "/worlds/", options.world));
  world["timing"]["backup"] = {{"min", "600ms"}, {"max", "900ms"}};
  world["timing"]["restore"] = {{"min", "600ms"}, {"max", "900ms"}};
  for (Json& service : world["services"]) {
    if (service["content"].value("kind", "") == "realistic") service["content"]["apis"] = 5;
  }
  if (options.change_world) options.change_world(world);
  for (const char* name : {"agent", "operator", "metrics"})
    ports_[name] = options.fixed_ports ? FreePort() : 0;
  dir_.Write("world.json", world.dump());
  for (const char* whose : {"controller", "operator"})
    RenewCertificate(whose, options.certificates_last);
  for (const std::string& region : AgentRegions()) {
    agent_ports_[region] = options.agent_ports ? FreePort() : 0;
    RenewCertificate(region, options.certificates_last);
  }
}

void System::RenewCertificate(const std::string& whose, absl::Duration lasts) {
  const std::string name = whose == "controller" ? "controller/ctl-1"
                           : whose == "operator" ? "operator/test"
                                                 : absl::StrCat("agent/", whose, "/agent-1");
  LeafSpec spec;
  spec.uris = {absl::StrCat("spiffe://test/", name)};
  spec.not_after = absl::Now() + lasts;
  WriteTlsFiles(dir_, whose, ca_, ca_.Issue(spec));
}

const std::vector<std::string>& System::AgentRegions() {
  static const auto* const kNames = [] {
    auto* const names = new std::vector<std::string>();
    for (const RegionOf& region : kRegions) names->emplace_back(region.region);
    return names;
  }();
  return *kNames;
}

void System::StartEmulator() {
  std::vector<std::string> command = {Binary("azure-emulator"), "--world", dir_.File("world.json"),
                                      "--directory", dir_.path()};
  command.insert(command.end(), options.emulator_arguments.begin(),
                 options.emulator_arguments.end());
  emulator = Process(command, dir_.File("emulator.log"), {{"TMPDIR", dir_.path()}});
  ASSERT_TRUE(Eventually(absl::Seconds(20), [this] {
    return !dir_.Read("endpoints.json").empty();
  })) << dir_.Read("emulator.log");
  WriteControllerConfig(options.mode);
}

std::string System::Endpoint(const std::string& key) const {
  const Json endpoints = ReadJson(dir_.File("endpoints.json"));
  return endpoints.is_object() ? endpoints.value(key, "") : "";
}

std::string System::Address(const std::string& which) const {
  if (options.fixed_ports) return absl::StrCat("127.0.0.1:", ports_.at(which));
  const Json addresses = ReadJson(dir_.File("addresses.json"));
  return addresses.is_object() ? addresses.value(which, "") : "";
}

void System::WriteControllerConfig(const std::string& mode) {
  const Json world = ReadJson(dir_.File("world.json"));
  const Json endpoints = ReadJson(dir_.File("endpoints.json"));
  const std::string scope = Scope(world);
  dir_.Write("client-secret", world["clients"][0]["secret"].get<std::string>());
  dir_.Write("storage-key", world["storageAccounts"][0]["key"].get<std::string>());
  std::string services, traffic;
  for (const Json& service : world["services"]) {
    const std::string name = service["name"];
    absl::StrAppend(&services, "  - {name: ", name,
                    ", region: ", service["region"].get<std::string>(), ", resourceId: ", scope,
                    "Microsoft.ApiManagement/service/", name, ", gatewayUrl: \"",
                    endpoints["gateways"][name]["url"].get<std::string>(), "\"}\n");
  }
  for (const Json& endpoint : world["trafficManagerProfiles"][0]["endpoints"]) {
    const std::string name = endpoint["name"];
    absl::StrAppend(&traffic, traffic.empty() ? "" : ", ", "apim-", name, ": ", name);
  }
  const int port = endpoints["gatewayPort"];
  const std::string text = absl::StrCat(
      "controllerRegion: swedencentral\nagentAddress: 127.0.0.1:", ports_["agent"],
      "\noperatorAddress: 127.0.0.1:", ports_["operator"],
      "\nmetricsAddress: 127.0.0.1:", ports_["metrics"], "\n",
      "store: {directory: state}\ntls: {certificateFile: controller.crt, keyFile: controller.key, "
      "caFile: controller-ca.crt}\n",
      "failoverGroups:\n- name: orders-api\n  mode: ", mode,
      "\n  objectives: {rpo: 1h, rto: 2m}\n  services:\n", services,
      "  probes:\n  - {name: status, http: {path: /status-0123456789abcdef}, interval: 500ms, "
      "timeout: 500ms, successThreshold: 3}\n",
      "  probeRegions: [westeurope, northeurope, uksouth]\n  controlTargets: [\"",
      endpoints["neutral"].get<std::string>(), "\"]\n",
      "  failover: {minDownDuration: ", options.min_down, ", cooldown: ", options.cooldown,
      "}\n  traffic:\n    publicUrl: https://", endpoints["publicName"].get<std::string>(), ":",
      port, "/status-0123456789abcdef\n    servedBy: address\n",
      "    trafficManager: {profileResourceId: ", scope,
      "Microsoft.Network/trafficmanagerprofiles/",
      world["trafficManagerProfiles"][0]["name"].get<std::string>(), ", endpoints: {", traffic,
      "}}\n", "  sync:\n    interval: ", options.sync_interval,
      "\n    storage: {account: ", world["storageAccounts"][0]["name"].get<std::string>(),
      ", container: apim-backups, access: accessKey, accessKeyFile: storage-key}\n",
      options.group_extra, options.more_groups, "timing: ", options.timing,
      "\nazure:\n  auth: clientSecret\n  tenantId: ",
      world["clients"][0]["tenant"].get<std::string>(),
      "\n  clientId: ", world["clients"][0]["clientId"].get<std::string>(),
      "\n  clientSecretFile: client-secret\n  armEndpoint: ", Endpoint("arm"),
      "\n  authorityEndpoint: ", Endpoint("authority"), "\n  blobEndpoint: ", Endpoint("blob"),
      "/{account}\n  caFile: ca.pem\n");
  dir_.Write("controller.yaml", text);
}

void System::EditControllerConfig(const std::string& from, const std::string& to) {
  std::string text = dir_.Read("controller.yaml");
  const size_t at = text.find(from);
  ASSERT_NE(at, std::string::npos) << "no \"" << from << "\" in\n" << text;
  dir_.Write("controller.yaml", text.replace(at, from.size(), to));
}

// Programs killed by SIGKILL leave their temporary files in our directory, which goes with the
// test.
void System::StartController(const std::map<std::string, std::string>& more) {
  std::map<std::string, std::string> environment = more;
  environment["TMPDIR"] = dir_.path();
  std::error_code ignored;
  std::filesystem::remove(dir_.File("addresses.json"), ignored);
  controller = Process({Binary("failover-controller"), "--config", dir_.File("controller.yaml"),
                        "--address-file", dir_.File("addresses.json")},
                       dir_.File("controller.log"), environment);
}

void System::WriteAgentConfig(const std::string& region, const std::string& source,
                              const std::string& certificate) {
  dir_.Write(
      absl::StrCat("agent-", region, ".yaml"),
      absl::StrCat("probeRegion: ", region, "\n", ControllersOfAgents(),
                   "\ntls: {certificateFile: ", certificate, ".crt, keyFile: ", certificate,
                   ".key, caFile: ", certificate, "-ca.crt}\nallowedHosts: [127.0.0.0/8]\n",
                   "resolver: {servers: [\"", NamesOfAgents(), "\"]}\nsourceAddress: ", source,
                   "\ncaFile: ca.pem\nmetricsAddress: ", AgentMetrics(region), "\n"));
}

std::string System::AgentMetrics(const std::string& region) const {
  const auto port = agent_ports_.find(region);
  return absl::StrCat("127.0.0.1:", port == agent_ports_.end() ? 0 : port->second);
}

std::string System::ControllersOfAgents() const {
  return absl::StrCat("controllers: [\"", Address("agent"), "\"]");
}

void System::StartAgents() {
  agents.clear();
  agents.resize(AgentRegions().size());
  for (size_t i = 0; i < agents.size(); ++i) StartAgent(i);
}

void System::StartAgent(size_t i) {
  const RegionOf& region = kRegions[i];
  WriteAgentConfig(region.region, region.source, region.region);
  agents[i] =
      Process({Binary("failover-agent"), "--config",
               dir_.File(absl::StrCat("agent-", region.region, ".yaml"))},
              dir_.File(absl::StrCat("agent-", region.region, ".log")), {{"TMPDIR", dir_.path()}});
}

void System::StartAll(const std::map<std::string, std::string>& controller_environment) {
  StartEmulator();
  if (::testing::Test::HasFatalFailure()) return;
  StartController(controller_environment);
  ASSERT_TRUE(Eventually(absl::Seconds(20), [this] {
    return !Page(Address("metrics"), "/livez").empty();
  })) << ControllerLog();
  StartAgents();
}

CommandResult System::Ctl(const std::vector<std::string>& arguments) {
  return CtlAt(Address("operator"), arguments);
}

CommandResult System::CtlAt(const std::string& address, const std::vector<std::string>& arguments) {
  std::vector<std::string> command = {Binary("failoverctl"),
                                      "--controller",
                                      address,
                                      "--tls-cert",
                                      dir_.File("operator.crt"),
                                      "--tls-key",
                                      dir_.File("operator.key"),
                                      "--tls-ca",
                                      dir_.File("operator-ca.crt")};
  command.insert(command.end(), arguments.begin(), arguments.end());
  return RunCommand(command);
}

v1::GroupStatus System::Status() {
  const CommandResult run = Ctl({"-o", "json", "status", "orders-api"});
  v1::GetStatusResponse response;
  if (!google::protobuf::util::JsonStringToMessage(run.out, &response).ok() ||
      response.groups_size() != 1)
    return {};
  return response.groups(0);
}

bool System::StatusBecomes(absl::Duration timeout,
                           const std::function<bool(const v1::GroupStatus&)>& holds) {
  v1::GroupStatus last;
  if (Eventually(timeout, [&] { return holds(last = Status()); })) return true;
  std::cerr << "last status: " << last.ShortDebugString() << "\ncontroller log:\n"
            << ControllerLog() << "\n";
  return false;
}

bool System::Ready(absl::Duration timeout) {
  return StatusBecomes(timeout, [](const v1::GroupStatus& status) {
    return !status.best_standby().empty() && status.state() == "healthy";
  });
}

nlohmann::json System::Control(const std::string& method, const std::string& path,
                               const std::string& body) {
  const std::unique_ptr<HttpClient> http = NewCurlHttpClient({});
  HttpRequest request;
  request.method = method;
  request.url = absl::StrCat(Endpoint("control"), "/_emulator/", path);
  request.body = body;
  const HttpResult result = http->Send(request);
  if (!result.response.has_value() || result.response->status >= 300) {
    ADD_FAILURE() << method << " " << path << ": "
                  << (result.response ? result.response->body : result.error.ToString());
    return {};
  }
  return Json::parse(result.response->body, nullptr, false);
}

std::vector<nlohmann::json> System::Requests(bool all) {
  const Json log = Control("GET", all ? "requests?all=true" : "requests");
  const auto requests = log.find("requests");
  return requests == log.end() ? std::vector<Json>() : requests->get<std::vector<Json>>();
}

std::vector<std::string> System::Switches() {
  std::vector<std::string> switches;
  for (const Json& entry : Requests()) {
    const std::string path = entry.value("path", ""), status = entry.value("endpointStatus", "");
    if (entry.value("applied", false) && !status.empty())
      switches.push_back(absl::StrCat(path.substr(path.rfind('/') + 1), " ", status));
  }
  return switches;
}

int System::Effects(const std::string& operation, const std::string& service) {
  int count = 0;
  for (const Json& entry : Requests()) {
    if (entry.value("operation", "") == operation && entry.value("applied", false) &&
        (service.empty() || absl::EqualsIgnoreCase(entry.value("service", ""), service))) {
      ++count;
    }
  }
  return count;
}

double System::Metric(const std::string& series) { return MetricAt(Address("metrics"), series); }

v1::GetStatusResponse StatusAt(System& system, const std::string& address) {
  v1::GetStatusResponse response;
  const auto parsed = google::protobuf::util::JsonStringToMessage(
      system.CtlAt(address, {"-o", "json", "status"}).out, &response);
  return parsed.ok() ? response : v1::GetStatusResponse();
}

std::string NotWorkedOn(System& system, const std::string& group) {
  const v1::GetStatusResponse whole = StatusAt(system, system.Address("operator"));
  for (const v1::GroupStatus& status : whole.groups()) {
    if (status.name() != group) continue;
    for (const std::string& notice : status.notices()) {
      if (absl::StartsWith(notice, "not worked on: ")) return notice;
    }
    return "";
  }
  return "no status";
}

std::string Page(const std::string& address, const std::string& path) {
  if (address.empty()) return "";
  const std::unique_ptr<HttpClient> http = NewCurlHttpClient({});
  HttpRequest request;
  request.url = absl::StrCat("http://", address, path);
  request.timeout = absl::Seconds(5);
  const HttpResult result = http->Send(request);
  return result.response.has_value() && result.response->status == 200 ? result.response->body : "";
}

double MetricAt(const std::string& address, const std::string& series) {
  const std::string page = Page(address, "/metrics");
  for (absl::string_view line : absl::StrSplit(page, '\n')) {
    double value = 0;
    if (absl::StartsWith(line, absl::StrCat(series, " ")) &&
        absl::SimpleAtod(line.substr(series.size() + 1), &value))
      return value;
  }
  return std::nan("");
}

}  // namespace failover::e2e
