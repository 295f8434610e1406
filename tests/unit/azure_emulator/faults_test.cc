#include "tests/unit/azure_emulator/emulated.h"

namespace failover::emulator {
namespace {

class FaultsTest : public Emulated {
 protected:
  Json Requests() { return Body(Control("GET", "/_emulator/requests"))["requests"]; }
};

TEST_F(FaultsTest, AResetBeforeTheEffectLeavesNothingBehind) {
  Fault(R"({"operation":"backup","action":"reset","times":1})");
  EXPECT_EQ(Start("backup", "apim-weu").wire, Wire::kReset);
  EXPECT_EQ(Requests().back()["applied"], false);
  EXPECT_EQ(Requests().back()["answerLost"], true);
  EXPECT_EQ(Start("backup", "apim-weu").status, 202);
}

TEST_F(FaultsTest, AResetAfterTheEffectLosesOnlyTheAnswer) {
  Fault(R"({"operation":"backup","action":"reset","after":true,"times":1})");
  EXPECT_EQ(Start("backup", "apim-weu").wire, Wire::kReset);
  const Json logged = Requests().back();
  EXPECT_EQ(logged["applied"], true);
  EXPECT_EQ(logged["answerLost"], true);
  EXPECT_EQ(logged["operation"], "backup");
  EXPECT_EQ(logged["service"], "apim-weu");
  EXPECT_EQ(logged["blob"], "b1");
  EXPECT_EQ(Code(Start("backup", "apim-weu")), "ServiceLocked") << "the first one runs";
  now += absl::Minutes(10);
  Get(Path("apim-weu"));
  EXPECT_NE(world.memory.Find("contosodr", "apim-backups", "b1"), nullptr);
}

TEST_F(FaultsTest, AStatusCarriesCodeMessageAndRetryAfter) {
  Fault(R"({"operation":"getService","action":"status","status":503,"code":"Busy",
            "message":"later","retryAfter":"7"})");
  const Answer answer = Get(Path("apim-weu"));
  EXPECT_EQ(answer.status, 503);
  EXPECT_EQ(Code(answer), "Busy");
  EXPECT_EQ(answer.Header("retry-after"), "7");
}

TEST_F(FaultsTest, SkipTimesAndServiceDecideWhichRequestsAreHit) {
  Fault(R"({"operation":"getService","service":"APIM-weu","action":"status","skip":1,"times":2})");
  std::vector<int> statuses;
  for (int i = 0; i < 5; ++i) statuses.push_back(Get(Path("apim-weu")).status);
  EXPECT_EQ(statuses, (std::vector<int>{200, 500, 500, 200, 200}));
  EXPECT_EQ(Get(Path("apim-neu")).status, 200);
}

TEST_F(FaultsTest, ARateHitsAboutItsShareAndTheSameOnesForTheSameSeed) {
  const auto hits = [](uint64_t seed) {
    std::vector<FaultRule> rules(1);
    rules[0].action = "status";
    rules[0].probability = 0.25;
    std::mt19937_64 random(seed);
    std::vector<bool> hit;
    for (int i = 0; i < 1000; ++i) {
      hit.push_back(DrawFault(rules, Request(), RequestClass(), random) != nullptr);
    }
    return hit;
  };
  const std::vector<bool> first = hits(1);
  const auto count = std::count(first.begin(), first.end(), true);
  EXPECT_GT(count, 180);
  EXPECT_LT(count, 320);
  EXPECT_EQ(hits(1), first);
  EXPECT_NE(hits(2), first);
}

TEST_F(FaultsTest, ThrottlingRefusesEarlierRequestsToo) {
  Fault(R"({"operation":"getService","action":"throttle","retryAfter":30,"times":1})");
  EXPECT_EQ(Get(Path("apim-weu")).Header("retry-after"), "30");
  now += absl::Seconds(10);
  const Answer early = Get(Path("apim-weu"));
  EXPECT_EQ(early.status, 429);
  EXPECT_EQ(early.Header("retry-after"), "20");
  now += absl::Seconds(20);
  EXPECT_EQ(Get(Path("apim-weu")).status, 200);
}

TEST_F(FaultsTest, TheTokenBucketOfReadsEmptiesAndFillsAgain) {
  world.reads = {3, 1, 3};
  for (int i = 0; i < 3; ++i) EXPECT_EQ(Get(Path("apim-weu")).status, 200);
  EXPECT_EQ(Code(Get(Path("apim-weu"))), "SubscriptionRequestsThrottled");
  now += absl::Seconds(1);
  EXPECT_EQ(Get(Path("apim-weu")).status, 200);
}

TEST_F(FaultsTest, LocationCanBeAbsentRelativeForeignOrChanged) {
  Fault(R"({"rules":[{"operation":"backup","action":"location","location":"absent","times":1}]})");
  Answer answer = Start("backup", "apim-weu");
  EXPECT_EQ(answer.status, 202);
  EXPECT_EQ(answer.Header("location"), "");
  Fault(R"({"operation":"backup","action":"location","location":"relative","times":1})");
  answer = Start("backup", "apim-neu", BackupBody("b2"));
  EXPECT_EQ(answer.Header("location").substr(0, 15), "/subscriptions/");
  now += absl::Hours(1);
  Fault(R"({"operation":"backup","action":"location","location":"foreign","times":1})");
  answer = Start("backup", "apim-weu");
  EXPECT_EQ(answer.Header("location").substr(0, 25), "https://attacker.example/");
}

TEST_F(FaultsTest, AChangedLocationLeadsToTheSameOperation) {
  const Answer accepted = Start("backup", "apim-weu");
  Fault(R"({"operation":"poll","action":"location","location":"changed","times":1})");
  const Answer moved = Poll(accepted);
  EXPECT_EQ(moved.status, 202);
  EXPECT_NE(moved.Header("location"), accepted.Header("location"));
  EXPECT_EQ(Finished(moved).status, 200);
  EXPECT_EQ(Poll(accepted).status, 200);
}

TEST_F(FaultsTest, RetryAfterCanBeAbsentOrOdd) {
  Fault(R"({"operation":"backup","action":"retryAfter","retryAfter":"absent","times":1})");
  EXPECT_EQ(Start("backup", "apim-weu").Header("retry-after"), "");
  Fault(R"({"operation":"backup","action":"retryAfter","retryAfter":"86400","times":1})");
  EXPECT_EQ(Start("backup", "apim-neu", BackupBody("b2")).Header("retry-after"), "86400");
}

TEST_F(FaultsTest, SpoiltBodiesAreNotWholeJson) {
  Fault(R"({"operation":"getService","action":"malformed","times":1})");
  Json json;
  EXPECT_FALSE(ParseJson(Get(Path("apim-weu")).body, json).ok());
  Fault(R"({"operation":"getService","action":"truncate","times":1})");
  EXPECT_EQ(Get(Path("apim-weu")).wire, Wire::kTruncated);
  Fault(R"({"operation":"getService","action":"slowBody","times":1})");
  EXPECT_TRUE(Get(Path("apim-weu")).slow_body);
  Fault(R"({"operation":"getService","action":"silence","times":1})");
  EXPECT_EQ(Get(Path("apim-weu")).wire, Wire::kSilence);
  Fault(R"({"operation":"getService","action":"slow","delay":"3s","times":1})");
  EXPECT_EQ(Get(Path("apim-weu")).delay, absl::Seconds(3));
}

TEST_F(FaultsTest, BadRulesAreRefusedWithEveryProblemNamed) {
  const Answer answer =
      Control("POST", "/_emulator/faults", R"({"action":"explode","operation":"sleep","tims":1})");
  EXPECT_EQ(answer.status, 400);
  EXPECT_EQ(Body(answer)["problems"].size(), 3u) << answer.body;
  EXPECT_EQ(Control("POST", "/_emulator/faults", R"({"action":"location"})").status, 400);
  EXPECT_EQ(Control("POST", "/_emulator/faults", R"({"action":"slow","after":true})").status, 400);
  EXPECT_TRUE(world.faults.empty());
}

TEST_F(FaultsTest, RulesAreListedWithTheirProgressAndDeleted) {
  Fault(R"({"operation":"getService","action":"status"})");
  Get(Path("apim-weu"));
  const Json listed = Body(Control("GET", "/_emulator/faults"))["faults"];
  ASSERT_EQ(listed.size(), 1u);
  EXPECT_EQ(listed[0]["fired"], 1);
  const std::string id = listed[0]["id"];
  EXPECT_EQ(Control("DELETE", "/_emulator/faults/none").status, 404);
  EXPECT_EQ(Control("DELETE", absl::StrCat("/_emulator/faults/", id)).status, 200);
  EXPECT_EQ(Get(Path("apim-weu")).status, 200);
}

}  // namespace
}  // namespace failover::emulator
