"""Keeps the public trades of some symbols: each once, in journals and Parquet files like minutes.

What a lost stream missed is asked for five seconds after it is listened to again, so that nothing falls between the
answer and the stream. What a venue does not tell any more is said, and counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

import structlog

from bot.candles import iso
from bot.times import HOUR, SECOND
from services.market_data.canonical import Source
from services.market_data.collected import CollectedMarket
from services.market_data.feed import FeedUnreachable, NotTraded
from services.market_data.public_trades import CollectedTrades, PublicTrade
from services.market_data.raw import TradeRows

log = structlog.get_logger()

SETTLING_MS: Final = 5 * SECOND  # after a stream began
PAUSE_MS: Final = 10 * SECOND  # after a venue did not answer
PAGES: Final = 20  # of a symbol at once
KEPT_LAGS: Final = 2000


class TradeCollection:
    """The trades of a data directory."""

    def __init__(
        self, data_dir: Path, markets: Iterable[CollectedMarket], disk_fails: Callable[[Exception], None]
    ) -> None:
        self.markets = {one.market.id: one for one in markets}
        self.rows, self.disk_fails = TradeRows(data_dir), disk_fails
        self.received: Counter[tuple[int, str]] = Counter()  # by market id and source
        self.duplicates: Counter[int] = Counter()  # by market id
        self.missed: Counter[int] = Counter()  # spans that the venue did not tell any more, by market id
        self.lags_ms: dict[int, list[int]] = {number: [] for number in self.markets}
        self._waiting: list[PublicTrade] = []
        self._replayed: dict[tuple[int, str], list[PublicTrade]] = {}
        for one in self.rows.replay():
            self._replayed.setdefault((one.market_id, one.symbol), []).append(one)

    def begin(self, market: CollectedMarket, symbols: Iterable[str]) -> None:
        """Collect trades of these symbols from here on, and what was missed since the last known one."""
        for symbol in symbols:
            series = market.trades[symbol] = CollectedTrades(symbol, numbered=market.market.exchange == "binance")
            for one in self._replayed.pop((market.market.id, symbol), ()):
                series.receive(one)

    def listened(self, market: CollectedMarket) -> None:
        """Note that a stream begins: what went before it is asked for soon."""
        for series in market.trades.values():
            series.miss(market.now + SETTLING_MS)

    def hear(self, *trades: PublicTrade) -> None:
        """Keep trades that are new; those that the disk does not take wait for the next time."""
        for one in trades:
            series = self.markets[one.market_id].trades.get(one.symbol)
            if series is None:
                continue
            self.received[one.market_id, one.source] += 1
            if not series.receive(one):
                self.duplicates[one.market_id] += 1
                continue
            self._waiting.append(one)
            if one.source is Source.STREAM:
                lags = self.lags_ms[one.market_id]
                lags.append(one.received_ms - one.ts)
                del lags[:-KEPT_LAGS]
        try:
            self.rows.append(self._waiting)
        except OSError as error:
            self.disk_fails(error)
        else:
            self._waiting = []

    async def fill(self, market: CollectedMarket) -> None:
        """Ask a market for trades that may be missing."""
        for series in [one for one in market.trades.values() if one.due(market.now)]:
            try:
                await self._fill(market, series)
            except FeedUnreachable as error:
                market.answered(str(error))
                series.ask_ms = market.now + PAUSE_MS
                return
            except NotTraded:
                series.answered(None)

    async def _fill(self, market: CollectedMarket, series: CollectedTrades) -> None:
        for _ in range(PAGES):
            since = series.since
            if since is None:
                return
            found, whole = await market.feed.trades(series.symbol, since)
            self.hear(*found)
            if market.market.exchange != "binance":
                self._note_missed(market, series, since, found)
                series.answered(None)
            elif whole:
                series.answered(None)
            else:
                last = max((one.ts for one in found), default=0)
                series.answered(max(last, since + 1) if found else since + HOUR)

    def _note_missed(
        self, market: CollectedMarket, series: CollectedTrades, since: int, found: list[PublicTrade]
    ) -> None:
        """Say that a venue tells its newest trades alone, and that these do not reach back far enough."""
        first = min((one.ts for one in found), default=since)
        if first > since:
            self.missed[market.market.id] += 1
            log.warning(
                "trades_missed", market=str(market.market), symbol=series.symbol, first=iso(since), after=iso(first)
            )

    def compact(self, before_ms: int) -> None:
        """Put journals of hours before into Parquet; raises OSError."""
        self.rows.compact(before_ms)

    def close(self) -> None:
        """Close the files."""
        self.hear()
        self.rows.close()
