#include "agent/schedule.h"

#include <gtest/gtest.h>

#include <vector>

namespace failover::agent {
namespace {

SteadyTime At(double seconds) { return {absl::Seconds(seconds)}; }
// The boot clock reads 1000 s when the wall clock reads `wall` seconds.
Now NowAt(double steady, double wall_minus_steady) {
  return {At(steady), absl::UnixEpoch() + absl::Seconds(steady + wall_minus_steady)};
}

Cadence Every(double interval, double timeout, double phase = 0) {
  Cadence cadence;
  cadence.interval = absl::Seconds(interval);
  cadence.timeout = absl::Seconds(timeout);
  cadence.phase = absl::Seconds(phase);
  return cadence;
}

TEST(TargetSchedule, SlotsLieAtThePhaseOfTheWallClocksInterval) {
  // Wall clock 1007.5 s: in slots of 5 s with phase 1 s the next ones are 1011, 1016, …
  TargetSchedule schedule(Every(5, 1, 1), NowAt(100, 907.5));
  EXPECT_EQ(schedule.next(), At(103.5));
  EXPECT_FALSE(schedule.TakeDue(At(103.4)));
  const auto start = schedule.TakeDue(At(103.6));
  ASSERT_TRUE(start);
  EXPECT_EQ(start->scheduled, At(103.5));
  EXPECT_FALSE(start->burst);
  EXPECT_EQ(schedule.next(), At(108.5));
}

TEST(TargetSchedule, ThreePhasesAreSpreadOverTheInterval) {
  std::vector<absl::Duration> slots;
  for (const double phase : {0.0, 1.0, 2.0}) {
    TargetSchedule schedule(Every(3, 1, phase), NowAt(0, 3000));
    slots.push_back(schedule.next().since_epoch);
  }
  EXPECT_EQ(slots,
            (std::vector<absl::Duration>{absl::Seconds(3), absl::Seconds(1), absl::Seconds(2)}));
}

TEST(TargetSchedule, CadenceDoesNotDependOnHowLongProbesTake) {
  TargetSchedule schedule(Every(1, 3), NowAt(0, 0));
  for (int slot = 1; slot <= 4; ++slot) {  // none of them ends
    ASSERT_TRUE(schedule.TakeDue(At(slot))) << slot;
    EXPECT_EQ(schedule.next(), At(slot + 1));
  }
}

TEST(TargetSchedule, ProbesInFlightAreCappedAndSkippedSlotsCounted) {
  TargetSchedule schedule(Every(1, 2.5), NowAt(0, 0));
  EXPECT_EQ(schedule.cap(), 4);  // three slots in 2.5 s, and one for an overrun
  ProbeStart first{};
  for (int slot = 1; slot <= 4; ++slot) {
    const auto start = schedule.TakeDue(At(slot));
    ASSERT_TRUE(start);
    if (slot == 1) first = *start;
  }
  EXPECT_FALSE(schedule.TakeDue(At(5)));
  EXPECT_EQ(schedule.missed_in_flight(), 1u);
  schedule.OnAbandoned(first, At(5.5));
  EXPECT_TRUE(schedule.TakeDue(At(6)));
}

TEST(TargetSchedule, ALateLoopSkipsMissedSlotsAndFiresNoBacklog) {
  TargetSchedule schedule(Every(1, 0.5), NowAt(0, 0));
  EXPECT_FALSE(schedule.TakeDue(At(4.3)));  // slots 1 to 4 are gone
  EXPECT_EQ(schedule.missed_late(), 4u);
  EXPECT_EQ(schedule.next(), At(5));
  EXPECT_TRUE(schedule.TakeDue(At(5.01)));
}

TEST(TargetSchedule, ASlightlyLateSlotIsStillProbed) {
  TargetSchedule schedule(Every(1, 0.5), NowAt(0, 0));
  const auto start = schedule.TakeDue(At(1.9));
  ASSERT_TRUE(start);
  EXPECT_EQ(start->scheduled, At(1));
  EXPECT_EQ(schedule.next(), At(2));
}

class Bursts : public testing::Test {
 protected:
  void SetUp() override {
    Cadence cadence = Every(10, 2);
    cadence.burst_count = 3;
    cadence.burst_spacing = absl::Milliseconds(200);
    schedule_.emplace(cadence, NowAt(0, 0));
    regular_ = *schedule_->TakeDue(At(10));
  }
  ProbeStart MustStart(double at) {
    const auto start = schedule_->TakeDue(At(at));
    EXPECT_TRUE(start) << at;
    return start.value_or(ProbeStart{});
  }
  std::optional<TargetSchedule> schedule_;
  ProbeStart regular_;
};

TEST_F(Bursts, TheFirstFailureBeginsOneAtOnce) {
  schedule_->OnResult(regular_, false, At(10.1));
  EXPECT_EQ(schedule_->next(), At(10.1));
  const ProbeStart probe = MustStart(10.1);
  EXPECT_TRUE(probe.burst);
  EXPECT_EQ(schedule_->next(), At(10.3));  // spacing
}

TEST_F(Bursts, TheNextProbeBeginsWhenThePreviousFailed) {
  schedule_->OnResult(regular_, false, At(10.1));
  const ProbeStart probe = MustStart(10.1);
  schedule_->OnResult(probe, false, At(10.11));
  EXPECT_EQ(schedule_->next(), At(10.11));
}

TEST_F(Bursts, AHangingTargetIsProbedBySpacingAndOnlySoOften) {
  schedule_->OnResult(regular_, false, At(12));
  MustStart(12);
  MustStart(12.2);
  const ProbeStart last = MustStart(12.4);
  EXPECT_EQ(schedule_->next(), At(20));
  schedule_->OnResult(last, false, At(14.4));
  EXPECT_EQ(schedule_->next(), At(20)) << "a second burst began in the same run of failures";
}

TEST_F(Bursts, AFailureOfAnEarlierProbeHastensNothing) {
  schedule_->OnResult(regular_, false, At(12));
  const ProbeStart first = MustStart(12);
  MustStart(12.2);
  schedule_->OnResult(first, false, At(12.25));
  EXPECT_EQ(schedule_->next(), At(12.4));
}

TEST_F(Bursts, ASuccessEndsIt) {
  schedule_->OnResult(regular_, false, At(12));
  const ProbeStart probe = MustStart(12);
  schedule_->OnResult(probe, true, At(12.05));
  EXPECT_EQ(schedule_->next(), At(20));
}

TEST_F(Bursts, AfterASuccessTheNextFailureBeginsAnother) {
  schedule_->OnResult(regular_, false, At(12));
  schedule_->OnResult(MustStart(12), true, At(12.05));
  schedule_->OnResult(MustStart(20), false, At(20.5));
  EXPECT_EQ(schedule_->next(), At(20.5));
}

TEST_F(Bursts, ALaterFailureBeginsNone) {
  schedule_->OnResult(regular_, false, At(10.1));
  for (int i = 0; i < 3; ++i)
    schedule_->OnResult(MustStart(10.2 + i * 0.2), false, At(10.21 + i * 0.2));
  EXPECT_EQ(schedule_->next(), At(20));
  schedule_->OnResult(MustStart(20), false, At(20.1));
  EXPECT_EQ(schedule_->next(), At(30));
}

TEST_F(Bursts, TheControllerMayAskForOneUnlessOneIsRunning) {
  schedule_->OnResult(regular_, true, At(10.1));
  schedule_->RequestBurst(At(11));
  MustStart(11);
  schedule_->RequestBurst(At(11.05));
  EXPECT_EQ(schedule_->next(), At(11.2));
  MustStart(11.2);
  MustStart(11.4);
  schedule_->RequestBurst(At(11.5));  // its probes are still in flight
  EXPECT_EQ(schedule_->next(), At(20));
}

TEST_F(Bursts, AProbeThatSaysNothingEndsItAndIsNoFailure) {
  schedule_->OnResult(regular_, false, At(10.1));
  schedule_->OnAbandoned(MustStart(10.1), At(10.2));
  EXPECT_EQ(schedule_->next(), At(20));
}

TEST_F(Bursts, WithoutSpacingOnlyAFailureBeginsTheNext) {
  Cadence cadence = Every(10, 2);
  cadence.burst_count = 3;
  TargetSchedule schedule(cadence, NowAt(0, 0));
  schedule.OnResult(*schedule.TakeDue(At(10)), false, At(10.1));
  const auto first = schedule.TakeDue(At(10.1));
  EXPECT_EQ(schedule.next(), At(20));
  schedule.OnResult(*first, false, At(10.2));
  EXPECT_EQ(schedule.next(), At(10.2));
}

TEST_F(Bursts, ANewDefinitionMakesTheNextFailureAFirstOne) {
  schedule_->OnResult(regular_, false, At(10.1));
  for (int i = 0; i < 3; ++i)
    schedule_->OnResult(MustStart(10.2 + i * 0.2), false, At(10.21 + i * 0.2));
  schedule_->Forget();
  schedule_->OnResult(MustStart(20), false, At(20.1));
  EXPECT_EQ(schedule_->next(), At(20.1));
}

TEST(TargetSchedule, AnUnchangedCadenceKeepsItsSlots) {
  TargetSchedule schedule(Every(5, 1), NowAt(2, 0));
  EXPECT_EQ(schedule.next(), At(5));
  schedule.Change(Every(5, 2), NowAt(4, 300.5));  // the wall clock was set meanwhile
  EXPECT_EQ(schedule.next(), At(5));
  schedule.Change(Every(2, 2), NowAt(4.5, 0));
  EXPECT_EQ(schedule.next(), At(6));
}

}  // namespace
}  // namespace failover::agent
