#include "controller/kubernetes/events.h"

#include <gtest/gtest.h>

#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"
#include "tests/kubernetes_stub/api_server.h"
#include "tests/support/fake_clock.h"
#include "tests/support/wait_until.h"

namespace failover::kubernetes {
namespace {

using nlohmann::json;
using Fault = KubernetesStub::Fault;

class EventsTest : public testing::TestWithParam<ServerKind> {
 protected:
  void SetUp() override {
    if (GetParam() == ServerKind::kReal && RealServerOfTests() == nullptr)
      GTEST_SKIP() << kNoRealServer;
  }
  std::unique_ptr<EventPublisher> Open() {
    EventPublisherOptions options;
    options.server = {stub_.url(), "dr", "", ""};
    options.instance = "controller-0";
    options.clock = &clock_;
    return std::make_unique<EventPublisher>(std::move(options));
  }
  static ClusterEvent Leads(const std::string& note = "controller-0 became leader") {
    ClusterEvent event;
    event.reason = "LeaderElection";
    event.action = "Acquire";
    event.note = note;
    event.name = "apim-failover";
    return event;
  }
  json Body(size_t request) { return json::parse(stub_.Requests().at(request).body); }
  bool Wait(const char* method, int count) {
    return WaitUntil([this, method, count] { return stub_.Count(method) == count; });
  }

  // Of the n-th request's event as the server has it.
  std::string Kept(size_t request, const std::string& pointer) {
    const std::string name = Body(request)["metadata"]["name"];
    return stub_.Field("/apis/events.k8s.io/v1/namespaces/dr/events/" + name, pointer);
  }

  KubernetesStub stub_{ServerOf(GetParam())};
  FakeClock clock_;
};

TEST_P(EventsTest, AnEventHasEveryFieldThatTheApiServerAsksForAndNoOther) {
  Open()->Publish(Leads());  // the end of the publisher writes it
  ASSERT_EQ(stub_.Requests().size(), 1u);
  EXPECT_EQ(stub_.Requests()[0].path, "/apis/events.k8s.io/v1/namespaces/dr/events");
  EXPECT_EQ(Kept(0, "/note"), "controller-0 became leader") << "the server takes it";
  json body = Body(0);
  EXPECT_TRUE(absl::StartsWith(body["metadata"]["name"].get<std::string>(), "apim-failover."));
  body["metadata"].erase("name");
  EXPECT_EQ(
      body,
      json::parse(R"({"apiVersion":"events.k8s.io/v1","kind":"Event","metadata":{"namespace":"dr"},
      "eventTime":"2026-05-28T20:26:40.000000Z","reportingController":"apim-failover.io/controller",
      "reportingInstance":"controller-0","type":"Normal","reason":"LeaderElection","action":"Acquire",
      "note":"controller-0 became leader","regarding":{"apiVersion":"coordination.k8s.io/v1","kind":"Lease",
      "namespace":"dr","name":"apim-failover"}})"));
}

TEST_P(EventsTest, AWarningAboutAConfigMapSaysSo) {
  ClusterEvent event = Leads();
  event.warning = true;
  event.about = ClusterEvent::kConfigMap;
  Open()->Publish(event);
  EXPECT_EQ(Body(0)["type"], "Warning");
  EXPECT_EQ(Body(0)["regarding"]["kind"], "ConfigMap");
  EXPECT_EQ(Body(0)["regarding"]["apiVersion"], "v1");
}

TEST_P(EventsTest, LongTextsAreCutAndSecretsHidden) {
  ClusterEvent event =
      Leads(absl::StrCat("client_secret=hunter2 ", std::string(1001, 'x'), "\xc3\xa4\xc3\xa4"));
  event.reason = std::string(200, 'R');
  event.name = std::string(253, 'n');
  Open()->Publish(event);
  const std::string note = Body(0)["note"];
  EXPECT_EQ(Kept(0, "/note"), note) << "the server takes it";
  EXPECT_LE(note.size(), 1024u);
  EXPECT_FALSE(absl::StrContains(note, "hunter2"));
  EXPECT_LE(Body(0)["reason"].get<std::string>().size(), 128u);
  EXPECT_LE(Body(0)["metadata"]["name"].get<std::string>().size(), 253u);
}

TEST_P(EventsTest, ARepetitionBecomesASeriesOnceAMinute) {
  const auto events = Open();
  events->Publish(Leads());
  ASSERT_TRUE(Wait("POST", 1));
  events->Publish(Leads("for another reason"));
  events->Publish(Leads());
  clock_.Advance(absl::Seconds(60));
  ASSERT_TRUE(Wait("PATCH", 1)) << "what waited for its minute is written without another event";
  const json body = Body(1);
  EXPECT_EQ(body["series"]["count"], 3);
  EXPECT_EQ(body["series"]["lastObservedTime"], "2026-05-28T20:26:40.000000Z");
  EXPECT_EQ(body.size(), 1u);
  EXPECT_EQ(stub_.Count("POST"), 1);
  EXPECT_TRUE(WaitUntil([this] { return Kept(0, "/series/count") == "3"; }));
  EXPECT_EQ(events->dropped(), 0u);
}

TEST_P(EventsTest, ARepetitionAfterSixMinutesIsANewEvent) {
  const auto events = Open();
  events->Publish(Leads());
  ASSERT_TRUE(Wait("POST", 1));
  clock_.Advance(absl::Minutes(6));
  events->Publish(Leads());
  EXPECT_TRUE(Wait("POST", 2));
  ClusterEvent other = Leads();
  other.name = "another";
  events->Publish(other);
  EXPECT_TRUE(Wait("POST", 3));
}

TEST_P(EventsTest, AnEventThatIsRefusedIsDroppedAndTheNextOneIsNotItsSeries) {
  const auto events = Open();
  Fault fault;
  fault.status = 403;
  stub_.Add(fault);
  events->Publish(Leads());
  ASSERT_TRUE(WaitUntil([&] { return events->dropped() == 1; }));
  events->Publish(Leads());
  EXPECT_TRUE(Wait("POST", 2));
  EXPECT_EQ(events->dropped(), 1u);
}

TEST_P(EventsTest, AServerThatAsksUsToWaitIsLeftAlone) {
  const auto events = Open();
  Fault fault;
  fault.status = 429;
  fault.headers = {{"Retry-After", "30"}};
  stub_.Add(fault);
  events->Publish(Leads());
  events->Publish(Leads());
  ASSERT_TRUE(WaitUntil([&] { return events->dropped() == 2; }));
  EXPECT_EQ(stub_.Count("POST"), 1);
  clock_.Advance(absl::Seconds(30));
  events->Publish(Leads());
  EXPECT_TRUE(Wait("POST", 2));
}

TEST_P(EventsTest, AHungServerHoldsUpNobody) {
  auto events = Open();
  Fault fault;
  fault.what = Fault::kHoldBefore;
  fault.times = -1;
  stub_.Add(fault);
  const auto begun = std::chrono::steady_clock::now();
  for (int i = 0; i < 300; ++i) {
    ClusterEvent event = Leads();
    event.name = absl::StrCat("n-", i);
    events->Publish(event);
  }
  EXPECT_LT(std::chrono::steady_clock::now() - begun, std::chrono::seconds(1));
  EXPECT_GE(events->dropped(), 40u) << "256 wait, one is under way";
  events.reset();
  EXPECT_LT(std::chrono::steady_clock::now() - begun, std::chrono::seconds(6));
}

INSTANTIATE_ON_EVERY_SERVER(EventsTest);

}  // namespace
}  // namespace failover::kubernetes
