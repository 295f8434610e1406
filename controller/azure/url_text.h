#ifndef CONTROLLER_AZURE_URL_TEXT_H_
#define CONTROLLER_AZURE_URL_TEXT_H_

#include <string>

#include "absl/strings/string_view.h"

namespace failover::azure {

// Percent-encodes everything but unreserved characters (RFC 3986) and those in `also_kept`.
std::string PercentEncoded(absl::string_view text, absl::string_view also_kept);
// Undoes it; a '%' without two hex digits stays.
std::string PercentDecoded(absl::string_view text);

}  // namespace failover::azure

#endif  // CONTROLLER_AZURE_URL_TEXT_H_
