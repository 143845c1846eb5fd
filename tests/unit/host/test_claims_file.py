"""The claims of a daemon on its node's disk."""

import stat
from pathlib import Path

import pytest

from spo.host.claims_file import CannotKeepClaimsError, ClaimsFile

KEYS = ("SeccompProfile/ns/a", "SeccompProfile/ns/b")


def test_keys_are_read_as_they_were_written(tmp_path: Path) -> None:
    file = ClaimsFile(tmp_path, "spo")
    assert file.read() == ()
    file.write(reversed(KEYS))
    assert ClaimsFile(tmp_path, "spo").read() == KEYS
    (path,) = tmp_path.iterdir()
    assert path.name.startswith(".")
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    file.write(())
    assert list(tmp_path.iterdir()) == []
    file.write(())


def test_two_operators_keep_their_own(tmp_path: Path) -> None:
    ClaimsFile(tmp_path, "one").write(KEYS[:1])
    ClaimsFile(tmp_path, "two").write(KEYS[1:])
    assert ClaimsFile(tmp_path, "one").read() == KEYS[:1]
    ClaimsFile(tmp_path, "one").write(())
    assert ClaimsFile(tmp_path, "two").read() == KEYS[1:]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"claims": [1]}', b'{"claims": "x"}', b"\xff"])
def test_file_that_makes_no_sense_claims_nothing(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / ".claims-spo.json"
    path.write_bytes(content)
    path.chmod(0o644)
    assert ClaimsFile(tmp_path, "spo").read() == ()


def test_link_to_another_file_is_not_read_and_replaced(tmp_path: Path) -> None:
    (tmp_path / "theirs").write_text('{"claims": ["SeccompProfile/ns/theirs"]}')
    (tmp_path / ".claims-spo.json").symlink_to(tmp_path / "theirs")
    file = ClaimsFile(tmp_path, "spo")
    assert file.read() == ()
    file.write(KEYS)
    assert file.read() == KEYS
    assert "ns/theirs" in (tmp_path / "theirs").read_text()


def test_missing_directory_is_named(tmp_path: Path) -> None:
    file = ClaimsFile(tmp_path / "absent", "spo")
    assert file.read() == ()
    with pytest.raises(CannotKeepClaimsError, match=r"absent/\.claims-spo\.json: No such file"):
        file.write(KEYS)
