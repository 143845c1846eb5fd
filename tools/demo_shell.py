"""Show commands as a user would type them; each result is checked, so a demo fails when the product does."""

import os
import pty
import re
import select
import subprocess
import termios
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

DEADLINE_S = 20.0
PROMPT = "/ # "
CONTROL = re.compile(r"\r|\x1b\[[0-9;]*[A-Za-z]")
"""What the shell tells the terminal, not the user."""


class DemoError(Exception):
    """Something did not happen that should have."""


class DemoShell:
    """Runs and prints commands, and fails when they do not do what they should."""

    def __init__(self, environment: Mapping[str, str], directory: Path | None = None) -> None:
        """Take the environment of the commands, and where they run (None: here)."""
        self._environment = dict(environment)
        self._directory = directory

    def say(self, text: str) -> None:
        """Print a heading."""
        print(f"\n# {text}", flush=True)

    def shell(self, line: str, *, stdin: str = "", fails: bool = False) -> str:
        """Run one line as a user would type it; print it, its input and its output.

        The lines are the constants of this file: this is the one place where a shell is wanted, as the
        documented commands use pipes and substitutions.
        """
        print(f"$ {line}", flush=True)
        if stdin:
            print("".join(f"    {row}\n" for row in stdin.splitlines()), end="", flush=True)
        done = subprocess.run(
            ("bash", "-o", "pipefail", "-c", line),
            input=stdin,
            env=self._environment,
            cwd=self._directory,
            check=False,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        print(done.stdout, end="", flush=True)
        if bool(done.returncode) != fails:
            raise DemoError(f"{line}: exit {done.returncode}")
        return done.stdout

    def terminal(self, line: str, *typed: str) -> str:
        """Run one line at a terminal of its own and type these lines, each when the shell asks for it."""
        print(f"$ {line}", flush=True)
        master, slave = pty.openpty()
        termios.tcsetwinsize(slave, (24, 200))
        process = subprocess.Popen(
            ("bash", "-c", line), env=self._environment, stdin=slave, stdout=slave, stderr=slave
        )
        os.close(slave)
        try:
            shown = self._talk(master, typed)
            if process.wait(timeout=DEADLINE_S):
                raise DemoError(f"{line}: exit {process.returncode}")
        except subprocess.TimeoutExpired as error:
            raise DemoError(str(error)) from error
        finally:
            process.kill()
            process.wait()
            os.close(master)
        return shown

    def _talk(self, terminal: int, typed: Sequence[str]) -> str:
        """Answer each prompt with a line; all that the terminal showed until nobody had it open any more."""
        waiting, shown, answered = list(typed), "", 0
        deadline = time.monotonic() + DEADLINE_S
        while time.monotonic() < deadline:
            if select.select([terminal], [], [], 1.0)[0]:
                try:
                    chunk = CONTROL.sub("", os.read(terminal, 4096).decode(errors="replace"))
                except OSError:
                    return shown  # EIO: the other end is closed
                print(chunk, end="", flush=True)
                shown += chunk
            elif waiting and PROMPT not in shown:
                os.write(terminal, b"\r")  # the first prompt came before we were there
            if waiting and shown.find(PROMPT, answered) >= 0:
                answered = len(shown)
                os.write(terminal, waiting.pop(0).encode() + b"\r")
        raise DemoError(f"the terminal did not come to an end within {DEADLINE_S:.0f} s")

    def expect(self, wanted: str, output: str) -> None:
        """Fail unless the output has the text."""
        if wanted not in output:
            raise DemoError(f"expected {wanted!r} in: {output}")

    def quiet(self, line: str) -> str:
        """Output of a command that is not shown."""
        done = subprocess.run(
            ("bash", "-c", line), env=self._environment, check=False, capture_output=True, text=True
        )
        return done.stdout

    def wait_until(self, line: str, prints: str) -> None:
        """Repeat a command until its output has the text, for a limited time."""
        deadline = time.monotonic() + DEADLINE_S
        while prints not in self.quiet(line):
            if time.monotonic() > deadline:
                raise DemoError(f"not within {DEADLINE_S:.0f} s: {prints!r} in the output of {line}")
            time.sleep(0.05)
