#include "controller/cli/args.h"

#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "common/config_file.h"
#include "controller/cli/text.h"

namespace failover::cli {
namespace {

absl::Status Usage(std::string text) { return absl::InvalidArgumentError(std::move(text)); }

// Levenshtein's distance, transpositions as two.
int Distance(absl::string_view a, absl::string_view b) {
  std::vector<int> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = static_cast<int>(j);
  for (size_t i = 1; i <= a.size(); ++i) {
    int diagonal = row[0];
    row[0] = static_cast<int>(i);
    for (size_t j = 1; j <= b.size(); ++j) {
      const int replaced = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, replaced});
    }
  }
  return row[b.size()];
}

// "; did you mean X?" for the nearest of `names`, if it is near.
std::string Suggestion(absl::string_view found, const std::vector<std::string>& names) {
  const std::string head(found.substr(0, 64));
  const std::string* best = nullptr;
  int distance = std::max<int>(2, static_cast<int>(head.size()) / 3) + 1;
  for (const std::string& name : names) {
    const int d = Distance(head, name);
    if (d < distance) {
      distance = d;
      best = &name;
    }
  }
  return best == nullptr ? "" : absl::StrCat("; did you mean ", *best, "?");
}

std::vector<std::string> VerbNames() {
  std::vector<std::string> names;
  for (const Verb& verb : Verbs()) names.emplace_back(verb.name);
  return names;
}

bool Allows(const Verb* verb, const Flag& flag) {
  return flag.global || (verb != nullptr &&
                         std::any_of(verb->flags.begin(), verb->flags.end(), [&](const char* name) {
                           return absl::string_view(name) == flag.name;
                         }));
}

const Flag* FindFlag(absl::string_view name) {
  for (const Flag& flag : Flags()) {
    if (name == flag.name || (!name.empty() && name == flag.short_name)) return &flag;
  }
  return nullptr;
}

std::vector<std::string> FlagNames(const Verb* verb) {
  std::vector<std::string> names;
  for (const Flag& flag : Flags()) {
    if (Allows(verb, flag)) names.emplace_back(flag.name);
  }
  return names;
}

absl::Status CheckValue(const Flag& flag, const std::string& value) {
  if (value.empty())
    return Usage(absl::StrCat(flag.name, ": found nothing; allowed: ", flag.value));
  int count = 0;
  switch (flag.kind) {
    case Flag::Kind::kFormat:
      if (value != "table" && value != "json" && value != "yaml")
        return Usage(
            absl::StrCat(flag.name, ": found \"", value, "\"; allowed: table, json, yaml"));
      break;
    case Flag::Kind::kDuration:
      if (absl::StatusOr<absl::Duration> duration = ParseDuration(value); !duration.ok())
        return Usage(absl::StrCat(flag.name, ": ", duration.status().message()));
      break;
    case Flag::Kind::kCount:
      if (!absl::SimpleAtoi(value, &count) || count < 1 || count > 500)
        return Usage(absl::StrCat(flag.name, ": found \"", value, "\"; allowed: 1 to 500"));
      break;
    default:
      break;
  }
  return absl::OkStatus();
}

// The verb that the words begin with: two words before one. Removes them.
absl::StatusOr<const Verb*> TakeVerb(std::vector<std::string>& words) {
  for (const size_t count : {size_t{2}, size_t{1}}) {
    if (words.size() < count) continue;
    const std::string name =
        absl::StrJoin(words.begin(), words.begin() + static_cast<ptrdiff_t>(count), " ");
    for (const Verb& verb : Verbs()) {
      if (name != verb.name) continue;
      words.erase(words.begin(), words.begin() + static_cast<ptrdiff_t>(count));
      return &verb;
    }
  }
  std::vector<std::string> below;
  for (const std::string& name : VerbNames()) {
    if (absl::StartsWith(name, words[0] + " ")) below.push_back(name);
  }
  const std::string two = words.size() > 1 ? absl::StrCat(words[0], " ", words[1]) : words[0];
  if (!below.empty())
    return Usage(absl::StrCat("verb: found \"", two, "\"; allowed: ", absl::StrJoin(below, ", "),
                              Suggestion(two, below)));
  return Usage(absl::StrCat("verb: found \"", words[0], "\"", Suggestion(words[0], VerbNames()),
                            "; `failoverctl help` lists all verbs"));
}

absl::Status CheckWords(const Args& args) {
  const Verb& verb = *args.verb;
  if (args.words.size() > verb.words.size()) {
    return Usage(absl::StrCat(verb.name, ": found \"", args.words[verb.words.size()],
                              "\" too much; allowed: failoverctl ", verb.name,
                              absl::StrJoin(verb.words, "", [](std::string* out, const Word& word) {
                                absl::StrAppend(out, " ", word.name);
                              })));
  }
  size_t needed = 0;
  std::string missing;
  for (const Word& word : verb.words) {
    if (word.optional) continue;
    ++needed;
    missing = word.name;
  }
  if (args.words.size() < needed)
    return Usage(absl::StrCat(verb.name, ": found no ", missing, "; allowed: failoverctl ",
                              verb.name, " [GROUP] ", missing));
  for (const char* name : verb.required) {
    if (!args.Has(name))
      return Usage(absl::StrCat(verb.name, ": found no ", name, "; needed: ", name, " ",
                                FindFlag(name)->value));
  }
  return absl::OkStatus();
}

// One argument that begins with a dash, and its value. Moves `i` to the last one taken.
absl::Status TakeFlag(const std::vector<std::string>& arguments, size_t& i,
                      std::vector<std::pair<const Flag*, std::string>>& flags) {
  const std::string& argument = arguments[i];
  const size_t equals = absl::StartsWith(argument, "--") ? argument.find('=') : std::string::npos;
  const std::string name = argument.substr(0, equals);
  const Flag* flag = FindFlag(name);
  if (flag == nullptr) {
    std::vector<std::string> all;
    for (const Flag& known : Flags()) all.emplace_back(known.name);
    return Usage(absl::StrCat("found ", name, ", which no verb knows", Suggestion(name, all)));
  }
  if (flag->kind == Flag::Kind::kSwitch) {
    if (equals != std::string::npos)
      return Usage(absl::StrCat(flag->name, ": found \"", argument.substr(equals + 1),
                                "\"; allowed: no value"));
    flags.emplace_back(flag, "");
    return absl::OkStatus();
  }
  std::string value;
  if (equals != std::string::npos) {
    value = argument.substr(equals + 1);
  } else if (i + 1 < arguments.size()) {
    value = arguments[++i];
  }
  if (absl::Status status = CheckValue(*flag, value); !status.ok()) return status;
  flags.emplace_back(flag, value);
  return absl::OkStatus();
}

std::string Synopsis(const Verb& verb) {
  std::string text = absl::StrCat("failoverctl ", verb.name);
  for (const Word& word : verb.words)
    absl::StrAppend(&text, word.optional ? " [" : " ", word.name, word.optional ? "]" : "");
  for (const char* name : verb.flags) {
    const Flag& flag = *FindFlag(name);
    const bool required = std::any_of(verb.required.begin(), verb.required.end(),
                                      [&](const char* r) { return absl::string_view(r) == name; });
    const std::string form = absl::StrCat(flag.name, *flag.value != 0 ? " " : "", flag.value);
    absl::StrAppend(&text, " ", required ? form : absl::StrCat("[", form, "]"),
                    flag.repeated ? "..." : "");
  }
  for (const char* name : verb.required) {
    if (FindFlag(name)->global) absl::StrAppend(&text, " ", name, " ", FindFlag(name)->value);
  }
  return text;
}

std::string FlagLine(const Flag& flag) {
  const std::string form =
      absl::StrCat(*flag.short_name != 0 ? absl::StrCat(flag.short_name, ", ") : "", flag.name,
                   *flag.value != 0 ? " " : "", flag.value);
  return absl::StrFormat("  %-24s %s\n", form, flag.help);
}

}  // namespace

std::string Args::Value(absl::string_view flag) const {
  const auto it = flags.find(std::string(flag));
  return it == flags.end() ? "" : it->second.back();
}

std::vector<std::string> Args::Values(absl::string_view flag) const {
  const auto it = flags.find(std::string(flag));
  return it == flags.end() ? std::vector<std::string>() : it->second;
}

absl::StatusOr<Args> ParseArgs(const std::vector<std::string>& arguments) {
  Args args;
  std::vector<std::pair<const Flag*, std::string>> flags;
  bool only_words = false;
  for (size_t i = 0; i < arguments.size(); ++i) {
    const std::string& argument = arguments[i];
    if (!only_words && argument == "--") {
      only_words = true;
    } else if (!only_words && argument.size() > 1 && argument[0] == '-') {
      if (absl::Status status = TakeFlag(arguments, i, flags); !status.ok()) return status;
    } else {
      args.words.push_back(argument);
    }
  }
  for (const auto& [flag, value] : flags) args.help |= absl::string_view(flag->name) == "--help";
  if (args.words.empty()) {
    if (args.help || arguments.empty()) {
      args.help = true;
      return args;
    }
    return Usage("verb: found nothing; `failoverctl help` lists all verbs");
  }
  // "failoverctl sync --help" is about all that begins so.
  if (args.help && HelpText(absl::StrJoin(args.words, " ")).ok()) return args;
  absl::StatusOr<const Verb*> verb = TakeVerb(args.words);
  if (!verb.ok()) return verb.status();
  args.verb = *verb;
  for (const auto& [flag, value] : flags) {
    if (!Allows(args.verb, *flag)) {
      return Usage(absl::StrCat("found ", flag->name, "; allowed with ", args.verb->name, ": ",
                                absl::StrJoin(FlagNames(args.verb), ", ")));
    }
    std::vector<std::string>& values = args.flags[flag->name];
    if (!values.empty() && !flag->repeated && flag->kind != Flag::Kind::kSwitch)
      return Usage(absl::StrCat("found ", flag->name, " twice; allowed: once"));
    values.push_back(value);
  }
  if (args.help) {  // "failoverctl status orders --help"
    args.words = {args.verb->name};
    return args;
  }
  if (absl::Status status = CheckWords(args); !status.ok()) return status;
  return args;
}

std::string HelpText() {
  std::string text =
      "failoverctl: watch and steer the failover groups of an apim-failover controller\n\n"
      "  failoverctl VERB [GROUP] [FLAGS]        GROUP may be left out when there is only "
      "one\n\nVerbs\n";
  for (const Verb& verb : Verbs())
    absl::StrAppendFormat(&text, "  %-20s %s\n", verb.name, verb.summary);
  absl::StrAppend(&text, "\nFlags of every verb\n");
  for (const Flag& flag : Flags()) {
    if (flag.global) absl::StrAppend(&text, FlagLine(flag));
  }
  absl::StrAppend(&text,
                  "\nExit codes: 0 good, 1 degraded or refused, 2 cannot tell. `failoverctl help "
                  "VERB` says more.\n");
  return text;
}

absl::StatusOr<std::string> HelpText(absl::string_view topic) {
  std::string text;
  for (const Verb& verb : Verbs()) {
    if (topic != verb.name && !absl::StartsWith(verb.name, absl::StrCat(topic, " "))) continue;
    absl::StrAppend(&text, text.empty() ? "" : "\n", Synopsis(verb), "\n");
    for (const std::string& line : Wrap(absl::StrCat(verb.summary, ". ", verb.details), 78))
      absl::StrAppend(&text, "  ", line, "\n");
    for (const char* name : verb.flags) absl::StrAppend(&text, FlagLine(*FindFlag(name)));
  }
  if (!text.empty()) return text;
  return absl::NotFoundError(absl::StrCat("help: found \"", topic, "\"",
                                          Suggestion(topic, VerbNames()),
                                          "; `failoverctl help` lists all verbs"));
}

}  // namespace failover::cli
