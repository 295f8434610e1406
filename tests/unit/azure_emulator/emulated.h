#ifndef TESTS_UNIT_AZURE_EMULATOR_EMULATED_H_
#define TESTS_UNIT_AZURE_EMULATOR_EMULATED_H_

#include <fstream>
#include <sstream>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "common/digest.h"
#include "gtest/gtest.h"
#include "tests/azure_emulator/arm.h"
#include "tests/azure_emulator/control_api.h"
#include "tests/azure_emulator/world_file.h"

namespace failover::emulator {

// The world of two services under a clock of its own; nothing but function calls.
class Emulated : public testing::Test {
 protected:
  static constexpr char kSubscription[] = "/subscriptions/00000000-0000-4000-8000-00000000abcd";
  static constexpr char kClient[] = "00000000-0000-4000-8000-0000000000c1";
  static constexpr char kTenant[] = "00000000-0000-4000-8000-0000000000aa";
  static constexpr char kVersion[] = "api-version=2022-08-01";

  Emulated() {
    // Read once, since copying is cheaper; with few APIs, for the same reason.
    static const absl::StatusOr<World> read = ReadWorld(SmallWorld(), now);
    EXPECT_TRUE(read.ok()) << read.status();
    if (read.ok()) world = *read;
    world.switches.work_fraction = 0.5;
    world.backup_duration = {absl::Minutes(10), absl::Minutes(10)};
    world.restore_duration = {absl::Minutes(30), absl::Minutes(30)};
    world.retry_after = 60;
  }

  static std::string SmallWorld() {
    std::ifstream file(absl::StrCat(FAILOVER_TESTDATA, "/worlds/two-services.json"));
    std::stringstream text;
    text << file.rdbuf();
    return absl::StrReplaceAll(text.str(), {{"\"apis\": 30", "\"apis\": 4"}});
  }

  static std::string Path(absl::string_view service, absl::string_view below = "") {
    return absl::StrCat(kSubscription,
                        "/resourceGroups/contoso-apis/providers/Microsoft.ApiManagement/service/",
                        service, below);
  }
  static std::string Profile(absl::string_view below = "") {
    return absl::StrCat(
        kSubscription,
        "/resourceGroups/contoso-apis/providers/Microsoft.Network/trafficManagerProfiles/",
        "contoso-api", below);
  }

  Answer Token(absl::string_view secret = "not-a-secret-only-for-the-emulator",
               absl::string_view scope = "https://management.azure.com/.default") {
    Request request;
    request.method = "POST";
    request.path = absl::StrCat("/", kTenant, "/oauth2/v2.0/token");
    request.body =
        absl::StrCat("grant_type=client_credentials&client_id=", kClient,
                     "&client_secret=", PercentEncode(secret), "&scope=", PercentEncode(scope));
    return Handle(world, request, now);
  }
  std::string Bearer() {
    if (bearer_.empty()) bearer_ = "Bearer " + Body(Token()).value("access_token", "");
    return bearer_;
  }

  static Json Body(const Answer& answer) {
    Json json;
    EXPECT_TRUE(ParseJson(answer.body, json).ok()) << answer.body;
    return json;
  }
  static std::string Code(const Answer& answer) {
    const Json body = Body(answer);
    return body.contains("error") ? body["error"].value("code", "") : "";
  }

  // `target`: path and query.
  Answer Arm(const std::string& method, const std::string& target, const std::string& body = "",
             Headers headers = {}) {
    Request request = Make(method, target, body, std::move(headers));
    request.headers.emplace_back("Authorization", Bearer());
    request.headers.emplace_back("Host", "127.0.0.1:7443");
    return Handle(world, request, now);
  }
  Answer Get(const std::string& path) { return Arm("GET", absl::StrCat(path, "?", kVersion)); }

  Answer Control(const std::string& method, const std::string& target,
                 const std::string& body = "") {
    Request request = Make(method, target, body, {});
    request.front = Front::kControl;
    return HandleControl(world, request, now, now);
  }

  static Request Make(const std::string& method, const std::string& target, const std::string& body,
                      Headers headers) {
    const std::pair<std::string, std::string> parts =
        absl::StrSplit(target, absl::MaxSplits('?', 1));
    Request request;
    request.method = method;
    request.path = parts.first;
    request.query = parts.second;
    request.body = body;
    request.headers = std::move(headers);
    return request;
  }

  static std::string BackupBody(const std::string& name = "b1", Json changes = Json::object()) {
    Json body = {{"storageAccount", "contosodr"},
                 {"containerName", "apim-backups"},
                 {"backupName", name},
                 {"accessType", "SystemAssignedManagedIdentity"}};
    body.merge_patch(changes);
    return Dump(body);
  }
  Answer Start(const std::string& verb, const std::string& service,
               const std::string& body = BackupBody()) {
    return Arm("POST", absl::StrCat(Path(service, absl::StrCat("/", verb)), "?", kVersion), body);
  }
  // GET of an absolute Location, verbatim.
  Answer Poll(const Answer& accepted) {
    const std::string location(accepted.Header("location"));
    const size_t path = location.find('/', 8);
    EXPECT_NE(path, std::string::npos) << location;
    return path == std::string::npos ? Answer() : Arm("GET", location.substr(path));
  }
  Answer Finished(const Answer& accepted) {
    now += absl::Hours(1);
    bearer_.clear();
    return Poll(accepted);
  }
  std::string Version(const std::string& service) {
    return FindService(world, service)->ConfigurationVersion();
  }
  void Fault(const std::string& rule) {
    const Answer answer = Control("POST", "/_emulator/faults", rule);
    ASSERT_EQ(answer.status, 200) << answer.body;
  }

  absl::Time now = absl::FromUnixSeconds(1800000000);
  World world;
  std::string bearer_;
};

}  // namespace failover::emulator

#endif  // TESTS_UNIT_AZURE_EMULATOR_EMULATED_H_
