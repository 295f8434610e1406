#ifndef CONTROLLER_AZURE_LONG_OPERATION_H_
#define CONTROLLER_AZURE_LONG_OPERATION_H_

#include <string>

#include "absl/strings/string_view.h"
#include "common/http_client.h"
#include "controller/core/events.h"

namespace failover::azure {

// The rules of azure.md §1.3, pure. `arm_endpoint` is the only host whose Location is believed.

// What the answer to POST backup or restore means.
//
//   status              Location      outcome
//   202                 on ARM        kOk with handle and Retry-After
//   202                 absent        kUnclear: accepted, but nothing can be polled
//   202                 elsewhere     kUnclear: the foreign URL is refused
//   other 2xx, 3xx      any           kUnclear: not what Azure answers; look for the effect
//   408, 409, 5xx       any           kUnclear (409 may be our own operation)
//   other 4xx           any           kFailed
struct StartOutcome {
  core::CallResult result;
  std::string handle;
  int retry_after_s = 0;
};
StartOutcome OutcomeOfStart(const HttpResponse& response, absl::string_view arm_endpoint);

// What the answer to GET of the handle means.
//
//   status         body, headers                state
//   202            Location absent, or on ARM   kRunning; a new Location becomes the handle
//   202            Location elsewhere           kUnknown: refused, the old handle is kept
//   200            the service resource         kSucceeded; kFailed if it is Failed, Canceled
//   200            {"status": …}                its ends as named; else kRunning
//   200            {"error": {…}}               kFailed
//   200            not JSON, or cut off         kUnknown: read again
//   200            empty, or something else     kGone: proves nothing; look for the effect
//   204, 404, 410  any                          kGone: the result is not known any more
//   401, 408, 429  any                          kUnknown: transient
//   403            x-ms-failure-cause: gateway  kUnknown: ARM refused the read, nothing failed
//   other 4xx      any                          kFailed with error.code: the operation's own end
//   anything else  any                          kUnknown
struct PollOutcome {
  core::OperationPolled::State state = core::OperationPolled::State::kUnknown;
  v1::AzureError error;
  std::string handle;  // only when it changed
  int retry_after_s = 0;
};
PollOutcome OutcomeOfPoll(const HttpResponse& response, absl::string_view arm_endpoint,
                          absl::string_view handle);

}  // namespace failover::azure

#endif  // CONTROLLER_AZURE_LONG_OPERATION_H_
