#include "common/exposition.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <sstream>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "prometheus/text_serializer.h"

namespace failover {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;

constexpr size_t kMaxTraceId = 100;

// The shortest text that reads back as the same number; OpenMetrics wants floats where a bound is
// written, so that "1" and "1.0" are never two series.
std::string Number(double value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value < 0 ? "-Inf" : "+Inf";
  if (std::abs(value) < 1e15 && value == std::trunc(value) && !std::signbit(value))
    return absl::StrCat(static_cast<int64_t>(value));  // most of them
  for (int digits = 15; digits < 17; ++digits) {
    std::string text = absl::StrFormat("%.*g", digits, value);
    double again = 0;
    if (absl::SimpleAtod(text, &again) && again == value) return text;
  }
  return absl::StrFormat("%.17g", value);
}

std::string Bound(double value) {
  std::string text = Number(value);
  return text.find_first_of(".eIN") == std::string::npos ? text + ".0" : text;
}

std::string Escaped(absl::string_view text) {
  return absl::StrReplaceAll(text, {{"\\", "\\\\"}, {"\n", "\\n"}, {"\"", "\\\""}});
}

absl::string_view TypeName(MetricType type) {
  switch (type) {
    case MetricType::Counter:
      return "counter";
    case MetricType::Gauge:
      return "gauge";
    case MetricType::Histogram:
      return "histogram";
    case MetricType::Summary:
      return "summary";
    default:
      return "unknown";
  }
}

// Of one family.
class Writer {
 public:
  Writer(const MetricFamily& family, const Exemplars::Series* exemplars, std::string& out)
      : family_(family), exemplars_(exemplars), out_(out), name_(family.name) {
    if (family.type == MetricType::Counter) absl::ConsumeSuffix(&name_, "_total");
  }

  void Write() {
    absl::StrAppend(&out_, "# TYPE ", name_, " ", TypeName(family_.type), "\n");
    for (const absl::string_view unit : {"seconds", "bytes"}) {
      if (absl::EndsWith(name_, absl::StrCat("_", unit)))
        absl::StrAppend(&out_, "# UNIT ", name_, " ", unit, "\n");
    }
    absl::StrAppend(&out_, "# HELP ", name_, " ", Escaped(family_.help), "\n");
    for (const ClientMetric& metric : family_.metric) Write(metric);
  }

 private:
  void Write(const ClientMetric& metric) {
    switch (family_.type) {
      case MetricType::Counter:
        return Sample("_total", metric, "", metric.counter.value);
      case MetricType::Histogram:
        return Histogram(metric);
      case MetricType::Summary:
        for (const auto& quantile : metric.summary.quantile)
          Sample("", metric, absl::StrCat("quantile=\"", Bound(quantile.quantile), "\""),
                 quantile.value);
        Sample("_sum", metric, "", metric.summary.sample_sum);
        return Sample("_count", metric, "", static_cast<double>(metric.summary.sample_count));
      case MetricType::Untyped:
        return Sample("", metric, "", metric.untyped.value);
      default:
        return Sample("", metric, "", metric.gauge.value);
    }
  }

  void Histogram(const ClientMetric& metric) {
    const Exemplars::Buckets* exemplars = ExemplarsOf(metric);
    double last = -std::numeric_limits<double>::infinity();
    const auto bucket = [&](double bound, uint64_t count) {
      last = bound;
      Begin("_bucket", metric, absl::StrCat("le=\"", Bound(bound), "\""));
      absl::StrAppend(&out_, count);
      if (exemplars != nullptr) Append(*exemplars, bound);
      out_ += '\n';
    };
    for (const auto& each : metric.histogram.bucket)
      bucket(each.upper_bound, each.cumulative_count);
    if (last < std::numeric_limits<double>::infinity())
      bucket(std::numeric_limits<double>::infinity(), metric.histogram.sample_count);
    Sample("_sum", metric, "", metric.histogram.sample_sum);
    Sample("_count", metric, "", static_cast<double>(metric.histogram.sample_count));
  }

  const Exemplars::Buckets* ExemplarsOf(const ClientMetric& metric) const {
    if (exemplars_ == nullptr) return nullptr;
    prometheus::Labels labels;
    for (const ClientMetric::Label& label : metric.label) labels[label.name] = label.value;
    const auto found = exemplars_->find(labels);
    return found == exemplars_->end() ? nullptr : &found->second;
  }

  void Append(const Exemplars::Buckets& exemplars, double bound) {
    const auto found = exemplars.find(bound);
    if (found == exemplars.end()) return;
    const Exemplar& exemplar = found->second;
    absl::StrAppend(
        &out_, " # {trace_id=\"", Escaped(exemplar.trace_id), "\"} ", Number(exemplar.value), " ",
        absl::StrFormat("%.3f", absl::ToDoubleSeconds(exemplar.at - absl::UnixEpoch())));
  }

  void Sample(absl::string_view suffix, const ClientMetric& metric, const std::string& more,
              double value) {
    Begin(suffix, metric, more);
    absl::StrAppend(&out_, Number(value), "\n");
  }

  void Begin(absl::string_view suffix, const ClientMetric& metric, const std::string& more) {
    absl::StrAppend(&out_, name_, suffix);
    const char* before = "{";
    for (const ClientMetric::Label& label : metric.label) {
      absl::StrAppend(&out_, before, label.name, "=\"", Escaped(label.value), "\"");
      before = ",";
    }
    if (!more.empty()) {
      absl::StrAppend(&out_, before, more);
      before = ",";
    }
    absl::StrAppend(&out_, *before == ',' ? "}" : "", " ");
  }

  const MetricFamily& family_;
  const Exemplars::Series* const exemplars_;
  std::string& out_;
  absl::string_view name_;
};

// One entry of an Accept header.
struct Range {
  std::string type, version;
  double q = 1;
};

Range RangeOf(absl::string_view text) {
  Range range;
  bool first = true;
  for (absl::string_view part : absl::StrSplit(text, ';')) {
    part = absl::StripAsciiWhitespace(part);
    if (first) {
      range.type = absl::AsciiStrToLower(part);
      first = false;
      continue;
    }
    const std::pair<absl::string_view, absl::string_view> pair =
        absl::StrSplit(part, absl::MaxSplits('=', 1));
    const std::string name = absl::AsciiStrToLower(absl::StripAsciiWhitespace(pair.first));
    absl::string_view value = absl::StripAsciiWhitespace(pair.second);
    if (absl::ConsumePrefix(&value, "\"")) absl::ConsumeSuffix(&value, "\"");
    if (name == "version") range.version = std::string(value);
    if (name == "q" && (!absl::SimpleAtod(value, &range.q) || !(range.q >= 0 && range.q <= 1)))
      range.q = 0;
  }
  return range;
}

}  // namespace

void Exemplars::Note(const std::string& family, const prometheus::Labels& labels,
                     const std::vector<double>& bounds, Exemplar exemplar) {
  if (exemplar.trace_id.empty() || exemplar.trace_id.size() > kMaxTraceId) return;
  const auto bound = std::lower_bound(bounds.begin(), bounds.end(), exemplar.value);
  const double upper = bound == bounds.end() ? std::numeric_limits<double>::infinity() : *bound;
  MutexLock lock(mutex_);
  families_[family][labels][upper] = std::move(exemplar);
}

std::map<std::string, Exemplars::Series> Exemplars::All() const {
  MutexLock lock(mutex_);
  return families_;
}

ExpositionFormat FormatFor(absl::string_view accept) {
  double best = 0, text = 0;
  ExpositionFormat format = ExpositionFormat::kText;
  for (const absl::string_view entry : absl::StrSplit(accept, ',')) {
    const Range range = RangeOf(entry);
    const bool plain = range.type == "text/plain" || range.type == "text/*" || range.type == "*/*";
    if (plain) text = std::max(text, range.q);
    if (range.type != "application/openmetrics-text" || range.q <= best) continue;
    if (range.version.empty() || range.version == "1.0.0" || range.version == "0.0.1") {
      best = range.q;
      format = range.version == "1.0.0" ? ExpositionFormat::kOpenMetrics100
                                        : ExpositionFormat::kOpenMetrics001;
    }
  }
  return best > 0 && best >= text ? format : ExpositionFormat::kText;
}

std::string ContentType(ExpositionFormat format) {
  switch (format) {
    case ExpositionFormat::kOpenMetrics100:
      return "application/openmetrics-text; version=1.0.0; charset=utf-8";
    case ExpositionFormat::kOpenMetrics001:
      return "application/openmetrics-text; version=0.0.1; charset=utf-8";
    case ExpositionFormat::kText:
      break;
  }
  return "text/plain; version=0.0.4; charset=utf-8";
}

std::vector<MetricFamily> Merged(std::vector<MetricFamily> families) {
  std::vector<MetricFamily> merged;
  std::map<std::string, size_t> index;
  for (MetricFamily& family : families) {
    const auto [at, fresh] = index.emplace(family.name, merged.size());
    if (fresh) {
      merged.push_back(std::move(family));
      continue;
    }
    auto& metrics = merged[at->second].metric;
    metrics.insert(metrics.end(), std::make_move_iterator(family.metric.begin()),
                   std::make_move_iterator(family.metric.end()));
  }
  return merged;
}

std::string TextExposition(std::vector<MetricFamily> families) {
  for (MetricFamily& family : families)
    family.help = absl::StrReplaceAll(family.help, {{"\\", "\\\\"}, {"\n", "\\n"}});
  std::ostringstream text;
  prometheus::TextSerializer().Serialize(text, families);
  return text.str();
}

std::string OpenMetricsExposition(const std::vector<MetricFamily>& families,
                                  const std::map<std::string, Exemplars::Series>& exemplars) {
  std::string out;
  for (const MetricFamily& family : families) {
    const auto found = exemplars.find(family.name);
    Writer(family, found == exemplars.end() ? nullptr : &found->second, out).Write();
  }
  out += "# EOF\n";
  return out;
}

}  // namespace failover
