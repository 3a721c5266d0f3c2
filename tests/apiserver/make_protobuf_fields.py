"""Write ``pyoperator/apiserver/protobuf_fields.json.gz``: field numbers of the built-in kinds, from Kubernetes' Go modules.

Run by hand for a new Kubernetes version, with the folder that holds the modules:
``python -m tests.apiserver.make_protobuf_fields ~/go/pkg/mod/k8s.io v0.36.3``. What is read are facts of the wire
format: names, numbers and types of fields, and whether Go leaves an empty one out of the JSON.
"""

from __future__ import annotations

import gzip
import json
import re
import sys
from pathlib import Path

PACKAGES = {
    "api/core/v1": "v1",
    "api/apps/v1": "apps/v1",
    "api/batch/v1": "batch/v1",
    "api/policy/v1": "policy/v1",
    "api/networking/v1": "networking.k8s.io/v1",
    "api/autoscaling/v1": "autoscaling/v1",
    "api/autoscaling/v2": "autoscaling/v2",
    "api/rbac/v1": "rbac.authorization.k8s.io/v1",
    "api/coordination/v1": "coordination.k8s.io/v1",
    "api/events/v1": "events.k8s.io/v1",
    "api/discovery/v1": "discovery.k8s.io/v1",
    "api/storage/v1": "storage.k8s.io/v1",
    "api/scheduling/v1": "scheduling.k8s.io/v1",
    "api/admissionregistration/v1": "admissionregistration.k8s.io/v1",
    "api/authentication/v1": "authentication.k8s.io/v1",
    "api/authorization/v1": "authorization.k8s.io/v1",
    "apimachinery/pkg/apis/meta/v1": "meta/v1",
    "apimachinery/pkg/runtime": "runtime",
    "apimachinery/pkg/api/resource": "resource",
    "apimachinery/pkg/util/intstr": "intstr",
    "apiextensions-apiserver/pkg/apis/apiextensions/v1": "apiextensions.k8s.io/v1",
}
SCALARS = {"string": "s", "bool": "b", "bytes": "y", "double": "d"}
GO_FIELD = re.compile(r"^\s*(?P<name>[\w.]+)?\s+(?P<type>[\w.*\[\]]+)?\s*`(?P<tags>[^`]*)`", re.MULTILINE)


def go_fields(folder: Path) -> dict[tuple[str, int], tuple[str, bool]]:
    """Return {(struct, number): (JSON name or "" for inline, left out when empty)}."""
    found: dict[tuple[str, int], tuple[str, bool]] = {}
    for file in sorted(folder.glob("*.go")):
        if file.name.startswith(("generated", "zz_")):
            continue
        for struct in re.finditer(r"^type (\w+) struct \{\n(.*?)^\}", file.read_text(), re.MULTILINE | re.DOTALL):
            for line in struct[2].splitlines():
                tags = re.search(r"`(.*)`", line)
                number = re.search(r'protobuf:"\w+,(\d+),', line)
                name = re.search(r'json:"([^"]*)"', line)
                if not tags or not number or not name:
                    continue
                json_name, *flags = name[1].split(",")
                words = line.split("`")[0].split()
                pointer = len(words) > 1 and words[1].startswith("*")
                found[struct[1], int(number[1])] = (
                    "" if "inline" in flags else json_name,
                    "omitempty" in flags and not pointer,
                )
    return found


def messages(folder: Path, package: str) -> dict[str, dict[str, list[object]]]:
    proto = (folder / "generated.proto").read_text()
    proto = re.sub(r"//.*", "", proto)
    go = go_fields(folder)
    found: dict[str, dict[str, list[object]]] = {}
    for message in re.finditer(r"^message (\w+) \{\n(.*?)^\}", proto, re.MULTILINE | re.DOTALL):
        fields: dict[str, list[object]] = {}
        for field in re.finditer(
            r"^\s*(?:(optional|repeated|required) )?(map<string, ?([\w.]+)>|[\w.]+) (\w+) = (\d+)",
            message[2],
            re.MULTILINE,
        ):
            label, type_, mapped, name, number = field.groups()
            json_name, drop_empty = go.get((message[1], int(number)), (name, True))
            form = "m" if mapped else "r" if label == "repeated" else "o"
            fields[number] = [json_name, form, reference(mapped or type_, package), int(drop_empty)]
        found[f"{package}.{message[1]}"] = fields
    return found


def reference(type_: str, package: str) -> str:
    if type_ in SCALARS:
        return SCALARS[type_]
    if re.fullmatch(r"u?int\d+", type_):
        return "i"
    if type_.startswith(".k8s.io."):
        path, _, name = type_.removeprefix(".k8s.io.").rpartition(".")
        path = path.replace("apiextensions_apiserver", "apiextensions-apiserver").replace(".", "/")
        return f"{PACKAGES.get(path, path)}.{name}"
    return f"{package}.{type_.rpartition('.')[2]}"


def main() -> None:
    root, version = Path(sys.argv[1]).expanduser(), sys.argv[2]
    table: dict[str, dict[str, list[object]]] = {}
    for path, package in PACKAGES.items():
        module, _, inside = path.partition("/")
        table.update(messages(root / f"{module}@{version}" / inside, package))
    target = Path(__file__).parents[2] / "pyoperator" / "apiserver" / "protobuf_fields.json.gz"
    target.write_bytes(gzip.compress(json.dumps(table, separators=(",", ":")).encode(), 9, mtime=0))
    print(f"{target}: {len(table)} messages, {target.stat().st_size} bytes")


if __name__ == "__main__":
    main()
