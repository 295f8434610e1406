#ifndef TESTS_E2E_WATCHED_H_
#define TESTS_E2E_WATCHED_H_

#include <map>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "tests/e2e/monitoring.h"
#include "tests/e2e/replicas.h"

namespace failover::e2e {

// Two replicas of the controller (one alone would rightly be told), three agents, and Prometheus
// with Alertmanager that watch them. Certificates last 60 days. Probes have a second, so that a
// busy machine alone fires nothing.
struct Watched {
  Watched(const std::string& mode, std::string rto_objective);
  // Waits for a first sync run and a scrape of everything. The test fails when they do not come, or
  // when an alert fires or stays pending.
  void Start();

  const std::string rto;
  Replicas system;
  Monitoring monitoring;
};

// One trouble: while it lasts, exactly its alerts fire.
class Story {
 public:
  Story(Watched& watched, std::string name);

  // From here on these fire, and no other: waits for that.
  void Fires(const AlertSet& alerts);
  // These fired too, or will until Resolves; what causes them may be over before anybody looks.
  void Fired(const AlertSet& alerts);
  // These may have fired or not.
  void MayHaveFired(const AlertSet& alerts);
  // The cause is gone: waits until nothing fires, but for these. Since the story began nothing
  // fired but what Fires and Fired said, all of it did, and Alertmanager told that it does and that
  // it does no more.
  void Resolves(const AlertSet& but_for = {});

 private:
  Watched& watched_;
  const std::string name_;
  const absl::Time began_;
  AlertSet expected_, possible_;
};

using Labels = std::map<std::string, std::string>;
// An alert as AlertSet names it; of group orders-api.
std::string Alert(const std::string& name, const std::string& severity, Labels labels = {});
std::string GroupAlert(const std::string& name, const std::string& severity, Labels labels = {});
// ApimGatewayErrorBudgetBurn of group orders-api in all its windows.
AlertSet ErrorBudgetBurns();

}  // namespace failover::e2e

#endif  // TESTS_E2E_WATCHED_H_
