#ifndef TESTS_COMPONENT_AGENT_FAKE_CONTROLLER_H_
#define TESTS_COMPONENT_AGENT_FAKE_CONTROLLER_H_

#include <grpcpp/grpcpp.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "apim_failover/v1/agent.grpc.pb.h"
#include "common/mutex.h"
#include "common/proto.h"

namespace failover::agent {

// A controller as agents see it: keeps what it was sent, sends what a test says.
class FakeController final : public v1::AgentService::Service {
 public:
  struct Received {
    v1::AgentMessage message;
    int stream = 0;  // counted from 0
    absl::Time at;
  };

  // Port 0 picks a free one.
  explicit FakeController(
      int port = 0,
      std::shared_ptr<grpc::ServerCredentials> credentials = grpc::InsecureServerCredentials(),
      const std::string& host = "127.0.0.1") {
    grpc::ServerBuilder builder;
    builder.AddListeningPort(absl::StrCat(host, ":", port), credentials, &port_);
    builder.RegisterService(this);
    server_ = builder.BuildAndStart();
  }
  ~FakeController() override { Stop(); }

  void Stop() {
    if (server_ != nullptr) server_->Shutdown(absl::ToChronoTime(absl::Now()));
    server_.reset();
  }

  int port() const { return port_; }
  std::string address() const { return absl::StrCat("127.0.0.1:", port_); }

  // Sent on every new stream after its hello.
  void Greet(const v1::ControllerMessage& message) {
    MutexLock lock(mutex_);
    greeting_ = message;
  }
  // Sent on the newest stream now.
  void Send(const v1::ControllerMessage& message) {
    MutexLock lock(mutex_);
    if (stream_ != nullptr) stream_->Write(message);
  }
  // Ends streams after the hello from now on, as with an agent of the wrong region.
  void Refuse(bool refuse) {
    MutexLock lock(mutex_);
    refuse_ = refuse;
  }
  std::vector<Received> received() const {
    MutexLock lock(mutex_);
    return received_;
  }
  // Result batches of one stream.
  std::vector<v1::ResultBatch> BatchesOf(int stream) const {
    std::vector<v1::ResultBatch> batches;
    for (const Received& one : received()) {
      if (one.stream == stream && one.message.has_results())
        batches.push_back(one.message.results());
    }
    return batches;
  }
  // Sequence numbers of one stream, replayed or not.
  std::vector<uint64_t> SequencesOf(int stream) const {
    std::vector<uint64_t> sequences;
    for (const v1::ResultBatch& batch : BatchesOf(stream)) {
      for (const v1::ProbeResult& result : batch.results()) sequences.push_back(result.sequence());
    }
    return sequences;
  }
  int streams() const {
    MutexLock lock(mutex_);
    return streams_;
  }

 private:
  using Stream = grpc::ServerReaderWriter<v1::ControllerMessage, v1::AgentMessage>;

  grpc::Status Connect(grpc::ServerContext* /*context*/, Stream* stream) override {
    int number;
    {
      MutexLock lock(mutex_);
      number = streams_++;
      stream_ = stream;
    }
    v1::AgentMessage message;
    while (stream->Read(&message)) {
      MutexLock lock(mutex_);
      received_.push_back({message, number, absl::Now()});
      if (!message.has_hello()) continue;
      if (refuse_) {
        stream_ = nullptr;
        return {grpc::StatusCode::PERMISSION_DENIED, "probe region differs from the certificate"};
      }
      if (greeting_) stream->Write(*greeting_);
    }
    MutexLock lock(mutex_);
    if (stream_ == stream) stream_ = nullptr;
    return grpc::Status::OK;
  }

  mutable Mutex mutex_;
  std::vector<Received> received_ ABSL_GUARDED_BY(mutex_);
  std::optional<v1::ControllerMessage> greeting_ ABSL_GUARDED_BY(mutex_);
  Stream* stream_ ABSL_GUARDED_BY(mutex_) = nullptr;
  bool refuse_ ABSL_GUARDED_BY(mutex_) = false;
  int streams_ ABSL_GUARDED_BY(mutex_) = 0;
  int port_ = 0;
  std::unique_ptr<grpc::Server> server_;
};

// An assignment of one target that is never due.
inline v1::ControllerMessage AssignmentOf(uint64_t term, uint64_t generation,
                                          const std::string& id = "o/w/p") {
  v1::ControllerMessage message;
  v1::Assignment& assignment = *message.mutable_assignment();
  assignment.set_term(term);
  assignment.set_generation(generation);
  v1::Target& target = *assignment.add_targets();
  target.set_id(id);
  target.set_url("http://127.0.0.1:1/");
  target.mutable_interval()->set_seconds(3600);
  target.mutable_timeout()->set_seconds(1);
  return message;
}

}  // namespace failover::agent

#endif  // TESTS_COMPONENT_AGENT_FAKE_CONTROLLER_H_
