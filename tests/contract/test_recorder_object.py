"""The compiled objects: their structs are those of layout.py, and their relocations those of real kernels."""

import ctypes
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from spo.bpf import layout
from spo.bpf.programs import layout_hash, object_path

BTF_FILES = Path(__file__).parent.parent / "data" / "btf"
STRUCTS = {
    "recording": layout.Recording,
    "process": layout.Process,
    "identification": layout.Identification,
    "recorder_state": layout.State,
}
# What the recorder reads of a kernel: struct -> fields. A field that the object needs and the kernel lacks
# would be absent below. thread_info has the flag of 32-bit calls.
FIELDS = {
    "task_struct": {
        *("cgroups", "comm", "group_leader", "nsproxy", "pid", "real_parent", "signal"),
        *("start_boottime", "tgid", "thread_info"),
    },
    "nsproxy": {"mnt_ns"},
    "mnt_namespace": {"ns", "seq"},
    "ns_common": {"inum"},
    "signal_struct": {"live"},
    "css_set": {"dfl_cgrp", "subsys"},
    "cgroup": {"kn", "level"},
    "cgroup_subsys_state": {"cgroup"},
    "kernfs_node": {"name", "parent"},
    "thread_info": {"flags"},
    "user_pt_regs": {"regs"},
}


def btf(path: Path) -> list[dict[str, Any]]:
    dumped = subprocess.run(
        ("bpftool", "-j", "btf", "dump", "file", path),
        check=True,
        capture_output=True,
        env={"PATH": f"{os.environ['PATH']}:/usr/sbin"},
    )
    types: list[dict[str, Any]] = json.loads(dumped.stdout)["types"]
    return types


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
@pytest.mark.parametrize("name", STRUCTS)
def test_structs_are_those_of_the_object(machine: str, name: str) -> None:
    (found,) = (t for t in btf(object_path(machine)) if t["kind"] == "STRUCT" and t["name"] == name)
    ours = STRUCTS[name]

    assert found["size"] == ctypes.sizeof(ours)
    assert [(member["name"], member["bits_offset"] // 8) for member in found["members"]] == [
        (field, getattr(ours, field).offset) for field, _ in ours._fields_
    ]


def test_relocations_of_the_arm64_object_hold_on_a_debian_12_kernel(tmp_path: Path) -> None:
    kernel = BTF_FILES / "debian-12-linux-6.1.0-47-arm64.btf"
    needed = tmp_path / "needed.btf"
    subprocess.run(
        ("bpftool", "gen", "min_core_btf", kernel, needed, object_path("aarch64")),
        check=True,
        env={"PATH": f"{os.environ['PATH']}:/usr/sbin"},
    )

    structs = {t["name"]: t for t in btf(needed) if t["kind"] == "STRUCT" and t["name"] != "(anon)"}
    fields = {name: {member["name"] for member in found["members"]} for name, found in structs.items()}
    assert {name: fields.get(name, set()) for name in FIELDS} == FIELDS


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_the_object_asks_for_no_field_that_is_not_in_the_list(machine: str) -> None:
    """A new field in kernel_types.h must be added to FIELDS, and so be checked against the kernels."""
    extra = {"pt_regs", "kernfs_node___linux_6_15"}
    structs = {t["name"]: t for t in btf(object_path(machine)) if t["kind"] == "STRUCT"}
    declared = {
        name: {member["name"] for member in found["members"]}
        for name, found in structs.items()
        if name in FIELDS and name not in extra
    }
    allowed = {**FIELDS, "ns_common": {"inum", "ns_id"}, "thread_info": {"flags", "status"}}

    assert all(fields <= allowed[name] for name, fields in declared.items()), declared
    assert len(declared) >= len(FIELDS) - 1


def test_the_layout_hash_is_short_and_stable() -> None:
    assert layout_hash() == layout_hash()
    assert len(layout_hash()) == 12
