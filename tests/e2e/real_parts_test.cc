#include <fstream>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "absl/time/clock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/e2e/replicas.h"
#include "tests/e2e/system.h"
#include "tests/support/catalogue.h"

// Parts that others wrote: the SDK of Azure drives the emulator, Azurite holds the blobs,
// Prometheus scrapes.
namespace failover::e2e {
namespace {

using Json = nlohmann::json;

std::string Npm(const std::string& path) {
  return absl::StrCat(FAILOVER_SOURCE, "/tests/npm/", path);
}
bool HasNpm() {
  return std::ifstream(Npm("node_modules/.package-lock.json")).good() &&
         RunCommand({"node", "--version"}).exit_code == 0;
}

TEST(RealParts, TheUnmodifiedSdkOfAzureDrivesTheEmulator) {
  if (!HasNpm()) GTEST_SKIP() << "Skipped: npm packages are not installed in tests/npm";
  System system;
  ASSERT_NO_FATAL_FAILURE(system.StartEmulator());
  const Json world = Json::parse(system.dir().Read("world.json"));
  const Json& client = world["clients"][0];
  const CommandResult run = RunCommand(
      {"node", Npm("drive_sdk.mjs"), system.Endpoint("arm"), world["subscription"],
       world["resourceGroup"], "apim-weu", "apim-neu", world["storageAccounts"][0]["name"],
       world["storageAccounts"][0]["key"], client["tenant"], client["clientId"], client["secret"]},
      {{"NODE_EXTRA_CA_CERTS", system.dir().File("ca.pem")}});
  ASSERT_EQ(run.exit_code, 0) << run.out << run.err;
  const Json seen = Json::parse(run.out);
  EXPECT_EQ(seen["sku"], "Premium");
  EXPECT_EQ(seen["backup"], "done");
  EXPECT_EQ(seen["locked"], "ServiceLocked");
  EXPECT_GT(seen["apis"].get<int>(), 1);
  EXPECT_EQ(seen["restoredApis"], seen["apis"]);
  EXPECT_NE(seen["missingBlob"], "no error");
  EXPECT_EQ(seen["missingService"], "ResourceNotFound");
}

TEST(RealParts, AzuriteHoldsTheBackups) {
  if (!HasNpm()) GTEST_SKIP() << "Skipped: npm packages are not installed in tests/npm";
  SystemOptions options;
  System system(options);
  const Json world = Json::parse(system.dir().Read("world.json"));
  const std::string account = world["storageAccounts"][0]["name"],
                    key = world["storageAccounts"][0]["key"];
  const PemPair pair = system.ca().IssueServer();
  system.dir().Write("azurite.crt", pair.certificate);
  system.dir().Write("azurite.key", pair.key);
  system.dir().Write("test-ca.pem", system.ca().certificate());
  Process azurite(
      {"node", Npm("node_modules/azurite/dist/src/blob/main.js"), "--blobHost", "127.0.0.1",
       "--blobPort", "0", "--inMemoryPersistence", "--disableTelemetry", "--skipApiVersionCheck",
       "--cert", system.dir().File("azurite.crt"), "--key", system.dir().File("azurite.key")},
      system.dir().File("azurite.log"), {{"AZURITE_ACCOUNTS", absl::StrCat(account, ":", key)}});
  std::string url;
  ASSERT_TRUE(Eventually(absl::Seconds(30), [&] {
    const std::string log = system.dir().Read("azurite.log");
    const size_t at = log.find("successfully listens on ");
    if (at == std::string::npos) return false;
    url = log.substr(at + 24, log.find_first_of("\r\n", at) - at - 24);
    return true;
  })) << system.dir().Read("azurite.log");
  system.options.emulator_arguments = {"--external-blobs", url, "--external-blobs-ca",
                                       system.dir().File("test-ca.pem")};
  ASSERT_NO_FATAL_FAILURE(system.StartEmulator());
  // Our own blob calls go to Azurite too: both authorities in one file, the blob endpoint by its
  // address.
  system.dir().Write("ca.pem",
                     absl::StrCat(system.dir().Read("ca.pem"), system.ca().certificate()));
  const std::string config = system.dir().Read("controller.yaml");
  const std::string blob_line =
      absl::StrCat("blobEndpoint: ", system.Endpoint("blob"), "/{account}");
  const size_t at = config.find(blob_line);
  ASSERT_NE(at, std::string::npos) << config;
  system.dir().Write("controller.yaml", config.substr(0, at) +
                                            absl::StrCat("blobEndpoint: ", url, "/{account}") +
                                            config.substr(at + blob_line.size()));
  system.StartController();
  ASSERT_TRUE(Eventually(absl::Seconds(20), [&] { return !system.Address("agent").empty(); }))
      << system.ControllerLog();
  system.StartAgents();
  ASSERT_TRUE(system.Ready());
  EXPECT_EQ(system.Effects("backup"), 1);
  EXPECT_EQ(system.Effects("blobWrite"), 0) << "nothing may be kept in the emulator's own blobs";
  const v1::GroupStatus status = system.Status();
  EXPECT_GT(status.sync().run().backup().size_bytes(), 0);
  EXPECT_TRUE(status.sync().run().backup().checked());
}

// Nothing, of a page that it likes.
std::string PromtoolSays(const std::string& address) {
  const CommandResult check = RunCommand({"bash", "-c",
                                          absl::StrCat("set -o pipefail; curl -sf http://", address,
                                                       "/metrics | promtool check metrics")});
  return absl::StrCat(check.out, check.err,
                      check.exit_code == 0 ? "" : absl::StrCat("exit code ", check.exit_code));
}

// Families of a page, with their types, that are in none of the lists of tests/testdata.
std::vector<std::string> Unlisted(const std::string& address) {
  std::set<std::string> listed;
  for (const char* file : {"metrics.txt", "agent-metrics.txt", "process-metrics.txt"}) {
    for (const std::string& line : ReadCatalogue(absl::StrCat(FAILOVER_TESTDATA, "/", file))) {
      const std::vector<std::string> parts = absl::StrSplit(line, " | ");
      listed.insert(absl::StrCat(parts[0], " ", parts[1]));
    }
  }
  std::vector<std::string> unlisted;
  const CommandResult page =
      RunCommand({"curl", "-sf", absl::StrCat("http://", address, "/metrics")});
  int families = 0;
  for (absl::string_view line : absl::StrSplit(page.out, '\n')) {
    if (!absl::ConsumePrefix(&line, "# TYPE ")) continue;
    ++families;
    if (listed.count(std::string(line)) == 0) unlisted.emplace_back(line);
  }
  EXPECT_GT(families, 20) << page.err;
  return unlisted;
}

TEST(RealParts, PromtoolTakesThePageOfAReplicaWithItsElectionAndItsClientOfKubernetes) {
  if (RunCommand({"promtool", "--version"}).exit_code != 0) GTEST_SKIP() << "Skipped: no promtool";
  Replicas system({}, 1);
  ASSERT_NO_FATAL_FAILURE(system.StartAll());
  ASSERT_TRUE(system.Ready());
  const std::string address = system.AddressOf(0, "metrics");
  EXPECT_EQ(PromtoolSays(address), "");
  EXPECT_EQ(absl::StrJoin(Unlisted(address), " "), "");
  const std::string host(absl::StripPrefix(system.stub.url(), "http://"));
  EXPECT_GT(system.MetricOf(0, absl::StrCat("rest_client_requests_total{code=\"200\",host=\"", host,
                                            "\",method=\"PUT\"}")),
            0);
  EXPECT_EQ(system.MetricOf(0, absl::StrCat("rest_client_requests_total{code=\"<error>\",host=\"",
                                            host, "\",method=\"PUT\"}")),
            0)
      << "so that the first one is an increase";
  EXPECT_GT(system.MetricOf(0, absl::StrCat("rest_client_request_duration_seconds_count{host=\"",
                                            host, "\",verb=\"GET\"}")),
            0);
  EXPECT_GT(system.MetricOf(
                0, "apim_failover_leader_lease_renew_duration_seconds_count{result=\"success\"}"),
            0);
  EXPECT_NEAR(system.MetricOf(0, "apim_failover_leader_lease_last_renew_timestamp_seconds"),
              static_cast<double>(absl::ToUnixSeconds(absl::Now())), 60);
  EXPECT_GT(system.MetricOf(0,
                            "grpc_server_msg_received_total{grpc_method=\"Connect\",grpc_"
                            "service=\"apim_failover.v1.AgentService\",grpc_type=\"bidi_"
                            "stream\"}"),
            0);
  EXPECT_GT(system.MetricOf(0,
                            "apim_failover_azure_token_expiry_timestamp_seconds{audience="
                            "\"arm\"}"),
            static_cast<double>(absl::ToUnixSeconds(absl::Now())));
}

TEST(RealParts, PrometheusScrapesTheProgramsAndFindsNothingToComplainAbout) {
  if (RunCommand({"promtool", "--version"}).exit_code != 0) GTEST_SKIP() << "Skipped: no promtool";
  SystemOptions options;
  options.agent_ports = true;
  System system(options);
  ASSERT_NO_FATAL_FAILURE(system.StartAll());
  ASSERT_TRUE(system.Ready());
  const std::string agent = system.AgentMetrics(System::AgentRegions().front());
  for (const std::string& address : {system.Address("metrics"), agent}) {
    EXPECT_EQ(PromtoolSays(address), "") << address;
    EXPECT_EQ(absl::StrJoin(Unlisted(address), " "), "") << address;
  }

  system.dir().Write(
      "prometheus.yml",
      absl::StrCat("global: {scrape_interval: 1s}\nscrape_configs:\n- job_name: "
                   "controller\n  static_configs: [{targets: [\"",
                   system.Address("metrics"),
                   "\"]}]\n- job_name: agent\n  static_configs: [{targets: [\"", agent, "\"]}]\n"));
  Process prometheus({"prometheus", "--config.file", system.dir().File("prometheus.yml"),
                      "--storage.tsdb.path", system.dir().File("tsdb"), "--web.listen-address",
                      "127.0.0.1:0", "--log.format", "json", "--enable-feature=exemplar-storage"},
                     system.dir().File("prometheus.log"));
  std::string address;
  ASSERT_TRUE(Eventually(absl::Seconds(20), [&] {
    for (absl::string_view line : absl::StrSplit(system.dir().Read("prometheus.log"), '\n')) {
      const Json entry = Json::parse(line.begin(), line.end(), nullptr, false);
      if (entry.is_object() && entry.value("msg", "") == "Listening on")
        address = entry.value("address", "");
    }
    return !address.empty();
  })) << system.dir().Read("prometheus.log");
  const auto query = [&](const std::string& expression) {
    const CommandResult run =
        RunCommand({"promtool", "query", "instant", absl::StrCat("http://", address), expression});
    return run.out;
  };
  EXPECT_TRUE(Eventually(absl::Seconds(30), [&] {
    return query("sum(up)").find("=> 2 @") != std::string::npos;
  })) << query("up");
  // It asked for OpenMetrics: only there a bound is a float, and an exemplar beside it.
  EXPECT_NE(query("apim_failover_azure_request_duration_seconds_bucket{le=\"1.0\"}").find("=>"),
            std::string::npos);
  const auto exemplars = [&](const std::string& metric) {
    const CommandResult run = RunCommand(
        {"curl", "-sfG", absl::StrCat("http://", address, "/api/v1/query_exemplars"),
         "--data-urlencode", absl::StrCat("query=", metric), "--data-urlencode", "start=0",
         "--data-urlencode", absl::StrCat("end=", absl::ToUnixSeconds(absl::Now()) + 60)});
    std::set<std::string> ids;
    const Json answer = Json::parse(run.out, nullptr, false);
    if (!answer.is_object()) return ids;
    for (const Json& series : answer.value("data", Json::array())) {
      for (const Json& exemplar : series.value("exemplars", Json::array()))
        ids.insert(exemplar["labels"].value("trace_id", ""));
    }
    return ids;
  };
  // The last backup, by the id that the operations have.
  const std::string operation = system.Status().sync().run().backup().operation_id();
  ASSERT_FALSE(operation.empty());
  EXPECT_TRUE(Eventually(absl::Seconds(30), [&] {
    return exemplars("apim_failover_sync_operation_duration_seconds_bucket").count(operation) == 1;
  })) << operation;
  EXPECT_FALSE(exemplars("apim_failover_azure_request_duration_seconds_bucket").empty());
  EXPECT_TRUE(Eventually(absl::Seconds(30), [&] {
    return query("apim_failover_rpo_seconds{apim_service=\"apim-neu\"} > 0").find("apim-neu") !=
           std::string::npos;
  })) << query("apim_failover_rpo_seconds");
  EXPECT_NE(query("apim_failover_blocked{reason=\"traffic_mismatch\"}").find("=> 0 @"),
            std::string::npos)
      << query("apim_failover_blocked");
}

}  // namespace
}  // namespace failover::e2e
