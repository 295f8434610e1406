#include "controller/kubernetes/watch.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "controller/kubernetes/config_map_store.h"
#include "tests/kubernetes_stub/api_server.h"
#include "tests/support/fake_clock.h"
#include "tests/support/temp_dir.h"
#include "tests/support/wait_until.h"

namespace failover::kubernetes {
namespace {

using Fault = KubernetesStub::Fault;

constexpr char kMaps[] = "/api/v1/namespaces/dr/configmaps/";
constexpr char kOurs[] = R"({"metadata":{"labels":{"apim-failover/state-of":"state"}}})";

class WatchTest : public testing::TestWithParam<ServerKind> {
 protected:
  void SetUp() override {
    if (GetParam() == ServerKind::kReal && RealServerOfTests() == nullptr)
      GTEST_SKIP() << kNoRealServer;
  }
  std::unique_ptr<Watch> Open() {
    WatchOptions options;
    options.server = {stub_.url(), "dr", directory_.Write("token", "first"), ""};
    options.collection = ConfigMapsOfStore("dr", "state");
    options.clock = &clock_;
    options.changed = [this] { ++told_; };
    return std::make_unique<Watch>(std::move(options));
  }
  // One whose watch is open.
  std::unique_ptr<Watch> Opened() {
    std::unique_ptr<Watch> watch = Open();
    EXPECT_TRUE(WaitUntil([this] { return stub_.watches() == 1; }));
    EXPECT_EQ(told_, 1) << "by the list before it";
    return watch;
  }
  std::vector<KubernetesStub::Seen> Watches() const {
    std::vector<KubernetesStub::Seen> watches;
    for (KubernetesStub::Seen& seen : stub_.Requests()) {
      if (absl::StrContains(seen.path, "watch=1")) watches.push_back(std::move(seen));
    }
    return watches;
  }
  int Lists() const { return stub_.Count("GET", "limit=1"); }
  bool Told(int times) {
    return WaitUntil([this, times] { return told_ >= times; });
  }
  static bool From(const KubernetesStub::Seen& watch, const std::string& version) {
    return absl::StrContains(watch.path, absl::StrCat("resourceVersion=", version, "&"));
  }
  void Order(const std::string& part, int times, int status) {
    Fault fault;
    fault.path_part = part;
    fault.times = times;
    fault.status = status;
    stub_.Add(fault);
  }
  std::string Version(const std::string& name) {
    return stub_.Field(kMaps + name, "/metadata/resourceVersion");
  }

  TempDir directory_;
  KubernetesStub stub_{ServerOf(GetParam())};
  FakeClock clock_;
  std::atomic<int> told_ = 0;
};

// What a real server does at its own time.
class ToldByTheTest : public WatchTest {};

TEST_P(WatchTest, EveryChangeOfWhatIsSelectedIsToldAndNothingElse) {
  const auto watch = Opened();
  stub_.Write(absl::StrCat(kMaps, "of-somebody"), R"({"data":{"a":"1"}})");
  stub_.Write(absl::StrCat(kMaps, "state-a"), kOurs);
  ASSERT_TRUE(Told(2));
  stub_.Write(absl::StrCat(kMaps, "of-somebody"), R"({"data":{"a":"2"}})");
  stub_.Write(absl::StrCat(kMaps, "state-a"), R"({"data":{"a":"1"}})");
  ASSERT_TRUE(Told(3));
  EXPECT_EQ(watch->State().version, Version("state-a"));
  stub_.Delete(absl::StrCat(kMaps, "state-a"));
  ASSERT_TRUE(Told(4));
  EXPECT_EQ(told_, 4);
  EXPECT_EQ(watch->State().attempts, 2u) << "one list, one watch";
  EXPECT_TRUE(watch->State().problem.ok()) << watch->State().problem;
}

TEST_P(WatchTest, ItAsksForMetadataAndBookmarksOfAMinute) {
  const auto watch = Opened();
  const KubernetesStub::Seen seen = Watches()[0];
  EXPECT_EQ(seen.accept, "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1");
  EXPECT_TRUE(
      absl::StartsWith(seen.path, "/api/v1/namespaces/dr/configmaps?labelSelector=%61%70%69%6d%2d"))
      << seen.path;
  EXPECT_TRUE(absl::StrContains(seen.path, "%3Dstate&watch=1&allowWatchBookmarks=true&"));
  const size_t at = seen.path.find("timeoutSeconds=");
  ASSERT_NE(at, std::string::npos);
  const int seconds = std::stoi(seen.path.substr(at + 15));
  EXPECT_GE(seconds, 60);
  EXPECT_LE(seconds, 90);
}

TEST_P(WatchTest, ALostConnectionGoesOnFromTheLastVersionWithoutAList) {
  Fault cut;
  cut.path_part = "watch=1";
  cut.what = Fault::kDropBefore;
  const auto watch = Opened();
  stub_.Write(absl::StrCat(kMaps, "state-a"), kOurs);
  ASSERT_TRUE(Told(2));
  const std::string version = Version("state-a");
  stub_.Add(cut);
  stub_.EndWatches(false);
  stub_.Write(absl::StrCat(kMaps, "state-b"), kOurs);
  ASSERT_TRUE(WaitUntil([&] { return !watch->State().problem.ok(); }));
  EXPECT_EQ(watch->State().version, version);
  ASSERT_TRUE(WaitUntil([&] {
    clock_.AdvanceToNextSleeper();
    return told_ == 3;
  })) << "what changed meanwhile is told";
  EXPECT_TRUE(From(Watches().back(), version)) << Watches().back().path;
  EXPECT_EQ(Lists(), 1);
  EXPECT_TRUE(watch->State().problem.ok()) << watch->State().problem;
}

TEST_P(ToldByTheTest, ABookmarkMovesTheVersionOnAndTellsNothing) {
  const auto watch = Opened();
  const std::string before = watch->State().version;
  stub_.Bookmark();
  ASSERT_TRUE(WaitUntil([&] { return watch->State().version != before; }));
  const std::string after = watch->State().version;
  EXPECT_EQ(told_, 1);
  stub_.EndWatches(true);
  ASSERT_TRUE(WaitUntil([&] { return Watches().size() == 2; })) << "at once, no pause";
  EXPECT_TRUE(From(Watches()[1], after)) << Watches()[1].path;
  EXPECT_EQ(Lists(), 1);
}

TEST_P(ToldByTheTest, AVersionThatIsTooOldBeginsAnewWithAListAtOnce) {
  const auto watch = Opened();
  stub_.Forget();
  stub_.EndWatches(false);  // goes on from before what was forgotten
  ASSERT_TRUE(WaitUntil([&] { return !watch->State().problem.ok(); }));
  ASSERT_TRUE(WaitUntil([&] {
    clock_.AdvanceToNextSleeper();
    return Lists() == 2;
  }));
  ASSERT_TRUE(Told(2)) << "what changed meanwhile is not known";
  ASSERT_TRUE(WaitUntil([&] { return Watches().size() == 3; }));
  stub_.Write(absl::StrCat(kMaps, "state-a"), kOurs);
  EXPECT_TRUE(Told(3));
}

TEST_P(WatchTest, A410AsTheAnswerBeginsAnewAndAgainAndAgainWithPauses) {
  Order("watch=1", -1, 410);
  const auto watch = Open();
  ASSERT_TRUE(WaitUntil([&] { return !watch->State().problem.ok(); }));
  EXPECT_TRUE(absl::IsOutOfRange(watch->State().problem)) << watch->State().problem;
  EXPECT_EQ(Lists(), 2) << "once without a pause";
  ASSERT_TRUE(clock_.WaitForSleepers(1));
  EXPECT_EQ(Lists(), 2);
  stub_.ClearFaults();
  clock_.AdvanceToNextSleeper();
  ASSERT_TRUE(WaitUntil([&] { return Lists() == 3; }));
  stub_.Write(absl::StrCat(kMaps, "state-a"), kOurs);
  EXPECT_TRUE(WaitUntil([&] { return watch->State().problem.ok(); }));
}

TEST_P(WatchTest, FailuresAreTriedAgainMoreAndMoreSlowlyAndNoneIsForgotten) {
  Order("", -1, 500);
  const auto watch = Open();
  std::vector<absl::Duration> pauses;
  for (int i = 1; i <= 9; ++i) {
    ASSERT_TRUE(clock_.WaitForSleepers(1));
    EXPECT_EQ(watch->State().attempts, static_cast<uint64_t>(i));
    const SteadyTime before = clock_.Steady();
    clock_.AdvanceToNextSleeper();
    pauses.push_back(clock_.Steady() - before);
    ASSERT_TRUE(WaitUntil([&] { return watch->State().attempts > static_cast<uint64_t>(i); }));
  }
  absl::Duration most = absl::Milliseconds(500);
  for (const absl::Duration pause : pauses) {
    EXPECT_GE(pause, most / 2);
    EXPECT_LE(pause, most);
    most = std::min(most * 2, absl::Seconds(30));
  }
  EXPECT_EQ(told_, 0);
  stub_.ClearFaults();
  clock_.Advance(absl::Seconds(30));
  EXPECT_TRUE(WaitUntil([&] {
    clock_.AdvanceToNextSleeper();
    return told_ == 1;
  }));
}

TEST_P(WatchTest, RetryAfterIsWaitedFor) {
  Fault busy;
  busy.status = 429;
  busy.headers = {{"Retry-After", "7"}};
  stub_.Add(busy);
  const auto watch = Open();
  ASSERT_TRUE(clock_.WaitForSleepers(1));
  const SteadyTime before = clock_.Steady();
  clock_.AdvanceToNextSleeper();
  EXPECT_EQ(clock_.Steady() - before, absl::Seconds(7));
  EXPECT_TRUE(Told(1));
}

TEST_P(WatchTest, ARefusedTokenIsReadAgain) {
  const auto watch = Opened();
  stub_.AcceptTokens({"second"});
  directory_.Write("token", "second");
  stub_.EndWatches(false);
  ASSERT_TRUE(WaitUntil([&] {
    clock_.AdvanceToNextSleeper();
    return Watches().size() == 2;
  }));
  EXPECT_EQ(Watches()[1].token, "second");
  stub_.Write(absl::StrCat(kMaps, "state-a"), kOurs);
  EXPECT_TRUE(Told(2));
}

TEST_P(WatchTest, AMissingPermissionIsNamed) {
  Order("", -1, 403);
  const auto watch = Open();
  ASSERT_TRUE(WaitUntil([&] { return absl::IsPermissionDenied(watch->State().problem); }));
  EXPECT_TRUE(absl::StrContains(watch->State().problem.message(), "configmaps: HTTP 403"))
      << watch->State().problem;
}

TEST_P(ToldByTheTest, WhatIsNoEventBeginsAnew) {
  const std::string cases[] = {"<html>", R"({"type":"MODIFIED","object":{}})",
                               R"({"type":"ERROR","object":{"code":500,"message":"etcd"}})",
                               std::string(300 << 10, 'x')};
  const auto watch = Opened();
  int lists = 1;
  for (const std::string& line : cases) {
    stub_.Tell(line);
    ASSERT_TRUE(WaitUntil([&] { return !watch->State().problem.ok(); })) << line.substr(0, 80);
    const size_t watches = Watches().size();
    ++lists;
    ASSERT_TRUE(WaitUntil([&] {
      clock_.AdvanceToNextSleeper();
      return Watches().size() > watches && Lists() == lists;
    })) << line.substr(0, 80);
    stub_.Write(absl::StrCat(kMaps, "state-a"), kOurs);
    ASSERT_TRUE(WaitUntil([&] { return watch->State().problem.ok(); }));
  }
}

TEST_P(WatchTest, ItsEndWaitsForNobody) {
  auto quiet = Opened();
  const auto begun = std::chrono::steady_clock::now();
  quiet.reset();
  Fault fault;
  fault.what = Fault::kHoldBefore;
  stub_.Add(fault);
  auto hung = Open();
  ASSERT_TRUE(WaitUntil([&] { return stub_.held() == 1; }));
  hung.reset();
  Order("", -1, 500);
  auto waits = Open();
  ASSERT_TRUE(clock_.WaitForSleepers(1));
  waits.reset();
  EXPECT_LT(std::chrono::steady_clock::now() - begun, std::chrono::seconds(4));
}

INSTANTIATE_ON_EVERY_SERVER(WatchTest);
INSTANTIATE_TEST_SUITE_P(Against, ToldByTheTest, testing::Values(ServerKind::kStub), NameOf);

}  // namespace
}  // namespace failover::kubernetes
