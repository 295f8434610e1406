// Several replicas of a controller in one process: who hears of which agent, and who assigns.
#include <algorithm>

#include "common/log.h"
#include "tests/component/intake/relay_harness.h"

namespace failover::intake {
namespace {

Assignments OfTerm(uint64_t term, uint64_t generation) {
  Assignments assignments = TwoGroups(generation);
  assignments.term = term;
  for (auto& [region, assignment] : assignments.by_probe_region) assignment.set_term(term);
  return assignments;
}

class RelayTest : public testing::Test {
 protected:
  // Running, and known to all.
  std::unique_ptr<Replica> Start(Assignments assignments) {
    auto replica = std::make_unique<Replica>(addresses_);
    replica->intake->SetAssignments(std::move(assignments));
    addresses_.Add(replica->address);
    return replica;
  }
  std::unique_ptr<Replica> Follower() { return Start(TwoGroups(1, false)); }
  std::unique_ptr<Replica> Leader() { return Start(TwoGroups(1, true)); }
  static std::unique_ptr<TestAgent> AgentOn(const Replica& replica, const std::string& region,
                                            int instance) {
    auto agent = std::make_unique<TestAgent>(replica.intake->port(), region, InstanceId(instance));
    EXPECT_TRUE(agent->SayHello());
    return agent;
  }
  static bool Hears(const Replica& replica, int instance, std::vector<uint64_t> sequences) {
    return WaitUntil([&] { return replica.Sequences(instance) == sequences; });
  }

  Addresses addresses_;  // outlives the replicas
};

TEST_F(RelayTest, ResultsReachEveryReplicaOnceAndTheLeaderAssignsThroughOthers) {
  auto a = Follower(), b = Leader(), c = Follower();
  auto agent = AgentOn(*a, "neu", 1);
  v1::ControllerMessage message;
  ASSERT_TRUE(agent->Read(message));
  EXPECT_EQ(message.assignment().term(), 3u);
  EXPECT_EQ(message.assignment().targets_size(), 1);
  for (const auto* replica : {&a, &b, &c})
    ASSERT_TRUE(WaitUntil([&] { return (*replica)->IsConnected(1); }));
  ASSERT_TRUE(agent->Send(Batch("a/s/p", 1, 2)));
  ASSERT_TRUE(agent->Send(Batch("a/s/p", 3, 1)));
  const std::vector<uint64_t> all = {1, 2, 3};
  for (const auto* replica : {&a, &b, &c}) EXPECT_TRUE(Hears(**replica, 1, all));
  // What came by a relay is not relayed again: a's own copies would have come back by now.
  ASSERT_TRUE(agent->Send(Batch("a/s/p", 4, 1)));
  for (const auto* replica : {&a, &b, &c}) EXPECT_TRUE(Hears(**replica, 1, {1, 2, 3, 4}));
  EXPECT_EQ(a->Count("relayed"), 0u);
  EXPECT_EQ(b->Count("relayed"), 4u);
  const std::vector<std::string> opened = {"open neu/" + InstanceId(1)};
  EXPECT_EQ(c->sink.Streams("a"), opened);
}

TEST_F(RelayTest, RelayedAgentIsShownWithTheReplicaItComesBy) {
  auto a = Follower(), b = Leader();
  auto agent = AgentOn(*a, "neu", 1);
  ASSERT_TRUE(WaitUntil([&] { return b->IsConnected(1); }));
  ASSERT_TRUE(WaitUntil([&] { return b->intake->Agents().at(0).generation() == 1; }))
      << "assigned by this replica, though through another";
  ASSERT_TRUE(agent->Send(Batch("a/s/p", 1, 1)));
  ASSERT_TRUE(WaitUntil([&] { return b->intake->Agents().at(0).results() == 1; }));
  const v1::AgentInfo info = b->intake->Agents().at(0);
  EXPECT_EQ(info.probe_region(), "neu");
  EXPECT_EQ(info.version(), "0.1.0");
  EXPECT_EQ(info.peer().find("by replica ipv4:127.0.0.1:"), 0u) << info.peer();
  EXPECT_NE(a->intake->Agents().at(0).peer().find("ipv4:"), std::string::npos);
}

TEST_F(RelayTest, TimeSpentInAReplicaIsAddedToTheAges) {
  FakeClock clock(absl::Now());
  Replica a(addresses_, nullptr, clock), b(addresses_, nullptr, clock);
  a.intake->SetAssignments(TwoGroups(1, true));
  b.intake->SetAssignments(TwoGroups(1, false));
  auto agent = AgentOn(a, "neu", 1);
  const SteadyTime received = clock.Steady();
  ASSERT_TRUE(agent->Send(Batch("a/s/p", 1, 1)));
  ASSERT_TRUE(Hears(a, 1, {1}));
  clock.Advance(absl::Seconds(7));
  addresses_.Add(b.address);
  ASSERT_TRUE(WaitUntil([&] {
    clock.Advance(absl::Milliseconds(20));  // both ask for the addresses again
    return b.Sequences(1) == std::vector<uint64_t>{1};
  }));
  const core::ProbeResults results = b.sink.Results("a").at(0);
  EXPECT_TRUE(results.replay) << "it was said before the relay began";
  // The clock went on while the message was on its way, which no replica knows; far less than 7 s.
  EXPECT_GE(results.samples[0].completed, received - absl::Seconds(1));
  EXPECT_LT(results.samples[0].completed, received + absl::Seconds(4));
}

TEST_F(RelayTest, AgentIsGoneWhenTheReplicaItWasConnectedToDies) {
  auto a = Follower(), b = Leader();
  auto agent = AgentOn(*a, "neu", 1);
  ASSERT_TRUE(WaitUntil([&] { return b->sink.Streams("a").size() == 1; }));
  addresses_.Remove(a->address);
  a->intake.reset();
  ASSERT_TRUE(WaitUntil([&] { return !b->IsConnected(1); }));
  ASSERT_TRUE(WaitUntil([&] { return b->sink.Streams("a").size() == 2; }));
  EXPECT_EQ(b->sink.Streams("a")[1], "closed neu/" + InstanceId(1));
}

TEST_F(RelayTest, AgentThatLeavesIsGoneEverywhere) {
  auto a = Follower(), b = Leader();
  auto agent = AgentOn(*a, "neu", 1);
  ASSERT_TRUE(WaitUntil([&] { return b->sink.Streams("a").size() == 1; }));
  agent->Cancel();
  EXPECT_TRUE(WaitUntil([&] { return b->sink.Streams("a").size() == 2; }));
  EXPECT_FALSE(b->IsConnected(1));
}

TEST_F(RelayTest, AgentIsConnectedAsLongAsAnyPathIsOpen) {
  auto a = Follower(), b = Leader();
  auto direct = AgentOn(*b, "neu", 1);
  auto relayed = AgentOn(*a, "neu", 1);
  ASSERT_TRUE(direct->Send(Batch("a/s/p", 1, 1)));
  ASSERT_TRUE(relayed->Send(Batch("a/s/p", 1, 1)));
  ASSERT_TRUE(WaitUntil([&] { return b->Sequences(1).size() == 2; }))
      << "both come; the core tells them apart by their numbers";
  direct->Cancel();
  ASSERT_TRUE(WaitUntil([&] { return b->intake->Agents().at(0).peer().find("by replica") == 0; }));
  EXPECT_TRUE(b->IsConnected(1));
  relayed->Cancel();
  ASSERT_TRUE(WaitUntil([&] { return !b->IsConnected(1); }));
  ASSERT_TRUE(
      WaitUntil([&] { return b->sink.Streams("a").back() == "closed neu/" + InstanceId(1); }));
  const std::vector<std::string> events = b->sink.Streams("a");
  EXPECT_EQ(std::count(events.begin(), events.end(), "closed neu/" + InstanceId(1)), 1);
}

TEST_F(RelayTest, ReplicaThatFindsItselfDoesNotComeBack) {
  const auto warnings = [] { return LogCounts()[static_cast<size_t>(LogLevel::kWarning)]; };
  auto a = Leader();
  // The first question may have come before there was an address to answer, which is a warning.
  ASSERT_TRUE(WaitUntil([&] { return addresses_.asked() >= 3; }));
  const uint64_t before = warnings();
  auto agent = AgentOn(*a, "neu", 1);
  ASSERT_TRUE(agent->Send(Batch("a/s/p", 1, 1)));
  ASSERT_TRUE(Hears(*a, 1, {1}));
  const int asked = addresses_.asked();
  ASSERT_TRUE(WaitUntil([&] { return addresses_.asked() >= asked + 50; })) << "about a second";
  EXPECT_EQ(a->Count("relayed"), 0u);
  EXPECT_EQ(a->Sequences(1).size(), 1u);
  EXPECT_EQ(warnings(), before) << "an end of a relay is a warning";
}

TEST_F(RelayTest, AgentIsNotSentWhatItHasNorWhatIsOlder) {
  auto a = Follower(), b = Start(OfTerm(5, 2));
  auto first = AgentOn(*a, "neu", 1);
  v1::ControllerMessage message;
  ASSERT_TRUE(first->Read(message)) << "so a has it to forward";
  TestAgent agent(a->intake->port(), "neu", InstanceId(2));
  agent.hello().set_term(5);
  agent.hello().set_generation(2);
  ASSERT_TRUE(agent.SayHello());
  ASSERT_TRUE(WaitUntil([&] { return b->IsConnected(2); }));
  b->intake->SetAssignments(OfTerm(5, 3));
  ASSERT_TRUE(agent.Read(message));
  EXPECT_EQ(message.assignment().generation(), 3u) << "5/2 was sent though the agent had it";
  ASSERT_TRUE(first->Read(message));
  EXPECT_EQ(message.assignment().generation(), 3u);
  auto late = Start(OfTerm(4, 9));  // believes that it leads
  a->intake->SetAssignments(TwoGroups(2, false));
  auto witness = AgentOn(*late, "neu", 3);
  ASSERT_TRUE(WaitUntil([&] { return a->IsConnected(3); })) << "relays run in both directions";
  b->intake->SetAssignments(OfTerm(5, 4));
  ASSERT_TRUE(first->Read(message));
  EXPECT_EQ(message.assignment().term(), 5u) << "what a deposed leader says is older";
}

TEST_F(RelayTest, NextLeaderAssignsThroughTheSameRelays) {
  auto a = Follower(), b = Leader(), c = Follower();
  auto agent = AgentOn(*a, "neu", 1);
  v1::ControllerMessage message;
  ASSERT_TRUE(agent->Read(message));
  ASSERT_TRUE(WaitUntil([&] { return c->IsConnected(1); }));
  b->intake->SetAssignments(TwoGroups(2, false));
  c->intake->SetAssignments(OfTerm(4, 1));
  ASSERT_TRUE(agent->Read(message));
  EXPECT_EQ(message.assignment().term(), 4u);
}

TEST_F(RelayTest, FollowersOwnAssignmentsAreNeverSent) {
  auto a = Follower(), b = Follower();
  auto agent = AgentOn(*a, "neu", 1);
  ASSERT_TRUE(WaitUntil([&] { return b->IsConnected(1); }));
  b->intake->Burst("neu", {"a/s/p"});
  b->intake->SetAssignments(TwoGroups(7, false));
  b->intake->SetAssignments(TwoGroups(8, true));
  v1::ControllerMessage message;
  ASSERT_TRUE(agent->Read(message));
  EXPECT_EQ(message.assignment().generation(), 8u) << "nothing was sent before it led";
}

TEST_F(RelayTest, BurstReachesAgentsOfOtherReplicasInItsRegionOnly) {
  auto a = Follower(), b = Leader();
  auto neu = AgentOn(*a, "neu", 1), weu = AgentOn(*a, "weu", 2);
  v1::ControllerMessage message;
  ASSERT_TRUE(neu->Read(message));
  ASSERT_TRUE(weu->Read(message));
  ASSERT_TRUE(WaitUntil([&] { return b->IsConnected(1) && b->IsConnected(2); }));
  b->intake->Burst("weu", {"a/s/p", "b/s/p"});
  ASSERT_TRUE(weu->Read(message));
  EXPECT_EQ(message.burst().targets_size(), 2);
  b->intake->SetAssignments(TwoGroups(2));
  ASSERT_TRUE(neu->Read(message));
  EXPECT_TRUE(message.has_assignment()) << "the other region was asked too";
}

TEST_F(RelayTest, FullMailboxOfOneReplicaLosesNothingInTheEnd) {
  auto a = Leader(), b = Follower();
  auto agent = AgentOn(*a, "neu", 1);
  ASSERT_TRUE(agent->Send(Batch("a/s/p", 1, 1)));
  ASSERT_TRUE(Hears(*b, 1, {1}));
  b->sink.SetFull(true);
  ASSERT_TRUE(agent->Send(Batch("a/s/p", 2, 1)));
  ASSERT_TRUE(WaitUntil([&] { return b->Count("refused_mailbox_full") > 0; }));
  ASSERT_TRUE(agent->Send(Batch("a/s/p", 3, 1)));
  ASSERT_TRUE(Hears(*a, 1, {1, 2, 3})) << "the agent's own replica is not held up";
  b->sink.SetFull(false);
  EXPECT_TRUE(Hears(*b, 1, {1, 1, 2, 3})) << "the relay begins anew, with a replay";
  EXPECT_TRUE(b->sink.Results("a").back().replay);
  ASSERT_TRUE(agent->Send(Batch("a/s/p", 4, 1)));
  EXPECT_TRUE(Hears(*b, 1, {1, 1, 2, 3, 4}));
  EXPECT_FALSE(b->sink.Results("a").back().replay);
}

TEST_F(RelayTest, RelaysFollowTheAddressesAndStayWhileTheNameIsNotAnswered) {
  auto a = Leader(), b = Follower();
  auto agent = AgentOn(*a, "neu", 1);
  ASSERT_TRUE(WaitUntil([&] { return b->IsConnected(1); }));
  addresses_.Fail();
  const int asked = addresses_.asked();
  ASSERT_TRUE(WaitUntil([&] { return addresses_.asked() >= asked + 10; }));
  EXPECT_TRUE(b->IsConnected(1));
  addresses_.Set({a->address});
  ASSERT_TRUE(WaitUntil([&] { return !b->IsConnected(1); }));
  addresses_.Add(b->address);
  EXPECT_TRUE(WaitUntil([&] { return b->IsConnected(1); }));
}

TEST_F(RelayTest, ReplicaThatDoesNotReadHoldsUpNobody) {
  TestReceiver hanging(false);
  auto a = Leader(), b = Follower();
  addresses_.Add(hanging.address());
  ASSERT_TRUE(WaitUntil([&] { return hanging.relays() == 2; }));
  auto agent = AgentOn(*a, "neu", 1);
  v1::ControllerMessage message;
  ASSERT_TRUE(agent->Read(message));
  // Far more than gRPC buffers for a peer that does not read.
  std::vector<uint64_t> all;
  for (uint64_t i = 0; i < 8; ++i) {
    v1::ResultBatch batch = Batch("a/s/p", 1 + 100 * i, 100);
    for (v1::ProbeResult& result : *batch.mutable_results())
      result.set_error(std::string(200, 'x'));
    for (int n = 0; n < 100; ++n) all.push_back(all.size() + 1);
    ASSERT_TRUE(agent->Send(batch));
  }
  EXPECT_TRUE(Hears(*a, 1, all));
  EXPECT_TRUE(Hears(*b, 1, all));
  addresses_.Remove(hanging.address());
  const absl::Time before = absl::Now();
  a->intake.reset();
  EXPECT_LT(absl::Now() - before, absl::Seconds(5)) << "an end does not wait for it";
}

TEST_F(RelayTest, RelayThatEndedBeginsAnewWithHelloAndReplay) {
  TestReceiver receiver;
  auto a = Leader();
  addresses_.Add(receiver.address());
  auto agent = AgentOn(*a, "neu", 1);
  auto leaves = AgentOn(*a, "neu", 2);
  ASSERT_TRUE(agent->Send(Batch("a/s/p", 1, 1)));
  ASSERT_TRUE(leaves->Send(Batch("a/s/p", 1, 1)));
  ASSERT_TRUE(WaitUntil([&] { return receiver.Of(0).size() >= 4; }));
  leaves->Cancel();
  ASSERT_TRUE(WaitUntil([&] { return receiver.Of(0).back().gone(); }));
  receiver.End();
  ASSERT_TRUE(WaitUntil([&] { return receiver.relays() == 2; }));
  ASSERT_TRUE(agent->Send(Batch("a/s/p", 2, 1)));
  const auto ended = [&] {
    const auto messages = receiver.Of(1);
    return messages.size() >= 3 && messages.back().has_results();
  };
  ASSERT_TRUE(WaitUntil(ended));
  std::vector<v1::RelayedAgent> messages = receiver.Of(1);
  ASSERT_TRUE(messages[0].has_hello());
  std::vector<uint64_t> replayed;
  bool end = false;
  for (const v1::RelayedAgent& message : messages) {
    EXPECT_EQ(message.instance_id(), InstanceId(1)) << "the other one has gone";
    for (const v1::ProbeResult& result : message.results().results())
      replayed.push_back(result.sequence());
    end |= message.results().replay_end();
    EXPECT_TRUE(end || !message.has_results() || message.results().replay());
  }
  EXPECT_TRUE(end);
  EXPECT_EQ(replayed.at(0), 1u);
}

TEST(RelayAddress, IsLookedUpInTheSystem) {
  TestReceiver receiver;
  Sink sink;
  IntakeOptions options;
  options.address = "127.0.0.1:0";
  options.clock = &RealClock();
  options.sink = [&sink](AgentInput input) { return sink.Take(std::move(input)); };
  options.replicas_address = receiver.address();
  const auto intake = Intake::Start(std::move(options));
  ASSERT_TRUE(intake.ok()) << intake.status();
  EXPECT_TRUE(WaitUntil([&] { return receiver.relays() == 1; }));
}

TEST(RelayAddress, ThatIsNoneOrNotLoopbackWithoutTlsIsRefusedByName) {
  for (const std::string address : {"replicas", "replicas:0", "a:b:1", "replicas.example:7443"}) {
    IntakeOptions options;
    options.address = "127.0.0.1:0";
    options.clock = &RealClock();
    options.replicas_address = address;
    const auto intake = Intake::Start(std::move(options));
    ASSERT_FALSE(intake.ok()) << address;
    EXPECT_NE(intake.status().message().find(address), std::string::npos) << intake.status();
  }
}

}  // namespace
}  // namespace failover::intake
