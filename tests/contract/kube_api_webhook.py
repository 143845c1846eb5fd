"""The webhook of the recorded scenarios: compares what it is asked, answers what was recorded."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from tests.contract.kube_api_matching import Bindings, MismatchError, match_body, without_managed_fields
from tests.fakes.webhook_server import Call, Reply, WebhookServer

Obj = dict[str, Any]

_SLOW_S = 3.0
_HEADERS = ("user-agent", "accept", "content-type")


class RecordedWebhook:
    """Plays the part of the recorder's webhook."""

    def __init__(self, scenario: Obj, server: WebhookServer | None, bindings: Bindings) -> None:
        self._steps: list[Obj] = scenario["steps"]
        self._bindings = bindings
        self._expected: list[Obj] = []
        self._problem: MismatchError | None = None
        if server is not None:
            server.handler = self._answer

    def expect(self, step: Obj) -> None:
        """The calls that belong to a step of the client."""
        self._expected = []
        deleted: set[str] = set()
        for call in self._steps[self._steps.index(step) + 1 :]:
            if call.get("actor") != "apiserver->webhook":
                break
            review = call["request"]["body"]["request"]
            if review["operation"] == "DELETE":
                # A real server asks about one deletion two or three times, onenode once.
                uid = review["oldObject"]["metadata"]["uid"]
                if uid in deleted:
                    continue
                deleted.add(uid)
            self._expected.append(call)

    def check(self) -> None:
        """Every expected call came, as it was recorded.

        Raises:
            MismatchError: one did not, or was another.
        """
        if self._problem is not None:
            raise self._problem
        if self._expected:
            raise MismatchError(f"the webhook was not called at {self._expected[0]['request']['path']}")

    async def _answer(self, call: Call) -> Reply | None:
        if not self._expected:
            self._problem = MismatchError(f"no call to the webhook was recorded, got {call.path}")
            return None
        step = self._expected.pop(0)
        recorded = step["request"]
        try:
            self._bindings.match_text(recorded["path"], call.path, "webhook path")
            for name, value in recorded["headers"].items():
                if name.lower() in _HEADERS:
                    self._bindings.match_text(
                        value, call.headers.get(name.lower(), ""), f"webhook header {name}"
                    )
            match_body(recorded["body"], without_managed_fields(call.review), self._bindings, "webhook body")
        except MismatchError as error:
            self._problem = error
        if "/slow" in call.path:
            await asyncio.sleep(_SLOW_S)
            return None
        body = step["response"]["body"]
        if isinstance(body, str):
            # What is no review was sent as a JSON text, errors as they stand.
            text = body if step["response"]["status"] != 200 else json.dumps(body)
            return Reply(text.encode(), step["response"]["status"])
        return Reply(self._bindings.fill(json.dumps(body)).encode())
