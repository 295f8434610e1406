#include "tests/azure_emulator/world.h"

#include <iterator>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace failover::emulator {
namespace {

constexpr std::pair<absl::string_view, absl::string_view> kRegions[] = {
    {"westeurope", "West Europe"},
    {"northeurope", "North Europe"},
    {"uksouth", "UK South"},
    {"ukwest", "UK West"},
    {"swedencentral", "Sweden Central"},
    {"francecentral", "France Central"},
    {"germanywestcentral", "Germany West Central"},
    {"eastus", "East US"},
    {"eastus2", "East US 2"},
    {"westus", "West US"},
    {"westus2", "West US 2"},
    {"centralus", "Central US"},
    {"westcentralus", "West Central US"},
    {"centraluseuap", "Central US EUAP"},
};

}  // namespace

Service* FindService(World& world, absl::string_view name) {
  const auto it = world.services.find(absl::AsciiStrToLower(name));
  return it == world.services.end() ? nullptr : &it->second;
}

TrafficProfile* FindProfile(World& world, absl::string_view name) {
  const auto it = world.profiles.find(absl::AsciiStrToLower(name));
  return it == world.profiles.end() ? nullptr : &it->second;
}

double DrawFraction(World& world) {
  // Not std::uniform_real_distribution: its results are not the same everywhere.
  return static_cast<double>(world.random() >> 11) / 9007199254740992.0;
}

absl::Duration DrawSpan(World& world, const Span& span) {
  return span.shortest + DrawFraction(world) * (span.longest - span.shortest);
}

std::string DrawGuid(World& world) {
  const uint64_t a = world.random(), b = world.random();
  return absl::StrFormat("%08x-%04x-4%03x-%04x-%012x", a >> 32, (a >> 16) & 0xffff, a & 0xfff,
                         0x8000 | ((b >> 48) & 0x3fff), b & 0xffffffffffff);
}

std::string DisplayRegion(absl::string_view region) {
  for (const auto& [name, display] : kRegions) {
    if (name == region) return std::string(display);
  }
  std::string text(region);
  if (!text.empty()) text[0] = absl::ascii_toupper(text[0]);
  return text;
}

}  // namespace failover::emulator
