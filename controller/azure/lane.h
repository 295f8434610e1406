#ifndef CONTROLLER_AZURE_LANE_H_
#define CONTROLLER_AZURE_LANE_H_

#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>

#include "absl/status/status.h"
#include "apim_failover/v1/state.pb.h"
#include "common/http_client.h"
#include "controller/azure/credentials.h"
#include "controller/azure/shared.h"
#include "controller/core/events.h"

namespace failover::azure {

// How one logical call is to be sent.
struct Call {
  std::string api;        // for metrics: arm, apim, storage, entra, imds, trafficmanager
  std::string operation;  // for metrics
  std::string id;         // operation id; the client request id begins with it. Empty = random
  SteadyTime send_by = SteadyTime::InfiniteFuture();
  // More than 1 only for what changes nothing: sent again after a lost answer, 408, 429 or 5xx,
  // after Retry-After (if at most 30 s) or 1, 2, 4 … s.
  int tries = 1;
  // At most so long is waited for a token while there is none (and never beyond send_by).
  absl::Duration token_wait = absl::InfiniteDuration();
};

inline constexpr int kReadTries = 3;  // Call::tries of a read

struct Sent {
  std::optional<HttpResponse> response;
  bool maybe_sent = false;  // without a response: the request may have reached Azure
  v1::AzureError error;     // without a response: the message
};
// Of a request that changes something; see StatusOfWrite.
core::CallResult ResultOfWrite(const Sent& sent);
// Of a request that changes nothing: kOk for 200, else kFailed.
core::CallResult ResultOfRead(const Sent& sent);
core::CallResult Failure(absl::string_view message);

// One lane's connection to Azure: signs, sends, accounts, and repeats what may be repeated. One
// call at a time.
class Lane {
 public:
  Lane(AzureData& data, std::unique_ptr<HttpClient> http, std::stop_token stop)
      : data_(data), http_(std::move(http)), stop_(std::move(stop)) {}

  AzureData& data() { return data_; }
  const AzureOptions& options() const { return data_.options; }
  Clock& clock() { return data_.clock; }
  const std::stop_token& stop() const { return stop_; }

  // With the ARM token. A 401 drops the token; the request is sent once more with a new one, which
  // is safe for any request, since a refused one has no effect.
  Sent Arm(const HttpRequest& request, const Call& call);
  // Signed with the account key in `key_file`.
  Sent Blob(const HttpRequest& request, const Call& call, const std::string& account,
            const std::string& key_file);
  // Makes sure that a token is at hand; a failure that passes is waited out for at most `wait`.
  absl::Status EnsureToken(absl::Duration wait = absl::InfiniteDuration());
  // A token, and a connection to ARM used in the last 45 s.
  void KeepWarm();

 private:
  // Adds the authorization to a copy of the request.
  using Authorize = std::function<absl::Status(HttpRequest&)>;
  Sent Repeatedly(const HttpRequest& request, const Call& call, const Authorize& authorize);
  Sent Once(HttpRequest request, const Call& call, const Authorize& authorize);
  HttpResult Observed(const HttpRequest& request, const std::string& api,
                      const std::string& operation);
  absl::StatusOr<std::string> Token(const TokenWait& wait);

  AzureData& data_;
  std::unique_ptr<HttpClient> http_;
  std::stop_token stop_;
  SteadyTime arm_used_ = SteadyTime::InfinitePast();
};

}  // namespace failover::azure

#endif  // CONTROLLER_AZURE_LANE_H_
