// The whole agent in one process: mTLS, assignment, probes, reports, admin port, an orderly end.
#include "agent/app.h"

#include <gtest/gtest.h>

#include <string>

#include "agent/assignment.h"
#include "common/http_client.h"
#include "common/log.h"
#include "tests/component/agent/fake_controller.h"
#include "tests/component/agent/loop_fixture.h"
#include "tests/gateway_stub/gateway.h"
#include "tests/gateway_stub/name_server.h"
#include "tests/support/temp_dir.h"
#include "tests/support/test_ca.h"
#include "tests/support/wait_until.h"

namespace failover::agent {
namespace {

class AppTest : public testing::Test {
 protected:
  std::string ConfigText(const TlsFiles& tls, const std::string& controller) {
    return "probeRegion: westeurope\ncontrollers: [\"" + controller +
           "\"]\ntls: {certificateFile: " + tls.certificate_file + ", keyFile: " + tls.key_file +
           ", caFile: " + tls.ca_file +
           "}\nallowedHosts: [127.0.0.0/8]\nmetricsAddress: 127.0.0.1:0\nassignmentFile: " +
           directory_.File("assignment.json") + "\n";
  }
  absl::StatusOr<std::unique_ptr<App>> StartApp(const std::string& text) {
    auto config = ParseConfig("agent.yaml", text, false);
    if (!config.ok()) return config.status();
    return App::Start({*std::move(config), false, &RealClock()});
  }
  TlsFiles AgentTls(const std::string& identity = "spiffe://example/agent/westeurope/a1") {
    return WriteTlsFiles(directory_, "agent", ca_, ca_.Issue(identity));
  }
  std::unique_ptr<TlsIdentity> Controller(const std::string& identity) {
    auto tls = TlsIdentity::Load(WriteTlsFiles(directory_, "controller", ca_, ca_.Issue(identity)));
    EXPECT_TRUE(tls.ok()) << tls.status();
    return *std::move(tls);
  }
  HttpResponse Get(int port, const std::string& path) {
    HttpRequest request;
    request.url = "http://127.0.0.1:" + std::to_string(port) + path;
    return NewCurlHttpClient({})->Send(request).response.value_or(HttpResponse{});
  }

  TempDir directory_;
  TestCa ca_;
};

TEST_F(AppTest, ProbesWhatTheControllerAssignsAndReportsOverMutualTls) {
  const auto identity = Controller("spiffe://example/controller/c1");
  FakeController controller(0, identity->ServerCredentials());
  GatewayStub gateway;
  auto app = StartApp(ConfigText(AgentTls(), controller.address()));
  ASSERT_TRUE(app.ok()) << app.status();
  EXPECT_EQ(Get((*app)->admin_port(), "/livez").status, 200);
  const HttpResponse unready = Get((*app)->admin_port(), "/readyz");
  EXPECT_EQ(unready.status, 503);
  EXPECT_NE(unready.body.find("no assignment"), std::string::npos) << unready.body;

  ASSERT_TRUE(WaitUntil([&] { return !controller.BatchesOf(0).empty(); }));
  const v1::Hello hello = controller.received().at(0).message.hello();
  EXPECT_EQ(hello.instance_id().size(), 16u);
  EXPECT_FALSE(hello.boot_id().empty());
  v1::ControllerMessage assignment;
  assignment.mutable_assignment()->set_term(1);
  *assignment.mutable_assignment()->add_targets() =
      ProbeOf("orders/weu/status", gateway.Url(), 50, 500);
  controller.Send(assignment);
  ASSERT_TRUE(WaitUntil([&] { return controller.SequencesOf(0).size() >= 5; }));
  EXPECT_EQ(Get((*app)->admin_port(), "/readyz").status, 200);
  const std::string metrics = Get((*app)->admin_port(), "/metrics").body;
  for (const char* line :
       {"apim_failover_probe_success{", "apim_failover_agent_stream_connected{",
        "apim_failover_build_info{", "apim_failover_certificate_expiry_timestamp_seconds{"}) {
    EXPECT_NE(metrics.find(line), std::string::npos) << line;
  }
  const absl::Time before = absl::Now();
  app->reset();
  EXPECT_LT(absl::Now() - before, absl::Seconds(3));
}

TEST_F(AppTest, ReplicasOfANameAreDialledByAddressAndVerifiedByIdentity) {
  const auto identity = Controller("spiffe://example/controller/c1");
  FakeController one(0, identity->ServerCredentials());
  FakeController two(one.port(), identity->ServerCredentials(), "127.0.0.2");
  const auto stranger = TlsIdentity::Load(
      WriteTlsFiles(directory_, "stranger", ca_, ca_.Issue("spiffe://example/operator/mallory")));
  FakeController other(one.port(), (*stranger)->ServerCredentials(), "127.0.0.3");
  NameServerStub dns;
  dns.Set("replicas.test", {}, {"127.0.0.1", "127.0.0.2", "127.0.0.3"});
  std::string text = ConfigText(AgentTls(), one.address());
  const std::string by_address = "controllers: [\"" + one.address();
  text.replace(text.find(by_address), by_address.size(),
               "resolver: {servers: [\"" + dns.address() +
                   "\"]}\ncontrollerReplicas: [\"replicas.test:" + std::to_string(one.port()));
  auto app = StartApp(text);
  ASSERT_TRUE(app.ok()) << app.status();
  for (const FakeController* controller : {&one, &two})
    EXPECT_TRUE(WaitUntil([&] { return !controller->BatchesOf(0).empty(); }));
  EXPECT_EQ(one.received().at(0).message.hello().instance_id(),
            two.received().at(0).message.hello().instance_id());
  EXPECT_EQ(other.streams(), 0);
}

TEST_F(AppTest, ProbesOnFromTheStoredAssignmentWhenNoControllerAnswers) {
  GatewayStub gateway;
  {
    AssignmentKeeper keeper(directory_.File("assignment.json"), [](auto) {});
    v1::Assignment assignment;
    assignment.set_term(3);
    *assignment.add_targets() = ProbeOf("orders/weu/status", gateway.Url(), 50, 500);
    ASSERT_TRUE(keeper.Offer(assignment).ok());
  }
  auto app = StartApp(ConfigText(AgentTls(), "127.0.0.1:" + std::to_string(FreeTcpPort())));
  ASSERT_TRUE(app.ok()) << app.status();
  EXPECT_TRUE(WaitUntil([&] { return gateway.requests().size() >= 3; }));
  EXPECT_EQ(Get((*app)->admin_port(), "/readyz").status, 200);
}

TEST_F(AppTest, AControllerOfAnotherIdentityHearsNothing) {
  const auto identity = Controller("spiffe://example/operator/mallory");
  FakeController controller(0, identity->ServerCredentials());
  const auto warnings = [] { return LogCounts()[static_cast<size_t>(LogLevel::kWarning)]; };
  const uint64_t before = warnings();
  auto app = StartApp(ConfigText(AgentTls(), controller.address()));
  ASSERT_TRUE(app.ok()) << app.status();
  // Each failed attempt is one warning; two of them, so that the first one is over.
  ASSERT_TRUE(WaitUntil([&] { return warnings() >= before + 2; }));
  EXPECT_EQ(controller.streams(), 0);
}

TEST_F(AppTest, ACertificateOfAnotherRegionIsRefusedByName) {
  const auto app =
      StartApp(ConfigText(AgentTls("spiffe://example/agent/northeurope/a1"), "127.0.0.1:1"));
  ASSERT_FALSE(app.ok());
  EXPECT_NE(
      app.status().message().find("found identity spiffe://example/agent/northeurope/a1; allowed: "
                                  "spiffe://example/agent/westeurope/NAME"),
      absl::string_view::npos)
      << app.status();
}

TEST_F(AppTest, AMissingCertificateAndABusyPortAreNamed) {
  TlsFiles tls = AgentTls();
  tls.certificate_file = directory_.File("absent.crt");
  auto app = StartApp(ConfigText(tls, "127.0.0.1:1"));
  EXPECT_NE(app.status().message().find("absent.crt"), absl::string_view::npos) << app.status();
  GatewayStub busy;
  std::string text = ConfigText(AgentTls(), "127.0.0.1:1");
  const std::string any = "metricsAddress: 127.0.0.1:0";
  text.replace(text.find(any), any.size(),
               "metricsAddress: 127.0.0.1:" + std::to_string(busy.port()));
  app = StartApp(text);
  EXPECT_NE(app.status().message().find(std::to_string(busy.port())), absl::string_view::npos)
      << app.status();
}

}  // namespace
}  // namespace failover::agent
