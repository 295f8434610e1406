#include "controller/runtime/saver.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "common/crash_point.h"
#include "common/log.h"
#include "common/status_macros.h"

namespace failover::runtime {
namespace {

constexpr absl::Duration kRetry = absl::Seconds(1);
constexpr int kRaises = 3;  // a former leader's last write may come in between

std::string StageName(absl::string_view prefix, absl::string_view enum_prefix,
                      absl::string_view value) {
  return absl::StrCat(prefix, absl::AsciiStrToLower(absl::StripPrefix(value, enum_prefix)));
}
std::string NameOf(v1::SyncStage stage) {
  return StageName("sync.", "SYNC_STAGE_", v1::SyncStage_Name(stage));
}
std::string NameOf(v1::RestoreStage stage) {
  return StageName("restore.", "RESTORE_STAGE_", v1::RestoreStage_Name(stage));
}
std::string NameOf(v1::FailoverStage stage) {
  return StageName("failover.", "FAILOVER_STAGE_", v1::FailoverStage_Name(stage));
}

}  // namespace

std::vector<std::string> StagesOf(const v1::GroupRecord& record) {
  std::vector<std::string> stages;
  if (record.sync_run().stage() != v1::SYNC_STAGE_UNSPECIFIED) {
    stages.push_back(absl::StrCat(record.sync_run().id(), "/", NameOf(record.sync_run().stage())));
  }
  for (const v1::RestoreTarget& target : record.sync_run().targets()) {
    if (target.stage() == v1::RESTORE_STAGE_UNSPECIFIED) continue;
    stages.push_back(
        absl::StrCat(record.sync_run().id(), " ", target.service(), "/", NameOf(target.stage())));
  }
  if (record.failover().stage() != v1::FAILOVER_STAGE_UNSPECIFIED) {
    stages.push_back(absl::StrCat(record.failover().id(), "/", NameOf(record.failover().stage())));
  }
  return stages;
}

std::vector<std::string> StageCrashPoints() {
  std::vector<std::string> names;
  const auto add = [&names](const std::string& stage) {
    names.push_back(absl::StrCat(stage, ".before"));
    names.push_back(absl::StrCat(stage, ".after"));
  };
  for (int i = v1::SYNC_STAGE_PREFLIGHT; i <= v1::SYNC_STAGE_FAILED; ++i)
    add(NameOf(static_cast<v1::SyncStage>(i)));
  for (int i = v1::RESTORE_STAGE_WAITING; i <= v1::RESTORE_STAGE_SKIPPED; ++i)
    add(NameOf(static_cast<v1::RestoreStage>(i)));
  for (int i = v1::FAILOVER_STAGE_DECIDED; i <= v1::FAILOVER_STAGE_SWITCHED_NOT_SEEN; ++i) {
    add(NameOf(static_cast<v1::FailoverStage>(i)));
  }
  return names;
}

Saver::Saver(store::Store& store, Clock& clock, SaverEvents events)
    : store_(store),
      clock_(clock),
      events_(std::move(events)),
      thread_([this](std::stop_token stop) { Run(std::move(stop)); }) {}

Saver::~Saver() {
  thread_.request_stop();
  thread_.join();
}

void Saver::Begin(std::string group, v1::GroupRecord fresh,
                  std::function<std::string(const v1::GroupRecord&)> problem,
                  std::function<void(absl::StatusOr<v1::GroupRecord>)> done) {
  {
    MutexLock lock(mutex_);
    pending_.erase(group);
    retry_.erase(group);
    ++lives_[group];
    begins_.push_back([this, group = std::move(group), fresh = std::move(fresh),
                       problem = std::move(problem),
                       done = std::move(done)] { done(Raise(group, fresh, problem)); });
  }
  changed_.notify_one();
}

void Saver::Save(const std::string& group, std::shared_ptr<v1::GroupRecord> record,
                 uint64_t version) {
  {
    MutexLock lock(mutex_);
    pending_[group] = {std::move(record), version, lives_[group]};
  }
  changed_.notify_one();
}

void Saver::Look(std::map<std::string, std::string> have,
                 std::function<void(absl::StatusOr<std::vector<LookedAt>>)> done) {
  {
    MutexLock lock(mutex_);
    begins_.push_back([this, have = std::move(have), done = std::move(done)] {
      absl::StatusOr<std::map<std::string, std::string>> listed = store_.List();
      if (!listed.ok()) return done(listed.status());
      std::vector<LookedAt> result;
      for (const auto& [group, version] : *listed) {
        const auto known = have.find(group);
        if (known != have.end() && known->second == version) continue;
        absl::StatusOr<store::Versioned> loaded = store_.Load(group);
        if (loaded.ok()) {
          result.push_back({group, version, std::move(loaded->record)});
        } else {
          result.push_back({group, version, loaded.status()});
        }
      }
      done(std::move(result));
    });
  }
  changed_.notify_one();
}

void Saver::Forget() {
  MutexLock lock(mutex_);
  pending_.clear();
  retry_.clear();
  begins_.clear();
  for (auto& [group, life] : lives_) ++life;
}

absl::StatusOr<v1::GroupRecord> Saver::Raise(
    const std::string& group, const v1::GroupRecord& fresh,
    const std::function<std::string(const v1::GroupRecord&)>& problem) {
  for (int attempt = 1;; ++attempt) {
    RETURN_IF_ERROR(store_.Healthy());
    absl::StatusOr<store::Versioned> loaded = store_.Load(group);
    store::Versioned found;
    if (loaded.ok()) {
      found = *std::move(loaded);
    } else if (absl::IsNotFound(loaded.status())) {
      found.record = fresh;
    } else {
      return loaded.status();
    }
    if (std::string why = problem(found.record); !why.empty())
      return absl::FailedPreconditionError(why);
    found.record.set_term(found.record.term() + 1);
    absl::StatusOr<std::string> version = store_.Save(found.record, found.version);
    if (absl::IsAborted(version.status()) && attempt < kRaises) continue;
    ASSIGN_OR_RETURN(stored_[group], std::move(version));
    stages_[group] = StagesOf(found.record);
    return std::move(found.record);
  }
}

void Saver::Write(const std::string& group, const Pending& pending) {
  std::vector<std::string> stages = StagesOf(*pending.record), reached;
  const std::vector<std::string>& before = stages_[group];
  for (const std::string& stage : stages) {
    if (std::find(before.begin(), before.end(), stage) == before.end())
      reached.push_back(stage.substr(stage.find('/') + 1));
  }
  for (const std::string& stage : reached) CrashPoint(absl::StrCat(stage, ".before"));
  const SteadyTime begun = clock_.Steady();
  absl::StatusOr<std::string> version = store_.Save(*pending.record, stored_[group]);
  absl::Status status = version.status();
  if (status.ok()) {
    stored_[group] = *version;
    stages_[group] = std::move(stages);
    status = store_.Healthy();  // what is released by this write leaves only under a lock that is
                                // still ours
  }
  if (status.ok()) {
    for (const std::string& stage : reached) CrashPoint(absl::StrCat(stage, ".after"));
    events_.saved(*pending.record, pending.version, clock_.Steady() - begun);
    return;
  }
  if (absl::IsAborted(status)) {
    events_.overtaken(group);
    return;
  }
  {
    MutexLock lock(mutex_);
    if (lives_[group] != pending.life)
      return;  // it is being loaded again: this record is nobody's any more
    pending_.try_emplace(group, pending);
    retry_[group] = clock_.Steady() + kRetry;
  }
  events_.failed(group, status);
}

void Saver::Run(std::stop_token stop) ABSL_NO_THREAD_SAFETY_ANALYSIS {
  while (true) {
    std::function<void()> begin;
    std::string group;
    std::optional<Pending> work;
    {
      std::unique_lock<Mutex> lock(mutex_);
      const SteadyTime now = clock_.Steady();
      const bool last = stop.stop_requested();
      auto it = pending_.upper_bound(served_);
      for (size_t left = pending_.size(); left > 0; --left, ++it) {
        if (it == pending_.end()) it = pending_.begin();
        const auto retry = retry_.find(it->first);
        if (!last && retry != retry_.end() && now < retry->second) continue;
        group = served_ = it->first;
        work = std::move(it->second);
        pending_.erase(it);
        retry_.erase(group);
        break;
      }
      if (!begins_.empty() && !last) {
        begin = std::move(begins_.front());
        begins_.pop_front();
      }
      if (!work.has_value() && !begin) {
        if (last) return;
        const auto wait =
            retry_.empty() ? std::chrono::milliseconds(3600000) : std::chrono::milliseconds(200);
        changed_.wait_for(lock, stop, wait, [this] {
          return !begins_.empty() ||
                 std::any_of(pending_.begin(), pending_.end(),
                             [this](const auto& p) { return !retry_.contains(p.first); });
        });
        continue;
      }
    }
    if (work.has_value()) {
      if (stop.stop_requested()) {
        absl::StatusOr<std::string> version = store_.Save(*work->record, stored_[group]);
        if (!version.ok())
          LogError("the last state was not stored",
                   {{"failover_group", group}, {"error", version.status()}});
      } else {
        Write(group, *std::move(work));
      }
    }
    if (begin) begin();
  }
}

}  // namespace failover::runtime
