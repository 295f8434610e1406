#include "controller/runtime/operator_calls.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace failover::runtime {
namespace {

constexpr int kMaxDifferences = 1000;
constexpr size_t kMaxReason = 300;

absl::StatusOr<core::OrderBody> BodyOf(const v1::OrderRequest& request) {
  switch (request.order_case()) {
    case v1::OrderRequest::kSyncRun:
      return core::OrderSyncRun{request.sync_run().adopt()};
    case v1::OrderRequest::kStandbyDiscard:
      return core::OrderStandbyDiscard{request.standby_discard().standby()};
    case v1::OrderRequest::kSyncFreeze:
      return core::OrderFreeze{true};
    case v1::OrderRequest::kSyncThaw:
      return core::OrderFreeze{false};
    case v1::OrderRequest::kFailover:
      return core::OrderFailover{
          request.failover().to(),
          {request.failover().force().begin(), request.failover().force().end()}};
    case v1::OrderRequest::kApprove:
      return core::OrderApprove{request.approve().id(), true};
    case v1::OrderRequest::kDeny:
      return core::OrderApprove{request.deny().id(), false};
    case v1::OrderRequest::kAck:
      return core::OrderAck{};
    case v1::OrderRequest::kAdopt:
      return core::OrderAdopt{request.adopt().service()};
    case v1::OrderRequest::kPause: {
      if (request.pause().for_ms() < 0)
        return absl::InvalidArgumentError("found a negative pause; allowed: more than 0s, or none");
      const bool bounded = request.pause().for_ms() > 0;
      return core::OrderPause{
          true, bounded ? absl::Milliseconds(request.pause().for_ms()) : absl::InfiniteDuration()};
    }
    case v1::OrderRequest::kResume:
      return core::OrderPause{false};
    case v1::OrderRequest::kOperationsAbandon:
      return core::OrderAbandon{request.operations_abandon().id()};
    case v1::OrderRequest::ORDER_NOT_SET:
      break;
  }
  return absl::InvalidArgumentError("found no order that this version knows");
}

}  // namespace

absl::StatusOr<core::Order> ToOrder(const v1::OrderRequest& request, const std::string& who) {
  if (request.reason().size() > kMaxReason) {
    return absl::InvalidArgumentError(absl::StrCat("found a reason of ", request.reason().size(),
                                                   " bytes; allowed: at most ", kMaxReason));
  }
  absl::StatusOr<core::OrderBody> body = BodyOf(request);
  if (!body.ok()) return body.status();
  core::Order order;
  order.who = who;
  order.reason = request.reason();
  order.dry_run = request.dry_run();
  order.body = *std::move(body);
  return order;
}

std::string VerbOf(const v1::OrderRequest& request) {
  const google::protobuf::OneofDescriptor* oneof =
      v1::OrderRequest::descriptor()->FindOneofByName("order");
  const google::protobuf::FieldDescriptor* field =
      v1::OrderRequest::GetReflection()->GetOneofFieldDescriptor(request, oneof);
  return field == nullptr ? "none" : field->name();
}

v1::ListAgentsResponse AgentsOf(const std::vector<std::string>& probe_regions,
                                const std::vector<v1::AgentInfo>& known) {
  v1::ListAgentsResponse response;
  for (const std::string& region : probe_regions) {
    bool found = false;
    for (const v1::AgentInfo& agent : known) {
      if (agent.probe_region() != region) continue;
      *response.add_agents() = agent;
      found = true;
    }
    if (!found) response.add_agents()->set_probe_region(region);
  }
  return response;
}

v1::SyncDiffResponse DiffOf(const std::string& active, const core::Entities& on_active,
                            const std::string& standby, const core::Entities& on_standby) {
  v1::SyncDiffResponse response;
  response.set_active(active);
  response.set_standby(standby);
  const auto note = [&response](std::string text) {
    if (response.differences_size() < kMaxDifferences) response.add_differences(std::move(text));
  };
  for (const auto& [id, digest] : on_active) {
    const auto other = on_standby.find(id);
    if (other == on_standby.end()) {
      response.set_only_on_active(response.only_on_active() + 1);
      note(absl::StrCat("only on ", active, ": ", id));
    } else if (other->second != digest) {
      response.set_changed(response.changed() + 1);
      note(absl::StrCat("changed ", id));
    }
  }
  for (const auto& [id, digest] : on_standby) {
    if (on_active.contains(id)) continue;
    response.set_only_on_standby(response.only_on_standby() + 1);
    note(absl::StrCat("only on ", standby, ": ", id));
  }
  return response;
}

}  // namespace failover::runtime
