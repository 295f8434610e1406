#include "tests/support/catalogue.h"

#include <algorithm>
#include <fstream>
#include <iterator>
#include <map>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "gtest/gtest.h"

namespace failover {
namespace {

std::string TypeName(prometheus::MetricType type) {
  switch (type) {
    case prometheus::MetricType::Counter:
      return "counter";
    case prometheus::MetricType::Gauge:
      return "gauge";
    case prometheus::MetricType::Histogram:
      return "histogram";
    default:
      return "other";
  }
}

std::string NameOf(const std::string& line) { return line.substr(0, line.find(" | ")); }

// name{labels} → value; a histogram's is its count.
std::map<std::string, double> Samples(const Families& families) {
  std::map<std::string, double> samples;
  for (const prometheus::MetricFamily& family : families) {
    for (const prometheus::ClientMetric& metric : family.metric) {
      std::string key = absl::StrCat(family.name, "{");
      for (const auto& label : metric.label)
        absl::StrAppend(&key, label.name, "=", label.value, ",");
      samples[key] = family.type == prometheus::MetricType::Counter ? metric.counter.value
                     : family.type == prometheus::MetricType::Histogram
                         ? static_cast<double>(metric.histogram.sample_count)
                         : metric.gauge.value;
    }
  }
  return samples;
}

}  // namespace

std::set<std::string> CatalogueLines(const Families& families) {
  std::set<std::string> lines;
  for (const prometheus::MetricFamily& family : families) {
    EXPECT_FALSE(family.metric.empty()) << family.name << " has no series";
    for (const prometheus::ClientMetric& metric : family.metric) {
      std::vector<std::string> labels;
      for (const auto& label : metric.label) labels.push_back(label.name);
      lines.insert(absl::StrCat(family.name, " | ", TypeName(family.type), " | ",
                                absl::StrJoin(labels, ","), " | ", family.help));
    }
  }
  return lines;
}

std::set<std::string> ReadCatalogue(const std::string& path,
                                    const std::function<bool(const std::string&)>& wanted) {
  std::ifstream in(path);
  EXPECT_TRUE(in.good()) << path;
  std::set<std::string> lines;
  for (std::string line; std::getline(in, line);) {
    if (!line.empty() && line[0] != '#' && (!wanted || wanted(NameOf(line)))) lines.insert(line);
  }
  return lines;
}

std::string Differences(const std::set<std::string>& listed,
                        const std::set<std::string>& exported) {
  std::vector<std::string> lines;
  const auto add = [&lines](const char* what, const auto& some, const auto& others) {
    std::vector<std::string> only;
    std::set_difference(some.begin(), some.end(), others.begin(), others.end(),
                        std::back_inserter(only));
    for (const std::string& line : only) lines.push_back(absl::StrCat(what, line));
  };
  add("listed, not exported: ", listed, exported);
  add("exported, not listed: ", exported, listed);
  return absl::StrJoin(lines, "\n");
}

std::set<std::string> Unmoved(const std::set<std::string>& listed, const Families& before,
                              const Families& after) {
  std::set<std::string> names;
  for (const std::string& line : listed) names.insert(NameOf(line));
  const std::map<std::string, double> then = Samples(before);
  for (const auto& [key, value] : Samples(after)) {
    const auto old = then.find(key);
    if (old == then.end() || old->second != value) names.erase(key.substr(0, key.find('{')));
  }
  return names;
}

}  // namespace failover
