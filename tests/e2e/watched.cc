#include "tests/e2e/watched.h"

#include <algorithm>
#include <iostream>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "gtest/gtest.h"
#include "tests/e2e/shipped_rules.h"

namespace failover::e2e {
namespace {

SystemOptions WatchedOptions(const std::string& mode) {
  SystemOptions options;
  options.mode = mode;
  options.agent_ports = true;
  options.sync_interval = "30m";  // within the objective for the RPO, 1h
  options.certificates_last = absl::Hours(24 * 60);
  return options;
}

std::vector<ScrapeTarget> TargetsOf(const Replicas& system) {
  std::vector<ScrapeTarget> targets;
  for (int i = 0; i < system.count(); ++i) {
    targets.push_back(
        {JobOf("apim-failover"), absl::StrCat("ctl-", i), system.AddressOf(i, "metrics")});
  }
  for (const std::string& region : System::AgentRegions()) {
    targets.push_back({JobOf("apim-failover-agent"), absl::StrCat("agent-", region),
                       system.AgentMetrics(region)});
  }
  return targets;
}

}  // namespace

std::string Alert(const std::string& name, const std::string& severity, Labels labels) {
  labels["severity"] = severity;
  return AlertName(name, labels);
}
std::string GroupAlert(const std::string& name, const std::string& severity, Labels labels) {
  labels["failover_group"] = "orders-api";
  return Alert(name, severity, std::move(labels));
}

AlertSet ErrorBudgetBurns() {
  return {GroupAlert("ApimGatewayErrorBudgetBurn", "critical", {{"long", "1h"}, {"short", "5m"}}),
          GroupAlert("ApimGatewayErrorBudgetBurn", "critical", {{"long", "6h"}, {"short", "30m"}}),
          GroupAlert("ApimGatewayErrorBudgetBurn", "warning", {{"long", "1d"}, {"short", "2h"}}),
          GroupAlert("ApimGatewayErrorBudgetBurn", "warning", {{"long", "3d"}, {"short", "6h"}})};
}

Watched::Watched(const std::string& mode, std::string rto_objective)
    : rto(std::move(rto_objective)),
      system(WatchedOptions(mode), 2),
      monitoring(system.dir(), TargetsOf(system)) {}

void Watched::Start() {
  const absl::Time began = absl::Now();
  ASSERT_NO_FATAL_FAILURE(system.StartEmulator());
  ASSERT_NO_FATAL_FAILURE(system.EditControllerConfig("rto: 2m", absl::StrCat("rto: ", rto)));
  ASSERT_NO_FATAL_FAILURE(
      system.EditControllerConfig("interval: 500ms, timeout: 500ms", "interval: 1s, timeout: 1s"));
  ASSERT_NO_FATAL_FAILURE(system.StartController());
  system.StartAgents();
  ASSERT_NO_FATAL_FAILURE(monitoring.Start());
  ASSERT_TRUE(system.StatusBecomes(absl::Seconds(60), [](const v1::GroupStatus& status) {
    return status.sync().run().ended_ms() != 0 && !status.best_standby().empty();
  }));
  ASSERT_TRUE(Eventually(absl::Seconds(20), [this] { return monitoring.ScrapesAll(); }));
  ASSERT_TRUE(monitoring.Settles({}));
  EXPECT_EQ(monitoring.FiredSince(began), AlertSet()) << "during the first sync run";
}

Story::Story(Watched& watched, std::string name)
    : watched_(watched), name_(std::move(name)), began_(absl::Now()) {}

void Story::Fires(const AlertSet& alerts) {
  EXPECT_TRUE(watched_.monitoring.Settles(alerts)) << name_;
  Fired(alerts);
}

void Story::Fired(const AlertSet& alerts) { expected_.insert(alerts.begin(), alerts.end()); }

void Story::MayHaveFired(const AlertSet& alerts) { possible_.insert(alerts.begin(), alerts.end()); }

void Story::Resolves(const AlertSet& but_for) {
  EXPECT_TRUE(watched_.monitoring.Settles(but_for)) << name_;
  AlertSet fired = watched_.monitoring.FiredSince(began_);
  for (const std::string& alert : possible_) {
    if (!expected_.contains(alert)) fired.erase(alert);
  }
  EXPECT_EQ(fired, expected_) << name_;
  AlertSet over = expected_;
  for (const std::string& alert : but_for) over.erase(alert);
  const auto told = [this](const char* status, const AlertSet& awaited) {
    const AlertSet all = watched_.monitoring.Told(status);
    return std::includes(all.begin(), all.end(), awaited.begin(), awaited.end());
  };
  EXPECT_TRUE(Eventually(absl::Seconds(10),
                         [&] { return told("firing", expected_) && told("resolved", over); }))
      << name_ << ": Alertmanager told of less";
  std::cout << name_ << ": " << absl::Trunc(absl::Now() - began_, absl::Milliseconds(100)) << "\n";
}

}  // namespace failover::e2e
