#ifndef TESTS_COMPONENT_AGENT_LOOP_FIXTURE_H_
#define TESTS_COMPONENT_AGENT_LOOP_FIXTURE_H_

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "agent/metrics.h"
#include "agent/probe_loop.h"
#include "common/clock.h"
#include "common/mutex.h"
#include "tests/support/wait_until.h"

namespace failover::agent {

// The real clock, with a wall clock and a boot clock that a test can push.
class PushedClock : public Clock {
 public:
  SteadyTime Steady() const override {
    MutexLock lock(mutex_);
    return RealClock().Steady() + steady_push_;
  }
  absl::Time Wall() const override {
    MutexLock lock(mutex_);
    return RealClock().Wall() + wall_push_;
  }
  bool SleepUntil(SteadyTime deadline, std::stop_token stop) override {
    return RealClock().SleepUntil(deadline, stop);
  }
  void PushWall(absl::Duration by) {
    MutexLock lock(mutex_);
    wall_push_ += by;
  }
  // As after a suspend: both clocks went on while nothing ran.
  void PushBoth(absl::Duration by) {
    MutexLock lock(mutex_);
    wall_push_ += by;
    steady_push_ += by;
  }

 private:
  mutable Mutex mutex_;
  absl::Duration steady_push_ ABSL_GUARDED_BY(mutex_), wall_push_ ABSL_GUARDED_BY(mutex_);
};

// A target with an interval and timeout in milliseconds.
inline v1::Target ProbeOf(const std::string& id, const std::string& url, int interval_ms,
                          int timeout_ms) {
  v1::Target target;
  target.set_id(id);
  target.set_url(url);
  target.mutable_interval()->set_nanos(interval_ms % 1000 * 1000000);
  target.mutable_interval()->set_seconds(interval_ms / 1000);
  target.mutable_timeout()->set_nanos(timeout_ms % 1000 * 1000000);
  target.mutable_timeout()->set_seconds(timeout_ms / 1000);
  target.set_failover_group("orders");
  target.set_role("active");
  target.set_definition(1);
  return target;
}

// A running probe loop that may connect to loopback, and everything it reported.
class LoopTest : public testing::Test {
 protected:
  struct Reported {
    KeptResult kept;
    bool changed = false;
  };

  void Start(ProbeLoop::Options options = {},
             const std::vector<std::string>& allowed = {"127.0.0.0/8"}) {
    for (const std::string& entry : allowed) ASSERT_TRUE(options.probes.allowed.Add(entry).ok());
    options.clock = &clock_;
    options.metrics = &metrics_;
    options.on_result = [this](KeptResult kept, bool changed) {
      MutexLock lock(mutex_);
      reported_.push_back({std::move(kept), changed});
    };
    auto loop = ProbeLoop::Start(std::move(options));
    ASSERT_TRUE(loop.ok()) << loop.status();
    loop_ = *std::move(loop);
  }

  void Assign(const std::vector<v1::Target>& targets) {
    v1::Assignment assignment;
    for (const v1::Target& target : targets) *assignment.add_targets() = target;
    auto prepared = PrepareAssignment(assignment);
    ASSERT_TRUE(prepared.ok()) << prepared.status();
    ASSERT_TRUE(prepared->refused.empty()) << prepared->refused.front();
    metrics_.SetAssignment(*prepared);
    loop_->SetTargets(std::make_shared<const PreparedAssignment>(*std::move(prepared)));
  }

  std::vector<Reported> ResultsOf(const std::string& id) const {
    MutexLock lock(mutex_);
    std::vector<Reported> results;
    for (const Reported& reported : reported_) {
      if (reported.kept.result.target() == id) results.push_back(reported);
    }
    return results;
  }

  // The first `count` results of a target at least; fewer when they did not come in time.
  std::vector<Reported> WaitFor(const std::string& id, size_t count,
                                absl::Duration timeout = absl::Seconds(20)) const {
    EXPECT_TRUE(WaitUntil([&] { return ResultsOf(id).size() >= count; }, timeout))
        << ResultsOf(id).size() << " of " << count << " results of " << id;
    return ResultsOf(id);
  }

  // One result of a single probe target.
  v1::ProbeResult Probe(const v1::Target& target) {
    Assign({target});
    const std::vector<Reported> results = WaitFor(target.id(), 1);
    return results.empty() ? v1::ProbeResult() : results.front().kept.result;
  }

  PushedClock clock_;
  AgentMetrics metrics_{"test", {}};
  mutable Mutex mutex_;
  std::vector<Reported> reported_ ABSL_GUARDED_BY(mutex_);
  // Last: its thread ends before what it reports into.
  std::unique_ptr<ProbeLoop> loop_;
};

}  // namespace failover::agent

#endif  // TESTS_COMPONENT_AGENT_LOOP_FIXTURE_H_
