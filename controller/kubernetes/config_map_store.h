#ifndef CONTROLLER_KUBERNETES_CONFIG_MAP_STORE_H_
#define CONTROLLER_KUBERNETES_CONFIG_MAP_STORE_H_

#include <functional>
#include <memory>
#include <stop_token>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/clock.h"
#include "controller/kubernetes/client.h"
#include "controller/store/store.h"

namespace failover::kubernetes {

// Of what a ConfigMap holds. An object may take 1 MiB in etcd; a quarter leaves room for escapes
// and managed fields.
constexpr size_t kMaxRecordBytes = 256u << 10;

struct ConfigMapStoreOptions {
  ApiServer server;
  std::string
      prefix;  // the ConfigMap of a group is PREFIX-GROUP, of @NAME PREFIX.NAME; a DNS label
  Clock* clock = nullptr;
  std::stop_token stop;  // aborts a call
  std::function<absl::Status()>
      may_write;                  // asked before each write: this process leads; null = always
  ApiClient::MakeHttp make_http;  // null: libcurl
  ApiClient::Observer observe;    // may be null
};

// Records as one ConfigMap per group, compare-and-swap by resourceVersion. Under the key `record`
// is the text that the file store would keep (controller/store/file_format.h), so that damage by
// hand is noticed:
//   kubectl get configmap PREFIX-GROUP -o jsonpath='{.data.record}' | tail -n +2 | jq .
// What other programs put into the object's metadata stays. A record that would be larger than
// kMaxRecordBytes is stored without its oldest history entries; the chain of the rest stays intact.
//
// Beyond what Store says: a write without an answer is Unavailable, and the next one from the same
// version finds out whether it was done. Calls take 5 s at most; until a Retry-After has passed,
// every one is Unavailable without being sent.
absl::StatusOr<std::unique_ptr<store::Store>> OpenConfigMapStore(ConfigMapStoreOptions options);
// The path of all the ConfigMaps of a prefix, by their label; with a query.
std::string ConfigMapsOfStore(const std::string& name_space, const std::string& prefix);

}  // namespace failover::kubernetes

#endif  // CONTROLLER_KUBERNETES_CONFIG_MAP_STORE_H_
