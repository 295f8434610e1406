// Nothing leaves, and nobody is told, before the record that it follows from is durable (design.md
// §3, §9).
#include <sys/stat.h>

#include "controller/store/file_format.h"
#include "tests/component/controller/fixture.h"

namespace failover::runtime {
namespace {

using ::testing::HasSubstr;

class DurabilityTest : public RuntimeTest {};

TEST_F(DurabilityTest, ABackupIsSentOnlyWhenItsIntentIsStored) {
  StartWithRoles();
  store_->Hold("orders");
  ASSERT_TRUE(Reload(WithSync()).ok());
  // The core has decided, and everything that changes nothing has been done.
  ASSERT_TRUE(WaitUntil([&] { return Operations().size() == 1; }, kPatience));
  EXPECT_EQ(Operations()[0].kind(), v1::OPERATION_KIND_BACKUP);
  EXPECT_EQ(Requests("backup"), 0);
  EXPECT_EQ(store_->durable("orders").operations_size(), 0);
  store_->Open();
  ASSERT_TRUE(WaitUntil([&] { return Requests("backup") == 1; }, kPatience));
  EXPECT_GE(store_->durable("orders").operations_size(), 1);
  EXPECT_TRUE(WaitUntil([&] { return Operations()[0].state() == v1::OPERATION_STATE_SUCCEEDED; },
                        kPatience));
}

TEST_F(DurabilityTest, NothingLeavesWhileSavingFailsAndEverythingGoesOnAfterwards) {
  StartWithRoles();
  store_->Fail("orders");
  const int before = store_->attempts("orders");
  Answer answer = Give(Pause());
  ASSERT_TRUE(WaitUntil([&] { return store_->attempts("orders") >= before + 3; }, kPatience));
  EXPECT_FALSE(Answered(answer));
  ASSERT_TRUE(Reload(WithSync()).ok());
  Answer second = Give(Pause());  // known to be useless by now: refused at once, with the reason
  EXPECT_THAT(Get(second).text(), HasSubstr("no space left on the test's device"));
  v1::GetStatusRequest request;
  EXPECT_FALSE(Ask(handlers_.get_status, request).store_ok());
  EXPECT_FALSE(loop_->Snapshot().store_ok);
  EXPECT_EQ(Requests("backup"), 0);
  store_->Open();
  EXPECT_TRUE(Get(answer).ok());
  v1::OrderRequest resume = Order();
  resume.mutable_resume();
  Answer resumed = Give(resume);
  EXPECT_TRUE(Get(resumed).ok());
  EXPECT_TRUE(WaitUntil([&] { return Requests("backup") == 1; }, kPatience));
  EXPECT_TRUE(Ask(handlers_.get_status, request).store_ok());
}

TEST_F(DurabilityTest, ASwitchLeavesOnlyWhenItsIntentIsStored) {
  StartWithRoles();
  store_->HoldWhen([](const v1::GroupRecord& record) {
    return record.failover().stage() == v1::FAILOVER_STAGE_ENABLING;
  });
  Answer answer = Give(Failover());
  // In the core the switch is on its way.
  ASSERT_TRUE(
      WaitUntil([&] { return Status("orders").failover().stage() == v1::FAILOVER_STAGE_ENABLING; },
                kPatience));
  EXPECT_TRUE(Get(answer).ok());  // the decision is durable, the intent of the switch is not
  EXPECT_EQ(store_->durable("orders").failover().stage(), v1::FAILOVER_STAGE_DECIDED);
  EXPECT_EQ(Enabled(), "weu");
  store_->Open();
  ASSERT_TRUE(WaitUntil([&] { return Enabled() == "neu"; }, kPatience));
  EXPECT_TRUE(WaitUntil([&] { return Status("orders").active() == "apim-neu"; }, kPatience));
  EXPECT_EQ(store_->durable("orders").epoch(), Status("orders").epoch());
}

TEST_F(DurabilityTest, AFailoverIsAnsweredOnlyWhenItsDecisionIsStored) {
  StartWithRoles();
  store_->Hold("orders");
  Answer answer = Give(Failover());
  ASSERT_TRUE(
      WaitUntil([&] { return Status("orders").failover().stage() == v1::FAILOVER_STAGE_DECIDED; },
                kPatience));
  EXPECT_FALSE(Answered(answer));
  EXPECT_EQ(Enabled(), "weu");
  store_->Open();
  EXPECT_TRUE(Get(answer).ok());
}

TEST_F(DurabilityTest, AnOrderIsAnsweredOnlyWhenItIsStored) {
  StartWithRoles();
  store_->Hold("orders");
  Answer answer = Give(Pause());
  ASSERT_TRUE(WaitUntil([&] { return Status("orders").pause().since_ms() != 0; }, kPatience));
  EXPECT_FALSE(Answered(answer));
  EXPECT_EQ(store_->durable("orders").pause().since_ms(), 0);
  store_->Open();
  EXPECT_TRUE(Get(answer).ok());
  EXPECT_NE(store_->durable("orders").pause().since_ms(), 0);
}

TEST_F(DurabilityTest, ARecordThatAnotherWroteIsLoadedAgainAndNothingOfTheOldLifeLeaves) {
  StartWithRoles();
  const uint64_t term = Status("orders").term();
  store_->Overtake("orders");
  Answer answer = Give(Pause());
  EXPECT_THAT(Get(answer).text(), HasSubstr("lost the group's state"));
  ASSERT_TRUE(WaitUntil([&] { return Status("orders").term() == term + 1; }, kPatience));
  EXPECT_EQ(Status("orders").pause().since_ms(), 0);
  Answer again = Give(Pause());
  EXPECT_TRUE(Get(again).ok());
  EXPECT_NE(store_->durable("orders").pause().since_ms(), 0);
}

TEST_F(DurabilityTest, ABrokenRecordStopsItsGroupAndNoOther) {
  ASSERT_EQ(mkdir(dir_.File("state").c_str(), 0700), 0);
  dir_.Write(absl::StrCat("state/", store::FileNameOf("billing")), "this is no record\n");
  StartWithRoles(absl::StrCat(kOrders, kBilling));
  EXPECT_THAT(Status("billing").notices(), ::testing::Contains(HasSubstr("not worked on: ")));
  Answer refused = Give(Pause("billing"));
  const v1::OrderResponse response = Get(refused);
  EXPECT_FALSE(response.ok());
  EXPECT_THAT(response.text(), HasSubstr("the group is not worked on"));
  EXPECT_EQ(dir_.Read(absl::StrCat("state/", store::FileNameOf("billing"))), "this is no record\n");
  Answer taken = Give(Pause());
  EXPECT_TRUE(Get(taken).ok());
}

TEST_F(DurabilityTest, AGroupWhoseWritesFailDelaysNoOther) {
  StartWithRoles(absl::StrCat(kOrders, kBilling));
  store_->Fail("billing");
  Answer stuck = Give(Pause("billing"));
  const int before = store_->attempts("billing");
  ASSERT_TRUE(WaitUntil([&] { return store_->attempts("billing") > before; }, kPatience));
  Answer taken = Give(Pause());
  EXPECT_TRUE(Get(taken).ok());
  EXPECT_FALSE(Answered(stuck));
  store_->Open();
  EXPECT_TRUE(Get(stuck).ok());
}

}  // namespace
}  // namespace failover::runtime
