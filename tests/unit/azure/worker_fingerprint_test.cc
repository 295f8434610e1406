#include "absl/strings/str_split.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/unit/azure/worker_fixture.h"

namespace failover::azure {
namespace {

using core::CallStatus;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsSupersetOf;

class FingerprintTest : public WorkerTest {
 protected:
  FingerprintTest() {
    On("GET", 200, R"({"value":[]})");
    On("policies/policy", 404);
    On("/apis?", 200, R"({"value":[{"name":"Orders","properties":{"path":"orders"}}]})");
    On("/products/gold/apis?", 200,
       R"({"value":[{"name":"Orders","properties":{"path":"orders"}}]})");
    On("/apis/Orders/operations?", 200,
       R"({"value":[{"name":"get","properties":{"method":"GET"}}]})");
    On("/apis/Orders/operations/get/policies/policy", 200,
       R"({"properties":{"format":"rawxml","value":"<policies/>"}})");
    On("/apim-weu/products?", 200,
       R"({"value":[{"name":"gold","properties":{"state":"published"}}]})");
    On("/groups?", 200, R"({"value":[{"name":"developers","properties":{}}]})");
    On("/products/gold/groups?", 200, R"({"value":[{"name":"developers","properties":{}}]})");
    On("/groups/developers/users?", 200, R"({"value":[{"name":"1","properties":{}}]})");
  }
  core::FingerprintRead Read() {
    return CarryOut<core::FingerprintRead>(core::ReadFingerprint{5, "apim-weu", kWeu});
  }
  static std::vector<std::string> Ids(const core::FingerprintRead& read) {
    std::vector<std::string> ids;
    for (const auto& [id, digest] : *read.entities) ids.push_back(id);
    return ids;
  }
};

TEST_F(FingerprintTest, EveryKindIsReadWithItsChildren) {
  const core::FingerprintRead read = Read();
  ASSERT_EQ(read.result.status, CallStatus::kOk) << read.result.error.message();
  EXPECT_EQ(read.call, 5u);
  EXPECT_THAT(
      Ids(read),
      ElementsAre("apis/orders", "groups/developers", "groups/developers/users/1",
                  "operations/orders/get", "policies/apis/orders/operations/get", "products/gold",
                  "products/gold/apis/orders", "products/gold/groups/developers"));
  EXPECT_FALSE(read.pristine);
  EXPECT_GT(read.fingerprint.finished_ms(), read.fingerprint.begun_ms());
  EXPECT_GT(read.finished, read.begun);
  for (const char* kind :
       {"namedValues", "backends", "subscriptions", "users", "certificates", "loggers"}) {
    EXPECT_EQ(wire_.Count(absl::StrCat("/apim-weu/", kind, "?api-version=2022-08-01")), 1) << kind;
  }
  EXPECT_EQ(wire_.Count("/apim-weu/policies/policy?format=rawxml&api-version="), 1);
  EXPECT_EQ(wire_.Count("listSecrets"), 0);
}

TEST_F(FingerprintTest, AllPagesAreRead) {
  On("/namedValues?", 200,
     R"({"value":[{"name":"a","properties":{}}],"nextLink":"https://arm.example/page2?$skip=1"})");
  On("/page2?$skip=1", 200,
     R"({"value":[{"name":"b","properties":{}}],"nextLink":"https://arm.example/page3"})");
  On("/page3", 200, R"({"value":[{"name":"c","properties":{}}],"nextLink":null})");
  EXPECT_THAT(Ids(Read()), IsSupersetOf({"namedValues/a", "namedValues/b", "namedValues/c"}));
}

TEST_F(FingerprintTest, ANextPageElsewhereIsRefused) {
  On("/namedValues?", 200, R"({"value":[],"nextLink":"https://evil.example/page2"})");
  const core::FingerprintRead read = Read();
  EXPECT_EQ(read.result.status, CallStatus::kFailed);
  EXPECT_THAT(read.result.error.message(), HasSubstr("evil.example"));
  EXPECT_EQ(wire_.Count("evil.example"), 0);
}

TEST_F(FingerprintTest, AListThatCannotBeReadWholeFailsTheRead) {
  const std::vector<std::pair<int, std::string>> answers = {
      {200, ""},
      {200, "{}"},
      {200, R"({"value":[{"name":"a"})"},
      {200, R"({"value":[{"properties":{}}]})"},
      {200, R"({"value":{}})"},
      {403, ""},
      {404, ""},
      {500, ""}};
  for (const auto& [status, body] : answers) {
    On("/namedValues?", status, body);
    const core::FingerprintRead read = Read();
    EXPECT_EQ(read.result.status, CallStatus::kFailed) << status << " " << body;
    EXPECT_EQ(read.entities, nullptr);
  }
}

TEST_F(FingerprintTest, KindsThatAVersionDoesNotKnowAreEmpty) {
  On("/policyFragments?", 404);
  EXPECT_EQ(Read().result.status, CallStatus::kOk);
  On("/policyFragments?", 400);
  EXPECT_EQ(Read().result.status, CallStatus::kFailed);
}

TEST_F(FingerprintTest, AnApiThatDisappearsMeanwhileIsLeftOut) {
  On("/apis/Orders/operations?", 404);
  EXPECT_EQ(Read().result.status, CallStatus::kOk);
}

TEST_F(FingerprintTest, EqualServicesHaveEqualFingerprints) {
  const core::FingerprintRead weu = Read();
  On("/apim-neu/products?", 200,
     R"({"value":[{"name":"gold","properties":{"state":"published"}}]})");
  const auto neu = CarryOut<core::FingerprintRead>(core::ReadFingerprint{6, "apim-neu", kNeu});
  EXPECT_EQ(*weu.entities, *neu.entities);
  On("/apim-neu/products?", 200,
     R"({"value":[{"name":"gold","properties":{"state":"notPublished"}}]})");
  EXPECT_NE(*weu.entities,
            *CarryOut<core::FingerprintRead>(core::ReadFingerprint{6, "apim-neu", kNeu}).entities);
}

TEST_F(FingerprintTest, IgnoredEntitiesAreLeftOutButDoNotMakeAServicePristine) {
  GroupAzure group = Group();
  group.verify_ignore = {"(apis|operations|policies)/.*orders.*", "products/gold.*", "groups/dev",
                         "("};
  shared_.SetGroups({group});
  const core::FingerprintRead read = Read();
  EXPECT_THAT(Ids(read), ElementsAre("groups/developers", "groups/developers/users/1"));
  EXPECT_FALSE(read.pristine);
}

TEST_F(FingerprintTest, ReadsKeepToTheRate) {
  shared_.SetVerifyReadsPerSecond(4);
  const core::FingerprintRead read = Read();
  const int reads = wire_.Count("GET");
  EXPECT_EQ(read.finished - read.begun, (reads - 1) * absl::Milliseconds(250));
}

TEST_F(FingerprintTest, ATransientFailureIsRepeated) {
  int failures = 2;
  On("/namedValues?", [&](const HttpRequest&) {
    if (failures-- > 0) return Answered(500);
    return Answered(200, R"({"value":[]})");
  });
  EXPECT_EQ(Read().result.status, CallStatus::kOk);
}

TEST_F(FingerprintTest, AStoppedReadEndsAtOnce) {
  stop_.request_stop();
  EXPECT_EQ(Read().result.status, CallStatus::kFailed);
  EXPECT_EQ(wire_.Count("GET"), 0);
}

TEST_F(FingerprintTest, ReadEntitiesNamesWhatIsWrong) {
  EXPECT_EQ(worker_->ReadEntities("orders", "apim-weu")->size(), 8u);
  EXPECT_THAT(std::string(worker_->ReadEntities("other", "apim-weu").status().message()),
              HasSubstr("other"));
  EXPECT_THAT(std::string(worker_->ReadEntities("orders", "apim-x").status().message()),
              HasSubstr("apim-x"));
  On("/namedValues?", 403, R"({"error":{"code":"AuthorizationFailed","message":"no"}})");
  EXPECT_THAT(std::string(worker_->ReadEntities("orders", "apim-weu").status().message()),
              HasSubstr("HTTP 403 AuthorizationFailed"));
}

}  // namespace
}  // namespace failover::azure
