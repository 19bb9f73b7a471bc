"""`/api/v1/stream`: what happens, as it happens, to whoever may look; it resumes by the id of the last event.

Lines are JSON: `{kind: event, id, bot, event, data}` as docs/events.md has them, `{kind: status, bot, trouble}` when a
bot stands otherwise than before, `{kind: source, what, trouble}` when database or bus go or come back. `?after=ID`,
once for each bot, first gives what was told after that event. A frame holds what has come: one JSON array.
"""

from __future__ import annotations

import asyncio
import contextlib

from fastapi import APIRouter, WebSocket
from starlette.websockets import WebSocketDisconnect, WebSocketState

from bot.errors import TradingError
from services.web.context import console_of, signed_in
from services.web.failures import Failure
from services.web.scopes import Scope
from services.web.watch import Subscriber

router = APIRouter()
PAUSE = 0.05  # seconds in which what comes is gathered into one frame
MOST = 500  # lines of a frame
CHECK_SECONDS = 20.0  # between two looks at whether the session still stands
REFUSED, BEHIND, AWAY = 4401, 4408, 4503  # codes of a close


@router.websocket("/stream")
async def stream(socket: WebSocket) -> None:
    """Tell everything from now on, or from the events named `after` on."""
    console = console_of(socket)
    try:
        after = _places(socket.query_params.getlist("after"))
        await signed_in(socket, Scope.READ)
    except Failure as failure:
        await socket.close(REFUSED, failure.problem.code)
        return
    except TradingError:
        await socket.close(AWAY, "away")
        return
    await socket.accept()
    with contextlib.suppress(WebSocketDisconnect, RuntimeError):
        async with console.watcher.subscribed() as subscriber:
            try:
                missed = await console.watcher.missed(after)
            except TradingError:
                missed = []
            known = set()
            for start in range(0, len(missed), MOST):
                lines = missed[start : start + MOST]
                known.update(lines)
                await socket.send_text(f"[{','.join(lines)}]")
            await _tell(socket, subscriber, known)


async def _tell(socket: WebSocket, subscriber: Subscriber, known: set[str]) -> None:
    """Send what comes, until the other side leaves, falls behind, or is signed out."""
    leaving = asyncio.create_task(_left(socket))
    loop = asyncio.get_running_loop()
    checked = loop.time()
    try:
        while not leaving.done():
            lines = await _gathered(subscriber)
            if subscriber.lost:
                await socket.close(BEHIND, "behind")
                return
            if loop.time() - checked > CHECK_SECONDS:
                checked = loop.time()
                try:
                    await signed_in(socket, Scope.READ)
                except Failure:
                    await socket.close(REFUSED, "sign_in")
                    return
                except TradingError:
                    pass
            fresh = [one for one in lines if one not in known] if known else lines
            if fresh and socket.application_state is WebSocketState.CONNECTED:
                await socket.send_text(f"[{','.join(fresh)}]")
    finally:
        leaving.cancel()


async def _gathered(subscriber: Subscriber) -> list[str]:
    """Lines of one frame; none after a second in which nothing came."""
    try:
        async with asyncio.timeout(1.0):
            lines = [await subscriber.queue.get()]
    except TimeoutError:
        return []
    await asyncio.sleep(PAUSE)
    while len(lines) < MOST and not subscriber.queue.empty():
        lines.append(subscriber.queue.get_nowait())
    return lines


async def _left(socket: WebSocket) -> None:
    """Wait until the other side leaves; what it says is not heard."""
    while (await socket.receive())["type"] != "websocket.disconnect":
        pass


def _places(named: list[str]) -> dict[str, str]:
    """Read `bot/id` of the last events that were seen; raises Failure."""
    found = {}
    for one in named:
        bot, _, place = one.partition("/")
        left, _, right = place.partition("-")
        if not (bot.isalnum() and left.isdecimal() and right.isdecimal() and len(place) < 40 and place.isascii()):
            raise Failure(422, "invalid", "after is no id of an event.", "give the id of the last one", "after")
        found[bot] = place
    return found
