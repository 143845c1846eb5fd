"""Rules of the project that no other tool checks."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MAX_LINES = 500
FORBIDDEN_TEXT = {
    "a registry's host or index": re.compile(
        r"(?i)(pypi\.org|pythonhosted|registry\.npmjs|deb\.debian\.org|--index-url)"
    ),
    "a private path": re.compile(r"(?<![\w.])/(home|root|work)/\w"),
}


def tracked(*patterns: str) -> list[Path]:
    """Files of the repository, committed or about to be."""
    command = ("git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *patterns)
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    return [ROOT / name for name in done.stdout.splitlines() if (ROOT / name).is_file()]


def test_modules_stay_small() -> None:
    modules = [
        path for path in tracked("src/*.py", "tools/*.py", "tests/*.py") if "syscall_tables" not in str(path)
    ]
    assert len(modules) > 20
    long = {
        str(path.relative_to(ROOT)): count
        for path in modules
        if (count := len(path.read_text().splitlines())) > MAX_LINES
    }
    assert long == {}


@pytest.mark.parametrize("what", FORBIDDEN_TEXT)
def test_no_file_names(what: str) -> None:
    own = Path(__file__)
    hits = []
    for path in tracked():
        if path == own or "tests/data" in str(path):
            continue
        try:
            text = path.read_text()
        except UnicodeDecodeError:
            continue
        hits += [
            f"{path.relative_to(ROOT)}: {match.group()}" for match in FORBIDDEN_TEXT[what].finditer(text)
        ]
    assert hits == []


def test_requirements_are_locked_with_hashes() -> None:
    for lock in (ROOT / "requirements").glob("*.txt"):
        lines = lock.read_text().splitlines()
        pins = [index for index, line in enumerate(lines) if re.match(r"[a-z0-9]", line)]
        assert pins
        for index in pins:
            assert "==" in lines[index]
            assert "--hash=sha256:" in lines[index + 1], f"{lock.name}: {lines[index]}"
