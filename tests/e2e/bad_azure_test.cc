#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/e2e/system.h"

// Azure answers badly, refuses, or has services that do not fit: told, survived, and nothing is
// lost.
namespace failover::e2e {
namespace {

using Json = nlohmann::json;

const v1::Blocker* Find(const v1::ServiceStatus& service, const std::string& name) {
  for (const v1::Blocker& blocker : service.blockers()) {
    if (blocker.name() == name && blocker.active()) return &blocker;
  }
  return nullptr;
}

TEST(BadAzure, AStandbyOfAnotherTierIsLeftOutWithTheReason) {
  SystemOptions options;
  options.change_world = [](Json& world) { world["services"][1]["sku"] = "Developer"; };
  System system(options);
  ASSERT_NO_FATAL_FAILURE(system.StartAll());
  ASSERT_TRUE(system.StatusBecomes(absl::Seconds(40), [](const v1::GroupStatus& status) {
    return status.sync().run().ended_ms() != 0;
  }));
  const v1::GroupStatus status = system.Status();
  ASSERT_EQ(status.sync().run().targets_size(), 1);
  EXPECT_EQ(status.sync().run().targets(0).stage(), v1::RESTORE_STAGE_SKIPPED);
  EXPECT_EQ(status.sync().run().targets(0).reason(),
            "its tier is Developer, the source's is Premium: Azure refuses such a restore");
  EXPECT_NE(Find(status.services(1), "tier_mismatch"), nullptr);
  EXPECT_EQ(status.best_standby(), "");
  EXPECT_EQ(system.Effects("restore"), 0);
  const CommandResult screen = system.Ctl({"status", "orders-api"});
  EXPECT_TRUE(absl::StrContains(screen.out, "tier_mismatch")) << screen.out;

  system.Control("PATCH", "gateways/apim-weu", R"({"mode":"cut"})");
  ASSERT_TRUE(system.StatusBecomes(absl::Seconds(20), [](const v1::GroupStatus& now) {
    return now.services(0).verdict() == "down";
  }));
  EXPECT_EQ(system.Switches(), std::vector<std::string>())
      << "no switch to a standby that is not fit";
}

TEST(BadAzure, AnswersThatMakeNoSenseOnceAreSurvived) {
  System system;
  ASSERT_NO_FATAL_FAILURE(system.StartEmulator());
  for (const char* operation : {"token", "trafficRead", "poll"}) {
    for (const char* action : {"malformed", "truncate"}) {
      system.Control("POST", "faults",
                     absl::StrCat(R"({"operation":")", operation, R"(","action":")", action,
                                  R"(","times":1})"));
    }
  }
  system.Control("POST", "faults",
                 R"({"operation":"entityRead","action":"truncate","skip":3,"times":1})");
  system.StartController();
  ASSERT_TRUE(Eventually(absl::Seconds(20), [&] { return !system.Address("agent").empty(); }));
  system.StartAgents();
  ASSERT_TRUE(system.Ready(absl::Seconds(80)));
  EXPECT_EQ(system.Effects("backup"), 1);
  EXPECT_EQ(system.Effects("restore"), 1);
}

TEST(BadAzure, AServiceThatCannotBeReadEndsTheRunWithTheReason) {
  for (const char* action : {"malformed", "truncate"}) {
    SCOPED_TRACE(action);
    System system;
    ASSERT_NO_FATAL_FAILURE(system.StartEmulator());
    system.Control("POST", "faults",
                   absl::StrCat(R"({"operation":"getService","service":"apim-weu","action":")",
                                action, R"("})"));
    system.StartController();
    ASSERT_TRUE(Eventually(absl::Seconds(20), [&] { return !system.Address("agent").empty(); }));
    system.StartAgents();
    ASSERT_TRUE(system.StatusBecomes(absl::Seconds(40), [](const v1::GroupStatus& status) {
      return status.sync().run().stage() == v1::SYNC_STAGE_FAILED;
    }));
    const std::string failure = system.Status().sync().run().failure();
    EXPECT_TRUE(absl::StrContains(failure, "apim-weu cannot be read: ")) << failure;
    EXPECT_GT(failure.size(), 30u) << failure;
    EXPECT_EQ(system.Effects("backup"), 0);
    system.Control("DELETE", "faults");
    const CommandResult run =
        system.Ctl({"sync", "run", "orders-api", "--reason", "Azure is back"});
    EXPECT_EQ(run.exit_code, 0) << run.out << run.err;
    EXPECT_TRUE(system.Ready());
  }
}

TEST(BadAzure, AWrongClientSecretIsToldAndMendedInPlace) {
  System system;
  ASSERT_NO_FATAL_FAILURE(system.StartEmulator());
  const std::string good = system.dir().Read("client-secret");
  system.dir().Write("client-secret", "this-is-wrong-and-never-shown");
  system.StartController();
  ASSERT_TRUE(Eventually(absl::Seconds(20), [&] { return !system.Address("agent").empty(); }));
  system.StartAgents();
  ASSERT_TRUE(system.StatusBecomes(absl::Seconds(30), [](const v1::GroupStatus& status) {
    return absl::StrContains(status.traffic().path_problem(), "invalid_client");
  }));
  EXPECT_TRUE(absl::StrContains(system.Status().traffic().path_problem(),
                                "client-secret is wrong (its value is needed, not its id): HTTP "
                                "401 invalid_client"))
      << system.Status().traffic().path_problem();
  EXPECT_TRUE(absl::StrContains(system.ControllerLog(), "Entra gave no token: the secret in "));
  EXPECT_FALSE(absl::StrContains(system.ControllerLog(), "never-shown"));
  EXPECT_TRUE(system.controller.Running());
  EXPECT_EQ(system.Effects("backup"), 0);
  system.dir().Write("client-secret", good);
  EXPECT_TRUE(system.Ready());
  EXPECT_EQ(system.Effects("backup"), 1);
}

}  // namespace
}  // namespace failover::e2e
