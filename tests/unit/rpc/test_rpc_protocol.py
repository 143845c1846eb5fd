import contextlib

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spo.rpc import bpf_recorder
from spo.rpc.frames import FrameReader
from spo.rpc.protocol import GREETING, HELLO, Failure, Hello, MessageError, Protocol, Refused, decode, message
from tests.fakes.rpc_server import ECHO, Echo

DECODERS = [
    pytest.param(HELLO, id="hello"),
    pytest.param(GREETING, id="greeting"),
    pytest.param(bpf_recorder.PROTOCOL.request_decoder(), id="request"),
    pytest.param(bpf_recorder.PROTOCOL.answer_decoder(), id="answer"),
]


def content_of(framed: bytes) -> bytes:
    reader = FrameReader()
    reader.feed(framed)
    content = reader.next()
    assert content is not None
    return content


@pytest.mark.parametrize("decoder", DECODERS)
@given(data=st.binary(max_size=500))
def test_arbitrary_bytes_are_a_message_or_a_message_error(
    decoder: msgspec.msgpack.Decoder[object], data: bytes
) -> None:
    with contextlib.suppress(MessageError):
        decode(decoder, data)


JSON_LIKE = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.text(max_size=20)
    | st.binary(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)


@pytest.mark.parametrize("decoder", DECODERS)
@given(value=JSON_LIKE, known=st.sampled_from(["start", "keep", "read", "hello", "refused", "failure"]))
def test_wrong_values_are_a_message_or_a_message_error(
    decoder: msgspec.msgpack.Decoder[object], value: object, known: str
) -> None:
    for body in (value, [1, value], [1, {"type": known, "key": value, "recording": value}], {"type": known}):
        with contextlib.suppress(MessageError):
            decode(decoder, msgspec.msgpack.encode(body))


@pytest.mark.parametrize("decoder", DECODERS)
def test_deep_nesting_is_a_message_error(decoder: msgspec.msgpack.Decoder[object]) -> None:
    deep = b"\x91" * 1_000_000 + b"\xc0"
    with pytest.raises(MessageError):
        decode(decoder, deep)
    hidden = b"\x92\x01\x82\xa4type\xa4keep\xa1x" + deep  # in a field that is skipped
    with pytest.raises(MessageError):
        decode(decoder, hidden)


def test_greeting_carries_the_version() -> None:
    assert decode(HELLO, content_of(ECHO.hello())) == Hello("echo", 7)
    assert decode(GREETING, content_of(ECHO.refusal("no"))) == Refused("no", 7)


def test_greeting_of_a_later_version_may_hold_more() -> None:
    later = msgspec.msgpack.encode({"type": "hello", "service": "echo", "version": 8, "features": ["x"]})
    assert decode(HELLO, later) == Hello("echo", 8)


@pytest.mark.parametrize(
    ("hello", "problem"),
    [
        pytest.param(Hello("echo", 7), None, id="same"),
        pytest.param(Hello("echo", 8), "echo speaks protocol version 7, the peer 8; both come", id="version"),
        pytest.param(Hello("enricher", 7), "this is the service echo, not 'enricher'", id="service"),
    ],
)
def test_problem_with_a_greeting(hello: Hello, problem: str | None) -> None:
    found = ECHO.problem_with(hello)
    assert found is None if problem is None else found is not None and found.startswith(problem)


def test_messages_are_numbered() -> None:
    assert decode(ECHO.request_decoder(), content_of(message(3, Echo("x")))) == (3, Echo("x"))
    assert decode(ECHO.answer_decoder(), content_of(message(3, Failure("x", "y")))) == (3, Failure("x", "y"))


@pytest.mark.parametrize(
    "request_",
    [
        {"type": "keep", "key": -1},
        {"type": "start", "recording": ""},
        {"type": "start", "recording": "x" * 513},
        {"type": "burn"},
    ],
)
def test_recorder_refuses_requests_out_of_range(request_: dict[str, object]) -> None:
    with pytest.raises(MessageError, match="not a message of this protocol"):
        decode(bpf_recorder.PROTOCOL.request_decoder(), msgspec.msgpack.encode([1, request_]))


def test_largest_namespace_id_passes() -> None:
    protocol: Protocol = bpf_recorder.PROTOCOL
    keep = bpf_recorder.Keep(2**64 - 1)
    assert decode(protocol.request_decoder(), content_of(message(1, keep))) == (1, keep)
