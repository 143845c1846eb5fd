import json
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spo.api.meta import ObjectMeta
from spo.api.seccomp_profile import Arg, SeccompProfile, SeccompProfileSpec, Syscall
from spo.cli import profile_files
from spo.cli.profile_files import (
    MAX_BYTES,
    OutputError,
    ProfileFileError,
    object_name,
    parse_profile,
    read_profile,
    rendered,
    write_profile,
)

SPEC = SeccompProfileSpec(
    default_action="SCMP_ACT_ERRNO",
    architectures=["SCMP_ARCH_X86_64"],
    syscalls=[
        Syscall(names=["openat", "read"], action="SCMP_ACT_ALLOW"),
        Syscall(
            names=["socket"],
            action="SCMP_ACT_ERRNO",
            errno_ret=22,
            args=[Arg(index=0, value=16, op="SCMP_CMP_EQ")],
        ),
    ],
)
PROFILE = SeccompProfile(metadata=ObjectMeta(name="p", annotations={"a": '["x"]'}), spec=SPEC)
HEAD = "apiVersion: security-profiles-operator.x-k8s.io/v1beta1\nkind: SeccompProfile\nmetadata: {name: p}\n"


def names_in(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_both_types_are_read_back_by_content_alone(tmp_path: Path) -> None:
    for type_, suffix in (("seccomp", ".json"), ("raw-seccomp", ".yaml")):
        path = tmp_path / f"p{suffix}"
        write_profile(PROFILE, str(path), type_)  # type: ignore[arg-type]  # a literal of the table

        file = read_profile(str(path))
        assert file.type == type_
        assert file.profile.spec == SPEC
        assert file.profile.metadata.name == "p"
        assert file.notes == ()
    assert rendered(PROFILE, "seccomp") == rendered(PROFILE, "seccomp")


def test_object_as_json_is_read_too() -> None:
    document = {
        "apiVersion": "security-profiles-operator.x-k8s.io/v1",
        "kind": "SeccompProfile",
        "metadata": {"name": "p", "managedFields": [{"manager": "kubectl"}]},
        "spec": {"defaultAction": "SCMP_ACT_LOG"},
        "status": {"whatever": 1},
    }
    assert parse_profile(json.dumps(document).encode(), "x").profile.spec.default_action == "SCMP_ACT_LOG"


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        pytest.param("", "is no profile: a mapping is expected", id="empty"),
        pytest.param("[]", "is no profile: a mapping is expected", id="list"),
        pytest.param("{}", "is no profile: neither kind (SeccompProfile) nor defaultAction", id="nothing"),
        pytest.param("{", "is not JSON", id="json"),
        pytest.param("a: [", "is not YAML: line 2", id="yaml"),
        pytest.param("\x00", "is not YAML", id="zero"),
        pytest.param("a: !!python/object:os.system {}", "is not YAML: line 1", id="python-tag"),
        pytest.param("a: &x [1]\nb: *x", "line 2: aliases (*x) are not supported", id="alias"),
        pytest.param(HEAD + "---\n" + HEAD, "holds 2 YAML documents", id="documents"),
        pytest.param("a: " + "[" * 60, "is nested deeper than 50 levels", id="deep-yaml"),
        pytest.param("x:\n" + "- a\n" * 200_000, "line 99998: more values than any", id="many"),
        pytest.param("[" * 100_000, "is nested deeper than 50 levels", id="deep-json"),
        pytest.param("kind: Pod\napiVersion: v1", "kind: 'Pod' is not supported here", id="kind"),
        pytest.param("kind: SeccompProfile\napiVersion: v1", "apiVersion: 'v1' is not of", id="group"),
        pytest.param(HEAD, "spec: a mapping is expected", id="no-spec"),
        pytest.param(HEAD + "spec: {}", "spec: object missing required field defaultAction", id="default"),
        pytest.param(
            HEAD + "spec: {defaultAction: 1}", "spec.defaultAction: expected str, got int", id="type"
        ),
        pytest.param(
            HEAD + "spec: {defaultAction: ALLOW}", "spec.defaultAction: 'ALLOW' is not one of", id="word"
        ),
        pytest.param(
            HEAD
            + "spec: {defaultAction: SCMP_ACT_LOG, syscalls: [{names: [read, no], action: SCMP_ACT_LOG}]}",
            "spec.syscalls[0].names[1]: expected str, got bool",
            id="name",
        ),
        pytest.param(
            HEAD + "spec: {defaultAction: SCMP_ACT_LOG, syscalls: [{names: [a b], action: SCMP_ACT_LOG}]}",
            "spec.syscalls[0].names: 'a b' cannot be the name of a syscall",
            id="no-name",
        ),
        pytest.param(
            '{"defaultAction":"SCMP_ACT_LOG","syscalls":[{"names":["a"],"action":"DENY"}]}',
            "syscalls[0].action: 'DENY' is not one of",
            id="oci-action",
        ),
        pytest.param(
            '{"defaultAction":"SCMP_ACT_LOG","syscalls":[{"names":["a"],"action":"SCMP_ACT_LOG","includes":{}'
            ',"excludes":{"caps":["CAP_SYS_ADMIN"]}}]}',
            "syscalls[0].excludes: templates of container engines are not supported",
            id="template",
        ),
        pytest.param('{"defaultAction": 1' + "0" * 5000 + "}", "is not JSON", id="huge-number"),
        pytest.param(
            "apiVersion: security-profiles-operator.x-k8s.io/v1beta1\nkind: SeccompProfile\nmetadata: {}\n"
            "spec: {defaultAction: SCMP_ACT_LOG}",
            "metadata.name: is missing",
            id="nameless",
        ),
    ],
)
def test_bad_files_are_refused_with_the_field(content: str, problem: str) -> None:
    with pytest.raises(ProfileFileError) as raised:
        parse_profile(content.encode(), "file.yaml")
    assert str(raised.value).startswith(f"file.yaml: {problem}")


def test_bytes_that_are_no_text_are_refused() -> None:
    with pytest.raises(ProfileFileError, match=r"is not text: byte 0 is not UTF-8"):
        parse_profile(b"\xff\xfe", "x")


def test_files_without_end_are_refused() -> None:
    with pytest.raises(ProfileFileError, match=f"is larger than {MAX_BYTES} bytes"):
        read_profile("/dev/zero")
    with pytest.raises(ProfileFileError, match="cannot be read: Is a directory"):
        read_profile("/")
    with pytest.raises(ProfileFileError, match="cannot be read: embedded null byte"):
        read_profile("a\0b")


def test_unknown_fields_and_syscalls_are_told() -> None:
    rules = "[{names: [frob], action: SCMP_ACT_LOG}]"
    content = HEAD + f"spec: {{defaultAction: SCMP_ACT_LOG, colour: red, syscalls: {rules}}}"

    assert parse_profile(content.encode(), "x").notes == (
        "spec.colour is not known and has no effect here",
        "unknown syscalls, ignored by container runtimes: frob",
    )


@given(st.binary(max_size=200) | st.text(alphabet="{}[]:,-&*!\"' \nakindspec1", max_size=200).map(str.encode))
def test_any_content_is_a_profile_or_one_clear_error(content: bytes) -> None:
    try:
        parse_profile(content, "x")
    except ProfileFileError as error:
        assert str(error).startswith("x: ")  # noqa: PT017 - an error is allowed, not demanded


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(
    st.dictionaries(st.sampled_from(["defaultAction", "syscalls", "architectures", "flags", "kind"]), JSON)
)
def test_any_json_is_a_profile_or_one_clear_error(document: Any) -> None:
    try:
        parse_profile(json.dumps(document).encode(), "x")
    except ProfileFileError as error:
        assert str(error).startswith("x: ")  # noqa: PT017 - an error is allowed, not demanded


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("python3.11", "python3.11"),
        ("[", "profile"),
        ("My_App", "my-app"),
        ("..a..b-.", "a.b"),
        ("größe", "gr--e"),
        ("x" * 300, "x" * 250),
    ],
)
def test_object_names_are_what_the_api_takes(text: str, name: str) -> None:
    assert object_name(text) == name


def test_output_replaces_a_link_and_keeps_what_it_named(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("mine")
    output = tmp_path / "p.yaml"
    output.symlink_to(precious)

    write_profile(SPEC, str(output), name="p", mode=0o600)

    assert precious.read_text() == "mine"
    assert not output.is_symlink()
    assert stat.S_IMODE(output.stat().st_mode) == 0o600
    assert names_in(tmp_path) == ["p.yaml", "precious"]


@pytest.mark.parametrize(
    ("output", "problem"),
    [
        pytest.param("/", "is a directory", id="directory"),
        pytest.param("/nonexistent/p.yaml", "No such file or directory", id="missing"),
        pytest.param("/proc/p.yaml", "No such file or directory", id="refused"),
        pytest.param("/dev/full", "No space left on device", id="device"),
        pytest.param("/etc/passwd/p.yaml", "Not a directory", id="file"),
        pytest.param("a\0b", "embedded null byte", id="zero"),
    ],
)
def test_output_that_is_not_writable_is_one_clear_error(output: str, problem: str) -> None:
    with pytest.raises(OutputError) as raised:
        write_profile(SPEC, output)
    assert str(raised.value) == f"cannot write {output}: {problem}"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", tmp_path], check=True)
    yield tmp_path
    subprocess.run(["umount", tmp_path], check=True)


@pytest.mark.root
def test_full_disk_leaves_the_old_file(small_disk: Path) -> None:
    output = small_disk / "p.yaml"
    write_profile(SPEC, str(output))
    before = output.read_bytes()
    names = [f"syscall_{number}" for number in range(5000)]
    large = SeccompProfileSpec(
        default_action="SCMP_ACT_ERRNO", syscalls=[Syscall(names=names, action="SCMP_ACT_ALLOW")]
    )

    with pytest.raises(OutputError, match="No space left on device"):
        write_profile(large, str(output))

    assert output.read_bytes() == before
    assert names_in(small_disk) == ["p.yaml"]


def test_dash_is_standard_output(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    for output in ("-", "/dev/stdout", "/dev/fd/1"):
        write_profile(PROFILE, output, "raw-seccomp")
        assert capfdbinary.readouterr().out == rendered(PROFILE, "raw-seccomp")


def test_a_stream_that_has_become_a_file_is_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    link = tmp_path / "profile.yaml"
    link.symlink_to(victim)
    monkeypatch.setattr(profile_files, "_is_stream", lambda _output: True)
    with pytest.raises(profile_files.OutputError):
        profile_files.write_bytes(b"new", str(link))
    with pytest.raises(profile_files.OutputError, match="has become a file"):
        profile_files.write_bytes(b"new", str(victim))
    assert victim.read_bytes() == b"precious"
