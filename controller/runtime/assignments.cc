#include "controller/runtime/assignments.h"

#include <algorithm>
#include <charconv>
#include <limits>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "common/digest.h"
#include "common/http_client.h"
#include "controller/core/detection.h"

namespace failover::runtime {
namespace {

using intake::TargetUse;

google::protobuf::Duration ToProto(absl::Duration duration) {
  google::protobuf::Duration proto;
  const int64_t seconds = absl::IDivDuration(duration, absl::Seconds(1), &duration);
  proto.set_seconds(seconds);
  proto.set_nanos(static_cast<int32_t>(absl::ToInt64Nanoseconds(duration)));
  return proto;
}

// "host:port"; IPv6 addresses in brackets.
std::string HostPort(const std::string& host, int port) {
  return absl::StrContains(host, ':') ? absl::StrCat("[", host, "]:", port)
                                      : absl::StrCat(host, ":", port);
}

std::string MakeUrl(const UrlParts& gateway, const std::string& host, absl::string_view path) {
  const bool default_port = gateway.port == (gateway.scheme == "https" ? 443 : 80);
  std::string authority = HostPort(host, gateway.port);
  if (default_port) authority.resize(authority.rfind(':'));
  absl::string_view prefix = gateway.path_and_query;
  while (absl::EndsWith(prefix, "/")) prefix.remove_suffix(1);
  return absl::StrCat(gateway.scheme, "://", authority, prefix,
                      absl::StartsWith(path, "/") ? "" : "/", path);
}

// One "name length:value" a line, so that no two targets have the same text by accident of their
// values.
void AddLine(absl::string_view name, absl::string_view value, std::string& text) {
  absl::StrAppend(&text, name, " ", value.size(), ":", value, "\n");
}

// Digest of everything that changes what a result means; neither role nor phase nor cadence do.
uint64_t DefinitionOf(const v1::Target& target, int failure_threshold, int success_threshold) {
  std::string text;
  AddLine("kind", v1::TargetKind_Name(target.kind()), text);
  AddLine("url", target.url(), text);
  AddLine("connect_to", target.connect_to(), text);
  AddLine("host", target.host(), text);
  std::map<std::string, std::string> headers(target.headers().begin(), target.headers().end());
  for (const auto& [name, value] : headers) {
    AddLine("header_name", name, text);
    AddLine("header_value", value, text);
  }
  for (const std::string& status : target.expect_status()) AddLine("expect_status", status, text);
  AddLine("expect_body_regex", target.expect_body_regex(), text);
  AddLine("reuse_connection", target.reuse_connection() ? "1" : "0", text);
  AddLine("served_by_header", target.served_by_header(), text);
  AddLine("timeout", absl::StrCat(target.timeout().seconds(), ".", target.timeout().nanos()), text);
  AddLine("thresholds", absl::StrCat(failure_threshold, " ", success_threshold), text);
  const std::string hex = Sha256Hex(text);
  uint64_t definition = 0;
  std::from_chars(hex.data(), hex.data() + 16, definition, 16);
  return definition;
}

void Expect(const v1::HttpProbe& probe, v1::Target& target) {
  *target.mutable_headers() = probe.headers();
  *target.mutable_expect_status() = probe.expect_status();
  target.set_expect_body_regex(probe.expect_body_regex());
}

void SetCadence(const core::ProbeConfig& probe, v1::Target& target) {
  *target.mutable_interval() = ToProto(probe.interval);
  *target.mutable_timeout() = ToProto(probe.timeout);
}

class Builder {
 public:
  Builder(const Settings& settings, const std::map<std::string, GroupFacts>& facts,
          intake::Assignments& out)
      : settings_(settings), facts_(facts), out_(out) {}

  void Run() {
    for (const GroupSettings& group : settings_.groups) {
      for (const std::string& region : group.core.probe_regions) {
        out_.by_probe_region[region];
        out_.groups_of_region[region].push_back(group.core.name);
      }
      AddServices(group);
      AddPublic(group);
      NoteControls(group);
    }
    for (auto& [url, control] : controls_) AddControl(url, control);
  }

 private:
  struct Control {
    absl::Duration interval = absl::InfiniteDuration(), timeout;
    std::vector<std::string> regions;  // in the order in which groups name them
    std::vector<TargetUse> uses;
  };

  void AddServices(const GroupSettings& group) {
    static const GroupFacts kNothing;
    const auto known = facts_.find(group.core.name);
    const GroupFacts& facts = known == facts_.end() ? kNothing : known->second;
    for (size_t i = 0; i < group.core.services.size(); ++i) {
      const std::string& url = i < facts.gateway_urls.size() ? facts.gateway_urls[i]
                                                             : group.core.services[i].gateway_url;
      UrlParts gateway;
      if (url.empty() || !ParseUrl(url, gateway).ok()) continue;
      const char* role = facts.active < 0                      ? "unconfirmed"
                         : facts.active == static_cast<int>(i) ? "active"
                                                               : "standby";
      for (size_t probe = 0; probe < group.core.probes.size() &&
                             probe < static_cast<size_t>(group.spec.probes_size());
           ++probe) {
        AddServiceProbe(group, static_cast<int>(i), static_cast<int>(probe), gateway, role);
      }
    }
  }

  void AddServiceProbe(const GroupSettings& group, int service, int probe, const UrlParts& gateway,
                       const char* role) {
    const core::ProbeConfig& rules = group.core.probes[probe];
    const v1::HttpProbe& http = group.spec.probes(probe).http();
    const std::string host = PublicHost(group, http, gateway);
    v1::Target target;
    target.set_id(
        absl::StrCat(group.core.name, "/", group.core.services[service].name, "/", rules.name));
    target.set_kind(v1::TARGET_KIND_SERVICE);
    target.set_url(MakeUrl(gateway, host, http.path()));
    if (host != gateway.host) target.set_connect_to(HostPort(gateway.host, gateway.port));
    Expect(http, target);
    SetCadence(rules, target);
    target.set_reuse_connection(group.spec.probes(probe).reuse_connection());
    if (probe == group.core.deciding_probe) {
      target.set_burst_count(rules.failure_threshold);
      *target.mutable_burst_spacing() = ToProto(core::BurstSpacing(rules.timeout));
    }
    target.set_failover_group(group.core.name);
    target.set_azure_region(group.core.services[service].azure_region);
    target.set_apim_service(group.core.services[service].name);
    target.set_role(role);
    target.set_definition(DefinitionOf(target, rules.failure_threshold, rules.success_threshold));
    const core::TargetRef ref{core::TargetKind::kService, static_cast<int16_t>(service),
                              static_cast<int16_t>(probe)};
    Assign(target, group.core.probe_regions, rules.interval, {{group.core.name, ref}});
  }

  // The name clients use: of the probe, else of the public URL, else the gateway's own (design.md
  // §7.12).
  static std::string PublicHost(const GroupSettings& group, const v1::HttpProbe& http,
                                const UrlParts& gateway) {
    if (!http.host().empty()) return http.host();
    UrlParts url;
    if (!group.core.public_url.empty() && ParseUrl(group.core.public_url, url).ok())
      return url.host;
    return gateway.host;
  }

  void AddPublic(const GroupSettings& group) {
    UrlParts url;
    if (group.core.public_url.empty() || !ParseUrl(group.core.public_url, url).ok()) return;
    const core::ProbeConfig& decider = group.core.decider();
    v1::Target target;
    target.set_id(absl::StrCat(group.core.name, "/@public"));
    target.set_kind(v1::TARGET_KIND_PUBLIC);
    target.set_url(group.core.public_url);
    // The same path gives the same answer; of any other page only "200" is known.
    if (group.core.deciding_probe < group.spec.probes_size()) {
      const v1::HttpProbe& http = group.spec.probes(group.core.deciding_probe).http();
      if (http.path() == url.path_and_query) Expect(http, target);
    }
    if (target.expect_status().empty()) target.add_expect_status("200");
    SetCadence(decider, target);
    target.set_served_by_header(group.core.served_by_header);
    target.set_failover_group(group.core.name);
    target.set_role("public");
    target.set_definition(
        DefinitionOf(target, decider.failure_threshold, decider.success_threshold));
    Assign(target, group.core.probe_regions, decider.interval,
           {{group.core.name, core::TargetRef{core::TargetKind::kPublic, -1, -1}}});
  }

  void NoteControls(const GroupSettings& group) {
    const core::ProbeConfig& decider = group.core.decider();
    for (size_t i = 0; i < group.core.control_targets.size(); ++i) {
      Control& control = controls_[group.core.control_targets[i]];
      if (std::pair(decider.interval, decider.timeout) <
          std::pair(control.interval, control.timeout)) {
        control.interval = decider.interval;
        control.timeout = decider.timeout;
      }
      for (const std::string& region : group.core.probe_regions) {
        if (std::find(control.regions.begin(), control.regions.end(), region) ==
            control.regions.end()) {
          control.regions.push_back(region);
        }
      }
      const bool again = !control.uses.empty() && control.uses.back().group == group.core.name;
      if (again) continue;
      control.uses.push_back(
          {group.core.name, {core::TargetKind::kControl, -1, static_cast<int16_t>(i)}});
    }
  }

  // Any answer proves that the network between the agent and the neutral host works.
  void AddControl(const std::string& url, const Control& control) {
    v1::Target target;
    target.set_id(absl::StrCat("@control/", url));
    target.set_kind(v1::TARGET_KIND_CONTROL);
    target.set_url(url);
    target.add_expect_status("100-599");
    *target.mutable_interval() = ToProto(control.interval);
    *target.mutable_timeout() = ToProto(control.timeout);
    target.set_role("control");
    target.set_definition(DefinitionOf(target, 0, 0));
    Assign(target, control.regions, control.interval, control.uses);
  }

  // Adds the target to every region's message, each with its own phase, and to the table of
  // results.
  void Assign(v1::Target& target, const std::vector<std::string>& regions, absl::Duration interval,
              std::vector<TargetUse> uses) {
    for (size_t i = 0; i < regions.size(); ++i) {
      *target.mutable_phase() =
          ToProto(interval * static_cast<int64_t>(i) / static_cast<int64_t>(regions.size()));
      *out_.by_probe_region[regions[i]].add_targets() = target;
    }
    out_.targets[target.id()] = {target.definition(), std::move(uses)};
  }

  const Settings& settings_;
  const std::map<std::string, GroupFacts>& facts_;
  intake::Assignments& out_;
  std::map<std::string, Control> controls_;  // by URL
};

}  // namespace

intake::Assignments MakeAssignments(const Settings& settings,
                                    const std::map<std::string, GroupFacts>& facts, uint64_t term,
                                    uint64_t generation, bool leading) {
  intake::Assignments assignments;
  assignments.term = term;
  assignments.generation = generation;
  assignments.leading = leading;
  Builder(settings, facts, assignments).Run();
  for (auto& [region, assignment] : assignments.by_probe_region) {
    assignment.set_term(term);
    assignment.set_generation(generation);
  }
  return assignments;
}

}  // namespace failover::runtime
