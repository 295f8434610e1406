#ifndef CONTROLLER_METRICS_STATE_METRICS_H_
#define CONTROLLER_METRICS_STATE_METRICS_H_

#include <functional>
#include <vector>

#include "controller/metrics/metrics.h"
#include "controller/metrics/record_watch.h"
#include "prometheus/collectable.h"

namespace failover::metrics {

// Every family that shows a state, built from one snapshot at each scrape: nothing of a former role
// or a removed group can stay behind. A follower shows no group.
class StateMetrics final : public prometheus::Collectable {
 public:
  // `records` outlives this.
  StateMetrics(std::function<Snapshot()> snapshot, const RecordWatch& records)
      : snapshot_(std::move(snapshot)), records_(records) {}

  std::vector<prometheus::MetricFamily> Collect() const override;

 private:
  const std::function<Snapshot()> snapshot_;
  const RecordWatch& records_;
};

}  // namespace failover::metrics

#endif  // CONTROLLER_METRICS_STATE_METRICS_H_
