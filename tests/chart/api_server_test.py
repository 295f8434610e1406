"""The charts against a real API server: server-side dry run with Pod Security enforced, RBAC, and helm install. Needs
KUBEBUILDER_ASSETS (see api_server.py)."""
import contextlib
import json
import os
import pathlib
import subprocess
import time
import unittest

import yaml

import api_server
import charts
from charts import AGENT, CONTROLLER, ROOT, ci, every_rendering, pods

NAMESPACES = ["space", "dr", "probes", "monitoring"]


def custom_resources():
    """The kinds of cert-manager and others, with no rules of their own: kubeconform has checked those."""
    for file in sorted((ROOT / "tests/chart/schemas/custom").glob("*.json")):
        kind, group, version = file.stem.split("-", 1)[0], *file.stem.split("-", 1)[1].rsplit("-", 1)
        group = {"cert-manager": "cert-manager.io", "monitoring": "monitoring.coreos.com", "azmonitoring": "azmonitoring.coreos.com",
                 "grafana": "grafana.integreatly.org"}[group]
        name = {"servicemonitor": "ServiceMonitor", "podmonitor": "PodMonitor", "prometheusrule": "PrometheusRule",
                "grafanadashboard": "GrafanaDashboard"}.get(kind, kind.capitalize())
        yield {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": f"{kind}s.{group}"},
               "spec": {"group": group, "scope": "Namespaced", "names": {"kind": name, "plural": f"{kind}s", "singular": kind},
                        "versions": [{"name": version, "served": True, "storage": True, "schema": {"openAPIV3Schema": {
                            "type": "object", "x-kubernetes-preserve-unknown-fields": True}}}]}}


if api_server.missing():
    raise unittest.SkipTest(api_server.missing())


class ApiServer(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.stack = contextlib.ExitStack()
        cls.environment = {**os.environ, "KUBECONFIG": cls.stack.enter_context(api_server.running())}
        objects = [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": {
            "pod-security.kubernetes.io/enforce": "restricted", "pod-security.kubernetes.io/warn": "restricted"}}} for name in NAMESPACES]
        objects += [{"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": "high"}, "value": 1},
                    {"apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "metadata": {"name": "runc"}, "handler": "runc"}]
        objects += list(custom_resources())
        try:
            cls.apply(objects)
            subprocess.run([api_server.program("kubectl"), "wait", "--for=condition=Established", "crd", "--all", "--timeout=60s"],
                           env=cls.environment, check=True, capture_output=True)
        except BaseException:
            cls.stack.close()
            raise

    @classmethod
    def tearDownClass(cls):
        cls.stack.close()

    @classmethod
    def kubectl(cls, *arguments, given=""):
        return subprocess.run([api_server.program("kubectl"), *arguments], env=cls.environment, input=given, capture_output=True, text=True, check=False)

    @classmethod
    def apply(cls, objects, *arguments):
        done = cls.kubectl("apply", "--server-side", "-f", "-", *arguments, given=yaml.safe_dump_all(objects))
        if done.returncode != 0:
            raise AssertionError(done.stderr)
        return done.stderr

    def test_EveryObjectIsAcceptedByTheServerWithoutAWarning(self):
        for where, objects in every_rendering():
            placed = [o if "namespace" in o["metadata"] or o["kind"] == "FlowSchema" else {**o, "metadata": {**o["metadata"], "namespace": "space"}} for o in objects]
            with self.subTest(where=where):
                self.assertNotIn("Warning", self.apply(placed, "--dry-run=server"))

    # Pod Security refuses pods only; a Deployment is just warned about.
    def test_EveryPodIsAdmittedWherePodSecurityIsEnforced(self):
        for where, objects in every_rendering():
            for metadata, spec in pods(objects):
                pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": metadata["name"], "namespace": "space", "labels": metadata["labels"]},
                       "spec": {**spec, "restartPolicy": spec.get("restartPolicy", "Always")}}
                with self.subTest(where=where, pod=metadata["name"]):
                    self.assertNotIn("Warning", self.apply([pod], "--dry-run=server"))

    def test_APodWithoutItsSecurityContextWouldBeRefused(self):
        spec = next(spec for _, spec in pods(charts.render(CONTROLLER, "-f", ci(CONTROLLER, "default"))))
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "open", "namespace": "space"}, "spec": {**spec, "securityContext": {}}}
        done = self.kubectl("apply", "--server-side", "--dry-run=server", "-f", "-", given=yaml.safe_dump(pod))
        self.assertIn("violates PodSecurity", done.stderr)

    def may(self, account, *question):
        return self.kubectl("auth", "can-i", *question, "-n", "space", f"--as=system:serviceaccount:space:{account}").stdout.strip() == "yes"

    def test_TheControllersAccountMayDoWhatItNeedsAndNothingElse(self):
        for values in ("default", "rbac-by-name"):
            objects = charts.render(CONTROLLER, "-f", ci(CONTROLLER, values))
            self.apply([o for o in objects if o["kind"] in ("Role", "RoleBinding", "ServiceAccount")], "--force-conflicts")
            name = "release-apim-failover"
            state = f"configmaps/{name}-orders-api"
            for verb, what in (("get", f"leases/{name}"), ("update", f"leases/{name}"), ("create", "leases"), ("create", "configmaps"), ("list", "configmaps"), ("watch", "configmaps"),
                               ("get", state), ("update", state), ("patch", state), ("get", f"configmaps/{name}.controller"),
                               ("create", "events.events.k8s.io"), ("patch", "events.events.k8s.io")):
                with self.subTest(values=values, verb=verb, what=what):
                    self.assertTrue(self.may(name, verb, what))
            refused = [("get", "leases/other"), ("delete", f"leases/{name}"), ("delete", state), ("get", "secrets"), ("list", "pods"), ("create", "pods")]
            if values == "rbac-by-name":
                refused.append(("patch", "configmaps/other"))
            for verb, what in refused:
                with self.subTest(values=values, verb=verb, what=what):
                    self.assertFalse(self.may(name, verb, what))

    @unittest.skipUnless(os.access(charts.BIN / "failover-controller", os.X_OK), f"failover-controller not built in {charts.BIN}")
    def test_AControllerLeadsKeepsStateAndGivesTheLeaseBackWithTheRenderedRights(self):
        objects = charts.render(CONTROLLER, "-f", ci(CONTROLLER, "rbac-by-name"), release="live")
        self.apply([o for o in objects if o["kind"] in ("Role", "RoleBinding", "ServiceAccount")])
        kubeconfig = json.loads(pathlib.Path(self.environment["KUBECONFIG"]).read_text())["clusters"][0]["cluster"]
        with charts.temporary() as folder:
            charts.certificates(folder, {"tls": "spiffe://apim-failover/controller/live"})
            pathlib.Path(folder, "token").write_text(self.kubectl("create", "token", "live-apim-failover", "-n", "space").stdout.strip())
            pathlib.Path(folder, "secret").write_text("none")
            config = yaml.safe_load(charts.one(objects, "ConfigMap")["data"]["config.yaml"])
            del config["replicasAddress"]
            nowhere = "http://127.0.0.1:1"
            config.update({address: "127.0.0.1:0" for address in ("agentAddress", "operatorAddress", "metricsAddress")})
            config.update(
                tls={"certificateFile": f"{folder}/tls/tls.crt", "keyFile": f"{folder}/tls/tls.key", "caFile": f"{folder}/tls/ca.crt"},
                azure={"auth": "clientSecret", "tenantId": "none", "clientId": "none", "clientSecretFile": f"{folder}/secret", "armEndpoint": nowhere, "authorityEndpoint": nowhere},
                kubernetes={"apiServer": kubeconfig["server"], "namespace": "space", "tokenFile": f"{folder}/token", "caFile": kubeconfig["certificate-authority"]})
            pathlib.Path(folder, "config.yaml").write_text(yaml.safe_dump(config))
            with open(f"{folder}/log", "w", encoding="utf-8") as log:
                process = subprocess.Popen([charts.BIN / "failover-controller", "--config", f"{folder}/config.yaml"], stderr=log, env={**os.environ, "POD_NAME": "pod-1"})

            def holder():
                return self.kubectl("get", "lease", "live-apim-failover", "-n", "space", "-o", "jsonpath={.spec.holderIdentity}").stdout

            def state():
                return self.kubectl("get", "configmap,events", "-n", "space", "-o", "name").stdout

            try:
                until = time.monotonic() + 60
                wanted = ["configmap/live-apim-failover-orders-api", "configmap/live-apim-failover.controller", "event"]
                while not (holder().startswith("pod-1_") and all(w in state() for w in wanted)):
                    self.assertIsNone(process.poll(), pathlib.Path(folder, "log").read_text()[-3000:])
                    self.assertLess(time.monotonic(), until, state() + pathlib.Path(folder, "log").read_text()[-3000:])
                    time.sleep(0.2)
                process.terminate()
                self.assertEqual((process.wait(30), holder()), (0, ""))
                self.assertNotIn("changes of the stored state are not told", pathlib.Path(folder, "log").read_text(), "the watch is allowed")
            finally:
                if process.poll() is None:
                    process.kill()
                    process.wait()

    def test_HelmInstallsUpgradesAndUninstallsBothCharts(self):
        def helm(path, *arguments):
            done = subprocess.run([path, *map(str, arguments)], env=self.environment, capture_output=True, text=True, check=False)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertNotIn("arning", done.stderr)
            return done.stdout

        for path in charts.HELMS:
            for chart, first, second in ((CONTROLLER, "default", "monitoring"), (CONTROLLER, "emulator", "emulator"), (AGENT, "default", "private-gateways")):
                with self.subTest(helm=path, chart=chart, values=first):
                    folder = ROOT / "charts" / chart
                    self.assertIn("Next:", helm(path, "install", "trial", folder, "-n", "space", "-f", ci(chart, first)))
                    helm(path, "upgrade", "trial", folder, "-n", "space", "-f", ci(chart, second), "--set", "replicaCount=4")
                    deployment = json.loads(self.kubectl("get", "deployment", "-n", "space", "-l", "app.kubernetes.io/instance=trial", "-o", "json").stdout)["items"]
                    self.assertEqual([d["spec"]["replicas"] for d in deployment], [1 if first == "emulator" else 4])
                    helm(path, "uninstall", "trial", "-n", "space")
                    left = self.kubectl("get", "deployments,services,configmaps,roles,networkpolicies", "-n", "space", "-l", "app.kubernetes.io/instance=trial", "-o", "name").stdout
                    self.assertEqual(left, "")


if __name__ == "__main__":
    unittest.main()
