#include "agent/allowed_hosts.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace failover::agent {
namespace {

struct Case {
  const char* name;
  std::vector<std::string> list;
  std::string address, host;
  bool allowed;
};

class AllowedHostsTable : public testing::TestWithParam<Case> {};

TEST_P(AllowedHostsTable, DecidesAsDocumented) {
  AllowedHosts hosts;
  for (const std::string& entry : GetParam().list) ASSERT_TRUE(hosts.Add(entry).ok()) << entry;
  const std::optional<IpAddress> address = ParseIp(GetParam().address);
  ASSERT_TRUE(address);
  const absl::Status status = hosts.Check(*address, GetParam().host);
  EXPECT_EQ(status.ok(), GetParam().allowed) << status;
  EXPECT_TRUE(status.ok() || absl::IsPermissionDenied(status));
}

INSTANTIATE_TEST_SUITE_P(
    All, AllowedHostsTable,
    testing::Values(
        Case{"PublicWhenEmpty", {}, "20.50.1.1", "a.example", true},
        Case{"PublicIpv6WhenEmpty", {}, "2603:1020::1", "a.example", true},
        Case{"LoopbackNotWhenEmpty", {}, "127.0.0.1", "a.example", false},
        Case{"LoopbackIpv6NotWhenEmpty", {}, "::1", "a.example", false},
        Case{"PrivateTenNotWhenEmpty", {}, "10.1.2.3", "a", false},
        Case{"PrivateTwelveNotWhenEmpty", {}, "172.31.255.1", "a", false},
        Case{"JustOutsidePrivateTwelve", {}, "172.32.0.1", "a", true},
        Case{"PrivateSixteenNotWhenEmpty", {}, "192.168.0.1", "a", false},
        Case{"CarrierNatNotWhenEmpty", {}, "100.64.0.1", "a", false},
        Case{"MetadataNotWhenEmpty", {}, "169.254.169.254", "a", false},
        Case{"WireServerNotWhenEmpty", {}, "168.63.129.16", "a", false},
        Case{"LinkLocalNotWhenEmpty", {}, "169.254.1.1", "a", false},
        Case{"LinkLocalIpv6NotWhenEmpty", {}, "fe80::1", "a", false},
        Case{"UniqueLocalNotWhenEmpty", {}, "fd12::1", "a", false},
        Case{"UnspecifiedNotWhenEmpty", {}, "0.0.0.0", "a", false},
        Case{"MulticastNotWhenEmpty", {}, "224.0.0.1", "a", false},
        Case{"MappedLoopbackNotWhenEmpty", {}, "::ffff:127.0.0.1", "a", false},
        Case{"Nat64LoopbackNotWhenEmpty", {}, "64:ff9b::7f00:1", "a", false},
        Case{"SixToFourPrivateNotWhenEmpty", {}, "2002:0a01:0203::1", "a", false},
        Case{"Nat64PublicWhenEmpty", {}, "64:ff9b::1432:101", "a", true},
        Case{"LoopbackByBlock", {"127.0.0.0/8"}, "127.3.2.1", "a", true},
        Case{"MappedLoopbackByBlock", {"127.0.0.0/8"}, "::ffff:127.0.0.1", "a", true},
        Case{"PrivateByItsBlockOnly", {"10.1.0.0/16"}, "10.2.0.1", "a", false},
        Case{"PrivateByAddress", {"10.1.2.3"}, "10.1.2.3", "a", true},
        Case{"OddPrefixCovers", {"10.128.0.0/9"}, "10.200.0.1", "a", true},
        Case{"OddPrefixEnds", {"10.128.0.0/9"}, "10.127.0.1", "a", false},
        Case{"UniqueLocalByBlock", {"fd00::/8"}, "fd12::1", "a", true},
        Case{"NameNeverOpensPrivate", {"a.example"}, "10.1.2.3", "a.example", false},
        Case{"NameNeverOpensMetadata", {"*.example"}, "169.254.169.254", "a.example", false},
        Case{"PublicByName", {"a.example"}, "20.50.1.1", "A.Example.", true},
        Case{"PublicOfAnotherName", {"a.example"}, "20.50.1.1", "b.example", false},
        Case{"PublicInZone", {"*.example"}, "20.50.1.1", "x.y.example", true},
        Case{"ZoneItselfIsNotInIt", {"*.example"}, "20.50.1.1", "example", false},
        Case{"LookalikeOfZone", {"*.example"}, "20.50.1.1", "notexample", false},
        Case{"BlockClosesOtherPublic", {"10.0.0.0/8"}, "20.50.1.1", "a", false},
        Case{"Everything", {"0.0.0.0/0"}, "169.254.169.254", "a", true},
        Case{"Ipv4EverythingIsNotIpv6", {"0.0.0.0/0"}, "fd00::1", "a", false}),
    [](const auto& test) { return test.param.name; });

TEST(AllowedHosts, MalformedEntriesAreRefusedWithWhatIsAllowed) {
  for (const char* entry :
       {"", "10.0.0.0/33", "10.0.0/8", "1.2.3.4.5", "fd00::/129", "*.", "*", "a..b", "a b",
        "https://a.example", "a.example:443", "10.0.0.0/-1", "*.*.example"}) {
    AllowedHosts hosts;
    const absl::Status status = hosts.Add(entry);
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << entry;
    EXPECT_NE(status.message().find("allowed:"), absl::string_view::npos) << status;
  }
}

TEST(AllowedHosts, ReasonsNameKindAndAddress) {
  const absl::Status status = AllowedHosts().Check(*ParseIp("169.254.169.254"), "a");
  EXPECT_EQ(status.message(),
            "metadata address 169.254.169.254 is in no address block of allowedHosts");
}

}  // namespace
}  // namespace failover::agent
