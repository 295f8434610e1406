#include <gtest/gtest.h>

#include <string>

#include "absl/strings/match.h"
#include "common/log.h"

namespace failover {
namespace {

constexpr char kSecret[] = "c2VjcmV0LWNhbmFyeQ+/x1==";

struct Case {
  std::string before, after;
};

TEST(RedactedTest, ASecretIsRemovedAndItsNameStays) {
  const std::string s = kSecret;
  const Case cases[] = {
      {"Authorization: Bearer " + s, "Authorization: [redacted]"},
      {"Authorization: Bearer " + s + "\r\nHost: a", "Authorization: [redacted]\r\nHost: a"},
      {"sent Bearer " + s + " to the server", "sent Bearer [redacted] to the server"},
      {"authorization=SharedKey account:" + s, "authorization=[redacted]"},
      {"SharedKey account:" + s + " failed", "SharedKey [redacted] failed"},
      {"SharedKeyLite account:" + s, "SharedKeyLite [redacted]"},
      {R"({"accessKey":")" + s + R"(","container":"b"})",
       R"({"accessKey":"[redacted]","container":"b"})"},
      {R"({"accessKey": "a\"b\\", "x": 1})", R"({"accessKey": "[redacted]", "x": 1})"},
      {R"("{\"accessKey\":\")" + s + R"(\",\"x\":1}")",
       R"("{\"accessKey\":\"[redacted]\",\"x\":1}")"},
      {"accesskey: " + s + "\nnext: 1", "accesskey: [redacted]\nnext: 1"},
      {"grant_type=x&client_secret=" + s + "&scope=y",
       "grant_type=x&client_secret=[redacted]&scope=y"},
      {"client_assertion=" + s + "&client_assertion_type=jwt",
       "client_assertion=[redacted]&client_assertion_type=jwt"},
      {"https://a.blob.core.windows.net/c/b?sv=2021&sig=abc%2Bdef%3D&se=1",
       "https://a.blob.core.windows.net/c/b?sv=2021&sig=[redacted]&se=1"},
      {"next%26sig%3Dabc%2Bdef", "next%26sig%3D[redacted]"},
      {"DefaultEndpointsProtocol=https;AccountKey=" + s + ";EndpointSuffix=x",
       "DefaultEndpointsProtocol=https;AccountKey=[redacted];EndpointSuffix=x"},
      {R"({"access_token":"abc","expires_in":3599})",
       R"({"access_token":"[redacted]","expires_in":3599})"},
      {"token eyJhbGciOi.eyJhdWQiOi.c2ln_-x end", "token [redacted] end"},
      {"a -----BEGIN PRIVATE KEY-----\nMIGH\n-----END PRIVATE KEY----- b", "a [redacted] b"},
      {"a -----BEGIN PRIVATE KEY-----\nMIGH", "a [redacted]"},
  };
  for (const Case& c : cases) EXPECT_EQ(Redacted(c.before), c.after);
}

TEST(RedactedTest, SeveralSecretsInOneTextAreAllRemoved) {
  const std::string text = Redacted("a?sig=one b?sig=two \"client_secret\": \"three\"");
  EXPECT_EQ(text, "a?sig=[redacted] b?sig=[redacted] \"client_secret\": \"[redacted]\"");
}

TEST(RedactedTest, OrdinaryTextStaysAsItIs) {
  for (const char* text :
       {"", "config=5", "design: good", "accessKeyFile: /run/secrets/key", "access: accessKey",
        "a Bearer token is missing", "SharedKey is required", "signature=abc", "sign", "---", "eyJ",
        "storage access accessKey, container backups"}) {
    EXPECT_EQ(Redacted(text), text);
  }
}

TEST(RedactedTest, NoPrefixOfASecretTextLeaksItWhole) {
  const std::string text = std::string("x=1&sig=") + kSecret + "\"accessKey\":\"" + kSecret + "\"";
  for (size_t n = 0; n <= text.size(); ++n) {
    EXPECT_FALSE(absl::StrContains(Redacted(text.substr(0, n)), "c2Vj")) << n;
  }
}

TEST(LogValueTest, NumbersStayNumbersAndTheRestIsText) {
  EXPECT_EQ(LogValue(5).text(), "5");
  EXPECT_FALSE(LogValue(5).quoted());
  EXPECT_EQ(LogValue(1.5).text(), "1.5");
  EXPECT_EQ(LogValue(absl::Milliseconds(1500)).text(), "1.5");
  EXPECT_EQ(LogValue(true).text(), "true");
  EXPECT_TRUE(LogValue(absl::InfiniteDuration()).quoted()) << "JSON has no infinity";
  EXPECT_EQ(LogValue(absl::FromUnixMillis(1'780'000'000'123)).text(), "2026-05-28T20:26:40.123Z");
  EXPECT_TRUE(LogValue(absl::UnixEpoch()).quoted());
}

}  // namespace
}  // namespace failover
