#include "controller/intake/results.h"

#include <utility>

namespace failover::intake {
namespace {

constexpr int kMaxCnames = 8;
constexpr size_t kMaxNameBytes = 255;    // of a DNS name
constexpr size_t kMaxAddressBytes = 64;  // of an IPv6 address with a zone
constexpr size_t kMaxServedByBytes = 256;

bool AgesAreGood(const v1::ProbeResult& result) {
  absl::Duration start, complete;
  return ReadAge(result.start_age(), start) && ReadAge(result.complete_age(), complete) &&
         complete <= start;
}

bool StageIsGood(const v1::ProbeResult& result) {
  if (result.success()) {
    return result.failed_stage() == v1::PROBE_STAGE_UNSPECIFIED && !result.timed_out();
  }
  return v1::ProbeStage_IsValid(result.failed_stage()) &&
         result.failed_stage() != v1::PROBE_STAGE_UNSPECIFIED;
}

bool TextIsGood(const v1::ProbeResult& result) {
  if (result.error().size() > kMaxErrorBytes || result.remote_address().size() > kMaxAddressBytes)
    return false;
  if (result.cname_chain_size() > kMaxCnames) return false;
  for (const std::string& name : result.cname_chain()) {
    if (name.size() > kMaxNameBytes) return false;
  }
  return true;
}

}  // namespace

// Field by field, so that no value can overflow.
bool ReadAge(const google::protobuf::Duration& proto, absl::Duration& age) {
  if (proto.seconds() < 0 || proto.seconds() > absl::ToInt64Seconds(kMaxAge)) return false;
  if (proto.nanos() < 0 || proto.nanos() > 999'999'999) return false;
  age = absl::Seconds(proto.seconds()) + absl::Nanoseconds(proto.nanos());
  return age <= kMaxAge;
}

std::optional<absl::Duration> SkewOf(const v1::ResultBatch& batch, absl::Time wall) {
  if (batch.wall_unix_ms() <= 0) return std::nullopt;
  return absl::FromUnixMillis(batch.wall_unix_ms()) - wall;
}

const char* WhyRefused(const v1::ProbeResult& result, const TargetEntry* entry) {
  if (entry == nullptr) return "refused_unknown_target";
  if (result.definition() != entry->definition) return "refused_other_definition";
  if (result.sequence() == 0) return "refused_sequence";
  if (!AgesAreGood(result)) return "refused_age";
  if (!StageIsGood(result)) return "refused_stage";
  if (result.http_status() < 0 || result.http_status() > 999) return "refused_http_status";
  if (!TextIsGood(result)) return "refused_text";
  return nullptr;
}

core::ProbeSample ToSample(const v1::ProbeResult& result, SteadyTime receipt) {
  core::ProbeSample sample;
  absl::Duration start, complete;
  ReadAge(result.start_age(), start);
  ReadAge(result.complete_age(), complete);
  sample.sequence = result.sequence();
  sample.success = result.success();
  sample.burst = result.burst();
  sample.clock_jumped = result.clock_jumped();
  static_assert(static_cast<int>(core::FailedStage::kAssertion) == v1::PROBE_STAGE_ASSERTION);
  sample.failed_stage = static_cast<core::FailedStage>(result.failed_stage());
  sample.started = receipt - start;
  sample.completed = receipt - complete;
  sample.remote_address = result.remote_address();
  sample.cname_chain.assign(result.cname_chain().begin(), result.cname_chain().end());
  // The gateway wrote this text, not the agent: a long one cannot name a service, but the vote
  // counts.
  if (result.served_by().size() <= kMaxServedByBytes) sample.served_by = result.served_by();
  return sample;
}

void AddSample(const TargetEntry& entry, const core::ProbeSample& sample, SamplesByGroup& groups) {
  for (const TargetUse& use : entry.uses) {
    core::ProbeSample copy;
    if (use.ref.kind == core::TargetKind::kPublic) {
      copy = sample;
    } else {
      copy.sequence = sample.sequence;
      copy.success = sample.success;
      copy.burst = sample.burst;
      copy.clock_jumped = sample.clock_jumped;
      copy.failed_stage = sample.failed_stage;
      copy.started = sample.started;
      copy.completed = sample.completed;
      if (use.ref.kind == core::TargetKind::kService) copy.remote_address = sample.remote_address;
    }
    copy.target = use.ref;
    groups[use.group].push_back(std::move(copy));
  }
}

std::vector<std::pair<std::string, core::Event>> ToEvents(const core::AgentId& agent,
                                                          SamplesByGroup groups, bool replay) {
  std::vector<std::pair<std::string, core::Event>> events;
  events.reserve(groups.size());
  for (auto& [group, samples] : groups) {
    core::ProbeResults results;
    results.agent = agent;
    results.samples = std::move(samples);
    results.replay = replay;
    events.emplace_back(group, std::move(results));
  }
  return events;
}

}  // namespace failover::intake
