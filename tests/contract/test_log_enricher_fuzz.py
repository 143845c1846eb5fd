"""A short run of the fuzzer over the parsers of audit records; ``make fuzz`` is a long one."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

FUZZER = Path(__file__).parents[1] / "fuzz" / "audit_lines.py"
RUNS = 30_000


@pytest.mark.skipif(not importlib.util.find_spec("atheris"), reason="needs atheris: tools/setup.py --fuzz")
def test_no_bytes_break_the_parsers(tmp_path: Path) -> None:
    command = (sys.executable, str(FUZZER), f"-runs={RUNS}", "-seed=1", "-max_len=9000")
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    assert f"Done {RUNS} runs" in done.stderr
