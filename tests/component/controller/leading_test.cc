// Leading and following (design.md §9), beside an election that the test decides.
#include <atomic>

#include "prometheus/collectable.h"
#include "prometheus/metric_family.h"
#include "tests/component/controller/fixture.h"

namespace failover::runtime {
namespace {

using ::testing::HasSubstr;

class LeadingTest : public RuntimeTest {
 protected:
  // Loops from now on follow until they are told to lead.
  void HoldElections() {
    election_ = Election();
    election_->may_act = [this](uint64_t term) { return sure_ && term == term_; };
    election_->require_renewal = [this] { ++renewals_; };
    election_->leader = [] { return std::pair<std::string, std::string>("pod-7_x", ""); };
  }
  void Lead(uint64_t term) {
    term_ = term;
    loop_->Lead(term);
    ASSERT_TRUE(WaitUntil([&] { return Everything().leader(); }, kPatience));
  }
  v1::GetStatusResponse Everything() { return Ask(handlers_.get_status, v1::GetStatusRequest()); }
  size_t AllRequests() {
    size_t count = 0;
    emulator_->With([&](emulator::World& world, absl::Time) { count = world.log.size(); });
    return count;
  }
  std::string VerdictOfActive() {
    const v1::GroupStatus status = Status("orders");
    return status.services().empty() ? "" : status.services(0).verdict();
  }

  std::atomic<bool> sure_ = true;
  std::atomic<uint64_t> term_ = 0;
  std::atomic<int> renewals_ = 0;
};

TEST_F(LeadingTest, AFollowerKnowsTheStateTakesNoOrdersAndSendsNothing) {
  StartWithRoles();
  StopLoop();
  HoldElections();
  const size_t before = AllRequests();
  StartLoop(kOrders);
  ASSERT_TRUE(WaitUntil([&] { return Status("orders").active() == "apim-weu"; }, kPatience));
  EXPECT_FALSE(Everything().leader());
  EXPECT_EQ(Everything().leader_identity(), "pod-7_x");
  EXPECT_TRUE(loop_->Snapshot().groups.empty()) << "followers export no state";
  Answer answer = Give(Pause());
  EXPECT_THAT(Get(answer).text(), HasSubstr("takes no orders; the leader is pod-7_x"));
  EXPECT_EQ(AllRequests(), before);

  Lead(1);
  ASSERT_TRUE(WaitUntil([&] { return Status("orders").traffic().path_ok(); }, kPatience));
  EXPECT_GT(AllRequests(), before);
  EXPECT_EQ(loop_->Snapshot().groups.size(), 1u);
  Answer second = Give(Pause());
  EXPECT_TRUE(Get(second).ok());
}

TEST_F(LeadingTest, ALeaderWhoseTermIsNotSureSendsNothing) {
  HoldElections();
  sure_ = false;
  StartLoop(kOrders);
  Lead(1);
  ASSERT_TRUE(WaitUntil(
      [&] {
        return Status("orders").traffic().path_problem().find("not sent") != std::string::npos;
      },
      kPatience))
      << Status("orders").ShortDebugString();
  EXPECT_EQ(AllRequests(), 0u);
  sure_ = true;
  EXPECT_TRUE(WaitUntil([&] { return Status("orders").active() == "apim-weu"; }, kPatience));
}

TEST_F(LeadingTest, WhatATermLeftBehindIsGivenUpAndTheNextTermGoesOn) {
  HoldElections();
  StartLoop(kOrders);
  Lead(1);
  ASSERT_TRUE(WaitUntil([&] { return Status("orders").active() == "apim-weu"; }, kPatience));
  const uint64_t term = Status("orders").term();
  store_->Fail("orders");
  Answer answer = Give(Pause());
  const int attempts = store_->attempts("orders");
  ASSERT_TRUE(WaitUntil([&] { return store_->attempts("orders") > attempts; }, kPatience));
  loop_->StopLeading(1, "the test says so");
  EXPECT_THAT(Get(answer).text(), HasSubstr("lost the group's state before the order was durable"));
  EXPECT_FALSE(Everything().leader());
  store_->Open();

  Lead(2);
  ASSERT_TRUE(WaitUntil([&] { return Status("orders").term() > term; }, kPatience));
  EXPECT_FALSE(Status("orders").has_pause()) << "an order that was not durable was never given";
  Answer second = Give(Pause());
  EXPECT_TRUE(Get(second).ok());
}

TEST_F(LeadingTest, WhatAnotherLeaderEndedBetweenTwoTermsIsNotCounted) {
  const auto backups = [this] {
    double count = -1;
    for (const auto& weak : metrics_->collectables()) {
      for (const prometheus::MetricFamily& family : weak.lock()->Collect()) {
        if (family.name != "apim_failover_sync_operations_total") continue;
        for (const prometheus::ClientMetric& metric : family.metric) {
          if (metric.label[1].value == "apim-weu" && metric.label[2].value == "backup" &&
              metric.label[3].value == "success") {
            count = metric.counter.value;
          }
        }
      }
    }
    return count;
  };
  HoldElections();
  StartLoop(kOrders);
  Lead(1);
  ASSERT_TRUE(WaitUntil([&] { return Status("orders").active() == "apim-weu"; }, kPatience));
  EXPECT_EQ(backups(), 0);
  loop_->StopLeading(1, "another replica leads");
  EXPECT_EQ(backups(), -1) << "a follower exports nothing of a group";
  absl::StatusOr<store::Versioned> stored = store_->Load("orders");
  ASSERT_TRUE(stored.ok()) << stored.status();
  v1::Operation* operation = stored->record.add_operations();
  operation->set_id("0123456789abcdef");
  operation->set_kind(v1::OPERATION_KIND_BACKUP);
  operation->set_state(v1::OPERATION_STATE_SUCCEEDED);
  operation->set_service("apim-weu");
  operation->set_sent_ms(1'795'592'400'000);
  operation->set_ended_ms(1'795'592'700'000);
  ASSERT_TRUE(store_->Save(stored->record, stored->version).ok());
  Lead(2);
  ASSERT_TRUE(WaitUntil([&] { return Operations().size() == 1; }, kPatience));
  EXPECT_EQ(backups(), 0);
}

TEST_F(LeadingTest, TheEndOfAnotherTermChangesNothing) {
  HoldElections();
  StartLoop(kOrders);
  Lead(2);
  loop_->StopLeading(1, "an old story");
  EXPECT_TRUE(Everything().leader());
}

TEST_F(LeadingTest, ANewLeaderKnowsFromItsFirstMomentWhatItSawAsAFollower) {
  HoldElections();
  StartLoop(kOrders);
  StartAgents();
  Lead(1);  // agents are told what to probe
  ASSERT_TRUE(WaitUntil([&] { return VerdictOfActive() == "up"; }, kPatience));
  loop_->StopLeading(1, "another replica leads");
  for (const auto& agent : agents_) agent->PutDown("apim-weu");
  ASSERT_TRUE(WaitUntil([&] { return VerdictOfActive() == "down"; }, kPatience));
  agents_.clear();  // nothing more is heard
  loop_->Lead(term_ = 2);
  ASSERT_TRUE(WaitUntil([&] { return Everything().leader(); }, kPatience));
  EXPECT_EQ(VerdictOfActive(), "down");
}

}  // namespace
}  // namespace failover::runtime
