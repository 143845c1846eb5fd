"""The program as a user starts it."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest


def run(*arguments: str, **env: str) -> "subprocess.CompletedProcess[str]":
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(("SPO_", "KUBE"))}
    return subprocess.run(
        (sys.executable, "-m", "spo", *arguments),
        env={**inherited, **env},
        check=False,
        capture_output=True,
        text=True,
    )


def test_help_lists_the_commands() -> None:
    done = run("--help")
    assert done.returncode == 0
    commands = [line.split()[0] for line in done.stdout.partition("Commands:\n")[2].splitlines()]
    assert commands == [
        "bpf-recorder",
        "daemon",
        "log-enricher",
        "manager",
        "node-cleanup",
        "non-root-enabler",
        "version",
        "webhook",
    ]


def test_unknown_command_is_a_usage_error() -> None:
    done = run("demon")
    assert done.returncode == 2
    assert "No such command 'demon'" in done.stderr


def test_version_as_json() -> None:
    facts = json.loads(run("version", "--json").stdout)
    assert set(facts) == {"version", "pythonVersion", "compiler", "platform"}
    assert facts["platform"].startswith("linux/")


@pytest.mark.parametrize(
    ("arguments", "env", "verbosity"),
    [
        pytest.param(["-V", "1", "d"], {}, 1, id="flag"),
        pytest.param(["d"], {"SPO_VERBOSITY": "1"}, 1, id="environment"),
        pytest.param(["d"], {}, 0, id="default"),
    ],
)
def test_first_lines_of_a_process(arguments: list[str], env: dict[str, str], verbosity: int) -> None:
    lines = run(*arguments, **env).stderr.splitlines()
    assert f'"msg"="Set logging verbosity to {verbosity}"' in lines[0]
    assert '"msg"="Profiling support enabled: false"' in lines[1]
    assert 'setup "msg"="starting component: spod"' in lines[2]
    assert '"version"=' in lines[2]


@pytest.mark.parametrize(
    ("arguments", "env"),
    [
        pytest.param(["--profiling", "--profiling-port=0"], {}, id="flags"),
        pytest.param([], {"SPO_PROFILING": "true", "SPO_PROFILING_PORT": "0"}, id="environment"),
    ],
)
def test_profiles_are_served_by_every_process_that_is_told_to(
    arguments: list[str], env: dict[str, str]
) -> None:
    lines = run(*arguments, "manager", SPO_PROFILING_HOST="127.0.0.1", **env).stderr.splitlines()
    assert '"msg"="Profiling support enabled: true"' in lines[1]
    assert '"msg"="Starting profiling server"  "endpoint"="localhost:' in lines[3]


def test_address_that_is_taken_costs_the_profiles_only() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        env = {"SPO_PROFILING": "true", "SPO_PROFILING_PORT": str(port), "SPO_PROFILING_HOST": "127.0.0.1"}
        done = run("manager", OPERATOR_NAMESPACE="", **env)
    lines = done.stderr.splitlines()
    assert lines[3].startswith("W")
    assert "SPO_PROFILING_PORT sets another port" in lines[3]
    assert '"error"="OPERATOR_NAMESPACE environment variable not set"' in lines[-1]


def test_nothing_of_it_is_loaded_otherwise() -> None:
    program = (
        "import sys, spo.__main__ as program; program._started('x', program._Start(0, None)); "
        "print([name for name in sys.modules if name in ('asyncio', 'socket') or 'profiling' in name])"
    )
    done = subprocess.run((sys.executable, "-c", program), check=True, capture_output=True, text=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize("command", ["daemon", "manager"])
def test_missing_setting_is_one_line_and_exit_1(command: str) -> None:
    done = run(command, OPERATOR_NAMESPACE="")
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith("E")
    assert '"error"="OPERATOR_NAMESPACE environment variable not set"' in last
    assert "Traceback" not in done.stderr


def test_unreachable_configuration_is_one_line_and_exit_1(tmp_path: Path) -> None:
    done = run("manager", OPERATOR_NAMESPACE="ns", KUBECONFIG=str(tmp_path / "absent"))
    assert done.returncode == 1
    assert "cannot load the Kubernetes configuration" in done.stderr.splitlines()[-1]


@pytest.mark.root
def test_enabler_says_what_it_did_and_may_run_again(tmp_path: Path) -> None:
    for _ in range(2):
        done = run("non-root-enabler", SPO_HOST_ROOT=str(tmp_path))
        assert done.returncode == 0
        assert done.stderr.count('"msg"="Done"') == 6
    root = (tmp_path / "var/lib/kubelet/seccomp/operator").stat()
    assert (root.st_mode & 0o777, root.st_uid, root.st_gid) == (0o744, 65535, 65535)


def test_enabler_names_the_step_that_failed(tmp_path: Path) -> None:
    (tmp_path / "var").write_text("a file where a directory must be")
    done = run("non-root-enabler", SPO_HOST_ROOT=str(tmp_path))
    assert done.returncode == 1
    assert f"create {tmp_path}/var/lib/kubelet/seccomp" in done.stderr.splitlines()[-1]
