// Every metric of the controller against tests/testdata/metrics.txt.
#include <map>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "google/protobuf/message.h"
#include "gtest/gtest.h"
#include "tests/support/catalogue.h"
#include "tests/unit/metrics/fixture.h"

namespace failover::metrics {
namespace {

// Those of gRPC's servers are moved by real calls: tests/component/common.
std::set<std::string> Listed() {
  return ReadCatalogue(FAILOVER_TESTDATA "/metrics.txt", [](const std::string& name) {
    return !absl::StartsWith(name, "grpc_server_");
  });
}

// What a catalogue's line is of, by a label of its first series.
bool HasLabel(const Families& families, const std::string& name, const std::string& label) {
  for (const prometheus::MetricFamily& family : families) {
    if (family.name != name || family.metric.empty()) continue;
    for (const auto& each : family.metric[0].label) {
      if (each.name == label) return true;
    }
  }
  return false;
}

// Another value for every number and truth of a status, also of what is inside it. What says that
// something is configured, or under way, stays.
void Shift(google::protobuf::Message& message) {
  static const std::set<std::string> kStays = {"has_public_url", "configured", "known"};
  const google::protobuf::Reflection& access = *message.GetReflection();
  std::vector<const google::protobuf::FieldDescriptor*> fields;
  access.ListFields(message, &fields);
  const auto* type = message.GetDescriptor();
  for (int i = 0; i < type->field_count(); ++i) {  // a false is not listed
    const auto* field = type->field(i);
    const bool truth = field->cpp_type() == field->CPPTYPE_BOOL && !field->is_repeated();
    if (truth && kStays.count(field->name()) == 0)
      access.SetBool(&message, field, !access.GetBool(message, field));
  }
  for (const auto* field : fields) {
    if (field->cpp_type() == field->CPPTYPE_MESSAGE && !field->is_map()) {
      if (!field->is_repeated()) Shift(*access.MutableMessage(&message, field));
      for (int i = 0; field->is_repeated() && i < access.FieldSize(message, field); ++i)
        Shift(*access.MutableRepeatedMessage(&message, field, i));
    }
    if (field->is_repeated()) continue;
    if (field->cpp_type() == field->CPPTYPE_INT64)
      access.SetInt64(&message, field, access.GetInt64(message, field) + 1000);
    if (field->cpp_type() == field->CPPTYPE_UINT64)
      access.SetUInt64(&message, field, access.GetUInt64(message, field) + 1);
    if (field->cpp_type() == field->CPPTYPE_INT32)
      access.SetInt32(&message, field, access.GetInt32(message, field) + 1);
  }
}

class CatalogueTest : public MetricsTest {
 protected:
  // One of everything, from what this process does to what its groups live through.
  void LiveThroughEverything() {
    metrics_->RecordLoaded(Record());
    v1::GroupRecord record = Record();
    AddOperation("1", v1::OPERATION_KIND_BACKUP, v1::OPERATION_STATE_SUCCEEDED, record);
    AddOperation("2", v1::OPERATION_KIND_RESTORE, v1::OPERATION_STATE_FAILED, record);
    EndFailover(v1::FAILOVER_STAGE_DONE, record);
    metrics_->RecordIs(record);
    metrics_->AzureCall("arm", "poll", "200", absl::Seconds(1), "a-request");
    metrics_->KubernetesCall("GET", "10.0.0.1:443", "200", absl::Milliseconds(4));
    metrics_->LeaseWrite(absl::Milliseconds(4), true);
    metrics_->StoreWrite(absl::Milliseconds(2), true);
    metrics_->CoreStep(absl::Microseconds(20));
    metrics_->SwitchLatency(absl::Milliseconds(1));
    metrics_->ClockGap();
    metrics_->OrderAnswered("failover", true);
    snapshot_ = Leader();
    UnderWay();
  }
  // A sync run, a failover and an outage at once, a lone dissent, drift: what Leader() has not.
  void UnderWay() {
    v1::SyncRun* run = group().mutable_sync()->mutable_run();
    run->set_stage(v1::SYNC_STAGE_RESTORE);
    run->set_started_ms(kNow - 600'000);
    for (const char* step : {"run", "verify", "failover"}) {
      v1::StepForecast* forecast = group().add_forecasts();
      forecast->set_step(step);
      forecast->set_p95_ms(900'000);
    }
    group().mutable_failover()->set_stage(v1::FAILOVER_STAGE_CONFIRMING);
    group().mutable_failover()->set_decided_ms(kNow - 4000);
    standby().set_operation_forecast_ms(kNow + 60'000);
    standby().set_watch_until_ms(kNow + 90'000);
    group().set_frozen_since_ms(kNow - 1000);
    group().set_frozen_until_ms(kNow + 1000);
    group().set_cooldown_since_ms(kNow - 1000);
    standby().mutable_record()->mutable_drift()->set_found_ms(kNow - 1000);
    v1::KindCount* kind = standby().mutable_record()->mutable_drift()->add_kinds();
    kind->set_kind("apis");
    kind->set_count(2);
    group().mutable_services(0)->mutable_regions(2)->set_dissenting(true);
    group().set_frozen(true);
    group().mutable_outage()->set_active(true);
    group().mutable_outage()->set_first_failed_ms(kNow - 7000);
    group().mutable_approval()->set_id("A1");
  }
  // Every number of the status and the record is another one; roles stay.
  void LiveOn() {
    v1::GroupRecord record = Record();
    AddOperation("3", v1::OPERATION_KIND_BACKUP, v1::OPERATION_STATE_SUCCEEDED, record);
    record.mutable_operations(0)->set_ended_ms(kNow - 30'000);
    record.mutable_backups(0)->set_ended_ms(kNow - 30'000);
    record.mutable_backups(0)->set_size_bytes(5000);
    record.mutable_backups(0)->set_expires_ms(kNow + 31 * 24 * kHour);
    EndFailover(v1::FAILOVER_STAGE_ABORTED, record);
    metrics_->RecordIs(record);
    Shift(group());
    group().mutable_last_switches(0)->set_acknowledged(false);  // of one that failed
    standby().mutable_operation()->set_kind(v1::OPERATION_KIND_BACKUP);
    group().set_mode("manual");
    group().set_state("paused");
    for (v1::ServiceStatus& service : *group().mutable_services()) {
      service.set_sku("Developer");
      service.set_verdict("down");
      service.set_serving(service.serving() == "enabled" ? "disabled" : "enabled");
      for (v1::RegionStatus& region : *service.mutable_regions()) region.set_vote(v1::VOTE_DOWN);
    }
    for (v1::AgentInfo& agent : snapshot_.agents) {
      Shift(agent);
      agent.set_connected(false);
    }
    v1::AgentInfo newer = snapshot_.agents[0];
    newer.set_connected(true);
    newer.set_version("0.2.0");
    newer.set_probe_region("uksouth");
    snapshot_.agents.push_back(newer);
    for (AgentCounter& counter : snapshot_.agent_counters) ++counter.count;
    snapshot_.delays["uksouth"] = {{0, 1, 0}, 0.5};
    snapshot_.token_expiry_ms += kHour;
  }
};

TEST_F(CatalogueTest, NamesTypesLabelsAndHelpAreThoseInTheRepository) {
  LiveThroughEverything();
  EXPECT_EQ(Differences(Listed(), CatalogueLines(Collect())), "");
}

TEST_F(CatalogueTest, EveryMetricMoves) {
  snapshot_ = Quiet();
  metrics_->UsesKubernetes("10.0.0.1:443");
  const Families before = Collect();
  LiveThroughEverything();
  EXPECT_EQ(absl::StrJoin(Unmoved(Listed(), before, Collect()), "\n"), "");
}

// Between two moments of a leader with one group, where nothing moves by merely appearing.
TEST_F(CatalogueTest, EveryMetricOfTheLeaderHasASecondValue) {
  LiveThroughEverything();
  const Families before = Collect();
  const std::set<std::string> listed =
      ReadCatalogue(FAILOVER_TESTDATA "/metrics.txt", [&before](const std::string& name) {
        return HasLabel(before, name, "failover_group") || HasLabel(before, name, "probe_region") ||
               HasLabel(before, name, "audience");
      });
  ASSERT_GT(listed.size(), 60u);
  LiveOn();
  const std::set<std::string> of_roles = Unmoved(listed, before, Collect());
  EXPECT_EQ(absl::StrJoin(of_roles, " "),
            "apim_failover_active_region_info apim_failover_service_role");
  group().mutable_services(0)->set_role(v1::ROLE_STANDBY);
  group().mutable_services(1)->set_role(v1::ROLE_ACTIVE);
  group().set_active("neu");
  for (const std::string& name : Unmoved(listed, before, Collect()))
    EXPECT_EQ(of_roles.count(name), 0u) << name;
}

TEST_F(CatalogueTest, WaitingFeaturesAreListedOnceAndNotExported) {
  LiveThroughEverything();
  std::set<std::string> exported;
  for (const prometheus::MetricFamily& family : Collect()) exported.insert(family.name);
  for (const std::string& line : ReadCatalogue(FAILOVER_TESTDATA "/metrics-later.txt")) {
    const std::string name = line.substr(0, line.find(" | "));
    EXPECT_EQ(exported.count(name), 0u) << name << " is exported: it waits for nothing";
    EXPECT_NE(line.find(" | "), line.npos) << line << ": no reason";
  }
}

TEST_F(CatalogueTest, NoSeriesHasALabelThatPrometheusOperatorsAttach) {
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

TEST_F(CatalogueTest, NoSeriesIsThereTwice) {
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

TEST_F(CatalogueTest, FollowerExportsNothingOfAnyGroup) {
  LiveThroughEverything();
  snapshot_.leader = false;  // the groups of its time as leader are still in the snapshot
  for (const prometheus::MetricFamily& family : Collect()) {
    for (const prometheus::ClientMetric& metric : family.metric) {
      for (const auto& label : metric.label) EXPECT_NE(label.name, "failover_group") << family.name;
    }
  }
  EXPECT_EQ(Value("leader_election_master_status", "name=apim-failover"), 0);
  EXPECT_EQ(Value("apim_failover_leader_fencing_epoch", ""), 7);
}

}  // namespace
}  // namespace failover::metrics
