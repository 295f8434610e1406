#include "controller/kubernetes/events.h"

#include <iterator>
#include <optional>
#include <stop_token>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/digest.h"
#include "common/log.h"
#include "common/utf8.h"
#include "controller/kubernetes/json.h"
#include "controller/kubernetes/lease_object.h"
#include "nlohmann/json.hpp"

namespace failover::kubernetes {
namespace {

constexpr size_t kWaiting = 256;
constexpr size_t kSeries = 256;   // that are remembered
constexpr size_t kMaxWord = 128;  // of the API server for instance, reason and action
constexpr size_t kMaxNote = 1024;
constexpr size_t kMaxObjectName = 200;  // leaves room for the suffix of an event's name
constexpr absl::Duration kSeriesLife = absl::Minutes(6);
constexpr absl::Duration kSeriesPeriod = absl::Minutes(1);
constexpr absl::Duration kTimeout = absl::Seconds(2);
constexpr char kController[] = "apim-failover.io/controller";

std::string EventPath(const std::string& name_space, absl::string_view name = "") {
  return absl::StrCat("/apis/events.k8s.io/v1/namespaces/", name_space, "/events",
                      name.empty() ? "" : "/", name);
}

std::string Cut(absl::string_view text, size_t size) {
  return CutText(ToValidUtf8(text), size - 3);  // and the three bytes of "…"
}

// A name that no other event has, and that ends its first part as a name must.
std::string EventName(absl::string_view object) {
  object = object.substr(0, kMaxObjectName);
  while (!object.empty() && !IsObjectName(object)) object.remove_suffix(1);
  return absl::StrCat(object, ".", RandomHex(8));
}

}  // namespace

EventPublisher::EventPublisher(EventPublisherOptions options)
    : options_(std::move(options)),
      clock_(*options_.clock),
      mailbox_(kWaiting),
      client_(options_.server, clock_, std::stop_token(), options_.make_http, options_.observe),
      thread_([this] { Run(); }) {}

EventPublisher::~EventPublisher() {
  ending_ = true;
  mailbox_.Close();
  thread_.join();
}

void EventPublisher::Publish(ClusterEvent event) {
  if (!mailbox_.TryPut({std::move(event), clock_.Read()})) ++dropped_;
}

void EventPublisher::Run() {
  while (true) {
    std::optional<Item> item = mailbox_.Take(absl::Seconds(1));
    if (!item.has_value() && ending_ && mailbox_.size() == 0) return;
    if (!item.has_value()) {
      Flush();
      continue;
    }
    if (Write(*item)) continue;
    ++dropped_;
    if (ending_) return;  // the end of the process waits for no server that does not answer
  }
}

bool EventPublisher::Write(const Item& item) {
  const ClusterEvent& event = item.event;
  const Key key(event.warning, event.reason, event.action, event.about, event.name);
  const auto found = series_.find(key);
  if (found != series_.end() && item.at.steady - found->second.seen < kSeriesLife) {
    Series& series = found->second;
    ++series.count;
    series.last_seen = item.at.wall;
    series.seen = item.at.steady;
    return item.at.steady - series.wrote < kSeriesPeriod || Repeat(series);
  }
  Series series;
  if (!Create(item, series)) return false;
  if (series_.size() >= kSeries) Flush();
  if (series_.size() < kSeries) series_[key] = std::move(series);
  return true;
}

bool EventPublisher::Create(const Item& item, Series& series) {
  const ClusterEvent& event = item.event;
  const std::string& name_space = options_.server.name_space;
  const bool lease = event.about == ClusterEvent::kLease;
  series.name = EventName(event.name);
  series.last_seen = item.at.wall;
  series.seen = item.at.steady;
  series.wrote = clock_.Steady();
  const Json object = {{"apiVersion", "events.k8s.io/v1"},
                       {"kind", "Event"},
                       {"metadata", {{"name", series.name}, {"namespace", name_space}}},
                       {"eventTime", MicroTime(item.at.wall)},
                       {"reportingController", kController},
                       {"reportingInstance", Cut(options_.instance, kMaxWord)},
                       {"type", event.warning ? "Warning" : "Normal"},
                       {"reason", Cut(event.reason, kMaxWord)},
                       {"action", Cut(event.action, kMaxWord)},
                       {"note", Cut(Redacted(event.note), kMaxNote)},
                       {"regarding",
                        {{"apiVersion", lease ? "coordination.k8s.io/v1" : "v1"},
                         {"kind", lease ? "Lease" : "ConfigMap"},
                         {"namespace", name_space},
                         {"name", event.name}}}};
  ApiRequest request;
  request.method = "POST";
  request.path = EventPath(name_space);
  request.body = Print(object);
  return Send(std::move(request));
}

bool EventPublisher::Repeat(Series& series) {
  ApiRequest request;
  request.method = "PATCH";
  request.path = EventPath(options_.server.name_space, series.name);
  request.content_type = "application/merge-patch+json";
  request.body = Print(Json{
      {"series", {{"count", series.count}, {"lastObservedTime", MicroTime(series.last_seen)}}}});
  series.wrote = clock_.Steady();
  series.written = series.count;
  return Send(std::move(request));
}

bool EventPublisher::Send(ApiRequest request) {
  if (clock_.Steady() < not_before_) return false;
  request.timeout = kTimeout;
  const ApiAnswer answer = client_.Call(request);
  if (answer.retry_after > absl::ZeroDuration()) not_before_ = clock_.Steady() + answer.retry_after;
  if (!answer.status.ok()) LogDebug("an event was not written", {{"error", answer.status}});
  return answer.status.ok();
}

void EventPublisher::Flush() {
  const SteadyTime now = clock_.Steady();
  for (auto it = series_.begin(); it != series_.end();) {
    Series& series = it->second;
    if (series.written != series.count && now - series.wrote >= kSeriesPeriod) Repeat(series);
    it = now - series.seen >= kSeriesLife ? series_.erase(it) : std::next(it);
  }
}

}  // namespace failover::kubernetes
