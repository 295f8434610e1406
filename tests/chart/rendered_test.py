"""What the rendered objects promise, over every set of values in charts/*/ci."""
import concurrent.futures
import json
import os
import pathlib
import re
import shutil
import unittest

import yaml

import charts
from charts import AGENT, CONTROLLER, ROOT, ci, containers, every_rendering, of_kind, one, pods, render


def selected(labels, selector):
    return all(labels.get(key) == value for key, value in selector.items())


class Rendered(unittest.TestCase):
    def each_pod(self):
        for _, objects in every_rendering():
            yield from pods(objects)

    def test_WrongValuesAreRefusedWithTheWayOut(self):
        cases = [(helm, case) for helm in charts.HELMS for case in yaml.safe_load((ROOT / "tests/chart/refused.yaml").read_text())]

        def attempt(pair):
            helm, case = pair
            arguments = [a for value in case.get("set", []) for a in ("--set", value)]
            if "from" in case:
                arguments += ["-f", ci(case["chart"], case["from"])]
            return charts.run(helm, case["chart"], *arguments)

        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            for (helm, case), done in zip(cases, pool.map(attempt, cases)):
                with self.subTest(helm=helm, case=case):
                    self.assertNotEqual(done.returncode, 0, "it was accepted")
                    self.assertRegex(re.sub(r"\s+", " ", done.stderr), case["says"])

    def test_EveryPodFitsPodSecurityRestricted(self):
        allowed = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}
        for _, spec in self.each_pod():
            self.assertFalse({"hostNetwork", "hostPID", "hostIPC"} & set(spec))
            pod = spec["securityContext"]
            self.assertEqual((pod["runAsNonRoot"], pod["seccompProfile"]["type"]), (True, "RuntimeDefault"))
            self.assertGreater(pod["runAsUser"], 0)
            for volume in spec["volumes"]:
                self.assertLessEqual(set(volume) - {"name"}, allowed)
            for container in containers(spec):
                context = container["securityContext"]
                self.assertIs(context["allowPrivilegeEscalation"], False)
                self.assertEqual(context["capabilities"], {"drop": ["ALL"]})
                self.assertNotIn("privileged", context)
                self.assertFalse(any("hostPort" in port for port in container.get("ports", [])))
                for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
                    self.assertNotIn("host", container.get(probe, {}).get("httpGet", {}))

    def test_OurContainersHaveAReadOnlyRootAndAMemoryLimitAndNoCpuLimit(self):
        for _, spec in self.each_pod():
            for container in containers(spec):
                if container["name"] in ("before", "beside"):
                    continue
                self.assertTrue(container["securityContext"]["readOnlyRootFilesystem"])
                self.assertEqual(set(container["resources"]["limits"]), {"memory"})
                self.assertIn("/tmp", [m["mountPath"] for m in container["volumeMounts"]])

    def test_NoTokenIsMountedUnasked(self):
        for where, objects in every_rendering():
            with self.subTest(where=where):
                for account in of_kind(objects, "ServiceAccount"):
                    self.assertIs(account["automountServiceAccountToken"], False)
                for metadata, spec in pods(objects):
                    self.assertIs(spec["automountServiceAccountToken"], False)
                    tokens = [s for v in spec["volumes"] for s in v.get("projected", {}).get("sources", []) if "serviceAccountToken" in s]
                    if where.startswith(AGENT) or metadata["name"].endswith("-test"):
                        self.assertFalse([t for t in tokens if "audience" not in t["serviceAccountToken"]])

    def test_ListsHaveNoEntryTwice(self):
        for _, spec in self.each_pod():
            lists = [[v["name"] for v in spec["volumes"]], [c["name"] for c in containers(spec)],
                     [p["containerPort"] for c in containers(spec) for p in c.get("ports", [])]]
            for container in containers(spec):
                lists.append([e["name"] for e in container.get("env", [])])
                lists.append([m["mountPath"] for m in container.get("volumeMounts", [])])
            for names in lists:
                self.assertEqual(len(names), len(set(names)), names)

    def test_EveryVolumeIsMountedAndEveryMountHasAVolume(self):
        for metadata, spec in self.each_pod():
            volumes = {v["name"] for v in spec["volumes"]}
            mounted = {m["name"] for c in containers(spec) for m in c.get("volumeMounts", [])}
            self.assertLessEqual(mounted, volumes)
            if not metadata["name"].endswith("-test"):
                self.assertEqual(volumes - mounted, set())

    def test_NoVolumeIsMountedBySubPathSinceItWouldNeverChange(self):
        for _, spec in self.each_pod():
            self.assertFalse([m for c in containers(spec) for m in c.get("volumeMounts", []) if "subPath" in m])

    def test_SelectorsFindTheDeploymentsPodsOnlyAndHoldNoVersion(self):
        for where, objects in every_rendering():
            with self.subTest(where=where):
                deployment = one(objects, "Deployment")
                labels = deployment["spec"]["template"]["metadata"]["labels"]
                selectors = [deployment["spec"]["selector"]["matchLabels"]]
                selectors += [s["spec"]["selector"] for s in of_kind(objects, "Service")]
                selectors += [p["spec"]["selector"]["matchLabels"] for p in of_kind(objects, "PodDisruptionBudget")]
                selectors += [p["spec"]["podSelector"]["matchLabels"] for p in of_kind(objects, "NetworkPolicy")]
                selectors += [c["labelSelector"]["matchLabels"] for c in deployment["spec"]["template"]["spec"].get("topologySpreadConstraints", [])]
                for selector in selectors:
                    self.assertTrue(selected(labels, selector))
                    self.assertEqual(set(selector), {"app.kubernetes.io/name", "app.kubernetes.io/instance", "app.kubernetes.io/component"})
                    for pod in of_kind(objects, "Pod"):
                        self.assertFalse(selected(pod["metadata"]["labels"], selector))

    def test_ServicesMonitorsAndProbesNameAPortThatExists(self):
        for where, objects in every_rendering():
            with self.subTest(where=where):
                spec = one(objects, "Deployment")["spec"]["template"]["spec"]
                ports = {p["name"]: p["containerPort"] for c in containers(spec) for p in c.get("ports", [])}
                services = of_kind(objects, "Service")
                for service in services:
                    for port in service["spec"]["ports"]:
                        self.assertIn(port["targetPort"], ports)
                for container in containers(spec):
                    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
                        if probe in container:
                            self.assertIn(container[probe]["httpGet"]["port"], [p["name"] for p in container["ports"]])
                for monitor in of_kind(objects, "PodMonitor"):
                    self.assertIn(monitor["spec"]["podMetricsEndpoints"][0]["port"], ports)
                    self.assertTrue(selected(one(objects, "Deployment")["spec"]["template"]["metadata"]["labels"], monitor["spec"]["selector"]["matchLabels"]))
                for monitor in of_kind(objects, "ServiceMonitor"):
                    found = [s for s in services if selected(s["metadata"]["labels"], monitor["spec"]["selector"]["matchLabels"])]
                    self.assertEqual([s["metadata"]["name"].rsplit("-", 1)[1] for s in found], ["metrics"])
                    self.assertEqual(found[0]["spec"]["ports"][0]["name"], monitor["spec"]["endpoints"][0]["port"])

    def test_TheConfigurationsAddressesAreTheServicesAndPorts(self):
        objects = render(CONTROLLER, "-f", ci(CONTROLLER, "default"))
        config = yaml.safe_load(one(objects, "ConfigMap")["data"]["config.yaml"])
        ports = {p["name"]: p["containerPort"] for p in one(objects, "Deployment")["spec"]["template"]["spec"]["containers"][0]["ports"]}
        for key, port in (("agentAddress", "tls-agents"), ("operatorAddress", "tls-operators"), ("metricsAddress", "metrics")):
            self.assertEqual(config[key], f"0.0.0.0:{ports[port]}")
        replicas = one(objects, "Service", "-replicas")
        self.assertEqual(config["replicasAddress"], f"{replicas['metadata']['name']}.space.svc:{replicas['spec']['ports'][0]['port']}")
        self.assertEqual((replicas["spec"]["clusterIP"], replicas["spec"]["publishNotReadyAddresses"]), ("None", True))

    def test_CertificatesHaveExactlyOneIdentity(self):
        for where, objects in every_rendering():
            for certificate in of_kind(objects, "Certificate"):
                with self.subTest(where=where, certificate=certificate["metadata"]["name"]):
                    spec = certificate["spec"]
                    if spec.get("isCA"):
                        self.assertNotIn("uris", spec)
                        continue
                    self.assertEqual(len(spec["uris"]), 1)
                    self.assertRegex(spec["uris"][0], r"^spiffe://[a-z0-9._-]+/(controller/[\w.-]+|operator/[\w.-]+|agent/[a-z0-9-]+/[\w.-]+)$")
                    self.assertIn("client auth", spec["usages"])

    def test_EverySecretOfAPodIsIssuedOrNamedInTheValues(self):
        for where, objects in every_rendering():
            issued = {c["spec"]["secretName"] for c in of_kind(objects, "Certificate")}
            chart, _, name = where.split("/")
            values = (ROOT / "charts" / chart / "ci" / name).read_text()
            for _, spec in pods(objects):
                for volume in spec["volumes"]:
                    secret = volume.get("secret", {}).get("secretName")
                    with self.subTest(where=where, secret=secret):
                        self.assertTrue(secret is None or secret in issued or secret in values)

    def test_NamesStayWithinTheLimitForALongReleaseName(self):
        for chart, name in ((CONTROLLER, "all-on"), (CONTROLLER, "monitoring"), (CONTROLLER, "emulator"), (CONTROLLER, "tls-issuer"), (AGENT, "monitoring")):
            for o in render(chart, "-f", ci(chart, name), "--set", "fullnameOverride=", release="r" * 53):
                self.assertLessEqual(len(o["metadata"]["name"]), 63, o["metadata"]["name"])
                for value in (o["metadata"].get("labels") or {}).values():
                    self.assertLessEqual(len(value), 63)

    def test_EveryObjectIsInTheNamespaceAndLabelled(self):
        for where, objects in every_rendering():
            for o in objects:
                if o["metadata"]["name"].endswith(("-extra", "-text")):
                    continue
                with self.subTest(where=where, name=o["metadata"]["name"]):
                    self.assertEqual(o["metadata"]["labels"]["app.kubernetes.io/part-of"], "apim-failover")
                    if o["kind"] != "FlowSchema":
                        self.assertIn(o["metadata"]["namespace"], ("space", "monitoring", "dr", "probes"))

    def test_NetworkPoliciesNeverOpenEveryPortByAnEmptyList(self):
        for where, objects in every_rendering():
            for policy in of_kind(objects, "NetworkPolicy"):
                rules = policy["spec"]["ingress"] + policy["spec"]["egress"]
                for rule in rules:
                    with self.subTest(where=where, rule=rule):
                        self.assertNotEqual(rule.get("ports", ["given"]), [])
                        self.assertNotEqual(rule.get("from", ["given"]), [])
                        self.assertNotEqual(rule.get("to", ["given"]), [])

    def test_TheRoleNamesTheLeaseAndNothingOfTheCluster(self):
        for where, objects in every_rendering():
            with self.subTest(where=where):
                self.assertFalse(of_kind(objects, "ClusterRole") + of_kind(objects, "ClusterRoleBinding"))
                for role in of_kind(objects, "Role"):
                    config = [c for c in of_kind(objects, "ConfigMap") if "config.yaml" in c.get("data", {})]
                    rules = {r["resources"][0]: [x for x in role["rules"] if x["resources"] == r["resources"]] for r in role["rules"]}
                    self.assertEqual(set(rules), {"leases", "configmaps", "events"})
                    self.assertNotIn("*", json.dumps(role["rules"]))
                    self.assertNotIn("delete", json.dumps(role["rules"]))
                    if config:
                        written = yaml.safe_load(config[0]["data"]["config.yaml"])
                        named = [r for r in rules["leases"] if "update" in r["verbs"]]
                        self.assertEqual([r["resourceNames"] for r in named], [[written["leaderElection"]["leaseName"]]])

    def test_ConfigMapsByNameAreThoseOfTheGroups(self):
        objects = render(CONTROLLER, "-f", ci(CONTROLLER, "rbac-by-name"))
        named = [r["resourceNames"] for r in one(objects, "Role")["rules"] if r["resources"] == ["configmaps"] and "resourceNames" in r]
        self.assertEqual(named, [["release-apim-failover.controller", "release-apim-failover-orders-api"]])

    def test_NoConfigMapOfTheChartCanBeTakenForTheStateOfAGroup(self):
        for where, objects in every_rendering():
            for config in [c for c in of_kind(objects, "ConfigMap") if "config.yaml" in c.get("data", {}) and where.startswith(f"{CONTROLLER}/")]:
                prefix = yaml.safe_load(config["data"]["config.yaml"])["store"]["kubernetes"]["prefix"]
                with self.subTest(where=where):
                    self.assertFalse([c for c in of_kind(objects, "ConfigMap") if c["metadata"]["name"].startswith(f"{prefix}-")])

    def test_TemplatesUseNothingThatChangesFromOneRenderingToTheNext(self):
        for chart in (CONTROLLER, AGENT):
            for file in (ROOT / "charts" / chart / "templates").rglob("*.*"):
                self.assertIsNone(re.search(r"\b(lookup|genCA|genSignedCert|genSelfSignedCert|genPrivateKey|rand[A-Z]\w*|now|uuidv4|\.Capabilities)\b",
                                            file.read_text()), file.name)

    def test_AStaticPartOfTheConfigurationRestartsAndTheRestDoesNot(self):
        def annotations(*arguments):
            return one(render(CONTROLLER, "-f", ci(CONTROLLER, "default"), *arguments), "Deployment")["spec"]["template"]["metadata"]["annotations"]

        mode = ("--set", "config.data.failoverGroups.orders-api.mode=observe")
        self.assertEqual(annotations(), annotations(*mode))
        self.assertNotEqual(annotations(), annotations("--set", "leaderElection.leaseDuration=20s"))
        self.assertNotEqual(annotations(), annotations("--set", "config.data.azure.cloud=china"))
        restart = ("--set", "config.hotReload=false")
        self.assertNotEqual(annotations(*restart), annotations(*restart, *mode))

    def test_AChartsNewVersionAloneRestartsNothing(self):
        with charts.temporary() as folder:
            copy = shutil.copytree(ROOT / "charts" / CONTROLLER, f"{folder}/chart")
            chart = yaml.safe_load(pathlib.Path(f"{copy}/Chart.yaml").read_text())
            with open(f"{copy}/Chart.yaml", "w") as file:
                yaml.safe_dump({**chart, "version": "9.9.9"}, file)
            done = charts.run(charts.HELMS[0], pathlib.Path(copy), "-f", ci(CONTROLLER, "default"))
            changed = one([o for o in yaml.safe_load_all(done.stdout) if o], "Deployment")
        old = one(render(CONTROLLER, "-f", ci(CONTROLLER, "default")), "Deployment")
        self.assertEqual(changed["spec"], old["spec"])
        self.assertNotEqual(changed["metadata"], old["metadata"])


class Files(unittest.TestCase):
    """rules/ and dashboards/ hold plain files; the chart takes what lies there."""

    def rendered(self, *arguments, dashboards=(), rules=()):
        with charts.temporary() as folder:
            copy = pathlib.Path(shutil.copytree(ROOT / "charts" / CONTROLLER, f"{folder}/chart"))
            shutil.rmtree(copy / "dashboards", ignore_errors=True)
            (copy / "dashboards").mkdir()
            for name, text in dashboards:
                (copy / "dashboards" / name).write_text(text)
            for name, text in rules:
                (copy / "rules" / name).write_text(text)
            done = charts.run(charts.HELMS[0], copy, "-f", ci(CONTROLLER, "default"), *arguments)
            self.assertEqual(done.returncode, 0, done.stderr)
            return [o for o in yaml.safe_load_all(done.stdout) if o]

    def test_DashboardsAreTakenAsTheyAre(self):
        text = json.dumps({"title": "x", "legend": "{{ failover_group }} {{- $labels.x -}} ${var}"}, indent=2) + "\n"
        made = self.rendered("--set", "metrics.dashboards.enabled=true,metrics.dashboards.grafanaOperator.enabled=true",
                             dashboards=[("overview.json", text), ("other.json", "{}\n")])
        config = one(made, "ConfigMap", ".dashboard-overview")
        self.assertEqual(config["data"]["overview.json"].rstrip("\n"), text.rstrip("\n"))
        self.assertEqual(config["metadata"]["labels"]["grafana_dashboard"], "1")
        self.assertEqual(one(made, "GrafanaDashboard", "-overview")["spec"]["configMapRef"],
                         {"name": config["metadata"]["name"], "key": "overview.json"})
        self.assertEqual(len(of_kind(made, "GrafanaDashboard")), 2)

    def test_NoDashboardAndNoRuleIsMadeUnasked(self):
        made = self.rendered(dashboards=[("overview.json", "{}")])
        self.assertEqual(len(of_kind(made, "ConfigMap")), 1)
        self.assertFalse(of_kind(made, "PrometheusRule") + of_kind(made, "GrafanaDashboard"))

    def test_EveryRuleFileIsOneObjectWithTheSameExpressions(self):
        more = "groups: [{name: more, rules: [{alert: More, expr: 'up == 0', annotations: {summary: '{{ $labels.job }}'}}]}]\n"
        made = self.rendered("--set", "metrics.prometheusRule.enabled=true", rules=[("more.yaml", more)])
        self.assertEqual(one(made, "PrometheusRule", "-more")["spec"]["groups"][0]["rules"][0]["annotations"]["summary"], "{{ $labels.job }}")
        for file in sorted((ROOT / "charts" / CONTROLLER / "rules").glob("*.yaml")):
            own = yaml.safe_load(file.read_text())["groups"]
            self.assertEqual(one(made, "PrometheusRule", f"-{file.stem}")["spec"]["groups"], own)

    def test_AlertsAreChangedAsTheValuesSay(self):
        rules = [r for p in of_kind(render(CONTROLLER, "-f", ci(CONTROLLER, "monitoring")), "PrometheusRule") for g in p["spec"]["groups"] for r in g["rules"]]
        alerts = {r["alert"]: r for r in rules if "alert" in r}
        self.assertNotIn("ApimFailoverInProgress", alerts)
        for name, alert in alerts.items():
            self.assertEqual(alert["annotations"]["runbook_url"], f"https://runbooks.contoso.com/apim/{name}.md")
            self.assertEqual((alert["labels"]["team"], alert["annotations"]["dashboard_url"]), ("apis", "https://grafana.contoso.com/d/apim"))
        changed, plain = alerts["ApimSyncFailing"], alerts["ApimSyncStuck"]
        self.assertEqual((changed["for"], changed["labels"]["severity"], changed["keep_firing_for"]), ("10m", "critical", "15m"))
        self.assertEqual((plain["for"], plain["labels"]["severity"], plain["keep_firing_for"]), ("5m", "warning", "5m"))

    def test_MonitorsAndRulesAgreeOnTheJob(self):
        jobs = set(re.findall(r'job="([^"]+)"', (ROOT / "charts" / CONTROLLER / "rules/apim-failover.yaml").read_text()))
        own = one(render(CONTROLLER, "-f", ci(CONTROLLER, "monitoring")), "ServiceMonitor")
        self.assertEqual(jobs, {own["spec"]["endpoints"][0]["relabelings"][0]["replacement"]})

    def test_TheEmulatedWorldIsTheOneOfTheDemo(self):
        chart, demo = (json.loads((ROOT / path).read_text()) for path in
                       ("charts/apim-failover/files/emulator-world.json", "tests/testdata/worlds/two-services.json"))
        self.assertEqual(chart, demo)


if __name__ == "__main__":
    unittest.main()
