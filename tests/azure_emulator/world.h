#ifndef TESTS_AZURE_EMULATOR_WORLD_H_
#define TESTS_AZURE_EMULATOR_WORLD_H_

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "tests/azure_emulator/blob_store.h"
#include "tests/azure_emulator/faults.h"
#include "tests/azure_emulator/json_fields.h"
#include "tests/azure_emulator/message.h"

namespace failover::emulator {

// One APIM entity (azure.md §3.2). `path` is relative to the service: "apis/orders/operations/get".
struct Entity {
  std::string path;      // as it was spelt when created
  Json properties;       // with secrets; readers never see those
  uint64_t version = 0;  // makes the ETag
  uint64_t hash = 0;     // of path and properties
};

// One backup, restore, or service update (azure.md §1.2).
struct Operation {
  std::string id;                 // base64, with raw '='
  std::set<std::string> aliases;  // further ids handed out by a "location changed" fault
  std::string service;            // key
  std::string verb;               // Backup, Restore, Act
  std::string api_version;
  absl::Time start, work_at, end;  // work: the snapshot of a backup, the replacement of a restore
  bool worked = false, ended = false;
  std::string account, container, blob;  // backup, restore
  OperationFault fault;
  // The failure it will end with: status 0 = none.
  int error_status = 0;
  std::string error_code, error_message;
  Json payload;  // backup: the snapshot; restore: the decoded backup; Act: the body
  bool deletes = false;
};

// A service's data plane, as the probes see it (azure.md §5).
struct GatewayBehavior {
  // ok, cut, reset, hang, tlsHang, slow, status, slowBody, wrongBody
  std::string mode = "ok";
  int status = 503;
  absl::Duration delay = absl::Seconds(1);
  bool operator==(const GatewayBehavior&) const = default;
};
struct Gateway {
  std::string address;  // loopback address it listens on; empty = none
  bool tls = true;
  std::vector<std::string> host_names;  // in the certificate, beside the default one
  std::string certificate = "good";     // good, wrongName, expired, selfSigned
  GatewayBehavior all;
  std::map<std::string, GatewayBehavior> regions;  // by probe region; wins over `all`
  bool stale = false;  // keeps serving the configuration it had when this was set
  std::string stale_version;
};

struct Service {
  std::string subscription, resource_group, name, region;
  std::string sku = "Premium";
  int capacity = 1;
  bool system_identity = true;
  std::map<std::string, std::string> user_identities;  // resource id → client id
  std::set<std::string> workspaces;
  std::string min_api_version;                   // empty = none
  std::string provisioning_state = "Succeeded";  // while idle
  std::vector<std::string> host_names;           // custom gateway host names
  Json tags = Json::object();
  Json custom_properties = Json::object();
  absl::Time created, configuration_changed;
  uint64_t etag = 0;
  std::map<std::string, Entity> entities;  // key: lower-case path
  uint64_t configuration_hash = 0;         // of all entities, order-free
  Gateway gateway;
  std::string operation;  // id of the running one; empty = idle

  std::string Id() const;
  std::string ConfigurationVersion() const;  // equal exactly when the entities are
};

struct StorageAccount {
  std::string name, region, key;  // key: base64
  bool shared_key_access = true;
  bool firewall = false;
  bool trusted_services = true;            // with firewall: system-assigned identities pass
  std::set<std::string> firewall_regions;  // with firewall: APIM regions let in with a key
  bool cors_with_patch = false;            // the rule that makes Azure refuse a backup
  std::set<std::string>
      contributors;  // APIM services (by name) or client ids with Storage Blob Data Contributor
};

struct TrafficEndpoint {
  std::string name, type = "externalEndpoints", target, location;
  int priority = 1, weight = 1;
  bool enabled = true, always_serve = false;
  std::string monitor = "Online";         // as reported
  std::optional<absl::Time> monitor_due;  // when `monitor_next` is reported
  std::string monitor_next;
};
struct TrafficProfile {
  std::string subscription, resource_group, name, relative_name, public_name;
  int ttl = 30;
  bool enabled = true;
  absl::Duration propagation;  // to the name servers
  absl::Duration monitor_lag = absl::Seconds(10);
  Json monitor_config, tags = Json::object();
  std::vector<TrafficEndpoint> endpoints;
  // What DNS answers: the state before the changes still on their way.
  struct Change {
    absl::Time due;
    bool enabled;
    std::vector<TrafficEndpoint> endpoints;
  };
  std::deque<Change> changes;
  bool served_enabled = true;
  std::vector<TrafficEndpoint> served;
  // Readers see this until `old_until` (fault trafficOldRead).
  absl::Time old_until = absl::InfinitePast();
  std::vector<TrafficEndpoint> old;

  std::string Id() const;
  std::string Fqdn() const;
};

struct RoleAssignment {
  std::string scope;                 // resource id prefix
  std::vector<std::string> actions;  // '*' matches anything
};
// Whose tokens prove that somebody is the client; '*' matches anything in issuer and subject.
struct FederatedCredential {
  std::string issuer, subject, audience = "api://AzureADTokenExchange";
};
struct Client {
  std::string tenant, client_id, object_id, secret;  // secret: empty = none is accepted
  std::vector<RoleAssignment> roles;
  std::vector<std::string> lacks;  // actions that no role gives; '*' matches anything
  std::vector<FederatedCredential> federated;
};

// The machine that asks IMDS: its identities, by client id.
struct Machine {
  std::string system_identity;  // empty = none
  std::set<std::string> user_identities;
};

struct Span {
  absl::Duration shortest, longest;
};

// Points on which no source says what Azure does (azure.md, "Not found"), and compatibility modes.
struct Switches {
  std::string storage_errors = "early";      // early (400 on the POST) | late (400 on a poll)
  std::string restore_errors = "late";       // blob missing, garbage
  std::string missing_container = "create";  // create (2022 text) | error (2016, 2020 text)
  std::string busy_state =
      "Updating";  // provisioningState in GET during an operation; "" = unchanged
  std::string busy_target_state = "Updating";
  absl::Duration result_retention = absl::Hours(24 * 36500);  // of operation results; then 404
  bool restore_checks_capacity = false;
  std::string gateway_during_restore = "ok";        // ok | cut | status (503)
  std::string sync_state = "works";                 // works | notFound | frozen
  std::string status_body = "Service Operational";  // of /status-0123456789abcdef
  absl::Duration backup_lifetime = absl::Hours(24 * 30);
  absl::Duration legacy_backup_lifetime =
      absl::Hours(24 * 7);           // backups made by api-version 2014-02-14
  bool legacy_api_versions = false;  // answer api-versions before 2021-08-01
  bool etag_changes_with_operations = true;
  bool if_match_required = true;  // on updates of existing entities
  double work_fraction =
      -1;  // of the duration, when the snapshot / the replacement happens; -1 = drawn
  std::map<std::string, std::string>
      error_codes;  // containerMissing, storageDenied, identityMissing, backupExpired, blobMissing,
                    // blobGarbage, activationFailed
};

struct TokenBucket {
  double burst = 250, per_second = 25;
  double level = 250;
  absl::Time filled = absl::InfinitePast();
};

struct LogEntry {
  uint64_t sequence = 0;
  absl::Time time;
  Front front = Front::kArm;
  std::string method, path, query;
  int status = 0;
  RequestClass what;
  std::string client_request_id, request_id, client_id, error_code, fault, operation_id;
  std::string endpoint_status;  // traffic writes: the endpointStatus in the request, if any
  bool applied = false;         // it changed the world
  bool answer_lost = false;     // the client did not get this answer
};

// What `now` is: real time moved and stretched.
struct ClockSetting {
  absl::Time real_anchor, virtual_anchor;
  double rate = 1;
  absl::Time At(absl::Time real) const { return virtual_anchor + rate * (real - real_anchor); }
  // The inverse; the anchor while the clock stands.
  absl::Time RealAt(absl::Time at) const {
    return rate > 0 ? real_anchor + (at - virtual_anchor) / rate : real_anchor;
  }
};

// The whole state of the emulated Azure. Plain data: everything that happens to it happens in the
// functions below and in Handle(), none of which reads a clock or does I/O (but for external
// blobs).
struct World {
  std::map<std::string, Service> services;  // key: lower-case name
  std::map<std::string, StorageAccount> accounts;
  std::map<std::string, TrafficProfile> profiles;  // key: lower-case name
  std::map<std::string, Client> clients;           // key: client id
  Machine machine;
  std::map<std::string, Operation> operations;  // key: id
  std::set<std::string> soft_deleted;           // service names
  std::set<std::string> subscriptions;
  std::map<std::string, std::string> probe_regions;  // source address → probe region
  std::string neutral_host, neutral_address;
  Gateway neutral;

  Span backup_duration{absl::Minutes(8), absl::Minutes(12)};
  Span restore_duration{absl::Minutes(20), absl::Minutes(40)};
  Span update_duration{absl::Seconds(30), absl::Seconds(60)};
  int retry_after = 60;
  int page_size = 100;
  absl::Duration token_lifetime = absl::Seconds(3599);
  uint64_t tokens_issued = 0,
           tokens_revoked = 0;  // tokens up to number `tokens_revoked` are refused
  Switches switches;
  TokenBucket reads{250, 25, 250}, writes{200, 10, 200}, deletes{200, 10, 200};
  absl::Time throttled_until = absl::InfinitePast();

  std::vector<FaultRule> faults;
  uint64_t next_fault = 1;
  std::optional<FaultRule> active_fault;  // of the request being handled
  std::deque<LogEntry> log;               // every request, the last 5,000
  std::deque<LogEntry> effects;           // requests that could change something, the last 50,000
  uint64_t log_sequence = 0;

  ClockSetting clock;
  uint64_t seed = 1;
  std::mt19937_64 random{1};
  uint64_t versions = 0x19550000;  // ETags
  MemoryBlobs memory;
  BlobStore* external = nullptr;  // used instead of `memory` when set; not owned

  BlobStore& blobs() { return external != nullptr ? *external : memory; }
};

// Lets everything happen that is due by `now`, in the order of its time.
void Advance(World& world, absl::Time now);

// The answer to any request to ARM, Entra, IMDS or the blob endpoint (by request.front).
Answer Handle(World& world, const Request& request, absl::Time now);

// Lookups; names and ids in any case. Null when absent.
Service* FindService(World& world, absl::string_view name);
TrafficProfile* FindProfile(World& world, absl::string_view name);

// Entities. The only ways to change a service's configuration.
void PutEntity(World& world, Service& service, const std::string& path, Json properties,
               absl::Time now);
bool EraseEntity(Service& service, absl::string_view path, absl::Time now);  // children too
void ClearEntities(Service& service, absl::Time now);
std::string EntityEtag(const Entity& entity);  // unquoted
// Path of a known kind with a non-empty name at every level ("apis/x/operations/y").
bool IsEntityPath(absl::string_view path);

// Determinism: everything random comes from the world's generator.
std::string DrawGuid(World& world);
absl::Duration DrawSpan(World& world, const Span& span);
double DrawFraction(World& world);

// Region name → display name ("westeurope" → "West Europe").
std::string DisplayRegion(absl::string_view region);

// {"error":{"code","message","details":null,"innerError":null}}
Answer ArmError(int status, absl::string_view code, absl::string_view message);
Answer JsonAnswer(int status, const Json& body);
// Ends the connection between a service and its traffic: tells whether probes from anywhere see it
// well.
bool GatewayHealthy(const World& world, absl::string_view target);
// Records a change of a profile for DNS and monitoring.
void ProfileChanged(TrafficProfile& profile, absl::Time now);

}  // namespace failover::emulator

#endif  // TESTS_AZURE_EMULATOR_WORLD_H_
