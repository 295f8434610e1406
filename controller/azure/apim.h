#ifndef CONTROLLER_AZURE_APIM_H_
#define CONTROLLER_AZURE_APIM_H_

#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "apim_failover/v1/state.pb.h"
#include "common/http_client.h"
#include "common/proto.h"
#include "controller/core/events.h"

namespace failover::azure {

// The APIM service resource (azure.md §1.1, §2). Pure.

// The body of POST backup and POST restore. Versions before 2021-04-01-preview, 2014-02-14 among
// them, know an access key only and no accessType. `access_key` is used with access AccessKey. The
// error says which access is not allowed.
absl::StatusOr<std::string> StorageBody(absl::string_view api_version, const v1::Storage& storage,
                                        absl::string_view blob, absl::string_view access_key);

// A gateway host name and the certificate bound to it.
struct HostBinding {
  std::string thumbprint, subject, expiry;
};

struct ServiceDetails {
  core::ServiceFacts facts;
  std::map<std::string, HostBinding> hosts;  // custom gateway (Proxy) host names, lower case
};

// Reads GET service; `reachable` is false, with the error, when the answer is not the service.
ServiceDetails ReadService(const std::string& service, const HttpResponse& response,
                           absl::string_view api_version);

// Names of the workspaces in the answer to GET …/workspaces; none when the answer is an error.
std::vector<std::string> ReadWorkspaces(const HttpResponse& response);
std::string RefusalForWorkspaces(const std::vector<std::string>& names);

// What no restore will make equal, as warnings: host names and certificates of the source that a
// standby lacks or binds differently.
std::vector<std::string> CompareHosts(const ServiceDetails& source, const ServiceDetails& standby);

}  // namespace failover::azure

#endif  // CONTROLLER_AZURE_APIM_H_
