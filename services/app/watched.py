"""The bots of a data directory from outside: their control interfaces, and candles of the venues where they trade."""

from __future__ import annotations

import asyncio
from base64 import b64decode
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from bot.market import Market
from bot.ports import Unreachable
from bot.rollup import BAR
from bot.times import MINUTE
from services.app.research_process import ResearchProcess
from services.control.client import ask, control_file, file_of, running_bots, venue_of
from services.exchanges.registry import factory_of

if TYPE_CHECKING:
    from pathlib import Path

    from bot.ports import Gateway
    from coordinator.bot_status import PairOrders

ASK_SECONDS = 3.0  # that a bot has to say how it stands
COMMAND_SECONDS = 120.0  # a shutdown waits for positions to close
THREADS = 16
REQUESTS = 5.0  # a second, of candles
MOST_BARS, MOST_PAIRS = 20_000, 40  # that are kept
STORED_SECONDS = 20.0  # that an answer from the store may take
SAME_MARKET = ("live", "demo")  # environments whose prices are those that are stored of the exchange


class Bots:
    """The control interfaces of a data directory's bots, asked in threads of their own."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        self._threads = ThreadPoolExecutor(THREADS, "bots")

    def names(self) -> list[str]:
        """Names of those that run."""
        return running_bots(self.data_dir)

    def began(self, bot: str) -> float:
        """When it was started, seconds since 1970; 0 where that is not known."""
        try:
            return control_file(self.data_dir, bot).stat().st_mtime
        except OSError:
            return 0.0

    async def _asked(self, bot: str, path: str, said: dict[str, Any] | None, seconds: float) -> dict[str, Any]:
        def asking() -> dict[str, Any]:
            return ask(file_of(self.data_dir, bot), path, said, seconds)

        return await asyncio.get_running_loop().run_in_executor(self._threads, asking)

    async def status(self, bot: str) -> dict[str, Any]:
        """How it says that it stands."""
        return await self._asked(bot, "/status", None, ASK_SECONDS)

    async def orders(self, bot: str, pair: str) -> PairOrders:
        """What should be open for a pair, and what is."""
        return cast("PairOrders", await self._asked(bot, f"/orders?pair={pair}", None, ASK_SECONDS))

    async def config(self, bot: str) -> list[dict[str, Any]]:
        """The values of its config: `key`, `value`, and whether it may change `live`."""
        return [dict(one) for one in (await self._asked(bot, "/config", None, ASK_SECONDS))["settings"]]

    async def command(self, bot: str, said: dict[str, Any]) -> str:
        """Tell it; what it has done, in words."""
        return str((await self._asked(bot, "/command", said, COMMAND_SECONDS)).get("done"))

    def close(self) -> None:
        """Wait for nobody."""
        self._threads.shutdown(wait=False, cancel_futures=True)


class VenueCandles:
    """Minute bars of the venues where bots trade, by connections of the console's own: no bot is asked."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        self._gateways: dict[tuple[str | None, ...], Gateway] = {}
        self._bars: OrderedDict[tuple[Any, ...], Any] = OrderedDict()
        self._turns: dict[tuple[Any, ...], asyncio.Lock] = {}
        self._store = ResearchProcess(data_dir, STORED_SECONDS, "services.app.candle_answers")

    async def candles(self, bot: str, pair: str, until: int | None, count: int) -> Any:
        """The last bars that open before `until` (ms; the market's present without one), BAR (n,)."""
        venue = venue_of(control_file(self.data_dir, bot))
        if venue is None:
            raise Unreachable(f"bot {bot!r} does not run, and only a running one says where its candles are")
        gateway = self._gateway(tuple(venue.values()), venue)
        key = (*venue.values(), pair)
        async with self._turns.setdefault(key, asyncio.Lock()):
            end = await gateway.newest(pair) if until is None else until // MINUTE * MINUTE
            return await self._kept(gateway, key, pair, end - count * MINUTE, end)

    async def stored(
        self, bot: str, pair: str, minutes: int, since: int | None, until: int | None, bars: int
    ) -> tuple[Any, int]:
        """Candles of so many minutes that are stored of where a bot trades, in [since, until) ms, the last `bars`.

        Columns (6, n) as float64, ts first; and how many are withheld, as a minute of them is missing.
        """
        venue = venue_of(control_file(self.data_dir, bot))
        if venue is None or venue["environment"] not in SAME_MARKET:
            return np.empty((6, 0)), 0
        said = {"exchange": venue["exchange"], "market": venue["market"], "pair": pair, "minutes": minutes}
        told = await self._store.ask("stored_candles", said | {"since": since, "until": until, "bars": bars})
        return np.frombuffer(b64decode(told["columns"]), "<f8").reshape(6, told["rows"]), told["incomplete"]

    async def _kept(self, gateway: Gateway, key: tuple[Any, ...], pair: str, start: int, end: int) -> Any:
        """Bars of [start, end): those that are kept, and the missing ones before or after them."""
        kept = self._bars.pop(key, np.empty(0, BAR))
        if not len(kept) or end < kept["ts"][0] or start > kept["ts"][-1] + MINUTE:
            kept = await gateway.candles(pair, start, end)
        else:
            first, last = int(kept["ts"][0]), int(kept["ts"][-1]) + MINUTE
            before = await gateway.candles(pair, start, first) if start < first else kept[:0]
            after = await gateway.candles(pair, last, end) if end > last else kept[:0]
            kept = np.concatenate([before, kept, after])
        self._bars[key] = kept[-MOST_BARS:]
        while len(self._bars) > MOST_PAIRS:
            self._bars.popitem(last=False)
        return kept[(kept["ts"] >= start) & (kept["ts"] < end)]

    def _gateway(self, key: tuple[str | None, ...], venue: dict[str, str | None]) -> Gateway:
        if key not in self._gateways:
            environment = venue["environment"] or "live"
            self._gateways[key] = factory_of(venue["exchange"] or "")(
                key="", secret="", market=Market(venue["market"] or ""), rate=REQUESTS, address=venue["address"],
                environment="live" if environment == "venue" else environment,
            )  # fmt: skip
        return self._gateways[key]

    async def close(self) -> None:
        """Hang up."""
        await self._store.close()
        for one in self._gateways.values():
            await one.close()
