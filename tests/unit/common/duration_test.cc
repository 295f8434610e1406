#include <gtest/gtest.h>

#include "absl/strings/match.h"
#include "common/config_file.h"

namespace failover {
namespace {

TEST(DurationTest, EachUnitIsReadAndWrittenBack) {
  const struct {
    const char* text;
    absl::Duration duration;
  } cases[] = {
      {"500ms", absl::Milliseconds(500)},
      {"30s", absl::Seconds(30)},
      {"5m", absl::Minutes(5)},
      {"8h", absl::Hours(8)},
      {"30d", absl::Hours(720)},
      {"1h30m", absl::Minutes(90)},
      {"1d2h3m4s5ms",
       absl::Hours(26) + absl::Minutes(3) + absl::Seconds(4) + absl::Milliseconds(5)},
  };
  for (const auto& c : cases) {
    const auto parsed = ParseDuration(c.text);
    ASSERT_TRUE(parsed.ok()) << parsed.status();
    EXPECT_EQ(*parsed, c.duration);
    EXPECT_EQ(failover::FormatDuration(c.duration), c.text);
  }
}

TEST(DurationTest, AnythingElseIsRefusedWithWhatIsAllowed) {
  for (const char* text :
       {"",   "0s",  "0",  "5",  "-5s",   "+5s",  "1.5h", "5 s",  " 5s",          "5s ", "s",
        "ms", "inf", "5x", "5S", "30m1h", "1h1h", "5m5",  "1e3s", "99999999999s", "1hh", "5msm"}) {
    const auto parsed = ParseDuration(text);
    ASSERT_FALSE(parsed.ok()) << text;
    EXPECT_TRUE(absl::StrContains(parsed.status().message(), "allowed: a positive duration"))
        << parsed.status();
    EXPECT_TRUE(absl::StrContains(parsed.status().message(), text));
  }
}

TEST(DurationTest, TheLargestCountsDoNotOverflow) {
  const auto parsed = ParseDuration("999999999d");
  ASSERT_TRUE(parsed.ok());
  EXPECT_EQ(*parsed, absl::Hours(24) * 999'999'999);
  EXPECT_EQ(failover::FormatDuration(*parsed), "999999999d");
}

TEST(DurationTest, ZeroNegativeAndInfiniteAreWrittenForPeople) {
  EXPECT_EQ(failover::FormatDuration(absl::ZeroDuration()), "0s");
  EXPECT_EQ(failover::FormatDuration(absl::Microseconds(400)), "0s");
  EXPECT_EQ(failover::FormatDuration(-absl::Seconds(90)), "-1m30s");
  EXPECT_EQ(failover::FormatDuration(absl::InfiniteDuration()), "inf");
  EXPECT_EQ(failover::FormatDuration(-absl::InfiniteDuration()), "-inf");
}

}  // namespace
}  // namespace failover
