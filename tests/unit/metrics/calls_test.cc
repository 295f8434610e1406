#include <cmath>
#include <map>
#include <string>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "tests/unit/metrics/fixture.h"

namespace failover::metrics {
namespace {

TEST_F(MetricsTest, CallsAreCounted) {
  metrics_->AzureCall("arm", "poll", "200", absl::Milliseconds(30), "r1");
  metrics_->AzureCall("arm", "poll", "429", absl::Milliseconds(30), "r2");
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
    metrics_->AzureCall("arm", "poll", absl::StrCat(i), absl::ZeroDuration(), "");
  EXPECT_LE(Samples("apim_failover_azure_requests_total").size(), 1001u);
  EXPECT_EQ(Value("apim_failover_azure_requests_total", "api=other,code=other,operation=other"),
            2000);
}

}  // namespace
}  // namespace failover::metrics
