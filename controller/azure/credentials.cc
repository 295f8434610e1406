#include "controller/azure/credentials.h"

#include <algorithm>
#include <mutex>

#include "common/config_file.h"
#include "common/log.h"
#include "controller/azure/arm.h"

namespace failover::azure {
namespace {

constexpr absl::Duration kRefreshBefore = absl::Minutes(20);
constexpr absl::Duration kAfterFailure = absl::Seconds(5);
constexpr absl::Duration kLongestPause = absl::Seconds(16);
constexpr absl::Duration kLongestAsked = absl::Minutes(5);

}  // namespace

absl::StatusOr<TokenAnswer> Credentials::Fetch(const Send& send, Repeat& repeat) const {
  std::string proof;
  if (const std::string& file = ProofFile(options_); options_.auth != Auth::kManagedIdentity) {
    absl::StatusOr<std::string> read = ReadSecretFile(file);
    if (!read.ok()) return NoProof(options_, read.status());
    proof = *std::move(read);
  }
  const HttpResult result = send(TokenRequest(options_, proof));
  repeat = RepeatOf(options_.auth, result);
  if (!result.response.has_value()) return NoTokenAnswer(options_, result);
  return ReadTokenAnswer(options_, proof, *result.response);
}

void Credentials::Keep(TokenAnswer answer, const Now& begun) {
  token_ = std::move(answer.token);
  expires_ = begun.steady + answer.lifetime;
  refresh_at_ = std::min(begun.steady + answer.refresh_in,
                         expires_ - std::min(kRefreshBefore, answer.lifetime / 2));
  expires_wall_ = begun.wall + answer.lifetime;
  last_error_ = absl::OkStatus();
  failures_ = 0;
  next_try_ = SteadyTime::InfinitePast();
  repeating_ = false;
}

void Credentials::NoteFailure(const absl::Status& why, const Repeat& repeat) {
  const SteadyTime now = clock_.Steady();
  last_error_ = absl::Status(why.code(), CleanText(why.message(), 1024));
  if (repeat.patience > absl::ZeroDuration()) {
    if (failures_ == 0) failing_since_ = now;
    absl::Duration pause = repeat.first;
    for (int i = 0; i < failures_ && pause < kLongestPause; ++i) pause *= 2;
    pause = std::max(std::min(pause, kLongestPause), std::min(repeat.asked, kLongestAsked));
    ++failures_;
    next_try_ = now + pause;
    repeating_ = next_try_ - failing_since_ <= repeat.patience;
  } else {
    failures_ = 0;
    next_try_ = SteadyTime::InfinitePast();
    repeating_ = false;
  }
  if (IsGood(now)) refresh_at_ = std::max(now + kAfterFailure, next_try_);
  LogWarning("no new Azure token", {{"auth", AuthName(options_.auth)},
                                    {"error", last_error_.message()},
                                    {"old_token_good", IsGood(now)}});
}

absl::StatusOr<std::string> Credentials::Token(const Send& send, const std::stop_token& stop,
                                               const TokenWait& wait)
    ABSL_NO_THREAD_SAFETY_ANALYSIS {  // a unique_lock, since it waits
  std::unique_lock<Mutex> lock(mutex_);
  while (true) {
    const Now now = clock_.Read();
    const bool good = IsGood(now.steady);
    if (good && (fetching_ || now.steady < refresh_at_ || !wait.refresh)) return token_;
    if (fetching_) {
      const uint64_t seen = fetches_;
      if (!fetched_.wait(lock, stop,
                         [this]() ABSL_NO_THREAD_SAFETY_ANALYSIS { return !fetching_; })) {
        return absl::CancelledError("stopped");
      }
      // That fetch was ours as well.
      if (fetches_ != seen && !IsGood(clock_.Steady()) && !repeating_ && !last_error_.ok()) {
        return last_error_;
      }
      continue;
    }
    if (!good && now.steady < next_try_) {
      const SteadyTime next = next_try_;
      if (!repeating_ || next > wait.until) return last_error_;
      lock.unlock();
      if (!clock_.SleepUntil(next, stop)) return absl::CancelledError("stopped");
      lock.lock();
      continue;
    }
    fetching_ = true;
    lock.unlock();
    Repeat repeat;
    absl::StatusOr<TokenAnswer> answer = Fetch(send, repeat);
    lock.lock();
    fetching_ = false;
    ++fetches_;
    fetched_.notify_all();
    if (answer.ok()) {
      Keep(*std::move(answer), now);
      return token_;
    }
    NoteFailure(answer.status(), repeat);
    if (IsGood(clock_.Steady())) return token_;
    if (!repeating_) return last_error_;
  }
}

void Credentials::Refused(absl::string_view token) {
  MutexLock lock(mutex_);
  if (token_ != token) return;
  token_.clear();
  expires_ = SteadyTime::InfinitePast();
  expires_wall_ = absl::InfinitePast();
}

absl::Time Credentials::Expiry() const {
  MutexLock lock(mutex_);
  return expires_wall_;
}

absl::Duration Credentials::Left() const {
  MutexLock lock(mutex_);
  const SteadyTime now = clock_.Steady();
  return IsGood(now) ? expires_ - now : absl::ZeroDuration();
}

}  // namespace failover::azure
