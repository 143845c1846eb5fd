"""Certificates made by a process of their own, which takes the 11 MB of code for it along when it ends.

The order goes in by standard input and the pair comes out by standard output: keys appear in no argument,
no variable and no file. ``python -m spo.manager.certificate_process`` is the other side.
"""

import asyncio
import datetime
import sys
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec

from spo.errors import SpoError
from spo.manager.certificates import Issued, new_authority, new_server_certificate

PATIENCE_S: Final = 30.0
_REFUSED: Final = 2
_MAX_TEXT: Final = 300


class CertificateOrder(msgspec.Struct, frozen=True, kw_only=True):
    """What to make: a certificate for ``names``, or a CA if there are none."""

    now: datetime.datetime
    names: tuple[str, ...] = ()
    """DNS names of the server."""
    authority: bytes = b""
    """The CA that issues it, PEM."""
    authority_key: bytes = b""
    """Its key, PEM."""


Issue = Callable[[CertificateOrder], Awaitable[Issued]]
"""Makes a certificate; raises ValueError if the CA cannot be used."""


class CertificateProcessError(SpoError):
    """The process that makes certificates has failed."""

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem

    def __str__(self) -> str:
        return f"cannot make a certificate: {self.problem}"


def made(order: CertificateOrder) -> Issued:
    """Make it here and now.

    Raises:
        ValueError: the CA cannot be used.
    """
    if not order.names:
        return new_authority(order.now)
    return new_server_certificate(order.authority, order.authority_key, order.names, order.now)


async def issue_here(order: CertificateOrder) -> Issued:
    """An :data:`Issue` that works in this process."""
    return made(order)


async def issue_in_child(order: CertificateOrder) -> Issued:
    """An :data:`Issue` that works in a process of its own.

    Raises:
        ValueError: the CA cannot be used.
        CertificateProcessError: the process did not do its work.
    """
    # As we were started ourselves: no site packages of the user, nothing from the working directory.
    command = (sys.executable, "-s", "-P", "-m", "spo.manager.certificate_process")
    pipe = asyncio.subprocess.PIPE
    child = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, stderr=pipe)
    try:
        async with asyncio.timeout(PATIENCE_S):
            output, problem = await child.communicate(msgspec.json.encode(order))
    except TimeoutError as error:
        raise CertificateProcessError(f"nothing within {PATIENCE_S:g} s") from error
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()
    text = problem.decode("utf-8", "replace").strip()[-_MAX_TEXT:]
    if child.returncode == _REFUSED:
        raise ValueError(text)
    try:
        return msgspec.json.decode(output, type=Issued)
    except msgspec.DecodeError as error:
        raise CertificateProcessError(f"exit status {child.returncode}: {text}") from error


def main() -> None:
    """Read an order, write what was made; exit status 2 and a text if the CA cannot be used."""
    order = msgspec.json.decode(sys.stdin.buffer.read(), type=CertificateOrder)
    try:
        issued = made(order)
    except ValueError as error:
        sys.stderr.write(str(error))
        sys.exit(_REFUSED)
    sys.stdout.buffer.write(msgspec.json.encode(issued))


if __name__ == "__main__":
    main()
