#include "agent/assertions.h"

#include <gtest/gtest.h>

#include <string>

namespace failover::agent {
namespace {

TEST(Assertions, WithoutAListOnly200IsExpected) {
  const auto assertions = Assertions::Parse({}, "");
  ASSERT_TRUE(assertions.ok());
  EXPECT_TRUE(assertions->Check(200, "").ok());
  EXPECT_EQ(assertions->Check(204, "").message(), "status 204, expected 200");
}

TEST(Assertions, SingleCodesAndRangesAreExpected) {
  const auto assertions = Assertions::Parse({"200-204", "401"}, "");
  ASSERT_TRUE(assertions.ok());
  for (const int status : {200, 202, 204, 401})
    EXPECT_TRUE(assertions->Check(status, "").ok()) << status;
  for (const int status : {0, 199, 205, 400, 402, 503})
    EXPECT_FALSE(assertions->Check(status, "").ok()) << status;
}

TEST(Assertions, MalformedStatusesAreRefused) {
  for (const char* text :
       {"", "2xx", "99", "600", "200-", "-200", "204-200", "0200", "200 ", "200-299-300"}) {
    const auto assertions = Assertions::Parse({text}, "");
    EXPECT_TRUE(absl::IsInvalidArgument(assertions.status())) << text;
  }
  EXPECT_FALSE(Assertions::Parse(std::vector<std::string>(33, "200"), "").ok());
}

TEST(Assertions, TheExpressionIsSearchedInTheBody) {
  const auto assertions = Assertions::Parse({}, "\"status\": *\"ok\"");
  ASSERT_TRUE(assertions.ok());
  EXPECT_TRUE(assertions->needs_body());
  EXPECT_TRUE(assertions->Check(200, "{\"status\":  \"ok\", \"x\": 1}").ok());
  const absl::Status status = assertions->Check(200, "{\"status\": \"bad\"}");
  EXPECT_EQ(status.message(), "the body's first 17 bytes do not match /\"status\": *\"ok\"/");
}

TEST(Assertions, OnlyTheFirst64KiBAreSearched) {
  const auto assertions = Assertions::Parse({}, "needle");
  ASSERT_TRUE(assertions.ok());
  EXPECT_TRUE(assertions->Check(200, std::string(kMaxBodyBytes - 6, 'x') + "needle").ok());
  EXPECT_FALSE(assertions->Check(200, std::string(kMaxBodyBytes, 'x') + "needle").ok());
}

TEST(Assertions, BadAndOverlongExpressionsAreRefused) {
  const auto bad = Assertions::Parse({}, "(unclosed");
  EXPECT_TRUE(absl::IsInvalidArgument(bad.status()));
  EXPECT_NE(bad.status().message().find("(unclosed"), absl::string_view::npos);
  EXPECT_FALSE(Assertions::Parse({}, std::string(2000, 'a')).ok());
}

TEST(Assertions, ATerribleExpressionTakesLinearTime) {
  const auto assertions = Assertions::Parse({}, "(a*)*b$");
  ASSERT_TRUE(assertions.ok());
  EXPECT_FALSE(assertions->Check(200, std::string(kMaxBodyBytes, 'a')).ok());
}

}  // namespace
}  // namespace failover::agent
