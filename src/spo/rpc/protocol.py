"""What both ends say: first a version, then numbered calls and answers. Pure."""

from dataclasses import dataclass
from typing import Any, Final

import msgspec

from spo.rpc.errors import RpcError
from spo.rpc.frames import frame

EVENT: Final = 0
"""Number of a message that answers no call."""


class MessageError(RpcError):
    """A frame holds something that is not a message of this protocol."""


class RefusedError(RpcError):
    """The server closed the connection and said why: another version, a peer it does not serve."""


class CallFailedError(RpcError):
    """The server could not do what was asked; the connection goes on."""

    def __init__(self, message: str, reason: str = "") -> None:
        super().__init__(message, reason)
        self.message = message
        self.reason = reason

    def __str__(self) -> str:
        return self.message


class Hello(msgspec.Struct, tag="hello", rename="camel", frozen=True):
    """First frame of both ends. Its form never changes, so that two versions can tell each other apart."""

    service: str
    version: int


class Refused(msgspec.Struct, tag="refused", rename="camel", frozen=True):
    """Last frame of a server that does not go on with a peer. Its form never changes."""

    message: str
    version: int
    """The version that the server speaks."""


class Failure(msgspec.Struct, tag="failure", rename="camel", frozen=True):
    """Answer to a call that could not be carried out."""

    message: str
    reason: str = ""
    """A constant word for programs; ``""``: none."""


@dataclass(frozen=True, slots=True)
class Protocol:
    """One service: its name, version, and the messages of each direction.

    ``requests`` and ``answers`` are tagged structs or unions of them; ``answers`` includes
    :class:`Failure` and the events that the server sends on its own.
    """

    service: str
    version: int
    requests: Any
    answers: Any

    def hello(self) -> bytes:
        """The first frame."""
        return frame(_ENCODER.encode(Hello(self.service, self.version)))

    def refusal(self, message: str) -> bytes:
        """The frame that ends a connection."""
        return frame(_ENCODER.encode(Refused(message, self.version)))

    def problem_with(self, hello: Hello) -> str | None:
        """Why this end cannot talk with the sender of ``hello``; ``None``: it can."""
        if hello.service != self.service:
            return f"this is the service {self.service}, not {hello.service[:100]!r}"
        if hello.version != self.version:
            return (
                f"{self.service} speaks protocol version {self.version}, the peer {hello.version}; "
                "both come from one image, so one of the two containers must be restarted"
            )
        return None

    def request_decoder(self) -> msgspec.msgpack.Decoder[Any]:
        """Decoder of ``(number of the call, request)``."""
        return _decoder(self.requests)

    def answer_decoder(self) -> msgspec.msgpack.Decoder[Any]:
        """Decoder of ``(number of the call or EVENT, answer)``."""
        return _decoder(self.answers)


def _decoder(body: Any) -> msgspec.msgpack.Decoder[Any]:
    numbered: Any = tuple.__class_getitem__((int, body))  # a type known at run time only
    return msgspec.msgpack.Decoder(numbered)


def message(number: int, body: msgspec.Struct) -> bytes:
    """The frame of one call, answer or event.

    Raises:
        FrameError: it is longer than a frame may be.
    """
    return frame(_ENCODER.encode((number, body)))


def decode(decoder: msgspec.msgpack.Decoder[Any], content: bytes) -> Any:
    """What a frame says, as the type that ``decoder`` was made for.

    Raises:
        MessageError: ``content`` is anything else.
    """
    try:
        return decoder.decode(content)
    except (msgspec.MsgspecError, RecursionError, ValueError) as error:
        raise MessageError(f"not a message of this protocol: {error}") from error


_ENCODER: Final = msgspec.msgpack.Encoder()
HELLO: Final = msgspec.msgpack.Decoder(Hello)
"""Decoder of what a server reads first."""
GREETING: Final[msgspec.msgpack.Decoder[Any]] = msgspec.msgpack.Decoder(Hello | Refused)
"""Decoder of what a client reads first."""
