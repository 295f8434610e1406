#ifndef CONTROLLER_CONFIG_VALUES_H_
#define CONTROLLER_CONFIG_VALUES_H_

#include <string>

#include "absl/strings/string_view.h"

namespace failover {

// The forms of single values in a configuration file. Pure.

// 1 to 63 of a–z, 0–9 and '-', neither first nor last a '-': names of groups, services, probes and
// regions.
bool IsName(absl::string_view text);
// A DNS name or an IP address, without port.
bool IsHostName(absl::string_view text);
// HOST:PORT or [IPV6]:PORT, port 0–65535.
bool ParseHostPort(absl::string_view text, std::string& host, int& port);
// Of an HTTP header (RFC 9110 token).
bool IsToken(absl::string_view text);
// Printable ASCII and tabs: what a header's value may hold.
bool IsHeaderValue(absl::string_view text);
// "200" or "200-299", 100 to 599.
bool IsStatusRange(absl::string_view text);
// YYYY-MM-DD or YYYY-MM-DD-preview.
bool IsApiVersion(absl::string_view text);
// Letters, digits and '-' (a UUID, in Azure), also '.' when `dots` (a tenant's domain).
bool IsDirectoryId(absl::string_view text, bool dots);
bool IsStorageAccount(absl::string_view text);
bool IsContainer(absl::string_view text);
// Of a Traffic Manager endpoint.
bool IsEndpointName(absl::string_view text);
// /subscriptions/ID/resourceGroups/NAME/providers/NAMESPACE/TYPE/NAME; the words in any case, as
// ARM reads them.
bool IsResourceId(absl::string_view text, absl::string_view name_space, absl::string_view type);

}  // namespace failover

#endif  // CONTROLLER_CONFIG_VALUES_H_
