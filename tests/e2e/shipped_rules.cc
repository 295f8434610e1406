#include "tests/e2e/shipped_rules.h"

#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "gtest/gtest.h"

namespace failover::e2e {
namespace {

// `for` of the shipped rules → here. Longer than what is short in the world too: a switch of some
// seconds (1m), a takeover of six (2m), a restore of a second.
struct ShortenedFor {
  const char* shipped;
  const char* here;
};
constexpr ShortenedFor kFor[] = {{"30s", "5s"}, {"1m", "5s"},  {"2m", "9s"}, {"5m", "6s"},
                                 {"10m", "6s"}, {"15m", "6s"}, {"1h", "7s"}, {"2h", "7s"},
                                 {"3h", "7s"},  {"4h", "7s"}};

// Times in expressions: a window longer than the `for` of its alert, shortened as above, would make
// one event fire that in the world had to last. Most others may stay: what they wait for does not
// happen here, or they compare with a history that is short as well.
struct Substitution {
  const char* rule;
  const char* shipped;  // in its expression
  int times;
  const char* here;
};
constexpr Substitution kTimes[] = {
    // The error budget: all windows in their order, over within a quarter of a minute.
    {"failover_group:apim_failover_probe_errors:ratio_rate5m", "[5m]", 2, "[4s]"},
    {"failover_group:apim_failover_probe_errors:ratio_rate30m", "[30m]", 2, "[5s]"},
    {"failover_group:apim_failover_probe_errors:ratio_rate1h", "[1h]", 2, "[6s]"},
    {"failover_group:apim_failover_probe_errors:ratio_rate2h", "[2h]", 2, "[7s]"},
    {"failover_group:apim_failover_probe_errors:ratio_rate6h", "[6h]", 2, "[8s]"},
    {"failover_group:apim_failover_probe_errors:ratio_rate1d", "[1d]", 2, "[10s]"},
    {"failover_group:apim_failover_probe_errors:ratio_rate3d", "[3d]", 2, "[12s]"},
    // What must go on for its `for`.
    {"ApimProbeAgentDropsResults", "[5m]", 1, "[5s]"},
    {"ApimProbeAgentRefused", "[5m]", 1, "[5s]"},
    {"ApimFailoverControllerOverloaded", "[5m]", 1, "[5s]"},
    {"ApimFailoverConfigReloadFailed", "[5m]", 1, "[5s]"},
    {"ApimFailoverAzureApiErrors", "[15m]", 2, "[5s]"},
    {"ApimFailoverAzureAuthFailing", "[5m]", 1, "[5s]"},
    // Look back at every fifth minute of the clock: none may be among those of the test.
    {"ApimFailoverControllerDown", "[1d:5m]", 2, "[1h:1s]"},
    {"ApimFailoverControllerDegraded", "[1d:5m]", 1, "[1d:1s]"},
};

int CountIn(const std::string& text, const std::string& part) {
  int count = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++count;
  return count;
}

std::string NameOf(const YAML::Node& rule) {
  return rule["alert"] ? rule["alert"].as<std::string>() : rule["record"].as<std::string>();
}

std::vector<YAML::Node> RulesOf(const YAML::Node& file) {
  std::vector<YAML::Node> rules;
  for (const YAML::Node& group : file["groups"]) {
    for (const YAML::Node& rule : group["rules"]) rules.push_back(rule);
  }
  return rules;
}

void ShortenFor(std::vector<YAML::Node>& rules) {
  std::map<std::string, int> used;
  for (YAML::Node& rule : rules) {
    if (!rule["for"]) continue;
    const std::string shipped = rule["for"].as<std::string>();
    ++used[shipped];
    const auto* const entry =
        std::find_if(std::begin(kFor), std::end(kFor),
                     [&](const ShortenedFor& one) { return shipped == one.shipped; });
    if (entry == std::end(kFor)) {
      ADD_FAILURE() << NameOf(rule) << " has `for: " << shipped
                    << "`, which has no shorter one here";
    } else {
      rule["for"] = entry->here;
    }
  }
  for (const ShortenedFor& entry : kFor)
    EXPECT_GT(used[entry.shipped], 0) << "no rule has `for: " << entry.shipped << "` any more";
}

void ShortenTimes(std::vector<YAML::Node>& rules) {
  for (const Substitution& one : kTimes) {
    int found = 0;
    for (YAML::Node& rule : rules) {
      if (NameOf(rule) != one.rule) continue;
      const std::string expression = rule["expr"].as<std::string>();
      found += CountIn(expression, one.shipped);
      rule["expr"] = absl::StrReplaceAll(expression, {{one.shipped, one.here}});
    }
    EXPECT_EQ(found, one.times) << "\"" << one.shipped << "\" in " << one.rule;
  }
}

}  // namespace

std::string ShippedRules() {
  const std::filesystem::path folder = absl::StrCat(FAILOVER_SOURCE, "/charts/apim-failover/rules");
  YAML::Node whole;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (entry.path().extension() != ".yaml") continue;
    const YAML::Node file = YAML::LoadFile(entry.path().string());
    for (const YAML::Node& group : file["groups"]) whole["groups"].push_back(group);
  }
  std::vector<YAML::Node> rules = RulesOf(whole);
  EXPECT_FALSE(rules.empty()) << folder;
  ShortenFor(rules);
  ShortenTimes(rules);
  return YAML::Dump(whole);
}

std::string JobOf(const std::string& chart) {
  const YAML::Node values =
      YAML::LoadFile(absl::StrCat(FAILOVER_SOURCE, "/charts/", chart, "/values.yaml"));
  return values["metrics"]["serviceMonitor"]["jobName"].as<std::string>();
}

}  // namespace failover::e2e
