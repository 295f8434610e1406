#include "controller/cli/watch.h"

#include "controller/cli/output.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/unit/cli/fixtures.h"

namespace failover::cli {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

SteadyTime At(int64_t seconds) { return {absl::Seconds(seconds)}; }

TEST(Watched, AgesGrowByTheControllersClock) {
  Watched watched;
  watched.OnAnswer(Status(Healthy()), At(100));
  EXPECT_THAT(watched.Draw(100, false, At(100)), HasSubstr("read 12s ago"));
  EXPECT_THAT(watched.Draw(100, false, At(130)), HasSubstr("read 42s ago"));
}

TEST(Watched, LostContactCountsFromTheLastAnswerAndKeepsItsScreen) {
  Watched watched;
  watched.OnAnswer(Status(Healthy()), At(100));
  watched.OnAnswer(absl::UnavailableError("cannot reach the controller"), At(101));
  watched.OnAnswer(absl::UnavailableError("cannot reach the controller"), At(112));
  const std::string lost = watched.Draw(100, false, At(112));
  EXPECT_THAT(lost, HasSubstr("LOST CONTACT since 12s: cannot reach the controller"));
  EXPECT_THAT(lost, HasSubstr("HEALTHY"));
  watched.OnAnswer(Status(Healthy()), At(113));
  EXPECT_THAT(watched.Draw(100, false, At(113)), Not(HasSubstr("LOST CONTACT")));
}

TEST(Watched, WithoutAnyAnswerItSaysForHowLong) {
  Watched watched;
  EXPECT_THAT(watched.Draw(100, false, At(100)), HasSubstr("asking the controller"));
  watched.OnAnswer(absl::UnavailableError("refused"), At(100));
  watched.OnAnswer(absl::UnavailableError("refused"), At(105));
  EXPECT_THAT(watched.Draw(100, false, At(110)), HasSubstr("no contact for 10s: refused"));
}

TEST(Frame, ClearsWhatItReplaces) {
  EXPECT_EQ(Frame("a\nb\n", 10), "\x1b[Ha\x1b[K\r\nb\x1b[K\r\n\x1b[J");
}

TEST(Frame, IsCutToTheRowsOfTheTerminal) {
  const std::string frame = Frame("1\n2\n3\n4\n5\n", 4);
  EXPECT_THAT(frame, HasSubstr("2\x1b[K"));
  EXPECT_THAT(frame, Not(HasSubstr("3\x1b[K")));
  EXPECT_THAT(frame, HasSubstr("… 3 more lines"));
}

TEST(Output, YamlQuotesStringsAndKeepsTheRest) {
  v1::GetHistoryResponse history;
  history.set_chain_intact(true);
  history.add_entries()->set_text("a: \"b\"");
  const std::string yaml = ToYaml(history);
  EXPECT_THAT(yaml, HasSubstr("chainIntact: true"));
  EXPECT_THAT(yaml, HasSubstr("text: \"a: \\\"b\\\"\""));
  EXPECT_THAT(yaml, HasSubstr("decisions: []"));
}

TEST(Output, JsonOnOneLineForTheWatch) {
  const std::string json = ToJson(v1::GetHistoryResponse(), true);
  EXPECT_EQ(json, "{\"entries\":[],\"chainIntact\":false,\"decisions\":[]}\n");
}

}  // namespace
}  // namespace failover::cli
