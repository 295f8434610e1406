// What is under way, and how the last of its kind ended: sync runs, failovers, operations.
#include <algorithm>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "controller/cli/render.h"
#include "controller/cli/words.h"
#include "controller/core/progress.h"

namespace failover::cli {
namespace {

const v1::Operation* OpenOperation(const v1::GroupStatus& group, const std::string& service,
                                   v1::OperationKind kind) {
  for (const v1::Operation& operation : group.open_operations()) {
    if (operation.service() == service && operation.kind() == kind && IsOpen(operation))
      return &operation;
  }
  return nullptr;
}

int64_t Expected(const v1::GroupStatus& group, v1::OperationKind kind) {
  return kind == v1::OPERATION_KIND_RESTORE ? group.restore_p95_ms() : group.backup_p95_ms();
}

std::string Progress(const v1::GroupStatus& group, const v1::Operation& operation,
                     const View& view) {
  const int64_t begun = operation.sent_ms() != 0 ? operation.sent_ms() : operation.intent_ms();
  return ElapsedOf(view.now_ms - begun, Expected(group, operation.kind()));
}

// The stages before the restores, as done, now, to come.
std::string StageLine(const v1::GroupStatus& group, const v1::SyncRun& run, const View& view) {
  std::vector<std::string> done, then;
  std::string now;
  for (int i = v1::SYNC_STAGE_PREFLIGHT; i <= v1::SYNC_STAGE_RESTORE; ++i) {
    const auto stage = static_cast<v1::SyncStage>(i);
    if (stage < run.stage()) done.push_back(SyncStageWord(stage));
    if (stage > run.stage()) then.push_back(SyncStageWord(stage));
    if (stage == run.stage()) now = SyncStageWord(stage);
  }
  std::string line = absl::StrCat("now ", now);
  if (run.stage() == v1::SYNC_STAGE_BACKUP) {
    absl::StrAppend(&line, " of ", Clean(run.source()));
    if (const auto* operation = OpenOperation(group, run.source(), v1::OPERATION_KIND_BACKUP)) {
      absl::StrAppend(&line, ", ", Progress(group, *operation, view));
    }
  } else if (run.stage() != v1::SYNC_STAGE_RESTORE && run.stage_since_ms() != 0) {
    const bool reads =
        run.stage() == v1::SYNC_STAGE_READ_BEFORE || run.stage() == v1::SYNC_STAGE_READ_AFTER;
    absl::StrAppend(&line, ", ",
                    ElapsedOf(view.now_ms - run.stage_since_ms(),
                              reads ? Forecast(group, core::kStepRead) : 0));
  }
  if (!done.empty()) absl::StrAppend(&line, "; done ", absl::StrJoin(done, ", "));
  if (!then.empty()) absl::StrAppend(&line, "; then ", absl::StrJoin(then, ", "));
  return line;
}

std::string TargetLine(const v1::GroupStatus& group, const v1::RestoreTarget& target,
                       const View& view) {
  std::string line = absl::StrCat(Clean(target.service()), ": ", RestoreStageWord(target.stage()));
  if (target.stage() == v1::RESTORE_STAGE_RESTORE ||
      target.stage() == v1::RESTORE_STAGE_OWN_BACKUP) {
    const auto kind = target.stage() == v1::RESTORE_STAGE_RESTORE ? v1::OPERATION_KIND_RESTORE
                                                                  : v1::OPERATION_KIND_BACKUP;
    if (const auto* operation = OpenOperation(group, target.service(), kind)) {
      absl::StrAppend(&line, ", ", Progress(group, *operation, view));
    }
  }
  // Verification follows the restore without an operation of its own.
  const char* step = target.stage() == v1::RESTORE_STAGE_VERIFY          ? core::kStepVerify
                     : target.stage() == v1::RESTORE_STAGE_READ_BASELINE ? core::kStepRead
                                                                         : nullptr;
  if (step != nullptr && target.stage_since_ms() != 0) {
    absl::StrAppend(&line, ", ",
                    ElapsedOf(view.now_ms - target.stage_since_ms(), Forecast(group, step)));
  }
  if (target.waiting_since_ms() != 0 && target.stage() < v1::RESTORE_STAGE_DONE) {
    absl::StrAppend(&line, " for ", Span(view.now_ms - target.waiting_since_ms()));
  }
  if (!target.reason().empty()) absl::StrAppend(&line, ": ", Clean(target.reason()));
  if (target.differences() > 0)
    absl::StrAppend(&line, ", ", Count(target.differences(), "difference"));
  return line;
}

Tone ToneOfTarget(v1::RestoreStage stage) {
  return stage == v1::RESTORE_STAGE_FAILED    ? Tone::kBad
         : stage == v1::RESTORE_STAGE_SKIPPED ? Tone::kWarn
         : stage == v1::RESTORE_STAGE_DONE    ? Tone::kGood
                                              : Tone::kPlain;
}

std::string RunLines(const v1::GroupStatus& group, const v1::SyncRun& run, const View& view) {
  // Until a whole run has ended well, the sum of what it is made of.
  const int64_t whole = Forecast(group, core::kStepRun);
  const int64_t expected = whole > 0 ? whole : group.sync_cycle_p95_ms();
  std::string head =
      absl::StrCat("run ", Clean(run.id()), " by ", Clean(run.trigger()),
                   run.who().empty() ? "" : absl::StrCat(" (", ShortId(run.who()), ")"), ", ",
                   ElapsedOf(view.now_ms - run.started_ms(), expected));
  if (expected == 0) absl::StrAppend(&head, "; no run has ended yet that tells how long");
  std::string lines = Field(view, "sync", head, Tone::kBold);
  absl::StrAppend(&lines, Field(view, "", StageLine(group, run, view)));
  for (const v1::RestoreTarget& target : run.targets()) {
    absl::StrAppend(&lines,
                    Field(view, "", TargetLine(group, target, view), ToneOfTarget(target.stage())));
  }
  return lines;
}

std::string LastRunLines(const v1::SyncRun& run, const View& view) {
  const bool failed = run.stage() == v1::SYNC_STAGE_FAILED;
  std::string text =
      absl::StrCat("run ", Clean(run.id()), failed ? " failed " : " ended ",
                   Ago(view, run.ended_ms()), ", took ", Span(run.ended_ms() - run.started_ms()));
  if (failed) absl::StrAppend(&text, ": ", Clean(run.failure()));
  std::string lines = Field(view, "sync", text, failed ? Tone::kBad : Tone::kPlain);
  for (const v1::RestoreTarget& target : run.targets()) {
    if (target.stage() == v1::RESTORE_STAGE_DONE && target.differences() == 0) continue;
    absl::StrAppend(&lines,
                    Field(view, "", TargetLine({}, target, view), ToneOfTarget(target.stage())));
  }
  return lines;
}

// Of a failover: when it was done, and when it should be by those before it, after the decision.
struct Step {
  std::string text;
  int64_t at_ms = 0;
  int64_t usual_ms = 0;
};

std::string StepLines(const v1::GroupStatus& group, const View& view) {
  const v1::Failover& f = group.failover();
  const auto usual = [&group](const char* step) { return Forecast(group, step); };
  std::vector<Step> steps = {
      {"decide", f.decided_ms()},
      {absl::StrCat("ask to enable ", Clean(f.to()), ", the point of no return"),
       f.enable_sent_ms(), usual(core::kStepEnable)},
      {absl::StrCat(Clean(f.to()), " is enabled and active"), f.switched_ms(),
       usual(core::kStepSwitch)},
      {absl::StrCat("disable ", Clean(f.from())), f.disabled_ms(), usual(core::kStepDisable)}};
  if (!f.public_url().empty()) {
    steps.push_back({"see it through the public name", f.visible_ms(), usual(core::kStepVisible)});
  }
  const int64_t elapsed = view.now_ms - f.decided_ms();
  std::string lines;
  bool current = true;
  for (const Step& step : steps) {
    const bool done = step.at_ms != 0;
    std::string when;
    if (done) {
      when = absl::StrCat(", after ", Span(step.at_ms - f.decided_ms()));
    } else if (step.usual_ms > 0) {
      when =
          absl::StrCat(elapsed > step.usual_ms ? ", later than usual: after " : ", usually after ",
                       Span(step.usual_ms));
    }
    const char* mark = done ? "[x] " : current ? "[>] " : "[ ] ";
    absl::StrAppend(&lines, Field(view, "", absl::StrCat(mark, step.text, when),
                                  done      ? Tone::kGood
                                  : current ? Tone::kBold
                                            : Tone::kDim));
    current = current && done;
  }
  return lines;
}

}  // namespace

std::string SyncLines(const v1::GroupStatus& group, const View& view) {
  const v1::SyncStatus& sync = group.sync();
  if (!sync.configured())
    return Field(view, "sync", "not configured: the standbys keep what they have", Tone::kWarn);
  const bool open = IsOpen(sync.run());
  std::string lines;
  if (open) {
    lines = RunLines(group, sync.run(), view);
  } else if (sync.run().stage() != v1::SYNC_STAGE_UNSPECIFIED) {
    lines = LastRunLines(sync.run(), view);
  } else {
    lines = Field(view, "sync", "no run yet");
  }
  std::string next;
  if (!open && sync.next_run_ms() != 0)
    next = absl::StrCat("next run ", In(view, sync.next_run_ms()));
  if (!open && sync.interval_ms() != 0)
    absl::StrAppend(&next, next.empty() ? "" : ", ", "every ", Span(sync.interval_ms()));
  if (group.sync_cycle_p95_ms() != 0)
    absl::StrAppend(&next, next.empty() ? "" : ", ", "cycle p95 ", Span(group.sync_cycle_p95_ms()));
  if (!next.empty()) absl::StrAppend(&lines, Field(view, "", next));
  if (sync.failures_in_a_row() > 0) {
    absl::StrAppend(
        &lines,
        Field(view, "", absl::StrCat(Count(sync.failures_in_a_row(), "failure"), " in a row"),
              Tone::kBad));
  }
  if (!sync.holding().empty())
    absl::StrAppend(&lines,
                    Field(view, "", absl::StrCat("waits: ", Clean(sync.holding())), Tone::kWarn));
  return lines;
}

std::string FailoverLines(const v1::GroupStatus& group, const View& view) {
  const v1::Failover& f = group.failover();
  if (f.stage() == v1::FAILOVER_STAGE_UNSPECIFIED) return "";
  const std::string title = absl::StrCat(
      Clean(f.id()), " ", Clean(f.from()), " → ", Clean(f.to()), " (", Clean(f.trigger()),
      f.who().empty() ? "" : absl::StrCat(", ", ShortId(f.who())), ")");
  std::string lines;
  if (IsOpen(f)) {
    lines = Field(
        view, "failover",
        absl::StrCat(title, ", since the decision ",
                     ElapsedOf(view.now_ms - f.decided_ms(), Forecast(group, core::kStepFailover))),
        Tone::kBold);
    absl::StrAppend(&lines, StepLines(group, view));
    if (f.enable_attempts() > 1)
      absl::StrAppend(
          &lines, Field(view, "",
                        absl::StrCat("attempt ", f.enable_attempts(), " to enable ", Clean(f.to())),
                        Tone::kWarn));
  } else {
    const Tone tone = f.stage() == v1::FAILOVER_STAGE_DONE      ? Tone::kPlain
                      : f.stage() == v1::FAILOVER_STAGE_ABORTED ? Tone::kWarn
                                                                : Tone::kBad;
    lines =
        Field(view, "failover",
              absl::StrCat(title, ", ", Ago(view, f.ended_ms()), ": ", Clean(f.outcome())), tone);
    if (f.stage() != v1::FAILOVER_STAGE_ABORTED) {
      absl::StrAppend(
          &lines, Field(view, "", absl::StrCat("RTO ", RtoWords(group.rto()))),
          Field(view, "",
                absl::StrCat(
                    "RPO ", SpanOrUnknown(f.rpo_ms()),
                    f.rpo_source().empty() ? "" : absl::StrCat(" (", Clean(f.rpo_source()), ")"),
                    f.acknowledged() ? "; acknowledged" : "")));
    }
  }
  if (!f.forced().empty())
    absl::StrAppend(
        &lines, Field(view, "", absl::StrCat("forced: ", Clean(absl::StrJoin(f.forced(), ", "))),
                      Tone::kWarn));
  if (!f.reason().empty())
    absl::StrAppend(&lines, Field(view, "", absl::StrCat("reason: ", Clean(f.reason()))));
  return lines;
}

std::string OperationLines(const v1::GroupStatus& group, const View& view) {
  std::string lines;
  for (const v1::Operation& operation : group.open_operations()) {
    const bool unclear =
        NeedsOperator(operation) || operation.state() == v1::OPERATION_STATE_AMBIGUOUS;
    // The lines of the open run tell of its own operation already.
    const bool told =
        !unclear && IsOpen(group.sync().run()) && operation.run_id() == group.sync().run().id();
    if (!IsOpen(operation) || told) continue;
    std::string text = absl::StrCat(
        KindWord(operation.kind()), " ", Clean(operation.id()), unclear ? " on " : " of ",
        Clean(operation.service()), " ", OperationStateWord(operation.state()), ", ",
        unclear ? Span(view.now_ms - operation.intent_ms()) : Progress(group, operation, view));
    const v1::ServiceStatus* service = FindService(group, operation.service());
    if (!unclear && service != nullptr && service->operation_forecast_ms() > view.now_ms) {
      absl::StrAppend(&text, ", should end ", In(view, service->operation_forecast_ms()));
    }
    if (service != nullptr && operation.state() == v1::OPERATION_STATE_AMBIGUOUS &&
        service->watch_until_ms() > view.now_ms) {
      const int64_t since = operation.ambiguous_since_ms();
      absl::StrAppend(&text, "; looked at for ", Span(view.now_ms - since), " of at most ",
                      Span(service->watch_until_ms() - since), " ",
                      Bar(static_cast<double>(view.now_ms - since) /
                              static_cast<double>(service->watch_until_ms() - since),
                          20),
                      ", then settled one way or another");
    }
    if (!operation.error().code().empty())
      absl::StrAppend(&text, ": ", Clean(operation.error().code()));
    absl::StrAppend(&lines, Field(view, lines.empty() ? "operation" : "", text,
                                  unclear ? Tone::kBad : Tone::kPlain));
  }
  return lines;
}

}  // namespace failover::cli
