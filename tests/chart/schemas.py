#!/usr/bin/env python3
"""Writes tests/chart/schemas: what kubeconform checks the rendered charts against, without a network.

  tests/chart/schemas.py     fetches the Go modules below through the go command's own proxy settings, then writes

The sources are published API descriptions: swagger.json of k8s.io/kubernetes for the oldest and the newest supported
version, and the CustomResourceDefinitions that cert-manager and prometheus-operator ship in their modules. Kept are the kinds that the charts render, without descriptions; an object with named properties allows no
others, which is what kubeconform -strict is about.
"""
import json
import pathlib
import re
import shutil
import subprocess
import tempfile

import yaml

KUBERNETES = ["v1.30.14", "v1.37.2"]
KINDS = {"ConfigMap": "v1", "Pod": "v1", "Secret": "v1", "Service": "v1", "ServiceAccount": "v1", "Deployment": "apps/v1",
         "PodDisruptionBudget": "policy/v1", "NetworkPolicy": "networking.k8s.io/v1",
         "Role": "rbac.authorization.k8s.io/v1", "RoleBinding": "rbac.authorization.k8s.io/v1",
         "FlowSchema": "flowcontrol.apiserver.k8s.io/v1"}
CRDS = {  # module@version → files
    "github.com/cert-manager/cert-manager@v1.21.2": ["deploy/crds/cert-manager.io_certificates.yaml",
                                                     "deploy/crds/cert-manager.io_issuers.yaml"],
    "github.com/prometheus-operator/prometheus-operator@v0.85.0": [
        f"example/prometheus-operator-crd/monitoring.coreos.com_{kind}.yaml"
        for kind in ("servicemonitors", "podmonitors", "prometheusrules")],
}
TARGET = pathlib.Path(__file__).resolve().parent / "schemas"
# grafana-operator's module is not on every proxy; what the chart uses of its kind, by its documentation.
GRAFANA_DASHBOARD = {
    "type": "object", "additionalProperties": False, "required": ["apiVersion", "kind", "metadata", "spec"],
    "properties": {
        "apiVersion": {"const": "grafana.integreatly.org/v1beta1"}, "kind": {"const": "GrafanaDashboard"},
        "metadata": {"type": "object"},
        "spec": {"type": "object", "additionalProperties": False, "required": ["instanceSelector", "configMapRef"],
                 "properties": {
                     "instanceSelector": {"type": "object", "additionalProperties": False, "properties": {
                         "matchLabels": {"type": "object", "additionalProperties": {"type": "string"}}}},
                     "configMapRef": {"type": "object", "additionalProperties": False, "required": ["name", "key"],
                                      "properties": {"name": {"type": "string"}, "key": {"type": "string"}}}}}}}
INT_OR_STRING = {"oneOf": [{"type": "string"}, {"type": "integer"}]}


def module(name):
    with tempfile.TemporaryDirectory() as folder:
        pathlib.Path(folder, "go.mod").write_text("module schemas\n")
        answer = subprocess.run(["go", "mod", "download", "-json", name], cwd=folder, check=True, capture_output=True)
    return pathlib.Path(json.loads(answer.stdout)["Dir"])


def strict(node):
    """Without words, closed, and with the loose types of Kubernetes."""
    if node.get("x-kubernetes-int-or-string") or node.get("format") == "int-or-string":
        return INT_OR_STRING
    out = {}
    for key in ("type", "enum", "required", "pattern", "minimum", "maximum", "minItems", "maxItems", "minLength",
                "maxLength", "format"):
        if key in node and not (key == "format" and node[key] not in ("int32", "int64")):
            out[key] = node[key]
    if "$ref" in node:
        return {"$ref": node["$ref"]}
    if "items" in node:
        out["items"] = strict(node["items"])
    if isinstance(node.get("additionalProperties"), dict):
        out["additionalProperties"] = strict(node["additionalProperties"])
    for key in ("allOf", "anyOf", "oneOf"):
        if key in node and "properties" not in node:
            out[key] = [strict(child) for child in node[key]]
    if "properties" in node:
        out["properties"] = {name: strict(child) for name, child in node["properties"].items()}
        if not node.get("x-kubernetes-preserve-unknown-fields"):
            out["additionalProperties"] = False
    return out


def file_name(kind, api_version):
    group, _, version = api_version.rpartition("/")
    return "-".join(filter(None, [kind.lower(), group.split(".")[0], version])) + ".json"


def write(path, schema):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(schema, separators=(",", ":"), sort_keys=True) + "\n")


def built_in(version):
    swagger = json.loads((module(f"k8s.io/kubernetes@{version}") / "api/openapi-spec/swagger.json").read_text())
    definitions = swagger["definitions"]
    by_kind = {}
    for name, node in definitions.items():
        for kind in node.get("x-kubernetes-group-version-kind", []):
            by_kind[(kind["kind"], "/".join(filter(None, [kind["group"], kind["version"]])))] = name
    for kind, api_version in KINDS.items():
        root, wanted, queue = by_kind[(kind, api_version)], {}, [by_kind[(kind, api_version)]]
        while queue:
            name = queue.pop()
            if name in wanted:
                continue
            node = definitions[name]
            if name.endswith("resource.Quantity"):
                wanted[name] = {"type": ["string", "number"]}
            else:
                wanted[name] = strict(node)
            queue += re.findall(r'"#/definitions/([^"]+)"', json.dumps(wanted[name]))
        schema = wanted.pop(root)
        schema["properties"]["apiVersion"] = {"const": api_version}
        schema["properties"]["kind"] = {"const": kind}
        schema["required"] = ["apiVersion", "kind", "metadata"]
        write(TARGET / version / file_name(kind, api_version), {**schema, "definitions": wanted})


def custom(name, files):
    folder = module(name)
    for file in files:
        crd = yaml.safe_load((folder / file).read_text())["spec"]
        for version in crd["versions"]:
            if not version["served"]:
                continue
            schema = strict(version["schema"]["openAPIV3Schema"])
            schema["properties"]["metadata"] = {"type": "object"}
            groups = [crd["group"]] + (["azmonitoring.coreos.com"] if crd["names"]["kind"].endswith("Monitor") else [])
            for group in groups:  # Azure Managed Prometheus: the same kinds in its own group
                write(TARGET / "custom" / file_name(crd["names"]["kind"], f"{group}/{version['name']}"), schema)


def main():
    shutil.rmtree(TARGET, ignore_errors=True)
    for version in KUBERNETES:
        built_in(version)
    for name, files in CRDS.items():
        custom(name, files)
    write(TARGET / "custom" / file_name("GrafanaDashboard", "grafana.integreatly.org/v1beta1"), GRAFANA_DASHBOARD)


if __name__ == "__main__":
    main()
