#ifndef TESTS_COMPONENT_CONTROLLER_HARNESS_H_
#define TESTS_COMPONENT_CONTROLLER_HARNESS_H_

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "apim_failover/v1/agent.grpc.pb.h"
#include "common/mutex.h"
#include "controller/store/file_store.h"
#include "grpcpp/client_context.h"
#include "grpcpp/create_channel.h"
#include "grpcpp/security/credentials.h"
#include "grpcpp/support/channel_arguments.h"

namespace failover::runtime {

// The file store behind a gate: a group's writes can be held up, made to fail, or told that another
// wrote.
class GatedStore final : public store::Store {
 public:
  explicit GatedStore(std::unique_ptr<store::Store> inner) : inner_(std::move(inner)) {}

  absl::StatusOr<store::Versioned> Load(const std::string& group) override {
    return inner_->Load(group);
  }
  absl::StatusOr<std::map<std::string, std::string>> List() override { return inner_->List(); }
  absl::Status Healthy() override { return inner_->Healthy(); }

  absl::StatusOr<std::string> Save(v1::GroupRecord& record, const std::string& expected)
      ABSL_NO_THREAD_SAFETY_ANALYSIS override {
    {
      std::unique_lock<Mutex> lock(mutex_);
      ++attempts_[record.name()];
      changed_.wait(lock, [&] {
        return !held_.contains(record.name()) && !(hold_when_ && hold_when_(record));
      });
      if (failing_.contains(record.name()))
        return absl::UnavailableError("no space left on the test's device");
      if (overtaken_.erase(record.name()) > 0)
        return absl::AbortedError("another controller wrote it");
    }
    absl::StatusOr<std::string> version = inner_->Save(record, expected);
    MutexLock lock(mutex_);
    if (version.ok()) durable_[record.name()] = record;
    return version;
  }

  void Hold(const std::string& group) { Put(held_, group); }
  void HoldWhen(std::function<bool(const v1::GroupRecord&)> when) {
    MutexLock lock(mutex_);
    hold_when_ = std::move(when);
  }
  void Fail(const std::string& group) { Put(failing_, group); }
  void Overtake(const std::string& group) { Put(overtaken_, group); }
  void Open() {
    MutexLock lock(mutex_);
    held_.clear();
    hold_when_ = nullptr;
    failing_.clear();
    changed_.notify_all();
  }
  int attempts(const std::string& group) const {
    MutexLock lock(mutex_);
    const auto found = attempts_.find(group);
    return found == attempts_.end() ? 0 : found->second;
  }
  v1::GroupRecord durable(const std::string& group) const {
    MutexLock lock(mutex_);
    const auto found = durable_.find(group);
    return found == durable_.end() ? v1::GroupRecord() : found->second;
  }

 private:
  void Put(std::set<std::string>& set, const std::string& group) {
    MutexLock lock(mutex_);
    set.insert(group);
  }

  const std::unique_ptr<store::Store> inner_;
  mutable Mutex mutex_;
  std::condition_variable_any changed_;
  std::set<std::string> held_, failing_, overtaken_;
  std::function<bool(const v1::GroupRecord&)> hold_when_;
  std::map<std::string, int> attempts_;
  std::map<std::string, v1::GroupRecord> durable_;
};

// An agent of one probe region: says every `cadence` that all targets it is assigned are good, or,
// for services that a test has put down, not. Connects again when its stream ends.
class TestAgent {
 public:
  TestAgent(int port, std::string region, int number, std::chrono::milliseconds cadence)
      : port_(port),
        region_(std::move(region)),
        instance_(absl::StrCat(absl::Hex(0x2000000000000000ULL + number, absl::kZeroPad16))),
        cadence_(cadence),
        thread_([this](std::stop_token stop) { Run(std::move(stop)); }) {}

  void PutDown(const std::string& service) {
    MutexLock lock(mutex_);
    down_.insert(service);
  }

 private:
  using Stub = v1::AgentService::Stub;

  void Run(std::stop_token stop) {
    grpc::ChannelArguments arguments;
    arguments.SetInt("grpc.use_local_subchannel_pool", 1);
    arguments.SetInt("grpc.initial_reconnect_backoff_ms", 100);
    const auto stub = v1::AgentService::NewStub(grpc::CreateCustomChannel(
        absl::StrCat("127.0.0.1:", port_), grpc::InsecureChannelCredentials(), arguments));
    while (!stop.stop_requested()) {
      RunStream(*stub, stop);
      Pause(stop, std::chrono::milliseconds(50));
    }
  }

  void RunStream(Stub& stub, const std::stop_token& stop) {
    grpc::ClientContext context;
    const std::stop_callback on_stop(stop, [&context] { context.TryCancel(); });
    const auto stream = stub.Connect(&context);
    v1::AgentMessage hello;
    hello.mutable_hello()->set_probe_region(region_);
    hello.mutable_hello()->set_instance_id(instance_);
    hello.mutable_hello()->set_version("0.1.0");
    bool good = stream->Write(hello);
    std::atomic<bool> ended = false;  // also before there was anything to send
    std::jthread reader([this, &stream, &ended] {
      v1::ControllerMessage message;
      while (stream->Read(&message)) {
        if (!message.has_assignment()) continue;
        MutexLock lock(mutex_);
        assignment_ = message.assignment();
      }
      ended = true;
    });
    while (good && !ended && !stop.stop_requested()) {
      const v1::AgentMessage message = Results();
      good = message.results().results().empty() || stream->Write(message);
      Pause(stop, cadence_);
    }
    context.TryCancel();
    reader.join();
    stream->Finish();
  }

  v1::AgentMessage Results() {
    v1::AgentMessage message;
    MutexLock lock(mutex_);
    for (const v1::Target& target : assignment_.targets()) {
      v1::ProbeResult& result = *message.mutable_results()->add_results();
      result.set_target(target.id());
      result.set_definition(target.definition());
      result.set_sequence(++sequences_[target.id()]);
      result.mutable_start_age()->set_nanos(2'000'000);
      result.mutable_complete_age()->set_nanos(1'000'000);
      const auto is_down = [&](const std::string& service) {
        return absl::StrContains(target.id(), absl::StrCat("/", service, "/"));
      };
      result.set_success(std::none_of(down_.begin(), down_.end(), is_down));
      if (!result.success()) result.set_failed_stage(v1::PROBE_STAGE_CONNECT);
    }
    return message;
  }

  void Pause(const std::stop_token& stop,
             std::chrono::milliseconds length) ABSL_NO_THREAD_SAFETY_ANALYSIS {
    std::unique_lock<Mutex> lock(mutex_);
    wake_.wait_for(lock, stop, length, [] { return false; });
  }

  const int port_;
  const std::string region_, instance_;
  const std::chrono::milliseconds cadence_;
  Mutex mutex_;
  std::condition_variable_any wake_;
  v1::Assignment assignment_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, uint64_t> sequences_ ABSL_GUARDED_BY(mutex_);
  std::set<std::string> down_ ABSL_GUARDED_BY(mutex_);
  std::jthread thread_;  // last
};

}  // namespace failover::runtime

#endif  // TESTS_COMPONENT_CONTROLLER_HARNESS_H_
