"""``spoc record`` as people use it: on commands, processes, containers; with signals, sudo and full disks."""

import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

pytestmark = pytest.mark.root

SPOC = (sys.executable, "-m", "spo.cli")


def spoc(*arguments: str | Path, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        (*SPOC, *map(str, arguments)),
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
        env=None if env is None else {**os.environ, **env},
    )


def names(path: Path) -> set[str]:
    content = path.read_text()
    document: dict[str, Any] = (
        json.loads(content) if content.startswith("{") else yaml.safe_load(content)["spec"]
    )
    return {name for rule in document["syscalls"] for name in rule["names"]}


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "profile.yaml"


def test_a_command_gives_a_profile_with_its_name_and_its_calls(output: Path) -> None:
    done = spoc("record", "-o", output, "--", "mkdir", "-p", output.parent / "made")

    assert done.returncode == 0
    document = yaml.safe_load(output.read_text())
    assert document["metadata"] == {"name": "mkdir"}
    assert document["spec"]["defaultAction"] == "SCMP_ACT_ERRNO"
    assert {"execve", "mkdir", "exit_group"} <= names(output)
    assert (output.parent / "made").is_dir()


def test_the_interpreter_that_starts_the_command_leaves_no_trace(output: Path) -> None:
    spoc("record", "-o", output, "--", "busybox", "true")

    traced = subprocess.run(
        ("strace", "-f", "-qq", "-o", output.parent / "trace", "busybox", "true"), check=True
    )
    assert traced.returncode == 0
    lines = (output.parent / "trace").read_text().splitlines()
    assert names(output) == {line.split()[1].partition("(")[0] for line in lines if "(" in line}


def test_the_summary_goes_to_stderr_and_nothing_else_does(output: Path) -> None:
    done = spoc("record", "-o", output, "--", "echo", "hello")

    assert done.stdout == "hello\n"
    (line,) = done.stderr.splitlines()
    assert line.startswith("echo: ")
    assert line.endswith(f"written to {output}")


def test_standard_output_takes_the_profile(output: Path) -> None:
    done = spoc("record", "-t", "raw-seccomp", "-q", "-o", "-", "--", "true")

    assert json.loads(done.stdout)["defaultAction"] == "SCMP_ACT_ERRNO"
    assert done.stderr == ""


def test_options_after_the_command_are_the_commands(output: Path) -> None:
    assert spoc("record", "-o", output, "ls", "-a", "/").stdout.startswith(".\n..\n")


def test_the_exit_code_is_passed_on_and_the_profile_written(output: Path) -> None:
    assert spoc("record", "-o", output, "--", "sh", "-c", "exit 7").returncode == 7
    assert "execve" in names(output)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGSEGV])
def test_a_deadly_signal_is_passed_on_and_the_profile_written(output: Path, number: signal.Signals) -> None:
    done = spoc("record", "-o", output, "--", "sh", "-c", f"ulimit -c 0; kill -{number.value} $$")

    assert done.returncode == -number
    assert "kill" in names(output)


def test_a_signal_to_spoc_reaches_the_command(output: Path) -> None:
    script = "trap 'echo got it; exit 3' TERM; echo ready; while :; do sleep 0.1; done"
    with subprocess.Popen(
        (*SPOC, "record", "-o", output, "--", "sh", "-c", script), stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGTERM)
        assert process.stdout.readline() == "got it\n"
        assert process.wait(10) == 3
    assert "rt_sigreturn" in names(output) or "wait4" in names(output)


def test_ctrl_c_ends_the_command_once_and_the_profile_is_written(output: Path) -> None:
    script = "trap 'echo interrupt; exit 5' INT; echo ready; while :; do sleep 0.1; done"
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(SPOC[0], [*SPOC, "record", "-o", str(output), "--", "sh", "-c", script])
    text = read_until(terminal, "ready")
    os.write(terminal, b"\x03")
    text += read_until(terminal, "written to")
    _, status = os.waitpid(pid, 0)
    os.close(terminal)

    assert os.waitstatus_to_exitcode(status) == 5
    assert text.count("interrupt") == 1
    assert "execve" in names(output)


def test_a_terminal_shows_the_progress_and_takes_it_away(output: Path) -> None:
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(SPOC[0], [*SPOC, "record", "-o", str(output), "--", "sleep", "0.7"])
    text = read_until(terminal, "written to")
    os.waitpid(pid, 0)
    os.close(terminal)

    assert "recording 0 s, " in text
    assert "last new: " in text
    assert "\r\x1b[Ksleep: " in text


def test_processes_that_stay_are_told(output: Path) -> None:
    done = spoc("record", "-o", output, "--", "sh", "-c", "sleep 3 >/dev/null 2>&1 &")

    assert "1 of its processes still run" in done.stderr


def test_under_sudo_the_command_runs_as_the_caller(output: Path) -> None:
    env = {"SUDO_UID": "65534", "SUDO_GID": "65534", "SUDO_USER": "nobody", "SUDO_COMMAND": "spoc"}
    script = "id -u; id -g; id -G; echo $USER $HOME; env | grep -c SUDO_ || true"

    done = spoc("record", "-o", output, "--", "sh", "-c", script, env=env)
    assert done.stdout.splitlines() == ["65534", "65534", "65534", "nobody /nonexistent", "0"]
    assert not {"setuid", "setgid", "setgroups"} & names(output)
    done = spoc("record", "--privileged", "-o", output, "--", "id", "-u", env=env)
    assert done.stdout == "0\n"


def test_another_process_of_the_same_name_does_not_leak_in(output: Path) -> None:
    with subprocess.Popen(
        ("sh", "-c", "while :; do umask >/dev/null; mkdir /proc/no 2>/dev/null; done")
    ) as foreign:
        done = spoc("record", "-o", output, "--", "sh", "-c", "sleep 0.3")
        foreign.kill()

    assert done.returncode == 0
    assert not {"mkdir", "umask"} & names(output)


def test_a_running_process_is_recorded_until_it_ends(output: Path) -> None:
    script = "read go; (umask; mkdir /proc/no) >/dev/null 2>&1; exit 0"
    with (
        subprocess.Popen(("sh", "-c", script), stdin=subprocess.PIPE) as target,
        recording("-o", output, "--pid", str(target.pid)) as process,
    ):
        assert target.stdin is not None
        target.stdin.write(b"\n")
        target.stdin.close()
        target.wait(20)
        said = said_until_the_end(process)

    assert {"umask", "mkdir", "exit_group"} <= names(output)
    assert "calls that process" in said
    assert "are missing" in said


def test_a_container_is_recorded_from_its_start_and_runs_under_the_result(
    output: Path, busybox_image: str, podman_environment: dict[str, str]
) -> None:
    script = ("sh", "-c", "sleep 0.2; mkdir /made; ls /")
    container = podman("create", busybox_image, *script, env=podman_environment).strip()
    options = ("-t", "raw-seccomp", "--container-base", "-o", output, "--container", container[:12])
    with recording(*options) as process:
        before = podman("start", "-a", container, env=podman_environment)
        said = said_until_the_end(process)
    podman("rm", container, env=podman_environment)

    assert "warning" not in said
    assert {"mkdir", "execve"} <= names(output)
    assert not {"pivot_root", "sethostname", "mount"} & names(output)
    option = f"seccomp={output}"
    again = podman("run", "--rm", "--security-opt", option, busybox_image, *script, env=podman_environment)
    assert again == before


def test_a_container_that_runs_already_says_so(
    output: Path, busybox_image: str, podman_environment: dict[str, str]
) -> None:
    script = ("sh", "-c", "while :; do sleep 0.1; done")
    container = podman("run", "-d", busybox_image, *script, env=podman_environment).strip()
    with recording("-o", output, "--container", container) as process:
        time.sleep(0.5)  # the loop of the container goes round
        process.send_signal(signal.SIGINT)
        said = said_until_the_end(process)
    podman("rm", "-f", "-t", "0", container, env=podman_environment)

    assert "its start was not recorded" in said
    assert "clone" in names(output)


@pytest.mark.parametrize(
    ("arguments", "status", "problem"),
    [
        ((), 2, "no command provided"),
        (("--no-start",), 2, "--no-start needs --pid or --container"),
        (("--pid", "1", "--container", "a" * 12), 2, "exclude each other"),
        (("--pid", "1", "ls"), 2, "no command is started"),
        (("--container", "web"), 2, "12 to 64 hexadecimal digits"),
        (("-t", "apparmor", "ls"), 2, "raw-seccomp"),
        (("-b", "opne", "ls"), 2, "no such syscall: opne"),
        (("no-such-command",), 1, "no-such-command: command not found"),
        (("/no/such/command",), 1, "/no/such/command: no such file"),
        (("/etc/passwd",), 1, "/etc/passwd: not executable"),
        (("/etc",), 1, "/etc: is a directory"),
        (("--pid", "4194304"), 1, "--pid 4194304: no such process"),
        (("-o", "/no/dir/profile.yaml", "ls"), 1, "there is no directory /no/dir"),
        (("--btf", "/no.btf", "ls"), 1, "/no.btf: No such file"),
    ],
)
def test_bad_input_is_one_line_that_says_what_to_do(
    arguments: tuple[str, ...], status: int, problem: str
) -> None:
    done = spoc("record", *arguments)

    assert done.returncode == status
    (line,) = done.stderr.splitlines()
    assert problem in line


def test_a_text_file_without_an_interpreter_is_told_by_the_kernel(output: Path) -> None:
    script = output.parent / "script"
    script.write_text("echo hello\n")
    script.chmod(0o755)

    done = spoc("record", "-o", output, "--", script)
    assert done.returncode == 1
    assert done.stderr == f"Unable to run: {script}: Exec format error\n"
    assert not output.exists()


def test_a_full_disk_keeps_the_old_profile(tmp_path: Path) -> None:
    subprocess.run(("mount", "-t", "tmpfs", "-o", "size=8k", "tmpfs", tmp_path), check=True)
    try:
        output = tmp_path / "profile.yaml"
        output.write_text("old")
        (tmp_path / "filler").write_bytes(bytes(4096))

        done = spoc("record", "-o", output, "--", "true")
        assert done.returncode == 1
        assert done.stderr == f"Unable to run: cannot write {output}: No space left on device\n"
        assert output.read_text() == "old"
    finally:
        subprocess.run(("umount", "-l", tmp_path), check=True)


def test_without_root_it_says_so(tmp_path: Path) -> None:
    done = subprocess.run(
        (*SPOC, "record", "-o", "-", "--", "true"),
        check=False,
        capture_output=True,
        text=True,
        preexec_fn=become_nobody,
    )

    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "recording needs root" in line


def read_until(terminal: int, text: str) -> str:
    read = ""
    while text not in read:
        assert select.select([terminal], [], [], 20)[0], read
        try:
            read += os.read(terminal, 4096).decode()
        except OSError:
            break
    return read


@contextmanager
def recording(*arguments: str | Path) -> Iterator[subprocess.Popen[str]]:
    """``spoc record`` of something that is not its child; it has begun."""
    with subprocess.Popen(
        (*SPOC, "record", *map(str, arguments)), stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stderr is not None
            assert "until it ends" in process.stderr.readline()
            yield process
        finally:
            process.kill()


def said_until_the_end(process: subprocess.Popen[str]) -> str:
    """What it says from now on; it must end well and soon."""
    said = process.communicate(timeout=20)[1]
    assert process.returncode == 0, said
    return said


def become_nobody() -> None:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)


def podman(*arguments: str, env: Mapping[str, str]) -> str:
    done = subprocess.run(
        ("podman", *arguments),
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **env},
        timeout=60,
    )
    return done.stdout
