// ProcessMetrics of admin_server.h (catalogue of metrics: "Build, configuration, process").
#include <prometheus/collectable.h>
#include <prometheus/metric_family.h>
#include <sys/resource.h>
#include <unistd.h>

#include <array>
#include <filesystem>
#include <fstream>
#include <map>
#include <optional>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "common/admin_server.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/mutex.h"

#ifndef FAILOVER_REVISION
#define FAILOVER_REVISION "unknown"
#endif

namespace failover {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;
using Labels = std::vector<ClientMetric::Label>;

MetricFamily Family(std::string name, std::string help, MetricType type) {
  return {std::move(name), std::move(help), type, {}};
}

void AddSample(MetricFamily& family, double value, Labels labels = {}) {
  ClientMetric metric;
  metric.label = std::move(labels);
  (family.type == MetricType::Counter ? metric.counter.value : metric.gauge.value) = value;
  family.metric.push_back(std::move(metric));
}

MetricFamily Single(std::string name, std::string help, MetricType type, double value,
                    Labels labels = {}) {
  MetricFamily family = Family(std::move(name), std::move(help), type);
  AddSample(family, value, std::move(labels));
  return family;
}

std::string ReadProcFile(const char* path) {
  std::ifstream file(path);
  return std::string(std::istreambuf_iterator<char>(file), {});
}

// Fields of /proc/self/stat from the third (state) on: the second may contain anything.
std::vector<double> StatFields() {
  const std::string stat = ReadProcFile("/proc/self/stat");
  const size_t after_name = stat.rfind(')');
  std::vector<double> fields;
  if (after_name == std::string::npos) return fields;
  for (const absl::string_view word :
       absl::StrSplit(stat.substr(after_name + 1), absl::ByAnyChar(" \n"), absl::SkipEmpty())) {
    double value = 0;
    if (!absl::SimpleAtod(word, &value)) value = 0;
    fields.push_back(value);
  }
  return fields;
}

// Seconds since 1970 at which the machine started, as the kernel sees it.
double BootTime() {
  for (const absl::string_view line : absl::StrSplit(ReadProcFile("/proc/stat"), '\n')) {
    const std::pair<absl::string_view, absl::string_view> words =
        absl::StrSplit(line, absl::MaxSplits(' ', 1));
    double value = 0;
    if (words.first == "btime" && absl::SimpleAtod(words.second, &value)) return value;
  }
  return 0;
}

double OpenFiles() {
  std::error_code error;
  double count = 0;
  for (std::filesystem::directory_iterator at("/proc/self/fd", error), end; !error && at != end;
       at.increment(error)) {
    ++count;
  }
  return count - 1;  // the iterator's own
}

void AddProcess(std::vector<MetricFamily>& families) {
  const std::vector<double> stat = StatFields();
  if (stat.size() > 21) {  // numbers of proc(5) minus 3
    const auto ticks = static_cast<double>(sysconf(_SC_CLK_TCK));
    families.push_back(Single("process_cpu_seconds_total", "User and system CPU time spent.",
                              MetricType::Counter, (stat[11] + stat[12]) / ticks));
    families.push_back(
        Single("process_threads", "Threads of the process.", MetricType::Gauge, stat[17]));
    families.push_back(Single("process_start_time_seconds", "Start of the process, Unix time.",
                              MetricType::Gauge, BootTime() + stat[19] / ticks));
    families.push_back(
        Single("process_virtual_memory_bytes", "Virtual memory.", MetricType::Gauge, stat[20]));
    families.push_back(Single("process_resident_memory_bytes", "Resident memory.",
                              MetricType::Gauge,
                              stat[21] * static_cast<double>(sysconf(_SC_PAGESIZE))));
  }
  families.push_back(
      Single("process_open_fds", "Open file descriptors.", MetricType::Gauge, OpenFiles()));
  rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
    families.push_back(Single("process_max_fds", "Most file descriptors that may be open.",
                              MetricType::Gauge, static_cast<double>(limit.rlim_cur)));
  }
}

void AddLogCounts(std::vector<MetricFamily>& families) {
  constexpr std::array<const char*, 4> kLevels = {"debug", "info", "warn", "error"};
  const std::array<uint64_t, 4> counts = LogCounts();
  MetricFamily family = Family("apim_failover_log_messages_total", "Log lines written, by level.",
                               MetricType::Counter);
  for (size_t i = 0; i < counts.size(); ++i) {
    AddSample(family, static_cast<double>(counts[i]), {{"level", kLevels[i]}});
  }
  families.push_back(std::move(family));
}

class OwnMetrics final : public ProcessMetrics,
                         public prometheus::Collectable,
                         public std::enable_shared_from_this<OwnMetrics> {
 public:
  explicit OwnMetrics(std::string component) : component_(std::move(component)) {}

  std::shared_ptr<prometheus::Collectable> collectable() override { return shared_from_this(); }

  void ConfigLoaded(std::string config_hash, bool success) override {
    MutexLock lock(mutex_);
    last_success_ = success;
    ++(success ? successes_ : failures_);
    if (!success) return;
    config_hash_ = std::move(config_hash);
    last_success_time_ = absl::ToDoubleSeconds(RealClock().Wall() - absl::UnixEpoch());
  }

  void SetCertificateExpiry(const std::string& purpose, double unix_seconds) override {
    MutexLock lock(mutex_);
    expiries_[purpose] = unix_seconds;
  }

  void CertificatesFrom(std::function<std::map<std::string, double>()> expiries) override {
    MutexLock lock(mutex_);
    ask_expiries_ = std::move(expiries);
  }

  std::vector<MetricFamily> Collect() const override {
    std::vector<MetricFamily> families;
    families.push_back(Single("apim_failover_build_info", "Version of this program; always 1.",
                              MetricType::Gauge, 1,
                              {{"component", component_},
                               {"version", FAILOVER_VERSION},
                               {"revision", FAILOVER_REVISION},
                               {"compiler", __VERSION__}}));
    AddProcess(families);
    AddLogCounts(families);
    AddConfig(families);
    return families;
  }

 private:
  void AddConfig(std::vector<MetricFamily>& families) const {
    MutexLock lock(mutex_);
    if (last_success_time_.has_value()) {
      families.push_back(Single("apim_failover_config_info",
                                "Hash of the configuration in force, secrets excluded; always 1.",
                                MetricType::Gauge, 1, {{"hash", config_hash_}}));
      families.push_back(Single("apim_failover_config_last_reload_success_timestamp_seconds",
                                "When a configuration was last loaded, Unix time.",
                                MetricType::Gauge, *last_success_time_));
    }
    if (last_success_.has_value()) {
      families.push_back(Single("apim_failover_config_last_reload_successful",
                                "Whether the last attempt to load the configuration succeeded.",
                                MetricType::Gauge, *last_success_ ? 1 : 0));
    }
    MetricFamily reloads =
        Family("apim_failover_config_reloads_total",
               "Attempts to load the configuration, by result.", MetricType::Counter);
    AddSample(reloads, successes_, {{"result", "success"}});
    AddSample(reloads, failures_, {{"result", "failure"}});
    families.push_back(std::move(reloads));
    const std::map<std::string, double> expiries = ask_expiries_ ? ask_expiries_() : expiries_;
    if (expiries.empty()) return;
    MetricFamily expiry = Family("apim_failover_certificate_expiry_timestamp_seconds",
                                 "End of the certificate in force, Unix time.", MetricType::Gauge);
    for (const auto& [purpose, seconds] : expiries)
      AddSample(expiry, seconds, {{"purpose", purpose}});
    families.push_back(std::move(expiry));
  }

  const std::string component_;
  mutable Mutex mutex_;
  std::string config_hash_ ABSL_GUARDED_BY(mutex_);
  std::optional<bool> last_success_ ABSL_GUARDED_BY(mutex_);
  std::optional<double> last_success_time_ ABSL_GUARDED_BY(mutex_);
  double successes_ ABSL_GUARDED_BY(mutex_) = 0;
  double failures_ ABSL_GUARDED_BY(mutex_) = 0;
  std::map<std::string, double> expiries_ ABSL_GUARDED_BY(mutex_);
  std::function<std::map<std::string, double>()> ask_expiries_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace

std::shared_ptr<ProcessMetrics> ProcessMetrics::Create(std::string component) {
  return std::make_shared<OwnMetrics>(std::move(component));
}

}  // namespace failover
