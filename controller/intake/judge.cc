#include "controller/intake/judge.h"

#include <algorithm>
#include <utility>

namespace failover::intake {
namespace {

constexpr double kMessagesPerSecond = 20, kMessageBurst = 200;
constexpr double kRateFactor = 4, kLeastRate = 50;
constexpr double kReplaySeconds = 600, kLeastReplay = 2000, kMostReplay = 20'000;

double ReplayLimit(double results_per_second) {
  return std::clamp(results_per_second * kReplaySeconds, kLeastReplay, kMostReplay);
}

}  // namespace

Budget::Budget(SteadyTime now, double factor)
    : factor_(factor),
      results_(factor * kLeastRate, factor * kLeastReplay, now),
      messages_(factor * kMessagesPerSecond, factor * kMessageBurst, now) {}

void Budget::Charge(double results_per_second, int results, SteadyTime now) {
  results_.SetLimits(factor_ * std::max(kLeastRate, kRateFactor * results_per_second),
                     factor_ * ReplayLimit(results_per_second), now);
  results_.Charge(std::max(1, results), now);
  messages_.Charge(1, now);
}

absl::Duration Budget::Wait(SteadyTime now) {
  return std::max(results_.Wait(now), messages_.Wait(now));
}

void Judge::Take(const v1::ResultBatch& batch, const Table& table, const std::string& region,
                 SteadyTime moment, SteadyTime now, MessageNote& note, SamplesByGroup& groups) {
  const bool replay = IsReplay(batch);
  if (replay && replay_since_ == SteadyTime::InfiniteFuture()) replay_since_ = now;
  const double limit = ReplayLimit(table.RateOf(region));
  for (const v1::ProbeResult& result : batch.results()) {
    const TargetEntry* entry = table.Find(result.target());
    const char* why = WhyRefused(result, entry);
    if (why == nullptr && replay && static_cast<double>(replay_.size()) >= limit)
      why = "refused_replay_length";
    if (why != nullptr) {
      note.Refuse(why, result.target());
      continue;
    }
    core::ProbeSample sample = ToSample(result, moment);
    if (replay) {
      replay_.push_back({result.target(), result.definition(), std::move(sample)});
      continue;
    }
    note.report_delay =
        std::min(note.report_delay.value_or(absl::InfiniteDuration()), now - sample.completed);
    ++note.accepted;
    AddSample(*entry, sample, groups);
  }
  if (batch.replay_end()) EndReplay(table, note, groups);
}

void Judge::EndReplay(const Table& table, MessageNote& note, SamplesByGroup& groups) {
  const std::vector<Kept> replay = std::exchange(replay_, {});
  replay_since_ = SteadyTime::InfiniteFuture();
  for (const Kept& kept : replay) {
    // The assignments may be others than those of the replay's beginning.
    const TargetEntry* entry = table.Find(kept.target);
    if (entry == nullptr || entry->definition != kept.definition) {
      note.Refuse(entry == nullptr ? "refused_unknown_target" : "refused_other_definition",
                  kept.target);
      continue;
    }
    ++note.replayed;
    AddSample(*entry, kept.sample, groups);
  }
}

}  // namespace failover::intake
