#include "tests/e2e/monitoring.h"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <iostream>
#include <iterator>
#include <limits>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/e2e/shipped_rules.h"

namespace failover::e2e {
namespace {

using Json = nlohmann::json;

constexpr char kAlertmanagerConfig[] = R"(route:
  receiver: test
  group_by: ['...']
  group_wait: 0s
  group_interval: 1s
  repeat_interval: 1h
receivers:
- name: test
  webhook_configs: [{url: "%s", send_resolved: true}]
)";

// Replicas of a test differ in the ports they listen on and in their clients of Azure; those of a
// cluster have one configuration.
constexpr char kOneConfiguration[] =
    "  metric_relabel_configs:\n  - {source_labels: [__name__], regex: apim_failover_config_info, "
    "target_label: hash, replacement: one}\n";

std::string UrlEncoded(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (std::isalnum(static_cast<unsigned char>(c)) != 0) {
      out += c;
    } else {
      absl::StrAppendFormat(&out, "%%%02X", static_cast<unsigned char>(c));
    }
  }
  return out;
}

// Where a program that logs JSON says that it listens; empty while it does not.
std::string ListeningOn(const std::string& log) {
  for (const absl::string_view line : absl::StrSplit(log, '\n')) {
    const Json entry = Json::parse(line.begin(), line.end(), nullptr, false);
    if (entry.is_object() && entry.value("msg", "") == "Listening on")
      return entry.value("address", "");
  }
  return "";
}

std::string NameOfAlert(const Json& labels) {
  std::map<std::string, std::string> rest;
  for (const auto& [name, value] : labels.items()) rest[name] = value.get<std::string>();
  return AlertName(labels.value("alertname", ""), rest);
}

// What is wrong with the words of an alert; empty when nothing is.
std::string Complaint(const Json& alert) {
  const std::string severity = alert["labels"].value("severity", "");
  if (severity != "critical" && severity != "warning" && severity != "info")
    return absl::StrCat("severity \"", severity, "\"");
  for (const char* name : {"summary", "description", "runbook_url"}) {
    const std::string text = alert["annotations"].value(name, "");
    if (text.empty()) return absl::StrCat("no ", name);
    // What a template leaves of a label or a value that is not there.
    for (const char* bad : {"<no value>", "<error", "[no value]", "()", "  ", "%!", "NaN"}) {
      if (absl::StrContains(text, bad)) return absl::StrCat(name, ": ", text);
    }
  }
  return "";
}

void Print(const char* what, const AlertSet& these, const AlertSet& but_these) {
  for (const std::string& alert : these) {
    if (!but_these.contains(alert)) std::cerr << "  " << what << ": " << alert << "\n";
  }
}

}  // namespace

std::string AlertName(const std::string& name, const std::map<std::string, std::string>& labels) {
  std::string text = name;
  for (const auto& [label, value] : labels) {
    if (label != "alertname" && label != "alertstate" && label != "__name__" &&
        label != "namespace" && label != "job" && label != "instance")
      absl::StrAppend(&text, " ", label, "=", value);
  }
  return text;
}

std::string Monitoring::Missing() {
  for (const char* program : {"prometheus", "prometheus-alertmanager"}) {
    if (RunCommand({program, "--version"}).exit_code != 0) return program;
  }
  return "";
}

Monitoring::Monitoring(const TempDir& dir, std::vector<ScrapeTarget> targets)
    : dir_(dir), targets_(std::move(targets)), listener_([this](TcpPeer::Connection& peer, int) {
        TakeNotification(peer.ReadRequest());
        peer.Write("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
      }) {}

std::string Monitoring::WriteConfig(const std::string& alertmanager) const {
  dir_.Write("shipped-rules.yml", ShippedRules());
  std::map<std::string, std::string> jobs;
  for (const ScrapeTarget& target : targets_) {
    absl::StrAppend(&jobs[target.job], "  - targets: [\"", target.address,
                    "\"]\n    labels: {namespace: dr, pod: ", target.pod, "}\n");
  }
  std::string text = absl::StrCat(
      "global: {scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}\n"
      "rule_files: [shipped-rules.yml]\nalerting:\n  alertmanagers:\n  - static_configs: "
      "[{targets: [\"",
      alertmanager, "\"]}]\nscrape_configs:\n");
  for (const auto& [job, targets] : jobs)
    absl::StrAppend(&text, "- job_name: ", job, "\n", kOneConfiguration, "  static_configs:\n",
                    targets);
  return dir_.Write("prometheus.yml", text);
}

void Monitoring::Start() {
  dir_.Write("alertmanager.yml", absl::StrFormat(kAlertmanagerConfig, listener_.Url("/")));
  alertmanager_ =
      Process({"prometheus-alertmanager", "--config.file", dir_.File("alertmanager.yml"),
               "--storage.path", dir_.File("alertmanager"), "--web.listen-address", "127.0.0.1:0",
               "--cluster.listen-address=", "--log.format", "json"},
              dir_.File("alertmanager.log"));
  ASSERT_TRUE(Eventually(absl::Seconds(20), [this] {
    alertmanager_address_ = ListeningOn(dir_.Read("alertmanager.log"));
    return !alertmanager_address_.empty();
  })) << dir_.Read("alertmanager.log");
  const std::string config = WriteConfig(alertmanager_address_);
  prometheus_ =
      Process({"prometheus", "--config.file", config, "--storage.tsdb.path", dir_.File("tsdb"),
               "--web.listen-address", "127.0.0.1:0", "--log.format", "json"},
              dir_.File("prometheus.log"));
  ASSERT_TRUE(Eventually(absl::Seconds(20), [this] {
    prometheus_address_ = ListeningOn(dir_.Read("prometheus.log"));
    return !prometheus_address_.empty() && !Page(prometheus_address_, "/-/ready").empty();
  })) << dir_.Read("prometheus.log");
}

nlohmann::json Monitoring::Get(const std::string& path_and_query, std::string* error) const {
  const std::unique_ptr<HttpClient> http = NewCurlHttpClient({});
  HttpRequest request;
  request.url = absl::StrCat("http://", prometheus_address_, path_and_query);
  request.timeout = absl::Seconds(10);
  const HttpResult result = http->Send(request);
  const Json answer =
      result.response.has_value() ? Json::parse(result.response->body, nullptr, false) : Json();
  if (answer.is_object() && answer.value("status", "") == "success") return answer["data"];
  if (error != nullptr)
    *error = result.response.has_value() ? result.response->body : result.error.ToString();
  return nullptr;
}

nlohmann::json Monitoring::Query(const std::string& expression, std::string* error) const {
  const Json data = Get(absl::StrCat("/api/v1/query?query=", UrlEncoded(expression)), error);
  return data.is_object() ? data["result"] : Json();
}

nlohmann::json Monitoring::QueryRange(const std::string& expression, absl::Time from, absl::Time to,
                                      std::string* error) const {
  const Json data =
      Get(absl::StrCat("/api/v1/query_range?step=1&start=", absl::ToUnixSeconds(from),
                       "&end=", absl::ToUnixSeconds(to), "&query=", UrlEncoded(expression)),
          error);
  return data.is_object() ? data["result"] : Json();
}

double Monitoring::Value(const std::string& expression) const {
  const Json result = Query(expression);
  double value = std::nan("");
  if (!result.is_array() || result.size() != 1 || !result[0].is_object()) return value;
  (void)absl::SimpleAtod(result[0]["value"][1].get<std::string>(), &value);
  return value;
}

bool Monitoring::ScrapesAll() const {
  return Value("sum(up)") == static_cast<double>(targets_.size());
}

AlertSet Monitoring::InState(const std::string& state) const {
  AlertSet found;
  const Json data = Get("/api/v1/alerts");
  if (!data.is_object()) return {"Prometheus does not answer"};
  for (const Json& alert : data["alerts"]) {
    if (alert.value("state", "") == state) found.insert(NameOfAlert(alert["labels"]));
  }
  return found;
}

AlertSet Monitoring::InAlertmanager() const {
  AlertSet found;
  const Json alerts = Json::parse(Page(alertmanager_address_, "/api/v2/alerts"), nullptr, false);
  if (!alerts.is_array()) return {"Alertmanager does not answer"};
  for (const Json& alert : alerts) found.insert(NameOfAlert(alert["labels"]));
  return found;
}

AlertSet Monitoring::FiredSince(absl::Time since) const {
  const int64_t seconds =
      std::max<int64_t>(1, absl::ToInt64Seconds(absl::Ceil(absl::Now() - since, absl::Seconds(1))));
  std::string error;
  const Json result = Query(absl::StrCat("ALERTS{alertstate=\"firing\"}[", seconds, "s]"), &error);
  if (!result.is_array()) return {error};
  AlertSet fired;
  for (const Json& series : result) fired.insert(NameOfAlert(series["metric"]));
  return fired;
}

double Monitoring::Evaluations() const {
  double least = std::numeric_limits<double>::infinity();
  for (const absl::string_view line : absl::StrSplit(Page(prometheus_address_, "/metrics"), '\n')) {
    double value = 0;
    if (absl::StartsWith(line, "prometheus_rule_group_iterations_total{") &&
        absl::SimpleAtod(line.substr(line.rfind(' ') + 1), &value))
      least = std::min(least, value);
  }
  return least;
}

bool Monitoring::Settles(const AlertSet& expected, absl::Duration timeout) {
  AlertSet firing, pending, told;
  double since = -1;
  const bool settled = Eventually(timeout, [&] {
    firing = Firing();
    pending = Pending();
    told = InAlertmanager();
    if (firing != expected || told != expected || !pending.empty()) {
      since = -1;
      return false;
    }
    const double evaluations = Evaluations();
    if (since < 0) since = evaluations;
    return evaluations >= since + 4;
  });
  if (settled) return true;
  std::cerr << "alerts did not settle within " << timeout << "\n";
  Print("does not fire", expected, firing);
  Print("fires and should not", firing, expected);
  Print("pending", pending, {});
  Print("not in Alertmanager", expected, told);
  Print("in Alertmanager and should not", told, expected);
  return false;
}

void Monitoring::TakeNotification(const std::string& request) {
  const size_t body = request.find("\r\n\r\n");
  if (body == std::string::npos) return;
  const Json message = Json::parse(request.substr(body + 4), nullptr, false);
  if (!message.is_object()) return;
  MutexLock lock(mutex_);
  for (const Json& alert : message["alerts"]) {
    const std::string name = NameOfAlert(alert["labels"]), complaint = Complaint(alert);
    told_[alert.value("status", "")].insert(name);
    if (!complaint.empty()) bad_[name] = complaint;
  }
}

AlertSet Monitoring::Told(const std::string& status) const {
  MutexLock lock(mutex_);
  const auto found = told_.find(status);
  return found == told_.end() ? AlertSet() : found->second;
}

std::vector<std::string> Monitoring::BadAnnotations() const {
  MutexLock lock(mutex_);
  std::vector<std::string> bad;
  for (const auto& [name, complaint] : bad_) bad.push_back(absl::StrCat(name, ": ", complaint));
  return bad;
}

}  // namespace failover::e2e
