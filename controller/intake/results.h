#ifndef CONTROLLER_INTAKE_RESULTS_H_
#define CONTROLLER_INTAKE_RESULTS_H_

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "apim_failover/v1/agent.pb.h"
#include "common/proto.h"
#include "common/steady_time.h"
#include "controller/intake/intake.h"

namespace failover::intake {

// Limits of one message (agent.proto) and of one result.
inline constexpr int kMaxResults = 256;
inline constexpr size_t kMaxMessageBytes = 64 << 10;
inline constexpr absl::Duration kMaxAge = absl::Minutes(10);
inline constexpr size_t kMaxErrorBytes = 200;

// False unless 0 ≤ age ≤ kMaxAge. No value can overflow.
bool ReadAge(const google::protobuf::Duration& proto, absl::Duration& age);

// Null when the result can be used; else why not, as a kind of AgentCounters ("refused_age").
// `entry` is null when its target is not assigned. Pure.
const char* WhyRefused(const v1::ProbeResult& result, const TargetEntry* entry);

// How far the agent's wall clock was ahead of ours when it sent the batch, the way here counted
// against it; nothing when it does not say. `wall` is ours at that moment. For people only.
std::optional<absl::Duration> SkewOf(const v1::ResultBatch& batch, absl::Time wall);

// A good result on the controller's clock: its moments are receipt − age (design.md §5.1). `target`
// is filled in by AddSample.
core::ProbeSample ToSample(const v1::ProbeResult& result, SteadyTime receipt);

using SamplesByGroup = std::map<std::string, std::vector<core::ProbeSample>>;

// Adds the sample to every group that uses the target, with what each of them needs of it.
void AddSample(const TargetEntry& entry, const core::ProbeSample& sample, SamplesByGroup& groups);

// One ProbeResults event a group.
std::vector<std::pair<std::string, core::Event>> ToEvents(const core::AgentId& agent,
                                                          SamplesByGroup groups, bool replay);

}  // namespace failover::intake

#endif  // CONTROLLER_INTAKE_RESULTS_H_
