#ifndef TESTS_E2E_DASHBOARDS_H_
#define TESTS_E2E_DASHBOARDS_H_

#include <map>
#include <string>
#include <vector>

namespace failover::e2e {

// A query of a dashboard of the chart, with Grafana's variables replaced.
struct DashboardQuery {
  std::string dashboard, panel, expression;  // panel: its title, or "variable X", "annotation X"
  std::string label;                         // of a variable's label_values(): must be there
  bool instant = false;                      // asks for now; else for the shown time
};
// Of every file in charts/apim-failover/dashboards, rows included. `variables`: value by name,
// Grafana's own ("__range") included; a dashboard's own default to ".+". The test fails when a
// variable is left in an expression.
std::vector<DashboardQuery> DashboardQueries(const std::map<std::string, std::string>& variables);

}  // namespace failover::e2e

#endif  // TESTS_E2E_DASHBOARDS_H_
