"""``pods/exec`` and ``pods/attach`` over WebSocket, as kubectl speaks it (``v5.channel.k8s.io``).

Each message begins with the number of its channel: 0 input, 1 output, 2 error output, 3 the result as a
Status, 4 the terminal's size; 255 closes the channel that follows (version 5 only).
"""

import asyncio
import contextlib
import json
from typing import Any, Final

from starlette.websockets import WebSocket, WebSocketDisconnect

from onenode.kubelet.streams import StreamProcess

__all__ = ["PROTOCOLS", "chosen_protocol", "exit_status", "serve_streams"]

PROTOCOLS: Final = ("v5.channel.k8s.io", "v4.channel.k8s.io")
"""Best first."""

_STDIN, _ERROR, _RESIZE, _CLOSE = 0, 3, 4, 255


def chosen_protocol(offered: list[str]) -> str | None:
    """The best protocol that the client offers too."""
    return next((protocol for protocol in PROTOCOLS if protocol in offered), None)


def exit_status(code: int) -> dict[str, Any]:
    """The Status that ends a session."""
    if code == 0:
        return {"metadata": {}, "status": "Success"}
    return {
        "metadata": {},
        "status": "Failure",
        "message": f"command terminated with non-zero exit code: exit status {code}",
        "reason": "NonZeroExitCode",
        "details": {"causes": [{"reason": "ExitCode", "message": str(code)}]},
    }


async def serve_streams(websocket: WebSocket, process: StreamProcess) -> None:
    """Connect an accepted WebSocket with a process until the process ends or the client goes."""
    receiving = asyncio.create_task(_receive(websocket, process))
    sending = asyncio.create_task(_send(websocket, process))
    try:
        await asyncio.wait({receiving, sending}, return_when=asyncio.FIRST_COMPLETED)
        if sending.done():
            await sending
    except WebSocketDisconnect:
        pass
    finally:
        for task in (receiving, sending):
            task.cancel()
        await asyncio.gather(receiving, sending, return_exceptions=True)
        await process.stop()


async def _send(websocket: WebSocket, process: StreamProcess) -> None:
    async for channel, data in process.output():
        await websocket.send_bytes(bytes([channel]) + data)
    status = exit_status(await process.wait())
    await websocket.send_bytes(bytes([_ERROR]) + json.dumps(status).encode())
    await websocket.close()


async def _receive(websocket: WebSocket, process: StreamProcess) -> None:
    with contextlib.suppress(WebSocketDisconnect):
        while True:
            message = await websocket.receive_bytes()
            if not message:
                continue
            channel, data = message[0], message[1:]
            if channel == _STDIN and data:
                await process.write(data)
            elif channel == _CLOSE and data[:1] == bytes([_STDIN]):
                await process.close_input()
            elif channel == _RESIZE:
                _resize(process, data)


def _resize(process: StreamProcess, data: bytes) -> None:
    try:
        size = json.loads(data)
        width, height = int(size["Width"]), int(size["Height"])
    except (ValueError, KeyError, TypeError):
        return
    process.resize(width, height)
