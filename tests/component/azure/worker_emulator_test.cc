// A worker before the emulated Azure, over real HTTPS and HTTP.
#include <memory>
#include <string>
#include <utility>
#include <variant>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "controller/azure/worker.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/azure_emulator/emulator.h"
#include "tests/azure_emulator/world.h"
#include "tests/support/temp_dir.h"
#include "tests/support/wait_until.h"

namespace failover::azure {
namespace {

using core::CallStatus;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pair;
using State = core::OperationPolled::State;

constexpr char kGroupPath[] =
    "/subscriptions/00000000-0000-4000-8000-00000000abcd/resourceGroups/contoso-apis/providers/";
constexpr char kKey[] =
    "bm90IGEgcmVhbCBrZXk6IG1hZGUgZm9yIHRoZSBlbXVsYXRvciwgNjQgYnl0ZXMsIHdvcnRoIG5vdGhpbmcgLi4=";

std::string Id(const std::string& service) {
  return absl::StrCat(kGroupPath, "Microsoft.ApiManagement/service/", service);
}

class EmulatedAzureTest : public ::testing::Test {
 protected:
  void SetUp() override {
    emulator::EmulatorOptions options;
    options.directory = dir_.path();
    auto started = emulator::Emulator::StartFile(
        std::string(FAILOVER_SOURCE) + "/tests/testdata/worlds/two-services.json", options);
    ASSERT_TRUE(started.ok()) << started.status();
    emulator_ = *std::move(started);
    shared_ = std::make_unique<AzureShared>(Options(), RealClock(), nullptr);
    shared_->SetGroups({Group()});
    shared_->SetVerifyReadsPerSecond(5000);
    CurlHttpClientOptions http;
    http.ca_file = emulator_->endpoints().ca_file;
    worker_ = std::make_unique<Worker>(*shared_, NewCurlHttpClient(http), std::stop_token());
  }

  AzureOptions Options() {
    const emulator::Endpoints& endpoints = emulator_->endpoints();
    AzureOptions options;
    options.tenant_id = "00000000-0000-4000-8000-0000000000aa";
    options.client_id = "00000000-0000-4000-8000-0000000000c1";
    options.client_secret_file = dir_.Write("secret", "not-a-secret-only-for-the-emulator\n");
    options.arm_endpoint = endpoints.arm;
    options.authority_endpoint = endpoints.authority;
    options.arm_scope = "https://management.azure.com/.default";
    options.blob_endpoint = endpoints.blob + "/{account}";
    options.api_version = "2022-08-01";
    options.traffic_manager_api_version = "2022-04-01";
    return options;
  }
  GroupAzure Group() {
    GroupAzure group;
    group.group = "orders";
    group.resource_ids = {{"apim-weu", Id("apim-weu")}, {"apim-neu", Id("apim-neu")}};
    group.storage_access_key_file = dir_.Write("key", std::string(kKey) + "\n");
    group.traffic_manager_profile =
        absl::StrCat(kGroupPath, "Microsoft.Network/trafficmanagerprofiles/contoso-api");
    group.traffic_manager_endpoint_type = "ExternalEndpoints";
    group.traffic_endpoints = {{"apim-weu", "weu"}, {"apim-neu", "neu"}};
    group.fingerprint_key = "group key";
    return group;
  }
  static v1::Storage Storage(const char* access = "SystemAssignedManagedIdentity") {
    v1::Storage storage;
    storage.set_account("contosodr");
    storage.set_container("apim-backups");
    storage.set_access(access);
    return storage;
  }

  template <typename E>
  E CarryOut(const core::Command& command) {
    return std::get<E>(*worker_->CarryOut("orders", command));
  }
  void Control(const char* method, const std::string& path, const std::string& body) {
    const auto result = emulator_->Control(method, path, body);
    EXPECT_LT(result.status, 300) << result.body;
  }
  void Fault(const std::string& rule) { Control("POST", "/_emulator/faults", rule); }

  static SteadyTime Soon() { return RealClock().Steady() + absl::Seconds(30); }
  core::StartBackup Backup(const char* access = "SystemAssignedManagedIdentity") {
    return {
        1,     "0123456789abcdef", "apim-weu", Id("apim-weu"), "orders/apim-weu/x", Storage(access),
        Soon()};
  }
  core::StartRestore Restore() {
    return {2,     "fedcba9876543210", "apim-neu", Id("apim-neu"), "orders/apim-weu/x", Storage(),
            Soon()};
  }
  // Polls, moving the emulated clock on, until the operation has ended.
  core::OperationPolled PollToTheEnd(const core::OperationStarted& started) {
    core::OperationPolled polled;
    EXPECT_EQ(started.result.status, CallStatus::kOk) << started.result.error.ShortDebugString();
    core::PollOperation poll{3, started.operation_id, "", started.handle};
    EXPECT_TRUE(WaitUntil([&] {
      polled = CarryOut<core::OperationPolled>(poll);
      if (!polled.handle.empty()) poll.handle = polled.handle;
      if (polled.state == State::kRunning)
        Control("PATCH", "/_emulator/clock", R"({"advance":"10s"})");
      return polled.state != State::kRunning && polled.state != State::kUnknown;
    }));
    return polled;
  }
  core::FingerprintRead Fingerprint(const std::string& service) {
    auto read = CarryOut<core::FingerprintRead>(core::ReadFingerprint{4, service, Id(service)});
    EXPECT_EQ(read.result.status, CallStatus::kOk) << read.result.error.ShortDebugString();
    return read;
  }
  // Requests that started an operation, as the emulator saw them.
  int Applied(const std::string& operation) {
    int count = 0;
    emulator_->With([&](emulator::World& world, absl::Time) {
      for (const emulator::LogEntry& entry : world.effects) {
        count += entry.what.operation == operation && entry.applied ? 1 : 0;
      }
    });
    return count;
  }

  TempDir dir_;
  std::unique_ptr<emulator::Emulator> emulator_;
  std::unique_ptr<AzureShared> shared_;
  std::unique_ptr<Worker> worker_;
};

TEST_F(EmulatedAzureTest, ABackupRestoredMakesTheStandbyEqual) {
  const auto preflight = CarryOut<core::PreflightDone>(
      core::RunPreflight{1, "sync-1", {"apim-weu", "apim-neu"}, Storage()});
  EXPECT_EQ(preflight.result.status, CallStatus::kOk) << preflight.result.error.ShortDebugString();
  for (const core::ServiceFacts& facts : preflight.services) {
    EXPECT_TRUE(facts.reachable && facts.idle) << facts.service << " " << facts.state;
    EXPECT_EQ(facts.refused, "");
    EXPECT_EQ(facts.sku, "Premium");
  }
  const core::FingerprintRead before = Fingerprint("apim-weu");
  EXPECT_FALSE(before.pristine);
  EXPECT_TRUE(Fingerprint("apim-neu").pristine);
  const int64_t began = absl::ToUnixMillis(RealClock().Wall());

  const auto backup = CarryOut<core::OperationStarted>(Backup());
  EXPECT_TRUE(PollToTheEnd(backup).state == State::kSucceeded);
  const auto checked = CarryOut<core::BlobChecked>(
      core::CheckBlob{5, "0123456789abcdef", "orders/apim-weu/x", Storage(), began});
  EXPECT_EQ(checked.result.status, CallStatus::kOk) << checked.result.error.ShortDebugString();
  EXPECT_GT(checked.size_bytes, 0);

  core::WriteManifest manifest{6, {}, Storage(), before.entities, Fingerprint("apim-weu").entities};
  manifest.backup.set_blob("orders/apim-weu/x");
  EXPECT_EQ(CarryOut<core::ManifestWritten>(manifest).result.status, CallStatus::kOk);
  const auto read =
      CarryOut<core::ManifestRead>(core::ReadManifest{7, "orders/apim-weu/x", Storage()});
  ASSERT_EQ(read.result.status, CallStatus::kOk) << read.result.error.ShortDebugString();
  EXPECT_EQ(*read.before, *before.entities);

  const auto fence = CarryOut<core::FenceDone>(
      core::WriteFence{8, {"store", 1, 1, "fedcba9876543210"}, "", Storage(), Soon()});
  EXPECT_EQ(fence.result.status, CallStatus::kOk) << fence.result.error.ShortDebugString();
  EXPECT_TRUE(PollToTheEnd(CarryOut<core::OperationStarted>(Restore())).state == State::kSucceeded);
  const core::FingerprintRead restored = Fingerprint("apim-neu");
  EXPECT_EQ(*restored.entities, *before.entities);
  EXPECT_EQ(restored.fingerprint.kinds(0).digest(), before.fingerprint.kinds(0).digest());
}

TEST_F(EmulatedAzureTest, AnAccessKeyServesAsWell) {
  EXPECT_TRUE(PollToTheEnd(CarryOut<core::OperationStarted>(Backup("AccessKey"))).state ==
              State::kSucceeded);
}

TEST_F(EmulatedAzureTest, AFenceIsReplacedOnlyByAHigherOneOfTheSameStore) {
  const auto write = [&](const char* store, uint64_t epoch, const char* adopted) {
    return CarryOut<core::FenceDone>(
               core::WriteFence{1, {store, epoch, epoch, "op"}, adopted, Storage(), Soon()})
        .result.status;
  };
  EXPECT_FALSE(CarryOut<core::FenceDone>(core::ReadFence{1, Storage()}).found.has_value());
  EXPECT_EQ(write("a", 2, ""), CallStatus::kOk);
  EXPECT_EQ(write("a", 3, ""), CallStatus::kOk);
  EXPECT_EQ(write("a", 2, ""), CallStatus::kFailed);
  EXPECT_EQ(write("b", 9, ""), CallStatus::kFailed);
  EXPECT_EQ(write("b", 9, "a"), CallStatus::kOk);
  EXPECT_EQ(CarryOut<core::FenceDone>(core::ReadFence{1, Storage()}).found->store_id, "b");
}

TEST_F(EmulatedAzureTest, ALateFailureCarriesAzuresWords) {
  Fault(R"({"operation":"backup","action":"operation","times":1,
            "outcome":{"kind":"fail","code":"ActivationFailed","message":"it broke"}})");
  const core::OperationPolled polled = PollToTheEnd(CarryOut<core::OperationStarted>(Backup()));
  EXPECT_TRUE(polled.state == State::kFailed);
  EXPECT_EQ(polled.error.code(), "ActivationFailed");
  EXPECT_THAT(polled.error.message(), HasSubstr("it broke"));
  EXPECT_NE(polled.error.request_id(), "");
}

TEST_F(EmulatedAzureTest, ASecondBackupMeetsTheLock) {
  ASSERT_EQ(CarryOut<core::OperationStarted>(Backup()).result.status, CallStatus::kOk);
  const auto second = CarryOut<core::OperationStarted>(Backup());
  EXPECT_EQ(second.result.status, CallStatus::kUnclear);
  EXPECT_EQ(second.result.error.http_status(), 409);
  EXPECT_EQ(second.result.error.code(), "ServiceLocked");
}

TEST_F(EmulatedAzureTest, AnAnswerLostAfterItsEffectIsUnclearAndLeavesOneBackup) {
  for (const char* action : {"reset", "truncate", "malformed"}) {
    Control("DELETE", "/_emulator/faults", "");
    Fault(absl::StrCat(R"({"operation":"backup","action":")", action,
                       R"(","after":true,"times":1})"));
    const int before = Applied("backup");
    const auto started = CarryOut<core::OperationStarted>(Backup());
    EXPECT_TRUE(started.result.status == CallStatus::kUnclear ||
                (std::string(action) != "reset" && started.result.status == CallStatus::kOk))
        << action;
    EXPECT_EQ(Applied("backup"), before + 1) << action;
    Control("PATCH", "/_emulator/clock", R"({"advance":"1m"})");
  }
}

TEST_F(EmulatedAzureTest, AForeignLocationIsRefusedAndTheOperationUnclear) {
  Fault(R"({"operation":"backup","action":"location","location":"foreign","times":1})");
  const auto started = CarryOut<core::OperationStarted>(Backup());
  EXPECT_EQ(started.result.status, CallStatus::kUnclear);
  EXPECT_EQ(started.result.error.code(), "ForeignLocation");
}

TEST_F(EmulatedAzureTest, AMovedLocationIsFollowed) {
  Fault(R"({"operation":"poll","action":"location","location":"changed","times":1})");
  EXPECT_TRUE(PollToTheEnd(CarryOut<core::OperationStarted>(Backup())).state == State::kSucceeded);
}

TEST_F(EmulatedAzureTest, BadPollsAreTransient) {
  Fault(R"({"operation":"poll","action":"status","status":503,"times":1})");
  Fault(R"({"operation":"poll","action":"reset","times":1})");
  Fault(R"({"operation":"poll","action":"malformed","times":1,"skip":1})");
  EXPECT_TRUE(PollToTheEnd(CarryOut<core::OperationStarted>(Backup())).state == State::kSucceeded);
}

TEST_F(EmulatedAzureTest, ARevokedTokenIsReplacedInTheMiddleOfAnOperation) {
  const auto started = CarryOut<core::OperationStarted>(Backup());
  Control("POST", "/_emulator/tokens/revoke", "");
  EXPECT_TRUE(PollToTheEnd(started).state == State::kSucceeded);
}

TEST_F(EmulatedAzureTest, AMissingRoleNamesTheAction) {
  Control(
      "PUT", "/_emulator/clients/00000000-0000-4000-8000-0000000000c1/roles",
      R"({"roles":[{"scope":"/subscriptions/00000000-0000-4000-8000-00000000abcd","actions":["*/read"]}]})");
  const auto started = CarryOut<core::OperationStarted>(Backup());
  EXPECT_EQ(started.result.status, CallStatus::kFailed);
  EXPECT_THAT(started.result.error.message(),
              HasSubstr("Microsoft.ApiManagement/service/backup/action"));
}

TEST_F(EmulatedAzureTest, TrafficIsSwitchedAndReadBack) {
  const auto enabled = [&] { return CarryOut<core::TrafficRead>(core::ReadTraffic{1}); };
  EXPECT_THAT(enabled().enabled, ElementsAre(Pair("apim-neu", false), Pair("apim-weu", true)));
  EXPECT_EQ(enabled().problem, "");
  const auto path = CarryOut<core::SwitchPathChecked>(core::CheckSwitchPath{1});
  EXPECT_EQ(path.result.status, CallStatus::kOk) << path.result.error.ShortDebugString();
  EXPECT_GE(path.token_left, absl::Minutes(10));
  EXPECT_THAT(enabled().enabled, ElementsAre(Pair("apim-neu", false), Pair("apim-weu", true)));
  const auto set = [&](const char* service, bool on) {
    return CarryOut<core::EndpointSet>(core::SetEndpoint{2, service, on, Soon()}).result.status;
  };
  EXPECT_EQ(set("apim-neu", true), CallStatus::kOk);
  EXPECT_EQ(set("apim-weu", false), CallStatus::kOk);
  EXPECT_THAT(enabled().enabled, ElementsAre(Pair("apim-neu", true), Pair("apim-weu", false)));
  Fault(R"({"operation":"trafficWrite","action":"reset","after":true,"times":1})");
  EXPECT_EQ(set("apim-weu", true), CallStatus::kUnclear);
  EXPECT_THAT(enabled().enabled, ElementsAre(Pair("apim-neu", true), Pair("apim-weu", true)));
  Control("PATCH", "/_emulator/trafficManagerProfiles/contoso-api", R"({"enabled":false})");
  EXPECT_THAT(enabled().problem, HasSubstr("not enabled"));
}

TEST_F(EmulatedAzureTest, KeepingWarmFetchesAToken) {
  EXPECT_EQ(shared_->TokenExpiry(), absl::InfinitePast());
  worker_->KeepWarm();
  EXPECT_GT(shared_->TokenExpiry(), RealClock().Wall());
}

}  // namespace
}  // namespace failover::azure
