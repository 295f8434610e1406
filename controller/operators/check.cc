#include "controller/operators/check.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "google/protobuf/descriptor.h"

namespace failover::operators {
namespace {

using google::protobuf::FieldDescriptor;

constexpr size_t kMaxString = 1024;
constexpr int kMaxList = 64;

absl::Status CheckText(const std::string& text, const FieldDescriptor& field) {
  if (text.size() > kMaxString) {
    return absl::InvalidArgumentError(absl::StrCat(field.name(), ": found ", text.size(),
                                                   " bytes; allowed: at most ", kMaxString));
  }
  const auto is_control = [](unsigned char c) { return c < 0x20 || c == 0x7f; };
  if (std::any_of(text.begin(), text.end(), is_control)) {
    return absl::InvalidArgumentError(
        absl::StrCat(field.name(), ": found a control character; allowed: text of one line"));
  }
  return absl::OkStatus();
}

absl::Status CheckField(const google::protobuf::Message& message, const FieldDescriptor& field) {
  const google::protobuf::Reflection& reflection = *message.GetReflection();
  const int count = field.is_repeated() ? reflection.FieldSize(message, &field) : 1;
  if (count > kMaxList) {
    return absl::InvalidArgumentError(
        absl::StrCat(field.name(), ": found ", count, " entries; allowed: at most ", kMaxList));
  }
  for (int i = 0; i < count; ++i) {
    absl::Status status;
    if (field.cpp_type() == FieldDescriptor::CPPTYPE_STRING) {
      status = CheckText(field.is_repeated() ? reflection.GetRepeatedString(message, &field, i)
                                             : reflection.GetString(message, &field),
                         field);
    } else if (field.cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE) {
      status = CheckBounds(field.is_repeated() ? reflection.GetRepeatedMessage(message, &field, i)
                                               : reflection.GetMessage(message, &field));
    }
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckBounds(const google::protobuf::Message& message) {
  std::vector<const FieldDescriptor*> fields;
  message.GetReflection()->ListFields(message, &fields);
  for (const FieldDescriptor* field : fields) {
    if (absl::Status status = CheckField(message, *field); !status.ok()) return status;
  }
  return absl::OkStatus();
}

absl::Status CheckOrder(const v1::OrderRequest& order) {
  if (order.group().empty())
    return absl::InvalidArgumentError(
        "group: found nothing; allowed: the name of a failover group");
  if (order.order_case() == v1::OrderRequest::ORDER_NOT_SET) {
    return absl::InvalidArgumentError(
        "order: found nothing this version knows; allowed: exactly one order");
  }
  return absl::OkStatus();
}

bool IsDangerous(const v1::OrderRequest& order) {
  switch (order.order_case()) {
    case v1::OrderRequest::kFailover:
    case v1::OrderRequest::kApprove:
    case v1::OrderRequest::kAdopt:
    case v1::OrderRequest::kStandbyDiscard:
    case v1::OrderRequest::kOperationsAbandon:
      return true;
    case v1::OrderRequest::kSyncRun:
      return !order.sync_run().adopt().empty();
    default:
      return false;
  }
}

absl::Status OrderRate::Take(const std::string& who, SteadyTime now) {
  MutexLock lock(mutex_);
  for (auto it = taken_.begin(); it != taken_.end();) {
    while (!it->second.empty() && now - it->second.front() >= absl::Minutes(1))
      it->second.pop_front();
    it = it->second.empty() ? taken_.erase(it) : std::next(it);
  }
  std::deque<SteadyTime>& mine = taken_[who];
  if (static_cast<int>(mine.size()) >= limit_) {
    const int64_t wait =
        absl::ToInt64Seconds(absl::Ceil(mine.front() + absl::Minutes(1) - now, absl::Seconds(1)));
    return absl::ResourceExhaustedError(
        absl::StrCat("found more than ", limit_, " orders of ", who,
                     " within a minute that move traffic or replace content; allowed again in ",
                     wait, "s; nothing was changed"));
  }
  mine.push_back(now);
  return absl::OkStatus();
}

}  // namespace failover::operators
