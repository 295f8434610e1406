#include "controller/azure/arm.h"

#include "controller/azure/json.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/unit/azure/scripted.h"

namespace failover::azure {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

TEST(ArmTest, AUrlCarriesTheApiVersionOnce) {
  EXPECT_EQ(ArmUrl("https://arm.example/", "/a/b", "2022-08-01"),
            "https://arm.example/a/b?api-version=2022-08-01");
  EXPECT_EQ(ArmUrl("https://arm.example", "/a?format=rawxml", "v"),
            "https://arm.example/a?format=rawxml&api-version=v");
}

TEST(ArmTest, AForeignUrlIsRefusedNamingBothHosts) {
  const auto refused = OnArmHost("https://arm.example", "https://evil.example/x");
  ASSERT_FALSE(refused.ok());
  EXPECT_THAT(std::string(refused.status().message()), HasSubstr("evil.example"));
  EXPECT_THAT(std::string(refused.status().message()), HasSubstr("https://arm.example"));
}

TEST(ArmTest, AUrlOfTheConfiguredHostIsKeptVerbatim) {
  for (const char* url :
       {"https://ARM.example:443/op/ZXU6==?api-version=1", "https://arm.example/a%2Fb"}) {
    const auto kept = OnArmHost("https://arm.example", url);
    ASSERT_TRUE(kept.ok()) << kept.status();
    EXPECT_EQ(*kept, url);
  }
}

TEST(ArmTest, AUrlThatCouldSmuggleSomethingIsRefused) {
  for (const char* url :
       {"", "relative/path", "/\\evil.example", "//evil.example", "https://arm.example/a b",
        "https://arm.example/\r\nx: y", "ftp://arm.example/", "https://u:p@arm.example/"}) {
    EXPECT_FALSE(OnArmHost("https://arm.example", url).ok()) << url;
  }
  EXPECT_FALSE(OnArmHost("https://arm.example", "/" + std::string(9000, 'a')).ok());
}

TEST(ArmTest, RetryAfterIsSecondsOrADateAndNeverZero) {
  const auto seconds = [](const char* value) {
    return RetryAfterSeconds(Response(202, "", {{"Retry-After", value}}));
  };
  EXPECT_EQ(seconds("60"), 60);
  EXPECT_EQ(seconds("0"), 1);
  EXPECT_EQ(seconds("-5"), 0);
  EXPECT_EQ(seconds("soon"), 0);
  EXPECT_EQ(seconds("999999999"), 24 * 3600);
  EXPECT_EQ(seconds("Mon, 23 Nov 2026 21:00:30 GMT"), 0) << "without Date a date says nothing";
  EXPECT_EQ(RetryAfterSeconds(Response(202, "",
                                       {{"Retry-After", "Mon, 23 Nov 2026 21:00:30 GMT"},
                                        {"Date", "Mon, 23 Nov 2026 21:00:00 GMT"}})),
            30);
}

TEST(ArmTest, AWriteIsDefinitelyRefusedOnlyByStatusesThatSaySo) {
  using core::CallStatus;
  for (const int status : {200, 201, 202, 204})
    EXPECT_EQ(StatusOfWrite(status), CallStatus::kOk) << status;
  for (const int status : {400, 401, 403, 404, 412, 422, 429})
    EXPECT_EQ(StatusOfWrite(status), CallStatus::kFailed) << status;
  for (const int status : {100, 302, 408, 409, 500, 502, 503, 504}) {
    EXPECT_EQ(StatusOfWrite(status), CallStatus::kUnclear) << status;
  }
}

TEST(ArmTest, AnErrorOfArmKeepsCodeMessageDetailsAndIds) {
  const v1::AzureError error = ErrorOf(Response(
      400,
      R"({"error":{"code":"ValidationError","message":"bad","details":[{"code":"C","target":"T","message":"M"}]}})",
      {{"x-ms-request-id", "r"}, {"x-ms-correlation-request-id", "c"}}));
  EXPECT_EQ(error.http_status(), 400);
  EXPECT_EQ(error.code(), "ValidationError");
  EXPECT_EQ(error.message(), "bad; C T: M");
  EXPECT_EQ(error.request_id(), "r");
  EXPECT_EQ(error.correlation_id(), "c");
}

TEST(ArmTest, AMissingRoleNamesTheActionFirst) {
  const v1::AzureError error = ErrorOf(Response(
      403,
      R"({"error":{"code":"AuthorizationFailed","message":"The client 'x' with object id 'y' does not have authorization to perform action 'Microsoft.ApiManagement/service/backup/action' over scope '/s' or the scope is invalid."}})"));
  EXPECT_THAT(
      error.message(),
      StartsWith(
          "the controller's identity may not do Microsoft.ApiManagement/service/backup/action "
          "(give "
          "it the built-in role \"API Management Service Operator Role\" or a custom one with this "
          "action): The client 'x'"));
}

TEST(ArmTest, TheRoleThatIsNamedFitsTheAction) {
  EXPECT_THAT(MayNot("Microsoft.ApiManagement/service/apis/read"),
              HasSubstr("\"API Management Service Reader Role\""));
  EXPECT_THAT(MayNot("microsoft.apimanagement/service/restore/action"),
              HasSubstr("\"API Management Service Operator Role\""));
  EXPECT_THAT(MayNot("Microsoft.Network/trafficManagerProfiles/externalEndpoints/write"),
              HasSubstr("\"Traffic Manager Contributor\""));
  EXPECT_THAT(MayNot("Microsoft.Storage/storageAccounts/blobServices/containers/blobs/read"),
              HasSubstr("\"Storage Blob Data Contributor\""));
  EXPECT_EQ(MayNot("Other/action"),
            "the controller's identity may not do Other/action (give it a role with this action)");
}

TEST(ArmTest, AnErrorOfStorageIsXmlOrAHeader) {
  const std::string xml =
      "\xEF\xBB\xBF<?xml version=\"1.0\" "
      "encoding=\"utf-8\"?><Error><Code>AuthenticationFailed</Code>"
      "<Message>Server failed &amp; refused</Message></Error>";
  const v1::AzureError error = ErrorOf(Response(403, xml));
  EXPECT_EQ(error.code(), "AuthenticationFailed");
  EXPECT_EQ(error.message(), "Server failed & refused");
  EXPECT_EQ(ErrorOf(Response(404, "", {{"x-ms-error-code", "ContainerNotFound"}})).code(),
            "ContainerNotFound");
}

TEST(ArmTest, AnErrorThatIsNoErrorStillKeepsItsStatus) {
  for (const std::string& body :
       {std::string("{\"error\":"), std::string("<Error><Code>x"), std::string("\x01\xff"),
        std::string(200000, '['), std::string("{\"error\":42}"), std::string("[]")}) {
    EXPECT_EQ(ErrorOf(Response(500, body)).http_status(), 500);
  }
}

TEST(ArmTest, ForeignTextIsRedactedCutAndValid) {
  const v1::AzureError error = ErrorOf(Response(
      400,
      R"({"error":{"code":"X","message":"accessKey=Zm9vYmFyZm9vYmFyZm9vYmFy and Bearer abc.def.ghi"}})"));
  EXPECT_THAT(error.message(), ::testing::Not(HasSubstr("Zm9vYmFy")));
  EXPECT_THAT(error.message(), ::testing::Not(HasSubstr("abc.def")));
  EXPECT_LE(ErrorText(std::string(5000, 'a')).message().size(), 1024u);
  EXPECT_EQ(CleanText("a\r\nb\xff", 100), "a  b\xEF\xBF\xBD");
}

TEST(JsonTest, DepthAndShapeAreBounded) {
  EXPECT_FALSE(ParseJson("").ok());
  EXPECT_FALSE(ParseJson("{\"a\":1").ok());
  EXPECT_FALSE(ParseJson("{} x").ok());
  EXPECT_FALSE(ParseJson(std::string(65, '[') + std::string(65, ']')).ok());
  EXPECT_TRUE(ParseJson(std::string(64, '[') + std::string(64, ']')).ok());
  EXPECT_TRUE(ParseJson(R"({"a":"[[[[\"[[["})").ok());
  EXPECT_EQ(TextAt(*ParseJson(R"({"a":{"b":"c"}})"), {"a", "b"}), "c");
  EXPECT_EQ(TextAt(*ParseJson(R"({"a":["b"]})"), {"a", "b"}), "");
  EXPECT_EQ(Dump(Json("\xff")), "\"\xEF\xBF\xBD\"");
}

}  // namespace
}  // namespace failover::azure
