#ifndef CONTROLLER_INTAKE_TOKEN_BUCKET_H_
#define CONTROLLER_INTAKE_TOKEN_BUCKET_H_

#include <algorithm>

#include "absl/time/time.h"
#include "common/steady_time.h"

namespace failover::intake {

// What one peer may use. It may run into debt by one message; `Wait` says how long until the debt
// is paid.
class TokenBucket {
 public:
  TokenBucket(double per_second, double burst, SteadyTime now)
      : per_second_(per_second), burst_(burst), tokens_(burst), at_(now) {}

  // New limits from now on; tokens above the new burst are forfeited.
  void SetLimits(double per_second, double burst, SteadyTime now) {
    Refill(now);
    per_second_ = per_second;
    burst_ = burst;
    tokens_ = std::min(tokens_, burst_);
  }
  void Charge(double tokens, SteadyTime now) {
    Refill(now);
    tokens_ -= tokens;
  }
  bool TryCharge(double tokens, SteadyTime now) {
    Refill(now);
    if (tokens_ < tokens) return false;
    tokens_ -= tokens;
    return true;
  }
  absl::Duration Wait(SteadyTime now) {
    Refill(now);
    return tokens_ >= 0 ? absl::ZeroDuration() : absl::Seconds(-tokens_ / per_second_);
  }

 private:
  void Refill(SteadyTime now) {
    if (now <= at_) return;
    tokens_ = std::min(burst_, tokens_ + absl::ToDoubleSeconds(now - at_) * per_second_);
    at_ = now;
  }

  double per_second_, burst_, tokens_;
  SteadyTime at_;
};

}  // namespace failover::intake

#endif  // CONTROLLER_INTAKE_TOKEN_BUCKET_H_
