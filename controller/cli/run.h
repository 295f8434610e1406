#ifndef CONTROLLER_CLI_RUN_H_
#define CONTROLLER_CLI_RUN_H_

#include <string>
#include <vector>

#include "controller/cli/settings.h"
#include "controller/cli/terminal.h"

namespace failover::cli {

// failoverctl with these arguments (without the program's name). Returns its exit code.
int Run(const std::vector<std::string>& arguments, const Environment& environment, const Io& io);

}  // namespace failover::cli

#endif  // CONTROLLER_CLI_RUN_H_
