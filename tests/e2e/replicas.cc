#include "tests/e2e/replicas.h"

#include <algorithm>
#include <set>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/strip.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"

namespace failover::e2e {
namespace {

using Json = nlohmann::json;

constexpr char kElection[] =
    "leaderElection: {leaseDuration: 5s, renewDeadline: 3s, retryPeriod: 500ms, "
    "requestTimeout: 1s}\n";

constexpr char kName[] = "replicas.failover.test";

// Of replica i: what sets its requests apart in the emulator's log.
std::string TenantOf(int i) { return absl::StrCat("00000000-0000-4000-8000-0000000010a", i); }
std::string ClientOf(int i) { return absl::StrCat("00000000-0000-4000-8000-0000000010c", i); }
std::string HostOf(int i) { return absl::StrCat("127.0.4.", i + 1); }
std::string TokenOf(int i) { return absl::StrCat("token-of-ctl-", i); }

// The emulated Azure knows a client for each replica.
SystemOptions WithClients(SystemOptions options, int count) {
  options.fixed_ports = false;  // there are others
  options.change_world = [more = options.change_world, count](Json& world) {
    if (more) more(world);
    const Json client = world["clients"][0];
    for (int i = 0; i < count; ++i) {
      Json own = client;
      own["tenant"] = TenantOf(i);
      own["clientId"] = ClientOf(i);
      own["objectId"] = ClientOf(i);
      world["clients"].push_back(own);
    }
  };
  return options;
}

}  // namespace

const char kLeasePath[] = "/apis/coordination.k8s.io/v1/namespaces/dr/leases/apim-failover";
std::string ConfigMapOf(const std::string& group) {
  return absl::StrCat("/api/v1/namespaces/dr/configmaps/apim-failover-", group);
}

Replicas::Replicas(SystemOptions chosen, int count, Relay relay)
    : System(WithClients(std::move(chosen), count)),
      count_(count),
      relay_(relay),
      replicas_(static_cast<size_t>(count)) {
  std::set<std::string> tokens;
  for (int i = 0; i < count; ++i) {
    served_by.push_back(i);
    std::map<std::string, int>& ports = ports_.emplace_back();
    for (const char* name : {"agent", "operator", "metrics"}) ports[name] = FreePort();
    if (OnOwnAddresses()) ports["agent"] = ports_[0].at("agent");
    dir().Write(absl::StrCat("token-", i), TokenOf(i));
    tokens.insert(TokenOf(i));
  }
  stub.AcceptTokens(std::move(tokens));
  SetNamed(served_by);
}

std::string Replicas::ConfigOf(int i) const {
  const Json world = Json::parse(dir().Read("world.json"));
  const Json& client = world["clients"][0];
  std::string store =
      absl::StrCat("store: {kubernetes: {}}\n", kElection, "kubernetes: {apiServer: \"", stub.url(),
                   "\", namespace: dr, tokenFile: token-", i, "}");
  if (relay_ == Relay::kToTheOther)
    absl::StrAppend(&store, "\nreplicasAddress: \"", AddressOf(1 - i, "agent"), "\"");
  if (relay_ == Relay::kByName)
    absl::StrAppend(&store, "\nreplicasAddress: \"", kName, ":", ports_[0].at("agent"), "\"");
  std::vector<std::pair<std::string, std::string>> changes = {
      {"store: {directory: state}", store},
      {client["tenant"].get<std::string>(), TenantOf(i)},
      {client["clientId"].get<std::string>(), ClientOf(i)}};
  for (const char* name : {"agent", "operator", "metrics"}) {
    changes.emplace_back(absl::StrCat(name, "Address: 127.0.0.1:0\n"),
                         absl::StrCat(name, "Address: ", AddressOf(i, name), "\n"));
  }
  std::string text = dir().Read("controller.yaml");
  for (const auto& change : changes) {
    EXPECT_EQ(absl::StrReplaceAll({change}, &text), 1) << "one \"" << change.first << "\" in\n"
                                                       << text;
  }
  return text;
}

bool Replicas::MayMount() {
  const TempDir dir;
  const std::string file = dir.Write("file", "");
  return RunCommand({"unshare", "--mount", "mount", "--bind", file, "/etc/hosts"}).exit_code == 0;
}

void Replicas::StartReplica(int i, const std::map<std::string, std::string>& more) {
  const std::string name = absl::StrCat("ctl-", i);
  std::map<std::string, std::string> environment = more;
  environment["TMPDIR"] = dir().path();
  environment["POD_NAME"] = name;
  const std::string config = dir().Write(absl::StrCat(name, ".yaml"), ConfigOf(i));
  std::vector<std::string> command = {Binary("failover-controller"), "--config", config};
  if (relay_ == Relay::kByName) {
    std::string hosts = "127.0.0.1 localhost\n";
    for (int other = 0; other < count_; ++other)
      absl::StrAppend(&hosts, HostOf(other), " ", kName, "\n");
    const std::string mount =
        absl::StrCat("mount --bind ", dir().Write("hosts", hosts), " /etc/hosts && exec \"$@\"");
    command.insert(command.begin(), {"unshare", "--mount", "sh", "-c", mount, "sh"});
  }
  replica(i) = Process(std::move(command), dir().File(absl::StrCat(name, ".log")), environment);
}

void Replicas::StartController(const std::map<std::string, std::string>& environment) {
  if (stub.Has(kLeasePath)) return;
  StartReplica(0, environment);
  ASSERT_TRUE(Eventually(absl::Seconds(20), [this] { return Holder() == 0; })) << ControllerLog();
  for (int i = 1; i < count_; ++i) StartReplica(i);
}

void Replicas::UpdateConfigs() {
  for (int i = 0; i < count_; ++i) dir().Write(absl::StrCat("ctl-", i, ".yaml"), ConfigOf(i));
}

int Replicas::Holder() const {
  const std::string holder = stub.Field(kLeasePath, "/spec/holderIdentity");
  absl::string_view number = absl::string_view(holder).substr(0, holder.find('_'));
  int i = -1;
  return absl::ConsumePrefix(&number, "ctl-") && absl::SimpleAtoi(number, &i) ? i : -1;
}

int Replicas::Leader(int not_this, absl::Duration timeout) {
  int holder = -1;
  const bool leads = Eventually(timeout, [&] {
    holder = Holder();
    return holder >= 0 && holder != not_this && WhatSays(holder).leader();
  });
  return leads ? holder : -1;
}

std::string Replicas::AddressOf(int i, const std::string& which) const {
  const bool own_address = OnOwnAddresses() && which == "agent";
  return absl::StrCat(own_address ? HostOf(i) : "127.0.0.1", ":",
                      ports_[static_cast<size_t>(i)].at(which));
}
std::string Replicas::Address(const std::string& which) const {
  return AddressOf(std::max(Holder(), 0), which);
}

double Replicas::MetricOf(int i, const std::string& series) {
  return MetricAt(AddressOf(i, "metrics"), series);
}
double Replicas::Results(int i, const std::string& region, const std::string& kind) {
  return MetricOf(i, absl::StrCat("apim_failover_agent_results_total{probe_region=\"", region,
                                  "\",result=\"", kind, "\"}"));
}
v1::GetStatusResponse Replicas::WhatSays(int i) {
  return StatusAt(*this, AddressOf(i, "operator"));
}

std::string Replicas::LogOf(int i) const { return dir().Read(absl::StrCat("ctl-", i, ".log")); }
std::string Replicas::ControllerLog() const {
  std::string log;
  for (int i = 0; i < count_; ++i) absl::StrAppend(&log, "--- ctl-", i, "\n", LogOf(i));
  return log;
}

std::vector<Json> Replicas::ToAzure(int i, uint64_t after) {
  std::vector<Json> own;
  for (Json& entry : Requests(true)) {
    if (entry.value("sequence", uint64_t{0}) > after &&
        (entry.value("clientId", "") == ClientOf(i) || entry.value("front", "") == "blob" ||
         absl::StrContains(entry.value("path", ""), TenantOf(i))))
      own.push_back(std::move(entry));
  }
  return own;
}
uint64_t Replicas::LastToAzure() {
  return Control("GET", "requests?all=true").value("next", uint64_t{0});
}

std::vector<KubernetesStub::Seen> Replicas::Writes(int i, size_t after) const {
  std::vector<KubernetesStub::Seen> all = stub.Requests(), own;
  for (size_t at = after; at < all.size(); ++at) {
    if (all[at].token == TokenOf(i) && all[at].method != "GET" &&
        !absl::StrContains(all[at].path, "/events"))
      own.push_back(std::move(all[at]));
  }
  return own;
}

int Replicas::LeaseRequests(int i) const {
  int count = 0;
  for (const KubernetesStub::Seen& request : stub.Requests())
    count += request.token == TokenOf(i) && absl::StrContains(request.path, "/leases");
  return count;
}

void Replicas::SetNamed(const std::vector<int>& replicas) {
  std::vector<std::string> addresses;
  for (const int i : replicas) addresses.push_back(HostOf(i));
  names_.Set(kName, {}, std::move(addresses));
}

std::string Replicas::NamesOfAgents() const {
  if (relay_ != Relay::kNoneAndAgentsByName) return System::NamesOfAgents();
  names_.AskElsewhere(System::NamesOfAgents());
  return names_.address();
}

std::string Replicas::ControllersOfAgents() const {
  if (relay_ == Relay::kNoneAndAgentsByName)
    return absl::StrCat("controllerReplicas: [\"", kName, ":", ports_[0].at("agent"), "\"]");
  return absl::StrCat("controllers: [",
                      absl::StrJoin(served_by, ", ",
                                    [this](std::string* out, int i) {
                                      absl::StrAppend(out, "\"", AddressOf(i, "agent"), "\"");
                                    }),
                      "]");
}

}  // namespace failover::e2e
