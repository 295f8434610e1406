#ifndef TESTS_E2E_SYSTEM_H_
#define TESTS_E2E_SYSTEM_H_

#include <sys/types.h>

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "apim_failover/v1/operator.pb.h"
#include "common/http_client.h"
#include "common/proto.h"
#include "nlohmann/json_fwd.hpp"
#include "tests/support/temp_dir.h"
#include "tests/support/test_ca.h"

namespace failover::e2e {

// One of our programs, or another, as a process of its own; stderr and stdout go to a file. Killed
// at the end.
class Process {
 public:
  Process() = default;
  // `environment`: added to ours.
  Process(std::vector<std::string> command, const std::string& log_file,
          const std::map<std::string, std::string>& environment = {});
  ~Process();
  Process(Process&& other) noexcept;
  Process& operator=(Process&& other) noexcept;

  bool Running();
  void Signal(int signal) const;
  // Waits for its end; the raw wait status. Kills it after `timeout`.
  int Wait(absl::Duration timeout = absl::Seconds(10));
  // Waits until it was ended by SIGKILL, other than by us; false after `timeout`, or when it ended
  // in another way.
  bool DiesBySigkill(absl::Duration timeout);
  void Kill();
  pid_t pid() const { return pid_; }

 private:
  pid_t pid_ = -1;
  int status_ = 0;
};

struct CommandResult {
  int exit_code = -1;
  std::string out, err;
};
// Runs to the end; killed after 30 s.
CommandResult RunCommand(const std::vector<std::string>& command,
                         const std::map<std::string, std::string>& environment = {});

// True as soon as `condition` holds; false after `timeout`.
bool Eventually(absl::Duration timeout, const std::function<bool()>& condition);
// A port nobody listens on, outside the range from which the kernel gives ports to connections:
// nobody gets it by chance while the process that had it is dead.
int FreePort();

// How a test differs from the demo's set-up.
struct SystemOptions {
  std::string world = "two-services.json";
  // Changes the world file before it is used.
  std::function<void(nlohmann::json&)> change_world;
  std::string mode = "automatic";
  std::string sync_interval = "1h";
  std::string min_down = "0s";
  std::string cooldown = "30m";
  std::string timing =
      "{verifyReadsPerSecond: 500, ambiguityWait: 1s, ambiguityWatch: 6s, freezeHold: 3s, "
      "freezeThaw: 1s}";
  std::string group_extra;  // YAML lines appended to the group, indented by two
  std::string more_groups;  // YAML of further groups
  std::vector<std::string> emulator_arguments;
  // The controller listens on ports chosen once, so that agents find it again after a restart by
  // themselves.
  bool fixed_ports = false;
  // Agents serve /metrics on ports chosen once: see AgentMetrics.
  bool agent_ports = false;
  absl::Duration certificates_last = absl::Hours(24);
};

// Emulated Azure, controller and three agents, as processes on loopback, with certificates of a CA
// of their own. Operations take about a second (the world files are made faster).
class System {
 public:
  explicit System(SystemOptions options = {});
  virtual ~System() = default;

  void StartEmulator();
  virtual void StartController(const std::map<std::string, std::string>& environment = {});
  // The process that StartController starts at first.
  virtual Process& First() { return controller; }
  void StartAgents();
  // One of them, in the place of one that was killed; in the order of agents.
  void StartAgent(size_t i);
  static const std::vector<std::string>& AgentRegions();
  // Address of an agent's /metrics, with agent_ports.
  std::string AgentMetrics(const std::string& region) const;
  void StartAll(const std::map<std::string, std::string>& controller_environment = {});

  // failoverctl with this system's certificates.
  CommandResult Ctl(const std::vector<std::string>& arguments);
  CommandResult CtlAt(const std::string& address, const std::vector<std::string>& arguments);
  // Of group orders-api; an empty message when the controller does not answer.
  v1::GroupStatus Status();
  // Waits until `holds` is true of the status; the log of the controller is printed when it does
  // not become so.
  bool StatusBecomes(absl::Duration timeout,
                     const std::function<bool(const v1::GroupStatus&)>& holds);
  // A first sync run has ended well and the standby is ready.
  bool Ready(absl::Duration timeout = absl::Seconds(60));

  // The emulator's control API; the test fails when it refuses.
  nlohmann::json Control(const std::string& method, const std::string& path,
                         const std::string& body = "");
  // Requests that could change something, of one kind (see control_api.h), that took effect.
  int Effects(const std::string& operation, const std::string& service = "");
  // Requests that could change something, oldest first; with `all`, every one.
  std::vector<nlohmann::json> Requests(bool all = false);
  // Writes of an endpoint's status that took effect, in their order: "neu Enabled". The hourly
  // proof that the controller may write (design.md §7.10) sets no status and is not among them.
  std::vector<std::string> Switches();
  // One line of /metrics of the controller, "name{labels}"; NaN when absent.
  double Metric(const std::string& series);

  virtual std::string ControllerLog() const { return dir_.Read("controller.log"); }
  std::string Endpoint(const std::string& key) const;           // of endpoints.json
  virtual std::string Address(const std::string& which) const;  // agent | operator | metrics
  const TempDir& dir() const { return dir_; }
  const TestCa& ca() const { return ca_; }
  void WriteControllerConfig(const std::string& mode);
  // A new pair for the controller (all replicas), an operator or an agent: "controller",
  // "operator", or a region.
  void RenewCertificate(const std::string& whose, absl::Duration lasts);
  // Replaces the first `from` in controller.yaml; the test fails when there is none.
  void EditControllerConfig(const std::string& from, const std::string& to);
  void WriteAgentConfig(const std::string& region, const std::string& source,
                        const std::string& certificate);
  // Where agents ask for names.
  virtual std::string NamesOfAgents() const { return Endpoint("dns"); }
  // The line of an agent's file that names its controllers.
  virtual std::string ControllersOfAgents() const;

  Process emulator, controller;
  std::vector<Process> agents;
  SystemOptions options;

 private:
  TempDir dir_;
  TestCa ca_;
  std::map<std::string, int> ports_;        // of fixed_ports, by the name of the address
  std::map<std::string, int> agent_ports_;  // by region
};

std::string Binary(const std::string& name);
// What failoverctl at an address says of everything; an empty message when nobody answers.
v1::GetStatusResponse StatusAt(System& system, const std::string& address);
// The notice of a group that is not worked on; empty when it is.
std::string NotWorkedOn(System& system, const std::string& group);
// A page at an address; empty when nobody answers.
std::string Page(const std::string& address, const std::string& path);
// One line of /metrics at an address; NaN when absent.
double MetricAt(const std::string& address, const std::string& series);
// YAML of a group billing-api, of two services that Azure does not have: enough to be loaded and
// shown.
extern const char kOtherGroup[];

}  // namespace failover::e2e

#endif  // TESTS_E2E_SYSTEM_H_
