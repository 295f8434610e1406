#include "agent/reporter.h"

#include <gtest/gtest.h>

namespace failover::agent {
namespace {

TEST(ReconnectDelay, GrowsFromHalfASecondToFifteenAndIsSpread) {
  EXPECT_EQ(ReconnectDelay(0, 0), absl::Milliseconds(500));
  EXPECT_EQ(ReconnectDelay(1, 0), absl::Seconds(1));
  EXPECT_EQ(ReconnectDelay(3, 0), absl::Seconds(4));
  for (const int failures : {0, 1, 5, 20, 1000000}) {
    for (const double random : {0.0, 0.5, 0.999}) {
      EXPECT_GE(ReconnectDelay(failures, random), absl::Milliseconds(500));
      EXPECT_LE(ReconnectDelay(failures, random), absl::Seconds(15));
    }
    EXPECT_GT(ReconnectDelay(failures, 0.9), ReconnectDelay(failures, 0.1))
        << "agents would come in step";
  }
}

}  // namespace
}  // namespace failover::agent
