"""What Bybit tells by itself: candles in public, executions, orders and positions in private.

A stream that was lost comes back, and a message that cannot be read ends none; each leaves a Gap, upon which the bot
asks for what it has not heard.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

import ccxt
import structlog

from bot.ports import Changed, Event, Gap, Sink, StreamHealth, Unreachable
from services.exchanges.bybit import codec
from services.exchanges.bybit.client import MALFORMED
from services.exchanges.bybit.connection import Connection, told

log = structlog.get_logger()

PRIVATE_TOPICS = ["execution", "order", "position"]
LEAST_PAUSE, MOST_PAUSE = 0.1, 10.0  # seconds
GAP_SECONDS = 1.0  # between two Gaps of a symbol whose messages cannot be read
LOG_SECONDS = 60.0  # between two lines about messages that cannot be read


class Streams(Connection):
    """Streams."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.client.sink = self._heard
        self.client.unreadable_heard = self._unreadable
        self.client.subscribed = self._subscribed
        self.heard = {"public": 0, "private": 0}
        self.heard_at = time.monotonic()
        self.pauses = {"public": LEAST_PAUSE, "private": LEAST_PAUSE}  # seconds before a stream is tried again
        self.hearing = {"public": asyncio.Event(), "private": asyncio.Event()}
        self.unread = 0  # messages that could not be read
        self._unread_told = 0.0
        self._sink: Sink | None = None
        self._symbols: list[str] = []
        self._gaps: dict[str, float] = {}  # when each symbol last had a Gap for a message, or will have one

    async def listen(self, symbols: list[str], sink: Sink) -> None:
        """Tell `sink` what the streams say, for ever; a lost stream comes back and leaves a Gap to be filled."""
        self._sink, self._symbols = sink, symbols
        public = self.client.urls["api"]["ws"]["public"][self.category]
        private = self.client.urls["api"]["ws"]["private"]["contract"]
        await asyncio.gather(
            self._hold(public, [f"kline.1.{symbol}" for symbol in symbols], "public"),
            self._hold(private, PRIVATE_TOPICS, "private"),
        )

    async def listening(self) -> None:
        """Wait until both streams run."""
        await asyncio.gather(*(event.wait() for event in self.hearing.values()))

    def health(self) -> StreamHealth:
        """How the streams are now."""
        up = {name: event.is_set() for name, event in self.hearing.items()}
        return StreamHealth(up, dict(self.heard), time.monotonic() - self.heard_at)

    async def use_key(self, key: str, secret: str) -> None:
        """Sign by another key of the same account from now on; the private stream signs in anew and leaves a Gap."""
        self.client.apiKey, self.client.secret = key, secret
        self.client.give_up(self.client.urls["api"]["ws"]["private"]["contract"])

    async def _hold(self, address: str, topics: list[str], name: str) -> None:
        while True:
            try:
                if name == "private":
                    await self._sign_in(address)
                await self.client.watch_topics(address, topics, topics)  # ends only when the stream does
            except (ccxt.BaseError, OSError) as error:
                log.warning("stream_lost", stream=name, error=type(error).__name__)
            self.hearing[name].clear()
            await self.client.forget(address)
            await asyncio.sleep(self.pauses[name])
            self.pauses[name] = min(self.pauses[name] * 2, MOST_PAUSE)

    async def _sign_in(self, address: str) -> None:
        """Sign in; the clock may have gone wrong since it was measured, so a refusal has it measured again."""
        try:
            await self.client.authenticate(address)
        except ccxt.NetworkError:
            raise
        except ccxt.BaseError:
            try:
                await self.measure_clock()
            except Unreachable as error:
                log.warning("clock_not_measured", reason=str(error))
            raise

    def _subscribed(self, address: str) -> None:
        """A stream runs: what it did not tell is to be asked for."""
        name = self._name(address)
        self.pauses[name] = LEAST_PAUSE
        self.hearing[name].set()
        self._tell([Gap(symbol) for symbol in self._symbols])

    def _name(self, address: str) -> str:
        return "private" if address.endswith("/private") else "public"

    def _tell(self, events: list[Event]) -> None:
        assert self._sink is not None
        for event in events:
            self._sink(event)

    def _heard(self, message: dict[str, Any]) -> None:
        """Translate one message of a stream, row by row: one that cannot be read hides no other."""
        self.heard_at = time.monotonic()
        topic, rows = str(message["topic"]), message.get("data")
        public = topic.startswith("kline.")
        self.heard["public" if public else "private"] += 1
        symbol = topic.rsplit(".", 1)[1] if public else None
        if not isinstance(rows, list):
            self._miss(symbol, TypeError("the message has no rows"))
            return
        for row in rows:
            try:
                event = self._candle(str(symbol), row) if public else self._event(topic, row)
            except MALFORMED as error:
                self._miss(symbol or _symbol_of(row), error)
            else:
                self._tell([] if event is None else [event])

    def _candle(self, symbol: str, row: dict[str, Any]) -> Event | None:
        return codec.closed(symbol, row) if symbol in self._symbols else None

    def _event(self, topic: str, row: dict[str, Any]) -> Event | None:
        """Translate a row of the private stream; None for what does not concern the bot."""
        of = self.known.get(row["symbol"])
        if of is None or row.get("category", self.category) != self.category:
            return None
        if topic.startswith("execution"):
            return codec.execution(row, of, self.heard_at)
        if topic.startswith("order"):
            return None if codec.is_own(row) else Changed(of.symbol, codec.open_order(row, of))
        if topic.startswith("position"):  # hedge mode's rows are no position of the bot; `position` refuses them
            return None if codec.is_hedge(row) else codec.position(row, of)
        return None

    # What cannot be read

    def _unreadable(self, address: str, error: Exception | None) -> None:
        """A message without rows or symbol: count it, and ask for everything."""
        self.heard_at = time.monotonic()
        self.heard[self._name(address)] += 1
        self._miss(None, error or TypeError("the message is no object"))

    def _miss(self, symbol: str | None, error: Exception) -> None:
        """Leave a Gap for the symbol, or for all where the message names none of the bot's."""
        self.unread += 1
        now = time.monotonic()
        if now - self._unread_told >= LOG_SECONDS:
            self._unread_told = now
            log.error("stream_unreadable", pair=symbol, error=told(error), messages=self.unread)
        for one in self._symbols if symbol not in self._symbols else [symbol]:
            self._leave_gap(one, now)

    def _leave_gap(self, symbol: str, now: float) -> None:
        """Leave a Gap at once, or a second after the last one: a flood of messages is asked for once a second."""
        due = self._gaps.get(symbol, now - GAP_SECONDS) + GAP_SECONDS
        if due > now + GAP_SECONDS:
            return  # one is on its way
        self._gaps[symbol] = max(due, now)
        if due <= now:
            self._tell([Gap(symbol)])
        else:
            asyncio.get_running_loop().call_later(due - now, lambda: self._tell([Gap(symbol)]))


def _symbol_of(row: Any) -> str | None:
    return row["symbol"] if isinstance(row, dict) and isinstance(row.get("symbol"), str) else None
