#include "agent/config.h"

#include <gtest/gtest.h>

#include <string>

#include "tests/support/temp_dir.h"
#include "tests/support/test_ca.h"

namespace failover::agent {
namespace {

constexpr char kGood[] = R"(probeRegion: westeurope
controllers: ["controller.example:7443", "[fd00::1]:7443"]
tls: {certificateFile: /tls/tls.crt, keyFile: /tls/tls.key, caFile: /tls/ca.crt}
allowedHosts: ["10.1.2.0/24", "*.azure-api.net"]
resolver: {servers: ["10.0.0.10:5353", "10.0.0.11", "[fd00::53]:53"]}
sourceAddress: 10.9.0.4
assignmentFile: /data/assignment.json
)";

TEST(AgentConfig, AGoodFileIsTakenWithDefaults) {
  const auto config = ParseConfig("agent.yaml", kGood, false);
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->file.metrics_address(), "127.0.0.1:9465");
  EXPECT_EQ(config->resolver_servers,
            (std::vector<std::string>{"10.0.0.10:5353", "10.0.0.11:53", "[fd00::53]:53"}));
  EXPECT_TRUE(config->allowed_hosts.Check(*ParseIp("10.1.2.9"), "x").ok());
  EXPECT_FALSE(config->allowed_hosts.Check(*ParseIp("10.1.3.9"), "x").ok());
}

struct Bad {
  const char* name;
  const char* text;
  bool insecure;
  const char* message;  // as an operator reads it
};

class BadConfigs : public testing::TestWithParam<Bad> {};

TEST_P(BadConfigs, AreRefusedWithLinePathValueAndWhatIsAllowed) {
  const auto config = ParseConfig("agent.yaml", GetParam().text, GetParam().insecure);
  ASSERT_TRUE(absl::IsInvalidArgument(config.status())) << config.status();
  EXPECT_NE(config.status().message().find(GetParam().message), absl::string_view::npos)
      << config.status();
}

#define TLS "tls: {certificateFile: a, keyFile: b, caFile: c}\n"
INSTANTIATE_TEST_SUITE_P(
    All, BadConfigs,
    testing::Values(
        Bad{"UnknownKey", "probeRegion: a\ncontrolers: [\"a:1\"]\n", false,
            "agent.yaml:2: controlers"},
        Bad{"WrongType", "probeRegion: [a]\n", false, "agent.yaml:1: probeRegion"},
        Bad{"DuplicateKey", "probeRegion: a\nprobeRegion: b\n", false, "agent.yaml:2: probeRegion"},
        Bad{"RegionWithCapitals", "probeRegion: West Europe\n", false,
            "probeRegion: found \"West Europe\"; allowed: "},
        Bad{"NoControllers", "probeRegion: a\n" TLS, false,
            "controllers: found no address here and none in controllerReplicas; allowed: at least "
            "one HOST:PORT in either"},
        Bad{"NineControllers",
            "probeRegion: a\n" TLS
            "controllers: [\"a:1\", \"a:2\", \"a:3\", \"a:4\", \"a:5\", \"a:6\", \"a:7\", "
            "\"a:8\", \"a:9\"]\n",
            false, "controllers: found 9 addresses; allowed: at most 8"},
        Bad{"FiveNamesOfReplicas",
            "probeRegion: a\n" TLS
            "controllerReplicas: [\"a:1\", \"b:1\", \"c:1\", \"d:1\", \"e:1\"]\n",
            false, "controllerReplicas: found 5 names; allowed: at most 4"},
        Bad{"ReplicasWithoutPort", "probeRegion: a\n" TLS "controllerReplicas: [a.example]\n",
            false, "agent.yaml:3: controllerReplicas[0]: found \"a.example\"; allowed: HOST:PORT"},
        Bad{"ReplicasThatAreControllersToo",
            "probeRegion: a\n" TLS "controllers: [\"a:1\"]\ncontrollerReplicas: [\"a:1\"]\n", false,
            "controllerReplicas[0]: found \"a:1\"; allowed: each address once, in one of "
            "controllers and controllerReplicas"},
        Bad{"InsecureReplicasBeyondLoopback",
            "probeRegion: a\ncontrollerReplicas: [\"replicas.example:1\"]\n", true,
            "found \"replicas.example:1\"; allowed: with --insecure only loopback"},
        Bad{"ControllerWithoutPort", "probeRegion: a\n" TLS "controllers: [\"a.example\"]\n", false,
            "agent.yaml:3: controllers[0]: found \"a.example\"; allowed: HOST:PORT"},
        Bad{"ControllerTwice", "probeRegion: a\n" TLS "controllers: [\"a:1\", \"A:1\"]\n", false,
            "controllers[1]: found \"A:1\"; allowed: each address once"},
        Bad{"NoTls", "probeRegion: a\ncontrollers: [\"a:1\"]\n", false,
            "tls: found nothing; allowed: "},
        Bad{"TlsWithoutKey",
            "probeRegion: a\ncontrollers: [\"a:1\"]\ntls: {certificateFile: a, caFile: c}\n", false,
            "agent.yaml:3: tls.keyFile: found \"\"; allowed: the path of a PEM file"},
        Bad{"ForeignIdentity",
            "probeRegion: a\ncontrollers: [\"a:1\"]\ntls: {certificateFile: a, keyFile: b, caFile: "
            "c, "
            "controllerIdentity: cn=x}\n",
            false, "tls.controllerIdentity: found \"cn=x\"; allowed: spiffe://"},
        Bad{"InsecureBeyondLoopback", "probeRegion: a\ncontrollers: [\"10.0.0.1:1\"]\n", true,
            "found \"10.0.0.1:1\"; allowed: with --insecure only loopback"},
        Bad{"InsecureBesideTls", "probeRegion: a\ncontrollers: [\"127.0.0.1:1\"]\n" TLS, true,
            "tls: found beside --insecure"},
        Bad{"AllowedHostWithPort", "allowedHosts: [\"10.0.0.0/8\", \"a.example:443\"]\n", false,
            "agent.yaml:1: allowedHosts[1]: found \"a.example:443\"; allowed: "},
        Bad{"ResolverByName", "resolver: {servers: [\"dns.example:53\"]}\n", false,
            "resolver.servers[0]: found \"dns.example:53\"; allowed: IP:PORT"},
        Bad{"SourceByName", "sourceAddress: eth0\n", false,
            "sourceAddress: found \"eth0\"; allowed: an IP address"},
        Bad{"MetricsWithoutPort", "metricsAddress: localhost\n", false,
            "metricsAddress: found \"localhost\"; allowed: HOST:PORT"}),
    [](const auto& test) { return test.param.name; });

TEST(AgentConfig, AllProblemsComeAtOnce) {
  const auto config =
      ParseConfig("agent.yaml", "probeRegion: A\ncontrollers: [x]\nsourceAddress: y\n", false);
  for (const char* path : {"probeRegion", "controllers[0]", "sourceAddress", "tls"}) {
    EXPECT_NE(config.status().message().find(path), absl::string_view::npos) << path;
  }
}

TEST(AgentConfig, LoopbackControllersNeedNoTlsWhenInsecure) {
  EXPECT_TRUE(
      ParseConfig("f", "probeRegion: a\ncontrollers: [\"127.0.0.1:1\", \"[::1]:2\"]\n", true).ok());
}

TEST(AgentConfig, NamesOfReplicasAloneAreEnough) {
  const auto config = ParseConfig(
      "f", "probeRegion: a\n" TLS "controllerReplicas: [\"failover-replicas.dr.svc:7443\"]\n",
      false);
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->file.controller_replicas(0), "failover-replicas.dr.svc:7443");
}

TEST(AgentConfig, AMissingFileIsNamed) {
  const TempDir directory;
  const auto config = LoadConfig(directory.File("none.yaml"), true);
  EXPECT_NE(config.status().message().find("none.yaml"), absl::string_view::npos)
      << config.status();
}

TEST(AgentConfig, RelativePathsCountFromTheConfigurationsDirectory) {
  const TempDir directory;
  const std::string file = directory.Write("agent.yaml", R"(probeRegion: westeurope
controllers: ["c.example:7443"]
tls: {certificateFile: tls.crt, keyFile: sub/tls.key, caFile: /etc/ca.crt}
assignmentFile: assignment.json
)");
  const auto config = LoadConfig(file, false);
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->file.tls().certificate_file(), directory.File("tls.crt"));
  EXPECT_EQ(config->file.tls().key_file(), directory.File("sub/tls.key"));
  EXPECT_EQ(config->file.tls().ca_file(), "/etc/ca.crt");
  EXPECT_EQ(config->file.assignment_file(), directory.File("assignment.json"));
  EXPECT_EQ(config->file.ca_file(), "");
}

TEST(AgentConfig, UnreadableCertificatesAndEmptyBundlesAreNamed) {
  const TempDir directory;
  Config config;
  config.file.mutable_tls()->set_certificate_file(directory.File("no.crt"));
  config.file.mutable_tls()->set_key_file(directory.File("no.key"));
  config.file.mutable_tls()->set_ca_file(directory.File("no-ca.crt"));
  config.file.set_ca_file(directory.Write("bundle.crt", "no certificate here"));
  const absl::Status status = CheckFiles(config);
  EXPECT_NE(status.message().find("no.crt"), absl::string_view::npos) << status;
  EXPECT_NE(status.message().find("bundle.crt; allowed: PEM"), absl::string_view::npos) << status;
  config.file.set_ca_file(directory.File("gone.crt"));
  EXPECT_NE(CheckFiles(config).message().find("gone.crt"), absl::string_view::npos);
}

TEST(AgentConfig, GoodFilesPass) {
  const TempDir directory;
  const TestCa ca;
  const TlsFiles files =
      WriteTlsFiles(directory, "agent", ca, ca.Issue("spiffe://example/agent/westeurope/a"));
  Config config;
  config.file.mutable_tls()->set_certificate_file(files.certificate_file);
  config.file.mutable_tls()->set_key_file(files.key_file);
  config.file.mutable_tls()->set_ca_file(files.ca_file);
  config.file.set_ca_file(files.ca_file);
  EXPECT_TRUE(CheckFiles(config).ok()) << CheckFiles(config);
}

}  // namespace
}  // namespace failover::agent
