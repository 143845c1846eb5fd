"""The part of the demo that needs no cluster: record a program, run it under its own profile."""

import os
import sys
import tempfile
from pathlib import Path

from demo_shell import DemoShell


def show_recording() -> None:
    """Record ``ls``, look at the profile, run under it what it knows and what it does not.

    Raises:
        DemoError: something did not go as shown.
    """
    path = f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}"
    with tempfile.TemporaryDirectory() as directory:
        demo = DemoShell({**os.environ, "PATH": path}, Path(directory))
        demo.say("Record a program: every system call of it, and of nothing else")
        demo.expect("syscalls in", demo.shell("spoc record -o ls.yaml -- ls /usr"))
        demo.expect("execve", demo.shell("spoc show ls.yaml"))
        demo.say("Run it under its own profile")
        demo.expect("/var", demo.shell("spoc run -p ls.yaml -- ls -d /var"))
        demo.say("A system call that is not in the profile is refused")
        demo.expect("Operation not permitted", demo.shell("spoc run -p ls.yaml -- mkdir new", fails=True))
