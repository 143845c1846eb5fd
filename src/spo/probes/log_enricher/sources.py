"""Where records come from: the kernel, or a log file. One interface for both."""

import time
from collections.abc import Callable
from typing import Final, Protocol

from spo import klog
from spo.audit.parsing import SECCOMP_TYPE, SeccompMessages, parse_line, parse_record, serial_of
from spo.audit.records import Record
from spo.probes.log_enricher.log_file import LogFile
from spo.probes.log_enricher.netlink import AuditSocket, SourceError
from spo.probes.log_enricher.serials import Duplicates, Gaps
from spo.probes.log_enricher.settings import LogEnricherSettings, Source

log = klog.get("log-enricher")

MESSAGES_PER_ROUND: Final = 512
"""So that the daemon and our output have their turn while records pour in."""

Handle = Callable[[Record], object]


class RecordSource(Protocol):
    """Something that gives records when it is ready."""

    @property
    def overruns(self) -> int:
        """Times that records were dropped, in unknown number."""

    @property
    def gaps(self) -> int:
        """Serial numbers that are missing."""

    @property
    def unreadable(self) -> int:
        """What should have been a record, and could not be read."""

    @property
    def serials(self) -> tuple[int, int] | None:
        """First and last serial number of all events; ``None``: not all are seen here."""

    @property
    def is_settled(self) -> bool:
        """No record is overdue."""

    def fileno(self) -> int:
        """For a selector: readable when there may be records."""

    def pump(self, handle: Handle, now_s: float) -> bool:
        """Hand over some records; whether there may be more."""

    def close(self) -> None:
        """Read no more."""


class NetlinkSource:
    """Records straight from the kernel."""

    def __init__(self, audit: AuditSocket, duplicates: Duplicates | None = None) -> None:
        self._audit = audit
        self._is_new = duplicates.is_new if duplicates else None  # the kernel itself says nothing twice
        self._gaps = Gaps()
        self._seccomp = SeccompMessages()
        self.unreadable = 0

    @property
    def overruns(self) -> int:
        """See :class:`RecordSource`."""
        return self._audit.overruns

    @property
    def gaps(self) -> int:
        """See :class:`RecordSource`."""
        self._gaps.settle(time.monotonic())
        return self._gaps.lost

    @property
    def serials(self) -> tuple[int, int] | None:
        """See :class:`RecordSource`."""
        return self._gaps.first, self._gaps.last

    @property
    def is_settled(self) -> bool:
        """See :class:`RecordSource`."""
        self._gaps.settle(time.monotonic())
        return self._gaps.is_settled

    def fileno(self) -> int:
        """See :class:`RecordSource`."""
        return self._audit.fileno()

    def pump(self, handle: Handle, now_s: float) -> bool:
        """See :class:`RecordSource`."""
        gaps, parse_seccomp = self._gaps, self._seccomp.parse
        messages = 0
        for kind, text in self._audit.read(MESSAGES_PER_ROUND):
            messages += 1
            record = parse_seccomp(text) if kind == SECCOMP_TYPE else parse_record(kind, text)
            if record is not None:
                serial: int | None = record.serial
                if self._is_new is None or self._is_new(record):
                    handle(record)
            else:
                self.unreadable += kind == SECCOMP_TYPE
                serial = serial_of(text)
            if serial is not None:
                if serial == gaps.last + 1 and gaps.first:
                    gaps.last = serial
                else:
                    gaps.add(serial, now_s)
        return messages == MESSAGES_PER_ROUND

    def close(self) -> None:
        """See :class:`RecordSource`."""
        self._audit.close()


class FileSource:
    """Records from a log file; also one that several daemons write, so each record is taken once."""

    overruns = 0
    gaps = 0
    serials: tuple[int, int] | None = None
    is_settled = True

    def __init__(self, file: LogFile, duplicates: Duplicates, *, explains: bool = False) -> None:
        self._file = file
        self._is_new = duplicates.is_new
        self._explains = explains

    @property
    def unreadable(self) -> int:
        """See :class:`RecordSource`."""
        return self._file.too_long

    def fileno(self) -> int:
        """See :class:`RecordSource`."""
        return self._file.fileno()

    def pump(self, handle: Handle, now_s: float) -> bool:
        """See :class:`RecordSource`."""
        lines = self._file.read()
        for line in lines:
            record = parse_line(line)
            if self._explains:
                log.debug(f"Got line: {line.decode('utf-8', 'backslashreplace')}")
                if record is None:
                    log.debug("Not an audit line")
            if record is not None and self._is_new(record):
                handle(record)
        return bool(lines)

    def close(self) -> None:
        """See :class:`RecordSource`."""
        self._file.close()


def open_sources(settings: LogEnricherSettings, *, explains: bool = False) -> list[RecordSource]:
    """Those that are wanted, or the best one.

    Args:
        explains: log each line of a file, and whether it is a record.

    Raises:
        SourceError: the kernel is wanted and refuses; files are waited for.
    """
    if settings.sources:
        return _open_all(settings, explains)
    try:
        return [_netlink(settings)]
    except SourceError as error:
        log.warning("Cannot read audit records from the kernel, using a log file", problem=str(error))
    path = settings.audit_log if settings.audit_log.exists() else settings.syslog
    source = Source.AUDIT_LOG if path == settings.audit_log else Source.SYSLOG
    return [_file(settings, source, Duplicates(), explains)]


def _open_all(settings: LogEnricherSettings, explains: bool) -> list[RecordSource]:
    duplicates = Duplicates()
    is_only = len(settings.sources) == 1
    return [
        _netlink(settings, None if is_only else duplicates)
        if source is Source.NETLINK
        else _file(settings, source, duplicates, explains)
        for source in dict.fromkeys(settings.sources)
    ]


def _netlink(settings: LogEnricherSettings, duplicates: Duplicates | None = None) -> NetlinkSource:
    source = NetlinkSource(AuditSocket(settings.network_namespace), duplicates)
    log.info("Reading from netlink audit multicast")
    return source


def _file(
    settings: LogEnricherSettings, source: Source, duplicates: Duplicates, explains: bool
) -> FileSource:
    path = settings.audit_log if source is Source.AUDIT_LOG else settings.syslog
    file = LogFile(path)
    log.info(f"Reading from file {path}")  # from here on, nothing is missed
    return FileSource(file, duplicates, explains=explains)
