#include "tests/azure_emulator/content.h"
#include "tests/unit/azure_emulator/emulated.h"

namespace failover::emulator {
namespace {

class EntitiesTest : public Emulated {
 protected:
  EntitiesTest() { FillRealistic(world, *FindService(world, "apim-weu"), 7, 30, now); }
  std::string At(const std::string& path) {
    return absl::StrCat(Path("apim-weu", "/"), path, "?", kVersion);
  }
};

TEST_F(EntitiesTest, PagesFollowEachOtherByNextLinkWithoutGapOrRepeat) {
  world.page_size = 7;
  std::set<std::string> names;
  std::string target = At("apis");
  size_t pages = 0, items = 0;
  while (!target.empty() && pages < 20) {
    const Json page = Body(Arm("GET", target));
    for (const Json& item : page["value"]) names.insert(item.value("name", ""));
    items += page["value"].size();
    EXPECT_LE(page["value"].size(), 7u);
    EXPECT_EQ(page["count"], 31);
    const std::string next = page.value("nextLink", "");
    target = next.empty() ? "" : next.substr(next.find('/', 8));
    ++pages;
  }
  EXPECT_EQ(pages, 5u);
  EXPECT_EQ(items, 31u);
  EXPECT_EQ(names.size(), 31u);
}

TEST_F(EntitiesTest, TopSkipAndFilterAreObeyedAndChecked) {
  EXPECT_EQ(Body(Arm("GET", At("apis") + "&$top=2&$skip=3"))["value"].size(), 2u);
  EXPECT_EQ(Arm("GET", At("apis") + "&$top=0").status, 400);
  EXPECT_EQ(Arm("GET", At("apis") + "&$filter=odd").status, 400);
  EXPECT_EQ(Body(Arm("GET", At("apis") + "&%24filter=name%20eq%20'orders'"))["value"].size(), 1u);
}

TEST_F(EntitiesTest, SecretsAreShownOnlyWhenAskedFor) {
  const Json value = Body(Arm("GET", At("namedValues/orders-key")))["properties"];
  EXPECT_EQ(value["secret"], true);
  EXPECT_FALSE(value.contains("value"));
  EXPECT_NE(Body(Arm("POST", At("namedValues/orders-key/listValue")))["value"], "");
  EXPECT_FALSE(Body(Arm("GET", At("subscriptions/sub-1")))["properties"].contains("primaryKey"));
  EXPECT_TRUE(Body(Arm("POST", At("subscriptions/sub-1/listSecrets"))).contains("primaryKey"));
}

TEST_F(EntitiesTest, WritesNeedTheRightEtag) {
  const std::string body = R"({"properties":{"displayName":"x","value":"1"}})";
  EXPECT_EQ(Arm("PUT", At("namedValues/x"), body).status, 201);
  EXPECT_EQ(Arm("PUT", At("namedValues/x"), body).status, 412) << "If-Match is missing";
  const Answer read = Arm("GET", At("namedValues/x"));
  const std::string etag(read.Header("etag"));
  EXPECT_EQ(etag.size(), 26u) << "base64 of 16 bytes in quotes: " << etag;
  EXPECT_EQ(Arm("HEAD", At("namedValues/x")).Header("etag"), etag);
  EXPECT_EQ(Arm("PUT", At("namedValues/x"), body, {{"If-Match", etag}}).status, 200);
  EXPECT_EQ(Arm("PUT", At("namedValues/x"), body, {{"If-Match", etag}}).status, 412);
  EXPECT_EQ(Arm("DELETE", At("namedValues/x"), "", {{"If-Match", "*"}}).status, 200);
  EXPECT_EQ(Arm("GET", At("namedValues/x")).status, 404);
}

TEST_F(EntitiesTest, TheConfigurationVersionFollowsTheContentAndNothingElse) {
  const std::string before = Version("apim-weu");
  Control("PUT", "/_emulator/services/apim-weu/entities/namedValues/x", R"({"value":"1"})");
  EXPECT_NE(Version("apim-weu"), before);
  Control("DELETE", "/_emulator/services/apim-weu/entities/namedValues/x");
  EXPECT_EQ(Version("apim-weu"), before);
}

TEST_F(EntitiesTest, DeletingAnApiTakesItsOperationsButNotItsNeighbour) {
  Service& service = *FindService(world, "apim-weu");
  ASSERT_TRUE(service.entities.contains("apis/orders-v2"));
  ASSERT_TRUE(EraseEntity(service, "apis/orders", now));
  EXPECT_FALSE(service.entities.contains("apis/orders/operations/read"));
  EXPECT_TRUE(service.entities.contains("apis/orders-v2"));
}

TEST_F(EntitiesTest, RealisticContentIsTheSameEverywhereAndPristineIsAzures) {
  Service& a = *FindService(world, "apim-weu");
  Service& b = *FindService(world, "apim-neu");
  EXPECT_EQ(b.entities.count("apis/echo-api"), 1u);
  EXPECT_EQ(b.entities.count("products/starter"), 1u);
  EXPECT_EQ(b.entities.count("apis/orders"), 0u);
  FillRealistic(world, b, 7, 30, now);
  EXPECT_EQ(a.ConfigurationVersion(), b.ConfigurationVersion());
  FillRealistic(world, b, 8, 30, now);
  EXPECT_NE(a.ConfigurationVersion(), b.ConfigurationVersion());
  for (const auto& [key, entity] : a.entities) EXPECT_TRUE(IsEntityPath(entity.path)) << key;
}

TEST_F(EntitiesTest, RequestsAreCheckedForVersionAndResource) {
  EXPECT_EQ(Code(Arm("GET", Path("apim-weu"))), "MissingApiVersionParameter");
  EXPECT_EQ(Code(Arm("GET", Path("apim-weu") + "?api-version=soon")), "InvalidApiVersionParameter");
  EXPECT_EQ(Code(Arm("GET", Path("apim-weu") + "?API-Version=2019-12-01")),
            "NoRegisteredProviderFound");
  Control("PATCH", "/_emulator/services/apim-weu", R"({"minApiVersion":"2024-05-01"})");
  EXPECT_EQ(Get(Path("apim-weu")).status, 400);
  EXPECT_EQ(Code(Get(Path("nope"))), "ResourceNotFound");
  EXPECT_EQ(Get(Path("APIM-NEU")).status, 200) << "names have any case";
}

}  // namespace
}  // namespace failover::emulator
