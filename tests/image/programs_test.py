"""The programs in the assembled file systems: alone, then together until results of agents have reached the controller.
ROOTFS: a directory with a file system for each image. To be called in own namespaces: see run.sh."""
import json
import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import time
import unittest
import urllib.error
import urllib.request

import containers
import images
from containers import Container
from images import ROOT, USER

ROOTFS = pathlib.Path(os.environ["ROOTFS"])
WORLD = ROOT / "tests/testdata/worlds/two-services.json"
HOSTS = "127.0.0.1 localhost\n127.0.0.1 controller.test\n"
REGIONS = {"westeurope": "127.0.2.1", "northeurope": "127.0.2.2"}
CONTROLLER_FILES = "/etc/apim-failover"
AGENT_FILES = "/etc/apim-failover-agent"


def openssl(*arguments):
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)


def certificates(folder, identities):
    """ca.crt, and NAME.crt with NAME.key for each name → URI."""
    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    openssl("req", "-x509", *key, "-days", 2, "-keyout", folder / "ca.key", "-out", folder / "ca.crt", "-subj", "/CN=test",
            "-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign,cRLSign")
    for name, uri in identities.items():
        extensions = folder / "extensions"
        extensions.write_text(f"subjectAltName=URI:{uri}\nbasicConstraints=critical,CA:FALSE\n"
                              "keyUsage=critical,digitalSignature\nextendedKeyUsage=serverAuth,clientAuth\n")
        openssl("req", *key, "-keyout", folder / f"{name}.key", "-out", folder / "request", "-subj", "/CN=test")
        openssl("x509", "-req", "-in", folder / "request", "-CA", folder / "ca.crt", "-CAkey", folder / "ca.key",
                "-CAcreateserial", "-days", 2, "-extfile", extensions, "-out", folder / f"{name}.crt")
        (folder / f"{name}.key").chmod(0o444)  # as readable as a Secret with the pod's fsGroup is for the program


def tls(name, folder=""):
    return {"certificateFile": f"{folder}{name}.crt", "keyFile": f"{folder}{name}.key", "caFile": f"{folder}ca.crt"}


def controller_config(world):
    """The group of tests/demo.sh, at the fixed addresses of this network."""
    scope = f"/subscriptions/{world['subscription']}/resourceGroups/{world['resourceGroup']}/providers"
    client, profile, account = world["clients"][0], world["trafficManagerProfiles"][0], world["storageAccounts"][0]
    return {
        "controllerRegion": "swedencentral",
        "store": {"directory": "/tmp/state"},
        "tls": tls("controller"),
        "failoverGroups": [{
            "name": "orders-api",
            "services": [{"name": s["name"], "region": s["region"], "resourceId": f"{scope}/Microsoft.ApiManagement/service/{s['name']}",
                          "gatewayUrl": f"https://{s['name']}.azure-api.net:9443"} for s in world["services"]],
            "probes": [{"name": "status", "http": {"path": "/status-0123456789abcdef"}, "interval": "1s", "timeout": "1s"}],
            "probeRegions": list(REGIONS),
            "controlTargets": [f"https://{world['neutral']['host']}:9443/"],
            "traffic": {"publicUrl": f"https://{profile['publicName']}:9443/status-0123456789abcdef",
                        "trafficManager": {"profileResourceId": f"{scope}/Microsoft.Network/trafficmanagerprofiles/{profile['name']}",
                                           "endpoints": {"apim-weu": "weu", "apim-neu": "neu"}}},
            "sync": {"interval": "1h", "storage": {"account": account["name"], "container": account["containers"][0],
                                                   "access": "accessKey", "accessKeyFile": "storage-key"}}}],
        "azure": {"auth": "clientSecret", "tenantId": client["tenant"], "clientId": client["clientId"], "clientSecretFile": "client-secret",
                  "armEndpoint": "https://localhost:8443", "authorityEndpoint": "https://localhost:8443",
                  "blobEndpoint": "https://localhost:8444/{account}", "caFile": "/run/azure-emulator/ca.pem"}}


def agent_config(region, connection):
    return {"probeRegion": region, **connection, "tls": tls(region), "allowedHosts": ["127.0.0.0/8"], "resolver": {"servers": ["127.0.0.1:53"]},
            "sourceAddress": REGIONS[region], "caFile": "/run/azure-emulator/ca.pem", "metricsAddress": f"{REGIONS[region]}:9465"}


def get(url):
    """Status and body; (0, why) when nobody answers."""
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except OSError as error:
        return 0, str(error)


class Programs(unittest.TestCase):
    """One set of containers for all tests; each file system is that of one image."""

    @classmethod
    def setUpClass(cls):
        containers.prepare_network()
        cls.folder = pathlib.Path(tempfile.mkdtemp(prefix="apim-failover-image."))
        cls.addClassCleanup(shutil.rmtree, cls.folder, ignore_errors=True)
        cls.folder.chmod(0o755)
        cls.world = json.loads(WORLD.read_text())
        files, cls.azure = cls.folder / "files", cls.folder / "azure"
        files.mkdir()
        cls.azure.mkdir(mode=0o700)
        if not containers.OWN_NAMESPACE:
            os.chown(cls.azure, USER, USER)
        certificates(files, {"controller": "spiffe://test/controller/one", "operator": "spiffe://test/operator/you",
                             **{region: f"spiffe://test/agent/{region}/one" for region in REGIONS}})
        (files / "storage-key").write_text(cls.world["storageAccounts"][0]["key"])
        (files / "client-secret").write_text(cls.world["clients"][0]["secret"])
        (files / "config.yaml").write_text(json.dumps(controller_config(cls.world)))
        elsewhere = {**controller_config(cls.world), "store": {"directory": "/usr/local"}}
        (files / "elsewhere.yaml").write_text(json.dumps(elsewhere))
        for region, connection in (("westeurope", {"controllers": ["controller.test:7443"]}),
                                   ("northeurope", {"controllerReplicas": ["apim-neu.azure-api.net:7443"]})):
            (files / f"{region}.yaml").write_text(json.dumps(agent_config(region, connection)))
        (files / "ctl.yaml").write_text(json.dumps({"controller": "controller.test:7444", "tls": tls("operator", CONTROLLER_FILES + "/")}))
        cls.reference_config(files)
        cls.network(cls.folder)
        system = {"/etc/hosts": cls.folder / "hosts", "/etc/resolv.conf": cls.folder / "resolv.conf"}
        cls.emulator = Container(ROOTFS / "emulator", {**system, "/etc/azure-emulator": WORLD.parent}, {"/run/azure-emulator": cls.azure}, tmp=False)
        cls.controller = Container(ROOTFS / "controller", {**system, CONTROLLER_FILES: files, "/run/azure-emulator": cls.azure})
        cls.agent = Container(ROOTFS / "agent", {**system, AGENT_FILES: files, "/run/azure-emulator": cls.azure})

    @staticmethod
    def reference_config(files):
        """tests/testdata/config/full.yaml, with every file that it names."""
        full = files / "full"
        full.mkdir()
        text = (ROOT / "tests/testdata/config/full.yaml").read_text()
        (full / "full.yaml").write_text(text)
        for name in set(re.findall(r"(?:File|keyFile): (\S+?)[\s#]", text)):
            source = {"tls.crt": "controller.crt", "tls.key": "controller.key"}.get(name, name)
            (full / name).write_text((files / (source if (files / source).exists() else "ca.crt")).read_text())

    @staticmethod
    def network(folder):
        (folder / "hosts").write_text(HOSTS)
        (folder / "resolv.conf").write_text("nameserver 127.0.0.1\noptions timeout:1 attempts:3\n")

    # ---- each alone ----

    def test_EachProgramStartsAndSaysWhatItIs(self):
        for container, arguments, words in ((self.controller, ["failover-controller", "--version"], r"\d+\.\d+\.\d+"),
                                            (self.controller, ["failoverctl", "version"], r"\d+\.\d+\.\d+"),
                                            (self.agent, ["failover-agent", "--version"], r"\d+\.\d+\.\d+"),
                                            (self.emulator, ["azure-emulator", "--help"], r"--world FILE")):
            with self.subTest(program=arguments[0]):
                done = container.run(*arguments)
                self.assertEqual(done.returncode, 0, done.stderr)
                self.assertRegex(done.stdout, words)

    def test_TheReferenceConfigurationIsAccepted(self):
        done = self.controller.run("failover-controller", "--check-config", f"{CONTROLLER_FILES}/full/full.yaml")
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertIn("orders-api", done.stdout)

    def test_AnAgentsConfigurationIsAccepted(self):
        self.azure_ca()
        done = self.agent.run("failover-agent", "--check-config", f"{AGENT_FILES}/westeurope.yaml")
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def azure_ca(self):
        """Until the emulator has written its own authority."""
        if not (self.azure / "ca.pem").exists():
            shutil.copy(self.folder / "files/ca.crt", self.azure / "ca.pem")

    def test_NothingButTmpCanBeWritten(self):
        def attempt():
            written = []
            for directory, _, names in os.walk("/"):
                if directory.startswith("/proc"):
                    continue
                for path, flags in [(f"{directory}/written-by-test", os.O_CREAT)] + [(f"{directory}/{name}", 0) for name in names]:
                    if directory == "/dev" and not flags:
                        continue  # devices: null takes what is written
                    try:
                        os.close(os.open(path, os.O_WRONLY | flags | os.O_NOFOLLOW, 0o600))
                        written.append(directory)
                    except OSError:
                        pass
            return json.dumps(sorted(set(written)))

        self.assertEqual(json.loads(self.controller.inside(attempt)), ["/tmp"])
        self.assertEqual(json.loads(self.agent.inside(attempt)), ["/tmp"])
        self.assertEqual(json.loads(self.emulator.inside(attempt)), ["/run/azure-emulator"])

    def test_AStoreOutsideTmpIsRefusedWithItsName(self):
        self.azure_ca()
        done = self.controller.run("failover-controller", "--config", f"{CONTROLLER_FILES}/elsewhere.yaml")
        self.assertNotEqual(done.returncode, 0)
        self.assertRegex(done.stdout + done.stderr, r"/usr/local.*Read-only file system")

    # ---- all together ----

    def logs(self):
        (self.folder / "failoverctl.log").write_text(str(self.ctl("status")) if "controller" in self.running else "")
        return "\n".join(f"--- {log.name}\n{log.read_text()[-1500:]}" for log in sorted(self.folder.glob("*.log")))

    def wait_for(self, what, seconds, condition):
        until = time.monotonic() + seconds
        while not (found := condition()):
            ended = [p.args for p in self.running.values() if p.poll() is not None]
            if ended:
                self.fail(f"{what}: {ended} ended\n{self.logs()}")
            if time.monotonic() > until:
                self.fail(f"{what}: not within {seconds} s\n{self.logs()}")
            time.sleep(0.2)
        return found

    def ctl(self, *arguments):
        return self.controller.run("failoverctl", *arguments, "--config", f"{CONTROLLER_FILES}/ctl.yaml")

    def accepted(self, region):
        """Results of a region's agents that the controller counted."""
        _, text = get("http://127.0.0.1:9464/metrics")
        samples = re.findall(r"^apim_failover_agent_results_total\{(.*)\} (\S+)$", text, re.M)
        return sum(float(value) for labels, value in samples if f'probe_region="{region}"' in labels and 'result="accepted"' in labels)

    def start_all(self):
        self.running = {}
        self.addCleanup(lambda: [containers.stop(p) for p in reversed(list(self.running.values())) if p.poll() is None])
        (self.azure / "ca.pem").unlink(missing_ok=True)
        self.running["emulator"] = self.emulator.start(
            self.folder / "emulator.log", "azure-emulator", "--world", f"/etc/azure-emulator/{WORLD.name}", "--directory", "/run/azure-emulator",
            "--arm", "127.0.0.1:8443", "--blob", "127.0.0.1:8444", "--dns", "127.0.0.1:53", "--control", "127.0.0.1:8080", "--gateway-port", "9443")
        self.wait_for("the emulated Azure starts", 30, (self.azure / "endpoints.json").exists)
        self.running["controller"] = self.controller.start(
            self.folder / "controller.log", "failover-controller", "--config", f"{CONTROLLER_FILES}/config.yaml")
        self.wait_for("the controller is ready", 30, lambda: get("http://127.0.0.1:9464/readyz")[0] == 200)
        for region in REGIONS:
            self.running[region] = self.agent.start(self.folder / f"{region}.log", "failover-agent", "--config", f"{AGENT_FILES}/{region}.yaml")

    def test_ResultsOfAgentsReachTheControllerAndItSeesAzure(self):
        self.start_all()
        for region in REGIONS:  # one has found the controller in /etc/hosts, the other by the name server
            self.wait_for(f"results of {region} are accepted", 60, lambda: self.accepted(region) >= 5)
            self.assertEqual(get(f"http://{REGIONS[region]}:9465/readyz")[0], 200)
        self.assertEqual(get("http://127.0.0.1:9464/livez")[0], 200)
        self.wait_for("the controller knows from Azure and the votes who serves", 60,
                      lambda: re.search(r'"active": ?"apim-weu"', self.ctl("status", "-o", "json").stdout))
        by_name = self.controller.run("failoverctl", "version", "--config", f"{CONTROLLER_FILES}/ctl.yaml",
                                      "--controller", "apim-weu.azure-api.net:7444")  # glibc asks the name server
        self.assertEqual(by_name.returncode, 0, by_name.stderr)
        self.without_rights()
        self.private_files()
        for name in ("westeurope", "northeurope", "controller", "emulator"):
            self.assertEqual(containers.stop(self.running.pop(name)), 0, f"{name}\n{self.logs()}")

    def without_rights(self):
        for name, process in self.running.items():
            status = (self.controller.root / f"proc/{process.pid}/status").read_text()
            fields = dict(re.findall(r"^(\w+):\t(.*)$", status, re.M))
            own = "0" if containers.OWN_NAMESPACE else str(USER)  # seen from outside; within it is 65532
            self.assertEqual(fields["Uid"].split(), [own] * 4, name)
            self.assertEqual(fields["NoNewPrivs"], "1", name)
            for capabilities in ("CapPrm", "CapEff", "CapBnd", "CapAmb"):
                self.assertEqual(int(fields[capabilities], 16), 0, f"{name} {capabilities}")

    def private_files(self):
        """Copies of private keys are the program's own, in memory."""
        for container in (self.controller, self.agent):
            keys = [p for p in (container.root / "tmp").rglob("*") if p.is_file() and "PRIVATE KEY" in p.read_text(errors="replace")]
            self.assertTrue(keys)
            for key in keys:
                self.assertEqual(key.stat().st_mode & 0o077, 0, key)


if __name__ == "__main__":
    images.run(Programs)
