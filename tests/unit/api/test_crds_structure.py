"""The generated CRDs are what a real API server accepts; the files are what the structs say."""

import copy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from onenode.structural import check_structural
from spo.api.crds import custom_resource_definitions
from tests.fakes.structural_rules import problems

ROOT = Path(__file__).parents[3]
CRDS = {crd["spec"]["names"]["plural"]: crd for crd in custom_resource_definitions()}


def schema_of(plural: str) -> dict[str, Any]:
    (version,) = CRDS[plural]["spec"]["versions"]
    schema: dict[str, Any] = version["schema"]["openAPIV3Schema"]
    return copy.deepcopy(schema)


def field(plural: str, *path: str) -> dict[str, Any]:
    node = schema_of(plural)
    for step in path:
        node = node["items"] if step == "[]" else node["properties"][step]
    return node


@pytest.mark.parametrize("plural", CRDS)
def test_schema_is_structural(plural: str) -> None:
    assert list(problems(schema_of(plural))) == []
    assert check_structural(schema_of(plural)) == []


SPOILED = {
    "no-description": (
        "spec",
        lambda node: node["properties"]["flags"].pop("description"),
        ".spec.flags: no description",
    ),
    "no-type": ("spec", lambda node: node["properties"]["flags"].pop("type"), ".spec.flags: no type"),
    "reference": ("spec", lambda node: node.update({"$ref": "x"}), ".spec: $ref is not allowed"),
    "unbounded": (
        "spec",
        lambda node: node["properties"]["flags"].pop("maxItems"),
        ".spec.flags: no maxItems",
    ),
    "null": (
        "spec",
        lambda node: node["properties"].update(flags={"description": "x", "anyOf": [{"type": "null"}]}),
        ".spec.flags: anyOf is for int-or-string only",
    ),
    "both": (
        "spec",
        lambda node: node.update(additionalProperties={"type": "boolean"}),
        ".spec: additionalProperties beside properties",
    ),
    "default": (
        "spec",
        lambda node: node["properties"]["defaultAction"].update(default="SCMP_ACT_WHATEVER"),
        ".spec.defaultAction: the default does not fit",
    ),
    "list-map-key": (
        "status",
        lambda node: node["properties"]["conditions"]["items"]["required"].remove("type"),
        ".status.conditions: list-map key 'type' is neither required nor defaulted",
    ),
    "metadata": (
        "metadata",
        lambda node: node.update(description="x"),
        ".metadata: must be an object without any further word",
    ),
}


@pytest.mark.parametrize("spoiled", SPOILED)
def test_rules_see_what_is_wrong(spoiled: str) -> None:
    where, spoil, complaint = SPOILED[spoiled]
    schema = schema_of("seccompprofiles")
    spoil(schema["properties"][where])
    assert complaint in list(problems(schema))


EXPECTED = [
    # plural, version, short names, columns with their priority, status subresource
    ("seccompprofiles", "v1beta1", ["sp"], [("Status", 0), ("Age", 0), ("LocalhostProfile", 10)], True),
    ("profilebindings", "v1alpha1", None, None, True),
    ("profilerecordings", "v1alpha1", None, [("PodSelector", 10)], True),
    ("securityprofilesoperatordaemons", "v1alpha1", ["spod"], [("State", 0)], True),
    (
        "securityprofilenodestatuses",
        "v1alpha1",
        ["spns"],
        [("Node", 0), ("Installed", 0), ("Failed", 0), ("Age", 0)],
        False,
    ),
    ("selinuxprofiles", "v1alpha2", None, [("Usage", 0), ("State", 0)], True),
    ("rawselinuxprofiles", "v1alpha2", None, [("Usage", 0), ("State", 0)], True),
    ("apparmorprofiles", "v1alpha1", ["aa"], [("Status", 0)], True),
]


@pytest.mark.parametrize(("plural", "version", "short_names", "columns", "has_status"), EXPECTED)
def test_names_columns_and_subresources(
    plural: str,
    version: str,
    short_names: list[str] | None,
    columns: list[tuple[str, int]] | None,
    has_status: bool,
) -> None:
    spec = CRDS[plural]["spec"]
    (served,) = spec["versions"]
    shown = served.get("additionalPrinterColumns")
    assert CRDS[plural]["metadata"]["name"] == f"{plural}.security-profiles-operator.x-k8s.io"
    assert spec["scope"] == "Namespaced"
    assert (served["name"], served["served"], served["storage"]) == (version, True, True)
    assert spec["names"].get("shortNames") == short_names
    assert (shown and [(column["name"], column.get("priority", 0)) for column in shown]) == columns
    assert served["subresources"] == ({"status": {}} if has_status else {})


def test_every_kind_is_expected() -> None:
    assert sorted(CRDS) == sorted(row[0] for row in EXPECTED)


@pytest.mark.parametrize(
    ("plural", "path", "words"),
    [
        pytest.param(
            "seccompprofiles",
            ("spec", "syscalls", "[]", "errnoRet"),
            {"x-kubernetes-int-or-string": True},
            id="errnoRet",
        ),
        pytest.param("seccompprofiles", ("spec", "syscalls", "[]", "args"), {"maxItems": 6}, id="args"),
        pytest.param(
            "seccompprofiles",
            ("status", "seccompProfile.localhostProfile"),
            {"type": "string"},
            id="literal-key",
        ),
        pytest.param(
            "seccompprofiles",
            ("status", "conditions"),
            {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
            id="conditions",
        ),
        pytest.param(
            "seccompprofiles",
            ("status", "conditions", "[]", "lastTransitionTime"),
            {"format": "date-time"},
            id="time",
        ),
        pytest.param(
            "securityprofilenodestatuses",
            ("profiles",),
            {"x-kubernetes-map-type": "atomic"},
            id="node-status",
        ),
        pytest.param(
            "securityprofilesoperatordaemons",
            ("spec", "webhookOptions", "[]", "namespaceSelector"),
            {"x-kubernetes-map-type": "atomic"},
            id="optional-selector",
        ),
        pytest.param(
            "securityprofilesoperatordaemons",
            ("spec", "affinity"),
            {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
            id="affinity",
        ),
        pytest.param(
            "securityprofilesoperatordaemons",
            ("spec", "selinuxOptions", "allowedSystemProfiles"),
            {"default": ["container"]},
            id="system-profiles",
        ),
        pytest.param(
            "selinuxprofiles",
            ("spec", "inherit"),
            {"default": [{"kind": "System", "name": "container"}]},
            id="inherit",
        ),
        pytest.param(
            "profilerecordings", ("spec", "recorder"), {"enum": ["bpf", "hook", "logs"]}, id="recorder"
        ),
        pytest.param("profilerecordings", ("spec", "mergeStrategy"), {"default": "none"}, id="merge"),
    ],
)
def test_field_says(plural: str, path: tuple[str, ...], words: dict[str, Any]) -> None:
    assert words.items() <= field(plural, *path).items()


def test_python_defaults_stay_out_of_the_api() -> None:
    assert "default" not in field("securityprofilesoperatordaemons", "spec", "enableSelinux")
    assert "default" not in field("seccompprofiles", "spec", "syscalls")


def test_files_are_as_generated() -> None:
    command = [sys.executable, str(ROOT / "tools/generate_crds.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_check_names_files_that_differ(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "tools/generate_crds.py"), f"--output={tmp_path}"]
    subprocess.run(command, check=True)
    assert yaml.safe_load((tmp_path / "seccompprofiles.yaml").read_text()) == CRDS["seccompprofiles"]
    (tmp_path / "seccompprofiles.yaml").write_text("kind: Other\n")
    (tmp_path / "old.yaml").write_text("{}\n")
    done = subprocess.run([*command, "--check"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert [line.split()[0] for line in done.stderr.splitlines()] == ["old.yaml", "seccompprofiles.yaml"]
