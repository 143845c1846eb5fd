"""Read profiles from files that anybody may have written, and write them so that nobody sees half of one."""

import os
import stat
import sys
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple, TypeVar

import msgspec

from spo.api.meta import ObjectMeta
from spo.api.resource import Resource
from spo.api.seccomp_profile import SECCOMP_PROFILES, SeccompProfile, SeccompProfileSpec
from spo.cli.documents import DocumentError, decode
from spo.errors import SpoError
from spo.host.atomic_file import opened_directory, replace_file
from spo.names import API_GROUP
from spo.profiles.oci import render
from spo.profiles.validation import InvalidProfileError, validate

T = TypeVar("T")

STDIO: Final = "-"
"""Stands for standard input or output."""

DEFAULT_OUTPUT: Final = "/tmp/profile.yaml"  # noqa: S108 - where users of the tool look for it
OUTPUT_MODE: Final = 0o644
MAX_BYTES: Final = 1024 * 1024
"""No profile within the bounds of a filter is larger."""

MAX_NAME: Final = 250
"""Characters of a name whose file name is not too long."""

OutputType = Literal["seccomp", "raw-seccomp"]
OUTPUT_TYPES: Final[tuple[OutputType, ...]] = ("seccomp", "raw-seccomp")
"""SeccompProfile as YAML; the JSON that container runtimes read."""

_TEMPLATE_KEYS: Final = ("archMap", "includes", "excludes")
"""Of the template of Docker and containers/common, whose rules depend on capabilities and kernels."""
_OF_HOOKS: Final = frozenset({"containerId", "runtimeBase"})
"""What our OCI hook adds; see :class:`spo.recording.hook_file.HookFile`."""
_STREAMS: Final = {"/dev/stdout": 1, "/dev/stderr": 2}


class ProfileFileError(SpoError):
    """A file is no profile; the message names the field."""

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(path, problem)
        self.path = path
        self.problem = problem

    def __str__(self) -> str:
        return f"{self.path}: {self.problem}"


class OutputError(SpoError):
    """The result cannot be written; what was there is still there."""

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(path, problem)
        self.path = path
        self.problem = problem

    def __str__(self) -> str:
        return f"cannot write {self.path}: {self.problem}"


class ProfileFile(NamedTuple):
    """A profile and how its file said it."""

    profile: SeccompProfile
    """Validated; of an OCI file, with the base name of the file as its name."""
    type: OutputType
    notes: tuple[str, ...]
    """What is odd about it, for stderr."""


def read_bytes(path: str) -> bytes:
    """Content of a file; ``-`` is standard input.

    Raises:
        ProfileFileError: it cannot be read, or is larger than ``MAX_BYTES``.
    """
    try:
        if path == STDIO:
            content = sys.stdin.buffer.read(MAX_BYTES + 1)
        else:
            with Path(path).open("rb") as file:
                content = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise ProfileFileError(path, f"cannot be read: {reason}") from error
    if len(content) > MAX_BYTES:
        raise ProfileFileError(path, f"is larger than {MAX_BYTES} bytes, which no profile is")
    return content


def read_profile(path: str) -> ProfileFile:
    """Read a SeccompProfile, or the JSON that container runtimes read; the content decides which.

    Raises:
        ProfileFileError: it is neither, or no filter can be made of it.
    """
    return parse_profile(read_bytes(path), path)


def parse_profile(content: bytes, path: str) -> ProfileFile:
    """Read the content of a file; ``path`` is for messages and the name of an OCI profile.

    Raises:
        ProfileFileError: as for :func:`read_profile`.
    """
    try:
        document = decode(content)
        if not isinstance(document, dict):
            raise DocumentError("is no profile: a mapping is expected")
        if "kind" in document or "apiVersion" in document:
            return _object(document)
        if "defaultAction" in document:
            return _oci(document, _name_of(path))
    except DocumentError as error:
        raise ProfileFileError(path, str(error)) from error
    raise ProfileFileError(
        path, "is no profile: neither kind (SeccompProfile) nor defaultAction (OCI JSON) is there"
    )


def write_profile(
    profile: SeccompProfile | SeccompProfileSpec,
    output: str,
    type_: OutputType = "seccomp",
    *,
    name: str = "profile",
    mode: int = OUTPUT_MODE,
) -> None:
    """Write a profile to a file, or to standard output for ``-``.

    Args:
        profile: a spec alone becomes an object called ``name``.
        output: replaced as a whole, be it a symbolic link; devices and pipes are written to.
        type_: what to write.
        name: for a spec.
        mode: permissions of a file.

    Raises:
        OutputError: there is no place for it; the old content is untouched.
    """
    if isinstance(profile, SeccompProfileSpec):
        profile = SeccompProfile(metadata=ObjectMeta(name=name), spec=profile)
    write_bytes(rendered(profile, type_), output, mode=mode)


def rendered(profile: SeccompProfile, type_: OutputType) -> bytes:
    """The text of a profile's file; the same profile gives the same text."""
    if type_ == "raw-seccomp":
        return msgspec.json.format(render(profile.spec), indent=2) + b"\n"
    return rendered_object(SECCOMP_PROFILES, profile.metadata, profile.spec)


def rendered_object(resource: Resource[Any], meta: ObjectMeta, spec: msgspec.Struct) -> bytes:
    """The YAML of an object, without what only a cluster knows about it."""
    import yaml  # noqa: PLC0415 - not every command needs it, and it is slow to import

    metadata: dict[str, Any] = {"name": meta.name}
    metadata |= {"namespace": meta.namespace} if meta.namespace else {}
    metadata |= {"labels": meta.labels} if meta.labels else {}
    metadata |= {"annotations": meta.annotations} if meta.annotations else {}
    document = {
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "metadata": metadata,
        "spec": msgspec.to_builtins(spec),
    }
    text: str = yaml.dump(document, Dumper=yaml.CSafeDumper, sort_keys=False, allow_unicode=True, width=100)
    return text.encode()


def write_bytes(content: bytes, output: str, *, mode: int = OUTPUT_MODE) -> None:
    """Write to a file in one step, or to standard output for ``-``.

    Raises:
        OutputError: as for :func:`write_profile`.
    """
    try:
        descriptor = _descriptor(output)
        if descriptor is not None:
            sys.stdout.flush()
            with open(descriptor, "wb", buffering=0, closefd=False) as stream:
                _write_all(stream.fileno(), content)
        elif _is_stream(output):
            with open(output, "wb", buffering=0, opener=_open_stream) as stream:
                _write_all(stream.fileno(), content)
        else:
            path = Path(output)
            if not path.name or path.is_dir():
                raise IsADirectoryError(0, "is a directory")
            with opened_directory(path.parent, follow=True) as directory:
                replace_file(path.name, content, directory, mode=mode)
    except BrokenPipeError:
        raise
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise OutputError("standard output" if output == STDIO else output, str(reason)) from error


def object_name(text: str) -> str:
    """The nearest name that the API takes: ``python3.11`` stays, ``[`` becomes ``profile``."""
    kept = "".join(
        char if char.isascii() and (char.isalnum() or char in "-.") else "-" for char in text.lower()
    )
    parts = (part.strip("-") for part in kept[:MAX_NAME].split("."))
    return ".".join(part for part in parts if part) or "profile"


def _name_of(path: str) -> str:
    return object_name(Path(path).name.rpartition(".")[0] or Path(path).name)


def converted_object(document: dict[str, Any], resource: Resource[T]) -> T:
    """An object of one kind, with a name.

    Raises:
        DocumentError: it is of another kind, or a field has another type.
    """
    group, _, _ = str(document.get("apiVersion", "")).partition("/")
    if document.get("kind") != resource.kind:
        wanted = f"{resource.kind} or OCI JSON" if resource is SECCOMP_PROFILES else resource.kind
        raise DocumentError(f"kind: {document.get('kind')!r} is not supported here; give a {wanted}")
    if group != API_GROUP:
        raise DocumentError(f"apiVersion: {document.get('apiVersion')!r} is not of {API_GROUP}")
    for key in ("metadata", "spec"):
        if not isinstance(document.get(key), dict):
            raise DocumentError(f"{key}: a mapping is expected")
    if not document["metadata"].get("name"):
        raise DocumentError("metadata.name: is missing")
    return _converted({**document, "status": None}, resource.type)


def _object(document: dict[str, Any]) -> ProfileFile:
    profile = converted_object(document, SECCOMP_PROFILES)
    notes = _validated(profile.spec, "spec.")
    return ProfileFile(profile, "seccomp", (*_unknown(document["spec"], "spec."), *notes))


def _oci(document: dict[str, Any], name: str) -> ProfileFile:
    rules = document.get("syscalls")
    parts = [("", document)]
    parts += [(f"syscalls[{i}].", one) for i, one in enumerate(rules if isinstance(rules, list) else [])]
    for field, part in parts:
        for key in _TEMPLATE_KEYS:
            if isinstance(part, dict) and part.get(key):
                raise DocumentError(f"{field}{key}: templates of container engines are not supported")
    spec = _converted(document, SeccompProfileSpec)
    notes = _validated(spec, "")
    profile = SeccompProfile(metadata=ObjectMeta(name=name), spec=spec)
    return ProfileFile(profile, "raw-seccomp", (*_unknown(document, ""), *notes))


def _converted(document: dict[str, Any], type_: type[T]) -> T:
    try:
        return msgspec.convert(document, type=type_)
    except msgspec.ValidationError as error:
        problem, _, where = str(error).partition(" - at `$")
        field = where.strip("`.") or "the file"
        raise DocumentError(f"{field}: {problem[:1].lower()}{problem[1:]}".replace("`", "")) from error


def _validated(spec: SeccompProfileSpec, prefix: str) -> tuple[str, ...]:
    try:
        return validate(spec)
    except InvalidProfileError as error:
        raise DocumentError(f"{prefix}{error.field}: {error.problem}") from error


def _unknown(document: dict[str, Any], prefix: str) -> tuple[str, ...]:
    known = {field.encode_name for field in msgspec.structs.fields(SeccompProfileSpec)} | _OF_HOOKS
    return tuple(f"{prefix}{key} is not known and has no effect here" for key in document if key not in known)


def _descriptor(output: str) -> int | None:
    """The open file that a path like /dev/fd/3 names: opening it again would cut what is there."""
    if output == STDIO:
        return 1
    if output.startswith("/dev/fd/") and output[8:].isdecimal():
        return int(output[8:])
    return _STREAMS.get(output)


def _is_stream(output: str) -> bool:
    try:
        mode = os.lstat(output).st_mode
    except OSError:
        return False
    return stat.S_ISCHR(mode) or stat.S_ISFIFO(mode)


def _open_stream(output: str, _flags: int) -> int:
    """Not what has come in the place of the stream meanwhile: in /tmp that could be a link to any file."""
    descriptor = os.open(output, os.O_WRONLY | os.O_NOFOLLOW | os.O_NOCTTY | os.O_CLOEXEC)
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise FileExistsError(0, "has become a file meanwhile")
    return descriptor


def _write_all(descriptor: int, content: bytes) -> None:
    remaining = memoryview(content)
    while remaining:
        remaining = remaining[os.write(descriptor, remaining) :]
