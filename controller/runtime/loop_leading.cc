// Leading and following (design.md §9). A follower keeps every group's votes as the leader does,
// and reads what the leader writes, so that it can decide from its first moment as a leader.
#include <algorithm>
#include <future>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/log.h"
#include "controller/runtime/loop.h"

namespace failover::runtime {
namespace {

constexpr int kWorkThreads = 4;
constexpr absl::Duration kWarm = absl::Seconds(20);
constexpr absl::Duration kLook = absl::Seconds(5);                 // at the latest
constexpr absl::Duration kBetweenLooks = absl::Milliseconds(100);  // at the earliest
constexpr absl::Duration kStopWait = absl::Seconds(5);

}  // namespace

void Loop::BeginTerm(uint64_t lease_term) {
  if (Leads()) EndTerm(lease_term_, "a new term began");
  lease_term_ = lease_term;
  const auto make_worker = [this, lease_term](std::stop_token stop) {
    // What belongs to a term leaves only while that term is sure.
    std::function<absl::Status()> may_send;
    if (options_.election.has_value()) {
      may_send = [this, lease_term] {
        return options_.election->may_act(lease_term)
                   ? absl::OkStatus()
                   : absl::CancelledError(
                         "not sent: this replica's term as the leader is not sure any more");
      };
    }
    return std::make_unique<azure::Worker>(azure_, options_.make_http(stop, std::move(may_send)),
                                           stop);
  };
  traffic_lane_ = std::make_unique<Lane>(1, make_worker, kWarm);
  work_lane_ = std::make_unique<Lane>(kWorkThreads, make_worker, absl::InfiniteDuration());
  if (options_.election.has_value())
    LogInfo("this replica leads: loading every group's state", {{"lease_term", lease_term}});
  for (const auto& [name, runner] : groups_) BeginGroup(name);
  BeginProcess();
}

// Lanes end first: what is under way is aborted, and its answers find no group of that life.
void Loop::EndTerm(uint64_t lease_term, const std::string& why) {
  if (lease_term_ != lease_term || !Leads()) return;
  LogWarning("this replica leads no more", {{"lease_term", lease_term}, {"why", why}});
  traffic_lane_.reset();
  work_lane_.reset();
  saver_->Forget();
  lease_term_ = term_ = 0;
  loading_.clear();
  load_again_.clear();
  looking_ = false;
  looked_.clear();
  next_look_ = options_.clock->Steady();
  for (auto& [name, runner] : groups_) {
    runner->StopLeading(Read(), ++lives_);
    Arm(*runner);
  }
  UpdateAssignments();
}

void Loop::StopLeading(uint64_t term, const std::string& why) {
  auto promise = std::make_shared<std::promise<void>>();
  std::future<void> done = promise->get_future();
  const bool taken = mailbox_.Put([this, term, why, promise] {
    EndTerm(term, why);
    promise->set_value();
  });
  if (taken && done.wait_for(absl::ToChronoMilliseconds(kStopWait)) != std::future_status::ready) {
    LogError("the core thread did not end a term of the lease in time; no request leaves any more",
             {{"lease_term", term}, {"after", kStopWait}});
  }
}

void Loop::LookAtRecords() {
  const SteadyTime now = options_.clock->Steady();
  if (Leads() || looking_ || now < next_look_) return;
  looking_ = true;
  last_look_ = now;
  next_look_ = now + kLook;
  saver_->Look(looked_, [this](absl::StatusOr<std::vector<LookedAt>> seen) {
    auto shared = std::make_shared<absl::StatusOr<std::vector<LookedAt>>>(std::move(seen));
    mailbox_.Put([this, shared] { Looked(std::move(*shared)); });
  });
}

// A change that comes while records are being read is for the look after that.
void Loop::LookSoon() {
  next_look_ = std::min(next_look_, std::max(options_.clock->Steady(), last_look_ + kBetweenLooks));
}

void Loop::Looked(absl::StatusOr<std::vector<LookedAt>> seen) {
  looking_ = false;
  if (Leads()) return;
  process_record_ok_ = seen.ok();
  if (!seen.ok()) {
    LogWarning("the groups' state cannot be read; probing goes on", {{"error", seen.status()}});
    return;
  }
  for (LookedAt& look : *seen) {
    looked_[look.group] = look.version;
    GroupRunner* runner = Find(look.group);
    if (runner == nullptr) continue;
    if (!look.record.ok()) {
      runner->SetBroken(std::string(look.record.status().message()));
      continue;
    }
    std::string why = core::RebindingProblem(runner->settings().core, *look.record);
    if (!why.empty()) {
      runner->SetBroken(std::move(why));
      continue;
    }
    runner->Load(*std::move(look.record), ++lives_);
    Handle(*runner, core::Tick{});
  }
}

std::string Loop::WhoLeads() const {
  const std::string leader = options_.election->leader().first;
  return leader.empty() ? "no replica leads now" : absl::StrCat("the leader is ", leader);
}

}  // namespace failover::runtime
