// `failoverctl check`: is every group ready now, and what does it promise?
#include <algorithm>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "controller/cli/render.h"
#include "controller/cli/words.h"

namespace failover::cli {
namespace {

constexpr int64_t kDayMs = 24 * 3600 * 1000;

// Facts of Azure (its page on backup and restore), the same for every group.
constexpr const char* kInNoBackup =
    "custom host names and their certificates, CA certificates, virtual network, managed "
    "identities, diagnostic settings, "
    "protocol and cipher settings, developer portal content, usage data";

bool StopsByMode(const v1::GroupStatus& group, const v1::Blocker& blocker) {
  return group.mode() == "manual" ? blocker.stops_manual() : blocker.stops_automatic();
}

std::string Names(const google::protobuf::RepeatedPtrField<v1::Blocker>& blockers,
                  const v1::GroupStatus& group) {
  std::vector<std::string> names;
  for (const v1::Blocker& blocker : blockers) {
    if (blocker.active() && StopsByMode(group, blocker)) names.push_back(Clean(blocker.name()));
  }
  return absl::StrJoin(names, ", ");
}

std::string Objective(int64_t objective_ms, int64_t value_ms) {
  if (objective_ms <= 0) return "; no objective";
  const char* meets = value_ms < 0 ? "" : value_ms > objective_ms ? ", NOT met" : ", met";
  return absl::StrCat("; objective ", Span(objective_ms), meets);
}

bool Misses(int64_t objective_ms, int64_t value_ms) {
  return objective_ms > 0 && value_ms > objective_ms;
}

std::string RtoLines(const v1::GroupStatus& group, const View& view) {
  if (group.detection_bound_ms() < 0) {
    return Field(
        view, "detection",
        "never: every probe region lies in the active service's or the controller's region",
        Tone::kBad);
  }
  std::string lines = Field(view, "detection",
                            absl::StrCat("worst case ", Span(group.detection_bound_ms()),
                                         ", at least ", Span(group.detection_floor_ms())));
  if (group.forecast_rto_ms() < 0) {
    return lines + Field(view, "RTO",
                         absl::StrCat("no forecast: no switch has been measured yet",
                                      Objective(group.rto_objective_ms(), -1)),
                         Tone::kWarn);
  }
  std::string text = absl::StrCat("forecast ", Span(group.forecast_rto_ms()), " at worst = detect ",
                                  Span(group.detection_bound_ms()), " + dwell beyond it ",
                                  Span(group.min_down_ms()));
  if (group.forecast_switch_ms() > 0)
    absl::StrAppend(&text, " + switch ", Span(group.forecast_switch_ms()));
  if (group.has_public_url())
    absl::StrAppend(&text, " + visible ", Span(group.forecast_visible_ms()));
  absl::StrAppend(&text, group.has_public_url() ? "" : "; ends at the switch: no public URL",
                  Objective(group.rto_objective_ms(), group.forecast_rto_ms()));
  return lines + Field(view, "RTO", text,
                       Misses(group.rto_objective_ms(), group.forecast_rto_ms()) ? Tone::kBad
                                                                                 : Tone::kPlain);
}

// A recovery point is the start of a backup; it serves from the end of its cycle to the end of the
// next one.
std::string RpoLines(const v1::GroupStatus& group, const View& view) {
  const v1::SyncStatus& sync = group.sync();
  std::string lines =
      Field(view, "RPO now",
            absl::StrCat(
                SpanOrUnknown(group.rpo_now_ms()),
                group.rpo_source().empty() ? "" : absl::StrCat(", by ", Clean(group.rpo_source())),
                Objective(group.rpo_objective_ms(), group.rpo_now_ms())),
            group.rpo_now_ms() < 0 || Misses(group.rpo_objective_ms(), group.rpo_now_ms())
                ? Tone::kBad
                : Tone::kPlain);
  if (!sync.configured())
    return lines + Field(view, "RPO floor", "none: sync is not configured", Tone::kBad);
  const int64_t cycle = group.sync_cycle_p95_ms();
  if (cycle == 0) {
    return lines + Field(view, "RPO floor",
                         absl::StrCat("above the interval of ", Span(sync.interval_ms()),
                                      ": no cycle has been measured yet"),
                         Tone::kWarn);
  }
  const int64_t floor = std::max(sync.interval_ms(), cycle) + cycle;
  absl::StrAppend(&lines,
                  Field(view, "RPO floor",
                        absl::StrCat(Span(floor), " just before a run ends = every ",
                                     Span(std::max(sync.interval_ms(), cycle)), " + cycle ",
                                     Span(cycle), Objective(group.rpo_objective_ms(), floor)),
                        Misses(group.rpo_objective_ms(), floor) ? Tone::kBad : Tone::kPlain));
  absl::StrAppend(&lines,
                  Field(view, "sync cycle",
                        absl::StrCat("p95 ", Span(cycle), " (backup ", Span(group.backup_p95_ms()),
                                     ", restore ", Span(group.restore_p95_ms()), ")")));
  const double minutes =
      static_cast<double>(group.restore_p95_ms()) *
      (static_cast<double>(kDayMs) / static_cast<double>(std::max(sync.interval_ms(), cycle))) /
      60000;
  absl::StrAppend(
      &lines, Field(view, "unready",
                    absl::StrFormat("%.0f minutes a day and standby, while it is being restored",
                                    minutes)));
  return lines;
}

std::string BlockerTable(const v1::GroupStatus& group, const View& view) {
  std::string lines;
  const auto add = [&](const std::string& scope, const v1::Blocker& blocker) {
    if (!blocker.active()) return;
    const Tone tone = StopsByMode(group, blocker) ? Tone::kBad : Tone::kWarn;
    absl::StrAppend(
        &lines, Field(view, lines.empty() ? "blockers" : "",
                      absl::StrCat(scope, Clean(blocker.name()), blocker.text().empty() ? "" : ": ",
                                   Clean(blocker.text()),
                                   StopsByMode(group, blocker) ? "" : " (does not hold this mode)"),
                      tone));
    if (!blocker.clears().empty())
      absl::StrAppend(&lines, Field(view, "", absl::StrCat("clears: ", Clean(blocker.clears()))));
  };
  for (const v1::Blocker& blocker : group.blockers()) add("", blocker);
  for (const v1::ServiceStatus& service : group.services()) {
    for (const v1::Blocker& blocker : service.blockers())
      add(absl::StrCat(Clean(service.name()), ": "), blocker);
  }
  return lines.empty() ? Field(view, "blockers", "none", Tone::kGood) : lines;
}

std::string LastSwitches(const v1::GroupStatus& group, const View& view) {
  std::string lines;
  for (const v1::LastSwitch& last : group.last_switches()) {
    absl::StrAppend(
        &lines, Field(view, lines.empty() ? "last switch" : "",
                      absl::StrCat(Clean(last.trigger()), " ", Ago(view, last.at_ms()),
                                   last.success() ? ", confirmed" : ", NOT confirmed", ", RTO ",
                                   RtoWords(last.rto()), ", RPO ", SpanOrUnknown(last.rpo_ms())),
                      last.success() ? Tone::kPlain : Tone::kBad));
  }
  return lines.empty()
             ? Field(view, "last switch", "never: the promise has not been tried", Tone::kWarn)
             : lines;
}

std::string GroupSheet(const v1::GroupStatus& group, const View& view) {
  const std::string why = WhyNoFailover(group);
  const std::string how = group.mode() == "automatic" ? "by itself"
                          : group.mode() == "approve" ? "on approval"
                                                      : "on order";
  std::string sheet = absl::StrCat(
      Paint(view, Tone::kBold, Clean(group.name())), "   ",
      why.empty() ? Paint(view, Tone::kGood, "READY") : Paint(view, Tone::kBad, "NOT READY"),
      "   mode ", Clean(group.mode()), "   epoch ", group.epoch(), "\n");
  absl::StrAppend(
      &sheet,
      why.empty()
          ? Field(view, "verdict",
                  absl::StrCat("would fail over now ", how, ": ", Clean(group.active()), " → ",
                               Clean(group.best_standby())),
                  Tone::kGood)
          : Field(view, "verdict", absl::StrCat("would NOT fail over now: ", why), Tone::kBad));
  if (!NotWorkedOn(group).empty()) return sheet;
  absl::StrAppend(&sheet, RtoLines(group, view), RpoLines(group, view));
  if (group.max_data_loss_ms() > 0)
    absl::StrAppend(&sheet, Field(view, "at most",
                                  absl::StrCat("a standby older than ",
                                               Span(group.max_data_loss_ms()), " is not chosen")));
  absl::StrAppend(
      &sheet, Field(view, "limit",
                    absl::StrCat(group.failovers_last_day(), " of ", group.failovers_max_per_day(),
                                 " automatic failovers used in 24 h")));
  absl::StrAppend(&sheet, Field(view, "quorum",
                                absl::StrCat(group.quorum(), " of ",
                                             Count(group.probe_regions_size(), "probe region"))));
  absl::StrAppend(&sheet, LastSwitches(group, view), BlockerTable(group, view));
  if (group.not_compared_size() > 0)
    absl::StrAppend(&sheet,
                    Field(view, "not compared", Clean(absl::StrJoin(group.not_compared(), ", "))));
  return sheet;
}

}  // namespace

std::string WhyNoFailover(const v1::GroupStatus& group) {
  if (std::string broken = NotWorkedOn(group); !broken.empty()) return Clean(broken);
  if (group.state().empty() || group.mode().empty())
    return "the controller has not evaluated the group yet";
  if (group.mode() == "observe") return "mode observe only records what it would do";
  if (std::string names = Names(group.blockers(), group); !names.empty()) return names;
  if (!group.best_standby().empty()) return "";
  std::vector<std::string> parts;
  for (const v1::ServiceStatus& service : group.services()) {
    if (service.role() != v1::ROLE_STANDBY) continue;
    const std::string names = Names(service.blockers(), group);
    if (names.empty()) return "";  // a manual order may choose what the automatic choice leaves out
    parts.push_back(absl::StrCat(Clean(service.name()), " (", names, ")"));
  }
  return parts.empty() ? "no standby"
                       : absl::StrCat("no standby is ready: ", absl::StrJoin(parts, "; "));
}

std::string CheckSheet(const v1::GetStatusResponse& status, const View& view) {
  std::string sheet;
  for (const v1::GroupStatus& group : status.groups())
    absl::StrAppend(&sheet, sheet.empty() ? "" : "\n", GroupSheet(group, view));
  if (status.groups().empty()) sheet = "no failover group is configured\n";
  absl::StrAppend(&sheet, "\n", Paint(view, Tone::kBold, "In no backup"), "\n",
                  Field(view, "by Azure", kInNoBackup));
  if (status.not_built_yet_size() > 0) {
    absl::StrAppend(&sheet, Paint(view, Tone::kBold, "Not built yet"), "\n");
    absl::StrAppend(&sheet, Field(view, absl::StrCat("in ", Clean(status.version())),
                                  Clean(absl::StrJoin(status.not_built_yet(), "; "))));
  }
  return sheet;
}

int CheckExit(const v1::GetStatusResponse& status) {
  if (status.groups().empty()) return kCannotTell;
  int exit = kGood;
  for (const v1::GroupStatus& group : status.groups()) {
    if (group.state().empty()) exit = std::max<int>(exit, kCannotTell);
    if (!WhyNoFailover(group).empty()) exit = std::max<int>(exit, kDegraded);
  }
  return exit;
}

}  // namespace failover::cli
