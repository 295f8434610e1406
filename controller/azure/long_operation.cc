#include "controller/azure/long_operation.h"

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "controller/azure/arm.h"
#include "controller/azure/json.h"
#include "nlohmann/json.hpp"

namespace failover::azure {
namespace {

using State = core::OperationPolled::State;

// Ids and status of the answer, and our own words where Azure gave none.
v1::AzureError Explained(const HttpResponse& response, absl::string_view code,
                         absl::string_view message) {
  v1::AzureError error = ErrorOf(response);
  if (error.code().empty()) error.set_code(std::string(code));
  if (error.message().empty()) error.set_message(CleanText(message, 1024));
  return error;
}

PollOutcome Judge(State state, const HttpResponse& response, absl::string_view code,
                  absl::string_view message) {
  return {state, Explained(response, code, message), "", RetryAfterSeconds(response)};
}

PollOutcome StillRunning(const HttpResponse& response, absl::string_view arm_endpoint,
                         absl::string_view handle) {
  PollOutcome outcome{State::kRunning, {}, "", RetryAfterSeconds(response)};
  const absl::string_view location = response.Header("Location");
  if (location.empty()) return outcome;
  const absl::StatusOr<std::string> url = OnArmHost(arm_endpoint, location);
  if (!url.ok()) {
    return Judge(State::kUnknown, response, "ForeignLocation",
                 absl::StrCat("the new Location is refused: ", url.status().message()));
  }
  if (*url != handle) outcome.handle = *url;
  return outcome;
}

PollOutcome FromStatus(const HttpResponse& response, const std::string& status) {
  if (absl::EqualsIgnoreCase(status, "Succeeded")) return {State::kSucceeded, {}, "", 0};
  if (absl::EqualsIgnoreCase(status, "Failed") || absl::EqualsIgnoreCase(status, "Canceled") ||
      absl::EqualsIgnoreCase(status, "Cancelled")) {
    return Judge(State::kFailed, response, "OperationFailed",
                 absl::StrCat("the operation ended with status ", status));
  }
  return {State::kRunning, {}, "", RetryAfterSeconds(response)};
}

// A 200 is believed only when it carries what a finished operation returns.
PollOutcome FromResult(const HttpResponse& response) {
  if (response.body.empty()) {
    return Judge(State::kGone, response, "EmptyResult", "the result is empty and proves nothing");
  }
  const absl::StatusOr<Json> body = ParseJson(response.body);
  if (!body.ok())
    return Judge(State::kUnknown, response, "MalformedResult", body.status().message());
  const Json& error = At(*body, {"error"});
  if (error.is_object()) {
    return Judge(State::kFailed, response, "OperationFailed", "the result is an error");
  }
  if (const std::string state = TextAt(*body, {"properties", "provisioningState"});
      !state.empty()) {
    if (absl::EqualsIgnoreCase(state, "Failed") || absl::EqualsIgnoreCase(state, "Canceled")) {
      return Judge(State::kFailed, response, "ProvisioningFailed",
                   absl::StrCat("the operation left the service in state ", state));
    }
    return {State::kSucceeded, {}, "", 0};
  }
  if (const std::string status = TextAt(*body, {"status"}); !status.empty()) {
    return FromStatus(response, status);
  }
  return Judge(State::kGone, response, "UnexpectedResult",
               "the result is neither the service nor an operation status and proves nothing");
}

}  // namespace

StartOutcome OutcomeOfStart(const HttpResponse& response, absl::string_view arm_endpoint) {
  StartOutcome outcome;
  outcome.retry_after_s = RetryAfterSeconds(response);
  if (response.status != 202) {
    outcome.result.status = StatusOfWrite(response.status);
    if (outcome.result.status == core::CallStatus::kOk)
      outcome.result.status = core::CallStatus::kUnclear;
    outcome.result.error = Explained(
        response, "", absl::StrCat("found HTTP ", response.status, "; Azure accepts with 202"));
    return outcome;
  }
  const absl::string_view location = response.Header("Location");
  if (location.empty()) {
    outcome.result = {
        core::CallStatus::kUnclear,
        Explained(response, "NoLocation", "Azure accepted the request without a Location to poll")};
    return outcome;
  }
  absl::StatusOr<std::string> url = OnArmHost(arm_endpoint, location);
  if (!url.ok()) {
    outcome.result = {core::CallStatus::kUnclear,
                      Explained(response, "ForeignLocation",
                                absl::StrCat("the Location is refused: ", url.status().message()))};
    return outcome;
  }
  outcome.handle = *std::move(url);
  return outcome;
}

PollOutcome OutcomeOfPoll(const HttpResponse& response, absl::string_view arm_endpoint,
                          absl::string_view handle) {
  const int status = response.status;
  switch (status) {
    case 200:
      return FromResult(response);
    case 202:
      return StillRunning(response, arm_endpoint, handle);
    case 204:
    case 404:
    case 410:
      return Judge(State::kGone, response, "NoResult",
                   absl::StrCat("the operation's result is gone (HTTP ", status, ")"));
    case 401:
    case 408:
    case 429:
      return Judge(State::kUnknown, response, "",
                   absl::StrCat("the poll was not answered (HTTP ", status, ")"));
    case 403:
      if (absl::EqualsIgnoreCase(response.Header("x-ms-failure-cause"), "gateway")) {
        return Judge(State::kUnknown, response, "", "the operation may not be read (HTTP 403)");
      }
      break;
    default:
      break;
  }
  if (status >= 400 && status < 500) {
    return Judge(State::kFailed, response, "",
                 absl::StrCat("the operation failed (HTTP ", status, ")"));
  }
  return Judge(State::kUnknown, response, "", absl::StrCat("found HTTP ", status, " on a poll"));
}

}  // namespace failover::azure
