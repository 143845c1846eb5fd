"""How the API server reaches into running pods: the pod runner's side of ``pods/log``.

``Kubelet`` is the real ``PodAccess``; the API server takes it as the parameter ``pods`` and knows only this
protocol. ``log_request`` turns a query into what ``read_logs`` takes, with a real API server's error texts.
"""

import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from onenode.clock import parse_timestamp
from onenode.kubelet.errors import LogError, StreamError
from onenode.kubelet.logs import LogOptions
from onenode.kubelet.streams import StreamProcess, StreamRequest

__all__ = [
    "InvalidLogOptionError",
    "LogError",
    "LogOptions",
    "LogRequest",
    "PodAccess",
    "StreamError",
    "StreamProcess",
    "StreamRequest",
    "chosen_container",
    "log_request",
    "stream_request",
]


class PodAccess(Protocol):
    """What the API server asks of the pod runner."""

    async def read_logs(
        self, pod: dict[str, Any], container: str, options: LogOptions, *, previous: bool = False
    ) -> AsyncIterator[bytes]:
        """Text of a container's log; the stream ends with the container if it is followed.

        Raises:
            LogError: there is no such log (HTTP 400 BadRequest with this text).
        """

    async def open_stream(self, pod: dict[str, Any], container: str, request: StreamRequest) -> StreamProcess:
        """Start a command in a running container, or attach to it if the request has no command.

        Raises:
            StreamError: the container does not run.
        """


class InvalidLogOptionError(ValueError):
    """An option has a value that is not allowed (HTTP 422, kind ``PodLogOptions``)."""

    def __init__(self, field: str, message: str, reason: str = "FieldValueInvalid") -> None:
        super().__init__(field, message, reason)
        self.field = field
        self.message = message
        self.reason = reason


@dataclass(frozen=True, slots=True)
class LogRequest:
    """Arguments of ``PodAccess.read_logs``."""

    container: str
    options: LogOptions
    previous: bool


def log_request(pod: dict[str, Any], query: Mapping[str, Sequence[str]]) -> LogRequest:
    """Understand the query of ``GET .../pods/<name>/log``.

    Args:
        pod: as stored.
        query: values by parameter.

    Raises:
        LogError: the container does not exist or must be named, or a number is malformed (HTTP 400).
        InvalidLogOptionError: a value is out of range (HTTP 422).
    """
    given = {name: values[0] for name, values in query.items() if values}
    tail = _integer(given, "tailLines")
    if tail is not None and tail < 0:
        problem = f"Invalid value: {tail}: must be greater than or equal to 0"
        raise InvalidLogOptionError("tailLines", problem)
    limit, since = _integer(given, "limitBytes"), _integer(given, "sinceSeconds")
    for field, value in (("limitBytes", limit), ("sinceSeconds", since)):
        if value is not None and value <= 0:
            raise InvalidLogOptionError(field, f"Invalid value: {value}: must be greater than 0")
    if since is not None and "sinceTime" in given:
        problem = "Forbidden: at most one of `sinceTime` or `sinceSeconds` may be specified"
        raise InvalidLogOptionError("[]", problem, "FieldValueForbidden")
    options = LogOptions(
        follow=_flag(given, "follow"),
        tail_lines=tail,
        since_s=_since(since, given.get("sinceTime")),
        timestamps=_flag(given, "timestamps"),
        limit_bytes=limit,
    )
    container = chosen_container(pod, given.get("container", ""))
    return LogRequest(container, options, _flag(given, "previous"))


def chosen_container(pod: dict[str, Any], asked: str) -> str:
    """The container that is meant: the named one, the annotated default, or the only one.

    Raises:
        LogError: there is no such container, or there are several and none is named.
    """
    spec, metadata = pod.get("spec") or {}, pod["metadata"]
    main = [container["name"] for container in spec.get("containers") or ()]
    others = [container["name"] for container in spec.get("initContainers") or ()]
    default = (metadata.get("annotations") or {}).get("kubectl.kubernetes.io/default-container", "")
    name = asked or (default if default in main else "")
    if name:
        if name not in (*main, *others):
            raise LogError(f"container {name} is not valid for pod {metadata['name']}")
        return str(name)
    if len(main) == 1:
        return str(main[0])
    text = f"a container name must be specified for pod {metadata['name']}, choose one of: [{' '.join(main)}]"
    if others:
        text += f" or one of the init containers: [{' '.join(others)}]"
    raise LogError(text)


def _integer(given: Mapping[str, str], name: str) -> int | None:
    text = given.get(name)
    if not text:
        return None
    try:
        return int(text)
    except ValueError as error:
        raise LogError(f'strconv.ParseInt: parsing "{text}": invalid syntax') from error


def _flag(given: Mapping[str, str], name: str) -> bool:
    return given.get(name, "false").lower() not in ("false", "0")


def _since(seconds: int | None, moment: str | None) -> float | None:
    if seconds is not None:
        return time.time() - seconds
    if not moment:
        return None
    parsed = parse_timestamp(moment)
    if parsed is None:
        raise LogError(f'parsing time "{moment}" as "2006-01-02T15:04:05Z07:00": cannot parse')
    return parsed.timestamp()


def stream_request(query: Mapping[str, Sequence[str]]) -> StreamRequest:
    """Understand the query of ``pods/exec`` and ``pods/attach``; attach has no command."""
    given = {name: values[0] for name, values in query.items() if values}
    tty = _flag(given, "tty")
    return StreamRequest(
        command=tuple(query.get("command", ())),
        stdin=_flag(given, "stdin"),
        stdout=_flag(given, "stdout"),
        stderr=_flag(given, "stderr") and not tty,
        tty=tty,
    )
