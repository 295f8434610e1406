#include "tests/unit/core/driver.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"

namespace failover::core {
namespace {

const char* const kRegions[] = {"westeurope", "northeurope", "uksouth"};

struct Answerer {
  Driver& d;
  std::map<std::string, SteadyTime>& begun;
  std::map<std::string, std::string>& restores;

  Event operator()(const StartBackup& c) {
    d.blobs[c.blob] = d.services[c.service].content;
    begun[c.operation_id] = d.now().steady;
    return OperationStarted{c.call, c.operation_id, {}, c.operation_id, 5};
  }
  Event operator()(const StartRestore& c) {
    begun[c.operation_id] = d.now().steady;
    restores[c.operation_id] = c.blob;
    return OperationStarted{c.call, c.operation_id, {}, c.operation_id, 5};
  }
  Event operator()(const PollOperation& c) {
    OperationPolled polled{c.call, c.operation_id, OperationPolled::State::kRunning, {}, "", 5};
    if (d.now().steady - begun[c.handle] < d.operation_time) return polled;
    polled.state = OperationPolled::State::kSucceeded;
    if (restores.contains(c.handle)) d.services[c.service].content = d.blobs[restores[c.handle]];
    return polled;
  }
  Event operator()(const InspectOperation& c) {
    OperationInspected look;
    look.call = c.call;
    look.operation_id = c.operation.id();
    look.service_idle = d.services[c.operation.service()].idle;
    look.blob_exists = d.blobs.contains(c.operation.blob());
    look.fingerprint = FingerprintOf(d.services[c.operation.service()].content);
    look.entities = std::make_shared<Entities>(d.services[c.operation.service()].content);
    return look;
  }
  Event operator()(const RunPreflight& c) {
    PreflightDone done{c.call, c.run_id, {}, {}, {}};
    for (const std::string& name : c.services) {
      const Driver::Service& service = d.services[name];
      done.services.push_back({name,
                               service.reachable,
                               service.idle,
                               "Succeeded",
                               service.sku,
                               "",
                               service.refused,
                               {}});
    }
    return done;
  }
  Event operator()(const CheckBlob& c) {
    const bool good = d.blobs.contains(c.blob) && !d.bad_blobs.contains(c.blob);
    return BlobChecked{
        c.call, c.operation_id, {good ? CallStatus::kOk : CallStatus::kFailed, {}}, 1000};
  }
  Event operator()(const WriteManifest& c) { return ManifestWritten{c.call, {}}; }
  Event operator()(const ReadManifest& c) {
    auto content = std::make_shared<Entities>(d.blobs[c.blob]);
    return ManifestRead{c.call, {}, content, content};
  }
  Event operator()(const ReadFingerprint& c) {
    const Driver::Service& service = d.services[c.service];
    FingerprintRead read{c.call,
                         c.service,
                         {},
                         FingerprintOf(service.content),
                         std::make_shared<Entities>(service.content),
                         service.pristine,
                         d.now().steady,
                         d.now().steady};
    if (!service.reachable) read.result.status = CallStatus::kFailed;
    return read;
  }
  Event operator()(const WriteFence& c) {
    const bool ours = !d.fence.has_value() || d.fence->store_id == c.fence.store_id ||
                      d.fence->store_id == c.adopted_store_id;
    if (!ours || (d.fence.has_value() && d.fence->epoch > c.fence.epoch)) {
      return FenceDone{c.call, {CallStatus::kFailed, {}}, d.fence};
    }
    d.fence = c.fence;
    return FenceDone{c.call, {}, d.fence};
  }
  Event operator()(const ReadFence& c) { return FenceDone{c.call, {}, d.fence}; }
  Event operator()(const ReadTraffic& c) {
    return TrafficRead{c.call, {}, d.endpoints, "", absl::Milliseconds(20)};
  }
  Event operator()(const SetEndpoint& c) {
    d.endpoints[c.service] = c.enabled;
    return EndpointSet{c.call, c.service, c.enabled, {}};
  }
  Event operator()(const CheckSwitchPath& c) {
    return SwitchPathChecked{
        c.call, {}, d.switch_path_ok ? absl::Hours(1) : absl::Minutes(1), absl::Milliseconds(20)};
  }
  Event operator()(const RequestBurst&) { return Tick{}; }
  Event operator()(const Reply&) { return Tick{}; }
  Event operator()(const Note&) { return Tick{}; }
};

bool IsAnswered(const Command& command) {
  return !std::holds_alternative<RequestBurst>(command) &&
         !std::holds_alternative<Reply>(command) && !std::holds_alternative<Note>(command);
}

}  // namespace

GroupConfig TestConfig() {
  GroupConfig config;
  config.name = "orders";
  config.mode = Mode::kAutomatic;
  config.rpo_objective = absl::Hours(2);
  for (const auto& [name, region] :
       {std::pair{"weu", "westeurope"}, {"neu", "northeurope"}, {"uks", "uksouth"}}) {
    config.services.push_back({name, region, absl::StrCat("/subscriptions/s/service/", name), ""});
  }
  ProbeConfig probe;
  probe.name = "status";
  probe.definition = "GET /status";
  probe.interval = absl::Seconds(1);
  probe.timeout = absl::Seconds(1);
  probe.failure_threshold = 3;
  probe.success_threshold = 4;
  config.probes.push_back(probe);
  config.probe_regions.assign(std::begin(kRegions), std::end(kRegions));
  config.quorum = 2;
  config.control_targets = {"https://www.example.com/"};
  config.controller_region = "swedencentral";
  config.min_down_duration = absl::Seconds(3);
  config.max_data_loss = absl::Hours(24);
  config.public_url = "https://api.example.com/status";
  config.served_by_header = "x-served-by";
  config.has_traffic = true;
  config.sync_interval = absl::Hours(1);
  config.storage = {"account", "backups", "SystemAssignedManagedIdentity", ""};
  return config;
}

v1::Fingerprint FingerprintOf(const Entities& entities) {
  std::map<std::string, std::pair<int, size_t>> kinds;
  for (const auto& [id, digest] : entities) {
    auto& [count, hash] = kinds[id.substr(0, id.find('/'))];
    ++count;
    hash = hash * 31 + std::hash<std::string>()(absl::StrCat(id, "=", digest));
  }
  v1::Fingerprint fingerprint;
  if (kinds.empty()) kinds["apis"] = {0, 0};
  for (const auto& [kind, value] : kinds) {
    v1::KindDigest* digest = fingerprint.add_kinds();
    digest->set_kind(kind);
    digest->set_count(value.first);
    digest->set_digest(absl::StrCat(absl::Hex(value.second)));
  }
  return fingerprint;
}

Driver::Driver() : Driver(TestConfig()) {}

Driver::Driver(GroupConfig group) : config(std::move(group)) {
  for (const ServiceConfig& service : config.services) {
    services[service.name].pristine = !endpoints.empty();
    services[service.name].content = {{"apis/echo", "sample"}};
    endpoints[service.name] = endpoints.empty();
  }
  services[config.services[0].name].content = {
      {"apis/orders", "v1"}, {"apis/stock", "v1"}, {"products/gold", "v1"}};
  up.assign(config.services.size(), std::vector<bool>(config.probe_regions.size(), true));
  silent.assign(config.probe_regions.size(), false);
  control.assign(config.probe_regions.size(), true);
  public_from = config.services[0].name;
  stored_ = NewRecord(config, "store-1", std::string(32, 'k'), 42);
}

void Driver::Do(const Event& event) {
  Collect(Step(config, state, event, now()));
  AnswerAll();
}

void Driver::Collect(const Commands& commands) {
  wake_ = commands.wake;
  for (const Command& command : commands.list) {
    sent.push_back(command);
    if (const Reply* reply = std::get_if<Reply>(&command)) replies.push_back(*reply);
    if (IsAnswered(command)) open.push_back(command);
  }
  if (commands.persist) requested_[commands.version] = state.record;
}

// Durability first: no answer arrives for a command whose record is not durable.
void Driver::AnswerAll() {
  for (int guard = 0; guard < 500; ++guard) {
    if (!requested_.empty()) {
      if (!durable) return;
      Durable();
      continue;
    }
    const auto next = std::find_if(open.begin(), open.end(),
                                   [&](const Command& c) { return take == nullptr || !take(c); });
    if (next == open.end()) return;
    const Event answer = AnswerTo(*next);
    open.erase(next);
    Collect(Step(config, state, answer, now()));
  }
}

void Driver::Durable() {
  while (!requested_.empty()) {
    const uint64_t version = requested_.rbegin()->first;
    stored_ = requested_.rbegin()->second;
    requested_.clear();
    Collect(Step(config, state, Persisted{version}, now()));
  }
}

Event Driver::AnswerTo(const Command& command) {
  return std::visit(Answerer{*this, begun_, restores_}, command);
}

void Driver::Advance(absl::Duration d) {
  const SteadyTime end = steady_ + d;
  while (wake_ <= end) {
    const SteadyTime at = std::max(wake_, steady_ + absl::Milliseconds(1));
    if (at > end) break;
    wall_ += at - steady_;
    steady_ = at;
    Do(Tick{});
  }
  wall_ += end - steady_;
  steady_ = end;
}

void Driver::Results(int region, bool replay) {
  ProbeResults results;
  results.agent = {config.probe_regions[region], "agent", "instance-1"};
  results.replay = replay;
  const uint64_t sequence = ++sequence_[region];
  const SteadyTime started = steady_ - absl::Milliseconds(10);
  for (size_t service = 0; service < config.services.size(); ++service) {
    for (size_t probe = 0; probe < config.probes.size(); ++probe) {
      ProbeSample sample;
      sample.target = {TargetKind::kService, static_cast<int16_t>(service),
                       static_cast<int16_t>(probe)};
      sample.success = up[service][region];
      sample.failed_stage = sample.success ? FailedStage::kNone : failed_stage;
      sample.remote_address = absl::StrCat("10.0.0.", service);
      results.samples.push_back(sample);
    }
  }
  ProbeSample neutral;
  neutral.target = {TargetKind::kControl, -1, 0};
  neutral.success = control[region];
  results.samples.push_back(neutral);
  ProbeSample name;
  name.target = {TargetKind::kPublic, -1, -1};
  name.success = !public_from.empty();
  name.served_by = public_from;
  results.samples.push_back(name);
  for (ProbeSample& sample : results.samples) {
    sample.sequence = sequence;
    sample.started = started;
    sample.completed = steady_;
  }
  Do(results);
}

void Driver::Run(absl::Duration d) {
  RunUntil([] { return false; }, d);
}

bool Driver::RunUntil(const std::function<bool()>& condition, absl::Duration at_most) {
  const SteadyTime end = steady_ + at_most;
  const absl::Duration part =
      config.decider().interval / static_cast<double>(config.probe_regions.size());
  while (steady_ < end) {
    for (size_t region = 0; region < config.probe_regions.size(); ++region) {
      Advance(part);
      if (!silent[region]) Results(static_cast<int>(region));
      if (condition()) return true;
    }
  }
  return condition();
}

void Driver::Lead() {
  state = GroupState{};
  state.record = stored_;
  state.record.set_term(state.record.term() + 1);
  stored_ = state.record;
  requested_.clear();
  open.clear();
  Do(LeadershipGained{});
}

void Driver::Restart() { Lead(); }

void Driver::Confirm() {
  Lead();
  RunUntil([&] { return record().roles_since_epoch() != 0; }, absl::Minutes(2));
  Run(absl::Seconds(10));
}

void Driver::Synced() {
  Confirm();
  RunUntil([&] { return record().sync_run().stage() == v1::SYNC_STAGE_DONE; }, absl::Minutes(30));
  Run(absl::Seconds(5));
}

void Driver::Outage() {
  for (size_t i = 0; i < config.services.size(); ++i) {
    if (record().services(static_cast<int>(i)).role() == v1::ROLE_ACTIVE)
      up[i].assign(config.probe_regions.size(), false);
  }
  public_from.clear();
}

Reply Driver::Order(OrderBody body, std::string reason, bool dry_run) {
  core::Order order;
  order.order_id = next_order_++;
  order.who = "spiffe://test/operator/ann";
  order.reason = std::move(reason);
  order.body = std::move(body);
  order.dry_run = dry_run;
  const size_t before = replies.size();
  Do(order);
  for (size_t i = before; i < replies.size(); ++i) {
    if (replies[i].order_id == order.order_id) return replies[i];
  }
  return {order.order_id, false, "no reply"};
}

const v1::ServiceRecord& Driver::standby(const std::string& name) const {
  return record().services(config.ServiceIndex(name));
}

const v1::Operation* Driver::operation(v1::OperationKind kind, const std::string& service) const {
  for (int i = record().operations_size() - 1; i >= 0; --i) {
    const v1::Operation& operation = record().operations(i);
    if (operation.kind() == kind && operation.service() == service) return &operation;
  }
  return nullptr;
}

bool Driver::Blocked(Blocker blocker, const std::string& service) const {
  const Blockers& blockers = state.observed.blockers;
  return service.empty() ? blockers.group.Has(blocker)
                         : blockers.Of(config.ServiceIndex(service)).Has(blocker);
}

Verdict Driver::verdict(const std::string& service) const {
  return state.observed.verdicts[config.ServiceIndex(service)].verdict;
}

std::string Driver::Told() const {
  std::string text;
  for (const v1::HistoryEntry& entry : record().history())
    absl::StrAppend(&text, entry.text(), "\n");
  return text;
}

}  // namespace failover::core
