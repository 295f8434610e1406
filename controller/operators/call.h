#ifndef CONTROLLER_OPERATORS_CALL_H_
#define CONTROLLER_OPERATORS_CALL_H_

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "common/mutex.h"
#include "grpcpp/alarm.h"
#include "grpcpp/support/server_callback.h"
#include "grpcpp/support/status.h"

namespace failover::operators {

// For the wire: the same code, the message redacted and cut at 2 KiB (a trailer must fit into 8
// KiB).
grpc::Status ToGrpcStatus(const absl::Status& status);

// One unary call. Whoever comes first ends it: the handler's answer, the limit, or the client's
// cancelling; the others find it ended and do nothing. The part that outlives gRPC's objects is
// shared with the answer's callback, so that an answer after the end touches nothing of gRPC's.
template <typename Response>
class Call final : public grpc::ServerUnaryReactor {
 public:
  // `open` counts the calls of the server until gRPC has let go of them.
  Call(Response* response, std::shared_ptr<std::atomic<int>> open, std::string method)
      : open_(std::move(open)), shared_(std::make_shared<Shared>()) {
    shared_->reactor = this;
    shared_->response = response;
    shared_->method = std::move(method);
  }

  // Ends the call DEADLINE_EXCEEDED after `limit`.
  void Limit(absl::Duration limit) {
    std::weak_ptr<Shared> weak = shared_;
    shared_->alarm.Set(absl::ToChronoTime(absl::Now() + limit), [weak, limit](bool expired) {
      const std::shared_ptr<Shared> shared = weak.lock();
      if (!expired || shared == nullptr) return;
      shared->End(absl::DeadlineExceededError(absl::StrCat("the controller has not answered ",
                                                           shared->method, " within ",
                                                           absl::FormatDuration(limit))));
    });
  }

  // The callback for the handler; safe to call on any thread, at any time, any number of times.
  std::function<void(absl::StatusOr<Response>)> Done() {
    return [shared = shared_](absl::StatusOr<Response> answer) { shared->End(std::move(answer)); };
  }

  void End(absl::StatusOr<Response> answer) { shared_->End(std::move(answer)); }

  void OnCancel() override { shared_->End(absl::CancelledError("the caller has gone")); }

  void OnDone() override {
    shared_->alarm.Cancel();
    open_->fetch_sub(1);
    delete this;
  }

 private:
  struct Shared {
    Mutex mutex;
    grpc::ServerUnaryReactor* reactor ABSL_GUARDED_BY(mutex) = nullptr;  // null: ended
    Response* response ABSL_GUARDED_BY(mutex) = nullptr;                 // gRPC's, until the end
    grpc::Alarm alarm;
    std::string method;

    void End(absl::StatusOr<Response> answer) {
      grpc::ServerUnaryReactor* ending = nullptr;
      {
        MutexLock lock(mutex);
        ending = std::exchange(reactor, nullptr);
        if (ending == nullptr) return;
        if (answer.ok()) *response = *std::move(answer);
      }
      // gRPC frees reactor and response only after this.
      ending->Finish(answer.ok() ? grpc::Status::OK : ToGrpcStatus(answer.status()));
    }
  };

  std::shared_ptr<std::atomic<int>> open_;
  std::shared_ptr<Shared> shared_;
};

}  // namespace failover::operators

#endif  // CONTROLLER_OPERATORS_CALL_H_
