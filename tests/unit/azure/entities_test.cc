#include "controller/azure/entities.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"

namespace failover::azure {
namespace {

constexpr char kWeuService[] =
    "/subscriptions/s/resourceGroups/rg/providers/Microsoft.ApiManagement/service/apim-weu";
constexpr char kNeuService[] =
    "/subscriptions/s/resourceGroups/rg/providers/Microsoft.ApiManagement/service/apim-neu";

Json Entity(const char* properties) {
  return Json{{"id", "x"}, {"etag", "1"}, {"properties", Json::parse(properties)}};
}

TEST(EntitiesTest, TheSameEntityOnTwoServicesIsEqual) {
  const Json a = Entity(
      R"({"scope":"/SUBSCRIPTIONS/s/resourceGroups/rg/providers/Microsoft.ApiManagement/service/apim-weu/products/gold",
      "state":"active","createdDate":"2026-01-01T00:00:00Z","primaryKey":"k1","notes":null,"list":[{"provisioningState":"x","v":1}]})");
  const Json b = Entity(
      R"({"list":[{"v":1,"provisioningState":"y"}],"state":"active","createdDate":"2026-02-02T00:00:00Z",
      "scope":"/subscriptions/s/resourceGroups/rg/providers/Microsoft.ApiManagement/service/apim-neu/products/gold","primaryKey":"k2"})");
  const Json expected =
      Json::parse(R"({"scope":"/products/gold","state":"active","list":[{"v":1}]})");
  EXPECT_EQ(Canonical("subscriptions", a, kWeuService), expected);
  EXPECT_EQ(Canonical("subscriptions", b, kNeuService), expected);
  EXPECT_EQ(EntityDigest("k", "i", Canonical("subscriptions", a, kWeuService)),
            EntityDigest("k", "i", Canonical("subscriptions", b, kNeuService)));
}

TEST(EntitiesTest, ARealDifferenceStaysVisible) {
  const auto digest = [](const char* properties) {
    return EntityDigest("k", "apis/a", Canonical("apis", Entity(properties), kWeuService));
  };
  EXPECT_NE(digest(R"({"path":"a"})"), digest(R"({"path":"b"})"));
  EXPECT_NE(digest(R"({"protocols":["http","https"]})"),
            digest(R"({"protocols":["https","http"]})"));
  EXPECT_NE(digest(R"({"subscriptionRequired":true})"),
            digest(R"({"subscriptionRequired":false})"));
}

TEST(EntitiesTest, AnIdOfALongerNameIsNotCutAndTextIsNotTouched) {
  const Json c = Canonical(
      "backends",
      Entity(
          R"({"a":"/subscriptions/s/resourceGroups/rg/providers/Microsoft.ApiManagement/service/apim-weu2/x",
                                      "b":"see /subscriptions/s"})"),
      kWeuService);
  EXPECT_THAT(TextAt(c, {"a"}), ::testing::HasSubstr("apim-weu2/x"));
  EXPECT_EQ(TextAt(c, {"b"}), "see /subscriptions/s");
}

TEST(EntitiesTest, NoSecretEntersACanonicalEntity) {
  const std::string secrets =
      Dump(Canonical(
          "backends",
          Entity(
              R"({"credentials":{"header":{"x":["geheim"]}},"proxy":{"password":"geheim","url":"u"},
                                "clientSecret":"geheim","connectionString":"geheim","data":"geheim"})"),
          kWeuService)) +
      Dump(Canonical("namedValues", Entity(R"({"secret":true,"value":"geheim"})"), kWeuService));
  EXPECT_THAT(secrets, ::testing::Not(::testing::HasSubstr("geheim")));
  EXPECT_EQ(
      TextAt(Canonical("namedValues", Entity(R"({"secret":false,"value":"open"})"), kWeuService),
             {"value"}),
      "open");
}

TEST(EntitiesTest, PoliciesAreComparedByTheirTextAlone) {
  EXPECT_EQ(
      Canonical("policies", Entity(R"({"format":"xml","value":"<a/>\r\n<b/>"})"), kWeuService),
      Canonical("policies", Entity(R"({"format":"rawxml","value":"<a/>\n<b/>"})"), kWeuService));
}

TEST(EntitiesTest, AnEntityWithoutPropertiesIsAnEmptyObject) {
  EXPECT_EQ(Canonical("apis", Json::array(), kWeuService), Json::object());
  EXPECT_EQ(Canonical("apis", Json(), kWeuService), Json::object());
}

TEST(EntitiesTest, ADigestDependsOnTheGroupsKeyAndTheId) {
  const Json entity = {{"a", 1}};
  EXPECT_NE(EntityDigest("k1", "apis/a", entity), EntityDigest("k2", "apis/a", entity));
  EXPECT_NE(EntityDigest("k1", "apis/a", entity), EntityDigest("k1", "apis/b", entity));
  EXPECT_EQ(EntityDigest("k1", "apis/a", entity).size(), 32u);
}

TEST(EntitiesTest, AFingerprintListsEveryKindSortedEvenWhenEmpty) {
  const v1::Fingerprint fingerprint =
      FingerprintOf({{"apis/a", "1"}, {"apis/b", "2"}, {"users/1", "3"}});
  ASSERT_EQ(fingerprint.kinds_size(), static_cast<int>(Kinds().size()));
  for (int i = 0; i < fingerprint.kinds_size(); ++i) {
    EXPECT_EQ(fingerprint.kinds(i).kind(), Kinds()[i]);
    const std::string& kind = fingerprint.kinds(i).kind();
    EXPECT_EQ(fingerprint.kinds(i).count(), kind == "apis" ? 2 : kind == "users" ? 1 : 0);
  }
  EXPECT_NE(FingerprintOf({{"apis/a", "1"}}).kinds(1).digest(),
            FingerprintOf({{"apis/a", "2"}}).kinds(1).digest());
}

CanonicalEntities Sample() {
  return {{"apis/echo-api", {{"serviceUrl", "http://echoapi.cloudapp.net/api"}}},
          {"operations/echo-api/create-resource", Json::object()},
          {"policies/service", Json::object()},
          {"policies/apis/echo-api/operations/create-resource", Json::object()},
          {"policies/products/starter", Json::object()},
          {"products/starter", Json::object()},
          {"products/unlimited", Json::object()},
          {"products/starter/apis/echo-api", Json::object()},
          {"products/starter/groups/developers", Json::object()},
          {"groups/administrators", Json::object()},
          {"groups/administrators/users/1", Json::object()},
          {"users/1", Json::object()},
          {"subscriptions/master", {{"scope", "/"}}},
          {"subscriptions/5f1", {{"scope", "/products/starter"}, {"ownerId", "/users/1"}}}};
}

TEST(EntitiesTest, AzuresSampleContentIsPristine) {
  EXPECT_TRUE(IsPristine(Sample()));
  EXPECT_TRUE(IsPristine({}));
}

TEST(EntitiesTest, AnythingMoreIsNotPristine) {
  const std::vector<std::pair<std::string, Json>> additions = {
      {"apis/orders", Json::object()},
      {"apis/echo-api", {{"serviceUrl", "https://orders.contoso.com"}}},
      {"products/gold", Json::object()},
      {"products/starter/apis/orders", Json::object()},
      {"groups/staff", Json::object()},
      {"groups/developers/users/2", Json::object()},
      {"users/2", Json::object()},
      {"subscriptions/x", {{"scope", "/products/gold"}}},
      {"subscriptions/y", {{"scope", "/products/starter"}, {"ownerId", "/users/2"}}},
      {"namedValues/k", Json::object()},
      {"backends/b", Json::object()},
      {"certificates/c", Json::object()},
      {"loggers/l", Json::object()},
      {"tags/t", Json::object()},
      {"policies/apis/orders", Json::object()},
      {"policies/products/gold", Json::object()},
  };
  for (const auto& [id, entity] : additions) {
    CanonicalEntities entities = Sample();
    entities[id] = entity;
    EXPECT_FALSE(IsPristine(entities)) << id;
  }
}

}  // namespace
}  // namespace failover::azure
