"""Lines of log files and messages of the kernel -> records.

Everything is anchored: a record begins where its source begins one, and its fields follow each other as the
kernel writes them. What a workload chooses (names, paths, messages that it logs) is never searched for one.
"""

import re
from collections.abc import Callable
from typing import Final

from spo.audit.fields import fields_of, text_of
from spo.audit.records import AppArmorRecord, Record, SeccompRecord, SelinuxRecord

SECCOMP_TYPE: Final = 1326
"""linux/audit.h: AUDIT_SECCOMP"""
AVC_TYPE: Final = 1400
"""linux/audit.h: AUDIT_AVC, of SELinux and of AppArmor"""
_APPARMOR_TYPES: Final = range(1500, 1508)

_TEXT: Final = rb'"[\x21\x23-\x7e]{0,4095}"|[0-9A-F]{2,8192}|\(null\)'
_STAMP: Final = rb"audit\((\d{1,11})\.(\d{3}):(\d{1,20})\): "
_SECCOMP_BODY: Final = re.compile(
    _STAMP + rb"(?:(?:auid|uid|gid|ses)=[\w-]{1,20} ){0,4}"
    rb'(?:subj=[^"\n]{1,4096}? )?'
    rb"pid=(\d{1,10}) comm=(" + _TEXT + rb") exe=(" + _TEXT + rb") "
    rb"sig=\d{1,3} arch=([0-9a-f]{1,8}) syscall=(-?\d{1,10}) compat="
)
_STAMP_ONLY: Final = re.compile(_STAMP)
_SHORTEST_STAMP: Final = len("audit(1.000:1")
_LONGEST_STAMP: Final = len("audit(12345678901.000:12345678901234567890): ")
_MAX_KNOWN: Final = 4096
_LONG: Final = 1024
"""Bytes; longer ones are not kept: with 4096 of the longest names there would be no memory left."""
_SeccompFields = tuple[int, bytes, bytes, int, int]
_AVC: Final = re.compile(rb"avc:  ?(?:denied|granted)  ?\{ ([a-z0-9_]+(?: [a-z0-9_]+)*) \} for  ?")
_APPARMOR: Final = re.compile(rb'(?=apparmor=")')

# At the start of a line: what auditd writes, and what the kernel's own messages look like in a syslog.
_HOST: Final = rb"[\w.:-]{1,255}"
_TIME: Final = (
    rb"(?:[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d"
    rb"|\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[\d.,]{0,10}(?:Z|[+-]\d\d:?\d\d)?)"
)
_START: Final = re.compile(
    rb"(?:(?:"
    + _TIME
    + rb" "
    + _HOST
    + rb" audi(?:spd|sp-syslog)(?:\[\d{1,10}\])?: )?(?:node="
    + _HOST
    + rb" )?"
    rb"type=(SECCOMP|AVC|APPARMOR(?:_[A-Z]{1,12})?|1326|1400|150[0-7]) msg="
    rb"|(?:<\d{1,3}>)?(?:" + _TIME + rb" " + _HOST + rb" )?(?:kernel: ?)?(?:\[ *\d{1,10}\.\d{1,6}\] )?"
    rb"audit: type=(1326|1400|150[0-7]) )(?=audit\()"
)
_TYPES: Final = {b"SECCOMP": SECCOMP_TYPE, b"AVC": AVC_TYPE}
_APPARMOR_FIELDS: Final = ("apparmor", "operation", "profile", "name", "pid", "comm")


def parse_line(line: bytes) -> Record | None:
    """The record in a line of a log file.

    Args:
        line: of ``audit.log`` (also enriched by auditd, which appends names behind a byte 0x1d) or of a
            syslog, with or without its end. Any bytes.

    Returns:
        ``None`` for every other line, also for a record that is cut off or not as the kernel writes it.
    """
    # Most lines are foreign, and this is the cheapest way to know it.
    if b"=1326" not in line and b"SECCOMP" not in line and b"apparmor=" not in line and b"avc:" not in line:
        return None
    start = _START.match(line)
    if start is None:
        return None
    name = start[1] or start[2]
    kind = _TYPES.get(name) or (int(name) if name.isdigit() else _APPARMOR_TYPES.start)
    return parse_record(kind, line, start.end())


def parse_record(kind: int, text: bytes | bytearray | memoryview, start: int = 0) -> Record | None:
    """The record in a message of the kernel.

    Args:
        kind: its audit type, such as 1326.
        text: has ``audit(<seconds>.<milliseconds>:<serial>): <fields>`` from ``start`` on. Any bytes.
    """
    if kind == SECCOMP_TYPE:
        match = _SECCOMP_BODY.match(text, start)
        if match is None:
            return None
        seconds, millis, serial, pid, comm, exe, architecture, number = match.groups()
        return SeccompRecord(
            int(seconds + millis), int(serial), int(pid), comm, exe, int(architecture, 16), int(number)
        )
    if kind == AVC_TYPE or kind in _APPARMOR_TYPES:
        return _parse_security_module(bytes(text), start)
    return None


class SeccompMessages:
    """Parses the kernel's own messages of type 1326, faster for calls that come again and again.

    All but stamp and instruction pointer is the same when a process makes a call once more.
    """

    def __init__(self) -> None:
        self._known: dict[bytes, _SeccompFields] = {}

    def parse(self, text: bytes) -> SeccompRecord | None:
        """As :func:`parse_record`."""
        end = text.find(b"): ", _SHORTEST_STAMP, _LONGEST_STAMP)
        what = text[end : text.rfind(b" ip=")]
        known = self._known.get(what)
        stamp = _STAMP_ONLY.match(text) if known is not None else None
        if known is not None and stamp is not None:
            seconds, millis, serial = stamp.groups()
            return SeccompRecord(int(seconds + millis), int(serial), *known)
        record = parse_record(SECCOMP_TYPE, text)
        if isinstance(record, SeccompRecord):
            if len(what) > _LONG:
                return record
            if len(self._known) >= _MAX_KNOWN:
                self._known.clear()
            self._known[what] = record[2:]
            return record
        return None


def serial_of(text: bytes) -> int | None:
    """Serial number of the event that a message of the kernel, of any type, belongs to."""
    match = _STAMP_ONLY.match(text)
    return int(match[3]) if match else None


def _parse_security_module(text: bytes, start: int) -> Record | None:
    match = _STAMP_ONLY.match(text, start)
    if match is None:
        return None
    seconds, millis, serial = match.groups()
    # Behind byte 0x1d are auditd's own words.
    body = text[match.end() :].partition(b"\x1d")[0]
    for pattern, parse in _MODULES:
        found = pattern.match(body)
        if found is not None:
            return parse(int(seconds + millis), int(serial), found, body[found.end() :])
    return None


def _selinux(time_ms: int, serial: int, found: re.Match[bytes], rest: bytes) -> Record | None:
    fields = fields_of(rest)
    contexts = [text_of(fields.get(key, b"")) for key in ("scontext", "tcontext", "tclass")]
    pid = _number(fields.get("pid"))
    if pid is None or not all(contexts):
        return None
    executable = text_of(fields.get("exe") or fields.get("comm", b""))
    permissions = tuple(found[1].decode("ascii").split(" "))
    return SelinuxRecord(time_ms, serial, pid, executable, permissions, *contexts)


def _apparmor(time_ms: int, serial: int, _: re.Match[bytes], rest: bytes) -> Record | None:
    fields = fields_of(rest)
    pid = _number(fields.get("pid"))
    if pid is None:
        return None
    decision, operation, profile, name = (text_of(fields.get(key, b"")) for key in _APPARMOR_FIELDS[:4])
    extra = " ".join(
        f"{key}={value.decode('ascii', 'backslashreplace')}"
        for key, value in fields.items()
        if key not in _APPARMOR_FIELDS
    )
    comm = text_of(fields.get("comm", b""))
    return AppArmorRecord(
        time_ms, serial, pid, comm, decision, operation, profile, name, extra.replace('"', "'")
    )


def _number(digits: bytes | None) -> int | None:
    """A process id."""
    return int(digits) if digits is not None and digits.isdigit() and len(digits) <= 10 else None


_Parser = Callable[[int, int, "re.Match[bytes]", bytes], Record | None]
_MODULES: Final[tuple[tuple[re.Pattern[bytes], _Parser], ...]] = ((_AVC, _selinux), (_APPARMOR, _apparmor))
