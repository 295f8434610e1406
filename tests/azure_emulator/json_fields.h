#ifndef TESTS_AZURE_EMULATOR_JSON_FIELDS_H_
#define TESTS_AZURE_EMULATOR_JSON_FIELDS_H_

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "nlohmann/json.hpp"

namespace failover::emulator {

using Json = nlohmann::json;

// Serialises, with invalid UTF-8 replaced instead of thrown about.
std::string Dump(const Json& json);
// Bounded depth (64) and size (64 MiB); the message says where it stopped.
absl::Status ParseJson(absl::string_view text, Json& out);

// "5s", "1h30m", "250ms", "30d", "0s". Not negative.
bool ParseSpan(absl::string_view text, absl::Duration& out);
std::string FormatSpan(absl::Duration span);

// Reads one JSON object strictly: every key must be asked for, every value must have the type asked
// for. All problems are collected; a field that is absent leaves its target alone.
class Fields {
 public:
  // `where` is the path of the object for messages; `problems` outlives this.
  Fields(const Json& object, std::string where, std::vector<std::string>& problems);

  bool Has(absl::string_view key) const;
  bool String(absl::string_view key, std::string& out);
  // One of `allowed`.
  bool Choice(absl::string_view key, std::string& out,
              std::initializer_list<absl::string_view> allowed);
  bool Bool(absl::string_view key, bool& out);
  bool Int(absl::string_view key, int& out, int lowest, int highest);
  bool Number(absl::string_view key, double& out, double lowest, double highest);
  bool Span(absl::string_view key, absl::Duration& out);
  bool Strings(absl::string_view key, std::vector<std::string>& out);
  bool StringSet(absl::string_view key, std::set<std::string>& out);
  // Any JSON value.
  bool Any(absl::string_view key, Json& out);
  // Calls `read` with the nested object; each() for every object of an array.
  bool Object(absl::string_view key, const std::function<void(Fields&)>& read);
  bool Each(absl::string_view key, const std::function<void(Fields&)>& read);
  void Require(std::initializer_list<absl::string_view> keys);
  void Problem(absl::string_view key, absl::string_view what);
  const std::string& where() const { return where_; }
  std::vector<std::string>& problems() { return problems_; }
  const Json& json() const { return object_; }

  // To be called last: reports keys nobody asked for.
  void Finish();

 private:
  const Json* Find(absl::string_view key);
  std::string Path(absl::string_view key) const;

  const Json& object_;
  std::string where_;
  std::vector<std::string>& problems_;
  std::set<std::string> known_;
};

// OK when `problems` is empty, else InvalidArgument with all of them.
absl::Status ProblemsToStatus(const std::vector<std::string>& problems);

}  // namespace failover::emulator

#endif  // TESTS_AZURE_EMULATOR_JSON_FIELDS_H_
