#ifndef TESTS_AZURE_EMULATOR_CONTROL_API_H_
#define TESTS_AZURE_EMULATOR_CONTROL_API_H_

#include "tests/azure_emulator/world.h"

// clang-format off
// The control API of the emulated Azure: plain HTTP on a loopback port of its own, JSON in and out.
// Unknown keys, wrong types and impossible values are 400 {"problems": ["PATH: found …; allowed: …"]};
// an unknown thing is 404. Durations are "250ms", "5s", "1h30m", "30d". Names have any case.
//
//  GET    /_emulator/status
//         {time, services: [{name, region, sku, state, operation, configurationVersion, entities}],
//         requests}
//  PUT    /_emulator/world        replaces everything by a world (the format of the files in
//         tests/testdata/worlds). Gateways keep their listeners: addresses must not change.
//  GET    /_emulator/requests[?after=N][&all=true]
//         {requests: [{sequence, time, front, method, path, query, operation, service, blob,
//         endpointStatus (of a traffic write; empty: it sets none), status, applied, answerLost,
//         fault, clientRequestId, requestId, clientId, errorCode, operationId}], next}. Without all: requests that can change something (backup, restore,
//         entityWrite, trafficWrite, blobWrite, containerWrite, patchService …), the last 50,000;
//         with all: every one, the last 5,000. `applied`: the effect happened (also when the answer
//         was an error or was lost). Pass `next` as `after`.
//  DELETE /_emulator/requests     forgets them
//
//  POST   /_emulator/faults       one rule or {"rules": [...]} → {ids: [...]}
//         The first matching rule that fires decides a request.
//   match:  operation  token | imds | getService | patchService | putService | deleteService | backup |
//                      restore | poll | entityRead | entityWrite | trafficRead | trafficWrite |
//                      blobRead | blobWrite | containerRead | containerWrite | other
//           service (APIM service or Traffic Manager profile), method, pathContains;
//           absent = anything
//   when:   skip (matches passed over first, 0), times (how often it fires, -1 = always),
//           probability (1)
//   action: status          status, code, message, retryAfter
//           reset           the connection is reset
//           truncate        half a body
//           malformed       not JSON
//           silence         nothing at all
//                           These five with after: true take effect, only the answer is lost.
//           slow            delay before the answer (real time)
//           slowBody        the body drips, one byte a second
//           throttle        429 with retryAfter (seconds), enforced: earlier requests are refused
//           location        location: absent | relative | foreign | changed (on 202 answers)
//           retryAfter      retryAfter: "absent", "0", "86400", … (on 202 answers)
//           operation       of an accepted backup or restore: outcome {kind: fail | failPartial |
//                           stuck | blobMissing | blobEmpty | blobOld | blobGarbage, status, code,
//                           message, duration}
//           trafficIgnored  a Traffic Manager write answers 200 but changes nothing
//           trafficOldRead  after this write, reads show the old state for `delay` (virtual time)
//   Examples: {"operation":"backup","action":"reset","after":true,"times":1}
//               the answer of the next POST backup is lost
//             {"operation":"restore","action":"operation","times":1,
//              "outcome":{"kind":"fail","code":"ActivationFailed"}}
//             {"operation":"poll","action":"status","status":503,"probability":0.2}
//  GET    /_emulator/faults
//  DELETE /_emulator/faults[/ID]
//
//  GET|PATCH /_emulator/clock     {now, rate}; PATCH {"advance": "5h"} and/or {"rate": 60} and/or
//         {"now": "2026-…Z"}; never backwards
//  GET|PATCH /_emulator/switches  every point azure.md calls unknown, by the names of `Switches` in
//         camelCase
//  GET|PATCH /_emulator/timing    {"backup": {"min","max"}, "restore": {…}, "update": {…},
//         "retryAfter": seconds, "tokenLifetime", "pageSize"}
//  POST   /_emulator/tokens/revoke              every token issued so far is refused from now on
//  GET|PUT /_emulator/clients/CLIENT_ID/roles   {"roles": [{"scope", "actions": [...]}]}
//  GET|PUT /_emulator/clients/CLIENT_ID/lacks   {"actions": [...]}: these are answered 403
//         AuthorizationFailed, whatever the roles say
//  GET|PUT /_emulator/clients/CLIENT_ID/federatedCredentials   {"federatedCredentials": [{"issuer",
//         "subject", "audience"}]}: whose tokens Entra takes as client_assertion; '*' matches
//         anything in issuer and subject. Signatures are not checked.
//  GET|PATCH /_emulator/machine   {"systemIdentity", "userIdentities": [...]}: client ids of the
//         identities that IMDS gives tokens of. IMDS fails by faults on operation imds:
//         {"operation":"imds","action":"status","status":410,"times":3}
//
//  GET|PATCH /_emulator/services/NAME  PATCH {sku, capacity, systemIdentity, userIdentities,
//         workspaces, minApiVersion, provisioningState}
//  POST   /_emulator/services/NAME/configuration  replaces all entities:
//         {"kind": "realistic" | "pristine" | "empty", "seed": 1, "apis": 30}
//  GET    /_emulator/services/NAME/entities       {entities: {path: properties}}
//  GET|PUT|DELETE /_emulator/services/NAME/entities/PATH  one entity's properties, secrets included:
//         apis/orders, apis/orders/operations/get, apis/orders/policies/policy, products/gold,
//         namedValues/key, backends/b, policies/policy …
//  GET|PATCH /_emulator/operations[/ID]  PATCH {"finish": true} ends it now, {"extend": "1h"} makes
//         it longer. The ID as it is or percent-encoded.
//  PATCH  /_emulator/storageAccounts/NAME  {key, sharedKeyAccess, firewall, trustedServices,
//         firewallRegions, corsWithPatch, contributors}
//  GET|PATCH /_emulator/trafficManagerProfiles/NAME  a foreign change: {"enabled", "ttl",
//         "propagation", "monitorLag", "endpoints": {NAME: {"enabled", "priority", "target"}}}
//
//  GET|PATCH /_emulator/gateways[/NAME]  NAME is a service or "neutral". PATCH {"mode", "status",
//         "delay", "region", "stale", "certificate"}:
//         mode         ok | cut (connection refused) | reset | hang (accepts, never answers) |
//                      tlsHang | slow (delay) | status (answers `status`, 503) | slowBody | wrongBody
//         region       only for probes from that probe region (by source address, see
//                      probeRegions); a cut is then a reset after accept
//         stale        true: /config-version keeps answering what it answers now
//         certificate  good | wrongName | expired | selfSigned (for new connections)
//         Without region the mode holds for everybody and clears the regions' own modes.
//
//  GET    /_emulator/dns?name=NAME   what the DNS server answers: {chain: [...], address, ttl, rcode}
//  DELETE /_emulator/blobs/ACCOUNT/CONTAINER/NAME   a blob disappears (own blob endpoint only)
// clang-format on
namespace failover::emulator {

// Pure, like Handle(); the emulator hands the gateways over after each call. `now` is virtual.
// `real_now` anchors a change of the clock.
Answer HandleControl(World& world, const Request& request, absl::Time now, absl::Time real_now);

}  // namespace failover::emulator

#endif  // TESTS_AZURE_EMULATOR_CONTROL_API_H_
