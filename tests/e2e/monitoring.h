#ifndef TESTS_E2E_MONITORING_H_
#define TESTS_E2E_MONITORING_H_

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "common/mutex.h"
#include "nlohmann/json_fwd.hpp"
#include "tests/e2e/system.h"
#include "tests/support/tcp_peer.h"
#include "tests/support/temp_dir.h"

namespace failover::e2e {

// An alert is named here by its name and its labels but for `namespace`, `job` and `instance`, as
// in "ApimSyncStuck apim_service=apim-weu failover_group=orders-api operation=backup
// severity=warning".
using AlertSet = std::set<std::string>;

// Where /metrics is, with the labels that Prometheus gives to a pod's metrics in a cluster.
struct ScrapeTarget {
  std::string job, pod, address;
};

// Debian's Prometheus and Alertmanager as processes on loopback. They scrape and evaluate once a
// second, under the shipped rules with shortened times (shipped_rules.h); Alertmanager tells a
// listener of ours.
class Monitoring {
 public:
  // The program that is not installed; empty when both are.
  static std::string Missing();

  // Files go to `dir`.
  Monitoring(const TempDir& dir, std::vector<ScrapeTarget> targets);
  // The test fails when they do not start.
  void Start();

  // True as soon as the firing alerts, in Prometheus and in Alertmanager, are exactly these, no
  // other is pending, and it stayed so for four evaluations of every rule. False after `timeout`,
  // with the difference printed.
  bool Settles(const AlertSet& expected, absl::Duration timeout = absl::Seconds(60));
  AlertSet Firing() const { return InState("firing"); }
  AlertSet Pending() const { return InState("pending"); }
  // Every alert that fired at some evaluation since then, resolved or not.
  AlertSet FiredSince(absl::Time since) const;
  // What Alertmanager told so far: firing or resolved.
  AlertSet Told(const std::string& status) const;
  // Alerts told of since the beginning whose severity, summary, description or runbook is missing
  // or was not expanded well; each with the reason.
  std::vector<std::string> BadAnnotations() const;

  // /api/v1/query at this moment; null when Prometheus refused it, with its reason in `error`.
  nlohmann::json Query(const std::string& expression, std::string* error = nullptr) const;
  // The result of /api/v1/query_range, in steps of a second.
  nlohmann::json QueryRange(const std::string& expression, absl::Time from, absl::Time to,
                            std::string* error = nullptr) const;
  // The value of the only series of an instant query; NaN when there is none or are several.
  double Value(const std::string& expression) const;
  // Every target was scraped well.
  bool ScrapesAll() const;
  const std::string& address() const { return prometheus_address_; }

 private:
  std::string WriteConfig(const std::string& alertmanager) const;
  void TakeNotification(const std::string& request);
  nlohmann::json Get(const std::string& path_and_query, std::string* error = nullptr) const;
  AlertSet InState(const std::string& state) const;
  AlertSet InAlertmanager() const;
  // Evaluations of the rule group that was evaluated least often.
  double Evaluations() const;

  const TempDir& dir_;
  const std::vector<ScrapeTarget> targets_;
  mutable Mutex mutex_;
  std::map<std::string, AlertSet> told_ ABSL_GUARDED_BY(mutex_);  // by status
  std::map<std::string, std::string> bad_ ABSL_GUARDED_BY(mutex_);
  std::string prometheus_address_, alertmanager_address_;
  Process prometheus_, alertmanager_;
  TcpPeer listener_;  // last, so gone first: nobody calls it when the rest goes
};

// "NAME label=value …" as in AlertSet.
std::string AlertName(const std::string& name, const std::map<std::string, std::string>& labels);

}  // namespace failover::e2e

#endif  // TESTS_E2E_MONITORING_H_
