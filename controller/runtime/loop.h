#ifndef CONTROLLER_RUNTIME_LOOP_H_
#define CONTROLLER_RUNTIME_LOOP_H_

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "common/mailbox.h"
#include "common/mutex.h"
#include "controller/runtime/assignments.h"
#include "controller/runtime/control_loop.h"
#include "controller/runtime/group_runner.h"
#include "controller/runtime/lane.h"
#include "controller/runtime/saver.h"

namespace failover::runtime {

inline constexpr size_t kMailbox = 16384;

// The control loop: the core thread (control_loop.cc), the groups it works on (loop_groups.cc),
// leading and following (loop_leading.cc), and what it tells operators and metrics
// (loop_operators.cc). Members belong to the core thread unless
// they say otherwise.
class Loop : public ControlLoop {
 public:
  explicit Loop(ControlLoopOptions options)
      : options_(std::move(options)),
        azure_(options_.settings.azure, *options_.clock,
               [metrics = options_.metrics](const std::string& api, const std::string& operation,
                                            const std::string& code, absl::Duration took,
                                            const std::string& request_id) {
                 if (metrics != nullptr) metrics->AzureCall(api, operation, code, took, request_id);
               }),
        mailbox_(kMailbox) {}
  ~Loop() override { Stop(); }

  bool Receive(intake::AgentInput input) override {
    auto shared = std::make_shared<intake::AgentInput>(std::move(input));
    const bool taken = mailbox_.TryPut([this, shared] {
      for (const auto& [group, event] : shared->events) {
        GroupRunner* runner = Find(group);
        if (runner != nullptr && MayJudge(*runner, event, shared->generation))
          Handle(*runner, event);
      }
    });
    if (!taken) refused_.fetch_add(1);
    return taken;
  }

  void Start(intake::Intake* intake) override;
  void Stop() override;
  void Lead(uint64_t term) override {
    mailbox_.Put([this, term] { BeginTerm(term); });
  }
  void StopLeading(uint64_t term, const std::string& why) override;
  void RecordsChanged() override {
    (void)mailbox_.TryPut([this] { LookSoon(); });  // full: the next look comes anyway
  }
  void Reconfigure(Settings settings, std::function<void(absl::Status)> done) override {
    auto shared = std::make_shared<Settings>(std::move(settings));
    mailbox_.Put([this, shared, done = std::move(done)] { done(PutInForce(std::move(*shared))); });
  }
  void SetConfigError(std::string error) override {
    mailbox_.Put([this, error = std::move(error)] { config_error_ = error; });
  }
  operators::Handlers OperatorHandlers() override;
  metrics::Snapshot Snapshot() override;
  bool started() const override { return started_.load(); }
  absl::Duration Idle() const override {
    return options_.clock->Steady() - SteadyTime{absl::Nanoseconds(last_turn_.load())};
  }

 private:
  void Run(std::stop_token stop);
  void CheckClocks();
  void Turn();
  void TendGroups(SteadyTime now);
  // The lease's term; 0 = this process follows.
  bool Leads() const { return lease_term_ != 0; }
  void BeginTerm(uint64_t lease_term);
  void EndTerm(uint64_t lease_term, const std::string& why);
  // A follower's: reads the records that have changed since the last time.
  void LookAtRecords();
  void LookSoon();
  void Looked(absl::StatusOr<std::vector<LookedAt>> seen);
  // Who leads, for whoever wanted a leader.
  std::string WhoLeads() const;
  Now Read() const { return options_.clock->Read(); }
  bool Locate(const std::string& group, absl::Status& error, GroupRunner*& runner);
  v1::GetStatusResponse StatusNow(const std::string& group);
  void Diff(const v1::SyncDiffRequest& request, operators::Done<v1::SyncDiffResponse> done);
  void Order(const v1::OrderRequest& request, const std::string& who,
             operators::Done<v1::OrderResponse> done);
  GroupRunner* Find(const std::string& group) {
    const auto found = groups_.find(group);
    return found == groups_.end() ? nullptr : found->second.get();
  }
  // Null also when the runner is no more the one of that life.
  GroupRunner* Find(const std::string& group, uint64_t life) {
    GroupRunner* runner = Find(group);
    return runner != nullptr && runner->life() == life ? runner : nullptr;
  }
  bool MayJudge(const GroupRunner& runner, const core::Event& event, uint64_t generation) const;
  void Handle(GroupRunner& runner, const core::Event& event);
  // What a save led to belongs to the life before when the group is being loaded.
  void HandleSaved(const std::string& group, const core::Event& event);
  void Arm(const GroupRunner& runner);
  void AddGroup(GroupSettings settings);
  void BeginGroup(const std::string& group);
  void Began(const std::string& group, absl::StatusOr<v1::GroupRecord> record);
  SaverEvents EventsOfSaver();
  void BeginProcess();
  void ShareGroups();
  absl::Status PutInForce(Settings settings);
  void UpdateAssignments();
  void CarryOut(const GroupRunner& runner, const core::Command& command,
                std::optional<SteadyTime> decided);
  GroupRunner::Outlets Outlets();

  ControlLoopOptions options_;
  azure::AzureShared azure_;
  Mailbox<std::function<void()>> mailbox_;
  std::atomic<uint64_t> refused_{0};
  std::atomic<bool> started_{false};
  std::atomic<int64_t> last_turn_{0};

  intake::Intake* intake_ = nullptr;
  std::map<std::string, std::unique_ptr<GroupRunner>> groups_;
  std::set<std::pair<SteadyTime, std::string>> wakes_;
  std::map<std::string, SteadyTime> armed_;
  std::map<std::string, SteadyTime> load_again_;
  std::set<std::string> loading_;
  std::map<std::string, GroupFacts> facts_;  // what agents were last told
  // Group → first assignment made of what it probes now; results by an older one name other things
  // by the same index.
  std::map<std::string, uint64_t> judged_from_;
  uint64_t lease_term_ = 0;
  // Of the process record; 0 until it was loaded in this term of the lease.
  uint64_t term_ = 0;
  uint64_t assignment_generation_ = 0, lives_ = 0;
  SteadyTime next_look_ = SteadyTime::InfinitePast(), last_look_ = SteadyTime::InfinitePast();
  bool looking_ = false;
  std::map<std::string, std::string> looked_;  // group → version of the record last looked at
  bool facts_changed_ = false;
  std::string config_error_;
  bool process_record_ok_ = true;
  std::optional<Now> previous_;

  Mutex snapshot_mutex_;
  metrics::Snapshot snapshot_ ABSL_GUARDED_BY(snapshot_mutex_);

  std::map<std::string, uint64_t> told_;  // last history entry by group; the store lane's
  std::unique_ptr<Saver> saver_;
  std::unique_ptr<Lane> traffic_lane_, work_lane_;  // while this process leads
  std::jthread thread_;
};

}  // namespace failover::runtime

#endif  // CONTROLLER_RUNTIME_LOOP_H_
