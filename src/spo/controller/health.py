"""Answers the kubelet's probes."""

from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Final

from spo.controller.small_http import Answer, Request, Response, SmallHttpServer, text

MAX_CLIENTS: Final = 16
"""Connections at one time; more are closed at once."""

Check = Callable[[], str]
"""Tells what is wrong, nothing if all is well."""


class HealthServer(SmallHttpServer):
    """``GET`` of a path answers 200 ``ok`` if its check finds nothing, else 503 with what is wrong."""

    def __init__(self, host: str, port: int, checks: Mapping[str, Check]) -> None:
        """Take what it works with.

        Args:
            host: address to listen on; empty: all.
            port: 0 lets the system choose.
            checks: path, such as ``/healthz`` -> its check.
        """
        super().__init__(
            host,
            port,
            {path: _answer(check) for path, check in checks.items()},
            what="health endpoint",
            remedy="SPO_HEALTH_ADDRESS sets another address",
            max_clients=MAX_CLIENTS,
        )


def _answer(check: Check) -> Answer:
    async def answer(_: Request) -> Response:
        problem = check()
        return text(HTTPStatus.SERVICE_UNAVAILABLE if problem else HTTPStatus.OK, problem or "ok")

    return answer
