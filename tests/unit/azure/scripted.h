#ifndef TESTS_UNIT_AZURE_SCRIPTED_H_
#define TESTS_UNIT_AZURE_SCRIPTED_H_

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "common/clock.h"
#include "common/http_client.h"

namespace failover::azure {

// A clock of one thread: who sleeps moves it on.
class StridingClock final : public Clock {
 public:
  SteadyTime Steady() const override { return steady_; }
  absl::Time Wall() const override { return wall_; }
  bool SleepUntil(SteadyTime deadline, std::stop_token stop) override {
    if (stop.stop_requested()) return false;
    if (deadline > steady_) Advance(deadline - steady_);
    return true;
  }
  void Advance(absl::Duration by) {
    steady_ = steady_ + by;
    wall_ += by;
  }

 private:
  SteadyTime steady_{absl::Hours(1)};
  absl::Time wall_ = absl::FromUnixSeconds(1'795'467'600);  // Mon, 23 Nov 2026 21:00:00 GMT
};

inline HttpResponse Response(int status, std::string body = "", HttpHeaders headers = {}) {
  return {status, std::move(headers), std::move(body)};
}
inline HttpResult Answered(HttpResponse response) { return {std::move(response), {}, true}; }
inline HttpResult Answered(int status, std::string body = "", HttpHeaders headers = {}) {
  return Answered(Response(status, std::move(body), std::move(headers)));
}
// No answer; `maybe_sent` as in HttpResult.
inline HttpResult Lost(bool maybe_sent) {
  return {std::nullopt, absl::UnavailableError("the connection was lost"), maybe_sent};
}

// What Azure received, and what it answers: one function of the request.
struct Wire {
  std::function<HttpResult(const HttpRequest&)> answer;
  std::vector<HttpRequest> requests;

  // Requests whose "METHOD URL" contains `text`.
  int Count(absl::string_view text) const {
    int count = 0;
    for (const HttpRequest& request : requests) {
      count += (request.method + " " + request.url).find(std::string(text)) != std::string::npos;
    }
    return count;
  }
};

inline std::string HeaderOf(const HttpRequest& request, absl::string_view name) {
  for (const auto& [key, value] : request.headers) {
    if (key == name) return value;
  }
  return "";
}

class ScriptedHttpClient final : public HttpClient {
 public:
  explicit ScriptedHttpClient(Wire& wire) : wire_(wire) {}
  HttpResult Send(const HttpRequest& request) override {
    wire_.requests.push_back(request);
    return wire_.answer(request);
  }

 private:
  Wire& wire_;
};

}  // namespace failover::azure

#endif  // TESTS_UNIT_AZURE_SCRIPTED_H_
