#include <gtest/gtest.h>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/tls.h"

namespace failover {
namespace {

TEST(SpiffeIdTest, EachKindIsReadAndWrittenBack) {
  const auto agent = ParseSpiffeId("spiffe://contoso.com/agent/westeurope/agent-1");
  ASSERT_TRUE(agent.ok()) << agent.status();
  EXPECT_EQ(agent->trust_domain, "contoso.com");
  EXPECT_EQ(agent->kind, "agent");
  EXPECT_EQ(agent->region, "westeurope");
  EXPECT_EQ(agent->name, "agent-1");
  for (const char* uri : {"spiffe://contoso.com/agent/westeurope/agent-1",
                          "spiffe://a/operator/jane.doe", "spiffe://a/controller/c_0"}) {
    const auto id = ParseSpiffeId(uri);
    ASSERT_TRUE(id.ok()) << id.status();
    EXPECT_EQ(id->ToString(), uri);
  }
}

TEST(SpiffeIdTest, EverythingElseIsRefusedWithWhatIsAllowed) {
  for (const std::string& uri : {std::string(""),
                                 std::string("https://a/operator/b"),
                                 std::string("spiffe://"),
                                 std::string("spiffe://a"),
                                 std::string("spiffe://a/operator"),
                                 std::string("spiffe://a/operator/"),
                                 std::string("spiffe:///operator/b"),
                                 std::string("spiffe://A/operator/b"),
                                 std::string("spiffe://a:1/operator/b"),
                                 std::string("spiffe://u@a/operator/b"),
                                 std::string("spiffe://a/operator/b?x"),
                                 std::string("spiffe://a/operator/b#x"),
                                 std::string("spiffe://a/operator/b%2fc"),
                                 std::string("spiffe://a/operator/b/c"),
                                 std::string("spiffe://a/operator/.."),
                                 std::string("spiffe://a/agent/b"),
                                 std::string("spiffe://a/agent/b/c/d"),
                                 std::string("spiffe://a/agent//c"),
                                 std::string("spiffe://a/admin/b"),
                                 std::string("SPIFFE://a/operator/b"),
                                 std::string("spiffe://a/operator/b "),
                                 std::string("spiffe://a/operator/b\0c", 23),
                                 absl::StrCat("spiffe://a/operator/", std::string(2048, 'x'))}) {
    const auto id = ParseSpiffeId(uri);
    EXPECT_EQ(id.status().code(), absl::StatusCode::kInvalidArgument) << uri;
    EXPECT_TRUE(absl::StrContains(id.status().message(), "allowed: spiffe://<trust domain>/agent/"))
        << id.status();
  }
}

TEST(IsLoopbackTest, OnlyLoopbackAddressesAndTheirNameAre) {
  for (const char* host : {"127.0.0.1", "127.8.9.10", "::1", "[::1]", "localhost", "LocalHost"}) {
    EXPECT_TRUE(IsLoopback(host)) << host;
  }
  for (const char* host :
       {"", "0.0.0.0", "128.0.0.1", "10.0.0.1", "::", "::2", "localhost.example.com",
        "127.0.0.1.nip.io", "127.1", "2130706433", "127.0.0.1:80"}) {
    EXPECT_FALSE(IsLoopback(host)) << host;
  }
}

}  // namespace
}  // namespace failover
