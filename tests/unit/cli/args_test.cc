#include "controller/cli/args.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace failover::cli {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::string Error(const std::vector<std::string>& arguments) {
  const auto args = ParseArgs(arguments);
  return args.ok() ? "no error" : std::string(args.status().message());
}

TEST(Args, FlagsMayStandAnywhere) {
  const auto args = ParseArgs({"-w", "status", "--controller", "a:1", "orders", "--timeout=5s"});
  ASSERT_TRUE(args.ok()) << args.status();
  EXPECT_EQ(args->verb->id, VerbId::kStatus);
  EXPECT_THAT(args->words, ElementsAre("orders"));
  EXPECT_TRUE(args->Has("--watch"));
  EXPECT_EQ(args->Value("--controller"), "a:1");
  EXPECT_EQ(args->Value("--timeout"), "5s");
}

TEST(Args, AVerbOfTwoWordsWinsOverOneOfOne) {
  EXPECT_EQ(ParseArgs({"operations", "abandon", "orders", "0f"})->verb->id,
            VerbId::kOperationsAbandon);
  EXPECT_EQ(ParseArgs({"operations", "orders"})->verb->id, VerbId::kOperations);
}

TEST(Args, ForceMayBeRepeatedAndOthersMayNot) {
  const auto args =
      ParseArgs({"failover", "--force", "drift", "--force=unverified", "--reason", "r"});
  ASSERT_TRUE(args.ok()) << args.status();
  EXPECT_THAT(args->Values("--force"), ElementsAre("drift", "unverified"));
  EXPECT_EQ(Error({"failover", "--reason", "a", "--reason", "b"}),
            "found --reason twice; allowed: once");
}

TEST(Args, AfterTwoDashesEverythingIsAWord) {
  EXPECT_THAT(ParseArgs({"status", "--", "--odd"})->words, ElementsAre("--odd"));
}

TEST(Args, NothingIsHelp) {
  EXPECT_TRUE(ParseArgs({})->help);
  EXPECT_TRUE(ParseArgs({"--help"})->help);
}

TEST(Args, ErrorsNameTheArgumentWhatWasFoundAndWhatIsAllowed) {
  const struct {
    std::vector<std::string> arguments;
    const char* expected;
  } kCases[] = {
      {{"stauts"},
       "verb: found \"stauts\"; did you mean status?; `failoverctl help` lists all verbs"},
      {{"frobnicate"}, "verb: found \"frobnicate\"; `failoverctl help` lists all verbs"},
      {{"sync"}, "verb: found \"sync\"; allowed: sync run, sync diff, sync freeze, sync thaw"},
      {{"sync", "rum"}, "did you mean sync run?"},
      {{"--yes"}, "verb: found nothing"},
      {{"status", "a", "b"}, "status: found \"b\" too much; allowed: failoverctl status GROUP"},
      {{"approve"}, "approve: found no ID; allowed: failoverctl approve [GROUP] ID"},
      {{"failover"}, "failover: found no --reason; needed: --reason TEXT"},
      {{"adopt"}, "adopt: found no --active; needed: --active SERVICE"},
      {{"pause", "--for", "2x", "--reason", "r"}, "--for: "},
      {{"status", "-o", "xml"}, "--output: found \"xml\"; allowed: table, json, yaml"},
      {{"status", "--timeout", "-5s"}, "--timeout: "},
      {{"history", "--limit", "0"}, "--limit: found \"0\"; allowed: 1 to 500"},
      {{"status", "--controller"}, "--controller: found nothing; allowed: HOST:PORT"},
      {{"status", "--insecure=yes"}, "--insecure: found \"yes\"; allowed: no value"},
      {{"status", "--forse"}, "found --forse, which no verb knows; did you mean --force?"},
      {{"status", "--to", "x"}, "found --to; allowed with status: "},
  };
  for (const auto& test : kCases) EXPECT_THAT(Error(test.arguments), HasSubstr(test.expected));
}

TEST(Help, ExistsForTheProgramForAFamilyAndForEveryVerb) {
  EXPECT_THAT(HelpText(), HasSubstr("Exit codes: 0 good, 1 degraded or refused, 2 cannot tell"));
  for (const Verb& verb : Verbs()) {
    EXPECT_THAT(HelpText(), HasSubstr(verb.name));
    const auto text = HelpText(verb.name);
    ASSERT_TRUE(text.ok()) << verb.name;
    EXPECT_THAT(*text, HasSubstr(verb.summary));
  }
  EXPECT_THAT(*HelpText("sync"), HasSubstr("failoverctl sync thaw [GROUP]"));
  EXPECT_THAT(
      *HelpText("failover"),
      HasSubstr("failoverctl failover [GROUP] [--to STANDBY] [--force BLOCKER]... --reason TEXT"));
  EXPECT_THAT(std::string(HelpText("stats").status().message()), HasSubstr("did you mean status?"));
  EXPECT_THAT(ParseArgs({"sync", "--help"})->words, ElementsAre("sync"));
  EXPECT_THAT(ParseArgs({"status", "orders", "--help"})->words, ElementsAre("status"));
}

TEST(Help, EveryFlagOfAVerbIsInTheTable) {
  for (const Verb& verb : Verbs()) {
    for (const char* name : verb.flags) {
      EXPECT_TRUE(std::any_of(Flags().begin(), Flags().end(), [&](const Flag& flag) {
        return absl::string_view(flag.name) == name;
      })) << name;
    }
  }
}

}  // namespace
}  // namespace failover::cli
