#include <gtest/gtest.h>

#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "apim_failover/v1/config.pb.h"
#include "common/config_file.h"
#include "common/proto.h"

namespace failover {
namespace {

struct Loaded {
  v1::ControllerConfig config;
  ConfigPlaces places;
  absl::Status status;
};

Loaded Load(absl::string_view text) {
  Loaded loaded;
  ConfigProblems problems("f.yaml");
  ParseYaml(text, loaded.config, loaded.places, problems);
  loaded.status = problems.ToStatus();
  return loaded;
}

TEST(YamlTest, EveryKindOfValueIsRead) {
  const Loaded loaded = Load(R"(controllerRegion: swedencentral
failoverGroups:
- name: orders-api
  mode: automatic
  objectives: {rpo: 8h, rto: "2m"}
  probes:
  - http: {path: /status, expectStatus: ["200", '204'], headers: {X-Probe: "1", accept: text/plain}}
    interval: 1s500ms
    decides: true
  probeRegions: [westeurope, northeurope]
  quorum: 2
  failover: {minDownDuration: 0s, onDrift: block, maxPerDay: 0}
  traffic: {servedBy: {header: x-served-by}}
  sync: {storage: {access: systemAssignedIdentity}}
azure: {cloud: usGovernment}
)");
  ASSERT_TRUE(loaded.status.ok()) << loaded.status;
  const v1::GroupSpec& group = loaded.config.failover_groups(0);
  EXPECT_EQ(loaded.config.controller_region(), "swedencentral");
  EXPECT_EQ(group.mode(), v1::MODE_AUTOMATIC);
  EXPECT_EQ(group.objectives().rpo().seconds(), 8 * 3600);
  EXPECT_EQ(group.objectives().rto().seconds(), 120);
  EXPECT_EQ(group.probes(0).http().expect_status(1), "204");
  EXPECT_EQ(group.probes(0).http().headers().at("X-Probe"), "1");
  EXPECT_EQ(group.probes(0).http().headers().size(), 2u);
  EXPECT_EQ(group.probes(0).interval().seconds(), 1);
  EXPECT_EQ(group.probes(0).interval().nanos(), 500'000'000);
  EXPECT_TRUE(group.probes(0).decides());
  EXPECT_FALSE(group.probes(0).has_failure_threshold());
  EXPECT_EQ(group.probe_regions_size(), 2);
  EXPECT_EQ(group.quorum(), 2);
  EXPECT_TRUE(group.failover().has_min_down_duration());
  EXPECT_EQ(group.failover().min_down_duration().seconds(), 0);
  EXPECT_TRUE(group.failover().has_max_per_day()) << "0 is set, not absent";
  EXPECT_EQ(group.failover().on_drift(), v1::ON_DRIFT_BLOCK);
  EXPECT_EQ(group.traffic().served_by().header(), "x-served-by");
  EXPECT_EQ(group.sync().storage().access(), v1::STORAGE_ACCESS_SYSTEM_ASSIGNED_IDENTITY);
  EXPECT_EQ(loaded.config.azure().cloud(), v1::CLOUD_US_GOVERNMENT);
}

TEST(YamlTest, ServedByMayBeTheWordAddress) {
  const Loaded loaded = Load("failoverGroups:\n- traffic: {servedBy: address}\n");
  ASSERT_TRUE(loaded.status.ok()) << loaded.status;
  EXPECT_TRUE(loaded.config.failover_groups(0).traffic().has_served_by());
  EXPECT_EQ(loaded.config.failover_groups(0).traffic().served_by().header(), "");
}

TEST(YamlTest, AnEmptyFileIsAnEmptyMessage) {
  for (const char* text : {"", "\n", "# nothing\n", "---\n", "{}"}) {
    const Loaded loaded = Load(text);
    EXPECT_TRUE(loaded.status.ok()) << text << loaded.status;
    EXPECT_EQ(loaded.config.ByteSizeLong(), 0u);
  }
}

TEST(YamlTest, PlacesPointAtValuesAndSections) {
  const Loaded loaded =
      Load("timing:\n  freezeHold: 1m\nfailoverGroups:\n- name: a\n- mode: manual\n  name: b\n");
  ASSERT_TRUE(loaded.status.ok()) << loaded.status;
  EXPECT_EQ(loaded.places.at("timing").line, 1);
  EXPECT_EQ(loaded.places.at("timing.freezeHold").line, 2);
  EXPECT_EQ(loaded.places.at("timing.freezeHold").column, 15);
  EXPECT_EQ(loaded.places.at("failoverGroups[1]").line, 5);
  EXPECT_EQ(loaded.places.at("failoverGroups[1].name").line, 6);
}

TEST(YamlTest, AMissingKeyIsReportedAtItsSection) {
  const Loaded loaded =
      Load("timing:\n  freezeHold: 1m\nfailoverGroups:\n- name: a\n- mode: manual\n");
  ConfigProblems problems("f.yaml");
  problems.Add(loaded.places, "failoverGroups[1].name", "missing");
  problems.Add(loaded.places, "store.directory", "missing");
  EXPECT_EQ(problems.ToStatus().message(),
            "f.yaml:1: store.directory: missing\nf.yaml:5: failoverGroups[1].name: missing");
}

struct Refusal {
  const char *text, *message;
};

// Each text has exactly one fault, and the whole message is compared.
TEST(YamlTest, EachFaultIsToldWithPlaceValueAndWhatIsAllowed) {
  const Refusal refusals[] = {
      {"azure:\n  tennantId: x\n",
       "f.yaml:2: azure.tennantId: found unknown key \"tennantId\" (did you mean \"tenantId\"?); "
       "allowed: cloud, auth, "
       "tenantId, clientId, clientSecretFile, armEndpoint, authorityEndpoint, armScope, "
       "blobEndpoint, apiVersion, "
       "trafficManagerApiVersion, caFile, federatedTokenFile, imdsEndpoint"},
      {"failoverGroups:\n- failover:\n    min_down_duration: 1s\n",
       "f.yaml:3: failoverGroups[0].failover.min_down_duration: found unknown key "
       "\"min_down_duration\" (did you mean "
       "\"minDownDuration\"?); allowed: minDownDuration, cooldown, maxPerDay, maxDataLoss, "
       "onDrift"},
      {"store: {zzz: 1}\n",
       "f.yaml:1: store.zzz: found unknown key \"zzz\"; allowed: directory, kubernetes"},
      {"store:\n  directory: a\n  directory: b\n",
       "f.yaml:3: store.directory: found duplicate key \"directory\", first on line 2; allowed: "
       "each key once"},
      {"failoverGroups:\n- probes:\n  - http:\n      headers: {a: b, a: c}\n",
       "f.yaml:4: failoverGroups[0].probes[0].http.headers.a: found duplicate key \"a\", first on "
       "line 4; allowed: each "
       "key once"},
      {"store:\n",
       "f.yaml:1: store: found nothing; allowed: a section with the keys directory, kubernetes"},
      {"store:\n  directory: ~\n", "f.yaml:2: store.directory: found nothing; allowed: text"},
      {"store:\n  directory: null\n", "f.yaml:2: store.directory: found nothing; allowed: text"},
      {"store: /var/lib\n",
       "f.yaml:1: store: found \"/var/lib\"; allowed: a section with the keys directory, "
       "kubernetes"},
      {"store: [a]\n",
       "f.yaml:1: store: found a list; allowed: a section with the keys directory, kubernetes"},
      {"store:\n  directory: [a]\n", "f.yaml:2: store.directory: found a list; allowed: text"},
      {"store:\n  directory:\n    a: b\n",
       "f.yaml:2: store.directory: found a section; allowed: text"},
      {"store:\n  directory: 5\n",
       "f.yaml:2: store.directory: found \"5\"; allowed: text; write \"5\" in quotes"},
      {"store:\n  directory: true\n",
       "f.yaml:2: store.directory: found \"true\"; allowed: text; write \"true\" in quotes"},
      {"failoverGroups:\n- probes:\n  - http: {expectStatus: [200]}\n",
       "f.yaml:3: failoverGroups[0].probes[0].http.expectStatus[0]: found \"200\"; allowed: text; "
       "write \"200\" in quotes"},
      {"failoverGroups:\n- quorum: \"2\"\n",
       "f.yaml:2: failoverGroups[0].quorum: found \"2\"; allowed: a whole number, without quotes"},
      {"failoverGroups:\n- quorum: 1.5\n",
       "f.yaml:2: failoverGroups[0].quorum: found \"1.5\"; allowed: a whole number"},
      {"failoverGroups:\n- quorum: 99999999999\n",
       "f.yaml:2: failoverGroups[0].quorum: found \"99999999999\"; allowed: a whole number"},
      {"failoverGroups:\n- probes:\n  - decides: yes\n",
       "f.yaml:3: failoverGroups[0].probes[0].decides: found \"yes\"; allowed: true or false"},
      {"failoverGroups:\n- mode: automatik\n",
       "f.yaml:2: failoverGroups[0].mode: found \"automatik\"; allowed: observe, manual, approve, "
       "automatic (did you mean "
       "\"automatic\"?)"},
      {"failoverGroups:\n- mode: MODE_MANUAL\n",
       "f.yaml:2: failoverGroups[0].mode: found \"MODE_MANUAL\"; allowed: observe, manual, "
       "approve, automatic"},
      {"failoverGroups:\n- mode: unspecified\n",
       "f.yaml:2: failoverGroups[0].mode: found \"unspecified\"; allowed: observe, manual, "
       "approve, automatic"},
      {"timing:\n  freezeHold: 10\n",
       "f.yaml:2: timing.freezeHold: found \"10\"; allowed: a duration such as 500ms, 30s, 1h30m "
       "or 30d"},
      {"timing:\n  freezeHold: {seconds: 1}\n",
       "f.yaml:2: timing.freezeHold: found a section; allowed: a duration such as 500ms, 30s, "
       "1h30m or 30d"},
      {"failoverGroups: {name: a}\n",
       "f.yaml:1: failoverGroups: found a section; allowed: a list, each a section with the keys "
       "name, mode, objectives, "
       "services, probes, probeRegions, quorum, controlTargets, failover, traffic, sync"},
      {"failoverGroups:\n- probeRegions: a\n",
       "f.yaml:2: failoverGroups[0].probeRegions: found \"a\"; allowed: a list, each text"},
      {"failoverGroups:\n- probeRegions:\n  - a\n  -\n",
       "f.yaml:4: failoverGroups[0].probeRegions[1]: found nothing; allowed: text"},
      {"failoverGroups:\n- traffic:\n    servedBy: adress\n",
       "f.yaml:3: failoverGroups[0].traffic.servedBy: found \"adress\"; allowed: address, or a "
       "section with the keys "
       "header"},
      {"failoverGroups:\n- traffic: {trafficManager: {endpoints: [a]}}\n",
       "f.yaml:2: failoverGroups[0].traffic.trafficManager.endpoints: found a list; allowed: a "
       "section of names and values"},
      {"failoverGroups:\n- traffic: {trafficManager: {endpoints: {a: }}}\n",
       "f.yaml:2: failoverGroups[0].traffic.trafficManager.endpoints.a: found nothing; allowed: "
       "text"},
      {"store: {[a]: b}\n", "f.yaml:1: store: found a list as a key; allowed: text"},
      {"- a\n",
       "f.yaml:1: found a list; allowed: a section with the keys controllerRegion, failoverGroups, "
       "timing, azure, tls, "
       "agentAddress, operatorAddress, metricsAddress, store, leaderElection, kubernetes, "
       "replicasAddress"},
      {"store: &x {directory: a}\n", "f.yaml:1: found an anchor (&); allowed: values written out"},
      {"store: {directory: &x a}\n", "f.yaml:1: found an anchor (&); allowed: values written out"},
      {"store:\n  <<: {directory: a}\n",
       "f.yaml:2: found a merge key (<<); allowed: values written out"},
      {"store: {directory: a}\n---\nstore: {directory: b}\n",
       "f.yaml:2: found a second document; allowed: one document"},
      {"store: {directory: !!str a}\n",
       "f.yaml:1: found the tag \"tag:yaml.org,2002:str\"; allowed: no tags"},
      {"store: !x {directory: a}\n", "f.yaml:1: found the tag \"!x\"; allowed: no tags"},
      {"store:\n  directory: \"\xff\"\n",
       "f.yaml:2: found a byte that is not UTF-8; allowed: UTF-8 text"},
      {"store: a\x01\n", "f.yaml:1: found the control character 1; allowed: UTF-8 text"},
  };
  for (const Refusal& refusal : refusals) {
    EXPECT_EQ(std::string(Load(refusal.text).status.message()), refusal.message) << refusal.text;
  }
}

TEST(YamlTest, AnAliasIsRefused) {
  const absl::Status status = Load("a: *x\n").status;
  EXPECT_TRUE(absl::StrContains(status.message(), "f.yaml:1: ")) << status;
}

TEST(YamlTest, BrokenYamlIsRefusedAtItsPlace) {
  const absl::Status status = Load("store:\n  directory: [a\nazure: {}\n").status;
  EXPECT_TRUE(absl::StartsWith(status.message(), "f.yaml:3: not readable as YAML: ")) << status;
}

TEST(YamlTest, DepthIsBounded) {
  std::string text = "store: ";
  for (int i = 0; i < 40; ++i) text += "{a: ";
  text += "1";
  for (int i = 0; i < 40; ++i) text += "}";
  EXPECT_EQ(Load(text).status.message(),
            "f.yaml:1: found more than 32 levels; allowed: at most 32");
  EXPECT_FALSE(Load(std::string(500'000, '[')).status.ok());
  EXPECT_FALSE(Load(std::string(500'000, '{')).status.ok());
}

TEST(YamlTest, SizeIsBounded) {
  const std::string text = absl::StrCat("# ", std::string(1 << 20, 'x'));
  EXPECT_EQ(Load(text).status.message(), "f.yaml:1: found more than 1 MiB; allowed: at most 1 MiB");
}

TEST(YamlTest, AllProblemsAreFoundAtOnceInTheOrderOfTheLines) {
  const absl::Status status =
      Load("zzz: 1\nstore:\n  directory: 5\ntiming:\n  freezeHold: never\n  freezeThaw: 1m\n")
          .status;
  EXPECT_TRUE(absl::StartsWith(status.message(), "f.yaml:1: zzz: found unknown key")) << status;
  EXPECT_TRUE(absl::StrContains(status.message(), "\nf.yaml:3: store.directory: ")) << status;
  EXPECT_TRUE(absl::StrContains(status.message(), "\nf.yaml:5: timing.freezeHold: ")) << status;
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
}

TEST(YamlTest, NoTruncationOfAValidFileCrashes) {
  const std::string text =
      "failoverGroups:\n- name: a\n  objectives: {rpo: 8h, rto: \"2m\"}\n  probes:\n  - http: "
      "{headers: {a: 'b'}}\n";
  ASSERT_TRUE(Load(text).status.ok());
  for (size_t n = 0; n < text.size(); ++n) Load(text.substr(0, n));
}

}  // namespace
}  // namespace failover
