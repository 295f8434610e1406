// One stream to each address of a name, as the addresses come and go.
#include "agent/replicas.h"

#include <gtest/gtest.h>
#include <prometheus/collectable.h>
#include <prometheus/metric_family.h>

#include <cstdlib>
#include <map>

#include "tests/component/agent/fake_controller.h"
#include "tests/component/agent/loop_fixture.h"
#include "tests/gateway_stub/gateway.h"
#include "tests/gateway_stub/name_server.h"
#include "tests/support/wait_until.h"

namespace failover::agent {
namespace {

class ReplicasTest : public testing::Test {
 protected:
  std::unique_ptr<Replicas> Follow(std::vector<std::string> names,
                                   absl::Duration interval = absl::Milliseconds(50)) {
    Replicas::Options options;
    options.names = std::move(names);
    options.resolver.servers = {dns_.address()};
    options.interval = interval;
    options.clock = &RealClock();
    options.metrics = &metrics_;
    options.connect = [this](const std::string& address, std::function<void()> ended) {
      Reporter::Options reporter;
      reporter.controller = address;
      reporter.credentials = grpc::InsecureChannelCredentials();
      reporter.hello.set_probe_region("uksouth");
      reporter.hello.set_instance_id("0123456789abcdef");
      reporter.clock = &RealClock();
      reporter.results = &results_;
      reporter.assignments = &assignments_;
      reporter.metrics = &metrics_;
      reporter.burst = [](std::vector<std::string>) {};
      reporter.ended = std::move(ended);
      return Reporter::Start(std::move(reporter));
    };
    auto replicas = Replicas::Start(std::move(options));
    EXPECT_TRUE(replicas.ok()) << replicas.status();
    return replicas.ok() ? *std::move(replicas) : nullptr;
  }
  std::string NameWithPort(const FakeController& controller) {
    return absl::StrCat("replicas.test:", controller.port());
  }
  // Controllers that have a series of a stream, and whether it is open.
  std::map<std::string, bool> Streams() {
    std::map<std::string, bool> streams;
    for (const auto& family : metrics_.collectable()->Collect()) {
      if (family.name != "apim_failover_agent_stream_connected") continue;
      for (const auto& metric : family.metric) {
        for (const auto& label : metric.label) {
          if (label.name == "controller") streams[label.value] = metric.gauge.value == 1;
        }
      }
    }
    return streams;
  }
  void Add(uint64_t sequence) {
    KeptResult kept;
    kept.scheduled = RealClock().Steady();
    kept.completed = kept.scheduled;
    kept.result.set_target("o/w/p");
    kept.result.set_sequence(sequence);
    results_.Add(std::move(kept), true);
  }

  using Open = std::map<std::string, bool>;
  static constexpr absl::Duration kNextAnswer = absl::Seconds(10);
  NameServerStub dns_;
  AgentMetrics metrics_{"uksouth", {}};
  ResultBuffer results_{RealClock(), {}, [](AgentMetrics::Drop, uint64_t) {}};
  AssignmentKeeper assignments_{"", [](std::shared_ptr<const PreparedAssignment>) {}};
};

TEST_F(ReplicasTest, EveryAddressHasAStreamAndFollowsAsOneGoesAndOneComes) {
  FakeController one;
  FakeController two(one.port(), grpc::InsecureServerCredentials(), "127.0.0.2");
  auto three =
      std::make_unique<FakeController>(one.port(), grpc::InsecureServerCredentials(), "127.0.0.3");
  const auto address = [&](int n) { return absl::StrCat("127.0.0.", n, ":", one.port()); };
  dns_.Set("replicas.test", {}, {"127.0.0.1", "127.0.0.3"});
  one.Greet(AssignmentOf(5, 1));
  const auto replicas = Follow({NameWithPort(one)}, absl::Hours(1));
  ASSERT_TRUE(WaitUntil([&] { return Streams() == Open{{address(1), true}, {address(3), true}}; }));
  Add(1);
  ASSERT_TRUE(WaitUntil([&] { return one.SequencesOf(0) == std::vector<uint64_t>{1}; }));
  ASSERT_TRUE(WaitUntil([&] { return three->SequencesOf(0) == std::vector<uint64_t>{1}; }));
  EXPECT_EQ(assignments_.version().term, 5u);

  // A pod is replaced by one with another address: its end is a reason to ask at once, not in an
  // hour.
  dns_.Set("replicas.test", {}, {"127.0.0.1", "127.0.0.2"});
  three.reset();
  ASSERT_TRUE(WaitUntil(
      [&] {
        return Streams() == Open{{address(1), true}, {address(2), true}};
      },
      kNextAnswer))
      << "the series of the address that went is gone too";
  ASSERT_TRUE(WaitUntil([&] { return two.SequencesOf(0) == std::vector<uint64_t>{1}; }));
  EXPECT_TRUE(two.BatchesOf(0).at(0).replay());
  Add(2);
  ASSERT_TRUE(WaitUntil([&] { return two.SequencesOf(0).size() == 2; }));
  ASSERT_TRUE(WaitUntil([&] { return one.SequencesOf(0).size() == 2; }));
  EXPECT_EQ(one.streams(), 1) << "the stream that was good has not been touched";
  for (size_t i = 1; i < one.BatchesOf(0).size(); ++i)
    EXPECT_FALSE(one.BatchesOf(0)[i].replay()) << "the replay went to the new one only";
  EXPECT_EQ(assignments_.version().term, 5u) << "a follower says nothing, which changes nothing";
}

TEST_F(ReplicasTest, VanishedAddressLosesItsStreamThoughItStillAnswers) {
  FakeController one;
  FakeController two(one.port(), grpc::InsecureServerCredentials(), "127.0.0.2");
  dns_.Set("replicas.test", {}, {"127.0.0.1", "127.0.0.2"});
  const auto replicas = Follow({NameWithPort(one)});
  ASSERT_TRUE(WaitUntil([&] { return one.streams() == 1 && two.streams() == 1; }));
  dns_.Set("replicas.test", {}, {"127.0.0.1"});
  EXPECT_TRUE(WaitUntil([&] { return Streams() == Open{{one.address(), true}}; }, kNextAnswer));
}

TEST_F(ReplicasTest, NameWithoutAnAddressIsShownAsAStreamThatIsNotOpen) {
  FakeController one;
  const auto replicas = Follow({NameWithPort(one)});
  EXPECT_EQ(Streams(), (Open{{NameWithPort(one), false}}));
  ASSERT_TRUE(WaitUntil([&] { return dns_.queries() >= 2; }));
  EXPECT_EQ(Streams(), (Open{{NameWithPort(one), false}}));
  dns_.Set("replicas.test", {}, {"127.0.0.1"});
  EXPECT_TRUE(WaitUntil([&] { return Streams() == Open{{one.address(), true}}; }, kNextAnswer));
}

TEST_F(ReplicasTest, DeadNameServerLeavesOpenStreamsAndOtherNamesAlone) {
  FakeController one, literal;
  dns_.Set("replicas.test", {}, {"127.0.0.1"});
  auto replicas = Follow({NameWithPort(one), literal.address(), "never.test:1"});
  ASSERT_TRUE(WaitUntil([&] { return one.streams() == 1 && literal.streams() == 1; }));
  dns_.SetSilent(true);
  const int asked = dns_.queries();
  ASSERT_TRUE(WaitUntil([&] { return dns_.queries() > asked; }, kNextAnswer));
  Add(1);
  EXPECT_TRUE(WaitUntil([&] { return one.SequencesOf(0).size() == 1; }));
  EXPECT_TRUE(WaitUntil([&] { return literal.SequencesOf(0).size() == 1; }));
  EXPECT_EQ(one.streams(), 1);
  const absl::Time before = absl::Now();
  replicas.reset();
  EXPECT_LT(absl::Now() - before, absl::Seconds(3)) << "a question takes 4 s to give up";
}

TEST_F(ReplicasTest, NamesAreCompletedByTheSearchDomains) {
  FakeController one;
  setenv("LOCALDOMAIN", "cluster.test", 1);  // as a pod's resolv.conf says svc.cluster.local
  dns_.Set("replicas.dr.cluster.test", {}, {"127.0.0.1"});
  const auto replicas = Follow({absl::StrCat("replicas.dr:", one.port())});
  EXPECT_TRUE(WaitUntil([&] { return one.streams() == 1; }, kNextAnswer));
  unsetenv("LOCALDOMAIN");
}

TEST_F(ReplicasTest, AtMostSixteenStreamsAreOpenedAndThoseThatAreOpenStay) {
  const int port = FreeTcpPort();
  FakeController last(port, grpc::InsecureServerCredentials(), "127.0.0.9");
  dns_.Set("replicas.test", {}, {"127.0.0.9"});  // in text order behind all others
  const auto replicas =
      Follow({absl::StrCat("replicas.test:", port), absl::StrCat("many.test:", port)});
  ASSERT_TRUE(WaitUntil([&] { return last.streams() == 1; }));
  std::vector<std::string> addresses;
  for (int i = 21; i < 37; ++i) addresses.push_back(absl::StrCat("127.0.0.", i));
  dns_.Set("many.test", {}, addresses);
  ASSERT_TRUE(WaitUntil([&] { return Streams().size() == kMaxReplicas; }, kNextAnswer));
  EXPECT_TRUE(Streams()[absl::StrCat("127.0.0.9:", port)]);
  EXPECT_EQ(last.streams(), 1);
}

}  // namespace
}  // namespace failover::agent
