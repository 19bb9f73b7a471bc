"""`traderagent web`: the console as a process of its own; and what starts it beside something else."""

from __future__ import annotations

import importlib.util
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bot.errors import Misconfigured
from services.command_line.console import console
from services.command_line.interrupt import run_loop
from services.settings import Settings

if TYPE_CHECKING:
    import asyncio

    from services.app.console import ConsoleOptions

PARTS = ("fastapi", "uvicorn", "websockets", "jinja2", "argon2", "limits", "fluent.runtime", "pyotp", "segno")
LINK_SECONDS = 60.0  # that a console has to say where it is
END_SECONDS = 5.0
BESIDE = "TRADERAGENT_WEB_BESIDE"  # set for a console that ends with whoever started it


def web(
    port: Annotated[int, typer.Option(help="port; 0 takes a free one", metavar="PORT", min=0, max=65535)] = 8800,
    host: Annotated[str, typer.Option(help="address to listen on", metavar="ADDRESS")] = "127.0.0.1",
    name: Annotated[
        list[str] | None, typer.Option(help="a name by which it is called, besides its address", metavar="NAME")
    ] = None,
    origin: Annotated[
        str | None, typer.Option(help="where a proxy before it is reached, https://console.example", metavar="URL")
    ] = None,
    with_: Annotated[
        Path | None,
        typer.Option(
            "--with", help="YAML file of a bot to run beside it, supervised as by `fleet run`", metavar="FILE"
        ),
    ] = None,
    database: Annotated[
        str | None, typer.Option(help="embedded, or a postgresql:// address, as the bots have it", metavar="ADDRESS")
    ] = None,
    redis: Annotated[str | None, typer.Option(help="embedded, none, or a redis:// address", metavar="ADDRESS")] = None,
) -> None:
    """Watch and command bots in a browser, and serve the API, until Ctrl-C.

    Prints a link that signs in once. Bots do not notice whether it runs.
    """
    require()
    from services.app.console import ConsoleOptions
    from services.logs import passwords, quieten

    given = {"database": database, "redis": redis, "origin": origin}
    chosen = {key: value for key, value in given.items() if value is not None}
    options = ConsoleOptions(Settings().data_dir, host, port, tuple(name or ()), **chosen)
    quieten(secrets=passwords(options.database, options.redis))
    try:
        run_loop(_web(options, with_))
    except KeyboardInterrupt:
        console().print("stopped")


def installed() -> bool:
    """Whether what the console is made of is there."""
    try:
        return all(importlib.util.find_spec(one) is not None for one in PARTS)
    except ModuleNotFoundError:
        return False


def require() -> None:
    """Raise Misconfigured where the console is not installed."""
    if not installed():
        raise Misconfigured("the console is not installed; `uv sync --extra web` does it.")


async def _web(options: ConsoleOptions, bot: Path | None) -> None:
    import asyncio

    from services.app.console import console as serving

    if bot is not None:
        from services.app.fleet_config import read_bot

        bot = bot.resolve()  # noqa: ASYNC240, before anything is served
        settings, _ = read_bot(bot, options.data_dir)
        named = {"bot": settings.name, "config": str(bot), "environment": settings.environment.value}
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stopping.set)
    if os.environ.get(BESIDE):
        loop.add_reader(sys.stdin.fileno(), stopping.set)  # it closes when whoever started this one ends, however
    async with serving(options) as running, AsyncExitStack() as stack:
        print(f"console at {await running.link()}", flush=True)  # noqa: T201, whoever starts it reads this line
        waiting = asyncio.create_task(stopping.wait())
        stack.callback(waiting.cancel)
        ends = {waiting, running.ended}
        if bot is not None:
            ends |= await stack.enter_async_context(_supervised(options.data_dir, named))
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)


@asynccontextmanager
async def _supervised(data_dir: Path, named: dict[str, str]) -> AsyncIterator[set[asyncio.Task[Any]]]:
    """Start a bot in the fleet that runs, else in one that ends in order with the context; yields what may break."""
    import asyncio

    from services.app.fleet import fleet_supervisor
    from services.control.client import ask_fleet, fleet_file, process_of

    said = {"command": "add", "start": True, "source": "command line", **named}
    if process_of(fleet_file(data_dir)) is not None:
        done = await asyncio.to_thread(ask_fleet, data_dir, "/command", said)
        print(done.get("done"), flush=True)  # noqa: T201
        yield set()
        return
    async with fleet_supervisor(data_dir) as fleet:
        print(await fleet.act(said), flush=True)  # noqa: T201
        supervising = asyncio.create_task(fleet.run())
        try:
            yield {supervising}
        finally:
            supervising.cancel()
            await asyncio.gather(supervising, return_exceptions=True)
            await fleet.stop_all()
            if not supervising.cancelled():
                supervising.result()


COMMAND = (sys.executable, "-m", "bot")


async def _ended(process: asyncio.subprocess.Process, seconds: float) -> None:
    """End a process gently, and at last by force."""
    import asyncio

    if process.returncode is None:
        process.terminate()
    try:
        async with asyncio.timeout(seconds):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()


async def _first_line(said: asyncio.StreamReader) -> str:
    """Where a console says that it is, or that it has not started."""
    import asyncio

    try:
        async with asyncio.timeout(LINK_SECONDS):
            line = (await said.readline()).decode().strip()
    except TimeoutError:
        line = ""
    return line or "the console has not started; `traderagent web` says why"


@asynccontextmanager
async def beside(dsn: str, redis: str | None) -> AsyncIterator[asyncio.Task[str]]:
    """Run a console as a process of its own on this database and bus; yields what will say where it is."""
    import asyncio

    from services.app.console import DATABASE, REDIS

    process = await asyncio.create_subprocess_exec(
        *(*COMMAND, "web", "--port", "0"),
        env={**os.environ, DATABASE: dsn, REDIS: redis or "none", BESIDE: "1"},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert process.stdout is not None
    saying = asyncio.create_task(_first_line(process.stdout))
    try:
        yield saying
    finally:
        saying.cancel()
        await _ended(process, END_SECONDS)
