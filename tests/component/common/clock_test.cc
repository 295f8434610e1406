#include "common/clock.h"

#include <gtest/gtest.h>

#include <thread>

#include "tests/support/fake_clock.h"

namespace failover {
namespace {

TEST(RealClockTest, BothClocksRunAndSleepingEndsAtTheDeadline) {
  const Now before = RealClock().Read();
  const SteadyTime deadline = before.steady + absl::Milliseconds(20);
  EXPECT_TRUE(RealClock().SleepUntil(deadline, std::stop_token()));
  EXPECT_GE(RealClock().Steady(), deadline);
  EXPECT_GT(RealClock().Wall(), before.wall);
}

TEST(RealClockTest, ADeadlineInThePastReturnsAtOnce) {
  EXPECT_TRUE(RealClock().SleepUntil(SteadyTime::InfinitePast(), std::stop_token()));
}

TEST(RealClockTest, AStopEndsASleepWithoutEnd) {
  bool reached = true;
  std::jthread sleeper([&reached](std::stop_token stop) {
    reached = RealClock().SleepUntil(SteadyTime::InfiniteFuture(), stop);
  });
  sleeper.request_stop();
  sleeper.join();
  EXPECT_FALSE(reached);
}

TEST(FakeClockTest, ASleeperWakesWhenTheTestGetsThere) {
  FakeClock clock;
  const SteadyTime start = clock.Steady();
  SteadyTime woken;
  std::jthread sleeper([&](std::stop_token stop) {
    EXPECT_TRUE(clock.SleepUntil(start + absl::Hours(5), stop));
    woken = clock.Steady();
  });
  ASSERT_TRUE(clock.WaitForSleepers(1));
  clock.Advance(absl::Hours(4));
  ASSERT_TRUE(clock.WaitForSleepers(1)) << "still asleep";
  EXPECT_TRUE(clock.AdvanceToNextSleeper());
  sleeper.join();
  EXPECT_EQ(woken, start + absl::Hours(5));
  EXPECT_FALSE(clock.AdvanceToNextSleeper());
}

TEST(FakeClockTest, AStopEndsASleep) {
  FakeClock clock;
  bool reached = true;
  std::jthread sleeper([&](std::stop_token stop) {
    reached = clock.SleepUntil(SteadyTime::InfiniteFuture(), stop);
  });
  ASSERT_TRUE(clock.WaitForSleepers(1));
  sleeper.request_stop();
  sleeper.join();
  EXPECT_FALSE(reached);
}

}  // namespace
}  // namespace failover
