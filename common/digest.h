#ifndef COMMON_DIGEST_H_
#define COMMON_DIGEST_H_

#include <optional>
#include <string>

#include "absl/strings/string_view.h"

namespace failover {

// OpenSSL behind five names. Results are raw bytes unless the name says otherwise.
std::string Sha256Hex(absl::string_view data);
std::string HmacSha256(absl::string_view key, absl::string_view data);
std::string ToHex(absl::string_view bytes);
std::string Base64(absl::string_view bytes);                    // standard alphabet, padded
std::optional<std::string> FromBase64(absl::string_view text);  // strict
// `n` bytes from the system's random source as 2n hex digits. Aborts if there is none.
std::string RandomHex(int n);
// A random (version 4) UUID.
std::string RandomUuid();

}  // namespace failover

#endif  // COMMON_DIGEST_H_
