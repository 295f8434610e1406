// Leading: renewals, and what ends a term.
#include <gtest/gtest.h>

#include "absl/strings/match.h"
#include "tests/unit/kubernetes/lease_fixture.h"

namespace failover::kubernetes {
namespace {

TEST_F(LeaseTest, ARenewalKeepsAcquisitionAndTransitionsAndNeedsNoReading) {
  Lead();
  const LeaseRecord before = server_.object->record;
  Wait();
  EXPECT_EQ(now_, start_ + absl::Seconds(2));
  const std::string version = server_.object->resource_version;
  const LeaseAction renewal = Go();
  EXPECT_EQ(renewal.kind, LeaseAction::kUpdate);
  EXPECT_EQ(renewal.base.resource_version, version);
  EXPECT_EQ(renewal.record.acquired, before.acquired);
  EXPECT_EQ(renewal.record.transitions, before.transitions);
  EXPECT_EQ(renewal.record.renewed, kWall + absl::Seconds(2));
  EXPECT_EQ(elector_.term()->number, 1u);
  EXPECT_EQ(elector_.term()->lead_until, start_ + absl::Seconds(12));
  EXPECT_EQ(Events(), "");
}

TEST_F(LeaseTest, TheFirstRenewalFollowsTheAcquisitionAtOnce) {
  Go();
  Go();
  EXPECT_EQ(Ask().kind, LeaseAction::kUpdate);
}

TEST_F(LeaseTest, AWallClockThatStandsStillDoesNotHideARenewal) {
  Lead();
  const absl::Time before = server_.object->record.renewed;
  now_ = now_ + absl::Seconds(2);
  const LeaseAction action = elector_.Next({now_, before});
  EXPECT_NE(action.record.renewed, before);
}

TEST_F(LeaseTest, AConflictWhileLeadingIsReadAndDecided) {
  Lead();
  Wait();
  server_.Touch();  // somebody edited a label
  EXPECT_EQ(Go().kind, LeaseAction::kUpdate);
  EXPECT_EQ(Go().kind, LeaseAction::kGet);
  EXPECT_EQ(Go().kind, LeaseAction::kUpdate);
  EXPECT_EQ(elector_.slow_paths(), 1u);
  EXPECT_EQ(elector_.term()->number, 1u);
  EXPECT_EQ(elector_.term()->lead_until, start_ + absl::Seconds(12));
  EXPECT_EQ(Events(), "");
}

TEST_F(LeaseTest, AfterAFailedRenewalOneReadingIsTriedAndThenThePeriodIsKept) {
  Lead();
  Wait();
  EXPECT_EQ(Refuse(LeaseAnswer::kFailed).kind, LeaseAction::kUpdate);
  EXPECT_EQ(Refuse(LeaseAnswer::kFailed).kind, LeaseAction::kGet);
  EXPECT_EQ(Ask().kind, LeaseAction::kWait);
  EXPECT_EQ(Ask().until, start_ + absl::Seconds(4));
  Wait();
  EXPECT_EQ(Refuse(LeaseAnswer::kFailed).kind, LeaseAction::kGet)
      << "what the server has is not known";
  EXPECT_FALSE(elector_.problem().ok());
  Wait();
  Go();
  Go();
  EXPECT_TRUE(elector_.problem().ok()) << elector_.problem();
  EXPECT_EQ(elector_.term()->number, 1u);
}

TEST_F(LeaseTest, AWriteThatFailsAfterAReadingDoesNotLoop) {
  Lead();
  Wait();
  EXPECT_EQ(Refuse(LeaseAnswer::kFailed).kind, LeaseAction::kUpdate);
  EXPECT_EQ(Go().kind, LeaseAction::kGet);
  EXPECT_EQ(Refuse(LeaseAnswer::kFailed).kind, LeaseAction::kUpdate);
  EXPECT_EQ(Ask().kind, LeaseAction::kWait);
}

TEST_F(LeaseTest, ATermEndsOnTimeAndANewOneBeginsEvenWithoutASuccessor) {
  Lead();
  now_ = start_ + absl::Seconds(10) - absl::Nanoseconds(1);
  elector_.Expire(now_);
  EXPECT_TRUE(elector_.term().has_value());
  now_ = start_ + absl::Seconds(10);
  elector_.Expire(now_);
  EXPECT_FALSE(elector_.term().has_value());
  EXPECT_TRUE(absl::StartsWith(Events(), "ended 1 no renewal within 10s"));
  const LeaseRecord before = server_.object->record;
  EXPECT_EQ(Go().kind, LeaseAction::kGet);
  const LeaseAction again = Go();
  EXPECT_EQ(again.record.acquired, before.acquired);
  EXPECT_EQ(again.record.transitions, before.transitions);
  EXPECT_EQ(Events(), "started 2");
}

TEST_F(LeaseTest, ARenewalCountsFromItsSendingHoweverLateItsAnswer) {
  for (int late = 0; late <= 12; ++late) {
    Elector elector("me", LeaseTimes());
    LeaseServer server;
    SteadyTime now = start_;
    const auto go = [&](absl::Duration delay) {
      const SteadyTime sent = now;
      const LeaseAnswer answer = server.Apply(elector.Next({now, kWall}));
      now = now + delay;
      elector.Answered(answer, sent, now, 0.5);
    };
    for (int i = 0; i < 3; ++i) go(absl::ZeroDuration());
    now = elector.Next({now, kWall}).until;  // 2 s after the start
    go(absl::Seconds(late));
    if (late < 8) {  // in the term's time, which ends at 10 s
      ASSERT_TRUE(elector.term().has_value()) << late;
      EXPECT_EQ(elector.term()->number, 1u) << late;
      EXPECT_EQ(elector.term()->lead_until, start_ + absl::Seconds(12)) << late;
    } else if (late < 10) {
      ASSERT_TRUE(elector.term().has_value()) << late;
      EXPECT_EQ(elector.term()->number, 2u) << late << ": after a gap a new term";
      EXPECT_EQ(elector.term()->lead_until, start_ + absl::Seconds(12)) << late;
    } else {
      EXPECT_FALSE(elector.term().has_value()) << late;
    }
  }
}

TEST_F(LeaseTest, AnAcquisitionThatIsAnsweredTooLateIsNoTerm) {
  Go();
  Go(absl::Seconds(10));
  EXPECT_FALSE(elector_.term().has_value());
  EXPECT_EQ(Go().kind, LeaseAction::kGet) << "at once: the Lease bears our name";
  Go();
  EXPECT_EQ(elector_.term()->lead_until, start_ + absl::Seconds(20));
}

TEST_F(LeaseTest, AnAcquisitionWhoseAnswerIsLostLeadsOnlyByTheNextWrite) {
  Go();
  const LeaseAction create = Ask();
  server_.Apply(create);
  Answer(LeaseServer::Refuse(LeaseAnswer::kFailed, "no answer"), now_);
  EXPECT_FALSE(elector_.term().has_value());
  Wait();
  EXPECT_EQ(Go().kind, LeaseAction::kGet);
  EXPECT_FALSE(elector_.term().has_value());
  const LeaseAction claim = Go();
  EXPECT_EQ(claim.record.transitions, 0);
  EXPECT_EQ(elector_.term()->lead_until, now_ + absl::Seconds(10));
}

TEST_F(LeaseTest, AnotherHolderEndsTheTermAtOnce) {
  Lead();
  Wait();
  server_.Write(HeldBy("other"), server_.object->uid);
  Go();
  EXPECT_TRUE(elector_.term().has_value()) << "a conflict alone says nothing";
  Go();
  EXPECT_FALSE(elector_.term().has_value());
  EXPECT_EQ(Events(), "leader other; ended 1 another leads: other");
  EXPECT_EQ(Ask().kind, LeaseAction::kWait);
}

TEST_F(LeaseTest, ALeaseBlankedByAnotherEndsTheTermAndIsTakenAnew) {
  Lead();
  Wait();
  LeaseRecord blank = server_.object->record;
  blank.holder.clear();
  server_.Write(blank, server_.object->uid);
  Go();
  Go();
  EXPECT_EQ(Events(), "ended 1 another released the Lease");
  EXPECT_EQ(Go().record.transitions, blank.transitions + 1);
  EXPECT_EQ(Events(), "leader me; started 2");
}

TEST_F(LeaseTest, ALeaderThatWakesAfter26SecondsLeadsNotForAnInstant) {
  Lead();
  now_ = start_ + absl::Seconds(26);
  EXPECT_FALSE(elector_.MayAct(1, now_)) << "before anything else was called";
  server_.Write(HeldBy("other"), server_.object->uid);
  EXPECT_EQ(Go().kind, LeaseAction::kGet);
  EXPECT_FALSE(elector_.term().has_value());
  EXPECT_EQ(Ask().kind, LeaseAction::kWait);
}

TEST_F(LeaseTest, APutAnswered201IsANewAcquisition) {
  Lead();
  Wait();
  server_.object.reset();
  Go();
  EXPECT_EQ(Events(), "ended 1 the Lease had been deleted; started 2");
  EXPECT_EQ(elector_.term()->lease_uid, "uid-2");
  EXPECT_EQ(elector_.term()->lead_until, now_ + absl::Seconds(10));
}

TEST_F(LeaseTest, ADeletedLeaseThatIsNoticedByReadingEndsTheTermAndIsCreatedAnew) {
  Lead();
  Wait();
  Refuse(LeaseAnswer::kFailed);
  server_.object.reset();
  Go();
  EXPECT_EQ(Events(), "ended 1 the Lease was deleted");
  EXPECT_EQ(Go().kind, LeaseAction::kCreate);
  EXPECT_EQ(Events(), "started 2");
}

TEST_F(LeaseTest, JumpsOfTheWallClockHaveNoEffect) {
  Lead();
  for (const absl::Duration jump : {absl::Hours(1), -absl::Hours(1)}) {
    now_ = now_ + absl::Seconds(2);
    const LeaseAction action = elector_.Next({now_, kWall + jump});
    ASSERT_EQ(action.kind, LeaseAction::kUpdate);
    Answer(server_.Apply(action), now_);
    EXPECT_EQ(elector_.term()->number, 1u);
    EXPECT_EQ(elector_.term()->lead_until, now_ + absl::Seconds(10));
  }
}

TEST_F(LeaseTest, AMarkedEndOfTermIsNotRenewed) {
  Lead();
  Wait();
  LeaseRecord marked = server_.object->record;
  marked.preferred_holder = "other";
  server_.Write(marked, server_.object->uid);
  Go();
  Go();
  EXPECT_TRUE(elector_.term().has_value());
  Wait();
  EXPECT_EQ(Ask().kind, LeaseAction::kWait) << "the term runs out";
  EXPECT_EQ(Ask().until, start_ + absl::Seconds(10));
  now_ = start_ + absl::Seconds(10);
  elector_.Expire(now_);
  EXPECT_FALSE(elector_.term().has_value());
  Go();
  EXPECT_EQ(Ask().kind, LeaseAction::kWait);
}

TEST_F(LeaseTest, AnEffectNeedsItsTermAndASecondMoreThanNow) {
  Lead();
  EXPECT_TRUE(elector_.MayAct(1, start_ + absl::Seconds(9) - absl::Nanoseconds(1)));
  EXPECT_FALSE(elector_.MayAct(1, start_ + absl::Seconds(9)));
  EXPECT_FALSE(elector_.MayAct(0, start_));
  EXPECT_FALSE(elector_.MayAct(2, start_));
}

TEST_F(LeaseTest, AfterAGapEffectsWaitForARenewalThatIsSentAfterIt) {
  Lead();
  Wait();
  const LeaseAction before = Ask();
  const SteadyTime sent = now_;
  now_ = now_ + absl::Seconds(3);
  elector_.RequireRenewal(now_);
  Answer(server_.Apply(before), sent);
  EXPECT_FALSE(elector_.MayAct(1, now_));
  EXPECT_EQ(Go().kind, LeaseAction::kUpdate) << "at once";
  EXPECT_TRUE(elector_.MayAct(1, now_));
  elector_.RequireRenewal(now_ + absl::Seconds(1));
  now_ = now_ + absl::Seconds(1);
  Refuse(LeaseAnswer::kFailed);
  Refuse(LeaseAnswer::kFailed);
  EXPECT_FALSE(elector_.MayAct(1, now_));
  EXPECT_EQ(Ask().kind, LeaseAction::kWait) << "a failure keeps the period";
}

TEST_F(LeaseTest, RetryAfterIsHonouredButNotBeyondTheTerm) {
  Lead();
  Wait();
  EXPECT_EQ(Refuse(LeaseAnswer::kFailed, absl::Seconds(1)).kind, LeaseAction::kUpdate);
  EXPECT_EQ(Ask().until, start_ + absl::Seconds(4)) << "never earlier than the period";
  Wait();
  Refuse(LeaseAnswer::kFailed, absl::Seconds(60));
  EXPECT_EQ(Ask().until, start_ + absl::Seconds(6)) << "one more attempt in the term's time";
}

}  // namespace
}  // namespace failover::kubernetes
