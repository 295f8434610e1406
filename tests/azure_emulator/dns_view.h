#ifndef TESTS_AZURE_EMULATOR_DNS_VIEW_H_
#define TESTS_AZURE_EMULATOR_DNS_VIEW_H_

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "tests/azure_emulator/world.h"

namespace failover::emulator {

struct DnsRecord {
  std::string name;
  bool alias = false;  // CNAME; else an A record
  std::string value;
  int ttl = 0;
  bool operator==(const DnsRecord&) const = default;
};

constexpr int kNameError = 3;  // NXDOMAIN

// What a resolver is told about one name.
struct DnsView {
  int rcode = 0;  // 0 NOERROR, 3 NXDOMAIN
  std::vector<DnsRecord> chain;
  std::string address;  // of the last record; empty = none
  int ttl = 0;          // the smallest of the chain
  bool operator==(const DnsView&) const = default;
};

// As the name servers of the emulated Azure see it: Traffic Manager's choice among the endpoints
// that have reached them.
DnsView ResolveName(const World& world, absl::string_view name);
// Every name that resolves, in lower case.
std::map<std::string, DnsView> ResolveAll(const World& world);

// The answer to one UDP packet; empty = none is due (not a query). `lookup` gets a lower-case name.
std::string AnswerDnsPacket(absl::string_view packet,
                            const std::function<DnsView(const std::string&)>& lookup);

}  // namespace failover::emulator

#endif  // TESTS_AZURE_EMULATOR_DNS_VIEW_H_
