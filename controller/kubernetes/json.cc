#include "controller/kubernetes/json.h"

#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"

namespace failover::kubernetes {
namespace {

constexpr int kMaxDepth = 32;

}  // namespace

absl::StatusOr<Json> ParseObject(absl::string_view text) {
  bool too_deep = false;
  const Json value = Json::parse(
      text.begin(), text.end(),
      [&too_deep](int depth, Json::parse_event_t, Json&) {
        too_deep |= depth > kMaxDepth;
        return !too_deep;
      },
      /*allow_exceptions=*/false);
  if (too_deep)
    return absl::InvalidArgumentError(
        absl::StrCat("found JSON of more than ", kMaxDepth, " levels"));
  if (!value.is_object()) {
    return absl::InvalidArgumentError(
        absl::StrCat("found ", text.size(), " bytes that are no JSON object; allowed: one"));
  }
  return value;
}

std::string Print(const Json& value) {
  return value.dump(-1, ' ', false, Json::error_handler_t::replace);
}

const Json& Find(const Json& value, std::initializer_list<const char*> path) {
  static const Json null;
  const Json* at = &value;
  for (const char* key : path) {
    const auto found = at->find(key);  // of what is no object: the end
    if (found == at->end()) return null;
    at = &*found;
  }
  return *at;
}

std::string FindText(const Json& value, std::initializer_list<const char*> path) {
  const Json& found = Find(value, path);
  return found.is_string() ? found.get<std::string>() : "";
}

}  // namespace failover::kubernetes
