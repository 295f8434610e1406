#include "controller/core/progress.h"

#include <utility>

#include "controller/core/context.h"

namespace failover::core {

void NoteStep(v1::GroupRecord& record, absl::string_view step, int64_t began_ms, int64_t ended_ms) {
  if (began_ms == 0 || ended_ms < began_ms) return;
  v1::StepDurations* durations = nullptr;
  for (v1::StepDurations& candidate : *record.mutable_step_durations()) {
    if (candidate.step() == step) durations = &candidate;
  }
  if (durations == nullptr) {
    durations = record.add_step_durations();
    durations->set_step(std::string(step));
  }
  durations->add_ms(ended_ms - began_ms);
  if (durations->ms_size() > kMaxDurations) durations->mutable_ms()->erase(durations->ms().begin());
}

void NoteFailoverSteps(v1::GroupRecord& record) {
  const v1::Failover& failover = record.failover();
  const std::pair<const char*, int64_t> moments[] = {{kStepEnable, failover.enable_sent_ms()},
                                                     {kStepSwitch, failover.switched_ms()},
                                                     {kStepDisable, failover.disabled_ms()},
                                                     {kStepVisible, failover.visible_ms()},
                                                     {kStepFailover, failover.ended_ms()}};
  for (const auto& [step, at_ms] : moments) {
    if (at_ms != 0) NoteStep(record, step, failover.decided_ms(), at_ms);
  }
}

absl::Duration P95OfStep(const v1::GroupRecord& record, absl::string_view step) {
  for (const v1::StepDurations& durations : record.step_durations()) {
    if (durations.step() == step) return P95({durations.ms().begin(), durations.ms().end()});
  }
  return absl::ZeroDuration();
}

}  // namespace failover::core
