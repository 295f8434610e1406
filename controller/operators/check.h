#ifndef CONTROLLER_OPERATORS_CHECK_H_
#define CONTROLLER_OPERATORS_CHECK_H_

#include <deque>
#include <map>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "apim_failover/v1/operator.pb.h"
#include "common/mutex.h"
#include "common/proto.h"
#include "common/steady_time.h"
#include "google/protobuf/message.h"

namespace failover::operators {

// Every string at most 1 KiB and without control characters, every list at most 64 long
// (reliability.md R8). Errors name the field.
absl::Status CheckBounds(const google::protobuf::Message& message);

// Exactly one order in it, for a named group.
absl::Status CheckOrder(const v1::OrderRequest& order);

// Whether the order can move traffic, replace a service's content, or end the watch over an
// operation.
bool IsDangerous(const v1::OrderRequest& order);

// At most `limit` dangerous orders a minute and operator. Thread-safe.
class OrderRate {
 public:
  explicit OrderRate(int limit) : limit_(limit) {}
  absl::Status Take(const std::string& who, SteadyTime now);

 private:
  const int limit_;
  Mutex mutex_;
  std::map<std::string, std::deque<SteadyTime>> taken_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace failover::operators

#endif  // CONTROLLER_OPERATORS_CHECK_H_
