#include "controller/metrics/metrics.h"

#include <map>
#include <utility>

#include "common/clock.h"
#include "common/exposition.h"
#include "common/mutex.h"
#include "controller/metrics/record_watch.h"
#include "controller/metrics/state_metrics.h"
#include "prometheus/counter.h"
#include "prometheus/family.h"
#include "prometheus/histogram.h"
#include "prometheus/registry.h"

namespace failover::metrics {
namespace {

constexpr size_t kMaxSeries = 1000;  // of one family that calls fill

using Buckets = prometheus::Histogram::BucketBoundaries;
const Buckets& CallBuckets() {
  static const auto* const kBuckets =
      new Buckets{0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60};
  return *kBuckets;
}
// As component-base of Kubernetes registers them for client-go.
const Buckets& RestBuckets() {
  static const auto* const kBuckets =
      new Buckets{0.005, 0.025, 0.1, 0.25, 0.5, 1, 2, 4, 8, 15, 30, 60};
  return *kBuckets;
}
constexpr char kAzureDurations[] = "apim_failover_azure_request_duration_seconds";
const Buckets& ShortBuckets() {
  static const auto* const kBuckets = new Buckets{
      0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1};
  return *kBuckets;
}

// Series by their label values: a look-up in the library locks and hashes every label at each call.
template <typename T>
class Children {
 public:
  Children(prometheus::Family<T>& family, std::vector<const char*> labels)
      : family_(family), labels_(std::move(labels)) {}

  // What exceeds the bound is counted under "other".
  template <typename... Args>
  T& Get(std::vector<std::string> values, const Args&... args) {
    MutexLock lock(mutex_);
    const auto known = children_.find(values);
    if (known != children_.end()) return *known->second;
    if (children_.size() >= kMaxSeries) values.assign(labels_.size(), "other");
    prometheus::Labels labels;
    for (size_t i = 0; i < labels_.size(); ++i) labels[labels_[i]] = values[i];
    T& child = family_.Add(labels, args...);
    children_[std::move(values)] = &child;
    return child;
  }

 private:
  prometheus::Family<T>& family_;
  const std::vector<const char*> labels_;
  Mutex mutex_;
  std::map<std::vector<std::string>, T*> children_ ABSL_GUARDED_BY(mutex_);
};

prometheus::Family<prometheus::Counter>& Counters(const char* name, const char* help,
                                                  prometheus::Registry& registry) {
  return prometheus::BuildCounter().Name(name).Help(help).Register(registry);
}
prometheus::Family<prometheus::Histogram>& Histograms(const char* name, const char* help,
                                                      prometheus::Registry& registry) {
  return prometheus::BuildHistogram().Name(name).Help(help).Register(registry);
}

class RegisteredMetrics final : public Metrics {
 public:
  explicit RegisteredMetrics(std::function<Snapshot()> snapshot)
      : registry_(std::make_shared<prometheus::Registry>()),
        exemplars_(std::make_shared<Exemplars>()),
        records_(*registry_, *exemplars_),
        state_(std::make_shared<StateMetrics>(std::move(snapshot), records_)),
        azure_calls_(Counters("apim_failover_azure_requests_total",
                              "Requests to Azure by their HTTP status.", *registry_),
                     {"api", "operation", "code"}),
        azure_durations_(
            Histograms(kAzureDurations, "From the start of a request to Azure to its answer.",
                       *registry_),
            {"api", "operation"}),
        store_writes_(
            Counters("apim_failover_store_writes_total", "Writes of durable state.", *registry_),
            {"result"}),
        store_duration_(Histograms("apim_failover_store_write_duration_seconds",
                                   "From a record's hand-over to its durability.", *registry_)
                            .Add({}, CallBuckets())),
        core_step_(Histograms("apim_failover_core_step_duration_seconds", "One event in the core.",
                              *registry_)
                       .Add({}, ShortBuckets())),
        switch_latency_(
            Histograms(
                "apim_failover_switch_latency_seconds",
                "From the receipt of the vote that completed a decision to the enable request.",
                *registry_)
                .Add({}, ShortBuckets())),
        clock_gaps_(Counters("apim_failover_clock_gaps_total",
                             "Times this process stood still or its clock was set; nothing was "
                             "done on older results.",
                             *registry_)
                        .Add({})),
        orders_(Counters("apim_failover_orders_total", "Orders of operators by their answer.",
                         *registry_),
                {"verb", "result"}),
        kubernetes_calls_(
            Counters("rest_client_requests_total",
                     "Requests to the Kubernetes API by their HTTP status.", *registry_),
            {"code", "method", "host"}),
        kubernetes_durations_(
            Histograms("rest_client_request_duration_seconds",
                       "From the start of a request to the Kubernetes API to its answer.",
                       *registry_),
            {"verb", "host"}),
        lease_writes_(
            Histograms("apim_failover_leader_lease_renew_duration_seconds",
                       "From the start of a write of the Lease, a renewal or a takeover, to its "
                       "answer.",
                       *registry_),
            {"result"}) {
    for (const char* result : {"success", "failure"}) store_writes_.Get({result});
    const auto* order = v1::OrderRequest::descriptor()->FindOneofByName("order");
    for (int i = 0; i < order->field_count(); ++i) {
      for (const char* result : {"done", "refused"}) orders_.Get({order->field(i)->name(), result});
    }
  }

  std::vector<std::weak_ptr<prometheus::Collectable>> collectables() override {
    return {registry_, state_};
  }
  std::shared_ptr<const Exemplars> exemplars() override { return exemplars_; }

  void RecordLoaded(const v1::GroupRecord& record) override { records_.RecordLoaded(record); }
  void RecordIs(const v1::GroupRecord& record) override { records_.RecordIs(record); }
  void AzureCall(const std::string& api, const std::string& operation, const std::string& code,
                 absl::Duration took, const std::string& request_id) override {
    const double seconds = absl::ToDoubleSeconds(took);
    azure_calls_.Get({api, operation, code}).Increment();
    azure_durations_.Get({api, operation}, CallBuckets()).Observe(seconds);
    exemplars_->Note(kAzureDurations, {{"api", api}, {"operation", operation}}, CallBuckets(),
                     {request_id, seconds, RealClock().Wall()});
  }
  void UsesKubernetes(const std::string& host) override {
    for (const char* method : {"GET", "POST", "PUT"}) {
      for (const char* code : {"200", "201", "<error>"}) {
        kubernetes_calls_.Get({code, method, host});
      }
      kubernetes_durations_.Get({method, host}, RestBuckets());
    }
    for (const char* result : {"success", "failure"}) lease_writes_.Get({result}, CallBuckets());
  }
  void KubernetesCall(const std::string& method, const std::string& host, const std::string& code,
                      absl::Duration took) override {
    kubernetes_calls_.Get({code, method, host}).Increment();
    kubernetes_durations_.Get({method, host}, RestBuckets()).Observe(absl::ToDoubleSeconds(took));
  }
  void LeaseWrite(absl::Duration took, bool ok) override {
    lease_writes_.Get({ok ? "success" : "failure"}, CallBuckets())
        .Observe(absl::ToDoubleSeconds(took));
  }
  void StoreWrite(absl::Duration took, bool ok) override {
    store_writes_.Get({ok ? "success" : "failure"}).Increment();
    if (ok) store_duration_.Observe(absl::ToDoubleSeconds(took));
  }
  void CoreStep(absl::Duration took) override { core_step_.Observe(absl::ToDoubleSeconds(took)); }
  void SwitchLatency(absl::Duration took) override {
    switch_latency_.Observe(absl::ToDoubleSeconds(took));
  }
  void ClockGap() override { clock_gaps_.Increment(); }
  void OrderAnswered(const std::string& verb, bool ok) override {
    orders_.Get({verb, ok ? "done" : "refused"}).Increment();
  }

 private:
  const std::shared_ptr<prometheus::Registry> registry_;
  const std::shared_ptr<Exemplars> exemplars_;
  RecordWatch records_;
  const std::shared_ptr<StateMetrics> state_;
  Children<prometheus::Counter> azure_calls_;
  Children<prometheus::Histogram> azure_durations_;
  Children<prometheus::Counter> store_writes_;
  prometheus::Histogram& store_duration_;
  prometheus::Histogram& core_step_;
  prometheus::Histogram& switch_latency_;
  prometheus::Counter& clock_gaps_;
  Children<prometheus::Counter> orders_;
  Children<prometheus::Counter> kubernetes_calls_;
  Children<prometheus::Histogram> kubernetes_durations_;
  Children<prometheus::Histogram> lease_writes_;
};

}  // namespace

std::shared_ptr<Metrics> Metrics::Create(std::function<Snapshot()> snapshot) {
  return std::make_shared<RegisteredMetrics>(std::move(snapshot));
}

}  // namespace failover::metrics
