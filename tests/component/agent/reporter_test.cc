// Streams to controllers: hello, batches, replay, reconnecting, whose assignment counts.
#include "agent/reporter.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "tests/component/agent/fake_controller.h"
#include "tests/gateway_stub/gateway.h"
#include "tests/support/tcp_peer.h"
#include "tests/support/wait_until.h"

namespace failover::agent {
namespace {

class ReporterTest : public testing::Test {
 protected:
  std::unique_ptr<Reporter> Report(const std::string& controller) {
    Reporter::Options options;
    options.controller = controller;
    options.credentials = grpc::InsecureChannelCredentials();
    options.hello.set_probe_region("uksouth");
    options.hello.set_instance_id("0123456789abcdef");
    options.clock = &RealClock();
    options.results = &results_;
    options.assignments = &assignments_;
    options.metrics = &metrics_;
    options.burst = [this](std::vector<std::string> targets) {
      MutexLock lock(mutex_);
      bursts_.insert(bursts_.end(), targets.begin(), targets.end());
    };
    return Reporter::Start(std::move(options));
  }

  void Add(uint64_t sequence, bool changed = false) {
    KeptResult kept;
    kept.scheduled = RealClock().Steady();
    kept.completed = kept.scheduled;
    kept.result.set_target("o/w/p");
    kept.result.set_sequence(sequence);
    results_.Add(std::move(kept), changed);
  }
  std::vector<std::string> bursts() {
    MutexLock lock(mutex_);
    return bursts_;
  }

  AgentMetrics metrics_{"uksouth", {}};
  ResultBuffer results_{RealClock(), {}, [](AgentMetrics::Drop, uint64_t) {}};
  AssignmentKeeper assignments_{"", [](std::shared_ptr<const PreparedAssignment>) {}};
  Mutex mutex_;
  std::vector<std::string> bursts_ ABSL_GUARDED_BY(mutex_);
};

TEST_F(ReporterTest, HelloComesFirstThenTheReplayThenResults) {
  for (uint64_t i = 1; i <= 3; ++i) Add(i);
  FakeController controller;
  const auto reporter = Report(controller.address());
  ASSERT_TRUE(WaitUntil([&] { return controller.SequencesOf(0).size() == 3; }));
  const auto first = controller.received();
  ASSERT_TRUE(first.at(0).message.has_hello());
  EXPECT_EQ(first[0].message.hello().probe_region(), "uksouth");
  EXPECT_EQ(first[0].message.hello().term(), 0u);
  const v1::ResultBatch replay = controller.BatchesOf(0).at(0);
  EXPECT_TRUE(replay.replay());
  EXPECT_TRUE(replay.replay_end());
  EXPECT_NEAR(static_cast<double>(replay.wall_unix_ms()),
              static_cast<double>(absl::ToUnixMillis(RealClock().Wall())), 60'000)
      << "for people: its skew is shown";
  Add(4);
  ASSERT_TRUE(WaitUntil([&] { return controller.SequencesOf(0).size() == 4; }));
  EXPECT_FALSE(controller.BatchesOf(0).at(1).replay());
  EXPECT_EQ(controller.SequencesOf(0), (std::vector<uint64_t>{1, 2, 3, 4}));
}

TEST_F(ReporterTest, AnEmptyReplayStillHasItsEnd) {
  FakeController controller;
  const auto reporter = Report(controller.address());
  ASSERT_TRUE(WaitUntil([&] { return !controller.BatchesOf(0).empty(); }));
  EXPECT_TRUE(controller.BatchesOf(0)[0].replay_end());
  EXPECT_EQ(controller.BatchesOf(0)[0].results_size(), 0);
}

TEST_F(ReporterTest, ALongReplayComesInSeveralBatchesWithOneEnd) {
  for (uint64_t i = 1; i <= 1000; ++i) Add(i);
  FakeController controller;
  const auto reporter = Report(controller.address());
  ASSERT_TRUE(WaitUntil([&] { return controller.SequencesOf(0).size() == 1000; }));
  const auto batches = controller.BatchesOf(0);
  for (size_t i = 0; i < batches.size(); ++i) {
    EXPECT_TRUE(batches[i].replay());
    EXPECT_EQ(batches[i].replay_end(), i + 1 == batches.size());
    EXPECT_LE(batches[i].results_size(), 256);
  }
}

TEST_F(ReporterTest, OrdinaryResultsAreGatheredAndAChangeIsSentAtOnce) {
  FakeController controller;
  const auto reporter = Report(controller.address());
  ASSERT_TRUE(WaitUntil([&] { return controller.BatchesOf(0).size() == 1; }));
  for (uint64_t i = 1; i <= 5; ++i) Add(i);
  ASSERT_TRUE(WaitUntil([&] { return controller.SequencesOf(0).size() == 5; }));
  EXPECT_LE(controller.BatchesOf(0).size(), 3u) << "five results at once";
  // The best of five, since the machine may be busy; gathering takes 150 ms every time.
  absl::Duration best = absl::InfiniteDuration();
  for (uint64_t i = 6; i <= 10; ++i) {
    const absl::Time before = absl::Now();
    Add(i, true);
    ASSERT_TRUE(WaitUntil([&] { return controller.SequencesOf(0).size() == i; }));
    best = std::min(best, controller.received().back().at - before);
  }
  EXPECT_LT(best, absl::Milliseconds(100));
}

TEST_F(ReporterTest, AfterAReconnectEverythingKeptIsReplayedWithGrownAges) {
  auto controller = std::make_unique<FakeController>();
  const int port = controller->port();
  const auto reporter = Report(controller->address());
  Add(1);
  ASSERT_TRUE(WaitUntil([&] { return controller->SequencesOf(0).size() == 1; }));
  const auto young = controller->BatchesOf(0).back().results(0).complete_age();
  controller.reset();
  Add(2);  // while cut off
  Add(3);
  FakeController successor(port);
  ASSERT_TRUE(WaitUntil([&] { return successor.SequencesOf(0).size() == 3; }, absl::Seconds(30)));
  EXPECT_EQ(successor.SequencesOf(0), (std::vector<uint64_t>{1, 2, 3}));
  EXPECT_TRUE(successor.BatchesOf(0).at(0).replay());
  const auto old = successor.BatchesOf(0).at(0).results(0).complete_age();
  EXPECT_GT(old.seconds() * 1000000000 + old.nanos(), young.seconds() * 1000000000 + young.nanos());
}

TEST_F(ReporterTest, ARefusedAgentComesBackLater) {
  FakeController controller;
  controller.Refuse(true);
  const auto reporter = Report(controller.address());
  ASSERT_TRUE(WaitUntil([&] { return controller.streams() >= 2; }));
  controller.Refuse(false);
  EXPECT_TRUE(WaitUntil([&] { return !controller.BatchesOf(controller.streams() - 1).empty(); },
                        absl::Seconds(30)));
}

TEST_F(ReporterTest, TheHighestTermOfAnyControllerIsObeyedAndTold) {
  FakeController deposed, leader;
  leader.Greet(AssignmentOf(5, 1));
  deposed.Greet(AssignmentOf(4, 9));
  const auto first = Report(leader.address());
  ASSERT_TRUE(WaitUntil([&] { return assignments_.version().term == 5; }));
  const auto second = Report(deposed.address());
  ASSERT_TRUE(WaitUntil([&] { return !deposed.BatchesOf(0).empty(); }));
  EXPECT_EQ(deposed.received().at(0).message.hello().term(), 5u);
  EXPECT_EQ(deposed.received().at(0).message.hello().generation(), 1u);
  leader.Send(AssignmentOf(5, 2));
  ASSERT_TRUE(WaitUntil([&] { return assignments_.version().generation == 2; }));
  EXPECT_EQ(assignments_.version().term, 5u);
}

TEST_F(ReporterTest, ABurstIsPassedOn) {
  FakeController controller;
  v1::ControllerMessage burst;
  burst.mutable_burst()->add_targets("a");
  burst.mutable_burst()->add_targets("b");
  controller.Greet(burst);
  const auto reporter = Report(controller.address());
  EXPECT_TRUE(WaitUntil([&] { return bursts() == std::vector<std::string>{"a", "b"}; }));
}

TEST_F(ReporterTest, DeadAndHangingControllersDelayNoOther) {
  TcpPeer hanging([](TcpPeer::Connection& connection, int) { connection.Hang(); });
  FakeController good;
  const auto dead = Report("127.0.0.1:" + std::to_string(FreeTcpPort()));
  const auto silent = Report("127.0.0.1:" + std::to_string(hanging.port()));
  const auto unknown = Report("no-such-host.invalid:7443");
  const auto reporter = Report(good.address());
  ASSERT_TRUE(WaitUntil([&] { return !good.BatchesOf(0).empty(); }));
  for (uint64_t i = 1; i <= 10; ++i) {
    const absl::Time before = absl::Now();
    Add(i, true);
    ASSERT_TRUE(WaitUntil([&] { return good.SequencesOf(0).size() == i; }));
    EXPECT_LT(good.received().back().at - before, absl::Seconds(2))
        << "attempts to connect take 5 s";
  }
}

TEST_F(ReporterTest, EndsAtOnceInEveryState) {
  TcpPeer hanging([](TcpPeer::Connection& connection, int) { connection.Hang(); });
  FakeController good;
  auto connected = Report(good.address());
  auto silent = Report("127.0.0.1:" + std::to_string(hanging.port()));
  auto dead = Report("127.0.0.1:" + std::to_string(FreeTcpPort()));
  ASSERT_TRUE(WaitUntil([&] { return !good.BatchesOf(0).empty() && hanging.connections() > 0; }));
  for (auto* reporter : {&connected, &silent, &dead}) {
    const absl::Time before = absl::Now();
    reporter->reset();
    EXPECT_LT(absl::Now() - before, absl::Seconds(2)) << "attempts to connect take 5 s";
  }
}

}  // namespace
}  // namespace failover::agent
