#include "controller/azure/traffic_manager.h"

#include <algorithm>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "controller/azure/arm.h"
#include "controller/azure/json.h"
#include "controller/azure/url_text.h"
#include "nlohmann/json.hpp"

namespace failover::azure {
namespace {

// Methods that send everything to the only enabled endpoint.
constexpr absl::string_view kMethods[] = {"Priority", "Weighted", "Performance"};

// "Enabled" or "Disabled"; absent for anything else.
std::optional<bool> Switch(const Json& value) {
  if (value == "Enabled") return true;
  if (value == "Disabled") return false;
  return std::nullopt;
}

absl::StatusOr<EndpointState> StateOf(const Json& endpoint) {
  const std::optional<bool> enabled = Switch(At(endpoint, {"properties", "endpointStatus"}));
  if (!enabled.has_value()) {
    return absl::DataLossError(absl::StrCat(
        "endpoint \"", CleanText(TextAt(endpoint, {"name"}), 128), "\": found endpointStatus ",
        CleanText(Dump(At(endpoint, {"properties", "endpointStatus"})), 64),
        "; allowed: Enabled, Disabled"));
  }
  EndpointState state{*enabled, std::nullopt};
  const Json& weight = At(endpoint, {"properties", "weight"});
  if (weight.is_number_integer() && weight >= 1 && weight <= 1000) state.weight = weight.get<int>();
  return state;
}

std::string ProfileProblem(const Json& profile) {
  if (Switch(At(profile, {"properties", "profileStatus"})) != std::optional<bool>(true)) {
    return "the Traffic Manager profile is not enabled: its name resolves to nothing";
  }
  const std::string method = TextAt(profile, {"properties", "trafficRoutingMethod"});
  if (std::none_of(std::begin(kMethods), std::end(kMethods),
                   [&](absl::string_view m) { return m == method; })) {
    return absl::StrCat("found routing method \"", CleanText(method, 64),
                        "\"; allowed: ", absl::StrJoin(kMethods, ", "));
  }
  return "";
}

// The configured service of an endpoint; empty when it belongs to none.
std::string ServiceOf(const GroupAzure& group, const Json& endpoint) {
  const std::string name = TextAt(endpoint, {"name"});
  const std::string type = TextAt(endpoint, {"type"});
  const std::string wanted = absl::StrCat("/", group.traffic_manager_endpoint_type);
  if (!absl::EndsWithIgnoreCase(type, wanted)) return "";
  for (const auto& [service, endpoint_name] : group.traffic_endpoints) {
    if (absl::EqualsIgnoreCase(endpoint_name, name)) return service;
  }
  return "";
}

std::string EndpointProblem(const Json& endpoint, const std::string& service, bool enabled) {
  const std::string name = CleanText(TextAt(endpoint, {"name"}), 128);
  if (service.empty()) {
    return enabled ? absl::StrCat("endpoint ", name,
                                  " is enabled and belongs to no service of this group")
                   : "";
  }
  if (Switch(At(endpoint, {"properties", "alwaysServe"})) == std::optional<bool>(true)) {
    return absl::StrCat("endpoint ", name, " of ", service,
                        " has alwaysServe enabled: Traffic Manager does not watch it");
  }
  return "";
}

// '*' stands for any run of characters; case does not matter.
bool Matches(absl::string_view pattern, absl::string_view text) {
  size_t p = 0, t = 0, star = pattern.npos, retry = 0;
  while (t < text.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      retry = t;
    } else if (p < pattern.size() && absl::ascii_tolower(static_cast<unsigned char>(pattern[p])) ==
                                         absl::ascii_tolower(static_cast<unsigned char>(text[t]))) {
      ++p;
      ++t;
    } else if (star != pattern.npos) {
      p = star + 1;
      t = ++retry;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '*') ++p;
  return p == pattern.size();
}

bool AnyMatches(const Json& patterns, absl::string_view action) {
  return patterns.is_array() &&
         std::any_of(patterns.begin(), patterns.end(), [&](const Json& pattern) {
           return pattern.is_string() && Matches(pattern.get_ref<const std::string&>(), action);
         });
}

}  // namespace

absl::StatusOr<ProfileRead> ReadProfile(const HttpResponse& response, const GroupAzure& group) {
  const absl::StatusOr<Json> profile = ParseJson(response.body);
  if (!profile.ok())
    return absl::DataLossError(
        absl::StrCat("the Traffic Manager profile: ", profile.status().message()));
  const Json& endpoints = At(*profile, {"properties", "endpoints"});
  if (!endpoints.is_array())
    return absl::DataLossError("the Traffic Manager profile: found no list of endpoints");
  ProfileRead read;
  std::vector<std::string> problems;
  const auto note = [&](std::string problem) {
    if (!problem.empty() && problems.size() < 8) problems.push_back(std::move(problem));
  };
  note(ProfileProblem(*profile));
  for (const Json& endpoint : endpoints) {
    absl::StatusOr<EndpointState> state = StateOf(endpoint);
    if (!state.ok()) return state.status();
    const std::string service = ServiceOf(group, endpoint);
    if (!service.empty()) read.enabled[service] = state->enabled;
    note(EndpointProblem(endpoint, service, state->enabled));
  }
  for (const auto& [service, endpoint] : group.traffic_endpoints) {
    if (read.enabled.contains(service)) continue;
    read.enabled[service] = false;
    note(absl::StrCat("endpoint ", endpoint, " of ", service,
                      " does not exist among the profile's ", group.traffic_manager_endpoint_type));
  }
  read.problem = absl::StrJoin(problems, "; ");
  return read;
}

absl::StatusOr<EndpointState> ReadEndpoint(const HttpResponse& response) {
  const absl::StatusOr<Json> endpoint = ParseJson(response.body);
  if (!endpoint.ok()) {
    return absl::DataLossError(
        absl::StrCat("the Traffic Manager endpoint: ", endpoint.status().message()));
  }
  return StateOf(*endpoint);
}

std::string EndpointId(const GroupAzure& group, const std::string& endpoint) {
  return absl::StrCat(group.traffic_manager_profile, "/", group.traffic_manager_endpoint_type, "/",
                      PercentEncoded(endpoint, ""));
}

std::string StatusBody(bool enabled) {
  return enabled ? R"({"properties":{"endpointStatus":"Enabled"}})"
                 : R"({"properties":{"endpointStatus":"Disabled"}})";
}

std::string ProofBody(const EndpointState& state) {
  Json properties = Json::object();
  if (state.weight.has_value()) properties["weight"] = *state.weight;
  return Dump(Json{{"properties", std::move(properties)}});
}

std::optional<bool> Grants(const HttpResponse& response, absl::string_view action) {
  if (response.status != 200) return std::nullopt;
  const absl::StatusOr<Json> body = ParseJson(response.body);
  if (!body.ok()) return std::nullopt;
  const Json& list = At(*body, {"value"});
  if (!list.is_array()) return std::nullopt;
  return std::any_of(list.begin(), list.end(), [&](const Json& permission) {
    return AnyMatches(At(permission, {"actions"}), action) &&
           !AnyMatches(At(permission, {"notActions"}), action);
  });
}

std::string WriteAction(const GroupAzure& group) {
  std::string type = group.traffic_manager_endpoint_type;
  if (!type.empty()) type[0] = absl::ascii_tolower(static_cast<unsigned char>(type[0]));
  return absl::StrCat("Microsoft.Network/trafficManagerProfiles/", type, "/write");
}

}  // namespace failover::azure
