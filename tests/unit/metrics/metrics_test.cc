#include "controller/metrics/metrics.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <limits>
#include <map>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "controller/core/blockers.h"
#include "gtest/gtest.h"
#include "prometheus/collectable.h"
#include "prometheus/metric_family.h"

namespace failover::metrics {
namespace {

constexpr int64_t kNow = 1'780'000'000'000;
constexpr int64_t kHour = 3'600'000;

void AddBlockers(bool standby, const std::string& active,
                 google::protobuf::RepeatedPtrField<v1::Blocker>* out) {
  for (const core::BlockerRule& rule : core::BlockerTable()) {
    if (rule.standby != standby) continue;
    v1::Blocker* blocker = out->Add();
    blocker->set_name(rule.name);
    blocker->set_active(rule.name == active);
  }
}

v1::ServiceStatus* AddService(const std::string& name, const std::string& region, v1::Role role,
                              v1::GroupStatus& group) {
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

void AddFailover(v1::GroupStatus& group) {
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
v1::GroupStatus Group() {
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

Snapshot Leader() {
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
  snapshot.mailbox_size = 3;
  snapshot.mailbox_capacity = 4096;
  return snapshot;
}

v1::GroupRecord Record() {
  v1::GroupRecord record;
  record.set_name("orders");
  for (const char* name : {"weu", "neu"}) {
    v1::ServiceRecord* service = record.add_services();
    service->set_name(name);
    service->set_azure_region(absl::StrCat("region-", name));
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

void AddOperation(const std::string& id, v1::OperationKind kind, v1::OperationState state,
                  v1::GroupRecord& record) {
  v1::Operation* operation = record.add_operations();
  operation->set_id(id);
  operation->set_kind(kind);
  operation->set_state(state);
  operation->set_service(kind == v1::OPERATION_KIND_BACKUP ? "weu" : "neu");
  operation->set_sent_ms(kNow - 100'000);
  operation->set_ended_ms(kNow - 40'000);
}

void EndFailover(v1::FailoverStage stage, v1::GroupRecord& record) {
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

std::string TypeName(prometheus::MetricType type) {
  switch (type) {
    case prometheus::MetricType::Counter:
      return "counter";
    case prometheus::MetricType::Gauge:
      return "gauge";
    case prometheus::MetricType::Histogram:
      return "histogram";
    default:
      return "other";
  }
}

TEST_F(MetricsTest, CatalogueIsTheOneInTheRepository) {
  v1::GroupRecord record = Record();
  metrics_->RecordIs(record);
  AddOperation("1", v1::OPERATION_KIND_BACKUP, v1::OPERATION_STATE_SUCCEEDED, record);
  EndFailover(v1::FAILOVER_STAGE_DONE, record);
  metrics_->RecordIs(record);
  metrics_->AzureCall("arm", "poll", "200", absl::Seconds(1));
  std::set<std::string> lines;
  for (const prometheus::MetricFamily& family : Collect()) {
    ASSERT_FALSE(family.metric.empty()) << family.name << " has no sample even here";
    std::vector<std::string> labels;
    for (const auto& label : family.metric[0].label) labels.push_back(label.name);
    lines.insert(absl::StrCat(family.name, " | ", TypeName(family.type), " | ",
                              absl::StrJoin(labels, ","), " | ", family.help));
  }
  std::ifstream file(FAILOVER_TESTDATA "/metrics.txt");
  std::set<std::string> expected;
  for (std::string line; std::getline(file, line);) {
    if (!line.empty() && line[0] != '#') expected.insert(line);
  }
  std::vector<std::string> missing, surplus;
  std::set_difference(expected.begin(), expected.end(), lines.begin(), lines.end(),
                      std::back_inserter(missing));
  std::set_difference(lines.begin(), lines.end(), expected.begin(), expected.end(),
                      std::back_inserter(surplus));
  EXPECT_TRUE(missing.empty()) << "in metrics.txt, not exported:\n" << absl::StrJoin(missing, "\n");
  EXPECT_TRUE(surplus.empty()) << "exported, not in metrics.txt:\n" << absl::StrJoin(surplus, "\n");
}

TEST_F(MetricsTest, NoSeriesHasALabelThatPrometheusOperatorsAttach) {
  const std::set<std::string> forbidden = {"service",  "namespace", "pod", "container",
                                           "endpoint", "instance",  "job", "cluster",
                                           "region",   "node"};
  for (const prometheus::MetricFamily& family : Collect()) {
    EXPECT_EQ(family.help.find('\n'), std::string::npos) << family.name;
    for (const prometheus::ClientMetric& metric : family.metric) {
      bool azure_region = false, apim_service = false;
      for (const auto& label : metric.label) {
        EXPECT_EQ(forbidden.count(label.name), 0u) << family.name << " " << label.name;
        azure_region |= label.name == "azure_region";
        apim_service |= label.name == "apim_service";
      }
      EXPECT_TRUE(!azure_region || apim_service)
          << family.name << ": apim_service stands beside every azure_region";
    }
  }
}

TEST_F(MetricsTest, NoSeriesIsThereTwice) {
  for (const prometheus::MetricFamily& family : Collect()) {
    std::set<std::string> seen;
    for (const prometheus::ClientMetric& metric : family.metric) {
      std::vector<std::string> labels;
      for (const auto& label : metric.label)
        labels.push_back(absl::StrCat(label.name, "=", label.value));
      EXPECT_TRUE(seen.insert(absl::StrJoin(labels, ",")).second)
          << family.name << " " << absl::StrJoin(labels, ",");
    }
  }
}

TEST_F(MetricsTest, FollowerExportsNoStateOfAnyGroup) {
  metrics_->RecordIs(Record());
  snapshot_.leader = false;  // the groups of its time as leader are still in the snapshot
  for (const prometheus::MetricFamily& family : Collect()) {
    if (family.type != prometheus::MetricType::Gauge) continue;
    for (const prometheus::ClientMetric& metric : family.metric) {
      for (const auto& label : metric.label) EXPECT_NE(label.name, "failover_group") << family.name;
    }
  }
  EXPECT_EQ(Value("leader_election_master_status", "name=apim-failover"), 0);
  EXPECT_EQ(Value("apim_failover_leader_fencing_epoch", ""), 7);
}

TEST_F(MetricsTest, UnknownRpoIsInfiniteAndNotAbsent) {
  standby().set_rpo_now_ms(-1);
  standby().set_rpo_source("");
  group().set_rpo_now_ms(-1);
  EXPECT_TRUE(std::isinf(Value("apim_failover_rpo_seconds",
                               "failover_group=orders,apim_service=neu,source=recovery_point")));
  EXPECT_TRUE(std::isinf(
      Value("apim_failover_group_rpo_seconds", "failover_group=orders,source=recovery_point")));
}

TEST_F(MetricsTest, KnownRpoIsInSeconds) {
  EXPECT_EQ(Value("apim_failover_rpo_seconds",
                  "failover_group=orders,apim_service=neu,source=recovery_point"),
            90);
}

TEST_F(MetricsTest, RecoveryPointIsAbsentAndTheStandbyUnprotectedWhileItHoldsNothing) {
  standby().mutable_record()->set_recovery_point_ms(0);
  EXPECT_TRUE(Samples("apim_failover_recovery_point_timestamp_seconds").empty());
  EXPECT_EQ(Value("apim_failover_standby_protected",
                  "failover_group=orders,azure_region=northeurope,apim_service=neu"),
            0);
}

TEST_F(MetricsTest, ExpiredOrUnverifiedContentProtectsNobody) {
  const std::string labels = "failover_group=orders,azure_region=northeurope,apim_service=neu";
  EXPECT_EQ(Value("apim_failover_standby_protected", labels), 1);
  standby().mutable_record()->set_backup_expires_ms(kNow);
  EXPECT_EQ(Value("apim_failover_standby_protected", labels), 0);
  standby().mutable_record()->set_backup_expires_ms(kNow + 1);
  standby().mutable_record()->set_content_unverified(true);
  EXPECT_EQ(Value("apim_failover_standby_protected", labels), 0);
}

TEST_F(MetricsTest, EveryBlockerIsPresentAndOnlyTheActiveOneIsSet) {
  const std::map<std::string, double> blocked = Samples("apim_failover_blocked");
  EXPECT_EQ(blocked.size(), 12u);
  double sum = 0;
  for (const auto& [labels, value] : blocked) sum += value;
  EXPECT_EQ(sum, 1);
  EXPECT_EQ(Value("apim_failover_blocked", "failover_group=orders,reason=cooldown"), 1);
  EXPECT_EQ(Samples("apim_failover_standby_blocked").size(), 12u);
  EXPECT_EQ(
      Value("apim_failover_standby_blocked", "failover_group=orders,apim_service=neu,reason=drift"),
      0);
  standby().clear_blockers();
  AddBlockers(true, "drift", standby().mutable_blockers());
  EXPECT_EQ(
      Value("apim_failover_standby_blocked", "failover_group=orders,apim_service=neu,reason=drift"),
      1);
}

TEST_F(MetricsTest, GroupThatIsNotLoadedYetDoesNotClaimToBeUnblocked) {
  v1::GroupStatus& loading = group();
  loading.clear_blockers();
  loading.clear_services();
  loading.set_state("unknown");
  EXPECT_TRUE(Samples("apim_failover_blocked").empty());
  EXPECT_EQ(Value("apim_failover_group_state", "failover_group=orders,state=unknown"), 1);
}

TEST_F(MetricsTest, StateSetsHaveExactlyOneSeriesThatHolds) {
  group().set_state("failing_over");
  const std::map<std::string, double> states = Samples("apim_failover_group_state");
  EXPECT_EQ(states.size(), 6u);
  EXPECT_EQ(states.at("failover_group=orders,state=failing_over"), 1);
  EXPECT_EQ(states.at("failover_group=orders,state=healthy"), 0);
  const std::string service = "failover_group=orders,azure_region=northeurope,apim_service=neu,";
  EXPECT_EQ(Value("apim_failover_service_role", service + "role=standby"), 1);
  EXPECT_EQ(Value("apim_failover_service_role", service + "role=active"), 0);
  standby().set_verdict("down");
  EXPECT_EQ(Value("apim_failover_service_verdict", service + "verdict=down"), 1);
  EXPECT_EQ(Value("apim_failover_service_verdict", service + "verdict=up"), 0);
  standby().mutable_regions(2)->set_vote(v1::VOTE_DOWN);
  EXPECT_EQ(Value("apim_failover_probe_region_vote", service + "probe_region=uksouth,vote=down"),
            1);
  EXPECT_EQ(Value("apim_failover_probe_region_vote", service + "probe_region=uksouth,vote=up"), 0);
  EXPECT_EQ(Value("apim_failover_service_votes", service + "vote=up"), 2);
  EXPECT_EQ(Value("apim_failover_service_votes", service + "vote=down"), 1);
  EXPECT_EQ(Value("apim_failover_service_votes", service + "vote=unknown"), 0);
}

TEST_F(MetricsTest, StateOfAnotherVersionIsShownAsUnknown) {
  group().set_state("dreaming");
  EXPECT_EQ(Value("apim_failover_group_state", "failover_group=orders,state=unknown"), 1);
}

TEST_F(MetricsTest, UnknownVerdictIsNotHealthy) {
  const std::string labels =
      "failover_group=orders,azure_region=westeurope,apim_service=weu,role=active";
  EXPECT_EQ(Value("apim_failover_service_healthy", labels), 1);
  group().mutable_services(0)->set_verdict("unknown");
  EXPECT_EQ(Value("apim_failover_service_healthy", labels), 0);
  group().mutable_services(0)->clear_regions();
  EXPECT_EQ(Value("apim_failover_service_votes",
                  "failover_group=orders,azure_region=westeurope,apim_service=weu,vote=unknown"),
            3)
      << "regions that never reported vote unknown";
}

TEST_F(MetricsTest, UnknownTrafficIsAbsentAndDoesNotMatch) {
  standby().set_serving("unknown");
  group().mutable_traffic()->set_known(false);
  EXPECT_EQ(Samples("apim_failover_service_serving_traffic").size(), 1u);
  EXPECT_EQ(Value("apim_failover_traffic_matches", "failover_group=orders"), 0);
}

TEST_F(MetricsTest, UnconfirmedRolesShowNoActiveService) {
  for (v1::ServiceStatus& service : *group().mutable_services())
    service.set_role(v1::ROLE_UNCONFIRMED);
  EXPECT_TRUE(Samples("apim_failover_active_region_info").empty());
  EXPECT_TRUE(Samples("apim_failover_standby_info").empty());
  EXPECT_EQ(
      Value("apim_failover_service_role",
            "failover_group=orders,azure_region=westeurope,apim_service=weu,role=unconfirmed"),
      1);
}

TEST_F(MetricsTest, EveryConfiguredRegionIsPresentBeforeItsFirstAgent) {
  EXPECT_EQ(Value("apim_failover_agent_connected", "failover_group=orders,probe_region=westeurope"),
            1);
  EXPECT_EQ(Value("apim_failover_agent_connected", "failover_group=orders,probe_region=uksouth"),
            0);
  EXPECT_EQ(Value("apim_failover_agent_instances", "probe_region=uksouth"), 0);
  EXPECT_EQ(Value("apim_failover_agent_results_total", "probe_region=uksouth,result=accepted"), 0);
  EXPECT_EQ(
      Value("apim_failover_agent_refused_total", "probe_region=uksouth,reason=identity_mismatch"),
      0);
  EXPECT_EQ(Samples("apim_failover_agent_last_report_timestamp_seconds").size(), 1u);
}

TEST_F(MetricsTest, CountersOfAgentsAreSummedByRegion) {
  EXPECT_EQ(Value("apim_failover_agent_results_total", "probe_region=westeurope,result=accepted"),
            15);
  EXPECT_EQ(Value("apim_failover_agent_refused_total", "probe_region=westeurope,reason=age"), 2);
  EXPECT_EQ(Value("apim_failover_agent_slowed_total", "probe_region=westeurope"), 1);
}

TEST_F(MetricsTest, OutageCountsFromItsEarlierBoundAndSaysItsWidth) {
  EXPECT_EQ(Value("apim_failover_outage_start_timestamp_seconds", "failover_group=orders"),
            static_cast<double>(kNow - kHour - 10'000) / 1000)
      << "of the last one";
  group().mutable_outage()->set_active(true);
  group().mutable_outage()->set_last_good_ms(kNow - 5000);
  group().mutable_outage()->set_first_failed_ms(kNow - 4000);
  EXPECT_EQ(Value("apim_failover_outage_start_timestamp_seconds", "failover_group=orders"),
            static_cast<double>(kNow - 5000) / 1000);
  EXPECT_EQ(Value("apim_failover_outage_start_width_seconds", "failover_group=orders"), 1);
}

TEST_F(MetricsTest, LastSwitchIsShownByPhase) {
  EXPECT_EQ(
      Value("apim_failover_last_switch_rto_seconds", "failover_group=orders,trigger=automatic"),
      10);
  EXPECT_EQ(Value("apim_failover_last_switch_rto_phase_seconds",
                  "failover_group=orders,trigger=automatic,phase=decide"),
            3);
  EXPECT_EQ(Value("apim_failover_last_switch_proved", "failover_group=orders,trigger=automatic"),
            1);
}

TEST_F(MetricsTest, SwitchThatWasNeverSeenHasAnInfiniteRto) {
  v1::LastSwitch* last = group().mutable_last_switches(0);
  last->set_success(false);
  last->set_rpo_ms(-1);
  last->mutable_rto()->set_to_switch_only(true);
  EXPECT_TRUE(std::isinf(
      Value("apim_failover_last_switch_rto_seconds", "failover_group=orders,trigger=automatic")));
  EXPECT_TRUE(std::isinf(
      Value("apim_failover_last_switch_rpo_seconds", "failover_group=orders,trigger=automatic")));
  EXPECT_EQ(Samples("apim_failover_last_switch_rto_phase_seconds").size(), 3u)
      << "visible was not reached";
}

TEST_F(MetricsTest, ForecastIsInfiniteUntilASwitchWasMeasured) {
  group().set_forecast_rto_ms(-1);
  EXPECT_TRUE(std::isinf(Value("apim_failover_forecast_rto_seconds", "failover_group=orders")));
}

constexpr char kBackups[] = "apim_service=weu,failover_group=orders,operation=backup,result=";

TEST_F(MetricsTest, OperationsAreCountedOnceFromZeroAndNotThoseOfThePast) {
  v1::GroupRecord record = Record();
  AddOperation("0", v1::OPERATION_KIND_BACKUP, v1::OPERATION_STATE_SUCCEEDED,
               record);  // of a former leader
  metrics_->RecordIs(record);
  EXPECT_EQ(Value("apim_failover_sync_operations_total", absl::StrCat(kBackups, "success")), 0);
  AddOperation("1", v1::OPERATION_KIND_BACKUP, v1::OPERATION_STATE_RUNNING, record);
  metrics_->RecordIs(record);
  EXPECT_EQ(Value("apim_failover_sync_operations_total", absl::StrCat(kBackups, "success")), 0);
  record.mutable_operations(1)->set_state(v1::OPERATION_STATE_SUCCEEDED);
  AddOperation("2", v1::OPERATION_KIND_BACKUP, v1::OPERATION_STATE_FAILED, record);
  AddOperation("3", v1::OPERATION_KIND_BACKUP, v1::OPERATION_STATE_LOST, record);
  AddOperation("4", v1::OPERATION_KIND_BACKUP, v1::OPERATION_STATE_ABANDONED, record);
  metrics_->RecordIs(record);
  metrics_->RecordIs(record);
  EXPECT_EQ(Value("apim_failover_sync_operations_total", absl::StrCat(kBackups, "success")), 1);
  EXPECT_EQ(Value("apim_failover_sync_operations_total", absl::StrCat(kBackups, "failure")), 2);
  EXPECT_EQ(Value("apim_failover_sync_operations_total", absl::StrCat(kBackups, "cancelled")), 1);
  EXPECT_EQ(
      Value("apim_failover_sync_operation_duration_seconds", "operation=backup,result=success"), 1);
  EXPECT_EQ(Value("apim_failover_sync_last_duration_seconds",
                  "failover_group=orders,apim_service=weu,operation=backup"),
            60);
}

TEST_F(MetricsTest, VerificationsAreCountedByRunAndStandby) {
  const std::string verify = "apim_service=neu,failover_group=orders,operation=verify,result=";
  v1::GroupRecord record = Record();
  metrics_->RecordIs(record);
  record.mutable_sync_run()->set_id("R1");
  v1::RestoreTarget* target = record.mutable_sync_run()->add_targets();
  target->set_service("neu");
  target->set_stage(v1::RESTORE_STAGE_VERIFY);
  metrics_->RecordIs(record);
  EXPECT_EQ(Value("apim_failover_sync_operations_total", verify + "success"), 0);
  target->set_stage(v1::RESTORE_STAGE_DONE);
  metrics_->RecordIs(record);
  metrics_->RecordIs(record);
  EXPECT_EQ(Value("apim_failover_sync_operations_total", verify + "success"), 1);
  record.mutable_sync_run()->set_id("R2");
  target->set_stage(v1::RESTORE_STAGE_FAILED);
  target->set_differences(3);
  metrics_->RecordIs(record);
  EXPECT_EQ(Value("apim_failover_sync_operations_total", verify + "failure"), 1);
}

TEST_F(MetricsTest, EndedFailoverIsCountedOnceWithItsMeasuredTime) {
  v1::GroupRecord record = Record();
  metrics_->RecordIs(record);
  EndFailover(v1::FAILOVER_STAGE_CONFIRMING, record);
  metrics_->RecordIs(record);
  EXPECT_TRUE(Samples("apim_failover_switches_total").empty());
  EndFailover(v1::FAILOVER_STAGE_DONE, record);
  metrics_->RecordIs(record);
  metrics_->RecordIs(record);
  EXPECT_EQ(Value("apim_failover_switches_total",
                  "failover_group=orders,from_region=region-weu,kind=failover,result=success,to_"
                  "region=region-neu,"
                  "trigger=automatic"),
            1);
  EXPECT_EQ(Value("apim_failover_rto_seconds", "result=success,trigger=automatic"), 1);
  EXPECT_EQ(Value("apim_failover_rto_phase_seconds", "phase=visible"), 1);
}

TEST_F(MetricsTest, SwitchThatWasNeverSeenAndAbortedOneHaveNoRto) {
  v1::GroupRecord record = Record();
  metrics_->RecordIs(record);
  EndFailover(v1::FAILOVER_STAGE_SWITCHED_NOT_SEEN, record);
  metrics_->RecordIs(record);
  EndFailover(v1::FAILOVER_STAGE_ABORTED, record);
  metrics_->RecordIs(record);
  EXPECT_EQ(Samples("apim_failover_switches_total").size(), 2u);
  EXPECT_TRUE(Samples("apim_failover_rto_seconds").empty());
}

TEST_F(MetricsTest, BackupOfTheRecordIsShownEvenWhileANewRunIsOpen) {
  metrics_->RecordIs(Record());
  const std::string labels = "failover_group=orders,apim_service=weu";
  EXPECT_EQ(Value("apim_failover_backup_last_success_timestamp_seconds", labels),
            static_cast<double>(kNow - kHour) / 1000);
  EXPECT_EQ(Value("apim_failover_backup_size_bytes", labels), 4096);
  EXPECT_EQ(Value("apim_failover_backup_expiry_timestamp_seconds", "failover_group=orders"),
            static_cast<double>(kNow + 30 * 24 * kHour) / 1000);
}

TEST_F(MetricsTest, CallsAreCounted) {
  metrics_->AzureCall("arm", "poll", "200", absl::Milliseconds(30));
  metrics_->AzureCall("arm", "poll", "429", absl::Milliseconds(30));
  metrics_->StoreWrite(absl::Milliseconds(2), true);
  metrics_->StoreWrite(absl::ZeroDuration(), false);
  metrics_->CoreStep(absl::Microseconds(20));
  metrics_->SwitchLatency(absl::Milliseconds(1));
  metrics_->ClockGap();
  metrics_->OrderAnswered("failover", true);
  EXPECT_EQ(Value("apim_failover_azure_requests_total", "api=arm,code=429,operation=poll"), 1);
  EXPECT_EQ(Value("apim_failover_azure_request_duration_seconds", "api=arm,operation=poll"), 2);
  EXPECT_EQ(Value("apim_failover_store_writes_total", "result=failure"), 1);
  EXPECT_EQ(Value("apim_failover_store_write_duration_seconds", ""), 1)
      << "a failed write has no duration";
  EXPECT_EQ(Value("apim_failover_core_step_duration_seconds", ""), 1);
  EXPECT_EQ(Value("apim_failover_switch_latency_seconds", ""), 1);
  EXPECT_EQ(Value("apim_failover_clock_gaps_total", ""), 1);
  EXPECT_EQ(Value("apim_failover_orders_total", "result=done,verb=failover"), 1);
  EXPECT_EQ(Value("apim_failover_orders_total", "result=refused,verb=failover"), 0);
}

TEST_F(MetricsTest, SeriesOfCallsAreBounded) {
  for (int i = 0; i < 3000; ++i)
    metrics_->AzureCall("arm", "poll", absl::StrCat(i), absl::ZeroDuration());
  EXPECT_LE(Samples("apim_failover_azure_requests_total").size(), 1001u);
  EXPECT_EQ(Value("apim_failover_azure_requests_total", "api=other,code=other,operation=other"),
            2000);
}

}  // namespace
}  // namespace failover::metrics
