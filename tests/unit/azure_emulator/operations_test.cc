#include "absl/strings/match.h"
#include "tests/azure_emulator/backup_content.h"
#include "tests/unit/azure_emulator/emulated.h"

namespace failover::emulator {
namespace {

class OperationsTest : public Emulated {
 protected:
  void Switch(const std::string& json) {
    const Answer answer = Control("PATCH", "/_emulator/switches", json);
    ASSERT_EQ(answer.status, 200) << answer.body;
  }
  const Blob* Stored(const std::string& name = "b1") {
    return world.memory.Find("contosodr", "apim-backups", name);
  }
};

TEST_F(OperationsTest, BackupIsAcceptedWithLocationRetryAfterAndNoBody) {
  const Answer answer = Start("backup", "apim-weu");
  EXPECT_EQ(answer.status, 202);
  EXPECT_EQ(answer.body, "");
  EXPECT_EQ(answer.Header("retry-after"), "60");
  EXPECT_EQ(answer.Header("azure-asyncoperation"), "");
  EXPECT_NE(answer.Header("x-ms-request-id"), "");
  EXPECT_NE(answer.Header("x-ms-ratelimit-remaining-subscription-writes"), "");
  const std::string location(answer.Header("location"));
  const std::string prefix =
      absl::StrCat("https://127.0.0.1:7443", Path("apim-weu", "/operationresults/"));
  ASSERT_TRUE(absl::StartsWith(location, prefix)) << location;
  const size_t query = location.find('?');
  EXPECT_EQ(location.substr(query), "?api-version=2022-08-01");
  const std::string id = location.substr(prefix.size(), query - prefix.size());
  EXPECT_TRUE(absl::EndsWith(id, "=")) << "the padding stands raw in the path: " << id;
  const std::optional<std::string> decoded = FromBase64(id);
  ASSERT_TRUE(decoded.has_value());
  EXPECT_TRUE(absl::StartsWith(*decoded, "westeurope:apim-weu_Backup_")) << *decoded;
}

TEST_F(OperationsTest, PollsTellRunningWithBothHeadersThenTheWholeServiceTwice) {
  const Answer accepted = Start("backup", "apim-weu");
  for (int i = 0; i < 2; ++i) {  // early polls are not punished
    const Answer running = Poll(accepted);
    EXPECT_EQ(running.status, 202);
    EXPECT_EQ(running.Header("location"), accepted.Header("location"));
    EXPECT_EQ(running.Header("retry-after"), "60");
  }
  Answer done = Finished(accepted);
  for (int i = 0; i < 2; ++i, done = Poll(accepted)) {
    ASSERT_EQ(done.status, 200);
    EXPECT_EQ(done.Header("location"), "");
    EXPECT_EQ(done.Header("retry-after"), "");
    EXPECT_EQ(done.Header("etag"), "");
    EXPECT_EQ(Body(done)["name"], "apim-weu");
    EXPECT_EQ(Body(done)["location"], "West Europe");
    EXPECT_EQ(Body(done)["properties"]["provisioningState"], "Succeeded");
    EXPECT_TRUE(Body(done)["properties"]["certificates"].is_null());
    EXPECT_TRUE(Body(done)["properties"].contains("certificates"));
  }
}

TEST_F(OperationsTest, AnUnknownOperationOrOneOfAnotherServiceIsNotFound) {
  const Answer accepted = Start("backup", "apim-weu");
  const std::string location(accepted.Header("location"));
  const std::string id = location.substr(location.rfind('/') + 1);
  EXPECT_EQ(Arm("GET", Path("apim-neu", absl::StrCat("/operationresults/", id))).status, 404);
  EXPECT_EQ(
      Arm("GET", absl::StrCat(Path("apim-weu", "/operationresults/bm8="), "?", kVersion)).status,
      404);
  const size_t query = location.find('?');
  EXPECT_EQ(
      Arm("GET", absl::StrCat(location.substr(22, query - 22), "?api-version=2024-05-01")).status,
      404);
}

TEST_F(OperationsTest, WhileOneRunsEveryOtherIsRefusedAsLocked) {
  ASSERT_EQ(Start("backup", "apim-weu").status, 202);
  for (const Answer& answer :
       {Start("backup", "apim-weu"), Start("restore", "apim-weu"),
        Arm("PATCH", absl::StrCat(Path("apim-weu"), "?", kVersion), R"({"tags":{}})"),
        Arm("DELETE", absl::StrCat(Path("apim-weu"), "?", kVersion))}) {
    EXPECT_EQ(answer.status, 409);
    EXPECT_EQ(answer.body,
              R"({"error":{"code":"ServiceLocked","details":null,"innerError":null,"message":)"
              R"("The API Service apim-weu is transitioning at this time. Please try the request )"
              R"(again later."}})");
  }
  EXPECT_EQ(Start("backup", "apim-neu", BackupBody("b2")).status, 202) << "another service is free";
  EXPECT_EQ(Get(Path("apim-weu")).status, 200);
  EXPECT_EQ(Body(Get(Path("apim-weu")))["properties"]["provisioningState"], "Updating");
}

TEST_F(OperationsTest, RestoreGivesTheStandbyExactlyTheSnapshotOfTheBackup) {
  ASSERT_NE(Version("apim-weu"), Version("apim-neu"));
  ASSERT_EQ(Finished(Start("backup", "apim-weu")).status, 200);
  ASSERT_NE(Stored(), nullptr);
  EXPECT_EQ(Finished(Start("restore", "apim-neu")).status, 200);
  EXPECT_EQ(Version("apim-weu"), Version("apim-neu"));
  EXPECT_EQ(Body(Control("GET", "/_emulator/services/apim-weu/entities")),
            Body(Control("GET", "/_emulator/services/apim-neu/entities")));
}

TEST_F(OperationsTest, TheBlobAppearsOnlyAtTheEndOfTheBackup) {
  const Answer accepted = Start("backup", "apim-weu");
  now += absl::Minutes(9);
  Poll(accepted);
  EXPECT_EQ(Stored(), nullptr);
  now += absl::Minutes(1);
  Poll(accepted);
  ASSERT_NE(Stored(), nullptr);
  EXPECT_EQ(Stored()->modified, now);
}

TEST_F(OperationsTest, ChangesAfterTheSnapshotAreMissingInTheBackup) {
  const Answer accepted = Start("backup", "apim-weu");
  now += absl::Minutes(4);
  Control("PUT", "/_emulator/services/apim-weu/entities/namedValues/early", R"({"value":"1"})");
  now += absl::Minutes(2);
  Control("PUT", "/_emulator/services/apim-weu/entities/namedValues/late", R"({"value":"1"})");
  Finished(accepted);
  const absl::StatusOr<BackupContent> content = DecodeBackup(Stored()->content);
  ASSERT_TRUE(content.ok()) << content.status();
  EXPECT_TRUE(content->entities.contains("namedValues/early"));
  EXPECT_FALSE(content->entities.contains("namedValues/late"));
}

TEST_F(OperationsTest, ChangesOnTheTargetBeforeTheReplacementAreLost) {
  Finished(Start("backup", "apim-weu"));
  const Answer accepted = Start("restore", "apim-neu");
  now += absl::Minutes(14);
  Control("PUT", "/_emulator/services/apim-neu/entities/namedValues/lost", R"({"value":"1"})");
  now += absl::Minutes(2);
  Control("PUT", "/_emulator/services/apim-neu/entities/namedValues/kept", R"({"value":"1"})");
  Finished(accepted);
  const Service& target = *FindService(world, "apim-neu");
  EXPECT_FALSE(target.entities.contains("namedvalues/lost"));
  EXPECT_TRUE(target.entities.contains("namedvalues/kept"));
}

TEST_F(OperationsTest, RestoreKeepsHostNamesIdentityAndPortalOfTheTarget) {
  Control("PUT", "/_emulator/services/apim-neu/entities/portalsettings/signin",
          R"({"enabled":true})");
  Service& target = *FindService(world, "apim-neu");
  target.custom_properties = {{"tls", "strict"}};
  Finished(Start("backup", "apim-weu"));
  Finished(Start("restore", "apim-neu"));
  EXPECT_TRUE(target.entities.contains("portalsettings/signin"));
  EXPECT_EQ(target.custom_properties["tls"], "strict");
  EXPECT_EQ(target.region, "northeurope");
}

TEST_F(OperationsTest, EveryOperationChangesTheServicesEtag) {
  const std::string before(Get(Path("apim-weu")).Header("etag"));
  Finished(Start("backup", "apim-weu"));
  const Answer after = Get(Path("apim-weu"));
  EXPECT_NE(after.Header("etag"), before);
  EXPECT_EQ(after.Header("etag"), absl::StrCat("\"", Body(after).value("etag", ""), "\""));
}

TEST_F(OperationsTest, ATierMismatchFailsLateWithBothTiersNamed) {
  Finished(Start("backup", "apim-weu"));
  Control("PATCH", "/_emulator/services/apim-neu", R"({"sku":"Developer"})");
  const Answer accepted = Start("restore", "apim-neu");
  EXPECT_EQ(accepted.status, 202);
  const std::string before = Version("apim-neu");
  for (int i = 0; i < 2; ++i) {
    const Answer failed = i == 0 ? Finished(accepted) : Poll(accepted);
    EXPECT_EQ(failed.status, 400);
    EXPECT_EQ(Code(failed), "RestoreFailed");
    EXPECT_NE(
        failed.body.find("Cannot restore: current SKU is 'Developer', backup SKU is 'Premium'"),
        std::string::npos);
  }
  EXPECT_EQ(Version("apim-neu"), before);
  EXPECT_EQ(Body(Get(Path("apim-neu")))["properties"]["provisioningState"], "Succeeded");
}

TEST_F(OperationsTest, AnExpiredBackupIsNotRestored) {
  Finished(Start("backup", "apim-weu"));
  now += absl::Hours(24 * 30);
  bearer_.clear();
  const Answer failed = Finished(Start("restore", "apim-neu"));
  EXPECT_EQ(failed.status, 400);
  EXPECT_NE(failed.body.find("Cannot restore: backup expired"), std::string::npos);
}

TEST_F(OperationsTest, AMissingBlobFailsLateOrEarlyAsSwitched) {
  EXPECT_EQ(Finished(Start("restore", "apim-neu", BackupBody("none"))).status, 400);
  Switch(R"({"restoreErrors":"early"})");
  EXPECT_EQ(Start("restore", "apim-neu", BackupBody("none")).status, 400);
  EXPECT_TRUE(FindService(world, "apim-neu")->operation.empty());
}

TEST_F(OperationsTest, GarbageIsNotRestored) {
  Fault(R"({"operation":"backup","action":"operation","outcome":{"kind":"blobGarbage"}})");
  EXPECT_EQ(Finished(Start("backup", "apim-weu")).status, 200);
  EXPECT_EQ(Finished(Start("restore", "apim-neu")).status, 400);
}

TEST_F(OperationsTest, BlobFaultsOfABackupShowInTheContainerOnly) {
  Fault(R"({"rules":[
    {"operation":"backup","action":"operation","times":1,"outcome":{"kind":"blobMissing"}},
    {"operation":"backup","action":"operation","times":1,"outcome":{"kind":"blobEmpty"}},
    {"operation":"backup","action":"operation","times":1,"outcome":{"kind":"blobOld"}}]})");
  EXPECT_EQ(Finished(Start("backup", "apim-weu", BackupBody("missing"))).status, 200);
  EXPECT_EQ(Stored("missing"), nullptr);
  EXPECT_EQ(Finished(Start("backup", "apim-weu", BackupBody("empty"))).status, 200);
  EXPECT_EQ(Stored("empty")->content, "");
  const absl::Time started = now;
  EXPECT_EQ(Finished(Start("backup", "apim-weu", BackupBody("old"))).status, 200);
  EXPECT_LT(Stored("old")->modified, started);
}

TEST_F(OperationsTest, APlannedFailureIsToldByEveryPollAndLeavesTheServiceIdle) {
  Fault(R"({"operation":"restore","action":"operation","times":1,
            "outcome":{"kind":"fail","code":"ActivationFailed","message":"no","duration":"3m"}})");
  Finished(Start("backup", "apim-weu"));
  const Answer accepted = Start("restore", "apim-neu");
  now += absl::Minutes(3);
  const Answer failed = Poll(accepted);
  EXPECT_EQ(failed.status, 400);
  EXPECT_EQ(Code(failed), "ActivationFailed");
  EXPECT_EQ(Start("restore", "apim-neu").status, 202);
}

TEST_F(OperationsTest, APartialRestoreLeavesNeitherTheOldNorTheNewContent) {
  Fault(R"({"operation":"restore","action":"operation","outcome":{"kind":"failPartial"}})");
  Finished(Start("backup", "apim-weu"));
  const std::string old = Version("apim-neu");
  EXPECT_EQ(Finished(Start("restore", "apim-neu")).status, 400);
  EXPECT_NE(Version("apim-neu"), old);
  EXPECT_NE(Version("apim-neu"), Version("apim-weu"));
}

TEST_F(OperationsTest, AStuckOneRunsUntilItIsFinishedByHand) {
  Fault(R"({"operation":"backup","action":"operation","outcome":{"kind":"stuck"}})");
  const Answer accepted = Start("backup", "apim-weu");
  EXPECT_EQ(Finished(accepted).status, 202);
  const std::string id = FindService(world, "apim-weu")->operation;
  EXPECT_EQ(
      Control("PATCH", absl::StrCat("/_emulator/operations/", id), R"({"finish":true})").status,
      200);
  EXPECT_EQ(Poll(accepted).status, 200);
  EXPECT_NE(Stored(), nullptr);
}

TEST_F(OperationsTest, TheResultIsForgottenAfterTheSwitchedTime) {
  Switch(R"({"resultRetention":"2h"})");
  const Answer accepted = Start("backup", "apim-weu");
  EXPECT_EQ(Finished(accepted).status, 200);
  now += absl::Hours(2);
  EXPECT_EQ(Finished(accepted).status, 404);
}

TEST_F(OperationsTest, UnsupportedTiersAndWorkspacesAreRefused) {
  for (const char* sku : {"Consumption", "BasicV2", "StandardV2", "PremiumV2"}) {
    Control("PATCH", "/_emulator/services/apim-weu", absl::StrCat(R"({"sku":")", sku, R"("})"));
    EXPECT_EQ(Start("backup", "apim-weu").status, 400) << sku;
  }
  Control("PATCH", "/_emulator/services/apim-weu", R"({"sku":"Premium","workspaces":["w"]})");
  const Answer answer = Start("backup", "apim-weu");
  EXPECT_EQ(answer.status, 400);
  EXPECT_NE(answer.body.find("workspaces"), std::string::npos);
}

TEST_F(OperationsTest, AnUpdateTakesTimeAndThenHolds) {
  const Answer accepted = Arm("PATCH", absl::StrCat(Path("apim-weu"), "?", kVersion),
                              R"({"sku":{"name":"Premium","capacity":3}})");
  EXPECT_EQ(accepted.status, 202);
  EXPECT_EQ(FindService(world, "apim-weu")->capacity, 1);
  const Answer done = Finished(accepted);
  EXPECT_EQ(Body(done)["sku"]["capacity"], 3);
}

TEST_F(OperationsTest, ADeletedServiceIsGoneAndItsNameBlocked) {
  const std::string target = absl::StrCat(Path("apim-neu"), "?", kVersion);
  const Answer accepted = Arm("DELETE", target);
  EXPECT_EQ(Finished(accepted).status, 204);
  EXPECT_EQ(Code(Get(Path("apim-neu"))), "ResourceNotFound");
  EXPECT_EQ(Code(Arm("PUT", target, R"({"location":"northeurope"})")),
            "ServiceAlreadyExistsInSoftDeletedState");
}

TEST_F(OperationsTest, ACreatedServiceReportsItsStateInBothStyles) {
  const Answer created = Arm("PUT", absl::StrCat(Path("apim-new"), "?", kVersion),
                             R"({"location":"UK South","sku":{"name":"Developer","capacity":1}})");
  EXPECT_EQ(created.status, 201);
  const std::string async(created.Header("azure-asyncoperation"));
  ASSERT_NE(async, "");
  const std::string target = async.substr(async.find('/', 8));
  EXPECT_EQ(Body(Arm("GET", target))["status"], "InProgress");
  now += absl::Minutes(5);
  EXPECT_EQ(Body(Arm("GET", target))["status"], "Succeeded");
  EXPECT_EQ(Body(Get(Path("apim-new")))["sku"]["name"], "Developer");
}

struct StorageCase {
  const char* name;
  const char* account;  // PATCH of the storage account
  const char* service;  // PATCH of the service
  const char* body;     // changes of the request
  const char* message;  // fragment; empty = accepted
};

class StorageTest : public OperationsTest, public testing::WithParamInterface<StorageCase> {};

TEST_P(StorageTest, IsAnsweredAsAzureDoes) {
  const StorageCase& c = GetParam();
  ASSERT_EQ(Control("PATCH", "/_emulator/storageAccounts/contosodr", c.account).status, 200);
  ASSERT_EQ(Control("PATCH", "/_emulator/services/apim-weu", c.service).status, 200);
  Json changes;
  ASSERT_TRUE(ParseJson(c.body, changes).ok());
  if (changes.value("accessKey", "") == "KEY") {
    changes["accessKey"] = world.accounts["contosodr"].key;
  }
  const std::string body = BackupBody("b1", changes);
  const bool good = std::string(c.message).empty();
  const Answer early = Start("backup", "apim-weu", body);
  EXPECT_EQ(early.status, good ? 202 : 400) << early.body;
  EXPECT_NE(early.body.find(c.message), std::string::npos) << early.body;
  if (good) {
    EXPECT_EQ(Finished(early).status, 200);
  }
}

INSTANTIATE_TEST_SUITE_P(
    Access, StorageTest,
    testing::Values(
        StorageCase{"SystemIdentity", "{}", "{}", "{}", ""},
        StorageCase{"NoSystemIdentity", "{}", R"({"systemIdentity":false})", "{}",
                    "no system assigned identity"},
        StorageCase{"NoRole", R"({"contributors":[]})", "{}", "{}", "no permission"},
        StorageCase{"UserIdentityWithoutId", "{}", "{}",
                    R"({"accessType":"UserAssignedManagedIdentity"})", "clientId is required"},
        StorageCase{"UserIdentityNotAssigned", "{}", "{}",
                    R"({"accessType":"UserAssignedManagedIdentity","clientId":"c"})",
                    "not assigned"},
        StorageCase{"UserIdentity", R"({"contributors":["c"]})",
                    R"({"userIdentities":{"/id":"c"}})",
                    R"({"accessType":"UserAssignedManagedIdentity","clientId":"c"})", ""},
        StorageCase{"KeyIsTheDefault", "{}", "{}", R"({"accessType":null,"accessKey":"KEY"})", ""},
        StorageCase{"KeyMissing", "{}", "{}", R"({"accessType":null})", "accessKey is required"},
        StorageCase{"KeyWrong", "{}", "{}", R"({"accessType":"AccessKey","accessKey":"bm8="})",
                    "not a key"},
        StorageCase{"KeysForbidden", R"({"sharedKeyAccess":false})", "{}",
                    R"({"accessType":"AccessKey","accessKey":"KEY"})", "not permitted"},
        StorageCase{"KeyBehindFirewall", R"({"firewall":true})", "{}",
                    R"({"accessType":"AccessKey","accessKey":"KEY"})", "firewall"},
        StorageCase{"KeyThroughFirewall", R"({"firewall":true,"firewallRegions":["westeurope"]})",
                    "{}", R"({"accessType":"AccessKey","accessKey":"KEY"})", ""},
        StorageCase{"TrustedThroughFirewall", R"({"firewall":true})", "{}", "{}", ""},
        StorageCase{"UntrustedAtFirewall", R"({"firewall":true,"trustedServices":false})", "{}",
                    "{}", "firewall"},
        StorageCase{"CorsWithPatch", R"({"corsWithPatch":true})", "{}",
                    R"({"accessType":"AccessKey","accessKey":"KEY"})", "backupStorageAccount"},
        StorageCase{"CorsWithIdentity", R"({"corsWithPatch":true})", "{}", "{}", ""},
        StorageCase{"UnknownAccount", "{}", "{}", R"({"storageAccount":"other"})",
                    "could not be reached"},
        StorageCase{"UnknownAccessType", "{}", "{}", R"({"accessType":"StorageAccessKey"})",
                    "accessType"},
        StorageCase{"NewContainerIsMade", "{}", "{}", R"({"containerName":"fresh"})", ""}),
    [](const auto& test) { return test.param.name; });

TEST_F(OperationsTest, StorageErrorsComeLateWhenSwitched) {
  Switch(R"({"storageErrors":"late","errorCodes":{"storageDenied":"Odd"}})");
  Control("PATCH", "/_emulator/storageAccounts/contosodr", R"({"contributors":[]})");
  const Answer accepted = Start("backup", "apim-weu");
  EXPECT_EQ(accepted.status, 202);
  EXPECT_EQ(Code(Finished(accepted)), "Odd");
}

TEST_F(OperationsTest, AMissingContainerIsAnErrorWhenSwitched) {
  Switch(R"({"missingContainer":"error"})");
  EXPECT_EQ(Start("backup", "apim-weu", BackupBody("b", {{"containerName", "fresh"}})).status, 400);
}

TEST_F(OperationsTest, TheBodyOf2014WorksInTheCompatibilityModeOnly) {
  const std::string target = absl::StrCat(Path("apim-weu", "/backup"), "?api-version=2014-02-14");
  const std::string body = Dump({{"storageAccount", "contosodr"},
                                 {"accessKey", world.accounts["contosodr"].key},
                                 {"containerName", "apim-backups"},
                                 {"backupName", "b1"}});
  EXPECT_EQ(Code(Arm("POST", target, body)), "NoRegisteredProviderFound");
  Switch(R"({"legacyApiVersions":true})");
  EXPECT_EQ(Finished(Arm("POST", target, body)).status, 200);
  now += absl::Hours(24 * 7);
  bearer_.clear();
  EXPECT_NE(Finished(Start("restore", "apim-neu")).body.find("backup expired"), std::string::npos);
}

TEST_F(OperationsTest, TheSameSeedGivesTheSameAnswers) {
  World other = world;
  const Answer first = Start("backup", "apim-weu");
  std::swap(world, other);
  bearer_.clear();
  const Answer second = Start("backup", "apim-weu");
  EXPECT_EQ(first.headers, second.headers);
}

}  // namespace
}  // namespace failover::emulator
