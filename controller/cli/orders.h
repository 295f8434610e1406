#ifndef CONTROLLER_CLI_ORDERS_H_
#define CONTROLLER_CLI_ORDERS_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "apim_failover/v1/operator.pb.h"
#include "common/proto.h"
#include "controller/cli/args.h"
#include "controller/cli/client.h"
#include "controller/cli/terminal.h"
#include "controller/cli/text.h"

namespace failover::cli {

// The group that the words mean, and the words after it. GROUP may be left out when there is
// exactly one. Errors name the groups that there are.
struct Target {
  v1::GroupStatus group;
  std::vector<std::string> words;
};
absl::StatusOr<Target> ResolveGroup(const Args& args, const v1::GetStatusResponse& status);

// The order of a verb. A failover without --to names the standby that the rules would choose now,
// so that what was shown is what happens. Errors name what is missing and what is allowed.
absl::StatusOr<v1::OrderRequest> BuildOrder(const Args& args, const Target& target);

// Verbs that show the topology and ask: they move traffic, change roles, replace content, or end
// the watch over an operation.
bool IsDestructive(const v1::OrderRequest& order);

// Gives the order of `args`: shows, asks where that is needed, sends, prints the answer. Returns
// the exit code.
int RunOrder(const Args& args, Client& client, Format format, bool color, const Io& io);

// 1 when the controller has refused, 2 when nobody can tell.
int ExitOf(const absl::Status& status, bool order);

}  // namespace failover::cli

#endif  // CONTROLLER_CLI_ORDERS_H_
