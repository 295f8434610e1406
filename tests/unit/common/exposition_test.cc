#include "common/exposition.h"

#include <gtest/gtest.h>
#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace failover {
namespace {

using prometheus::MetricFamily;

TEST(FormatForTest, OpenMetricsIsGivenOnlyWhereItIsAskedFor) {
  constexpr ExpositionFormat k100 = ExpositionFormat::kOpenMetrics100,
                             k001 = ExpositionFormat::kOpenMetrics001,
                             kText = ExpositionFormat::kText;
  const struct {
    const char* accept;
    ExpositionFormat format;
  } kCases[] = {
      // Prometheus 2.42, 2.53 and before 2.40.
      {"application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;"
       "q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
       k100},
      {"application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
       "application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
       k100},
      {"application/openmetrics-text; version=0.0.1,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
       k001},
      {"application/openmetrics-text", k001},
      {"Application/OpenMetrics-Text ; Version=\"1.0.0\" ; Q=0.9", k100},
      {"application/openmetrics-text;version=2.0.0", kText},
      {"application/openmetrics-text;version=1.0.0;q=0", kText},
      {"application/openmetrics-text;version=1.0.0;q=much", kText},
      {"application/openmetrics-text;version=1.0.0;q=0.2,text/plain;q=0.9", kText},
      {"application/openmetrics-text;version=1.0.0;q=0.2,application/"
       "openmetrics-text;version=0.0.1",
       k001},
      {"application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited",
       kText},
      {"text/html,application/xhtml+xml,*/*;q=0.8", kText},
      {"*/*", kText},
      {"", kText},
      {",;=,;;q", kText},
  };
  for (const auto& [accept, format] : kCases) EXPECT_EQ(FormatFor(accept), format) << accept;
}

class ExpositionTest : public ::testing::Test {
 protected:
  std::string OpenMetrics() { return OpenMetricsExposition(registry_.Collect(), exemplars_.All()); }
  prometheus::Registry registry_;
  Exemplars exemplars_;
};

TEST_F(ExpositionTest, ACounterIsNamedWithoutTotalInItsFamilysLines) {
  prometheus::BuildCounter()
      .Name("process_cpu_seconds_total")
      .Help("CPU.")
      .Register(registry_)
      .Add({})
      .Increment(1.5);
  EXPECT_EQ(OpenMetrics(),
            "# TYPE process_cpu_seconds counter\n# UNIT process_cpu_seconds seconds\n"
            "# HELP process_cpu_seconds CPU.\nprocess_cpu_seconds_total 1.5\n# EOF\n");
}

TEST_F(ExpositionTest, AGaugeKeepsItsNameAndTextIsEscaped) {
  auto& family = prometheus::BuildGauge().Name("a_bytes").Help("x \"y\" \\\nz").Register(registry_);
  family.Add({{"from", "a\"b\\c\nd"}, {"to", ""}}).Set(std::numeric_limits<double>::infinity());
  EXPECT_EQ(OpenMetrics(),
            "# TYPE a_bytes gauge\n# UNIT a_bytes bytes\n# HELP a_bytes x \\\"y\\\" \\\\\\nz\n"
            "a_bytes{from=\"a\\\"b\\\\c\\nd\",to=\"\"} +Inf\n# EOF\n");
}

TEST_F(ExpositionTest, NumbersAreExact) {
  auto& gauge = prometheus::BuildGauge().Name("a").Help("h").Register(registry_).Add({});
  for (const auto& [value, text] :
       std::vector<std::pair<double, std::string>>{{0, "0"},
                                                   {0.1, "0.1"},
                                                   {1795592400.123, "1795592400.123"},
                                                   {-2.5e-9, "-2.5e-09"},
                                                   {1e300, "1e+300"},
                                                   {std::nan(""), "NaN"},
                                                   {0.1 + 0.2, "0.30000000000000004"}}) {
    gauge.Set(value);
    EXPECT_TRUE(absl::StrContains(OpenMetrics(), absl::StrCat("\na ", text, "\n"))) << text;
  }
}

TEST_F(ExpositionTest, BoundsOfBucketsAreFloatsAndExemplarsStandWhereTheyBelong) {
  const std::vector<double> bounds = {0.5, 1, 30};
  auto& family = prometheus::BuildHistogram().Name("a_seconds").Help("h").Register(registry_);
  auto& series = family.Add({{"api", "arm"}}, bounds);
  for (const double value : {0.7, 1.0, 40.0}) {
    series.Observe(value);
    exemplars_.Note("a_seconds", {{"api", "arm"}}, bounds,
                    {absl::StrCat("id-", value), value, absl::FromUnixMillis(1'520'879'607'789)});
  }
  exemplars_.Note("a_seconds", {{"api", "arm"}}, bounds, {"", 0.1, absl::UnixEpoch()});
  exemplars_.Note("a_seconds", {{"api", "arm"}}, bounds,
                  {std::string(200, 'x'), 0.1, absl::UnixEpoch()});
  EXPECT_EQ(OpenMetrics(),
            "# TYPE a_seconds histogram\n# UNIT a_seconds seconds\n# HELP a_seconds h\n"
            "a_seconds_bucket{api=\"arm\",le=\"0.5\"} 0\n"
            "a_seconds_bucket{api=\"arm\",le=\"1.0\"} 2 # {trace_id=\"id-1\"} 1 1520879607.789\n"
            "a_seconds_bucket{api=\"arm\",le=\"30.0\"} 2\n"
            "a_seconds_bucket{api=\"arm\",le=\"+Inf\"} 3 # {trace_id=\"id-40\"} 40 "
            "1520879607.789\n"
            "a_seconds_sum{api=\"arm\"} 41.7\na_seconds_count{api=\"arm\"} 3\n# EOF\n");
  family.Add({{"api", "entra"}}, bounds);
  EXPECT_TRUE(absl::StrContains(OpenMetrics(), "{api=\"entra\",le=\"1.0\"} 0\n"))
      << "an exemplar of another series";
}

TEST_F(ExpositionTest, TextIsThatOfTheLibraryWithoutExemplars) {
  auto& family = prometheus::BuildHistogram().Name("a_seconds").Help("h").Register(registry_);
  family.Add({{"api", "arm"}}, std::vector<double>{1}).Observe(0.5);
  prometheus::BuildCounter().Name("b_total").Help("b").Register(registry_).Add({}).Increment();
  exemplars_.Note("a_seconds", {{"api", "arm"}}, {1}, {"id", 0.5, absl::UnixEpoch()});
  EXPECT_EQ(TextExposition(registry_.Collect()),
            prometheus::TextSerializer().Serialize(registry_.Collect()));
}

TEST_F(ExpositionTest, FamiliesOfOneNameAreOne) {
  MetricFamily first{"a", "h", prometheus::MetricType::Gauge, {{}}}, other = first, second = first;
  other.name = "b";
  const std::vector<MetricFamily> merged = Merged({first, other, second});
  ASSERT_EQ(merged.size(), 2u);
  EXPECT_EQ(merged[0].metric.size(), 2u);
  EXPECT_EQ(merged[1].name, "b");
}

}  // namespace
}  // namespace failover
