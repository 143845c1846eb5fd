"""``spoc run`` with real filters and real programs."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from spo.host.libseccomp import libseccomp

STRACE = shutil.which("strace")
SPOC = (sys.executable, "-m", "spo.cli")
NATIVE = {"x86_64": "SCMP_ARCH_X86_64", "aarch64": "SCMP_ARCH_AARCH64"}[os.uname().machine]

pytestmark = pytest.mark.skipif(STRACE is None, reason="needs strace")


def spoc(*arguments: str, **settings: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run((*SPOC, *arguments), capture_output=True, text=True, check=False, **settings)


def profile(path: Path, **spec: Any) -> Path:
    path.write_text(json.dumps({"defaultAction": "SCMP_ACT_ALLOW", **spec}))
    return path


def refusing(path: Path, *names: str, action: str = "SCMP_ACT_ERRNO") -> Path:
    return profile(path, syscalls=[{"names": list(names), "action": action}])


def strict(path: Path, command: list[str], trace: Path) -> Path:
    """A profile of exactly what strace sees a command do."""
    subprocess.run(
        [str(STRACE), "-f", "-o", trace, *command],
        check=True,
        stdout=subprocess.DEVNULL,
        stdin=subprocess.DEVNULL,
    )
    names = sorted(set(re.findall(r"^\d+ +(\w+)\(", trace.read_text(), re.MULTILINE)))
    return profile(
        path,
        defaultAction="SCMP_ACT_ERRNO",
        architectures=[NATIVE],
        syscalls=[{"names": names, "action": "SCMP_ACT_ALLOW"}],
    )


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(["/bin/ls", "-l", "/"], id="ls"),
        pytest.param(["/bin/cat", "/etc/passwd"], id="cat"),
        pytest.param([sys.executable, "-I", "-S", "-c", "print(1)"], id="python"),
    ],
)
def test_a_program_runs_with_what_it_does_and_nothing_else(tmp_path: Path, command: list[str]) -> None:
    path = strict(tmp_path / "p.json", command, tmp_path / "trace")

    done = spoc("run", "-p", str(path), "--", *command)

    plain = subprocess.run(command, capture_output=True, text=True, check=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, plain.stdout, plain.stderr)
    assert "mkdir" not in path.read_text()
    refused = spoc("run", "-p", str(path), "--", "/bin/mkdir", str(tmp_path / "x"))
    assert refused.returncode != 0
    assert not (tmp_path / "x").exists()


def test_there_is_no_call_between_filter_and_program(tmp_path: Path) -> None:
    path = strict(tmp_path / "p.json", ["/bin/true"], tmp_path / "trace")
    log = tmp_path / "log"

    for _ in range(5):
        subprocess.run([str(STRACE), "-f", "-o", log, *SPOC, "run", "-p", path, "/bin/true"], check=True)

        calls = [line.split(maxsplit=1)[1] for line in log.read_text().splitlines()]
        loads = [
            n for n, call in enumerate(calls) if re.match(r"seccomp\(SECCOMP_SET_MODE_FILTER, .*\{len=", call)
        ]
        assert len(loads) == 1
        assert calls[loads[0]].endswith(" = 0")
        assert calls[loads[0] + 1].startswith('execve("/bin/true", ["/bin/true"], ')
        assert any(call.startswith("prctl(PR_SET_NO_NEW_PRIVS, 1") for call in calls[: loads[0]])


def test_exit_status_and_signals_are_the_program_s_own(tmp_path: Path) -> None:
    allow = str(profile(tmp_path / "p.json"))

    assert spoc("run", "-p", allow, "--", "sh", "-c", "exit 37").returncode == 37
    assert spoc("run", "-p", allow, "--", "sh", "-c", "kill -TERM $$").returncode == -signal.SIGTERM
    kill = str(refusing(tmp_path / "k.json", "mkdir", "mkdirat", action="SCMP_ACT_KILL_PROCESS"))
    assert spoc("run", "-p", kill, "--", "mkdir", str(tmp_path / "x")).returncode == -signal.SIGSYS


def test_input_arguments_and_environment_reach_the_program(tmp_path: Path) -> None:
    allow = str(profile(tmp_path / "p.json"))
    environment = {**os.environ, "WORD": "größe"}

    done = spoc(
        "run", "-p", allow, "sh", "-c", 'cat; echo "$WORD:$1:$#"', "sh", "-o", input="in\n", env=environment
    )

    assert done.stdout == "in\ngröße:-o:1\n"


@pytest.mark.root
def test_users_without_rights_run_programs_too(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    settings = {
        "user": 65534,
        "group": 65534,
        "extra_groups": [],
        "input": '{"defaultAction":"SCMP_ACT_ALLOW"}',
    }

    done = spoc(
        "run", "-p", "-", "id", "-u", env={**os.environ, "PATH": f"{closed}:{os.environ['PATH']}"}, **settings
    )

    assert (done.stdout, done.stderr) == ("65534\n", "")


def test_signals_that_python_ignores_are_not_ignored_by_the_program(tmp_path: Path) -> None:
    done = spoc("run", "-p", str(profile(tmp_path / "p.json")), "grep", "^SigIgn", "/proc/self/status")
    assert int(done.stdout.split()[1], 16) & (1 << (signal.SIGPIPE - 1) | 1 << (signal.SIGXFSZ - 1)) == 0


def test_the_program_gains_no_privileges(tmp_path: Path) -> None:
    done = spoc(
        "run",
        "-p",
        str(profile(tmp_path / "p.json")),
        "grep",
        "-E",
        "^(NoNewPrivs|Seccomp):",
        "/proc/self/status",
    )
    assert done.stdout == "NoNewPrivs:\t1\nSeccomp:\t2\n"


@pytest.mark.parametrize(
    ("arguments", "status", "problem"),
    [
        pytest.param(["nosuchcommand"], 127, "nosuchcommand: command not found", id="missing"),
        pytest.param(["/etc/passwd"], 126, "/etc/passwd: is not executable", id="not-executable"),
        pytest.param(["/"], 127, "/: command not found", id="directory"),
        pytest.param([""], 127, ": command not found", id="empty"),
        pytest.param(["-t", "seccomp", "true"], 1, "is of type raw-seccomp, not seccomp", id="type"),
    ],
)
def test_what_cannot_be_started_is_told_in_one_line(
    tmp_path: Path, arguments: list[str], status: int, problem: str
) -> None:
    done = spoc("run", "-p", str(profile(tmp_path / "p.json")), *arguments)

    assert done.returncode == status
    assert done.stderr.startswith("Unable to run: ")
    assert done.stderr.endswith(f"{problem}\n")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("spec", "problem"),
    [
        pytest.param({"defaultAction": "SCMP_ACT_ERRNO"}, "refuses execve (ERRNO)", id="execve"),
        pytest.param(
            {
                "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}],
                "listenerPath": "/var/run/security-profiles-operator/x.sock",
            },
            "SCMP_ACT_NOTIFY needs an agent",
            id="notify",
        ),
        pytest.param(
            {"architectures": ["SCMP_ARCH_S390X"]}, "SCMP_ARCH_S390X: does not go with", id="architecture"
        ),
    ],
)
def test_profiles_under_which_nothing_runs_are_refused_before(
    tmp_path: Path, spec: dict[str, Any], problem: str
) -> None:
    done = spoc("run", "-p", str(profile(tmp_path / "p.json", **spec)), "true")

    assert done.returncode == 1
    assert problem in done.stderr
    assert done.stderr.count("\n") == 1


def test_execve_that_fails_under_the_filter_is_told(tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text("no interpreter")
    script.chmod(0o755)

    done = spoc("run", "-p", str(profile(tmp_path / "p.json")), str(script))

    assert (done.returncode, done.stderr) == (
        126,
        f"Unable to run: {script}: execve under the filter: Exec format error\n",
    )


def test_syscalls_newer_than_libseccomp_are_let_pass(tmp_path: Path) -> None:
    # mseal, Linux 6.10; libseccomp 2.5 does not know it.
    code = "import ctypes; print(ctypes.CDLL(None).syscall(462, 0, 0, 0))"
    command = [sys.executable, "-I", "-S", "-c", f"import ctypes\n{code}"]
    path = strict(tmp_path / "p.json", command, tmp_path / "trace")
    spec = json.loads(path.read_text())
    refused = spoc("run", "-p", str(path), "--", *command).stdout

    spec["syscalls"][0]["names"] = [*spec["syscalls"][0]["names"], "mseal"]
    path.write_text(json.dumps(spec))

    allowed = spoc("run", "-p", str(path), "--", *command).stdout
    plain = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert (allowed, refused) == (plain, "-1\n")


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="needs a machine of two architectures")
def test_syscalls_that_libseccomp_leaves_out_are_told(tmp_path: Path) -> None:
    rules = [{"names": ["mseal", "socketcall"], "action": "SCMP_ACT_LOG"}]
    path = profile(tmp_path / "p.json", architectures=[NATIVE, "SCMP_ARCH_X86"], syscalls=rules)

    done = spoc("run", "-p", str(path), "true")

    assert done.returncode == 0
    library = libseccomp()
    if library.syscall_number("mseal", library.architecture("SCMP_ARCH_NATIVE") or 0) is not None:
        pytest.skip("this libseccomp knows all syscalls of the test")
    assert done.stderr == f"Warning: {path}: this libseccomp leaves out, with several architectures: mseal\n"
