"""Drives onenode with a recorded scenario, over HTTP on loopback."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import socket
import tempfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx2
import uvicorn
import yaml
from cryptography.hazmat.primitives.asymmetric import ec

from onenode.app import App, create_app
from onenode.auth import Authenticator
from onenode.store import Store
from tests.contract.kube_api_matching import (
    Bindings,
    MismatchError,
    match_body,
    without_descriptions,
    without_managed_fields,
)
from tests.contract.kube_api_setup import (
    RACES,
    RAW_BODIES,
    RECORDED_HOOK,
    SCENES,
    UNMARKED,
    WEBHOOK_SCENARIOS,
    Setup,
    set_up,
)
from tests.contract.kube_api_webhook import RecordedWebhook
from tests.fakes.webhook_server import WebhookServer, webhook_server

DATA = Path(__file__).parents[1] / "data/kube-api"
TOKEN = "recorded"
_AT_A_TIME = 8
_COMPARED_HEADERS = ("Content-Type", "Warning", "Retry-After", "Location", "Allow")
_SETTLE_S = 1.0
"""How long a read may wait for controllers, as the recording did between steps."""

_BUILD = frozenset(
    {"gitVersion", "gitCommit", "gitTreeState", "buildDate", "goVersion", "compiler", "platform"}
)

Obj = dict[str, Any]


def load_scenario(number: str, hook: WebhookServer | None = None) -> Obj:
    """The scenario whose file begins with a number."""
    (path,) = DATA.glob(f"{number}-*.json")
    text = json.dumps(json.loads(path.read_text()), ensure_ascii=False)
    for old, new in UNMARKED.get(number, ()):
        text = text.replace(old, new)
    if hook is not None:
        text = text.replace(RECORDED_HOOK, f"127.0.0.1:{hook.port}").replace("<ca-bundle>", hook.ca_bundle)
    scenario: Obj = json.loads(text)
    return scenario


def scenario_numbers() -> list[str]:
    """All recorded scenarios."""
    return sorted(path.name[:2] for path in DATA.glob("[0-9][0-9]-*.json"))


@contextlib.asynccontextmanager
async def serving(store: Store) -> AsyncIterator[tuple[App, str]]:
    """An API server without pods on a loopback port."""
    auth = Authenticator(store, TOKEN, ec.generate_private_key(ec.SECP256R1()))
    app = create_app(store, None, auth, ca_text="-----CA-----\n")
    listener = socket.socket(proto=socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    config = uvicorn.Config(app, log_level="error", lifespan="off", ws="none", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
    async with app.running():
        task = asyncio.create_task(server.serve(sockets=[listener]))
        await _until(lambda: server.started, 10)
        try:
            yield app, f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            await task
            listener.close()


async def _until(is_true: Callable[[], bool], deadline_s: float) -> None:
    """Wait for a condition, at most so long."""
    end = asyncio.get_running_loop().time() + deadline_s
    for _ in iter(lambda: is_true() or asyncio.get_running_loop().time() > end, True):
        await asyncio.sleep(0.005)


async def replay(number: str) -> None:
    """Replay one scenario.

    Raises:
        MismatchError: an answer differs; the text names the step.
    """
    store = Store(":memory:")
    try:
        async with (
            _webhook(number) as hook,
            serving(store) as (app, base),
            httpx2.AsyncClient(timeout=20, trust_env=False) as client,
        ):
            scenario = load_scenario(number, hook)
            setup = Setup(app=app, client=client, base=base, token=TOKEN, hook=hook)
            await set_up(number, setup)
            await _Replay(scenario, setup).run()
    finally:
        store.close()


async def replay_all() -> dict[str, BaseException | None]:
    """What came of every scenario, some at a time: most of their time is spent on waiting for watches."""
    turns = asyncio.Semaphore(_AT_A_TIME)

    async def one(number: str) -> BaseException | None:
        async with turns:
            try:
                await replay(number)
            except (MismatchError, AssertionError, httpx2.HTTPError) as error:
                return error
        return None

    numbers = scenario_numbers()
    return dict(zip(numbers, await asyncio.gather(*map(one, numbers)), strict=True))


@contextlib.asynccontextmanager
async def _webhook(number: str) -> AsyncIterator[WebhookServer | None]:
    """The server that the recorded API server called, for scenarios about webhooks."""
    if number not in WEBHOOK_SCENARIOS:
        yield None
        return
    with tempfile.TemporaryDirectory() as folder:
        async with webhook_server(Path(folder)) as hook:
            yield hook


def _api_level(version: Obj) -> Obj:
    """A version document without who built what when."""
    return {name: "" if name in _BUILD else value for name, value in version.items()}


class _Replay:
    def __init__(self, scenario: Obj, setup: Setup) -> None:
        self._scenario = scenario
        self._number = scenario["scenario"][:2]
        self._setup = setup
        self._client = setup.client
        self._base = setup.base
        self._bindings = Bindings()
        self._watches: list[tuple[Obj, asyncio.Task[list[Obj]], list[Obj]]] = []
        self._hook = RecordedWebhook(scenario, setup.hook, self._bindings)

    async def run(self) -> None:
        try:
            for step in self._scenario["steps"]:
                if step.get("actor") == "apiserver->webhook":
                    continue
                try:
                    self._hook.expect(step)
                    await self._step(step)
                    self._hook.check()
                except MismatchError as error:
                    request = step["request"]
                    text = f"step {step['n']} {request['method']} {request['path'][:120]}: {error}"
                    raise MismatchError(text) from error
            await self._scene(len(self._scenario["steps"]))
            for step, task, seen in self._watches:
                await self._finish_watch(step, task, seen)
        finally:
            for _, task, _ in self._watches:
                task.cancel()
            await asyncio.gather(*(task for _, task, _ in self._watches), return_exceptions=True)

    async def _scene(self, number: int) -> None:
        scene = SCENES.get((self._number, number))
        if scene is not None:
            found = await scene(self._setup)
            if isinstance(found, dict) and all(key.startswith("<") for key in found):
                self._bindings.set(found)

    async def _step(self, step: Obj) -> None:
        await self._scene(step["n"])
        if (self._number, step["n"]) in RACES:
            if "events" not in step["response"]:
                await self._client.send(self._request(step))
            return
        if "events" in step["response"]:
            await self._watch(step)
            return
        loop = asyncio.get_running_loop()
        deadline = loop.time() + _SETTLE_S
        while True:
            saved = self._bindings.saved()
            try:
                await self._compare(step)
                return
            except MismatchError:
                if step["request"]["method"] != "GET" or loop.time() > deadline:
                    raise
                self._bindings.restore(saved)
                await asyncio.sleep(0.02)

    def _request(self, step: Obj) -> httpx2.Request:
        recorded = step["request"]
        headers = {k: self._bindings.fill(v) for k, v in recorded["headers"].items()}
        if "no credentials" not in step.get("comment", ""):
            headers.setdefault("Authorization", f"Bearer {TOKEN}")
        body = RAW_BODIES.get((self._number, step["n"]))
        if body is not None:
            headers["Content-Type"] = "application/json"
        if body is None and recorded.get("body") is not None:
            body = recorded["body"]
            if isinstance(body, dict) and "base64" in body:
                return self._build(recorded, headers, base64.b64decode(body["base64"]))
            if not isinstance(body, str):
                body = json.dumps(body)
            body = self._bindings.fill(body)
        return self._build(recorded, headers, (body or "").encode())

    def _build(self, recorded: Obj, headers: dict[str, str], body: bytes) -> httpx2.Request:
        url = httpx2.URL(self._base + self._bindings.fill(recorded["path"]))
        return self._client.build_request(recorded["method"], url, headers=headers, content=body)

    async def _compare(self, step: Obj) -> None:
        wanted = step["response"]
        await self._learn_tag(step)
        answer = await self._client.send(self._request(step))
        if wanted["status"] == 304 and "If-None-Match" not in step["request"]["headers"]:
            # Its If-Modified-Since was not recorded.
            wanted = {**wanted, "status": answer.status_code, "body": {"_omitted": ""}, "headers": None}
        if answer.status_code != wanted["status"]:
            got = f"{answer.status_code}: {answer.text[:300]}"
            raise MismatchError(f"status {wanted['status']} was recorded, got {got}")
        body = wanted.get("body")
        if isinstance(body, dict) and "_omitted" in body:
            # Not recorded: protobuf, or a large document.
            if "ETag" in (wanted.get("headers") or {}) and "ETag" in answer.headers:
                self._bindings.match_text(wanted["headers"]["ETag"], answer.headers["ETag"], "header ETag")
            return
        self._compare_headers(wanted.get("headers") or {}, answer)
        self._compare_body(body, answer)

    async def _learn_tag(self, step: Obj) -> None:
        """Ask for an ETag that the client had from before the recording."""
        headers = step["request"]["headers"]
        tag = headers.get("If-None-Match", "")
        if not self._bindings.knows(tag):
            plain = {**step["request"], "headers": {**headers, "If-None-Match": ""}}
            first = await self._client.send(self._request({**step, "request": plain}))
            self._bindings.set({tag: first.headers["ETag"]})

    def _compare_headers(self, wanted: Obj, answer: httpx2.Response) -> None:
        for name in _COMPARED_HEADERS:
            recorded = wanted.get(name, [])
            recorded = recorded if isinstance(recorded, list) else [recorded]
            actual = answer.headers.get_list(name)
            if len(recorded) != len(actual):
                raise MismatchError(f"header {name}: {recorded} was recorded, got {actual}")
            for one, other in zip(recorded, actual, strict=True):
                self._bindings.match_text(one, other, f"header {name}")
        if ("ETag" in wanted) != ("ETag" in answer.headers):
            raise MismatchError("ETag present in one answer only")
        if "ETag" in wanted:
            tag = answer.headers["ETag"]
            self._bindings.match_text(wanted["ETag"], tag, "header ETag")

    def _compare_body(self, wanted: Any, answer: httpx2.Response) -> None:
        if answer.request.url.path == "/version":
            wanted, actual = _api_level(wanted), _api_level(answer.json())
            match_body(wanted, actual, self._bindings)
            return
        if wanted is None or wanted == "":
            if answer.content.strip():
                raise MismatchError(f"an empty body was recorded, got {answer.text[:200]}")
            return
        if isinstance(wanted, str):
            if answer.headers.get("Content-Type") == "application/yaml":
                match_body(
                    self._comparable(yaml.safe_load(wanted.replace("<time>", "<time>"))),
                    self._comparable(yaml.safe_load(answer.text)),
                    self._bindings,
                )
                return
            self._bindings.match_text(wanted, answer.text, "body")
            return
        match_body(self._comparable(wanted), self._comparable(answer.json()), self._bindings)

    def _comparable(self, body: Any) -> Any:
        body = json.loads(json.dumps(body, default=lambda value: value.strftime("%Y-%m-%dT%H:%M:%SZ")))
        if self._scenario.get("managedFields") == "removed":
            body = without_managed_fields(body)
        return without_descriptions(body)

    # Watches

    async def _watch(self, step: Obj) -> None:
        seen: list[Obj] = []
        started: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        task = asyncio.create_task(self._follow(self._request(step), seen, started))
        status = await asyncio.wait_for(started, 10)
        if status != step["response"]["status"]:
            raise MismatchError(f"status {step['response']['status']} was recorded, got {status}")
        if step["response"].get("ended_by") == "server":
            await asyncio.wait_for(task, 20)
            self._compare_events(step, seen)
        else:
            self._watches.append((step, task, seen))

    async def _follow(
        self, request: httpx2.Request, seen: list[Obj], started: asyncio.Future[int]
    ) -> list[Obj]:
        answer = await self._client.send(request, stream=True)
        started.set_result(answer.status_code)
        try:
            async for line in answer.aiter_lines():
                event = line.strip() if answer.status_code == 200 else ""
                seen += [json.loads(event)] if event else []
        finally:
            await answer.aclose()
        return seen

    async def _finish_watch(self, step: Obj, task: asyncio.Task[list[Obj]], seen: list[Obj]) -> None:
        await _until(lambda: task.done() or len(seen) >= len(step["response"]["events"]), _SETTLE_S)
        # The recorded client left after the last one.
        self._compare_events(step, seen[: len(step["response"]["events"])])

    def _compare_events(self, step: Obj, seen: list[Obj]) -> None:
        wanted = [self._comparable(event) for event in step["response"]["events"]]
        actual = [self._comparable(event) for event in seen]
        where = f"events of step {step['n']}"
        if len(wanted) != len(actual):
            shown = [event["type"] for event in wanted], [event["type"] for event in actual]
            raise MismatchError(f"{where}: {shown[0]} were recorded, got {shown[1]}")
        for index, (one, other) in enumerate(zip(wanted, actual, strict=True)):
            match_body(one, other, self._bindings, f"{where}[{index}]")
