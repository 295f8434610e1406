#ifndef CONTROLLER_INTAKE_RELAY_CLIENT_H_
#define CONTROLLER_INTAKE_RELAY_CLIENT_H_

#include <atomic>
#include <functional>
#include <memory>
#include <stop_token>
#include <string>
#include <thread>

#include "apim_failover/v1/agent.pb.h"
#include "common/clock.h"
#include "common/proto.h"
#include "controller/intake/relay_log.h"

namespace grpc {
class ChannelCredentials;
}

namespace failover::intake {

// The sending end of a relay: tells one other replica what our agents say, on threads of its own,
// and hands on what comes back. It begins again 0.5 s to 5 s after an end, with everything that the
// log keeps. A replica that turns out to be ourselves is left alone for good.
class RelayClient {
 public:
  struct Options {
    std::string address;  // "ip:port"
    std::shared_ptr<grpc::ChannelCredentials> credentials;
    std::string instance_id;  // ours
    Clock* clock = nullptr;
    RelayLog* log = nullptr;
    std::function<void(const v1::RelayReply&)> on_reply;  // must not block
  };
  explicit RelayClient(Options options);
  ~RelayClient() = default;  // ends the stream

 private:
  enum class End { kFailed, kStable, kSelf };

  void Run(std::stop_token stop);
  End RunStream(std::stop_token stop);

  const Options options_;
  std::jthread thread_;
};

}  // namespace failover::intake

#endif  // CONTROLLER_INTAKE_RELAY_CLIENT_H_
