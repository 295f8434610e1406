#include "controller/azure/token_sources.h"

#include "absl/strings/str_cat.h"
#include "common/digest.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/unit/azure/scripted.h"

namespace failover::azure {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

CredentialsOptions Options(Auth auth) {
  CredentialsOptions options{"https://login.example/", "tenant", "client", "/secrets/client",
                             "https://arm.example/.default"};
  options.auth = auth;
  options.federated_token_file = "/tokens/azure";
  options.imds_endpoint = "http://169.254.169.254";
  return options;
}

std::string Jwt(const std::string& claims) { return absl::StrCat("e30.", Base64(claims), ".c2ln"); }

std::string Problem(Auth auth, int status, const std::string& body, const std::string& proof = "") {
  return std::string(
      ReadTokenAnswer(Options(auth), proof, Response(status, body)).status().message());
}

TEST(TokenSourcesTest, ASecretIsSentAsAForm) {
  const HttpRequest request = TokenRequest(Options(Auth::kClientSecret), "s&cret=");
  EXPECT_EQ(request.method, "POST");
  EXPECT_EQ(request.url, "https://login.example/tenant/oauth2/v2.0/token");
  EXPECT_EQ(request.body,
            "client_id=client&scope=https%3A%2F%2Farm.example%2F.default&grant_type=client_"
            "credentials&client_secret=s%26cret%3D");
}

TEST(TokenSourcesTest, AFederatedTokenIsSentTrimmedAsAnAssertion) {
  const HttpRequest request = TokenRequest(Options(Auth::kWorkloadIdentity), " a.b-_.c\n");
  EXPECT_EQ(request.url, "https://login.example/tenant/oauth2/v2.0/token");
  EXPECT_EQ(request.body,
            "client_id=client&scope=https%3A%2F%2Farm.example%2F.default&grant_type=client_"
            "credentials&client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type"
            "%3Ajwt-bearer&client_assertion=a.b-_.c");
}

TEST(TokenSourcesTest, ImdsIsAskedForTheResourceOfTheScope) {
  CredentialsOptions options = Options(Auth::kManagedIdentity);
  options.client_id = "";
  const HttpRequest own = TokenRequest(options, "");
  EXPECT_EQ(own.method, "GET");
  EXPECT_EQ(own.url,
            "http://169.254.169.254/metadata/identity/oauth2/token?api-version=2018-02-01&resource="
            "https%3A%2F%2Farm.example%2F");
  EXPECT_EQ(HeaderOf(own, "Metadata"), "true");
  EXPECT_EQ(own.body, "");
  options.client_id = "client";
  EXPECT_THAT(TokenRequest(options, "").url, HasSubstr("&client_id=client"));
}

TEST(TokenSourcesTest, NumbersMayBeTexts) {
  const auto answer = ReadTokenAnswer(
      Options(Auth::kManagedIdentity), "",
      Response(200,
               R"({"access_token":"t","refresh_token":"","expires_in":"3599","refresh_in":"1800",
                        "expires_on":"1506484173","not_before":"1506480273","token_type":"Bearer"})"));
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_EQ(answer->token, "t");
  EXPECT_EQ(answer->lifetime, absl::Seconds(3599));
  EXPECT_EQ(answer->refresh_in, absl::Seconds(1800));
}

TEST(TokenSourcesTest, ARefreshThatIsNotWithinTheTokensLifeIsIgnored) {
  for (const char* refresh : {"0", "-5", "3600", "\"soon\""}) {
    const auto answer = ReadTokenAnswer(
        Options(Auth::kManagedIdentity), "",
        Response(200, absl::StrCat(R"({"access_token":"t","expires_in":3600,"refresh_in":)",
                                   refresh, R"(,"token_type":"bearer"})")));
    EXPECT_EQ(answer->refresh_in, absl::InfiniteDuration()) << refresh;
  }
}

TEST(TokenSourcesTest, AnswersThatAreNoTokenAreErrors) {
  for (const char* body : {"", "{}", "{\"access_token\":",
                           R"({"token_type":"Bearer","expires_in":60,"access_token":""})",
                           R"({"token_type":"Bearer","expires_in":0,"access_token":"t"})",
                           R"({"token_type":"mac","expires_in":60,"access_token":"t"})",
                           R"({"token_type":"Bearer","expires_in":60,"access_token":"a\r\nb"})"}) {
    for (const Auth auth : {Auth::kClientSecret, Auth::kManagedIdentity}) {
      EXPECT_FALSE(ReadTokenAnswer(Options(auth), "", Response(200, body)).ok()) << body;
    }
  }
}

TEST(TokenSourcesTest, AMismatchOfTheFederatedCredentialShowsWhatThePodHas) {
  const std::string proof = Jwt(
      R"({"iss":"https://oidc.example/","sub":"system:serviceaccount:a:b","aud":["api://x"],"exp":1795467600})");
  for (const int code : {70021, 700211, 700212, 700213}) {
    const std::string problem =
        Problem(Auth::kWorkloadIdentity, 401,
                absl::StrCat(R"({"error":"invalid_client","error_description":"AADSTS)", code,
                             R"(: No match","error_codes":[)", code, "]}"),
                proof);
    EXPECT_THAT(problem, HasSubstr("no federated credential of client client matches the token in "
                                   "/tokens/azure (issuer \"https://oidc.example/\", subject "
                                   "\"system:serviceaccount:a:b\", audience \"api://x\", valid "
                                   "until 2026-11-23 21:00:00Z)"));
    EXPECT_THAT(problem, HasSubstr(absl::StrCat("HTTP 401 invalid_client AADSTS", code)));
    EXPECT_THAT(problem, Not(HasSubstr(proof))) << "the token itself is a secret";
  }
}

TEST(TokenSourcesTest, AnExpiredTokenSaysUntilWhenItWasValid) {
  const std::string problem = Problem(
      Auth::kWorkloadIdentity, 401,
      R"({"error":"invalid_client","error_description":"AADSTS700024: Client assertion is not within its valid time range."})",
      Jwt(R"({"iss":"i","sub":"s","aud":"a","exp":1795467600})"));
  EXPECT_THAT(problem, HasSubstr("the token in /tokens/azure is not valid now (issuer \"i\", "
                                 "subject \"s\", audience \"a\", valid until 2026-11-23 "
                                 "21:00:00Z)"));
}

TEST(TokenSourcesTest, WhatIsNoJwtIsCalledSo) {
  for (const char* proof : {"", "abc", "a.b.c", "e30.W10.x", "e30.bm90IGpzb24.x"}) {
    EXPECT_THAT(Problem(Auth::kWorkloadIdentity, 400,
                        R"({"error":"invalid_request","error_codes":[50027]})", proof),
                HasSubstr("the content of /tokens/azure is not accepted as a token (it is no JWT)"))
        << proof;
  }
}

TEST(TokenSourcesTest, EntrasOtherRefusalsNameTheKeyToCorrect) {
  const struct {
    int code;
    const char* said;
  } cases[] = {
      {700016, "tenant tenant does not know client client: azure.clientId or azure.tenantId"},
      {90002, "https://login.example/ does not know tenant tenant: azure.tenantId or azure.cloud"},
      {7000215, "the secret in /secrets/client is wrong"},
      {7000222, "the secret in /secrets/client has expired"},
      {1, "Entra gave no token: HTTP 400 e AADSTS1: text"}};
  for (const auto& one : cases) {
    EXPECT_THAT(Problem(Auth::kClientSecret, 400,
                        absl::StrCat(R"({"error":"e","error_description":"AADSTS)", one.code,
                                     R"(: text"})")),
                HasSubstr(one.said));
  }
  EXPECT_THAT(Problem(Auth::kClientSecret, 502, "<html>"), HasSubstr("HTTP 502"));
}

TEST(TokenSourcesTest, ImdsRefusalsNameWhatTheMachineLacks) {
  const std::string body =
      R"({"error":"invalid_request","error_description":"Identity not found"})";
  EXPECT_THAT(Problem(Auth::kManagedIdentity, 400, body),
              HasSubstr("IMDS gave no token: identity client is not assigned to this machine (VM, "
                        "scale set or node pool): assign it, or correct azure.clientId: HTTP 400 "
                        "invalid_request Identity not found"));
  CredentialsOptions own = Options(Auth::kManagedIdentity);
  own.client_id = "";
  EXPECT_THAT(std::string(ReadTokenAnswer(own, "", Response(400, body)).status().message()),
              HasSubstr("this machine has no identity of its own, or several identities"));
  EXPECT_THAT(Problem(Auth::kManagedIdentity, 403, "{}"), HasSubstr("or passed a proxy"));
  EXPECT_THAT(Problem(Auth::kManagedIdentity, 410, "{}"), HasSubstr("it is being updated"));
}

TEST(TokenSourcesTest, ALostAnswerIsNotTakenForAMachineOutsideAzure) {
  const CredentialsOptions options = Options(Auth::kManagedIdentity);
  EXPECT_EQ(NoTokenAnswer(options, Lost(true)).message(),
            "no token from IMDS: the connection was lost");
  EXPECT_THAT(std::string(NoTokenAnswer(options, Lost(false)).message()),
              HasSubstr("not a machine in Azure"));
  EXPECT_EQ(NoTokenAnswer(Options(Auth::kClientSecret), Lost(false)).message(),
            "no token from Entra: the connection was lost");
}

}  // namespace
}  // namespace failover::azure
