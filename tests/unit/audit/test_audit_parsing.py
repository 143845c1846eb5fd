import re
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spo.audit.architecture import ARCHITECTURES, architecture_of
from spo.audit.fields import fields_of, text_of
from spo.audit.parsing import (
    AVC_TYPE,
    SECCOMP_TYPE,
    SeccompMessages,
    parse_line,
    parse_record,
    serial_of,
)
from spo.audit.records import AppArmorRecord, SeccompRecord, SelinuxRecord, timestamp
from spo.profiles.syscall_tables import TABLE_OF_ARCHITECTURE

DATA = Path(__file__).parents[2] / "data" / "audit"
BODY = (
    b"audit(1612299677.115:549067): auid=4294967295 uid=0 gid=0 ses=4294967295 pid=3109464 "
    b'comm="sh" exe="/bin/busybox" sig=0 arch=c000003e syscall=0 compat=0 ip=0x7fce771ae923 code=0x7ffc0000'
)
KERNEL = b"audit: type=1326 " + BODY
SECCOMP = SeccompRecord(1612299677115, 549067, 3109464, b'"sh"', b'"/bin/busybox"', 0xC000003E, 0)
AVC = (
    b"type=AVC msg=audit(1613173578.156:2945): avc:  denied  { read write } for  pid=75593 "
    b'comm="security-profil" name="token" dev="tmpfs" ino=612459 '
    b"scontext=system_u:system_r:container_t:s0:c4,c808 tcontext=system_u:object_r:var_lib_t:s0 "
    b"tclass=lnk_file permissive=0"
)
FOREIGN_LINES = [
    line
    for text in (
        "type=USER_START msg=audit(1613173578.156:2945): pid=1 uid=0 msg='op=PAM exe=\"/usr/sbin/cron\"'",
        "type=CWD msg=audit(1613173578.156:2946): cwd=/",
        "Nov 23 10:00:00 node kubelet[812]: I1123 10:00:00.1 812 reconciler.go:1] started",
        "type=SYSCALL msg=audit(1613173578.156:2945): arch=c000003e syscall=257 success=yes pid=7",
    )
    if (line := text.encode())
]


def kept(name: str) -> list[bytes]:
    return [line for line in (DATA / name).read_bytes().split(b"\n") if line and not line.startswith(b"#")]


def test_kept_lines_are_all_records() -> None:
    records = [parse_line(line) for line in kept("lines.txt")]
    kinds = [type(record) for record in records]
    assert kinds == [SeccompRecord] * 5 + [SelinuxRecord] * 2 + [AppArmorRecord] * 2
    assert records[0] == SECCOMP
    assert records[1] == records[2]
    assert records[3] == records[4]
    assert records[3] == SeccompRecord(1613596317899, 6461, 2039886, b'"ls"', b'"/bin/ls"', 0xC000003E, 3)


def test_kept_netlink_messages_are_all_records() -> None:
    records = [parse_record(SECCOMP_TYPE, text) for text in kept("netlink.txt")]
    assert all(isinstance(record, SeccompRecord) for record in records)
    assert isinstance(records[0], SeccompRecord)
    assert (text_of(records[0].comm), text_of(records[0].executable)) == ("runc:[2:INIT]", "/")


def test_message_may_be_a_view_of_a_buffer() -> None:
    assert parse_record(SECCOMP_TYPE, memoryview(bytearray(BODY))) == SECCOMP


def test_selinux_record_has_all_permissions() -> None:
    assert parse_line(AVC) == SelinuxRecord(
        1613173578156,
        2945,
        75593,
        "security-profil",
        ("read", "write"),
        "system_u:system_r:container_t:s0:c4,c808",
        "system_u:object_r:var_lib_t:s0",
        "lnk_file",
    )


def test_apparmor_record_keeps_what_else_is_said() -> None:
    record = parse_line(kept("lines.txt")[7])
    assert record == AppArmorRecord(
        1625740284100,
        575,
        4710,
        "a b",
        "DENIED",
        "open",
        "docker-default",
        "/etc/shadow",
        "class='file' requested_mask='r' denied_mask='r' fsuid=0 ouid=0",
    )


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(b"audit: type=1016 audit(1.000:1): pid=1 syscall=1", id="another-type"),
        pytest.param(b"type=1326 syscall=1", id="no-stamp"),
        pytest.param(KERNEL[:100], id="cut-off"),
        pytest.param(KERNEL.partition(b" syscall")[0], id="no-syscall"),
        pytest.param(KERNEL.replace(b"pid=3109464", b"pid=99999999999"), id="pid-too-long"),
        pytest.param(AVC.replace(b"tclass", b"class"), id="avc-without-class"),
        pytest.param(AVC.replace(b"pid=75593", b"pid=x"), id="avc-without-pid"),
        pytest.param(b"", id="empty"),
        pytest.param(b"\xff\xfe\x00SECCOMP", id="binary"),
        pytest.param(b"type=SECCOMP msg=" + b"audit(" * 10_000, id="long"),
    ],
)
def test_other_lines_are_none(line: bytes) -> None:
    assert parse_line(line) is None


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(b"Jul  8 10:31:23 host app: " + KERNEL, id="message-of-a-program"),
        pytest.param(b"Jul  8 10:31:23 host app: kernel: " + KERNEL, id="that-says-kernel"),
        pytest.param(b"Jul  8 10:31:23 host app[7]: x type=SECCOMP msg=" + BODY, id="in-the-form-of-auditd"),
        pytest.param(b"type=USER_CMD msg=audit(1.000:1): pid=1 msg='" + KERNEL + b"'", id="user-message"),
        pytest.param(b'type=EXECVE msg=audit(1.000:1): argc=2 a1="' + KERNEL + b'"', id="argument"),
        pytest.param(b" " + KERNEL, id="behind-a-space"),
        pytest.param(b"x\r" + KERNEL, id="behind-a-carriage-return"),
    ],
)
def test_record_in_the_middle_of_a_line_does_not_count(line: bytes) -> None:
    assert parse_line(line) is None


def test_name_of_a_program_cannot_pretend_to_be_another_field() -> None:
    # The kernel writes such a name in hexadecimal: it has spaces and quotes.
    name = b'x" exe="/bin/innocent" sig=0 arch=c000003e syscall=1 '
    record = parse_line(KERNEL.replace(b'comm="sh"', b"comm=" + name.hex().upper().encode()))
    assert isinstance(record, SeccompRecord)
    assert (record.executable, record.number) == (b'"/bin/busybox"', 0)
    assert text_of(record.comm) == name.decode()
    # A line that has it in clear is none of the kernel's.
    assert parse_line(KERNEL.replace(b'comm="sh"', b'comm="' + name + b'"')) is None


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param(b'"/bin/sh"', "/bin/sh", id="quoted"),
        pytest.param(b"2F612062", "/a b", id="hexadecimal"),
        pytest.param(b"1B5B33316D0A", "\x1b[31m\n", id="terminal-command"),
        pytest.param(b"C3A9FF", "é\\xff", id="not-utf-8"),
        pytest.param(b"(null)", "", id="null"),
        pytest.param(b"", "", id="empty"),
        pytest.param(b'"', "", id="lone-quote"),
        pytest.param(b"2F6", "2F6", id="odd-digits"),
    ],
)
def test_text_of_is_what_the_kernel_meant(value: bytes, expected: str) -> None:
    assert text_of(value) == expected


def test_of_two_fields_with_one_name_the_first_counts() -> None:
    assert fields_of(b' pid=1 comm="a" pid=2') == {"pid": b"1", "comm": b'"a"'}


@pytest.mark.parametrize(
    ("architecture", "number", "expected"),
    [
        (0xC000003E, 0, "SCMP_ARCH_X86_64"),
        (0xC000003E, 0x40000000, "SCMP_ARCH_X32"),
        (0x40000003, 5, "SCMP_ARCH_X86"),
        (0xC00000B7, 5, "SCMP_ARCH_AARCH64"),
        (0x12345678, 5, None),
    ],
)
def test_record_decides_the_table(architecture: int, number: int, expected: str | None) -> None:
    assert architecture_of(architecture, number) == expected


def test_every_architecture_has_a_table() -> None:
    assert set(ARCHITECTURES.values()) | {"SCMP_ARCH_X32"} == set(TABLE_OF_ARCHITECTURE)


def test_timestamp_is_as_in_the_record() -> None:
    assert timestamp(SECCOMP) == "1612299677.115:549067"
    assert timestamp(SECCOMP._replace(time_ms=1000007)) == "1000.007:549067"


def test_serial_of_any_message() -> None:
    assert serial_of(b"audit(1.000:77): argc=2") == 77
    assert serial_of(b"garbage") is None


@given(st.binary(max_size=2000))
def test_any_bytes_are_a_record_or_none(line: bytes) -> None:
    parse_line(line)
    parse_record(SECCOMP_TYPE, line)
    parse_record(AVC_TYPE, line)
    text_of(line[:300])


@given(
    st.sampled_from([KERNEL, AVC, *kept("lines.txt")]),
    st.lists(st.tuples(st.integers(0, 400), st.binary(max_size=12)), max_size=4),
)
def test_damaged_records_never_raise(line: bytes, damages: list[tuple[int, bytes]]) -> None:
    for place, content in damages:
        line = line[:place] + content + line[place + len(content) :]
    record = parse_line(line)
    if record is not None:
        assert record.pid >= 0
        assert re.fullmatch(r"\d+\.\d{3}:\d+", timestamp(record))


@given(st.binary(min_size=1, max_size=15).filter(lambda name: b"\0" not in name))
def test_every_name_of_a_program_comes_back(name: bytes) -> None:
    plain = all(0x21 <= byte <= 0x7E and byte != 0x22 for byte in name)
    written = b'"' + name + b'"' if plain else name.hex().upper().encode()
    record = parse_line(KERNEL.replace(b'comm="sh"', b"comm=" + written))
    assert isinstance(record, SeccompRecord)
    assert text_of(record.comm) == name.decode("utf-8", "backslashreplace")
    assert record.number == 0


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(b"type=SECCOMP msg=audit(1.000:1): subj=" + b"a " * 500_000, id="context"),
        pytest.param(b"audit: type=1326 audit(1.000:1): pid=1 comm=" + b"AA" * 500_000, id="name"),
        pytest.param(b"type=AVC msg=audit(1.000:1): avc:  denied  { " + b"a " * 500_000, id="permissions"),
        pytest.param(b"type=AVC msg=audit(1.000:1): apparmor=" + b'"' * 1_000_000, id="quotes"),
        pytest.param(b"<1>" * 300_000 + b"SECCOMP", id="start"),
    ],
)
def test_long_lines_take_time_in_proportion(line: bytes) -> None:
    begin = time.process_time()
    assert parse_line(line) is None
    assert time.process_time() - begin < 1.0


def test_speed_with_foreign_lines() -> None:
    lines = ([KERNEL] + [FOREIGN_LINES[index % 4] for index in range(4)]) * 4000
    begin = time.process_time()
    found = sum(parse_line(line) is not None for line in lines)
    spent_s = time.process_time() - begin
    assert found == 4000
    assert len(lines) / spent_s > 100_000


@given(
    st.lists(st.sampled_from(kept("netlink.txt")), max_size=6), st.binary(max_size=60), st.integers(0, 200)
)
def test_repeated_messages_are_parsed_as_new_ones(texts: list[bytes], garbage: bytes, place: int) -> None:
    parser = SeccompMessages()
    for text in [*texts, *texts, *(text[:place] + garbage + text[place:] for text in texts), garbage]:
        assert parser.parse(text) == parse_record(SECCOMP_TYPE, text)


def test_memory_of_messages_is_bounded() -> None:
    parser = SeccompMessages()
    for pid in range(10_000):
        assert parser.parse(BODY.replace(b"3109464", b"%d" % pid)) == SECCOMP._replace(pid=pid)
    assert len(parser._known) <= 4096
