#include "controller/azure/long_operation.h"

#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "tests/unit/azure/scripted.h"

namespace failover::azure {
namespace {

using core::CallStatus;
using State = core::OperationPolled::State;

constexpr char kPublicArm[] = "https://management.azure.com";
constexpr char kAccepted[] =
    "https://management.azure.com/subscriptions/s/operationresults/d2V1Og==?api-version=2022-08-01";
constexpr char kOther[] =
    "https://management.azure.com/subscriptions/s/operationresults/bmV1Og==?api-version=2022-08-01";
constexpr char kError[] =
    R"({"error":{"code":"RestoreFailed","message":"Cannot restore","details":null,"innerError":null}})";

struct StartCase {
  const char* name;
  HttpResponse response;
  CallStatus status;
  const char* handle;
  int retry_after_s;
  const char* code;
};

TEST(LongOperationTest, OnlyAnAcceptanceWithALocationOnArmStartsAnOperation) {
  const std::vector<StartCase> cases = {
      {"accepted", Response(202, "", {{"Location", kAccepted}, {"Retry-After", "60"}}),
       CallStatus::kOk, kAccepted, 60, ""},
      {"lower-case header, no Retry-After", Response(202, "", {{"location", kAccepted}}),
       CallStatus::kOk, kAccepted, 0, ""},
      {"path on the same host", Response(202, "", {{"Location", "/subscriptions/s/op==?a=b"}}),
       CallStatus::kOk, "https://management.azure.com/subscriptions/s/op==?a=b", 0, ""},
      {"no Location", Response(202, "", {{"Retry-After", "60"}}), CallStatus::kUnclear, "", 60,
       "NoLocation"},
      {"foreign host", Response(202, "", {{"Location", "https://evil.example/op"}}),
       CallStatus::kUnclear, "", 0, "ForeignLocation"},
      {"foreign port", Response(202, "", {{"Location", "https://management.azure.com:8443/op"}}),
       CallStatus::kUnclear, "", 0, "ForeignLocation"},
      {"plain http", Response(202, "", {{"Location", "http://management.azure.com/op"}}),
       CallStatus::kUnclear, "", 0, "ForeignLocation"},
      {"network path", Response(202, "", {{"Location", "//evil.example/op"}}), CallStatus::kUnclear,
       "", 0, "ForeignLocation"},
      {"user information",
       Response(202, "", {{"Location", "https://management.azure.com@evil.example/"}}),
       CallStatus::kUnclear, "", 0, "ForeignLocation"},
      {"200", Response(200, "{}", {{"Location", kAccepted}}), CallStatus::kUnclear, "", 0, ""},
      {"204", Response(204), CallStatus::kUnclear, "", 0, ""},
      {"302", Response(302, "", {{"Location", kAccepted}}), CallStatus::kUnclear, "", 0, ""},
      {"400", Response(400, kError), CallStatus::kFailed, "", 0, "RestoreFailed"},
      {"401", Response(401), CallStatus::kFailed, "", 0, ""},
      {"403", Response(403), CallStatus::kFailed, "", 0, ""},
      {"404", Response(404), CallStatus::kFailed, "", 0, ""},
      {"408", Response(408), CallStatus::kUnclear, "", 0, ""},
      {"409", Response(409, R"({"error":{"code":"ServiceLocked","message":"transitioning"}})"),
       CallStatus::kUnclear, "", 0, "ServiceLocked"},
      {"429", Response(429, "", {{"Retry-After", "17"}}), CallStatus::kFailed, "", 17, ""},
      {"500", Response(500), CallStatus::kUnclear, "", 0, ""},
      {"503", Response(503), CallStatus::kUnclear, "", 0, ""},
      {"504", Response(504, "<html>"), CallStatus::kUnclear, "", 0, ""},
  };
  for (const StartCase& c : cases) {
    const StartOutcome outcome = OutcomeOfStart(c.response, kPublicArm);
    EXPECT_EQ(outcome.result.status, c.status) << c.name;
    EXPECT_EQ(outcome.handle, c.handle) << c.name;
    EXPECT_EQ(outcome.retry_after_s, c.retry_after_s) << c.name;
    EXPECT_EQ(outcome.result.error.code(), c.code) << c.name;
    if (c.status == CallStatus::kOk) continue;
    EXPECT_EQ(outcome.result.error.http_status(), c.response.status) << c.name;
    EXPECT_NE(outcome.result.error.message(), "") << c.name;
  }
}

struct PollCase {
  const char* name;
  HttpResponse response;
  State state;
  const char* handle;
  const char* code;
};

void Check(const std::vector<PollCase>& cases) {
  for (const PollCase& c : cases) {
    const PollOutcome outcome = OutcomeOfPoll(c.response, kPublicArm, kAccepted);
    EXPECT_EQ(static_cast<int>(outcome.state), static_cast<int>(c.state)) << c.name;
    EXPECT_EQ(outcome.handle, c.handle) << c.name;
    EXPECT_EQ(outcome.error.code(), c.code) << c.name;
    const bool good = c.state == State::kRunning || c.state == State::kSucceeded;
    EXPECT_EQ(outcome.error.message().empty(), good) << c.name;
  }
}

constexpr char kService[] =
    R"({"id":"/s","name":"apim","properties":{"provisioningState":"Succeeded","targetProvisioningState":""}})";

TEST(LongOperationTest, APollIsJudgedByStatusHeadersAndBody) {
  Check({
      {"running", Response(202, "", {{"Location", kAccepted}}), State::kRunning, "", ""},
      {"running, no Location", Response(202), State::kRunning, "", ""},
      {"running, moved", Response(202, "", {{"Location", kOther}}), State::kRunning, kOther, ""},
      {"running, foreign", Response(202, "", {{"Location", "https://evil.example/"}}),
       State::kUnknown, "", "ForeignLocation"},
      {"done", Response(200, kService), State::kSucceeded, "", ""},
      {"done, service busy again",
       Response(200, R"({"properties":{"provisioningState":"Updating"}})"), State::kSucceeded, "",
       ""},
      {"left in Failed", Response(200, R"({"properties":{"provisioningState":"Failed"}})"),
       State::kFailed, "", "ProvisioningFailed"},
      {"status Succeeded", Response(200, R"({"status":"Succeeded"})"), State::kSucceeded, "", ""},
      {"status InProgress", Response(200, R"({"status":"InProgress"})"), State::kRunning, "", ""},
      {"status Failed", Response(200, R"({"status":"Failed"})"), State::kFailed, "",
       "OperationFailed"},
      {"status Canceled", Response(200, R"({"status":"Canceled"})"), State::kFailed, "",
       "OperationFailed"},
      {"200 with an error", Response(200, kError), State::kFailed, "", "RestoreFailed"},
      {"200 cut off", Response(200, std::string(kService).substr(0, 40)), State::kUnknown, "",
       "MalformedResult"},
      {"200 not JSON", Response(200, "<html>busy</html>"), State::kUnknown, "", "MalformedResult"},
      {"200 empty", Response(200), State::kGone, "", "EmptyResult"},
      {"200 of something else", Response(200, "{}"), State::kGone, "", "UnexpectedResult"},
      {"200 list", Response(200, "[]"), State::kGone, "", "UnexpectedResult"},
  });
}

TEST(LongOperationTest, APollsErrorStatusIsTransientGoneOrTheOperationsEnd) {
  Check({
      {"204", Response(204), State::kGone, "", "NoResult"},
      {"404", Response(404), State::kGone, "", "NoResult"},
      {"410", Response(410), State::kGone, "", "NoResult"},
      {"400", Response(400, kError), State::kFailed, "", "RestoreFailed"},
      {"409", Response(409), State::kFailed, "", ""},
      {"403 of the operation", Response(403), State::kFailed, "", ""},
      {"403 of ARM", Response(403, "", {{"x-ms-failure-cause", "gateway"}}), State::kUnknown, "",
       ""},
      {"401", Response(401), State::kUnknown, "", ""},
      {"408", Response(408), State::kUnknown, "", ""},
      {"429", Response(429), State::kUnknown, "", ""},
      {"500", Response(500, kError), State::kUnknown, "", "RestoreFailed"},
      {"502", Response(502), State::kUnknown, "", ""},
      {"503", Response(503), State::kUnknown, "", ""},
      {"301", Response(301, "", {{"Location", kOther}}), State::kUnknown, "", ""},
      {"206", Response(206, kService), State::kUnknown, "", ""},
  });
}

TEST(LongOperationTest, APollCarriesRetryAfter) {
  EXPECT_EQ(OutcomeOfPoll(Response(202, "", {{"Retry-After", "30"}}), kPublicArm, kAccepted)
                .retry_after_s,
            30);
  EXPECT_EQ(
      OutcomeOfPoll(Response(429, "", {{"Retry-After", "7"}}), kPublicArm, kAccepted).retry_after_s,
      7);
  EXPECT_EQ(OutcomeOfPoll(Response(202), kPublicArm, kAccepted).retry_after_s, 0);
}

}  // namespace
}  // namespace failover::azure
