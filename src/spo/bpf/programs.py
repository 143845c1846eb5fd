"""The loaded BPF object, or what is pinned of one: file descriptors of its maps and links."""

import ctypes
import os
import zlib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Final, Self

from spo.bpf.errors import (
    ArchitectureError,
    BpfCallError,
    ObjectMissingError,
    PermissionMissingError,
    PinsError,
)
from spo.bpf.libbpf import Libbpf, OpenOptions, path_argument

MAPS: Final = ("recordings", "processes", "identifications", ".bss")
SYS_ENTER: Final = "sys_enter"
SYS_ENTER_RAW: Final = "sys_enter_raw"
_PROCESS_PROGRAMS: Final = ("process_exec", "process_fork", "process_exit")
_LINKS: Final = (SYS_ENTER, *_PROCESS_PROGRAMS)
_MACHINES: Final = {"x86_64": "x86_64", "aarch64": "aarch64", "arm64": "aarch64"}
_OBJECTS: Final = Path(__file__).parent / "objects"


def object_path(machine: str | None = None) -> Path:
    """The compiled object for this machine, or for the one named as by ``uname -m``.

    Raises:
        ArchitectureError: there is none for such a machine.
        ObjectMissingError: it was not built.
    """
    name = machine or os.uname().machine
    if name not in _MACHINES:
        raise ArchitectureError(name)
    path = _OBJECTS / f"recorder.{_MACHINES[name]}.o"
    if not path.is_file():
        raise ObjectMissingError(path)
    return path


@cache
def layout_hash() -> str:
    """12 hex digits that change with the object: pins of another version are never adopted."""
    content = object_path().read_bytes()
    # Not hashlib: OpenSSL would be a sixth of the memory of bpf-recorder, and nobody forges his own pins.
    return f"{zlib.crc32(content):08x}{len(content) & 0xFFFF:04x}"


class LoadedPrograms:
    """An object that this process has loaded; it ends with the process unless it is pinned."""

    def __init__(self, library: Libbpf, pointer: int, sys_enter: str) -> None:
        self._library = library
        self._object = pointer
        self._sys_enter = sys_enter
        self._links: dict[str, int] = {}
        self.map_fds: Final = {name: self._map_fd(name) for name in MAPS}

    @classmethod
    def load(
        cls, library: Libbpf, *, btf: Path | None, sys_enter: str, sizes: Mapping[str, int] | None = None
    ) -> Self:
        """Open and load the object.

        Args:
            library: the bound functions.
            btf: types of the kernel, when it does not tell them itself.
            sys_enter: which of the two programs to use, ``SYS_ENTER`` or ``SYS_ENTER_RAW``.
            sizes: entries (for the ring buffer: bytes) of maps that shall not have their usual size.

        Raises:
            PermissionMissingError: no root.
            BpfCallError: the kernel refuses the programs.
        """
        options = OpenOptions(sz=ctypes.sizeof(OpenOptions))
        if btf is not None:
            options.btf_custom_path = path_argument(btf)
        pointer: int = library.call(
            "bpf_object__open_file",
            "open the BPF object",
            path_argument(object_path()),
            ctypes.byref(options),
        )
        try:
            for name in {SYS_ENTER, SYS_ENTER_RAW} - {sys_enter}:
                library.call(
                    "bpf_program__set_autoload", f"leave out {name}", _program(library, pointer, name), False
                )
            for name, size in (sizes or {}).items():
                library.call("bpf_map__set_max_entries", f"size {name}", _map(library, pointer, name), size)
            library.call("bpf_object__load", "load the BPF object", pointer)
            return cls(library, pointer, sys_enter)
        except BaseException:
            library.free("bpf_object__close", pointer)
            raise

    def attach(self) -> None:
        """Start all programs; sys_enter last, so that no call is seen before its process is known.

        Raises:
            BpfCallError: the kernel refused one; none stays attached.
        """
        try:
            for name in (*_PROCESS_PROGRAMS, self._sys_enter):
                program = _program(self._library, self._object, name)
                self._links[name] = self._library.call("bpf_program__attach", f"attach {name}", program)
        except BaseException:
            self.detach()
            raise

    def detach(self) -> None:
        """Stop all programs, unless their links are pinned."""
        for link in self._links.values():
            self._library.free("bpf_link__destroy", link)
        self._links.clear()

    def pin(self, directory: Path) -> None:
        """Keep maps and links in ``directory`` of a bpf file system beyond the end of this process.

        Raises:
            PinsError: that is not possible there; nothing stays.
        """
        fds = {_pin_name(name): fd for name, fd in self.map_fds.items()}
        for name, link in self._links.items():
            fds[_pin_name(SYS_ENTER if name == self._sys_enter else name)] = self._library.call(
                "bpf_link__fd", "find the descriptor of a link", link
            )
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            for name, fd in fds.items():
                self._library.call("bpf_obj_pin", f"pin {name}", fd, path_argument(directory / name))
        except OSError as error:
            raise PinsError(directory, f"cannot be made: {error.strerror}") from error
        except (BpfCallError, PermissionMissingError) as error:
            unpin(directory)
            raise PinsError(
                directory, f"{error}; is it below a bpf file system? (mount -t bpf bpf /sys/fs/bpf)"
            ) from error

    def close(self) -> None:
        """Give everything back that is not pinned."""
        self.detach()
        if self._object:
            self._library.free("bpf_object__close", self._object)
            self._object = 0

    def _map_fd(self, name: str) -> int:
        pointer = _map(self._library, self._object, name)
        fd: int = self._library.call("bpf_map__fd", f"find the descriptor of {name}", pointer)
        return fd


class PinnedPrograms:
    """What another process has loaded, attached and pinned."""

    def __init__(self, library: Libbpf, directory: Path) -> None:
        """Open every pin.

        Raises:
            PinsError: one is missing, or may not be opened.
        """
        self._directory = directory
        self._link_fds: list[int] = []
        self.map_fds: Final[dict[str, int]] = {}
        try:
            for name in MAPS:
                self.map_fds[name] = _open_pin(library, directory / _pin_name(name))
            for name in _LINKS:
                self._link_fds.append(_open_pin(library, directory / _pin_name(name)))
        except (BpfCallError, PermissionMissingError) as error:
            self.close()
            raise PinsError(directory, f"cannot be taken over: {error}") from error

    def attach(self) -> None:
        """Programs of pins are attached.

        Raises:
            PinsError: they were detached; only a newly loaded object can be attached.
        """
        if not self._link_fds:
            raise PinsError(self._directory, "was detached; load the object again")

    def detach(self) -> None:
        """Let go of the links; they end when they are not pinned any more."""
        while self._link_fds:
            os.close(self._link_fds.pop())

    def pin(self, directory: Path) -> None:
        """Nothing to do: it is pinned.

        Raises:
            PinsError: elsewhere.
        """
        if directory != self._directory:
            raise PinsError(directory, f"the recorder is pinned at {self._directory}")

    def close(self) -> None:
        """Close the descriptors; the pins stay."""
        self.detach()
        while self.map_fds:
            os.close(self.map_fds.popitem()[1])


def unpin(directory: Path) -> None:
    """Remove the pins of one directory and the directory; without pins, nothing.

    Raises:
        PinsError: there is something that may not be removed.
    """
    try:
        if not directory.is_dir():
            return
        for path in directory.iterdir():
            path.unlink()
        directory.rmdir()
    except OSError as error:
        raise PinsError(directory, f"cannot be removed: {error.strerror}") from error


def _program(library: Libbpf, pointer: int, name: str) -> int:
    program: int = library.call(
        "bpf_object__find_program_by_name", f"find program {name}", pointer, name.encode()
    )
    return program


def _map(library: Libbpf, pointer: int, name: str) -> int:
    found: int = library.call("bpf_object__find_map_by_name", f"find map {name}", pointer, name.encode())
    return found


def _pin_name(name: str) -> str:
    # bpffs refuses names with a dot.
    return name.replace(".bss", "state")


def _open_pin(library: Libbpf, path: Path) -> int:
    fd: int = library.call("bpf_obj_get", f"open {path.name}", path_argument(path))
    return fd
