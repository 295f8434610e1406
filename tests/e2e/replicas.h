#ifndef TESTS_E2E_REPLICAS_H_
#define TESTS_E2E_REPLICAS_H_

#include <map>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "tests/e2e/system.h"
#include "tests/gateway_stub/name_server.h"
#include "tests/kubernetes_stub/api_server.h"

namespace failover::e2e {

// A System whose controller is several replicas beside a stub of the API server, which runs in the
// test's process. Replica 0 leads first. Each has its own ports, a client and a tenant of Azure and
// a token of Kubernetes, by which the logs of both tell whose a request is. Lease times 5/3/0.5 s.
//
// Whatever System asks or orders goes to the replica that the Lease names.
class Replicas : public System {
 public:
  // Whether replicas pass on to each other what agents say to them.
  enum class Relay {
    kNone,
    kToTheOther,  // of two, by its address
    kByName,      // which resolves to all of them, by a hosts file that only they see: see MayMount
    kNoneAndAgentsByName,  // none; but agents find them by a name: see SetNamed
  };
  explicit Replicas(SystemOptions options = {}, int count = 2, Relay relay = Relay::kNone);
  // A process may have mounts of its own.
  static bool MayMount();

  // Starts the first replica, with this environment, and the others once it has the Lease. Called
  // again: nothing, the others are there.
  void StartController(const std::map<std::string, std::string>& environment = {}) override;
  Process& First() override { return replicas_[0]; }
  // Starts a replica that is not running.
  void StartReplica(int i, const std::map<std::string, std::string>& environment = {});
  // Every replica gets what controller.yaml says now.
  void UpdateConfigs();
  Process& replica(int i) { return replicas_[static_cast<size_t>(i)]; }
  int count() const { return count_; }

  // The replica that the Lease names; -1 = none.
  int Holder() const;
  // Waits until a replica other than `not_this` holds the Lease and says itself that it leads; -1
  // after `timeout`.
  int Leader(int not_this = -1, absl::Duration timeout = absl::Seconds(30));
  std::string AddressOf(int i, const std::string& which) const;  // agent | operator | metrics
  std::string Address(const std::string& which) const override;
  double MetricOf(int i, const std::string& series);
  // Results that came to a replica from the agent of a region: accepted | relayed.
  double Results(int i, const std::string& region, const std::string& kind = "accepted");
  v1::GetStatusResponse WhatSays(int i);
  std::string LogOf(int i) const;
  std::string ControllerLog() const override;

  // Requests of a replica to Azure, of every kind, after that number of the emulator's log; those
  // for blobs, which are signed with a key and do not say whose they are, of all.
  std::vector<nlohmann::json> ToAzure(int i, uint64_t after);
  // The number of the last request in the emulator's log.
  uint64_t LastToAzure();
  // A replica's writes in the stub's log after its first `after` requests, but for Events.
  std::vector<KubernetesStub::Seen> Writes(int i, size_t after) const;

  // How many requests a replica has sent for the Lease.
  int LeaseRequests(int i) const;

  // Agents connect to these; all at first.
  std::vector<int> served_by;
  // With kNoneAndAgentsByName instead: the name stands for these from now on; for all at first.
  void SetNamed(const std::vector<int>& replicas);
  KubernetesStub stub;

 protected:
  std::string ControllersOfAgents() const override;
  std::string NamesOfAgents() const override;

 private:
  std::string ConfigOf(int i) const;
  // Each replica has an address of its own for agents, and all the same port.
  bool OnOwnAddresses() const {
    return relay_ == Relay::kByName || relay_ == Relay::kNoneAndAgentsByName;
  }

  const int count_;
  const Relay relay_;
  mutable NameServerStub names_;                   // asks the emulator for what it does not know
  std::vector<std::map<std::string, int>> ports_;  // by the name of the address
  std::vector<Process> replicas_;
};

// Paths of the stub's objects.
extern const char kLeasePath[];
std::string ConfigMapOf(const std::string& group);

}  // namespace failover::e2e

#endif  // TESTS_E2E_REPLICAS_H_
