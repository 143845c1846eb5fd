"""Coverage-guided fuzzing of the parsers of audit records: no bytes make them raise, hang or disagree.

``python tests/fuzz/audit_lines.py [-runs=N] [-seed=N] [-max_total_time=S]``; any other option of libFuzzer
works too. Needs atheris (``tools/setup.py --fuzz``).
"""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import atheris

with atheris.instrument_imports(include=["spo.audit"]):
    from spo.audit.architecture import architecture_of
    from spo.audit.fields import fields_of, text_of
    from spo.audit.parsing import SECCOMP_TYPE, SeccompMessages, parse_line, parse_record, serial_of
    from spo.audit.records import AppArmorRecord, SeccompRecord, timestamp

DATA = Path(__file__).parents[1] / "data" / "audit"
MESSAGES = SeccompMessages()


def one_input(data: bytes) -> None:
    """Whatever the bytes are: a record or none."""
    for line in data.split(b"\n"):
        record = parse_line(line)
        if record is not None:
            timestamp(record)
        if isinstance(record, SeccompRecord):
            text_of(record.comm).encode()
            text_of(record.executable).encode()
            architecture_of(record.architecture, record.number)
        elif isinstance(record, AppArmorRecord) and '"' in record.extra_info:
            raise AssertionError(record)
        fields_of(line)
        text_of(line)
        serial_of(line)
        for kind in (1400, 1503):
            parse_record(kind, line)
        # What is remembered of one message must not change what the next one means.
        if MESSAGES.parse(line) != parse_record(SECCOMP_TYPE, line):
            raise AssertionError(line)


def seeds() -> list[bytes]:
    """Real lines and messages."""
    return [
        line
        for name in ("lines.txt", "netlink.txt")
        for line in (DATA / name).read_bytes().split(b"\n")
        if line and not line.startswith(b"#")
    ]


def main() -> None:
    """Fuzz until told to stop, beginning with the real lines."""
    with TemporaryDirectory() as folder:
        for number, seed in enumerate(seeds()):
            (Path(folder) / str(number)).write_bytes(seed)
        atheris.Setup([*sys.argv, folder], one_input)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
