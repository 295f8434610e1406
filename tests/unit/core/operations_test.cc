// The life of a backup or restore (design.md §6.9), branch by branch.
#include <gtest/gtest.h>

#include "controller/core/operations.h"
#include "tests/unit/core/driver.h"

namespace failover::core {
namespace {

class OperationsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    d.Confirm();
    d.RunUntil([&] { return d.record().sync_run().stage() == v1::SYNC_STAGE_DONE; },
               absl::Minutes(30));
    ASSERT_EQ(d.record().sync_run().stage(), v1::SYNC_STAGE_DONE);
  }
  // A sync run in which commands of type C wait for the test's answer.
  template <typename C>
  void RunUntilTaken() {
    d.Take<C>();
    ASSERT_TRUE(d.Order(OrderSyncRun{}).ok);
    ASSERT_TRUE(d.RunUntil([&] { return Taken<C>() != nullptr; }, absl::Minutes(10)));
  }
  template <typename C>
  const C* Taken() {
    for (const Command& command : d.open) {
      if (const C* found = std::get_if<C>(&command)) return found;
    }
    return nullptr;
  }
  template <typename C>
  C Pop() {
    for (auto it = d.open.begin(); it != d.open.end(); ++it) {
      if (std::holds_alternative<C>(*it)) {
        const C found = std::get<C>(*it);
        d.open.erase(it);
        return found;
      }
    }
    ADD_FAILURE() << "no such command is open";
    return C();
  }
  template <typename C>
  void Answer(const C& command, CallStatus status, int http_status = 0, int retry_after = 5) {
    OperationStarted started{command.call, command.operation_id, {status, {}}, "", retry_after};
    started.result.error.set_http_status(http_status);
    if (status == CallStatus::kOk) started.handle = command.operation_id;
    d.Do(started);
  }
  v1::OperationState State(const std::string& id) {
    for (const v1::Operation& operation : d.record().operations()) {
      if (operation.id() == id) return operation.state();
    }
    return v1::OPERATION_STATE_UNSPECIFIED;
  }
  static GroupConfig Quick() {
    GroupConfig config = TestConfig();
    config.timing.ambiguity_watch =
        absl::Minutes(6);  // the default is 30 min: the same rule, fewer steps
    return config;
  }
  Driver d{Quick()};
};

TEST_F(OperationsTest, TheIntentIsDurableBeforeThePostMayLeave) {
  d.durable = false;
  ASSERT_EQ(d.Count<StartBackup>(), 1);
  d.Order(OrderSyncRun{});
  EXPECT_EQ(d.Count<StartBackup>(), 1)
      << "preflight and the reading come first, and wait for the store in this driver";
  d.durable = true;
  d.Take<StartBackup>();
  ASSERT_TRUE(d.RunUntil([&] { return Taken<StartBackup>() != nullptr; }, absl::Minutes(2)));
  EXPECT_EQ(State(Taken<StartBackup>()->operation_id), v1::OPERATION_STATE_SENDING);
}

TEST_F(OperationsTest, TheHandleIsStoredBeforeTheFirstPoll) {
  RunUntilTaken<StartBackup>();
  const StartBackup backup = Pop<StartBackup>();
  d.Take<PollOperation>();
  Answer(backup, CallStatus::kOk);
  EXPECT_EQ(State(backup.operation_id), v1::OPERATION_STATE_RUNNING);
  EXPECT_EQ(d.operation(v1::OPERATION_KIND_BACKUP, "weu")->handle(), backup.operation_id);
  EXPECT_EQ(Taken<PollOperation>(), nullptr) << "Retry-After is obeyed";
  d.Run(absl::Seconds(6));
  ASSERT_NE(Taken<PollOperation>(), nullptr);
  EXPECT_EQ(Taken<PollOperation>()->handle, backup.operation_id);
}

TEST_F(OperationsTest, WithoutRetryAfterTheNextPollComesAfterAMinute) {
  RunUntilTaken<StartBackup>();
  const StartBackup backup = Pop<StartBackup>();
  d.Take<PollOperation>();
  Answer(backup, CallStatus::kOk, 0, 0);
  d.Run(absl::Seconds(58));
  EXPECT_EQ(Taken<PollOperation>(), nullptr);
  d.Run(absl::Seconds(4));
  EXPECT_NE(Taken<PollOperation>(), nullptr);
}

TEST_F(OperationsTest, ARefusedBackupFailsTheRunAndSaysWhy) {
  RunUntilTaken<StartBackup>();
  const StartBackup backup = Pop<StartBackup>();
  OperationStarted started{backup.call, backup.operation_id, {CallStatus::kFailed, {}}, "", 0};
  started.result.error.set_code("AuthorizationFailed");
  d.Do(started);
  EXPECT_EQ(State(backup.operation_id), v1::OPERATION_STATE_FAILED);
  EXPECT_EQ(d.record().sync_run().stage(), v1::SYNC_STAGE_FAILED);
  EXPECT_NE(d.Told().find("AuthorizationFailed"), std::string::npos);
}

TEST_F(OperationsTest, AnUnsentBackupEndsAndANewOneHasANewName) {
  RunUntilTaken<StartBackup>();
  const StartBackup first = Pop<StartBackup>();
  Answer(first, CallStatus::kNotSent);
  EXPECT_EQ(State(first.operation_id), v1::OPERATION_STATE_LOST);
  ASSERT_TRUE(d.RunUntil([&] { return Taken<StartBackup>() != nullptr; }, absl::Minutes(20)));
  EXPECT_NE(Taken<StartBackup>()->operation_id, first.operation_id);
  EXPECT_NE(Taken<StartBackup>()->blob, first.blob);
}

TEST_F(OperationsTest, ConflictOnOurOwnPostIsPerhapsMine) {
  RunUntilTaken<StartBackup>();
  const StartBackup backup = Pop<StartBackup>();
  Answer(backup, CallStatus::kUnclear, 409);
  EXPECT_EQ(State(backup.operation_id), v1::OPERATION_STATE_AMBIGUOUS);
  d.Run(absl::Minutes(4));
  EXPECT_EQ(d.Count<StartBackup>(), 2)
      << "never a second POST for the same operation, none beside it";
}

TEST_F(OperationsTest, AnAmbiguousBackupIsLookedAtAfterTwoMinutesAndFoundByItsBlob) {
  RunUntilTaken<StartBackup>();
  const StartBackup backup = Pop<StartBackup>();
  d.take = [](const Command& c) { return std::holds_alternative<InspectOperation>(c); };
  Answer(backup, CallStatus::kUnclear);
  d.Run(absl::Seconds(118));
  EXPECT_EQ(Taken<InspectOperation>(), nullptr);
  d.Run(absl::Seconds(4));
  ASSERT_NE(Taken<InspectOperation>(), nullptr);
  d.blobs[backup.blob] = d.services["weu"].content;
  d.TakeNothing();
  d.Do(Tick{});
  EXPECT_EQ(State(backup.operation_id), v1::OPERATION_STATE_SUCCEEDED);
}

TEST_F(OperationsTest, AnAmbiguousBackupThatLeftNothingIsLostOnlyAtTheEndOfTheWatch) {
  RunUntilTaken<StartBackup>();
  const StartBackup backup = Pop<StartBackup>();
  Answer(backup, CallStatus::kUnclear);
  d.Run(absl::Minutes(5));
  EXPECT_EQ(State(backup.operation_id), v1::OPERATION_STATE_AMBIGUOUS);
  d.Run(absl::Minutes(4));
  EXPECT_EQ(State(backup.operation_id), v1::OPERATION_STATE_LOST);
}

TEST_F(OperationsTest, AnAmbiguousBackupOfABusyServiceIsNotLost) {
  RunUntilTaken<StartBackup>();
  const StartBackup backup = Pop<StartBackup>();
  d.services["weu"].idle = false;
  Answer(backup, CallStatus::kUnclear);
  d.Run(absl::Minutes(12));
  EXPECT_EQ(State(backup.operation_id), v1::OPERATION_STATE_AMBIGUOUS);
}

TEST_F(OperationsTest, AnAmbiguousRestoreThatLeftTheBackupsContentIsDone) {
  d.services["weu"].content["apis/new"] = "v1";
  RunUntilTaken<StartRestore>();
  const StartRestore restore = Pop<StartRestore>();
  d.services[restore.service].content = d.blobs[restore.blob];
  Answer(restore, CallStatus::kUnclear);
  EXPECT_EQ(State(restore.operation_id), v1::OPERATION_STATE_AMBIGUOUS);
  EXPECT_TRUE(d.Blocked(Blocker::kOperationAmbiguous, restore.service));
  d.Run(absl::Minutes(3));
  EXPECT_EQ(State(restore.operation_id), v1::OPERATION_STATE_SUCCEEDED);
}

TEST_F(OperationsTest, AnAmbiguousRestoreThatLeftTheOldContentNeverStarted) {
  d.services["weu"].content["apis/new"] = "v1";
  RunUntilTaken<StartRestore>();
  const StartRestore restore = Pop<StartRestore>();
  Answer(restore, CallStatus::kUnclear);
  EXPECT_TRUE(d.standby(restore.service).content_unverified());
  d.Run(absl::Minutes(5));
  EXPECT_EQ(State(restore.operation_id), v1::OPERATION_STATE_AMBIGUOUS);
  ASSERT_TRUE(
      d.RunUntil([&] { return State(restore.operation_id) != v1::OPERATION_STATE_AMBIGUOUS; },
                 absl::Minutes(5)));
  EXPECT_EQ(State(restore.operation_id), v1::OPERATION_STATE_NEVER_STARTED);
  EXPECT_FALSE(d.standby(restore.service).content_unverified())
      << "it still holds what was verified before";
}

TEST_F(OperationsTest, AnAmbiguousRestoreThatLeftAnythingElseNeedsAnOperatorAndBlocks) {
  d.services["weu"].content["apis/new"] = "v1";
  RunUntilTaken<StartRestore>();
  const StartRestore restore = Pop<StartRestore>();
  d.services[restore.service].content = {{"apis/half", "x"}};
  Answer(restore, CallStatus::kUnclear);
  d.Run(absl::Minutes(9));
  EXPECT_EQ(State(restore.operation_id), v1::OPERATION_STATE_NEEDS_OPERATOR);
  EXPECT_TRUE(d.Blocked(Blocker::kOperationAmbiguous, restore.service));
  EXPECT_FALSE(d.Order(OrderAbandon{restore.operation_id}, "").ok) << "abandoning needs a reason";
  EXPECT_TRUE(d.Order(OrderAbandon{restore.operation_id}).ok);
  EXPECT_EQ(State(restore.operation_id), v1::OPERATION_STATE_ABANDONED);
  EXPECT_TRUE(d.Blocked(Blocker::kUnverified, restore.service));
  EXPECT_FALSE(d.Order(OrderAbandon{restore.operation_id}).ok) << "it has ended already";
}

TEST_F(OperationsTest, APollThatIsGoneTakesTheSamePath) {
  RunUntilTaken<PollOperation>();
  const PollOperation poll = Pop<PollOperation>();
  d.TakeNothing();
  d.Do(OperationPolled{poll.call, poll.operation_id, OperationPolled::State::kGone, {}, "", 0});
  EXPECT_EQ(State(poll.operation_id), v1::OPERATION_STATE_AMBIGUOUS);
}

TEST_F(OperationsTest, ATransientPollErrorIsPolledAgain) {
  RunUntilTaken<PollOperation>();
  const PollOperation poll = Pop<PollOperation>();
  d.TakeNothing();
  d.Do(OperationPolled{poll.call, poll.operation_id, OperationPolled::State::kUnknown, {}, "", 0});
  EXPECT_EQ(State(poll.operation_id), v1::OPERATION_STATE_RUNNING);
  d.Run(absl::Minutes(1));
  EXPECT_EQ(State(poll.operation_id), v1::OPERATION_STATE_SUCCEEDED);
}

TEST_F(OperationsTest, ALateFailureOfARestoreLeavesTheStandbyUnverified) {
  RunUntilTaken<StartRestore>();
  const StartRestore restore = Pop<StartRestore>();
  d.Take<PollOperation>();
  Answer(restore, CallStatus::kOk);
  d.Run(absl::Seconds(7));
  const PollOperation poll = Pop<PollOperation>();
  OperationPolled polled{poll.call, poll.operation_id, OperationPolled::State::kFailed, {}, "", 0};
  polled.error.set_message("internal error");
  d.Do(polled);
  EXPECT_EQ(State(restore.operation_id), v1::OPERATION_STATE_FAILED);
  EXPECT_TRUE(d.Blocked(Blocker::kUnverified, restore.service));
  EXPECT_FALSE(d.standby(restore.service).has_drift());
}

TEST_F(OperationsTest, AnOperationNeverTimesOutWithinEightHours) {
  RunUntilTaken<StartBackup>();
  const StartBackup backup = Pop<StartBackup>();
  d.operation_time = absl::Hours(7);
  Answer(backup, CallStatus::kOk, 0, 3600);
  d.AnswerTo(backup);
  d.Advance(absl::Hours(6));
  EXPECT_EQ(State(backup.operation_id), v1::OPERATION_STATE_RUNNING);
  d.Advance(absl::Hours(2));
  EXPECT_EQ(State(backup.operation_id), v1::OPERATION_STATE_SUCCEEDED);
}

TEST_F(OperationsTest, ANewProcessAdoptsWhatRunsAndLooksAtWhatMayHaveBeenSent) {
  RunUntilTaken<StartBackup>();
  const std::string id = Taken<StartBackup>()->operation_id;
  const int posts = d.Count<StartBackup>();
  d.TakeNothing();
  d.Restart();
  EXPECT_EQ(State(id), v1::OPERATION_STATE_AMBIGUOUS) << "it may have been sent";
  d.Run(absl::Minutes(2));
  EXPECT_EQ(d.Count<StartBackup>(), posts);
}

TEST_F(OperationsTest, ANewProcessPollsTheStoredHandle) {
  RunUntilTaken<PollOperation>();
  const PollOperation before = *Taken<PollOperation>();
  d.take = [](const Command& c) { return std::holds_alternative<PollOperation>(c); };
  d.Restart();
  ASSERT_NE(Taken<PollOperation>(), nullptr);
  EXPECT_EQ(Taken<PollOperation>()->handle, before.handle);
  d.TakeNothing();
  d.Run(absl::Minutes(1));
  EXPECT_EQ(State(before.operation_id), v1::OPERATION_STATE_SUCCEEDED);
}

TEST_F(OperationsTest, APlannedRestoreOfADeadProcessIsOver) {
  RunUntilTaken<WriteFence>();
  const std::string id = Taken<WriteFence>()->fence.operation_id;
  EXPECT_EQ(State(id), v1::OPERATION_STATE_PLANNED);
  d.take = [](const Command&) { return true; };
  d.Restart();
  EXPECT_EQ(State(id), v1::OPERATION_STATE_NEVER_STARTED);
}

TEST_F(OperationsTest, AnswersOfAnOlderLifeMatchNothing) {
  RunUntilTaken<StartBackup>();
  const StartBackup backup = Pop<StartBackup>();
  d.Do(LeadershipLost{});
  Answer(backup, CallStatus::kOk);
  EXPECT_EQ(State(backup.operation_id), v1::OPERATION_STATE_SENDING);
  d.Lead();
  Answer(backup, CallStatus::kFailed);
  EXPECT_EQ(State(backup.operation_id), v1::OPERATION_STATE_AMBIGUOUS);
}

TEST_F(OperationsTest, ARunningOperationCanBeAbandonedOnlyAfterEightHours) {
  RunUntilTaken<PollOperation>();
  const std::string id = Taken<PollOperation>()->operation_id;
  const Reply reply = d.Order(OrderAbandon{id});
  EXPECT_FALSE(reply.ok);
  EXPECT_NE(reply.text.find("8 hours"), std::string::npos) << reply.text;
  d.SkipWall(absl::Hours(9));
  EXPECT_TRUE(d.Order(OrderAbandon{id}).ok);
  EXPECT_EQ(State(id), v1::OPERATION_STATE_ABANDONED);
}

TEST_F(OperationsTest, EndedOperationsAreKeptUpToAHundred) {
  for (int i = 0; i < 300; ++i) {
    v1::Operation& operation = *d.state.record.add_operations();
    operation.set_id(std::to_string(i));
    operation.set_service("elsewhere");
    operation.set_state(v1::OPERATION_STATE_SUCCEEDED);
  }
  d.Order(OrderSyncRun{});
  d.Run(absl::Seconds(5));
  EXPECT_LE(d.record().operations_size(), 101);
}

TEST(Fingerprints, AreTheSameOnlyKindByKind) {
  const v1::Fingerprint a = FingerprintOf({{"apis/a", "1"}, {"products/b", "2"}});
  EXPECT_TRUE(SameContent(a, FingerprintOf({{"apis/a", "1"}, {"products/b", "2"}})));
  EXPECT_FALSE(SameContent(a, FingerprintOf({{"apis/a", "1"}})));
  EXPECT_FALSE(SameContent(a, FingerprintOf({{"apis/a", "9"}, {"products/b", "2"}})));
  EXPECT_FALSE(SameContent({}, {})) << "nothing read is not the same content";
}

}  // namespace
}  // namespace failover::core
