#ifndef CONTROLLER_CLI_WORDS_H_
#define CONTROLLER_CLI_WORDS_H_

#include <cstdint>
#include <string>

#include "apim_failover/v1/operator.pb.h"
#include "common/proto.h"
#include "controller/cli/text.h"

// The words of design.md §2 for values of the protocol, and small questions to a status.
namespace failover::cli {

std::string RoleWord(v1::Role role);
std::string VoteWord(v1::Vote vote);
std::string KindWord(v1::OperationKind kind);
std::string OperationStateWord(v1::OperationState state);
std::string SyncStageWord(v1::SyncStage stage);
std::string RestoreStageWord(v1::RestoreStage stage);
Tone ToneOfState(const std::string& state);      // of a group
Tone ToneOfVerdict(const std::string& verdict);  // up | down | unknown

bool IsOpen(const v1::Operation& operation);
bool IsOpen(const v1::SyncRun& run);
bool IsOpen(const v1::Failover& failover);
bool NeedsOperator(const v1::Operation& operation);

// Why the controller cannot work on the group, so that nothing else of it means anything; empty: it
// does.
std::string NotWorkedOn(const v1::GroupStatus& group);
const v1::ServiceStatus* FindService(const v1::GroupStatus& group, const std::string& name);
// What a step should take by its own history (StepForecast); 0 = no history.
int64_t Forecast(const v1::GroupStatus& group, const std::string& step);
// "4m02s of about 10m [####......]  40%"; without history only the first part.
std::string ElapsedOf(int64_t elapsed_ms, int64_t expected_ms);
// "14m", "unknown" for a negative number.
std::string SpanOrUnknown(int64_t ms);
// "alice" of "spiffe://contoso/operator/alice"; the whole of anything else.
std::string ShortId(const std::string& identity);
// "2 regions", "1 region".
std::string Count(int64_t n, const std::string& noun);

// "11.3s = detect 4.1s + …", what it is worth, and how well its start is known.
std::string RtoWords(const v1::Rto& rto);

}  // namespace failover::cli

#endif  // CONTROLLER_CLI_WORDS_H_
