#include "tests/azure_emulator/faults.h"

#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "tests/azure_emulator/world.h"

namespace failover::emulator {
namespace {

bool IsOneOf(absl::string_view text, std::initializer_list<absl::string_view> options) {
  return std::find(options.begin(), options.end(), text) != options.end();
}

// Actions that either keep a request from the world or only spoil its answer.
bool SpoilsAnswer(absl::string_view action) {
  return IsOneOf(action, {"status", "reset", "truncate", "malformed", "silence"});
}

bool Matches(const FaultRule& rule, const Request& request, const RequestClass& what) {
  return (rule.operation.empty() || rule.operation == what.operation) &&
         (rule.service.empty() || absl::EqualsIgnoreCase(rule.service, what.service)) &&
         (rule.method.empty() || rule.method == request.method) &&
         (rule.path_contains.empty() || absl::StrContains(request.path, rule.path_contains));
}

// retryAfter is written as a number (throttle) or as header text ("absent", "0", a date).
void ReadRetryAfter(Fields& fields, FaultRule& rule) {
  Json value;
  if (!fields.Any("retryAfter", value)) return;
  if (value.is_number_unsigned()) {
    rule.retry_after = absl::StrCat(value.get<uint64_t>());
  } else if (value.is_string()) {
    rule.retry_after = value.get<std::string>();
  } else {
    fields.Problem("retryAfter", "allowed: a number of seconds or the header's text");
  }
}

void ReadOutcome(Fields& fields, OperationFault& outcome) {
  fields.Require({"kind"});
  fields.Choice(
      "kind", outcome.kind,
      {"fail", "failPartial", "stuck", "blobMissing", "blobEmpty", "blobOld", "blobGarbage"});
  fields.Int("status", outcome.status, 400, 599);
  fields.String("code", outcome.code);
  fields.String("message", outcome.message);
  absl::Duration duration;
  if (fields.Span("duration", duration)) outcome.duration = duration;
}

void BendLocation(const FaultRule& rule, Answer& answer) {
  const std::string location(answer.Header("location"));
  if (rule.location == "absent") {
    answer.Remove("location");
  } else if (rule.location == "relative") {
    const size_t host = location.find("://");
    const size_t path = host == std::string::npos ? host : location.find('/', host + 3);
    if (path != std::string::npos) answer.Set("Location", location.substr(path));
  } else if (rule.location == "foreign") {
    const size_t path = location.find('/', 8);
    if (path != std::string::npos) {
      answer.Set("Location", absl::StrCat("https://attacker.example", location.substr(path)));
    }
  }
  // "changed" is done where the operation is known.
}

}  // namespace

FaultRule ReadFaultRule(Fields& fields) {
  FaultRule rule;
  fields.Require({"action"});
  fields.Choice(
      "operation", rule.operation,
      {"token", "imds", "getService", "patchService", "putService", "deleteService", "backup",
       "restore", "poll", "entityRead", "entityWrite", "trafficRead", "trafficWrite", "blobRead",
       "blobWrite", "containerRead", "containerWrite", "other"});
  fields.String("service", rule.service);
  fields.String("method", rule.method);
  fields.String("pathContains", rule.path_contains);
  fields.Int("skip", rule.skip, 0, 1000000);
  fields.Int("times", rule.times, -1, 1000000);
  fields.Number("probability", rule.probability, 0, 1);
  fields.Choice(
      "action", rule.action,
      {"status", "reset", "truncate", "malformed", "silence", "slow", "slowBody", "throttle",
       "location", "retryAfter", "operation", "trafficIgnored", "trafficOldRead"});
  if (fields.Bool("after", rule.after) && rule.after && !SpoilsAnswer(rule.action)) {
    fields.Problem("after", "allowed only with status, reset, truncate, malformed and silence");
  }
  fields.Int("status", rule.status, 400, 599);
  fields.String("code", rule.code);
  fields.String("message", rule.message);
  ReadRetryAfter(fields, rule);
  fields.Choice("location", rule.location, {"absent", "relative", "foreign", "changed"});
  fields.Span("delay", rule.delay);
  fields.Object("outcome", [&](Fields& outcome) { ReadOutcome(outcome, rule.on_operation); });
  if (rule.action == "location" && rule.location.empty()) {
    fields.Problem("location", "missing, but required by action location");
  }
  if (IsOneOf(rule.action, {"throttle", "retryAfter"}) && rule.retry_after.empty()) {
    fields.Problem("retryAfter", absl::StrCat("missing, but required by action ", rule.action));
  }
  if (IsOneOf(rule.action, {"slow", "trafficOldRead"}) && rule.delay == absl::ZeroDuration()) {
    fields.Problem("delay", absl::StrCat("missing, but required by action ", rule.action));
  }
  if (rule.action == "operation" && rule.on_operation.kind.empty()) {
    fields.Problem("outcome", "missing, but required by action operation");
  }
  return rule;
}

Json ToJson(const FaultRule& rule) {
  Json json = {{"id", rule.id},           {"action", rule.action},
               {"skip", rule.skip},       {"times", rule.times},
               {"after", rule.after},     {"probability", rule.probability},
               {"matched", rule.matched}, {"fired", rule.fired}};
  const auto add = [&](const char* name, const std::string& value) {
    if (!value.empty()) json[name] = value;
  };
  add("operation", rule.operation);
  add("service", rule.service);
  add("method", rule.method);
  add("pathContains", rule.path_contains);
  add("code", rule.code);
  add("message", rule.message);
  add("retryAfter", rule.retry_after);
  add("location", rule.location);
  if (rule.action == "status") json["status"] = rule.status;
  if (rule.delay > absl::ZeroDuration()) json["delay"] = FormatSpan(rule.delay);
  if (rule.action == "operation") {
    json["outcome"] = {{"kind", rule.on_operation.kind},
                       {"status", rule.on_operation.status},
                       {"code", rule.on_operation.code},
                       {"message", rule.on_operation.message}};
    if (rule.on_operation.duration) {
      json["outcome"]["duration"] = FormatSpan(*rule.on_operation.duration);
    }
  }
  return json;
}

FaultRule* DrawFault(std::vector<FaultRule>& rules, const Request& request,
                     const RequestClass& what, std::mt19937_64& random) {
  for (FaultRule& rule : rules) {
    if (!Matches(rule, request, what)) continue;
    if (rule.matched++ < rule.skip) continue;
    if (rule.times >= 0 && rule.fired >= rule.times) continue;
    if (rule.probability < 1 &&
        static_cast<double>(random() >> 11) / 9007199254740992.0 >= rule.probability) {
      continue;
    }
    ++rule.fired;
    return &rule;
  }
  return nullptr;
}

bool ComesBefore(const FaultRule& rule, const Request&) {
  return SpoilsAnswer(rule.action) && !rule.after;
}

void BendAnswer(const FaultRule& rule, const Request& request, Answer& answer) {
  const bool accepted = answer.status == 202;
  if (rule.action == "status") {
    const std::string code = rule.code.empty() ? "ServiceUnavailable" : rule.code;
    const std::string message =
        rule.message.empty() ? "The service is unavailable now." : rule.message;
    if (request.front == Front::kBlob) {
      answer = Answer{rule.status,
                      {{"Content-Type", "application/xml"}, {"x-ms-error-code", code}},
                      absl::StrCat("<?xml version=\"1.0\" encoding=\"utf-8\"?><Error><Code>", code,
                                   "</Code><Message>", message, "</Message></Error>")};
    } else if (request.front == Front::kImds) {
      answer = JsonAnswer(rule.status, {{"error", code}, {"error_description", message}});
    } else {
      answer = ArmError(rule.status, code, message);
    }
    if (!rule.retry_after.empty() && rule.retry_after != "absent") {
      answer.Set("Retry-After", rule.retry_after);
    }
  } else if (rule.action == "reset") {
    answer.wire = Wire::kReset;
  } else if (rule.action == "silence") {
    answer.wire = Wire::kSilence;
  } else if (rule.action == "truncate") {
    if (answer.body.empty()) answer.body = "{\"value\":[{\"id\":\"/subscriptions/";
    answer.wire = Wire::kTruncated;
  } else if (rule.action == "malformed") {
    answer.status = answer.status >= 300 ? answer.status : 200;
    answer.body = "{\"id\": \"/subscriptions/\", \"properties\": {";
    answer.Set("Content-Type", "application/json; charset=utf-8");
  } else if (rule.action == "slow") {
    answer.delay = rule.delay;
  } else if (rule.action == "slowBody") {
    answer.slow_body = true;
  } else if (rule.action == "location" && accepted) {
    BendLocation(rule, answer);
  } else if (rule.action == "retryAfter" && accepted) {
    if (rule.retry_after == "absent") {
      answer.Remove("Retry-After");
    } else {
      answer.Set("Retry-After", rule.retry_after);
    }
  }
}

}  // namespace failover::emulator
