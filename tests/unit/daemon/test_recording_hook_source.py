"""Which file an annotation of a pod leads to: one in the directory of recordings, or none."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spo.daemon.recording.hook_source import file_of
from spo.host.hook_files import is_file_name, name_when_taken
from spo.names import HOOK_RECORDINGS_DIR

PREFIX = f"of:{HOOK_RECORDINGS_DIR}/"


def test_the_base_name_counts() -> None:
    assert file_of(f"{PREFIX}rec-c-1700000000.json") == "rec-c-1700000000.json"


@pytest.mark.parametrize(
    "value",
    [
        "",
        PREFIX,
        "rec-c-1.json",
        "of:/etc/shadow",
        f"{PREFIX}../shadow.json",
        f"{PREFIX}/etc/shadow.json",
        f"{PREFIX}a/b.json",
        f"{PREFIX}.hidden.json",
        f"{PREFIX}rec.json\n",
        f"{PREFIX}rec.json;if:/etc/passwd",
        f"{PREFIX}{'x' * 300}.json",
        f"{PREFIX}{PREFIX}rec.json",
    ],
)
def test_nothing_else_leads_to_a_file(value: str) -> None:
    assert file_of(value) is None


@given(
    st.text() | st.text().map(lambda text: PREFIX + text) | st.text().map(lambda text: f"{PREFIX}{text}.json")
)
def test_no_annotation_leads_out_of_the_directory(value: str) -> None:
    name = file_of(value)
    assert name is None or (value == PREFIX + name and "/" not in name and not name.startswith("."))


@given(
    st.from_regex(r"[a-z][a-z0-9.-]{0,240}", fullmatch=True), st.from_regex(r"[0-9a-f]{64}", fullmatch=True)
)
def test_the_name_with_the_id_is_a_name_of_its_own(stem: str, container_id: str) -> None:
    other = name_when_taken(f"{stem}.json", container_id)
    assert is_file_name(other)
    assert other.endswith(f".{container_id}.json")
    assert len(f".{other}.unfinished") <= 255
