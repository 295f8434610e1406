// What an operator should do next: the first rule that holds, most urgent first.
#include <optional>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "controller/cli/render.h"
#include "controller/cli/words.h"

namespace failover::cli {
namespace {

// The first active blocker that stops an automatic failover; `skip_mode` leaves out the mode
// itself.
const v1::Blocker* FirstBlocker(const google::protobuf::RepeatedPtrField<v1::Blocker>& blockers,
                                bool manual, bool skip_mode) {
  for (const v1::Blocker& blocker : blockers) {
    const bool stops = manual ? blocker.stops_manual() : blocker.stops_automatic();
    if (blocker.active() && stops && !(skip_mode && blocker.name() == "mode")) return &blocker;
  }
  return nullptr;
}

std::string Cure(const v1::Blocker& blocker, const View& view) {
  if (!blocker.clears().empty()) return Clean(blocker.clears());
  if (blocker.until_ms() > view.now_ms)
    return absl::StrCat(Clean(blocker.name()), " ends ", In(view, blocker.until_ms()));
  return absl::StrCat("wait until ", Clean(blocker.name()), " is over");
}

std::string StandbyDoubt(const v1::GroupStatus& group, const View& view) {
  for (const v1::ServiceStatus& service : group.services()) {
    if (service.role() != v1::ROLE_STANDBY || service.ready()) continue;
    const v1::Blocker* blocker = FirstBlocker(service.blockers(), false, false);
    return absl::StrCat(Clean(service.name()), " is not ready",
                        blocker == nullptr ? ""
                                           : absl::StrCat(" (", Clean(blocker->name()),
                                                          "): ", Cure(*blocker, view)));
  }
  return "configure a standby";
}

std::string InOutage(const v1::GroupStatus& group, const View& view) {
  const std::string name = Clean(group.name());
  if (group.best_standby().empty()) {
    return absl::StrCat("no failover is possible: ", StandbyDoubt(group, view),
                        "; or force a blocker by name: failoverctl failover ", name,
                        " --to STANDBY --force BLOCKER --reason TEXT");
  }
  const v1::Blocker* blocker = FirstBlocker(group.blockers(), false, true);
  if (blocker != nullptr && blocker->stops_manual())
    return absl::StrCat("no failover is possible (", Clean(blocker->name()),
                        "): ", Cure(*blocker, view));
  if (blocker != nullptr) {
    return absl::StrCat("the automatic failover is held by ", Clean(blocker->name()), ": ",
                        Cure(*blocker, view), "; an operator may act: failoverctl failover ", name,
                        " --reason TEXT");
  }
  if (group.mode() == "automatic" || group.mode() == "approve") {
    const std::string what =
        group.mode() == "automatic"
            ? absl::StrCat("traffic moves to ", Clean(group.best_standby()))
            : absl::StrCat("approval is asked to move traffic to ", Clean(group.best_standby()));
    return group.outage().dwell_left_ms() > 0
               ? absl::StrCat(what, " in ", Span(group.outage().dwell_left_ms()),
                              " if it stays down")
               : absl::StrCat(what, " now");
  }
  return absl::StrCat("mode ", Clean(group.mode()), " acts on order only: failoverctl failover ",
                      name, " --reason TEXT");
}

// Rules that hold whatever the verdict says.
std::optional<std::string> Urgent(const v1::GroupStatus& group, const View& view) {
  const std::string name = Clean(group.name());
  if (IsOpen(group.failover())) {
    return group.failover().enable_sent_ms() == 0
               ? "the failover is decided; it can still abort if the active service comes back"
               : "the failover is past its point of no return and goes on by itself";
  }
  for (const v1::Blocker& blocker : group.blockers()) {
    if (blocker.active() &&
        (blocker.name() == "not_leader" || blocker.name() == "store_unavailable"))
      return absl::StrCat(Clean(blocker.name()), ": ", Cure(blocker, view));
  }
  if (group.active().empty())
    return absl::StrCat("say which service is active: failoverctl adopt ", name,
                        " --active SERVICE");
  if (group.approval().expires_ms() > view.now_ms && !group.approval().denied()) {
    return absl::StrCat("decide: failoverctl approve ", name, " ", Clean(group.approval().id()));
  }
  if (group.failover().stage() == v1::FAILOVER_STAGE_SWITCHED_NOT_SEEN &&
      !group.failover().acknowledged()) {
    return absl::StrCat("find out why the public name does not show ", Clean(group.failover().to()),
                        " (DNS, certificate); then: failoverctl ack ", name);
  }
  return std::nullopt;
}

}  // namespace

std::string NextStep(const v1::GroupStatus& group, const View& view) {
  const std::string name = Clean(group.name());
  if (std::optional<std::string> urgent = Urgent(group, view)) return *urgent;
  if (group.outage().active()) return InOutage(group, view);
  for (const v1::Operation& operation : group.open_operations()) {
    if (NeedsOperator(operation)) {
      return absl::StrCat("look at ", Clean(operation.service()),
                          " in Azure, then: failoverctl operations abandon ", name, " ",
                          Clean(operation.id()), " --reason TEXT");
    }
  }
  if (group.pause().active()) return absl::StrCat("it is paused: failoverctl resume ", name);
  const v1::Blocker* blocker = FirstBlocker(group.blockers(), false, true);
  if (blocker != nullptr && blocker->name() != "cooldown") {
    return absl::StrCat(Clean(blocker->name()), ": ", Cure(*blocker, view));
  }
  if (IsOpen(group.sync().run())) return "the sync run goes on by itself";
  if (group.best_standby().empty()) return StandbyDoubt(group, view);
  if (group.frozen_by_operator())
    return absl::StrCat("restores are frozen: failoverctl sync thaw ", name);
  if (blocker != nullptr)
    return absl::StrCat("a second failover waits for the cooldown; lift it: failoverctl ack ",
                        name);
  const bool alone = group.mode() == "automatic";
  std::string text = absl::StrCat("nothing to do: if ", Clean(group.active()), " goes down, ");
  if (group.mode() == "observe") return absl::StrCat(text, "it is only recorded (mode observe)");
  absl::StrAppend(&text, alone ? "traffic moves to " : "traffic can be moved to ",
                  Clean(group.best_standby()));
  return absl::StrCat(text, alone ? "" : group.mode() == "approve" ? " on approval" : " on order");
}

}  // namespace failover::cli
