#include "controller/azure/worker.h"

#include <type_traits>
#include <utility>
#include <variant>

#include "absl/strings/str_cat.h"
#include "controller/azure/lane.h"
#include "controller/azure/operation_calls.h"
#include "controller/azure/shared.h"
#include "controller/azure/storage_calls.h"
#include "controller/azure/traffic_calls.h"

namespace failover::azure {

struct Worker::State {
  Lane lane;
};

Worker::Worker(AzureShared& shared, std::unique_ptr<HttpClient> http, std::stop_token stop)
    : state_(
          std::make_unique<State>(State{Lane(*shared.data_, std::move(http), std::move(stop))})) {}
Worker::~Worker() = default;

std::optional<core::Event> Worker::CarryOut(const std::string& group,
                                            const core::Command& command) {
  Lane& lane = state_->lane;
  const std::shared_ptr<const GroupEntry> entry =
      lane.data().Group(group);  // kept until the call ends
  return std::visit(
      [&](const auto& c) -> std::optional<core::Event> {
        using T = std::decay_t<decltype(c)>;
        if constexpr (std::is_same_v<T, core::StartBackup> ||
                      std::is_same_v<T, core::StartRestore>) {
          return Start(lane, entry.get(), c);
        } else if constexpr (std::is_same_v<T, core::PollOperation>) {
          return Poll(lane, c);
        } else if constexpr (std::is_same_v<T, core::InspectOperation>) {
          return Inspect(lane, entry.get(), c);
        } else if constexpr (std::is_same_v<T, core::RunPreflight>) {
          return Preflight(lane, entry.get(), c);
        } else if constexpr (std::is_same_v<T, core::CheckBlob>) {
          return CheckBlob(lane, entry.get(), c);
        } else if constexpr (std::is_same_v<T, core::WriteManifest>) {
          return WriteManifest(lane, entry.get(), c);
        } else if constexpr (std::is_same_v<T, core::ReadManifest>) {
          return ReadManifest(lane, entry.get(), c);
        } else if constexpr (std::is_same_v<T, core::ReadFingerprint>) {
          return ReadFingerprint(lane, entry.get(), c);
        } else if constexpr (std::is_same_v<T, core::WriteFence>) {
          return WriteFence(lane, entry.get(), c);
        } else if constexpr (std::is_same_v<T, core::ReadFence>) {
          return ReadFence(lane, entry.get(), c);
        } else if constexpr (std::is_same_v<T, core::ReadTraffic>) {
          return ReadTraffic(lane, entry.get(), c);
        } else if constexpr (std::is_same_v<T, core::SetEndpoint>) {
          return SetEndpoint(lane, entry.get(), c);
        } else if constexpr (std::is_same_v<T, core::CheckSwitchPath>) {
          return CheckSwitchPath(lane, entry.get(), c);
        } else {
          static_assert(std::is_same_v<T, core::RequestBurst> || std::is_same_v<T, core::Reply> ||
                        std::is_same_v<T, core::Note>);
          return std::nullopt;
        }
      },
      command);
}

absl::StatusOr<core::Entities> Worker::ReadEntities(const std::string& group,
                                                    const std::string& service) {
  Lane& lane = state_->lane;
  const std::shared_ptr<const GroupEntry> entry = lane.data().Group(group);
  if (entry == nullptr)
    return absl::NotFoundError(absl::StrCat("failover group ", group, " is not configured"));
  const auto id = entry->group.resource_ids.find(service);
  if (id == entry->group.resource_ids.end()) {
    return absl::NotFoundError(absl::StrCat("failover group ", group, " has no service ", service));
  }
  const core::FingerprintRead read =
      ReadFingerprint(lane, entry.get(), core::ReadFingerprint{0, service, id->second});
  if (read.result.status != core::CallStatus::kOk) {
    const v1::AzureError& error = read.result.error;
    return absl::UnavailableError(absl::StrCat(
        "reading ", service, ": ",
        error.http_status() != 0 ? absl::StrCat("HTTP ", error.http_status(), " ") : "",
        error.code(), error.code().empty() ? "" : " ", error.message()));
  }
  return *read.entities;
}

void Worker::KeepWarm() { state_->lane.KeepWarm(); }

const std::vector<std::string>& NotCompared() {
  static const auto& kinds = *new std::vector<std::string>{
      "custom host names and the TLS certificates bound to them (compared before each run; no "
      "backup carries them)",
      "custom CA certificates",
      "managed identities and the roles given to them; Key Vault references are restored, access "
      "to the vault is not",
      "network settings: virtual network, private endpoints, public network access, additional "
      "regions, zones, units",
      "protocol and cipher settings (customProperties), Azure Monitor diagnostic settings",
      "the content of the developer portal, its settings, templates and notifications",
      "usage data and logs: they are in no backup",
      "values of secrets: secret named values, subscription keys, credentials of backends and "
      "loggers, private keys",
      "dates, such as the expiry of a subscription",
      "schemas, releases, revisions that are not current, tag assignments, wikis and resolvers of "
      "APIs; diagnostics of single APIs",
      "identity providers, authorization servers, OpenID Connect providers, credential managers, "
      "external caches",
      "self-hosted gateways: their tokens and configuration address belong to one service",
      "workspaces: services that have them cannot be backed up",
  };
  return kinds;
}

}  // namespace failover::azure
