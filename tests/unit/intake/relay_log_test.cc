#include "controller/intake/relay_log.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "controller/intake/replicas.h"
#include "tests/support/fake_clock.h"

namespace failover::intake {
namespace {

const core::AgentId kOne{"weu", "one", "0000000000000001"};
const core::AgentId kTwo{"neu", "two", "0000000000000002"};

v1::ResultBatch BatchOf(uint64_t sequence) {
  v1::ResultBatch batch;
  batch.add_results()->set_sequence(sequence);
  return batch;
}

class RelayLogTest : public testing::Test {
 protected:
  void Hello(RelayLog& log, const core::AgentId& agent) {
    v1::Hello hello;
    hello.set_instance_id(agent.instance);
    log.Hello(agent, hello);
  }
  FakeClock clock_;
  RelayLog log_{clock_, {}, true};
};

TEST_F(RelayLogTest, ReadsGoOnInTheOrderOfReceipt) {
  uint64_t position = log_.Begin().next;
  Hello(log_, kOne);
  log_.Results(kOne, BatchOf(1));
  log_.Gone(kOne);
  const auto items = log_.Read(position);
  ASSERT_TRUE(items.has_value());
  ASSERT_EQ(items->size(), 3u);
  EXPECT_TRUE((*items)[0].message->has_hello());
  EXPECT_EQ((*items)[1].message->results().results(0).sequence(), 1u);
  EXPECT_EQ((*items)[1].message->instance_id(), kOne.instance);
  EXPECT_TRUE((*items)[2].message->gone());
  EXPECT_TRUE(log_.Read(position)->empty());
}

TEST_F(RelayLogTest, BeginningTellsOfConnectedAgentsOnlyAndReplaysWhatIsKeptOfThem) {
  Hello(log_, kOne);
  Hello(log_, kTwo);
  log_.Results(kOne, BatchOf(1));
  v1::ResultBatch end_of_its_own = BatchOf(2);
  end_of_its_own.set_replay_end(true);
  log_.Results(kOne, end_of_its_own);
  log_.Results(kTwo, BatchOf(1));
  log_.Gone(kTwo);
  const RelayLog::Beginning beginning = log_.Begin();
  ASSERT_EQ(beginning.items.size(), 4u);
  for (const RelayItem& item : beginning.items)
    EXPECT_EQ(item.message->instance_id(), kOne.instance);
  EXPECT_TRUE(beginning.items[0].message->has_hello());
  for (const size_t i : {1u, 2u}) {
    EXPECT_TRUE(beginning.items[i].message->results().replay());
    EXPECT_FALSE(beginning.items[i].message->results().replay_end());
    EXPECT_EQ(beginning.items[i].message->results().results(0).sequence(), i);
  }
  EXPECT_TRUE(beginning.items[3].message->results().replay_end());
  EXPECT_EQ(beginning.items[3].message->results().results_size(), 0);
  uint64_t position = beginning.next;
  EXPECT_TRUE(log_.Read(position)->empty()) << "all of it has been said";
}

TEST_F(RelayLogTest, AgentOfWhichNothingIsKeptHasNoReplay) {
  Hello(log_, kOne);
  EXPECT_EQ(log_.Begin().items.size(), 1u);
}

TEST_F(RelayLogTest, OldItemsGoAndARelayThatHasNotReadThemHasLostItsPlace) {
  uint64_t slow = log_.Begin().next, quick = slow;
  Hello(log_, kOne);
  log_.Results(kOne, BatchOf(1));
  ASSERT_EQ(log_.Read(quick)->size(), 2u);
  clock_.Advance(absl::Seconds(121));
  log_.Results(kOne, BatchOf(2));
  EXPECT_FALSE(log_.Read(slow).has_value());
  ASSERT_TRUE(log_.Read(quick).has_value());
  const RelayLog::Beginning beginning = log_.Begin();
  ASSERT_EQ(beginning.items.size(), 3u) << "the hello of a connected agent is never lost";
  EXPECT_EQ(beginning.items[1].message->results().results(0).sequence(), 2u);
}

TEST_F(RelayLogTest, ItIsBoundedByBytes) {
  RelayLog log(clock_, {absl::Minutes(2), 100'000}, true);
  Hello(log, kOne);
  v1::ResultBatch large = BatchOf(1);
  large.mutable_results(0)->set_error(std::string(30'000, 'x'));
  for (int i = 0; i < 10; ++i) log.Results(kOne, large);
  EXPECT_EQ(log.Begin().items.size(), 1u + 3u + 1u) << "hello, what has room, end mark";
}

TEST_F(RelayLogTest, AgesGrowByTheTimeSpentInTheLog) {
  Hello(log_, kOne);
  log_.Results(kOne, BatchOf(1));
  clock_.Advance(absl::Milliseconds(2500));
  uint64_t position = 0;
  const auto items = log_.Read(position);
  const v1::RelayMessage hello = ToMessage(items->at(0), clock_.Steady());
  EXPECT_FALSE(hello.agent().has_held());
  const v1::RelayMessage results = ToMessage(items->at(1), clock_.Steady());
  EXPECT_EQ(results.agent().held().seconds(), 2);
  EXPECT_EQ(results.agent().held().nanos(), 500'000'000);
}

TEST_F(RelayLogTest, WithoutOtherReplicasNothingIsKept) {
  RelayLog off(clock_, {}, false);
  Hello(off, kOne);
  off.Results(kOne, BatchOf(1));
  EXPECT_TRUE(off.Begin().items.empty());
  EXPECT_EQ(off.Begin().next, 0u);
}

TEST_F(RelayLogTest, WaitEndsWithSomethingToReadOrWhenCancelled) {
  std::jthread writer([this] { Hello(log_, kOne); });
  EXPECT_TRUE(log_.Wait(0, [] { return false; }));
  std::atomic<bool> cancelled = false;
  std::jthread canceller([this, &cancelled] {
    cancelled = true;
    log_.WakeAll();
  });
  EXPECT_FALSE(log_.Wait(1, [&cancelled] { return cancelled.load(); }));
}

TEST(ReplicaAddresses, AreOfOneFamilyEachOnceAndAtMostSixteen) {
  EXPECT_EQ(ChooseReplicas({"10.0.0.2:1", "[fd00::2]:1", "10.0.0.1:1", "10.0.0.2:1"}),
            (std::vector<std::string>{"10.0.0.1:1", "10.0.0.2:1"}));
  EXPECT_EQ(ChooseReplicas({"[fd00::2]:1", "[fd00::1]:1"}),
            (std::vector<std::string>{"[fd00::1]:1", "[fd00::2]:1"}));
  std::vector<std::string> many;
  for (int i = 0; i < 40; ++i) many.push_back("10.0.0." + std::to_string(i) + ":1");
  EXPECT_EQ(ChooseReplicas(many).size(), 16u);
  EXPECT_TRUE(ChooseReplicas({}).empty());
}

}  // namespace
}  // namespace failover::intake
