// What a replica takes from another one, and what it refuses.
#include <atomic>
#include <thread>

#include "tests/component/intake/relay_harness.h"
#include "tests/support/temp_dir.h"
#include "tests/support/test_ca.h"

namespace failover::intake {
namespace {

class RelayedTest : public IntakeTest {
 protected:
  void Begin(bool leading = true) {
    StartIntake(clock_);
    intake_->SetAssignments(TwoGroups(1, leading));
    relay_ = std::make_unique<TestRelay>(intake_->port(), 0xa);
    ASSERT_TRUE(relay_->Begin());
  }
  void Admitted(const std::string& region, int instance) {
    ASSERT_TRUE(relay_->Hello(region, instance));
    ASSERT_TRUE(WaitUntil([&] { return ConnectedAgents() > 0; }));
  }
  bool Delivered(int instance, size_t batches) {
    return WaitUntil([&] { return sink_.Results("a", InstanceId(instance)).size() == batches; });
  }
  std::unique_ptr<TestRelay> relay_;
};

TEST_F(RelayedTest, AgesGrowByTheTimeThatIsSaidAndOpeningComesFirst) {
  Begin();
  sink_.SetFull(true);
  ASSERT_TRUE(relay_->Hello("weu", 1));
  ASSERT_TRUE(relay_->Results("weu", 1, Batch("a/s/p", 1, 1), 3));
  ASSERT_TRUE(WaitUntil([&] { return sink_.turned_away() >= 1; }));
  ASSERT_TRUE(WaitUntil([&] {
    clock_.AdvanceToNextSleeper();
    return sink_.turned_away() >= 2;
  }));
  EXPECT_EQ(Count("refused_mailbox_full"), 0u) << "the results wait for the opening";
  sink_.SetFull(false);
  ASSERT_TRUE(WaitUntil([&] {
    clock_.AdvanceToNextSleeper();
    return sink_.Results("a").size() == 1;
  }));
  EXPECT_EQ(sink_.Streams("a").size(), 1u);
  const SteadyTime completed = sink_.Results("a")[0].samples[0].completed;
  ASSERT_TRUE(relay_->Results("weu", 1, Batch("a/s/p", 2, 1), 5));
  ASSERT_TRUE(Delivered(1, 2));
  EXPECT_EQ(sink_.Results("a")[1].samples[0].completed, clock_.Steady() - absl::Seconds(6));
  EXPECT_LE(completed, clock_.Steady() - absl::Seconds(4));
  EXPECT_EQ(Count("relayed"), 2u);
}

TEST_F(RelayedTest, ReplayIsDeliveredAsAWholeAfterItsEndMarkAndANewHelloBeginsAnew) {
  Begin();
  Admitted("weu", 1);
  v1::ResultBatch part = Batch("a/s/p", 1, 5);
  part.set_replay(true);
  ASSERT_TRUE(relay_->Results("weu", 1, part));
  ASSERT_TRUE(relay_->Hello("weu", 1));  // it has connected again
  part = Batch("a/s/p", 1, 3);
  part.set_replay(true);
  ASSERT_TRUE(relay_->Results("weu", 1, part));
  v1::ResultBatch end;
  end.set_replay(true);
  end.set_replay_end(true);
  ASSERT_TRUE(relay_->Results("weu", 1, end));
  ASSERT_TRUE(Delivered(1, 1));
  EXPECT_TRUE(sink_.Results("a")[0].replay);
  EXPECT_EQ(sink_.Results("a")[0].samples.size(), 3u);
}

TEST_F(RelayedTest, EndOfTheRelayAndGoneCloseItsAgents) {
  Begin();
  Admitted("weu", 1);
  Admitted("weu", 2);
  ASSERT_TRUE(WaitUntil([&] { return sink_.Streams("a").size() == 2; }));
  ASSERT_TRUE(relay_->Gone("weu", 1));
  ASSERT_TRUE(WaitUntil([&] { return ConnectedAgents() == 1; }));
  relay_->Cancel();
  ASSERT_TRUE(WaitUntil([&] { return ConnectedAgents() == 0; }));
  EXPECT_TRUE(WaitUntil([&] { return sink_.Streams("a").size() == 4; }));
}

TEST_F(RelayedTest, UnconfiguredRegionIsRefusedUntilItIsConfiguredWithoutAnEndOfTheRelay) {
  Begin();
  ASSERT_TRUE(relay_->Hello("uks", 1));
  ASSERT_TRUE(relay_->Hello("weu", 2));
  ASSERT_TRUE(relay_->Results("uks", 1, Batch("a/s/p", 1, 1)));
  ASSERT_TRUE(relay_->Results("weu", 2, Batch("a/s/p", 1, 1)));
  ASSERT_TRUE(Delivered(2, 1));
  EXPECT_EQ(Count("refused_region"), 1u);
  EXPECT_TRUE(sink_.Results("a", InstanceId(1)).empty());
  Assignments more = TwoGroups(2);
  more.groups_of_region["uks"] = {"a"};
  intake_->SetAssignments(more);
  ASSERT_TRUE(relay_->Results("uks", 1, Batch("a/s/p", 2, 1)));
  ASSERT_TRUE(Delivered(1, 1));
  ASSERT_TRUE(WaitUntil([&] { return ConnectedAgents() == 2; }));
  intake_->SetAssignments(TwoGroups(3));
  EXPECT_TRUE(WaitUntil([&] { return ConnectedAgents() == 1; })) << "its region is no more";
}

TEST_F(RelayedTest, BatchesBeyondTheBoundsAreRefusedAndTheRelayGoesOn) {
  Begin();
  Admitted("weu", 1);
  ASSERT_TRUE(relay_->Results("weu", 1, Batch("a/s/p", 1, 257)));
  ASSERT_TRUE(relay_->Results("weu", 1, Batch("a/s/p", 1, 1), 601));
  ASSERT_TRUE(relay_->Results("weu", 1, Batch("a/s/p", 1, 1), -1));
  ASSERT_TRUE(relay_->Results("weu", 1, Batch("none", 1, 1)));
  ASSERT_TRUE(relay_->Results("weu", 9, Batch("a/s/p", 1, 1)));  // never said hello
  ASSERT_TRUE(relay_->Results("weu", 1, Batch("a/s/p", 1, 1)));
  ASSERT_TRUE(Delivered(1, 1));
  EXPECT_EQ(Count("refused_message_results"), 1u);
  EXPECT_EQ(Count("refused_age"), 2u);
  EXPECT_EQ(Count("refused_unknown_target"), 1u);
  EXPECT_EQ(Count("refused_message_kind"), 1u);
}

TEST_F(RelayedTest, MalformedHellosOfAgentsAreRefused) {
  Begin();
  v1::RelayMessage other_instance = TestRelay::Of("weu", 1);
  other_instance.mutable_agent()->mutable_hello()->set_probe_region("weu");
  other_instance.mutable_agent()->mutable_hello()->set_instance_id(InstanceId(2));
  ASSERT_TRUE(relay_->Send(other_instance));
  v1::RelayMessage bad_name = TestRelay::Of("weu", 1);
  bad_name.mutable_agent()->set_name("no/name");
  bad_name.mutable_agent()->mutable_hello()->set_probe_region("weu");
  bad_name.mutable_agent()->mutable_hello()->set_instance_id(InstanceId(1));
  ASSERT_TRUE(relay_->Send(bad_name));
  ASSERT_TRUE(WaitUntil([&] { return Count("refused_hello") == 2; }));
  EXPECT_EQ(ConnectedAgents(), 0);
}

TEST_F(RelayedTest, AgentThatExceedsItsRateLosesBatchesAndNoOtherDoes) {
  Begin();
  Admitted("weu", 1);
  ASSERT_TRUE(relay_->Hello("weu", 2));
  for (int i = 0; i < 30; ++i)
    ASSERT_TRUE(relay_->Results("weu", 1, Batch("a/s/p", 1 + 250 * i, 250)));
  ASSERT_TRUE(relay_->Results("weu", 2, Batch("a/s/p", 1, 1)));
  ASSERT_TRUE(Delivered(2, 1));
  EXPECT_GT(Count("refused_rate"), 0u);
  EXPECT_LE(sink_.Results("a", InstanceId(1)).size(), 17u) << "twice 2,000 results at once";
  clock_.Advance(absl::Minutes(1));
  const size_t before = sink_.Results("a", InstanceId(1)).size();
  ASSERT_TRUE(relay_->Results("weu", 1, Batch("a/s/p", 9000, 1)));
  EXPECT_TRUE(Delivered(1, before + 1));
}

TEST_F(RelayedTest, FifthInstanceOfAnIdentityIsRefusedUntilOneLeaves) {
  Begin();
  const auto hello = [this](int instance) {
    v1::RelayMessage message = TestRelay::Of("weu", instance);
    message.mutable_agent()->set_name("one");
    message.mutable_agent()->mutable_hello()->set_probe_region("weu");
    message.mutable_agent()->mutable_hello()->set_instance_id(InstanceId(instance));
    return relay_->Send(message);
  };
  for (int i = 1; i <= 5; ++i) ASSERT_TRUE(hello(i));
  ASSERT_TRUE(WaitUntil([&] { return Count("refused_instances") == 1; }));
  EXPECT_EQ(ConnectedAgents(), 4);
  v1::RelayMessage gone = TestRelay::Of("weu", 1);
  gone.mutable_agent()->set_name("one");
  gone.mutable_agent()->set_gone(true);
  ASSERT_TRUE(relay_->Send(gone));
  ASSERT_TRUE(WaitUntil([&] { return ConnectedAgents() == 3; }));
  clock_.Advance(absl::Seconds(11));
  v1::RelayMessage results = TestRelay::Of("weu", 5);
  results.mutable_agent()->set_name("one");
  *results.mutable_agent()->mutable_results() = Batch("a/s/p", 1, 1);
  ASSERT_TRUE(relay_->Send(results));
  EXPECT_TRUE(Delivered(5, 1)) << "asked again after a while";
}

TEST_F(RelayedTest, NewerRelayOfTheSameReplicaReplacesTheOlderOneWithoutAClose) {
  Begin();
  Admitted("weu", 1);
  TestRelay again(intake_->port(), 0xa);
  ASSERT_TRUE(again.Begin());
  ASSERT_TRUE(again.Hello("weu", 1));
  const grpc::Status status = relay_->Finish();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::ABORTED) << status.error_message();
  ASSERT_TRUE(again.Results("weu", 1, Batch("a/s/p", 1, 1)));
  EXPECT_TRUE(Delivered(1, 1));
  EXPECT_EQ(ConnectedAgents(), 1);
}

TEST_F(RelayedTest, RelaysThatBreakTheRulesAreEndedWithTheReason) {
  Begin();
  TestRelay early(intake_->port(), 1);
  early.Hello("weu", 1);
  EXPECT_EQ(early.Finish().error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  TestRelay twice(intake_->port(), 2);
  ASSERT_TRUE(twice.Begin());
  v1::RelayMessage hello;
  hello.mutable_hello()->set_instance_id(InstanceId(2));
  twice.Send(hello);
  EXPECT_EQ(twice.Finish().error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  TestRelay nameless(intake_->port(), 3);
  hello.mutable_hello()->set_instance_id("x");
  nameless.Send(hello);
  EXPECT_EQ(nameless.Finish().error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  TestRelay large(intake_->port(), 4);
  ASSERT_TRUE(large.Begin());
  v1::ResultBatch batch = Batch("a/s/p", 1, 1);
  batch.mutable_results(0)->set_error(std::string(90'000, 'x'));
  large.Results("weu", 1, batch);
  EXPECT_EQ(large.Finish().error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  TestRelay silent(intake_->port(), 5);
  std::atomic<bool> ended = false;
  grpc::Status status;
  std::jthread reader([&] {
    status = silent.Finish();
    ended = true;
  });
  ASSERT_TRUE(WaitUntil([&] {
    clock_.Advance(absl::Seconds(11));
    return ended.load();
  }));
  reader.join();
  EXPECT_EQ(status.error_message(), "no hello within 10s");
}

TEST_F(RelayedTest, AtMostSixteenRelaysAreTaken) {
  Begin();
  std::vector<std::unique_ptr<TestRelay>> relays;
  for (int i = 1; i < 16; ++i) {
    relays.push_back(std::make_unique<TestRelay>(intake_->port(), 100 + i));
    ASSERT_TRUE(relays.back()->Begin());
  }
  TestRelay more(intake_->port(), 200);
  more.Begin();
  EXPECT_EQ(more.Finish().error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_EQ(Count("refused_relays"), 1u);
}

TEST_F(RelayedTest, ReplicaThatStartsRefusesUntilItHasAConfiguration) {
  StartIntake();
  TestRelay relay(intake_->port(), 1);
  relay.Begin();
  EXPECT_EQ(relay.Finish().error_code(), grpc::StatusCode::UNAVAILABLE);
}

TEST_F(RelayedTest, LeaderSendsEachRegionsAssignmentAtTheBeginningAndWhenItChanges) {
  Begin();
  v1::RelayReply reply;
  for (const std::string region : {"neu", "weu"}) {
    ASSERT_TRUE(relay_->Read(reply));
    EXPECT_EQ(reply.probe_region(), region);
    EXPECT_EQ(reply.message().assignment().generation(), 1u);
  }
  Assignments one = TwoGroups(1);
  one.by_probe_region["weu"].set_generation(2);
  intake_->SetAssignments(one);
  ASSERT_TRUE(relay_->Read(reply));
  EXPECT_EQ(reply.probe_region(), "weu") << "the other one has not changed";
  EXPECT_EQ(reply.message().assignment().generation(), 2u);
}

TEST_F(RelayedTest, BurstIsNotAskedOfARelayWhoseAgentsHaveStreamsOfTheirOwn) {
  Begin();
  v1::RelayReply reply;
  ASSERT_TRUE(relay_->Read(reply) && relay_->Read(reply));
  auto direct = Connected("weu", 1);
  ASSERT_TRUE(relay_->Hello("weu", 1));
  ASSERT_TRUE(relay_->Hello("neu", 2));
  ASSERT_TRUE(WaitUntil([&] { return ConnectedAgents() == 2; }));
  intake_->Burst("weu", {"a/s/p"});
  intake_->Burst("neu", {"a/s/p"});
  ASSERT_TRUE(relay_->Read(reply));
  EXPECT_EQ(reply.probe_region(), "neu");
  EXPECT_TRUE(reply.message().has_burst());
}

class RelayMtlsTest : public IntakeTest {
 protected:
  ~RelayMtlsTest() override { intake_.reset(); }  // before the identity it uses
  void SetUp() override {
    tls_ = Identity("spiffe://test/controller/c1");
    StartIntake(clock_, tls_.get());
    intake_->SetAssignments(TwoGroups());
  }
  std::unique_ptr<TlsIdentity> Identity(const std::string& uri) {
    auto identity = TlsIdentity::Load(
        WriteTlsFiles(directory_, absl::StrCat("id", ++files_), ca_, ca_.Issue(uri)));
    EXPECT_TRUE(identity.ok()) << identity.status();
    return identity.ok() ? *std::move(identity) : nullptr;
  }
  TempDir directory_;
  TestCa ca_;
  int files_ = 0;
  std::unique_ptr<TlsIdentity> tls_;
};

TEST_F(RelayMtlsTest, OnlyControllersOfTheTrustDomainMayRelay) {
  for (const std::string uri : {"spiffe://test/agent/weu/one", "spiffe://test/operator/ann",
                                "spiffe://other/controller/c1"}) {
    const auto identity = Identity(uri);
    TestRelay relay(intake_->port(), 1,
                    identity->ChannelCredentials("spiffe://test/controller/c1"));
    relay.Begin();
    const grpc::Status status = relay.Finish();
    EXPECT_EQ(status.error_code(), grpc::StatusCode::PERMISSION_DENIED) << uri;
    EXPECT_NE(status.error_message().find(uri), std::string::npos) << status.error_message();
    EXPECT_NE(status.error_message().find("spiffe://test/controller/"), std::string::npos);
  }
  EXPECT_EQ(Count("refused_identity"), 3u);
  TestRelay anonymous(intake_->port(), 1);
  EXPECT_FALSE(anonymous.Begin());
}

TEST_F(RelayMtlsTest, EndOfTheReplicasCertificateEndsTheRelay) {
  const auto identity = Identity("spiffe://test/controller/c2");
  TestRelay relay(intake_->port(), 1, identity->ChannelCredentials("spiffe://test/controller/c1"));
  ASSERT_TRUE(relay.Begin());
  clock_.Advance(absl::Hours(25));
  EXPECT_EQ(relay.Finish().error_code(), grpc::StatusCode::UNAUTHENTICATED);
  EXPECT_EQ(Count("refused_certificate_expired"), 1u);
}

TEST_F(RelayMtlsTest, ReplicasRelayOverMutualTlsToAddressesWithoutNames) {
  Addresses addresses;
  const auto one = Identity("spiffe://test/controller/c2");
  const auto agent_identity = Identity("spiffe://test/agent/weu/one");
  const auto impostor = Identity("spiffe://test/operator/mallory");
  {
    Replica a(addresses, one.get()), b(addresses, tls_.get());
    Replica false_one(addresses, impostor.get());
    for (Replica* replica : {&a, &b, &false_one}) {
      replica->intake->SetAssignments(TwoGroups(1, replica == &b));
      addresses.Add(replica->address);
    }
    TestAgent agent(a.intake->port(), "weu", InstanceId(1),
                    agent_identity->ChannelCredentials("spiffe://test/controller/*"));
    ASSERT_TRUE(agent.SayHello());
    v1::ControllerMessage message;
    ASSERT_TRUE(agent.Read(message));
    EXPECT_TRUE(message.has_assignment()) << "of b, by its relay from a";
    ASSERT_TRUE(agent.Send(Batch("a/s/p", 1, 1)));
    ASSERT_TRUE(WaitUntil([&] { return b.Sequences(1).size() == 1; }));
    EXPECT_EQ(b.sink.Results("a")[0].agent.name, "one");
    EXPECT_TRUE(false_one.Sequences(1).empty()) << "no controller, so nothing is told to it";
  }
}

}  // namespace
}  // namespace failover::intake
