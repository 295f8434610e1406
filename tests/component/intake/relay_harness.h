#ifndef TESTS_COMPONENT_INTAKE_RELAY_HARNESS_H_
#define TESTS_COMPONENT_INTAKE_RELAY_HARNESS_H_

#include <memory>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "grpcpp/security/server_credentials.h"
#include "grpcpp/server.h"
#include "grpcpp/server_builder.h"
#include "tests/component/intake/harness.h"

namespace failover::intake {

// What a name resolves to; changed by tests, read by the replicas.
class Addresses {
 public:
  void Set(std::set<std::string> addresses) {
    MutexLock lock(mutex_);
    addresses_ = std::move(addresses);
    failing_ = false;
  }
  void Add(const std::string& address) {
    MutexLock lock(mutex_);
    addresses_.insert(address);
  }
  void Remove(const std::string& address) {
    MutexLock lock(mutex_);
    addresses_.erase(address);
  }
  void Fail() {
    MutexLock lock(mutex_);
    failing_ = true;
  }
  absl::StatusOr<std::vector<std::string>> Resolve() {
    MutexLock lock(mutex_);
    ++asked_;
    if (failing_) return absl::UnavailableError("no answer from a name server");
    return std::vector<std::string>(addresses_.begin(), addresses_.end());
  }
  int asked() const {
    MutexLock lock(mutex_);
    return asked_;
  }

 private:
  mutable Mutex mutex_;
  std::set<std::string> addresses_ ABSL_GUARDED_BY(mutex_);
  bool failing_ ABSL_GUARDED_BY(mutex_) = false;
  int asked_ ABSL_GUARDED_BY(mutex_) = 0;
};

// One replica of a controller: an intake and what it delivers.
class Replica {
 public:
  explicit Replica(Addresses& addresses, TlsIdentity* tls = nullptr, Clock& clock = RealClock()) {
    IntakeOptions options;
    options.address = "127.0.0.1:0";
    options.clock = &clock;
    options.tls = tls;
    options.sink = [this](AgentInput input) { return sink.Take(std::move(input)); };
    options.replicas_address = "localhost:7443";
    options.resolve_replicas = [&addresses] { return addresses.Resolve(); };
    options.resolve_interval = absl::Milliseconds(20);
    absl::StatusOr<std::unique_ptr<Intake>> started = Intake::Start(std::move(options));
    if (!started.ok()) {
      ADD_FAILURE() << started.status();
      return;
    }
    intake = *std::move(started);
    address = absl::StrCat("127.0.0.1:", intake->port());
  }
  bool IsConnected(int instance) const {
    for (const v1::AgentInfo& info : intake->Agents()) {
      if (info.instance() == InstanceId(instance)) return info.connected();
    }
    return false;
  }
  uint64_t Count(const std::string& kind) const {
    uint64_t count = 0;
    for (const AgentCounters& counter : intake->Counters())
      count += counter.kind == kind ? counter.count : 0;
    return count;
  }
  // Sequence numbers of all that was delivered for group a, of one agent.
  std::vector<uint64_t> Sequences(int instance) const {
    std::vector<uint64_t> sequences;
    for (const core::ProbeResults& results : sink.Results("a", InstanceId(instance))) {
      for (const core::ProbeSample& sample : results.samples) sequences.push_back(sample.sequence);
    }
    return sequences;
  }

  Sink sink;  // outlives the intake
  std::string address;
  std::unique_ptr<Intake> intake;
};

// The sending end of a relay, as another replica has it.
class TestRelay {
 public:
  TestRelay(
      int port, int process,
      std::shared_ptr<grpc::ChannelCredentials> credentials = grpc::InsecureChannelCredentials()) {
    grpc::ChannelArguments arguments;
    arguments.SetInt("grpc.use_local_subchannel_pool", 1);
    arguments.SetInt("grpc.enable_retries", 0);
    stub_ = v1::AgentService::NewStub(
        grpc::CreateCustomChannel(absl::StrCat("127.0.0.1:", port), credentials, arguments));
    context_.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(60));
    stream_ = stub_->Relay(&context_);
    hello_.mutable_hello()->set_instance_id(InstanceId(process));
  }
  ~TestRelay() {
    context_.TryCancel();
    if (!finished_) Finish();
  }
  // Says hello and reads the answer.
  bool Begin() {
    v1::RelayReply reply;
    return stream_->Write(hello_) && stream_->Read(&reply) && reply.has_hello();
  }
  bool Send(const v1::RelayMessage& message) { return stream_->Write(message); }
  bool Hello(const std::string& region, int instance) {
    v1::RelayMessage message = Of(region, instance);
    v1::Hello& hello = *message.mutable_agent()->mutable_hello();
    hello.set_probe_region(region);
    hello.set_instance_id(InstanceId(instance));
    return Send(message);
  }
  bool Results(const std::string& region, int instance, const v1::ResultBatch& batch,
               int held_seconds = 0) {
    v1::RelayMessage message = Of(region, instance);
    *message.mutable_agent()->mutable_results() = batch;
    message.mutable_agent()->mutable_held()->set_seconds(held_seconds);
    return Send(message);
  }
  bool Gone(const std::string& region, int instance) {
    v1::RelayMessage message = Of(region, instance);
    message.mutable_agent()->set_gone(true);
    return Send(message);
  }
  bool Read(v1::RelayReply& reply) { return stream_->Read(&reply); }
  void Cancel() { context_.TryCancel(); }
  grpc::Status Finish() {
    v1::RelayReply reply;
    while (stream_->Read(&reply)) {
    }
    finished_ = true;
    return stream_->Finish();
  }
  // A message of an agent that is called like its instance, without content.
  static v1::RelayMessage Of(const std::string& region, int instance) {
    v1::RelayMessage message;
    message.mutable_agent()->set_probe_region(region);
    message.mutable_agent()->set_name(InstanceId(instance));
    message.mutable_agent()->set_instance_id(InstanceId(instance));
    return message;
  }

 private:
  grpc::ClientContext context_;
  std::unique_ptr<v1::AgentService::Stub> stub_;
  std::unique_ptr<grpc::ClientReaderWriter<v1::RelayMessage, v1::RelayReply>> stream_;
  v1::RelayMessage hello_;
  bool finished_ = false;
};

// The receiving end of relays, as another replica has it: keeps what it is sent, or does not read.
class TestReceiver final : public v1::AgentService::Service {
 public:
  explicit TestReceiver(bool reads = true) : reads_(reads) {
    grpc::ServerBuilder builder;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port_);
    builder.RegisterService(this);
    server_ = builder.BuildAndStart();
  }
  ~TestReceiver() override { server_->Shutdown(std::chrono::system_clock::now()); }

  std::string address() const { return absl::StrCat("127.0.0.1:", port_); }
  int relays() const {
    MutexLock lock(mutex_);
    return relays_;
  }
  // What agents said on the relay of that number, counted from 0.
  std::vector<v1::RelayedAgent> Of(int relay) const {
    std::vector<v1::RelayedAgent> messages;
    MutexLock lock(mutex_);
    for (const auto& [number, message] : received_) {
      if (number == relay) messages.push_back(message);
    }
    return messages;
  }
  // Ends the relay that is open.
  void End() {
    MutexLock lock(mutex_);
    if (context_ != nullptr) context_->TryCancel();
  }

 private:
  grpc::Status Relay(grpc::ServerContext* context,
                     grpc::ServerReaderWriter<v1::RelayReply, v1::RelayMessage>* stream) override {
    v1::RelayMessage message;
    if (!stream->Read(&message)) return grpc::Status::OK;
    v1::RelayReply reply;
    reply.mutable_hello()->set_instance_id(InstanceId(0xbeef));
    int number;
    {
      MutexLock lock(mutex_);
      number = relays_++;
      context_ = context;
    }
    stream->Write(reply);
    while (!reads_ && !context->IsCancelled())
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    while (stream->Read(&message)) {
      MutexLock lock(mutex_);
      received_.emplace_back(number, message.agent());
    }
    MutexLock lock(mutex_);
    context_ = nullptr;
    return grpc::Status::OK;
  }

  const bool reads_;
  mutable Mutex mutex_;
  std::vector<std::pair<int, v1::RelayedAgent>> received_ ABSL_GUARDED_BY(mutex_);
  grpc::ServerContext* context_ ABSL_GUARDED_BY(mutex_) = nullptr;
  int relays_ ABSL_GUARDED_BY(mutex_) = 0;
  int port_ = 0;
  std::unique_ptr<grpc::Server> server_;
};

}  // namespace failover::intake

#endif  // TESTS_COMPONENT_INTAKE_RELAY_HARNESS_H_
