// The loop: cadence, bursts, sequence numbers, clocks, and that nobody waits for anybody else.
#include "agent/probe_loop.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "tests/component/agent/loop_fixture.h"
#include "tests/gateway_stub/gateway.h"
#include "tests/gateway_stub/name_server.h"

namespace failover::agent {
namespace {

using Mode = GatewayStub::Mode;

GatewayStub::Behaviour Misbehaving(Mode mode) {
  GatewayStub::Behaviour behaviour;
  behaviour.mode = mode;
  return behaviour;
}

class ProbeLoopTest : public LoopTest {
 protected:
  // Regular slots are whole intervals apart. On a loaded machine the loop may skip some, half at
  // most; one that waited for the hanging probes of these tests would skip three of four and more.
  static void ExpectCadence(const std::vector<Reported>& results, absl::Duration interval) {
    std::vector<absl::Duration> slots;
    for (const Reported& reported : results) {
      if (!reported.kept.result.burst()) slots.push_back(reported.kept.scheduled.since_epoch);
    }
    ASSERT_FALSE(slots.empty());
    std::sort(slots.begin(), slots.end());
    for (size_t i = 1; i < slots.size(); ++i) {
      EXPECT_EQ((slots[i] - slots[i - 1]) % interval, absl::ZeroDuration()) << "slot " << i;
    }
    EXPECT_LE(slots.back() - slots.front(), interval * static_cast<int64_t>(2 * slots.size()));
  }
  static std::vector<uint64_t> Sequences(const std::vector<Reported>& results) {
    std::vector<uint64_t> sequences;
    for (const Reported& reported : results) sequences.push_back(reported.kept.result.sequence());
    return sequences;
  }
};

TEST_F(ProbeLoopTest, ResultsComeAtAFixedCadenceNumberedWithoutGaps) {
  Start();
  GatewayStub gateway;
  Assign({ProbeOf("t", gateway.Url(), 100, 100)});
  const auto results = WaitFor("t", 6);
  ExpectCadence(results, absl::Milliseconds(100));
  for (size_t i = 0; i < results.size(); ++i) {
    EXPECT_EQ(results[i].kept.result.sequence(), i + 1);
    EXPECT_EQ(results[i].changed, i == 0) << "only the first is news";
  }
}

TEST_F(ProbeLoopTest, AHangDoesNotStretchTheCadence) {
  Start();
  GatewayStub gateway;
  gateway.Set(Misbehaving(Mode::kHangOnRequest));
  Assign({ProbeOf("t", gateway.Url(), 100, 450)});  // five in flight at once
  const auto results = WaitFor("t", 8);
  ExpectCadence(results, absl::Milliseconds(100));
  for (const Reported& reported : results) EXPECT_TRUE(reported.kept.result.timed_out());
}

TEST_F(ProbeLoopTest, ABurstIsProbedWithoutWaitingForASlot) {
  Start();
  GatewayStub gateway;
  v1::Target target = ProbeOf("t", gateway.Url(), 30000, 1000);
  target.set_burst_count(3);
  gateway.Set(Misbehaving(Mode::kClose));
  Assign({target});
  loop_->Burst({"t"});  // the regular slot may be 30 s away
  const auto results = WaitFor("t", 3);
  for (const Reported& reported : results) EXPECT_TRUE(reported.kept.result.burst());
  EXPECT_LT(results[2].kept.completed - results[0].kept.scheduled, absl::Seconds(2));
  EXPECT_EQ(Sequences(results), (std::vector<uint64_t>{1, 2, 3}));
}

TEST_F(ProbeLoopTest, ARegularFailureIsFollowedByABurstAtOnce) {
  Start();
  GatewayStub gateway;
  v1::Target target = ProbeOf("t", gateway.Url(), 200, 200);
  target.set_burst_count(5);
  Assign({target});
  WaitFor("t", 1);
  gateway.Set(Misbehaving(Mode::kClose));
  ASSERT_TRUE(WaitUntil([&] {
    const auto results = ResultsOf("t");
    return std::any_of(results.begin(), results.end(),
                       [](const Reported& r) { return r.kept.result.burst(); });
  }));
  const auto results = ResultsOf("t");
  const auto first_failure = std::find_if(
      results.begin(), results.end(), [](const Reported& r) { return !r.kept.result.success(); });
  ASSERT_NE(first_failure, results.end());
  EXPECT_FALSE(first_failure->kept.result.burst());
  EXPECT_TRUE(first_failure->changed);
  const auto next = std::next(first_failure);
  ASSERT_NE(next, results.end());
  EXPECT_TRUE(next->kept.result.burst());
  EXPECT_FALSE(next->changed);
  EXPECT_LT(next->kept.scheduled - first_failure->kept.completed, absl::Milliseconds(50));
}

TEST_F(ProbeLoopTest, BurstProbesUseFreshConnectionsEvenWhenTheTargetKeepsOne) {
  Start();
  GatewayStub gateway;
  v1::Target target = ProbeOf("t", gateway.Url(), 100, 1000);
  target.set_reuse_connection(true);
  target.set_burst_count(1);
  Assign({target});
  WaitFor("t", 2);
  loop_->Burst({"t", "unknown"});
  ASSERT_TRUE(WaitUntil([&] { return gateway.requests().back().connection > 0; }));
}

TEST_F(ProbeLoopTest, NumbersGoOnOverAssignmentsDefinitionsAndAbsence) {
  Start();
  GatewayStub gateway;
  v1::Target target = ProbeOf("t", gateway.Url(), 50, 500);
  Assign({target});
  WaitFor("t", 2);
  target.set_definition(2);
  target.set_url(gateway.Url("/other"));
  Assign({target});
  ASSERT_TRUE(WaitUntil([&] { return ResultsOf("t").back().kept.result.definition() == 2; }));
  Assign({});
  GatewayStub other;
  Assign({ProbeOf("other", other.Url(), 50, 500)});
  WaitFor("other", 2);
  const size_t before = ResultsOf("t").size();
  Assign({target});
  const auto results = WaitFor("t", before + 2);
  for (size_t i = 0; i < results.size(); ++i) EXPECT_EQ(results[i].kept.result.sequence(), i + 1);
}

TEST_F(ProbeLoopTest, ProbesInFlightOfARemovedTargetAreNotReported) {
  Start();
  GatewayStub hanging, good;
  hanging.Set(Misbehaving(Mode::kHangOnRequest));
  Assign({ProbeOf("t", hanging.Url(), 1000, 1500)});
  ASSERT_TRUE(WaitUntil([&] { return !hanging.requests().empty(); }));
  Assign({ProbeOf("good", good.Url(), 100, 100)});
  WaitFor("good", 20);  // longer than the removed target's timeout
  EXPECT_TRUE(ResultsOf("t").empty());
}

TEST_F(ProbeLoopTest, AStepOfTheWallClockMarksTheNextResultOfEveryTargetOnce) {
  Start();
  GatewayStub gateway;
  Assign({ProbeOf("a", gateway.Url(), 50, 500), ProbeOf("b", gateway.Url(), 50, 500)});
  WaitFor("a", 2);
  WaitFor("b", 2);
  for (const char* id : {"a", "b"}) {
    for (const Reported& reported : ResultsOf(id))
      EXPECT_FALSE(reported.kept.result.clock_jumped());
  }
  clock_.PushWall(absl::Seconds(-5));
  for (const char* id : {"a", "b"}) {
    const auto marked = [&] {
      const auto results = ResultsOf(id);
      return std::count_if(results.begin(), results.end(),
                           [](const Reported& r) { return r.kept.result.clock_jumped(); });
    };
    EXPECT_TRUE(WaitUntil([&] { return marked() > 0; })) << id;
    const size_t seen = ResultsOf(id).size();
    WaitFor(id, seen + 4);
    // Those in flight at the moment and the next one; no more.
    EXPECT_LE(marked(), 2) << id;
  }
}

TEST_F(ProbeLoopTest, AStallSkipsItsSlotsAndIsMarked) {
  Start();
  GatewayStub gateway;
  Assign({ProbeOf("t", gateway.Url(), 100, 500)});
  const size_t before = WaitFor("t", 2).size();
  clock_.PushBoth(absl::Seconds(10));
  const auto results = WaitFor("t", before + 5);
  EXPECT_TRUE(std::any_of(results.begin(), results.end(),
                          [](const Reported& r) { return r.kept.result.clock_jumped(); }));
  size_t late = 0;
  for (const Reported& reported : results) {
    late += reported.kept.completed - reported.kept.scheduled > absl::Seconds(1) ? 1 : 0;
  }
  EXPECT_LE(late, 1u) << "a backlog was fired";
}

TEST_F(ProbeLoopTest, TheLoopTurnsEverySecondWithoutWork) {
  Start();
  const SteadyTime first = loop_->last_turn();
  EXPECT_TRUE(WaitUntil([&] { return loop_->last_turn() > first; }, absl::Seconds(5)));
}

// The heart of the matter: what hangs costs nobody else anything.
class Isolation : public ProbeLoopTest {
 protected:
  // The good target's results go on at their cadence, and none is late.
  void ExpectUndisturbed(const std::string& id, size_t count) {
    const auto results = WaitFor(id, count);
    ExpectCadence(results, absl::Milliseconds(100));
    absl::Duration worst;
    for (const Reported& reported : results) {
      EXPECT_TRUE(reported.kept.result.success()) << reported.kept.result.error();
      worst = std::max(worst, reported.kept.completed - reported.kept.scheduled);
    }
    EXPECT_LT(worst, absl::Seconds(1)) << "the disturbers time out after 2 s";
  }
};

TEST_F(Isolation, ADeadNameServerDelaysNoOtherProbe) {
  NameServerStub dead;
  dead.SetSilent(true);
  ProbeLoop::Options options;
  options.resolver.servers = {dead.address()};
  Start(std::move(options));
  GatewayStub good;
  std::vector<v1::Target> targets = {ProbeOf("good", good.Url(), 100, 1000)};
  for (int i = 0; i < 20; ++i) {
    targets.push_back(ProbeOf("dead" + std::to_string(i), "http://gateway.example/", 100, 2000));
  }
  Assign(targets);
  ExpectUndisturbed("good", 30);
  const v1::ProbeResult result = WaitFor("dead0", 1).at(0).kept.result;
  EXPECT_EQ(result.failed_stage(), v1::PROBE_STAGE_RESOLVE);
  EXPECT_TRUE(result.timed_out());
  EXPECT_GE(result.phases().total_us(), 1'990'000);
  EXPECT_LT(result.phases().total_us(), 2'500'000);
}

TEST_F(Isolation, HangingTargetsDelayNoOtherProbe) {
  Start();
  GatewayStub good, hang, half;
  hang.Set(Misbehaving(Mode::kHangBeforeTls));
  half.Set(Misbehaving(Mode::kHangInBody));
  std::string tls_hang = hang.Url();
  tls_hang.insert(4, "s");
  std::vector<v1::Target> targets = {ProbeOf("good", good.Url(), 100, 1000)};
  for (int i = 0; i < 5; ++i) {
    targets.push_back(ProbeOf("hang" + std::to_string(i), hang.Url(), 100, 2000));
    targets.push_back(ProbeOf("tls" + std::to_string(i), tls_hang, 100, 2000));
    targets.push_back(ProbeOf("half" + std::to_string(i), half.Url(), 100, 2000));
  }
  Assign(targets);
  ExpectUndisturbed("good", 30);
}

class Names : public ProbeLoopTest {
 protected:
  void SetUp() override {
    ProbeLoop::Options options;
    options.resolver.servers = {names_.address()};
    Start(std::move(options));
  }
  v1::Target Named(const std::string& host) {
    return ProbeOf("t", "http://" + host + ":" + std::to_string(gateway_.port()) + "/", 100, 1000);
  }
  NameServerStub names_;
  GatewayStub gateway_;
};

TEST_F(Names, TheCnameChainIsKept) {
  names_.Set("api.example", {"Profile.TrafficManager.example", "apim-weu.example"}, {"127.0.0.1"});
  const v1::ProbeResult result = Probe(Named("api.example"));
  EXPECT_TRUE(result.success()) << result.error();
  EXPECT_EQ(std::vector<std::string>(result.cname_chain().begin(), result.cname_chain().end()),
            (std::vector<std::string>{"profile.trafficmanager.example", "apim-weu.example"}));
  EXPECT_GT(result.phases().resolve_us(), 0);
}

TEST_F(Names, EveryProbeResolvesAnew) {
  names_.Set("api.example", {}, {"127.0.0.1"});
  Assign({Named("api.example")});
  WaitFor("t", 2);
  names_.Set("api.example", {}, {"127.0.0.9"});  // nothing listens there
  EXPECT_TRUE(WaitUntil([&] { return !ResultsOf("t").back().kept.result.success(); }));
}

TEST_F(Names, TheSecondAddressIsTriedWhenTheFirstIsRefused) {
  names_.Set("api.example", {}, {"127.0.0.9", "127.0.0.1"});
  const v1::ProbeResult result = Probe(Named("api.example"));
  EXPECT_TRUE(result.success()) << result.error();
  EXPECT_EQ(result.remote_address(), "127.0.0.1");
}

TEST_F(Names, AServerThatIsSilentAboutAaaaCosts50Milliseconds) {
  names_.SetSilent(false, true);
  names_.Set("api.example", {}, {"127.0.0.1"});
  const v1::ProbeResult result = Probe(Named("api.example"));
  EXPECT_TRUE(result.success()) << result.error();
  EXPECT_LT(result.phases().resolve_us(), 500'000);
}

TEST_F(Names, AnUnknownNameFailsInResolve) {
  const v1::ProbeResult result = Probe(Named("nobody.example"));
  EXPECT_EQ(result.failed_stage(), v1::PROBE_STAGE_RESOLVE);
  EXPECT_FALSE(result.timed_out());
  EXPECT_NE(result.error().find("nobody.example"), std::string::npos) << result.error();
}

TEST_F(Names, ANameMayNotLeadToAnAddressThatIsNotAllowed) {
  names_.Set("evil.example", {}, {"169.254.169.254"});
  names_.Set("api.example", {}, {"127.0.0.1"});
  v1::Target evil = Named("evil.example");
  evil.set_id("evil");
  Assign({evil, Named("api.example")});
  WaitFor("t", 5);
  EXPECT_TRUE(ResultsOf("evil").empty());
}

}  // namespace
}  // namespace failover::agent
