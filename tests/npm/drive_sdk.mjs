// Drives the emulated Azure with the unmodified SDK: backup, restore, a failure, a lock. Prints one JSON line of what it saw.
//   node drive_sdk.mjs ARM-URL SUBSCRIPTION RESOURCE-GROUP ACTIVE STANDBY ACCOUNT KEY TENANT CLIENT-ID CLIENT-SECRET
// The CA of the emulator comes by NODE_EXTRA_CA_CERTS.
import { ApiManagementClient } from "@azure/arm-apimanagement";

const [arm, subscription, group, active, standby, account, key, tenant, clientId, secret] = process.argv.slice(2);

// The token, as an application gets it (the SDK's own credential classes need the public authority's discovery documents).
const credential = {
  async getToken(scopes) {
    const body = new URLSearchParams({
      grant_type: "client_credentials", client_id: clientId, client_secret: secret, scope: [scopes].flat()[0],
    });
    const response = await fetch(`${arm}/${tenant}/oauth2/v2.0/token`, { method: "POST", body });
    const answer = await response.json();
    if (!response.ok) throw new Error(`token: ${response.status} ${JSON.stringify(answer)}`);
    return { token: answer.access_token, expiresOnTimestamp: Date.now() + answer.expires_in * 1000 };
  },
};
const client = new ApiManagementClient(credential, subscription, { endpoint: arm, credentialScopes: ["https://management.azure.com/.default"] });
const storage = (backupName) => ({ storageAccount: account, containerName: "apim-backups", backupName, accessType: "AccessKey", accessKey: key });
const failure = async (promise) => {
  try {
    await promise;
    return "no error";
  } catch (error) {
    return error.code ?? error.message;
  }
};

const seen = {};
const service = await client.apiManagementService.get(group, active);
seen.sku = service.sku.name;
seen.apis = 0;
for await (const api of client.api.listByService(group, active)) seen.apis += api.name ? 1 : 0;

const backup = await client.apiManagementService.beginBackup(group, active, storage("sdk/first"));
seen.locked = await failure(client.apiManagementService.beginBackupAndWait(group, active, storage("sdk/second")));
await backup.pollUntilDone();
seen.backup = "done";

await client.apiManagementService.beginRestoreAndWait(group, standby, storage("sdk/first"));
seen.restoredApis = 0;
for await (const api of client.api.listByService(group, standby)) seen.restoredApis += api.name ? 1 : 0;
seen.missingBlob = await failure(client.apiManagementService.beginRestoreAndWait(group, standby, storage("sdk/none")));
seen.missingService = await failure(client.apiManagementService.get(group, "no-such-service"));
console.log(JSON.stringify(seen));
