#ifndef TESTS_UNIT_METRICS_FIXTURE_H_
#define TESTS_UNIT_METRICS_FIXTURE_H_

#include <cstdint>
#include <limits>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/proto.h"
#include "controller/core/blockers.h"
#include "controller/metrics/metrics.h"
#include "gtest/gtest.h"
#include "prometheus/collectable.h"
#include "prometheus/metric_family.h"

namespace failover::metrics {

inline constexpr int64_t kNow = 1'780'000'000'000;
inline constexpr int64_t kHour = 3'600'000;

inline void AddBlockers(bool standby, const std::string& active,
                        google::protobuf::RepeatedPtrField<v1::Blocker>* out) {
  for (const core::BlockerRule& rule : core::BlockerTable()) {
    if (rule.standby != standby) continue;
    v1::Blocker* blocker = out->Add();
    blocker->set_name(rule.name);
    blocker->set_active(rule.name == active);
  }
}

inline v1::ServiceStatus* AddService(const std::string& name, const std::string& region,
                                     v1::Role role, v1::GroupStatus& group) {
  v1::ServiceStatus* service = group.add_services();
  service->set_name(name);
  service->set_azure_region(region);
  service->set_role(role);
  service->set_sku("Premium");
  service->set_verdict("up");
  service->set_serving(role == v1::ROLE_ACTIVE ? "enabled" : "disabled");
  for (const std::string& probe_region : group.probe_regions()) {
    v1::RegionStatus* status = service->add_regions();
    status->set_probe_region(probe_region);
    status->set_vote(v1::VOTE_UP);
  }
  if (role == v1::ROLE_STANDBY) AddBlockers(true, "", service->mutable_blockers());
  return service;
}

inline void AddFailover(v1::GroupStatus& group) {
  group.mutable_failover()->set_id("F1");
  group.mutable_failover()->set_last_good_ms(kNow - kHour - 10'000);
  group.mutable_failover()->set_first_failed_ms(kNow - kHour - 9'000);
  v1::LastSwitch* last = group.add_last_switches();
  last->set_trigger("automatic");
  last->set_at_ms(kNow - kHour);
  last->set_success(true);
  last->set_rpo_ms(5000);
  v1::Rto* rto = last->mutable_rto();
  rto->set_total_ms(10'000);
  rto->set_detect_ms(4000);
  rto->set_decide_ms(3000);
  rto->set_switch_ms(2000);
  rto->set_visible_ms(1000);
  rto->set_width_ms(1000);
  rto->set_proved(true);
}

// A group in which everything that can be shown is there to be shown.
inline v1::GroupStatus Group() {
  v1::GroupStatus group;
  group.set_name("orders");
  group.set_mode("automatic");
  group.set_state("healthy");
  group.set_epoch(4);
  group.set_active("weu");
  group.set_quorum(2);
  group.set_at_ms(kNow);
  for (const char* region : {"westeurope", "northeurope", "uksouth"})
    group.add_probe_regions(region);
  AddService("weu", "westeurope", v1::ROLE_ACTIVE, group);
  v1::ServiceStatus* standby = AddService("neu", "northeurope", v1::ROLE_STANDBY, group);
  standby->set_ready(true);
  standby->set_rpo_now_ms(90'000);
  standby->set_rpo_source("recovery_point");
  standby->mutable_record()->set_recovery_point_ms(kNow - 90'000);
  standby->mutable_record()->set_backup_expires_ms(kNow + kHour);
  standby->mutable_record()->set_restored_at_ms(kNow - 60'000);
  standby->mutable_operation()->set_kind(v1::OPERATION_KIND_RESTORE);
  standby->mutable_operation()->set_sent_ms(kNow - 5000);
  AddBlockers(false, "cooldown", group.mutable_blockers());
  group.set_rpo_objective_ms(8 * kHour);
  group.set_rto_objective_ms(120'000);
  group.set_rpo_now_ms(90'000);
  group.set_rpo_source("recovery_point");
  group.mutable_sync()->set_configured(true);
  group.mutable_sync()->set_interval_ms(6 * kHour);
  group.mutable_sync()->set_next_run_ms(kNow + kHour);
  group.set_backup_p95_ms(600'000);
  group.set_restore_p95_ms(1'200'000);
  group.set_sync_cycle_p95_ms(1'800'000);
  group.mutable_traffic()->set_known(true);
  group.mutable_traffic()->set_matches(true);
  group.mutable_traffic()->set_read_ms(kNow - 1000);
  group.mutable_traffic()->set_path_ok(true);
  group.mutable_traffic()->set_path_checked_ms(kNow - 2000);
  group.set_has_public_url(true);
  v1::PublicView* view = group.add_public_views();
  view->set_probe_region("uksouth");
  view->set_success(true);
  group.set_detection_bound_ms(17'000);
  group.set_detection_floor_ms(6'000);
  group.set_forecast_rto_ms(30'000);
  group.set_cooldown_until_ms(kNow + kHour);
  group.set_failovers_last_day(1);
  group.set_failovers_max_per_day(2);
  AddFailover(group);
  return group;
}

inline Snapshot Leader() {
  Snapshot snapshot;
  snapshot.leader = true;
  snapshot.election.name = "apim-failover";
  snapshot.election.leading = true;
  snapshot.election.acquired = 3;
  snapshot.election.lost = 1;
  snapshot.election.released = 1;
  snapshot.election.slow_paths = 2;
  snapshot.election.failed_attempts = 4;
  snapshot.election.dropped_events = 5;
  snapshot.term = 7;
  snapshot.at_ms = kNow;
  snapshot.groups = {Group()};
  v1::AgentInfo agent;
  agent.set_probe_region("westeurope");
  agent.set_name("one");
  agent.set_version("0.1.0");
  agent.set_connected(true);
  agent.set_last_report_ms(kNow - 200);
  agent.set_report_delay_ms(150);
  agent.set_certificate_expiry_ms(kNow + kHour);
  snapshot.agents = {agent};
  snapshot.agent_counters = {{"westeurope", "one", "accepted", 10},
                             {"westeurope", "two", "accepted", 5},
                             {"westeurope", "one", "refused_age", 2},
                             {"westeurope", "one", "slowed", 1}};
  snapshot.agent_counters.push_back({"westeurope", "one", "superseded", 1});
  agent.set_clock_skew_ms(-300);
  snapshot.agents[0] = agent;
  snapshot.delay_bounds = {0.1, 1};
  snapshot.delays["westeurope"] = {{2, 1, 1}, 4.5};
  snapshot.entity_kinds = {"apis", "policies"};
  snapshot.token_expiry_ms = kNow + kHour;
  snapshot.election.last_renewal_ms = kNow - 1000;
  snapshot.mailbox_refused = 2;
  snapshot.mailbox_size = 3;
  snapshot.mailbox_capacity = 4096;
  return snapshot;
}

inline v1::GroupRecord Record() {
  v1::GroupRecord record;
  record.set_name("orders");
  for (const char* name : {"weu", "neu"}) {
    v1::ServiceRecord* service = record.add_services();
    service->set_name(name);
    service->set_azure_region(std::string(name) == "weu" ? "westeurope" : "northeurope");
  }
  v1::BackupRecord* backup = record.add_backups();
  backup->set_service("weu");
  backup->set_checked(true);
  backup->set_purpose("sync");
  backup->set_ended_ms(kNow - kHour);
  backup->set_expires_ms(kNow + 30 * 24 * kHour);
  backup->set_size_bytes(4096);
  return record;
}

inline void AddOperation(const std::string& id, v1::OperationKind kind, v1::OperationState state,
                         v1::GroupRecord& record) {
  v1::Operation* operation = record.add_operations();
  operation->set_id(id);
  operation->set_kind(kind);
  operation->set_state(state);
  operation->set_service(kind == v1::OPERATION_KIND_BACKUP ? "weu" : "neu");
  operation->set_sent_ms(kNow - 100'000);
  operation->set_ended_ms(kNow - 40'000);
}

inline void EndFailover(v1::FailoverStage stage, v1::GroupRecord& record) {
  v1::Failover* failover = record.mutable_failover();
  failover->set_id(absl::StrCat("F", static_cast<int>(stage)));
  failover->set_stage(stage);
  failover->set_trigger("automatic");
  failover->set_from("weu");
  failover->set_to("neu");
  failover->set_last_good_ms(kNow - 10'000);
  failover->set_first_failed_ms(kNow - 9'000);
  failover->set_down_ms(kNow - 6'000);
  failover->set_enable_sent_ms(kNow - 3'000);
  failover->set_switched_ms(kNow - 2'000);
  failover->set_visible_ms(stage == v1::FAILOVER_STAGE_DONE ? kNow : 0);
}

// The leader's first moment: the same group as configured, and nothing has happened yet.
inline Snapshot Quiet() {
  Snapshot snapshot;
  snapshot.leader = false;
  snapshot.election.name = "apim-failover";
  snapshot.at_ms = kNow;
  snapshot.store_ok = false;
  snapshot.delay_bounds = {0.1, 1};
  snapshot.entity_kinds = {"apis", "policies"};
  return snapshot;
}

class MetricsTest : public testing::Test {
 protected:
  std::vector<prometheus::MetricFamily> Collect() {
    std::vector<prometheus::MetricFamily> all;
    for (const auto& weak : metrics_->collectables()) {
      for (prometheus::MetricFamily& family : weak.lock()->Collect())
        all.push_back(std::move(family));
    }
    return all;
  }
  // Samples as "label=value,…" → value; histograms by their count.
  std::map<std::string, double> Samples(const std::string& name) {
    std::map<std::string, double> samples;
    for (const prometheus::MetricFamily& family : Collect()) {
      if (family.name != name) continue;
      for (const prometheus::ClientMetric& metric : family.metric) {
        std::vector<std::string> labels;
        for (const auto& label : metric.label)
          labels.push_back(absl::StrCat(label.name, "=", label.value));
        double value = metric.gauge.value;
        if (family.type == prometheus::MetricType::Counter) value = metric.counter.value;
        if (family.type == prometheus::MetricType::Histogram)
          value = static_cast<double>(metric.histogram.sample_count);
        samples[absl::StrJoin(labels, ",")] = value;
      }
    }
    return samples;
  }
  double Value(const std::string& name, const std::string& labels) {
    const std::map<std::string, double> samples = Samples(name);
    const auto found = samples.find(labels);
    if (found != samples.end()) return found->second;
    ADD_FAILURE() << "no " << name << "{" << labels << "}; there are " << samples.size();
    return std::numeric_limits<double>::quiet_NaN();
  }
  v1::GroupStatus& group() { return snapshot_.groups[0]; }
  v1::ServiceStatus& standby() { return *group().mutable_services(1); }

  Snapshot snapshot_ = Leader();
  std::shared_ptr<Metrics> metrics_ = Metrics::Create([this] { return snapshot_; });
};

}  // namespace failover::metrics

#endif  // TESTS_UNIT_METRICS_FIXTURE_H_
