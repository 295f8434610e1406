#include <cmath>

#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/e2e/system.h"

// The main job with the built programs: probe, decide by quorum, back up, restore, fail over,
// measure.
namespace failover::e2e {
namespace {

TEST(MainJob, ADeadGatewayIsReplacedByAStandbyThatWasProvedEqual) {
  System system;
  ASSERT_NO_FATAL_FAILURE(system.StartAll());
  ASSERT_TRUE(system.Ready());
  const v1::GroupStatus before = system.Status();
  EXPECT_EQ(before.active(), "apim-weu");
  EXPECT_EQ(system.Effects("backup"), 1);
  EXPECT_EQ(system.Effects("restore", "apim-neu"), 1);
  const auto entities = [&system](const std::string& service) {
    return system.Control("GET", "services/" + service + "/entities")["entities"];
  };
  EXPECT_EQ(entities("apim-weu"), entities("apim-neu"));

  system.Control("PATCH", "gateways/apim-weu", R"({"mode":"cut"})");
  ASSERT_TRUE(system.StatusBecomes(absl::Seconds(30), [](const v1::GroupStatus& status) {
    return status.failover().stage() == v1::FAILOVER_STAGE_DONE;
  }));
  const v1::GroupStatus after = system.Status();
  EXPECT_EQ(after.active(), "apim-neu");
  EXPECT_EQ(after.epoch(), before.epoch() + 1);
  EXPECT_TRUE(after.rto().proved());
  EXPECT_GT(after.rto().detect_ms(), 0);
  EXPECT_EQ(after.rto().total_ms(), after.rto().detect_ms() + after.rto().decide_ms() +
                                        after.rto().switch_ms() + after.rto().visible_ms());
  EXPECT_GT(after.failover().rpo_ms(), 0);
  EXPECT_EQ(after.failover().rpo_source(), "recovery_point");
  EXPECT_EQ(system.Switches(), (std::vector<std::string>{"neu Enabled", "weu Disabled"}));
  EXPECT_EQ(system.Ctl({"status", "orders-api"}).exit_code, 1) << "no way back yet: degraded";
}

TEST(MainJob, ARegionAloneMovesNothing) {
  System system;
  ASSERT_NO_FATAL_FAILURE(system.StartAll());
  ASSERT_TRUE(system.Ready());
  system.Control("PATCH", "gateways/apim-weu", R"({"mode":"cut","region":"uksouth"})");
  ASSERT_TRUE(system.StatusBecomes(absl::Seconds(20), [](const v1::GroupStatus& status) {
    return status.services(0).down() == 1;
  }));
  EXPECT_EQ(system.Status().services(0).verdict(), "up");
  EXPECT_TRUE(system.Status().frozen());
  EXPECT_EQ(system.Switches(), std::vector<std::string>());
}

TEST(MainJob, AnApprovalIsAskedForAndObeyed) {
  SystemOptions options;
  options.mode = "approve";
  System system(options);
  ASSERT_NO_FATAL_FAILURE(system.StartAll());
  ASSERT_TRUE(system.Ready());
  system.Control("PATCH", "gateways/apim-weu", R"({"mode":"hang"})");
  ASSERT_TRUE(system.StatusBecomes(absl::Seconds(30), [](const v1::GroupStatus& status) {
    return !status.approval().id().empty();
  }));
  EXPECT_EQ(system.Switches(), std::vector<std::string>());
  const CommandResult run = system.Ctl({"approve", "orders-api", system.Status().approval().id()});
  EXPECT_EQ(run.exit_code, 0) << run.out << run.err;
  EXPECT_TRUE(system.StatusBecomes(absl::Seconds(30), [](const v1::GroupStatus& status) {
    return status.failover().stage() == v1::FAILOVER_STAGE_DONE && status.active() == "apim-neu" &&
           status.failover().trigger() == "approved";
  }));
}

TEST(MainJob, ObserveSaysWhatItWouldDoAndDoesNothing) {
  SystemOptions options;
  options.mode = "observe";
  System system(options);
  ASSERT_NO_FATAL_FAILURE(system.StartAll());
  ASSERT_TRUE(system.StatusBecomes(absl::Seconds(60), [](const v1::GroupStatus& status) {
    return !status.best_standby().empty();
  }));
  system.Control("PATCH", "gateways/apim-weu", R"({"mode":"status","status":503})");
  EXPECT_TRUE(system.StatusBecomes(absl::Seconds(30), [](const v1::GroupStatus& status) {
    return status.would_do() == "failover apim-weu → apim-neu";
  }));
  EXPECT_EQ(system.Switches(), std::vector<std::string>());
}

TEST(MainJob, AnOperatorMovesTrafficAndAForceIsNamed) {
  SystemOptions options;
  options.mode = "manual";
  System system(options);
  ASSERT_NO_FATAL_FAILURE(system.StartAll());
  ASSERT_TRUE(system.StatusBecomes(absl::Seconds(60), [](const v1::GroupStatus& status) {
    return !status.best_standby().empty();
  }));
  system.Control("PATCH", "gateways/apim-neu", R"({"mode":"cut"})");
  ASSERT_TRUE(system.StatusBecomes(absl::Seconds(20), [](const v1::GroupStatus& status) {
    return status.services(1).verdict() == "down";
  }));
  const CommandResult refused =
      system.Ctl({"failover", "orders-api", "--reason", "a test", "--yes"});
  EXPECT_EQ(refused.exit_code, 1);
  EXPECT_NE((refused.out + refused.err).find("standby_down"), std::string::npos)
      << refused.out << refused.err;
  EXPECT_EQ(system.Switches(), std::vector<std::string>());
  const CommandResult forced =
      system.Ctl({"failover", "orders-api", "--to", "apim-neu", "--force", "standby_down",
                  "--reason", "the probe is wrong", "--yes"});
  EXPECT_EQ(forced.exit_code, 0) << forced.out << forced.err;
  EXPECT_TRUE(system.StatusBecomes(absl::Seconds(20), [](const v1::GroupStatus& status) {
    return status.active() == "apim-neu";
  }));
  EXPECT_EQ(system.Status().failover().forced(0), "standby_down");
}

TEST(MainJob, ARestartKeepsEverythingAndMeasuresOn) {
  System system;
  ASSERT_NO_FATAL_FAILURE(system.StartAll());
  ASSERT_TRUE(system.Ready());
  const v1::GroupStatus before = system.Status();
  system.controller.Kill();
  system.WriteControllerConfig("automatic");
  system.StartController();
  ASSERT_TRUE(Eventually(absl::Seconds(20), [&] { return !system.Address("agent").empty(); }));
  system.StartAgents();
  ASSERT_TRUE(system.StatusBecomes(absl::Seconds(30), [&](const v1::GroupStatus& status) {
    return status.term() > before.term() && status.state() == "healthy";
  }));
  const v1::GroupStatus after = system.Status();
  EXPECT_EQ(after.epoch(), before.epoch());
  EXPECT_EQ(after.services(1).record().recovery_point_ms(),
            before.services(1).record().recovery_point_ms());
  EXPECT_EQ(system.Effects("backup"), 1);
  EXPECT_FALSE(
      std::isnan(system.Metric("apim_failover_rpo_seconds{failover_group=\"orders-api\",apim_"
                               "service=\"apim-neu\",source=\"recovery_point\"}")));
}

}  // namespace
}  // namespace failover::e2e
