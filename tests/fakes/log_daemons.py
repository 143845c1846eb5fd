"""The real auditd and rsyslogd with all their files in a folder, and a process that makes audited calls."""

import os
import secrets
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.fakes.enricher_daemon import wait_until

_CALLER = """
import ctypes, sys
libc = ctypes.CDLL(None)
class Instruction(ctypes.Structure):
    _fields_ = [
        ("code", ctypes.c_ushort), ("jt", ctypes.c_ubyte), ("jf", ctypes.c_ubyte), ("k", ctypes.c_uint)
    ]
class Program(ctypes.Structure):
    _fields_ = [("len", ctypes.c_ushort), ("filter", ctypes.POINTER(Instruction))]
# Logs getppid and allows all else.
code = (Instruction * 4)((0x20, 0, 0, 0), (0x15, 0, 1, 110), (6, 0, 0, 0x7FFC0000), (6, 0, 0, 0x7FFF0000))
libc.prctl(38, 1, 0, 0, 0)
assert libc.prctl(22, 2, ctypes.byref(Program(4, code)), 0, 0) == 0
for line in sys.stdin:
    for _ in range(int(line)):
        libc.getppid()
    print("done", flush=True)
"""
_AUDITD = """\
local_events = yes
write_logs = yes
log_file = {folder}/audit.log
log_group = root
log_format = {log_format}
flush = NONE
max_log_file = 8
num_logs = 5
max_log_file_action = ROTATE
space_left = 3
space_left_action = IGNORE
admin_space_left = 2
admin_space_left_action = IGNORE
disk_full_action = IGNORE
disk_error_action = IGNORE
plugin_dir = {folder}/plugins
"""
_RSYSLOGD = """\
module(load="imklog" PermitNonKernelFacility="on")
*.* action(type="omfile" file="{folder}/syslog" template="{template}")
"""
PRINTK = (Path("/proc/sys/kernel/printk_ratelimit"), Path("/proc/sys/kernel/printk_ratelimit_burst"))


def _wait_for_start(process: subprocess.Popen[bytes], is_ready: Callable[[], bool]) -> None:
    """Ends the process if it does not become ready."""
    try:
        wait_until(is_ready)
    except AssertionError:
        process.kill()
        process.wait()
        raise


def _say_to_auditd(text: str) -> None:
    """Of all user messages, the kernel passes AUDIT_USER_AVC on also where auditing of syscalls is off."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 9) as control:
        content = text.encode() + b"\0"
        control.sendto(struct.pack("=IHHII", 16 + len(content), 1107, 1, 1, 0) + content, (0, 0))


class Caller:
    """A process, in a cgroup that looks like a container's, whose calls of ``getppid`` are audited."""

    def __init__(self, container_id: str) -> None:
        pids = Path("/sys/fs/cgroup/pids")
        self._group = (pids if pids.is_dir() else pids.parent) / f"libpod-{container_id}"
        self._group.mkdir()
        script = f'echo $$ > {self._group}/cgroup.procs && exec {sys.executable} -c "$0"'
        self._process = subprocess.Popen(
            ("sh", "-c", script, _CALLER), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.call(0)

    def call(self, times: int) -> None:
        """Returns when the calls are made."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(times, file=self._process.stdin, flush=True)
        assert self._process.stdout.readline() == "done\n"

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()
        wait_until(lambda: not (self._group / "cgroup.procs").read_text())
        self._group.rmdir()


class Auditd:
    """The audit daemon; the kernel allows one at a time."""

    def __init__(self, folder: Path, log_format: str = "ENRICHED") -> None:
        self.log = folder / "audit.log"
        (folder / "plugins").mkdir(exist_ok=True)
        configuration = folder / "auditd.conf"
        configuration.write_text(_AUDITD.format(folder=folder, log_format=log_format))
        configuration.chmod(0o640)
        # nochange: neither turns auditing of system calls on nor off.
        self._process = subprocess.Popen(("/usr/sbin/auditd", "-n", "-s", "nochange", "-c", str(folder)))
        _wait_for_start(self._process, self._is_writing)

    def _is_writing(self) -> bool:
        # The first records after its start get lost: those of the tests must not be among them.
        _say_to_auditd("auditd-is-writing")
        return self.log.exists() and b"auditd-is-writing" in self.log.read_bytes()

    def rotate(self) -> None:
        """By renaming, as it does when the file is large."""
        old = self.log.stat().st_ino
        self._process.send_signal(signal.SIGUSR1)
        wait_until(lambda: self.log.exists() and self.log.stat().st_ino != old)

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(20)


class Rsyslogd:
    """The syslog daemon, reading the kernel's own messages; ``template`` decides how lines begin."""

    def __init__(self, folder: Path, template: str = "RSYSLOG_TraditionalFileFormat") -> None:
        self.log = folder / "syslog"
        configuration = folder / "rsyslog.conf"
        configuration.write_text(_RSYSLOGD.format(folder=folder, template=template))
        self._process = subprocess.Popen(
            ("/usr/sbin/rsyslogd", "-n", "-f", str(configuration), "-i", str(folder / "rsyslog.pid")),
            stderr=subprocess.DEVNULL,
        )
        # It begins with what nobody has read yet; this is behind it.
        mark = self._mark()
        _wait_for_start(self._process, lambda: self.log.exists() and mark in self.log.read_bytes())

    def rotate(self) -> None:
        """By renaming, as logrotate does it for rsyslog."""
        self.log.rename(self.log.with_suffix(".1"))
        self._process.send_signal(signal.SIGHUP)
        # The new file comes with the next message.
        wait_until(lambda: bool(self._mark()) and self.log.exists())

    def _mark(self) -> bytes:
        mark = f"rsyslogd-{secrets.token_hex(8)}\n"
        Path("/dev/kmsg").write_text(mark)
        return mark.encode()

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(20)


def copytruncate(log: Path) -> None:
    """As logrotate with that option."""
    log.with_suffix(".copy").write_bytes(log.read_bytes())
    os.truncate(log, 0)


@contextmanager
def printk_without_limit() -> Iterator[None]:
    """As the documentation has it for syslog: ``sysctl -w kernel.printk_ratelimit=0`` and ``_burst=0``."""
    before = [path.read_text() for path in PRINTK]
    try:
        for path in PRINTK:
            path.write_text("0")
        yield
    finally:
        for path, value in zip(PRINTK, before, strict=True):
            path.write_text(value)
