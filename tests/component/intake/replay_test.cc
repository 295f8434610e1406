#include <thread>

#include "tests/component/intake/harness.h"

namespace failover::intake {
namespace {

v1::ResultBatch Replay(const std::string& target, uint64_t first, int n, bool end = false) {
  v1::ResultBatch batch = Batch(target, first, n);
  batch.set_replay(true);
  batch.set_replay_end(end);
  return batch;
}

TEST_F(IntakeTest, ReplayIsDeliveredOnceAndAsAWholeAfterItsEndMark) {
  StartIntake(clock_);
  intake_->SetAssignments(TwoGroups());
  auto agent = Connected("weu", 1);
  ASSERT_TRUE(agent->Send(Replay("a/s/p", 1, 200)));
  ASSERT_TRUE(agent->Send(Replay("@control/x", 1, 200)));
  ASSERT_TRUE(agent->Send(Batch("b/s/p", 1, 1)));  // a live one in between is judged at once
  ASSERT_TRUE(WaitUntil([&] { return sink_.Results("b").size() == 1; }));
  EXPECT_FALSE(sink_.Results("b")[0].replay);
  EXPECT_TRUE(sink_.Results("a").empty()) << "nothing of a replay may be judged before its end";
  const SteadyTime received = clock_.Steady();
  clock_.Advance(absl::Seconds(1));
  ASSERT_TRUE(agent->Send(Replay("a/s/p", 201, 0, true)));
  ASSERT_TRUE(WaitUntil([&] { return sink_.Results("b").size() == 2; }));
  ASSERT_EQ(sink_.Results("a").size(), 1u);
  const core::ProbeResults a = sink_.Results("a")[0];
  EXPECT_TRUE(a.replay);
  ASSERT_EQ(a.samples.size(), 400u);
  EXPECT_EQ(a.samples[0].sequence, 1u);
  EXPECT_EQ(a.samples[199].sequence, 200u);
  EXPECT_EQ(a.samples[0].completed, received - absl::Seconds(1))
      << "ages count from each message's receipt";
  EXPECT_EQ(sink_.Results("b")[1].samples.size(), 200u);
  EXPECT_EQ(Count("replayed"), 400u);
  EXPECT_EQ(Count("accepted"), 1u);
}

TEST_F(IntakeTest, EmptyReplayTellsNobodyAnything) {
  StartIntake();
  intake_->SetAssignments(TwoGroups());
  auto agent = Connected("weu", 1);
  ASSERT_TRUE(agent->Send(Replay("a/s/p", 1, 0, true)));
  ASSERT_TRUE(agent->Send(Batch("a/s/p", 1, 1)));
  ASSERT_TRUE(WaitUntil([&] { return sink_.Results("a").size() == 1; }));
  EXPECT_FALSE(sink_.Results("a")[0].replay);
}

TEST_F(IntakeTest, ReplayOnANewStreamBeginsAnew) {
  StartIntake();
  intake_->SetAssignments(TwoGroups());
  auto cut = Connected("weu", 1);
  ASSERT_TRUE(cut->Send(Replay("a/s/p", 1, 50)));
  auto agent = Connected("weu", 1);
  ASSERT_TRUE(agent->Send(Replay("a/s/p", 1, 50, true)));
  ASSERT_TRUE(WaitUntil([&] { return sink_.Results("a").size() == 1; }));
  EXPECT_EQ(sink_.Results("a")[0].samples.size(), 50u);
}

TEST_F(IntakeTest, ReplayLongerThanItsLimitIsCutAndCounted) {
  StartIntake(clock_);
  intake_->SetAssignments(TwoGroups());  // one probe a second: at most 2,000
  auto agent = Connected("weu", 1);
  for (int i = 0; i < 9; ++i) ASSERT_TRUE(agent->Send(Replay("a/s/p", 1 + 250 * i, 250)));
  ASSERT_TRUE(agent->Send(Replay("a/s/p", 1, 0, true)));
  ASSERT_TRUE(WaitUntil([&] { return Count("slowed") > 0; }));
  EXPECT_TRUE(sink_.Results("a").empty()) << "what is beyond the burst has to be paid for in time";
  clock_.Advance(absl::Seconds(10));
  ASSERT_TRUE(WaitUntil([&] { return sink_.Results("a").size() == 1; }));
  EXPECT_EQ(sink_.Results("a")[0].samples.size(), 2000u);
  EXPECT_EQ(Count("refused_replay_length"), 250u);
}

TEST_F(IntakeTest, AssignmentsInForceAtTheEndOfAReplayDecideWhatItMeans) {
  StartIntake();
  intake_->SetAssignments(TwoGroups());
  auto agent = Connected("weu", 1);
  ASSERT_TRUE(agent->Send(Replay("a/s/p", 1, 3)));
  ASSERT_TRUE(agent->Send(Replay("a/@public", 1, 3)));
  ASSERT_TRUE(agent->Send(Batch("b/s/p", 1, 1)));
  ASSERT_TRUE(WaitUntil([&] { return sink_.Results("b").size() == 1; }));
  Assignments other = TwoGroups(2);
  other.targets["a/s/p"].definition = kDefinition + 1;
  other.targets["a/@public"].uses[0].group = "c";
  intake_->SetAssignments(std::move(other));
  ASSERT_TRUE(agent->Send(Replay("a/s/p", 1, 0, true)));
  ASSERT_TRUE(WaitUntil([&] { return sink_.Results("c").size() == 1; }));
  EXPECT_EQ(sink_.Results("c")[0].samples.size(), 3u);
  EXPECT_TRUE(sink_.Results("a").empty());
  EXPECT_EQ(Count("refused_other_definition"), 3u);
}

TEST_F(IntakeTest, ReplayWithoutAnEndMarkClosesTheStreamAfterAMinute) {
  StartIntake(clock_);
  intake_->SetAssignments(TwoGroups());
  auto agent = Connected("weu", 1);
  ASSERT_TRUE(agent->Send(Replay("a/s/p", 1, 3)));
  ASSERT_TRUE(agent->Send(Batch("b/s/p", 1, 1)));
  ASSERT_TRUE(WaitUntil([&] { return sink_.Results("b").size() == 1; }));
  clock_.Advance(absl::Seconds(59));
  ASSERT_TRUE(agent->Send(Batch("b/s/p", 2, 1)));
  ASSERT_TRUE(WaitUntil([&] { return sink_.Results("b").size() == 2; }));
  clock_.Advance(absl::Seconds(2));
  EXPECT_EQ(agent->Finish().error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
  EXPECT_TRUE(sink_.Results("a").empty());
}

}  // namespace
}  // namespace failover::intake
