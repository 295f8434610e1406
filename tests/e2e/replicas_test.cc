#include <sys/wait.h>

#include <algorithm>
#include <csignal>
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/e2e/replicas.h"

// Several replicas of the controller beside a stub of the API server: one leads, the others know
// what it knows (design.md §9).
namespace failover::e2e {
namespace {

using ::testing::HasSubstr;
using ::testing::IsSupersetOf;

constexpr const char* kRegionsOfAgents[] = {"westeurope", "northeurope", "uksouth"};
constexpr char kLeads[] = "leader_election_master_status{name=\"apim-failover\"}";

TEST(ReplicasTest, OneLeadsAndTheOthersKnowWhatItKnowsAndTakeNoOrders) {
  Replicas system({}, 3);
  ASSERT_NO_FATAL_FAILURE(system.StartAll());
  ASSERT_TRUE(system.Ready());
  const int leader = system.Leader();
  ASSERT_GE(leader, 0) << system.ControllerLog();
  for (int i = 0; i < 3; ++i) {
    SCOPED_TRACE(absl::StrCat("replica ", i));
    EXPECT_TRUE(Eventually(absl::Seconds(20), [&] {
      return absl::StartsWith(Page(system.AddressOf(i, "metrics"), "/readyz"), "ok");
    }));
    for (const char* region : kRegionsOfAgents) {
      EXPECT_TRUE(Eventually(absl::Seconds(20), [&] { return system.Results(i, region) > 0; }))
          << region;
    }
    EXPECT_TRUE(Eventually(absl::Seconds(20), [&] {
      const v1::GetStatusResponse status = system.WhatSays(i);
      return status.groups_size() == 1 && status.groups(0).active() == "apim-weu" &&
             status.groups(0).services(0).verdict() == "up";
    }));
    EXPECT_EQ(system.MetricOf(i, kLeads), i == leader ? 1 : 0);
    EXPECT_EQ(absl::StrContains(Page(system.AddressOf(i, "metrics"), "/metrics"),
                                "failover_group=\"orders-api\""),
              i == leader)
        << "only the leader exports state";
    if (i == leader) continue;
    const std::string name = absl::StrCat("ctl-", leader);
    const CommandResult status = system.CtlAt(system.AddressOf(i, "operator"), {"status"});
    EXPECT_THAT(status.out, HasSubstr(absl::StrCat("follower, ", name, " leads")));
    const CommandResult order =
        system.CtlAt(system.AddressOf(i, "operator"),
                     {"pause", "orders-api", "--for", "1h", "--reason", "a test"});
    EXPECT_EQ(order.exit_code, 1) << order.out << order.err;
    EXPECT_THAT(order.out, HasSubstr("follows and takes no orders; the leader is"));
    EXPECT_THAT(order.out, HasSubstr(absl::StrCat(name, "_"))) << "its identity";
  }
  EXPECT_FALSE(system.Status().has_pause());
  EXPECT_EQ(system.Effects("backup"), 1);
  EXPECT_EQ(system.Effects("restore"), 1);
  EXPECT_EQ(system.stub.Count("POST", "/leases"), 1);
}

TEST(ReplicasTest, ALeaderThatIsStoppedHandsOverAtOnce) {
  Replicas system({}, 2);
  ASSERT_NO_FATAL_FAILURE(system.StartAll());
  ASSERT_TRUE(system.Ready());
  const int leader = system.Leader();
  ASSERT_GE(leader, 0);
  const v1::GroupStatus before = system.Status();
  system.replica(leader).Signal(SIGTERM);
  const int status = system.replica(leader).Wait();
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status << system.LogOf(leader);
  // At most one wait of a follower with P = 0.5 s, and a busy machine; a Lease that had to run out
  // would take more than 4.5 s.
  const int next = system.Leader(leader, absl::Seconds(4));
  ASSERT_EQ(next, 1 - leader) << system.ControllerLog();
  bool released = false;
  for (const KubernetesStub::Seen& write : system.Writes(leader, 0))
    released |= absl::StrContains(write.body, "\"holderIdentity\":\"\"");
  EXPECT_TRUE(released);
  ASSERT_TRUE(system.StatusBecomes(absl::Seconds(30), [&](const v1::GroupStatus& now) {
    return now.term() > before.term() && now.state() == "healthy";
  }));
  const v1::GroupStatus after = system.Status();
  EXPECT_EQ(after.epoch(), before.epoch());
  EXPECT_EQ(after.services(1).record().recovery_point_ms(),
            before.services(1).record().recovery_point_ms());
  EXPECT_EQ(system.Effects("backup"), 1);
  EXPECT_EQ(system.Effects("restore"), 1);
}

// A backup long enough to be interrupted.
SystemOptions SlowBackup() {
  SystemOptions options;
  options.change_world = [](nlohmann::json& world) {
    world["timing"]["backup"] = {{"min", "3s"}, {"max", "4s"}};
  };
  return options;
}

TEST(ReplicasTest, ALeaderThatIsStoppedInTheMidstOfARunHandsItOver) {
  Replicas system(SlowBackup());
  ASSERT_NO_FATAL_FAILURE(system.StartAll());
  ASSERT_TRUE(Eventually(absl::Seconds(30), [&] { return system.Effects("backup") == 1; }));
  const int leader = system.Holder();
  system.replica(leader).Signal(SIGTERM);
  const int status = system.replica(leader).Wait();
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status << system.LogOf(leader);
  EXPECT_EQ(system.Effects("restore"), 0) << "the backup was not waited for";
  ASSERT_TRUE(system.Ready());
  EXPECT_EQ(system.Holder(), 1 - leader);
  EXPECT_EQ(system.Effects("backup"), 1);
  EXPECT_EQ(system.Effects("restore"), 1);
}

TEST(ReplicasTest, ARunGoesOnWhereTheApiServerCutItOff) {
  Replicas system(SlowBackup());
  ASSERT_NO_FATAL_FAILURE(system.StartAll());
  ASSERT_TRUE(Eventually(absl::Seconds(30), [&] { return system.Effects("backup") == 1; }));
  KubernetesStub::Fault away;
  away.what = KubernetesStub::Fault::kDropBefore;
  away.times = -1;
  system.stub.Add(away);
  ASSERT_TRUE(Eventually(absl::Seconds(20), [&] {
    return system.MetricOf(0, kLeads) == 0 && system.MetricOf(1, kLeads) == 0;
  })) << system.ControllerLog();
  // The backup ends meanwhile, and nobody may go on.
  ASSERT_TRUE(Eventually(absl::Seconds(20), [&] {
    const nlohmann::json status = system.Control("GET", "status");
    return status["services"][0]["operation"] == "" && status["services"][1]["operation"] == "";
  }));
  EXPECT_EQ(system.Effects("restore"), 0);
  system.stub.ClearFaults();
  ASSERT_TRUE(system.Ready());
  EXPECT_EQ(system.Effects("backup"), 1);
  EXPECT_EQ(system.Effects("restore"), 1);
}

TEST(ReplicasTest, WhatChangedIsToldAsEventsOfTheCluster) {
  Replicas system({}, 2);
  ASSERT_NO_FATAL_FAILURE(system.StartAll());
  ASSERT_TRUE(system.Ready());
  system.Control("PATCH", "gateways/apim-weu", R"({"mode":"cut"})");
  ASSERT_TRUE(system.StatusBecomes(absl::Seconds(30), [](const v1::GroupStatus& status) {
    return status.failover().stage() == v1::FAILOVER_STAGE_DONE;
  }));
  std::set<std::string> told;  // kind/reason
  const auto look = [&] {
    for (const KubernetesStub::Seen& request : system.stub.Requests()) {
      if (request.method != "POST" || !absl::StrContains(request.path, "/events")) continue;
      const nlohmann::json event = nlohmann::json::parse(request.body);
      const std::string path =
          absl::StrCat(request.path, "/", event["metadata"]["name"].get<std::string>());
      EXPECT_TRUE(system.stub.Has(path)) << "refused: " << request.body;
      told.insert(absl::StrCat(event["regarding"]["kind"].get<std::string>(), "/",
                               event["regarding"]["name"].get<std::string>(), " ",
                               event["reason"].get<std::string>()));
    }
  };
  const std::vector<std::string> expected = {
      "Lease/apim-failover LeaderElection", "ConfigMap/apim-failover-orders-api Sync",
      "ConfigMap/apim-failover-orders-api Outage", "ConfigMap/apim-failover-orders-api Failover"};
  EXPECT_TRUE(Eventually(absl::Seconds(10), [&] {
    look();
    return std::all_of(expected.begin(), expected.end(),
                       [&](const std::string& one) { return told.contains(one); });
  }));
  EXPECT_THAT(told, IsSupersetOf(expected));
}

TEST(ReplicasTest, AnAgentOfOneReplicaIsHeardByTheLeaderAndGetsItsWork) {
  Replicas system({}, 2, Replicas::Relay::kToTheOther);
  system.served_by = {1};
  ASSERT_NO_FATAL_FAILURE(system.StartAll());
  ASSERT_TRUE(system.Ready()) << "replica 0 leads, and no agent is connected to it";
  ASSERT_EQ(system.Leader(), 0);
  for (const char* region : kRegionsOfAgents) {
    EXPECT_GT(system.Results(0, region, "relayed"), 0);
    EXPECT_EQ(system.Results(0, region), 0);
    EXPECT_GT(system.Results(1, region), 0);
  }
  system.Control("PATCH", "gateways/apim-weu", R"({"mode":"cut"})");
  ASSERT_TRUE(system.StatusBecomes(absl::Seconds(30), [](const v1::GroupStatus& status) {
    return status.failover().stage() == v1::FAILOVER_STAGE_DONE;
  }));
  EXPECT_EQ(system.Leader(), 0);
  EXPECT_EQ(system.Switches(), (std::vector<std::string>{"neu Enabled", "weu Disabled"}));
  // And when the one that hears them leads, it goes on with what it heard.
  system.replica(0).Kill();
  ASSERT_EQ(system.Leader(0), 1) << system.ControllerLog();
  EXPECT_TRUE(system.StatusBecomes(absl::Seconds(30), [](const v1::GroupStatus& status) {
    return status.active() == "apim-neu" && status.services(1).verdict() == "up";
  }));
}

TEST(ReplicasTest, AgentsFindTheReplicasByOneNameAndFollowWhatItStandsFor) {
  Replicas system({}, 3, Replicas::Relay::kNoneAndAgentsByName);
  system.SetNamed({0, 1});
  ASSERT_NO_FATAL_FAILURE(system.StartAll());
  ASSERT_TRUE(system.Ready());
  const auto heard = [&system](int i) {
    return Eventually(absl::Seconds(30), [&system, i] {
      return std::all_of(std::begin(kRegionsOfAgents), std::end(kRegionsOfAgents),
                         [&](const char* region) { return system.Results(i, region) > 0; });
    });
  };
  EXPECT_TRUE(heard(0));
  EXPECT_TRUE(heard(1)) << "both, not one of them";
  for (const char* region : kRegionsOfAgents)
    EXPECT_FALSE(system.Results(2, region) > 0);  // or not a number: there is no such line
  // A pod that is new comes under the name, one that died goes.
  system.SetNamed({0, 1, 2});
  EXPECT_TRUE(heard(2));
  ASSERT_EQ(system.Leader(), 0);
  system.replica(0).Kill();
  system.SetNamed({1, 2});
  ASSERT_GT(system.Leader(0), 0) << system.ControllerLog();
  system.Control("PATCH", "gateways/apim-weu", R"({"mode":"cut"})");
  ASSERT_TRUE(system.StatusBecomes(absl::Seconds(40), [](const v1::GroupStatus& status) {
    return status.failover().stage() == v1::FAILOVER_STAGE_DONE;
  }));
  EXPECT_EQ(system.Switches(), (std::vector<std::string>{"neu Enabled", "weu Disabled"}));
}

// The look every 5 s alone would find three orders in a row within 2 s each in 6 of 100 runs.
TEST(ReplicasTest, AFollowerKnowsAtOnceWhatTheLeaderWrites) {
  Replicas system({}, 2);
  ASSERT_NO_FATAL_FAILURE(system.StartAll());
  ASSERT_TRUE(system.Ready());
  const int leader = system.Leader();
  ASSERT_GE(leader, 0);
  ASSERT_TRUE(Eventually(absl::Seconds(20), [&] {
    return system.stub.Count("GET", "watch=1&allowWatchBookmarks=true") >= 2;
  })) << "each replica watches";
  for (int i = 0; i < 3; ++i) {
    const bool pause = i % 2 == 0;
    const CommandResult order =
        pause ? system.Ctl({"pause", "orders-api", "--for", "1h", "--reason", "a test"})
              : system.Ctl({"resume", "orders-api"});
    ASSERT_EQ(order.exit_code, 0) << order.out << order.err;
    EXPECT_TRUE(Eventually(absl::Seconds(2),
                           [&] {
                             const v1::GetStatusResponse status = system.WhatSays(1 - leader);
                             return status.groups_size() == 1 &&
                                    status.groups(0).pause().active() == pause;
                           }))
        << "order " << i;
  }
}

TEST(ReplicasTest, ReplicasFindEachOtherByOneName) {
  if (!Replicas::MayMount())
    GTEST_SKIP() << "a hosts file of the test's own needs the right to unshare and mount";
  Replicas system({}, 3, Replicas::Relay::kByName);
  system.served_by = {2};
  ASSERT_NO_FATAL_FAILURE(system.StartAll());
  ASSERT_TRUE(system.Ready()) << "replica 0 leads, and no agent is connected to it";
  for (const char* region : kRegionsOfAgents) {
    for (const int i : {0, 1}) {
      EXPECT_TRUE(
          Eventually(absl::Seconds(20), [&] { return system.Results(i, region, "relayed") > 0; }))
          << region << " at replica " << i;
      EXPECT_FALSE(system.Results(i, region) > 0);  // or not a number: there is no such line
    }
    EXPECT_GT(system.Results(2, region), 0);
    EXPECT_FALSE(system.Results(2, region, "relayed") > 0) << "nobody sends them back";
  }
}

}  // namespace
}  // namespace failover::e2e
