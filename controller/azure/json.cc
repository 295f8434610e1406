#include "controller/azure/json.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"

namespace failover::azure {
namespace {

constexpr int kMaxDepth = 64;

int DepthOf(absl::string_view text) {
  int depth = 0, deepest = 0;
  bool quoted = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (quoted) {
      if (c == '\\') ++i;
      if (c == '"') quoted = false;
    } else if (c == '"') {
      quoted = true;
    } else if (c == '{' || c == '[') {
      deepest = std::max(deepest, ++depth);
    } else if (c == '}' || c == ']') {
      --depth;
    }
  }
  return deepest;
}

}  // namespace

absl::StatusOr<Json> ParseJson(absl::string_view text) {
  if (text.empty()) return absl::InvalidArgumentError("found an empty body; allowed: JSON");
  if (const int depth = DepthOf(text); depth > kMaxDepth) {
    return absl::InvalidArgumentError(
        absl::StrCat("found JSON of ", depth, " levels; allowed: at most ", kMaxDepth));
  }
  Json value = Json::parse(text.begin(), text.end(), nullptr, /*allow_exceptions=*/false);
  if (value.is_discarded()) {
    return absl::InvalidArgumentError(
        absl::StrCat("found a body of ", text.size(), " bytes that is not JSON, or cut off"));
  }
  return value;
}

std::string Dump(const Json& value) {
  return value.dump(-1, ' ', false, Json::error_handler_t::replace);
}

const Json& At(const Json& value, std::initializer_list<const char*> path) {
  static const Json null;
  const Json* at = &value;
  for (const char* key : path) {
    if (!at->is_object()) return null;
    const auto found = at->find(key);
    if (found == at->end()) return null;
    at = &*found;
  }
  return *at;
}

std::string TextAt(const Json& value, std::initializer_list<const char*> path) {
  const Json& found = At(value, path);
  return found.is_string() ? found.get<std::string>() : "";
}

}  // namespace failover::azure
