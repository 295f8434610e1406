#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/e2e/replicas.h"

// The API server goes away, or somebody damages what it keeps for us (design.md §9).
namespace failover::e2e {
namespace {

using ::testing::HasSubstr;

constexpr char kMaster[] = "leader_election_master_status{name=\"apim-failover\"}";
constexpr char kLost[] = "apim_failover_leader_election_transitions_total{event=\"lost\"}";

KubernetesStub::Fault Away() {
  KubernetesStub::Fault fault;
  fault.what = KubernetesStub::Fault::kDropBefore;
  fault.times = -1;
  return fault;
}

bool SeesDown(const v1::GetStatusResponse& status) {
  return status.groups_size() == 1 && status.groups(0).services(0).verdict() == "down";
}

// Long enough to act: the replicas take 20 more results of a region, where three decide.
void ExpectTimePasses(Replicas& system) {
  for (int i = 0; i < system.count(); ++i) {
    const double results = system.Results(i, "uksouth");
    EXPECT_TRUE(
        Eventually(absl::Seconds(20), [&] { return system.Results(i, "uksouth") > results + 20; }))
        << "replica " << i;
  }
}

bool NobodyLeads(Replicas& system) {
  return Eventually(absl::Seconds(20), [&] {
    return system.MetricOf(0, kMaster) == 0 && system.MetricOf(1, kMaster) == 0;
  });
}

bool MovedToStandby(const v1::GroupStatus& status) {
  return status.active() == "apim-neu" && status.failover().stage() == v1::FAILOVER_STAGE_DONE;
}

TEST(ApiServer, WithoutItNobodyLeadsNothingMovesAndProbingGoesOnUntilItIsBack) {
  Replicas system;
  ASSERT_NO_FATAL_FAILURE(system.StartAll());
  ASSERT_TRUE(system.Ready());
  for (int i = 0; i < 2; ++i)
    ASSERT_TRUE(Eventually(absl::Seconds(20), [&] { return system.Results(i, "uksouth") > 0; }));
  system.stub.Add(Away());
  ASSERT_TRUE(NobodyLeads(system)) << system.ControllerLog();
  const uint64_t azure = system.LastToAzure();
  system.Control("PATCH", "gateways/apim-weu", R"({"mode":"cut"})");
  for (int i = 0; i < 2; ++i) {
    ASSERT_TRUE(Eventually(absl::Seconds(20), [&] { return SeesDown(system.WhatSays(i)); }))
        << "replica " << i << " judges on: " << system.WhatSays(i).ShortDebugString();
  }
  ExpectTimePasses(system);
  for (int i = 0; i < 2; ++i)
    EXPECT_THAT(Page(system.AddressOf(i, "metrics"), "/readyz"), HasSubstr("ok"));
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(system.ToAzure(i, azure), std::vector<nlohmann::json>()) << "sent without a leader";
    EXPECT_TRUE(system.replica(i).Running());
  }
  EXPECT_EQ(system.Switches(), std::vector<std::string>());

  system.stub.ClearFaults();
  ASSERT_TRUE(system.StatusBecomes(absl::Seconds(40), MovedToStandby));
  EXPECT_EQ(system.Switches(), (std::vector<std::string>{"neu Enabled", "weu Disabled"}));
  EXPECT_EQ(system.Effects("backup"), 1);
  for (int i = 0; i < 2; ++i) EXPECT_TRUE(system.replica(i).Running());
}

TEST(ApiServer, AFailoverUnderWayWaitsForALeaderAndGoesOn) {
  Replicas system;
  ASSERT_NO_FATAL_FAILURE(system.StartAll());
  ASSERT_TRUE(system.Ready());
  const uint64_t epoch = system.Status().epoch();
  // Nothing is written to the traffic layer, so that the failover stays where it is.
  system.Control("POST", "faults",
                 R"({"operation":"trafficWrite","action":"status","status":503,"times":-1})");
  system.Control("PATCH", "gateways/apim-weu", R"({"mode":"cut"})");
  ASSERT_TRUE(system.StatusBecomes(absl::Seconds(20), [](const v1::GroupStatus& status) {
    return status.failover().stage() == v1::FAILOVER_STAGE_ENABLING;
  }));
  system.stub.Add(Away());
  ASSERT_TRUE(NobodyLeads(system)) << system.ControllerLog();
  system.Control("DELETE", "faults");
  ExpectTimePasses(system);
  EXPECT_EQ(system.Switches(), std::vector<std::string>());
  system.stub.ClearFaults();
  ASSERT_TRUE(system.StatusBecomes(absl::Seconds(40), MovedToStandby));
  EXPECT_EQ(system.Switches(), (std::vector<std::string>{"neu Enabled", "weu Disabled"}));
  EXPECT_EQ(system.Status().epoch(), epoch + 1) << "the same failover";
}

TEST(ApiServer, ThatRefusesRecordsStopsNewSideEffectsOfALeaderWhoStillLeads) {
  Replicas system;
  ASSERT_NO_FATAL_FAILURE(system.StartAll());
  ASSERT_TRUE(system.Ready());
  const int leader = system.Leader();
  ASSERT_GE(leader, 0);
  KubernetesStub::Fault forbidden;
  forbidden.path_part = "/configmaps";
  forbidden.times = -1;
  forbidden.status = 403;
  forbidden.reason = "Forbidden";
  system.stub.Add(forbidden);
  system.Control("PATCH", "gateways/apim-weu", R"({"mode":"cut"})");
  ASSERT_TRUE(Eventually(absl::Seconds(20), [&] {
    const v1::GetStatusResponse status = system.WhatSays(leader);
    return SeesDown(status) && !status.store_ok();
  })) << system.LogOf(leader);
  ExpectTimePasses(system);
  EXPECT_EQ(system.Switches(), std::vector<std::string>());
  EXPECT_EQ(system.Leader(), leader);
  EXPECT_THAT(system.Ctl({"status"}).out, HasSubstr("the state cannot be stored"));
  system.stub.ClearFaults();
  ASSERT_TRUE(system.StatusBecomes(absl::Seconds(40), MovedToStandby));
  EXPECT_EQ(system.Switches(), (std::vector<std::string>{"neu Enabled", "weu Disabled"}));
  EXPECT_EQ(system.Leader(), leader);
}

TEST(ApiServer, ThatRefusesWatchesIsReadFromTimeToTime) {
  Replicas system;
  KubernetesStub::Fault forbidden;
  forbidden.path_part = "watch=1";
  forbidden.times = -1;
  forbidden.status = 403;
  forbidden.reason = "Forbidden";
  system.stub.Add(forbidden);
  ASSERT_NO_FATAL_FAILURE(system.StartAll());
  ASSERT_TRUE(system.Ready());
  const int leader = system.Leader();
  ASSERT_GE(leader, 0);
  ASSERT_EQ(system.Ctl({"pause", "orders-api", "--for", "1h", "--reason", "a test"}).exit_code, 0);
  EXPECT_TRUE(Eventually(absl::Seconds(15), [&] {
    const v1::GetStatusResponse status = system.WhatSays(1 - leader);
    return status.groups_size() == 1 && status.groups(0).pause().active();
  }));
  EXPECT_THAT(system.LogOf(1 - leader), HasSubstr("changes of the stored state are not told now"));
}

TEST(ApiServer, AwayForLessThanTheDeadlineChangesNothing) {
  Replicas system;
  ASSERT_NO_FATAL_FAILURE(system.StartAll());
  ASSERT_TRUE(system.Ready());
  const int leader = system.Leader();
  ASSERT_GE(leader, 0);
  const uint64_t term = system.WhatSays(leader).term();
  const std::string acquired = system.stub.Field(kLeasePath, "/spec/acquireTime");
  const std::string renewed = system.stub.Field(kLeasePath, "/spec/renewTime");
  const double lost = system.MetricOf(leader, kLost);
  const int tried = system.LeaseRequests(leader);
  system.stub.Add(Away());
  ASSERT_TRUE(Eventually(absl::Seconds(5), [&] {
    return system.LeaseRequests(leader) > tried + 2;
  })) << "renewals were dropped";
  system.stub.ClearFaults();
  ASSERT_TRUE(Eventually(absl::Seconds(10), [&] {
    return system.stub.Field(kLeasePath, "/spec/renewTime") > renewed &&
           system.WhatSays(leader).leader();
  }));
  EXPECT_EQ(system.Leader(), leader);
  EXPECT_EQ(system.WhatSays(leader).term(), term);
  EXPECT_EQ(system.stub.Field(kLeasePath, "/spec/acquireTime"), acquired);
  EXPECT_EQ(system.MetricOf(leader, kLost), lost);
}

TEST(ApiServer, ADamagedRecordIsKeptAndItsGroupLeftAloneWhileOthersGoOn) {
  SystemOptions options;
  options.more_groups = kOtherGroup;
  Replicas system(options);
  ASSERT_NO_FATAL_FAILURE(system.StartAll());
  ASSERT_TRUE(system.Ready());
  const std::string path = ConfigMapOf("orders-api");
  const std::string good = system.stub.Field(path, "/data/record");
  ASSERT_GT(good.size(), 1000u);
  const std::string damaged = absl::StrReplaceAll(good, {{"apim-neu", "apim-nex"}});
  ASSERT_NE(damaged, good);
  system.stub.Write(path, nlohmann::json{{"data", {{"record", damaged}}}}.dump());
  EXPECT_NE(system.Ctl({"pause", "orders-api", "--for", "1h", "--reason", "a test"}).exit_code, 0);
  EXPECT_TRUE(Eventually(absl::Seconds(20), [&] {
    return absl::StrContains(NotWorkedOn(system, "orders-api"), "checksum");
  })) << NotWorkedOn(system, "orders-api");
  EXPECT_THAT(NotWorkedOn(system, "orders-api"), HasSubstr("configmap/apim-failover-orders-api"));
  EXPECT_EQ(NotWorkedOn(system, "billing-api"), "");

  const int leader = system.Holder();
  system.replica(leader).Kill();
  ASSERT_EQ(system.Leader(leader), 1 - leader);
  EXPECT_TRUE(Eventually(absl::Seconds(20), [&] {
    return absl::StrContains(NotWorkedOn(system, "orders-api"), "checksum");
  })) << NotWorkedOn(system, "orders-api");
  const CommandResult other =
      system.Ctl({"pause", "billing-api", "--for", "1h", "--reason", "a test"});
  EXPECT_EQ(other.exit_code, 0) << other.out << other.err;
  EXPECT_EQ(system.Ctl({"pause", "orders-api", "--for", "1h", "--reason", "a test"}).exit_code, 1);
  EXPECT_EQ(system.stub.Field(path, "/data/record"), damaged) << "kept as it was";
  EXPECT_EQ(system.Effects("backup"), 1);

  system.stub.Write(path, nlohmann::json{{"data", {{"record", good}}}}.dump());
  EXPECT_TRUE(system.Ready()) << "repaired by hand: worked on again";
  EXPECT_EQ(system.Effects("backup"), 1);
}

}  // namespace
}  // namespace failover::e2e
