#include "controller/azure/shared.h"

#include <algorithm>
#include <iterator>

#include "common/log.h"

namespace failover::azure {
namespace {

constexpr absl::Duration kProveWritePathEvery = absl::Hours(1);

std::shared_ptr<const GroupEntry> EntryOf(GroupAzure group) {
  auto entry = std::make_shared<GroupEntry>();
  re2::RE2::Options options;
  options.set_log_errors(false);
  options.set_max_mem(1 << 20);
  for (const std::string& pattern : group.verify_ignore) {
    auto compiled = std::make_unique<re2::RE2>(pattern, options);
    if (compiled->ok()) {
      entry->ignore.push_back(std::move(compiled));
    } else {  // the configuration's check refuses these; without the pattern nothing is hidden
      LogError(
          "a pattern of verify.ignore is not used",
          {{"failover_group", group.group}, {"pattern", pattern}, {"error", compiled->error()}});
    }
  }
  entry->group = std::move(group);
  return entry;
}

bool SameTraffic(const GroupAzure& a, const GroupAzure& b) {
  return a.traffic_manager_profile == b.traffic_manager_profile &&
         a.traffic_manager_endpoint_type == b.traffic_manager_endpoint_type &&
         a.traffic_endpoints == b.traffic_endpoints;
}

}  // namespace

bool GroupEntry::Ignores(absl::string_view id) const {
  const re2::StringPiece text(id.data(), id.size());
  return std::any_of(ignore.begin(), ignore.end(),
                     [&](const auto& pattern) { return re2::RE2::FullMatch(text, *pattern); });
}

void RateLimiter::SetRate(int per_second) {
  MutexLock lock(mutex_);
  gap_ = absl::Seconds(1) / std::max(1, per_second);
}

bool RateLimiter::Wait(Clock& clock, std::stop_token stop) {
  SteadyTime turn = clock.Steady();
  {
    MutexLock lock(mutex_);
    turn = std::max(turn, next_);
    next_ = turn + gap_;
  }
  return clock.SleepUntil(turn, stop);
}

AzureData::AzureData(AzureOptions azure_options, Clock& process_clock, CallObserver call_observer)
    : options(std::move(azure_options)),
      clock(process_clock),
      observer(std::move(call_observer)),
      credentials({options.authority_endpoint, options.tenant_id, options.client_id,
                   options.client_secret_file, options.arm_scope, options.auth,
                   options.federated_token_file, options.imds_endpoint},
                  clock) {}

std::shared_ptr<const GroupEntry> AzureData::Group(const std::string& name) const {
  MutexLock lock(mutex_);
  const auto found = groups_.find(name);
  return found == groups_.end() ? nullptr : found->second;
}

void AzureData::SetGroups(std::vector<GroupAzure> groups) {
  std::map<std::string, std::shared_ptr<const GroupEntry>> entries;
  for (GroupAzure& group : groups) {
    const std::string name = group.group;
    entries[name] = EntryOf(std::move(group));
  }
  MutexLock lock(mutex_);
  for (auto proved = write_path_proved_.begin(); proved != write_path_proved_.end();) {
    const auto before = groups_.find(proved->first), after = entries.find(proved->first);
    const bool same = before != groups_.end() && after != entries.end() &&
                      SameTraffic(before->second->group, after->second->group);
    proved = same ? std::next(proved) : write_path_proved_.erase(proved);
  }
  groups_ = std::move(entries);
}

bool AzureData::WritePathDue(const std::string& group) const {
  const SteadyTime now = clock.Steady();
  MutexLock lock(mutex_);
  const auto found = write_path_proved_.find(group);
  return found == write_path_proved_.end() || now - found->second >= kProveWritePathEvery;
}

void AzureData::WritePathProved(const std::string& group) {
  const SteadyTime now = clock.Steady();
  MutexLock lock(mutex_);
  write_path_proved_[group] = now;
}

AzureShared::AzureShared(AzureOptions options, Clock& clock, CallObserver observer)
    : data_(std::make_unique<Data>(std::move(options), clock, std::move(observer))) {}
AzureShared::~AzureShared() = default;
void AzureShared::SetGroups(std::vector<GroupAzure> groups) { data_->SetGroups(std::move(groups)); }
void AzureShared::SetVerifyReadsPerSecond(int reads) { data_->verify_reads.SetRate(reads); }
absl::Time AzureShared::TokenExpiry() const { return data_->credentials.Expiry(); }

}  // namespace failover::azure
