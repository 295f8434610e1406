#include "controller/azure/traffic_manager.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/unit/azure/scripted.h"

namespace failover::azure {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pair;

GroupAzure Group() {
  GroupAzure group;
  group.group = "orders";
  group.traffic_manager_profile =
      "/subscriptions/s/resourceGroups/rg/providers/Microsoft.Network/trafficmanagerprofiles/p";
  group.traffic_manager_endpoint_type = "ExternalEndpoints";
  group.traffic_endpoints = {{"apim-weu", "weu"}, {"apim-neu", "neu"}};
  return group;
}

std::string Endpoint(const char* name, const char* status, const char* extra = "",
                     const char* type = "externalEndpoints") {
  return std::string(R"({"name":")") + name +
         R"(","type":"Microsoft.Network/trafficManagerProfiles/)" + type +
         R"(","properties":{"endpointStatus":")" + status + "\"" + extra + "}}";
}
HttpResponse Profile(const std::string& endpoints, const char* status = "Enabled",
                     const char* method = "Priority") {
  return Response(200, std::string(R"({"properties":{"profileStatus":")") + status +
                           R"(","trafficRoutingMethod":")" + method + R"(","endpoints":[)" +
                           endpoints + "]}}");
}
const std::string kPair = Endpoint("WEU", "Enabled") + "," + Endpoint("neu", "Disabled");

TEST(TrafficManagerTest, EndpointsAreReadByServiceWhateverTheirCase) {
  const auto read = ReadProfile(Profile(kPair), Group());
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_THAT(read->enabled, ElementsAre(Pair("apim-neu", false), Pair("apim-weu", true)));
  EXPECT_EQ(read->problem, "");
}

std::string ProblemOf(const HttpResponse& response) {
  const auto read = ReadProfile(response, Group());
  EXPECT_TRUE(read.ok()) << read.status();
  return read.ok() ? read->problem : "";
}

TEST(TrafficManagerTest, WhatKeepsEndpointsFromMeaningWhatTheySayIsAProblem) {
  EXPECT_THAT(ProblemOf(Profile(kPair, "Disabled")), HasSubstr("not enabled"));
  EXPECT_THAT(ProblemOf(Profile(kPair, "Enabled", "Geographic")), HasSubstr("Geographic"));
  EXPECT_EQ(ProblemOf(Profile(kPair, "Enabled", "Weighted")), "");
  EXPECT_THAT(ProblemOf(Profile(Endpoint("weu", "Enabled"))),
              HasSubstr("endpoint neu of apim-neu does not exist"));
  EXPECT_THAT(ProblemOf(Profile(kPair + "," + Endpoint("other", "Enabled"))),
              HasSubstr("belongs to no service"));
  EXPECT_EQ(ProblemOf(Profile(kPair + "," + Endpoint("other", "Disabled"))), "");
  EXPECT_THAT(ProblemOf(Profile(Endpoint("weu", "Enabled", R"(,"alwaysServe":"Enabled")") + "," +
                                Endpoint("neu", "Disabled"))),
              HasSubstr("alwaysServe"));
  EXPECT_THAT(ProblemOf(Profile(Endpoint("weu", "Enabled") + "," +
                                Endpoint("neu", "Disabled", "", "azureEndpoints"))),
              HasSubstr("endpoint neu of apim-neu does not exist"));
}

TEST(TrafficManagerTest, AnAnswerThatIsNoProfileIsAnError) {
  for (const HttpResponse& response :
       {Response(200, ""), Response(200, "{}"), Response(200, R"({"properties":{"endpoints":)"),
        Profile(Endpoint("weu", "Paused")), Profile("{}")}) {
    EXPECT_FALSE(ReadProfile(response, Group()).ok()) << response.body;
  }
}

TEST(TrafficManagerTest, BodiesSetOnlyWhatTheySay) {
  EXPECT_EQ(StatusBody(true), R"({"properties":{"endpointStatus":"Enabled"}})");
  EXPECT_EQ(StatusBody(false), R"({"properties":{"endpointStatus":"Disabled"}})");
  EXPECT_EQ(ProofBody({true, 7}), R"({"properties":{"weight":7}})");
  EXPECT_EQ(ProofBody({true, std::nullopt}), R"({"properties":{}})");
  EXPECT_EQ(EndpointId(Group(), "weu"), Group().traffic_manager_profile + "/ExternalEndpoints/weu");
}

TEST(TrafficManagerTest, PermissionsAreMatchedWithWildcardsAndExceptions) {
  const std::string action = WriteAction(Group());
  EXPECT_EQ(action, "Microsoft.Network/trafficManagerProfiles/externalEndpoints/write");
  const auto grants = [&](const char* body) { return Grants(Response(200, body), action); };
  EXPECT_EQ(grants(R"({"value":[{"actions":["*"],"notActions":[]}]})"), true);
  EXPECT_EQ(
      grants(R"({"value":[{"actions":["microsoft.network/TRAFFICMANAGERPROFILES/*/write"]}]})"),
      true);
  EXPECT_EQ(grants(R"({"value":[{"actions":["*"],"notActions":["Microsoft.Network/*"]}]})"), false);
  EXPECT_EQ(grants(R"({"value":[{"actions":["*/read"]}]})"), false);
  EXPECT_EQ(grants(R"({"value":[]})"), false);
  EXPECT_EQ(grants("{}"), std::nullopt);
  EXPECT_EQ(Grants(Response(404), action), std::nullopt);
}

}  // namespace
}  // namespace failover::azure
