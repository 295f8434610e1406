"""The rendered configurations, read by the real programs; and the emulated Azure of the chart, run."""
import os
import pathlib
import re
import signal
import socket
import subprocess
import time
import unittest

import yaml

import charts
from charts import AGENT, BIN, CONTROLLER, ci, of_kind, one, pods, render

AZURE = {"AZURE_TENANT_ID": "00000000-0000-0000-0000-0000000000a1", "AZURE_CLIENT_ID": "00000000-0000-0000-0000-0000000000b1",
         "AZURE_AUTHORITY_HOST": "https://login.microsoftonline.com/"}


def needs(*programs):
    missing = [p for p in programs if not os.access(BIN / p, os.X_OK)]
    return unittest.skipIf(missing, f"{', '.join(missing)} not built in {BIN}")


def configurations(chart, program):
    """Each set of values whose configuration the chart writes, and that configuration."""
    for file in charts.value_sets(chart):
        for o in of_kind(render(chart, "-f", file), "ConfigMap"):
            if "config.yaml" in o.get("data", {}):
                yield file.name, o["data"]["config.yaml"]


class Programs(unittest.TestCase):
    def check(self, program, chart, identity):
        checked = 0
        with charts.temporary() as folder:
            charts.certificates(folder, {"tls": identity})
            token = pathlib.Path(folder, "token")
            token.write_text("token")
            for name, text in configurations(chart, program):
                # The pod's folders, below a folder of ours; every file that the configuration names is there, as the volumes say.
                text = re.sub(r"(?<= )/(run|etc|var)/", rf"{folder}/\1/", text)
                for path in re.findall(rf"{folder}/\S+", text):
                    file = pathlib.Path(path)
                    file.parent.mkdir(parents=True, exist_ok=True)
                    source = pathlib.Path(folder, "tls", file.name)
                    file.write_text(source.read_text() if source.exists() else pathlib.Path(folder, "ca.crt").read_text() if "ca" in file.name else "c2VjcmV0")
                config = pathlib.Path(folder, "config.yaml")
                config.write_text(text)
                done = subprocess.run([BIN / program, "--check-config", config], capture_output=True, text=True, check=False,
                                      env={**os.environ, **AZURE, "AZURE_FEDERATED_TOKEN_FILE": str(token)})
                with self.subTest(values=name):
                    self.assertEqual(done.returncode, 0, done.stdout + done.stderr + text)
                checked += 1
        self.assertGreater(checked, 5)

    @needs("failover-controller")
    def test_TheControllerAcceptsEveryRenderedConfiguration(self):
        self.check("failover-controller", CONTROLLER, "spiffe://apim-failover/controller/apim-failover")

    @needs("failover-agent")
    def test_TheAgentAcceptsEveryRenderedConfiguration(self):
        self.check("failover-agent", AGENT, "spiffe://apim-failover/agent/westeurope/a")

    @needs("failover-controller", "failover-agent", "failoverctl", "azure-emulator")
    def test_EveryArgumentIsKnownToItsProgram(self):
        for where, objects in charts.every_rendering():
            for _, spec in pods(objects):
                for container in charts.containers(spec):
                    if "command" not in container:
                        continue
                    program = container["command"][0]
                    known = subprocess.run([BIN / program, "--help"], capture_output=True, text=True, check=False).stdout
                    for argument in container["args"]:
                        if argument.startswith("--"):
                            with self.subTest(where=where, program=program):
                                self.assertIn(argument, known)


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for s in sockets:
        s.bind(("127.0.0.1", 0))
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


class Emulator(unittest.TestCase):
    """The pod of ci/emulator.yaml as processes of this machine: same files, arguments and order; other folders and ports."""

    PORTS = ["7443", "7444", "9464", "9465", "8443", "8444", "8085", "5353", "8080", "9443"]

    def setUp(self):
        self.folder = charts.temporary()
        self.addCleanup(self.folder.cleanup)
        self.running = []
        self.addCleanup(self.stop)
        self.ports = dict(zip(self.PORTS, map(str, free_ports(len(self.PORTS)))))

    def stop(self):
        for process in reversed(self.running):
            process.send_signal(signal.SIGTERM)
        for process in self.running:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def here(self, text, container=""):
        """A text of the pod, with the folders and ports of this run."""
        text = re.sub(r":(\d{4})\b", lambda m: ":" + self.ports.get(m.group(1), m.group(1)), text)
        text = text.replace("0.0.0.0:", "127.0.0.1:")
        text = text.replace("/run/apim-failover/tls", f"{self.folder.name}/secrets/{container}")
        return re.sub(r"(?<![\w/])/(etc|run)/(azure-emulator|apim-failover)", rf"{self.folder.name}/\1/\2", text)

    def start(self, container):
        arguments = [self.ports.get(a, a) for a in (self.here(a, container["name"]) for a in container["args"])]
        log = open(f"{self.folder.name}/{container['name']}.log", "w", encoding="utf-8")
        self.addCleanup(log.close)
        self.running.append(subprocess.Popen([BIN / container["command"][0], *arguments], stdout=log, stderr=log))

    def logs(self):
        return "\n".join(f"{f.name}: {f.read_text()[-1500:]}" for f in pathlib.Path(self.folder.name).glob("*.log"))

    def wait_for(self, what, seconds, condition):
        until = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > until:
                self.fail(f"{what}: not within {seconds} s\n{self.logs()}")
            self.assertFalse([p.args for p in self.running if p.poll() is not None], self.logs())
            time.sleep(0.2)

    def ctl(self, *arguments):
        tls = [f"--tls-{option}={self.folder.name}/secrets/operator/{file}" for option, file in (("cert", "tls.crt"), ("key", "tls.key"), ("ca", "ca.crt"))]
        return subprocess.run([BIN / "failoverctl", *arguments, f"--controller=127.0.0.1:{self.ports['7444']}", *tls], capture_output=True, text=True, check=False)

    @needs("failover-controller", "failover-agent", "failoverctl", "azure-emulator")
    def test_TheEmulatedAzureOfTheChartServesAControllerAndItsAgents(self):
        objects = render(CONTROLLER, "-f", ci(CONTROLLER, "emulator"))
        spec = one(objects, "Deployment")["spec"]["template"]["spec"]
        secrets = {c["spec"]["secretName"]: c["spec"]["uris"][0] for c in of_kind(objects, "Certificate") if "uris" in c["spec"]}
        volumes = {v["name"]: v.get("secret", {}).get("secretName") for v in spec["volumes"]}
        mounted = {c["name"]: secrets[volumes[m["name"]]] for c in spec["containers"] for m in c["volumeMounts"] if m["mountPath"].endswith("/tls")}
        mounted["operator"] = next(uri for uri in secrets.values() if "/operator/" in uri)
        os.mkdir(f"{self.folder.name}/secrets")
        charts.certificates(f"{self.folder.name}/secrets", mounted)
        for place, suffix in (("etc/azure-emulator", ".emulator"), ("etc/apim-failover", "-apim-failover")):
            pathlib.Path(self.folder.name, place).mkdir(parents=True)
            for name, text in one(objects, "ConfigMap", suffix)["data"].items():
                container = name.removesuffix(".yaml") if name.startswith("agent-") else "controller"
                pathlib.Path(self.folder.name, place, name).write_text(self.here(text, container))
        # No API server here: the one part of the configuration that differs.
        config = pathlib.Path(self.folder.name, "etc/apim-failover/config.yaml")
        alone = {k: v for k, v in yaml.safe_load(config.read_text()).items() if k not in ("store", "leaderElection", "replicasAddress")}
        config.write_text(yaml.safe_dump({**alone, "store": {"directory": f"{self.folder.name}/state"}}))

        self.start(spec["initContainers"][0])
        self.wait_for("the emulator starts", 20, pathlib.Path(self.folder.name, "run/azure-emulator/endpoints.json").exists)
        for container in spec["containers"]:
            self.start(container)
        self.wait_for("an operator gets an answer", 20, lambda: self.ctl("version").returncode == 0)
        self.wait_for("the agents vote, the roles are confirmed, the standby is ready", 120,
                      lambda: re.search(r"apim-neu .* standby .* 3/0/0 .* yes", self.ctl("status", "--no-color").stdout))


if __name__ == "__main__":
    unittest.main()
