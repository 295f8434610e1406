#include "tests/sim/truth.h"

#include <memory>

#include "absl/strings/str_cat.h"

namespace failover::sim {
namespace {

using core::CallStatus;

const char* const kIds[] = {"apis/orders",   "apis/stock",    "apis/price",    "policies/global",
                            "products/gold", "products/free", "namedValues/a", "namedValues/b"};

uint64_t Fnv(const std::string& text) {
  uint64_t hash = 0xcbf29ce484222325ull;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3ull;
  return hash;
}

struct Arrival {
  Truth& truth;
  SteadyTime now;
  absl::Time wall;
  Random& random;

  int64_t Ms() const { return absl::ToUnixMillis(wall); }

  // 202 with a handle, or 409 while the service is busy.
  core::OperationStarted Begin(uint64_t call, const std::string& id, const std::string& service,
                               const std::string& blob, bool restore) {
    core::OperationStarted started{call, id, {}, "", random.Int(0, 1) == 0 ? 5 : 8};
    if (!truth.Idle(service, now)) {
      started.result.status = CallStatus::kUnclear;
      started.result.error.set_http_status(409);
      return started;
    }
    ManagementOperation operation{id,   service,
                                  blob, restore,
                                  true, random.Chance(truth.fault_rate),
                                  now,  now + random.Between(absl::Seconds(8), absl::Seconds(45))};
    truth.operations[id] = operation;
    truth.services[service].running = id;
    if (random.Chance(truth.fault_rate / 2)) truth.lost_results.insert(id);
    started.handle = absl::StrCat("https://management.example/operations/", id);
    return started;
  }

  core::Event operator()(const core::StartBackup& c) {
    core::OperationStarted started = Begin(c.call, c.operation_id, c.service, c.blob, false);
    if (started.result.status == CallStatus::kOk) {
      Blob& blob = truth.blobs[c.blob];
      blob.service = c.service;
      blob.sku = truth.services[c.service].sku;
      blob.operation_id = c.operation_id;
      blob.source_at_begin = truth.services[c.service].content;
    }
    return started;
  }
  core::Event operator()(const core::StartRestore& c) {
    const auto blob = truth.blobs.find(c.blob);
    if (blob == truth.blobs.end() || !blob->second.complete || blob->second.bad) {
      core::OperationStarted refused{c.call, c.operation_id, {CallStatus::kFailed, {}}, "", 0};
      refused.result.error.set_http_status(400);
      return refused;
    }
    return Begin(c.call, c.operation_id, c.service, c.blob, true);
  }
  core::Event operator()(const core::PollOperation& c) {
    core::OperationPolled polled{
        c.call, c.operation_id, core::OperationPolled::State::kRunning, {}, "", 5};
    const auto found = truth.operations.find(c.operation_id);
    if (found == truth.operations.end() || truth.lost_results.contains(c.operation_id)) {
      polled.state = core::OperationPolled::State::kGone;
    } else if (!found->second.running) {
      polled.state = found->second.fails ? core::OperationPolled::State::kFailed
                                         : core::OperationPolled::State::kSucceeded;
    }
    return polled;
  }
  core::Event operator()(const core::InspectOperation& c) {
    core::OperationInspected look;
    look.call = c.call;
    look.operation_id = c.operation.id();
    look.service_idle = truth.Idle(c.operation.service(), now);
    const auto blob = truth.blobs.find(c.operation.blob());
    look.blob_exists = blob != truth.blobs.end() && blob->second.complete && !blob->second.bad;
    look.entities =
        std::make_shared<core::Entities>(EntitiesOf(truth.services[c.operation.service()].content));
    look.fingerprint = FingerprintOf(*look.entities, Ms(), Ms());
    return look;
  }
  core::Event operator()(const core::RunPreflight& c) {
    core::PreflightDone done{c.call, c.run_id, {}, {}, {}};
    for (const std::string& name : c.services) {
      done.services.push_back(
          {name, true, truth.Idle(name, now), "", truth.services[name].sku, "", "", {}});
    }
    return done;
  }
  core::Event operator()(const core::CheckBlob& c) {
    const auto blob = truth.blobs.find(c.blob);
    const bool good = blob != truth.blobs.end() && blob->second.complete && !blob->second.bad;
    return core::BlobChecked{c.call,
                             c.operation_id,
                             {good ? CallStatus::kOk : CallStatus::kFailed, {}},
                             good ? 4096 : 0};
  }
  core::Event operator()(const core::WriteManifest& c) {
    truth.manifests[c.backup.blob()] = {c.before, c.after};
    return core::ManifestWritten{c.call, {}};
  }
  core::Event operator()(const core::ReadManifest& c) {
    core::ManifestRead read{c.call, {}, nullptr, nullptr};
    const auto found = truth.manifests.find(c.blob);
    if (found == truth.manifests.end()) {
      read.result.status = CallStatus::kFailed;
    } else {
      read.before = found->second.first;
      read.after = found->second.second;
    }
    return read;
  }
  core::Event operator()(const core::ReadFingerprint& c) {
    const ServiceTruth& service = truth.services[c.service];
    core::FingerprintRead read;
    read.call = c.call;
    read.service = c.service;
    read.entities = std::make_shared<core::Entities>(EntitiesOf(service.content));
    read.fingerprint = FingerprintOf(*read.entities, Ms(), Ms());
    read.pristine = service.sample_only;
    read.begun = read.finished = now;
    return read;
  }
  core::Event operator()(const core::WriteFence& c) {
    const std::optional<core::Fence> found = truth.fence;
    const bool ours = !found.has_value() || found->store_id == c.fence.store_id ||
                      found->store_id == c.adopted_store_id;
    const bool higher =
        found.has_value() && found->store_id == c.fence.store_id &&
        std::pair(found->epoch, found->term) > std::pair(c.fence.epoch, c.fence.term);
    if (!ours || higher) return core::FenceDone{c.call, {CallStatus::kFailed, {}}, found};
    truth.fence = c.fence;
    return core::FenceDone{c.call, {}, truth.fence};
  }
  core::Event operator()(const core::ReadFence& c) {
    return core::FenceDone{c.call, {}, truth.fence};
  }
  core::Event operator()(const core::ReadTraffic& c) {
    core::TrafficRead read{c.call, {}, {}, truth.traffic_problem, absl::Milliseconds(20)};
    for (const auto& [name, service] : truth.services) read.enabled[name] = service.endpoint;
    return read;
  }
  core::Event operator()(const core::SetEndpoint& c) {
    truth.services[c.service].endpoint = c.enabled;
    return core::EndpointSet{c.call, c.service, c.enabled, {}};
  }
  core::Event operator()(const core::CheckSwitchPath& c) {
    return core::SwitchPathChecked{c.call, {}, absl::Hours(1), absl::Milliseconds(20)};
  }
  core::Event operator()(const core::RequestBurst&) { return core::Tick{}; }
  core::Event operator()(const core::Reply&) { return core::Tick{}; }
  core::Event operator()(const core::Note&) { return core::Tick{}; }
};

}  // namespace

Truth::Truth(const core::GroupConfig& group, Random& random) : config(&group) {
  for (const core::ServiceConfig& service : group.services) {
    ServiceTruth& truth = services[service.name];
    truth.content["apis/echo"] = {"sample", SteadyTime::InfinitePast()};
    truth.sample_only = true;
  }
  ServiceTruth& first = services[group.services[0].name];
  first.endpoint = true;
  first.sample_only = false;
  for (const char* id : kIds)
    first.content[id] = {absl::StrCat("v", random.Int(1, 9)), SteadyTime::InfinitePast()};
}

core::Event Truth::Arrive(const core::Command& command, SteadyTime now, absl::Time wall,
                          Random& random) {
  Settle(now);
  return std::visit(Arrival{*this, now, wall, random}, command);
}

void Truth::Settle(SteadyTime now) {
  for (auto& [name, service] : services) {
    if (service.running.empty()) continue;
    ManagementOperation& operation = operations[service.running];
    if (operation.ends > now) continue;
    operation.running = false;
    service.running.clear();
    Blob& blob = blobs[operation.blob];
    if (!operation.restore) {
      const bool late = absl::ToInt64Milliseconds(operation.ends.since_epoch) % 2 ==
                        0;  // either end of it is honest
      blob.source_at_end = service.content;
      blob.content = late ? blob.source_at_end : blob.source_at_begin;
      blob.snapshot = late ? operation.ends : operation.begun;
      blob.complete = !operation.fails;
      blob.bad = spoil_next;
      spoil_next = false;
      continue;
    }
    service.sample_only = false;
    service.edited.clear();
    service.half_restored = operation.fails;
    if (!operation.fails) {
      service.content = blob.content;
    } else {  // half of it arrived
      bool take = true;
      for (const auto& [id, entity] : blob.content) {
        if (take) service.content[id] = entity;
        take = !take;
      }
      service.content.erase(service.content.begin());
    }
  }
}

bool Truth::Reachable(const std::string& service, int region) const {
  const ServiceTruth& truth = services.at(service);
  return truth.gateway_up && !truth.hangs && !truth.cut.contains(region);
}

bool Truth::Idle(const std::string& service, SteadyTime now) const {
  const ServiceTruth& truth = services.at(service);
  return truth.running.empty() && truth.foreign_busy_until <= now;
}

std::string Truth::Change(const std::string& service, Random& random, SteadyTime now) {
  ServiceTruth& truth = services[service];
  const std::string id = kIds[random.Int(0, std::size(kIds) - 1)];
  const bool removed = random.Chance(0.2);
  truth.content[id] = {removed ? "" : absl::StrCat("v", random.Next() % 100000), now};
  truth.sample_only = false;
  return id;
}

std::string Truth::PublicName(SteadyTime) const {
  for (const core::ServiceConfig& service : config->services) {
    const ServiceTruth& truth = services.at(service.name);
    if (truth.endpoint && truth.gateway_up) return service.name;
  }
  for (const core::ServiceConfig& service : config->services) {
    if (services.at(service.name).endpoint) return service.name;
  }
  return "";
}

int Truth::EnabledCount() const {
  int count = 0;
  for (const auto& [name, service] : services) count += service.endpoint ? 1 : 0;
  return count;
}

core::Entities EntitiesOf(const Content& content) {
  core::Entities entities;
  for (const auto& [id, entity] : content) {
    if (!entity.digest.empty()) entities[id] = entity.digest;
  }
  return entities;
}

v1::Fingerprint FingerprintOf(const core::Entities& entities, int64_t begun_ms,
                              int64_t finished_ms) {
  std::map<std::string, std::pair<int, std::string>> kinds;
  for (const auto& [id, digest] : entities) {
    auto& [count, text] = kinds[id.substr(0, id.find('/'))];
    ++count;
    absl::StrAppend(&text, id, "=", digest, "\n");
  }
  v1::Fingerprint fingerprint;
  for (const auto& [kind, value] : kinds) {
    v1::KindDigest* digest = fingerprint.add_kinds();
    digest->set_kind(kind);
    digest->set_count(value.first);
    digest->set_digest(absl::StrCat(absl::Hex(Fnv(value.second))));
  }
  fingerprint.set_begun_ms(begun_ms);
  fingerprint.set_finished_ms(finished_ms);
  return fingerprint;
}

}  // namespace failover::sim
