#include "common/crash_point.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <stdlib.h>

namespace failover {
namespace {

// Each case runs in a process of its own, since a program reads the variable once.
class CrashPointDeathTest : public testing::Test {
 protected:
  void SetUp() override { GTEST_FLAG_SET(death_test_style, "threadsafe"); }
  void TearDown() override { unsetenv("FAILOVER_CRASH_POINT"); }

  static void PassTwice(const char* armed) {
    setenv("FAILOVER_CRASH_POINT", armed, 1);
    CrashPoint("a.before");
    CrashPoint("b");
    CrashPoint("a.before");
    _exit(7);
  }
};

TEST_F(CrashPointDeathTest, TheNamedPointKills) {
  EXPECT_EXIT(PassTwice("a.before"), testing::KilledBySignal(SIGKILL), "");
  EXPECT_EXIT(PassTwice("b"), testing::KilledBySignal(SIGKILL), "");
}

TEST_F(CrashPointDeathTest, ANumberKillsAtThatPassage) {
  EXPECT_EXIT(PassTwice("a.before:2"), testing::KilledBySignal(SIGKILL), "");
  EXPECT_EXIT(PassTwice("a.before:3"), testing::ExitedWithCode(7), "");
}

TEST_F(CrashPointDeathTest, AnythingElseDoesNothing) {
  EXPECT_EXIT(PassTwice("c"), testing::ExitedWithCode(7), "");
  EXPECT_EXIT(PassTwice(""), testing::ExitedWithCode(7), "");
  EXPECT_EXIT(PassTwice("a.befor"), testing::ExitedWithCode(7), "");
}

}  // namespace
}  // namespace failover
