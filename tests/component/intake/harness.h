#ifndef TESTS_COMPONENT_INTAKE_HARNESS_H_
#define TESTS_COMPONENT_INTAKE_HARNESS_H_

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "apim_failover/v1/agent.grpc.pb.h"
#include "common/clock.h"
#include "common/mutex.h"
#include "controller/intake/intake.h"
#include "grpcpp/channel.h"
#include "grpcpp/client_context.h"
#include "grpcpp/create_channel.h"
#include "grpcpp/security/credentials.h"
#include "grpcpp/support/channel_arguments.h"
#include "gtest/gtest.h"
#include "tests/support/fake_clock.h"
#include "tests/support/wait_until.h"

namespace failover::intake {

inline constexpr uint64_t kDefinition = 42;

// Takes what the intake delivers. By default every hold is destroyed at once.
class Sink {
 public:
  struct Seen {
    std::string group;
    core::Event event;
  };

  bool Take(AgentInput input) {
    MutexLock lock(mutex_);
    ++calls_;
    if (full_) {
      ++turned_away_;
      return false;
    }
    for (auto& [group, event] : input.events) seen_.push_back({group, std::move(event)});
    if (keep_ && input.hold != nullptr) kept_.push_back(std::move(input.hold));
    return true;
  }
  void SetFull(bool full) {
    MutexLock lock(mutex_);
    full_ = full;
  }
  void KeepHolds(bool keep) {
    MutexLock lock(mutex_);
    keep_ = keep;
  }
  std::vector<std::shared_ptr<void>> TakeHolds() {
    MutexLock lock(mutex_);
    return std::exchange(kept_, {});
  }
  size_t held() const {
    MutexLock lock(mutex_);
    return kept_.size();
  }
  int calls() const {
    MutexLock lock(mutex_);
    return calls_;
  }
  int turned_away() const {
    MutexLock lock(mutex_);
    return turned_away_;
  }
  // "open"/"closed" events of a group, in their order.
  std::vector<std::string> Streams(const std::string& group) const {
    std::vector<std::string> texts;
    MutexLock lock(mutex_);
    for (const Seen& seen : seen_) {
      const auto* stream = std::get_if<core::AgentStream>(&seen.event);
      if (stream != nullptr && seen.group == group) {
        texts.push_back(absl::StrCat(stream->open ? "open " : "closed ", stream->agent.probe_region,
                                     "/", stream->agent.name));
      }
    }
    return texts;
  }
  std::vector<core::ProbeResults> Results(const std::string& group,
                                          const std::string& instance = "") const {
    std::vector<core::ProbeResults> results;
    MutexLock lock(mutex_);
    for (const Seen& seen : seen_) {
      const auto* batch = std::get_if<core::ProbeResults>(&seen.event);
      if (batch != nullptr && seen.group == group &&
          (instance.empty() || batch->agent.instance == instance)) {
        results.push_back(*batch);
      }
    }
    return results;
  }

 private:
  mutable Mutex mutex_;
  std::vector<Seen> seen_;
  std::vector<std::shared_ptr<void>> kept_;
  bool full_ = false, keep_ = false;
  int calls_ = 0, turned_away_ = 0;
};

// One agent's side of a stream.
class TestAgent {
 public:
  TestAgent(
      int port, std::string region, std::string instance,
      std::shared_ptr<grpc::ChannelCredentials> credentials = grpc::InsecureChannelCredentials()) {
    grpc::ChannelArguments arguments;
    arguments.SetInt("grpc.use_local_subchannel_pool", 1);  // a connection of its own
    arguments.SetInt("grpc.enable_retries", 0);
    stub_ = v1::AgentService::NewStub(
        grpc::CreateCustomChannel(absl::StrCat("127.0.0.1:", port), credentials, arguments));
    context_.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(60));
    stream_ = stub_->Connect(&context_);
    v1::AgentMessage message;
    hello_ = message.mutable_hello();
    hello_->set_probe_region(std::move(region));
    hello_->set_instance_id(std::move(instance));
    hello_->set_version("0.1.0");
    first_ = std::move(message);
    hello_ = first_.mutable_hello();
  }
  ~TestAgent() {
    context_.TryCancel();
    if (!finished_) Finish();
  }
  v1::Hello& hello() { return *hello_; }
  bool SayHello() { return stream_->Write(first_); }
  bool Send(const v1::AgentMessage& message) { return stream_->Write(message); }
  bool Send(const v1::ResultBatch& batch) {
    v1::AgentMessage message;
    *message.mutable_results() = batch;
    return stream_->Write(message);
  }
  bool Read(v1::ControllerMessage& message) { return stream_->Read(&message); }
  void Cancel() { context_.TryCancel(); }
  void WritesDone() { stream_->WritesDone(); }
  // Reads until the stream ends.
  grpc::Status Finish() {
    v1::ControllerMessage message;
    while (stream_->Read(&message)) {
    }
    finished_ = true;
    return stream_->Finish();
  }

 private:
  grpc::ClientContext context_;
  std::unique_ptr<v1::AgentService::Stub> stub_;
  std::unique_ptr<grpc::ClientReaderWriter<v1::AgentMessage, v1::ControllerMessage>> stream_;
  v1::AgentMessage first_;
  v1::Hello* hello_ = nullptr;
  bool finished_ = false;
};

inline v1::ProbeResult Result(const std::string& target, uint64_t sequence, bool success = true) {
  v1::ProbeResult result;
  result.set_target(target);
  result.set_sequence(sequence);
  result.set_success(success);
  if (!success) result.set_failed_stage(v1::PROBE_STAGE_CONNECT);
  result.set_definition(kDefinition);
  result.mutable_start_age()->set_seconds(2);
  result.mutable_complete_age()->set_seconds(1);
  return result;
}

inline v1::ResultBatch Batch(const std::string& target, uint64_t first_sequence, int n) {
  v1::ResultBatch batch;
  for (int i = 0; i < n; ++i) *batch.add_results() = Result(target, first_sequence + i);
  return batch;
}

// Groups a (weu, neu) and b (weu): targets a/s/p, b/s/p, a/@public and a shared control target.
inline Assignments TwoGroups(uint64_t generation = 1, bool leading = true) {
  Assignments assignments;
  assignments.term = 3;
  assignments.generation = generation;
  assignments.leading = leading;
  assignments.groups_of_region = {{"weu", {"a", "b"}}, {"neu", {"a"}}};
  for (const std::string region : {"weu", "neu"}) {
    v1::Assignment& assignment = assignments.by_probe_region[region];
    assignment.set_term(3);
    assignment.set_generation(generation);
    v1::Target* target = assignment.add_targets();
    target->set_id("a/s/p");
    target->mutable_interval()->set_seconds(1);
  }
  assignments.targets["a/s/p"] = {kDefinition, {{"a", {core::TargetKind::kService, 0, 0}}}};
  assignments.targets["b/s/p"] = {kDefinition, {{"b", {core::TargetKind::kService, 0, 0}}}};
  assignments.targets["a/@public"] = {kDefinition, {{"a", {core::TargetKind::kPublic, -1, -1}}}};
  assignments.targets["@control/x"] = {
      kDefinition,
      {{"a", {core::TargetKind::kControl, -1, 0}}, {"b", {core::TargetKind::kControl, -1, 1}}}};
  return assignments;
}

inline std::string InstanceId(int n) {
  return absl::StrCat(absl::Hex(0x1000000000000000ULL + n, absl::kZeroPad16));
}

class IntakeTest : public testing::Test {
 protected:
  void StartIntake(Clock& clock = RealClock(), TlsIdentity* tls = nullptr) {
    IntakeOptions options;
    options.address = "127.0.0.1:0";
    options.clock = &clock;
    options.tls = tls;
    options.sink = [this](AgentInput input) { return sink_.Take(std::move(input)); };
    absl::StatusOr<std::unique_ptr<Intake>> intake = Intake::Start(std::move(options));
    ASSERT_TRUE(intake.ok()) << intake.status();
    intake_ = *std::move(intake);
  }
  std::unique_ptr<TestAgent> Agent(const std::string& region, int instance) {
    return std::make_unique<TestAgent>(intake_->port(), region, InstanceId(instance));
  }
  // Connected, with its assignment read.
  std::unique_ptr<TestAgent> Connected(const std::string& region, int instance) {
    auto agent = Agent(region, instance);
    v1::ControllerMessage message;
    EXPECT_TRUE(agent->SayHello());
    EXPECT_TRUE(agent->Read(message));
    EXPECT_TRUE(message.has_assignment());
    return agent;
  }
  uint64_t Count(const std::string& kind) const {
    uint64_t count = 0;
    for (const AgentCounters& counter : intake_->Counters()) {
      if (counter.kind == kind) count += counter.count;
    }
    return count;
  }
  int ConnectedAgents() const {
    int count = 0;
    for (const v1::AgentInfo& info : intake_->Agents()) count += info.connected();
    return count;
  }

  FakeClock clock_{absl::Now()};  // for tests that start the intake with it
  Sink sink_;                     // both outlive the intake
  std::unique_ptr<Intake> intake_;
};

}  // namespace failover::intake

#endif  // TESTS_COMPONENT_INTAKE_HARNESS_H_
