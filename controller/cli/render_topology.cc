// The topology before and after a destructive order.
#include "absl/strings/str_cat.h"
#include "controller/cli/render.h"
#include "controller/cli/words.h"

namespace failover::cli {
namespace {

std::string Content(const v1::ServiceStatus& service, const View& view) {
  if (service.role() == v1::ROLE_ACTIVE) return "its own";
  if (service.record().recovery_point_ms() == 0) {
    return service.record().not_resynced() ? "its own, not resynced" : "never synced";
  }
  std::string text = absl::StrCat("of ", Ago(view, service.record().recovery_point_ms()));
  if (service.record().content_unverified()) absl::StrAppend(&text, ", unverified");
  if (service.record().not_resynced()) absl::StrAppend(&text, ", not resynced");
  return text;
}

std::string Draw(const v1::GroupStatus& group, const View& view) {
  Table table({{"SERVICE"}, {"AZURE REGION", 1}, {"ROLE"}, {"TRAFFIC"}, {"VERDICT"}, {"CONTENT"}});
  for (const v1::ServiceStatus& service : group.services()) {
    table.Row(
        {Clean(service.name()),
         Clean(service.azure_region()),
         {RoleWord(service.role()), service.role() == v1::ROLE_ACTIVE ? Tone::kBold : Tone::kPlain},
         Clean(service.serving()),
         {Clean(service.verdict()), ToneOfVerdict(service.verdict())},
         Content(service, view)});
  }
  return table.Draw(view, 2);
}

void MakeActive(const std::string& name, bool moves_traffic, v1::GroupStatus* group) {
  for (v1::ServiceStatus& service : *group->mutable_services()) {
    const bool mine = service.name() == name;
    if (!mine && service.role() == v1::ROLE_ACTIVE)
      service.mutable_record()->set_not_resynced(true);
    service.set_role(mine ? v1::ROLE_ACTIVE : v1::ROLE_STANDBY);
    if (moves_traffic) service.set_serving(mine ? "enabled" : "disabled");
  }
}

std::string Replaced(const v1::GroupStatus& group, const std::string& standby) {
  return absl::StrCat("The own content of ", Clean(standby),
                      " is backed up, that backup is kept, and the content is replaced by that of ",
                      group.active().empty() ? "the active service" : Clean(group.active()), ".");
}

}  // namespace

std::string Topology(const v1::GroupStatus& group, const View& view) {
  return absl::StrCat(Paint(view, Tone::kBold, "Now"), " (epoch ", group.epoch(), ")\n",
                      Draw(group, view));
}

std::string TopologyAfter(const v1::GroupStatus& group, const v1::OrderRequest& order,
                          const View& view) {
  v1::GroupStatus after = group;
  std::string note;
  switch (order.order_case()) {
    case v1::OrderRequest::kFailover:
      MakeActive(order.failover().to(), true, &after);
      note =
          group.rpo_now_ms() < 0
              ? ""
              : absl::StrCat("Changes that ", Clean(order.failover().to()),
                             " does not hold are lost to callers until somebody makes them again.");
      break;
    case v1::OrderRequest::kAdopt:
      MakeActive(order.adopt().service(), false, &after);
      note = "Roles change; traffic is left as it is.";
      break;
    case v1::OrderRequest::kSyncRun:
      note = Replaced(group, order.sync_run().adopt());
      break;
    case v1::OrderRequest::kStandbyDiscard:
      note = Replaced(group, order.standby_discard().standby());
      break;
    case v1::OrderRequest::kOperationsAbandon:
      note = absl::StrCat("Operation ", Clean(order.operations_abandon().id()),
                          " counts as ended; nobody follows what it still does in Azure.");
      break;
    default:
      break;
  }
  std::string text = absl::StrCat(Paint(view, Tone::kBold, "After"), "\n", Draw(after, view));
  if (!note.empty()) {
    for (const std::string& line : Wrap(note, view.width)) absl::StrAppend(&text, line, "\n");
  }
  return text;
}

}  // namespace failover::cli
