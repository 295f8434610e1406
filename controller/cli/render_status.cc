// `failoverctl status`: one screen a group.
#include <algorithm>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "controller/cli/render.h"
#include "controller/cli/words.h"

namespace failover::cli {
namespace {

constexpr int kIndent = 2;
constexpr int kMaxNotices = 8;

std::string TitleHead(const v1::GroupStatus& group, const View& view) {
  std::string head = absl::StrCat(
      Paint(view, Tone::kBold, Clean(group.name())), "   ",
      Paint(view, ToneOfState(group.state()), absl::AsciiStrToUpper(Clean(group.state()))), "   ");
  if (group.active().empty()) {
    return absl::StrCat(head, Paint(view, Tone::kBad, "roles unconfirmed"));
  }
  const v1::ServiceStatus* active = FindService(group, group.active());
  const std::string verdict = active == nullptr ? "unknown" : Clean(active->verdict());
  absl::StrAppend(&head, Clean(group.active()));
  if (verdict == "up") return absl::StrCat(head, " serves");
  return absl::StrCat(head, " is active and ", Paint(view, ToneOfVerdict(verdict), verdict));
}

std::string Title(const v1::GroupStatus& group, const View& view) {
  const std::string rest =
      absl::StrCat("mode ", Clean(group.mode()), "   epoch ", group.epoch(), "\n");
  const int columns = Columns(TitleHead(group, View{view.now_ms, view.width, false}));
  const char* gap = columns + 2 + Columns(rest) > view.width ? "\n  " : "   ";
  return absl::StrCat(TitleHead(group, view), gap, rest);
}

// Votes that are not `up`, with their reason.
std::string VoteLine(const v1::ServiceStatus& service) {
  std::vector<std::string> parts;
  bool unanimous = true;
  for (const v1::RegionStatus& region : service.regions()) {
    unanimous &= region.vote() == v1::VOTE_UP;
    std::string part = absl::StrCat(Clean(region.probe_region()), " ", VoteWord(region.vote()));
    if (region.vote() != v1::VOTE_UP && !region.why().empty())
      absl::StrAppend(&part, " (", Clean(region.why()), ")");
    if (region.vote() != v1::VOTE_UP && region.agents() == 0) absl::StrAppend(&part, ", no agent");
    parts.push_back(std::move(part));
  }
  return unanimous ? "" : absl::StrJoin(parts, ", ");
}

std::string BlockerLines(const v1::Blocker& blocker, const View& view, Tone tone) {
  std::string text = absl::StrCat(Clean(blocker.name()), blocker.text().empty() ? "" : ": ",
                                  Clean(blocker.text()));
  if (blocker.until_ms() > view.now_ms)
    absl::StrAppend(&text, ", ends ", In(view, blocker.until_ms()));
  std::string lines = Field(view, "", text, tone);
  if (!blocker.clears().empty())
    absl::StrAppend(&lines, Field(view, "", absl::StrCat("clears: ", Clean(blocker.clears()))));
  return lines;
}

std::string BelowService(const v1::ServiceStatus& service, const View& view) {
  std::string lines;
  if (const std::string votes = VoteLine(service); !votes.empty()) {
    lines =
        Field(view, "", absl::StrCat("votes: ", votes),
              ToneOfVerdict(service.verdict()) == Tone::kGood ? Tone::kWarn
                                                              : ToneOfVerdict(service.verdict()));
  }
  for (const v1::ProbeVerdict& probe : service.other_probes()) {
    if (probe.verdict() == "up") continue;
    absl::StrAppend(
        &lines,
        Field(view, "", absl::StrCat("probe ", Clean(probe.probe()), ": ", Clean(probe.verdict())),
              Tone::kWarn));
  }
  for (const v1::Blocker& blocker : service.blockers()) {
    if (blocker.active())
      absl::StrAppend(&lines, BlockerLines(blocker, view,
                                           blocker.stops_automatic() ? Tone::kBad : Tone::kWarn));
  }
  return lines;
}

Table::Cell ReadyCell(const v1::ServiceStatus& service) {
  if (service.role() == v1::ROLE_ACTIVE) return {service.verdict() == "up" ? "serves" : "-"};
  if (service.role() != v1::ROLE_STANDBY) return {"-"};
  return service.ready() ? Table::Cell{"yes", Tone::kGood} : Table::Cell{"NO", Tone::kBad};
}

Table::Cell VerdictCell(const v1::ServiceStatus& service, const View& view) {
  const std::string verdict = service.verdict().empty() ? "unknown" : Clean(service.verdict());
  const std::string since =
      service.verdict_since_ms() == 0
          ? ""
          : absl::StrCat(" ", Span(std::max<int64_t>(0, view.now_ms - service.verdict_since_ms()) /
                                   1000 * 1000));
  return {verdict + since, ToneOfVerdict(verdict)};
}

std::string ServiceTable(const v1::GroupStatus& group, const View& view) {
  Table table({{"SERVICE"},
               {"AZURE REGION", 3},
               {"ROLE"},
               {"VERDICT"},
               {"UP/DOWN/?", 1},
               {"TRAFFIC", 2},
               {"RECOVERY POINT"},
               {"RPO NOW", 4},
               {"READY"}});
  for (const v1::ServiceStatus& service : group.services()) {
    const bool standby = service.role() == v1::ROLE_STANDBY;
    table.Row(
        {Clean(service.name()),
         Clean(service.azure_region()),
         RoleWord(service.role()),
         VerdictCell(service, view),
         absl::StrCat(service.up(), "/", service.down(), "/", service.unknown()),
         {Clean(service.serving()), service.serving() == "unknown" ? Tone::kWarn : Tone::kPlain},
         standby ? Ago(view, service.record().recovery_point_ms()) : "-",
         standby ? SpanOrUnknown(service.rpo_now_ms()) : "-",
         ReadyCell(service)});
    table.Below(BelowService(service, view));
  }
  return table.Draw(view, kIndent);
}

std::string OutageLines(const v1::GroupStatus& group, const View& view) {
  const v1::OutageStatus& outage = group.outage();
  if (!outage.active()) return "";
  std::string text =
      absl::StrCat(Clean(group.active()), " down for ", Span(view.now_ms - outage.down_ms()));
  if (outage.last_good_ms() != 0) {
    absl::StrAppend(&text, "; last good answer ", Ago(view, outage.last_good_ms()),
                    ", first failure ", Ago(view, outage.first_failed_ms()));
  } else if (outage.first_failed_ms() != 0) {
    absl::StrAppend(&text, "; first failure ", Ago(view, outage.first_failed_ms()),
                    ", no good answer seen before it");
  }
  if (outage.dwell_left_ms() > 0 && !IsOpen(group.failover()))
    absl::StrAppend(&text, "; it must stay so for ", Span(outage.dwell_left_ms()), " more");
  return Field(view, "outage", text, Tone::kBad);
}

std::string LossLine(const v1::GroupStatus& group, const View& view) {
  std::string text = group.rpo_now_ms() < 0 ? "unknown: no standby holds a verified backup"
                                            : absl::StrCat("at most the changes of the last ",
                                                           Span(group.rpo_now_ms()));
  if (group.rpo_now_ms() >= 0 && !group.rpo_source().empty())
    absl::StrAppend(&text, ", by ", Clean(group.rpo_source()));
  if (group.rpo_objective_ms() > 0)
    absl::StrAppend(&text, " (objective ", Span(group.rpo_objective_ms()), ")");
  const bool bad = group.rpo_now_ms() < 0 ||
                   (group.rpo_objective_ms() > 0 && group.rpo_now_ms() > group.rpo_objective_ms());
  return Field(view, "would lose", text, bad ? Tone::kBad : Tone::kPlain);
}

std::string TimeLine(const v1::GroupStatus& group, const View& view) {
  std::string text;
  if (group.detection_bound_ms() < 0) {
    text = "no automatic failover: with these probe regions no outage can be told";
  } else if (group.forecast_rto_ms() < 0) {
    text = absl::StrCat("unknown: no switch measured yet; detection at worst ",
                        Span(group.detection_bound_ms()));
  } else {
    text = absl::StrCat("about ", Span(group.forecast_rto_ms()),
                        " at worst to detect, decide, switch and be visible");
  }
  if (group.rto_objective_ms() > 0)
    absl::StrAppend(&text, " (objective ", Span(group.rto_objective_ms()), ")");
  const bool bad =
      group.rto_objective_ms() > 0 && group.forecast_rto_ms() > group.rto_objective_ms();
  return Field(view, "would take", text, bad ? Tone::kWarn : Tone::kPlain);
}

// What the traffic layer does, when nothing but the picture itself is wrong.
std::string EnabledServices(const v1::GroupStatus& group) {
  std::vector<std::string> names;
  for (const v1::ServiceStatus& service : group.services()) {
    if (service.serving() == "enabled") names.push_back(Clean(service.name()));
  }
  return names.empty() ? "no endpoint is enabled"
                       : absl::StrCat("enabled: ", absl::StrJoin(names, ", "));
}

std::string TrafficLines(const v1::GroupStatus& group, const View& view) {
  const v1::TrafficStatus& traffic = group.traffic();
  std::string lines;
  if (!traffic.known()) {
    lines = Field(view, "traffic",
                  absl::StrCat("not read yet", traffic.problem().empty() ? "" : ": ",
                               Clean(traffic.problem())),
                  Tone::kWarn);
  } else if (!traffic.matches()) {
    lines = Field(
        view, "traffic",
        absl::StrCat("differs from the roles: ",
                     traffic.problem().empty() ? EnabledServices(group) : Clean(traffic.problem()),
                     ", read ", Ago(view, traffic.read_ms())),
        Tone::kBad);
  } else {
    lines = Field(view, "traffic",
                  absl::StrCat("as the roles say, read ", Ago(view, traffic.read_ms())));
  }
  if (traffic.path_checked_ms() == 0) {
    absl::StrAppend(&lines, Field(view, "switch path", "not checked yet", Tone::kWarn));
  } else if (traffic.path_ok()) {
    absl::StrAppend(&lines,
                    Field(view, "switch path",
                          absl::StrCat("works, checked ", Ago(view, traffic.path_checked_ms()))));
  } else {
    absl::StrAppend(&lines, Field(view, "switch path",
                                  absl::StrCat("BROKEN: ", Clean(traffic.path_problem()),
                                               ", checked ", Ago(view, traffic.path_checked_ms())),
                                  Tone::kBad));
  }
  return lines;
}

std::string PublicLine(const v1::GroupStatus& group, const View& view) {
  if (!group.has_public_url()) return "";
  std::vector<std::string> parts;
  bool good = true;
  for (const v1::PublicView& seen : group.public_views()) {
    std::string what = seen.at_ms() == 0          ? "no answer yet"
                       : !seen.success()          ? "fails"
                       : seen.served_by().empty() ? "good, by an unknown service"
                                                  : Clean(seen.served_by());
    good &= seen.success();
    parts.push_back(absl::StrCat(Clean(seen.probe_region()), ": ", what));
  }
  return Field(view, "public name",
               parts.empty() ? "nobody has looked yet" : absl::StrJoin(parts, ", "),
               good ? Tone::kPlain : Tone::kWarn);
}

std::string HeldLines(const v1::GroupStatus& group, const View& view) {
  const std::string name = Clean(group.name());
  std::string lines;
  if (group.pause().active()) {
    const v1::Pause& pause = group.pause();
    lines = Field(
        view, "paused",
        absl::StrCat("by ", ShortId(pause.who()), " ", Ago(view, pause.since_ms()),
                     pause.until_ms() == 0 ? ", until resumed"
                                           : absl::StrCat(", ends ", In(view, pause.until_ms())),
                     ": ", Clean(pause.reason()), "; end it: failoverctl resume ", name),
        Tone::kWarn);
  }
  if (group.cooldown_until_ms() > view.now_ms) {
    const int64_t since = group.cooldown_since_ms(), until = group.cooldown_until_ms();
    const std::string part =
        since == 0 || since >= until
            ? ""
            : absl::StrCat(
                  Span(view.now_ms - since), " of ", Span(until - since), " ",
                  Bar(static_cast<double>(view.now_ms - since) / static_cast<double>(until - since),
                      20),
                  ", ");
    absl::StrAppend(&lines, Field(view, "cooldown",
                                  absl::StrCat(part, Span(until - view.now_ms),
                                               " left; lift it: failoverctl ack ", name),
                                  Tone::kWarn));
  }
  if (group.frozen()) {
    std::string text;
    if (group.frozen_since_ms() != 0) {
      text = absl::StrCat("for ", Span(std::max<int64_t>(0, view.now_ms - group.frozen_since_ms())),
                          ", ");
    }
    absl::StrAppend(&text, "no restore starts: ", Clean(group.frozen_reason()));
    if (group.frozen_until_ms() > view.now_ms) {
      absl::StrAppend(&text, "; ends ", In(view, group.frozen_until_ms()),
                      " if nothing else happens");
    }
    if (group.frozen_by_operator()) absl::StrAppend(&text, "; thaw: failoverctl sync thaw ", name);
    absl::StrAppend(&lines, Field(view, "frozen", text, Tone::kWarn));
  }
  const v1::Approval& approval = group.approval();
  if (!approval.id().empty() && approval.expires_ms() > view.now_ms) {
    absl::StrAppend(
        &lines,
        Field(view, "approval",
              absl::StrCat("waits: fail over ", Clean(approval.from()), " → ", Clean(approval.to()),
                           ", ends ", In(view, approval.expires_ms()),
                           approval.denied() ? "; denied" : ""),
              Tone::kBad),
        Field(view, "",
              absl::StrCat("failoverctl approve ", name, " ", Clean(approval.id()),
                           "   or   failoverctl deny ", name, " ", Clean(approval.id())),
              Tone::kBold));
  }
  for (const v1::Blocker& blocker : group.blockers()) {
    // These three have words of their own above and in the title.
    if (!blocker.active() || blocker.name() == "mode" || blocker.name() == "paused" ||
        blocker.name() == "cooldown")
      continue;
    absl::StrAppend(&lines, BlockerLines(blocker, view, Tone::kBad));
  }
  return lines;
}

std::string NoticeLines(const v1::GroupStatus& group, const View& view) {
  std::string lines;
  for (int i = 0; i < std::min(group.notices_size(), kMaxNotices); ++i) {
    absl::StrAppend(&lines,
                    Field(view, i == 0 ? "notice" : "", Clean(group.notices(i)), Tone::kWarn));
  }
  if (group.notices_size() > kMaxNotices) {
    absl::StrAppend(&lines, Field(view, "",
                                  absl::StrCat("and ", group.notices_size() - kMaxNotices,
                                               " more (-o json shows all)")));
  }
  if (!group.would_do().empty())
    absl::StrAppend(&lines, Field(view, "would do", Clean(group.would_do()), Tone::kWarn));
  return lines;
}

// What part this controller plays: "leader, term 3", or who leads instead.
std::string Part(const v1::GetStatusResponse& status) {
  const std::string leader = Clean(status.leader_identity());
  if (status.leader() && !status.leader_election())
    return absl::StrCat("leader, term ", status.term());
  const std::string pod = leader.substr(0, leader.rfind('_'));  // less the process's random part
  if (status.leader()) return absl::StrCat("leader (", pod, "), term ", status.term());
  if (!status.leader_election()) return "not the leader";
  return leader.empty() ? "follower, nobody leads" : absl::StrCat("follower, ", pod, " leads");
}

std::string ControllerLine(const v1::GetStatusResponse& status, const View& view) {
  std::string text = absl::StrCat(
      "controller ", status.controller().empty() ? "-" : ShortId(status.controller()), ", ",
      Part(status), ", version ", Clean(status.version()), ", ", Moment(status.at_ms()), " UTC");
  std::string lines;
  for (const std::string& line : Wrap(text, view.width))
    absl::StrAppend(&lines, Paint(view, Tone::kDim, line), "\n");
  if (!status.store_ok()) {
    absl::StrAppend(&lines,
                    Paint(view, Tone::kBad,
                          status.leader() ? "the state cannot be stored: nothing new is started"
                                          : "the state cannot be read: what is shown may be old"),
                    "\n");
  }
  if (!status.leader_problem().empty()) {
    for (const std::string& line :
         Wrap(absl::StrCat("no part in the election of a leader: ", Clean(status.leader_problem())),
              view.width)) {
      absl::StrAppend(&lines, Paint(view, Tone::kBad, line), "\n");
    }
  }
  if (!status.config_error().empty()) {
    for (const std::string& line :
         Wrap(absl::StrCat("the configuration on disk is refused, the old one is in force: ",
                           Clean(status.config_error())),
              view.width)) {
      absl::StrAppend(&lines, Paint(view, Tone::kBad, line), "\n");
    }
  }
  return lines;
}

}  // namespace

std::string GroupScreen(const v1::GroupStatus& group, const View& view) {
  if (const std::string broken = NotWorkedOn(group); !broken.empty()) {
    return absl::StrCat(Title(group, view), Field(view, "stopped", Clean(broken), Tone::kBad),
                        Field(view, "next",
                              "mend that: nothing is synchronised, and no failover can "
                              "start, until then",
                              Tone::kBold));
  }
  std::string quorum =
      absl::StrCat(group.quorum(), " of ", Count(group.probe_regions_size(), "probe region"),
                   " decide: ", Clean(absl::StrJoin(group.probe_regions(), ", ")));
  std::string result = absl::StrCat(Title(group, view), ServiceTable(group, view), "\n");
  absl::StrAppend(&result, OutageLines(group, view), FailoverLines(group, view),
                  HeldLines(group, view));
  absl::StrAppend(&result, LossLine(group, view), TimeLine(group, view), SyncLines(group, view),
                  OperationLines(group, view));
  absl::StrAppend(&result, TrafficLines(group, view), PublicLine(group, view),
                  Field(view, "quorum", quorum), NoticeLines(group, view));
  absl::StrAppend(&result, Field(view, "next", NextStep(group, view), Tone::kBold));
  return result;
}

std::string StatusScreen(const v1::GetStatusResponse& status, const View& view) {
  std::string result = ControllerLine(status, view);
  for (const v1::GroupStatus& group : status.groups())
    absl::StrAppend(&result, "\n", GroupScreen(group, view));
  if (status.groups().empty()) absl::StrAppend(&result, "\nno failover group is configured\n");
  return result;
}

int StatusExit(const v1::GetStatusResponse& status) {
  if (status.groups().empty()) return kCannotTell;
  int exit = status.store_ok() ? kGood : kDegraded;
  for (const v1::GroupStatus& group : status.groups()) {
    const bool cannot_tell = group.state() == "unknown" || group.state().empty();
    exit = std::max<int>(exit, group.state() == "healthy" ? kGood
                               : cannot_tell              ? kCannotTell
                                                          : kDegraded);
  }
  return exit;
}

}  // namespace failover::cli
