#ifndef CONTROLLER_CLI_RENDER_H_
#define CONTROLLER_CLI_RENDER_H_

#include <string>

#include "apim_failover/v1/operator.pb.h"
#include "common/proto.h"
#include "controller/cli/text.h"

// Every screen of failoverctl: message in, text out (design.md §10). Pure; tested by golden files.
namespace failover::cli {

// design.md §10.
enum Exit { kGood = 0, kDegraded = 1, kCannotTell = 2 };

// Who serves, is the other ready, what would be lost, how long would it take, what happens now,
// what next.
std::string StatusScreen(const v1::GetStatusResponse& status, const View& view);
std::string GroupScreen(const v1::GroupStatus& group, const View& view);
int StatusExit(const v1::GetStatusResponse& status);

// Readiness and promises.
std::string CheckSheet(const v1::GetStatusResponse& status, const View& view);
int CheckExit(const v1::GetStatusResponse& status);
// Why an outage now would not end in a failover as the mode promises it; empty = it would.
std::string WhyNoFailover(const v1::GroupStatus& group);

std::string HistoryList(const v1::GetHistoryResponse& history, const View& view);
std::string AgentList(const v1::ListAgentsResponse& agents, const View& view);
int AgentExit(const v1::ListAgentsResponse& agents);
std::string OperationList(const v1::ListOperationsResponse& operations, const View& view);
std::string BackupList(const v1::ListBackupsResponse& backups, const View& view);
std::string DiffList(const v1::SyncDiffResponse& diff, const View& view);

// Services with role, traffic, verdict and content; and the same as an order would leave it.
std::string Topology(const v1::GroupStatus& group, const View& view);
std::string TopologyAfter(const v1::GroupStatus& group, const v1::OrderRequest& order,
                          const View& view);

// Parts of the status screen that move (render_progress.cc); empty when there is nothing to tell.
std::string SyncLines(const v1::GroupStatus& group, const View& view);
std::string FailoverLines(const v1::GroupStatus& group, const View& view);
std::string OperationLines(const v1::GroupStatus& group, const View& view);
// What an operator should do, or what will happen by itself (render_next.cc).
std::string NextStep(const v1::GroupStatus& group, const View& view);

}  // namespace failover::cli

#endif  // CONTROLLER_CLI_RENDER_H_
