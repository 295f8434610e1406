// A changed configuration in a loop that is at work (design.md §4).
#include "tests/component/controller/fixture.h"

namespace failover::runtime {
namespace {

using ::testing::HasSubstr;

class ReloadTest : public RuntimeTest {
 protected:
  int OpenAgents(const std::string& group) {
    int agents = 0;
    const v1::GroupStatus status = Status(group);
    if (status.services().empty()) return 0;  // it is being loaded
    for (const v1::RegionStatus& region : status.services(0).regions()) agents += region.agents();
    return agents;
  }
  bool HasGroup(const std::string& group) {
    const v1::GetStatusResponse all = Ask(handlers_.get_status, v1::GetStatusRequest());
    return std::any_of(all.groups().begin(), all.groups().end(),
                       [&](const auto& g) { return g.name() == group; });
  }
  std::string Verdict(const std::string& group, int service) {
    const v1::GroupStatus status = Status(group);
    return service < status.services_size() ? status.services(service).verdict() : "";
  }
};

TEST_F(ReloadTest, AnAddedGroupIsWorkedOnAndHearsOfAgentsThatWereConnectedBefore) {
  StartLoop(kOrders);
  StartAgents();
  ASSERT_TRUE(WaitUntil([&] { return Verdict("orders", 0) == "up"; }, kPatience));
  ASSERT_TRUE(Reload(absl::StrCat(kOrders, kBilling)).ok());
  EXPECT_TRUE(WaitUntil([&] { return OpenAgents("billing") == 3; }, kPatience));
  EXPECT_TRUE(WaitUntil(
      [&] { return Verdict("billing", 0) == "up" && Verdict("billing", 1) == "up"; }, kPatience));
  EXPECT_EQ(Verdict("orders", 0), "up");
  EXPECT_TRUE(WaitUntil([&] { return store_->durable("billing").term() == 1; }, kPatience));
}

TEST_F(ReloadTest, ARemovedGroupLosesItsAgentsAndItsPlaceInTheStatus) {
  StartLoop(absl::StrCat(kOrders, kBilling));
  StartAgents();
  ASSERT_TRUE(WaitUntil([&] { return Verdict("billing", 0) == "up"; }, kPatience));
  ASSERT_TRUE(Reload(kOrders).ok());
  EXPECT_FALSE(HasGroup("billing"));
  EXPECT_EQ(loop_->Snapshot().groups.size(), 1);
  // Configured again, it begins with the record it had.
  const uint64_t term = store_->durable("billing").term();
  ASSERT_TRUE(Reload(absl::StrCat(kOrders, kBilling)).ok());
  EXPECT_TRUE(WaitUntil([&] { return Status("billing").term() == term + 1; }, kPatience));
  EXPECT_TRUE(WaitUntil([&] { return Verdict("billing", 0) == "up"; }, kPatience));
}

TEST_F(ReloadTest, ARemovedGroupWithAnOpenOperationIsPolledToItsEndAndDoesNothingElse) {
  emulator_->With([](emulator::World& world, absl::Time) {
    world.backup_duration = {absl::Hours(1), absl::Hours(1)};
  });
  StartWithRoles(absl::StrCat(WithSync(), kBilling));
  ASSERT_TRUE(WaitUntil([&] { return Requests("poll") >= 1; }, kPatience));
  ASSERT_TRUE(Reload(kBilling).ok());
  EXPECT_FALSE(HasGroup("orders"));
  const int polls = Requests("poll");
  ASSERT_TRUE(WaitUntil([&] { return Requests("poll") > polls + 1; }, kPatience));
  emulator_->Control("PATCH", "/_emulator/clock", R"({"advance":"2h"})");
  ASSERT_TRUE(WaitUntil(
      [&] {
        return store_->durable("orders").operations(0).state() == v1::OPERATION_STATE_SUCCEEDED;
      },
      kPatience));
  EXPECT_EQ(Requests("restore"), 0);
}

TEST_F(ReloadTest, AGroupThatComesBackWhileItsOperationRunsGoesOnWithIt) {
  emulator_->With([](emulator::World& world, absl::Time) {
    world.backup_duration = {absl::Hours(1), absl::Hours(1)};
  });
  StartWithRoles(absl::StrCat(WithSync(), kBilling));
  ASSERT_TRUE(WaitUntil([&] { return Requests("poll") >= 1; }, kPatience));
  const uint64_t term = Status("orders").term();
  ASSERT_TRUE(Reload(kBilling).ok());
  ASSERT_TRUE(Reload(absl::StrCat(WithSync(), kBilling)).ok());
  EXPECT_EQ(Status("orders").term(), term);
  emulator_->Control("PATCH", "/_emulator/clock", R"({"advance":"2h"})");
  EXPECT_TRUE(WaitUntil([&] { return Operations()[0].state() == v1::OPERATION_STATE_SUCCEEDED; },
                        kPatience));
  EXPECT_EQ(Requests("backup"), 1);
}

TEST_F(ReloadTest, ARebindingIsRefusedAndTheOldConfigurationStaysInForce) {
  StartWithRoles();
  const std::string rebound =
      absl::StrReplaceAll(kOrders, {{"service/apim-neu\n", "service/apim-xxx\n"}});
  const absl::Status refused = Reload(rebound);
  EXPECT_EQ(refused.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(refused.message()), HasSubstr("apim-neu is bound to"));
  EXPECT_THAT(Status("orders").services(1).resource_id(), HasSubstr("service/apim-neu"));
  Answer taken = Give(Pause());
  EXPECT_TRUE(Get(taken).ok());
}

TEST_F(ReloadTest, ResultsOfAnOlderAssignmentAreNotJudgedByTheNewConfiguration) {
  StartLoop(kBilling);
  // The two services change places: index 0 is another service from now on.
  const std::string text = kBilling;
  const size_t first = text.find("  - name: bill-weu"), second = text.find("  - name: bill-neu"),
               end = text.find("  probes:");
  const std::string swapped = absl::StrCat(text.substr(0, first), text.substr(second, end - second),
                                           text.substr(first, second - first), text.substr(end));
  ASSERT_TRUE(Reload(swapped).ok());
  const auto report = [&](uint64_t generation) {
    for (const char* region : {"westeurope", "northeurope", "uksouth"}) {
      const SteadyTime now = RealClock().Steady();
      core::ProbeSample sample;
      sample.target = {core::TargetKind::kService, 0, 0};
      sample.sequence = generation == 1 ? 1 : 2;
      sample.success = generation != 1;
      sample.started = now - absl::Milliseconds(2);
      sample.completed = now - absl::Milliseconds(1);
      intake::AgentInput input;
      input.generation = generation;
      input.events.emplace_back("billing",
                                core::ProbeResults{{region, "agent", "1"}, {sample}, false});
      ASSERT_TRUE(loop_->Receive(std::move(input)));
    }
  };
  report(1);
  EXPECT_EQ(Status("billing").services(0).down(), 0);
  EXPECT_EQ(Status("billing").services(0).unknown(), 3);
  report(1000);
  EXPECT_EQ(Status("billing").services(0).up(), 3);
}

}  // namespace
}  // namespace failover::runtime
