#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/unit/azure/worker_fixture.h"

namespace failover::azure {
namespace {

using core::CallStatus;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::StartsWith;
using State = core::OperationPolled::State;

constexpr char kHandle[] = "https://arm.example/op/d2V1Og==?api-version=2022-08-01";
constexpr char kIdle[] =
    R"({"name":"apim-weu","sku":{"name":"Premium"},"properties":{"provisioningState":"Succeeded","targetProvisioningState":""}})";

TEST_F(WorkerTest, ABackupIsPostedOnceWithTokenBodyAndOperationId) {
  On("POST", 202, "", {{"Location", kHandle}, {"Retry-After", "60"}});
  const auto started = CarryOut<core::OperationStarted>(Backup());
  EXPECT_EQ(started.call, 7u);
  EXPECT_EQ(started.operation_id, kOperation);
  EXPECT_EQ(started.result.status, CallStatus::kOk);
  EXPECT_EQ(started.handle, kHandle);
  EXPECT_EQ(started.retry_after_s, 60);
  ASSERT_EQ(wire_.requests.size(), 2u);
  const HttpRequest& post = wire_.requests[1];
  EXPECT_EQ(post.url, absl::StrCat(kArm, kWeu, "/backup?api-version=2022-08-01"));
  EXPECT_EQ(HeaderOf(post, "Authorization"), "Bearer token1");
  EXPECT_THAT(HeaderOf(post, "x-ms-client-request-id"), StartsWith("01234567-89ab-cdef-"));
  EXPECT_THAT(post.body, HasSubstr("SystemAssignedManagedIdentity"));
  EXPECT_THAT(observed_, ElementsAre("entra token 200", "apim backup 202"));
  EXPECT_THAT(request_ids_, ElementsAre("", StartsWith("01234567-89ab-cdef-")))
      << "by which log, Azure and exemplar name the same request";
}

TEST_F(WorkerTest, ARestoreWithAnAccessKeyCarriesTheKeyOfTheFile) {
  On("POST", 202, "", {{"Location", kHandle}});
  core::StartRestore restore{
      1, kOperation, "apim-neu", kNeu, "b", Storage(), clock_.Steady() + absl::Seconds(10)};
  restore.storage.set_access("AccessKey");
  EXPECT_EQ(CarryOut<core::OperationStarted>(restore).result.status, CallStatus::kOk);
  EXPECT_THAT(wire_.requests.back().url, HasSubstr("/apim-neu/restore?"));
  EXPECT_THAT(wire_.requests.back().body, HasSubstr(R"("accessKey":"a2V5a2V5")"));
}

TEST_F(WorkerTest, AMissingKeyFileSendsNothingAndIsNamed) {
  GroupAzure group = Group();
  group.storage_access_key_file = dir_.path() + "/no-such-key";
  shared_.SetGroups({group});
  core::StartBackup backup = Backup();
  backup.storage.set_access("AccessKey");
  const auto started = CarryOut<core::OperationStarted>(backup);
  EXPECT_EQ(started.result.status, CallStatus::kNotSent);
  EXPECT_THAT(started.result.error.message(), HasSubstr("no-such-key"));
  EXPECT_EQ(wire_.requests.size(), 0u);
}

TEST_F(WorkerTest, ACommandWhoseMomentHasPassedIsNotSent) {
  core::StartBackup backup = Backup();
  backup.send_by = clock_.Steady();
  const auto started = CarryOut<core::OperationStarted>(backup);
  EXPECT_EQ(started.result.status, CallStatus::kNotSent);
  EXPECT_EQ(started.result.error.http_status(), 0);
  EXPECT_EQ(wire_.Count("POST https://arm.example"), 0);
}

TEST_F(WorkerTest, TheMomentCountsAfterTheTokenWasFetched) {
  core::StartBackup backup = Backup();
  On("POST", 202, "", {{"Location", kHandle}});
  wire_.answer = [&](const HttpRequest& request) {
    if (absl::StrContains(request.url, "oauth2")) clock_.Advance(absl::Seconds(31));
    return AnswerTo(request);
  };
  EXPECT_EQ(CarryOut<core::OperationStarted>(backup).result.status, CallStatus::kNotSent);
  EXPECT_EQ(wire_.Count("POST https://arm.example"), 0);
}

TEST_F(WorkerTest, TheConnectionMustStandBeforeTheMomentHasPassed) {
  On("POST", 202, "", {{"Location", kHandle}});
  core::StartBackup backup = Backup();
  backup.send_by = clock_.Steady() + absl::Milliseconds(300);
  CarryOut<core::OperationStarted>(backup);
  EXPECT_EQ(wire_.requests.back().connect_timeout, absl::Milliseconds(300));
}

TEST_F(WorkerTest, ALostAnswerIsUnclearAndNeverRepeated) {
  On("POST", [](const HttpRequest&) { return Lost(true); });
  EXPECT_EQ(CarryOut<core::OperationStarted>(Backup()).result.status, CallStatus::kUnclear);
  EXPECT_EQ(wire_.Count("/backup?"), 1);
}

TEST_F(WorkerTest, ARequestOfWhichNoByteLeftIsNotSent) {
  On("POST", [](const HttpRequest&) { return Lost(false); });
  const auto started = CarryOut<core::OperationStarted>(Backup());
  EXPECT_EQ(started.result.status, CallStatus::kNotSent);
  EXPECT_EQ(started.result.error.message(), "the connection was lost");
  EXPECT_THAT(observed_, Contains("apim backup connect_error"));
}

TEST_F(WorkerTest, NoAnswerToAPostIsEverRepeated) {
  for (const int status : {400, 403, 404, 408, 409, 429, 500, 502, 503, 504}) {
    wire_.requests.clear();
    On("POST", status, R"({"error":{"code":"ServiceLocked","message":"m"}})",
       {{"Retry-After", "1"}, {"x-ms-request-id", "r1"}});
    const auto started = CarryOut<core::OperationStarted>(Backup());
    const bool definite = status == 400 || status == 403 || status == 404 || status == 429;
    EXPECT_EQ(started.result.status, definite ? CallStatus::kFailed : CallStatus::kUnclear)
        << status;
    EXPECT_EQ(started.result.error.http_status(), status);
    EXPECT_EQ(started.result.error.code(), "ServiceLocked");
    EXPECT_EQ(started.result.error.request_id(), "r1");
    EXPECT_EQ(wire_.Count("/backup?"), 1) << status;
  }
}

TEST_F(WorkerTest, A401IsAnsweredWithANewTokenOnce) {
  On("POST", [](const HttpRequest& request) {
    if (HeaderOf(request, "Authorization") == "Bearer token1") return Answered(401);
    return Answered(202, "", {{"Location", kHandle}});
  });
  EXPECT_EQ(CarryOut<core::OperationStarted>(Backup()).result.status, CallStatus::kOk);
  EXPECT_EQ(wire_.Count("/backup?"), 2);
  On("POST", 401);
  wire_.requests.clear();
  EXPECT_EQ(CarryOut<core::OperationStarted>(Backup()).result.status, CallStatus::kFailed);
  EXPECT_EQ(wire_.Count("/backup?"), 2);
}

TEST_F(WorkerTest, WithoutATokenNothingIsSent) {
  token_fails_ = true;
  const auto started = CarryOut<core::OperationStarted>(Backup());
  EXPECT_EQ(started.result.status, CallStatus::kNotSent);
  EXPECT_THAT(started.result.error.message(), HasSubstr("no token from Entra"));
  EXPECT_EQ(wire_.Count("arm.example/sub"), 0);
}

TEST_F(WorkerTest, AnUnknownGroupSendsNothing) {
  const auto event = worker_->CarryOut("other", Backup());
  EXPECT_EQ(std::get<core::OperationStarted>(*event).result.status, CallStatus::kNotSent);
  EXPECT_EQ(wire_.requests.size(), 0u);
}

TEST_F(WorkerTest, APollFollowsTheHandleVerbatimEvenForARemovedGroup) {
  shared_.SetGroups({});
  On("GET", 202, "", {{"Retry-After", "30"}});
  const auto polled =
      CarryOut<core::OperationPolled>(core::PollOperation{9, kOperation, "apim-weu", kHandle});
  EXPECT_EQ(polled.call, 9u);
  EXPECT_TRUE(polled.state == State::kRunning);
  EXPECT_EQ(polled.retry_after_s, 30);
  EXPECT_EQ(wire_.requests.back().url, kHandle);
}

TEST_F(WorkerTest, AHandleOnAnotherHostGetsNoToken) {
  const auto polled = CarryOut<core::OperationPolled>(
      core::PollOperation{9, kOperation, "apim-weu", "https://evil.example/op"});
  EXPECT_TRUE(polled.state == State::kGone);
  EXPECT_THAT(polled.error.message(), HasSubstr("evil.example"));
  EXPECT_EQ(wire_.requests.size(), 0u);
}

TEST_F(WorkerTest, APollThatIsNotAnsweredIsTransientAndNotRepeatedHere) {
  On("GET", [](const HttpRequest&) { return Lost(true); });
  const auto polled =
      CarryOut<core::OperationPolled>(core::PollOperation{9, kOperation, "apim-weu", kHandle});
  EXPECT_TRUE(polled.state == State::kUnknown);
  EXPECT_NE(polled.error.message(), "");
  EXPECT_EQ(wire_.Count("GET"), 1);
}

TEST_F(WorkerTest, ATokenIsRefreshedWhilePollsGoOnForHours) {
  On("GET", 202);
  for (int i = 0; i < 300; ++i) {
    CarryOut<core::OperationPolled>(core::PollOperation{1, kOperation, "apim-weu", kHandle});
    clock_.Advance(absl::Minutes(1));
    EXPECT_GE(shared_.TokenExpiry() - clock_.Wall(), absl::Minutes(10));
  }
  EXPECT_GE(tokens_, 7);
  EXPECT_LE(tokens_, 8);
}

core::InspectOperation Inspect(v1::OperationKind kind, const v1::Storage& storage,
                               absl::Time intent) {
  core::InspectOperation inspect;
  inspect.operation.set_id(kOperation);
  inspect.operation.set_kind(kind);
  inspect.operation.set_service("apim-weu");
  inspect.operation.set_resource_id(kWeu);
  inspect.operation.set_blob("orders/apim-weu/x");
  inspect.operation.set_intent_ms(absl::ToUnixMillis(intent));
  *inspect.operation.mutable_storage() = storage;
  return inspect;
}

TEST_F(WorkerTest, AnAmbiguousBackupIsLookedForInServiceAndBlob) {
  On("apim-weu?api", 200, kIdle);
  const core::InspectOperation inspect =
      Inspect(v1::OPERATION_KIND_BACKUP, Storage(), clock_.Wall());
  auto look = CarryOut<core::OperationInspected>(inspect);
  EXPECT_EQ(look.result.status, CallStatus::kOk);
  EXPECT_TRUE(look.service_idle);
  EXPECT_FALSE(look.blob_exists);
  On("HEAD https://contosodr.blob.example/apim-backups/orders/apim-weu/x", 200, "",
     {{"Content-Length", "9"}, {"Last-Modified", "Mon, 23 Nov 2026 21:05:00 GMT"}});
  look = CarryOut<core::OperationInspected>(inspect);
  EXPECT_TRUE(look.blob_exists);
  EXPECT_EQ(look.blob_size, 9);
  On("HEAD", 403);
  EXPECT_EQ(CarryOut<core::OperationInspected>(inspect).result.status, CallStatus::kFailed);
}

TEST_F(WorkerTest, AnAmbiguousRestoreIsReadOnlyWhenTheServiceIsIdle) {
  const core::InspectOperation inspect =
      Inspect(v1::OPERATION_KIND_RESTORE, Storage(), clock_.Wall());
  On("policies", 404);
  On("GET", 200, R"({"value":[]})");
  On("policies/policy", 404);
  On("apim-weu?api", 200,
     R"({"sku":{"name":"Premium"},"properties":{"provisioningState":"Updating"}})");
  auto look = CarryOut<core::OperationInspected>(inspect);
  EXPECT_EQ(look.result.status, CallStatus::kOk);
  EXPECT_FALSE(look.service_idle);
  EXPECT_EQ(look.fingerprint.kinds_size(), 0);
  On("apim-weu?api", 200, kIdle);
  look = CarryOut<core::OperationInspected>(inspect);
  EXPECT_TRUE(look.service_idle);
  EXPECT_GT(look.fingerprint.kinds_size(), 0);
  ASSERT_NE(look.entities, nullptr);
  On("apim-weu?api", 500);
  EXPECT_EQ(CarryOut<core::OperationInspected>(inspect).result.status, CallStatus::kFailed);
}

core::RunPreflight Preflight(const v1::Storage& storage) {
  return {3, "sync-1", {"apim-weu", "apim-neu"}, storage};
}

TEST_F(WorkerTest, APreflightCreatesTheContainerAndTellsAboutEveryService) {
  On("PUT", 201);
  On("apim-weu?api", 200, kIdle);
  On("apim-neu?api", 200,
     R"({"sku":{"name":"StandardV2"},"properties":{"provisioningState":"Succeeded"}})");
  const auto done = CarryOut<core::PreflightDone>(Preflight(Storage()));
  EXPECT_EQ(done.result.status, CallStatus::kOk);
  EXPECT_EQ(wire_.Count("PUT https://contosodr.blob.example/apim-backups?restype=container"), 1);
  ASSERT_EQ(done.services.size(), 2u);
  EXPECT_EQ(done.services[0].service, "apim-weu");
  EXPECT_TRUE(done.services[0].reachable && done.services[0].idle);
  EXPECT_EQ(done.services[0].refused, "");
  EXPECT_THAT(done.services[1].refused, HasSubstr("StandardV2"));
}

TEST_F(WorkerTest, APreflightRefusesWorkspacesAndWarnsAboutHostNames) {
  On("HEAD", 200);
  On("apim-weu?api", 200,
     R"({"sku":{"name":"Premium"},"properties":{"provisioningState":"Succeeded","hostnameConfigurations":[{"type":"Proxy","hostName":"api.contoso.com"}]}})");
  On("apim-neu?api", 200, kIdle);
  On("apim-neu/workspaces", 200, R"({"value":[{"name":"team"}]})");
  const auto done = CarryOut<core::PreflightDone>(Preflight(Storage()));
  EXPECT_EQ(done.services[0].refused, "");
  EXPECT_THAT(done.services[1].refused, HasSubstr("team"));
  EXPECT_THAT(done.warnings, Contains(HasSubstr("apim-neu lacks the host name api.contoso.com")));
}

TEST_F(WorkerTest, APreflightFailsWhenStorageOrTokenFailsAndSaysWhy) {
  On("HEAD", 403, "", {{"x-ms-error-code", "AuthenticationFailed"}});
  const auto refused = CarryOut<core::PreflightDone>(Preflight(Storage()));
  EXPECT_EQ(refused.result.status, CallStatus::kFailed);
  EXPECT_EQ(refused.result.error.code(), "AuthenticationFailed");
  EXPECT_THAT(refused.result.error.message(), HasSubstr("apim-backups"));
  clock_.Advance(absl::Hours(2));
  token_fails_ = true;
  EXPECT_THAT(CarryOut<core::PreflightDone>(Preflight(Storage())).result.error.message(),
              HasSubstr("Entra"));
}

TEST_F(WorkerTest, AServiceThatCannotBeReadDoesNotFailThePreflight) {
  On("HEAD", 200);
  On("apim-weu?api", 200, kIdle);
  core::RunPreflight preflight = Preflight(Storage());
  preflight.services.push_back("apim-unknown");
  const auto done = CarryOut<core::PreflightDone>(preflight);
  EXPECT_EQ(done.result.status, CallStatus::kOk);
  EXPECT_FALSE(done.services[1].reachable);
  EXPECT_EQ(done.services[1].error.code(), "ResourceNotFound");
  EXPECT_THAT(done.services[2].error.message(), HasSubstr("apim-unknown"));
}

TEST_F(WorkerTest, ReadsAreRepeatedAfterRetryAfterWithinBounds) {
  int failures = 2;
  On("apim-weu?api", [&](const HttpRequest&) {
    if (failures-- > 0) return Answered(503, "", {{"Retry-After", "7"}});
    return Answered(200, kIdle);
  });
  On("HEAD", 200);
  const SteadyTime begun = clock_.Steady();
  EXPECT_TRUE(CarryOut<core::PreflightDone>(Preflight(Storage())).services[0].reachable);
  EXPECT_EQ(clock_.Steady() - begun, absl::Seconds(14));
  failures = 100;
  wire_.requests.clear();
  EXPECT_FALSE(CarryOut<core::PreflightDone>(Preflight(Storage())).services[0].reachable);
  EXPECT_EQ(wire_.Count("apim-weu?api"), 3);
}

TEST_F(WorkerTest, ALongRetryAfterIsNotWaitedFor) {
  On("HEAD", 200);
  On("apim-weu?api", 429, "", {{"Retry-After", "600"}});
  const SteadyTime begun = clock_.Steady();
  EXPECT_FALSE(CarryOut<core::PreflightDone>(Preflight(Storage())).services[0].reachable);
  EXPECT_EQ(clock_.Steady() - begun, absl::ZeroDuration());
}

TEST_F(WorkerTest, CommandsOfOthersAreNotAnswered) {
  EXPECT_FALSE(worker_->CarryOut("orders", core::RequestBurst{}).has_value());
  EXPECT_FALSE(worker_->CarryOut("orders", core::Reply{}).has_value());
  EXPECT_FALSE(worker_->CarryOut("orders", core::Note{}).has_value());
}

TEST_F(WorkerTest, KeepingWarmIsCheapWhenItIsWarm) {
  worker_->KeepWarm();
  const size_t first = wire_.requests.size();
  EXPECT_EQ(first, 2u);  // token and one call
  worker_->KeepWarm();
  EXPECT_EQ(wire_.requests.size(), first);
  clock_.Advance(absl::Minutes(1));
  worker_->KeepWarm();
  EXPECT_EQ(wire_.requests.size(), first + 1);
}

TEST(NotComparedTest, TheListIsInWords) {
  EXPECT_GE(NotCompared().size(), 10u);
  EXPECT_THAT(NotCompared(), Contains(HasSubstr("certificates")));
}

}  // namespace
}  // namespace failover::azure
