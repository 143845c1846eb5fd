"""Every example of docs/spoc.md does what the page says."""

import difflib
import doctest
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs/spoc.md"
BLOCK = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
EXAMPLE = re.compile(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", re.MULTILINE)
STATUS = re.compile(r"^\[(\d+)\]\n\Z", re.MULTILINE)
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE

pytestmark = pytest.mark.root


def examples() -> list[tuple[str, str, int]]:
    """Command, output, exit status, in the order of the page."""
    found = []
    for block in BLOCK.findall(PAGE.read_text()):
        for command, output in EXAMPLE.findall(block):
            status = STATUS.search(output)
            found.append((command, STATUS.sub("", output), int(status[1]) if status else 0))
    return found


def test_the_examples_of_the_page_run(tmp_path: Path) -> None:
    script = tmp_path / "bin/spoc"
    script.parent.mkdir()
    script.write_text(f'#!/bin/sh\nexec {sys.executable} -m spo.cli "$@"\n')
    script.chmod(0o755)
    directory = tmp_path / "empty"
    directory.mkdir()
    environment = {**os.environ, "PATH": f"{script.parent}:{os.environ['PATH']}", "LC_ALL": "C"}
    environment["PYTHONPATH"] = os.pathsep.join(sys.path)
    ran = 0
    for command, output, status in examples():
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=directory,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        text = done.stdout
        same = doctest.OutputChecker().check_output(output, text, FLAGS)
        difference = "\n".join(difflib.ndiff(output.splitlines(), text.splitlines()))
        assert same, f"$ {command}\n{difference}"
        assert done.returncode == status, f"$ {command}: status {done.returncode}"
        ran += 1
    assert ran > 20


def test_every_command_is_on_the_page() -> None:
    from spo.cli.__main__ import ENTRIES

    page = PAGE.read_text()
    for entry in ENTRIES:
        assert f"`{entry.name}" in page, entry.name
