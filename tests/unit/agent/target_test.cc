#include "agent/target.h"

#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <vector>

namespace failover::agent {
namespace {

v1::Target Good() {
  v1::Target target;
  target.set_id("orders/weu/status");
  target.set_url("https://apim-weu.azure-api.net/status?x=1");
  target.mutable_interval()->set_seconds(5);
  target.mutable_timeout()->set_seconds(2);
  return target;
}

TEST(PrepareTarget, TheUrlsHostIsDialledByDefault) {
  const auto target = PrepareTarget(Good());
  ASSERT_TRUE(target.ok()) << target.status();
  EXPECT_EQ(target->dial_host, "apim-weu.azure-api.net");
  EXPECT_EQ(target->dial_port, 443);
  EXPECT_TRUE(target->tls);
  EXPECT_EQ(target->url, "https://apim-weu.azure-api.net:443/status?x=1");
}

TEST(PrepareTarget, AFinalDotOfTheHostIsDroppedForDialling) {
  v1::Target from = Good();
  from.set_url("https://gateway.example./");
  EXPECT_EQ(PrepareTarget(from)->dial_host, "gateway.example");
}

TEST(PrepareTarget, ConnectToIsDialledInstead) {
  v1::Target from = Good();
  from.set_connect_to("10.1.2.3:8443");
  const auto target = PrepareTarget(from);
  ASSERT_TRUE(target.ok()) << target.status();
  EXPECT_EQ(target->dial_host, "10.1.2.3");
  EXPECT_EQ(target->dial_port, 8443);
  EXPECT_EQ(target->url, "https://apim-weu.azure-api.net:443/status?x=1");
}

TEST(PrepareTarget, HostReplacesHostHeaderAndSniOnly) {
  v1::Target from = Good();
  from.set_host("api.contoso.com");
  const auto target = PrepareTarget(from);
  ASSERT_TRUE(target.ok()) << target.status();
  EXPECT_EQ(target->dial_host, "apim-weu.azure-api.net");
  EXPECT_EQ(target->url, "https://api.contoso.com:443/status?x=1");
  EXPECT_EQ(target->headers, std::vector<std::string>{"Host: api.contoso.com"});
}

TEST(PrepareTarget, Ipv6IsDialledWithoutBrackets) {
  v1::Target from = Good();
  from.set_url("http://[fd00::1]:8080/x");
  const auto target = PrepareTarget(from);
  ASSERT_TRUE(target.ok()) << target.status();
  EXPECT_EQ(target->dial_host, "fd00::1");
  EXPECT_EQ(target->url, "http://[fd00::1]:8080/x");
  from.set_connect_to("[fd00::2]:81");
  EXPECT_EQ(PrepareTarget(from)->dial_host, "fd00::2");
}

TEST(PrepareTarget, AnEmptyHeaderIsSentAndNotRemoved) {
  v1::Target from = Good();
  (*from.mutable_headers())["x-empty"] = "";
  (*from.mutable_headers())["x-key"] = "v";
  const auto target = PrepareTarget(from);
  ASSERT_TRUE(target.ok()) << target.status();
  EXPECT_EQ(target->headers, (std::vector<std::string>{"x-empty;", "x-key: v"}));
}

struct BadTarget {
  const char* name;
  std::function<void(v1::Target&)> spoil;
  const char* mentions;
};

class BadTargets : public testing::TestWithParam<BadTarget> {};

TEST_P(BadTargets, AreRefusedWithFieldAndWhatIsAllowed) {
  v1::Target from = Good();
  GetParam().spoil(from);
  const auto target = PrepareTarget(from);
  ASSERT_TRUE(absl::IsInvalidArgument(target.status()));
  EXPECT_NE(target.status().message().find(GetParam().mentions), absl::string_view::npos)
      << target.status();
  EXPECT_NE(target.status().message().find("allowed:"), absl::string_view::npos) << target.status();
}

std::vector<BadTarget> AllBad() {
  return {

      {"NoId", [](v1::Target& t) { t.clear_id(); }, "id"},
      {"OtherScheme", [](v1::Target& t) { t.set_url("file:///etc/passwd"); }, "file"},
      {"UserInformation", [](v1::Target& t) { t.set_url("https://u:p@a.example/"); },
       "user information"},
      {"ForeignHost", [](v1::Target& t) { t.set_url("https://caf\xc3\xa9.example/"); }, "url"},
      {"LongUrl", [](v1::Target& t) { t.set_url("https://a/" + std::string(3000, 'x')); }, "url"},
      {"ConnectToWithoutPort", [](v1::Target& t) { t.set_connect_to("a.example"); }, "connect_to"},
      {"ConnectToWithPath", [](v1::Target& t) { t.set_connect_to("a.example/x:1"); }, "connect_to"},
      {"HostWithLineBreak", [](v1::Target& t) { t.set_host("a\r\nx: y"); }, "host"},
      {"HeaderWithLineBreak", [](v1::Target& t) { (*t.mutable_headers())["x"] = "a\r\nHost: b"; },
       "headers.x"},
      {"HeaderNameWithColon", [](v1::Target& t) { (*t.mutable_headers())["x:y"] = "a"; }, "x:y"},
      {"FramingHeader", [](v1::Target& t) { (*t.mutable_headers())["Content-Length"] = "5"; },
       "Content-Length"},
      {"HostHeader", [](v1::Target& t) { (*t.mutable_headers())["host"] = "b"; }, "host"},
      {"ServedByHeader", [](v1::Target& t) { t.set_served_by_header("a b"); }, "served_by_header"},
      {"NoInterval", [](v1::Target& t) { t.clear_interval(); }, "interval"},
      {"LongInterval", [](v1::Target& t) { t.mutable_interval()->set_seconds(7200); }, "interval"},
      {"NoTimeout", [](v1::Target& t) { t.clear_timeout(); }, "timeout"},
      {"TimeoutOfTooManyIntervals",
       [](v1::Target& t) {
         t.mutable_interval()->set_seconds(1);
         t.mutable_timeout()->set_seconds(65);
       },
       "timeout"},
      {"PhaseBeyondInterval", [](v1::Target& t) { t.mutable_phase()->set_seconds(5); }, "phase"},
      {"NegativePhase", [](v1::Target& t) { t.mutable_phase()->set_seconds(-1); }, "phase"},
      {"HugeBurst", [](v1::Target& t) { t.set_burst_count(1000); }, "burst_count"},
      {"NegativeSpacing", [](v1::Target& t) { t.mutable_burst_spacing()->set_seconds(-1); },
       "burst_spacing"},
      {"BadStatus", [](v1::Target& t) { t.add_expect_status("2xx"); }, "2xx"},
      {"BadExpression", [](v1::Target& t) { t.set_expect_body_regex("("); }, "expression"}};
}

INSTANTIATE_TEST_SUITE_P(All, BadTargets, testing::ValuesIn(AllBad()),
                         [](const auto& test) { return test.param.name; });

TEST(PrepareTarget, AHeadersValueIsNeverInAMessage) {
  v1::Target from = Good();
  (*from.mutable_headers())["x-key"] = "secret\n";
  EXPECT_EQ(PrepareTarget(from).status().message().find("secret"), absl::string_view::npos);
}

TEST(PrepareAssignment, ABadTargetIsLeftOutAndTheRestProbed) {
  v1::Assignment assignment;
  *assignment.add_targets() = Good();
  *assignment.add_targets() = Good();  // the same id
  *assignment.add_targets() = Good();
  assignment.mutable_targets(2)->set_id("orders/neu/status");
  assignment.mutable_targets(2)->set_url("ftp://x/");
  const auto prepared = PrepareAssignment(assignment);
  ASSERT_TRUE(prepared.ok());
  EXPECT_EQ(prepared->targets.size(), 1u);
  ASSERT_EQ(prepared->refused.size(), 2u);
  EXPECT_NE(prepared->refused[0].find("twice"), std::string::npos);
  EXPECT_EQ(prepared->refused[1].rfind("orders/neu/status: ", 0), 0u);
}

TEST(PrepareAssignment, TooManyTargetsAreRefused) {
  v1::Assignment assignment;
  for (int i = 0; i <= kMaxTargets; ++i) assignment.add_targets();
  EXPECT_TRUE(absl::IsInvalidArgument(PrepareAssignment(assignment).status()));
}

}  // namespace
}  // namespace failover::agent
