#include "agent/reporter.h"

#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <random>
#include <stop_token>
#include <thread>
#include <utility>

#include "apim_failover/v1/agent.grpc.pb.h"
#include "common/log.h"

namespace failover::agent {
namespace {

constexpr absl::Duration kGather = absl::Milliseconds(150);  // results reach the wire within 200 ms
constexpr absl::Duration kStable = absl::Seconds(10);        // a stream of that age was a success
constexpr double kMessagesASecond = 15;                      // reliability.md R7 allows 20
constexpr double kMessagesAtOnce = 10;
constexpr int kMaxBurstTargets = kMaxTargets;

grpc::ChannelArguments ChannelOptions() {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, 10000);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 5000);
  arguments.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 5000);  // of one attempt to connect
  arguments.SetInt(GRPC_ARG_DNS_ARES_QUERY_TIMEOUT_MS, 5000);
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  // A connection and a back-off of our own for every attempt.
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  arguments.SetInt(GRPC_ARG_ENABLE_RETRIES, 0);
  return arguments;
}

class StreamReporter : public Reporter {
 public:
  explicit StreamReporter(Options options)
      : options_(std::move(options)),
        random_(std::random_device{}()),
        thread_([this](std::stop_token stop) { Run(stop); }) {}

 private:
  using Stream = grpc::ClientReaderWriter<v1::AgentMessage, v1::ControllerMessage>;

  void Run(std::stop_token stop);
  // True when the stream was a success as far as the back-off is concerned.
  bool RunStream(std::stop_token stop);
  void SendAll(Stream& stream, std::stop_token stop, const std::atomic<bool>& broken);
  bool SendBatch(Stream& stream, std::stop_token stop, const ResultBuffer::Batch& batch,
                 bool replay, bool replay_end);
  void Pace(std::stop_token stop);
  void Handle(const v1::ControllerMessage& message);

  const Options options_;
  std::mt19937 random_;
  double tokens_ = kMessagesAtOnce;
  SteadyTime paced_ = SteadyTime::InfinitePast();
  std::jthread thread_;
};

void StreamReporter::Run(std::stop_token stop) {
  std::uniform_real_distribution<double> uniform(0, 1);
  int failures = 0;
  while (!stop.stop_requested()) {
    failures = RunStream(stop) ? 0 : failures + 1;
    options_.metrics->StreamConnected(options_.controller, false);
    if (options_.ended && !stop.stop_requested()) options_.ended();
    const absl::Duration delay = ReconnectDelay(failures, uniform(random_));
    options_.clock->SleepUntil(options_.clock->Steady() + delay, stop);
  }
}

bool StreamReporter::RunStream(std::stop_token stop) {
  const auto channel = grpc::CreateCustomChannel("dns:///" + options_.controller,
                                                 options_.credentials, ChannelOptions());
  const auto stub = v1::AgentService::NewStub(channel);
  grpc::ClientContext context;
  std::atomic<bool> broken = false;
  const std::stop_callback on_stop(stop, [this, &context] {
    context.TryCancel();
    options_.results->WakeAll();
  });
  const std::unique_ptr<Stream> stream = stub->Connect(&context);
  v1::AgentMessage hello;
  *hello.mutable_hello() = options_.hello;
  const AssignmentKeeper::Version version = options_.assignments->version();
  hello.mutable_hello()->set_term(version.term);
  hello.mutable_hello()->set_generation(version.generation);
  const SteadyTime began = options_.clock->Steady();
  const bool connected = stream->Write(hello);
  if (connected) {
    options_.metrics->StreamConnected(options_.controller, true);
    LogInfo("connected to controller", {{"controller", options_.controller}});
  }
  std::jthread reader([this, &stream, &broken] {
    v1::ControllerMessage message;
    while (stream->Read(&message)) Handle(message);
    broken = true;
    options_.results->WakeAll();
  });
  if (connected) SendAll(*stream, stop, broken);
  reader.join();
  const grpc::Status status = stream->Finish();
  if (stop.stop_requested()) return true;
  LogWarning("stream to controller ended", {{"controller", options_.controller},
                                            {"connected", connected},
                                            {"code", static_cast<int>(status.error_code())},
                                            {"error", Redacted(status.error_message())}});
  return connected && options_.clock->Steady() - began >= kStable;
}

void StreamReporter::SendAll(Stream& stream, std::stop_token stop,
                             const std::atomic<bool>& broken) {
  ResultBuffer& results = *options_.results;
  const auto cancelled = [&stop, &broken] { return stop.stop_requested() || broken; };
  const uint64_t replay_until = results.end();
  uint64_t position = 0;
  bool replay_end = false;
  while (!replay_end) {
    const ResultBuffer::Batch batch = results.Read(position, replay_until);
    replay_end = batch.next >= replay_until;
    if (cancelled() || !SendBatch(stream, stop, batch, true, replay_end)) return;
    position = batch.next;
  }
  while (results.WaitForBatch(position, kGather, cancelled)) {
    const ResultBuffer::Batch batch = results.Read(position, results.end());
    if (!batch.results.empty() && !SendBatch(stream, stop, batch, false, false)) return;
    position = batch.next;
  }
}

bool StreamReporter::SendBatch(Stream& stream, std::stop_token stop,
                               const ResultBuffer::Batch& batch, bool replay, bool replay_end) {
  Pace(stop);
  v1::AgentMessage message;
  v1::ResultBatch& results = *message.mutable_results();
  results.mutable_results()->Add(batch.results.begin(), batch.results.end());
  results.set_replay(replay);
  results.set_replay_end(replay_end);
  results.set_wall_unix_ms(absl::ToUnixMillis(options_.clock->Wall()));
  if (!stream.Write(message)) return false;
  options_.results->Delivered(batch.next);
  return true;
}

void StreamReporter::Pace(std::stop_token stop) {
  const auto refill = [this] {
    const SteadyTime now = options_.clock->Steady();
    tokens_ =
        std::min(kMessagesAtOnce, tokens_ + absl::ToDoubleSeconds(now - paced_) * kMessagesASecond);
    paced_ = now;
  };
  refill();
  if (tokens_ < 1) {
    options_.clock->SleepUntil(paced_ + absl::Seconds((1 - tokens_) / kMessagesASecond), stop);
    refill();
  }
  tokens_ -= 1;
}

void StreamReporter::Handle(const v1::ControllerMessage& message) {
  if (message.has_assignment()) {
    const v1::Assignment& assignment = message.assignment();
    const absl::Status taken = options_.assignments->Offer(assignment);
    const bool known = absl::IsAlreadyExists(taken);
    Log(taken.ok() || known ? LogLevel::kInfo : LogLevel::kWarning,
        taken.ok() ? "assignment taken"
        : known    ? "assignment in force confirmed"
                   : "assignment ignored",
        {{"controller", options_.controller},
         {"term", assignment.term()},
         {"generation", assignment.generation()},
         {"targets", assignment.targets_size()},
         {"reason", std::string(taken.message())}});
  } else if (message.has_burst()) {
    const auto& targets = message.burst().targets();
    const auto count = std::min(targets.size(), kMaxBurstTargets);
    options_.burst({targets.begin(), targets.begin() + count});
  }
}

}  // namespace

std::unique_ptr<Reporter> Reporter::Start(Options options) {
  return std::make_unique<StreamReporter>(std::move(options));
}

absl::Duration ReconnectDelay(int failures, double random) {
  const double base = std::min(10.0, 0.5 * std::pow(2.0, std::clamp(failures, 0, 10)));
  return absl::Seconds(base * (1 + random / 2));
}

}  // namespace failover::agent
