"""The original's WebSocket: one job, a frame a second, and a last one when it ends."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

from fastapi import APIRouter, WebSocket
from starlette.websockets import WebSocketDisconnect

from stoker.api.answers import encode
from stoker.api.broadcast import Broadcaster, Stream
from stoker.api.callers import Caller
from stoker.api.feeding import Selection
from stoker.api.routes import known, workers
from stoker.api.stream import KEEP_ALIVE_SECONDS, SEND_SECONDS, Seats
from stoker.domain.actor import Actor
from stoker.domain.errors import NotFound
from stoker.domain.events import FeedKind
from stoker.domain.states import TERMINAL
from stoker.service.context import Context
from stoker.service.status import status
from stoker.service.view import iso

FRAME_SECONDS = 1.0
DONE, GOING_AWAY, REFUSED = 1000, 1001, 1008

FRAME = (
    "job_id", "status", "progress", "current_epoch", "total_epochs", "current_step", "total_steps", "loss", "eval_loss",
    "samples_per_second", "gpu_memory_allocated_gb", "gpu_utilization_percent", "eta_seconds",
)  # fmt: skip
"""The fields of the original's frame that are the job's own."""

_STATES_ONLY = frozenset({FeedKind.STATE.value, FeedKind.DELETED.value})

router = APIRouter()


@router.websocket("/ws/training/{job_id}")
async def follow(websocket: WebSocket, job_id: str) -> None:
    """Greet, then send a frame a second until the job has ended; for one that has, the last frame at once.

    Closes with 1008 if there is no such job for the caller.
    """
    who: Caller = websocket.scope["state"]["caller"]
    seats: Seats = websocket.app.state.seats
    with seats.taken(who.actor.owner):
        await websocket.accept()
        try:
            code, why = await _serve(websocket, who, job_id)
        except NotFound as error:
            code, why = REFUSED, str(error)
        with contextlib.suppress(WebSocketDisconnect, RuntimeError):
            await websocket.close(code, why[:100])


async def _serve(websocket: WebSocket, who: Caller, job_id: str) -> tuple[int, str]:
    """Send every frame; give the code to close with, and why."""
    context, broadcaster = websocket.app.state.context, websocket.app.state.broadcaster
    shown = await _look(websocket, who.actor, job_id)
    selection = Selection(who.actor, frozenset({job_id}), _STATES_ONLY)
    stream = await broadcaster.open(selection, None)
    listening = asyncio.create_task(_close_with(stream, websocket))
    try:
        await _send(websocket, _hello(context, shown))
        return await _follow(websocket, who, job_id, stream)
    except (WebSocketDisconnect, TimeoutError):
        _abort(websocket)
        return GOING_AWAY, "The client takes nothing"
    finally:
        listening.cancel()
        broadcaster.leave(stream)


async def _follow(websocket: WebSocket, who: Caller, job_id: str, stream: Stream) -> tuple[int, str]:
    context: Context = websocket.app.state.context
    broadcaster: Broadcaster = websocket.app.state.broadcaster
    loop = asyncio.get_running_loop()
    check_at = loop.time() + KEEP_ALIVE_SECONDS
    while not stream.is_closed:
        shown = await _look(websocket, who.actor, job_id)
        if shown["status"] in TERMINAL:
            await _send(websocket, _last(context, shown))
            return DONE, "The job has ended"
        await _send(websocket, _frame(context, shown))
        if loop.time() >= check_at:
            check_at = loop.time() + KEEP_ALIVE_SECONDS
            if not await who.still_valid(context, workers(websocket, is_quick=True)):
                return REFUSED, "The key is not valid any more"
        await _wait(broadcaster, stream)
    return GOING_AWAY, "The server stops, or the client went"


async def _wait(broadcaster: Broadcaster, stream: Stream) -> None:
    """Wait for the next second, or less if the job's state changes."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(FRAME_SECONDS):
            while stream.is_behind and not stream.is_closed:
                await broadcaster.catch_up(stream)
            stream.take(1 << 30)
            stream.news.clear()
            if not stream.is_closed:
                await stream.news.wait()


async def _look(websocket: WebSocket, actor: Actor, job_id: str) -> dict[str, Any]:
    return await workers(websocket, is_quick=True).run(status, websocket.app.state.context, actor, known(job_id))


def _hello(context: Context, shown: dict[str, Any]) -> dict[str, Any]:
    message = f"Connected to training job {shown['job_id']}"
    return {
        "job_id": shown["job_id"],
        "status": shown["status"],
        "message": message,
        "timestamp": iso(context.now()),
        "complete": False,
    }


def _frame(context: Context, shown: dict[str, Any]) -> dict[str, Any]:
    fields = {name: shown.get(name) for name in FRAME}
    return {**fields, "phase": shown["phase"], "timestamp": iso(context.now()), "complete": False}


def _last(context: Context, shown: dict[str, Any]) -> dict[str, Any]:
    return {
        **_frame(context, shown),
        "final_loss": shown.get("loss"),
        "complete": True,
        "completed_at": shown["completed_at"],
        "error": shown["error"],
        "error_message": shown["error_message"],
        "reason": shown["reason"],
    }


async def _send(websocket: WebSocket, content: dict[str, Any]) -> None:
    async with asyncio.timeout(SEND_SECONDS):
        await websocket.send_text(encode(content).decode())


async def _close_with(stream: Stream, websocket: WebSocket) -> None:
    """Close the stream when the client goes; what it says is not listened to."""
    while (await websocket.receive())["type"] != "websocket.disconnect":
        pass
    stream.close()


def _abort(websocket: WebSocket) -> None:
    abort = websocket.scope["state"].get("abort")
    if abort is not None:
        abort()
