#include <atomic>
#include <thread>

#include "tests/component/intake/harness.h"

namespace failover::intake {
namespace {

TEST_F(IntakeTest, RegionThatNoGroupConfiguresIsRefusedWithTheConfiguredOnes) {
  StartIntake();
  intake_->SetAssignments(TwoGroups());
  auto agent = Agent("mars", 1);
  agent->SayHello();
  const grpc::Status status = agent->Finish();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::PERMISSION_DENIED);
  EXPECT_NE(status.error_message().find("\"mars\""), std::string::npos) << status.error_message();
  EXPECT_NE(status.error_message().find("neu, weu"), std::string::npos) << status.error_message();
  EXPECT_EQ(Count("refused_region"), 1u);
  EXPECT_TRUE(sink_.Streams("a").empty());
}

TEST_F(IntakeTest, AgentThatComesBeforeTheConfigurationIsToldToTryAgain) {
  StartIntake();
  auto agent = Agent("weu", 1);
  agent->SayHello();
  EXPECT_EQ(agent->Finish().error_code(), grpc::StatusCode::UNAVAILABLE);
}

TEST_F(IntakeTest, HelloWithAMalformedFieldIsRefusedNamingIt) {
  StartIntake();
  intake_->SetAssignments(TwoGroups());
  const struct {
    const char* field;
    void (*change)(v1::Hello&);
  } table[] = {
      {"instance_id", [](v1::Hello& h) { h.set_instance_id("123"); }},
      {"instance_id", [](v1::Hello& h) { h.set_instance_id("zzzzzzzzzzzzzzzz"); }},
      {"boot_id", [](v1::Hello& h) { h.set_boot_id(std::string(65, 'b')); }},
      {"version", [](v1::Hello& h) { h.set_version("1\n2"); }},
  };
  for (const auto& row : table) {
    auto agent = Agent("weu", 1);
    row.change(agent->hello());
    agent->SayHello();
    const grpc::Status status = agent->Finish();
    EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
    EXPECT_NE(status.error_message().find(row.field), std::string::npos) << status.error_message();
  }
}

TEST_F(IntakeTest, StreamThatDoesNotBeginWithAHelloIsRefused) {
  StartIntake();
  intake_->SetAssignments(TwoGroups());
  auto agent = Agent("weu", 1);
  agent->Send(Batch("a/s/p", 1, 1));
  EXPECT_EQ(agent->Finish().error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(Count("refused_message_kind"), 1u);
}

TEST_F(IntakeTest, SecondHelloIsRefused) {
  StartIntake();
  intake_->SetAssignments(TwoGroups());
  auto agent = Connected("weu", 1);
  agent->SayHello();
  EXPECT_EQ(agent->Finish().error_code(), grpc::StatusCode::INVALID_ARGUMENT);
}

TEST_F(IntakeTest, StreamWithoutAHelloIsClosedAfterTenSeconds) {
  StartIntake(clock_);
  intake_->SetAssignments(TwoGroups());
  auto silent = Agent("weu", 1);
  std::atomic<bool> ended = false;
  std::jthread pump([&] {
    while (!ended) clock_.Advance(absl::Seconds(11));
  });
  const grpc::Status status = silent->Finish();
  ended = true;
  EXPECT_EQ(status.error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
  EXPECT_NE(status.error_message().find("hello"), std::string::npos) << status.error_message();
}

TEST_F(IntakeTest, MessageALittleTooLongIsRefusedWithItsSizeAndCounted) {
  StartIntake();
  intake_->SetAssignments(TwoGroups());
  auto agent = Connected("weu", 1);
  v1::ResultBatch batch = Batch("a/s/p", 1, 1);
  batch.mutable_results(0)->set_error(std::string(70'000, 'x'));
  agent->Send(batch);
  const grpc::Status status = agent->Finish();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_NE(status.error_message().find("65536"), std::string::npos) << status.error_message();
  EXPECT_EQ(Count("refused_message_size"), 1u);
  EXPECT_TRUE(sink_.Results("a").empty());
  EXPECT_NE(intake_->Agents().at(0).refused_why().find("65536"), std::string::npos);
}

TEST_F(IntakeTest, HugeMessageEndsTheStreamAndNobodyElses) {
  StartIntake();
  intake_->SetAssignments(TwoGroups());
  auto other = Connected("weu", 2);
  auto agent = Connected("weu", 1);
  v1::ResultBatch batch = Batch("a/s/p", 1, 1);
  batch.mutable_results(0)->set_error(std::string(3'000'000, 'x'));
  agent->Send(batch);
  EXPECT_EQ(agent->Finish().error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  ASSERT_TRUE(other->Send(Batch("a/s/p", 1, 1)));
  EXPECT_TRUE(WaitUntil([&] { return sink_.Results("a", InstanceId(2)).size() == 1; }));
}

TEST_F(IntakeTest, MessageOf257ResultsIsRefused) {
  StartIntake();
  intake_->SetAssignments(TwoGroups());
  auto agent = Connected("weu", 1);
  agent->Send(Batch("a/s/p", 1, 257));
  const grpc::Status status = agent->Finish();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_NE(status.error_message().find("257"), std::string::npos) << status.error_message();
  EXPECT_TRUE(sink_.Results("a").empty());
}

TEST_F(IntakeTest, MalformedResultsAreRefusedOneByOneAndTheRestIsTaken) {
  StartIntake();
  intake_->SetAssignments(TwoGroups());
  auto agent = Connected("weu", 1);
  v1::ResultBatch batch;
  *batch.add_results() = Result("a/s/p", 1);
  *batch.add_results() = Result("nobody/knows/it", 1);
  *batch.add_results() = Result("a/s/p", 0);
  batch.mutable_results(2)->set_sequence(0);
  *batch.add_results() = Result("a/s/p", 2);
  batch.mutable_results(3)->set_definition(1);
  *batch.add_results() = Result("a/s/p", 2);
  batch.mutable_results(4)->mutable_start_age()->set_seconds(-5);
  *batch.add_results() = Result("a/s/p", 2, false);
  ASSERT_TRUE(agent->Send(batch));
  ASSERT_TRUE(WaitUntil([&] { return sink_.Results("a").size() == 1; }));
  const core::ProbeResults results = sink_.Results("a").at(0);
  ASSERT_EQ(results.samples.size(), 2u);
  EXPECT_TRUE(results.samples[0].success);
  EXPECT_FALSE(results.samples[1].success);
  EXPECT_EQ(results.samples[1].failed_stage, core::FailedStage::kConnect);
  EXPECT_EQ(Count("accepted"), 2u);
  EXPECT_EQ(Count("refused_unknown_target"), 1u);
  EXPECT_EQ(Count("refused_sequence"), 1u);
  EXPECT_EQ(Count("refused_other_definition"), 1u);
  EXPECT_EQ(Count("refused_age"), 1u);
  EXPECT_EQ(intake_->Agents().at(0).refused(), 4u);
  EXPECT_NE(intake_->Agents().at(0).refused_why(), "");
}

TEST_F(IntakeTest, MessageWithNothingGoodReadsOn) {
  StartIntake();
  intake_->SetAssignments(TwoGroups());
  auto agent = Connected("weu", 1);
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(agent->Send(Batch("nobody/knows/it", 1, 1)));
  ASSERT_TRUE(agent->Send(Batch("a/s/p", 1, 1)));
  EXPECT_TRUE(WaitUntil([&] { return sink_.Results("a").size() == 1; }));
  EXPECT_EQ(Count("refused_unknown_target"), 3u);
}

// What was promised about floods: nobody else waits for it, at most one of its messages is with the
// core, and it is slowed, not dropped.
TEST_F(IntakeTest, FloodingAgentHarmsNobodyAndIsSlowed) {
  StartIntake();
  intake_->SetAssignments(TwoGroups());
  auto flooder = Connected("weu", 1);
  auto good = Connected("weu", 2);
  ASSERT_TRUE(WaitUntil([&] { return sink_.Streams("a").size() >= 2; }));
  std::jthread flood([&] {
    for (uint64_t i = 0; flooder->Send(Batch("a/s/p", 1 + i * 200, 200)); ++i) {
    }
  });
  ASSERT_TRUE(WaitUntil([&] { return Count("slowed") > 0; }));
  for (int i = 1; i <= 20; ++i) {
    ASSERT_TRUE(good->Send(Batch("a/s/p", i, 1)));
    ASSERT_TRUE(WaitUntil(
        [&] { return sink_.Results("a", InstanceId(2)).size() == static_cast<size_t>(i); },
        absl::Seconds(2)));
  }
  // 2,000 results at once, one message of debt, then 50 a second.
  EXPECT_LT(sink_.Results("a", InstanceId(1)).size(), 30u);
  EXPECT_EQ(ConnectedAgents(), 2);
  flooder->Cancel();
}

}  // namespace
}  // namespace failover::intake
