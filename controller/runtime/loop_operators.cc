#include <algorithm>
#include <future>
#include <memory>
#include <tuple>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "controller/azure/entities.h"
#include "controller/core/context.h"
#include "controller/runtime/loop.h"
#include "controller/runtime/operator_calls.h"

namespace failover::runtime {
namespace {

constexpr absl::Duration kSnapshotWait = absl::Seconds(1);

// Whoever asked for a comparison; answered also when the lane drops the job.
class Caller {
 public:
  explicit Caller(operators::Done<v1::SyncDiffResponse> done) : done_(std::move(done)) {}
  ~Caller() {
    if (!answered_)
      done_(absl::UnavailableError("this controller stopped before it could compare"));
  }
  void Answer(absl::StatusOr<v1::SyncDiffResponse> response) {
    answered_ = true;
    done_(std::move(response));
  }

 private:
  const operators::Done<v1::SyncDiffResponse> done_;
  bool answered_ = false;
};

}  // namespace

bool Loop::Locate(const std::string& group, absl::Status& error, GroupRunner*& runner) {
  runner = Find(group);
  if (runner != nullptr && !runner->removed()) return true;
  std::vector<std::string> names;
  for (const auto& [name, other] : groups_) {
    if (!other->removed()) names.push_back(name);
  }
  error = absl::NotFoundError(
      absl::StrCat("found failover group \"", group, "\"; allowed: ", absl::StrJoin(names, ", ")));
  return false;
}

v1::GetStatusResponse Loop::StatusNow(const std::string& group) {
  v1::GetStatusResponse response;
  const Now now = Read();
  response.set_controller(options_.identity);
  response.set_leader(term_ != 0);
  response.set_term(term_);
  response.set_at_ms(absl::ToUnixMillis(now.wall));
  response.set_version(FAILOVER_VERSION);
  if (options_.election.has_value()) {
    response.set_leader_election(true);
    std::tie(*response.mutable_leader_identity(), *response.mutable_leader_problem()) =
        options_.election->leader();
  }
  response.set_store_ok(process_record_ok_ &&
                        std::none_of(groups_.begin(), groups_.end(), [](const auto& entry) {
                          return entry.second->state().observed.store_failed;
                        }));
  response.set_config_error(config_error_);
  for (const std::string& feature : NotBuiltYet()) response.add_not_built_yet(feature);
  for (const auto& [name, runner] : groups_) {
    if (runner->removed() || (!group.empty() && name != group)) continue;
    v1::GroupStatus* status = response.add_groups();
    *status = runner->Status(now);
    for (const std::string& kind : azure::NotCompared()) status->add_not_compared(kind);
    for (const std::string& pattern : runner->settings().azure.verify_ignore) {
      status->add_not_compared(absl::StrCat("ignored by sync.verify: ", pattern));
    }
  }
  return response;
}

void Loop::Diff(const v1::SyncDiffRequest& request, operators::Done<v1::SyncDiffResponse> done) {
  absl::Status error;
  GroupRunner* runner = nullptr;
  if (!Locate(request.group(), error, runner)) return done(error);
  if (!Leads()) {
    return done(absl::UnavailableError(
        absl::StrCat("this replica follows and reads nothing from Azure; ", WhoLeads())));
  }
  std::string active, standby;
  std::vector<std::string> standbys;
  for (const v1::ServiceRecord& service : runner->state().record.services()) {
    if (service.role() == v1::ROLE_ACTIVE) active = service.name();
    if (service.role() == v1::ROLE_STANDBY) standbys.push_back(service.name());
  }
  if (active.empty() || standbys.empty())
    return done(absl::FailedPreconditionError("roles are unconfirmed: nothing to compare"));
  standby = request.standby().empty() ? standbys.front() : request.standby();
  if (std::find(standbys.begin(), standbys.end(), standby) == standbys.end()) {
    return done(absl::InvalidArgumentError(
        absl::StrCat("found standby \"", standby, "\"; allowed: ", absl::StrJoin(standbys, ", "))));
  }
  auto caller = std::make_shared<Caller>(std::move(done));
  work_lane_->Put(
      Lane::kLong, [group = request.group(), active, standby, caller](azure::Worker& worker) {
        absl::StatusOr<core::Entities> on_active = worker.ReadEntities(group, active);
        if (!on_active.ok()) return caller->Answer(on_active.status());
        absl::StatusOr<core::Entities> on_standby = worker.ReadEntities(group, standby);
        if (!on_standby.ok()) return caller->Answer(on_standby.status());
        v1::SyncDiffResponse response = DiffOf(active, *on_active, standby, *on_standby);
        for (const std::string& kind : azure::NotCompared()) response.add_not_compared(kind);
        caller->Answer(std::move(response));
      });
}

void Loop::Order(const v1::OrderRequest& request, const std::string& who,
                 operators::Done<v1::OrderResponse> done) {
  const std::string verb = VerbOf(request);
  operators::Done<v1::OrderResponse> counted =
      [this, verb, dry_run = request.dry_run(),
       done = std::move(done)](absl::StatusOr<v1::OrderResponse> response) {
        if (options_.metrics != nullptr && !dry_run)
          options_.metrics->OrderAnswered(verb, response.ok() && response->ok());
        done(std::move(response));
      };
  absl::Status error;
  GroupRunner* runner = nullptr;
  if (!Locate(request.group(), error, runner)) return counted(error);
  absl::StatusOr<core::Order> order = ToOrder(request, who);
  if (!order.ok()) return counted(order.status());
  v1::OrderResponse refusal;
  if (!Leads()) {
    refusal.set_text(absl::StrCat("this replica follows and takes no orders; ", WhoLeads()));
    return counted(refusal);
  }
  if (!runner->broken().empty()) {
    refusal.set_text(absl::StrCat("the group is not worked on: ", runner->broken()));
    return counted(refusal);
  }
  const uint64_t epoch = runner->state().record.epoch();
  if (request.expected_epoch() != 0 && request.expected_epoch() != epoch) {
    refusal.set_text(absl::StrCat("roles have changed since you looked: found epoch ",
                                  request.expected_epoch(), ", now it is ", epoch));
    return counted(refusal);
  }
  runner->GiveOrder(*std::move(order), std::move(counted), Read());
  Handle(*runner, core::Tick{});
}

operators::Handlers Loop::OperatorHandlers() {
  operators::Handlers handlers;
  // Runs on the core thread, for the group that the request names.
  const auto with_group = [this](const auto& request, auto done, auto answer) {
    mailbox_.Put([this, request, done = std::move(done), answer] {
      absl::Status error;
      GroupRunner* runner = nullptr;
      if (!Locate(request.group(), error, runner)) return done(error);
      done(answer(request, *runner));
    });
  };
  handlers.get_status = [this](const v1::GetStatusRequest& request,
                               operators::Done<v1::GetStatusResponse> done) {
    mailbox_.Put([this, request, done = std::move(done)] {
      absl::Status error;
      GroupRunner* runner = nullptr;
      if (!request.group().empty() && !Locate(request.group(), error, runner)) return done(error);
      done(StatusNow(request.group()));
    });
  };
  handlers.get_history = [with_group](const v1::GetHistoryRequest& request,
                                      operators::Done<v1::GetHistoryResponse> done) {
    with_group(request, std::move(done),
               [](const v1::GetHistoryRequest& asked, const GroupRunner& runner) {
                 const v1::GroupRecord& record = runner.state().record;
                 v1::GetHistoryResponse response;
                 const int limit = asked.limit() <= 0 ? 50 : asked.limit();
                 for (int i = std::max(0, record.history_size() - limit); i < record.history_size();
                      ++i)
                   *response.add_entries() = record.history(i);
                 response.set_chain_intact(store::HistoryIntact(record));
                 if (asked.decisions()) {
                   const int skipped = std::max(0, record.decisions_size() - limit);
                   response.mutable_decisions()->Add(record.decisions().begin() + skipped,
                                                     record.decisions().end());
                 }
                 return response;
               });
  };
  handlers.list_agents = [this](const v1::ListAgentsRequest& request,
                                operators::Done<v1::ListAgentsResponse> done) {
    mailbox_.Put([this, request, done = std::move(done)] {
      absl::Status error;
      GroupRunner* runner = nullptr;
      if (!request.group().empty() && !Locate(request.group(), error, runner)) return done(error);
      std::set<std::string> regions;
      for (const auto& [name, other] : groups_) {
        if (runner != nullptr && other.get() != runner) continue;
        regions.insert(other->settings().core.probe_regions.begin(),
                       other->settings().core.probe_regions.end());
      }
      done(AgentsOf({regions.begin(), regions.end()}, intake_->Agents()));
    });
  };
  handlers.list_operations = [with_group](const v1::ListOperationsRequest& request,
                                          operators::Done<v1::ListOperationsResponse> done) {
    with_group(request, std::move(done),
               [](const v1::ListOperationsRequest& asked, const GroupRunner& runner) {
                 v1::ListOperationsResponse response;
                 for (const v1::Operation& operation : runner.state().record.operations()) {
                   if (asked.all() || core::IsOpen(operation))
                     *response.add_operations() = operation;
                 }
                 return response;
               });
  };
  handlers.list_backups = [with_group](const v1::ListBackupsRequest& request,
                                       operators::Done<v1::ListBackupsResponse> done) {
    with_group(request, std::move(done),
               [](const v1::ListBackupsRequest&, const GroupRunner& runner) {
                 v1::ListBackupsResponse response;
                 *response.mutable_backups() = runner.state().record.backups();
                 return response;
               });
  };
  handlers.sync_diff = [this](const v1::SyncDiffRequest& request,
                              operators::Done<v1::SyncDiffResponse> done) {
    mailbox_.Put([this, request, done = std::move(done)] { Diff(request, done); });
  };
  handlers.give_order = [this](const v1::OrderRequest& request, const std::string& who,
                               operators::Done<v1::OrderResponse> done) {
    mailbox_.Put([this, request, who, done = std::move(done)] { Order(request, who, done); });
  };
  return handlers;
}

metrics::Snapshot Loop::Snapshot() {
  auto promise = std::make_shared<std::promise<metrics::Snapshot>>();
  std::future<metrics::Snapshot> future = promise->get_future();
  mailbox_.Put([this, promise] {
    const v1::GetStatusResponse status = StatusNow("");
    metrics::Snapshot snapshot;
    snapshot.leader = status.leader();
    snapshot.term = status.term();
    snapshot.store_ok = status.store_ok();
    snapshot.at_ms = status.at_ms();
    if (Leads()) snapshot.groups = {status.groups().begin(), status.groups().end()};
    promise->set_value(std::move(snapshot));
  });
  const bool fresh =
      future.wait_for(absl::ToChronoMilliseconds(kSnapshotWait)) == std::future_status::ready;
  MutexLock lock(snapshot_mutex_);
  if (fresh) snapshot_ = future.get();
  metrics::Snapshot result = snapshot_;
  if (intake_ != nullptr) {
    result.agents = intake_->Agents();
    for (const intake::AgentCounters& counter : intake_->Counters()) {
      result.agent_counters.push_back(
          {counter.probe_region, counter.agent, counter.kind, counter.count});
    }
    for (const auto& [region, delays] : intake_->Delays())
      result.delays[region] = {{delays.counts.begin(), delays.counts.end()}, delays.sum};
  }
  result.delay_bounds = {intake::ReportDelays::kBounds.begin(),
                         intake::ReportDelays::kBounds.end()};
  result.entity_kinds = azure::Kinds();
  if (const absl::Time expiry = azure_.TokenExpiry(); expiry != absl::InfinitePast())
    result.token_expiry_ms = absl::ToUnixMillis(expiry);
  result.mailbox_size = mailbox_.size();
  result.mailbox_capacity = kMailbox;
  result.mailbox_refused = refused_.load();
  return result;
}

}  // namespace failover::runtime
