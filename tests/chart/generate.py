#!/usr/bin/env python3
"""Writes what is derived from each chart's values.yaml: values.schema.json and the table in README.md.

  tests/chart/generate.py           write them
  tests/chart/generate.py --check   exit 1 and name the files that are not up to date

Sources: the keys, defaults and "# --" comments of charts/*/values.yaml; proto/apim_failover/v1/config.proto for
config.data; schema.yaml beside this file for what a default cannot say (enumerations, ranges, patterns). A value whose
comment stands on a map is taken as a whole: the map's keys are free.
"""
import json
import pathlib
import re
import sys

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
CHARTS = ["apim-failover", "apim-failover-agent"]
DURATION = {"type": "string", "pattern": r"^([0-9]+(\.[0-9]+)?(ms|s|m|h|d))+$"}
# Keys of ControllerConfig that the chart writes itself.
FIXED = {
    "ControllerConfig": ["tls", "agentAddress", "operatorAddress", "metricsAddress", "store", "leaderElection",
                         "kubernetes", "replicasAddress"],
    "AzureSpec": ["auth", "tenantId", "clientId", "clientSecretFile", "federatedTokenFile"],
    "GroupSpec": ["name"],
}


def comments(text):
    """Path → description, for every key of values.yaml with a "# --" comment."""
    described, stack, pending = {}, [], None
    for line in text.splitlines():
        bare = line.strip()
        if bare.startswith("# -- "):
            pending = bare[5:]
        elif bare.startswith("#") and pending is not None:
            pending += " " + bare[1:].strip()
        else:
            key = re.match(r"^( *)([A-Za-z][A-Za-z0-9]*):", line)
            if key and not bare.startswith("- "):
                depth = len(key.group(1))
                stack = [s for s in stack if s[0] < depth] + [(depth, key.group(2))]
                if pending is not None:
                    described[tuple(k for _, k in stack)] = pending
            pending = None
    return described


def type_of(value):
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int):
        return "integer"
    if isinstance(value, list):
        return "array"
    if isinstance(value, dict):
        return "object"
    return "string"


def schema_of(value, path, described, extra, used):
    key = ".".join(path)
    node = {}
    if path in described:
        node["description"] = described[path]
    if key in extra:
        used.add(key)
        return {**node, **extra[key]}
    if isinstance(value, dict) and value and path not in described:
        node.update(type="object", additionalProperties=False,
                    properties={k: schema_of(v, path + (k,), described, extra, used) for k, v in value.items()})
        if key == "global":
            node["additionalProperties"] = True
    else:
        node["type"] = type_of(value)
    return node


def camel(name):
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)


def proto_schemas(text):
    """JSON schemas of the messages in config.proto, as its YAML mapping names them."""
    text = re.sub(r"//.*", "", text)
    enums = {}
    for name, body in re.findall(r"enum (\w+) \{(.*?)\}", text, re.S):
        prefix = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).upper() + "_"
        words = [w[len(prefix):].lower() for w in re.findall(r"(\w+) = \d+;", body)]
        enums[name] = {"enum": [camel(w) for w in words if w != "unspecified"]}
    scalars = {"string": {"type": "string"}, "int32": {"type": "integer"}, "bool": {"type": "boolean"},
               "google.protobuf.Duration": {"$ref": "#/definitions/Duration"}}

    def field(kind):
        return scalars.get(kind) or ({"$ref": f"#/definitions/{kind}"})

    schemas = {"Duration": DURATION, **enums}
    for name, body in re.findall(r"message (\w+) \{(.*?)\n\}", text, re.S):
        properties = {}
        for repeated, kind, word in re.findall(r"(repeated |optional )?(map<[^>]+>|[\w.]+) (\w+) = \d+;", body):
            if kind.startswith("map<"):
                properties[camel(word)] = {"type": "object", "additionalProperties": {"type": "string"}}
            elif repeated == "repeated ":
                properties[camel(word)] = {"type": "array", "items": field(kind)}
            else:
                properties[camel(word)] = field(kind)
        for fixed in FIXED.get(name, []):
            del properties[fixed]
        schemas[name] = {"type": "object", "additionalProperties": False, "properties": properties}
    # `address`, or an object with the header's name.
    schemas["ServedBySpec"] = {"anyOf": [{"const": "address"}, schemas["ServedBySpec"]]}
    schemas["ControllerConfig"]["properties"]["failoverGroups"] = {
        "type": "object", "additionalProperties": False,
        "patternProperties": {"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$": {"$ref": "#/definitions/GroupSpec"}}}
    return schemas


def reachable(start, schemas):
    wanted, queue = {}, [start]
    while queue:
        name = queue.pop()
        if name not in wanted:
            wanted[name] = schemas[name]
            queue += re.findall(r'"#/definitions/(\w+)"', json.dumps(schemas[name]))
    return dict(sorted(wanted.items()))


def schema(chart, values, described):
    extra = yaml.safe_load((ROOT / "tests/chart/schema.yaml").read_text())
    wanted = {**extra["both"], **extra[chart]}
    used = set()
    root = {"$schema": "http://json-schema.org/draft-07/schema#", "title": f"Values of {chart}", "type": "object",
            "additionalProperties": False,
            "properties": {k: schema_of(v, (k,), described, wanted, used) for k, v in values.items()}}
    # A parent chart's `condition` puts this among our values.
    root["properties"]["enabled"] = {"description": "Not read here: for the condition of a parent chart", "type": "boolean"}
    if set(wanted) - used:
        sys.exit(f"schema.yaml: {chart} has no value {', '.join(sorted(set(wanted) - used))}")
    if chart == "apim-failover":
        protos = proto_schemas((ROOT / "proto/apim_failover/v1/config.proto").read_text())
        root["definitions"] = reachable("ControllerConfig", protos)
    return json.dumps(root, indent=2) + "\n"


def rows(value, path, described):
    if isinstance(value, dict) and value and path not in described:
        for key, child in value.items():
            yield from rows(child, path + (key,), described)
        return
    if path not in described:
        sys.exit(f"values.yaml: {'.'.join(path)} has no comment that begins with \"# --\"")
    cell = json.dumps(value).replace("|", "\\|")
    yield f"| `{'.'.join(path)}` | `{cell}` | {described[path].replace('|', chr(92) + '|')} |"


def readme(text, values, described):
    table = ["| Value | Default | Meaning |", "| --- | --- | --- |"]
    for key, value in values.items():
        table += rows(value, (key,), described)
    begin, end = "<!-- values: written by tests/chart/generate.py -->", "<!-- end of values -->"
    if begin not in text or end not in text:
        sys.exit(f"README.md: needs the lines {begin} and {end}")
    head, rest = text.split(begin)
    return head + begin + "\n\n" + "\n".join(table) + "\n\n" + end + rest.split(end)[1]


def main():
    check = sys.argv[1:] == ["--check"]
    stale = []
    for chart in CHARTS:
        folder = ROOT / "charts" / chart
        text = (folder / "values.yaml").read_text()
        values, described = yaml.safe_load(text), comments(text)
        for path, new in ((folder / "values.schema.json", schema(chart, values, described)),
                          (folder / "README.md", readme((folder / "README.md").read_text(), values, described))):
            if path.exists() and path.read_text() == new:
                continue
            stale.append(str(path.relative_to(ROOT)))
            if not check:
                path.write_text(new)
    if check and stale:
        sys.exit(f"not up to date: {', '.join(stale)}; run tests/chart/generate.py")


if __name__ == "__main__":
    main()
