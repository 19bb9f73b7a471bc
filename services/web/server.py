"""Serves an application on an address, with uvicorn, until it is stopped."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvicorn
from fastapi import FastAPI

from bot.errors import Misconfigured


def opened(host: str, port: int) -> socket.socket:
    """Open a port to listen on, 0 for a free one; raises Misconfigured where that cannot be."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        # By its protocol asyncio knows it for one that must not wait for small packets: 40 ms of every answer.
        listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
    except (OSError, OverflowError, UnicodeError) as error:
        reason = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else str(error)
        raise Misconfigured(
            f"host {host!r} and port {port} cannot be opened ({reason.lower()}); give others by --host and --port."
        ) from None
    return listening


@asynccontextmanager
async def served(app: FastAPI, listening: socket.socket) -> AsyncIterator[asyncio.Task[None]]:
    """Serve until the context ends; yields the task, which ends before where the server stops."""
    config = uvicorn.Config(
        app, log_config=None, access_log=False, server_header=False, proxy_headers=False, ws="websockets-sansio",
        ws_max_size=1 << 16, timeout_graceful_shutdown=2, lifespan="on",
    )  # fmt: skip
    server = uvicorn.Server(config)
    server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
    task = asyncio.create_task(server._serve([listening]))  # noqa: SLF001, signals belong to whoever runs the loop
    while not server.started and not task.done():  # noqa: ASYNC110, it sets no event
        await asyncio.sleep(0.01)
    try:
        yield task
    finally:
        server.should_exit = True
        await task
