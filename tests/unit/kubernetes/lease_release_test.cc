// Giving the Lease back, and the times that are allowed.
#include <gtest/gtest.h>

#include "absl/strings/match.h"
#include "tests/unit/kubernetes/lease_fixture.h"

namespace failover::kubernetes {
namespace {

TEST_F(LeaseTest, AReleaseReadsAndThenBlanksWhatIsStillOurs) {
  Lead();
  const LeaseRecord before = server_.object->record;
  now_ = now_ + absl::Seconds(1);
  elector_.Release(now_);
  EXPECT_EQ(Events(), "ended 1 it is given back");
  EXPECT_EQ(Go().kind, LeaseAction::kGet);
  const LeaseAction blank = Go();
  EXPECT_EQ(blank.record.holder, "");
  EXPECT_EQ(blank.record.duration_seconds, 1);
  EXPECT_EQ(blank.record.transitions, before.transitions);
  EXPECT_EQ(blank.record.acquired, kWall + absl::Seconds(1));
  EXPECT_EQ(blank.record.renewed, kWall + absl::Seconds(1));
  EXPECT_EQ(Ask().kind, LeaseAction::kEnd);
}

TEST_F(LeaseTest, AReleaseNeverBlanksTheLeaseOfASuccessor) {
  Lead();
  now_ = start_ + absl::Seconds(30);
  server_.Write(HeldBy("other"), server_.object->uid);
  elector_.Release(now_);
  EXPECT_EQ(Go().kind, LeaseAction::kGet);
  EXPECT_EQ(Ask().kind, LeaseAction::kEnd);
  EXPECT_EQ(server_.object->record.holder, "other");
}

TEST_F(LeaseTest, AReleaseReadsAgainAfterAConflict) {
  Lead();
  elector_.Release(now_);
  Go();
  server_.Touch();
  EXPECT_EQ(Go().kind, LeaseAction::kUpdate);
  EXPECT_EQ(Go().kind, LeaseAction::kGet);
  EXPECT_EQ(Go().kind, LeaseAction::kUpdate);
  EXPECT_EQ(server_.object->record.holder, "");
}

TEST_F(LeaseTest, AReleaseOfADeletedLeaseIsDone) {
  Lead();
  elector_.Release(now_);
  server_.object.reset();
  Go();
  EXPECT_EQ(Ask().kind, LeaseAction::kEnd);
}

TEST_F(LeaseTest, AReleaseGivesUpAfterTheRenewDeadline) {
  Lead();
  elector_.Release(now_);
  const SteadyTime begun = now_;
  int requests = 0;
  for (LeaseAction action = Ask(); action.kind != LeaseAction::kEnd; action = Ask()) {
    ASSERT_LE(now_, begun + absl::Seconds(10));
    if (action.kind == LeaseAction::kWait) {
      now_ = action.until;
    } else {
      ++requests;
      EXPECT_LE(action.until, begun + absl::Seconds(10));
      Refuse(LeaseAnswer::kFailed);
    }
  }
  EXPECT_EQ(now_, begun + absl::Seconds(10));
  EXPECT_GT(requests, 2);
}

TEST_F(LeaseTest, WhoNeverWroteHasNothingToRelease) {
  server_.Write(HeldBy("other"), "uid-9");
  Go();
  elector_.Release(now_);
  EXPECT_EQ(Ask().kind, LeaseAction::kEnd);
  EXPECT_EQ(Events(), "leader other");
}

TEST_F(LeaseTest, AReleaseDuringARenewalGivesBackWhatThatWrote) {
  Lead();
  Wait();
  const LeaseAction renewal = Ask();
  elector_.Release(now_);
  Answer(server_.Apply(renewal), now_);
  EXPECT_FALSE(elector_.term().has_value());
  EXPECT_EQ(Go().record.holder, "");
  EXPECT_EQ(server_.object->record.holder, "");
  EXPECT_EQ(Ask().kind, LeaseAction::kEnd);
}

TEST(LeaseTimesTest, TheDefaultsAndTheFastProfileAreAllowed) {
  EXPECT_TRUE(CheckLeaseTimes(LeaseTimes()).ok()) << CheckLeaseTimes(LeaseTimes());
  const LeaseTimes fast{absl::Seconds(5), absl::Seconds(3), absl::Milliseconds(500),
                        absl::Seconds(1)};
  EXPECT_TRUE(CheckLeaseTimes(fast).ok()) << CheckLeaseTimes(fast);
  EXPECT_EQ(LeaseTimes().RequestTimeout(), absl::Seconds(5));
  EXPECT_EQ((LeaseTimes{absl::Seconds(5), absl::Seconds(1.5), absl::Milliseconds(100), {}}
                 .RequestTimeout()),
            absl::Seconds(1));
}

TEST(LeaseTimesTest, TimesThatContradictEachOtherAreRefusedByName) {
  const struct {
    LeaseTimes times;
    const char* names;
  } cases[] = {{{absl::Milliseconds(15500), absl::Seconds(10), absl::Seconds(2), {}},
                "leaseDuration: found 15s500ms"},
               {{absl::Milliseconds(500), absl::Milliseconds(100), absl::Milliseconds(10), {}},
                "leaseDuration"},
               {{absl::Hours(2), absl::Seconds(10), absl::Seconds(2), {}}, "leaseDuration"},
               {{absl::Seconds(15), absl::Seconds(10), absl::ZeroDuration(), {}}, "retryPeriod"},
               {{absl::Seconds(15), absl::Seconds(10), -absl::Seconds(1), {}}, "retryPeriod"},
               {{absl::Seconds(15), absl::Seconds(2.4), absl::Seconds(2), {}}, "renewDeadline"},
               {{absl::Seconds(15), absl::Seconds(15), absl::Seconds(2), {}}, "renewDeadline"},
               {{absl::Seconds(15), absl::Seconds(12.5), absl::Seconds(2), {}}, "renewDeadline"},
               {{absl::Seconds(6), absl::Seconds(4.5), absl::Seconds(1), {}}, "renewDeadline"},
               {{absl::Seconds(15), absl::Seconds(10), absl::Seconds(2), absl::Seconds(7.5)},
                "requestTimeout"},
               {{absl::Seconds(15), absl::Seconds(10), absl::Seconds(2), -absl::Seconds(1)},
                "requestTimeout"},
               {{absl::Seconds(15), absl::Seconds(10), absl::Seconds(5), {}}, "requestTimeout"}};
  for (const auto& c : cases) {
    const absl::Status status = CheckLeaseTimes(c.times);
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << c.names << status;
    EXPECT_TRUE(absl::StartsWith(status.message(), absl::StrCat("leaderElection.", c.names)))
        << status;
  }
}

TEST(LeaseIdentityTest, EveryProcessOfAPodHasItsOwn) {
  const std::string a = NewIdentity("controller-0"), b = NewIdentity("controller-0");
  EXPECT_TRUE(absl::StartsWith(a, "controller-0_")) << a;
  EXPECT_NE(a, b);
}

}  // namespace
}  // namespace failover::kubernetes
