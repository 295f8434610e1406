// ConfigReport, and problems that need two groups.
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "controller/config.h"
#include "gtest/gtest.h"

namespace failover {
namespace {

ControllerSettings Settings() {
  ControllerSettings settings;
  runtime::GroupSettings group;
  core::GroupConfig& config = group.core;
  config.name = "orders-api";
  config.mode = core::Mode::kAutomatic;
  config.services = {{"apim-weu", "westeurope", "/a", "https://a"},
                     {"apim-neu", "northeurope", "/b", "https://b"}};
  config.probes = {{"status", "", absl::Seconds(5), absl::Seconds(2), 3, 6}};
  config.probe_regions = {"westeurope", "northeurope", "uksouth"};
  config.quorum = 2;
  config.controller_region = "swedencentral";
  config.control_targets = {"https://www.microsoft.com/"};
  config.rpo_objective = absl::Hours(8);
  config.rto_objective = absl::Minutes(2);
  config.public_url = "https://api.contoso.com/status";
  config.has_traffic = true;
  config.sync_interval = absl::Hours(6);
  settings.runtime.groups.push_back(group);
  settings.runtime.azure.api_version = "2022-08-01";
  settings.runtime.azure.tenant_id = "t";
  settings.runtime.azure.client_id = "c";
  settings.runtime.azure.client_secret_file = "/secrets/client";
  return settings;
}

core::GroupConfig& Group(ControllerSettings& settings) { return settings.runtime.groups[0].core; }

std::vector<std::string> Warnings(const ControllerSettings& settings) {
  std::vector<std::string> warnings;
  for (const auto line : absl::StrSplit(ConfigReport(settings), '\n')) {
    if (absl::StartsWith(line, "warning: ")) warnings.emplace_back(line);
  }
  return warnings;
}

TEST(ConfigReportTest, AGoodFilePromisesInNumbersAndWarnsOfNothing) {
  EXPECT_EQ(ConfigReport(Settings()),
            "azure: signs in by client secret: client c in tenant t, secret in /secrets/client\n"
            "group orders-api: mode automatic, 2 services\n"
            "  detection  worst case 9s100ms, floor 7s (probe status: interval 5s, timeout 2s, 3 "
            "failure(s) in a row; "
            "2 of 3 probe regions)\n"
            "  dwell      minDownDuration 10s: an automatic failover is decided at most 14s after "
            "an outage began\n"
            "  rto        objective 2m leaves 1m46s to switch and be seen\n"
            "  sync       every 6h; objective rpo 8h leaves 2h for one backup and 1 restore(s), "
            "one after another\n"
            "  unready    a standby is not ready while it is restored (restore time / interval): "
            "5.6 % if a restore "
            "takes 20m, 12.5 % if a restore takes 45m; measured once restores have run\n");
}

struct Case {
  void (*change)(ControllerSettings&);
  const char* warning;
};

TEST(ConfigReportTest, EverythingDoubtfulIsWarnedOfByName) {
  const Case cases[] = {
      {[](auto& s) { Group(s).timing.ambiguity_wait = absl::Seconds(1); },
       "timing.ambiguityWait is 1s, below its default of 2m"},
      {[](auto& s) { Group(s).timing.ambiguity_watch = absl::Seconds(1); },
       "timing.ambiguityWatch is 1s, below its default of 30m"},
      {[](auto& s) { Group(s).timing.freeze_hold = absl::Seconds(1); },
       "timing.freezeHold is 1s, below its default of 10m"},
      {[](auto& s) { Group(s).timing.freeze_thaw = absl::Seconds(1); },
       "timing.freezeThaw is 1s, below its default of 5m"},
      {[](auto& s) { s.runtime.verify_reads_per_second = 5; },
       "verifyReadsPerSecond is 5, below its default of 10"},
      {[](auto& s) { s.runtime.verify_reads_per_second = 50; },
       "verifyReadsPerSecond is 50, above its default of 10"},
      {[](auto& s) { Group(s).min_down_duration = absl::ZeroDuration(); },
       "failover.minDownDuration is 0s, below its default of 10s"},
      {[](auto& s) { Group(s).cooldown = absl::Minutes(1); },
       "failover.cooldown is 1m, below its default of 30m"},
      {[](auto& s) { Group(s).quorum = 3; },
       "while apim-weu is active, the loss of the whole region westeurope is never detected"},
      {[](auto& s) { Group(s).quorum = 1; }, "quorum 1 is not more than half of 3 probe regions"},
      {[](auto& s) {
         Group(s).probe_regions = {"westeurope", "swedencentral"};
       },
       "the verdict can never be down for every service"},
      {[](auto& s) { Group(s).control_targets.clear(); }, "no controlTargets"},
      {[](auto& s) { Group(s).rto_objective = absl::Seconds(10); },
       "objectives.rto 10s is shorter than the decision may take, 14s"},
      {[](auto& s) { Group(s).has_traffic = false; },
       "no traffic.trafficManager: nothing can be switched"},
      {[](auto& s) { Group(s).public_url = ""; }, "no traffic.publicUrl"},
      {[](auto& s) { Group(s).services[1].gateway_url = "http://b"; },
       "the gateway of apim-neu is probed without TLS"},
      {[](auto& s) { Group(s).services[1].azure_region = "westeurope"; },
       "apim-weu and apim-neu are both in westeurope"},
      {[](auto& s) { Group(s).sync_interval = absl::ZeroDuration(); },
       "no sync: every standby stays never_synced"},
      {[](auto& s) { Group(s).sync_interval = absl::Hours(8); },
       "sync.interval 8h is not below objectives.rpo 8h"},
      {[](auto& s) { Group(s).max_data_loss = absl::Hours(6); },
       "is not below failover.maxDataLoss 6h"},
      {[](auto& s) { Group(s).backup_lifetime = absl::Hours(11); }, "is below two intervals"},
      {[](auto& s) { s.runtime.azure.api_version = "2014-02-14"; },
       "restored backups of at most 7 days"},
      {[](auto& s) { Group(s).sync_interval = absl::Minutes(30); },
       "sync.interval 30m is short against a restore"},
  };
  for (const Case& one : cases) {
    ControllerSettings settings = Settings();
    one.change(settings);
    bool found = false;
    for (const std::string& warning : Warnings(settings))
      found |= absl::StrContains(warning, one.warning);
    EXPECT_TRUE(found) << one.warning << "\n" << ConfigReport(settings);
  }
}

TEST(ConfigReportTest, TheIdentityThatIsUsedIsNamed) {
  ControllerSettings settings = Settings();
  azure::AzureOptions& azure = settings.runtime.azure;
  azure.authority_endpoint = "https://login.example";
  azure.federated_token_file = "/tokens/azure";
  azure.imds_endpoint = "http://169.254.169.254";
  const auto first = [&] {
    return std::string(*absl::StrSplit(ConfigReport(settings), '\n').begin());
  };
  azure.auth = azure::Auth::kWorkloadIdentity;
  EXPECT_EQ(first(),
            "azure: signs in by workload identity: client c in tenant t of https://login.example, "
            "token in /tokens/azure");
  azure.auth = azure::Auth::kManagedIdentity;
  EXPECT_EQ(first(),
            "azure: signs in by managed identity: client c, asked of http://169.254.169.254");
  azure.client_id = "";
  EXPECT_EQ(first(),
            "azure: signs in by managed identity: the machine's own, asked of "
            "http://169.254.169.254");
}

TEST(ConfigReportTest, AnObjectiveThatCannotBeMetIsSaidSo) {
  ControllerSettings settings = Settings();
  Group(settings).rto_objective = absl::Seconds(10);
  Group(settings).rpo_objective = absl::Hours(6);
  const std::string report = ConfigReport(settings);
  EXPECT_TRUE(absl::StrContains(report, "objective 10s cannot be met: deciding alone may take 14s"))
      << report;
  EXPECT_TRUE(absl::StrContains(report, "leaves no time for one backup and 1 restore(s)"))
      << report;
}

TEST(ConfigReportTest, AVerdictThatIsImpossibleHasNoBound) {
  ControllerSettings settings = Settings();
  Group(settings).probe_regions = {"westeurope", "swedencentral"};
  EXPECT_TRUE(absl::StrContains(ConfigReport(settings), "worst case never, floor never"));
}

}  // namespace
}  // namespace failover
