#include "controller/azure/apim.h"

#include "controller/azure/json.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/unit/azure/scripted.h"

namespace failover::azure {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

v1::Storage Storage(const char* access) {
  v1::Storage storage;
  storage.set_account("contosodr");
  storage.set_container("apim-backups");
  storage.set_access(access);
  storage.set_client_id("11111111-2222-3333-4444-555555555555");
  return storage;
}

Json Body(absl::string_view version, const char* access) {
  const auto body = StorageBody(version, Storage(access), "orders/apim/x", "a2V5");
  EXPECT_TRUE(body.ok()) << body.status();
  return body.ok() ? *ParseJson(*body) : Json();
}

TEST(ApimTest, TheBodyOfTodayNamesAccessAndOnlyWhatBelongsToIt) {
  const Json common = {{"storageAccount", "contosodr"},
                       {"containerName", "apim-backups"},
                       {"backupName", "orders/apim/x"}};
  Json key = common, system = common, user = common;
  key.update({{"accessType", "AccessKey"}, {"accessKey", "a2V5"}});
  system.update({{"accessType", "SystemAssignedManagedIdentity"}});
  user.update({{"accessType", "UserAssignedManagedIdentity"},
               {"clientId", "11111111-2222-3333-4444-555555555555"}});
  EXPECT_EQ(Body("2022-08-01", "AccessKey"), key);
  EXPECT_EQ(Body("2022-08-01", "SystemAssignedManagedIdentity"), system);
  EXPECT_EQ(Body("2024-05-01", "UserAssignedManagedIdentity"), user);
}

TEST(ApimTest, TheBodyOf2014HasFourFields) {
  const Json expected = {{"storageAccount", "contosodr"},
                         {"accessKey", "a2V5"},
                         {"containerName", "apim-backups"},
                         {"backupName", "orders/apim/x"}};
  EXPECT_EQ(Body("2014-02-14", "AccessKey"), expected);
  EXPECT_EQ(Body("2020-12-01", "AccessKey"), expected);
}

TEST(ApimTest, AccessThatAVersionDoesNotKnowIsRefused) {
  EXPECT_THAT(
      std::string(StorageBody("2014-02-14", Storage("SystemAssignedManagedIdentity"), "b", "")
                      .status()
                      .message()),
      HasSubstr("allowed: AccessKey"));
  EXPECT_THAT(
      std::string(
          StorageBody("2022-08-01", Storage("StorageAccessKey"), "b", "k").status().message()),
      HasSubstr("StorageAccessKey"));
}

std::string ServiceText(const char* sku, const char* state, const char* target,
                        const char* extra = "") {
  return std::string(R"({"id":"/s","name":"apim-weu","sku":{"name":")") + sku +
         R"(","capacity":1},"properties":{"provisioningState":")" + state +
         R"(","targetProvisioningState":")" + target +
         R"(","gatewayUrl":"https://apim-weu.azure-api.net")" + extra + "}}";
}

core::ServiceFacts Facts(const std::string& text) {
  return ReadService("apim-weu", Response(200, text), "2022-08-01").facts;
}

TEST(ApimTest, FactsTellStateTierAndGateway) {
  const core::ServiceFacts facts = Facts(ServiceText("Premium", "Succeeded", ""));
  EXPECT_TRUE(facts.reachable);
  EXPECT_TRUE(facts.idle);
  EXPECT_EQ(facts.sku, "Premium");
  EXPECT_EQ(facts.gateway_url, "https://apim-weu.azure-api.net");
  EXPECT_EQ(facts.refused, "");
}

TEST(ApimTest, EveryStateButSucceededIsBusy) {
  EXPECT_FALSE(Facts(ServiceText("Premium", "Updating", "")).idle);
  EXPECT_FALSE(Facts(ServiceText("Premium", "Succeeded", "Updating")).idle);
  EXPECT_EQ(Facts(ServiceText("Premium", "Succeeded", "Updating")).state, "Succeeded/Updating");
  EXPECT_FALSE(Facts(ServiceText("Premium", "SomethingNew", "")).idle);
  EXPECT_FALSE(Facts(ServiceText("Premium", "Failed", "")).idle);
}

TEST(ApimTest, TiersWithoutBackupAreRefusedWithTheReason) {
  EXPECT_THAT(Facts(ServiceText("Consumption", "Succeeded", "")).refused, HasSubstr("Consumption"));
  EXPECT_THAT(Facts(ServiceText("StandardV2", "Succeeded", "")).refused, HasSubstr("StandardV2"));
  EXPECT_THAT(Facts(ServiceText("PremiumV2", "Succeeded", "")).refused, HasSubstr("v2"));
  EXPECT_THAT(Facts(ServiceText("Isolated", "Succeeded", "")).refused,
              HasSubstr("allowed: Developer, Basic"));
  EXPECT_EQ(Facts(ServiceText("Developer", "Succeeded", "")).refused, "");
}

TEST(ApimTest, AServiceThatWantsALaterApiVersionIsRefused) {
  const char* extra = R"(,"apiVersionConstraint":{"minApiVersion":"2023-05-01"})";
  EXPECT_THAT(Facts(ServiceText("Premium", "Succeeded", "", extra)).refused,
              HasSubstr("2023-05-01"));
  const char* null = R"(,"apiVersionConstraint":{"minApiVersion":null})";
  EXPECT_EQ(Facts(ServiceText("Premium", "Succeeded", "", null)).refused, "");
}

TEST(ApimTest, AnAnswerThatIsNotAServiceIsNotReachable) {
  for (const HttpResponse& response :
       {Response(200, ""), Response(200, "{}"),
        Response(200, "{\"sku\":{\"name\":\"Premium\"},\"proper"), Response(200, "[]"),
        Response(404, R"({"error":{"code":"ResourceNotFound","message":"no"}})"), Response(500)}) {
    const core::ServiceFacts facts = ReadService("apim-weu", response, "2022-08-01").facts;
    EXPECT_FALSE(facts.reachable);
    EXPECT_FALSE(facts.idle);
    EXPECT_TRUE(facts.error.http_status() >= 400 || !facts.error.message().empty());
  }
}

TEST(ApimTest, WorkspacesAreRefusedByName) {
  const HttpResponse some =
      Response(200, R"({"value":[{"name":"a"},{"name":"b"},{"name":"c"},{"name":"d"}]})");
  EXPECT_THAT(RefusalForWorkspaces(ReadWorkspaces(some)), HasSubstr("4 (a, b, c, …)"));
  EXPECT_EQ(RefusalForWorkspaces(ReadWorkspaces(Response(200, R"({"value":[]})"))), "");
  EXPECT_EQ(RefusalForWorkspaces(ReadWorkspaces(Response(404))), "");
}

ServiceDetails WithHosts(const char* name, const char* hosts) {
  return ReadService(
      name,
      Response(200, ServiceText("Premium", "Succeeded", "",
                                (std::string(R"(,"hostnameConfigurations":)") + hosts).c_str())),
      "2022-08-01");
}

TEST(ApimTest, HostNamesAndCertificatesThatDifferAreWarnings) {
  const ServiceDetails source = WithHosts(
      "weu",
      R"([{"type":"Proxy","hostName":"API.contoso.com","certificate":{"thumbprint":"AA","expiry":"2027-01-01"}},
          {"type":"Proxy","hostName":"apim-weu.azure-api.net"},{"type":"Portal","hostName":"portal.contoso.com"}])");
  const ServiceDetails same = WithHosts(
      "neu",
      R"([{"type":"Proxy","hostName":"api.contoso.com","certificate":{"thumbprint":"aa"}}])");
  const ServiceDetails other = WithHosts(
      "neu",
      R"([{"type":"Proxy","hostName":"api.contoso.com","certificate":{"thumbprint":"BB"}}])");
  const ServiceDetails extra = WithHosts("neu", R"([{"type":"Proxy","hostName":"x.contoso.com"}])");
  EXPECT_THAT(CompareHosts(source, same), IsEmpty());
  EXPECT_THAT(CompareHosts(source, other),
              ElementsAre(HasSubstr("another certificate to api.contoso.com")));
  EXPECT_THAT(CompareHosts(source, extra),
              ElementsAre(HasSubstr("neu lacks the host name api.contoso.com of weu"),
                          HasSubstr("x.contoso.com")));
}

}  // namespace
}  // namespace failover::azure
