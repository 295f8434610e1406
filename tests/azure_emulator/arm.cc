#include "tests/azure_emulator/arm.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"

namespace failover::emulator {
namespace {

constexpr size_t kLogged = 5000;
constexpr size_t kLoggedEffects = 50000;
constexpr absl::string_view kArmAudiences[] = {
    "https://management.azure.com", "https://management.core.windows.net",
    "https://management.usgovcloudapi.net", "https://management.chinacloudapi.cn"};

bool IsRead(const Request& request) {
  return request.method == "GET" || request.method == "HEAD" || request.method == "OPTIONS";
}

// "…/providers/{provider}/{type}/{name}/…": index of {name}, or 0.
size_t ResourceAt(const std::vector<std::string>& s, absl::string_view provider,
                  absl::string_view type) {
  const bool fits = s.size() >= 7 && absl::EqualsIgnoreCase(s[0], "subscriptions") &&
                    absl::EqualsIgnoreCase(s[2], "resourceGroups") &&
                    absl::EqualsIgnoreCase(s[4], "providers") &&
                    absl::EqualsIgnoreCase(s[5], provider) && absl::EqualsIgnoreCase(s[6], type);
  return fits && s.size() >= 8 ? 7 : 0;
}

void ClassifyService(const Request& request, const std::vector<std::string>& s,
                     RequestClass& what) {
  what.service = s[7];
  const bool read = IsRead(request);
  if (s.size() == 8) {
    what.operation = read                         ? "getService"
                     : request.method == "PATCH"  ? "patchService"
                     : request.method == "DELETE" ? "deleteService"
                                                  : "putService";
  } else if (s.size() == 9 && request.method == "POST" && absl::EqualsIgnoreCase(s[8], "backup")) {
    what.operation = "backup";
  } else if (s.size() == 9 && request.method == "POST" && absl::EqualsIgnoreCase(s[8], "restore")) {
    what.operation = "restore";
  } else if (absl::EqualsIgnoreCase(s[8], "operationresults")) {
    what.operation = "poll";
  } else {
    what.operation = read ? "entityRead" : "entityWrite";
  }
}

void ClassifyBlob(const Request& request, const std::vector<std::string>& s, RequestClass& what) {
  const bool read = IsRead(request);
  if (s.size() >= 3) {
    what.operation = read ? "blobRead" : "blobWrite";
    what.blob = absl::StrJoin(s.begin() + 2, s.end(), "/");
  } else if (s.size() == 2) {
    what.operation = read ? "containerRead" : "containerWrite";
  }
}

bool ValidApiVersion(absl::string_view text) {
  if (text.size() < 10) return false;
  absl::CivilDay day;
  const absl::string_view tail = text.substr(10);
  return absl::ParseCivilTime(text.substr(0, 10), &day) &&
         (tail.empty() || tail == "-preview" || tail == "-privatepreview");
}

std::optional<Answer> CheckApiVersion(const World& world, const Request& request,
                                      absl::string_view type, const Service* service) {
  const auto query = request.Query();
  const auto it = query.find("api-version");
  if (it == query.end() || it->second.empty()) {
    return ArmError(
        400, "MissingApiVersionParameter",
        "The api-version query parameter (?api-version=) is required for all requests.");
  }
  const std::string& version = it->second;
  if (!ValidApiVersion(version)) {
    return ArmError(400, "InvalidApiVersionParameter",
                    absl::StrCat("The api-version '", version, "' is invalid."));
  }
  const bool apim = absl::StartsWith(type, "Microsoft.ApiManagement");
  const absl::string_view oldest =
      !apim ? "2015-11-01" : (world.switches.legacy_api_versions ? "2014-02-14" : "2021-04-01");
  if (version < oldest) {
    return ArmError(400, "NoRegisteredProviderFound",
                    absl::StrCat("No registered resource provider found for API version '", version,
                                 "' for type '", type, "'."));
  }
  if (service != nullptr && !service->min_api_version.empty() &&
      version < service->min_api_version) {
    return ArmError(400, "InvalidApiVersionParameter",
                    absl::StrCat("The service allows API versions from ", service->min_api_version,
                                 " on; found ", version, "."));
  }
  return std::nullopt;
}

Answer ResourceMissing(World& world, const std::vector<std::string>& s) {
  if (!world.subscriptions.contains(absl::AsciiStrToLower(s[1]))) {
    return ArmError(404, "SubscriptionNotFound",
                    absl::StrCat("The subscription '", s[1], "' could not be found."));
  }
  bool group = false;
  for (const auto& [key, service] : world.services) {
    group |= absl::EqualsIgnoreCase(service.resource_group, s[3]);
  }
  for (const auto& [key, profile] : world.profiles) {
    group |= absl::EqualsIgnoreCase(profile.resource_group, s[3]);
  }
  if (!group) {
    return ArmError(404, "ResourceGroupNotFound",
                    absl::StrCat("Resource group '", s[3], "' could not be found."));
  }
  return ArmError(404, "ResourceNotFound",
                  absl::StrCat("The Resource '", s[5], "/", s[6], "/", s[7],
                               "' under resource group '", s[3], "' was not found."));
}

// True when operation `id` has deleted the service.
bool DeletedBy(const World& world, const std::string& id, absl::string_view service) {
  const auto it = world.operations.find(id);
  return it != world.operations.end() && it->second.ended && it->second.deletes &&
         it->second.error_status == 0 && it->second.service == absl::AsciiStrToLower(service);
}

Answer DispatchService(World& world, const Request& request, const std::vector<std::string>& s,
                       const Caller& caller, LogEntry& entry, absl::Time now) {
  const std::vector<std::string> rest(s.begin() + 8, s.end());
  const std::string scope = absl::StrCat("/", absl::StrJoin(s.begin(), s.begin() + 8, "/"));
  if (auto refused = Authorize(caller, ServiceAction(request, rest), scope)) return *refused;
  Service* service = FindService(world, s[7]);
  if (service != nullptr && (!absl::EqualsIgnoreCase(service->subscription, s[1]) ||
                             !absl::EqualsIgnoreCase(service->resource_group, s[3]))) {
    service = nullptr;
  }
  if (auto bad = CheckApiVersion(world, request, "Microsoft.ApiManagement/service", service)) {
    return *bad;
  }
  if (service == nullptr) {
    if (rest.size() == 2 && absl::EqualsIgnoreCase(rest[0], "operationresults") &&
        DeletedBy(world, rest[1], s[7])) {
      return Answer{204, {}, ""};
    }
    if (request.method == "PUT" && rest.empty() &&
        world.subscriptions.contains(absl::AsciiStrToLower(s[1]))) {
      return CreateService(world, request, s[1], s[3], s[7], entry, now);
    }
    return ResourceMissing(world, s);
  }
  return HandleService(world, request, *service, rest, entry, now);
}

Answer DispatchArm(World& world, const Request& request, LogEntry& entry, absl::Time now) {
  Caller caller;
  if (auto refused = Authenticate(world, request, kArmAudiences[0], now, caller)) return *refused;
  entry.client_id = caller.client->client_id;
  const std::vector<std::string> s = request.Segments();
  if (ResourceAt(s, "Microsoft.ApiManagement", "service") != 0) {
    return DispatchService(world, request, s, caller, entry, now);
  }
  if (ResourceAt(s, "Microsoft.Network", "trafficManagerProfiles") != 0) {
    const bool child = s.size() >= 9;
    const std::string kind =
        child ? (s[8].empty()
                     ? s[8]
                     : absl::StrCat(absl::AsciiStrToLower(s[8].substr(0, 1)), s[8].substr(1)))
              : "";
    const std::string verb = IsRead(request)              ? "read"
                             : request.method == "DELETE" ? "delete"
                                                          : "write";
    const std::string action = absl::StrCat("Microsoft.Network/trafficManagerProfiles/",
                                            child ? absl::StrCat(kind, "/") : "", verb);
    const std::string scope = absl::StrCat("/", absl::StrJoin(s, "/"));
    if (auto refused = Authorize(caller, action, scope)) return *refused;
    if (auto bad =
            CheckApiVersion(world, request, "Microsoft.Network/trafficManagerProfiles", nullptr)) {
      return *bad;
    }
    const TrafficProfile* profile = FindProfile(world, s[7]);
    if (profile == nullptr || !absl::EqualsIgnoreCase(profile->subscription, s[1]) ||
        !absl::EqualsIgnoreCase(profile->resource_group, s[3])) {
      return ResourceMissing(world, s);
    }
    return HandleTraffic(world, request, {s.begin() + 7, s.end()}, entry, now);
  }
  return ArmError(404, "InvalidResourceType",
                  absl::StrCat("The emulator knows no resource at ", request.path, "."));
}

Answer Throttled(absl::Duration wait) {
  Answer answer = ArmError(429, "SubscriptionRequestsThrottled",
                           "Number of requests for subscription exceeded the limit.");
  answer.Set("Retry-After", absl::StrCat(std::max<int64_t>(
                                1, static_cast<int64_t>(std::ceil(absl::ToDoubleSeconds(wait))))));
  return answer;
}

TokenBucket& BucketOf(World& world, const Request& request) {
  if (IsRead(request)) return world.reads;
  return request.method == "DELETE" ? world.deletes : world.writes;
}

// Takes one token; the 429 answer when there is none (azure.md §6.3).
std::optional<Answer> TakeToken(World& world, const Request& request, absl::Time now) {
  if (now < world.throttled_until) return Throttled(world.throttled_until - now);
  TokenBucket& bucket = BucketOf(world, request);
  if (bucket.filled != absl::InfinitePast()) {
    bucket.level = std::min(
        bucket.burst, bucket.level + bucket.per_second *
                                         std::max(0.0, absl::ToDoubleSeconds(now - bucket.filled)));
  }
  bucket.filled = now;
  if (bucket.level < 1) return Throttled(absl::Seconds((1 - bucket.level) / bucket.per_second));
  bucket.level -= 1;
  return std::nullopt;
}

// The headers of every ARM answer (azure.md §1.2, §6.3).
void AddArmHeaders(World& world, const Request& request, LogEntry& entry, Answer& answer,
                   absl::Time now) {
  const std::string id = DrawGuid(world);
  const absl::string_view correlation = request.Header("x-ms-correlation-request-id");
  entry.request_id = id;
  const std::string time = absl::FormatTime("%Y%m%dT%H%M%SZ", now, absl::UTCTimeZone());
  answer.Set("Cache-Control", "no-cache");
  answer.Set("Pragma", "no-cache");
  answer.Set("Expires", "-1");
  answer.Set("Strict-Transport-Security", "max-age=31536000; includeSubDomains");
  answer.Set("X-Content-Type-Options", "nosniff");
  answer.Set("x-ms-request-id", id);
  answer.Set("x-ms-correlation-request-id",
             correlation.empty() ? id : std::string(correlation.substr(0, 64)));
  answer.Set("x-ms-routing-request-id", absl::StrCat("EMULATOR:", time, ":", id));
  answer.Set("Server", "Microsoft-HTTPAPI/2.0");
  const char* kind = entry.what.operation == "getService" ? "resource-requests"
                     : IsRead(request)                    ? "reads"
                     : request.method == "DELETE"         ? "deletes"
                                                          : "writes";
  answer.Set(absl::StrCat("x-ms-ratelimit-remaining-subscription-", kind),
             absl::StrCat(static_cast<int64_t>(BucketOf(world, request).level)));
  if (answer.status >= 400 && answer.Header("x-ms-failure-cause").empty() &&
      (answer.status == 401 || answer.status == 403 || answer.status == 404)) {
    answer.Set("x-ms-failure-cause", "gateway");
  }
  if (absl::EqualsIgnoreCase(request.Header("x-ms-return-client-request-id"), "true")) {
    answer.Set("x-ms-client-request-id", request.Header("x-ms-client-request-id").substr(0, 128));
  }
}

std::string ErrorCodeOf(const Answer& answer) {
  if (answer.status < 400) return "";
  if (!answer.Header("x-ms-error-code").empty()) {
    return std::string(answer.Header("x-ms-error-code"));
  }
  Json body;
  if (!ParseJson(answer.body, body).ok() || !body.is_object() || !body.contains("error")) return "";
  const Json& error = body["error"];
  if (error.is_string()) return error.get<std::string>();
  return error.is_object() ? error.value("code", "") : "";
}

void Record(World& world, const Request& request, LogEntry entry, const Answer& answer) {
  entry.sequence = ++world.log_sequence;
  entry.status = answer.status;
  entry.error_code = ErrorCodeOf(answer);
  entry.answer_lost = answer.wire != Wire::kNormal;
  if (entry.fault.empty() && world.active_fault) entry.fault = world.active_fault->action;
  const bool effect = !IsRead(request) && entry.what.operation != "token";
  if (effect) {
    world.effects.push_back(entry);
    if (world.effects.size() > kLoggedEffects) world.effects.pop_front();
  }
  world.log.push_back(std::move(entry));
  if (world.log.size() > kLogged) world.log.pop_front();
}

Answer Dispatch(World& world, const Request& request, LogEntry& entry, absl::Time now) {
  if (request.front == Front::kBlob) return HandleBlob(world, request, entry, now);
  if (request.front == Front::kImds) return HandleImds(world, request, now);
  if (entry.what.operation == "token") return HandleToken(world, request, now);
  if (auto throttled = TakeToken(world, request, now)) return *throttled;
  return DispatchArm(world, request, entry, now);
}

}  // namespace

RequestClass Classify(const Request& request) {
  RequestClass what;
  const std::vector<std::string> s = request.Segments();
  if (request.front == Front::kBlob) {
    ClassifyBlob(request, s, what);
  } else if (request.front == Front::kImds) {
    what.operation = "imds";
  } else if (s.size() == 4 && s[1] == "oauth2" && s[3] == "token") {
    what.operation = "token";
  } else if (ResourceAt(s, "Microsoft.ApiManagement", "service") != 0) {
    ClassifyService(request, s, what);
  } else if (ResourceAt(s, "Microsoft.Network", "trafficManagerProfiles") != 0) {
    what.operation = IsRead(request) ? "trafficRead" : "trafficWrite";
    what.service = s[7];
  }
  return what;
}

Answer Handle(World& world, const Request& request, absl::Time now) {
  Advance(world, now);
  LogEntry entry;
  entry.time = now;
  entry.front = request.front;
  entry.method = request.method;
  entry.path = request.path.substr(0, 2048);
  entry.query = request.query.substr(0, 1024);
  entry.what = Classify(request);
  entry.client_request_id = std::string(request.Header("x-ms-client-request-id").substr(0, 128));
  FaultRule* rule = DrawFault(world.faults, request, entry.what, world.random);
  world.active_fault.reset();
  if (rule != nullptr) world.active_fault = *rule;

  Answer answer;
  if (rule != nullptr && rule->action == "throttle") {
    int seconds = 1;
    if (absl::SimpleAtoi(rule->retry_after, &seconds)) {
      world.throttled_until = std::max(world.throttled_until, now + absl::Seconds(seconds));
    }
    answer = Throttled(world.throttled_until - now);
  } else if (rule == nullptr || !ComesBefore(*rule, request)) {
    answer = Dispatch(world, request, entry, now);
  }
  if (rule != nullptr) BendAnswer(*rule, request, answer);
  if (request.front == Front::kArm && entry.what.operation != "token") {
    AddArmHeaders(world, request, entry, answer, now);
  }
  answer.Set("Date", HttpDate(now));
  if (request.method == "HEAD" && request.front == Front::kArm) answer.body.clear();
  Record(world, request, std::move(entry), answer);
  world.active_fault.reset();
  return answer;
}

Answer JsonAnswer(int status, const Json& body) {
  return {status, {{"Content-Type", "application/json; charset=utf-8"}}, Dump(body)};
}

Answer ArmError(int status, absl::string_view code, absl::string_view message) {
  return JsonAnswer(status, {{"error",
                              {{"code", std::string(code)},
                               {"message", std::string(message)},
                               {"details", nullptr},
                               {"innerError", nullptr}}}});
}

}  // namespace failover::emulator
