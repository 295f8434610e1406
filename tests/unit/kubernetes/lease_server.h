#ifndef TESTS_UNIT_KUBERNETES_LEASE_SERVER_H_
#define TESTS_UNIT_KUBERNETES_LEASE_SERVER_H_

#include <cstdint>
#include <optional>

#include "absl/strings/str_cat.h"
#include "controller/kubernetes/lease.h"

namespace failover::kubernetes {

// What an API server does with one Lease, in memory.
class LeaseServer {
 public:
  std::optional<LeaseObject> object;
  int writes = 0;

  LeaseAnswer Apply(const LeaseAction& action) {
    LeaseAnswer answer;
    answer.kind = LeaseAnswer::kOk;
    switch (action.kind) {
      case LeaseAction::kGet:
        if (!object.has_value()) return Refuse(LeaseAnswer::kNotFound, "the Lease is not found");
        break;
      case LeaseAction::kCreate:
        if (object.has_value()) return Refuse(LeaseAnswer::kConflict, "the Lease already exists");
        Write(action.record, absl::StrCat("uid-", ++uids_));
        break;
      case LeaseAction::kUpdate:
        if (!object.has_value()) {
          answer.kind = LeaseAnswer::kCreated;
          Write(action.record, absl::StrCat("uid-", ++uids_));
          break;
        }
        if (object->resource_version != action.base.resource_version) {
          return Refuse(LeaseAnswer::kConflict, "the Lease has been modified");
        }
        Write(action.record, object->uid);
        break;
      case LeaseAction::kWait:
      case LeaseAction::kEnd:
        return Refuse(LeaseAnswer::kFailed, "not a request");
    }
    answer.object = object;
    return answer;
  }

  // Somebody else's write.
  void Write(const LeaseRecord& record, const std::string& uid) {
    ++writes;
    object = LeaseObject{record, uid, absl::StrCat(++version_), ""};
  }
  void Touch() { object->resource_version = absl::StrCat(++version_); }  // a label, say

  static LeaseAnswer Refuse(LeaseAnswer::Kind kind, std::string error) {
    LeaseAnswer answer;
    answer.kind = kind;
    answer.error = std::move(error);
    return answer;
  }

 private:
  int64_t version_ = 100;
  int uids_ = 0;
};

}  // namespace failover::kubernetes

#endif  // TESTS_UNIT_KUBERNETES_LEASE_SERVER_H_
