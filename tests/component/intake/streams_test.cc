#include <thread>

#include "tests/component/intake/harness.h"

namespace failover::intake {
namespace {

TEST_F(IntakeTest, AgentGetsTheAssignmentOfItsRegionAndIsShown) {
  StartIntake();
  intake_->SetAssignments(TwoGroups(7));
  auto agent = Agent("neu", 1);
  agent->hello().set_generation(5);
  ASSERT_TRUE(agent->SayHello());
  v1::ControllerMessage message;
  ASSERT_TRUE(agent->Read(message));
  EXPECT_EQ(message.assignment().term(), 3u);
  EXPECT_EQ(message.assignment().generation(), 7u);
  EXPECT_EQ(message.assignment().targets_size(), 1);
  ASSERT_TRUE(WaitUntil(
      [&] { return intake_->Agents().size() == 1 && intake_->Agents()[0].generation() == 7; }));
  const v1::AgentInfo info = intake_->Agents()[0];
  EXPECT_EQ(info.probe_region(), "neu");
  EXPECT_EQ(info.instance(), InstanceId(1));
  EXPECT_EQ(info.version(), "0.1.0");
  EXPECT_EQ(info.current_generation(), 7u);
  EXPECT_TRUE(info.connected());
  EXPECT_NE(info.peer(), "");
}

TEST_F(IntakeTest, ResultsReachTheirGroupsWithMomentsOnOurClock) {
  StartIntake(clock_);
  intake_->SetAssignments(TwoGroups());
  auto agent = Connected("weu", 1);
  v1::ResultBatch batch = Batch("a/s/p", 1, 2);
  *batch.add_results() = Result("@control/x", 1);
  ASSERT_TRUE(agent->Send(batch));
  ASSERT_TRUE(WaitUntil([&] { return sink_.Results("b").size() == 1; }));
  const core::ProbeResults a = sink_.Results("a").at(0);
  ASSERT_EQ(a.samples.size(), 3u);
  EXPECT_FALSE(a.replay);
  EXPECT_EQ(a.agent.probe_region, "weu");
  EXPECT_EQ(a.agent.instance, InstanceId(1));
  EXPECT_EQ(a.samples[1].sequence, 2u);
  EXPECT_EQ(a.samples[1].started, clock_.Steady() - absl::Seconds(2));
  EXPECT_EQ(a.samples[1].completed, clock_.Steady() - absl::Seconds(1));
  const core::ProbeResults b = sink_.Results("b").at(0);
  ASSERT_EQ(b.samples.size(), 1u);
  EXPECT_EQ(b.samples[0].target.probe, 1);
  EXPECT_EQ(Count("accepted"), 3u);
  EXPECT_EQ(intake_->Agents().at(0).results(), 3u);
  EXPECT_EQ(intake_->Agents().at(0).report_delay_ms(), 1000);
}

TEST_F(IntakeTest, AnAgentsWallClockIsShownAsItsSkewAndLateResultsAsADelay) {
  StartIntake(clock_);
  intake_->SetAssignments(TwoGroups());
  auto agent = Connected("weu", 1);
  v1::ResultBatch batch = Batch("a/s/p", 1, 1);
  ASSERT_TRUE(agent->Send(batch));
  ASSERT_TRUE(WaitUntil([&] { return sink_.Results("a").size() == 1; }));
  EXPECT_FALSE(intake_->Agents().at(0).has_clock_skew_ms()) << "it did not tell";
  for (const auto& [ahead, sequence] :
       {std::pair<int64_t, uint64_t>{-90'000, 2}, std::pair<int64_t, uint64_t>{3'000, 3}}) {
    batch = Batch("a/s/p", sequence, 1);
    batch.set_wall_unix_ms(absl::ToUnixMillis(clock_.Wall()) + ahead);
    ASSERT_TRUE(agent->Send(batch));
    ASSERT_TRUE(WaitUntil([&] { return sink_.Results("a").size() == sequence; }));
    EXPECT_NEAR(static_cast<double>(intake_->Agents().at(0).clock_skew_ms()),
                static_cast<double>(ahead), 1)
        << "signed";
  }
  const std::map<std::string, ReportDelays> delays = intake_->Delays();
  ASSERT_EQ(delays.size(), 1u);
  const ReportDelays& weu = delays.at("weu");
  EXPECT_EQ(weu.counts[5], 3u) << "a second each: the bucket up to 1";
  EXPECT_DOUBLE_EQ(weu.sum, 3);
}

TEST_F(IntakeTest, EveryGroupOfTheRegionHearsThatAStreamOpensAndCloses) {
  StartIntake();
  intake_->SetAssignments(TwoGroups());
  auto agent = Connected("weu", 1);
  ASSERT_TRUE(WaitUntil([&] { return !sink_.Streams("b").empty(); }));
  agent->Cancel();
  ASSERT_TRUE(WaitUntil([&] { return sink_.Streams("b").size() == 2; }));
  const std::vector<std::string> expected = {"open weu/" + InstanceId(1),
                                             "closed weu/" + InstanceId(1)};
  EXPECT_EQ(sink_.Streams("a"), expected);
  EXPECT_EQ(sink_.Streams("b"), expected);
  EXPECT_EQ(ConnectedAgents(), 0);
  EXPECT_EQ(intake_->Agents().size(), 1u) << "an agent that has gone is shown for a day";
}

TEST_F(IntakeTest, AgentGoneForADayIsShownNoMore) {
  StartIntake(clock_);
  intake_->SetAssignments(TwoGroups());
  Connected("weu", 1)->Cancel();
  ASSERT_TRUE(WaitUntil([&] { return ConnectedAgents() == 0; }));
  ASSERT_EQ(intake_->Agents().size(), 1u);
  clock_.Advance(absl::Hours(25));
  EXPECT_TRUE(intake_->Agents().empty());
}

TEST_F(IntakeTest, StreamEventsComeBeforeTheStreamsResults) {
  StartIntake();
  intake_->SetAssignments(TwoGroups());
  sink_.SetFull(true);
  auto agent = Agent("neu", 1);
  ASSERT_TRUE(agent->SayHello());
  ASSERT_TRUE(agent->Send(Batch("a/s/p", 1, 1)));
  ASSERT_TRUE(WaitUntil([&] { return sink_.turned_away() >= 2; }))
      << "the opening is told again and again";
  sink_.SetFull(false);
  ASSERT_TRUE(WaitUntil([&] { return sink_.Results("a").size() == 1; }))
      << "the results waited for it";
  EXPECT_EQ(sink_.Streams("a").size(), 1u);
}

TEST_F(IntakeTest, FollowerAssignsNothingButReadsResults) {
  StartIntake();
  intake_->SetAssignments(TwoGroups(1, false));
  auto agent = Agent("weu", 1);
  ASSERT_TRUE(agent->SayHello());
  ASSERT_TRUE(agent->Send(Batch("a/s/p", 1, 1)));
  ASSERT_TRUE(WaitUntil([&] { return sink_.Results("a").size() == 1; }));
  intake_->Burst("weu", {"a/s/p"});
  intake_->SetAssignments(TwoGroups(2, true));
  v1::ControllerMessage message;
  ASSERT_TRUE(agent->Read(message));
  EXPECT_EQ(message.assignment().generation(), 2u) << "nothing was sent before it led";
}

TEST_F(IntakeTest, NextMessageIsReadWhenTheLastOneHasBeenJudged) {
  StartIntake();
  intake_->SetAssignments(TwoGroups());
  auto slow = Connected("neu", 1);
  auto other = Connected("neu", 2);
  ASSERT_TRUE(WaitUntil([&] { return sink_.Streams("a").size() >= 2; }));
  sink_.KeepHolds(true);
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(slow->Send(Batch("a/s/p", i + 1, 1)));
  ASSERT_TRUE(WaitUntil([&] { return sink_.held() == 1; }));
  const auto held = sink_.TakeHolds();
  sink_.KeepHolds(false);
  for (int i = 0; i < 50; ++i) ASSERT_TRUE(other->Send(Batch("a/s/p", i + 1, 1)));
  ASSERT_TRUE(WaitUntil([&] { return sink_.Results("a", InstanceId(2)).size() == 50; }));
  EXPECT_EQ(sink_.Results("a", InstanceId(1)).size(), 1u)
      << "the second message waits for the hold of the first";
}

TEST_F(IntakeTest, HoldDestroyedOnAnyThreadReadsOn) {
  StartIntake();
  intake_->SetAssignments(TwoGroups());
  auto agent = Connected("neu", 1);
  ASSERT_TRUE(WaitUntil([&] { return !sink_.Streams("a").empty(); }));
  sink_.KeepHolds(true);
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(agent->Send(Batch("a/s/p", i + 1, 1)));
  for (size_t i = 1; i <= 3; ++i) {
    ASSERT_TRUE(WaitUntil([&] { return sink_.Results("a").size() == i; }));
    std::jthread([holds = sink_.TakeHolds()]() mutable { holds.clear(); });
  }
}

TEST_F(IntakeTest, FullMailboxClosesTheStreamAndTheCloseIsToldLater) {
  StartIntake();
  intake_->SetAssignments(TwoGroups());
  auto agent = Connected("neu", 1);
  ASSERT_TRUE(WaitUntil([&] { return !sink_.Streams("a").empty(); }));
  sink_.SetFull(true);
  ASSERT_TRUE(agent->Send(Batch("a/s/p", 1, 1)));
  const grpc::Status status = agent->Finish();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED) << status.error_message();
  EXPECT_EQ(Count("refused_mailbox_full"), 1u);
  ASSERT_TRUE(WaitUntil([&] { return sink_.turned_away() >= 3; }));
  EXPECT_EQ(sink_.Streams("a").size(), 1u);
  sink_.SetFull(false);
  ASSERT_TRUE(WaitUntil([&] { return sink_.Streams("a").size() == 2; }));
  EXPECT_EQ(sink_.Streams("a")[1], "closed neu/" + InstanceId(1));
}

TEST_F(IntakeTest, ReconnectOfTheSameInstanceReplacesItsOlderStreamWithoutAClose) {
  StartIntake();
  intake_->SetAssignments(TwoGroups());
  auto older = Connected("neu", 1);
  ASSERT_TRUE(WaitUntil([&] { return sink_.Streams("a").size() == 1; }));
  auto newer = Connected("neu", 1);
  const grpc::Status status = older->Finish();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::ABORTED) << status.error_message();
  ASSERT_TRUE(newer->Send(Batch("a/s/p", 1, 1)));
  ASSERT_TRUE(WaitUntil([&] { return sink_.Results("a").size() == 1; }));
  EXPECT_EQ(ConnectedAgents(), 1);
  EXPECT_EQ(Count("superseded"), 1u);
  for (const std::string& event : sink_.Streams("a")) EXPECT_EQ(event, "open neu/" + InstanceId(1));
}

TEST_F(IntakeTest, BurstReachesTheAgentsOfItsRegionOnly) {
  StartIntake();
  intake_->SetAssignments(TwoGroups(1));
  auto weu = Connected("weu", 1);
  auto neu = Connected("neu", 2);
  intake_->Burst("weu", {"a/s/p", "b/s/p", "a/s/p"});
  v1::ControllerMessage message;
  ASSERT_TRUE(weu->Read(message));
  ASSERT_TRUE(message.has_burst());
  EXPECT_EQ(message.burst().targets_size(), 2);
  intake_->SetAssignments(TwoGroups(2));
  ASSERT_TRUE(neu->Read(message));
  EXPECT_TRUE(message.has_assignment()) << "the other region was asked too";
}

TEST_F(IntakeTest, UnsentAssignmentIsReplacedByTheNewestAndBurstsCoalesce) {
  StartIntake();
  intake_->SetAssignments(TwoGroups(1));
  auto agent = Connected("neu", 1);
  constexpr uint64_t kLast = 100;
  for (uint64_t generation = 2; generation <= kLast; ++generation) {
    Assignments assignments = TwoGroups(generation);
    assignments.by_probe_region["neu"].mutable_targets(0)->set_url(std::string(300'000, 'x'));
    intake_->SetAssignments(std::move(assignments));
    intake_->Burst("neu", {"a/s/p"});
  }
  int assignments = 0, bursts = 0;
  uint64_t newest = 0;
  v1::ControllerMessage message;
  while ((newest < kLast || bursts == 0) && agent->Read(message)) {
    if (message.has_burst()) ++bursts;
    if (!message.has_assignment()) continue;
    ++assignments;
    EXPECT_GT(message.assignment().generation(), newest);
    newest = message.assignment().generation();
  }
  EXPECT_EQ(newest, kLast);
  EXPECT_LT(assignments, 50) << "an agent that does not read must not pile up what is obsolete";
  EXPECT_LT(bursts, 50);
}

TEST_F(IntakeTest, EqualAssignmentIsNotSentAgain) {
  StartIntake();
  intake_->SetAssignments(TwoGroups(1));
  auto agent = Connected("neu", 1);
  for (int i = 0; i < 5; ++i) intake_->SetAssignments(TwoGroups(1));
  intake_->SetAssignments(TwoGroups(2));
  v1::ControllerMessage message;
  ASSERT_TRUE(agent->Read(message));
  EXPECT_EQ(message.assignment().generation(), 2u);
}

TEST_F(IntakeTest, NewAssignmentsTellConnectedStreamsToTheirGroupsAgain) {
  StartIntake();
  intake_->SetAssignments(TwoGroups(1));
  auto agent = Connected("neu", 1);
  ASSERT_TRUE(WaitUntil([&] { return sink_.Streams("a").size() == 1; }));
  Assignments more = TwoGroups(2);
  more.groups_of_region["neu"] = {"a", "c"};
  intake_->SetAssignments(std::move(more));
  ASSERT_TRUE(WaitUntil([&] { return sink_.Streams("c").size() == 1; }));
  EXPECT_EQ(sink_.Streams("c")[0], "open neu/" + InstanceId(1));
}

TEST_F(IntakeTest, StreamOfARegionThatIsConfiguredNoMoreIsClosedWithTheList) {
  StartIntake();
  intake_->SetAssignments(TwoGroups());
  auto agent = Connected("neu", 1);
  Assignments fewer = TwoGroups(2);
  fewer.by_probe_region.erase("neu");
  fewer.groups_of_region.erase("neu");
  intake_->SetAssignments(std::move(fewer));
  const grpc::Status status = agent->Finish();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::PERMISSION_DENIED);
  EXPECT_NE(status.error_message().find("configured: weu"), std::string::npos)
      << status.error_message();
}

TEST_F(IntakeTest, DestroyedIntakeCallsTheSinkNoMore) {
  StartIntake();
  intake_->SetAssignments(TwoGroups());
  auto agent = Connected("neu", 1);
  auto silent = Agent("neu", 2);  // has not said hello
  ASSERT_TRUE(WaitUntil([&] { return !sink_.Streams("a").empty(); }));
  sink_.KeepHolds(true);
  ASSERT_TRUE(agent->Send(Batch("a/s/p", 1, 1)));
  ASSERT_TRUE(agent->Send(Batch("a/s/p", 2, 1)));
  ASSERT_TRUE(WaitUntil([&] { return sink_.held() == 1; }));
  intake_.reset();
  const int calls = sink_.calls();
  sink_.TakeHolds().clear();  // after the end of the intake: harmless
  EXPECT_EQ(agent->Finish().error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(sink_.calls(), calls);
  EXPECT_EQ(sink_.Streams("a").size(), 1u);
}

TEST_F(IntakeTest, AddressInUseIsRefusedByName) {
  StartIntake();
  IntakeOptions options;
  options.address = absl::StrCat("127.0.0.1:", intake_->port());
  options.clock = &RealClock();
  const auto second = Intake::Start(std::move(options));
  ASSERT_FALSE(second.ok());
  EXPECT_NE(second.status().message().find(absl::StrCat("127.0.0.1:", intake_->port())),
            std::string::npos)
      << second.status();
}

TEST_F(IntakeTest, WithoutTlsOnlyLoopbackIsAllowed) {
  IntakeOptions options;
  options.address = "0.0.0.0:0";
  options.clock = &RealClock();
  const auto intake = Intake::Start(std::move(options));
  ASSERT_FALSE(intake.ok());
  EXPECT_EQ(intake.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_NE(intake.status().message().find("0.0.0.0:0"), std::string::npos) << intake.status();
}

}  // namespace
}  // namespace failover::intake
