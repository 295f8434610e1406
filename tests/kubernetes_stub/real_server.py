#!/usr/bin/env python3
"""Runs a test program beside a real API server (tests/chart/api_server.py), started once for all of its tests.

  KUBEBUILDER_ASSETS=DIR tests/kubernetes_stub/real_server.py COMMAND [ARGUMENT...]

The command finds the server by the file that FAILOVER_TEST_API_SERVER names: a namespace dr, and the token of an account
in it with the controller's Role. The Role is that of charts/apim-failover as helm renders it (HELM4, or helm in the PATH or
in build/tools). Without KUBEBUILDER_ASSETS, or without helm, it says so in one line and runs nothing: exit 77.
"""
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/chart"))
import api_server  # noqa: E402  pylint: disable=wrong-import-position
import yaml  # noqa: E402  pylint: disable=wrong-import-position

NAMESPACE, RELEASE, SKIPPED = "dr", "apim-failover", 77


def helm():
    built = ROOT / "build/tools/helm"
    return os.environ.get("HELM4") or shutil.which("helm") or (str(built) if os.access(built, os.X_OK) else None)


def role():
    chart = ROOT / "charts/apim-failover"
    text = subprocess.run([helm(), "template", RELEASE, str(chart), "-n", NAMESPACE, "--kube-version", "1.30.0", "-f", str(chart / "ci/default.yaml")],
                          check=True, capture_output=True, text=True).stdout
    return [o for o in yaml.safe_load_all(text) if o and o["kind"] in ("ServiceAccount", "Role", "RoleBinding")]


def prepare(folder, kubeconfig):
    """The file for the tests; its path."""
    def kubectl(*arguments, given=""):
        return subprocess.run([api_server.program("kubectl"), *arguments], env={**os.environ, "KUBECONFIG": kubeconfig}, input=given,
                              check=True, stdout=subprocess.PIPE, text=True).stdout.strip()

    kubectl("create", "namespace", NAMESPACE)
    objects = role()
    kubectl("apply", "--server-side", "-f", "-", given=yaml.safe_dump_all(objects))
    account = next(o for o in objects if o["kind"] == "ServiceAccount")["metadata"]["name"]
    token = folder / "token"
    token.write_text(kubectl("create", "token", account, "-n", NAMESPACE, "--duration=1h"))
    config = json.loads(pathlib.Path(kubeconfig).read_text())
    cluster = config["clusters"][0]["cluster"]
    file = folder / "server.json"
    file.write_text(json.dumps({"url": cluster["server"], "caFile": cluster["certificate-authority"], "tokenFile": str(token),
                                "adminToken": config["users"][0]["user"]["token"]}))
    return str(file)


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    reason = api_server.missing() or ("" if helm() else "no helm renders the chart's Role")
    if reason:
        print(f"Skipped: {reason}")
        sys.exit(SKIPPED)
    with api_server.running() as kubeconfig, tempfile.TemporaryDirectory(prefix="apim-failover-real.") as folder:
        file = prepare(pathlib.Path(folder), kubeconfig)
        run = subprocess.run(sys.argv[1:], env={**os.environ, "FAILOVER_TEST_API_SERVER": file}, check=False, text=True,
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    sys.stdout.write(run.stdout)
    passed, skipped = (re.search(rf"^\[  {word} +\] (\d+) test", run.stdout, re.M) for word in ("PASSED", "SKIPPED"))
    if run.returncode == 0 and (passed is None or passed[1] == "0"):  # a run of nothing proves nothing
        sys.exit(SKIPPED if skipped else "no test ran")
    sys.exit(run.returncode)


if __name__ == "__main__":
    main()
