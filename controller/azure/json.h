#ifndef CONTROLLER_AZURE_JSON_H_
#define CONTROLLER_AZURE_JSON_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "nlohmann/json_fwd.hpp"

namespace failover::azure {

using Json = nlohmann::json;  // object keys are sorted, so equal values are dumped equally

// Strict JSON of at most 64 levels (deeper values overflow nlohmann's stack when dumped). The error
// says what is wrong, without quoting the text.
absl::StatusOr<Json> ParseJson(absl::string_view text);

// One line; invalid UTF-8 becomes U+FFFD instead of an exception.
std::string Dump(const Json& value);

// The value at a path of object keys; null when a step is missing or is no object.
const Json& At(const Json& value, std::initializer_list<const char*> path);
// The same for a string; empty when it is missing or something else.
std::string TextAt(const Json& value, std::initializer_list<const char*> path);

}  // namespace failover::azure

#endif  // CONTROLLER_AZURE_JSON_H_
