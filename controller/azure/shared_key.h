#ifndef CONTROLLER_AZURE_SHARED_KEY_H_
#define CONTROLLER_AZURE_SHARED_KEY_H_

#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "common/http_client.h"

namespace failover::azure {

// Shared Key authorization of the blob service (azure.md §8.2). Pure.

// What is signed. Uses the request's method, URL, headers and the length of its body.
std::string StringToSign(const HttpRequest& request, absl::string_view account);

// Adds the Authorization header; everything else must be set already. `key` is the account key in
// base64. The error says what is wrong with the key, without quoting it.
absl::Status Sign(HttpRequest& request, absl::string_view account, absl::string_view key);

}  // namespace failover::azure

#endif  // CONTROLLER_AZURE_SHARED_KEY_H_
