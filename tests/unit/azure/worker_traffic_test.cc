#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/unit/azure/worker_fixture.h"

namespace failover::azure {
namespace {

using core::CallStatus;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::Pair;

constexpr char kEndpoint[] =
    R"({"name":"neu","type":"Microsoft.Network/trafficManagerProfiles/externalEndpoints","properties":{"endpointStatus":"Enabled","weight":3}})";

class TrafficTest : public WorkerTest {
 protected:
  core::SetEndpoint Enable() { return {6, "apim-neu", true, clock_.Steady() + absl::Seconds(5)}; }
};

TEST_F(TrafficTest, TheProfileTellsWhichServicesAreEnabled) {
  On("GET", 200,
     absl::StrCat(
         R"({"properties":{"profileStatus":"Enabled","trafficRoutingMethod":"Priority","endpoints":[)",
         kEndpoint, "]}}"));
  const auto read = CarryOut<core::TrafficRead>(core::ReadTraffic{2});
  EXPECT_EQ(read.call, 2u);
  EXPECT_EQ(read.result.status, CallStatus::kOk);
  EXPECT_THAT(read.enabled, ElementsAre(Pair("apim-neu", true), Pair("apim-weu", false)));
  EXPECT_THAT(read.problem, HasSubstr("endpoint weu of apim-weu does not exist"));
  EXPECT_EQ(wire_.requests.back().url, absl::StrCat(kArm, kProfile, "?api-version=2022-04-01"));
  EXPECT_THAT(observed_, Contains("trafficmanager get_profile 200"));
}

TEST_F(TrafficTest, AProfileThatCannotBeReadIsReadOnceAndFails) {
  for (const char* body : {"", "{\"properties\":{\"endp", "[]"}) {
    On("GET", 200, body);
    EXPECT_EQ(CarryOut<core::TrafficRead>(core::ReadTraffic{2}).result.status, CallStatus::kFailed);
  }
  On("GET", 503);
  wire_.requests.clear();
  EXPECT_EQ(CarryOut<core::TrafficRead>(core::ReadTraffic{2}).result.status, CallStatus::kFailed);
  EXPECT_EQ(wire_.Count("GET"), 1);
}

TEST_F(TrafficTest, EnablingSetsEndpointStatusAndNothingElse) {
  On("PATCH", 200, kEndpoint);
  const auto set = CarryOut<core::EndpointSet>(Enable());
  EXPECT_EQ(set.call, 6u);
  EXPECT_EQ(set.service, "apim-neu");
  EXPECT_TRUE(set.enabled);
  EXPECT_EQ(set.result.status, CallStatus::kOk);
  EXPECT_EQ(wire_.requests.back().url,
            absl::StrCat(kArm, kProfile, "/ExternalEndpoints/neu?api-version=2022-04-01"));
  EXPECT_EQ(wire_.requests.back().body, R"({"properties":{"endpointStatus":"Enabled"}})");
}

TEST_F(TrafficTest, AnAnswerThatDoesNotShowTheWantedStatusIsUnclear) {
  core::SetEndpoint disable = Enable();
  disable.enabled = false;
  On("PATCH", 200, kEndpoint);
  EXPECT_EQ(CarryOut<core::EndpointSet>(disable).result.status, CallStatus::kUnclear);
  On("PATCH", 200, "{\"properties\":{");
  EXPECT_EQ(CarryOut<core::EndpointSet>(Enable()).result.status, CallStatus::kUnclear);
}

TEST_F(TrafficTest, EnablingIsNeverRepeatedAndItsOutcomeIsHonest) {
  const std::pair<int, CallStatus> cases[] = {
      {400, CallStatus::kFailed},  {403, CallStatus::kFailed}, {404, CallStatus::kFailed},
      {409, CallStatus::kUnclear}, {429, CallStatus::kFailed}, {500, CallStatus::kUnclear},
      {503, CallStatus::kUnclear}, {504, CallStatus::kUnclear}};
  for (const auto& [status, expected] : cases) {
    On("PATCH", status);
    wire_.requests.clear();
    EXPECT_EQ(CarryOut<core::EndpointSet>(Enable()).result.status, expected) << status;
    EXPECT_EQ(wire_.Count("PATCH"), 1) << status;
  }
  On("PATCH", [](const HttpRequest&) { return Lost(true); });
  EXPECT_EQ(CarryOut<core::EndpointSet>(Enable()).result.status, CallStatus::kUnclear);
  On("PATCH", [](const HttpRequest&) { return Lost(false); });
  EXPECT_EQ(CarryOut<core::EndpointSet>(Enable()).result.status, CallStatus::kNotSent);
}

TEST_F(TrafficTest, AnUnknownServiceOrALateCommandSendsNothing) {
  core::SetEndpoint other = Enable();
  other.service = "apim-x";
  EXPECT_EQ(CarryOut<core::EndpointSet>(other).result.status, CallStatus::kNotSent);
  core::SetEndpoint late = Enable();
  late.send_by = clock_.Steady() - absl::Seconds(1);
  EXPECT_EQ(CarryOut<core::EndpointSet>(late).result.status, CallStatus::kNotSent);
  EXPECT_EQ(wire_.Count("PATCH"), 0);
}

TEST_F(TrafficTest, TheSwitchPathIsReadEveryTimeAndProvedOnceAnHour) {
  On("GET", 200, kEndpoint);
  On("permissions", 200, R"({"value":[{"actions":["*"]}]})");
  On("PATCH", 200, kEndpoint);
  const auto checked = CarryOut<core::SwitchPathChecked>(core::CheckSwitchPath{1});
  EXPECT_EQ(checked.result.status, CallStatus::kOk) << checked.result.error.message();
  EXPECT_GE(checked.token_left, absl::Minutes(10));
  EXPECT_EQ(wire_.Count("PATCH"), 2);  // one per endpoint
  for (const HttpRequest& request : wire_.requests) {
    if (request.method != "PATCH") continue;
    EXPECT_THAT(request.body, Not(HasSubstr("endpointStatus")));
  }
  clock_.Advance(absl::Minutes(59));
  CarryOut<core::SwitchPathChecked>(core::CheckSwitchPath{1});
  EXPECT_EQ(wire_.Count("PATCH"), 2);
  clock_.Advance(absl::Minutes(1));
  CarryOut<core::SwitchPathChecked>(core::CheckSwitchPath{1});
  EXPECT_EQ(wire_.Count("PATCH"), 4);
}

TEST_F(TrafficTest, AnUnreadableEndpointBreaksTheSwitchPath) {
  On("GET", 200, kEndpoint);
  On("ExternalEndpoints/weu", 404);
  EXPECT_EQ(CarryOut<core::SwitchPathChecked>(core::CheckSwitchPath{1}).result.status,
            CallStatus::kFailed);
}

TEST_F(TrafficTest, AMissingPermissionBreaksTheSwitchPathAndIsNamed) {
  On("GET", 200, kEndpoint);
  On("permissions", 200, R"({"value":[{"actions":["*/read"]}]})");
  const auto checked = CarryOut<core::SwitchPathChecked>(core::CheckSwitchPath{1});
  EXPECT_EQ(checked.result.status, CallStatus::kFailed);
  EXPECT_THAT(checked.result.error.message(), HasSubstr("externalEndpoints/write"));
  EXPECT_EQ(wire_.Count("PATCH"), 0);
}

TEST_F(TrafficTest, ARefusedProofBreaksTheSwitchPathUntilItSucceeds) {
  On("GET", 200, kEndpoint);
  On("permissions", 404);
  On("PATCH", 403, R"({"error":{"code":"AuthorizationFailed","message":"no"}})");
  EXPECT_EQ(CarryOut<core::SwitchPathChecked>(core::CheckSwitchPath{1}).result.status,
            CallStatus::kFailed);
  On("PATCH", 200, kEndpoint);
  EXPECT_EQ(CarryOut<core::SwitchPathChecked>(core::CheckSwitchPath{1}).result.status,
            CallStatus::kOk);
}

TEST_F(TrafficTest, AChangedTrafficSectionIsProvedAnew) {
  On("GET", 200, kEndpoint);
  On("PATCH", 200, kEndpoint);
  CarryOut<core::SwitchPathChecked>(core::CheckSwitchPath{1});
  shared_.SetGroups({Group()});
  CarryOut<core::SwitchPathChecked>(core::CheckSwitchPath{1});
  EXPECT_EQ(wire_.Count("PATCH"), 2) << "the same section is not proved again";
  GroupAzure changed = Group();
  changed.traffic_endpoints["apim-neu"] = "neu2";
  shared_.SetGroups({changed});
  CarryOut<core::SwitchPathChecked>(core::CheckSwitchPath{1});
  EXPECT_EQ(wire_.Count("PATCH"), 4);
}

TEST_F(TrafficTest, AGroupWithoutTrafficSaysSo) {
  GroupAzure group = Group();
  group.traffic_manager_profile.clear();
  shared_.SetGroups({group});
  EXPECT_THAT(CarryOut<core::TrafficRead>(core::ReadTraffic{2}).result.error.message(),
              HasSubstr("trafficManager"));
  EXPECT_EQ(CarryOut<core::SwitchPathChecked>(core::CheckSwitchPath{2}).result.status,
            CallStatus::kFailed);
  EXPECT_EQ(CarryOut<core::EndpointSet>(Enable()).result.status, CallStatus::kNotSent);
}

}  // namespace
}  // namespace failover::azure
