#ifndef CONTROLLER_REPLICA_H_
#define CONTROLLER_REPLICA_H_

#include <atomic>
#include <memory>
#include <stop_token>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/mutex.h"
#include "controller/config.h"
#include "controller/kubernetes/events.h"
#include "controller/kubernetes/lease_keeper.h"
#include "controller/kubernetes/watch.h"
#include "controller/metrics/metrics.h"
#include "controller/runtime/control_loop.h"
#include "controller/store/store.h"

namespace failover {

// The pod's name by the downward API (POD_NAME); elsewhere the host's.
std::string PodName();

// This process as one of several replicas on Kubernetes: its part in the election, the store that
// only a leader writes to, and the events it leaves in the cluster. Thread-safe.
class Replica {
 public:
  // FailedPrecondition: no pod, and the configuration does not say what a pod would know.
  // `metrics` outlives it.
  static absl::StatusOr<std::unique_ptr<Replica>> Create(const KubernetesSettings& settings,
                                                         metrics::Metrics& metrics);
  ~Replica();

  store::Store& store() { return *store_; }
  // For the loop's options; this object outlives the loop.
  runtime::Election Election();
  void OnHistory(const std::string& group, const v1::HistoryEntry& entry);

  // Takes part in the election from now on, and has `loop` lead and stop leading, and read what
  // other replicas have written as soon as they have.
  absl::Status Join(runtime::ControlLoop& loop);
  // The loop has stopped: gives the Lease back, so that another replica leads within seconds.
  void Leave();

  metrics::ElectionState State() const;
  // Not OK when a thread of the election is stuck.
  absl::Status Live() const;

 private:
  Replica(KubernetesSettings settings, metrics::Metrics& metrics);
  bool MayAct(uint64_t term) const;
  // The present term's writes may leave.
  absl::Status MayWrite() const;
  kubernetes::LeaseCallbacks Callbacks(runtime::ControlLoop& loop);
  void PublishLease(bool warning, const std::string& action, const std::string& note);

  const KubernetesSettings settings_;
  metrics::Metrics& metrics_;
  const kubernetes::ApiClient::Observer observe_;
  const std::string identity_;
  const std::stop_source stop_;
  Mutex joining_;  // held until keeper_ is set; callbacks wait for it
  std::unique_ptr<kubernetes::LeaseKeeper> keeper_;
  std::atomic<kubernetes::LeaseKeeper*> at_work_ = nullptr;  // keeper_, once it is set
  std::atomic<uint64_t> acquired_ = 0, lost_ = 0, released_ = 0;
  std::atomic<bool> leaving_ = false;
  std::unique_ptr<store::Store> store_;
  std::unique_ptr<kubernetes::Watch> watch_;
  kubernetes::EventPublisher events_;
};

}  // namespace failover

#endif  // CONTROLLER_REPLICA_H_
