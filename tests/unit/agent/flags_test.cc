#include "agent/flags.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace failover::agent {
namespace {

TEST(ParseFlags, ValuesComeWithOrWithoutAnEqualsSign) {
  const auto flags =
      ParseFlags({"--config", "a.yaml", "--log-format=text", "--log-level", "debug", "--insecure"});
  ASSERT_TRUE(flags.ok()) << flags.status();
  EXPECT_EQ(flags->action, Flags::Action::kRun);
  EXPECT_EQ(flags->config, "a.yaml");
  EXPECT_EQ(flags->log_format, LogFormat::kText);
  EXPECT_EQ(flags->log_level, LogLevel::kDebug);
  EXPECT_TRUE(flags->insecure);
  EXPECT_EQ(ParseFlags({"--check-config=b"})->action, Flags::Action::kCheckConfig);
  EXPECT_EQ(ParseFlags({"--help"})->action, Flags::Action::kHelp);
  EXPECT_EQ(ParseFlags({"--version"})->action, Flags::Action::kVersion);
}

TEST(ParseFlags, EverythingElseIsRefusedByName) {
  const std::vector<std::vector<std::string>> bad = {{},
                                                     {"--config"},
                                                     {"--config="},
                                                     {"--confg", "a"},
                                                     {"a.yaml"},
                                                     {"--insecure=yes", "--config=a"},
                                                     {"--config=a", "--log-level=loud"},
                                                     {"--config=a", "--log-format=xml"},
                                                     {"--config=a", "--check-config=a"}};
  for (const auto& arguments : bad) {
    const auto flags = ParseFlags(arguments);
    EXPECT_TRUE(absl::IsInvalidArgument(flags.status()))
        << (arguments.empty() ? "(none)" : arguments.back());
  }
}

}  // namespace
}  // namespace failover::agent
