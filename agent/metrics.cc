#include "agent/metrics.h"

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>

#include <array>
#include <map>
#include <set>
#include <tuple>

#include "agent/probe_result.h"
#include "common/mutex.h"

namespace failover::agent {
namespace {

using prometheus::Counter;
using prometheus::Family;
using prometheus::Gauge;
using prometheus::Histogram;
using Labels = std::map<std::string, std::string>;
// failover_group, azure_region, apim_service
using ServiceKey = std::tuple<std::string, std::string, std::string>;
// A service in a role.
using TargetKey = std::pair<ServiceKey, std::string>;

constexpr size_t kPhases = 6;
constexpr std::array<const char*, kPhases> kPhaseNames = {"resolve",    "connect",  "tls",
                                                          "processing", "transfer", "total"};

Histogram::BucketBoundaries PhaseBuckets() {
  return {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10};
}

TargetKey KeyOf(const Target& target) {
  return {{target.failover_group, target.azure_region, target.apim_service}, target.role};
}

// The series of all targets with the same labels.
struct Series {
  std::map<std::string, bool> last;  // target id → last result
  Gauge* success = nullptr;          // absent until the first result
  Gauge* last_success = nullptr;
  std::map<std::string, Counter*> results;
  std::array<Histogram*, kPhases> phases{};
};

template <typename Builder>
auto& Register(Builder builder, prometheus::Registry& registry, const char* name,
               const char* help) {
  return builder.Name(name).Help(help).Register(registry);
}

}  // namespace

struct AgentMetrics::State {
  explicit State(const std::string& region) : probe_region(region) {}

  const std::string probe_region;
  std::shared_ptr<prometheus::Registry> registry = std::make_shared<prometheus::Registry>();
  Family<Gauge>& success =
      Register(prometheus::BuildGauge(), *registry, "apim_failover_probe_success",
               "1 when the last probe of every target with these labels was good.");
  Family<Counter>& results = Register(prometheus::BuildCounter(), *registry,
                                      "apim_failover_probe_results_total", "Probes by result.");
  Family<Histogram>& duration = Register(
      prometheus::BuildHistogram(), *registry, "apim_failover_probe_duration_seconds",
      "Time a probe spent in each phase it reached; total counts from the scheduled start.");
  Family<Gauge>& last_success =
      Register(prometheus::BuildGauge(), *registry,
               "apim_failover_probe_last_success_timestamp_seconds", "When a probe was last good.");
  Family<Gauge>& certificate =
      Register(prometheus::BuildGauge(), *registry,
               "apim_failover_probe_tls_certificate_expiry_timestamp_seconds",
               "End of the gateway's certificate as last seen.");
  Family<Gauge>& connected =
      Register(prometheus::BuildGauge(), *registry, "apim_failover_agent_stream_connected",
               "1 while the stream to the controller is open.");
  Family<Counter>& dropped =
      Register(prometheus::BuildCounter(), *registry, "apim_failover_agent_reports_dropped_total",
               "Results that no controller will hear of, by reason.");
  Family<Counter>& missed =
      Register(prometheus::BuildCounter(), *registry, "apim_failover_probe_missed_total",
               "Slots without a probe: the loop was late, or too many were in flight.");
  Histogram& lateness = Register(prometheus::BuildHistogram(), *registry,
                                 "apim_failover_probe_start_lateness_seconds",
                                 "Time from a probe's slot to its start.")
                            .Add({{"probe_region", probe_region}},
                                 Histogram::BucketBoundaries{0.0001, 0.00025, 0.0005, 0.001, 0.005,
                                                             0.01, 0.05, 0.25, 1, 2});
  Counter& jumps =
      Register(
          prometheus::BuildCounter(), *registry, "apim_failover_agent_clock_jumps_total",
          "Disagreements of boot and wall clock by more than 1 s, and stalls of more than 2 s.")
          .Add({{"probe_region", probe_region}});
  Family<Gauge>& targets =
      Register(prometheus::BuildGauge(), *registry, "apim_failover_agent_targets",
               "Targets of the assignment in force, by state.");
  Gauge& term = Register(prometheus::BuildGauge(), *registry, "apim_failover_agent_assignment_term",
                         "Term of the assignment in force; 0 without one.")
                    .Add({{"probe_region", probe_region}});
  Gauge& generation =
      Register(prometheus::BuildGauge(), *registry, "apim_failover_agent_assignment_generation",
               "Generation of the assignment in force; 0 without one.")
          .Add({{"probe_region", probe_region}});

  Mutex mutex;
  std::map<TargetKey, Series> series ABSL_GUARDED_BY(mutex);
  std::map<ServiceKey, Gauge*> certificates ABSL_GUARDED_BY(mutex);  // their family has no role

  static Labels LabelsOf(const ServiceKey& key) {
    return {{"failover_group", std::get<0>(key)},
            {"azure_region", std::get<1>(key)},
            {"apim_service", std::get<2>(key)}};
  }
  Labels LabelsOf(const TargetKey& key, bool role) const {
    Labels labels = LabelsOf(key.first);
    labels["probe_region"] = probe_region;
    if (role) labels["role"] = key.second;
    return labels;
  }
  void AddSeries(const TargetKey& key) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex);
  void RemoveSeries(Series& gone) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex);
};

void AgentMetrics::State::AddSeries(const TargetKey& key) {
  Series& made = series[key];
  for (const char* result : kResultLabels) {
    Labels labels = LabelsOf(key, true);
    labels["result"] = result;
    made.results[result] = &results.Add(labels);
  }
  for (size_t i = 0; i < kPhases; ++i) {
    // Series of one service are shared by its roles.
    Labels labels = LabelsOf(key, false);
    labels["phase"] = kPhaseNames[i];
    made.phases[i] = &duration.Add(labels, PhaseBuckets());
  }
}

void AgentMetrics::State::RemoveSeries(Series& gone) {
  for (auto& [name, counter] : gone.results) results.Remove(counter);
  if (gone.success != nullptr) success.Remove(gone.success);
}

AgentMetrics::AgentMetrics(const std::string& probe_region,
                           const std::vector<std::string>& controllers)
    : state_(std::make_unique<State>(probe_region)) {
  for (const std::string& controller : controllers) StreamConnected(controller, false);
  for (const Drop reason :
       {Drop::kBufferFull, Drop::kExpired, Drop::kAddressNotAllowed, Drop::kLocalError}) {
    Dropped(reason, 0);
  }
  for (const Missed reason : {Missed::kLate, Missed::kInFlight}) SlotsMissed(reason, 0);
}

AgentMetrics::~AgentMetrics() = default;

std::shared_ptr<prometheus::Collectable> AgentMetrics::collectable() const {
  return state_->registry;
}

void AgentMetrics::SetAssignment(const PreparedAssignment& assignment) {
  State& s = *state_;
  std::map<TargetKey, std::set<std::string>> wanted;
  std::set<ServiceKey> services;
  for (const auto& target : assignment.targets) {
    wanted[KeyOf(*target)].insert(target->id);
    services.insert(KeyOf(*target).first);
  }
  const auto gauge = [&s](const char* state, size_t count) {
    s.targets.Add({{"probe_region", s.probe_region}, {"state", state}})
        .Set(static_cast<double>(count));
  };
  MutexLock lock(s.mutex);
  gauge("probed", assignment.targets.size());
  gauge("refused", assignment.refused.size());
  s.term.Set(static_cast<double>(assignment.term));
  s.generation.Set(static_cast<double>(assignment.generation));
  for (auto at = s.series.begin(); at != s.series.end();) {
    const ServiceKey& service = at->first.first;
    const auto kept = wanted.find(at->first);
    if (kept != wanted.end()) {
      auto& last = at->second.last;
      for (auto id = last.begin(); id != last.end();) {
        id = kept->second.count(id->first) != 0 ? std::next(id) : last.erase(id);
      }
      ++at;
      continue;
    }
    s.RemoveSeries(at->second);
    if (services.count(service) == 0) {
      for (Histogram* phase : at->second.phases) s.duration.Remove(phase);
      if (at->second.last_success != nullptr) s.last_success.Remove(at->second.last_success);
      if (auto found = s.certificates.find(service); found != s.certificates.end()) {
        s.certificate.Remove(found->second);
        s.certificates.erase(found);
      }
      // Other roles of the same service are removed in this pass too: they must not remove these
      // again.
      for (auto& [key, other] : s.series) {
        if (key.first != service) continue;
        other.phases.fill(nullptr);
        other.last_success = nullptr;
      }
    }
    at = s.series.erase(at);
  }
  for (const auto& [key, ids] : wanted) {
    if (s.series.count(key) == 0) s.AddSeries(key);
  }
}

void AgentMetrics::Result(const Target& target, const v1::ProbeResult& result, absl::Time now) {
  State& s = *state_;
  MutexLock lock(s.mutex);
  const TargetKey key = KeyOf(target);
  const auto found = s.series.find(key);
  if (found == s.series.end()) return;  // no longer assigned
  Series& series = found->second;
  series.results.at(ResultLabel(result))->Increment();
  series.last[target.id] = result.success();
  bool all_good = true;
  for (const auto& [id, good] : series.last) all_good &= good;
  if (series.success == nullptr) series.success = &s.success.Add(s.LabelsOf(key, true));
  series.success->Set(all_good ? 1 : 0);
  if (result.success()) {
    if (series.last_success == nullptr)
      series.last_success = &s.last_success.Add(s.LabelsOf(key, false));
    series.last_success->Set(absl::ToDoubleSeconds(now - absl::UnixEpoch()));
  }
  if (result.certificate_expiry_unix() != 0 && target.tls) {
    Gauge*& gauge = s.certificates[key.first];
    if (gauge == nullptr) gauge = &s.certificate.Add(State::LabelsOf(key.first));
    gauge->Set(static_cast<double>(result.certificate_expiry_unix()));
  }
  const v1::Phases& phases = result.phases();
  const std::array<int64_t, kPhases> micros = {phases.resolve_us(),  phases.connect_us(),
                                               phases.tls_us(),      phases.processing_us(),
                                               phases.transfer_us(), phases.total_us()};
  for (size_t i = 0; i < kPhases; ++i) {
    if (micros[i] > 0) series.phases[i]->Observe(static_cast<double>(micros[i]) / 1e6);
  }
}

void AgentMetrics::Started(absl::Duration lateness) {
  state_->lateness.Observe(absl::ToDoubleSeconds(lateness));
}

void AgentMetrics::SlotsMissed(Missed reason, uint64_t count) {
  state_->missed
      .Add({{"probe_region", state_->probe_region},
            {"reason", reason == Missed::kLate ? "late" : "in_flight"}})
      .Increment(static_cast<double>(count));
}

void AgentMetrics::ClockJumped() { state_->jumps.Increment(); }

void AgentMetrics::Dropped(Drop reason, uint64_t count) {
  const char* text = "buffer_full";
  if (reason == Drop::kExpired) text = "expired";
  if (reason == Drop::kAddressNotAllowed) text = "address_not_allowed";
  if (reason == Drop::kLocalError) text = "local_error";
  state_->dropped.Add({{"probe_region", state_->probe_region}, {"reason", text}})
      .Increment(static_cast<double>(count));
}

void AgentMetrics::StreamConnected(const std::string& controller, bool connected) {
  state_->connected.Add({{"probe_region", state_->probe_region}, {"controller", controller}})
      .Set(connected ? 1 : 0);
}

void AgentMetrics::StreamGone(const std::string& controller) {
  state_->connected.Remove(
      &state_->connected.Add({{"probe_region", state_->probe_region}, {"controller", controller}}));
}

}  // namespace failover::agent
