#!/usr/bin/env python3
"""Writes charts/apim-failover/dashboards/*.json. With --check it only says whether they are up to date (exit code 1: no).

A panel is a function call below: where it stands, what it asks, and in which words it answers. `$S` in a query stands for the
selectors job, instance and failover_group, `$J` for the first two. Panels flow from left to right on Grafana's 24 columns.
"""
import json
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
FOLDER = ROOT / "charts/apim-failover/dashboards"
RUNBOOKS = "https://runbooks.invalid"  # the chart puts metrics.prometheusRule.runbookUrl in its place
SOURCE = {"type": "prometheus", "uid": "${datasource}"}
SELECTORS = {"$S": 'job=~"$job", instance=~"$instance", failover_group=~"$failover_group"', "$J": 'job=~"$job", instance=~"$instance"'}
GREEN, YELLOW, RED, BLUE, GREY, PURPLE = "green", "yellow", "red", "blue", "text", "purple"
TITLES = {"overview": "Overview", "group": "Failover group", "agents": "Agents and probes", "controller": "Controller"}


def expand(query):
    for short, long in SELECTORS.items():
        query = query.replace(short, long)
    return re.sub(r"\s+", " ", query.strip())


# ---- values in words ----

def words(**by_value):
    """words(up=(1, GREEN)) shows the value 1 as `up` in green."""
    return [{"type": "value", "options": {str(value): {"text": text.replace("_", " "), "color": color, "index": i}
                                          for i, (text, (value, color)) in enumerate(by_value.items())}}]


def texts(table):
    return [{"type": "value", "options": {value: {"text": text, "index": i} for i, (value, text) in enumerate(table.items())}}]


def from_value(low, text, color):
    return [{"type": "range", "options": {"from": low, "to": None, "result": {"text": text, "color": color, "index": 9}}}]


def coded(metric, label, codes, by, selector="$S"):
    """One number for a state set: `codes` is {state: number}. by (failover_group, apim_service), say."""
    parts = [f'(max by ({by}) ({metric}{{{selector}, {label}="{state}"}}) == 1) * {code}' for state, code in codes.items()]
    return f"max by ({by}) (" + " or ".join(parts) + ")"


STATES = {"healthy": 1, "failing_over": 2, "failed_over": 3, "degraded": 4, "paused": 5, "unknown": 6}
STATE_WORDS = words(HEALTHY=(1, GREEN), FAILING_OVER=(2, BLUE), FAILED_OVER=(3, PURPLE), DEGRADED=(4, RED), PAUSED=(5, YELLOW), UNKNOWN=(6, "orange"))
ROLE_CODES, ROLE_WORDS = {"active": 1, "standby": 2, "unconfirmed": 3}, words(active=(1, GREEN), standby=(2, BLUE), unconfirmed=(3, "orange"))
VERDICT_CODES, VERDICT_WORDS = {"up": 1, "down": 2, "unknown": 3}, words(up=(1, GREEN), down=(2, RED), unknown=(3, "orange"))
YES_NO = words(no=(0, RED), yes=(1, GREEN))
UNKNOWN_RPO = from_value(1e15, "unknown", RED)
NOT_MEASURED = from_value(1e15, "not measured yet", YELLOW)
# The words of controller/core/blocker_words.cc, without what only the status knows; the order is that of the table of blockers.
BLOCKERS = {
    "mode": "mode is manual or observe: nothing fails over by itself; order it: failoverctl failover",
    "paused": "paused by an operator; clears: failoverctl resume",
    "cooldown": "cooldown after the last failover; clears: time, or failoverctl ack",
    "daily_limit": "as many failovers in 24 hours as the limit allows; clears: time, or failover.maxPerDay",
    "no_quorum": "too few probe regions can tell; clears: agents that report (failoverctl agents)",
    "common_fault": "services in two or more Azure regions failed together: looks like a common fault; holds at most 10 minutes",
    "startup_grace": "this process has just started to lead and waits for fresh results; clears within 60 s",
    "roles_unconfirmed": "it is not confirmed which service is active; clears: failoverctl adopt --active SERVICE",
    "traffic_mismatch": "the traffic layer does not do what the roles say; clears: undo the foreign change, or failoverctl adopt",
    "not_leader": "this controller does not lead",
    "store_unavailable": "the state cannot be stored, or a clock gap: waiting for a durable write",
    "switch_path_broken": "traffic could not be switched: token, permissions or reachability of the traffic layer",
    "standby_down": "a quorum of probe regions sees it down; clears: its recovery",
    "standby_unknown": "the probe regions do not agree on it; clears: a quorum of good results",
    "public_name_unready": "its gateway answers, but not under the public host name (TLS or content); clears: host name and certificate on it",
    "never_synced": "it holds no verified backup of the active service; clears: failoverctl sync run",
    "unverified": "its content was not proved equal to a backup; clears: failoverctl sync run",
    "backup_expired": "its backup's lifetime has ended; clears: failoverctl sync run",
    "tier_mismatch": "its tier is not that of the active service; clears: equal tiers",
    "not_resynced": "it was active before and has not been synced back",
    "recovery_point_too_old": "RPO now exceeds failover.maxDataLoss; clears: failoverctl sync run",
    "restore_running": "an operation is running on it; clears: its end",
    "operation_ambiguous": "it is not known what an operation on it did; clears: by itself, or failoverctl operations abandon",
    "drift": "somebody changed it since our last restore; clears: failoverctl standby discard",
}


# ---- panels ----

class Dashboard:
    def __init__(self, name, description):
        self.name, self.description, self.panels, self.x, self.y, self.line = name, description, [], 0, 0, 0

    def row(self, title):
        self.y, self.x = self.y + self.line, 0
        self.panels.append({"type": "row", "title": title, "collapsed": False, "panels": [], "gridPos": {"h": 1, "w": 24, "x": 0, "y": self.y}})
        self.y, self.line = self.y + 1, 0

    def panel(self, kind, title, description, targets, w, h, unit="none", options=None, mappings=(), steps=((None, GREEN),), custom=None,
              overrides=(), empty="no data", transformations=(), instant=False, decimals=None, links=()):
        if self.x + w > 24:
            self.y, self.x, self.line = self.y + self.line, 0, 0
        defaults = {"unit": unit, "noValue": empty, "mappings": list(mappings), "color": {"mode": "thresholds" if kind not in ("timeseries", "barchart") else "palette-classic"},
                    "thresholds": {"mode": "absolute", "steps": [{"value": value, "color": color} for value, color in steps]}, "custom": custom or {}}
        if decimals is not None:
            defaults["decimals"] = decimals
        if links:
            defaults["links"] = list(links)
        queries = []
        for i, (query, legend) in enumerate(targets):
            query = {"refId": chr(65 + i), "datasource": SOURCE, "expr": expand(query), "legendFormat": legend, "editorMode": "code",
                     "instant": instant, "range": not instant}
            if kind == "table":
                query["format"] = "table"
            queries.append(query)
        self.panels.append({
            "type": kind, "title": title, "description": description, "datasource": SOURCE, "targets": queries,
            "gridPos": {"h": h, "w": w, "x": self.x, "y": self.y}, "options": options or {}, "transformations": list(transformations),
            "fieldConfig": {"defaults": defaults, "overrides": list(overrides)}})
        self.x, self.line = self.x + w, max(self.line, h)

    def stat(self, title, description, targets, w=4, h=5, named=False, color="background", **more):
        options = {"colorMode": color, "graphMode": "none", "justifyMode": "auto", "orientation": "auto", "wideLayout": True,
                   "textMode": "name" if named else "value_and_name", "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False}}
        self.panel("stat", title, description, targets, w, h, options=options, instant=True, **more)

    def lines(self, title, description, targets, unit, w=12, h=8, dashed="", **more):
        overrides = [{"matcher": {"id": "byRegexp", "options": dashed}, "properties": [
            {"id": "custom.lineStyle", "value": {"fill": "dash", "dash": [10, 10]}}, {"id": "custom.fillOpacity", "value": 0}]}] if dashed else []
        custom = {"lineWidth": 1, "fillOpacity": 8, "showPoints": "never", "spanNulls": False, "axisSoftMin": 0}
        options = {"legend": {"displayMode": "table", "placement": "bottom", "showLegend": True, "calcs": ["lastNotNull", "max"]},
                   "tooltip": {"mode": "multi", "sort": "desc"}}
        self.panel("timeseries", title, description, targets, w, h, unit, options, custom=custom, overrides=overrides, **more)

    def timeline(self, title, description, targets, mappings, w=24, h=6, **more):
        options = {"showValue": "auto", "mergeValues": True, "rowHeight": 0.8, "alignValue": "left",
                   "legend": {"displayMode": "list", "placement": "bottom", "showLegend": False}, "tooltip": {"mode": "single", "sort": "none"}}
        self.panel("state-timeline", title, description, targets, w, h, options=options, mappings=mappings,
                   custom={"lineWidth": 0, "fillOpacity": 80}, **more)

    def table(self, title, description, targets, names, w=24, h=8, fields=(), sort=None, join="", **more):
        """`names`: {column: shown name}, in order; all other columns are hidden. `fields`: (shown name, [properties])."""
        transformations = [{"id": "joinByField", "options": {"byField": join, "mode": "outer"}}] if join else []
        transformations.append({"id": "filterFieldsByName", "options": {"include": {"names": list(names)}}})
        transformations.append({"id": "organize", "options": {"excludeByName": {}, "indexByName": {column: i for i, column in enumerate(names)}, "renameByName": names}})
        overrides = [{"matcher": {"id": "byName", "options": name}, "properties": properties} for name, properties in fields]
        options = {"showHeader": True, "cellHeight": "sm", "footer": {"show": False, "reducer": ["sum"], "countRows": False, "fields": ""},
                   "sortBy": [{"displayName": sort, "desc": False}] if sort else []}
        self.panel("table", title, description, targets, w, h, options=options, overrides=overrides, transformations=transformations, instant=True,
                   custom={"align": "auto", "cellOptions": {"type": "auto"}, "inspect": False}, **more)

    def variable(self, name, label, query):
        query = expand(query)
        return {"type": "query", "name": name, "label": label, "datasource": SOURCE, "definition": query, "refresh": 2, "sort": 1, "hide": 0,
                "query": {"query": query, "refId": f"variable-{name}"}, "multi": True, "includeAll": True, "allValue": ".+", "regex": "",
                "skipUrlSync": False, "options": [], "current": {"text": ["All"], "value": ["$__all"], "selected": True}}

    def json(self):
        for i, panel in enumerate(self.panels):
            panel["id"] = i + 1
        group = {"list": [
            {"type": "datasource", "name": "datasource", "label": "Data source", "query": "prometheus", "refresh": 1, "hide": 0, "regex": "",
             "multi": False, "includeAll": False, "skipUrlSync": False, "options": [], "current": {"text": "default", "value": "default", "selected": True}},
            self.variable("job", "Job", "label_values(apim_failover_build_info, job)"),
            self.variable("instance", "Instance", 'label_values(apim_failover_build_info{job=~"$job"}, instance)'),
            self.variable("failover_group", "Failover group", "label_values(apim_failover_group_info{$J}, failover_group)"),
        ]}
        built_in = {"builtIn": 1, "datasource": {"type": "grafana", "uid": "-- Grafana --"}, "enable": True, "hide": True, "iconColor": "rgba(0, 211, 255, 1)",
                    "name": "Annotations & Alerts", "type": "dashboard"}
        failovers = {"datasource": SOURCE, "enable": True, "hide": False, "iconColor": RED, "name": "Failovers", "step": "60s", "useValueForTime": True,
                     "expr": expand("max by (failover_group, trigger) (apim_failover_last_switch_timestamp_seconds{$S}) * 1000"),
                     "titleFormat": "Failover of {{failover_group}}", "textFormat": "traffic was switched ({{trigger}})", "tagKeys": "trigger"}
        links = [{"type": "link", "title": TITLES[name], "url": f"/d/{uid(name)}", "icon": "dashboard", "asDropdown": False, "includeVars": True,
                  "keepTime": True, "targetBlank": False, "tags": [], "tooltip": ""} for name in TITLES if name != self.name]
        links.append({"type": "link", "title": "Runbooks", "url": f"{RUNBOOKS}/README.md", "icon": "doc", "asDropdown": False, "includeVars": False,
                      "keepTime": False, "targetBlank": True, "tags": [], "tooltip": "What to do about each alert"})
        return {"uid": uid(self.name), "title": f"APIM failover / {TITLES[self.name]}", "description": self.description, "tags": ["apim-failover"],
                "editable": False, "timezone": "utc", "schemaVersion": 39, "version": 1, "refresh": "15s", "graphTooltip": 1, "fiscalYearStartMonth": 0,
                "liveNow": False, "weekStart": "", "time": {"from": "now-6h", "to": "now"}, "timepicker": {}, "templating": group,
                "annotations": {"list": [built_in, failovers]}, "links": links, "panels": self.panels}


def uid(name):
    return f"apim-failover-{name}"


def column(name, unit=None, mappings=None, color=None, width=None, link=None):
    properties = []
    if unit:
        properties.append({"id": "unit", "value": unit})
    if mappings:
        properties.append({"id": "mappings", "value": mappings})
    if color:
        properties.append({"id": "custom.cellOptions", "value": {"type": "color-text"}})
    if width:
        properties.append({"id": "custom.width", "value": width})
    if link:
        properties.append({"id": "links", "value": [link]})
    return name, properties


# ---- the dashboards ----

STATE = coded("apim_failover_group_state", "state", STATES, "failover_group")
OUT_FOR = """time() - max by (failover_group) (apim_failover_outage_start_timestamp_seconds{$S})
             and on (failover_group) max by (failover_group) (apim_failover_outage_active{$S}) == 1"""
RPO_SHARE = """(max by (failover_group) (apim_failover_group_rpo_seconds{$S}) < +Inf)
               / on (failover_group) max by (failover_group) (apim_failover_rpo_objective_seconds{$S})"""
NOW = (
    (OUT_FOR, "{{failover_group}}: OUT for"),
    ("time() - max by (failover_group) (apim_failover_outage_start_timestamp_seconds{$S}) and on (failover_group) max by (failover_group) (apim_failover_approval_pending{$S}) == 1",
     "{{failover_group}}: WAITS FOR APPROVAL, out for"),
    ("time() - max by (failover_group) (apim_failover_switch_started_timestamp_seconds{$S})", "{{failover_group}}: failing over for"),
    ("time() - max by (failover_group) (apim_failover_sync_run_started_timestamp_seconds{$S})", "{{failover_group}}: syncing for"),
)


def answers(d):
    """The first row: who serves, is another ready, what would be lost, how long would it take, what is happening now."""
    d.stat("Who serves", "The active service of each group. Nothing: roles are unconfirmed, or no controller leads.",
           [("max by (failover_group, apim_service, azure_region) (apim_failover_active_region_info{$S})", "{{failover_group}}: {{apim_service}} ({{azure_region}})")],
           named=True, empty="nobody: roles unconfirmed, or no leader")
    d.stat("State", "State of each group, as failoverctl status shows it.", [(STATE, "{{failover_group}}")], mappings=STATE_WORDS, empty="no leader")
    d.stat("Standbys ready", "Standbys that nothing keeps from taking over now. While one is restored it is not ready.",
           [("sum by (failover_group) (max by (failover_group, apim_service) (apim_failover_standby_promotable{$S}))", "{{failover_group}}")],
           mappings=words(NONE=(0, RED)), empty="no leader")
    d.stat("Would be lost", "RPO now: age of the oldest change that the standby a failover would choose does not hold. It never flatters.",
           [("max by (failover_group) (apim_failover_group_rpo_seconds{$S})", "{{failover_group}}")], unit="s", mappings=UNKNOWN_RPO, empty="no leader")
    d.stat("Would take", "Forecast RTO: detection at its worst, dwell, switch and visibility as last measured.",
           [("max by (failover_group) (apim_failover_forecast_rto_seconds{$S})", "{{failover_group}}")], unit="s", mappings=NOT_MEASURED, empty="no leader")
    d.stat("Happening now", "Outages, failovers and sync runs that are under way, and for how long.", NOW, unit="s", empty="nothing: no outage, no failover, no sync",
           steps=((None, BLUE),))


def overview():
    d = Dashboard("overview", "All failover groups: who serves, is another ready, what would be lost, how long would it take, what is happening now.")
    answers(d)
    d.row("Groups")
    named = {"failover_group": "Group", "mode": "Mode", "apim_service": "Active", "azure_region": "Region", "Value #C": "State", "Value #D": "Ready standbys",
             "Value #E": "RPO now", "Value #F": "RPO objective", "Value #G": "Forecast RTO", "Value #H": "RTO objective", "Value #I": "Reasons that hold it"}
    link = {"title": "Show this group", "url": f"/d/{uid('group')}?var-failover_group=${{__value.raw}}&${{datasource:queryparam}}", "targetBlank": False}
    d.table("Failover groups", "One line for each group; click its name for more.", [
        ("max by (failover_group, mode) (apim_failover_group_info{$S})", ""),
        ("max by (failover_group, apim_service, azure_region) (apim_failover_active_region_info{$S})", ""),
        (STATE, ""),
        ("sum by (failover_group) (max by (failover_group, apim_service) (apim_failover_standby_promotable{$S}))", ""),
        ("max by (failover_group) (apim_failover_group_rpo_seconds{$S})", ""),
        ("max by (failover_group) (apim_failover_rpo_objective_seconds{$S})", ""),
        ("max by (failover_group) (apim_failover_forecast_rto_seconds{$S})", ""),
        ("max by (failover_group) (apim_failover_rto_objective_seconds{$S})", ""),
        ('sum by (failover_group) (max by (failover_group, reason) (apim_failover_blocked{$S, reason!="mode"}))', ""),
    ], named, join="failover_group", sort="Group", empty="no leader, or no objective", fields=[
        column("Group", link=link), column("State", mappings=STATE_WORDS, color=True), column("Ready standbys", mappings=words(NONE=(0, RED)), color=True),
        column("RPO now", "s", UNKNOWN_RPO), column("RPO objective", "s"), column("Forecast RTO", "s", NOT_MEASURED), column("RTO objective", "s"),
        column("Reasons that hold it", mappings=words(none=(0, GREEN)), color=True)])
    runbook = {"title": "Runbook", "url": f"{RUNBOOKS}/${{__value.raw}}.md", "targetBlank": True}
    d.table("Alerts that fire", "From Prometheus; click a name for its runbook.",
            [('max by (alertname, severity, failover_group, apim_service, probe_region, reason) (ALERTS{alertname=~"Apim.+", alertstate="firing"})', "")],
            {"severity": "Severity", "alertname": "Alert", "failover_group": "Group", "apim_service": "Service", "probe_region": "Probe region", "reason": "Reason"},
            empty="no alert fires", sort="Severity", fields=[
                column("Severity", mappings=[{"type": "value", "options": {"critical": {"color": RED, "index": 0}, "warning": {"color": YELLOW, "index": 1}}}], color=True),
                column("Alert", link=runbook, width=340)])
    d.row("The last hours")
    d.timeline("State of each group", "HEALTHY: it serves, a standby is ready, nothing holds a failover.", [(STATE, "{{failover_group}}")], STATE_WORDS, empty="no leader")
    d.lines("RPO used", "Share of the recovery point objective that is used up; 1 is a breach. A gap: the RPO is unknown or the group has no objective.",
            [(RPO_SHARE, "{{failover_group}}")], "percentunit", steps=((None, GREEN), (0.8, YELLOW), (1, RED)), empty="unknown RPO, or no objective")
    d.lines("Active gateway, good probes", "Share of the good probes of the active gateway, from the agents, median over the probe regions. One region's own network is no outage.",
            [("""1 - quantile by (failover_group) (0.5,
                 sum by (failover_group, probe_region) (rate(apim_failover_probe_results_total{$S, role="active", result!="success"}[$__rate_interval]))
                 / sum by (failover_group, probe_region) (rate(apim_failover_probe_results_total{$S, role="active"}[$__rate_interval])))""", "{{failover_group}}")],
            "percentunit", empty="no agent is scraped")
    d.row("Last failovers")
    trigger = "{{failover_group}}, {{trigger}}"
    d.stat("When", "Age of the last switch of traffic, by what triggered it.", [("time() - max by (failover_group, trigger) (apim_failover_last_switch_timestamp_seconds{$S})", trigger)],
           unit="s", w=6, color="value", empty="no failover on record")
    d.stat("Outcome", "Whether the switch was seen through the public name, or acknowledged by an operator.", [("max by (failover_group, trigger) (apim_failover_last_switch_success{$S})", trigger)],
           w=6, mappings=words(not_seen=(0, RED), seen_or_acknowledged=(1, GREEN)), empty="no failover on record")
    d.stat("Measured RTO", "From the last good probe to the first proved good answer through the public name.",
           [("max by (failover_group, trigger) (apim_failover_last_switch_rto_seconds{$S})", trigger)], unit="s", w=6, mappings=from_value(1e15, "never seen", RED), empty="no failover on record")
    d.stat("Lost", "RPO of the last failover: age of the promoted recovery point when the outage began.",
           [("max by (failover_group, trigger) (apim_failover_last_switch_rpo_seconds{$S})", trigger)], unit="s", w=6, mappings=UNKNOWN_RPO, empty="no failover on record")
    return d


def failover_group():
    d = Dashboard("group", "One group: roles, verdicts and votes, RPO and RTO against their objectives, sync runs, and what holds a failover.")
    answers(d)
    d.row("Who serves, and who says so")
    d.timeline("Roles", "Role of each service.", [(coded("apim_failover_service_role", "role", ROLE_CODES, "failover_group, apim_service"), "{{failover_group}}: {{apim_service}}")], ROLE_WORDS, w=12, empty="no leader")
    d.timeline("Traffic", "Whether the traffic layer was found to send traffic to the service. Two at once, or none, is a fault.",
               [("max by (failover_group, apim_service) (apim_failover_service_serving_traffic{$S})", "{{failover_group}}: {{apim_service}}")],
               words(disabled=(0, GREY), enabled=(1, GREEN)), w=12, empty="the traffic layer has not been read")
    d.timeline("Verdicts", "The quorum's verdict on each service.",
               [(coded("apim_failover_service_verdict", "verdict", VERDICT_CODES, "failover_group, apim_service"), "{{failover_group}}: {{apim_service}}")], VERDICT_WORDS, w=12, empty="no leader")
    d.timeline("Votes by probe region", "What each probe region says of each service.",
               [(coded("apim_failover_probe_region_vote", "vote", VERDICT_CODES, "apim_service, probe_region"), "{{probe_region}} on {{apim_service}}")], VERDICT_WORDS, w=12, h=8, empty="no leader")
    d.lines("Votes on the services", "How many probe regions say up, down or unknown.",
            [("max by (apim_service, vote) (apim_failover_service_votes{$S})", "{{apim_service}}: {{vote}}")], "short", w=12, h=6, empty="no leader")
    d.timeline("Public name by probe region", "Whether the newest probe of the public name was good.",
               [("max by (failover_group, probe_region) (apim_failover_public_name_success{$S})", "{{probe_region}}")], words(fails=(0, RED), good=(1, GREEN)), w=12, empty="no public name is configured")
    d.timeline("State", "State of the group.", [(STATE, "{{failover_group}}")], STATE_WORDS, w=12, empty="no leader")
    d.row("What holds a failover")
    d.table("Blockers of the group", "What would hold a failover now, and what clears it. In peace mode `mode` is normal where an operator decides.",
            [("max by (failover_group, reason) (apim_failover_blocked{$S}) == 1", "")],
            {"failover_group": "Group", "reason": "What holds it"}, w=12, empty="nothing holds a failover", fields=[column("Group", width=160), column("What holds it", mappings=texts(BLOCKERS))])
    d.table("Blockers of the standbys", "Why a standby would not be chosen now, and what clears it.",
            [("max by (failover_group, apim_service, reason) (apim_failover_standby_blocked{$S}) == 1", "")],
            {"failover_group": "Group", "apim_service": "Standby", "reason": "Why it would not be chosen"}, w=12, empty="every standby could be chosen",
            fields=[column("Group", width=160), column("Standby", width=160), column("Why it would not be chosen", mappings=texts(BLOCKERS))])
    d.timeline("Blockers over time", "Each reason while it held; `mode` left out.",
               [('max by (failover_group, reason) (apim_failover_blocked{$S, reason!="mode"}) == 1', "{{reason}}"),
                ("max by (failover_group, apim_service, reason) (apim_failover_standby_blocked{$S}) == 1", "{{apim_service}}: {{reason}}")],
               words(held=(1, RED)), empty="nothing was held")
    d.stat("Failovers in 24 hours", "Failovers past their point of no return; at the limit nothing fails over by itself.",
           [("max by (failover_group) (apim_failover_failovers_last_day{$S})", "{{failover_group}}"), ("max by (failover_group) (apim_failover_failovers_max_per_day{$S})", "{{failover_group}}, limit")],
           w=8, color="value", empty="no leader")
    d.stat("Cooldown left", "Until it ends nothing fails over by itself; failoverctl ack ends it.",
           [("max by (failover_group) (apim_failover_cooldown_end_timestamp_seconds{$S}) - time() > 0", "{{failover_group}}")], unit="s", w=8, color="value", empty="no cooldown")
    d.stat("Way to switch", "Whether token, permission and the traffic layer's API were last proved.",
           [("max by (failover_group) (apim_failover_switch_path_ok{$S})", "{{failover_group}}")], w=8, mappings=words(BROKEN=(0, RED), works=(1, GREEN)), empty="no leader")
    d.row("Recovery point")
    d.lines("RPO now and its objective", "What a failover would lose. A gap: unknown. The floor is what the schedule reaches just before a run ends, even if nothing fails.", [
        ("max by (failover_group, apim_service, source) (apim_failover_rpo_seconds{$S}) < +Inf", "{{apim_service}} by {{source}}"),
        ("max by (failover_group) (apim_failover_rpo_objective_seconds{$S})", "objective of {{failover_group}}"),
        ('max by (failover_group) (apim_failover_sync_schedule_interval_seconds{$S}) + max by (failover_group) (apim_failover_sync_operation_p95_seconds{$S, operation="cycle"})', "floor of {{failover_group}}"),
    ], "s", w=16, dashed="^(objective|floor) of .*", empty="no verified backup")
    d.stat("RPO used", "Share of the objective; from 1 on it is breached.", [(RPO_SHARE, "{{failover_group}}")], unit="percentunit", h=8,
           steps=((None, GREEN), (0.8, YELLOW), (1, RED)), empty="unknown, or no objective")
    d.stat("Newest backup can be restored for", "Azure refuses older backups.", [("min by (failover_group) (apim_failover_backup_expiry_timestamp_seconds{$S}) - time()", "{{failover_group}}")],
           unit="s", h=8, steps=((None, RED), (259200, YELLOW), (604800, GREEN)), empty="no backup")
    d.row("Recovery time")
    d.panel("bargauge", "RTO of the last failovers by phase", "Where the time went: detect (last good probe to verdict), decide, switch, visible through the public name.",
            [("max by (failover_group, trigger, phase) (apim_failover_last_switch_rto_phase_seconds{$S})", "{{trigger}}: {{phase}}")], 8, 8, "s",
            {"displayMode": "basic", "orientation": "horizontal", "showUnfilled": True, "valueMode": "color", "namePlacement": "auto", "sizing": "auto", "minVizWidth": 8, "minVizHeight": 16,
             "maxVizHeight": 300, "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False}}, instant=True, steps=((None, BLUE),), empty="no failover on record")
    d.stat("Failover under way", "Time since its decision, and how much longer failovers of this group took.", [
        ("time() - max by (failover_group) (apim_failover_switch_started_timestamp_seconds{$S})", "{{failover_group}}: elapsed"),
        ("max by (failover_group) (apim_failover_switch_expected_end_timestamp_seconds{$S}) - time()", "{{failover_group}}: expected to take another")],
        unit="s", w=8, steps=((None, BLUE),), empty="no failover is under way")
    d.stat("Forecast RTO", "Detection at its worst, dwell, switch and visibility as last measured.", [
        ("max by (failover_group) (apim_failover_forecast_rto_seconds{$S})", "{{failover_group}}: forecast"), ("max by (failover_group) (apim_failover_rto_objective_seconds{$S})", "objective")],
        unit="s", w=8, color="value", mappings=NOT_MEASURED, empty="no leader")
    d.lines("RTO of all failovers, p90", "Of the failovers since the leader began to lead, by what triggered them.",
            [("histogram_quantile(0.9, sum by (le, trigger) (increase(apim_failover_rto_seconds_bucket{$J}[$__range])))", "{{trigger}}")], "s", w=8, h=5, empty="no failover was measured")
    d.stat("RTO of the last failovers", "The earlier bound counts; the outage may have begun later by the width. Unproved: no answer was attributed to the new active service.", [
        ("max by (failover_group, trigger) (apim_failover_last_switch_rto_seconds{$S})", "{{trigger}}: RTO"),
        ("max by (failover_group, trigger) (apim_failover_last_switch_rto_width_seconds{$S})", "{{trigger}}: width"),
        ("max by (failover_group) (apim_failover_rto_objective_seconds{$S})", "objective")], unit="s", w=8, h=8, color="value", mappings=from_value(1e15, "never seen", RED), empty="no failover on record")
    d.stat("Proved", "Whether an answer through the public name was proved to come from the new active service.",
           [("max by (failover_group, trigger) (apim_failover_last_switch_proved{$S})", "{{trigger}}")], h=8, mappings=words(not_proved=(0, YELLOW), proved=(1, GREEN)), empty="no failover on record")
    d.stat("Time to detect", "Longest and shortest time from the start of an outage to the verdict, by the configuration.",
           [("max by (failover_group) (apim_failover_detection_bound_seconds{$S})", "at worst"), ("max by (failover_group) (apim_failover_detection_floor_seconds{$S})", "at least")],
           unit="s", h=8, color="value", empty="no leader")
    d.table("Failovers in the shown time", "Failovers that ended, counted since the leader began to lead; failoverctl history has all.",
            [("sum by (failover_group, from_region, to_region, kind, trigger, result) (increase(apim_failover_switches_total{$S}[$__range])) > 0", "")],
            {"failover_group": "Group", "from_region": "From", "to_region": "To", "kind": "Kind", "trigger": "Trigger", "result": "Result", "Value": "Count"},
            h=6, empty="no failover in the shown time", fields=[column("Count", "short")])
    d.row("Sync")
    d.stat("Sync run", "Elapsed time of the open run, and how much longer runs of this group usually take.", [
        ("time() - max by (failover_group) (apim_failover_sync_run_started_timestamp_seconds{$S})", "{{failover_group}}: elapsed"),
        ("max by (failover_group) (apim_failover_sync_run_expected_end_timestamp_seconds{$S}) - time()", "{{failover_group}}: expected to take another")],
        unit="s", w=8, steps=((None, BLUE),), empty="no sync run is open")
    d.stat("Operation", "Elapsed time of the open backup or restore, and how much longer it usually takes; negative: overdue.", [
        ("time() - max by (failover_group, apim_service, operation) (apim_failover_sync_operation_started_timestamp_seconds{$S})", "{{operation}} of {{apim_service}}: elapsed"),
        ("max by (failover_group, apim_service, operation) (apim_failover_sync_operation_expected_end_timestamp_seconds{$S}) - time()", "{{operation}} of {{apim_service}}: another")],
        unit="s", w=8, steps=((None, BLUE),), empty="no operation is open")
    d.stat("Next run in", "Zero: it is due and something holds it; failoverctl status says what.",
           [("max by (failover_group) (apim_failover_sync_next_run_timestamp_seconds{$S}) - time()", "{{failover_group}}")], unit="s", color="value", empty="no schedule")
    d.stat("Restores", "Frozen: no restore starts while the active service is in doubt, or until an operator thaws them. Backups go on.",
           [("max by (failover_group) (apim_failover_sync_frozen{$S})", "{{failover_group}}")], mappings=words(may_start=(0, GREEN), FROZEN=(1, YELLOW)), empty="no leader")
    d.timeline("Operations", "Backups and restores while they were open.",
               [("max by (failover_group, apim_service, operation) (apim_failover_sync_operation_in_progress{$S})", "{{apim_service}}: {{operation}}")],
               words(idle=(0, GREY), running=(1, BLUE)), w=12, h=8, empty="no leader")
    d.lines("How long operations take", "Last duration of each kind, and the 95th percentile of the last 20: the estimate.", [
        ("max by (failover_group, apim_service, operation) (apim_failover_sync_last_duration_seconds{$S})", "{{operation}} of {{apim_service}}"),
        ("max by (failover_group, operation) (apim_failover_sync_operation_p95_seconds{$S})", "p95 of {{operation}}")], "s", dashed="^p95 of .*", empty="no operation has ended well yet")
    d.lines("Operations that ended", "By result, within the last hour of each moment.",
            [("sum by (operation, result) (increase(apim_failover_sync_operations_total{$S}[1h]))", "{{operation}}: {{result}}")], "short", w=8, empty="none")
    d.lines("Failures in a row", "By service and operation; from two on there is an alert.",
            [("max by (failover_group, apim_service, operation) (apim_failover_sync_consecutive_failures{$S})", "{{operation}} of {{apim_service}}")], "short", w=8, empty="no leader")
    d.lines("Drift", "Entities of a standby that somebody changed since our last restore, by kind.",
            [("max by (failover_group, apim_service, kind) (apim_failover_config_drift_items{$S})", "{{apim_service}}: {{kind}}")], "short", w=8, empty="no standby")
    d.lines("Restores frozen for", "How long no restore could start; failoverctl status says why, and what thaws them.",
            [("time() - max by (failover_group) (apim_failover_sync_freeze_started_timestamp_seconds{$S})", "{{failover_group}}")], "s", w=24, h=5, empty="never frozen in the shown time")
    d.lines("Size of backups", "Newest checked backup of each service.", [("max by (failover_group, apim_service) (apim_failover_backup_size_bytes{$S})", "{{apim_service}}")], "bytes", w=12, empty="no backup")
    d.stat("Last good backup and restore", "Age of the end of the last checked backup and the last verified restore.", [
        ("time() - max by (failover_group, apim_service) (apim_failover_backup_last_success_timestamp_seconds{$S})", "backup of {{apim_service}}"),
        ("time() - max by (failover_group, apim_service) (apim_failover_restore_last_success_timestamp_seconds{$S})", "restore of {{apim_service}}")],
        unit="s", w=12, h=8, color="value", empty="none yet")
    return d


def agents_and_probes():
    d = Dashboard("agents", "The probe agents, as the controller sees them and as they see themselves, and what their probes found.")
    d.stat("Probe regions connected", "Configured probe regions with a connected agent, and how many a verdict needs.",
           [("sum by (failover_group) (max by (failover_group, probe_region) (apim_failover_agent_connected{$S}))", "{{failover_group}}: connected"),
            ("max by (failover_group) (apim_failover_probe_quorum_size{$S})", "{{failover_group}}: quorum")], w=6, color="value", empty="no leader")
    d.stat("Agents", "Connected agent processes by probe region.", [("max by (probe_region) (apim_failover_agent_instances{$J})", "{{probe_region}}")], w=6,
           steps=((None, RED), (1, GREEN)), empty="no leader")
    d.stat("Last report", "Age of the newest results of each probe region.", [("time() - max by (probe_region) (apim_failover_agent_last_report_timestamp_seconds{$J})", "{{probe_region}}")],
           unit="s", w=6, steps=((None, GREEN), (60, YELLOW), (120, RED)), empty="no results yet, or no leader")
    d.stat("Dissent", "A probe region that alone has seen the active service down for more than freezeHold.",
           [("max by (apim_service, probe_region) (apim_failover_dissenting_region{$S}) == 1", "{{probe_region}} on {{apim_service}}")], w=6, mappings=words(dissents=(1, YELLOW)), empty="all agree")
    d.row("Connections")
    d.timeline("Connected, as the controller sees it", "Whether an agent of each configured probe region is connected.",
               [("max by (failover_group, probe_region) (apim_failover_agent_connected{$S})", "{{failover_group}}: {{probe_region}}")], words(no=(0, RED), yes=(1, GREEN)), w=12, empty="no leader")
    d.timeline("Streams, as the agents see them", "Each agent's stream to each controller.",
               [("max by (probe_region, instance, controller) (apim_failover_agent_stream_connected{$J})", "{{probe_region}} {{instance}} to {{controller}}")],
               words(closed=(0, RED), open=(1, GREEN)), w=12, empty="no agent is scraped")
    d.lines("Delay of reports", "From a probe's end to its receipt by the controller: median and 99th percentile.", [
        ("histogram_quantile(0.5, sum by (le, probe_region) (rate(apim_failover_agent_report_delay_seconds_bucket{$J}[$__rate_interval])))", "{{probe_region}} p50"),
        ("histogram_quantile(0.99, sum by (le, probe_region) (rate(apim_failover_agent_report_delay_seconds_bucket{$J}[$__rate_interval])))", "{{probe_region}} p99")], "s", w=8, empty="no leader")
    d.lines("Results taken", "Probe results that the controller took: live, replayed after a reconnect, or passed on by another replica.",
            [("sum by (probe_region, result) (rate(apim_failover_agent_results_total{$J}[$__rate_interval]))", "{{probe_region}}: {{result}}")], "ops", w=8, empty="no leader")
    d.lines("Clock skew", "An agent's wall clock against the controller's. Votes do not use it; certificates do.",
            [("max by (probe_region) (apim_failover_agent_clock_skew_seconds{$J})", "{{probe_region}}")], "s", w=8, empty="no leader")
    d.lines("Refused", "Streams, messages and results that the controller refused, by reason.",
            [("sum by (probe_region, reason) (rate(apim_failover_agent_refused_total{$J}[$__rate_interval])) > 0", "{{probe_region}}: {{reason}}")], "ops", w=8, empty="none")
    d.lines("Dropped by agents", "Results that no controller will hear of, by reason.",
            [("sum by (probe_region, reason) (rate(apim_failover_agent_reports_dropped_total{$J}[$__rate_interval]))", "{{probe_region}}: {{reason}}")], "ops", w=8, empty="no agent is scraped")
    d.lines("Slowed and superseded", "Messages after which an agent was read later, and streams replaced by a newer one of the same instance.", [
        ("sum by (probe_region) (rate(apim_failover_agent_slowed_total{$J}[$__rate_interval]))", "{{probe_region}}: slowed"),
        ("sum by (probe_region) (rate(apim_failover_agent_streams_superseded_total{$J}[$__rate_interval]))", "{{probe_region}}: superseded")], "ops", w=8, empty="no leader")
    d.row("Probes")
    d.panel("table", "Good probes, from and to", "Share of good probes in the last minutes, for each probe region and service.",
            [("""sum by (probe_region, apim_service, role) (rate(apim_failover_probe_results_total{$S, result="success"}[$__rate_interval]))
                 / sum by (probe_region, apim_service, role) (rate(apim_failover_probe_results_total{$S}[$__rate_interval]))""", "")], 8, 8, "percentunit",
            {"showHeader": True, "cellHeight": "sm", "footer": {"show": False, "reducer": ["sum"], "countRows": False, "fields": ""}}, instant=True, empty="no agent is scraped",
            steps=((None, RED), (0.95, YELLOW), (0.999, GREEN)), custom={"align": "auto", "cellOptions": {"type": "auto"}, "inspect": False},
            overrides=[{"matcher": {"id": "byName", "options": "Good"}, "properties": [{"id": "custom.cellOptions", "value": {"type": "color-background"}}]}],
            transformations=[{"id": "organize", "options": {"excludeByName": {"Time": True}, "indexByName": {"probe_region": 0, "apim_service": 1, "role": 2, "Value": 3},
                                                            "renameByName": {"probe_region": "From", "apim_service": "To", "role": "Role", "Value": "Good"}}}])
    d.lines("Errors by stage", "Failed probes a second, by the stage at which they failed.",
            [('sum by (probe_region, apim_service, result) (rate(apim_failover_probe_results_total{$S, result!="success"}[$__rate_interval]))', "{{probe_region}} on {{apim_service}}: {{result}}")], "ops", w=16, empty="no agent is scraped")
    d.lines("Time by phase", "Median of all probes: name, connection, TLS, the gateway's work, transfer. A cold gateway shows in processing, a far one in connect.",
            [("histogram_quantile(0.5, sum by (le, phase) (rate(apim_failover_probe_duration_seconds_bucket{$S}[$__rate_interval])))", "{{phase}}")], "s", w=12, empty="no agent is scraped")
    d.lines("Time by way, p99", "The whole probe, by probe region and service.",
            [('histogram_quantile(0.99, sum by (le, probe_region, apim_service) (rate(apim_failover_probe_duration_seconds_bucket{$S, phase="total"}[$__rate_interval])))', "{{probe_region}} to {{apim_service}}")],
            "s", w=12, empty="no agent is scraped")
    d.timeline("Last probe", "Whether the last probe was good.",
               [("min by (probe_region, apim_service) (apim_failover_probe_success{$S})", "{{probe_region}} to {{apim_service}}")], words(failed=(0, RED), good=(1, GREEN)), w=12, h=8, empty="no agent is scraped")
    d.stat("Last good probe", "How long ago the last good probe was.", [("time() - max by (probe_region, apim_service) (apim_failover_probe_last_success_timestamp_seconds{$S})", "{{probe_region}} to {{apim_service}}")],
           unit="s", w=12, h=8, color="value", steps=((None, GREEN), (60, RED)), empty="no agent is scraped")
    d.row("Certificates")
    expiry = ((None, RED), (259200, YELLOW), (1209600, GREEN))
    d.stat("Gateways' certificates expire in", "As the probes saw them. Active and standby need one each: no backup carries certificates.",
           [("min by (failover_group, apim_service) (apim_failover_probe_tls_certificate_expiry_timestamp_seconds{$S}) - time()", "{{apim_service}}")], unit="s", w=8, steps=expiry, empty="no TLS is probed, or no agent is scraped")
    d.stat("Agents' certificates expire in", "As the controller sees the connected agents.", [("min by (probe_region) (apim_failover_agent_certificate_expiry_timestamp_seconds{$J}) - time()", "{{probe_region}}")],
           unit="s", w=8, steps=expiry, empty="no TLS between agents and controller, or no leader")
    d.stat("Certificates in force expire in", "As loaded by each program that is scraped.", [("min by (instance, purpose) (apim_failover_certificate_expiry_timestamp_seconds{$J}) - time()", "{{instance}} {{purpose}}")],
           unit="s", w=8, steps=expiry, empty="no TLS between agents and controller")
    d.row("The agents' own work")
    d.lines("Slots missed", "Slots without a probe: the loop was late, or too many probes were in flight.",
            [("sum by (probe_region, reason) (rate(apim_failover_probe_missed_total{$J}[$__rate_interval]))", "{{probe_region}}: {{reason}}")], "ops", w=8, empty="no agent is scraped")
    d.lines("Lateness, p99", "From a probe's slot to its start.",
            [("histogram_quantile(0.99, sum by (le, probe_region) (rate(apim_failover_probe_start_lateness_seconds_bucket{$J}[$__rate_interval])))", "{{probe_region}}")], "s", w=8, empty="no agent is scraped")
    d.lines("Clock jumps", "Boot and wall clock disagreed, or the agent stood still.", [("sum by (probe_region) (increase(apim_failover_agent_clock_jumps_total{$J}[$__rate_interval]))", "{{probe_region}}")], "short", w=8, empty="no agent is scraped")
    d.stat("Targets", "Targets of the assignment in force; refused ones are not allowed by the agent's own configuration.",
           [("sum by (probe_region, state) (apim_failover_agent_targets{$J})", "{{probe_region}}: {{state}}")], w=8, color="value", empty="no agent is scraped")
    d.stat("Assignment in force", "Generation that each agent obeys; agents of one controller should agree.",
           [("max by (probe_region, instance) (apim_failover_agent_assignment_generation{$J})", "{{probe_region}} {{instance}}")], w=8, color="value", empty="no agent is scraped")
    d.table("Versions", "Versions of the connected agents.", [("max by (probe_region, version) (apim_failover_agent_info{$J})", "")], {"probe_region": "Probe region", "version": "Version"}, w=8, h=5, empty="no leader")
    return d


def controller():
    d = Dashboard("controller", "The controller itself: who leads, calls to Azure and Kubernetes, queues, store, connections and resources.")
    d.stat("Leader", "The process that leads.", [("max by (instance) (leader_election_master_status{$J}) == 1", "{{instance}}")], w=6, named=True, empty="NO LEADER")
    d.stat("Processes", "Controllers that are scraped.", [('count(apim_failover_build_info{$J, component="controller"})', "up")], color="value", empty="none")
    d.stat("Term", "Grows with every leadership or start.", [("max(apim_failover_leader_fencing_epoch{$J})", "term")], color="value", empty="no leader")
    d.stat("Store", "Whether durable state can be written; if not, nothing is begun.", [("min by (instance) (apim_failover_store_available{$J})", "{{instance}}")], w=5, mappings=words(UNAVAILABLE=(0, RED), works=(1, GREEN)), empty="none is scraped")
    d.stat("Configuration", "Whether the last change of the file was taken.", [("min by (instance) (apim_failover_config_last_reload_successful{$J})", "{{instance}}")], w=5, mappings=words(REFUSED=(0, RED), in_force=(1, GREEN)), empty="none is scraped")
    d.row("Leadership")
    d.timeline("Who leads", "Each process while it led.", [("max by (instance) (leader_election_master_status{$J})", "{{instance}}")], words(follows=(0, GREY), leads=(1, GREEN)), w=12, empty="none is scraped")
    d.lines("Since the last renewal of the Lease", "It must stay below the renew deadline, or the leader gives up.",
            [("time() - max by (instance) (apim_failover_leader_lease_last_renew_timestamp_seconds{$J})", "{{instance}}")], "s", w=12, empty="no Lease is used (file store)")
    d.lines("Renewals, p99", "Time that a renewal of the Lease took.",
            [("histogram_quantile(0.99, sum by (le, result) (rate(apim_failover_leader_lease_renew_duration_seconds_bucket{$J}[$__rate_interval])))", "{{result}}")], "s", w=8, empty="no Lease is used (file store)")
    d.lines("Terms that began and ended", "acquired, lost against its will, or released when it stopped.",
            [("sum by (instance, event) (increase(apim_failover_leader_election_transitions_total{$J}[$__rate_interval]))", "{{instance}}: {{event}}")], "short", w=8, empty="no Lease is used (file store)")
    d.lines("Attempts that failed", "Renewals or takeovers of the Lease that failed, and renewals that had to read it first.", [
        ("sum by (instance) (rate(apim_failover_leader_election_failed_attempts_total{$J}[$__rate_interval]))", "{{instance}}: failed"),
        ("sum by (instance) (rate(leader_election_slowpath_total{$J}[$__rate_interval]))", "{{instance}}: read first")], "ops", w=8, empty="no Lease is used (file store)")
    d.row("Azure")
    d.lines("Requests by API and status", "code is the HTTP status, timeout or connect_error.", [("sum by (api, code) (rate(apim_failover_azure_requests_total{$J}[$__rate_interval]))", "{{api}}: {{code}}")], "reqps", w=8, empty="no request yet")
    d.lines("Failed or throttled", "Share of 429, 5xx, time-outs and failed connections.",
            [("""sum by (api) (rate(apim_failover_azure_requests_total{$J, code=~"5..|429|timeout|connect_error"}[$__rate_interval]))
                 / sum by (api) (rate(apim_failover_azure_requests_total{$J}[$__rate_interval]))""", "{{api}}")], "percentunit", w=8, empty="none")
    d.lines("Time of requests, p99", "From the start of a request to its answer.",
            [("histogram_quantile(0.99, sum by (le, api) (rate(apim_failover_azure_request_duration_seconds_bucket{$J}[$__rate_interval])))", "{{api}}")], "s", w=8, empty="no request yet")
    d.stat("Tokens expire in", "Tokens are renewed long before; below ten minutes the way to switch counts as broken.",
           [("min by (instance, audience) (apim_failover_azure_token_expiry_timestamp_seconds{$J}) - time()", "{{audience}}")], unit="s", w=12, h=6, steps=((None, RED), (600, GREEN)), empty="no token yet")
    d.stat("Traffic layer last read", "Read every 30 s.", [("time() - max by (failover_group) (apim_failover_traffic_last_read_timestamp_seconds{$S})", "{{failover_group}}")],
           unit="s", w=6, h=6, color="value", steps=((None, GREEN), (120, RED)), empty="not read yet, or no leader")
    d.stat("Way to switch last proved", "Proved every 60 s.", [("time() - max by (failover_group) (apim_failover_switch_path_checked_timestamp_seconds{$S})", "{{failover_group}}")],
           unit="s", w=6, h=6, color="value", steps=((None, GREEN), (180, RED)), empty="not proved yet, or no leader")
    d.row("Queues and store")
    d.lines("Queue of the core", "Events that wait for the core thread, and how many may.", [
        ("max by (instance) (apim_failover_mailbox_messages{$J})", "{{instance}}"), ("max by (instance) (apim_failover_mailbox_capacity_messages{$J})", "capacity of {{instance}}")], "short", w=8, dashed="^capacity of .*", empty="none is scraped")
    d.lines("Turned away", "Messages of agents refused because the queue was full, and times the process stood still.", [
        ("sum by (instance) (rate(apim_failover_mailbox_refused_total{$J}[$__rate_interval]))", "{{instance}}: refused"),
        ("sum by (instance) (rate(apim_failover_clock_gaps_total{$J}[$__rate_interval]))", "{{instance}}: clock gaps")], "ops", w=8, empty="none is scraped")
    d.lines("Time of the core's steps, p99", "One event in the core.", [("histogram_quantile(0.99, sum by (le, instance) (rate(apim_failover_core_step_duration_seconds_bucket{$J}[$__rate_interval])))", "{{instance}}")], "s", w=8, empty="none is scraped")
    d.lines("Writes of state", "By result.", [("sum by (result) (rate(apim_failover_store_writes_total{$J}[$__rate_interval]))", "{{result}}")], "ops", w=8, empty="none is scraped")
    d.lines("Time of writes, p99", "From a record's hand-over to its durability.", [("histogram_quantile(0.99, sum by (le) (rate(apim_failover_store_write_duration_seconds_bucket{$J}[$__rate_interval])))", "p99")], "s", w=8, empty="no write yet")
    d.stat("From the last vote to the enable request, p99", "Of the failovers in the shown time.",
           [("histogram_quantile(0.99, sum by (le) (increase(apim_failover_switch_latency_seconds_bucket{$J}[$__range])))", "p99")], unit="s", w=8, h=8, color="value", mappings=[{"type": "special", "options": {"match": "nan", "result": {"text": "no failover", "index": 0}}}], empty="no failover")
    d.row("Connections")
    d.lines("gRPC calls by status", "Calls of agents and operators that ended.", [("sum by (grpc_method, grpc_code) (rate(grpc_server_handled_total{$J}[$__rate_interval]))", "{{grpc_method}}: {{grpc_code}}")], "reqps", w=8, empty="none")
    d.lines("gRPC messages", "Messages in and out of streams.", [
        ("sum by (grpc_method) (rate(grpc_server_msg_received_total{$J}[$__rate_interval]))", "{{grpc_method}} in"), ("sum by (grpc_method) (rate(grpc_server_msg_sent_total{$J}[$__rate_interval]))", "{{grpc_method}} out")], "ops", w=8, empty="none")
    d.lines("Time of gRPC calls, p99", "A stream counts when it ends.", [("histogram_quantile(0.99, sum by (le, grpc_method) (rate(grpc_server_handling_seconds_bucket{$J}[$__rate_interval])))", "{{grpc_method}}")], "s", w=8, empty="none")
    d.lines("Kubernetes API requests", "By status and method.", [("sum by (code, method) (rate(rest_client_requests_total{$J}[$__rate_interval]))", "{{method}} {{code}}")], "reqps", w=8, empty="no Kubernetes API is used (file store)")
    d.lines("Time of Kubernetes API requests, p99", "By verb.", [("histogram_quantile(0.99, sum by (le, verb) (rate(rest_client_request_duration_seconds_bucket{$J}[$__rate_interval])))", "{{verb}}")], "s", w=8, empty="no Kubernetes API is used (file store)")
    d.lines("Orders of operators", "By their answer.", [("sum by (verb, result) (increase(apim_failover_orders_total{$J}[$__rate_interval])) > 0", "{{verb}}: {{result}}")], "short", w=8, empty="none")
    d.row("Resources")
    d.lines("CPU", "Cores in use.", [("rate(process_cpu_seconds_total{$J}[$__rate_interval])", "{{instance}}")], "short", w=8, empty="none is scraped")
    d.lines("Memory", "Resident memory.", [("process_resident_memory_bytes{$J}", "{{instance}}")], "bytes", w=8, empty="none is scraped")
    d.lines("Descriptors and threads", "Open file descriptors and threads.", [("process_open_fds{$J}", "{{instance}}: descriptors"), ("process_threads{$J}", "{{instance}}: threads")], "short", w=8, empty="none is scraped")
    d.lines("Warnings and errors", "Log lines a second, level warn and error.", [('sum by (instance, level) (rate(apim_failover_log_messages_total{$J, level=~"warn|error"}[$__rate_interval]))', "{{instance}}: {{level}}")], "ops", w=8, empty="none is scraped")
    d.stat("Certificates in force expire in", "As loaded in memory.", [("min by (instance, purpose) (apim_failover_certificate_expiry_timestamp_seconds{$J}) - time()", "{{instance}} {{purpose}}")], unit="s", w=8, h=8,
           steps=((None, RED), (86400, YELLOW), (604800, GREEN)), empty="no TLS between agents and controller")
    d.table("Versions and configurations", "What runs, since when, and with which configuration; replicas should agree.", [
        ("max by (instance, component, version, revision) (apim_failover_build_info{$J})", ""), ("max by (instance, hash) (apim_failover_config_info{$J})", ""),
        ("time() - max by (instance) (process_start_time_seconds{$J})", "")],
        {"instance": "Instance", "component": "Component", "version": "Version", "revision": "Revision", "hash": "Configuration", "Value #C": "Up for"}, w=8, join="instance", empty="none is scraped", fields=[column("Up for", "s")])
    return d


def main():
    files = {f"{d.name}.json": json.dumps(d.json(), indent=1, ensure_ascii=False) + "\n" for d in (overview(), failover_group(), agents_and_probes(), controller())}
    if sys.argv[1:] == ["--check"]:
        old = {path.name: path.read_text() for path in FOLDER.glob("*")}
        stale = sorted(name for name in files.keys() | old.keys() if files.get(name) != old.get(name))
        print("\n".join(f"{FOLDER.relative_to(ROOT)}/{name} is not what {pathlib.Path(__file__).name} writes" for name in stale) or "up to date")
        return 1 if stale else 0
    FOLDER.mkdir(exist_ok=True)
    for name, text in files.items():
        (FOLDER / name).write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
