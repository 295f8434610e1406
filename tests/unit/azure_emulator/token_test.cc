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

TEST_F(TokenTest, AnActionThatTheClientLacksIsForbiddenWhateverItsRolesSay) {
  const std::string path = absl::StrCat("/_emulator/clients/", kClient, "/lacks");
  ASSERT_EQ(Control("PUT", path,
                    R"({"actions":["microsoft.apimanagement/service/backup/action","*/write"]})")
                .status,
            200);
  EXPECT_EQ(Body(Control("GET", path))["actions"].size(), 2u);
  EXPECT_EQ(Get(Path("apim-weu")).status, 200);
  const Answer backup = Start("backup", "apim-weu");
  EXPECT_EQ(backup.status, 403);
  EXPECT_EQ(Body(backup)["error"]["message"],
            absl::StrCat("The client '", kClient,
                         "' with object id '00000000-0000-4000-8000-0000000000d1' does not have "
                         "authorization to perform action "
                         "'Microsoft.ApiManagement/service/backup/action' over scope '",
                         Path("apim-weu"),
                         "' or the scope is invalid. If access was recently granted, please "
                         "refresh your credentials."));
  EXPECT_TRUE(Body(backup)["error"]["innerError"].is_null());
  EXPECT_EQ(Arm("PATCH", absl::StrCat(Profile("/externalEndpoints/weu"), "?api-version=2022-04-01"),
                R"({"properties":{"endpointStatus":"Enabled"}})")
                .status,
            403);
  ASSERT_EQ(Control("PUT", path, R"({"actions":[]})").status, 200);
  EXPECT_EQ(Start("backup", "apim-weu").status, 202);
}

TEST_F(TokenTest, ClientsPartsAreReadStrictly) {
  const std::string path = absl::StrCat("/_emulator/clients/", kClient);
  EXPECT_EQ(Control("PUT", path + "/lacks", "{}").status, 400);
  EXPECT_EQ(
      Control("PUT", path + "/federatedCredentials", R"({"federatedCredentials":[{"issuer":"i"}]})")
          .status,
      400);
  EXPECT_EQ(Control("GET", path + "/secret").status, 404);
  EXPECT_EQ(Control("POST", path + "/lacks", "{}").status, 405);
}

// A pod's token, signed by nobody.
class AssertionTest : public Emulated {
 protected:
  static constexpr char kType[] = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

  AssertionTest() {
    world.clients.at(kClient).federated = {{"https://oidc.example/", "system:serviceaccount:a:b"}};
  }
  Json Claims() const {
    return {{"iss", "https://oidc.example/"},
            {"sub", "system:serviceaccount:a:b"},
            {"aud", {"api://AzureADTokenExchange"}},
            {"nbf", absl::ToUnixSeconds(now)},
            {"exp", absl::ToUnixSeconds(now) + 3600}};
  }
  Json With(const char* name, const Json& value) const {
    Json claims = Claims();
    claims[name] = value;
    return claims;
  }
  Answer Exchange(const std::string& assertion, absl::string_view type = kType) {
    return Handle(
        world,
        Make("POST", absl::StrCat("/", kTenant, "/oauth2/v2.0/token"),
             absl::StrCat("grant_type=client_credentials&client_id=", kClient,
                          "&scope=https%3A%2F%2Fmanagement.azure.com%2F.default"
                          "&client_assertion_type=",
                          PercentEncode(type), "&client_assertion=", PercentEncode(assertion)),
             {}),
        now);
  }
  Answer Present(const Json& claims) {
    std::string text = absl::StrReplaceAll(Base64(Dump(claims)), {{"+", "-"}, {"/", "_"}});
    while (text.back() == '=') text.pop_back();
    return Exchange(absl::StrCat("e30.", text, ".c2ln"));
  }
  static int Number(const Answer& answer) { return Body(answer)["error_codes"][0].get<int>(); }
};

TEST_F(AssertionTest, OfAFederatedIdentityIsExchangedForATokenThatOpensArm) {
  const Answer answer = Present(Claims());
  ASSERT_EQ(answer.status, 200) << answer.body;
  bearer_ = absl::StrCat("Bearer ", Body(answer).value("access_token", ""));
  EXPECT_EQ(Get(Path("apim-weu")).status, 200);
}

TEST_F(AssertionTest, OfAnotherSubjectIssuerOrAudienceIsRefusedByItsOwnNumber) {
  EXPECT_EQ(Number(Present(With("sub", "system:serviceaccount:a:c"))), 700213);
  EXPECT_EQ(Number(Present(With("iss", "https://oidc.example"))), 70021) << "to the letter";
  EXPECT_EQ(Number(Present(With("aud", "api://other"))), 70021);
  const Answer answer = Present(With("sub", "x"));
  EXPECT_EQ(answer.status, 401);
  EXPECT_EQ(Body(answer)["error"], "invalid_client");
  world.clients.at(kClient).federated.clear();
  EXPECT_EQ(Number(Present(Claims())), 70021);
}

TEST_F(AssertionTest, OutsideItsTimeIsRefused) {
  EXPECT_EQ(Number(Present(With("exp", absl::ToUnixSeconds(now)))), 700024);
  EXPECT_EQ(Number(Present(With("nbf", absl::ToUnixSeconds(now) + 3600))), 700024);
  Json without = Claims();
  without.erase("exp");
  EXPECT_EQ(Number(Present(without)), 700024);
}

TEST_F(AssertionTest, OfABadShapeIsRefused) {
  EXPECT_EQ(Number(Exchange("")), 7000218);
  EXPECT_EQ(Number(Exchange("a.b.c")), 50027);
  EXPECT_EQ(Number(Exchange("e30.e30.")), 50027);
  EXPECT_EQ(Number(Exchange("abc", "urn:other")), 9002313);
}

TEST_F(AssertionTest, StarsInTheWorldMatchAnything) {
  world.clients.at(kClient).federated = {{"*", "system:serviceaccount:*:b"}};
  EXPECT_EQ(Present(With("iss", "https://kubernetes.default.svc")).status, 200);
  EXPECT_EQ(Number(Present(With("sub", "system:serviceaccount:a:bb"))), 700213);
}

TEST_F(AssertionTest, AClientWithoutASecretAcceptsNone) {
  world.clients.at(kClient).secret = "";
  EXPECT_EQ(Token("").status, 401);
}

class ImdsTest : public Emulated {
 protected:
  static constexpr char kToken[] =
      "/metadata/identity/oauth2/token?api-version=2018-02-01&resource=https%3A%2F%2Fmanagement."
      "azure.com%2F";

  Answer Ask(const std::string& target = kToken, Headers headers = {{"Metadata", "true"}}) {
    Request request = Make("GET", target, "", std::move(headers));
    request.front = Front::kImds;
    return Handle(world, request, now);
  }
  static std::string Error(const Answer& answer) { return Body(answer).value("error", ""); }
};

TEST_F(ImdsTest, GivesTheMachinesTokenWithNumbersAsTexts) {
  const Answer answer = Ask();
  ASSERT_EQ(answer.status, 200) << answer.body;
  const Json body = Body(answer);
  EXPECT_EQ(body["expires_in"], "7200");
  EXPECT_EQ(body["expires_on"], absl::StrCat(absl::ToUnixSeconds(now) + 7200));
  EXPECT_EQ(body["refresh_in"], "3600");
  EXPECT_EQ(body["refresh_token"], "");
  EXPECT_EQ(body["client_id"], kClient);
  bearer_ = absl::StrCat("Bearer ", body.value("access_token", ""));
  EXPECT_EQ(Get(Path("apim-weu")).status, 200);
}

TEST_F(ImdsTest, RefusesWhatAProxyMayHaveSent) {
  EXPECT_EQ(Error(Ask(kToken, {})), "bad_request_102");
  EXPECT_EQ(Error(Ask(kToken, {{"Metadata", "True"}})), "bad_request_102");
  EXPECT_EQ(Ask(kToken, {{"Metadata", "true"}, {"X-Forwarded-For", "10.0.0.1"}}).status, 400);
}

TEST_F(ImdsTest, RefusesIncompleteQuestions) {
  const std::string path = "/metadata/identity/oauth2/token";
  EXPECT_EQ(Ask(path + "?resource=https://management.azure.com/").status, 400);
  EXPECT_EQ(Ask(path + "?api-version=2018-02-01").status, 400);
  EXPECT_EQ(Ask(path + "?api-version=2018-02-01&resource=https://elsewhere/").status, 400);
  EXPECT_EQ(Ask("/metadata/instance?api-version=2018-02-01").status, 404);
}

TEST_F(ImdsTest, KnowsOnlyTheMachinesIdentities) {
  const auto assign = [&](const std::string& body) {
    return Control("PATCH", "/_emulator/machine", body).status;
  };
  world.clients["other"] = world.clients.at(kClient);
  world.clients["other"].client_id = "other";
  EXPECT_EQ(Body(Ask(absl::StrCat(kToken, "&client_id=other")))["error_description"],
            "Identity not found");
  ASSERT_EQ(assign(R"({"systemIdentity":"","userIdentities":["other"]})"), 200);
  EXPECT_EQ(Body(Ask())["client_id"], "other") << "the only one needs no name";
  EXPECT_EQ(Ask(absl::StrCat(kToken, "&client_id=", kClient)).status, 400);
  ASSERT_EQ(assign(absl::StrCat(R"({"userIdentities":["other",")", kClient, "\"]}")), 200);
  EXPECT_EQ(Error(Ask()), "invalid_request") << "several need one";
  EXPECT_EQ(Body(Ask(absl::StrCat(kToken, "&client_id=other")))["client_id"], "other");
  EXPECT_EQ(Ask(absl::StrCat(kToken, "&mi_res_id=%2Fx")).status, 400);
  EXPECT_EQ(assign(R"({"systemIdentity":"nobody"})"), 400);
  EXPECT_EQ(Body(Control("GET", "/_emulator/machine"))["userIdentities"].size(), 2u);
}

TEST_F(ImdsTest, FailsAsTheFaultsSayAndLeavesEntraAlone) {
  Fault(R"({"operation":"imds","action":"status","status":410,"times":2,"code":"gone",
            "message":"upgrade"})");
  EXPECT_EQ(Token().status, 200);
  const Answer answer = Ask();
  EXPECT_EQ(answer.status, 410);
  EXPECT_EQ(Error(answer), "gone");
  EXPECT_EQ(Body(answer)["error_description"], "upgrade");
  EXPECT_EQ(Ask().status, 410);
  EXPECT_EQ(Ask().status, 200);
  EXPECT_EQ(Body(Control("GET", "/_emulator/requests?all=true"))["requests"].back()["front"],
            "imds");
}

}  // namespace
}  // namespace failover::emulator
