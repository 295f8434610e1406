// Signing in as a pod and as a machine in Azure does, before the emulated Azure.
#include <stdlib.h>

#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "common/digest.h"
#include "controller/azure/worker.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/azure_emulator/emulator.h"
#include "tests/azure_emulator/world.h"
#include "tests/support/temp_dir.h"
#include "tests/unit/azure/scripted.h"

namespace failover::azure {
namespace {

using core::CallStatus;
using ::testing::HasSubstr;

constexpr char kProviders[] =
    "/subscriptions/00000000-0000-4000-8000-00000000abcd/resourceGroups/contoso-apis/providers/";
constexpr char kClient[] = "00000000-0000-4000-8000-0000000000c1";
constexpr char kSubject[] = "system:serviceaccount:dr:apim-failover";

std::string ServiceId(const std::string& service) {
  return absl::StrCat(kProviders, "Microsoft.ApiManagement/service/", service);
}

// A proxy at which nobody listens, in every variable that libcurl knows.
class DeadProxy {
 public:
  DeadProxy() {
    for (const char* name : kNames) setenv(name, "http://127.0.0.1:9", 1);
  }
  ~DeadProxy() {
    for (const char* name : kNames) unsetenv(name);
  }

 private:
  static constexpr const char* kNames[] = {"http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy",
                                           "ALL_PROXY"};
};

// Waits pass by themselves; the emulator's clock is the real one.
class IdentityTest : public ::testing::Test {
 protected:
  void SetUp() override {
    emulator::EmulatorOptions options;
    options.directory = dir_.path();
    auto started = emulator::Emulator::StartFile(
        std::string(FAILOVER_SOURCE) + "/tests/testdata/worlds/two-services.json", options);
    ASSERT_TRUE(started.ok()) << started.status();
    emulator_ = *std::move(started);
  }

  // Before the first command: the worker is made by it.
  void SignInBy(Auth auth, const std::string& client = kClient) {
    const emulator::Endpoints& endpoints = emulator_->endpoints();
    AzureOptions options;
    options.auth = auth;
    options.tenant_id = "00000000-0000-4000-8000-0000000000aa";
    options.client_id = client;
    options.federated_token_file = dir_.File("token");
    options.imds_endpoint = imds_.empty() ? endpoints.imds : imds_;
    options.arm_endpoint = endpoints.arm;
    options.authority_endpoint = endpoints.authority;
    options.arm_scope = "https://management.azure.com/.default";
    options.blob_endpoint = endpoints.blob + "/{account}";
    options.api_version = "2022-08-01";
    options.traffic_manager_api_version = "2022-04-01";
    shared_ = std::make_unique<AzureShared>(
        options, clock_,
        [this](const std::string& api, const std::string& operation, const std::string& code,
               absl::Duration, const std::string&) {
          calls_.push_back(absl::StrCat(api, " ", operation, " ", code));
        });
    GroupAzure group;
    group.group = "orders";
    group.resource_ids = {{"apim-weu", ServiceId("apim-weu")}};
    group.traffic_manager_profile =
        absl::StrCat(kProviders, "Microsoft.Network/trafficmanagerprofiles/contoso-api");
    group.traffic_manager_endpoint_type = "ExternalEndpoints";
    group.traffic_endpoints = {{"apim-weu", "weu"}, {"apim-neu", "neu"}};
    shared_->SetGroups({group});
    CurlHttpClientOptions http;
    http.ca_file = endpoints.ca_file;
    worker_ = std::make_unique<Worker>(*shared_, NewCurlHttpClient(http), std::stop_token());
  }

  // A token of the pod as the kubelet projects it, good until `ends`.
  void ProjectToken(const std::string& subject, absl::Time ends) {
    const std::string claims = absl::StrCat(
        R"({"aud":["api://AzureADTokenExchange"],"iss":"https://oidc.example/","sub":")", subject,
        R"(","exp":)", absl::ToUnixSeconds(ends), "}");
    std::string text = absl::StrReplaceAll(Base64(claims), {{"+", "-"}, {"/", "_"}, {"=", ""}});
    dir_.Write("token", absl::StrCat("e30.", text, ".c2ln\n"));
  }
  void Control(const char* method, const std::string& path, const std::string& body) {
    const auto result = emulator_->Control(method, path, body);
    EXPECT_LT(result.status, 300) << result.body;
  }
  void Lacks(const std::string& actions) {
    Control("PUT", absl::StrCat("/_emulator/clients/", kClient, "/lacks"),
            absl::StrCat(R"({"actions":[)", actions, "]}"));
  }
  core::TrafficRead Read() {
    return std::get<core::TrafficRead>(*worker_->CarryOut("orders", core::ReadTraffic{1}));
  }
  core::SwitchPathChecked CheckPath() {
    return std::get<core::SwitchPathChecked>(
        *worker_->CarryOut("orders", core::CheckSwitchPath{1}));
  }
  core::OperationStarted StartBackup() {
    v1::Storage storage;
    storage.set_account("contosodr");
    storage.set_container("apim-backups");
    storage.set_access("SystemAssignedManagedIdentity");
    return std::get<core::OperationStarted>(*worker_->CarryOut(
        "orders", core::StartBackup{1, "0123456789abcdef", "apim-weu", ServiceId("apim-weu"),
                                    "o/a/x", storage, clock_.Steady() + absl::Seconds(30)}));
  }
  int Calls(const std::string& call) const {
    int count = 0;
    for (const std::string& made : calls_) count += made == call ? 1 : 0;
    return count;
  }

  TempDir dir_;
  StridingClock clock_;
  std::string imds_;
  std::vector<std::string> calls_;
  std::unique_ptr<emulator::Emulator> emulator_;
  std::unique_ptr<AzureShared> shared_;
  std::unique_ptr<Worker> worker_;
};

TEST_F(IdentityTest, APodSignsInByItsProjectedToken) {
  ProjectToken(kSubject, absl::Now() + absl::Hours(1));
  SignInBy(Auth::kWorkloadIdentity);
  EXPECT_EQ(Read().result.status, CallStatus::kOk);
  EXPECT_EQ(StartBackup().result.status, CallStatus::kOk);
}

TEST_F(IdentityTest, ARotatedTokenIsUsedForTheNextExchange) {
  ProjectToken(kSubject, absl::Now() - absl::Seconds(1));
  SignInBy(Auth::kWorkloadIdentity);
  const core::TrafficRead expired = Read();
  EXPECT_EQ(expired.result.status, CallStatus::kFailed);
  EXPECT_THAT(expired.result.error.message(), HasSubstr("AADSTS700024"));
  EXPECT_THAT(expired.result.error.message(), HasSubstr("is not valid now"));
  ProjectToken(kSubject, absl::Now() + absl::Hours(1));
  EXPECT_EQ(Read().result.status, CallStatus::kOk);
}

TEST_F(IdentityTest, AForeignServiceAccountIsNamed) {
  ProjectToken("system:serviceaccount:dr:default", absl::Now() + absl::Hours(1));
  SignInBy(Auth::kWorkloadIdentity);
  const std::string message = CheckPath().result.error.message();
  EXPECT_THAT(message, HasSubstr("AADSTS700213"));
  EXPECT_THAT(message, HasSubstr("subject \"system:serviceaccount:dr:default\""));
}

TEST_F(IdentityTest, APodWithoutATokenIsTold) {
  SignInBy(Auth::kWorkloadIdentity);
  EXPECT_THAT(Read().result.error.message(), HasSubstr("azure.workload.identity/use"));
  EXPECT_EQ(StartBackup().result.status, CallStatus::kNotSent);
}

TEST_F(IdentityTest, ATokenRefusedOnceIsReplaced) {
  for (const Auth auth : {Auth::kWorkloadIdentity, Auth::kManagedIdentity}) {
    ProjectToken(kSubject, absl::Now() + absl::Hours(1));
    calls_.clear();
    SignInBy(auth);
    EXPECT_EQ(Read().result.status, CallStatus::kOk);
    Control("POST", "/_emulator/tokens/revoke", "");
    EXPECT_EQ(Read().result.status, CallStatus::kOk);
    EXPECT_EQ(Calls("trafficmanager get_profile 401"), 1);
    EXPECT_EQ(Calls(auth == Auth::kManagedIdentity ? "imds token 200" : "entra token 200"), 2);
  }
}

TEST_F(IdentityTest, AMachineSignsInByImdsAndNoProxyComesBetween) {
  const DeadProxy proxy;
  SignInBy(Auth::kManagedIdentity, "");
  EXPECT_EQ(Read().result.status, CallStatus::kOk);
  EXPECT_EQ(StartBackup().result.status, CallStatus::kOk);
  EXPECT_GT(CheckPath().token_left, absl::Minutes(10));
}

TEST_F(IdentityTest, AnUpgradeOfImdsIsWaitedOut) {
  Control("POST", "/_emulator/faults",
          R"({"operation":"imds","action":"status","status":410,"times":5})");
  SignInBy(Auth::kManagedIdentity);
  const SteadyTime begun = clock_.Steady();
  const auto preflight = std::get<core::PreflightDone>(
      *worker_->CarryOut("orders", core::RunPreflight{1, "sync-1", {"apim-weu"}, {}}));
  EXPECT_THAT(preflight.result.error.message(), ::testing::Not(HasSubstr("410")));
  EXPECT_EQ(Calls("imds token 410"), 5);
  EXPECT_EQ(Calls("imds token 200"), 1);
  EXPECT_GE(clock_.Steady() - begun, absl::Seconds(3 + 6 + 12 + 16 + 16));
}

TEST_F(IdentityTest, ReadsOfTrafficDoNotHoldTheirLaneForAnUpgradeOfImds) {
  Control("POST", "/_emulator/faults", R"({"operation":"imds","action":"status","status":410})");
  SignInBy(Auth::kManagedIdentity);
  const SteadyTime begun = clock_.Steady();
  EXPECT_THAT(CheckPath().result.error.message(), HasSubstr("HTTP 410"));
  EXPECT_LE(clock_.Steady() - begun, absl::Seconds(5));
  const SteadyTime warmed = clock_.Steady();
  worker_->KeepWarm();
  EXPECT_EQ(clock_.Steady(), warmed);
}

TEST_F(IdentityTest, WhatImdsLacksIsNamed) {
  SignInBy(Auth::kManagedIdentity, "00000000-0000-4000-8000-0000000000ff");
  EXPECT_THAT(Read().result.error.message(),
              HasSubstr("identity 00000000-0000-4000-8000-0000000000ff is not assigned to this "
                        "machine"));
  imds_ = "http://127.0.0.1:9";
  SignInBy(Auth::kManagedIdentity);
  EXPECT_THAT(Read().result.error.message(), HasSubstr("there is no IMDS at http://127.0.0.1:9"));
}

TEST_F(IdentityTest, AMissingRoleNamesTheActionAndARoleThatHasIt) {
  SignInBy(Auth::kManagedIdentity);
  Lacks(R"("Microsoft.ApiManagement/service/backup/action")");
  const core::OperationStarted backup = StartBackup();
  EXPECT_EQ(backup.result.status, CallStatus::kFailed);
  EXPECT_EQ(backup.result.error.code(), "AuthorizationFailed");
  EXPECT_THAT(backup.result.error.message(),
              ::testing::StartsWith("the controller's identity may not do "
                                    "Microsoft.ApiManagement/service/backup/action (give it the "
                                    "built-in role \"API Management Service Operator Role\""));
  EXPECT_THAT(backup.result.error.message(), HasSubstr("over scope '" + ServiceId("apim-weu")));
  Lacks(R"("Microsoft.Network/trafficManagerProfiles/externalEndpoints/write")");
  const std::string path = CheckPath().result.error.message();
  EXPECT_THAT(path, HasSubstr("Microsoft.Network/trafficManagerProfiles/externalEndpoints/write"));
  EXPECT_THAT(path, HasSubstr("\"Traffic Manager Contributor\""));
  Lacks(R"("Microsoft.Network/trafficManagerProfiles/read")");
  EXPECT_THAT(Read().result.error.message(),
              HasSubstr("may not do Microsoft.Network/trafficManagerProfiles/read"));
}

TEST_F(IdentityTest, EveryReadOfTheServiceNamesTheActionItLacks) {
  SignInBy(Auth::kManagedIdentity);
  const core::OperationStarted backup = StartBackup();
  ASSERT_EQ(backup.result.status, CallStatus::kOk);
  Lacks(R"("Microsoft.ApiManagement/service/operationresults/read")");
  const auto poll = std::get<core::OperationPolled>(*worker_->CarryOut(
      "orders", core::PollOperation{2, "0123456789abcdef", "apim-weu", backup.handle}));
  EXPECT_THAT(poll.error.message(),
              HasSubstr("may not do Microsoft.ApiManagement/service/operationresults/read"));
  EXPECT_TRUE(poll.state == core::OperationPolled::State::kUnknown) << "it still runs";
  Lacks(R"("Microsoft.ApiManagement/service/apis/read")");
  EXPECT_THAT(std::string(worker_->ReadEntities("orders", "apim-weu").status().message()),
              HasSubstr("may not do Microsoft.ApiManagement/service/apis/read"));
  Lacks(R"("Microsoft.ApiManagement/service/namedValues/read")");
  EXPECT_THAT(std::string(worker_->ReadEntities("orders", "apim-weu").status().message()),
              HasSubstr("may not do Microsoft.ApiManagement/service/namedValues/read"));
}

}  // namespace
}  // namespace failover::azure
