#ifndef CONTROLLER_KUBERNETES_JSON_H_
#define CONTROLLER_KUBERNETES_JSON_H_

#include <initializer_list>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "nlohmann/json_fwd.hpp"

namespace failover::kubernetes {

using Json = nlohmann::json;

// A JSON object of at most 32 levels (an API object has far fewer; printing recurses). The error
// does not quote the text.
absl::StatusOr<Json> ParseObject(absl::string_view text);
// One line; bytes that are no UTF-8 become U+FFFD.
std::string Print(const Json& value);
// The value at a path of keys; null when a step is missing.
const Json& Find(const Json& value, std::initializer_list<const char*> path);
// The text there; "" when it is missing or no text.
std::string FindText(const Json& value, std::initializer_list<const char*> path);

}  // namespace failover::kubernetes

#endif  // CONTROLLER_KUBERNETES_JSON_H_
