#ifndef CONTROLLER_METRICS_SERVICE_PAGE_H_
#define CONTROLLER_METRICS_SERVICE_PAGE_H_

#include <cstdint>
#include <string>
#include <vector>

#include "apim_failover/v1/operator.pb.h"
#include "common/proto.h"
#include "controller/metrics/catalogue.h"
#include "controller/metrics/record_watch.h"

namespace failover::metrics {

inline double Seconds(int64_t ms) { return static_cast<double>(ms) / 1000; }
// Unknown (−1) is shown as infinite, never as absent: `x > objective` must be true of what nobody
// knows (design.md §6.10: it never flatters).
double SecondsOrInfinity(int64_t ms);

// What a step should take by its own history (core/progress.h); 0 = no history.
int64_t Forecast(const v1::GroupStatus& group, const std::string& step);

// The samples of one service of a group. `entity_kinds`: those of a standby's drift.
void AddService(const v1::GroupStatus& group, const v1::ServiceStatus& service,
                const RecordFacts& facts, const std::vector<std::string>& entity_kinds, Page& page);

}  // namespace failover::metrics

#endif  // CONTROLLER_METRICS_SERVICE_PAGE_H_
