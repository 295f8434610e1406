#include "tests/azure_emulator/json_fields.h"

#include <cmath>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"

namespace failover::emulator {
namespace {

constexpr size_t kLargestText = 64 << 20;
constexpr int kDeepest = 64;

std::string Shown(const Json& value) {
  std::string text = Dump(value);
  if (text.size() > 80) text = absl::StrCat(text.substr(0, 77), "...");
  return text;
}

}  // namespace

std::string Dump(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

absl::Status ParseJson(absl::string_view text, Json& out) {
  if (text.size() > kLargestText) return absl::InvalidArgumentError("JSON larger than 64 MiB");
  bool too_deep = false;
  const auto guard = [&](int depth, Json::parse_event_t, Json&) {
    if (depth > kDeepest) too_deep = true;
    return !too_deep;
  };
  try {
    out = Json::parse(text.begin(), text.end(), guard);
  } catch (const Json::exception& e) {
    return absl::InvalidArgumentError(absl::StrCat("not JSON: ", e.what()));
  }
  if (too_deep) return absl::InvalidArgumentError("JSON nested deeper than 64 levels");
  return absl::OkStatus();
}

bool ParseSpan(absl::string_view text, absl::Duration& out) {
  absl::Duration total;
  if (text.empty()) return false;
  while (!text.empty()) {
    size_t n = 0;
    while (n < text.size() && (absl::ascii_isdigit(text[n]) || text[n] == '.')) ++n;
    double number = 0;
    if (n == 0 || !absl::SimpleAtod(text.substr(0, n), &number)) return false;
    text.remove_prefix(n);
    n = 0;
    while (n < text.size() && absl::ascii_isalpha(text[n])) ++n;
    const absl::string_view unit = text.substr(0, n);
    text.remove_prefix(n);
    if (unit == "ms") {
      total += absl::Milliseconds(number);
    } else if (unit == "s") {
      total += absl::Seconds(number);
    } else if (unit == "m") {
      total += absl::Minutes(number);
    } else if (unit == "h") {
      total += absl::Hours(number);
    } else if (unit == "d") {
      total += absl::Hours(24 * number);
    } else {
      return false;
    }
  }
  if (total > absl::Hours(24 * 36500)) return false;
  out = total;
  return true;
}

std::string FormatSpan(absl::Duration span) {
  std::string text = absl::StrFormat("%.9f", absl::ToDoubleSeconds(span));
  text.resize(text.find_last_not_of('0') + 1);
  if (text.back() == '.') text.pop_back();
  return text + "s";
}

Fields::Fields(const Json& object, std::string where, std::vector<std::string>& problems)
    : object_(object), where_(std::move(where)), problems_(problems) {
  if (!object.is_object()) {
    problems_.push_back(absl::StrCat(where_.empty() ? "body" : where_, ": found ", Shown(object),
                                     "; allowed: a JSON object"));
  }
}

std::string Fields::Path(absl::string_view key) const {
  return where_.empty() ? std::string(key) : absl::StrCat(where_, ".", key);
}

const Json* Fields::Find(absl::string_view key) {
  known_.emplace(key);
  if (!object_.is_object()) return nullptr;
  const auto it = object_.find(std::string(key));
  return it == object_.end() ? nullptr : &*it;
}

bool Fields::Has(absl::string_view key) const {
  return object_.is_object() && object_.contains(std::string(key));
}

void Fields::Problem(absl::string_view key, absl::string_view what) {
  const auto it = object_.is_object() ? object_.find(std::string(key)) : object_.end();
  problems_.push_back(it == object_.end()
                          ? absl::StrCat(Path(key), ": ", what)
                          : absl::StrCat(Path(key), ": found ", Shown(*it), "; ", what));
}

bool Fields::String(absl::string_view key, std::string& out) {
  const Json* value = Find(key);
  if (value == nullptr) return false;
  if (!value->is_string()) {
    Problem(key, "allowed: a string");
    return false;
  }
  out = value->get<std::string>();
  return true;
}

bool Fields::Choice(absl::string_view key, std::string& out,
                    std::initializer_list<absl::string_view> allowed) {
  std::string text;
  if (!String(key, text)) return false;
  for (const absl::string_view option : allowed) {
    if (option == text) {
      out = text;
      return true;
    }
  }
  Problem(key, absl::StrCat("allowed: ", absl::StrJoin(allowed, ", ")));
  return false;
}

bool Fields::Bool(absl::string_view key, bool& out) {
  const Json* value = Find(key);
  if (value == nullptr) return false;
  if (!value->is_boolean()) {
    Problem(key, "allowed: true, false");
    return false;
  }
  out = value->get<bool>();
  return true;
}

bool Fields::Int(absl::string_view key, int& out, int lowest, int highest) {
  double number = 0;
  if (!Number(key, number, lowest, highest)) return false;
  if (number != std::floor(number)) {
    Problem(key, "allowed: a whole number");
    return false;
  }
  out = static_cast<int>(number);
  return true;
}

bool Fields::Number(absl::string_view key, double& out, double lowest, double highest) {
  const Json* value = Find(key);
  if (value == nullptr) return false;
  if (!value->is_number() || value->get<double>() < lowest || value->get<double>() > highest) {
    Problem(key, absl::StrCat("allowed: a number from ", lowest, " to ", highest));
    return false;
  }
  out = value->get<double>();
  return true;
}

bool Fields::Span(absl::string_view key, absl::Duration& out) {
  std::string text;
  if (!String(key, text)) return false;
  if (!ParseSpan(text, out)) {
    Problem(key, "allowed: a duration such as \"250ms\", \"5s\", \"1h30m\", \"30d\"");
    return false;
  }
  return true;
}

bool Fields::Strings(absl::string_view key, std::vector<std::string>& out) {
  const Json* value = Find(key);
  if (value == nullptr) return false;
  std::vector<std::string> read;
  bool good = value->is_array();
  if (good) {
    for (const Json& item : *value) {
      if (item.is_string()) {
        read.push_back(item.get<std::string>());
      } else {
        good = false;
      }
    }
  }
  if (!good) {
    Problem(key, "allowed: an array of strings");
    return false;
  }
  out = std::move(read);
  return true;
}

bool Fields::StringSet(absl::string_view key, std::set<std::string>& out) {
  std::vector<std::string> read;
  if (!Strings(key, read)) return false;
  out = {read.begin(), read.end()};
  return true;
}

bool Fields::Any(absl::string_view key, Json& out) {
  const Json* value = Find(key);
  if (value == nullptr) return false;
  out = *value;
  return true;
}

bool Fields::Object(absl::string_view key, const std::function<void(Fields&)>& read) {
  const Json* value = Find(key);
  if (value == nullptr) return false;
  Fields nested(*value, Path(key), problems_);
  if (!value->is_object()) return false;
  read(nested);
  nested.Finish();
  return true;
}

bool Fields::Each(absl::string_view key, const std::function<void(Fields&)>& read) {
  const Json* value = Find(key);
  if (value == nullptr) return false;
  if (!value->is_array()) {
    Problem(key, "allowed: an array of objects");
    return false;
  }
  for (size_t i = 0; i < value->size(); ++i) {
    Fields nested((*value)[i], absl::StrCat(Path(key), "[", i, "]"), problems_);
    if (!(*value)[i].is_object()) continue;
    read(nested);
    nested.Finish();
  }
  return true;
}

void Fields::Require(std::initializer_list<absl::string_view> keys) {
  for (const absl::string_view key : keys) {
    known_.emplace(key);
    if (object_.is_object() && !Has(key)) Problem(key, "missing, but required");
  }
}

void Fields::Finish() {
  if (!object_.is_object()) return;
  for (const auto& [key, value] : object_.items()) {
    if (known_.contains(key)) continue;
    problems_.push_back(
        absl::StrCat(Path(key), ": unknown key; allowed: ", absl::StrJoin(known_, ", ")));
  }
}

absl::Status ProblemsToStatus(const std::vector<std::string>& problems) {
  if (problems.empty()) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrJoin(problems, "\n"));
}

}  // namespace failover::emulator
