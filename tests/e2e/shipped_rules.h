#ifndef TESTS_E2E_SHIPPED_RULES_H_
#define TESTS_E2E_SHIPPED_RULES_H_

#include <string>

namespace failover::e2e {

// The rule files of the chart as one file for Prometheus, changed in nothing but times: `for` by
// one table, long times in expressions by another (both in shipped_rules.cc). The test fails when
// an entry of a table does not fit as often as it says, so that none outlives the rule it was
// written for, or when a rule has a `for` that no table knows.
std::string ShippedRules();

// Label `job` of a chart's monitors (apim-failover, apim-failover-agent), from its values.yaml.
std::string JobOf(const std::string& chart);

}  // namespace failover::e2e

#endif  // TESTS_E2E_SHIPPED_RULES_H_
