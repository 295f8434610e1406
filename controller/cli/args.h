#ifndef CONTROLLER_CLI_ARGS_H_
#define CONTROLLER_CLI_ARGS_H_

#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

// The command line of failoverctl, driven by two tables. Pure.
namespace failover::cli {

enum class VerbId {
  kStatus,
  kCheck,
  kHistory,
  kSyncRun,
  kSyncDiff,
  kSyncFreeze,
  kSyncThaw,
  kStandbyDiscard,
  kOperations,
  kOperationsAbandon,
  kBackups,
  kFailover,
  kApprove,
  kDeny,
  kAck,
  kAdopt,
  kPause,
  kResume,
  kAgents,
  kVersion,
  kHelp,
};

struct Flag {
  enum class Kind { kSwitch, kText, kDuration, kCount, kFormat };
  const char* name;        // with its dashes
  const char* short_name;  // "-w" or ""
  Kind kind;
  const char* value;  // how help calls it; "" for a switch
  bool repeated;
  bool global;  // allowed with every verb
  const char* help;
};
const std::vector<Flag>& Flags();

struct Word {
  const char* name;  // GROUP may always be left out (one group, or all)
  bool optional;
};
struct Verb {
  VerbId id;
  const char* name;  // one or two words
  std::vector<Word> words;
  std::vector<const char*> flags;     // beside the global ones
  std::vector<const char*> required;  // of them
  const char* summary;
  const char* details;
};
const std::vector<Verb>& Verbs();
const Verb& VerbOf(VerbId id);

struct Args {
  const Verb* verb = nullptr;  // null: none given; only with help
  bool help = false;
  std::vector<std::string> words;
  std::map<std::string, std::vector<std::string>> flags;  // by Flag::name; switches with ""

  bool Has(absl::string_view flag) const { return flags.count(std::string(flag)) != 0; }
  // The last one given; "" when absent.
  std::string Value(absl::string_view flag) const;
  std::vector<std::string> Values(absl::string_view flag) const;
};

// Without the program's name. Errors name the argument, what was found and what is allowed.
absl::StatusOr<Args> ParseArgs(const std::vector<std::string>& arguments);

// Of the program, or of one verb or of all whose name begins with `topic`. NotFound for an unknown
// topic.
std::string HelpText();
absl::StatusOr<std::string> HelpText(absl::string_view topic);

}  // namespace failover::cli

#endif  // CONTROLLER_CLI_ARGS_H_
