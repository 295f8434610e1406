"""Rules, their tests, runbooks, dashboards: they name the same alerts, metrics that exist, and commands that the real CLI takes."""
import functools
import json
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import unittest

import yaml

import charts
import healthy_rules

ROOT = pathlib.Path(__file__).resolve().parents[2]
CHART = ROOT / "charts/apim-failover"
RUNBOOKS = sorted(path for path in (CHART / "runbooks").glob("*.md") if path.name != "README.md")
DASHBOARDS = sorted((CHART / "dashboards").glob("*.json"))
HEADINGS = ["Meaning", "Impact", "Diagnosis", "Mitigation", "Do not", "How it resolves", "False positives"]
# Label names that scraping attaches to targets (design.md section 10). Rules may group by those of the first line, as Prometheus set them.
TARGET_LABELS = {"namespace", "pod", "instance", "job", "service", "container", "endpoint", "cluster", "region", "node"}
PROMTOOL = shutil.which("promtool")
CTL = pathlib.Path(os.environ.get("BIN", ROOT / "build/dev/bin")) / "failoverctl"


@functools.lru_cache(maxsize=None)
def rules():
    return [rule for path in (CHART / "rules").glob("*.yaml") for group in yaml.safe_load(path.read_text())["groups"] for rule in group["rules"]]


def alerts():
    return [rule for rule in rules() if "alert" in rule]


@functools.lru_cache(maxsize=None)
def catalogue():
    """Metric name to its labels, of controller, agents and every process."""
    found = {}
    for name in ("metrics", "agent-metrics", "process-metrics"):
        for line in (ROOT / f"tests/testdata/{name}.txt").read_text().splitlines():
            if line and not line.startswith("#"):
                metric, kind, labels = (word.strip() for word in line.split("|")[:3])
                found.setdefault(metric, set()).update(filter(None, labels.split(",")))
                if kind == "histogram":
                    for suffix in ("_bucket", "_sum", "_count"):
                        found[metric + suffix] = found[metric] | ({"le"} if suffix == "_bucket" else set())
    return found


def metrics_in(text):
    """Names that look like a metric of ours, recorded ones (with colons) left out."""
    return set(re.findall(r"(?<![\w:])(?:apim_failover|leader_election|grpc_server|rest_client|process)_[a-z0-9_]+(?![\w:])", text))


@functools.lru_cache(maxsize=None)
def dashboards():
    return {path.stem: json.loads(path.read_text()) for path in DASHBOARDS}


def panels(dashboard):
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def queries():
    """(dashboard, panel, expression) of every panel and annotation."""
    found = []
    for name, dashboard in dashboards().items():
        found += [(name, panel["title"], target["expr"]) for panel in panels(dashboard) for target in panel["targets"]]
        found += [(name, note["name"], note["expr"]) for note in dashboard["annotations"]["list"] if "expr" in note]
    return found


def promtool(*arguments):
    return subprocess.run([PROMTOOL, *arguments], capture_output=True, text=True)


class Rules(unittest.TestCase):
    def test_EveryAlertHasSeveritySummaryDescriptionWithValuesAndRunbook(self):
        for rule in alerts():
            with self.subTest(rule["alert"]):
                self.assertIn(rule["labels"]["severity"], ("critical", "warning", "info"))
                notes = rule["annotations"]
                self.assertEqual(set(notes), {"summary", "description", "runbook_url"})
                self.assertNotIn("{{", notes["summary"])
                self.assertIn("{{", notes["description"])
                self.assertEqual(notes["runbook_url"], f"runbooks/{rule['alert']}.md")
                self.assertNotIn("$value", json.dumps(rule["labels"]))  # a value in a label begins a new alert at each change

    def test_EveryAlertFiresAndResolvesInTheTests(self):
        # Of each severity: expected with its labels and words at one moment, and expected away at a later one of the same case.
        fires, resolves = set(), set()
        for path in (CHART / "tests/rules").glob("*_test.yaml"):
            for case in yaml.safe_load(path.read_text())["tests"]:
                seen = {}
                minutes = lambda test: sum(int(n) * {"s": 1, "m": 60, "h": 3600, "d": 86400}[u] for n, u in re.findall(r"(\d+)([smhd])", test["eval_time"]))
                for test in sorted(case.get("alert_rule_test", []), key=minutes):
                    name, now = test["alertname"], {alert["exp_labels"]["severity"] for alert in test.get("exp_alerts", [])}
                    for alert in test.get("exp_alerts", []):
                        self.assertEqual(alert["exp_annotations"].get("runbook_url"), f"runbooks/{name}.md", f"{path.name}: {case['name']}")
                    fires |= {(name, severity) for severity in now}
                    resolves |= {(name, severity) for severity in seen.get(name, set()) - now}
                    seen.setdefault(name, set()).update(now)
        expected = {(rule["alert"], rule["labels"]["severity"]) for rule in alerts()}
        self.assertEqual(expected - fires, set(), "never fires in tests/rules")
        self.assertEqual(expected - resolves, set(), "never resolves in tests/rules")
        self.assertEqual(fires - expected, set(), "is tested and does not exist")

    def test_NothingFiresWhileAllIsAsItShouldBe(self):
        if PROMTOOL is None:
            self.skipTest("no promtool")
        with charts.temporary() as folder:
            file = pathlib.Path(folder) / "healthy.json"
            file.write_text(json.dumps({"rule_files": [str(healthy_rules.RULES)], "evaluation_interval": "1m", "tests": healthy_rules.cases()}))
            done = promtool("test", "rules", str(file))
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_RulesAskForMetricsAndLabelsThatExist(self):
        known = catalogue()
        for rule in rules():
            for metric in metrics_in(rule["expr"]):
                self.assertIn(metric, known, rule)
            for metric, matchers in re.findall(r"(\w+)\{([^}]*)\}", rule["expr"]):
                asked = set(re.findall(r"(\w+)\s*[=!]~?", matchers)) - TARGET_LABELS
                self.assertEqual(asked - known.get(metric, asked), set(), rule)
            used = set().union(*(known[metric] for metric in metrics_in(rule["expr"]))) if metrics_in(rule["expr"]) else None
            grouped = {label.strip() for labels in re.findall(r"\b(?:by|on|group_left) \(([^)]*)\)", rule["expr"]) for label in labels.split(",") if label.strip()}
            if used is not None:
                self.assertEqual(grouped - used - TARGET_LABELS, set(), rule)

    def test_DescriptionsUseLabelsThatTheExpressionKeeps(self):
        # What is not in a `by` of the expression is empty in the text.
        for rule in alerts():
            used = set(re.findall(r"\$labels\.(\w+)", json.dumps(rule["annotations"])))
            kept = {label.strip() for labels in re.findall(r"\b(?:by|group_left) \(([^)]*)\)", rule["expr"]) for label in labels.split(",")}
            recorded = [other for other in rules() if other.get("record", "-") in rule["expr"]]
            for other in recorded:
                kept |= {label.strip() for labels in re.findall(r"\b(?:by|group_left) \(([^)]*)\)", other["expr"]) for label in labels.split(",")}
            self.assertEqual(used - kept, set(), rule["alert"])


class Runbooks(unittest.TestCase):
    def test_EveryAlertHasARunbookAndEveryRunbookAnAlert(self):
        self.assertEqual({path.stem for path in RUNBOOKS}, {rule["alert"] for rule in alerts()})

    def test_TheIndexNamesAllOfThemWithSeverityAndSummary(self):
        rows = {name: (severity, says) for name, link, severity, says in
                re.findall(r"^\| \[(\w+)\]\((\w+)\.md\) \| ([\w, ]+) \| (.*) \|$", (CHART / "runbooks/README.md").read_text(), re.M) if name == link}
        expected = {}
        for rule in alerts():
            first = expected.setdefault(rule["alert"], ([], rule["annotations"]["summary"]))
            if rule["labels"]["severity"] not in first[0]:
                first[0].append(rule["labels"]["severity"])
        self.assertEqual(rows, {name: (", ".join(severities), says) for name, (severities, says) in expected.items()})

    def test_HeadingsAreThereInOrderAndTheFirstLineAnswersTheFirstQuestion(self):
        for path in RUNBOOKS:
            with self.subTest(path.name):
                lines = path.read_text().splitlines()
                self.assertEqual(lines[:2], [f"# {path.stem}", ""])
                self.assertRegex(lines[2], r"^\*Is traffic affected now\?\* \*\*")
                self.assertEqual(re.findall(r"^## (.*)$", "\n".join(lines), re.M), HEADINGS)
                for part in re.split(r"^## .*$", "\n".join(lines), flags=re.M)[1:]:
                    self.assertTrue(part.strip())
                self.assertIn("<details>", "\n".join(lines))
                self.assertTrue(40 <= len(lines) <= 90, f"{len(lines)} lines")
                self.assertEqual("\n".join(lines).count("```") % 2, 0)

    def test_LinksLeadToRunbooksThatExist(self):
        for path in (CHART / "runbooks").glob("*.md"):
            for target in re.findall(r"\]\(([^)]+)\)", path.read_text()):
                self.assertTrue((path.parent / target).is_file(), f"{path.name}: {target}")

    def test_MetricsExist(self):
        known = catalogue()
        for path in (CHART / "runbooks").glob("*.md"):
            self.assertEqual(metrics_in(path.read_text()) - set(known), set(), path.name)

    def test_PanelsThatAreNamedExist(self):
        titles = {panel["title"] for dashboard in dashboards().values() for panel in dashboard["panels"]}
        names = {dashboard["title"].split(" / ")[1] for dashboard in dashboards().values()}
        for path in RUNBOOKS:
            for line in path.read_text().splitlines():
                if "ashboard *" in line:
                    for name in re.findall(r"(?<!\*)\*([^*]+)\*(?!\*)", line):
                        self.assertIn(name, titles | names, path.name)

    def test_BlockersAndRefusalsThatAreForcedExist(self):
        table = (ROOT / "controller/core/blockers.cc").read_text()
        known = set(re.findall(r'\{Blocker::k\w+, "(\w+)"', table))
        self.assertGreater(len(known), 20)
        for path in RUNBOOKS:
            self.assertEqual(set(re.findall(r"--force (\w+)", path.read_text())) - known, set(), path.name)

    def commands(self):
        """Every failoverctl command of a code block or of a `code span`."""
        for path in (CHART / "runbooks").glob("*.md"):
            text = path.read_text()
            for block in re.findall(r"```sh\n(.*?)```", text, re.S):
                for line in block.splitlines():
                    if line.strip().startswith("failoverctl "):
                        yield path.name, line.strip()
            for span in re.findall(r"`(failoverctl [^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.S)):
                yield path.name, span

    def test_EveryCommandParsesWithTheRealProgram(self):
        # Arguments are checked before the settings are read: with a file of settings that is not there, what it says next means they are good.
        if not CTL.exists():
            self.skipTest(f"no {CTL}")
        environment = {**os.environ, "FAILOVERCTL_CONFIG": "/nonexistent"}
        run = lambda *words: subprocess.run([CTL, *words], capture_output=True, text=True, env=environment, timeout=30)
        good = run("status", "-w").stderr
        self.assertIn("/nonexistent: cannot open", good)
        self.assertNotIn("cannot open", run("status", "--wath").stderr)
        seen = set()
        for where, command in self.commands():
            words = shlex.split(command, comments=True)[1:]
            done = run(*words)
            seen.add(words[0])
            self.assertEqual(done.stderr, good, f"{where}: {command}")
        self.assertGreaterEqual(seen, {"status", "check", "history", "sync", "standby", "operations", "backups", "failover", "approve", "deny", "ack", "adopt", "pause", "resume", "agents"})


class Dashboards(unittest.TestCase):
    def test_TheFilesAreWhatTheProgramWrites(self):
        done = subprocess.run(["python3", ROOT / "tests/chart/dashboards.py", "--check"], capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stdout)

    def test_EveryQueryParses(self):
        if PROMTOOL is None:
            self.skipTest("no promtool")
        found = []
        for i, (dashboard, panel, expression) in enumerate(queries()):
            for variable, value in (("$__rate_interval", "1m"), ("$__range", "1h"), ("$__interval", "1m"), ("$job", ".+"), ("$instance", ".+"), ("$failover_group", ".+")):
                expression = expression.replace(variable, value)
            self.assertNotIn("$", expression, f"{dashboard}, {panel}")
            found.append({"record": f"q{i}", "expr": expression})
        self.assertGreater(len(found), 100)
        with charts.temporary() as folder:
            file = pathlib.Path(folder) / "queries.yaml"
            file.write_text(yaml.safe_dump({"groups": [{"name": "queries", "rules": found}]}))
            done = promtool("check", "rules", str(file))
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_QueriesAskForMetricsAndLabelsThatExist(self):
        known = catalogue()
        for dashboard, panel, expression in queries():
            for metric in metrics_in(expression):
                self.assertIn(metric, known, f"{dashboard}, {panel}")
            for metric, matchers in re.findall(r"(\w+)\{([^}]*)\}", expression):
                asked = set(re.findall(r"(\w+)\s*[=!]~?\"", matchers)) - TARGET_LABELS
                self.assertEqual(asked - known.get(metric, asked), set(), f"{dashboard}, {panel}: {expression}")

    def test_SelectorsHoldJobAndInstanceAndRatesTheirInterval(self):
        # What dashboard-linter asks for, too. ALERTS are Prometheus' own.
        counters = {line.split(" |")[0] for name in ("metrics", "agent-metrics", "process-metrics")
                    for line in (ROOT / f"tests/testdata/{name}.txt").read_text().splitlines() if " | counter | " in line}
        for dashboard, panel, expression in queries():
            where = f"{dashboard}, {panel}: {expression}"
            for metric, matchers in re.findall(r"\b(\w+)\{([^}]*)\}", expression):
                if metric != "ALERTS":
                    self.assertTrue('job=~"$job"' in matchers and 'instance=~"$instance"' in matchers, where)
            for metric in metrics_in(expression):
                self.assertNotRegex(expression, rf"\b{metric}\b(?!\{{)", where)  # each has a selector
                if metric in counters or metric.endswith("_bucket"):
                    self.assertRegex(expression, rf"(rate|increase)\({metric}\{{[^}}]*\}}\[", where)
            for function, interval in re.findall(r"\b(rate|irate|increase)\([^\[]*\[([^\]]+)\]", expression):
                self.assertIn(interval, ("$__rate_interval",) + (("$__range", "1h") if function == "increase" else ()), where)

    def test_PanelsStandWhereTheyFitAndSayWhatTheyShow(self):
        for name, dashboard in dashboards().items():
            taken, ids = {}, set()
            for panel in dashboard["panels"]:
                where, place = f"{name}, {panel['title']}", panel["gridPos"]
                self.assertNotIn(panel["id"], ids, where)
                ids.add(panel["id"])
                for x in range(place["x"], place["x"] + place["w"]):
                    self.assertLess(x, 24, where)
                    for y in range(place["y"], place["y"] + place["h"]):
                        self.assertIsNone(taken.get((x, y)), f"{where} stands on {taken.get((x, y))}")
                        taken[x, y] = panel["title"]
            for panel in panels(dashboard):
                where, defaults = f"{name}, {panel['title']}", panel["fieldConfig"]["defaults"]
                self.assertTrue(panel["title"] and panel["description"].endswith(".") and defaults["unit"] and defaults["noValue"], where)
                self.assertEqual(panel["datasource"]["uid"], "${datasource}", where)
                self.assertEqual(len({target["refId"] for target in panel["targets"]}), len(panel["targets"]), where)

    def test_DashboardsAreFixedLinkedAndAnnotated(self):
        uids = {dashboard["uid"] for dashboard in dashboards().values()}
        self.assertEqual(len(uids), 4)
        for name, dashboard in dashboards().items():
            self.assertEqual((dashboard["editable"], dashboard["timezone"], dashboard["schemaVersion"]), (False, "utc", 39), name)
            self.assertEqual([variable["name"] for variable in dashboard["templating"]["list"]], ["datasource", "job", "instance", "failover_group"])
            linked = {link["url"].removeprefix("/d/") for link in dashboard["links"] if link["url"].startswith("/d/")}
            self.assertEqual(linked, uids - {dashboard["uid"]}, name)
            self.assertTrue(any(link["title"] == "Runbooks" for link in dashboard["links"]))
            self.assertIn("Failovers", [note["name"] for note in dashboard["annotations"]["list"]])
        first = [panel["title"] for panel in panels(dashboards()["overview"])[:6]]
        self.assertEqual(first, ["Who serves", "State", "Standbys ready", "Would be lost", "Would take", "Happening now"])

    def test_EveryBlockerHasItsWords(self):
        known = set(re.findall(r'\{Blocker::k\w+, "(\w+)"', (ROOT / "controller/core/blockers.cc").read_text()))
        for title in ("Blockers of the group", "Blockers of the standbys"):
            panel = next(p for p in panels(dashboards()["group"]) if p["title"] == title)
            mapped = [m["options"] for o in panel["fieldConfig"]["overrides"] for p in o["properties"] if p["id"] == "mappings" for m in p["value"]]
            self.assertEqual(set(mapped[0]), known, title)


class Chart(unittest.TestCase):
    def rendered(self, *arguments):
        done = charts.run(charts.HELMS[0], CHART, "-f", str(CHART / "ci/monitoring.yaml"), *arguments)
        self.assertEqual(done.returncode, 0, done.stderr)
        return [item for item in yaml.safe_load_all(done.stdout) if item]

    def test_DashboardsAreConfigMapsWithTheRunbooksAddress(self):
        made = {key: text for item in self.rendered() if item["kind"] == "ConfigMap" for key, text in item["data"].items() if key.endswith(".json")}
        self.assertEqual(set(made), {path.name for path in DASHBOARDS})
        for name, text in made.items():
            expected = json.loads((CHART / "dashboards" / name).read_text().replace("https://runbooks.invalid/", "https://runbooks.contoso.com/apim/"))
            self.assertEqual(json.loads(text), expected)
            self.assertLess(len(text), 256 * 1024)  # what `kubectl apply` can keep in an annotation

    def test_RunbooksAreRelativeUntilTheirAddressIsGiven(self):
        for url, base in (("", "runbooks"), ("https://wiki.contoso.com/x/", "https://wiki.contoso.com/x")):
            made = self.rendered("--set", f"metrics.prometheusRule.runbookUrl={url}")
            found = [rule for item in made if item["kind"] == "PrometheusRule" for group in item["spec"]["groups"] for rule in group["rules"] if "alert" in rule]
            self.assertGreater(len(found), 50)
            for rule in found:
                self.assertEqual(rule["annotations"]["runbook_url"], f"{base}/{rule['alert']}.md")

    def test_ThePackageFitsIntoARelease(self):
        # Helm keeps the chart, compressed, in a Secret of at most 1 MiB.
        with charts.temporary() as folder:
            done = subprocess.run([charts.HELMS[0], "package", CHART, "-d", folder], capture_output=True, text=True)
            self.assertEqual(done.returncode, 0, done.stderr)
            package = next(pathlib.Path(folder).glob("*.tgz"))
            self.assertLess(package.stat().st_size, 250_000)
            names = subprocess.run(["tar", "tzf", package], capture_output=True, text=True, check=True).stdout
        self.assertIn("apim-failover/runbooks/ApimSyncStuck.md", names)
        self.assertIn("apim-failover/dashboards/overview.json", names)
        self.assertNotIn("tests/rules", names)


if __name__ == "__main__":
    unittest.main()
