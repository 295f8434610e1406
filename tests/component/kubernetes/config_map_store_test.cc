#include "controller/kubernetes/config_map_store.h"

#include <gtest/gtest.h>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "controller/store/file_format.h"
#include "tests/kubernetes_stub/api_server.h"
#include "tests/support/fake_clock.h"
#include "tests/support/wait_until.h"

namespace failover::kubernetes {
namespace {

using Fault = KubernetesStub::Fault;
using store::HistoryIntact;
using store::Store;
using store::Versioned;

class ConfigMapStoreTest : public testing::TestWithParam<ServerKind> {
 protected:
  void SetUp() override {
    if (GetParam() == ServerKind::kReal && RealServerOfTests() == nullptr)
      GTEST_SKIP() << kNoRealServer;
  }
  static constexpr char kMap[] = "/api/v1/namespaces/dr/configmaps/state-orders-api";

  std::unique_ptr<Store> Open(std::function<absl::Status()> may_write = nullptr) {
    ConfigMapStoreOptions options;
    options.server = {stub_.url(), "dr", "", ""};
    options.prefix = "state";
    options.clock = &clock_;
    options.may_write = std::move(may_write);
    absl::StatusOr<std::unique_ptr<Store>> store = OpenConfigMapStore(std::move(options));
    EXPECT_TRUE(store.ok()) << store.status();
    return *std::move(store);
  }
  static v1::GroupRecord Record(uint64_t term = 1) {
    v1::GroupRecord record;
    record.set_schema_version(1);
    record.set_name("orders-api");
    record.set_term(term);
    record.add_history()->set_text(absl::StrCat("term ", term));
    return record;
  }
  void Order(Fault::What what, const std::string& method, int times = 1, int status = 500,
             const std::string& reason = "") {
    Fault fault;
    fault.what = what;
    fault.method = method;
    fault.times = times;
    fault.status = status;
    fault.reason = reason;
    stub_.Add(fault);
  }
  std::string Text() { return stub_.Field(kMap, "/data/record"); }
  uint64_t StoredTerm() { return Open()->Load("orders-api")->record.term(); }

  KubernetesStub stub_{ServerOf(GetParam())};
  FakeClock clock_;
};

TEST_P(ConfigMapStoreTest, AnEmptyNamespaceHasNoRecords) {
  const auto store = Open();
  EXPECT_TRUE(absl::IsNotFound(store->Load("orders-api").status()));
  EXPECT_TRUE(store->List()->empty());
  EXPECT_TRUE(store->Healthy().ok());
}

TEST_P(ConfigMapStoreTest, ARecordSurvivesANewProcess) {
  v1::GroupRecord record = Record(4);
  const std::string version = Open()->Save(record, "").value();
  const absl::StatusOr<Versioned> read = Open()->Load("orders-api");
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->version, version);
  EXPECT_EQ(read->record.SerializeAsString(), record.SerializeAsString());
}

TEST_P(ConfigMapStoreTest, SavingSealsTheHistory) {
  const auto store = Open();
  v1::GroupRecord record = Record();
  ASSERT_TRUE(store->Save(record, "").ok());
  EXPECT_FALSE(record.history(0).hash().empty());
  EXPECT_TRUE(HistoryIntact(store->Load("orders-api")->record));
}

TEST_P(ConfigMapStoreTest, OnlyTheExpectedVersionIsReplaced) {
  const auto store = Open();
  v1::GroupRecord record = Record(1);
  const std::string first = store->Save(record, "").value();
  EXPECT_TRUE(absl::IsAborted(store->Save(record, "").status()));
  const std::string second = store->Save(record, first).value();
  EXPECT_NE(first, second);  // although nothing changed
  const absl::Status late = store->Save(record, first).status();
  EXPECT_TRUE(absl::IsAborted(late)) << late;
  EXPECT_EQ(store->Load("orders-api")->version, second);
}

TEST_P(ConfigMapStoreTest, AWriteOfAnotherControllerIsNoticedWithoutAReading) {
  const auto store = Open();
  v1::GroupRecord record = Record(1), others = Record(7);
  const std::string version = store->Save(record, "").value();
  ASSERT_TRUE(Open()->Save(others, version).ok());
  const int reads = stub_.Count("GET");
  EXPECT_TRUE(absl::IsAborted(store->Save(record, version).status()));
  EXPECT_EQ(stub_.Count("GET"), reads);
  EXPECT_EQ(StoredTerm(), 7u);
}

TEST_P(ConfigMapStoreTest, ARecordThatVanishedIsNotWrittenAnew) {
  const auto store = Open();
  v1::GroupRecord record = Record();
  const std::string version = store->Save(record, "").value();
  stub_.Delete(kMap);
  EXPECT_TRUE(absl::IsAborted(store->Save(record, version).status()));
  EXPECT_FALSE(stub_.Has(kMap));
}

TEST_P(ConfigMapStoreTest, EveryWriteCountsAndKeepsWhatOthersPutIntoTheObject) {
  const auto store = Open();
  v1::GroupRecord record = Record();
  std::string version = store->Save(record, "").value();
  EXPECT_TRUE(absl::StrContains(Text(), " write=1 ")) << Text();
  EXPECT_EQ(stub_.Field(kMap, "/metadata/labels/app.kubernetes.io~1managed-by"), "apim-failover");
  stub_.Write(kMap, R"({"metadata":{"annotations":{"team":"edge"}}})");
  version = store->Load("orders-api")->version;
  ASSERT_TRUE(store->Save(record, version).ok());
  EXPECT_TRUE(absl::StrContains(Text(), " write=2 ")) << Text();
  EXPECT_EQ(stub_.Field(kMap, "/metadata/annotations/team"), "edge");
  // A version that this process has not read itself.
  version = store->Load("orders-api")->version;
  ASSERT_TRUE(Open()->Save(record, version).ok());
  EXPECT_TRUE(absl::StrContains(Text(), " write=3 ")) << Text();
}

TEST_P(ConfigMapStoreTest, ListNamesEveryGroupWithItsVersionOverSeveralPages) {
  const auto store = Open();
  std::map<std::string, std::string> expected;
  for (int i = 0; i < 7; ++i) {
    v1::GroupRecord record = Record();
    record.set_name(absl::StrCat("g-", i));
    expected[record.name()] = store->Save(record, "").value();
  }
  stub_.Write("/api/v1/namespaces/dr/configmaps/state-of-somebody", R"({"data":{}})");
  stub_.SetPage(3);
  EXPECT_EQ(*store->List(), expected);
  EXPECT_GE(stub_.Count("GET", "continue="), 2);
}

TEST_P(ConfigMapStoreTest, ARecordOfTheControllerItselfIsNoGroups) {
  const auto store = Open();
  v1::GroupRecord own = Record(1), group = Record(2);
  own.set_name("@orders-api");
  const std::string own_version = store->Save(own, "").value();
  const std::string group_version = store->Save(group, "").value();
  EXPECT_TRUE(stub_.Has("/api/v1/namespaces/dr/configmaps/state.orders-api"));
  EXPECT_EQ(store->Load("@orders-api")->record.term(), 1u);
  EXPECT_EQ(store->Load("orders-api")->record.term(), 2u);
  const std::map<std::string, std::string> expected = {{"@orders-api", own_version},
                                                       {"orders-api", group_version}};
  EXPECT_EQ(*store->List(), expected);
}

TEST_P(ConfigMapStoreTest, AListThatHasExpiredBeginsAgain) {
  const auto store = Open();
  for (int i = 0; i < 4; ++i) {
    v1::GroupRecord record = Record();
    record.set_name(absl::StrCat("g-", i));
    ASSERT_TRUE(store->Save(record, "").ok());
  }
  stub_.SetPage(2);
  Fault expired;
  expired.path_part = "continue=";
  expired.status = 410;
  expired.reason = "Expired";
  stub_.Add(expired);
  EXPECT_EQ(store->List()->size(), 4u);
  expired.times = -1;
  stub_.Add(expired);
  EXPECT_TRUE(absl::IsUnavailable(store->List().status()));
}

TEST_P(ConfigMapStoreTest, ADamagedRecordIsRefusedAndKept) {
  v1::GroupRecord record = Record();
  ASSERT_TRUE(Open()->Save(record, "").ok());
  std::string damaged = Text();
  stub_.Write(kMap, R"({"data":{"record":"garbage"}})");
  const absl::Status garbage = Open()->Load("orders-api").status();
  EXPECT_TRUE(absl::IsDataLoss(garbage)) << garbage;
  EXPECT_TRUE(absl::StrContains(garbage.message(), "configmap/state-orders-api of namespace dr"))
      << garbage;
  EXPECT_EQ(Text(), "garbage");
  stub_.Write(kMap, R"({"data":{"record":null}})");
  EXPECT_TRUE(absl::IsDataLoss(Open()->Load("orders-api").status()));
  EXPECT_TRUE(absl::IsAborted(Open()->Save(record, "").status()));
}

TEST_P(ConfigMapStoreTest, ARecordOfANewerVersionIsRefused) {
  v1::GroupRecord record = Record();
  ASSERT_TRUE(Open()->Save(record, "").ok());
  stub_.Write(kMap, R"({"data":{"record":"apim-failover-state schema=2 anything\n{}"}})");
  EXPECT_TRUE(absl::IsFailedPrecondition(Open()->Load("orders-api").status()))
      << Open()->Load("orders-api").status();
}

TEST_P(ConfigMapStoreTest, AHistoryThatDoesNotFitLosesItsOldestEntries) {
  const auto store = Open();
  v1::GroupRecord record = Record();
  for (int i = 0; i < 499; ++i) {
    record.add_history()->set_text(absl::StrCat(i, " ", std::string(900, 'x')));
  }
  const std::string version = store->Save(record, "").value();
  EXPECT_EQ(record.history_size(), 500) << "in memory it stays whole";
  EXPECT_LE(Text().size(), kMaxRecordBytes);
  EXPECT_GT(Text().size(), kMaxRecordBytes * 3 / 4);
  const v1::GroupRecord stored = Open()->Load("orders-api")->record;
  EXPECT_TRUE(HistoryIntact(stored));
  EXPECT_GT(stored.history_size(), 150);
  EXPECT_EQ(stored.history(stored.history_size() - 1).text(), record.history(499).text());
  EXPECT_TRUE(store->Save(record, version).ok());
}

TEST_P(ConfigMapStoreTest, ARecordThatIsTooLargeWithoutItsHistoryIsRefused) {
  v1::GroupRecord record = Record();
  record.set_frozen_reason(std::string(kMaxRecordBytes, 'x'));
  const absl::Status status = Open()->Save(record, "").status();
  EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
  EXPECT_TRUE(stub_.Requests().empty());
}

TEST_P(ConfigMapStoreTest, NamesAndSchemasThatCannotBeWrittenAreRefused) {
  const auto store = Open();
  v1::GroupRecord record = Record();
  for (const char* name : {"", "@", "Not/One", "a.b", "@@a", "-a"}) {
    record.set_name(name);
    EXPECT_TRUE(absl::IsInvalidArgument(store->Save(record, "").status())) << name;
    EXPECT_TRUE(absl::IsNotFound(store->Load(name).status())) << name;
  }
  record = Record();
  record.set_schema_version(2);
  EXPECT_TRUE(absl::IsInvalidArgument(store->Save(record, "").status()));
  EXPECT_TRUE(stub_.Requests().empty());
}

TEST_P(ConfigMapStoreTest, WhoDoesNotLeadWritesNothing) {
  absl::Status leads = absl::UnavailableError("this controller does not lead");
  const auto store = Open([&leads] { return leads; });
  v1::GroupRecord record = Record();
  EXPECT_TRUE(absl::IsUnavailable(store->Save(record, "").status()));
  EXPECT_TRUE(absl::IsUnavailable(store->Healthy()));
  EXPECT_TRUE(stub_.Requests().empty());
  EXPECT_TRUE(absl::IsNotFound(store->Load("orders-api").status())) << "it may read";
  leads = absl::OkStatus();
  EXPECT_TRUE(store->Save(record, "").ok());
}

// What a write that failed leaves behind, and that the next one of the same process goes on.
TEST_P(ConfigMapStoreTest, AWriteWhoseAnswerIsLostIsFoundToBeOurs) {
  for (const bool done : {false, true}) {
    for (const bool first : {false, true}) {
      stub_.Delete(kMap);
      const auto store = Open();
      v1::GroupRecord record = Record(1);
      const std::string base = first ? "" : store->Save(record, "").value();
      record.set_term(2);
      Order(done ? Fault::kDropAfter : Fault::kDropBefore, first ? "POST" : "PATCH", 1);
      EXPECT_TRUE(absl::IsUnavailable(store->Save(record, base).status())) << done << first;
      record.set_term(3);
      const absl::StatusOr<std::string> again = store->Save(record, base);
      ASSERT_TRUE(again.ok()) << done << first << again.status();
      EXPECT_EQ(StoredTerm(), 3u);
      record.set_term(4);
      EXPECT_TRUE(store->Save(record, *again).ok());
    }
  }
}

TEST_P(ConfigMapStoreTest, SeveralLostAnswersInARowAreFoundToBeOurs) {
  const auto store = Open();
  v1::GroupRecord record = Record(1);
  const std::string base = store->Save(record, "").value();
  Order(Fault::kDropAfter, "PATCH", 1);
  record.set_term(2);
  EXPECT_TRUE(absl::IsUnavailable(store->Save(record, base).status()));
  Order(Fault::kDropBefore, "PATCH", 1);
  record.set_term(3);
  EXPECT_TRUE(absl::IsUnavailable(store->Save(record, base).status()));
  record.set_term(4);
  ASSERT_TRUE(store->Save(record, base).ok());
  EXPECT_EQ(StoredTerm(), 4u);
}

TEST_P(ConfigMapStoreTest, AfterALostAnswerAWriteOfAnotherIsStillRespected) {
  const auto store = Open();
  v1::GroupRecord record = Record(1), others = Record(9);
  const std::string base = store->Save(record, "").value();
  Order(Fault::kDropBefore, "PATCH");
  record.set_term(2);
  EXPECT_TRUE(absl::IsUnavailable(store->Save(record, base).status()));
  ASSERT_TRUE(Open()->Save(others, base).ok());
  EXPECT_TRUE(absl::IsAborted(store->Save(record, base).status()));
  EXPECT_EQ(StoredTerm(), 9u);
}

TEST_P(ConfigMapStoreTest, ALoadEndsTheClaimOnWritesWithoutAnswer) {
  const auto store = Open();
  v1::GroupRecord record = Record(1);
  const std::string base = store->Save(record, "").value();
  Order(Fault::kHoldBefore, "PATCH");
  record.set_term(2);
  absl::Status lost;
  std::thread write([&] { lost = store->Save(record, base).status(); });
  ASSERT_TRUE(WaitUntil([&] { return stub_.held() == 1; }));
  write.join();  // after its time-out of 5 s
  EXPECT_TRUE(absl::IsUnavailable(lost)) << lost;
  EXPECT_EQ(store->Load("orders-api")->record.term(), 1u);
  stub_.ReleaseHeld();
  ASSERT_TRUE(WaitUntil([&] { return absl::StrContains(Text(), "\"term\":\"2\""); }));
  EXPECT_TRUE(absl::IsAborted(store->Save(record, base).status()))
      << "what was loaded is no longer what stands there";
}

TEST_P(ConfigMapStoreTest, RefusalsAreUnavailableAndSayWhatTheServerSaid) {
  const auto store = Open();
  v1::GroupRecord record = Record();
  for (const int http : {401, 403, 422, 500, 503}) {
    Order(Fault::kAnswer, "", http == 401 ? 2 : 1, http, "Because");
    const absl::Status status = store->Save(record, "").status();
    EXPECT_TRUE(absl::IsUnavailable(status)) << status;
    EXPECT_TRUE(absl::StrContains(status.message(), absl::StrCat("HTTP ", http, " Because")))
        << status;
    Order(Fault::kAnswer, "", http == 401 ? 2 : 1, http, "Because");
    EXPECT_TRUE(absl::IsUnavailable(store->Load("orders-api").status())) << http;
    Order(Fault::kAnswer, "", http == 401 ? 2 : 1, http, "Because");
    EXPECT_TRUE(absl::IsUnavailable(store->List().status())) << http;
  }
  EXPECT_TRUE(store->Save(record, "").ok());
}

TEST_P(ConfigMapStoreTest, A404OfSomethingInBetweenIsNoMissingRecord) {
  Order(Fault::kAnswer, "GET", 1, 404);
  EXPECT_TRUE(absl::IsUnavailable(Open()->Load("orders-api").status()));
}

TEST_P(ConfigMapStoreTest, RetryAfterIsWaitedForWithoutAsking) {
  const auto store = Open();
  Fault busy;
  busy.status = 429;
  busy.headers = {{"Retry-After", "3"}};
  stub_.Add(busy);
  v1::GroupRecord record = Record();
  EXPECT_TRUE(absl::IsUnavailable(store->Save(record, "").status()));
  clock_.Advance(absl::Seconds(2.9));
  EXPECT_TRUE(absl::IsUnavailable(store->Save(record, "").status()));
  EXPECT_EQ(stub_.Requests().size(), 1u);
  clock_.Advance(absl::Seconds(0.1));
  EXPECT_TRUE(store->Save(record, "").ok());
}

TEST_P(ConfigMapStoreTest, AMissingNamespaceIsUnavailable) {
  KubernetesStub empty(std::set<std::string>{});
  ConfigMapStoreOptions options;
  options.server = {empty.url(), "dr", "", ""};
  options.prefix = "state";
  options.clock = &clock_;
  v1::GroupRecord record = Record();
  const absl::Status status = (*OpenConfigMapStore(std::move(options)))->Save(record, "").status();
  EXPECT_TRUE(absl::IsUnavailable(status)) << status;
  EXPECT_TRUE(absl::StrContains(status.message(), "namespaces \"dr\" not found")) << status;
}

TEST_P(ConfigMapStoreTest, APrefixThatIsNoNameIsRefused) {
  ConfigMapStoreOptions options;
  options.server = {stub_.url(), "dr", "", ""};
  options.clock = &clock_;
  for (const std::string& prefix :
       {std::string(), std::string("A"), std::string("a.b"), std::string(64, 'a')}) {
    options.prefix = prefix;
    EXPECT_TRUE(absl::IsInvalidArgument(OpenConfigMapStore(options).status())) << prefix;
  }
}

INSTANTIATE_ON_EVERY_SERVER(ConfigMapStoreTest);

}  // namespace
}  // namespace failover::kubernetes
