"""What a user reads when this machine cannot record."""

from pathlib import Path

import pytest

from spo.bpf import libbpf, programs
from spo.bpf.errors import ArchitectureError, LibbpfMissingError, ObjectMissingError


def test_a_missing_library_is_named_with_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libbpf, "SONAME", "libbpf.so.999")
    load = libbpf.Libbpf.load.__func__.__wrapped__

    with pytest.raises(LibbpfMissingError) as caught:
        load(libbpf.Libbpf)
    assert str(caught.value) == "libbpf.so.999 not found; install libbpf (Debian: libbpf1)"


def test_other_machines_are_told_which_ones_are_supported() -> None:
    with pytest.raises(ArchitectureError) as caught:
        programs.object_path("riscv64")
    assert str(caught.value).startswith("architecture riscv64 is currently unsupported")


def test_an_object_that_was_not_built_says_how_to_build_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(programs, "_OBJECTS", tmp_path)

    with pytest.raises(ObjectMissingError) as caught:
        programs.object_path("x86_64")
    assert "recorder.x86_64.o is absent; build it with `make bpf`" in str(caught.value)
