#include "controller/azure/credentials.h"

#include <atomic>
#include <fstream>
#include <thread>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/temp_dir.h"
#include "tests/support/wait_until.h"
#include "tests/unit/azure/scripted.h"

namespace failover::azure {
namespace {

using ::testing::HasSubstr;

std::string TokenText(const std::string& token, int seconds) {
  return absl::StrCat(R"({"token_type":"Bearer","expires_in":)", seconds, R"(,"access_token":")",
                      token, "\"}");
}

class CredentialsTest : public ::testing::Test {
 protected:
  CredentialsTest() { WriteSecret("secret one"); }
  void WriteSecret(const std::string& text) { std::ofstream(File()) << text << "\n"; }
  std::string File() const { return dir_.path() + "/client-secret"; }
  CredentialsOptions Options() const {
    return {"https://login.example/", "tenant", "client", File(), "https://arm.example/.default"};
  }

  absl::StatusOr<std::string> Ask() {
    return credentials_.Token(
        [this](const HttpRequest& request) {
          wire_.requests.push_back(request);
          return wire_.answer(request);
        },
        {});
  }

  TempDir dir_;
  StridingClock clock_;
  Wire wire_;
  Credentials credentials_{Options(), clock_};
};

TEST_F(CredentialsTest, TheRequestIsAFormOfClientCredentials) {
  const HttpRequest request = TokenRequest(Options(), "s&cret=");
  EXPECT_EQ(request.url, "https://login.example/tenant/oauth2/v2.0/token");
  EXPECT_EQ(request.body,
            "client_id=client&scope=https%3A%2F%2Farm.example%2F.default&grant_type=client_"
            "credentials&client_secret=s%26cret%3D");
}

TEST_F(CredentialsTest, ATokenIsKeptUntilItIsDue) {
  int given = 0;
  wire_.answer = [&](const HttpRequest&) {
    return Answered(200, TokenText(absl::StrCat("t", ++given), 3599));
  };
  EXPECT_EQ(*Ask(), "t1");
  EXPECT_EQ(*Ask(), "t1");
  clock_.Advance(absl::Minutes(39));
  EXPECT_EQ(*Ask(), "t1");
  clock_.Advance(absl::Minutes(1));  // 20 minutes before its end
  EXPECT_EQ(*Ask(), "t2");
  EXPECT_EQ(wire_.requests.size(), 2u);
  EXPECT_EQ(credentials_.Left(), absl::Seconds(3599));
  EXPECT_EQ(credentials_.Expiry(), clock_.Wall() + absl::Seconds(3599));
}

TEST_F(CredentialsTest, AShortTokenIsRefreshedAtHalfItsLife) {
  int given = 0;
  wire_.answer = [&](const HttpRequest&) {
    return Answered(200, TokenText(absl::StrCat("t", ++given), 60));
  };
  EXPECT_EQ(*Ask(), "t1");
  clock_.Advance(absl::Seconds(29));
  EXPECT_EQ(*Ask(), "t1");
  clock_.Advance(absl::Seconds(1));
  EXPECT_EQ(*Ask(), "t2");
}

TEST_F(CredentialsTest, AFailedRefreshLeavesTheOldTokenInForceAndIsNotHammered) {
  bool good = true;
  wire_.answer = [&](const HttpRequest&) {
    return good ? Answered(200, TokenText("t1", 3600)) : Lost(true);
  };
  EXPECT_EQ(*Ask(), "t1");
  good = false;
  clock_.Advance(absl::Minutes(45));
  EXPECT_EQ(*Ask(), "t1");
  EXPECT_EQ(*Ask(), "t1");
  EXPECT_EQ(wire_.requests.size(), 2u);
  clock_.Advance(absl::Seconds(5));
  EXPECT_EQ(*Ask(), "t1");
  EXPECT_EQ(wire_.requests.size(), 3u);
  clock_.Advance(absl::Minutes(15));
  EXPECT_FALSE(Ask().ok()) << "an expired token is given to nobody";
}

TEST_F(CredentialsTest, TheSecretIsReadForEveryToken) {
  wire_.answer = [](const HttpRequest&) { return Answered(200, TokenText("t", 60)); };
  ASSERT_TRUE(Ask().ok());
  WriteSecret("secret two");
  clock_.Advance(absl::Seconds(40));
  ASSERT_TRUE(Ask().ok());
  EXPECT_THAT(wire_.requests[0].body, HasSubstr("client_secret=secret%20one"));
  EXPECT_THAT(wire_.requests[1].body, HasSubstr("client_secret=secret%20two"));
}

TEST_F(CredentialsTest, ARefusedTokenIsDroppedOnlyIfItIsTheOneInForce) {
  int given = 0;
  wire_.answer = [&](const HttpRequest&) {
    return Answered(200, TokenText(absl::StrCat("t", ++given), 3600));
  };
  EXPECT_EQ(*Ask(), "t1");
  credentials_.Refused("an older one");
  EXPECT_EQ(*Ask(), "t1");
  credentials_.Refused("t1");
  EXPECT_EQ(credentials_.Expiry(), absl::InfinitePast());
  EXPECT_EQ(*Ask(), "t2");
}

TEST_F(CredentialsTest, AMissingSecretFileIsNamedAndNothingIsSent) {
  Credentials credentials({"https://login.example", "t", "c", dir_.path() + "/none", "s"}, clock_);
  const auto token = credentials.Token([](const HttpRequest&) { return Lost(true); }, {});
  ASSERT_FALSE(token.ok());
  EXPECT_THAT(std::string(token.status().message()), HasSubstr("none"));
}

TEST_F(CredentialsTest, AnswersThatAreNoTokenAreErrors) {
  EXPECT_THAT(
      std::string(
          ReadTokenAnswer(
              Response(
                  401,
                  R"({"error":"invalid_client","error_description":"AADSTS7000215: Invalid"})"))
              .status()
              .message()),
      HasSubstr("HTTP 401 invalid_client AADSTS7000215"));
  for (const char* body : {"", "{}", "{\"access_token\":",
                           R"({"token_type":"Bearer","expires_in":60,"access_token":""})",
                           R"({"token_type":"Bearer","expires_in":0,"access_token":"t"})",
                           R"({"token_type":"mac","expires_in":60,"access_token":"t"})",
                           R"({"token_type":"Bearer","expires_in":60,"access_token":"a\r\nb"})"}) {
    EXPECT_FALSE(ReadTokenAnswer(Response(200, body)).ok()) << body;
  }
  EXPECT_EQ(ReadTokenAnswer(
                Response(200, R"({"token_type":"bearer","expires_in":"3599","access_token":"t"})"))
                ->lifetime,
            absl::Seconds(3599));
}

TEST_F(CredentialsTest, OneLaneFetchesAndTheOthersWaitForItsToken) {
  std::atomic<int> sent = 0, asked = 0;
  std::atomic<bool> go = false;
  const Credentials::Send slow = [&](const HttpRequest&) {
    ++sent;
    while (!go) std::this_thread::yield();
    return Answered(200, TokenText("t", 3600));
  };
  {
    std::vector<std::jthread> lanes;
    for (int i = 0; i < 4; ++i) {
      lanes.emplace_back([&] {
        ++asked;
        EXPECT_EQ(*credentials_.Token(slow, {}), "t");
      });
    }
    EXPECT_TRUE(WaitUntil([&] { return asked == 4 && sent == 1; }));
    go = true;
  }
  EXPECT_EQ(sent, 1);
}

}  // namespace
}  // namespace failover::azure
