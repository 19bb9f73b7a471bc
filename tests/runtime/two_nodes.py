"""A driver on a Ray cluster of two nodes, each in a network namespace of its own: the second one is lost on the way.

Started by tests/runtime/test_two_nodes.py inside the namespace of the head; prints what came of it as JSON.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

from pydantic import SecretStr
from tenacity import retry, retry_if_result, wait_fixed

from bot.instrument import Market
from services.app.backing import joined
from services.runtime.cluster import Plan, RayRuntime, ray
from services.runtime.config import AccountAccess, Environment
from services.simulated_bybit.server import Faults, VenueServer
from tests.chaos.test_crash_points import assert_covered
from tests.runtime.house import KEY, Bot, config, exchange_for

PAIRS = ("BTCUSDT", "ETHUSDT", "SOLUSDT")
MINUTES, LOST_AT = 240, 120
WAKE_SECONDS = 180.0


class NodesBot(Bot):
    """The bot as actors on both nodes."""

    def make_runtime(self, gateway):
        account = AccountAccess(
            SecretStr(KEY.key), SecretStr(KEY.secret), Market.LINEAR, Environment.VENUE, self.address, 100_000.0
        )
        plan = Plan(self.name, self.chosen, account, partial(joined, self.dsn, None, self.name), [], 0.3, 60)
        return RayRuntime(plan, gateway, self.store, workers=2, address=self.options["cluster"])


async def traded(kind, name, dsn, host, cluster, lose=None):
    """Trade for some hours, and lose a node after the half; what was traded, and how often actors were woken."""
    chosen = config(PAIRS)
    exchange = exchange_for(chosen)
    server = VenueServer(exchange, [KEY], faults=Faults(), speed=0.0)
    address = f"http://{host}:{await server.start(host=host)}"
    options = {"cluster": cluster} if kind is NodesBot else {}
    bot, before = kind(chosen, address, dsn, name, options=options), 0
    await bot.start()
    for minute in range(1, MINUTES + 1):
        if minute == LOST_AT and lose is not None:
            before = lose()
            async with asyncio.timeout(WAKE_SECONDS):
                await woken(bot)
            await bot.steps.begin()
        await bot.steps.minute()
    await bot.runtime.poll()
    await bot.runtime.settled()
    status = await bot.runtime.status()
    booked = sorted(one.id for one in await bot.store.fills())
    broken = bot.runtime.supervisor.broken
    await bot.stop()
    await server.stop()
    assert booked == sorted(one.id for one in exchange.trades), "what was booked is not what was filled"
    for book in exchange.books.values():
        assert_covered(book)
    names = [(one.client_order_id.partition("-")[2], one.price, one.lots, one.ts) for one in exchange.trades]
    resting = sorted((one.client_order_id.partition("-")[2], one.price, one.lots) for one in exchange.live(None))
    return [names, resting, status["equity"]], broken, before


@retry(retry=retry_if_result(lambda done: not done), wait=wait_fixed(0.2))
async def woken(bot):
    """Wait until every actor has been started, on nodes that live."""
    try:
        started = await asyncio.gather(*(one.pulse.remote() for one in (bot.runtime.portfolio, *bot.runtime.pairs)))
    except ray.exceptions.RayError:
        return False
    return bot.runtime.supervisor.broken > 0 and all(started)


def lose(namespace):
    """Kill everything in the namespace at once; how many of the bot's actors lived there."""
    found = subprocess.run(["ip", "netns", "pids", namespace], capture_output=True, text=True, check=True)
    actors = 0
    for one in map(int, found.stdout.split()):
        with contextlib.suppress(ProcessLookupError, FileNotFoundError):  # its parent took it along
            actors += b"Actor" in Path(f"/proc/{one}/cmdline").read_bytes()
            os.kill(one, signal.SIGKILL)
    return actors


def main():
    dsn, host, cluster, namespace = sys.argv[1:]
    (alone, _, _), (found, broken, actors) = (
        asyncio.run(traded(Bot, "alone", dsn, host, cluster)),
        asyncio.run(traded(NodesBot, "nodes", dsn, host, cluster, partial(lose, namespace))),
    )
    json.dump({"alone": alone, "found": found, "woken": broken, "actors": actors}, sys.stdout)


if __name__ == "__main__":
    main()
