// Following and taking over.
#include <gtest/gtest.h>

#include <functional>

#include "tests/unit/kubernetes/lease_fixture.h"

namespace failover::kubernetes {
namespace {

TEST_F(LeaseTest, WithoutALeaseItIsCreatedAndLed) {
  EXPECT_EQ(Go().kind, LeaseAction::kGet);
  const LeaseAction create = Go();
  EXPECT_EQ(create.kind, LeaseAction::kCreate);
  EXPECT_EQ(create.record.holder, "me");
  EXPECT_EQ(create.record.duration_seconds, 15);
  EXPECT_EQ(create.record.acquired, kWall);
  EXPECT_EQ(create.record.renewed, kWall);
  EXPECT_EQ(create.record.transitions, 0);
  ASSERT_TRUE(elector_.term().has_value());
  EXPECT_EQ(elector_.term()->number, 1u);
  EXPECT_EQ(elector_.term()->lease_uid, "uid-1");
  EXPECT_EQ(elector_.term()->lead_until, start_ + absl::Seconds(10));
  EXPECT_EQ(Events(), "leader me; started 1");
}

TEST_F(LeaseTest, ALostRaceToCreateIsNoError) {
  Go();
  server_.Write(HeldBy("other"), "uid-9");
  EXPECT_EQ(Go().kind, LeaseAction::kCreate);
  EXPECT_FALSE(elector_.term().has_value());
  EXPECT_TRUE(elector_.problem().ok()) << elector_.problem();
  EXPECT_EQ(Ask().kind, LeaseAction::kWait);
}

TEST_F(LeaseTest, AFreeLeaseIsTakenAtOnceAsANewTransition) {
  server_.Write(HeldBy("", 1), "uid-9");
  Go();
  const LeaseAction claim = Go();
  EXPECT_EQ(claim.kind, LeaseAction::kUpdate);
  EXPECT_EQ(claim.record.transitions, 5);
  EXPECT_EQ(claim.record.acquired, kWall);
  EXPECT_TRUE(elector_.term().has_value());
  EXPECT_EQ(elector_.term()->transitions, 5);
}

TEST_F(LeaseTest, AHeldLeaseIsWaitedForAFullDurationFromTheFirstReadingWhateverItsDateSays) {
  server_.Write(HeldBy("other"), "uid-9");
  Go();
  const SteadyTime seen = now_;
  while (!elector_.term().has_value()) {
    Wait();
    const LeaseAction action = Go();
    ASSERT_EQ(action.kind, LeaseAction::kGet);
    if (now_ - seen < absl::Seconds(15)) {
      ASSERT_EQ(Ask().kind, LeaseAction::kWait) << now_ - seen;
      continue;
    }
    const LeaseAction claim = Go();
    EXPECT_EQ(claim.kind, LeaseAction::kUpdate);
    EXPECT_EQ(claim.record.transitions, 5);
  }
  EXPECT_LE(now_ - seen, absl::Seconds(19.4));
}

TEST_F(LeaseTest, TheHoldersOwnDurationCounts) {
  server_.Write(HeldBy("other", 60), "uid-9");
  Go();
  now_ = now_ + absl::Seconds(59.9);
  Go();
  EXPECT_EQ(Ask().kind, LeaseAction::kWait);
  now_ = start_ + absl::Seconds(65);
  Go();
  EXPECT_EQ(Ask().kind, LeaseAction::kUpdate);
}

TEST_F(LeaseTest, ValidityEndsOnlyBeforeTheReadingThatFindsIt) {
  server_.Write(HeldBy("other"), "uid-9");
  Go();
  now_ = start_ + absl::Seconds(14.9);
  Go(absl::Seconds(1));  // sent while it was valid, answered afterwards
  EXPECT_EQ(Ask().kind, LeaseAction::kWait);
}

TEST_F(LeaseTest, ALateReadingCountsFromItsAnswer) {
  server_.Write(HeldBy("other"), "uid-9");
  Go(absl::Seconds(4));
  now_ = start_ + absl::Seconds(18.9);
  Go();
  EXPECT_EQ(Ask().kind, LeaseAction::kWait);
  now_ = start_ + absl::Seconds(22);
  Go();
  EXPECT_EQ(Ask().kind, LeaseAction::kUpdate);
}

TEST_F(LeaseTest, AChangeOfAnyFieldIsASignOfLifeAndALabelIsNone) {
  const std::pair<const char*, std::function<void(LeaseRecord&)>> changes[] = {
      {"holder", [](LeaseRecord& r) { r.holder = "third"; }},
      {"duration", [](LeaseRecord& r) { r.duration_seconds = 14; }},
      {"acquired", [](LeaseRecord& r) { r.acquired += absl::Microseconds(1); }},
      {"renewed within the same second",
       [](LeaseRecord& r) { r.renewed += absl::Microseconds(1); }},
      {"transitions", [](LeaseRecord& r) { ++r.transitions; }},
      {"nothing", [](LeaseRecord&) {}}};
  for (const auto& [what, change] : changes) {
    Elector elector("me", LeaseTimes());
    LeaseServer server;
    LeaseRecord record = HeldBy("other");
    server.Write(record, "uid-9");
    const auto go = [&](double at) {
      const SteadyTime now = start_ + absl::Seconds(at);
      const LeaseAction action = elector.Next({now, kWall});
      if (action.kind != LeaseAction::kWait) elector.Answered(server.Apply(action), now, now, 0);
      return elector.Next({now, kWall}).kind;
    };
    EXPECT_EQ(go(0), LeaseAction::kWait);
    change(record);
    server.Write(record, "uid-9");
    EXPECT_EQ(go(10), LeaseAction::kWait) << what;
    EXPECT_EQ(go(16), std::string(what) == "nothing" ? LeaseAction::kUpdate : LeaseAction::kWait)
        << what;
  }
}

TEST_F(LeaseTest, AFollowerDoesNotTakeTheDeletionOfALeaseForTheEndOfItsHolder) {
  server_.Write(HeldBy("other"), "uid-9");
  Go();
  now_ = start_ + absl::Seconds(40);  // we slept: others may have led meanwhile
  server_.object.reset();
  Go();
  while (Ask().kind == LeaseAction::kWait) {
    ASSERT_LT(now_, start_ + absl::Seconds(60));
    Wait();
    Go();
  }
  EXPECT_GE(now_, start_ + absl::Seconds(55));
  EXPECT_EQ(Go().kind, LeaseAction::kCreate);
  EXPECT_TRUE(elector_.term().has_value());
}

TEST_F(LeaseTest, AFormerLeaderThatSleptDoesNotRecreateADeletedLeaseAtOnce) {
  Lead();
  now_ = start_ + absl::Seconds(40);
  server_.object.reset();
  Go();
  EXPECT_EQ(Ask().kind, LeaseAction::kWait);
}

TEST_F(LeaseTest, ATakeoverThatMakesADeletedLeaseAnewWaitsOutWhoeverTookItBefore) {
  server_.Write(HeldBy("other"), "uid-9");
  Go();
  now_ = start_ + absl::Seconds(15);
  Go();
  server_.object.reset();  // a third one took it over, and then it was deleted
  const SteadyTime made = now_;
  EXPECT_EQ(Go().kind, LeaseAction::kUpdate);
  EXPECT_EQ(server_.object->record.holder, "me") << "it keeps others out";
  while (!elector_.term().has_value()) {
    ASSERT_LT(now_, made + absl::Seconds(20));
    if (Ask().kind == LeaseAction::kWait) Wait();
    Go();
  }
  EXPECT_GE(now_, made + absl::Seconds(15));
}

TEST_F(LeaseTest, OurOwnNameOfAnEarlierLifeIsAnothers) {
  server_.Write(HeldBy("me"), "uid-9");
  Go();
  EXPECT_EQ(Ask().kind, LeaseAction::kWait);
  now_ = start_ + absl::Seconds(15);
  Go();
  EXPECT_EQ(Go().record.transitions, 5);
}

TEST_F(LeaseTest, AFollowerWaitsBetweenOneAndTwoPointTwoPeriods) {
  server_.Write(HeldBy("other"), "uid-9");
  for (const auto& [uniform, seconds] :
       {std::pair(0.0, 2.0), std::pair(0.5, 3.2), std::pair(1.0, 4.4)}) {
    Elector elector("me", LeaseTimes());
    elector.Answered(server_.Apply(elector.Next({now_, kWall})), now_, now_, uniform);
    const LeaseAction wait = elector.Next({now_, kWall});
    EXPECT_EQ(wait.kind, LeaseAction::kWait);
    EXPECT_NEAR(absl::ToDoubleSeconds(wait.until - now_), seconds, 1e-6);
  }
}

TEST_F(LeaseTest, AFollowerLooksAgainTheMomentTheLeaseRunsOut) {
  server_.Write(HeldBy("other"), "uid-9");
  Go();
  now_ = start_ + absl::Seconds(14);
  Go();
  Wait();
  EXPECT_EQ(now_, start_ + absl::Seconds(15));
  Go();
  EXPECT_EQ(Go().kind, LeaseAction::kUpdate);
}

TEST_F(LeaseTest, AnAbsenceCountsOnlyWhileItIsLookedAt) {
  server_.Write(HeldBy("other"), "uid-9");
  Go();
  server_.object.reset();
  Wait();
  Go();
  now_ =
      now_ + absl::Seconds(40);  // we slept: somebody may have created it, led, and lost it again
  Go();
  EXPECT_EQ(Ask().kind, LeaseAction::kWait);
}

TEST_F(LeaseTest, ARequestIsGivenUpAfterHalfTheRenewDeadline) {
  EXPECT_EQ(Ask().until, now_ + absl::Seconds(5));
}

TEST_F(LeaseTest, AFollowerIsAskedToWaitAtMostADuration) {
  Refuse(LeaseAnswer::kFailed, absl::Seconds(7));
  EXPECT_EQ(Ask().until, now_ + absl::Seconds(7));
  now_ = Ask().until;
  Refuse(LeaseAnswer::kFailed, absl::Hours(7));
  EXPECT_EQ(Ask().until, now_ + absl::Seconds(15));
}

TEST_F(LeaseTest, AForbiddenFollowerGoesOnFollowingAndSaysWhy) {
  Refuse(LeaseAnswer::kForbidden);
  EXPECT_TRUE(absl::IsPermissionDenied(elector_.problem())) << elector_.problem();
  Wait();
  EXPECT_EQ(Go().kind, LeaseAction::kGet);
  EXPECT_TRUE(elector_.problem().ok());
}

TEST_F(LeaseTest, ACreateThatFindsNoNamespaceIsAnErrorOfTheConfiguration) {
  Go();
  Refuse(LeaseAnswer::kNotFound);
  EXPECT_EQ(Events(), "broken refused");
  EXPECT_EQ(Ask().kind, LeaseAction::kEnd);
}

TEST_F(LeaseTest, AnAnswerWithoutALeaseIsAFailedAttempt) {
  LeaseAnswer empty;
  empty.kind = LeaseAnswer::kOk;
  Ask();
  Answer(empty, now_);
  EXPECT_FALSE(elector_.problem().ok());
  EXPECT_EQ(Ask().kind, LeaseAction::kWait);
}

TEST_F(LeaseTest, EveryChangeOfLeaderIsToldOnce) {
  server_.Write(HeldBy("a"), "uid-9");
  Go();
  EXPECT_EQ(Events(), "leader a");
  Wait();
  Go();
  EXPECT_EQ(Events(), "");
  server_.Write(HeldBy("b"), "uid-9");
  Wait();
  Go();
  EXPECT_EQ(Events(), "leader b");
  EXPECT_EQ(elector_.leader(), "b");
}

}  // namespace
}  // namespace failover::kubernetes
