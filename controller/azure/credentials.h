#ifndef CONTROLLER_AZURE_CREDENTIALS_H_
#define CONTROLLER_AZURE_CREDENTIALS_H_

#include <condition_variable>
#include <functional>
#include <stop_token>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "common/clock.h"
#include "common/http_client.h"
#include "common/mutex.h"
#include "controller/azure/token_sources.h"

namespace failover::azure {

// What a caller can wait for.
struct TokenWait {
  // Pauses between tries that end later are not begun; a request under way is waited for.
  SteadyTime until = SteadyTime::InfiniteFuture();
  bool refresh = true;  // false: a token that is good is given at once, even when it is due
};

// The ARM token of this process, shared by all lanes. One lane fetches at a time; the others go on
// with the old token while it is good, and wait when there is none. What is proved with (a secret,
// a pod's federated token) is read from its file for every fetch, so that a rotated one needs no
// restart. Thread-safe.
class Credentials {
 public:
  // Sends a token request on the caller's own connection and accounts for it.
  using Send = std::function<HttpResult(const HttpRequest&)>;

  Credentials(CredentialsOptions options, Clock& clock)
      : options_(std::move(options)), clock_(clock) {}

  // A token that is good now. Fetches one when none is, or when the present one is due for
  // refreshing: 20 minutes or half its life before its end, whichever is later, so that at least 10
  // minutes are left at any moment (design.md §7.10), or sooner where the source asks (refresh_in).
  // A failed refresh leaves the old token in force while it is good; it is one request, never a
  // wait, and not repeated for 5 s or the source's pause. Without a good token a failure that
  // passes (RepeatOf) is repeated, by whichever lane comes first, for as long as `wait` and the
  // source's patience allow: nobody holds a lock or a connection in the pauses. The error is that
  // of the last request.
  absl::StatusOr<std::string> Token(const Send& send, const std::stop_token& stop,
                                    const TokenWait& wait = {});
  // `token` was answered with 401: it is given to nobody any more.
  void Refused(absl::string_view token);

  absl::Time Expiry() const;    // wall clock; InfinitePast = none
  absl::Duration Left() const;  // zero when there is none

 private:
  absl::StatusOr<TokenAnswer> Fetch(const Send& send, Repeat& repeat) const;
  void Keep(TokenAnswer answer, const Now& begun) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void NoteFailure(const absl::Status& why, const Repeat& repeat)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
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
  // A run of failures that pass: none is requested before next_try_, and while repeating_ it is
  // worth waiting for.
  int failures_ ABSL_GUARDED_BY(mutex_) = 0;
  SteadyTime failing_since_ ABSL_GUARDED_BY(mutex_) = SteadyTime::InfinitePast();
  SteadyTime next_try_ ABSL_GUARDED_BY(mutex_) = SteadyTime::InfinitePast();
  bool repeating_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace failover::azure

#endif  // CONTROLLER_AZURE_CREDENTIALS_H_
