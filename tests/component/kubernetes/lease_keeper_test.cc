#include "controller/kubernetes/lease_keeper.h"

#include <gtest/gtest.h>

#include <chrono>
#include <thread>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "tests/kubernetes_stub/api_server.h"
#include "tests/support/fake_clock.h"
#include "tests/support/wait_until.h"

namespace failover::kubernetes {
namespace {

using Fault = KubernetesStub::Fault;

// One replica: its keeper and what it was told.
class Replica {
 public:
  Replica(const KubernetesStub& stub, FakeClock& clock, const std::string& identity,
          const std::string& name_space = "dr") {
    LeaseKeeperOptions options;
    options.server = {stub.url(), name_space, "", ""};
    options.lease_name = "apim-failover";
    options.identity = identity;
    options.clock = &clock;
    options.callbacks.started = [this](const Term& term) {
      Add(absl::StrCat("started ", term.number));
    };
    options.callbacks.ended = [this](const Term& term, const std::string& why) {
      Add(absl::StrCat("ended ", term.number, " ", why));
    };
    options.callbacks.new_leader = [this](const std::string& leader) {
      Add(absl::StrCat("leader ", leader));
    };
    options.callbacks.broken = [this](const absl::Status& why) {
      Add(absl::StrCat("broken ", why.message()));
    };
    absl::StatusOr<std::unique_ptr<LeaseKeeper>> started = LeaseKeeper::Start(std::move(options));
    EXPECT_TRUE(started.ok()) << started.status();
    keeper = *std::move(started);
  }
  ~Replica() { keeper.reset(); }

  std::string Told() {
    MutexLock lock(mutex_);
    return absl::StrJoin(told_, "; ");
  }
  bool WasTold(const std::string& what) { return absl::StrContains(Told(), what); }

  std::unique_ptr<LeaseKeeper> keeper;

 private:
  void Add(std::string what) {
    MutexLock lock(mutex_);
    told_.push_back(std::move(what));
  }
  Mutex mutex_;
  std::vector<std::string> told_ ABSL_GUARDED_BY(mutex_);
};

class LeaseKeeperTest : public testing::TestWithParam<ServerKind> {
 protected:
  void SetUp() override {
    if (GetParam() == ServerKind::kReal && RealServerOfTests() == nullptr)
      GTEST_SKIP() << kNoRealServer;
  }
  static constexpr char kLease[] =
      "/apis/coordination.k8s.io/v1/namespaces/dr/leases/apim-failover";

  std::unique_ptr<Replica> NewReplica(const std::string& identity) {
    ++replicas_;
    return std::make_unique<Replica>(stub_, clock_, identity);
  }
  // A leader that has renewed once, so that its next renewal is 2 s away.
  std::unique_ptr<Replica> NewLeader(const std::string& identity = "a") {
    const int before = stub_.Count("PUT");
    std::unique_ptr<Replica> replica = NewReplica(identity);
    EXPECT_TRUE(
        WaitUntil([&] { return replica->keeper->State().leading && stub_.Count("PUT") > before; }));
    EXPECT_TRUE(clock_.WaitForSleepers(2 * replicas_));
    return replica;
  }
  // Moves the clock from one sleeper to the next until `condition` holds; each replica has two
  // threads that sleep.
  template <typename Condition>
  bool Pass(Condition condition) {
    for (int i = 0; i < 500; ++i) {
      if (condition()) return true;
      if (!clock_.WaitForSleepers(2 * replicas_)) return condition();
      if (condition()) return true;
      clock_.AdvanceToNextSleeper();
    }
    return false;
  }
  void Order(Fault::What what, const std::string& method, int times = 1, int status = 500,
             const std::string& reason = "") {
    Fault fault;
    fault.what = what;
    fault.method = method;
    fault.times = times;
    fault.status = status;
    fault.reason = reason;
    stub_.Add(fault);
  }
  std::string Uid() { return stub_.Field(kLease, "/metadata/uid"); }
  std::string Spec(const std::string& field) { return stub_.Field(kLease, "/spec/" + field); }

  KubernetesStub stub_{ServerOf(GetParam())};
  FakeClock clock_;
  size_t replicas_ = 0;
};

TEST_P(LeaseKeeperTest, ALeaderSpeaksAsTheOriginalDoes) {
  const auto a = NewLeader();
  ASSERT_TRUE(Pass([&] { return stub_.Count("PUT") >= 3; }));
  const std::vector<KubernetesStub::Seen> seen = stub_.Requests();
  ASSERT_GE(seen.size(), 5u);
  EXPECT_EQ(seen[0].method + " " + seen[0].path, std::string("GET ") + kLease);
  EXPECT_EQ(seen[1].method + " " + seen[1].path,
            "POST /apis/coordination.k8s.io/v1/namespaces/dr/leases");
  EXPECT_EQ(seen[1].content_type, "application/json");
  for (int i = 2; i < 5; ++i)
    EXPECT_EQ(seen[i].method + " " + seen[i].path, std::string("PUT ") + kLease)
        << "no reading between";
  EXPECT_EQ(Spec("holderIdentity"), "a");
  EXPECT_EQ(Spec("leaseDurationSeconds"), "15");
  EXPECT_EQ(Spec("leaseTransitions"), "0");
  EXPECT_LT(Spec("acquireTime"), Spec("renewTime"));
  EXPECT_EQ(a->Told(), "leader a; started 1");
  EXPECT_EQ(a->keeper->State().slow_paths, 0u);
  EXPECT_EQ(stub_.connections(), 1);
}

TEST_P(LeaseKeeperTest, AReleaseHandsTheLeaseToAFollowerAtItsNextTurn) {
  const auto a = NewLeader("a");
  const auto b = NewReplica("b");
  ASSERT_TRUE(WaitUntil([&] { return b->WasTold("leader a"); }));
  a->keeper->Release();
  --replicas_;
  EXPECT_TRUE(a->WasTold("ended 1 it is given back"));
  EXPECT_EQ(Spec("holderIdentity"), "");
  EXPECT_EQ(Spec("leaseDurationSeconds"), "1");
  EXPECT_FALSE(a->keeper->MayAct(1));
  const SteadyTime released = clock_.Steady();
  ASSERT_TRUE(Pass([&] { return b->WasTold("started 1"); }));
  EXPECT_LE(clock_.Steady() - released, absl::Seconds(4.4));
  EXPECT_EQ(Spec("holderIdentity"), "b");
  EXPECT_EQ(Spec("leaseTransitions"), "1");
  EXPECT_EQ(b->keeper->State().leader, "b");
}

TEST_P(LeaseKeeperTest, ACrashedLeaderIsReplacedAfterItsLease) {
  auto a = NewLeader("a");
  const auto b = NewReplica("b");
  ASSERT_TRUE(WaitUntil([&] { return b->WasTold("leader a"); }));
  a.reset();
  --replicas_;
  EXPECT_EQ(Spec("holderIdentity"), "a") << "a crash gives nothing back";
  const SteadyTime crashed = clock_.Steady();
  ASSERT_TRUE(Pass([&] { return b->WasTold("started 1"); }));
  EXPECT_GE(clock_.Steady() - crashed, absl::Seconds(13));
  EXPECT_LE(clock_.Steady() - crashed, absl::Seconds(19.4));
}

TEST_P(LeaseKeeperTest, ATermEndsOnTimeWhileARenewalHangs) {
  const auto a = NewLeader();
  ASSERT_TRUE(a->keeper->MayAct(1));
  Order(Fault::kHoldBefore, "PUT");
  clock_.Advance(absl::Seconds(2));
  ASSERT_TRUE(WaitUntil([&] { return stub_.held() == 1; }));
  clock_.Advance(absl::Seconds(7));
  EXPECT_FALSE(a->keeper->MayAct(1)) << "a second before the end";
  EXPECT_FALSE(a->WasTold("ended"));
  clock_.Advance(absl::Seconds(1));
  EXPECT_TRUE(WaitUntil([&] { return a->WasTold("ended 1 no renewal within 10s"); }));
  EXPECT_EQ(stub_.held(), 1) << "the renewal still hangs";
  EXPECT_FALSE(a->keeper->State().leading);
  // Carried out and answered only now, it begins a term of its own: it was sent 8 s ago.
  stub_.ReleaseHeld();
  EXPECT_TRUE(WaitUntil([&] { return a->WasTold("started 2"); }));
}

TEST_P(LeaseKeeperTest, ALeaderThatWakesLateSendsNothingAndFollows) {
  const auto a = NewLeader("a");
  stub_.Write(kLease, R"({"spec":{"holderIdentity":"b","leaseTransitions":1}})");
  clock_.Advance(absl::Seconds(30));
  EXPECT_FALSE(a->keeper->MayAct(1));
  EXPECT_TRUE(WaitUntil([&] { return a->WasTold("ended 1") && a->WasTold("leader b"); }));
  EXPECT_EQ(Spec("holderIdentity"), "b");
  a->keeper->Release();
  EXPECT_EQ(Spec("holderIdentity"), "b") << "a release never blanks a successor's";
}

TEST_P(LeaseKeeperTest, ADeletedLeaseIsMadeAnewAsAnotherTerm) {
  const auto a = NewLeader();
  stub_.Delete(kLease);
  EXPECT_TRUE(Pass([&] { return a->WasTold("ended 1 the Lease was deleted; started 2"); }))
      << a->Told();
  EXPECT_TRUE(a->keeper->MayAct(2));
  EXPECT_FALSE(a->keeper->MayAct(1));
}

// Of a server that does not ask for the UID.
TEST_P(LeaseKeeperTest, ARenewalThatMadeTheLeaseAnewBeginsAnotherTerm) {
  const auto a = NewLeader();
  Fault created;
  created.method = "PUT";
  created.status = 201;
  created.body = absl::StrReplaceAll(stub_.Field(kLease, ""), {{Uid(), "another-uid"}});
  stub_.Add(created);
  EXPECT_TRUE(Pass([&] { return a->WasTold("ended 1 the Lease had been deleted; started 2"); }))
      << a->Told();
  EXPECT_FALSE(a->keeper->MayAct(1));
}

TEST_P(LeaseKeeperTest, WhatOthersPutIntoTheObjectStays) {
  const auto a = NewLeader();
  stub_.Write(kLease, R"({"metadata":{"labels":{"team":"edge"}}})");
  ASSERT_TRUE(Pass([&] { return a->keeper->State().slow_paths == 1; }));
  const std::string renewed = Spec("renewTime");
  ASSERT_TRUE(Pass([&] { return Spec("renewTime") != renewed; }));
  EXPECT_EQ(stub_.Field(kLease, "/metadata/labels/team"), "edge");
  EXPECT_EQ(a->Told(), "leader a; started 1");
}

TEST_P(LeaseKeeperTest, AnAnswerThatIsLostAfterTheWriteCostsNoTerm) {
  const auto a = NewLeader();
  Order(Fault::kDropAfter, "PUT");
  ASSERT_TRUE(Pass([&] { return a->keeper->State().slow_paths == 1; }));
  const SteadyTime lost = clock_.Steady();
  ASSERT_TRUE(Pass([&] { return clock_.Steady() - lost > absl::Seconds(20); }));
  EXPECT_EQ(a->Told(), "leader a; started 1");
  EXPECT_TRUE(a->keeper->State().problem.ok()) << a->keeper->State().problem;
}

// A real one tells only who may read all namespaces that one is missing.
TEST(LeaseKeeperAlone, AMissingNamespaceIsAnErrorOfTheConfiguration) {
  const KubernetesStub stub;
  FakeClock clock;
  Replica lost(stub, clock, "a", "nowhere");
  EXPECT_TRUE(WaitUntil([&] { return lost.WasTold("broken "); }));
  EXPECT_TRUE(lost.WasTold("namespaces \"nowhere\" not found")) << lost.Told();
  EXPECT_TRUE(lost.keeper->Live().ok());
}

TEST_P(LeaseKeeperTest, A404OfSomethingInBetweenIsNotTheNamespaces) {
  Order(Fault::kAnswer, "POST", 1, 404);
  const auto a = NewReplica("a");
  EXPECT_TRUE(Pass([&] { return a->keeper->State().leading; }));
  EXPECT_FALSE(a->WasTold("broken"));
}

TEST_P(LeaseKeeperTest, AMissingPermissionIsToldAndTriedAgain) {
  Order(Fault::kAnswer, "GET", 2, 403, "Forbidden");
  const auto a = NewReplica("a");
  ASSERT_TRUE(WaitUntil([&] { return a->keeper->State().failed_attempts == 1; }));
  EXPECT_TRUE(absl::IsPermissionDenied(a->keeper->State().problem)) << a->keeper->State().problem;
  EXPECT_TRUE(Pass([&] { return a->keeper->State().leading; }));
}

TEST_P(LeaseKeeperTest, AServerThatIsAwayForLongEndsTheTermAndItsReturnBeginsANewOne) {
  const auto a = NewLeader();
  Order(Fault::kDropBefore, "", -1);
  ASSERT_TRUE(Pass([&] { return a->WasTold("ended 1 no renewal within 10s: "); })) << a->Told();
  EXPECT_FALSE(a->keeper->State().problem.ok());
  stub_.ClearFaults();
  EXPECT_TRUE(Pass([&] { return a->WasTold("started 2"); })) << a->Told();
}

TEST_P(LeaseKeeperTest, AGapIsFollowedByARenewalAtOnce) {
  const auto a = NewLeader();
  const int renewals = stub_.Count("PUT");
  Order(Fault::kHoldBefore, "PUT");
  a->keeper->RequireRenewal();
  EXPECT_FALSE(a->keeper->MayAct(1));
  ASSERT_TRUE(WaitUntil([&] { return stub_.held() == 1; }));
  EXPECT_FALSE(a->keeper->MayAct(1));
  stub_.ReleaseHeld();
  EXPECT_TRUE(WaitUntil([&] { return a->keeper->MayAct(1); }));
  EXPECT_EQ(stub_.Count("PUT"), renewals + 1);
  EXPECT_EQ(a->Told(), "leader a; started 1");
}

TEST_P(LeaseKeeperTest, AReleaseReadsAgainAfterAConflict) {
  const auto a = NewLeader();
  Order(Fault::kAnswer, "PUT", 1, 409, "Conflict");
  a->keeper->Release();
  EXPECT_EQ(Spec("holderIdentity"), "");
}

TEST_P(LeaseKeeperTest, AReleaseDuringARequestWaitsForItAndGivesBack) {
  const auto a = NewLeader();
  Order(Fault::kHoldBefore, "PUT");
  clock_.Advance(absl::Seconds(2));
  ASSERT_TRUE(WaitUntil([&] { return stub_.held() == 1; }));
  std::thread release([&] { a->keeper->Release(); });
  EXPECT_TRUE(WaitUntil([&] { return a->WasTold("ended 1 it is given back"); }));
  stub_.ReleaseHeld();
  release.join();
  EXPECT_EQ(Spec("holderIdentity"), "");
}

TEST_P(LeaseKeeperTest, AReleaseOfAFollowerWritesNothing) {
  const auto a = NewLeader("a");
  const auto b = NewReplica("b");
  ASSERT_TRUE(WaitUntil([&] { return b->WasTold("leader a"); }));
  const size_t requests = stub_.Requests().size();
  b->keeper->Release();
  EXPECT_EQ(stub_.Requests().size(), requests);
  EXPECT_EQ(Spec("holderIdentity"), "a");
  EXPECT_EQ(b->Told(), "leader a");
}

TEST_P(LeaseKeeperTest, TheEndOfTheProcessWaitsForNoHungRequest) {
  auto a = NewLeader();
  Order(Fault::kHoldBefore, "PUT");
  clock_.Advance(absl::Seconds(2));
  ASSERT_TRUE(WaitUntil([&] { return stub_.held() == 1; }));
  const auto begun = std::chrono::steady_clock::now();
  a.reset();
  EXPECT_LT(std::chrono::steady_clock::now() - begun, std::chrono::seconds(3));
  EXPECT_EQ(stub_.held(), 1);
}

TEST_P(LeaseKeeperTest, AThreadThatIsStuckIsNotAlive) {
  const auto a = NewLeader();
  EXPECT_TRUE(a->keeper->Live().ok());
  Order(Fault::kHoldBefore, "PUT");
  clock_.Advance(absl::Seconds(2));
  ASSERT_TRUE(WaitUntil([&] { return stub_.held() == 1; }));
  clock_.Advance(absl::Seconds(34));
  EXPECT_TRUE(a->keeper->Live().ok());
  clock_.Advance(absl::Seconds(2));
  EXPECT_EQ(a->keeper->Live().message(), "the Lease has not been looked at for 36 s");
}

TEST_P(LeaseKeeperTest, WhatIsNotAllowedIsRefusedAtTheStart) {
  LeaseKeeperOptions good;
  good.server = {stub_.url(), "dr", "", ""};
  good.lease_name = "l";
  good.identity = "a";
  good.clock = &clock_;
  LeaseKeeperOptions bad = good;
  bad.lease_name = "Not One";
  EXPECT_TRUE(absl::StrContains(LeaseKeeper::Start(bad).status().message(),
                                "leaderElection.leaseName: found \"Not One\""));
  bad = good;
  bad.identity.clear();
  EXPECT_TRUE(absl::IsInvalidArgument(LeaseKeeper::Start(bad).status()));
  bad = good;
  bad.times.renew_deadline = bad.times.duration;
  EXPECT_TRUE(absl::IsInvalidArgument(LeaseKeeper::Start(bad).status()));
  bad = good;
  bad.server.url = "http://10.0.0.1";
  EXPECT_TRUE(absl::IsInvalidArgument(LeaseKeeper::Start(bad).status()));
  EXPECT_TRUE(LeaseKeeper::Start(good).ok());
}

INSTANTIATE_ON_EVERY_SERVER(LeaseKeeperTest);

}  // namespace
}  // namespace failover::kubernetes
