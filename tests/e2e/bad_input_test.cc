#include <csignal>
#include <filesystem>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "apim_failover/v1/agent.grpc.pb.h"
#include "common/tls.h"
#include "grpcpp/grpcpp.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/e2e/system.h"

// Whatever comes in wrong is a clear error that names place, value and what is allowed, and nothing
// is lost by it.
namespace failover::e2e {
namespace {

using Json = nlohmann::json;
using testing::Test;

std::string Said(const CommandResult& run) { return run.out + run.err; }

CommandResult RunController(const System& system) {
  return RunCommand(
      {Binary("failover-controller"), "--config", system.dir().File("controller.yaml")},
      {{"TMPDIR", system.dir().path()}});
}

TEST(BadState, ADamagedOrNewerStateFileIsRefusedAndKeptWhileOtherGroupsGoOn) {
  SystemOptions options;
  options.fixed_ports = true;
  options.more_groups = kOtherGroup;
  System system(options);
  ASSERT_NO_FATAL_FAILURE(system.StartAll());
  ASSERT_TRUE(system.Ready());
  const v1::GroupStatus before = system.Status();
  system.controller.Signal(SIGTERM);
  EXPECT_EQ(system.controller.Wait(), 0);
  const std::string good = system.dir().Read("state/orders-api.state");
  ASSERT_GT(good.size(), 1000u);
  std::string flipped = good;
  flipped[good.size() / 2] ^= 1;
  const struct {
    std::string name, text, says;
  } damages[] = {{"truncated", good.substr(0, good.size() / 2), "is corrupt: it is truncated"},
                 {"one bit", flipped, "is corrupt: its checksum is"},
                 {"empty", "", "is corrupt: it is empty"},
                 {"foreign", "not a state file\n", "is corrupt: its first line"},
                 {"newer", absl::StrReplaceAll(good, {{" schema=1 ", " schema=2 "}}),
                  "was written by a newer version: schema 2, this one knows 1"}};
  for (const auto& damage : damages) {
    SCOPED_TRACE(damage.name);
    system.dir().Write("state/orders-api.state", damage.text);
    system.StartController();
    EXPECT_TRUE(Eventually(absl::Seconds(20), [&] {
      return absl::StrContains(NotWorkedOn(system, "orders-api"), damage.says);
    })) << NotWorkedOn(system, "orders-api");
    EXPECT_TRUE(absl::StrContains(NotWorkedOn(system, "orders-api"),
                                  system.dir().File("state/orders-api.state")));
    EXPECT_TRUE(absl::StrContains(NotWorkedOn(system, "orders-api"), "kept untouched"));
    EXPECT_TRUE(absl::StrContains(system.ControllerLog(), damage.says));
    EXPECT_EQ(NotWorkedOn(system, "billing-api"), "");
    const CommandResult order = system.Ctl({"sync", "run", "orders-api", "--reason", "a test"});
    EXPECT_EQ(order.exit_code, 1) << Said(order);
    EXPECT_TRUE(absl::StrContains(Said(order), "not worked on")) << Said(order);
    system.controller.Signal(SIGTERM);
    EXPECT_EQ(system.controller.Wait(), 0);
    EXPECT_EQ(system.dir().Read("state/orders-api.state"), damage.text) << "kept byte by byte";
  }
  EXPECT_EQ(system.Effects("backup"), 1);
  system.dir().Write("state/orders-api.state", good);
  system.StartController();
  ASSERT_TRUE(system.StatusBecomes(absl::Seconds(30), [](const v1::GroupStatus& status) {
    return !status.best_standby().empty();
  }));
  EXPECT_EQ(system.Status().services(1).record().recovery_point_ms(),
            before.services(1).record().recovery_point_ms());
}

TEST(BadState, ASecondControllerOnTheSameDirectoryIsRefused) {
  System system;
  ASSERT_NO_FATAL_FAILURE(system.StartAll());
  ASSERT_TRUE(Eventually(absl::Seconds(20), [&] { return !system.Status().name().empty(); }));
  const CommandResult second = RunController(system);
  EXPECT_EQ(second.exit_code, 1);
  EXPECT_TRUE(absl::StrContains(
      second.err, absl::StrCat("is in use by another process (pid ", system.controller.pid(), ")")))
      << second.err;
  EXPECT_TRUE(system.controller.Running());
  EXPECT_TRUE(system.Ready());
}

TEST(BadCertificates, AreNamedByBothProgramsAtTheStart) {
  System system;
  ASSERT_NO_FATAL_FAILURE(system.StartEmulator());
  const TempDir& dir = system.dir();
  const TestCa other("another CA");
  const PemPair good = system.ca().Issue("spiffe://test/controller/ctl-1");
  const auto expired = [&] {
    LeafSpec spec{.uris = {"spiffe://test/controller/ctl-1"}, .dns = {}, .ips = {}};
    spec.not_before = absl::Now() - absl::Hours(2);
    spec.not_after = absl::Now() - absl::Hours(1);
    return system.ca().Issue(spec);
  }();
  const struct {
    std::string name, certificate, key, ca;
    std::vector<std::string> says;
  } cases[] = {{"no certificate in the file",
                "hello\n",
                good.key,
                system.ca().certificate(),
                {"controller.crt"}},
               {"key of another",
                good.certificate,
                expired.key,
                system.ca().certificate(),
                {"controller.key", "controller.crt"}},
               {"expired",
                expired.certificate,
                expired.key,
                system.ca().certificate(),
                {"controller.crt", "valid from", "allowed: one that is valid now"}},
               {"of another authority",
                good.certificate,
                good.key,
                other.certificate(),
                {"controller.crt", "does not verify against", "controller-ca.crt"}},
               {"of an agent",
                system.ca().Issue("spiffe://test/agent/uksouth/a").certificate,
                "",
                "",
                {"controller.key"}}};
  for (const auto& bad : cases) {
    SCOPED_TRACE(bad.name);
    dir.Write("controller.crt", bad.certificate);
    dir.Write("controller.key", bad.key.empty() ? good.key : bad.key);
    dir.Write("controller-ca.crt", bad.ca.empty() ? system.ca().certificate() : bad.ca);
    const CommandResult run = RunController(system);
    EXPECT_EQ(run.exit_code, 1);
    for (const std::string& part : bad.says)
      EXPECT_TRUE(absl::StrContains(run.err, part)) << part << " in\n" << run.err;
    EXPECT_FALSE(absl::StrContains(run.err, "PRIVATE KEY"));
  }
  WriteTlsFiles(dir, "controller", system.ca(), system.ca().Issue("spiffe://test/agent/uksouth/a"));
  const CommandResult role = RunController(system);
  EXPECT_EQ(role.exit_code, 1);
  EXPECT_TRUE(absl::StrContains(role.err,
                                "found the identity spiffe://test/agent/uksouth/a; allowed: "
                                "spiffe://<trust domain>/controller/<name>"))
      << role.err;

  std::filesystem::remove(dir.File("uksouth.key"));
  dir.Write(
      "agent.yaml",
      absl::StrCat(
          "probeRegion: uksouth\ncontrollers: [\"127.0.0.1:1\"]\nmetricsAddress: 127.0.0.1:0\n",
          "tls: {certificateFile: uksouth.crt, keyFile: uksouth.key, caFile: uksouth-ca.crt}\n"));
  const CommandResult agent = RunCommand(
      {Binary("failover-agent"), "--config", dir.File("agent.yaml")}, {{"TMPDIR", dir.path()}});
  EXPECT_EQ(agent.exit_code, 1);
  EXPECT_TRUE(absl::StrContains(agent.err, "uksouth.key")) << agent.err;
}

// A client that speaks the agents' protocol by hand.
class RawAgent {
 public:
  RawAgent(const System& system, const std::string& identity) {
    const TlsFiles files = WriteTlsFiles(system.dir(), "raw", system.ca(),
                                         system.ca().Issue("spiffe://test/" + identity));
    tls_ = *TlsIdentity::Load(files);
    channel_ = grpc::CreateChannel(system.Address("agent"),
                                   tls_->ChannelCredentials("spiffe://test/controller/*"));
  }
  // What the controller says to these messages.
  grpc::Status Say(const std::vector<v1::AgentMessage>& messages) {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(20));
    const auto stream = v1::AgentService::NewStub(channel_)->Connect(&context);
    for (const v1::AgentMessage& message : messages) stream->Write(message);
    v1::ControllerMessage answer;
    while (stream->Read(&answer)) {
    }
    return stream->Finish();
  }

 private:
  std::unique_ptr<TlsIdentity> tls_;
  std::shared_ptr<grpc::Channel> channel_;
};

v1::AgentMessage HelloOf(const std::string& region) {
  v1::AgentMessage message;
  message.mutable_hello()->set_probe_region(region);
  message.mutable_hello()->set_instance_id("0123456789abcdef");
  message.mutable_hello()->set_boot_id("boot");
  message.mutable_hello()->set_version("test");
  return message;
}

TEST(BadAgents, AreRefusedWithTheReasonAndHarmNobody) {
  System system;
  ASSERT_NO_FATAL_FAILURE(system.StartAll());
  ASSERT_TRUE(system.Ready());
  RawAgent raw(system, "agent/uksouth/agent-2");
  const grpc::Status region = raw.Say({HelloOf("westeurope")});
  EXPECT_EQ(region.error_code(), grpc::StatusCode::PERMISSION_DENIED);
  const std::string says =
      "the hello names probe region \"westeurope\", the certificate \"uksouth\"; only the "
      "certificate's is allowed";
  EXPECT_EQ(region.error_message(), says);
  const CommandResult agents = system.Ctl({"-o", "json", "agents", "orders-api"});
  EXPECT_TRUE(absl::StrContains(agents.out, "the hello names probe region")) << agents.out;
  EXPECT_TRUE(absl::StrContains(system.ControllerLog(), "refused_identity_mismatch"));

  v1::AgentMessage big;
  big.mutable_results()->add_results()->set_error(std::string(100 << 10, 'x'));
  const grpc::Status oversized = raw.Say({HelloOf("uksouth"), big});
  EXPECT_EQ(oversized.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED)
      << oversized.error_message();
  EXPECT_TRUE(absl::StrContains(oversized.error_message(), "bytes; allowed: 65536"))
      << oversized.error_message();
  big.mutable_results()->mutable_results(0)->set_error(std::string(8 << 20, 'x'));
  EXPECT_FALSE(raw.Say({HelloOf("uksouth"), big}).ok());

  const grpc::Status operators = RawAgent(system, "operator/test").Say({HelloOf("uksouth")});
  EXPECT_EQ(operators.error_code(), grpc::StatusCode::PERMISSION_DENIED);
  EXPECT_TRUE(absl::StrContains(operators.error_message(),
                                "allowed: spiffe://test/agent/<probe region>/<name>"))
      << operators.error_message();
  EXPECT_TRUE(system.Ready()) << "the three real agents vote on";
}

TEST(BadAgents, AnAgentProgramWithTheCertificateOfAnotherRegionSaysSo) {
  System system;
  ASSERT_NO_FATAL_FAILURE(system.StartAll());
  ASSERT_TRUE(Eventually(absl::Seconds(20), [&] { return !system.Status().name().empty(); }));
  system.WriteAgentConfig("uksouth", "127.0.2.3", "westeurope");
  const CommandResult run =
      RunCommand({Binary("failover-agent"), "--config", system.dir().File("agent-uksouth.yaml")},
                 {{"TMPDIR", system.dir().path()}});
  EXPECT_EQ(run.exit_code, 1);
  EXPECT_TRUE(
      absl::StrContains(run.err,
                        "westeurope.crt: found identity spiffe://test/agent/westeurope/agent-1; "
                        "allowed: spiffe://test/agent/uksouth/NAME, since probeRegion is uksouth"))
      << run.err;
}

TEST(BadConfiguration, TheActiveServiceAsItsOwnStandbyIsRefused) {
  System system;
  ASSERT_NO_FATAL_FAILURE(system.StartEmulator());
  ASSERT_NO_FATAL_FAILURE(system.EditControllerConfig("service/apim-neu,", "service/APIM-WEU,"));
  const CommandResult run = RunCommand(
      {Binary("failover-controller"), "--check-config", system.dir().File("controller.yaml")});
  EXPECT_EQ(run.exit_code, 1);
  EXPECT_TRUE(absl::StrContains(
      run.err, "failoverGroups[0].services[1].resourceId: found \"/subscriptions/"))
      << run.err;
  EXPECT_TRUE(absl::StrContains(run.err, "again, as in failoverGroups[0].services[0].resourceId"))
      << run.err;
  EXPECT_TRUE(absl::StrContains(run.err, "controller.yaml:")) << run.err;
}

TEST(BadConfiguration, ABadReloadLeavesTheOldOneInForceAndIsVisible) {
  System system;
  ASSERT_NO_FATAL_FAILURE(system.StartAll());
  ASSERT_TRUE(system.Ready());
  const std::string good = system.dir().Read("controller.yaml");
  const auto error = [&] { return StatusAt(system, system.Address("operator")).config_error(); };
  const char successful[] = "apim_failover_config_last_reload_successful";
  EXPECT_EQ(system.Metric(successful), 1);
  const struct {
    std::string from, to, says;
  } cases[] = {{"  objectives:", "  objectivez:", "objectives"},
               {"mode: automatic", "mode: automatik", "allowed: "},
               {"minDownDuration: 0s", "minDownDuration: soon", "minDownDuration"},
               {"service/apim-neu,", "service/apim-elsewhere,", "service apim-neu is bound to"},
               {"agentAddress: 127.0.0.1:0", "agentAddress: 127.0.0.1:1",
                "a change of agentAddress needs a restart"}};
  for (const auto& bad : cases) {
    SCOPED_TRACE(bad.to);
    ASSERT_NO_FATAL_FAILURE(system.EditControllerConfig(bad.from, bad.to));
    EXPECT_TRUE(Eventually(absl::Seconds(10), [&] { return absl::StrContains(error(), bad.says); }))
        << error();
    EXPECT_EQ(system.Metric(successful), 0);
    EXPECT_EQ(system.Status().mode(), "automatic");
    EXPECT_EQ(system.Status().best_standby(), "apim-neu");
    EXPECT_TRUE(absl::StrContains(system.ControllerLog(), "the old one stays in force"));
    system.dir().Write("controller.yaml", good);
    EXPECT_TRUE(Eventually(absl::Seconds(10), [&] {
      return error().empty() && system.Metric(successful) == 1;
    })) << error();
  }
  ASSERT_NO_FATAL_FAILURE(system.EditControllerConfig("mode: automatic", "mode: manual"));
  EXPECT_TRUE(system.StatusBecomes(
      absl::Seconds(10), [](const v1::GroupStatus& status) { return status.mode() == "manual"; }));
  EXPECT_EQ(system.Status().best_standby(), "apim-neu");
}

TEST(BadCommandLines, AreRefusedByEachProgram) {
  const TempDir dir;
  const struct {
    std::vector<std::string> command;
    int exit_code;
    std::string says;
  } cases[] = {
      {{"failover-controller", "--confg", "x"}, 2, "--confg"},
      {{"failover-controller"}, 2, "--config FILE is missing"},
      {{"failover-controller", "--config", dir.File("none.yaml")}, 1, "none.yaml"},
      {{"failover-controller", "--check-config", dir.File("none.yaml")}, 1, "none.yaml"},
      {{"failover-controller", "--config", "x", "--log-format", "xml"}, 2, "allowed: json, text"},
      {{"failover-agent", "--confg", "x"}, 2, "--confg"},
      {{"failover-agent", "--config", dir.File("none.yaml")}, 1, "none.yaml"},
      {{"failover-agent", "--check-config", dir.File("none.yaml")}, 1, "none.yaml"},
      {{"failoverctl", "status", "--confg", "x"}, 2, "--confg"},
      {{"failoverctl", "statsu"}, 2, "statsu"},
      {{"failoverctl", "--config", dir.File("none.yaml"), "status"}, 2, "none.yaml"},
      {{"azure-emulator", "--wrld", "x"}, 1, "--wrld"},
      {{"azure-emulator", "--world", dir.File("none.json"), "--directory", dir.path()},
       1,
       "none.json"}};
  for (const auto& bad : cases) {
    std::vector<std::string> command = bad.command;
    command[0] = Binary(command[0]);
    const CommandResult run = RunCommand(command, {{"TMPDIR", dir.path()}});
    EXPECT_EQ(run.exit_code, bad.exit_code) << testing::PrintToString(bad.command) << "\n"
                                            << Said(run);
    EXPECT_TRUE(absl::StrContains(run.err, bad.says)) << testing::PrintToString(bad.command) << "\n"
                                                      << Said(run);
  }
}

TEST(BadCommandLines, FailoverctlCannotTellWhenTheControllerIsDead) {
  SystemOptions options;
  options.fixed_ports = true;
  System system(options);
  for (const std::vector<std::string>& verb : std::vector<std::vector<std::string>>{
           {"status"}, {"check"}, {"history", "orders-api"}, {"agents", "orders-api"}}) {
    const CommandResult run = system.Ctl(verb);
    EXPECT_EQ(run.exit_code, 2) << verb[0];
    EXPECT_TRUE(absl::StrContains(
        run.err, absl::StrCat("cannot reach the controller at ", system.Address("operator"))))
        << run.err;
  }
}

}  // namespace
}  // namespace failover::e2e
