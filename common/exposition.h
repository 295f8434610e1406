#ifndef COMMON_EXPOSITION_H_
#define COMMON_EXPOSITION_H_

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "common/mutex.h"
#include "prometheus/labels.h"
#include "prometheus/metric_family.h"

namespace failover {

// One observation of a histogram's bucket, by the id under which logs and history know of it.
struct Exemplar {
  std::string trace_id;
  double value = 0;
  absl::Time at;
};

// The newest exemplar of each bucket. Bounded by its series and their buckets. Thread-safe.
class Exemplars {
 public:
  // Series by their labels, each with its buckets' upper bounds.
  using Buckets = std::map<double, Exemplar>;
  using Series = std::map<prometheus::Labels, Buckets>;

  // `bounds` are those of the histogram, ascending, without +Inf. An id that does not fit the
  // format (128 characters with its name) is left out.
  void Note(const std::string& family, const prometheus::Labels& labels,
            const std::vector<double>& bounds, Exemplar exemplar);
  std::map<std::string, Series> All() const;

 private:
  mutable Mutex mutex_;
  std::map<std::string, Series> families_ ABSL_GUARDED_BY(mutex_);
};

// The two formats of /metrics.
enum class ExpositionFormat { kText, kOpenMetrics100, kOpenMetrics001 };

// What a scraper with this Accept header is given: OpenMetrics only where it is asked for and not
// less than text. An empty or unreadable header means text.
ExpositionFormat FormatFor(absl::string_view accept);
std::string ContentType(ExpositionFormat format);

// Families of equal names become one, in the order of their first.
std::vector<prometheus::MetricFamily> Merged(std::vector<prometheus::MetricFamily> families);
// Text format 0.0.4; HELP is escaped, which prometheus-cpp 1.0.1 forgets.
std::string TextExposition(std::vector<prometheus::MetricFamily> families);
// OpenMetrics 1.0.0 (0.0.1 is the same but for its name): counters are named without _total in
// their family's lines, units are told, buckets carry exemplars, no _created.
std::string OpenMetricsExposition(const std::vector<prometheus::MetricFamily>& families,
                                  const std::map<std::string, Exemplars::Series>& exemplars);

}  // namespace failover

#endif  // COMMON_EXPOSITION_H_
