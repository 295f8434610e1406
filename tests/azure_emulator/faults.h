#ifndef TESTS_AZURE_EMULATOR_FAULTS_H_
#define TESTS_AZURE_EMULATOR_FAULTS_H_

#include <optional>
#include <random>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "tests/azure_emulator/json_fields.h"
#include "tests/azure_emulator/message.h"

namespace failover::emulator {

// What a request is, for fault rules and the request log.
struct RequestClass {
  // token, imds, getService, patchService, putService, deleteService, backup, restore, poll,
  // entityRead, entityWrite, trafficRead, trafficWrite, blobRead, blobWrite, containerRead,
  // containerWrite, other
  std::string operation = "other";
  std::string service;  // APIM service or Traffic Manager profile, as in the path
  std::string blob;     // blob name, where one is named
};

// What happens to an accepted backup or restore.
struct OperationFault {
  // fail, failPartial (a restore leaves half of the content), stuck, blobMissing, blobEmpty,
  // blobOld, blobGarbage
  std::string kind;
  int status = 400;
  std::string code, message;
  std::optional<absl::Duration> duration;
};

// One rule of the fault plan. The first rule that matches and fires decides a request.
struct FaultRule {
  std::string id;
  // Matching; empty = anything.
  std::string operation, service, method, path_contains;
  int skip = 0;              // passes over the first n matches
  int times = -1;            // fires so often; -1 = always
  double probability = 1.0;  // drawn from the world's seeded generator
  // Effect. "status", "reset", "truncate", "malformed", "silence", "slow", "slowBody", "throttle",
  // "location", "retryAfter", "operation", "trafficIgnored", "trafficOldRead".
  std::string action;
  bool after = false;  // status, reset, truncate, malformed, silence: only the answer suffers, the
                       // effect happened
  int status = 500;
  std::string code, message;
  std::string retry_after;      // status, throttle, retryAfter: header value; "absent" removes it
  std::string location;         // absent, relative, foreign, changed
  absl::Duration delay;         // slow, trafficOldRead
  OperationFault on_operation;  // action "operation"
  // Progress.
  int matched = 0, fired = 0;
};

// All fields strictly; unknown keys and bad values become problems.
FaultRule ReadFaultRule(Fields& fields);
Json ToJson(const FaultRule& rule);

// The rule that hits this request, after counting it; null when none does.
FaultRule* DrawFault(std::vector<FaultRule>& rules, const Request& request,
                     const RequestClass& what, std::mt19937_64& random);

// True when the request must not reach the world: the fault comes before its effect.
bool ComesBefore(const FaultRule& rule, const Request& request);
// Bends `answer` as `rule` says.
void BendAnswer(const FaultRule& rule, const Request& request, Answer& answer);

}  // namespace failover::emulator

#endif  // TESTS_AZURE_EMULATOR_FAULTS_H_
