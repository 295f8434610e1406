// ConfigReport of config.h: what the configuration promises, in numbers.
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "common/config_file.h"
#include "controller/config.h"
#include "controller/core/detection.h"

namespace failover {
namespace {

using core::GroupConfig;
using core::Mode;

// ARM's restores took 22–45 minutes where they were measured (azure.md §10): the two ends of the
// range.
constexpr absl::Duration kRestores[] = {absl::Minutes(20), absl::Minutes(45)};

absl::string_view ModeName(Mode mode) {
  switch (mode) {
    case Mode::kObserve:
      return "observe";
    case Mode::kManual:
      return "manual";
    case Mode::kApprove:
      return "approve";
    case Mode::kAutomatic:
      return "automatic";
  }
  return "";
}

std::string Text(absl::Duration duration) {
  return duration == absl::InfiniteDuration() ? "never" : failover::FormatDuration(duration);
}

void Line(absl::string_view topic, absl::string_view text, std::string& report) {
  absl::StrAppend(&report, absl::StrFormat("  %-10s ", topic), text, "\n");
}

// When an automatic failover is decided, at the latest.
absl::Duration Decided(const GroupConfig& group) {
  return std::max(core::DetectionOf(group).worst, core::DwellOf(group));
}

void ReportDetection(const GroupConfig& group, std::string& report) {
  const core::ProbeConfig& probe = group.decider();
  const core::DetectionBounds bounds = core::DetectionOf(group);
  Line("detection",
       absl::StrCat("worst case ", Text(bounds.worst), ", floor ", Text(bounds.floor), " (probe ",
                    probe.name, ": interval ", Text(probe.interval), ", timeout ",
                    Text(probe.timeout), ", ", probe.failure_threshold, " failure(s) in a row; ",
                    group.quorum, " of ", group.probe_regions.size(), " probe regions)"),
       report);
  Line("dwell",
       absl::StrCat("minDownDuration ", Text(group.min_down_duration), ": ",
                    group.mode == Mode::kAutomatic ? "an automatic failover is decided"
                                                   : "the dwell is over",
                    " at most ", Text(Decided(group)), " after an outage began"),
       report);
  if (group.rto_objective == absl::InfiniteDuration()) return Line("rto", "no objective", report);
  const absl::Duration left = group.rto_objective - Decided(group);
  Line("rto",
       left > absl::ZeroDuration()
           ? absl::StrCat("objective ", Text(group.rto_objective), " leaves ", Text(left),
                          " to switch and be seen",
                          group.mode == Mode::kAutomatic ? "" : ", an operator's answer included")
           : absl::StrCat("objective ", Text(group.rto_objective),
                          " cannot be met: deciding alone may take ", Text(Decided(group))),
       report);
}

void ReportSync(const GroupConfig& group, std::string& report) {
  if (group.sync_interval <= absl::ZeroDuration())
    return Line("sync", "none: nothing is backed up or restored", report);
  const size_t standbys = group.services.size() - 1;
  const std::string cycle =
      absl::StrCat("one backup and ", standbys, " restore(s), one after another");
  if (group.rpo_objective == absl::InfiniteDuration()) {
    Line("sync",
         absl::StrCat("every ", Text(group.sync_interval), ": ", cycle, "; no rpo objective"),
         report);
  } else {
    const absl::Duration left = group.rpo_objective - group.sync_interval;
    Line("sync",
         absl::StrCat(
             "every ", Text(group.sync_interval), "; objective rpo ", Text(group.rpo_objective),
             left > absl::ZeroDuration() ? absl::StrCat(" leaves ", Text(left), " for ", cycle)
                                         : absl::StrCat(" leaves no time for ", cycle)),
         report);
  }
  std::vector<std::string> shares;
  for (const absl::Duration restore : kRestores) {
    const double share = std::min(1.0, absl::FDivDuration(restore, group.sync_interval));
    shares.push_back(absl::StrFormat("%.1f %% if a restore takes %s", 100 * share, Text(restore)));
  }
  Line("unready",
       absl::StrCat("a standby is not ready while it is restored (restore time / interval): ",
                    absl::StrJoin(shares, ", "), "; measured once restores have run"),
       report);
}

class Warnings {
 public:
  explicit Warnings(std::string& report) : report_(report) {}
  template <typename... Parts>
  void Add(const Parts&... parts) {
    absl::StrAppend(&report_, "warning: ", parts..., "\n");
  }
  void BelowDefault(absl::string_view key, absl::Duration value, absl::Duration usual) {
    if (value < usual)
      Add(key, " is ", Text(value), ", below its default of ", Text(usual),
          ": meant for tests and demonstrations");
  }

 private:
  std::string& report_;
};

void WarnOfDetection(const GroupConfig& group, Warnings& warn) {
  const int regions = static_cast<int>(group.probe_regions.size());
  if (core::DetectionOf(group).worst == absl::InfiniteDuration()) {
    warn.Add("group ", group.name,
             ": the verdict can never be down for every service: no probe region lies outside the "
             "active service's and the controller's region");
  }
  for (size_t i = 0; i < group.services.size(); ++i) {
    if (core::SurvivesRegionLoss(group, static_cast<int>(i))) continue;
    warn.Add(
        "group ", group.name, ": while ", group.services[i].name,
        " is active, the loss of the whole region ", group.services[i].azure_region,
        " is never detected: quorum ", group.quorum, " of ", regions,
        " is not reached by the other probe regions, one outside the controller's region included");
  }
  if (2 * group.quorum <= regions) {
    warn.Add("group ", group.name, ": quorum ", group.quorum, " is not more than half of ", regions,
             " probe regions");
  }
  if (group.control_targets.empty()) {
    warn.Add("group ", group.name,
             ": no controlTargets: a region's down vote counts only while it sees another service "
             "answer");
  }
  if (Decided(group) > group.rto_objective) {
    warn.Add("group ", group.name, ": objectives.rto ", Text(group.rto_objective),
             " is shorter than the decision may take, ", Text(Decided(group)));
  }
}

void WarnOfFailover(const GroupConfig& group, Warnings& warn) {
  const core::GroupConfig usual;
  warn.BelowDefault(absl::StrCat("group ", group.name, ": failover.minDownDuration"),
                    group.min_down_duration, usual.min_down_duration);
  warn.BelowDefault(absl::StrCat("group ", group.name, ": failover.cooldown"), group.cooldown,
                    usual.cooldown);
  if (!group.has_traffic) {
    warn.Add("group ", group.name,
             ": no traffic.trafficManager: nothing can be switched, by an operator neither");
  }
  if (group.public_url.empty()) {
    warn.Add("group ", group.name,
             ": no traffic.publicUrl: the RTO is measured to the switch, not to what clients see");
  }
  for (size_t i = 0; i < group.services.size(); ++i) {
    if (group.services[i].gateway_url.starts_with("http:")) {
      warn.Add("group ", group.name, ": the gateway of ", group.services[i].name,
               " is probed without TLS");
    }
    for (size_t k = 0; k < i; ++k) {
      if (group.services[i].azure_region != group.services[k].azure_region) continue;
      warn.Add("group ", group.name, ": ", group.services[k].name, " and ", group.services[i].name,
               " are both in ", group.services[i].azure_region, ": they are lost together");
    }
  }
}

void WarnOfSync(const GroupConfig& group, const std::string& api_version, Warnings& warn) {
  if (group.sync_interval <= absl::ZeroDuration()) {
    return warn.Add(
        "group ", group.name,
        ": no sync: every standby stays never_synced, and no failover chooses it unforced");
  }
  if (group.sync_interval >= group.rpo_objective) {
    warn.Add("group ", group.name, ": sync.interval ", Text(group.sync_interval),
             " is not below objectives.rpo ", Text(group.rpo_objective),
             ": the objective cannot be met");
  }
  if (group.sync_interval >= group.max_data_loss) {
    warn.Add("group ", group.name, ": sync.interval ", Text(group.sync_interval),
             " is not below failover.maxDataLoss ", Text(group.max_data_loss),
             ": standbys are blocked (recovery_point_too_old) before the next run");
  }
  if (group.backup_lifetime < 2 * group.sync_interval) {
    warn.Add("group ", group.name, ": sync.backupLifetime ", Text(group.backup_lifetime),
             " is below two intervals: one failed "
             "run leaves standbys with an expired backup");
  }
  if (api_version < "2015" && group.backup_lifetime > absl::Hours(24 * 7)) {
    warn.Add("group ", group.name, ": sync.backupLifetime ", Text(group.backup_lifetime),
             " with azure.apiVersion ", api_version,
             ": the service of that time restored backups of at most 7 days");
  }
  if (group.sync_interval < absl::Hours(1)) {
    warn.Add("group ", group.name, ": sync.interval ", Text(group.sync_interval),
             " is short against a restore: a standby is hardly ever ready");
  }
}

void WarnOfTiming(const runtime::Settings& settings, Warnings& warn) {
  const core::Timing usual;
  const core::Timing& timing = settings.groups.front().core.timing;  // one for all
  warn.BelowDefault("timing.ambiguityWait", timing.ambiguity_wait, usual.ambiguity_wait);
  warn.BelowDefault("timing.ambiguityWatch", timing.ambiguity_watch, usual.ambiguity_watch);
  warn.BelowDefault("timing.freezeHold", timing.freeze_hold, usual.freeze_hold);
  warn.BelowDefault("timing.freezeThaw", timing.freeze_thaw, usual.freeze_thaw);
  const int reads = settings.verify_reads_per_second,
            usual_reads = runtime::Settings().verify_reads_per_second;
  if (reads < usual_reads) {
    warn.Add("timing.verifyReadsPerSecond is ", reads, ", below its default of ", usual_reads,
             ": verification takes longer");
  } else if (reads > usual_reads) {
    warn.Add("timing.verifyReadsPerSecond is ", reads, ", above its default of ", usual_reads,
             ": Azure may throttle the controller");
  }
}

std::string Identity(const azure::AzureOptions& azure) {
  const std::string client =
      absl::StrCat("client ", azure.client_id, " in tenant ", azure.tenant_id);
  const std::string prefix = absl::StrCat("azure: signs in by ", azure::AuthName(azure.auth), ": ");
  switch (azure.auth) {
    case azure::Auth::kClientSecret:
      return absl::StrCat(prefix, client, ", secret in ", azure.client_secret_file, "\n");
    case azure::Auth::kWorkloadIdentity:
      return absl::StrCat(prefix, client, " of ", azure.authority_endpoint, ", token in ",
                          azure.federated_token_file, "\n");
    case azure::Auth::kManagedIdentity:
      return absl::StrCat(
          prefix,
          azure.client_id.empty() ? "the machine's own" : absl::StrCat("client ", azure.client_id),
          ", asked of ", azure.imds_endpoint, "\n");
  }
  return "";
}

}  // namespace

std::string ConfigReport(const ControllerSettings& settings) {
  std::string report = Identity(settings.runtime.azure), warnings;
  Warnings warn(warnings);
  for (const runtime::GroupSettings& group : settings.runtime.groups) {
    absl::StrAppend(&report, "group ", group.core.name, ": mode ", ModeName(group.core.mode), ", ",
                    group.core.services.size(), " services\n");
    ReportDetection(group.core, report);
    ReportSync(group.core, report);
    WarnOfDetection(group.core, warn);
    WarnOfFailover(group.core, warn);
    WarnOfSync(group.core, settings.runtime.azure.api_version, warn);
  }
  if (!settings.runtime.groups.empty()) WarnOfTiming(settings.runtime, warn);
  return absl::StrCat(report, warnings);
}

}  // namespace failover
