#include "controller/azure/credentials.h"

#include <atomic>
#include <filesystem>
#include <fstream>
#include <optional>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/fake_clock.h"
#include "tests/support/temp_dir.h"
#include "tests/support/wait_until.h"
#include "tests/unit/azure/scripted.h"

namespace failover::azure {
namespace {

using ::testing::ElementsAre;
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

  absl::StatusOr<std::string> Ask(const TokenWait& wait = {}, std::stop_token stop = {}) {
    return used_->Token(
        [this](const HttpRequest& request) {
          wire_.requests.push_back(request);
          return wire_.answer(request);
        },
        stop, wait);
  }

  TempDir dir_;
  StridingClock clock_;
  Wire wire_;
  Credentials credentials_{Options(), clock_};
  Credentials* used_ = &credentials_;
};

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

TEST_F(CredentialsTest, ACallerThatCannotWaitGetsTheGoodTokenEvenWhenItIsDue) {
  int given = 0;
  wire_.answer = [&](const HttpRequest&) {
    return Answered(200, TokenText(absl::StrCat("t", ++given), 3600));
  };
  EXPECT_EQ(*Ask(), "t1");
  clock_.Advance(absl::Minutes(50));
  EXPECT_EQ(*Ask({SteadyTime::InfiniteFuture(), /*refresh=*/false}), "t1");
  EXPECT_EQ(*Ask(), "t2");
}

TEST_F(CredentialsTest, ASourceThatAsksForAnEarlierRefreshGetsIt) {
  int given = 0;
  wire_.answer = [&](const HttpRequest&) {
    return Answered(
        200,
        absl::StrCat(
            R"({"token_type":"Bearer","expires_in":86400,"refresh_in":43200,"access_token":"t)",
            ++given, "\"}"));
  };
  EXPECT_EQ(*Ask(), "t1");
  clock_.Advance(absl::Hours(12) - absl::Seconds(1));
  EXPECT_EQ(*Ask(), "t1");
  clock_.Advance(absl::Seconds(1));
  EXPECT_EQ(*Ask(), "t2");
}

class WorkloadIdentityTest : public CredentialsTest {
 protected:
  WorkloadIdentityTest() {
    CredentialsOptions options = Options();
    options.auth = Auth::kWorkloadIdentity;
    options.client_secret_file = "";
    options.federated_token_file = File();
    workload_.emplace(options, clock_);
    used_ = &*workload_;
  }
  std::optional<Credentials> workload_;
};

TEST_F(WorkloadIdentityTest, TheTokenFileIsReadForEveryExchange) {
  WriteSecret("  first.pod.token\n");
  wire_.answer = [](const HttpRequest&) { return Answered(200, TokenText("t", 60)); };
  ASSERT_TRUE(Ask().ok());
  WriteSecret("second.pod.token");
  clock_.Advance(absl::Seconds(40));
  ASSERT_TRUE(Ask().ok());
  EXPECT_THAT(wire_.requests[0].body, HasSubstr("&client_assertion=first.pod.token"));
  EXPECT_THAT(wire_.requests[1].body, HasSubstr("&client_assertion=second.pod.token"));
}

TEST_F(WorkloadIdentityTest, AMissingTokenFileNamesItAndWhatMountsIt) {
  std::filesystem::remove(File());
  const std::string message(Ask().status().message());
  EXPECT_THAT(message, HasSubstr(File()));
  EXPECT_THAT(message, HasSubstr("azure.workload.identity/use"));
  EXPECT_TRUE(wire_.requests.empty());
}

TEST_F(WorkloadIdentityTest, AFileThatGoesAwayLeavesTheOldTokenInForce) {
  wire_.answer = [](const HttpRequest&) { return Answered(200, TokenText("t", 3600)); };
  ASSERT_TRUE(Ask().ok());
  std::filesystem::remove(File());
  clock_.Advance(absl::Minutes(50));
  EXPECT_EQ(*Ask(), "t");
}

TEST_F(WorkloadIdentityTest, ARefusalIsFinalAndTriedAgainOnlyByTheNextCaller) {
  wire_.answer = [](const HttpRequest&) {
    return Answered(401, R"({"error":"invalid_client","error_codes":[700024]})");
  };
  const SteadyTime begun = clock_.Steady();
  EXPECT_FALSE(Ask().ok());
  EXPECT_EQ(wire_.requests.size(), 1u);
  EXPECT_FALSE(Ask().ok());
  EXPECT_EQ(wire_.requests.size(), 2u);
  EXPECT_EQ(clock_.Steady(), begun) << "nobody waited";
}

class ManagedIdentityTest : public CredentialsTest {
 protected:
  ManagedIdentityTest() {
    CredentialsOptions options = Options();
    options.auth = Auth::kManagedIdentity;
    options.client_secret_file = "";
    options.imds_endpoint = "http://169.254.169.254";
    managed_.emplace(options, clock_);
    used_ = &*managed_;
    wire_.answer = [this](const HttpRequest&) {
      asked_.push_back(clock_.Steady() - begun_);
      const int status = asked_.size() <= statuses_.size() ? statuses_[asked_.size() - 1] : last_;
      if (status == 200) return Answered(200, TokenText("t", 3600));
      if (status == 0) return Lost(true);
      return Answered(status, R"({"error":"e","error_description":"d"})", headers_);
    };
  }
  // IMDS answers so, then always the last one. 0: the answer is lost.
  void Script(std::vector<int> statuses) {
    last_ = statuses.back();
    statuses_ = std::move(statuses);
    asked_.clear();
    begun_ = clock_.Steady();
  }
  std::vector<int64_t> AskedAt() const {
    std::vector<int64_t> seconds;
    for (const absl::Duration at : asked_) seconds.push_back(absl::ToInt64Seconds(at));
    return seconds;
  }

  std::optional<Credentials> managed_;
  std::vector<int> statuses_ = {200};
  int last_ = 200;
  HttpHeaders headers_;
  std::vector<absl::Duration> asked_;
  SteadyTime begun_ = clock_.Steady();
};

TEST_F(ManagedIdentityTest, AnUpgradeOfImdsIsWaitedOutForMoreThanSeventySeconds) {
  Script({410, 410, 410, 410, 410, 410, 410, 200});
  EXPECT_EQ(*Ask(), "t");
  EXPECT_THAT(AskedAt(), ElementsAre(0, 3, 9, 21, 37, 53, 69, 85));
}

TEST_F(ManagedIdentityTest, AnUpgradeWithoutAnEndIsGivenUpAndAskedForNoMoreOftenThanPauses) {
  Script({410});
  const absl::Status status = Ask().status();
  EXPECT_THAT(std::string(status.message()), HasSubstr("HTTP 410"));
  EXPECT_THAT(AskedAt(), ElementsAre(0, 3, 9, 21, 37, 53, 69, 85));
  EXPECT_EQ(Ask().status(), status);  // at once, without a request
  EXPECT_EQ(asked_.size(), 8u);
  clock_.Advance(absl::Seconds(16));
  EXPECT_FALSE(Ask().ok());
  EXPECT_EQ(asked_.size(), 9u);
  last_ = 200;
  clock_.Advance(absl::Seconds(16));
  EXPECT_EQ(*Ask(), "t");
}

TEST_F(ManagedIdentityTest, WhatPassesIsRepeatedFiveTimesInHalfAMinute) {
  for (const int status : {404, 429, 500, 503, 0}) {
    managed_->Refused("t");
    Script({status, status, status, status, 200});
    EXPECT_EQ(*Ask(), "t") << status;
    EXPECT_THAT(AskedAt(), ElementsAre(0, 2, 6, 14, 30)) << status;
  }
}

TEST_F(ManagedIdentityTest, RetryAfterIsObeyed) {
  headers_ = {{"Retry-After", "7"}};
  Script({429, 200});
  EXPECT_EQ(*Ask(), "t");
  EXPECT_THAT(AskedAt(), ElementsAre(0, 7));
  headers_ = {{"Retry-After", "60"}};
  managed_->Refused("t");
  Script({429, 200});
  EXPECT_FALSE(Ask().ok()) << "a minute is longer than a caller waits";
  EXPECT_FALSE(Ask().ok());
  EXPECT_THAT(AskedAt(), ElementsAre(0));
  clock_.Advance(absl::Minutes(1));
  EXPECT_EQ(*Ask(), "t");
}

TEST_F(ManagedIdentityTest, WhatDoesNotPassIsNotRepeated) {
  for (const int status : {400, 401, 403}) {
    Script({status});
    EXPECT_FALSE(Ask().ok());
    EXPECT_THAT(AskedAt(), ElementsAre(0)) << status;
  }
  wire_.answer = [](const HttpRequest&) { return Lost(/*maybe_sent=*/false); };
  const SteadyTime begun = clock_.Steady();
  EXPECT_THAT(std::string(Ask().status().message()),
              HasSubstr("there is no IMDS at http://169.254.169.254; this is not a machine in "
                        "Azure"));
  EXPECT_EQ(clock_.Steady(), begun);
}

TEST_F(ManagedIdentityTest, ARefreshNeverWaitsWhileTheOldTokenIsGood) {
  ASSERT_EQ(*Ask(), "t");
  clock_.Advance(absl::Minutes(50));
  Script({410});
  EXPECT_EQ(*Ask(), "t");
  EXPECT_EQ(*Ask(), "t");
  EXPECT_THAT(AskedAt(), ElementsAre(0));
  clock_.Advance(absl::Seconds(5));
  EXPECT_EQ(*Ask(), "t");
  EXPECT_EQ(*Ask(), "t");
  EXPECT_THAT(AskedAt(), ElementsAre(0, 5));
}

TEST_F(ManagedIdentityTest, ACallerWithADeadlineLeavesWhenThePauseWouldEndLater) {
  Script({410});
  EXPECT_FALSE(Ask({clock_.Steady() + absl::Seconds(10)}).ok());
  EXPECT_THAT(AskedAt(), ElementsAre(0, 3, 9));
  EXPECT_LE(clock_.Steady(), begun_ + absl::Seconds(10));
  // The next caller goes on where this one left.
  last_ = 200;
  EXPECT_EQ(*Ask(), "t");
  EXPECT_THAT(AskedAt(), ElementsAre(0, 3, 9, 21));
}

TEST_F(ManagedIdentityTest, AStopEndsTheWaiting) {
  std::stop_source stop;
  wire_.answer = [&](const HttpRequest&) {
    stop.request_stop();
    return Answered(410);
  };
  EXPECT_TRUE(absl::IsCancelled(Ask({}, stop.get_token()).status()));
  EXPECT_EQ(wire_.requests.size(), 1u);
}

// All lanes share one row of tries, whoever makes them.
TEST(CredentialsOfSeveralLanesTest, LanesInAPauseTakeTheTokenThatOneOfThemGets) {
  FakeClock clock;
  CredentialsOptions options;
  options.auth = Auth::kManagedIdentity;
  options.imds_endpoint = "http://169.254.169.254";
  Credentials credentials(options, clock);
  std::atomic<int> sent = 0, given = 0;
  const Credentials::Send send = [&](const HttpRequest&) {
    return ++sent == 1 ? Answered(429) : Answered(200, TokenText("t", 3600));
  };
  {
    std::vector<std::jthread> lanes;
    for (int i = 0; i < 4; ++i) {
      lanes.emplace_back([&] { given += credentials.Token(send, {}).ok() ? 1 : 0; });
    }
    EXPECT_TRUE(clock.WaitForSleepers(4));
    EXPECT_TRUE(clock.AdvanceToNextSleeper());
  }
  EXPECT_EQ(given, 4);
  EXPECT_EQ(sent, 2);
}

}  // namespace
}  // namespace failover::azure
