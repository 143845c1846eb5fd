"""The part of libbpf that the recorder needs, through ctypes."""

import ctypes
import errno
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, Final, Self

from spo.bpf.errors import BpfCallError, LibbpfMissingError, PermissionMissingError

SONAME: Final = "libbpf.so.1"
_MESSAGE_BYTES: Final = 512
_MESSAGES_KEPT: Final = 8
_STEPS_MAX: Final = 1 << 17

_PrintFunction = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)
SampleFunction = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)

_POINTER: Final = ctypes.c_void_p
_INT: Final = ctypes.c_int
_TEXT: Final = ctypes.c_char_p
# name -> (result, arguments), as in bpf/libbpf.h and bpf/bpf.h
_SIGNATURES: Final[dict[str, tuple[Any, tuple[Any, ...]]]] = {
    "libbpf_set_print": (_POINTER, (_POINTER,)),
    "bpf_object__open_file": (_POINTER, (_TEXT, _POINTER)),
    "bpf_object__load": (_INT, (_POINTER,)),
    "bpf_object__close": (None, (_POINTER,)),
    "bpf_object__find_program_by_name": (_POINTER, (_POINTER, _TEXT)),
    "bpf_object__find_map_by_name": (_POINTER, (_POINTER, _TEXT)),
    "bpf_program__set_autoload": (_INT, (_POINTER, ctypes.c_bool)),
    "bpf_program__attach": (_POINTER, (_POINTER,)),
    "bpf_link__fd": (_INT, (_POINTER,)),
    "bpf_link__destroy": (_INT, (_POINTER,)),
    "bpf_map__set_max_entries": (_INT, (_POINTER, ctypes.c_uint32)),
    "bpf_map__fd": (_INT, (_POINTER,)),
    "bpf_obj_pin": (_INT, (_INT, _TEXT)),
    "bpf_obj_get": (_INT, (_TEXT,)),
    "bpf_map_lookup_elem": (_INT, (_INT, _POINTER, _POINTER)),
    "bpf_map_update_elem": (_INT, (_INT, _POINTER, _POINTER, ctypes.c_uint64)),
    "bpf_map_delete_elem": (_INT, (_INT, _POINTER)),
    "bpf_map_get_next_key": (_INT, (_INT, _POINTER, _POINTER)),
    "ring_buffer__new": (_POINTER, (_INT, SampleFunction, _POINTER, _POINTER)),
    "ring_buffer__free": (None, (_POINTER,)),
    "ring_buffer__poll": (_INT, (_POINTER, _INT)),
    "ring_buffer__epoll_fd": (_INT, (_POINTER,)),
}


class OpenOptions(ctypes.Structure):
    """The start of ``struct bpf_object_open_opts``; libbpf takes what is absent as zero."""

    _fields_ = (
        ("sz", ctypes.c_size_t),
        ("object_name", _TEXT),
        ("relaxed_maps", ctypes.c_bool),
        ("pin_root_path", _TEXT),
        ("reserved", ctypes.c_uint64),
        ("kconfig", _TEXT),
        ("btf_custom_path", _TEXT),
    )


class Libbpf:
    """The functions of the library; failures become :class:`BpfCallError` with the last words of libbpf."""

    def __init__(self, library: ctypes.CDLL) -> None:
        self._functions: dict[str, Callable[..., Any]] = {}
        for name, (result, arguments) in _SIGNATURES.items():
            function = library[name]
            function.restype = result
            function.argtypes = arguments
            self._functions[name] = function
        self._messages: list[str] = []
        self._vsnprintf = ctypes.CDLL(None).vsnprintf
        self._vsnprintf.argtypes = (_POINTER, ctypes.c_size_t, _TEXT, _POINTER)
        # Kept for as long as the library may call it.
        self._print = _PrintFunction(self._collect)
        self._functions["libbpf_set_print"](ctypes.cast(self._print, _POINTER))

    @classmethod
    @cache
    def load(cls) -> Self:
        """Find the installed library.

        Raises:
            LibbpfMissingError: there is none.
        """
        try:
            return cls(ctypes.CDLL(SONAME, use_errno=True))
        except OSError as error:
            raise LibbpfMissingError(SONAME) from error

    def call(self, name: str, operation: str, *arguments: Any) -> Any:
        """Call a function that returns a pointer or a number >= 0 when it succeeds.

        Raises:
            PermissionMissingError: the kernel wants more privileges.
            BpfCallError: everything else; ``operation`` says what was tried.
        """
        self._messages.clear()
        ctypes.set_errno(0)
        result = self._functions[name](*arguments)
        pointer = _SIGNATURES[name][0] is _POINTER
        if (pointer and result) or (not pointer and result >= 0):
            return result
        number = ctypes.get_errno() or (0 if pointer else -result)
        if number == errno.EPERM:
            raise PermissionMissingError(operation)
        raise BpfCallError(operation, os.strerror(number), "; ".join(self._messages))

    def free(self, name: str, pointer: int) -> None:
        """Call a function that gives something back and cannot fail."""
        self._functions[name](pointer)

    def lookup(self, map_fd: int, key: Any, value: Any) -> bool:
        """Copy the value of a key out of a map; False when the key is absent."""
        return self._keyed("bpf_map_lookup_elem", map_fd, ctypes.byref(key), ctypes.byref(value))

    def delete(self, map_fd: int, key: Any) -> bool:
        """Remove a key; False when it is absent."""
        return self._keyed("bpf_map_delete_elem", map_fd, ctypes.byref(key))

    def keys(self, map_fd: int, kind: type[Any]) -> list[int]:
        """All keys of a hash map whose keys are integers of the ctypes type ``kind``; each once.

        A key that is removed meanwhile makes the kernel begin again: no key is given twice, and the
        number of steps has a bound.
        """
        found: dict[int, None] = {}
        previous, following = None, kind()
        for _ in range(_STEPS_MAX):
            if not self._keyed("bpf_map_get_next_key", map_fd, previous, ctypes.byref(following)):
                break
            found[following.value] = None
            previous = ctypes.byref(kind(following.value))
        return list(found)

    def update(self, map_fd: int, key: Any, value: Any) -> None:
        """Set the value of a key.

        Raises:
            BpfCallError: the map is full, or the kernel refused.
        """
        self.call("bpf_map_update_elem", "write a BPF map", map_fd, ctypes.byref(key), ctypes.byref(value), 0)

    def _keyed(self, name: str, *arguments: Any) -> bool:
        try:
            self.call(name, "read a BPF map", *arguments)
        except BpfCallError as error:
            if error.reason == os.strerror(errno.ENOENT):
                return False
            raise
        return True

    def _collect(self, _level: int, template: bytes, arguments: int) -> int:
        """Keep the last warnings of the library instead of letting it write to stderr."""
        if _level > 0:
            return 0
        buffer = ctypes.create_string_buffer(_MESSAGE_BYTES)
        self._vsnprintf(buffer, _MESSAGE_BYTES, template, arguments)
        text = buffer.value.decode("utf-8", "replace").strip().removeprefix("libbpf: ")
        self._messages = [*self._messages[1 - _MESSAGES_KEPT :], text.split("\n", 1)[0]]
        return 0


def path_argument(path: Path) -> bytes:
    """A path as the library takes it."""
    return os.fsencode(path)
