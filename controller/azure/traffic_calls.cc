#include "controller/azure/traffic_calls.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/crash_point.h"
#include "controller/azure/arm.h"
#include "controller/azure/traffic_manager.h"

namespace failover::azure {
namespace {

constexpr char kApi[] = "trafficmanager";
constexpr char kPermissionsVersion[] = "2022-04-01";
constexpr absl::Duration kConnectTimeout = absl::Seconds(3);
constexpr absl::Duration kTimeout = absl::Seconds(10);
// A switch must not queue behind reads that wait for a token; they are soon repeated.
constexpr absl::Duration kTokenWait = absl::Seconds(5);

// Why a group's traffic cannot be touched; empty = it can.
std::string Unusable(const GroupEntry* group) {
  if (group == nullptr) return "the failover group is not configured";
  if (group->group.traffic_manager_profile.empty())
    return "the failover group has no trafficManager section";
  return "";
}

HttpRequest Request(Lane& lane, absl::string_view method, absl::string_view path,
                    std::string body) {
  HttpRequest request = ArmRequest(
      method, ArmUrl(lane.options().arm_endpoint, path, lane.options().traffic_manager_api_version),
      std::move(body));
  request.connect_timeout = kConnectTimeout;
  request.timeout = kTimeout;
  return request;
}

// The endpoint's state, or why it cannot be read.
core::CallResult GetEndpoint(Lane& lane, const GroupAzure& group, const std::string& endpoint,
                             EndpointState& state) {
  const Sent sent =
      lane.Arm(Request(lane, "GET", EndpointId(group, endpoint), ""),
               {.api = kApi, .operation = "get_endpoint", .id = "", .token_wait = kTokenWait});
  core::CallResult result = ResultOfRead(sent);
  if (result.status != core::CallStatus::kOk) return result;
  const absl::StatusOr<EndpointState> read = ReadEndpoint(*sent.response);
  if (!read.ok()) return Failure(read.status().message());
  state = *read;
  return {};
}

// A permission that is provably missing fails; one that cannot be asked is proved by the PATCH.
core::CallResult ProveWritePath(Lane& lane, const GroupAzure& group, const std::string& endpoint,
                                const EndpointState& state) {
  const std::string id = EndpointId(group, endpoint);
  HttpRequest question =
      ArmRequest("GET",
                 ArmUrl(lane.options().arm_endpoint,
                        absl::StrCat(id, "/providers/Microsoft.Authorization/permissions"),
                        kPermissionsVersion),
                 "");
  question.connect_timeout = kConnectTimeout;
  question.timeout = kTimeout;
  const Sent permissions = lane.Arm(
      question, {.api = "arm", .operation = "get_permissions", .id = "", .token_wait = kTokenWait});
  if (permissions.response.has_value() &&
      Grants(*permissions.response, WriteAction(group)) == std::optional<bool>(false)) {
    return Failure(absl::StrCat(MayNot(WriteAction(group)), " on ", id));
  }
  const Sent sent =
      lane.Arm(Request(lane, "PATCH", id, ProofBody(state)),
               {.api = kApi, .operation = "prove_write", .id = "", .token_wait = kTokenWait});
  core::CallResult result = ResultOfWrite(sent);
  if (result.status == core::CallStatus::kOk) return result;
  result.status = core::CallStatus::kFailed;
  result.error.set_message(
      CleanText(absl::StrCat("a PATCH of endpoint ", endpoint,
                             " that changes nothing did not succeed: ", result.error.message()),
                1024));
  return result;
}

}  // namespace

core::TrafficRead ReadTraffic(Lane& lane, const GroupEntry* group,
                              const core::ReadTraffic& command) {
  core::TrafficRead read;
  read.call = command.call;
  if (std::string why = Unusable(group); !why.empty()) {
    read.result = Failure(why);
    return read;
  }
  const SteadyTime begun = lane.clock().Steady();
  const Sent sent =
      lane.Arm(Request(lane, "GET", group->group.traffic_manager_profile, ""),
               {.api = kApi, .operation = "get_profile", .id = "", .token_wait = kTokenWait});
  read.took = lane.clock().Steady() - begun;
  read.result = ResultOfRead(sent);
  if (read.result.status != core::CallStatus::kOk) return read;
  absl::StatusOr<ProfileRead> profile = ReadProfile(*sent.response, group->group);
  if (!profile.ok()) {
    read.result = Failure(profile.status().message());
    return read;
  }
  read.enabled = std::move(profile->enabled);
  read.problem = std::move(profile->problem);
  return read;
}

core::EndpointSet SetEndpoint(Lane& lane, const GroupEntry* group,
                              const core::SetEndpoint& command) {
  core::EndpointSet set{command.call, command.service, command.enabled, {}};
  const auto unsent = [&](absl::string_view why) {
    set.result = {core::CallStatus::kNotSent, ErrorText(why)};
    return set;
  };
  if (std::string why = Unusable(group); !why.empty()) return unsent(why);
  const auto endpoint = group->group.traffic_endpoints.find(command.service);
  if (endpoint == group->group.traffic_endpoints.end()) {
    return unsent(absl::StrCat(command.service, " has no endpoint in the configuration"));
  }
  CrashPoint(command.enabled ? "enable.before_patch" : "disable.before_patch");
  const Sent sent = lane.Arm(Request(lane, "PATCH", EndpointId(group->group, endpoint->second),
                                     StatusBody(command.enabled)),
                             {.api = kApi,
                              .operation = command.enabled ? "enable" : "disable",
                              .id = "",
                              .send_by = command.send_by});
  CrashPoint(command.enabled ? "enable.after_patch" : "disable.after_patch");
  set.result = ResultOfWrite(sent);
  if (set.result.status != core::CallStatus::kOk) return set;
  const absl::StatusOr<EndpointState> state = ReadEndpoint(*sent.response);
  if (!state.ok()) {
    set.result = {core::CallStatus::kUnclear, ErrorText(state.status().message())};
  } else if (state->enabled != command.enabled) {
    set.result = {core::CallStatus::kUnclear,
                  ErrorText(absl::StrCat("the answer shows endpoint ", endpoint->second, " still ",
                                         state->enabled ? "enabled" : "disabled"))};
  }
  return set;
}

core::SwitchPathChecked CheckSwitchPath(Lane& lane, const GroupEntry* group,
                                        const core::CheckSwitchPath& command) {
  core::SwitchPathChecked checked;
  checked.call = command.call;
  if (std::string why = Unusable(group); !why.empty()) {
    checked.result = Failure(why);
    return checked;
  }
  if (absl::Status token = lane.EnsureToken(kTokenWait); !token.ok()) {
    checked.result = Failure(token.message());
    return checked;
  }
  std::map<std::string, EndpointState> states;
  for (const auto& [service, endpoint] : group->group.traffic_endpoints) {
    const SteadyTime begun = lane.clock().Steady();
    checked.result = GetEndpoint(lane, group->group, endpoint, states[endpoint]);
    checked.read_took = std::max(checked.read_took, lane.clock().Steady() - begun);
    if (checked.result.status != core::CallStatus::kOk) return checked;
  }
  if (lane.data().WritePathDue(group->group.group)) {
    for (const auto& [endpoint, state] : states) {
      checked.result = ProveWritePath(lane, group->group, endpoint, state);
      if (checked.result.status != core::CallStatus::kOk) return checked;
    }
    lane.data().WritePathProved(group->group.group);
  }
  checked.token_left = lane.data().credentials.Left();
  return checked;
}

}  // namespace failover::azure
