// Every impossible value is refused with line, path, what was found and what is allowed (design.md
// §4).
#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "common/digest.h"
#include "controller/config.h"
#include "gtest/gtest.h"

namespace failover {
namespace {

namespace fs = std::filesystem;

constexpr char kGood[] = R"(controllerRegion: swedencentral
failoverGroups:
- name: orders-api
  mode: automatic
  objectives: {rpo: 8h, rto: 2m}
  services:
  - {name: apim-weu, region: westeurope, resourceId: /subscriptions/s/resourceGroups/g/providers/Microsoft.ApiManagement/service/apim-weu}
  - {name: apim-neu, region: northeurope, resourceId: /subscriptions/s/resourceGroups/g/providers/Microsoft.ApiManagement/service/apim-neu}
  probes:
  - name: status
    http: {path: /status, expectStatus: ["200"], expectBodyRegex: OK, host: api.contoso.com, headers: {x-probe: one}}
    interval: 5s
    timeout: 2s
    failureThreshold: 3
  - {name: extra, http: {path: /extra}}
  - name: decider
    http: {path: /decide}
    decides: true
  probeRegions: [westeurope, northeurope, uksouth]
  quorum: 2
  controlTargets: ["https://www.microsoft.com/"]
  failover: {minDownDuration: 10s, maxPerDay: 2}
  traffic:
    publicUrl: https://api.contoso.com/status
    servedBy: address
    trafficManager: {profileResourceId: /subscriptions/s/resourceGroups/g/providers/Microsoft.Network/trafficManagerProfiles/contoso, endpoints: {apim-weu: weu, apim-neu: neu}, endpointType: ExternalEndpoints}
  sync:
    interval: 6h
    backupLifetime: 30d
    storage: {account: contosodr, container: apim-backups, access: accessKey, accessKeyFile: storage-key}
    verify: {ignore: ["^loggers/"]}
timing: {verifyReadsPerSecond: 10, ambiguityWait: 120s}
azure: {auth: clientSecret, tenantId: tenant, clientId: c, clientSecretFile: client-secret}
agentAddress: 0.0.0.0:7443
tls: {certificateFile: tls.crt, keyFile: tls.key, caFile: ca.crt}
store: {directory: state}
)";

// One edit of the good file, and the whole of what is then reported: LINE: PATH: found …; allowed:
// …
struct Row {
  const char *from, *to, *message;
};
const Row
    kRows[] =
        {
            {R"(controllerRegion: sw)", R"(controlerRegion: sw)",
             R"(1: controlerRegion: found unknown key "controlerRegion" (did you mean "controllerRegion"?); allowed: controllerRegion, failoverGroups, timing, azure, tls, agentAddress, operatorAddress, metricsAddress, store, leaderElection, kubernetes, replicasAddress
1: controllerRegion: found nothing; allowed: 1 to 63 of a-z, 0-9 and '-', beginning and ending with a letter or digit)"},
            {R"(mode: automatic)", R"(mode: automatc)",
             R"(4: failoverGroups[0].mode: found "automatc"; allowed: observe, manual, approve, automatic (did you mean "automatic"?))"},
            {R"(mode: automatic)", R"(mode: [automatic])",
             R"(4: failoverGroups[0].mode: found a list; allowed: observe, manual, approve, automatic)"},
            {R"(quorum: 2)", R"(quorum: "2")",
             R"(20: failoverGroups[0].quorum: found "2"; allowed: a whole number, without quotes)"},
            {R"(quorum: 2)", R"(quorum: two)",
             R"(20: failoverGroups[0].quorum: found "two"; allowed: a whole number)"},
            {R"(quorum: 2)", R"(quorum:)",
             R"(20: failoverGroups[0].quorum: found nothing; allowed: a whole number)"},
            {R"(quorum: 2)", R"(quorum: 2
  quorum: 3)",
             R"(21: failoverGroups[0].quorum: found duplicate key "quorum", first on line 20; allowed: each key once)"},
            {R"(interval: 5s)", R"(interval: 5)",
             R"(12: failoverGroups[0].probes[0].interval: found "5"; allowed: a duration such as 500ms, 30s, 1h30m or 30d)"},
            {R"(interval: 5s)", R"(interval: 0s)",
             R"(12: failoverGroups[0].probes[0].interval: found "0s"; allowed: 50ms to 10m)"},
            {R"(interval: 5s)", R"(interval: -5s)",
             R"(12: failoverGroups[0].probes[0].interval: found "-5s"; allowed: a duration such as 500ms, 30s, 1h30m or 30d)"},
            {R"(mode: automatic)", R"(mode: &m automatic)",
             R"(4: found an anchor (&); allowed: values written out)"},
            {R"(tls:)", R"(---
tls:)",
             R"(35: found a second document; allowed: one document)"},
            {R"(tls:)", R"(<<: {}
tls:)",
             R"(35: found a merge key (<<); allowed: values written out)"},
            {R"(sync:)", R"(retention: {keepLast: 7}
  sync:)",
             R"(27: failoverGroups[0].retention: found unknown key "retention"; allowed: name, mode, objectives, services, probes, probeRegions, quorum, controlTargets, failover, traffic, sync)"},
            {R"(controllerRegion: swedencentral)", R"(controllerRegion: Sweden Central)",
             R"(1: controllerRegion: found "Sweden Central"; allowed: 1 to 63 of a-z, 0-9 and '-', beginning and ending with a letter or digit)"},
            {R"(name: orders-api)", R"(name: orders_api)",
             R"(3: failoverGroups[0].name: found "orders_api"; allowed: 1 to 63 of a-z, 0-9 and '-', beginning and ending with a letter or digit)"},
            {R"(name: orders-api)", R"(name: "")",
             R"(3: failoverGroups[0].name: found nothing; allowed: 1 to 63 of a-z, 0-9 and '-', beginning and ending with a letter or digit)"},
            {R"(name: apim-neu,)", R"(name: apim-weu,)",
             R"(8: failoverGroups[0].services[1].name: found "apim-weu" again, as in failoverGroups[0].services[0].name; allowed: each service name once in a group
26: failoverGroups[0].traffic.trafficManager.endpoints.apim-neu: found "apim-neu"; allowed: the group's services: apim-weu, apim-weu)"},
            {R"(region: northeurope,)", R"(region: North Europe,)",
             R"(8: failoverGroups[0].services[1].region: found "North Europe"; allowed: 1 to 63 of a-z, 0-9 and '-', beginning and ending with a letter or digit)"},
            {R"(service/apim-neu})", R"(service/APIM-WEU})",
             R"(8: failoverGroups[0].services[1].resourceId: found "/subscriptions/s/resourceGroups/g/providers/Microsoft.ApiManagement/service/APIM-WEU" again, as in failoverGroups[0].services[0].resourceId; allowed: each API Management service once, whatever the case of its id)"},
            {R"(Microsoft.ApiManagement/service/apim-neu})",
             R"(Microsoft.ApiManagement/services/apim-neu})",
             R"(8: failoverGroups[0].services[1].resourceId: found "/subscriptions/s/resourceGroups/g/providers/Microsoft.ApiManagement/services/apim-neu"; allowed: /subscriptions/ID/resourceGroups/NAME/providers/Microsoft.ApiManagement/service/NAME)"},
            {R"(  - {name: apim-neu)", R"(  #- {name: apim-neu)",
             R"(6: failoverGroups[0].services: found 1; allowed: 2 to 16 services, an active one and its standbys
26: failoverGroups[0].traffic.trafficManager.endpoints.apim-neu: found "apim-neu"; allowed: the group's services: apim-weu)"},
            {R"(name: extra)", R"(name: status)",
             R"(15: failoverGroups[0].probes[1].name: found "status" again, as in failoverGroups[0].probes[0].name; allowed: each probe name once in a group)"},
            {R"(decides: true)", R"(decides: true
  - {name: third, http: {path: /}, decides: true})",
             R"(19: failoverGroups[0].probes[3].decides: found "true"; allowed: one deciding probe in a group (default: the first probe))"},
            {R"(timeout: 2s)", R"(timeout: 6s)",
             R"(13: failoverGroups[0].probes[0].timeout: found "6s"; allowed: at most the interval, 5s)"},
            {R"(timeout: 2s)", R"(timeout: 2h)",
             R"(13: failoverGroups[0].probes[0].timeout: found "2h"; allowed: 10ms to 1m)"},
            {R"(failureThreshold: 3)", R"(failureThreshold: 0)",
             R"(14: failoverGroups[0].probes[0].failureThreshold: found "0"; allowed: 1 to 20)"},
            {R"(path: /status)", R"(path: status)",
             R"(11: failoverGroups[0].probes[0].http.path: found "status"; allowed: a path beginning with '/', without spaces or '#', percent-encoded)"},
            {R"(path: /status)", R"(path: "")",
             R"(11: failoverGroups[0].probes[0].http.path: found nothing; allowed: a path beginning with '/', without spaces or '#', percent-encoded)"},
            {R"("200")", R"("20x")",
             R"(11: failoverGroups[0].probes[0].http.expectStatus[0]: found "20x"; allowed: a status such as "200" or a range such as "200-299", 100 to 599)"},
            {R"("200")", R"("299-200")",
             R"(11: failoverGroups[0].probes[0].http.expectStatus[0]: found "299-200"; allowed: a status such as "200" or a range such as "200-299", 100 to 599)"},
            {R"("200")", R"(200)",
             R"(11: failoverGroups[0].probes[0].http.expectStatus[0]: found "200"; allowed: text; write "200" in quotes)"},
            {R"(expectBodyRegex: OK)", R"(expectBodyRegex: "(OK")",
             R"(11: failoverGroups[0].probes[0].http.expectBodyRegex: found "(OK"; allowed: a regular expression in RE2's syntax (missing ): (OK))"},
            {R"(host: api.contoso.com)", R"(host: https://api.contoso.com)",
             R"(11: failoverGroups[0].probes[0].http.host: found "https://api.contoso.com"; allowed: a host name without scheme, port and path)"},
            {R"(x-probe: one)", R"("x probe": one)",
             R"(11: failoverGroups[0].probes[0].http.headers: found "x probe"; allowed: a header name: letters, digits and !#$%&'*+-.^_`|~)"},
            {R"(x-probe: one)", R"(x-probe: "a\nb")",
             R"(11: failoverGroups[0].probes[0].http.headers.x-probe: found a value with a line break or another control character, or of more than 1024 bytes; allowed: printable ASCII)"},
            {R"(x-probe: one)", R"(Host: a)",
             R"(11: failoverGroups[0].probes[0].http.headers.Host: found "Host"; allowed: other headers; the public host name is set by http.host)"},
            {R"(x-probe: one)", R"(x-probe: one, X-Probe: two)",
             R"(11: failoverGroups[0].probes[0].http.headers.x-probe: found "x-probe" again, as in failoverGroups[0].probes[0].http.headers.X-Probe; allowed: each header once)"},
            {R"(uksouth])", R"(westeurope])",
             R"(19: failoverGroups[0].probeRegions[2]: found "westeurope" again, as in failoverGroups[0].probeRegions[0]; allowed: each probe region once)"},
            {R"(, uksouth])", R"(])",
             R"(19: failoverGroups[0].probeRegions: found 2; allowed: with mode automatic at least 3)"},
            {R"(quorum: 2)", R"(quorum: 4)",
             R"(20: failoverGroups[0].quorum: found "4"; allowed: 1 to 3, the number of probeRegions)"},
            {R"(quorum: 2)", R"(quorum: 1)",
             R"(20: failoverGroups[0].quorum: found "1"; allowed: with mode automatic more than half of the 3 probeRegions)"},
            {R"(https://www.microsoft.com/)", R"(ftp://www.microsoft.com/)",
             R"(21: failoverGroups[0].controlTargets[0]: found URL "ftp://www.microsoft.com/", of another scheme; allowed: http(s)://HOST[:PORT][/PATH])"},
            {R"(https://www.microsoft.com/)", R"(https://user:pass@www.microsoft.com/)",
             R"(21: failoverGroups[0].controlTargets[0]: found URL "@www.microsoft.com/", with user information; allowed: http(s)://HOST[:PORT][/PATH])"},
            {R"(maxPerDay: 2)", R"(maxPerDay: 0)",
             R"(22: failoverGroups[0].failover.maxPerDay: found "0"; allowed: 1 to 100)"},
            {R"(minDownDuration: 10s)", R"(minDownDuration: 2h)",
             R"(22: failoverGroups[0].failover.minDownDuration: found "2h"; allowed: 0s to 1h)"},
            {R"(rpo: 8h)", R"(rpo: 500ms)",
             R"(5: failoverGroups[0].objectives.rpo: found "500ms"; allowed: 1s to 365d)"},
            {R"(publicUrl: https://api)", R"(publicUrl: api)",
             R"(24: failoverGroups[0].traffic.publicUrl: found URL "api.contoso.com/status", without a scheme; allowed: http(s)://HOST[:PORT][/PATH])"},
            {R"(servedBy: address)", R"(servedBy: adress)",
             R"(25: failoverGroups[0].traffic.servedBy: found "adress"; allowed: address, or a section with the keys header)"},
            {R"(servedBy: address)", R"(servedBy: {header: "x y"})",
             R"(25: failoverGroups[0].traffic.servedBy.header: found "x y"; allowed: a header name: letters, digits and !#$%&'*+-.^_`|~)"},
            {R"(trafficManagerProfiles/contoso)", R"(profiles/contoso)",
             R"(26: failoverGroups[0].traffic.trafficManager.profileResourceId: found "/subscriptions/s/resourceGroups/g/providers/Microsoft.Network/profiles/contoso"; allowed: /subscriptions/ID/resourceGroups/NAME/providers/Microsoft.Network/trafficManagerProfiles/NAME)"},
            {R"(apim-neu: neu)", R"(apim-xyz: neu)",
             R"(26: failoverGroups[0].traffic.trafficManager.endpoints: found no endpoint for service "apim-neu"; allowed: one for each of the group's services
26: failoverGroups[0].traffic.trafficManager.endpoints.apim-xyz: found "apim-xyz"; allowed: the group's services: apim-weu, apim-neu)"},
            {R"(apim-neu: neu)", R"(apim-neu: WEU)",
             R"(26: failoverGroups[0].traffic.trafficManager.endpoints.apim-weu: found "weu" again, as in failoverGroups[0].traffic.trafficManager.endpoints.apim-neu; allowed: another endpoint for each service)"},
            {R"(endpointType: ExternalEndpoints)", R"(endpointType: externalEndpoints)",
             R"(26: failoverGroups[0].traffic.trafficManager.endpointType: found "externalEndpoints"; allowed: ExternalEndpoints, AzureEndpoints, NestedEndpoints)"},
            {R"(    trafficManager:)", R"(    #trafficManager:)",
             R"(23: failoverGroups[0].traffic.trafficManager: found nothing; allowed: with mode automatic or approve a section that says what to switch)"},
            {R"(interval: 6h)", R"(interval: 31d)",
             R"(28: failoverGroups[0].sync.interval: found "31d"; allowed: 1s to 30d
29: failoverGroups[0].sync.backupLifetime: found "30d"; allowed: a backupLifetime longer than the interval)"},
            {R"(backupLifetime: 30d)", R"(backupLifetime: 6h)",
             R"(29: failoverGroups[0].sync.backupLifetime: found "6h"; allowed: a backupLifetime longer than the interval)"},
            {R"(backupLifetime: 30d)", R"(backupLifetime: 60d)",
             R"(29: failoverGroups[0].sync.backupLifetime: found "60d"; allowed: 1s to 30d)"},
            {R"(account: contosodr)", R"(account: Contoso-DR)",
             R"(30: failoverGroups[0].sync.storage.account: found "Contoso-DR"; allowed: a storage account's name: 3 to 24 of a-z and 0-9)"},
            {R"(container: apim-backups)", R"(container: apim--backups)",
             R"(30: failoverGroups[0].sync.storage.container: found "apim--backups"; allowed: a container's name: 3 to 63 of a-z, 0-9 and single '-', beginning and ending with a letter or digit)"},
            {R"(access: accessKey)", R"(access: userAssignedIdentity)",
             R"(30: failoverGroups[0].sync.storage.clientId: found nothing; allowed: with userAssignedIdentity the identity's client id)"},
            {R"(access: accessKey)", R"(access: accessKey, clientId: abc)",
             R"(30: failoverGroups[0].sync.storage.clientId: found "abc"; allowed: nothing, except with access: userAssignedIdentity)"},
            {R"(accessKeyFile: storage-key)", R"(accessKeyFile: none)",
             R"(30: failoverGroups[0].sync.storage.accessKeyFile: found "none" (DIR/none: cannot open: No such file or directory); allowed: a readable file with the storage account's access key)"},
            {R"(, accessKeyFile: storage-key)", R"()",
             R"(30: failoverGroups[0].sync.storage.accessKeyFile: found nothing; allowed: a readable file with the storage account's access key)"},
            {R"(accessKeyFile: storage-key)", R"(accessKeyFile: not-base64)",
             R"(30: failoverGroups[0].sync.storage.accessKeyFile: found "not-base64"; allowed: a file with one access key in base64)"},
            {R"("^loggers/")", R"("[")",
             R"(31: failoverGroups[0].sync.verify.ignore[0]: found "["; allowed: a regular expression in RE2's syntax (missing ]: [))"},
            {R"(ambiguityWait: 120s)", R"(ambiguityWait: 25h)",
             R"(32: timing.ambiguityWait: found "1d1h"; allowed: 1ms to 1d)"},
            {R"(verifyReadsPerSecond: 10)", R"(verifyReadsPerSecond: 0)",
             R"(32: timing.verifyReadsPerSecond: found "0"; allowed: 1 to 1000)"},
            {R"(tenantId: tenant)", R"(tenantId: a/b)",
             R"(33: azure.tenantId: found "a/b"; allowed: the directory's id or domain)"},
            {R"(clientSecretFile: client-secret)",
             R"(clientSecretFile: empty)", R"(33: azure.clientSecretFile: found "empty" (DIR/empty: found nothing; allowed: a secret); allowed: a readable file with the client secret)"},
            {R"(auth: clientSecret)", R"(auth: certificate)",
             R"(33: azure.auth: found "certificate"; allowed: clientSecret, workloadIdentity, managedIdentity)"},
            {R"(auth: clientSecret)", R"(auth: managedIdentity)",
             R"(33: azure.clientSecretFile: found "client-secret"; allowed: nothing, except with auth: clientSecret)"},
            {R"(auth: clientSecret, tenantId: tenant, clientId: c, clientSecretFile: client-secret)",
             R"(auth: managedIdentity, clientId: a/b)",
             R"(33: azure.clientId: found "a/b"; allowed: letters, digits and '-')"},
            {R"(auth: clientSecret, tenantId: tenant, clientId: c, clientSecretFile: client-secret)",
             R"(auth: managedIdentity, imdsEndpoint: "http://imds.example")",
             R"(33: azure.imdsEndpoint: found "http://imds.example"; allowed: an https URL (http for a link-local or loopback address only))"},
            {R"(auth: clientSecret, tenantId: tenant, clientId: c, clientSecretFile: client-secret)",
             R"(auth: managedIdentity, imdsEndpoint: "http://169.254.169.254/?x=y")",
             R"(33: azure.imdsEndpoint: found "http://169.254.169.254/?x=y"; allowed: a URL without a query)"},
            {R"(auth: clientSecret, tenantId: tenant, clientId: c, clientSecretFile: client-secret)",
             R"(auth: workloadIdentity)",
             R"(33: azure.tenantId: found nothing; allowed: the directory's id or domain (default: AZURE_TENANT_ID of the environment)
33: azure.clientId: found nothing; allowed: letters, digits and '-' (default: AZURE_CLIENT_ID of the environment)
33: azure.federatedTokenFile: found nothing; allowed: a readable file with the pod's federated token (default: AZURE_FEDERATED_TOKEN_FILE of the environment))"},
            {R"(auth: clientSecret)", R"(auth: clientSecret, federatedTokenFile: token)",
             R"(33: azure.federatedTokenFile: found "token"; allowed: nothing, except with auth: workloadIdentity)"},
            {R"(auth: clientSecret)", R"(auth: clientSecret, armEndpoint: "http://arm.example")",
             R"(33: azure.armEndpoint: found "http://arm.example"; allowed: an https URL (http for a loopback address only))"},
            {R"(auth: clientSecret)", R"(auth: clientSecret, blobEndpoint: "https://blob.example")",
             R"(33: azure.blobEndpoint: found "https://blob.example"; allowed: a URL with {account} in it)"},
            {R"(auth: clientSecret)", R"(auth: clientSecret, apiVersion: "2022-8-1")",
             R"(33: azure.apiVersion: found "2022-8-1"; allowed: YYYY-MM-DD or YYYY-MM-DD-preview)"},
            {R"(auth: clientSecret)", R"(auth: clientSecret, apiVersion: 2022)",
             R"(33: azure.apiVersion: found "2022"; allowed: text; write "2022" in quotes)"},
            {R"(auth: clientSecret)", R"(auth: clientSecret, armScope: everything)",
             R"(33: azure.armScope: found "everything"; allowed: a scope ending in /.default)"},
            {R"(auth: clientSecret)", R"(auth: clientSecret, caFile: tls.key)",
             R"(33: azure.caFile: found "tls.key"; allowed: a PEM file with at least one certificate)"},
            {R"(keyFile: tls.key)", R"(keyFile: missing.key)",
             R"(35: tls.keyFile: found "missing.key" (DIR/missing.key: cannot open: No such file or directory); allowed: a readable PEM file with the certificate's private key)"},
            {R"(caFile: ca.crt})",
             R"(caFile: ca.crt, controllerIdentity: "spiffe://a/controller/*"})",
             R"(35: tls.controllerIdentity: found "spiffe://a/controller/*"; allowed: nothing: agents and failoverctl say which controller they expect)"},
            {R"(agentAddress: 0.0.0.0:7443)", R"(agentAddress: 0.0.0.0)",
             R"(34: agentAddress: found "0.0.0.0"; allowed: HOST:PORT, port 0 to 65535, an IPv6 address in brackets)"},
            {R"(agentAddress: 0.0.0.0:7443)", R"(agentAddress: 10.0.0.1:7444)",
             R"(1: operatorAddress: found "0.0.0.0:7444"; allowed: another address than agentAddress)"},
            {R"(agentAddress: 0.0.0.0:7443)", R"(agentAddress: 10.0.0.1:70000)",
             R"(34: agentAddress: found "10.0.0.1:70000"; allowed: HOST:PORT, port 0 to 65535, an IPv6 address in brackets)"},
            {R"(store: {directory: state})", R"()",
             R"(1: store: found nothing; allowed: directory (files) or kubernetes (ConfigMaps))"},
};

class ConfigMessagesTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (fs::path(testing::TempDir()) / "messages-XXXXXX").string();
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    directory_ = pattern;
    for (const char* name : {"AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_AUTHORITY_HOST",
                             "AZURE_FEDERATED_TOKEN_FILE"}) {
      unsetenv(name);  // of a build machine in Azure
    }
    Write("client-secret", "secret");
    Write("storage-key", Base64("a storage key"));
    Write("not-base64", "%%%");
    Write("empty", "\n");
    for (const char* file : {"tls.crt", "tls.key", "ca.crt"}) Write(file, "PEM");
  }
  void TearDown() override { fs::remove_all(directory_); }
  void Write(const std::string& name, const std::string& text) {
    std::ofstream(directory_ + "/" + name, std::ios::binary) << text;
  }
  // Without the file's name and directory; empty when the file is good.
  std::string Problems(const std::string& text) {
    const std::string file = directory_ + "/controller.yaml";
    Write("controller.yaml", text);
    const absl::Status status = LoadControllerConfig(file, 1, false).status();
    return absl::StrReplaceAll(status.message(), {{file + ":", ""}, {directory_, "DIR"}});
  }

  std::string directory_;
};

TEST_F(ConfigMessagesTest, TheFileThatTheTableEditsIsGood) { EXPECT_EQ(Problems(kGood), ""); }

TEST_F(ConfigMessagesTest, EveryImpossibleValueIsRefusedWithItsPlaceAndWhatIsAllowed) {
  for (const Row& row : kRows) {
    std::string text = kGood;
    const size_t at = text.find(row.from);
    ASSERT_NE(at, std::string::npos) << row.from;
    text.replace(at, std::string(row.from).size(), row.to);
    EXPECT_EQ(Problems(text), row.message) << row.from << " -> " << row.to;
  }
}

}  // namespace
}  // namespace failover
