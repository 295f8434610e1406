#include "agent/metrics.h"

#include <gtest/gtest.h>
#include <prometheus/collectable.h>
#include <prometheus/text_serializer.h>

#include <set>
#include <sstream>
#include <string>

#include "absl/strings/str_join.h"
#include "agent/probe_result.h"
#include "tests/support/catalogue.h"

namespace failover::agent {
namespace {

std::shared_ptr<const Target> TargetOf(const std::string& id, const std::string& region,
                                       const std::string& role) {
  Target target;
  target.id = id;
  target.failover_group = "orders";
  target.azure_region = region;
  target.apim_service = "apim-" + region;
  target.role = role;
  target.tls = true;
  return std::make_shared<const Target>(target);
}

class AgentMetricsTest : public testing::Test {
 protected:
  void Assign(std::vector<std::shared_ptr<const Target>> targets) {
    PreparedAssignment assignment;
    assignment.term = 3;
    assignment.targets = std::move(targets);
    metrics_.SetAssignment(assignment);
  }
  void Result(const std::shared_ptr<const Target>& target, bool success) {
    v1::ProbeResult result;
    result.set_success(success);
    if (!success) result.set_failed_stage(v1::PROBE_STAGE_TLS);
    result.set_certificate_expiry_unix(1900000000);
    result.mutable_phases()->set_total_us(20000);
    metrics_.Result(*target, result, absl::FromUnixSeconds(1700000000));
  }
  std::string Text() {
    return prometheus::TextSerializer().Serialize(metrics_.collectable()->Collect());
  }
  bool Has(const std::string& line) { return Text().find(line + "\n") != std::string::npos; }

  AgentMetrics metrics_{"uksouth", {"c:1"}};
};

constexpr char kLabels[] =
    "apim_service=\"apim-weu\",azure_region=\"weu\",failover_group=\"orders\",probe_region="
    "\"uksouth\"";

TEST_F(AgentMetricsTest, EveryResultStartsAtZeroWhenATargetIsAssigned) {
  Assign({TargetOf("a", "weu", "active")});
  for (const char* result : kResultLabels) {
    EXPECT_TRUE(Has(std::string("apim_failover_probe_results_total{") + kLabels + ",result=\"" +
                    result + "\",role=\"active\"} 0"))
        << Text();
  }
  EXPECT_EQ(Text().find("apim_failover_probe_success{"), std::string::npos)
      << "claims a result it has not";
}

TEST_F(AgentMetricsTest, ResultsAreCountedByWord) {
  const auto target = TargetOf("a", "weu", "active");
  Assign({target});
  Result(target, true);
  Result(target, false);
  EXPECT_TRUE(Has(std::string("apim_failover_probe_results_total{") + kLabels +
                  ",result=\"tls_error\",role=\"active\"} 1"));
  EXPECT_TRUE(Has(std::string("apim_failover_probe_success{") + kLabels + ",role=\"active\"} 0"));
  EXPECT_TRUE(Has(std::string("apim_failover_probe_last_success_timestamp_seconds{") + kLabels +
                  "} 1700000000"))
      << Text();
}

TEST_F(AgentMetricsTest, TargetsThatShareLabelsAreGoodOnlyTogether) {
  const auto a = TargetOf("a", "weu", "active"), b = TargetOf("b", "weu", "active");
  Assign({a, b});
  Result(a, false);
  Result(b, true);
  const std::string series =
      std::string("apim_failover_probe_success{") + kLabels + ",role=\"active\"} ";
  EXPECT_TRUE(Has(series + "0"));
  Assign({b});
  Result(b, true);
  EXPECT_TRUE(Has(series + "1")) << "a target that is gone still counts";
}

TEST_F(AgentMetricsTest, SeriesOfRemovedTargetsGo) {
  const auto target = TargetOf("a", "weu", "active");
  Assign({target, TargetOf("s", "weu", "standby")});
  Result(target, true);
  EXPECT_NE(Text().find("certificate_expiry_timestamp_seconds{"), std::string::npos);
  Assign({});
  EXPECT_EQ(Text().find("azure_region="), std::string::npos) << Text();
  Result(target, true);  // one in flight
  EXPECT_EQ(Text().find("azure_region="), std::string::npos);
}

TEST_F(AgentMetricsTest, ARoleThatMovesKeepsTheRegionsHistograms) {
  const auto before = TargetOf("a", "weu", "active"), after = TargetOf("a", "weu", "standby");
  Assign({before});
  Result(before, true);
  Assign({after});
  Result(after, true);
  EXPECT_TRUE(
      Has("apim_failover_probe_duration_seconds_count{apim_service=\"apim-weu\",azure_region="
          "\"weu\",failover_group=\"orders\","
          "phase=\"total\",probe_region=\"uksouth\"} 2"))
      << Text();
  EXPECT_EQ(Text().find("role=\"active\""), std::string::npos);
}

// Every family of the agent against tests/testdata/agent-metrics.txt, each with another value than
// at first.
TEST_F(AgentMetricsTest, EveryMetricMovesAndIsTheOneInTheRepository) {
  const std::set<std::string> listed = ReadCatalogue(FAILOVER_TESTDATA "/agent-metrics.txt");
  const auto target = TargetOf("a", "weu", "active");
  Assign({target});
  v1::ProbeResult result;
  result.set_success(true);
  result.set_certificate_expiry_unix(1900000000);
  result.mutable_phases()->set_total_us(20000);
  metrics_.Result(*target, result, absl::FromUnixSeconds(1700000000));
  const Families before = metrics_.collectable()->Collect();
  EXPECT_EQ(Differences(listed, CatalogueLines(before)), "");
  PreparedAssignment next;
  next.term = 4;
  next.generation = 1;
  next.targets = {target, TargetOf("b", "neu", "standby")};
  metrics_.SetAssignment(next);
  result.set_certificate_expiry_unix(1900000001);
  metrics_.Result(*target, result, absl::FromUnixSeconds(1700000005));
  result.set_success(false);
  result.set_failed_stage(v1::PROBE_STAGE_CONNECT);
  metrics_.Result(*target, result, absl::FromUnixSeconds(1700000010));
  metrics_.Started(absl::Milliseconds(2));
  metrics_.SlotsMissed(AgentMetrics::Missed::kLate, 1);
  metrics_.ClockJumped();
  metrics_.Dropped(AgentMetrics::Drop::kExpired, 2);
  metrics_.StreamConnected("c:1", true);
  EXPECT_EQ(absl::StrJoin(Unmoved(listed, before, metrics_.collectable()->Collect()), " "), "");
}

TEST_F(AgentMetricsTest, AControllerThatWasNeverReachedIsAZero) {
  EXPECT_TRUE(
      Has("apim_failover_agent_stream_connected{controller=\"c:1\",probe_region=\"uksouth\"} 0"));
  metrics_.StreamConnected("c:1", true);
  EXPECT_TRUE(
      Has("apim_failover_agent_stream_connected{controller=\"c:1\",probe_region=\"uksouth\"} 1"));
}

TEST_F(AgentMetricsTest, SeriesOfAControllersAddressThatWentGoes) {
  metrics_.StreamConnected("10.0.0.1:7443", true);
  metrics_.StreamGone("10.0.0.1:7443");
  metrics_.StreamGone("10.0.0.2:7443");  // never known: harmless
  EXPECT_EQ(Text().find("10.0.0."), std::string::npos) << Text();
  EXPECT_NE(Text().find("controller=\"c:1\""), std::string::npos);
}

}  // namespace
}  // namespace failover::agent
