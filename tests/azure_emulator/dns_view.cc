#include "tests/azure_emulator/dns_view.h"

#include <arpa/inet.h>

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"

namespace failover::emulator {
namespace {

constexpr int kHostTtl = 60;
constexpr int kPublicTtl = 300;
constexpr size_t kLongestPacket = 512;
constexpr int kTypeA = 1, kTypeCname = 5;

bool IsAddress(const std::string& text) {
  in_addr unused;
  return inet_pton(AF_INET, text.c_str(), &unused) == 1;
}

bool SameName(absl::string_view a, absl::string_view b) { return absl::EqualsIgnoreCase(a, b); }

// Address of a host of the emulated Azure; empty when there is none of that name.
std::string HostAddress(const World& world, absl::string_view name) {
  for (const auto& [key, service] : world.services) {
    bool matches = SameName(name, absl::StrCat(service.name, ".azure-api.net")) ||
                   SameName(name, absl::StrCat(service.name, "-", service.region,
                                               "-01.regional.azure-api.net"));
    for (const auto* names : {&service.host_names, &service.gateway.host_names}) {
      for (const std::string& own : *names) matches |= SameName(name, own);
    }
    if (matches) return service.gateway.address;
  }
  return SameName(name, world.neutral_host) ? world.neutral_address : "";
}

// Traffic Manager's choice; null when it has nothing to give.
const TrafficEndpoint* Choose(const TrafficProfile& profile) {
  const TrafficEndpoint* best = nullptr;
  bool best_good = false;
  for (const TrafficEndpoint& endpoint : profile.served) {
    if (!endpoint.enabled) continue;
    std::string monitor = "CheckingEndpoint";
    for (const TrafficEndpoint& current : profile.endpoints) {
      if (current.name == endpoint.name) monitor = current.monitor;
    }
    // All bad: all are given. A disabled one that is still being served was good when it left.
    const bool good = endpoint.always_serve || monitor != "Degraded";
    if (best == nullptr || (good && !best_good) ||
        (good == best_good && endpoint.priority < best->priority)) {
      best = &endpoint;
      best_good = good;
    }
  }
  return best;
}

void AddHost(const World& world, const std::string& name, DnsView& view) {
  const std::string address = IsAddress(name) ? name : HostAddress(world, name);
  if (address.empty()) {
    view.rcode = kNameError;
    return;
  }
  view.chain.push_back({name, false, address, kHostTtl});
}

void AddProfile(const World& world, const TrafficProfile& profile, DnsView& view) {
  const TrafficEndpoint* endpoint = profile.served_enabled ? Choose(profile) : nullptr;
  if (endpoint == nullptr) {
    view.rcode = kNameError;
  } else if (IsAddress(endpoint->target)) {
    view.chain.push_back({profile.Fqdn(), false, endpoint->target, profile.ttl});
  } else {
    const std::string target = absl::AsciiStrToLower(endpoint->target);
    view.chain.push_back({profile.Fqdn(), true, target, profile.ttl});
    AddHost(world, target, view);
  }
}

void Put16(std::string& out, int value) {
  out.push_back(static_cast<char>((value >> 8) & 0xff));
  out.push_back(static_cast<char>(value & 0xff));
}

int Get16(absl::string_view bytes, size_t at) {
  return (static_cast<unsigned char>(bytes[at]) << 8) | static_cast<unsigned char>(bytes[at + 1]);
}

std::string WireName(absl::string_view name) {
  std::string out;
  for (const absl::string_view label : absl::StrSplit(name, '.', absl::SkipEmpty())) {
    out.push_back(static_cast<char>(std::min<size_t>(label.size(), 63)));
    absl::StrAppend(&out, label.substr(0, 63));
  }
  out.push_back('\0');
  return out;
}

void PutRecord(const DnsRecord& record, std::string& out) {
  std::string data;
  if (record.alias) {
    data = WireName(record.value);
  } else {
    in_addr address{};
    inet_pton(AF_INET, record.value.c_str(), &address);
    data.assign(reinterpret_cast<const char*>(&address), sizeof(address));
  }
  out += WireName(record.name);
  Put16(out, record.alias ? kTypeCname : kTypeA);
  Put16(out, 1);
  Put16(out, record.ttl >> 16);
  Put16(out, record.ttl & 0xffff);
  Put16(out, static_cast<int>(data.size()));
  out += data;
}

// Reads the question's name at `at`; false when the packet is malformed.
bool ReadName(absl::string_view packet, size_t& at, std::string& name) {
  while (at < packet.size()) {
    const size_t length = static_cast<unsigned char>(packet[at++]);
    if (length == 0) return true;
    if (length > 63 || at + length > packet.size() || name.size() + length > 254) return false;
    if (!name.empty()) name.push_back('.');
    name.append(absl::AsciiStrToLower(packet.substr(at, length)));
    at += length;
  }
  return false;
}

std::string Header(absl::string_view packet, int rcode, bool truncated, int answers,
                   bool question) {
  std::string out(packet.substr(0, 2));
  const int recursion_desired = Get16(packet, 2) & 0x0100;
  Put16(out, 0x8480 | recursion_desired | (truncated ? 0x0200 : 0) | rcode);
  Put16(out, question ? 1 : 0);
  Put16(out, answers);
  Put16(out, 0);
  Put16(out, 0);
  return out;
}

}  // namespace

DnsView ResolveName(const World& world, absl::string_view asked) {
  const std::string name = absl::AsciiStrToLower(absl::StripSuffix(asked, "."));
  DnsView view;
  bool traffic = false;
  for (const auto& [key, profile] : world.profiles) {
    if (SameName(name, profile.public_name) && !profile.public_name.empty()) {
      view.chain.push_back({name, true, profile.Fqdn(), kPublicTtl});
    } else if (!SameName(name, profile.Fqdn())) {
      continue;
    }
    AddProfile(world, profile, view);
    traffic = true;
    break;
  }
  if (!traffic) AddHost(world, name, view);
  if (!view.chain.empty()) {
    view.ttl = view.chain.front().ttl;
    for (const DnsRecord& record : view.chain) view.ttl = std::min(view.ttl, record.ttl);
    if (!view.chain.back().alias) view.address = view.chain.back().value;
  }
  return view;
}

std::map<std::string, DnsView> ResolveAll(const World& world) {
  std::map<std::string, DnsView> all;
  const auto add = [&](absl::string_view name) {
    if (!name.empty()) all[absl::AsciiStrToLower(name)] = ResolveName(world, name);
  };
  for (const auto& [key, service] : world.services) {
    add(absl::StrCat(service.name, ".azure-api.net"));
    add(absl::StrCat(service.name, "-", service.region, "-01.regional.azure-api.net"));
    for (const std::string& name : service.host_names) add(name);
    for (const std::string& name : service.gateway.host_names) add(name);
  }
  for (const auto& [key, profile] : world.profiles) {
    add(profile.Fqdn());
    add(profile.public_name);
  }
  add(world.neutral_host);
  return all;
}

std::string AnswerDnsPacket(absl::string_view packet,
                            const std::function<DnsView(const std::string&)>& lookup) {
  constexpr int kFormatError = 1, kNotImplemented = 4;
  if (packet.size() < 12 || (packet[2] & 0x80) != 0) return "";
  if ((packet[2] & 0x78) != 0) return Header(packet, kNotImplemented, false, 0, false);
  size_t at = 12;
  std::string name;
  if (Get16(packet, 4) != 1 || !ReadName(packet, at, name) || at + 4 > packet.size()) {
    return Header(packet, kFormatError, false, 0, false);
  }
  const int type = Get16(packet, at);
  const absl::string_view question = packet.substr(12, at + 4 - 12);
  const DnsView view = lookup(name);
  std::string records;
  int count = 0;
  for (const DnsRecord& record : view.chain) {
    if (!record.alias && type != kTypeA) continue;
    PutRecord(record, records);
    ++count;
    if (type == kTypeCname) break;
  }
  const size_t size = 12 + question.size() + records.size();
  if (size > kLongestPacket) return absl::StrCat(Header(packet, 0, true, 0, true), question);
  return absl::StrCat(Header(packet, view.rcode, false, count, true), question, records);
}

}  // namespace failover::emulator
