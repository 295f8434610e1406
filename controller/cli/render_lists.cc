// Lists: history, agents, operations, backups, differences.
#include <algorithm>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "controller/cli/render.h"
#include "controller/cli/words.h"

namespace failover::cli {
namespace {

Tone ToneOfOutcome(const std::string& outcome) {
  return outcome == "failed"                            ? Tone::kBad
         : outcome == "refused" || outcome == "unknown" ? Tone::kWarn
                                                        : Tone::kPlain;
}

std::string DecisionLines(const v1::Decision& decision, const View& view) {
  std::vector<std::string> votes, standbys;
  for (const v1::RegionVote& vote : decision.votes())
    votes.push_back(absl::StrCat(Clean(vote.probe_region()), " ", Clean(vote.vote())));
  for (const v1::StandbyDecision& standby : decision.standbys()) {
    standbys.push_back(
        absl::StrCat(Clean(standby.service()), " ",
                     standby.blockers().empty()
                         ? "ready"
                         : absl::StrCat("(", Clean(absl::StrJoin(standby.blockers(), ", ")), ")"),
                     ", RPO ", SpanOrUnknown(standby.rpo_ms())));
  }
  std::string lines = absl::StrCat(Moment(decision.at_ms()), "  ",
                                   Paint(view, Tone::kBold, Clean(decision.action())), "  verdict ",
                                   Clean(decision.verdict()), ", epoch ", decision.epoch(), "\n");
  absl::StrAppend(&lines, Field(view, "rule", Clean(decision.rule())));
  if (!votes.empty()) absl::StrAppend(&lines, Field(view, "votes", absl::StrJoin(votes, ", ")));
  if (!decision.group_blockers().empty())
    absl::StrAppend(&lines,
                    Field(view, "blockers", Clean(absl::StrJoin(decision.group_blockers(), ", "))));
  if (!standbys.empty())
    absl::StrAppend(&lines, Field(view, "standbys", absl::StrJoin(standbys, "; ")));
  if (!decision.choice().empty())
    absl::StrAppend(&lines, Field(view, "choice", Clean(decision.choice())));
  return lines;
}

Table::Cell Expiry(const View& view, int64_t at_ms) {
  if (at_ms == 0) return {"-"};
  if (at_ms <= view.now_ms) return {"ENDED", Tone::kBad};
  return {In(view, at_ms),
          at_ms - view.now_ms < int64_t{14} * 86400 * 1000 ? Tone::kWarn : Tone::kPlain};
}

}  // namespace

std::string HistoryList(const v1::GetHistoryResponse& history, const View& view) {
  std::string text;
  if (history.entries().empty() && history.decisions().empty()) text = "nothing has happened yet\n";
  constexpr int kColumn = 31;  // "2026-11-25 08:30:12  failover  "
  for (const v1::HistoryEntry& entry : history.entries()) {
    std::string sentence = Clean(entry.text());
    if (!entry.outcome().empty() && entry.outcome() != "ok")
      absl::StrAppend(&sentence, " [", Clean(entry.outcome()), "]");
    if (!entry.who().empty()) absl::StrAppend(&sentence, " (", Clean(entry.who()), ")");
    std::string kind = Clean(entry.kind());
    kind.resize(std::max<size_t>(kind.size(), 8), ' ');
    std::string start = absl::StrCat(Moment(entry.at_ms()), "  ", kind, "  ");
    for (const std::string& line : Wrap(sentence, view.width - kColumn)) {
      absl::StrAppend(&text, start, Paint(view, ToneOfOutcome(entry.outcome()), line), "\n");
      start.assign(kColumn, ' ');
    }
  }
  if (!history.decisions().empty()) {
    absl::StrAppend(&text, "\n", Paint(view, Tone::kBold, "Decisions"), "\n");
    for (const v1::Decision& decision : history.decisions())
      absl::StrAppend(&text, DecisionLines(decision, view));
  }
  if (!history.chain_intact()) {
    absl::StrAppend(
        &text,
        Paint(view, Tone::kBad, "the hash chain is BROKEN: somebody has changed this history"),
        "\n");
  }
  return text;
}

std::string AgentList(const v1::ListAgentsResponse& agents, const View& view) {
  if (agents.agents().empty()) return "no probe region is configured\n";
  Table table({{"PROBE REGION"},
               {"AGENT"},
               {"CONNECTED"},
               {"LAST REPORT"},
               {"DELAY", 3, true},
               {"RESULTS", 2, true},
               {"REFUSED", 1, true},
               {"CERTIFICATE ENDS", 4},
               {"VERSION", 5},
               {"PEER", 6}});
  for (const v1::AgentInfo& agent : agents.agents()) {
    const bool seen = !agent.name().empty();
    table.Row({Clean(agent.probe_region()),
               seen ? Clean(agent.name()) : "-",
               agent.connected() ? Table::Cell{"yes", Tone::kGood}
                                 : Table::Cell{seen ? "NO" : "never", Tone::kBad},
               Ago(view, agent.last_report_ms()),
               seen ? absl::StrCat(agent.report_delay_ms(), "ms") : "-",
               absl::StrCat(agent.results()),
               {absl::StrCat(agent.refused()), agent.refused() > 0 ? Tone::kWarn : Tone::kPlain},
               Expiry(view, agent.certificate_expiry_ms()),
               Clean(agent.version()),
               Clean(agent.peer())});
    if (agent.refused() > 0 && !agent.refused_why().empty())
      table.Below(
          Field(view, "", absl::StrCat("refused: ", Clean(agent.refused_why())), Tone::kWarn));
    if (agent.connected() && agent.generation() != agent.current_generation()) {
      table.Below(Field(view, "",
                        absl::StrCat("obeys assignment ", agent.generation(), ", not yet ",
                                     agent.current_generation()),
                        Tone::kWarn));
    }
  }
  return table.Draw(view, 0);
}

int AgentExit(const v1::ListAgentsResponse& agents) {
  if (agents.agents().empty()) return kCannotTell;
  std::vector<std::string> missing, present;
  for (const v1::AgentInfo& agent : agents.agents())
    (agent.connected() ? present : missing).push_back(agent.probe_region());
  for (const std::string& region : missing) {
    if (std::find(present.begin(), present.end(), region) == present.end())
      return kDegraded;  // nobody else probes from there
  }
  return kGood;
}

std::string OperationList(const v1::ListOperationsResponse& operations, const View& view) {
  if (operations.operations().empty()) return "no operation\n";
  Table table({{"OPERATION"},
               {"KIND"},
               {"SERVICE"},
               {"STATE"},
               {"BEGAN"},
               {"TOOK", 1},
               {"RUN", 2},
               {"PURPOSE", 3}});
  for (const v1::Operation& operation : operations.operations()) {
    const bool bad = NeedsOperator(operation) || operation.state() == v1::OPERATION_STATE_FAILED ||
                     operation.state() == v1::OPERATION_STATE_AMBIGUOUS;
    const int64_t end = operation.ended_ms() != 0 ? operation.ended_ms() : view.now_ms;
    table.Row({Clean(operation.id()),
               KindWord(operation.kind()),
               Clean(operation.service()),
               {OperationStateWord(operation.state()), bad ? Tone::kBad : Tone::kPlain},
               Ago(view, operation.intent_ms()),
               Span(end - operation.intent_ms()),
               Clean(operation.run_id()),
               Clean(operation.purpose())});
    const v1::AzureError& error = operation.error();
    if (!error.code().empty() || !error.message().empty() || error.http_status() != 0) {
      std::vector<std::string> parts;
      if (error.http_status() != 0) parts.push_back(absl::StrCat("HTTP ", error.http_status()));
      if (!error.code().empty()) parts.push_back(Clean(error.code()));
      if (!error.message().empty()) parts.push_back(Clean(error.message()));
      if (!error.request_id().empty())
        parts.push_back(absl::StrCat("request ", Clean(error.request_id())));
      if (!error.correlation_id().empty())
        parts.push_back(absl::StrCat("correlation ", Clean(error.correlation_id())));
      table.Below(Field(view, "", absl::StrJoin(parts, ", "), Tone::kBad));
    }
  }
  return table.Draw(view, 0);
}

std::string BackupList(const v1::ListBackupsResponse& backups, const View& view) {
  if (backups.backups().empty()) return "no backup with our manifest\n";
  Table table({{"STARTED"},
               {"SERVICE"},
               {"TOOK", 3},
               {"SIZE", 2, true},
               {"EXPIRES"},
               {"CHECKED"},
               {"VERIFIED ON"},
               {"IN FLUX", 4, true},
               {"PURPOSE", 1}});
  for (const v1::BackupRecord& backup : backups.backups()) {
    const bool expired = backup.expires_ms() != 0 && backup.expires_ms() <= view.now_ms;
    table.Row(
        {Ago(view, backup.started_ms()), Clean(backup.service()),
         backup.ended_ms() == 0 ? "-" : Span(backup.ended_ms() - backup.started_ms()),
         Size(backup.size_bytes()),
         backup.kept()              ? Table::Cell{"kept"}
         : expired                  ? Table::Cell{"EXPIRED", Tone::kBad}
         : backup.expires_ms() == 0 ? Table::Cell{"-"}
                                    : Table::Cell{In(view, backup.expires_ms())},
         backup.checked() ? Table::Cell{"yes"} : Table::Cell{"NO", Tone::kBad},
         backup.verified_on().empty() ? "-" : Clean(absl::StrJoin(backup.verified_on(), ", ")),
         absl::StrCat(backup.in_flux()), Clean(backup.purpose())});
    table.Below(Field(view, "", Clean(backup.blob()), Tone::kDim));
  }
  return table.Draw(view, 0);
}

std::string DiffList(const v1::SyncDiffResponse& diff, const View& view) {
  const int total = diff.changed() + diff.only_on_active() + diff.only_on_standby();
  std::string text;
  const std::string head =
      total == 0
          ? absl::StrCat(Clean(diff.standby()), " carries what ", Clean(diff.active()), " carries")
          : absl::StrCat(Count(total, "difference"), " of ", Clean(diff.standby()), " against ",
                         Clean(diff.active()), ": ", diff.changed(), " changed, ",
                         diff.only_on_active(), " only on ", Clean(diff.active()), ", ",
                         diff.only_on_standby(), " only on ", Clean(diff.standby()));
  for (const std::string& line : Wrap(head, view.width))
    absl::StrAppend(&text, Paint(view, total == 0 ? Tone::kGood : Tone::kWarn, line), "\n");
  for (const std::string& difference : diff.differences())
    absl::StrAppend(&text, "  ", Clean(difference), "\n");
  if (diff.differences_size() < total)
    absl::StrAppend(&text, "  and ", total - diff.differences_size(), " more\n");
  if (!diff.not_compared().empty()) {
    for (const std::string& line :
         Wrap(absl::StrCat("not compared: ", Clean(absl::StrJoin(diff.not_compared(), ", "))),
              view.width))
      absl::StrAppend(&text, Paint(view, Tone::kDim, line), "\n");
  }
  return text;
}

}  // namespace failover::cli
