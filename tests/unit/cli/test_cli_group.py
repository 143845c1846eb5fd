import subprocess
import sys
from pathlib import Path

import click
import pytest

from spo.cli.__main__ import ENTRIES, cli, run_cli
from spo.cli.text import printable

CONTEXT = click.Context(cli, info_name="spoc")
NAMES = [entry.name for entry in ENTRIES]


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_help_of_every_command_has_an_example_and_the_line_of_the_group(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_cli([name, "--help"]) == 0

    text = capsys.readouterr().out
    assert "Example" in text
    assert f"spoc {name}" in text
    command = cli.get_command(CONTEXT, name)
    assert command is not None
    assert (command.help or "").splitlines()[0] == cli.entries[name].help


def test_aliases_lead_to_the_same_commands() -> None:
    aliases = {entry.alias: entry.name for entry in ENTRIES if entry.alias}

    assert set(NAMES) - set(aliases.values()) == {"cluster", "completion", "hook", "recording"}
    assert aliases["rm"] == "remove"
    for alias, name in aliases.items():
        assert cli.get_command(CONTEXT, alias) is cli.get_command(CONTEXT, name)


def test_help_imports_nothing_that_takes_time() -> None:
    code = (
        "import sys; from spo.cli.__main__ import run_cli; run_cli(['--help']); "
        "print(sorted({'msgspec', 'yaml', 'ctypes', 'spo.recording', 'asyncio'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(["bogus"], "No such command 'bogus'; see 'spoc --help'", id="command"),
        pytest.param(["merge"], "Missing argument 'PROFILE...'; see 'spoc merge --help'", id="argument"),
        pytest.param(["show", "--no"], "No such option '--no'; see 'spoc show --help'", id="option"),
        pytest.param(
            ["merge", "-o", "", "x"],
            "Invalid value for '-o' / '--output-file': a file name is needed; see",
            id="o",
        ),
        pytest.param(["run"], "Missing argument 'COMMAND...'; see 'spoc run --help'", id="run"),
        pytest.param(["completion", "tcsh"], "'tcsh' is not one of 'bash', 'zsh', 'fish'; see", id="choice"),
    ],
)
def test_usage_errors_are_one_line(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_cli(arguments) == 2

    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("Unable to run: ")
    assert message in captured.err
    assert captured.err.count("\n") == 1


def test_other_errors_are_one_line_that_cannot_control_a_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = tmp_path / "a\x1b[2J\nb.yaml"

    assert run_cli(["show", str(missing)]) == 1

    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "\x1b" not in error
    assert error.endswith("cannot be read: No such file or directory\n")


def test_without_a_command_the_help_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_cli([]) == 2
    assert "Commands:" in capsys.readouterr().err


def test_version_is_json_on_request(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_cli(["version", "--json"]) == 0
    assert '"version": "' in capsys.readouterr().out
    assert run_cli(["v"]) == 0
    assert capsys.readouterr().out.startswith("Version:")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_printed(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_cli(["completion", shell]) == 0
    assert "_SPOC_COMPLETE" in capsys.readouterr().out


def test_printable_keeps_text() -> None:
    assert printable("grüße \udc80\x07") == "grüße \\udc80\\x07"
