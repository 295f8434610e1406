#include "agent/replicas.h"

#include <gtest/gtest.h>

namespace failover::agent {
namespace {

std::vector<std::string> AddressesOf(const std::vector<std::string>& texts) {
  std::vector<IpAddress> addresses;
  for (const std::string& text : texts) addresses.push_back(*ParseIp(text));
  return ReplicaAddresses(addresses, 7443);
}

TEST(ReplicaAddressesOfAName, AreSortedAndEachOnce) {
  EXPECT_EQ(AddressesOf({"10.0.0.2", "10.0.0.1", "10.0.0.2"}),
            (std::vector<std::string>{"10.0.0.1:7443", "10.0.0.2:7443"}));
  EXPECT_TRUE(AddressesOf({}).empty());
}

TEST(ReplicaAddressesOfAName, AreOfOneFamilySinceAReplicaMayHaveBoth) {
  EXPECT_EQ(AddressesOf({"10.0.0.1", "fd00::1"}), (std::vector<std::string>{"10.0.0.1:7443"}));
  EXPECT_EQ(AddressesOf({"fd00::2", "fd00::1"}),
            (std::vector<std::string>{"[fd00::1]:7443", "[fd00::2]:7443"}));
}

}  // namespace
}  // namespace failover::agent
