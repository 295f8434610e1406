#include "controller/cli/text.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace failover::cli {
namespace {

using ::testing::ElementsAre;

TEST(Span, HasAtMostTwoUnits) {
  EXPECT_EQ(Span(-5), "0.0s");
  EXPECT_EQ(Span(420), "0.4s");
  EXPECT_EQ(Span(9'949), "9.9s");
  EXPECT_EQ(Span(9'960), "10s");
  EXPECT_EQ(Span(59'400), "59s");
  EXPECT_EQ(Span(59'600), "1m");
  EXPECT_EQ(Span(252'000), "4m12s");
  EXPECT_EQ(Span(3 * 3'600'000 + 5 * 60'000), "3h05m");
  EXPECT_EQ(Span(52 * 3'600'000), "2d4h");
  EXPECT_EQ(Span(48 * 3'600'000), "2d");
}

TEST(Ages, AreToldByTheGivenMoment) {
  const View view{1'000'000, 80, false};
  EXPECT_EQ(Ago(view, 0), "never");
  EXPECT_EQ(Ago(view, 1'000'000), "now");
  EXPECT_EQ(Ago(view, 1'000'500), "now");
  EXPECT_EQ(Ago(view, 996'000), "4s ago");
  EXPECT_EQ(Ago(view, 1'060'000), "in 1m");
  EXPECT_EQ(In(view, 999'000), "now");
  EXPECT_EQ(In(view, 1'000'200), "in 1s");
}

TEST(Clean, LeavesNothingThatSteersATerminal) {
  EXPECT_EQ(Clean("a\x1b[31mb"), "a?[31mb");
  EXPECT_EQ(Clean("a\nb\tc"), "a b c");
  EXPECT_EQ(Clean("\xc2\x9b"), "?");
  EXPECT_EQ(Clean("weu → neu"), "weu → neu");
  EXPECT_EQ(Clean("\xff"), "\xef\xbf\xbd");
}

TEST(Wrap, BreaksAtSpacesAndCutsWordsThatAreTooLong) {
  EXPECT_THAT(Wrap("one two three four", 10), ElementsAre("one two", "three four"));
  EXPECT_THAT(Wrap("0123456789abc", 10), ElementsAre("0123456789", "abc"));
  EXPECT_THAT(Wrap("→→→→→→→→→→→", 10), ElementsAre("→→→→→→→→→→", "→"));
  EXPECT_THAT(Wrap("", 10), ElementsAre(""));
}

TEST(Bar, IsNeverLongerThanItsCells) {
  EXPECT_EQ(Bar(0.5, 10), "[#####.....]  50%");
  EXPECT_EQ(Bar(7, 4), "[####] 100%");
  EXPECT_EQ(Bar(-1, 4), "[....]   0%");
  EXPECT_EQ(Bar(0.0 / 0.0, 4), "[....]   0%");
}

TEST(Size, ReadsLikeAPerson) {
  EXPECT_EQ(Size(12), "12 B");
  EXPECT_EQ(Size(1'468'006), "1.4 MiB");
}

TEST(Table, DropsColumnsByTheirNumberAndCutsTheLast) {
  Table table({{"NAME"}, {"REGION", 2}, {"AGE", 1}, {"TEXT"}});
  table.Row({"a", "westeurope", "12s", "0123456789"});
  EXPECT_EQ(table.Draw({0, 80, false}, 0),
            "NAME  REGION      AGE  TEXT\na     westeurope  12s  0123456789\n");
  EXPECT_EQ(table.Draw({0, 24, false}, 0), "NAME  AGE  TEXT\na     12s  0123456789\n");
  EXPECT_EQ(table.Draw({0, 12, false}, 0), "NAME  TEXT\na     01234…\n");
}

TEST(Field, KeepsItsIndent) {
  EXPECT_EQ(Field({0, 30, false}, "label", "one two three four five", Tone::kPlain),
            "  label       one two three\n              four five\n");
}

}  // namespace
}  // namespace failover::cli
