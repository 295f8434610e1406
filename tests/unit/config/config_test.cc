#include "controller/config.h"

#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "common/config_file.h"
#include "common/digest.h"
#include "gtest/gtest.h"

namespace failover {
namespace {

namespace fs = std::filesystem;

std::string ReadFile(const std::string& file) {
  std::ifstream stream(file, std::ios::binary);
  std::ostringstream text;
  text << stream.rdbuf();
  return text.str();
}

std::string TestData(const std::string& file) {
  return ReadFile(absl::StrCat(FAILOVER_TESTDATA, "/config/", file));
}

// The reference file in a directory of its own, beside the secret files that it names.
class ConfigTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (fs::path(testing::TempDir()) / "config-XXXXXX").string();
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    directory_ = pattern;
    Write("client-secret", "s3cret\n");
    Write("storage-key", Base64("a storage key") + "\n");
    Write("azure-ca.crt", "-----BEGIN CERTIFICATE-----\n");
    for (const char* file : {"tls.crt", "tls.key", "ca.crt"}) Write(file, "PEM\n");
  }
  void TearDown() override { fs::remove_all(directory_); }

  void Write(const std::string& name, const std::string& text) {
    std::ofstream(Path(name), std::ios::binary) << text;
  }
  std::string Path(const std::string& name) const { return directory_ + "/" + name; }

  absl::StatusOr<ControllerSettings> Load(const std::string& text, bool insecure = false) {
    Write("controller.yaml", text);
    return LoadControllerConfig(Path("controller.yaml"), 5, insecure);
  }
  ControllerSettings LoadGood(const std::string& text, bool insecure = false) {
    absl::StatusOr<ControllerSettings> settings = Load(text, insecure);
    EXPECT_TRUE(settings.ok()) << settings.status();
    return settings.ok() ? *std::move(settings) : ControllerSettings();
  }
  // What is wrong, without the file's name and directory.
  std::string Problems(const std::string& text, bool insecure = false) {
    const absl::Status status = Load(text, insecure).status();
    return absl::StrReplaceAll(status.message(),
                               {{Path("controller.yaml") + ":", ""}, {directory_, "DIR"}});
  }
  static std::string Edit(std::string text, absl::string_view from, absl::string_view to) {
    const size_t at = text.find(std::string(from));
    EXPECT_NE(at, std::string::npos) << from;
    return at == std::string::npos ? text : text.replace(at, from.size(), std::string(to));
  }

  std::string directory_;
};

// Names of fields that are set nowhere in `message`, every element of a list taken together.
void CollectSet(const google::protobuf::Message& message, const std::string& path,
                std::set<std::string>& set) {
  std::vector<const google::protobuf::FieldDescriptor*> fields;
  message.GetReflection()->ListFields(message, &fields);
  for (const auto* field : fields) {
    const std::string at = absl::StrCat(path, path.empty() ? "" : ".", field->json_name());
    set.insert(at);
    if (field->cpp_type() != google::protobuf::FieldDescriptor::CPPTYPE_MESSAGE || field->is_map())
      continue;
    if (!field->is_repeated()) {
      CollectSet(message.GetReflection()->GetMessage(message, field), at, set);
      continue;
    }
    for (int i = 0; i < message.GetReflection()->FieldSize(message, field); ++i) {
      CollectSet(message.GetReflection()->GetRepeatedMessage(message, field, i), at, set);
    }
  }
}

void CollectAll(const google::protobuf::Descriptor& type, const std::string& path,
                std::set<std::string>& all) {
  for (int i = 0; i < type.field_count(); ++i) {
    const auto* field = type.field(i);
    const std::string at = absl::StrCat(path, path.empty() ? "" : ".", field->json_name());
    all.insert(at);
    const bool section = field->cpp_type() == google::protobuf::FieldDescriptor::CPPTYPE_MESSAGE &&
                         !field->is_map() &&
                         field->message_type()->full_name() != "google.protobuf.Duration";
    if (section) CollectAll(*field->message_type(), at, all);
  }
}

// Keys that exclude each other are in one of the two.
TEST_F(ConfigTest, TheReferenceFilesSetEveryKey) {
  std::set<std::string> set, all;
  for (const char* file : {"full.yaml", "kubernetes.yaml"}) {
    v1::ControllerConfig config;
    ConfigPlaces places;
    ConfigProblems problems(file);
    ParseYaml(TestData(file), config, places, problems);
    ASSERT_TRUE(problems.empty()) << problems.ToStatus();
    // A key that has its zero value is in the file too: presence is what the parser saw.
    CollectSet(config, "", set);
    for (const auto& [path, place] : places) {
      std::string plain;
      for (size_t i = 0; i < path.size(); ++i) {
        if (path[i] == '[')
          i = path.find(']', i);
        else
          plain += path[i];
      }
      set.insert(plain);
    }
  }
  CollectAll(*v1::ControllerConfig::descriptor(), "", all);
  all.erase("tls.controllerIdentity");  // of agents and failoverctl; the controller refuses it
  for (const std::string& key : all) EXPECT_TRUE(set.contains(key)) << key;
}

TEST_F(ConfigTest, TheReferenceFileIsConverted) {
  const ControllerSettings settings = LoadGood(TestData("full.yaml"));
  ASSERT_EQ(settings.runtime.groups.size(), 1u);
  const core::GroupConfig& group = settings.runtime.groups[0].core;
  EXPECT_EQ(group.name, "orders-api");
  EXPECT_EQ(group.generation, 5u);
  EXPECT_EQ(group.mode, core::Mode::kAutomatic);
  EXPECT_EQ(group.rpo_objective, absl::Hours(8));
  EXPECT_EQ(group.rto_objective, absl::Minutes(2));
  ASSERT_EQ(group.services.size(), 2u);
  EXPECT_EQ(group.services[1].name, "apim-neu");
  EXPECT_EQ(group.services[1].azure_region, "northeurope");
  EXPECT_EQ(group.services[1].gateway_url, "https://apim-neu.azure-api.net");
  ASSERT_EQ(group.probes.size(), 2u);
  EXPECT_EQ(group.deciding_probe, 0);
  EXPECT_EQ(group.decider().interval, absl::Seconds(5));
  EXPECT_EQ(group.probes[1].timeout, absl::Seconds(2));
  EXPECT_EQ(group.probe_regions,
            (std::vector<std::string>{"westeurope", "northeurope", "uksouth"}));
  EXPECT_EQ(group.controller_region, "swedencentral");
  EXPECT_EQ(group.max_data_loss, absl::Hours(24));
  EXPECT_FALSE(group.drift_blocks);
  EXPECT_EQ(group.served_by_header, "x-served-by");
  EXPECT_TRUE(group.has_traffic);
  EXPECT_EQ(group.sync_interval, absl::Hours(6));
  EXPECT_EQ(group.storage.access, "UserAssignedManagedIdentity");
  EXPECT_EQ(group.storage.client_id, "00000000-0000-0000-0000-0000000000c1");
  EXPECT_EQ(group.backup_lifetime, absl::Hours(720));
  const azure::GroupAzure& azure = settings.runtime.groups[0].azure;
  EXPECT_EQ(azure.group, "orders-api");
  EXPECT_EQ(azure.traffic_endpoints.at("apim-neu"), "neu");
  EXPECT_EQ(azure.traffic_manager_endpoint_type, "ExternalEndpoints");
  EXPECT_TRUE(absl::EndsWith(azure.resource_ids.at("apim-weu"), "/service/apim-weu"));
  EXPECT_EQ(azure.verify_ignore, (std::vector<std::string>{"^loggers/local-"}));
  EXPECT_EQ(settings.runtime.hash, Sha256Hex(TestData("full.yaml")));
  EXPECT_EQ(settings.runtime.generation, 5u);
}

TEST_F(ConfigTest, FilesAreRelativeToTheConfiguration) {
  const ControllerSettings settings = LoadGood(TestData("full.yaml"));
  EXPECT_EQ(settings.store_directory, Path("state"));
  EXPECT_EQ(settings.tls.key_file, Path("tls.key"));
  EXPECT_EQ(settings.runtime.azure.client_secret_file, Path("client-secret"));
  EXPECT_EQ(settings.runtime.azure.ca_file, Path("azure-ca.crt"));
  EXPECT_EQ(settings.runtime.groups[0].azure.storage_access_key_file, Path("storage-key"));
  EXPECT_EQ(LoadGood(Edit(TestData("minimal.yaml"), "directory: state", "directory: /var/lib/x"))
                .store_directory,
            "/var/lib/x");
}

TEST_F(ConfigTest, EverythingElseHasADefault) {
  const ControllerSettings settings = LoadGood(TestData("minimal.yaml"));
  const runtime::GroupSettings& group = settings.runtime.groups.at(0);
  EXPECT_EQ(group.core.mode, core::Mode::kObserve);
  EXPECT_EQ(group.core.quorum, 2);
  EXPECT_EQ(group.core.rpo_objective, absl::InfiniteDuration());
  EXPECT_EQ(group.core.max_data_loss, absl::InfiniteDuration());
  EXPECT_EQ(group.core.decider().interval, absl::Seconds(5));
  EXPECT_EQ(group.core.decider().timeout, absl::Seconds(2));
  EXPECT_EQ(group.core.decider().failure_threshold, 3);
  EXPECT_EQ(group.core.decider().success_threshold, 6);
  EXPECT_EQ(group.core.min_down_duration, absl::Seconds(10));
  EXPECT_EQ(group.core.cooldown, absl::Minutes(30));
  EXPECT_EQ(group.core.max_per_day, 2);
  EXPECT_EQ(group.core.sync_interval, absl::ZeroDuration());
  EXPECT_FALSE(group.core.has_traffic);
  EXPECT_EQ(group.core.timing.freeze_hold, absl::Minutes(10));
  EXPECT_TRUE(group.spec.probes(0).decides());
  EXPECT_EQ(group.spec.probes(0).http().expect_status(0), "200");
  EXPECT_EQ(settings.agent_address, "0.0.0.0:7443");
  EXPECT_EQ(settings.operator_address, "0.0.0.0:7444");
  EXPECT_EQ(settings.metrics_address, "0.0.0.0:9464");
  EXPECT_EQ(settings.runtime.azure.arm_endpoint, "https://management.azure.com");
  EXPECT_EQ(settings.runtime.azure.api_version, "2022-08-01");
  EXPECT_EQ(settings.runtime.verify_reads_per_second, 10);
}

TEST_F(ConfigTest, EndpointsFollowTheCloud) {
  const std::string minimal = TestData("minimal.yaml");
  const azure::AzureOptions gov =
      LoadGood(Edit(minimal, "azure:", "azure:\n  cloud: usGovernment")).runtime.azure;
  EXPECT_EQ(gov.arm_endpoint, "https://management.usgovcloudapi.net");
  EXPECT_EQ(gov.authority_endpoint, "https://login.microsoftonline.us");
  EXPECT_EQ(gov.arm_scope, "https://management.usgovcloudapi.net/.default");
  EXPECT_EQ(gov.blob_endpoint, "https://{account}.blob.core.usgovcloudapi.net");
  const azure::AzureOptions china =
      LoadGood(
          Edit(minimal, "azure:", "azure:\n  cloud: china\n  armEndpoint: http://127.0.0.1:81/"))
          .runtime.azure;
  EXPECT_EQ(china.arm_endpoint, "http://127.0.0.1:81");
  EXPECT_EQ(china.authority_endpoint, "https://login.chinacloudapi.cn");
}

// Variables of the environment that end with the test.
class Environment {
 public:
  void Set(const char* name, const std::string& value) {
    setenv(name, value.c_str(), 1);
    names_.push_back(name);
  }
  ~Environment() {
    for (const char* name : names_) unsetenv(name);
  }

 private:
  std::vector<const char*> names_;
};

TEST_F(ConfigTest, WorkloadIdentityTakesWhatTheFileLeavesOutFromTheEnvironment) {
  Write("pod-token", "a.b.c");
  Environment environment;
  environment.Set("AZURE_TENANT_ID", "pod-tenant");
  environment.Set("AZURE_CLIENT_ID", "pod-client");
  environment.Set("AZURE_AUTHORITY_HOST", "https://login.pod.example/");
  environment.Set("AZURE_FEDERATED_TOKEN_FILE", Path("pod-token"));
  const std::string full = TestData("full.yaml");
  const size_t begin = full.find("\nazure:"), end = full.find("\ntls:");
  const auto with = [&](const std::string& section) {
    return absl::StrCat(full.substr(0, begin), "\nazure: ", section, "\n", full.substr(end));
  };
  const azure::AzureOptions pod = LoadGood(with("{auth: workloadIdentity}")).runtime.azure;
  EXPECT_EQ(pod.auth, azure::Auth::kWorkloadIdentity);
  EXPECT_EQ(pod.tenant_id, "pod-tenant");
  EXPECT_EQ(pod.client_id, "pod-client");
  EXPECT_EQ(pod.authority_endpoint, "https://login.pod.example");
  EXPECT_EQ(pod.federated_token_file, Path("pod-token"));

  Write("own-token", "d.e.f");
  const azure::AzureOptions own =
      LoadGood(with("{auth: workloadIdentity, tenantId: own, clientId: mine, authorityEndpoint: "
                    "https://own.example, federatedTokenFile: own-token}"))
          .runtime.azure;
  EXPECT_EQ(own.tenant_id, "own");
  EXPECT_EQ(own.client_id, "mine");
  EXPECT_EQ(own.authority_endpoint, "https://own.example");
  EXPECT_EQ(own.federated_token_file, Path("own-token"));

  const azure::AzureOptions secret = LoadGood(full).runtime.azure;
  EXPECT_EQ(secret.authority_endpoint, "https://login.microsoftonline.com");
  EXPECT_EQ(secret.federated_token_file, "");
  const azure::AzureOptions managed = LoadGood(with("{auth: managedIdentity}")).runtime.azure;
  EXPECT_EQ(managed.auth, azure::Auth::kManagedIdentity);
  EXPECT_EQ(managed.client_id, "");
  EXPECT_EQ(managed.imds_endpoint, "http://169.254.169.254");

  environment.Set("AZURE_FEDERATED_TOKEN_FILE", Path("gone"));
  EXPECT_TRUE(absl::StrContains(
      Problems(with("{auth: workloadIdentity}")),
      "azure.federatedTokenFile: found \"DIR/gone\" (DIR/gone: cannot open: No such file or "
      "directory); allowed: a readable file with the pod's federated token (default: "
      "AZURE_FEDERATED_TOKEN_FILE of the environment)"));
}

TEST_F(ConfigTest, InsecureNeedsNoTlsAndListensOnLoopback) {
  const std::string text =
      Edit(TestData("minimal.yaml"),
           "tls: {certificateFile: tls.crt, keyFile: tls.key, caFile: ca.crt}", "");
  EXPECT_EQ(Problems(text),
            "2: tls: found nothing; allowed: a section with certificateFile, keyFile and caFile "
            "(or --insecure)");
  const ControllerSettings settings = LoadGood(text, true);
  EXPECT_EQ(settings.agent_address, "127.0.0.1:7443");
  EXPECT_EQ(settings.metrics_address, "127.0.0.1:9464");
  EXPECT_EQ(Problems(text + "agentAddress: 10.0.0.1:7443\n", true),
            "17: agentAddress: found \"10.0.0.1:7443\"; allowed: with --insecure a loopback "
            "address only: 127.0.0.1, "
            "[::1] or localhost");
  EXPECT_EQ(LoadGood(text + "agentAddress: \"[::1]:0\"\noperatorAddress: \"[::1]:0\"\n", true)
                .agent_address,
            "[::1]:0");
}

TEST_F(ConfigTest, ThePublicNameIsTheProbesHostUnlessGiven) {
  const std::string text =
      Edit(TestData("minimal.yaml"), "  probeRegions:",
           "  traffic: {publicUrl: \"https://API.contoso.com:8443/x\"}\n  probeRegions:");
  EXPECT_EQ(LoadGood(text).runtime.groups[0].spec.probes(0).http().host(), "api.contoso.com");
  EXPECT_EQ(LoadGood(Edit(text, "http: {", "http: {host: other.example, "))
                .runtime.groups[0]
                .spec.probes(0)
                .http()
                .host(),
            "other.example");
}

TEST_F(ConfigTest, AZeroDwellAndAnAddressAttributionAreAllowed) {
  std::string text = Edit(TestData("full.yaml"), "minDownDuration: 10s", "minDownDuration: 0s");
  text = Edit(text, "servedBy: {header: x-served-by}", "servedBy: address");
  const ControllerSettings settings = LoadGood(text);
  EXPECT_EQ(settings.runtime.groups[0].core.min_down_duration, absl::ZeroDuration());
  EXPECT_EQ(settings.runtime.groups[0].core.served_by_header, "");
}

TEST_F(ConfigTest, OnlyWhatChangesAProbesMeaningChangesItsDefinition) {
  const std::string full = TestData("full.yaml");
  const auto definition = [&](absl::string_view from, absl::string_view to) {
    return LoadGood(Edit(full, from, to)).runtime.groups[0].core.probes[0].definition;
  };
  const std::string before = definition("mode: automatic", "mode: automatic");
  EXPECT_FALSE(before.empty());
  for (const auto& [from, to] : std::vector<std::pair<std::string, std::string>>{
           {"path: /status-", "path: /other-"},
           {"expectStatus: [\"200\"]", "expectStatus: [\"204\"]"},
           {"\"OK|Healthy\"", "\"OK\""},
           {"host: api.contoso.com", "host: www.contoso.com"},
           {"x-probe: apim-failover", "x-probe: other"},
           {"interval: 5s", "interval: 6s"},
           {"timeout: 2s", "timeout: 1s"},
           {"failureThreshold: 3", "failureThreshold: 4"},
           {"successThreshold: 6", "successThreshold: 7"},
           {"reuseConnection: false", "reuseConnection: true"},
           {"gatewayUrl: https://apim-weu", "gatewayUrl: https://apim-xyz"}}) {
    EXPECT_NE(definition(from, to), before) << from;
  }
  for (const auto& [from, to] :
       std::vector<std::pair<std::string, std::string>>{{"mode: automatic", "mode: approve"},
                                                        {"cooldown: 30m", "cooldown: 31m"},
                                                        {"interval: 6h", "interval: 7h"}}) {
    EXPECT_EQ(definition(from, to), before) << from;
  }
}

TEST_F(ConfigTest, AllProblemsAreReportedAtOnceInTheOrderOfTheLines) {
  std::string text = Edit(TestData("minimal.yaml"), "name: orders-api", "name: Orders");
  text = Edit(text, "path: /status", "path: status");
  text = Edit(text, "store: {directory: state}", "store: {directry: state}");
  const std::vector<std::string> lines = absl::StrSplit(Problems(text), '\n');
  ASSERT_EQ(lines.size(), 4u) << Problems(text);
  EXPECT_TRUE(absl::StartsWith(lines[0], "4: failoverGroups[0].name: found \"Orders\""))
      << lines[0];
  EXPECT_TRUE(
      absl::StartsWith(lines[1], "9: failoverGroups[0].probes[0].http.path: found \"status"))
      << lines[1];
  EXPECT_TRUE(absl::StartsWith(lines[2], "16: store")) << lines[2];
  EXPECT_TRUE(absl::StartsWith(lines[3], "16: store")) << lines[3];
}

TEST_F(ConfigTest, TwoGroupsShareNoNameServiceGatewayOrProfile) {
  const std::string full = TestData("full.yaml");
  const size_t begin = full.find("- name: orders-api"),
               end = full.find("# For tests and demonstrations");
  const std::string text = full.substr(0, end) + full.substr(begin, end - begin) + full.substr(end);
  std::vector<std::string> found;
  for (const absl::string_view line : absl::StrSplit(Problems(text), '\n')) {
    found.emplace_back(
        line.substr(line.find(": ") + 2, line.find(": found ") - line.find(": ") - 2));
  }
  EXPECT_EQ(found, (std::vector<std::string>{
                       "failoverGroups[1].name", "failoverGroups[1].services[0].resourceId",
                       "failoverGroups[1].services[0].gatewayUrl",
                       "failoverGroups[1].services[1].resourceId",
                       "failoverGroups[1].services[1].gatewayUrl",
                       "failoverGroups[1].traffic.trafficManager.profileResourceId"}))
      << Problems(text);
}

TEST_F(ConfigTest, AMissingFileIsNamed) {
  const absl::Status status = LoadControllerConfig(Path("none.yaml"), 1, false).status();
  EXPECT_TRUE(absl::IsNotFound(status)) << status;
  EXPECT_TRUE(absl::StrContains(status.message(), Path("none.yaml"))) << status;
}

TEST_F(ConfigTest, SecretsAreInNoMessage) {
  Write("storage-key", "not/base64!secret");
  std::string text =
      Edit(TestData("full.yaml"), "x-probe: apim-failover", "x-key: \"topsecret\\r\\nx: y\"");
  const std::string problems = Problems(text);
  EXPECT_TRUE(absl::StrContains(problems, "headers.x-key")) << problems;
  EXPECT_TRUE(absl::StrContains(problems, "one access key in base64")) << problems;
  EXPECT_FALSE(absl::StrContains(problems, "secret!") || absl::StrContains(problems, "topsecret") ||
               absl::StrContains(problems, "base64!"))
      << problems;
}

}  // namespace
}  // namespace failover
