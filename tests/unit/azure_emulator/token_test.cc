#include "tests/unit/azure_emulator/emulated.h"

namespace failover::emulator {
namespace {

class TokenTest : public Emulated {};

TEST_F(TokenTest, IsIssuedForTheRightSecretAndOpensArm) {
  const Answer answer = Token();
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(answer.Header("cache-control"), "no-store, no-cache");
  EXPECT_EQ(Body(answer)["token_type"], "Bearer");
  EXPECT_EQ(Body(answer)["expires_in"], 7200);
  EXPECT_EQ(Get(Path("apim-weu")).status, 200);
}

TEST_F(TokenTest, IsRefusedForAWrongSecretWithEntrasErrorObject) {
  const Answer answer = Token("wrong");
  EXPECT_EQ(answer.status, 401);
  EXPECT_EQ(Body(answer)["error"], "invalid_client");
  EXPECT_EQ(Body(answer)["error_codes"][0], 7000215);
}

TEST_F(TokenTest, IsRefusedForAnUnknownResource) {
  const Answer answer = Token("not-a-secret-only-for-the-emulator", "https://elsewhere/.default");
  EXPECT_EQ(answer.status, 400);
  EXPECT_EQ(Body(answer)["error"], "invalid_resource");
}

TEST_F(TokenTest, ExpiresByTheEmulatedClock) {
  EXPECT_EQ(Get(Path("apim-weu")).status, 200);
  now += absl::Hours(2);
  const Answer answer = Get(Path("apim-weu"));
  EXPECT_EQ(answer.status, 401);
  EXPECT_EQ(Code(answer), "ExpiredAuthenticationToken");
  EXPECT_NE(answer.Header("www-authenticate").find("authorization_uri="), std::string::npos);
}

TEST_F(TokenTest, OfAnotherAudienceIsRefusedByArm) {
  bearer_ = "Bearer " +
            Body(Token("not-a-secret-only-for-the-emulator", "https://storage.azure.com/.default"))
                .value("access_token", "");
  const Answer answer = Get(Path("apim-weu"));
  EXPECT_EQ(answer.status, 401);
  EXPECT_EQ(Code(answer), "InvalidAuthenticationTokenAudience");
}

TEST_F(TokenTest, ChangedByOneCharacterIsRefused) {
  Bearer();
  bearer_[bearer_.size() - 10] = bearer_[bearer_.size() - 10] == 'A' ? 'B' : 'A';
  EXPECT_EQ(Code(Get(Path("apim-weu"))), "InvalidAuthenticationToken");
}

TEST_F(TokenTest, MissingIsRefused) {
  const Answer answer =
      Handle(world, Make("GET", absl::StrCat(Path("apim-weu"), "?", kVersion), "", {}), now);
  EXPECT_EQ(answer.status, 401);
  EXPECT_EQ(Code(answer), "AuthenticationFailed");
}

TEST_F(TokenTest, RevokedIsRefusedAndANewOneWorks) {
  EXPECT_EQ(Get(Path("apim-weu")).status, 200);
  EXPECT_EQ(Control("POST", "/_emulator/tokens/revoke").status, 200);
  EXPECT_EQ(Get(Path("apim-weu")).status, 401);
  bearer_.clear();
  EXPECT_EQ(Get(Path("apim-weu")).status, 200);
}

TEST_F(TokenTest, WithoutTheRoleIsForbiddenNamingTheAction) {
  const Answer changed =
      Control("PUT", absl::StrCat("/_emulator/clients/", kClient, "/roles"),
              R"({"roles":[{"scope":"/subscriptions/00000000-0000-4000-8000-00000000abcd",
                  "actions":["Microsoft.ApiManagement/service/read"]}]})");
  ASSERT_EQ(changed.status, 200) << changed.body;
  EXPECT_EQ(Get(Path("apim-weu")).status, 200);
  const Answer answer = Start("backup", "apim-weu");
  EXPECT_EQ(answer.status, 403);
  EXPECT_EQ(Code(answer), "AuthorizationFailed");
  EXPECT_NE(answer.body.find("'Microsoft.ApiManagement/service/backup/action'"), std::string::npos);
}

}  // namespace
}  // namespace failover::emulator
