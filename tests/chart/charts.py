"""What the tests of the charts share: rendering, and the objects by kind."""
import functools
import os
import pathlib
import subprocess
import tempfile

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
BIN = pathlib.Path(os.environ.get("BIN") or ROOT / "build/dev/bin")
CONTROLLER, AGENT = "apim-failover", "apim-failover-agent"
HELMS = [path for path in (os.environ.get("HELM4"), os.environ.get("HELM3")) if path]


def value_sets(chart):
    return sorted((ROOT / "charts" / chart / "ci").glob("*.yaml"))


def ci(chart, name):
    return ROOT / "charts" / chart / "ci" / f"{name}.yaml"


def run(helm, chart, *arguments, release="release"):
    folder = chart if isinstance(chart, pathlib.Path) else ROOT / "charts" / chart
    return subprocess.run([helm, "template", release, str(folder), "-n", "space", "--kube-version", "1.30.0",
                           *map(str, arguments)], capture_output=True, text=True, check=False)


@functools.lru_cache(maxsize=None)
def text_of(chart, *arguments, release="release"):
    done = run(HELMS[0], chart, *arguments, release=release)
    if done.returncode != 0:
        raise AssertionError(f"helm template {arguments}: {done.stderr}")
    return done.stdout


def render(chart, *arguments, release="release"):
    return [o for o in yaml.safe_load_all(text_of(chart, *arguments, release=release)) if o]


def every_rendering():
    for chart in (CONTROLLER, AGENT):
        for file in value_sets(chart):
            yield f"{chart}/ci/{file.name}", render(chart, "-f", file)


def of_kind(objects, kind):
    return [o for o in objects if o["kind"] == kind]


def one(objects, kind, suffix=""):
    found = [o for o in of_kind(objects, kind) if o["metadata"]["name"].endswith(suffix)]
    assert len(found) == 1, f"{len(found)} objects of kind {kind} end with {suffix!r}"
    return found[0]


def pods(objects):
    """Name and specification of every pod that a rendering makes."""
    for o in objects:
        if o["kind"] == "Pod":
            yield o["metadata"], o["spec"]
        elif o["kind"] == "Deployment":
            yield {**o["spec"]["template"]["metadata"], "name": o["metadata"]["name"]}, o["spec"]["template"]["spec"]


def containers(spec):
    return spec.get("initContainers", []) + spec["containers"]


def certificates(folder, identities):
    """An authority (ca.crt), and for each name → identity NAME/tls.crt, tls.key and ca.crt as a Secret has them."""
    folder = pathlib.Path(folder)

    def openssl(*arguments):
        subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)

    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    openssl("req", "-x509", *key, "-days", 2, "-keyout", folder / "ca.key", "-out", folder / "ca.crt", "-subj", "/CN=test",
            "-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign,cRLSign")
    for name, identity in identities.items():
        at = folder / name
        at.mkdir()
        extensions = at / "extensions"
        extensions.write_text(f"subjectAltName=URI:{identity}\nbasicConstraints=critical,CA:FALSE\n"
                              "keyUsage=critical,digitalSignature\nextendedKeyUsage=serverAuth,clientAuth\n")
        openssl("req", *key, "-keyout", at / "tls.key", "-out", at / "request", "-subj", "/CN=test")
        openssl("x509", "-req", "-in", at / "request", "-CA", folder / "ca.crt", "-CAkey", folder / "ca.key",
                "-CAcreateserial", "-days", 2, "-extfile", extensions, "-out", at / "tls.crt")
        (at / "ca.crt").write_text((folder / "ca.crt").read_text())
    return folder


def temporary():
    return tempfile.TemporaryDirectory(prefix="apim-failover-chart.")
