#include "controller/intake/relay_client.h"

#include <algorithm>
#include <optional>
#include <random>
#include <utility>
#include <vector>

#include "apim_failover/v1/agent.grpc.pb.h"
#include "common/log.h"
#include "grpcpp/client_context.h"
#include "grpcpp/create_channel.h"
#include "grpcpp/support/channel_arguments.h"

namespace failover::intake {
namespace {

constexpr absl::Duration kStable = absl::Seconds(10);  // a relay of that age was a success
constexpr int kMostReplyBytes = 16 << 20;  // an assignment of 4096 targets, and far from endless

using RelayStream = grpc::ClientReaderWriter<v1::RelayMessage, v1::RelayReply>;

grpc::ChannelArguments ChannelOptions() {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, 10000);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 5000);
  arguments.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 5000);  // of one attempt to connect
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  // A connection and a back-off of our own for every attempt.
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  arguments.SetInt(GRPC_ARG_ENABLE_RETRIES, 0);
  arguments.SetMaxReceiveMessageSize(kMostReplyBytes);
  return arguments;
}

// Until the stream breaks or has to end.
void SendAll(RelayStream& stream, const RelayLog& log, Clock& clock,
             const std::function<bool()>& ended, const std::string& address) {
  RelayLog::Beginning beginning = log.Begin();
  uint64_t position = beginning.next;
  std::optional<std::vector<RelayItem>> items = std::move(beginning.items);
  do {
    for (const RelayItem& item : *items) {
      if (ended() || !stream.Write(ToMessage(item, clock.Steady()))) return;
    }
    if (!log.Wait(position, ended)) return;
    items = log.Read(position);
  } while (items.has_value());
  LogWarning("another replica reads too slowly; its relay begins anew", {{"replica", address}});
}

}  // namespace

RelayClient::RelayClient(Options options)
    : options_(std::move(options)), thread_([this](std::stop_token stop) { Run(stop); }) {}

void RelayClient::Run(std::stop_token stop) {
  std::mt19937 random{std::random_device{}()};
  std::uniform_real_distribution<double> spread(1, 1.5);
  double seconds = 0.5;
  while (!stop.stop_requested()) {
    const End end = RunStream(stop);
    if (end == End::kSelf) return;
    seconds = end == End::kStable ? 0.5 : std::min(3.5, seconds * 2);
    const absl::Duration delay = absl::Seconds(seconds * spread(random));
    options_.clock->SleepUntil(options_.clock->Steady() + delay, stop);
  }
}

RelayClient::End RelayClient::RunStream(std::stop_token stop) {
  const auto channel =
      grpc::CreateCustomChannel(options_.address, options_.credentials, ChannelOptions());
  const auto stub = v1::AgentService::NewStub(channel);
  grpc::ClientContext context;
  std::atomic<bool> broken = false;
  const std::stop_callback on_stop(stop, [this, &context] {
    context.TryCancel();
    options_.log->WakeAll();
  });
  const SteadyTime began = options_.clock->Steady();
  const std::unique_ptr<RelayStream> stream = stub->Relay(&context);
  v1::RelayMessage hello;
  hello.mutable_hello()->set_instance_id(options_.instance_id);
  hello.mutable_hello()->set_version(FAILOVER_VERSION);
  v1::RelayReply reply;
  const bool greeted = stream->Write(hello) && stream->Read(&reply) && reply.has_hello();
  const bool self = greeted && reply.hello().instance_id() == options_.instance_id;
  if (greeted && !self) {
    LogInfo("relay to another replica",
            {{"replica", options_.address}, {"instance", reply.hello().instance_id()}});
    std::jthread reader([this, &stream, &broken] {
      v1::RelayReply message;
      while (stream->Read(&message)) options_.on_reply(message);
      broken = true;
      options_.log->WakeAll();
    });
    SendAll(
        *stream, *options_.log, *options_.clock,
        [&stop, &broken] { return stop.stop_requested() || broken; }, options_.address);
    if (!broken) context.TryCancel();
  } else {
    context.TryCancel();
  }
  const grpc::Status status = stream->Finish();
  if (self) return End::kSelf;
  if (stop.stop_requested()) return End::kStable;
  LogWarning("relay to another replica ended", {{"replica", options_.address},
                                                {"begun", greeted},
                                                {"code", static_cast<int>(status.error_code())},
                                                {"error", Redacted(status.error_message())}});
  return greeted && options_.clock->Steady() - began >= kStable ? End::kStable : End::kFailed;
}

}  // namespace failover::intake
