#ifndef CONTROLLER_AZURE_AUTH_H_
#define CONTROLLER_AZURE_AUTH_H_

namespace failover::azure {

// How the controller proves who it is (azure.md §6.1).
enum class Auth { kClientSecret, kWorkloadIdentity, kManagedIdentity };

// In words: "client secret", "workload identity", "managed identity".
inline const char* AuthName(Auth auth) {
  switch (auth) {
    case Auth::kClientSecret:
      return "client secret";
    case Auth::kWorkloadIdentity:
      return "workload identity";
    case Auth::kManagedIdentity:
      return "managed identity";
  }
  return "";
}

}  // namespace failover::azure

#endif  // CONTROLLER_AZURE_AUTH_H_
