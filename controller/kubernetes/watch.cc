#include "controller/kubernetes/watch.h"

#include <algorithm>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/log.h"
#include "common/status_macros.h"
#include "controller/kubernetes/json.h"
#include "nlohmann/json.hpp"

namespace failover::kubernetes {
namespace {

constexpr size_t kMaxLine = 256u << 10;  // metadata of one object; most take 1 KiB
constexpr absl::Duration kListTimeout = absl::Seconds(5);
constexpr absl::Duration kWatchFor = absl::Seconds(60);  // and up to half of it more
constexpr absl::Duration kOverdue = absl::Seconds(10);   // beyond that the server is given up
constexpr absl::Duration kFirstRetry = absl::Milliseconds(500);
constexpr absl::Duration kLastRetry = absl::Seconds(30);
constexpr absl::Duration kTooShort = absl::Seconds(1);  // a watch that ended so soon has failed

}  // namespace

Watch::Watch(WatchOptions options)
    : options_(std::move(options)),
      clock_(*options_.clock),
      client_(options_.server, clock_, stop_.get_token(), options_.make_http),
      thread_([this] { Run(); }) {}

Watch::~Watch() {
  stop_.request_stop();
  thread_.join();
}

WatchState Watch::State() const {
  MutexLock lock(mutex_);
  return state_;
}

void Watch::Note(const absl::Status& status) {
  MutexLock lock(mutex_);
  // Once for each interruption.
  if (state_.problem.ok() && !status.ok()) {
    LogWarning("changes of the stored state are not told now; it is read from time to time",
               {{"error", status}});
  } else if (!state_.problem.ok() && status.ok()) {
    LogInfo("changes of the stored state are told again");
  }
  state_.problem = status;
}

void Watch::Forget() {
  MutexLock lock(mutex_);
  state_.version.clear();
}

ApiRequest Watch::Request(absl::string_view query, absl::string_view kind) const {
  ApiRequest request;
  request.path = absl::StrCat(options_.collection,
                              absl::StrContains(options_.collection, '?') ? "&" : "?", query);
  request.accept = absl::StrCat("application/json;as=", kind, ";g=meta.k8s.io;v=v1");
  return request;
}

void Watch::Run() {
  absl::Duration retry = kFirstRetry;
  bool began_anew = false;  // for a 410, and nothing has come since
  while (!stop_.stop_requested()) {
    const SteadyTime begun = clock_.Steady();
    retry_after_ = absl::ZeroDuration();
    progressed_ = false;
    absl::Status status = State().version.empty() ? List() : absl::OkStatus();
    if (status.ok()) status = Follow();
    if (stop_.stop_requested()) return;
    if (progressed_) {
      retry = kFirstRetry;
      began_anew = false;
    }
    // What changes meanwhile is told by the next one, from the same version or by its list.
    if (absl::IsOutOfRange(status) && !std::exchange(began_anew, true)) continue;
    if (status.ok() && !progressed_ && clock_.Steady() - begun < kTooShort)
      status = absl::UnavailableError("the server ended the watch at once");
    Note(status);
    if (status.ok()) continue;
    const double jitter = std::uniform_real_distribution<double>(0.5, 1)(random_);
    clock_.SleepUntil(clock_.Steady() + std::max(retry_after_, retry * jitter), stop_.get_token());
    retry = std::min(retry * 2, kLastRetry);
  }
}

absl::Status Watch::List() {
  ApiRequest request = Request("limit=1", "PartialObjectMetadataList");
  request.timeout = kListTimeout;
  {
    MutexLock lock(mutex_);
    ++state_.attempts;
  }
  const ApiAnswer answer = client_.Call(request);
  retry_after_ = answer.retry_after;
  RETURN_IF_ERROR(answer.status);
  ASSIGN_OR_RETURN(const Json list, ParseObject(answer.body));
  std::string version = FindText(list, {"metadata", "resourceVersion"});
  if (version.empty()) return absl::UnavailableError("the list has no resourceVersion");
  {
    MutexLock lock(mutex_);
    state_.version = std::move(version);
  }
  options_.changed();  // since nobody watched
  return absl::OkStatus();
}

absl::Status Watch::Follow() {
  const absl::Duration lasts = kWatchFor * std::uniform_real_distribution<double>(1, 1.5)(random_);
  std::string version;
  {
    MutexLock lock(mutex_);
    ++state_.attempts;
    version = state_.version;
  }
  ApiRequest request =
      Request(absl::StrCat("watch=1&allowWatchBookmarks=true&resourceVersion=", version,
                           "&timeoutSeconds=", absl::ToInt64Seconds(lasts)),
              "PartialObjectMetadata");
  request.timeout = lasts + kOverdue;
  request.on_body = [this](absl::string_view part) { return TakeLines(part); };
  buffer_.clear();
  line_ = absl::OkStatus();
  const ApiAnswer answer = client_.Call(request);
  retry_after_ = answer.retry_after;
  const absl::Status status = line_.ok() ? answer.status : line_;
  // Where to go on is not known: too old, or a line that cannot be read.
  if (absl::IsOutOfRange(status) || !line_.ok()) Forget();
  return status;
}

bool Watch::TakeLines(absl::string_view part) {
  absl::StrAppend(&buffer_, part);
  size_t begin = 0;
  bool changed = false;
  for (size_t end = buffer_.find('\n'); end != std::string::npos && line_.ok();
       end = buffer_.find('\n', begin)) {
    line_ = TakeLine(absl::string_view(buffer_).substr(begin, end - begin), changed);
    begin = end + 1;
  }
  buffer_.erase(0, begin);
  if (buffer_.size() > kMaxLine && line_.ok()) {
    line_ = absl::ResourceExhaustedError(
        absl::StrCat("found a line of more than ", kMaxLine, " bytes in a watch"));
  }
  if (changed) options_.changed();
  return line_.ok();
}

absl::Status Watch::TakeLine(absl::string_view line, bool& changed) {
  if (line.empty()) return absl::OkStatus();
  ASSIGN_OR_RETURN(const Json event, ParseObject(line));
  const std::string type = FindText(event, {"type"});
  if (type == "ERROR") {
    const Json& code = Find(event, {"object", "code"});
    const std::string text =
        absl::StrCat("the watch ended: ", FindText(event, {"object", "message"}));
    return code == 410 ? absl::OutOfRangeError(text) : absl::UnavailableError(text);
  }
  std::string version = FindText(event, {"object", "metadata", "resourceVersion"});
  if (version.empty())
    return absl::UnavailableError(
        absl::StrCat("found an event of type \"", type, "\" without a resourceVersion in a watch"));
  changed |= type != "BOOKMARK";
  progressed_ = true;
  Note(absl::OkStatus());
  MutexLock lock(mutex_);
  state_.version = std::move(version);
  return absl::OkStatus();
}

}  // namespace failover::kubernetes
