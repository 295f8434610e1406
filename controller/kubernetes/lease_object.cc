#include "controller/kubernetes/lease_object.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "controller/kubernetes/json.h"
#include "nlohmann/json.hpp"

namespace failover::kubernetes {
namespace {

absl::Status Wrong(absl::string_view field, absl::string_view allowed) {
  return absl::InvalidArgumentError(absl::StrCat("the Lease's spec.", field, " is not ", allowed));
}

absl::Status Take(const Json& spec, const char* field, std::string& text) {
  const Json& value = Find(spec, {field});
  if (value.is_null()) return absl::OkStatus();
  if (!value.is_string()) return Wrong(field, "text");
  text = value.get<std::string>();
  return absl::OkStatus();
}

absl::Status Take(const Json& spec, const char* field, int64_t& number) {
  const Json& value = Find(spec, {field});
  if (value.is_null()) return absl::OkStatus();
  if (!value.is_number_integer() || value < INT32_MIN || value > INT32_MAX)
    return Wrong(field, "a 32-bit integer");
  number = value.get<int64_t>();
  return absl::OkStatus();
}

absl::Status Take(const Json& spec, const char* field, absl::Time& time) {
  std::string text;
  RETURN_IF_ERROR(Take(spec, field, text));
  if (text.empty()) return absl::OkStatus();
  std::string error;
  absl::Time read;
  if (!absl::ParseTime(absl::RFC3339_full, text, &read, &error) || read == absl::InfinitePast() ||
      read == absl::InfiniteFuture()) {
    return Wrong(field, "an RFC 3339 time");
  }
  time = absl::FromUnixMicros(absl::ToUnixMicros(read));
  return absl::OkStatus();
}

void Put(Json& spec, const LeaseRecord& record) {
  spec["holderIdentity"] = record.holder;
  spec["leaseDurationSeconds"] = record.duration_seconds;
  spec["acquireTime"] = MicroTime(record.acquired);
  spec["renewTime"] = MicroTime(record.renewed);
  spec["leaseTransitions"] = record.transitions;
  spec.erase("preferredHolder");
  if (!record.preferred_holder.empty()) spec["preferredHolder"] = record.preferred_holder;
}

}  // namespace

std::string MicroTime(absl::Time time) {
  return absl::FormatTime("%Y-%m-%d%ET%H:%M:%E6SZ", time, absl::UTCTimeZone());
}

absl::StatusOr<LeaseObject> ParseLease(absl::string_view body) {
  ASSIGN_OR_RETURN(const Json object, ParseObject(body));
  if (FindText(object, {"kind"}) != "Lease")
    return absl::InvalidArgumentError("the answer is not a Lease");
  LeaseObject lease;
  lease.uid = FindText(object, {"metadata", "uid"});
  lease.resource_version = FindText(object, {"metadata", "resourceVersion"});
  if (lease.uid.empty() || lease.resource_version.empty()) {
    return absl::InvalidArgumentError("the Lease has no uid or no resourceVersion");
  }
  const Json& spec = Find(object, {"spec"});
  RETURN_IF_ERROR(Take(spec, "holderIdentity", lease.record.holder));
  RETURN_IF_ERROR(Take(spec, "leaseDurationSeconds", lease.record.duration_seconds));
  RETURN_IF_ERROR(Take(spec, "acquireTime", lease.record.acquired));
  RETURN_IF_ERROR(Take(spec, "renewTime", lease.record.renewed));
  RETURN_IF_ERROR(Take(spec, "leaseTransitions", lease.record.transitions));
  RETURN_IF_ERROR(Take(spec, "preferredHolder", lease.record.preferred_holder));
  lease.json = std::string(body);
  return lease;
}

std::string NewLeaseBody(const std::string& name_space, const std::string& name,
                         const LeaseRecord& record) {
  Json object = {{"apiVersion", "coordination.k8s.io/v1"},
                 {"kind", "Lease"},
                 {"metadata",
                  {{"name", name},
                   {"namespace", name_space},
                   {"labels", {{"app.kubernetes.io/managed-by", "apim-failover"}}}}},
                 {"spec", Json::object()}};
  Put(object["spec"], record);
  return Print(object);
}

absl::StatusOr<std::string> UpdatedLeaseBody(const LeaseObject& base, const LeaseRecord& record) {
  ASSIGN_OR_RETURN(Json object, ParseObject(base.json));
  if (!Find(object, {"spec"}).is_object()) object["spec"] = Json::object();
  Put(object["spec"], record);
  return Print(object);
}

}  // namespace failover::kubernetes
