#include <algorithm>
#include <iostream>
#include <iterator>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/e2e/dashboards.h"
#include "tests/e2e/watched.h"

// An outage that ends in an automatic failover: its alerts, and what the dashboards show of it.
namespace failover::e2e {
namespace {

// Queries that rightly show nothing in this test.
struct Empty {
  const char* dashboard;
  const char* panel;
  const char* part;  // of the expression
  const char* why;
};
constexpr Empty kRightlyEmpty[] = {
    {"APIM failover / Overview", "Happening now", "approval_pending",
     "nobody is asked in automatic"},
    {"APIM failover / Failover group", "Happening now", "approval_pending",
     "nobody is asked in automatic"},
    {"APIM failover / Failover group", "Failover under way", "switch_expected_end",
     "no failover before it to learn from"},
    {"APIM failover / Agents and probes", "Refused", "agent_refused", "no agent does wrong"},
};

// Shows something only while it lasts; an instant query of anything else must show it still.
constexpr const char* kWhileItLasts[] = {
    "apim_failover_outage_active",
    "apim_failover_switch_started_timestamp_seconds",
    "apim_failover_sync_run_started_timestamp_seconds",
    "apim_failover_sync_run_expected_end_timestamp_seconds",
    "apim_failover_sync_operation_started_timestamp_seconds",
    "apim_failover_sync_operation_expected_end_timestamp_seconds",
    "apim_failover_dissenting_region",
    "apim_failover_group_rpo_seconds",  // unknown once no standby holds a backup
};

bool HasSeries(const nlohmann::json& result, const std::string& label) {
  return result.is_array() && std::any_of(result.begin(), result.end(), [&](const auto& series) {
           return label.empty() || series["metric"].contains(label);
         });
}

bool ShowsSomething(const Monitoring& monitoring, const DashboardQuery& query, absl::Time from) {
  const bool lasts =
      std::none_of(std::begin(kWhileItLasts), std::end(kWhileItLasts),
                   [&](const char* metric) { return absl::StrContains(query.expression, metric); });
  std::string error;
  const bool shows = HasSeries(
      query.instant && lasts ? monitoring.Query(query.expression, &error)
                             : monitoring.QueryRange(query.expression, from, absl::Now(), &error),
      query.label);
  EXPECT_EQ(error, "") << query.dashboard << ", " << query.panel << ": " << query.expression;
  return shows;
}

void EveryQueryShowsSomething(const Monitoring& monitoring, absl::Time from) {
  const std::string range = absl::StrCat(absl::ToInt64Seconds(absl::Now() - from) + 1);
  const std::vector<DashboardQuery> queries =
      DashboardQueries({{"failover_group", "orders-api"},
                        {"__rate_interval", "10s"},
                        {"__interval", "5s"},
                        {"__range", absl::StrCat(range, "s")},
                        {"__range_s", range}});
  ASSERT_FALSE(queries.empty());
  std::vector<bool> used(std::size(kRightlyEmpty), false);
  for (const DashboardQuery& query : queries) {
    if (ShowsSomething(monitoring, query, from)) continue;
    bool known = false;
    for (size_t i = 0; i < used.size(); ++i) {
      const Empty& one = kRightlyEmpty[i];
      if (query.dashboard == one.dashboard && query.panel == one.panel &&
          absl::StrContains(query.expression, one.part))
        known = used[i] = true;
    }
    EXPECT_TRUE(known) << query.dashboard << ", " << query.panel
                       << " shows nothing: " << query.expression;
  }
  for (size_t i = 0; i < used.size(); ++i) {
    const Empty& one = kRightlyEmpty[i];
    EXPECT_TRUE(used[i]) << one.dashboard << ", " << one.panel << ": no query of " << one.part
                         << " shows nothing (" << one.why << ")";
  }
  std::cout << queries.size() << " queries\n";
}

// Long enough to be scraped, with one answer that is no good.
void SlowSyncRun(Watched& watched) {
  Story story(watched, "a sync run with a hiccup of Azure");
  watched.system.Control("PATCH", "timing", R"({"backup": {"min": "3s", "max": "3s"},
                                                "restore": {"min": "3s", "max": "3s"}})");
  watched.system.Control("POST", "faults",
                         R"({"operation":"poll","action":"status","status":503,"times":1})");
  const v1::GroupStatus before = watched.system.Status();
  const CommandResult run =
      watched.system.Ctl({"sync", "run", "orders-api", "--reason", "a normal run"});
  EXPECT_EQ(run.exit_code, 0) << run.out << run.err;
  EXPECT_TRUE(watched.system.StatusBecomes(absl::Seconds(60), [&](const v1::GroupStatus& status) {
    return status.sync().run().id() != before.sync().run().id() &&
           status.sync().run().ended_ms() != 0 && !status.best_standby().empty();
  }));
  story.Resolves();
}

// One region alone does not reach the active gateway, for longer than a vote freezes restores.
void Dissent(Watched& watched) {
  Story story(watched, "one region dissents");
  watched.system.Control("PATCH", "gateways/apim-weu", R"({"mode":"cut","region":"uksouth"})");
  story.Fires({GroupAlert("ApimProbeRegionDissents", "warning",
                          {{"apim_service", "apim-weu"}, {"probe_region", "uksouth"}}),
               GroupAlert("ApimPublicNameFailing", "warning")});
  watched.system.Control("PATCH", "gateways/apim-weu", R"({"mode":"ok"})");
  story.Resolves();
}

void OutageWithFailover(Watched& watched) {
  Story story(watched, "an outage with an automatic failover");
  // The switch takes some seconds, as in the world.
  watched.system.Control(
      "POST", "faults",
      R"({"operation":"trafficWrite","action":"trafficOldRead","delay":"3s","times":1})");
  watched.system.Control("PATCH", "gateways/apim-weu", R"({"mode":"cut"})");
  const std::string back =
      GroupAlert("ApimFailbackPending", "warning", {{"apim_service", "apim-weu"}});
  story.Fired({GroupAlert("ApimFailoverInProgress", "info")});
  // Here a switch of seconds fills windows that are hours in the world.
  story.MayHaveFired(ErrorBudgetBurns());
  story.Fires({back, GroupAlert("ApimStandbyRegionUnhealthy", "warning",
                                {{"apim_service", "apim-weu"}, {"azure_region", "westeurope"}})});
  watched.system.Control("PATCH", "gateways/apim-weu", R"({"mode":"ok"})");
  // Until there is a way back: the former active service holds changes nobody has looked at.
  story.Resolves({back});
}

TEST(DashboardsTest, AnOutageAndItsFailoverFireTheirAlertsAndAreSeenOnEveryDashboard) {
  if (const std::string missing = Monitoring::Missing(); !missing.empty())
    GTEST_SKIP() << "Skipped: no " << missing;
  Watched watched("automatic", "2m");
  const absl::Time began = absl::Now();
  ASSERT_NO_FATAL_FAILURE(watched.Start());
  SlowSyncRun(watched);
  Dissent(watched);
  OutageWithFailover(watched);
  EveryQueryShowsSomething(watched.monitoring, began);
  EXPECT_EQ(watched.monitoring.BadAnnotations(), std::vector<std::string>());
}

}  // namespace
}  // namespace failover::e2e
