#ifndef TESTS_SUPPORT_CATALOGUE_H_
#define TESTS_SUPPORT_CATALOGUE_H_

#include <functional>
#include <set>
#include <string>
#include <vector>

#include "prometheus/metric_family.h"

namespace failover {

// Metrics against the lists in tests/testdata: one line a family, "name | type | labels | help".

using Families = std::vector<prometheus::MetricFamily>;

// The lines of these families; every series of one has the same labels.
std::set<std::string> CatalogueLines(const Families& families);
// Of such a file, without comments; only names that `wanted` takes (null: all).
std::set<std::string> ReadCatalogue(const std::string& path,
                                    const std::function<bool(const std::string&)>& wanted = {});
// "in the list, not exported: …" and the other way round; empty when both are the same.
std::string Differences(const std::set<std::string>& listed, const std::set<std::string>& exported);

// Names of `listed` lines that have no series in `after` whose value is another than in `before`,
// or that was not there.
std::set<std::string> Unmoved(const std::set<std::string>& listed, const Families& before,
                              const Families& after);

}  // namespace failover

#endif  // TESTS_SUPPORT_CATALOGUE_H_
