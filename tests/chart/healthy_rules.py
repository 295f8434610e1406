"""Rule tests in which no alert may fire: peace, a normal sync, a change of the leader, a rollout.

Prints a file for `promtool test rules`; observability_test.py runs it. Written by a program, because each case needs every series
that a running system exports, for each process that exports them in turn.
"""
import json
import pathlib

RULES = pathlib.Path(__file__).resolve().parents[2] / "charts/apim-failover/rules/apim-failover.yaml"
REGIONS = ("we", "ne", "uk")


class Life:
    """A process from minute `start` up to `stop`, when it is stopped; then its series are stale."""

    def __init__(self, name, start, stop, leads=None, term=4):
        self.name, self.start, self.stop, self.leads, self.term = name, start, stop, leads, term

    def samples(self, at):
        """`at(minute)` for every minute of its life, in promtool's notation."""
        return " ".join(["_"] * self.start + [str(at(minute)) for minute in range(self.start, self.stop)] + ["stale"])

    def leading(self):
        return None if self.leads is None else Life(self.name, max(self.start, self.leads), self.stop, self.leads)


def series(life, metric, at, /, **labels):
    labels = {"job": "apim-failover-controller", "namespace": "dr", "pod": life.name, "instance": f"{life.name}:9464", **labels}
    value = at if callable(at) else lambda minute: at
    return {"series": metric + "{" + ",".join(f'{k}="{v}"' for k, v in labels.items()) + "}", "values": life.samples(value)}


def process(life):
    leads = lambda minute: life.leads is not None and minute >= life.leads
    return [
        series(life, "up", 1),
        series(life, "leader_election_master_status", lambda minute: int(leads(minute)), name="lease"),
        series(life, "apim_failover_leader_fencing_epoch", lambda minute: life.term if leads(minute) else 0),
        series(life, "apim_failover_store_available", 1),
        series(life, "apim_failover_mailbox_refused_total", 0),
        series(life, "apim_failover_clock_gaps_total", 0),
        series(life, "apim_failover_config_last_reload_successful", 1),
        series(life, "apim_failover_config_info", 1, hash="a"),
        series(life, "apim_failover_certificate_expiry_timestamp_seconds", 5_000_000, purpose="server"),
    ]


def agents(minutes):
    found = []
    for region in REGIONS:
        life = Life(f"agent-{region}", 0, minutes)
        own = {"job": "apim-failover-agent", "probe_region": region}
        target = {**own, "failover_group": "g", "azure_region": "we", "role": "active"}
        found += [
            series(life, "apim_failover_probe_results_total", lambda minute: 12 * minute, result="success", **target),
            series(life, "apim_failover_probe_results_total", 0, result="timeout", **target),
            series(life, "apim_failover_agent_stream_connected", 1, controller="c:7443", **own),
            series(life, "apim_failover_agent_reports_dropped_total", 0, reason="buffer_full", **own),
            series(life, "apim_failover_probe_tls_certificate_expiry_timestamp_seconds", 5_000_000,
                   job="apim-failover-agent", failover_group="g", azure_region="we"),
            series(life, "apim_failover_config_info", 1, hash=region, **own),
        ]
    return found


def group(life, mode="automatic", sync=None, spare=False):
    """What the leader exports of group g. In its first minute it has heard of nothing yet: votes are unknown, traffic is unread.

    `sync` is (first, backup, restore, end, last): minutes of a sync run; the standby is away from restore to end, then verified until
    last. With `spare` there is a second standby, which holds the backup of the run before, six hours older; its turn comes last.
    """
    g, new = {"failover_group": "g"}, lambda minute: minute == life.start and life.start > 0
    act, std = {**g, "azure_region": "we", "apim_service": "act"}, {**g, "azure_region": "ne", "apim_service": "std"}
    plain = {**g, "apim_service": "std"}
    first, backup, restore, end, last = sync or (10 ** 6,) * 5
    away = lambda minute: restore <= minute < end or new(minute)
    unverified = lambda minute: restore <= minute < last
    age = lambda minute: 60 * minute if not spare else 60 * (minute - backup) + (21600 if minute < last else 0)
    found = [
        series(life, "apim_failover_group_info", 1, mode=mode, **g),
        series(life, "apim_failover_group_state", 0, state="failing_over", **g),
        series(life, "apim_failover_service_role", 1, role="active", **act),
        series(life, "apim_failover_service_verdict", 0, verdict="down", **act),
        series(life, "apim_failover_service_verdict", lambda minute: int(new(minute)), verdict="unknown", **act),
        series(life, "apim_failover_service_healthy", lambda minute: int(not away(minute)), role="standby", **std),
        series(life, "apim_failover_service_serving_traffic", 1, **act),
        series(life, "apim_failover_service_serving_traffic", 0, **std),
        series(life, "apim_failover_traffic_last_read_timestamp_seconds", lambda minute: 60 * minute, **g),
        series(life, "apim_failover_switch_path_checked_timestamp_seconds", lambda minute: 60 * minute, **g),
        series(life, "apim_failover_outage_active", 0, **g),
        series(life, "apim_failover_approval_pending", 0, **g),
        series(life, "apim_failover_probe_quorum_size", 2, **g),
        series(life, "apim_failover_failovers_last_day", 0, **g),
        series(life, "apim_failover_failovers_max_per_day", 2, **g),
        series(life, "apim_failover_rpo_objective_seconds", 28800, **g),
        series(life, "apim_failover_rto_objective_seconds", 120, **g),
        series(life, "apim_failover_forecast_rto_seconds", 41, **g),
        series(life, "apim_failover_detection_bound_seconds", 16, **g),
        series(life, "apim_failover_sync_schedule_interval_seconds", 21600, **g),
        series(life, "apim_failover_sync_frozen", lambda minute: int(new(minute)), **g),
        series(life, "apim_failover_sync_next_run_timestamp_seconds", lambda minute: 60 * (first if minute < first < 10 ** 6 else minute + 200), **g),
        series(life, "apim_failover_sync_consecutive_failures", 0, operation="restore", **plain),
        series(life, "apim_failover_config_drift_items", 0, kind="apis", **plain),
        series(life, "apim_failover_backup_expiry_timestamp_seconds", 2_592_000, **g),
        series(life, "apim_failover_group_rpo_seconds", lambda minute: "Inf" if unverified(minute) and not spare else age(minute), source="recovery_point", **g),
        series(life, "apim_failover_standby_promotable", lambda minute: int(not (away(minute) or unverified(minute))), **std),
        series(life, "apim_failover_standby_protected", lambda minute: int(not unverified(minute)), **std),
        series(life, "apim_failover_sync_operation_in_progress", lambda minute: int(restore <= minute < end), operation="restore", **plain),
    ]
    if sync:
        started = lambda since, until: lambda minute: 60 * since if since <= minute < until else "stale"
        found += [
            series(life, "apim_failover_sync_run_started_timestamp_seconds", started(first, last), **g),
            series(life, "apim_failover_sync_operation_started_timestamp_seconds", started(backup, restore - 1), operation="backup",
                   **{**g, "apim_service": "act"}),
            series(life, "apim_failover_sync_operation_started_timestamp_seconds", started(restore, end), operation="restore", **plain),
            series(life, "apim_failover_sync_operation_started_timestamp_seconds", started(end, last), operation="verify", **plain),
        ]
    if spare:
        other = {**std, "azure_region": "uk", "apim_service": "std2"}
        found += [series(life, metric, 1, **other) for metric in ("apim_failover_standby_promotable", "apim_failover_standby_protected")]
    found += [series(life, "apim_failover_sync_operation_p95_seconds", p95, operation=operation, **g)
              for operation, p95 in (("backup", 900), ("restore", 1800), ("cycle", 5400 if spare else 2700))]
    found += [series(life, "apim_failover_blocked", lambda minute: int(new(minute)), reason=reason, **g)
              for reason in ("traffic_mismatch", "switch_path_broken", "startup_grace", "no_quorum")]
    found += [series(life, "apim_failover_blocked", 0, reason=reason, **g) for reason in ("paused", "roles_unconfirmed", "cooldown")]
    found += [series(life, "apim_failover_blocked", int(mode != "automatic"), reason="mode", **g)]
    found += [series(life, "apim_failover_standby_blocked", lambda minute: int(unverified(minute)), reason="unverified", **plain)]
    found += [series(life, "apim_failover_standby_blocked", 0, reason=reason, **plain) for reason in ("never_synced", "not_resynced", "drift")]
    for region in REGIONS:
        seen = lambda minute: int(not new(minute))
        found += [
            series(life, "apim_failover_agent_connected", seen, probe_region=region, **g),
            series(life, "apim_failover_public_name_success", seen, probe_region=region, **g),
            series(life, "apim_failover_dissenting_region", 0, apim_service="act", probe_region=region, **g),
            series(life, "apim_failover_agent_last_report_timestamp_seconds", lambda minute: 60 * minute, probe_region=region),
            series(life, "apim_failover_agent_clock_skew_seconds", 0.2, probe_region=region),
            series(life, "apim_failover_agent_certificate_expiry_timestamp_seconds", 5_000_000, probe_region=region),
            series(life, "apim_failover_agent_refused_total", 0, probe_region=region, reason="hello"),
        ]
    return found


def case(name, minutes, lives, moments, **what):
    found = agents(minutes)
    for life in lives:
        found += process(life)
        if life.leads is not None:
            found += group(life.leading(), **what)
    tests = [{"expr": 'count by (alertname) (ALERTS{alertstate="firing"})', "eval_time": f"{at}m", "exp_samples": []} for at in moments]
    return {"name": name, "interval": "1m", "input_series": found, "promql_expr_test": tests}


def cases():
    return [
        case("all is well", 70, [Life("c-0", 0, 70, 0), Life("c-1", 0, 70)], (5, 65)),
        case("mode manual is no fault", 40, [Life("c-0", 0, 40, 0)], (5, 35), mode="manual"),
        case("a normal sync: while it is restored the standby is away, then verified for long, and its RPO unknown", 150,
             [Life("c-0", 0, 150, 0), Life("c-1", 0, 150)], (25, 45, 70, 76, 92, 101, 145), sync=(10, 11, 30, 70, 100)),
        case("every 6 hours with an objective of 8: the RPO comes near it just before the first of two standbys is restored", 130,
             [Life("c-0", 0, 130, 0), Life("c-1", 0, 130)], (34, 45, 60, 74, 76, 125), sync=(10, 11, 30, 70, 75), spare=True),
        case("the leader is killed, another one leads a minute later", 45,
             [Life("c-0", 0, 20, 0, 54), Life("c-1", 0, 45, 21, 55), Life("c-2", 0, 45)], (19, 20, 21, 22, 23, 26, 40)),
        case("a rollout: three replicas are replaced, and the leader moves three times", 60,
             [Life("c-0", 0, 10, 0, 54), Life("c-1", 0, 15, 11, 55), Life("c-2", 0, 20, 16, 56),
              Life("d-0", 8, 60, 21, 57), Life("d-1", 13, 60), Life("d-2", 18, 60)], (10, 11, 12, 15, 16, 17, 20, 21, 22, 26, 55)),
    ]


if __name__ == "__main__":
    print(json.dumps({"rule_files": [str(RULES)], "evaluation_interval": "1m", "tests": cases()}))
