#include "controller/runtime/assignments.h"

#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"

namespace failover::runtime {
namespace {

absl::Duration FromProto(const google::protobuf::Duration& d) {
  return absl::Seconds(d.seconds()) + absl::Nanoseconds(d.nanos());
}

void AddProbe(const std::string& name, const std::string& path, absl::Duration interval,
              GroupSettings& group) {
  v1::ProbeSpec* probe = group.spec.add_probes();
  probe->set_name(name);
  probe->mutable_http()->set_path(path);
  probe->mutable_http()->add_expect_status("200");
  core::ProbeConfig rules;
  rules.name = name;
  rules.interval = interval;
  rules.timeout = absl::Seconds(2);
  group.core.probes.push_back(rules);
}

GroupSettings Group(const std::string& name, absl::Duration interval = absl::Seconds(6)) {
  GroupSettings group;
  group.spec.set_name(name);
  group.core.name = name;
  group.core.services = {{"weu", "westeurope", "/subscriptions/1/weu", ""},
                         {"neu", "northeurope", "/subscriptions/1/neu", ""}};
  group.core.probe_regions = {"westeurope", "northeurope", "uksouth"};
  group.core.control_targets = {"https://neutral.example/"};
  group.core.public_url = "https://api.contoso.example/status";
  AddProbe("status", "/status", interval, group);
  return group;
}

GroupFacts Facts() {
  GroupFacts facts;
  facts.active = 0;
  facts.gateway_urls = {"https://weu.azure.example", "https://neu.azure.example:8443/base/"};
  return facts;
}

intake::Assignments Make(std::vector<GroupSettings> groups, const GroupFacts& facts = Facts()) {
  Settings settings;
  std::map<std::string, GroupFacts> all;
  for (const GroupSettings& group : groups) all[group.core.name] = facts;
  settings.groups = std::move(groups);
  return MakeAssignments(settings, all, 7, 3, true);
}

// Dies with a readable message when the region is not asked to probe that.
const v1::Target& Find(const intake::Assignments& assignments, const std::string& region,
                       const std::string& id) {
  for (const v1::Target& target : assignments.by_probe_region.at(region).targets()) {
    if (target.id() == id) return target;
  }
  ADD_FAILURE() << "no target " << id << " in " << region;
  return v1::Target::default_instance();
}

TEST(Assignments, ServiceIsProbedUnderThePublicNameAndConnectedToItsGateway) {
  const v1::Target target = Find(Make({Group("orders")}), "uksouth", "orders/neu/status");
  EXPECT_EQ(target.kind(), v1::TARGET_KIND_SERVICE);
  EXPECT_EQ(target.url(), "https://api.contoso.example:8443/base/status");
  EXPECT_EQ(target.connect_to(), "neu.azure.example:8443");
  EXPECT_EQ(target.failover_group(), "orders");
  EXPECT_EQ(target.azure_region(), "northeurope");
  EXPECT_EQ(target.role(), "standby");
}

TEST(Assignments, DefaultPortIsLeftOutOfTheUrlButNotOfConnectTo) {
  const v1::Target target = Find(Make({Group("orders")}), "uksouth", "orders/weu/status");
  EXPECT_EQ(target.url(), "https://api.contoso.example/status");
  EXPECT_EQ(target.connect_to(), "weu.azure.example:443");
  EXPECT_EQ(target.role(), "active");
}

TEST(Assignments, HostOfTheProbeWinsOverThatOfThePublicUrl) {
  GroupSettings group = Group("orders");
  group.spec.mutable_probes(0)->mutable_http()->set_host("other.example");
  EXPECT_EQ(Find(Make({group}), "uksouth", "orders/weu/status").url(),
            "https://other.example/status");
}

TEST(Assignments, WithoutAnyPublicNameTheGatewaysOwnIsUsedAndNothingIsRedirected) {
  GroupSettings group = Group("orders");
  group.core.public_url.clear();
  const intake::Assignments assignments = Make({group});
  const v1::Target target = Find(assignments, "uksouth", "orders/weu/status");
  EXPECT_EQ(target.url(), "https://weu.azure.example/status");
  EXPECT_EQ(target.connect_to(), "");
  EXPECT_EQ(assignments.targets.count("orders/@public"), 0u);
}

TEST(Assignments, Ipv6GatewayIsBracketed) {
  GroupFacts facts = Facts();
  facts.gateway_urls[0] = "http://[::1]:8080";
  const v1::Target target = Find(Make({Group("orders")}, facts), "uksouth", "orders/weu/status");
  EXPECT_EQ(target.url(), "http://api.contoso.example:8080/status");
  EXPECT_EQ(target.connect_to(), "[::1]:8080");
}

TEST(Assignments, ServiceWithUnknownGatewayIsLeftOut) {
  GroupFacts facts = Facts();
  facts.gateway_urls[1].clear();
  const intake::Assignments assignments = Make({Group("orders")}, facts);
  EXPECT_EQ(assignments.targets.count("orders/neu/status"), 0u);
  EXPECT_EQ(assignments.targets.count("orders/weu/status"), 1u);
}

TEST(Assignments, GatewayOfTheConfigurationIsUsedWhileNothingIsKnownOfTheGroup) {
  Settings settings;
  settings.groups = {Group("orders")};
  settings.groups[0].core.services[0].gateway_url = "https://weu.azure.example";
  const intake::Assignments assignments = MakeAssignments(settings, {}, 1, 1, true);
  EXPECT_EQ(assignments.targets.count("orders/weu/status"), 1u);
  EXPECT_EQ(assignments.targets.count("orders/neu/status"), 0u);
  EXPECT_EQ(Find(assignments, "uksouth", "orders/weu/status").role(), "unconfirmed");
}

TEST(Assignments, OnlyTheDecidingProbeHasABurstAndItHasFailureThresholdProbes) {
  GroupSettings group = Group("orders");
  AddProbe("deep", "/deep", absl::Seconds(30), group);
  group.core.probes[0].failure_threshold = 4;
  const intake::Assignments assignments = Make({group});
  const v1::Target decider = Find(assignments, "uksouth", "orders/weu/status");
  EXPECT_EQ(decider.burst_count(), 4);
  EXPECT_EQ(FromProto(decider.burst_spacing()), absl::Milliseconds(100));
  EXPECT_EQ(Find(assignments, "uksouth", "orders/weu/deep").burst_count(), 0);
  EXPECT_EQ(Find(assignments, "uksouth", "orders/@public").burst_count(), 0);
}

TEST(Assignments, PhasesOfTheRegionsAreSpreadEvenlyOverTheInterval) {
  const intake::Assignments assignments = Make({Group("orders", absl::Seconds(6))});
  const std::string id = "orders/weu/status";
  EXPECT_EQ(FromProto(Find(assignments, "westeurope", id).phase()), absl::ZeroDuration());
  EXPECT_EQ(FromProto(Find(assignments, "northeurope", id).phase()), absl::Seconds(2));
  EXPECT_EQ(FromProto(Find(assignments, "uksouth", id).phase()), absl::Seconds(4));
}

TEST(Assignments, PublicNameExpectsWhatTheDecidingProbeExpectsOnTheSamePath) {
  GroupSettings group = Group("orders");
  v1::HttpProbe* http = group.spec.mutable_probes(0)->mutable_http();
  http->set_expect_status(0, "204");
  http->set_expect_body_regex("ok");
  (*http->mutable_headers())["x-key"] = "1";
  group.core.served_by_header = "x-served-by";
  const v1::Target target = Find(Make({group}), "uksouth", "orders/@public");
  EXPECT_EQ(target.kind(), v1::TARGET_KIND_PUBLIC);
  EXPECT_EQ(target.url(), "https://api.contoso.example/status");
  EXPECT_EQ(target.connect_to(), "");
  EXPECT_EQ(target.role(), "public");
  EXPECT_EQ(target.served_by_header(), "x-served-by");
  ASSERT_EQ(target.expect_status_size(), 1);
  EXPECT_EQ(target.expect_status(0), "204");
  EXPECT_EQ(target.expect_body_regex(), "ok");
  EXPECT_EQ(target.headers().at("x-key"), "1");
}

TEST(Assignments, PublicNameWithAnotherPathExpects200) {
  GroupSettings group = Group("orders");
  group.spec.mutable_probes(0)->mutable_http()->set_expect_status(0, "204");
  group.core.public_url = "https://api.contoso.example/other";
  const v1::Target target = Find(Make({group}), "uksouth", "orders/@public");
  ASSERT_EQ(target.expect_status_size(), 1);
  EXPECT_EQ(target.expect_status(0), "200");
}

TEST(Assignments, ControlTargetIsSharedAndHasTheIntervalOfTheFastestDecidingProbe) {
  const intake::Assignments assignments =
      Make({Group("a", absl::Seconds(6)), Group("b", absl::Seconds(1))});
  const std::string id = "@control/https://neutral.example/";
  const v1::Target target = Find(assignments, "northeurope", id);
  EXPECT_EQ(FromProto(target.interval()), absl::Seconds(1));
  ASSERT_EQ(target.expect_status_size(), 1);
  EXPECT_EQ(target.expect_status(0), "100-599");
  int times = 0;
  for (const v1::Target& other : assignments.by_probe_region.at("northeurope").targets())
    times += other.id() == id;
  EXPECT_EQ(times, 1);
  ASSERT_EQ(assignments.targets.at(id).uses.size(), 2u);
  EXPECT_EQ(assignments.targets.at(id).uses[1].group, "b");
  EXPECT_EQ(assignments.targets.at(id).uses[1].ref.kind, core::TargetKind::kControl);
  EXPECT_EQ(assignments.targets.at(id).uses[1].ref.probe, 0);
}

TEST(Assignments, RegionHearsOfItsOwnGroupsOnly) {
  GroupSettings other = Group("b");
  other.core.probe_regions = {"westeurope", "francecentral"};
  const intake::Assignments assignments = Make({Group("a"), other});
  EXPECT_EQ(assignments.groups_of_region.at("westeurope"), (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(assignments.groups_of_region.at("francecentral"), std::vector<std::string>{"b"});
  for (const v1::Target& target : assignments.by_probe_region.at("francecentral").targets()) {
    EXPECT_NE(target.failover_group(), "a");
  }
  EXPECT_EQ(assignments.by_probe_region.at("francecentral").term(), 7u);
  EXPECT_EQ(assignments.by_probe_region.at("francecentral").generation(), 3u);
}

TEST(Assignments, RefsAreIndicesOfTheGroupsConfiguration) {
  GroupSettings group = Group("orders");
  AddProbe("deep", "/deep", absl::Seconds(30), group);
  const intake::Assignments assignments = Make({group});
  const core::TargetRef ref = assignments.targets.at("orders/neu/deep").uses.at(0).ref;
  EXPECT_EQ(ref.kind, core::TargetKind::kService);
  EXPECT_EQ(ref.service, 1);
  EXPECT_EQ(ref.probe, 1);
}

uint64_t DefinitionWith(void (*change)(GroupSettings&, GroupFacts&)) {
  GroupSettings group = Group("orders");
  GroupFacts facts = Facts();
  change(group, facts);
  return Make({group}, facts).targets.at("orders/weu/status").definition;
}

TEST(Definition, ChangesWithEverythingThatChangesWhatAResultMeans) {
  const std::vector<void (*)(GroupSettings&, GroupFacts&)> changes = {
      [](GroupSettings&, GroupFacts&) {},
      [](GroupSettings& g, GroupFacts&) {
        g.spec.mutable_probes(0)->mutable_http()->set_path("/other");
      },
      [](GroupSettings&, GroupFacts& f) { f.gateway_urls[0] = "https://moved.azure.example"; },
      [](GroupSettings& g, GroupFacts&) {
        g.spec.mutable_probes(0)->mutable_http()->set_host("h.example");
      },
      [](GroupSettings& g, GroupFacts&) {
        (*g.spec.mutable_probes(0)->mutable_http()->mutable_headers())["a"] = "b";
      },
      [](GroupSettings& g, GroupFacts&) {
        g.spec.mutable_probes(0)->mutable_http()->add_expect_status("204");
      },
      [](GroupSettings& g, GroupFacts&) {
        g.spec.mutable_probes(0)->mutable_http()->set_expect_body_regex("x");
      },
      [](GroupSettings& g, GroupFacts&) { g.spec.mutable_probes(0)->set_reuse_connection(true); },
      [](GroupSettings& g, GroupFacts&) { g.core.probes[0].timeout = absl::Milliseconds(1500); },
      [](GroupSettings& g, GroupFacts&) { g.core.probes[0].failure_threshold = 5; },
      [](GroupSettings& g, GroupFacts&) { g.core.probes[0].success_threshold = 9; },
  };
  std::set<uint64_t> seen;
  for (const auto& change : changes) seen.insert(DefinitionWith(change));
  EXPECT_EQ(seen.size(), changes.size());
  EXPECT_EQ(seen.count(0), 0u);
}

TEST(Definition, IsTheSameInEveryRoleRegionAndCadence) {
  const uint64_t before = DefinitionWith([](GroupSettings&, GroupFacts&) {});
  EXPECT_EQ(DefinitionWith([](GroupSettings&, GroupFacts& f) { f.active = 1; }), before);
  EXPECT_EQ(
      DefinitionWith([](GroupSettings& g, GroupFacts&) { g.core.probe_regions = {"uksouth"}; }),
      before);
  EXPECT_EQ(DefinitionWith([](GroupSettings& g, GroupFacts&) {
              g.core.probes[0].interval = absl::Seconds(9);
            }),
            before);
  const intake::Assignments assignments = Make({Group("orders")});
  for (const auto& [region, assignment] : assignments.by_probe_region) {
    for (const v1::Target& target : assignment.targets()) {
      EXPECT_EQ(target.definition(), assignments.targets.at(target.id()).definition)
          << region << " " << target.id();
    }
  }
}

TEST(Assignments, FollowerKnowsEveryTargetSoThatItCanReadResults) {
  Settings settings;
  settings.groups = {Group("orders")};
  const intake::Assignments assignments =
      MakeAssignments(settings, {{"orders", Facts()}}, 0, 3, false);
  EXPECT_FALSE(assignments.leading);
  EXPECT_EQ(assignments.targets.size(), 4u);
}

}  // namespace
}  // namespace failover::runtime
