#ifndef CONTROLLER_AZURE_CREDENTIALS_H_
#define CONTROLLER_AZURE_CREDENTIALS_H_

#include <condition_variable>
#include <functional>
#include <optional>
#include <stop_token>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "common/clock.h"
#include "common/http_client.h"
#include "common/mutex.h"

namespace failover::azure {

struct CredentialsOptions {
  std::string authority_endpoint, tenant_id, client_id, client_secret_file, scope;
};

// POST {authority}/{tenant}/oauth2/v2.0/token with a client secret (azure.md §6.1). Pure.
HttpRequest TokenRequest(const CredentialsOptions& options, absl::string_view secret);

struct TokenAnswer {
  std::string token;
  absl::Duration lifetime;
};
// The error names Entra's code and text; an answer that is not a bearer token is an error.
absl::StatusOr<TokenAnswer> ReadTokenAnswer(const HttpResponse& response);

// The ARM token of this process, shared by all lanes. One lane fetches at a time; the others go on
// with the old token while it is good, and wait when there is none. The secret's file is read for
// every fetch, so that a rotated secret needs no restart. Thread-safe.
class Credentials {
 public:
  // Sends a token request on the caller's own connection and accounts for it.
  using Send = std::function<HttpResult(const HttpRequest&)>;

  Credentials(CredentialsOptions options, Clock& clock)
      : options_(std::move(options)), clock_(clock) {}

  // A token that is good now. Fetches one when none is, or when the present one is due for
  // refreshing: 20 minutes or half its life before its end, whichever is later, so that at least 10
  // minutes are left at any moment (design.md §7.10). A failed refresh leaves the old token in
  // force while it is good, and is not repeated for 5 s.
  absl::StatusOr<std::string> Token(const Send& send, const std::stop_token& stop);
  // `token` was answered with 401: it is given to nobody any more.
  void Refused(absl::string_view token);

  absl::Time Expiry() const;    // wall clock; InfinitePast = none
  absl::Duration Left() const;  // zero when there is none

 private:
  absl::StatusOr<TokenAnswer> Fetch(const Send& send) const;
  bool IsGood(SteadyTime now) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return !token_.empty() && now < expires_;
  }

  const CredentialsOptions options_;
  Clock& clock_;
  mutable Mutex mutex_;
  std::condition_variable_any fetched_;
  std::string token_ ABSL_GUARDED_BY(mutex_);
  SteadyTime expires_ ABSL_GUARDED_BY(mutex_) = SteadyTime::InfinitePast();
  SteadyTime refresh_at_ ABSL_GUARDED_BY(mutex_) = SteadyTime::InfinitePast();
  absl::Time expires_wall_ ABSL_GUARDED_BY(mutex_) = absl::InfinitePast();
  bool fetching_ ABSL_GUARDED_BY(mutex_) = false;
  uint64_t fetches_ ABSL_GUARDED_BY(mutex_) = 0;  // ended ones
  absl::Status last_error_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace failover::azure

#endif  // CONTROLLER_AZURE_CREDENTIALS_H_
