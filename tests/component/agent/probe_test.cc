// One probe: stages, phases, addresses and certificates against gateways that misbehave.
#include <gtest/gtest.h>

#include <string>

#include "tests/component/agent/loop_fixture.h"
#include "tests/gateway_stub/gateway.h"
#include "tests/support/temp_dir.h"
#include "tests/support/test_ca.h"

namespace failover::agent {
namespace {

using Mode = GatewayStub::Mode;

class ProbeTest : public LoopTest {
 protected:
  void SetUp() override { Start(); }
  // Slots every 100 ms; a hang is seen after `timeout_ms`.
  v1::Target TargetAt(const std::string& url, int timeout_ms = 5000) {
    return ProbeOf("t", url, 100, timeout_ms);
  }
};

TEST_F(ProbeTest, AGoodAnswerIsASuccessWithAllPhases) {
  GatewayStub gateway;
  v1::Target target = TargetAt(gateway.Url("/status?deep=1"));
  (*target.mutable_headers())["x-probe"] = "yes";
  const v1::ProbeResult result = Probe(target);
  EXPECT_TRUE(result.success()) << result.error();
  EXPECT_EQ(result.sequence(), 1u);
  EXPECT_EQ(result.definition(), 1u);
  EXPECT_EQ(result.http_status(), 200);
  EXPECT_EQ(result.remote_address(), "127.0.0.1");
  EXPECT_EQ(result.certificate_expiry_unix(), 0);
  EXPECT_GT(result.phases().connect_us(), 0);
  EXPECT_EQ(result.phases().tls_us(), 0);
  EXPECT_GT(result.phases().processing_us(), 0);
  EXPECT_GT(result.phases().transfer_us(), 0);
  EXPECT_GE(result.phases().total_us(),
            result.phases().connect_us() + result.phases().processing_us());
  const std::string head = gateway.requests().at(0).head;
  EXPECT_EQ(head.rfind("GET /status?deep=1 HTTP/1.1\r\n", 0), 0u) << head;
  EXPECT_NE(head.find("x-probe: yes\r\n"), std::string::npos) << head;
  EXPECT_NE(head.find("User-Agent: apim-failover-agent/"), std::string::npos) << head;
}

struct Stage {
  const char* name;
  bool tls;
  Mode mode;
  v1::ProbeStage stage;
  bool timed_out;
};

class FailureStages : public ProbeTest, public testing::WithParamInterface<Stage> {};

TEST_P(FailureStages, AreNamedAndBounded) {
  const TempDir directory;
  const TestCa ca;
  GatewayStub gateway(GetParam().tls ? ca.IssueServer() : PemPair{});
  GatewayStub::Behaviour behaviour;
  behaviour.mode = GetParam().mode;
  gateway.Set(behaviour);
  v1::Target target = TargetAt(gateway.Url(), GetParam().timed_out ? 200 : 5000);
  target.set_ca_file(directory.Write("ca.crt", ca.certificate()));
  const v1::ProbeResult result = Probe(target);
  EXPECT_FALSE(result.success());
  EXPECT_EQ(result.failed_stage(), GetParam().stage) << result.error();
  EXPECT_EQ(result.timed_out(), GetParam().timed_out) << result.error();
  EXPECT_FALSE(result.error().empty());
  EXPECT_EQ(result.remote_address(), "127.0.0.1");
  EXPECT_LT(result.phases().total_us(), 2'000'000);
  EXPECT_GE(result.phases().total_us(), GetParam().timed_out ? 190'000 : 1);
}

INSTANTIATE_TEST_SUITE_P(
    All, FailureStages,
    testing::Values(
        Stage{"TlsHang", true, Mode::kHangBeforeTls, v1::PROBE_STAGE_TLS, true},
        Stage{"HangOnRequest", false, Mode::kHangOnRequest, v1::PROBE_STAGE_FIRST_BYTE, true},
        Stage{"HangOnRequestOverTls", true, Mode::kHangOnRequest, v1::PROBE_STAGE_FIRST_BYTE, true},
        Stage{"HangInHeaders", false, Mode::kHangInHeaders, v1::PROBE_STAGE_BODY, true},
        Stage{"HangInBody", false, Mode::kHangInBody, v1::PROBE_STAGE_BODY, true},
        Stage{"Reset", false, Mode::kReset, v1::PROBE_STAGE_FIRST_BYTE, false},
        Stage{"CloseWithoutAnswer", false, Mode::kClose, v1::PROBE_STAGE_FIRST_BYTE, false},
        Stage{"EndlessHeaders", false, Mode::kEndlessHeaders, v1::PROBE_STAGE_BODY, false}),
    [](const auto& test) { return test.param.name; });

TEST_F(ProbeTest, ARefusedConnectionFailsInConnectWithoutAnAddress) {
  const v1::ProbeResult result =
      Probe(TargetAt("http://127.0.0.1:" + std::to_string(FreeTcpPort()) + "/"));
  EXPECT_EQ(result.failed_stage(), v1::PROBE_STAGE_CONNECT) << result.error();
  EXPECT_FALSE(result.timed_out());
  EXPECT_EQ(result.remote_address(), "");
  EXPECT_EQ(result.phases().connect_us(), 0);
}

TEST_F(ProbeTest, AnUnexpectedStatusFailsTheAssertion) {
  GatewayStub gateway;
  gateway.Set({.status = 503, .headers = "", .body = "down", .delay = {}});
  const v1::ProbeResult result = Probe(TargetAt(gateway.Url()));
  EXPECT_EQ(result.failed_stage(), v1::PROBE_STAGE_ASSERTION);
  EXPECT_EQ(result.http_status(), 503);
  EXPECT_EQ(result.error(), "status 503, expected 200");
}

TEST_F(ProbeTest, TheBodyIsSearchedAndCutAt64KiB) {
  GatewayStub gateway;
  gateway.Set(
      {.status = 200, .headers = "", .body = std::string(70000, 'x') + "needle", .delay = {}});
  v1::Target target = TargetAt(gateway.Url());
  target.set_expect_body_regex("xx");
  EXPECT_TRUE(Probe(target).success()) << "a cut body is no error";
  target.set_id("beyond");
  target.set_expect_body_regex("needle");
  const v1::ProbeResult result = Probe(target);
  EXPECT_EQ(result.failed_stage(), v1::PROBE_STAGE_ASSERTION);
  EXPECT_NE(result.error().find("first 65536 bytes"), std::string::npos) << result.error();
}

TEST_F(ProbeTest, RedirectsAreNotFollowed) {
  GatewayStub gateway;
  gateway.Set(
      {.status = 302, .headers = "location: http://127.0.0.1:1/\r\n", .body = "", .delay = {}});
  v1::Target target = TargetAt(gateway.Url());
  target.add_expect_status("302");
  EXPECT_TRUE(Probe(target).success());
}

TEST_F(ProbeTest, TheServingInstanceIsReadFromItsHeader) {
  GatewayStub gateway;
  gateway.Set({.status = 200, .headers = "X-Served-By:  apim-weu \r\n", .body = "", .delay = {}});
  v1::Target target = TargetAt(gateway.Url());
  target.set_served_by_header("x-served-by");
  EXPECT_EQ(Probe(target).served_by(), "apim-weu");
}

class HttpsProbeTest : public ProbeTest {
 protected:
  TempDir directory_;
  TestCa ca_;
  std::string ca_file_ = directory_.Write("ca.crt", ca_.certificate());
};

TEST_F(HttpsProbeTest, PublicNameIsSentWhileConnectingElsewhere) {
  GatewayStub gateway(ca_.IssueServer({"api.contoso.example"}));
  v1::Target target = TargetAt("https://api.contoso.example/status");
  target.set_connect_to("127.0.0.1:" + std::to_string(gateway.port()));
  target.set_ca_file(ca_file_);
  const v1::ProbeResult result = Probe(target);
  EXPECT_TRUE(result.success()) << result.error();
  EXPECT_GT(result.phases().tls_us(), 0);
  EXPECT_NEAR(static_cast<double>(result.certificate_expiry_unix()),
              static_cast<double>(absl::ToUnixSeconds(absl::Now() + absl::Hours(24))), 120);
  EXPECT_EQ(gateway.requests().at(0).sni, "api.contoso.example");
  EXPECT_NE(gateway.requests().at(0).head.find("\r\nHost: api.contoso.example\r\n"),
            std::string::npos);
}

TEST_F(HttpsProbeTest, HostOverridesHostHeaderAndSni) {
  GatewayStub gateway(ca_.IssueServer({"api.contoso.example"}));
  v1::Target target = TargetAt(gateway.Url());
  target.set_host("api.contoso.example");
  target.set_ca_file(ca_file_);
  EXPECT_TRUE(Probe(target).success());
  EXPECT_EQ(gateway.requests().at(0).sni, "api.contoso.example");
  EXPECT_NE(gateway.requests().at(0).head.find("\r\nHost: api.contoso.example\r\n"),
            std::string::npos);
}

TEST_F(HttpsProbeTest, ACertificateForAnotherNameFailsInTls) {
  GatewayStub gateway(ca_.IssueServer({"other.example"}));
  v1::Target target = TargetAt(gateway.Url());
  target.set_host("api.contoso.example");
  target.set_ca_file(ca_file_);
  const v1::ProbeResult result = Probe(target);
  EXPECT_EQ(result.failed_stage(), v1::PROBE_STAGE_TLS) << result.error();
  EXPECT_TRUE(gateway.requests().empty());
}

TEST_F(HttpsProbeTest, AnotherAuthorityFailsInTls) {
  GatewayStub gateway(ca_.IssueServer());
  v1::Target target = TargetAt(gateway.Url());
  target.set_ca_file(directory_.Write("other.crt", TestCa("other").certificate()));
  EXPECT_EQ(Probe(target).failed_stage(), v1::PROBE_STAGE_TLS);
}

TEST_F(HttpsProbeTest, AnExpiredCertificateFailsInTlsAndItsEndIsReported) {
  LeafSpec leaf{.uris = {}, .dns = {}, .ips = {"127.0.0.1"}};
  leaf.not_after = absl::Now() - absl::Minutes(30);
  GatewayStub gateway(ca_.Issue(leaf));
  v1::Target target = TargetAt(gateway.Url());
  target.set_ca_file(ca_file_);
  const v1::ProbeResult result = Probe(target);
  EXPECT_EQ(result.failed_stage(), v1::PROBE_STAGE_TLS) << result.error();
  EXPECT_NEAR(static_cast<double>(result.certificate_expiry_unix()),
              static_cast<double>(absl::ToUnixSeconds(leaf.not_after)), 2);
}

TEST_F(HttpsProbeTest, TargetsOfTwoAuthoritiesAreProbedSideBySide) {
  const TestCa other("other");
  GatewayStub first(ca_.IssueServer()), second(other.IssueServer());
  v1::Target a = ProbeOf("a", first.Url(), 100, 1000), b = ProbeOf("b", second.Url(), 100, 1000);
  a.set_ca_file(ca_file_);
  b.set_ca_file(directory_.Write("other.crt", other.certificate()));
  Assign({a, b});
  for (const char* id : {"a", "b"}) {
    for (const Reported& reported : WaitFor(id, 3)) {
      EXPECT_TRUE(reported.kept.result.success()) << id << ": " << reported.kept.result.error();
    }
  }
}

TEST_F(HttpsProbeTest, EachProbeHasAConnectionOfItsOwn) {
  GatewayStub gateway(ca_.IssueServer());
  v1::Target target = TargetAt(gateway.Url());
  target.set_ca_file(ca_file_);
  Assign({target});
  WaitFor("t", 3);
  EXPECT_EQ(gateway.requests().at(2).connection, 2);
}

TEST_F(HttpsProbeTest, AReusedConnectionIsKeptAndItsCertificateStillKnown) {
  GatewayStub gateway(ca_.IssueServer());
  v1::Target target = TargetAt(gateway.Url());
  target.set_ca_file(ca_file_);
  target.set_reuse_connection(true);
  Assign({target});
  const auto results = WaitFor("t", 3);
  EXPECT_EQ(gateway.requests().at(2).connection, 0);
  const v1::ProbeResult& kept = results.at(2).kept.result;
  EXPECT_TRUE(kept.success()) << kept.error();
  EXPECT_EQ(kept.phases().connect_us(), 0);
  EXPECT_EQ(kept.phases().tls_us(), 0);
  EXPECT_GT(kept.certificate_expiry_unix(), 0);
  EXPECT_EQ(kept.remote_address(), "127.0.0.1");
}

// What the agent itself forbids says nothing about the target: nothing is reported.
TEST_F(LoopTest, AnAddressThatIsNotAllowedIsNeverConnectedToNorReported) {
  Start({}, {"127.0.0.2/32"});
  GatewayStub forbidden, allowed({}, "127.0.0.2");
  Assign(
      {ProbeOf("forbidden", forbidden.Url(), 50, 200), ProbeOf("allowed", allowed.Url(), 50, 200)});
  for (const Reported& reported : WaitFor("allowed", 5))
    EXPECT_TRUE(reported.kept.result.success());
  EXPECT_TRUE(ResultsOf("forbidden").empty());
  EXPECT_TRUE(forbidden.requests().empty());
}

TEST_F(LoopTest, AMissingCaFileIsTheAgentsFaultAndReportedAsNothing) {
  const TestCa ca;
  Start();
  GatewayStub gateway(ca.IssueServer()), good;
  v1::Target target = ProbeOf("t", gateway.Url(), 50, 200);
  target.set_ca_file("/nonexistent/ca.crt");
  Assign({target, ProbeOf("good", good.Url(), 50, 200)});
  WaitFor("good", 5);
  EXPECT_TRUE(ResultsOf("t").empty());
}

}  // namespace
}  // namespace failover::agent
