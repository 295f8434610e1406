#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/e2e/watched.h"

// The shipped alert rules in a real Prometheus beside real controllers and agents: each trouble
// fires its own alerts and no other, and they resolve when it is over.
namespace failover::e2e {
namespace {

class AlertsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const std::string missing = Monitoring::Missing();
    if (!missing.empty()) GTEST_SKIP() << "Skipped: no " << missing;
  }
};

void NormalSync(Watched& watched) {
  Story story(watched, "a healthy system and its sync run");
  const int restores = watched.system.Effects("restore");
  const CommandResult run =
      watched.system.Ctl({"sync", "run", "orders-api", "--reason", "a normal run"});
  EXPECT_EQ(run.exit_code, 0) << run.out << run.err;
  EXPECT_TRUE(watched.system.StatusBecomes(absl::Seconds(30), [&](const v1::GroupStatus& status) {
    return watched.system.Effects("restore") == restores + 1 && !status.best_standby().empty() &&
           status.sync().run().ended_ms() != 0;
  }));
  story.Resolves();
}

void OutageInManualMode(Watched& watched) {
  Story story(watched, "an outage in manual mode");
  watched.system.Control("PATCH", "gateways/apim-weu", R"({"mode":"cut"})");
  AlertSet alerts = ErrorBudgetBurns();
  alerts.insert(
      {GroupAlert(
           "ApimActiveRegionUnhealthy", "critical",
           {{"apim_service", "apim-weu"}, {"azure_region", "westeurope"}, {"mode", "manual"}}),
       GroupAlert("ApimFailoverWaitsForOperator", "critical", {{"mode", "manual"}}),
       GroupAlert("ApimRecoveryTimeObjectiveBreached", "critical")});
  story.Fires(alerts);
  watched.system.Control("PATCH", "gateways/apim-weu", R"({"mode":"ok"})");
  story.Resolves();
}

void LostAgents(Watched& watched) {
  const auto gone = [](const std::string& region) {
    return Alert("ApimProbeAgentNotReporting", "warning", {{"probe_region", region}});
  };
  Story story(watched, "lost agents");
  const std::vector<std::string>& regions = System::AgentRegions();
  watched.system.agents[0].Kill();
  story.Fires({gone(regions[0])});
  watched.system.agents[1].Kill();
  story.Fires({gone(regions[0]), gone(regions[1]), GroupAlert("ApimProbeQuorumLost", "critical")});
  watched.system.StartAgent(0);
  watched.system.StartAgent(1);
  story.Resolves();
}

void ExpiringCertificates(Watched& watched) {
  Story story(watched, "expiring certificates");
  watched.system.RenewCertificate("controller", absl::Hours(24 * 3));
  watched.system.RenewCertificate("uksouth", absl::Hours(12));
  const auto expires = [](const std::string& pod, const std::string& purpose,
                          const std::string& severity) {
    return Alert("ApimFailoverCertificateExpiring", severity, {{"pod", pod}, {"purpose", purpose}});
  };
  story.Fires({expires("ctl-0", "server", "warning"), expires("ctl-1", "server", "warning"),
               expires("agent-uksouth", "client", "critical")});
  watched.system.RenewCertificate("controller", absl::Hours(24 * 60));
  watched.system.RenewCertificate("uksouth", absl::Hours(24 * 60));
  story.Resolves();
}

void StuckBackup(Watched& watched) {
  Story story(watched, "a stuck backup");
  watched.system.Control(
      "POST", "faults",
      R"({"operation":"backup","action":"operation","times":1,"outcome":{"kind":"stuck"}})");
  const CommandResult run = watched.system.Ctl({"sync", "run", "orders-api", "--reason", "a test"});
  EXPECT_EQ(run.exit_code, 0) << run.out << run.err;
  story.Fires({GroupAlert("ApimSyncStuck", "warning",
                          {{"apim_service", "apim-weu"}, {"operation", "backup"}})});
  const nlohmann::json list = watched.system.Control("GET", "operations");
  for (const nlohmann::json& operation : list["operations"]) {
    if (!operation.value("ended", true))
      watched.system.Control("PATCH",
                             absl::StrCat("operations/", operation["id"].get<std::string>()),
                             R"({"finish": true})");
  }
  story.Resolves();
}

void ForeignTrafficChange(Watched& watched) {
  Story story(watched, "a foreign traffic change");
  const auto set = [&watched](const std::string& endpoint, const char* enabled) {
    watched.system.Control(
        "PATCH", "trafficManagerProfiles/contoso-api",
        absl::StrCat(R"({"endpoints": {")", endpoint, R"(": {"enabled": )", enabled, "}}}"));
  };
  set("neu", "true");
  story.Fires({GroupAlert("ApimSplitBrainSuspected", "critical")});
  set("weu", "false");
  story.Fires({GroupAlert("ApimTrafficMismatch", "critical")});
  set("weu", "true");
  set("neu", "false");
  story.Resolves();
}

// Several tests, so that two can run at once.
TEST_F(AlertsTest, ASyncRunFiresNothingAnOutageAndAForeignTrafficChangeWhatTheyAre) {
  Watched watched("manual", "8s");
  ASSERT_NO_FATAL_FAILURE(watched.Start());
  NormalSync(watched);
  OutageInManualMode(watched);
  ForeignTrafficChange(watched);
  EXPECT_EQ(watched.monitoring.BadAnnotations(), std::vector<std::string>());
}

TEST_F(AlertsTest, LostAgentsExpiringCertificatesAndAStuckBackupAreToldAndResolve) {
  Watched watched("manual", "8s");
  ASSERT_NO_FATAL_FAILURE(watched.Start());
  LostAgents(watched);
  ExpiringCertificates(watched);
  StuckBackup(watched);
  EXPECT_EQ(watched.monitoring.BadAnnotations(), std::vector<std::string>());
}

// The API server is away: nobody can have the Lease.
void NoLeader(Watched& watched) {
  Story story(watched, "a controller without leader");
  KubernetesStub::Fault away;
  away.what = KubernetesStub::Fault::kDropBefore;
  away.times = -1;
  watched.system.stub.Add(away);
  // `name` is that of the Lease.
  story.Fires({Alert("ApimFailoverControllerNoLeader", "critical", {{"name", "apim-failover"}})});
  watched.system.stub.ClearFaults();
  story.Resolves();
}

void LostReplica(Watched& watched) {
  Story story(watched, "one replica of two");
  const int follower = 1 - watched.system.Leader();
  watched.system.replica(follower).Kill();
  story.Fires({Alert("ApimFailoverControllerDegraded", "warning")});
  watched.system.StartReplica(follower);
  story.Resolves();
}

void ControllerDown(Watched& watched) {
  Story story(watched, "no controller");
  for (int i = 0; i < watched.system.count(); ++i) watched.system.replica(i).Kill();
  AlertSet alerts = {Alert("ApimFailoverControllerDown", "critical")};
  for (const std::string& region : System::AgentRegions()) {
    alerts.insert(Alert("ApimProbeAgentDisconnected", "warning",
                        {{"pod", absl::StrCat("agent-", region)}, {"probe_region", region}}));
  }
  story.Fires(alerts);
  for (int i = 0; i < watched.system.count(); ++i) watched.system.StartReplica(i);
  // By now they wait up to 15 s before they try again: longer than any alert here.
  watched.system.StartAgents();
  story.Resolves();
}

TEST_F(AlertsTest, AControllerThatDoesNotLeadOrIsGoneIsTold) {
  Watched watched("manual", "8s");
  ASSERT_NO_FATAL_FAILURE(watched.Start());
  LostReplica(watched);
  NoLeader(watched);
  ControllerDown(watched);
  EXPECT_EQ(watched.monitoring.BadAnnotations(), std::vector<std::string>());
}

}  // namespace
}  // namespace failover::e2e
