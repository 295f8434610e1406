// Settings that both a world file and the control API carry.
#include "absl/strings/str_cat.h"
#include "tests/azure_emulator/world_file.h"

namespace failover::emulator {
namespace {

void ReadSpan(Fields& fields, absl::string_view key, Span& span) {
  fields.Object(key, [&](Fields& f) {
    f.Span("min", span.shortest);
    f.Span("max", span.longest);
    if (span.shortest > span.longest) f.Problem("max", "allowed: at least min");
  });
}

Json SpanJson(const Span& span) {
  return {{"min", FormatSpan(span.shortest)}, {"max", FormatSpan(span.longest)}};
}

constexpr absl::string_view kErrorCodes[] = {"containerMissing", "storageDenied", "identityMissing",
                                             "backupExpired",    "blobMissing",   "blobGarbage",
                                             "activationFailed"};

}  // namespace

void ReadSwitches(Fields& f, Switches& s) {
  f.Choice("storageErrors", s.storage_errors, {"early", "late"});
  f.Choice("restoreErrors", s.restore_errors, {"early", "late"});
  f.Choice("missingContainer", s.missing_container, {"create", "error"});
  f.String("busyState", s.busy_state);
  f.String("busyTargetState", s.busy_target_state);
  f.Span("resultRetention", s.result_retention);
  f.Bool("restoreChecksCapacity", s.restore_checks_capacity);
  f.Choice("gatewayDuringRestore", s.gateway_during_restore, {"ok", "cut", "status"});
  f.Choice("syncState", s.sync_state, {"works", "notFound", "frozen"});
  f.String("statusBody", s.status_body);
  f.Span("backupLifetime", s.backup_lifetime);
  f.Span("legacyBackupLifetime", s.legacy_backup_lifetime);
  f.Bool("legacyApiVersions", s.legacy_api_versions);
  f.Bool("etagChangesWithOperations", s.etag_changes_with_operations);
  f.Bool("ifMatchRequired", s.if_match_required);
  f.Number("workFraction", s.work_fraction, -1, 1);
  f.Object("errorCodes", [&](Fields& codes) {
    for (const absl::string_view name : kErrorCodes) {
      std::string code;
      if (codes.String(name, code)) s.error_codes[std::string(name)] = code;
    }
  });
}

Json SwitchesJson(const Switches& s) {
  Json codes = Json::object();
  for (const auto& [name, code] : s.error_codes) codes[name] = code;
  return {{"storageErrors", s.storage_errors},
          {"restoreErrors", s.restore_errors},
          {"missingContainer", s.missing_container},
          {"busyState", s.busy_state},
          {"busyTargetState", s.busy_target_state},
          {"resultRetention", FormatSpan(s.result_retention)},
          {"restoreChecksCapacity", s.restore_checks_capacity},
          {"gatewayDuringRestore", s.gateway_during_restore},
          {"syncState", s.sync_state},
          {"statusBody", s.status_body},
          {"backupLifetime", FormatSpan(s.backup_lifetime)},
          {"legacyBackupLifetime", FormatSpan(s.legacy_backup_lifetime)},
          {"legacyApiVersions", s.legacy_api_versions},
          {"etagChangesWithOperations", s.etag_changes_with_operations},
          {"ifMatchRequired", s.if_match_required},
          {"workFraction", s.work_fraction},
          {"errorCodes", codes}};
}

void ReadTiming(Fields& f, World& world) {
  ReadSpan(f, "backup", world.backup_duration);
  ReadSpan(f, "restore", world.restore_duration);
  ReadSpan(f, "update", world.update_duration);
  f.Int("retryAfter", world.retry_after, 0, 86400);
  f.Span("tokenLifetime", world.token_lifetime);
  f.Int("pageSize", world.page_size, 1, 10000);
}

Json TimingJson(const World& world) {
  return {{"backup", SpanJson(world.backup_duration)},
          {"restore", SpanJson(world.restore_duration)},
          {"update", SpanJson(world.update_duration)},
          {"retryAfter", world.retry_after},
          {"tokenLifetime", FormatSpan(world.token_lifetime)},
          {"pageSize", world.page_size}};
}

void ReadServiceSettings(Fields& f, Service& service) {
  f.Choice("sku", service.sku,
           {"Developer", "Basic", "Standard", "Premium", "Isolated", "Consumption", "BasicV2",
            "StandardV2", "PremiumV2"});
  f.Int("capacity", service.capacity, 0, 100);
  f.Bool("systemIdentity", service.system_identity);
  f.StringSet("workspaces", service.workspaces);
  f.String("minApiVersion", service.min_api_version);
  f.String("provisioningState", service.provisioning_state);
  Json identities;
  if (!f.Any("userIdentities", identities)) return;
  std::map<std::string, std::string> read;
  bool good = identities.is_object();
  if (good) {
    for (const auto& [id, client] : identities.items()) {
      good &= client.is_string();
      if (client.is_string()) read[id] = client.get<std::string>();
    }
  }
  if (!good) {
    f.Problem("userIdentities", "allowed: an object of resource id → client id");
  } else {
    service.user_identities = std::move(read);
  }
}

void ReadAccountSettings(Fields& f, StorageAccount& account) {
  f.String("key", account.key);
  f.Bool("sharedKeyAccess", account.shared_key_access);
  f.Bool("firewall", account.firewall);
  f.Bool("trustedServices", account.trusted_services);
  f.StringSet("firewallRegions", account.firewall_regions);
  f.Bool("corsWithPatch", account.cors_with_patch);
  f.StringSet("contributors", account.contributors);
}

void ReadGatewayBehavior(Fields& f, GatewayBehavior& behavior) {
  f.Choice("mode", behavior.mode,
           {"ok", "cut", "reset", "hang", "tlsHang", "slow", "status", "slowBody", "wrongBody"});
  f.Int("status", behavior.status, 100, 599);
  f.Span("delay", behavior.delay);
}

void ReadCertificateMode(Fields& f, Gateway& gateway) {
  f.Choice("certificate", gateway.certificate, {"good", "wrongName", "expired", "selfSigned"});
}

void ReadMachine(Fields& f, const std::map<std::string, Client>& clients, Machine& machine) {
  f.String("systemIdentity", machine.system_identity);
  f.StringSet("userIdentities", machine.user_identities);
  const auto known = [&](const std::string& id) { return id.empty() || clients.contains(id); };
  if (!known(machine.system_identity))
    f.Problem("systemIdentity", "allowed: a clientId of clients");
  for (const std::string& id : machine.user_identities) {
    if (!known(id)) f.Problem("userIdentities", "allowed: clientIds of clients");
  }
}

Json MachineJson(const Machine& machine) {
  return {{"systemIdentity", machine.system_identity}, {"userIdentities", machine.user_identities}};
}

std::vector<FederatedCredential> ReadFederated(Fields& fields, absl::string_view key) {
  std::vector<FederatedCredential> credentials;
  fields.Each(key, [&](Fields& f) {
    FederatedCredential credential;
    f.Require({"issuer", "subject"});
    f.String("issuer", credential.issuer);
    f.String("subject", credential.subject);
    f.String("audience", credential.audience);
    credentials.push_back(std::move(credential));
  });
  return credentials;
}

std::vector<RoleAssignment> ReadRoles(Fields& fields, absl::string_view key) {
  std::vector<RoleAssignment> roles;
  fields.Each(key, [&](Fields& f) {
    RoleAssignment role;
    f.Require({"scope", "actions"});
    f.String("scope", role.scope);
    f.Strings("actions", role.actions);
    roles.push_back(std::move(role));
  });
  return roles;
}

}  // namespace failover::emulator
