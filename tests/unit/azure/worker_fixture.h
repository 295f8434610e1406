#ifndef TESTS_UNIT_AZURE_WORKER_FIXTURE_H_
#define TESTS_UNIT_AZURE_WORKER_FIXTURE_H_

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "controller/azure/worker.h"
#include "gtest/gtest.h"
#include "tests/support/temp_dir.h"
#include "tests/unit/azure/scripted.h"

namespace failover::azure {

constexpr char kArm[] = "https://arm.example";
constexpr char kBlob[] = "https://contosodr.blob.example";
constexpr char kWeu[] =
    "/subscriptions/s/resourceGroups/rg/providers/Microsoft.ApiManagement/service/apim-weu";
constexpr char kNeu[] =
    "/subscriptions/s/resourceGroups/rg/providers/Microsoft.ApiManagement/service/apim-neu";
constexpr char kProfile[] =
    "/subscriptions/s/resourceGroups/rg/providers/Microsoft.Network/trafficmanagerprofiles/p";
constexpr char kOperation[] = "0123456789abcdef";

// A worker in front of a scripted Azure. Tokens are answered here; everything else by the rules of
// the test, the newest first; what no rule answers is a 404.
class WorkerTest : public ::testing::Test {
 protected:
  using Answer = std::function<HttpResult(const HttpRequest&)>;

  WorkerTest()
      : shared_(Options(), clock_,
                [this](const std::string& api, const std::string& operation,
                       const std::string& code, absl::Duration, const std::string& request_id) {
                  observed_.push_back(absl::StrCat(api, " ", operation, " ", code));
                  request_ids_.push_back(request_id);
                }) {
    wire_.answer = [this](const HttpRequest& request) { return AnswerTo(request); };
    shared_.SetGroups({Group()});
    shared_.SetVerifyReadsPerSecond(10);
    worker_ = std::make_unique<Worker>(shared_, std::make_unique<ScriptedHttpClient>(wire_),
                                       stop_.get_token());
  }

  AzureOptions Options() {
    AzureOptions options;
    options.tenant_id = "tenant";
    options.client_id = "client";
    options.client_secret_file = dir_.Write("secret", "s3cret\n");
    options.arm_endpoint = kArm;
    options.authority_endpoint = "https://login.example";
    options.arm_scope = "https://arm.example/.default";
    options.blob_endpoint = "https://{account}.blob.example";
    options.api_version = "2022-08-01";
    options.traffic_manager_api_version = "2022-04-01";
    return options;
  }
  GroupAzure Group() {
    GroupAzure group;
    group.group = "orders";
    group.resource_ids = {{"apim-weu", kWeu}, {"apim-neu", kNeu}};
    group.storage_access_key_file = dir_.Write("key", "a2V5a2V5\n");
    group.traffic_manager_profile = kProfile;
    group.traffic_manager_endpoint_type = "ExternalEndpoints";
    group.traffic_endpoints = {{"apim-weu", "weu"}, {"apim-neu", "neu"}};
    group.fingerprint_key = "group key";
    return group;
  }

  // Answers requests whose "METHOD URL" contains `text`.
  void On(std::string text, Answer answer) {
    rules_.emplace_back(std::move(text), std::move(answer));
  }
  void On(std::string text, int status, std::string body = "", HttpHeaders headers = {}) {
    On(std::move(text), [=](const HttpRequest&) { return Answered(status, body, headers); });
  }
  HttpResult AnswerTo(const HttpRequest& request) {
    const std::string line = absl::StrCat(request.method, " ", request.url);
    if (absl::StrContains(line, "/oauth2/v2.0/token")) {
      if (token_fails_) return Lost(true);
      return Answered(
          200, absl::StrCat(R"({"token_type":"Bearer","expires_in":3600,"access_token":"token)",
                            ++tokens_, "\"}"));
    }
    for (auto rule = rules_.rbegin(); rule != rules_.rend(); ++rule) {
      if (absl::StrContains(line, rule->first)) return rule->second(request);
    }
    return Answered(404, R"({"error":{"code":"ResourceNotFound","message":"nothing here"}})");
  }

  template <typename E>
  E CarryOut(const core::Command& command) {
    const std::optional<core::Event> event = worker_->CarryOut("orders", command);
    EXPECT_TRUE(event.has_value());
    EXPECT_TRUE(std::holds_alternative<E>(*event));
    return std::get<E>(*event);
  }
  core::StartBackup Backup() {
    return {7,
            kOperation,
            "apim-weu",
            kWeu,
            "orders/apim-weu/x",
            Storage(),
            clock_.Steady() + absl::Seconds(30)};
  }
  static v1::Storage Storage() {
    v1::Storage storage;
    storage.set_account("contosodr");
    storage.set_container("apim-backups");
    storage.set_access("SystemAssignedManagedIdentity");
    return storage;
  }

  TempDir dir_;
  StridingClock clock_;
  Wire wire_;
  std::vector<std::pair<std::string, Answer>> rules_;
  int tokens_ = 0;
  bool token_fails_ = false;
  std::vector<std::string> observed_;
  std::vector<std::string> request_ids_;  // of the same calls
  std::stop_source stop_;
  AzureShared shared_;
  std::unique_ptr<Worker> worker_;
};

}  // namespace failover::azure

#endif  // TESTS_UNIT_AZURE_WORKER_FIXTURE_H_
