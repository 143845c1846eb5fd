"""Our copy of the containers' default profile says what its source says."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from spo.recording.runtime_default import SOURCE, runtime_default

FILE = Path("/usr/share/containers/seccomp.json")
PACKAGE = "golang-github-containers-common"
WORDS = "CHOWN DAC_OVERRIDE FOWNER FSETID KILL NET_BIND_SERVICE SETFCAP SETGID SETPCAP SETUID SYS_CHROOT"
CAPABILITIES = {f"CAP_{word}" for word in WORDS.split(" ")}


def packaged_version() -> str:
    if not (FILE.exists() and shutil.which("dpkg-query")):
        return ""
    command = ["dpkg-query", "--show", "--showformat=${Version}", PACKAGE]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


def applies(rule: dict[str, Any], architecture: str) -> bool:
    """Whether a rule of the template counts in a container with the default capabilities."""
    includes, excludes = rule.get("includes") or {}, rule.get("excludes") or {}
    return (
        set(includes.get("caps", ())) <= CAPABILITIES
        and not set(excludes.get("caps", ())) & CAPABILITIES
        and architecture in includes.get("arches", [architecture])
    )


@pytest.mark.skipif(
    not packaged_version().startswith(SOURCE.rpartition(" ")[2]), reason=f"needs the file of {SOURCE}"
)
@pytest.mark.parametrize(("machine", "architecture"), [("x86_64", "amd64"), ("aarch64", "arm64")])
def test_default_profile_is_the_one_of_its_source(machine: Any, architecture: str) -> None:
    rules = [rule for rule in json.loads(FILE.read_text())["syscalls"] if applies(rule, architecture)]
    allowing = [rule for rule in rules if rule["action"] == "SCMP_ACT_ALLOW"]

    def conditions(args: Any) -> tuple[Any, ...]:
        return tuple((arg["index"], arg["value"], arg["op"]) for arg in args or ())

    expected = {(name, conditions(rule.get("args"))) for rule in allowing for name in rule["names"]}
    ours = {
        (name, tuple((arg.index, arg.value, str(arg.op)) for arg in entry.args))
        for entry in runtime_default(machine).syscalls
        for name in entry.names
    }
    assert ours == expected
    assert len(ours) > 350
