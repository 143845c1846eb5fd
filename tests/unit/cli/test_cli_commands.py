"""What the commands print, and their exit statuses."""

import json
import platform
from pathlib import Path
from typing import Any

import pytest
import yaml

from spo.cli.__main__ import run_cli
from spo.cli.profile_files import read_profile

Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def _in_own_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def rule(*names: str, action: str = "SCMP_ACT_ALLOW", **more: Any) -> dict[str, Any]:
    return {"names": list(names), "action": action, **more}


def oci(name: str, *rules: dict[str, Any], default: str = "SCMP_ACT_ERRNO", **more: Any) -> str:
    Path(name).write_text(json.dumps({"defaultAction": default, "syscalls": list(rules), **more}))
    return name


def custom(name: str, spec: str, metadata: str = "{name: web}") -> str:
    Path(name).write_text(
        "apiVersion: security-profiles-operator.x-k8s.io/v1beta1\nkind: SeccompProfile\n"
        f"metadata: {metadata}\nspec: {spec}\n"
    )
    return name


def recorded(name: str = "recorded.yaml") -> str:
    return custom(
        name,
        "{defaultAction: SCMP_ACT_ERRNO, architectures: [SCMP_ARCH_X86_64, SCMP_ARCH_X86], "
        "syscalls: [{names: [capset, read, socketcall, write], action: SCMP_ACT_ALLOW}]}",
        "{name: web, annotations: {spo.x-k8s.io/runtime-base: '[\"capset\"]', "
        'spo.x-k8s.io/syscalls-by-architecture: \'{"SCMP_ARCH_X86_64":["read","write"],'
        '"SCMP_ARCH_X86":["read","socketcall"]}\'}}',
    )


FIRST = {"index": 0, "value": 2, "op": "SCMP_CMP_EQ"}


class TestMerge:
    def test_writes_the_union_as_the_first_one(self, capsys: Capture) -> None:
        custom("a.yaml", "{defaultAction: SCMP_ACT_ERRNO, syscalls: [{names: [b], action: SCMP_ACT_ALLOW}]}")
        oci("b.json", rule("c", "a"), rule("b"))

        assert run_cli(["merge", "-o", "m.yaml", "a.yaml", "b.json"]) == 0

        merged = read_profile("m.yaml")
        assert merged.profile.metadata.name == "web"
        assert [entry.names for entry in merged.profile.spec.syscalls] == [["a", "b", "c"]]
        assert Path("m.yaml").stat().st_mode & 0o777 == 0o600
        assert capsys.readouterr().out == ""

    def test_raw_output_to_stdout(self, capfd: Capture) -> None:
        oci("a.json", rule("read"))
        assert run_cli(["merge", "-t", "raw-seccomp", "-o", "-", "a.json"]) == 0
        assert json.loads(capfd.readouterr().out)["syscalls"] == [rule("read")]

    def test_check_tells_whether_the_first_one_has_everything(self, capsys: Capture) -> None:
        small, large = oci("a.json", rule("read")), oci("b.json", rule("write"), rule("read"))

        assert run_cli(["merge", "--check", large, small]) == 0
        assert capsys.readouterr().err == "b.json is up to date\n"
        assert run_cli(["merge", "-c", small, large]) == 1
        error = capsys.readouterr().err
        assert "- write\n" in error
        assert error.splitlines()[-1] == (
            "Unable to run: a.json is not up to date: the merged profile, shown above, differs"
        )

    def test_other_kinds_are_refused(self, capsys: Capture) -> None:
        Path("a.yaml").write_text(
            "apiVersion: security-profiles-operator.x-k8s.io/v1alpha1\nkind: AppArmorProfile\n"
        )
        assert run_cli(["merge", "-o", "-", "a.yaml"]) == 1
        assert "a.yaml: kind: 'AppArmorProfile' is not supported here" in capsys.readouterr().err

    def test_selinux_profiles_are_merged_among_themselves(self, capfd: Capture) -> None:
        for name, allow in (
            ("a.yaml", "{var_log_t: {file: [write, open]}}"),
            ("b.yaml", "{var_log_t: {file: [read], dir: [search]}, '@self': {process: [fork]}}"),
            ("bad.yaml", "{'var_log_t (allow': {file: [read]}}"),
        ):
            Path(name).write_text(
                "apiVersion: security-profiles-operator.x-k8s.io/v1alpha2\nkind: SelinuxProfile\n"
                f"metadata: {{name: web}}\nspec: {{allow: {allow}}}\n"
            )
        oci("c.json", rule("read"))

        assert run_cli(["merge", "-o", "m.yaml", "a.yaml", "b.yaml"]) == 0
        assert yaml.safe_load(Path("m.yaml").read_text())["spec"]["allow"] == {
            "@self": {"process": ["fork"]},
            "var_log_t": {"dir": ["search"], "file": ["open", "read", "write"]},
        }
        assert run_cli(["merge", "--check", "m.yaml", "a.yaml"]) == 0
        assert run_cli(["merge", "--check", "a.yaml", "b.yaml"]) == 1
        assert run_cli(["merge", "-t", "raw-seccomp", "a.yaml"]) == 2
        capfd.readouterr()
        assert run_cli(["merge", "a.yaml", "c.json"]) == 1
        assert capfd.readouterr().err == (
            "Unable to run: c.json: kind: None is not supported here; give a SelinuxProfile\n"
        )
        assert run_cli(["merge", "a.yaml", "bad.yaml"]) == 1
        assert "bad.yaml: spec.allow: 'var_log_t (allow' cannot be part" in capfd.readouterr().err


class TestConvert:
    def test_there_and_back(self) -> None:
        custom(
            "a.yaml",
            "{defaultAction: SCMP_ACT_ERRNO, architectures: [SCMP_ARCH_X86_64], syscalls: [{names: [a, b], "
            "action: SCMP_ACT_ERRNO, errnoRet: 5, args: [{index: 0, value: 2, op: SCMP_CMP_EQ}]}]}",
        )

        assert run_cli(["convert", "-o", "a.json", "a.yaml"]) == 0
        assert json.loads(Path("a.json").read_text()) == {
            "defaultAction": "SCMP_ACT_ERRNO",
            "architectures": ["SCMP_ARCH_X86_64"],
            "syscalls": [rule("a", "b", action="SCMP_ACT_ERRNO", errnoRet=5, args=[FIRST])],
        }
        assert run_cli(["convert", "-o", "b.yaml", "-p", "Web App", "a.json"]) == 0
        assert read_profile("b.yaml").profile.spec == read_profile("a.yaml").profile.spec
        assert read_profile("b.yaml").profile.metadata.name == "web-app"

    def test_what_is_lost_is_told(self, capfd: Capture) -> None:
        custom("a.yaml", "{defaultAction: SCMP_ACT_ERRNO, baseProfileName: runc}")
        oci("b.json", defaultErrnoRet=38)

        assert run_cli(["convert", "a.yaml"]) == 0
        assert "a.yaml: spec.baseProfileName: its syscalls are not in the JSON" in capfd.readouterr().err
        assert run_cli(["convert", "b.json"]) == 0
        assert (
            capfd.readouterr().err == "Warning: b.json: defaultErrnoRet is not known and has no effect here\n"
        )


class TestDiff:
    def test_same_filter_is_silent(self, capsys: Capture) -> None:
        assert run_cli(["diff", oci("a.json", rule("a", "b")), oci("b.json", rule("b"), rule("a"))]) == 0
        assert capsys.readouterr().out == ""

    def test_naming_the_native_architecture_makes_no_difference(self, capsys: Capture) -> None:
        native = f"SCMP_ARCH_{platform.machine().upper()}"
        named = oci("a.json", rule("a"), architectures=[native, "SCMP_ARCH_NATIVE"])
        assert run_cli(["diff", named, oci("b.json", rule("a"))]) == 0
        assert capsys.readouterr().out == ""

    def test_each_kind_of_difference_has_a_line(self, capsys: Capture) -> None:
        before = oci("a.json", rule("gone", "socket", "same"), rule("log", action="SCMP_ACT_LOG"))
        after = oci(
            "b.json",
            rule("new", "same", "log"),
            rule(
                "socket", args=[FIRST, {"index": 1, "value": 255, "valueTwo": 1, "op": "SCMP_CMP_MASKED_EQ"}]
            ),
            architectures=["SCMP_ARCH_X86"],
            flags=["SECCOMP_FILTER_FLAG_LOG"],
        )

        assert run_cli(["diff", before, after]) == 1
        assert capsys.readouterr().out.splitlines() == [
            "--- a.json",
            "+++ b.json",
            "+ architecture SCMP_ARCH_X86",
            "+ flag SECCOMP_FILTER_FLAG_LOG",
            "- gone",
            "~ log: LOG -> ALLOW",
            "+ new",
            "~ socket: ALLOW -> ALLOW if arg0 == 0x2 and arg1 & 0xff == 0x1, else ERRNO",
        ]

    def test_default_action_and_the_containers_default(self, capsys: Capture) -> None:
        log = oci("a.json", default="SCMP_ACT_LOG")

        assert run_cli(["diff", log]) == 1
        lines = capsys.readouterr().out.splitlines()
        assert lines[1:3] == ["+++ RuntimeDefault (containers/common 0.50.1)", "~ default: LOG -> ERRNO"]
        assert "~ read: LOG -> ALLOW" in lines
        assert run_cli(["diff", "RuntimeDefault", "RuntimeDefault"]) == 0

    def test_trouble_is_not_a_difference(self, capsys: Capture) -> None:
        assert run_cli(["diff", oci("a.json"), "missing.json"]) == 2
        assert capsys.readouterr().err == (
            "Unable to run: missing.json: cannot be read: No such file or directory\n"
        )


class TestCheck:
    def test_refused_conditional_and_unused_calls_are_told(self, capsys: Capture) -> None:
        profile = oci(
            "p.json",
            rule("read", "mount"),
            rule("socketcall", args=[FIRST]),
            architectures=["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"],
        )

        assert run_cli(["check", profile, recorded()]) == 1
        assert capsys.readouterr().out.splitlines() == [
            "refused: 1 syscall",
            "  write (SCMP_ARCH_X86_64): ERRNO",
            "depends on arguments, which are not recorded: 1 syscall",
            "  socketcall (SCMP_ARCH_X86): ALLOW if arg0 == 0x2, else ERRNO",
            "allowed but never seen: 1 syscall",
            "  mount",
        ]

    def test_calls_of_an_architecture_that_is_missing_are_all_refused(self, capsys: Capture) -> None:
        profile = oci("p.json", rule("read", "write", "socketcall"), architectures=["SCMP_ARCH_X86_64"])

        assert run_cli(["check", profile, recorded()]) == 1
        assert "refused: every call of SCMP_ARCH_X86, which is not among" in capsys.readouterr().out

    def test_own_recording_passes_and_the_runtime_base_is_not_unused(self, capsys: Capture) -> None:
        assert run_cli(["check", recorded(), recorded("again.yaml")]) == 0
        assert capsys.readouterr().out == "nothing would be refused\n"

    def test_recording_may_be_a_list_of_names(self, capsys: Capture) -> None:
        Path("names").write_text("# of a run\nread write\nptrace # seen once\n")

        assert run_cli(["check", oci("p.json", rule("read", "write")), "names"]) == 1
        assert capsys.readouterr().out.splitlines() == ["refused: 1 syscall", "  ptrace: ERRNO"]

    def test_the_default_profile_can_be_asked_too(self, capsys: Capture) -> None:
        Path("names").write_text("read bpf")

        assert run_cli(["check", "RuntimeDefault", "names"]) == 1
        assert capsys.readouterr().out.startswith(
            "refused: 1 syscall\n  bpf: ERRNO\nallowed but never seen: "
        )

    @pytest.mark.parametrize("content", ["", "read raed", "read-only", "\x00", "names: [read"])
    def test_what_is_no_recording_is_trouble(self, content: str, capsys: Capture) -> None:
        Path("names").write_text(content)
        assert run_cli(["check", oci("p.json"), "names"]) == 2
        assert capsys.readouterr().err.startswith("Unable to run: names: is no")


def test_show_groups_by_purpose_and_names_risks(capsys: Capture) -> None:
    path = custom(
        "p.yaml",
        "{defaultAction: SCMP_ACT_ERRNO, syscalls: [{names: [read, ptrace, mount, capset], "
        "action: SCMP_ACT_ALLOW}, {names: [mkdir], action: SCMP_ACT_KILL}, "
        "{names: [socket], action: SCMP_ACT_ALLOW, args: [{index: 0, value: 2, op: SCMP_CMP_NE}]}]}",
        "{name: web, annotations: {spo.x-k8s.io/runtime-base: '[\"capset\"]'}}",
    )

    assert run_cli(["show", path]) == 0
    assert (
        capsys.readouterr().out
        == """\
web: 5 syscalls allowed, others: ERRNO
architectures: that of the machine

Files: read and write (1)
  read

Network and local sockets (1)
  socket

Processes and threads (1)
  ptrace

Mounts (1)
  mount

For the container runtime only (1)
  capset

Refused by name (1)
  mkdir

Depends on arguments (1)
  socket: ALLOW if arg0 != 0x2

Risks (2)
  mount: changes what files are seen; with other rights a way out of the container
  ptrace: controls other processes
"""
    )


class TestInstall:
    def test_puts_the_file_below_the_root_and_takes_it_away(self, tmp_path: Path, capsys: Capture) -> None:
        custom(
            "p.yaml", "{defaultAction: SCMP_ACT_ERRNO, syscalls: [{names: [read], action: SCMP_ACT_ALLOW}]}"
        )
        installed = tmp_path / "root/spoc/web.json"

        assert run_cli(["install", "p.yaml", "--root", str(tmp_path / "root")]) == 0
        assert capsys.readouterr().out == f"{installed}\n"
        assert json.loads(installed.read_text())["syscalls"] == [rule("read")]
        assert installed.stat().st_mode & 0o777 == 0o644

        assert run_cli(["remove", "./p.yaml", "--root", str(tmp_path / "root")]) == 0
        assert not installed.exists()
        assert run_cli(["rm", "web", "--root", str(tmp_path / "root")]) == 1
        assert "Unable to run: web: is not installed; there is no " in capsys.readouterr().err

    @pytest.mark.parametrize("name", ["../x", "a/b", "..", ".x", "X", "a..b", "-x", "x" * 251, "a\nb", "ä"])
    def test_names_that_lead_elsewhere_are_refused(self, name: str, tmp_path: Path, capsys: Capture) -> None:
        oci("p.json")

        assert run_cli(["install", "-r", str(tmp_path / "root"), "--", "p.json", name]) == 1
        assert "cannot be the name of a profile" in capsys.readouterr().err
        assert not (tmp_path / "root").exists()

    def test_a_link_in_the_place_of_the_folder_is_not_followed(self, tmp_path: Path, capsys: Capture) -> None:
        (tmp_path / "elsewhere").mkdir()
        (tmp_path / "root").mkdir()
        (tmp_path / "root/spoc").symlink_to(tmp_path / "elsewhere")

        assert run_cli(["install", oci("p.json"), "--root", "root"]) == 1
        assert (
            "Unable to run: root/spoc/p.json: cannot be written: Not a directory" in capsys.readouterr().err
        )
        assert list((tmp_path / "elsewhere").iterdir()) == []

    def test_a_profile_that_cannot_be_loaded_is_refused(self, capsys: Capture) -> None:
        path = oci("p.json", architectures=["SCMP_ARCH_S390X"])
        assert run_cli(["install", path, "--root", "root"]) == 1
        assert "no seccomp filter can be built" in capsys.readouterr().err
        assert not Path("root").exists()

    def test_apparmor_profiles_are_refused(self, capsys: Capture) -> None:
        Path("a.yaml").write_text(
            "apiVersion: security-profiles-operator.x-k8s.io/v1alpha1\nkind: AppArmorProfile\n"
        )
        for command in ("install", "remove"):
            assert run_cli([command, "./a.yaml", "--root", "root"]) == 1
            assert "kind: 'AppArmorProfile' is not supported here" in capsys.readouterr().err
