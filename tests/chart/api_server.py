#!/usr/bin/env python3
"""A real API server for tests, from the folder that KUBEBUILDER_ASSETS names (kube-apiserver, etcd, kubectl).

  KUBEBUILDER_ASSETS=DIR tests/chart/api_server.py COMMAND [ARGUMENT...]

runs COMMAND with KUBECONFIG set to an administrator of an empty cluster: RBAC, Pod Security and the default admission
plugins are on; nothing schedules or runs pods. Everything ends with the command. tests/tools/kubernetes/build.sh makes the folder.
"""
import contextlib
import json
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
import ssl


def program(name):
    for folder in filter(None, [os.environ.get("KUBEBUILDER_ASSETS")]):
        if os.access(pathlib.Path(folder, name), os.X_OK):
            return str(pathlib.Path(folder, name))
    return shutil.which(name) if name == "kubectl" else None


def missing():
    """Why there is no API server; empty when there is one."""
    if not os.environ.get("KUBEBUILDER_ASSETS"):
        return "KUBEBUILDER_ASSETS is not set"
    lacking = [name for name in ("kube-apiserver", "etcd", "kubectl") if program(name) is None]
    return f"KUBEBUILDER_ASSETS={os.environ['KUBEBUILDER_ASSETS']} has no {', '.join(lacking)}" if lacking else ""


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for s in sockets:
        s.bind(("127.0.0.1", 0))
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


def wait_for(url, processes, logs, seconds):
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    until = time.monotonic() + seconds
    while True:
        try:
            with urllib.request.urlopen(url, timeout=2, context=context) as answer:
                if answer.status == 200:
                    return
        except OSError:
            pass
        if time.monotonic() > until or any(p.poll() is not None for p in processes):
            raise RuntimeError(f"{url} does not answer: " + " | ".join(pathlib.Path(log).read_text()[-2000:] for log in logs))
        time.sleep(0.2)


@contextlib.contextmanager
def running():
    """Yields the path of the administrator's kubeconfig."""
    processes = []
    with tempfile.TemporaryDirectory(prefix="apim-failover-api.") as folder, contextlib.ExitStack() as files:
        def start(name, *arguments):
            log = files.enter_context(open(f"{folder}/{name}.log", "w", encoding="utf-8"))
            processes.append(subprocess.Popen([program(name), *arguments], stdout=log, stderr=log))

        client, peer, secure = free_ports(3)
        logs = [f"{folder}/etcd.log", f"{folder}/kube-apiserver.log"]
        token = os.urandom(16).hex()
        pathlib.Path(folder, "tokens.csv").write_text(f'{token},admin,admin,"system:masters"\n')
        os.chmod(f"{folder}/tokens.csv", 0o600)
        subprocess.run(["openssl", "ecparam", "-genkey", "-name", "prime256v1", "-noout", "-out", f"{folder}/accounts.key"], check=True, capture_output=True)
        try:
            start("etcd", "--data-dir", f"{folder}/etcd", "--listen-client-urls", f"http://127.0.0.1:{client}", "--advertise-client-urls",
                  f"http://127.0.0.1:{client}", "--listen-peer-urls", f"http://127.0.0.1:{peer}", "--initial-advertise-peer-urls",
                  f"http://127.0.0.1:{peer}", "--initial-cluster", f"default=http://127.0.0.1:{peer}")
            wait_for(f"http://127.0.0.1:{client}/health", processes, logs[:1], 30)
            start("kube-apiserver", f"--etcd-servers=http://127.0.0.1:{client}", f"--cert-dir={folder}/certs", f"--secure-port={secure}",
                  "--bind-address=127.0.0.1", "--advertise-address=127.0.0.1", "--endpoint-reconciler-type=none", "--service-cluster-ip-range=10.0.0.0/24",
                  "--authorization-mode=RBAC", "--disable-admission-plugins=ServiceAccount", f"--token-auth-file={folder}/tokens.csv",
                  "--service-account-issuer=https://kubernetes.default.svc", f"--service-account-key-file={folder}/accounts.key",
                  f"--service-account-signing-key-file={folder}/accounts.key")
            wait_for(f"https://127.0.0.1:{secure}/readyz", processes, logs, 120)
            config = pathlib.Path(folder, "kubeconfig")
            config.write_text(json.dumps({
                "apiVersion": "v1", "kind": "Config", "current-context": "test",
                "clusters": [{"name": "test", "cluster": {"server": f"https://127.0.0.1:{secure}", "certificate-authority": f"{folder}/certs/apiserver.crt"}}],
                "users": [{"name": "admin", "user": {"token": token}}],
                "contexts": [{"name": "test", "context": {"cluster": "test", "user": "admin"}}]}))
            yield str(config)
        finally:
            for process in reversed(processes):
                process.terminate()
                try:
                    process.wait(20)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()


def main():
    reason = missing()
    if reason or len(sys.argv) < 2:
        sys.exit(reason or __doc__)
    with running() as config:
        sys.exit(subprocess.run(sys.argv[1:], env={**os.environ, "KUBECONFIG": config}, check=False).returncode)


if __name__ == "__main__":
    main()
