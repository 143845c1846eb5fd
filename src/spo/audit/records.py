"""The records that matter, as values."""

from typing import NamedTuple


class SeccompRecord(NamedTuple):
    """A call that a seccomp filter logged or refused (kernel type 1326)."""

    time_ms: int
    """Since the Unix epoch."""
    serial: int
    """Of the event: one per record of this type."""
    pid: int
    """Process, in the initial pid namespace."""
    comm: bytes
    """As in the record: quoted, in hexadecimal, or ``(null)``; see :func:`spo.audit.fields.text_of`."""
    executable: bytes
    """Likewise."""
    architecture: int
    """``AUDIT_ARCH_*``: decides what ``number`` means."""
    number: int


class SelinuxRecord(NamedTuple):
    """A decision of SELinux (kernel type 1400)."""

    time_ms: int
    serial: int
    pid: int
    executable: str
    """Path, if the record has one, else the name of the thread."""
    permissions: tuple[str, ...]
    source_context: str
    target_context: str
    target_class: str


class AppArmorRecord(NamedTuple):
    """A decision of AppArmor (kernel type 1400, auditd's types 1500 to 1507)."""

    time_ms: int
    serial: int
    pid: int
    executable: str
    """Name of the thread: AppArmor logs no path of the program."""
    decision: str
    """``DENIED``, ``ALLOWED``, ``AUDIT``, ..."""
    operation: str
    profile: str
    name: str
    """The object, often a path."""
    extra_info: str
    """All other fields, with ``'`` for ``"``."""


Record = SeccompRecord | SelinuxRecord | AppArmorRecord


def timestamp(record: Record) -> str:
    """As in the record: seconds, a dot, milliseconds, a colon, serial."""
    return f"{record.time_ms // 1000}.{record.time_ms % 1000:03d}:{record.serial}"
