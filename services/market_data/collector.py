"""Collects closed minutes of many symbols into one store: what is received is first kept, then applied, then told.

One process at a time collects into a data directory. Decisions are in `canonical`, `holes` and `agreement`; here are
the order of work and the outside: files, feeds, who is told. Time comes from the clock that is given.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl
import structlog

from backtesting.funding import FundingHistory
from bot.candles import COLUMNS, Candles, iso
from bot.errors import Misconfigured, cut
from bot.market import Market
from bot.times import DAY, HOUR, MINUTE, SECOND
from services.market_data.agreement import CrossVenueCheck, Disagreement
from services.market_data.canonical import CanonicalMinutes, Receipt, Reception, Source
from services.market_data.collected import CollectedMarket, CollectedSeries
from services.market_data.collecting import CollectorSettings, SymbolRule, chosen
from services.market_data.feed import PAGE, Feed, FeedUnreachable, NotTraded
from services.market_data.funding import FundingStore
from services.market_data.holes import Hole, HoleCause, SeriesHoles
from services.market_data.instruments import save_instruments
from services.market_data.raw import RawRows
from services.market_data.reference import ReferenceData, ReferenceSymbol
from services.market_data.store import CandleStore, SeriesName, StoredCandles, StoreUnreachable
from services.market_data.trade_collection import TradeCollection
from services.processes import try_lock

log = structlog.get_logger()

SAVE_MINUTES: Final = 15  # between two times that a symbol's minutes are put into the store
KEPT_MS: Final = 3 * HOUR  # of minutes in memory, besides those that are not stored yet
SAVES_A_TICK: Final = 4  # so that no minute waits for the disk
QUESTIONS: Final = 8  # to one market at a time
LONGEST_LOOK_MS: Final = 30 * DAY  # back, for what was missed while it was off
FUNDING_DAYS: Final = 8  # asked for when nothing is stored
STORE_PAUSE_MS: Final = 30 * SECOND  # before a store that does not answer is asked again
DISK: Final = (OSError, pl.exceptions.ComputeError)  # what a disk that takes no more raises, by way of Polars too


class Collector:
    """Feeds, the rules, and the files of a data directory, which is locked until `close`."""

    def __init__(
        self,
        settings: CollectorSettings,
        feeds: Iterable[Feed],
        clock: Callable[[], int],
        publish: Callable[[Receipt], None] = lambda _: None,
        save_minutes: int = SAVE_MINUTES,
        store: StoredCandles | None = None,
    ) -> None:
        self.settings, self.clock, self.publish, self.save_minutes = settings, clock, publish, save_minutes
        self._lock = _locked(settings.data_dir)
        self.raw = RawRows(settings.data_dir)
        self.store = store or CandleStore(settings.data_dir)
        self.funding = FundingStore(settings.data_dir)
        self.reference = ReferenceData(settings.data_dir)
        self.check = CrossVenueCheck(settings.disagreement_bps)
        wanted = settings.wanted()
        self.markets = {
            feed.market.id: CollectedMarket(
                feed.market, feed, wanted[feed.market], settings.trades.get(str(feed.market), ())
            )
            for feed in feeds
        }
        self.trades = TradeCollection(settings.data_dir, self.markets.values(), self._disk_fails)
        self.received: Counter[tuple[int, str]] = Counter()  # rows by market id and source
        self.receptions: Counter[tuple[int, str]] = Counter()  # by market id and what they did
        self.lags_ms: dict[int, list[int]] = {number: [] for number in self.markets}  # of the last rows of streams
        self.disagreements: list[Disagreement] = []  # the newest
        self.disagreed = 0
        self.disk_full = False
        self.store_away_ms = 0  # since when the store does not answer; 0 while it does
        self._store_due_ms = 0  # when it is asked again
        self._replayed: dict[tuple[int, str], list[Receipt]] = {}
        self._waiting: list[Receipt] = []  # received, and not yet kept
        self._unapplied: list[Receipt] = []  # kept, and waiting for the store
        self._unkept: list[Any] = []  # revisions that the disk did not take
        self._disk_failed = False
        self._compacted_ms = 0
        for one in self.raw.replay():
            self._replayed.setdefault((one.market_id, one.symbol), []).append(one)

    def close(self) -> None:
        """Put everything into the store, and let another process collect."""
        self.save(everything=True)
        self._write_holes()
        self.raw.close()
        self.trades.close()
        os.close(self._lock)

    # What is received

    def hear(self, *receipts: Receipt) -> None:
        """Keep rows, then apply them, then tell of them; rows that the disk does not take wait for the next time."""
        self._waiting += receipts
        try:
            self.raw.append(self._waiting)
        except OSError as error:
            self._disk_fails(error)
            return
        taken, self._waiting = self._waiting, []
        taken, self._unapplied = self._unapplied + taken, []
        for one in taken:
            try:
                self._apply(one)
            except StoreUnreachable as error:  # whose day cannot be read back now
                self._unapplied.append(one)
                self.store_fails(error)

    def _apply(self, receipt: Receipt, *, replayed: bool = False) -> None:
        market = self.markets.get(receipt.market_id)
        series = None if market is None else market.series.get(receipt.symbol)
        if market is None or series is None:  # a symbol that is not collected
            return
        if series.minutes.forgets(receipt.ts) and not series.holes.lacks(receipt.ts):
            self._recall(series, receipt.ts)
        series.received.append(receipt)
        reception, revision = series.minutes.receive(receipt)
        if revision is not None:
            self._unkept.append(revision)
            self._keep_revisions()
        if reception is Reception.NEW:
            series.minutes.decide(receipt.ts)
        if replayed:
            return
        self._count(series, receipt, reception)
        if reception in (Reception.NEW, Reception.REVISED):
            self._compare(receipt)
        if reception is Reception.NEW:
            series.newest = max(series.newest, receipt.ts)
            series.holes.heard(receipt.ts, market.cause, market.now)
            self.publish(receipt)

    def _recall(self, series: CollectedSeries, ts: int) -> None:
        """Read the day of a minute back from the store; raises StoreUnreachable."""
        if self.clock() < self._store_due_ms:
            raise StoreUnreachable("the store does not answer.")
        day = ts // DAY * DAY
        held = _receipts(series, self.store.read(series.name, day, day + DAY)) if self.store.holds(series.name) else []
        series.minutes.recall(day, held)

    def _count(self, series: CollectedSeries, receipt: Receipt, reception: Reception) -> None:
        number = receipt.market_id
        self.received[number, receipt.source] += 1
        self.receptions[number, reception.value] += 1
        if reception is Reception.FAULTY:
            log.warning("faulty_minute", market=str(series.market), symbol=series.symbol, ts=iso(receipt.ts))
        if receipt.source is Source.STREAM and reception is Reception.NEW:
            series.lag_ms = receipt.received_ms - receipt.ts - MINUTE
            lags = self.lags_ms[number]
            lags.append(series.lag_ms)
            del lags[:-2000]

    def _compare(self, receipt: Receipt) -> None:
        """Compare a close with those of other venues."""
        for one in self.check.note(receipt.market_id, receipt.symbol, receipt.ts, receipt.close):
            self.disagreed += 1
            self.disagreements = [*self.disagreements[-99:], one]
            log.warning(
                "venues_disagree", symbol=one.symbol, ts=iso(one.ts), closes=one.closes, bps=round(one.bps, 1),
                limit_bps=self.settings.disagreement_bps,
            )  # fmt: skip

    def _keep_revisions(self) -> None:
        try:
            while self._unkept:
                self.raw.revise(self._unkept[0])
                self._unkept.pop(0)
        except OSError as error:
            self._disk_fails(error)

    def _disk_fails(self, error: Exception) -> None:
        if not self.disk_full:
            log.error(
                "disk_full", reason=cut(str(error)), remedy="free room; what was received waits in memory until then"
            )
        self.disk_full = self._disk_failed = True

    def store_fails(self, error: StoreUnreachable) -> None:
        """Note that the store does not answer, which is told once."""
        now = self.clock()
        if not self.store_away_ms:
            log.error("store_unreachable", reason=str(error), remedy="rows wait in the journal until it answers")
            self.store_away_ms = now
        if now >= self._store_due_ms:
            self._store_due_ms = now + STORE_PAUSE_MS

    def _store_answers(self) -> None:
        if self.store_away_ms:
            log.info("store_answers", away_seconds=(self.clock() - self.store_away_ms) // SECOND)
        self.store_away_ms = 0

    # What is looked at again and again

    async def tick(self) -> None:
        """Find holes, ask for what is missing, and put into the store what is due."""
        self.look()
        await asyncio.gather(*(self.fill(market) for market in self.markets.values()))
        self.save()

    def look(self) -> None:
        """Keep what waits for the disk, and find holes."""
        self.disk_full = self._disk_failed
        self._disk_failed = False
        self._keep_revisions()
        self.hear()
        self.trades.hear()
        if not self._waiting:  # what waits for the disk is not missing
            for market in self.markets.values():
                for series in market.series.values():
                    series.holes.look(market.now, market.cause)

    async def fill(self, market: CollectedMarket) -> None:
        """Ask a market for every hole that is due; one that does not answer is asked nothing more this time."""
        gate, answers = asyncio.Semaphore(QUESTIONS), True

        async def ask(series: CollectedSeries, hole: Hole) -> None:
            nonlocal answers
            async with gate:
                if answers:
                    answers = await self._ask(market, series, hole)
                else:
                    series.holes.unanswered(hole.first, hole.after, market.now)

        due = [(one, hole) for one in market.series.values() for hole in one.holes.due(market.now)]
        await asyncio.gather(*(ask(*one) for one in due))
        await self.trades.fill(market)

    async def _ask(self, market: CollectedMarket, series: CollectedSeries, hole: Hole) -> bool:
        """Ask for the first page of a hole, the rest of which stays due; whether the venue answered."""
        after = min(hole.after, hole.first + PAGE * MINUTE)
        try:
            found = await market.feed.minutes(series.symbol, hole.first, after)
        except FeedUnreachable as error:
            market.answered(str(error))
            series.holes.unanswered(hole.first, hole.after, market.now)
            return False
        except NotTraded as error:
            series.holes.answered(hole.first, hole.after, market.now)
            self._end(series, str(error))
        else:
            self.hear(*found)
            series.holes.answered(hole.first, after, market.now)
        market.answered()
        return True

    def _end(self, series: CollectedSeries, reason: str) -> None:
        """Expect nothing more of a symbol; what was collected of it stays."""
        if not series.holes.ended:
            log.warning("no_longer_traded", market=str(series.market), symbol=series.symbol, reason=reason)
        series.holes.end(series.newest)

    # The store

    def save(self, *, everything: bool = False) -> None:
        """Put into the store what is due, a few symbols at a time, or everything that is not in it."""
        now = self.clock()
        if now < self._store_due_ms and not everything:
            return
        all_series = [one for market in self.markets.values() for one in market.series.values()]
        due = [one for one in all_series if everything or now - one.saved_ms >= self.save_minutes * MINUTE]
        for series in due if everything else sorted(due, key=lambda one: one.saved_ms)[:SAVES_A_TICK]:
            try:
                self._save(series)
            except StoreUnreachable as error:
                self.store_fails(error)
                break
        oldest = min((one.saved_ms for one in all_series), default=0)
        if oldest // HOUR > self._compacted_ms // HOUR and self._all_began and not self._waiting:
            self._compact(oldest)
        if due or everything:
            self._write_holes()

    @property
    def _all_began(self) -> bool:
        """Whether every market has said what it lists, so that the journal has been applied."""
        return all(one.series for one in self.markets.values())

    def _save(self, series: CollectedSeries) -> None:
        now, batch, rows = self.clock(), series.minutes.take_unsaved(), tuple(series.received)
        if batch or rows:
            try:
                self.store.keep(series.name, batch, rows)
            except DISK as error:
                self._disk_fails(error)
                return
            self._store_answers()
            series.minutes.saved(batch)
            del series.received[: len(rows)]
        series.saved_ms = now
        series.minutes.forget(now // MINUTE * MINUTE - KEPT_MS)

    def _compact(self, before_ms: int) -> None:
        """Put journals of hours before into Parquet: every minute of them is in the store."""
        try:
            self.raw.compact(before_ms)
            self.trades.compact(before_ms)
        except DISK as error:
            self._disk_fails(error)
        else:
            self._compacted_ms = before_ms

    def _write_holes(self) -> None:
        """Write the list of holes, for `traderagent data holes`."""
        rows = [
            {
                "market": str(market.market),
                "symbol": series.symbol,
                "first": iso(hole.first),
                "after": iso(hole.after),
                "minutes": hole.minutes,
                "cause": str(hole.cause),
                "found": iso(hole.found_ms),
            }
            for market in self.markets.values()
            for series in market.series.values()
            for hole in series.holes.holes
        ]
        path = holes_file(self.settings.data_dir)
        partial = path.with_suffix(".partial")
        try:
            partial.write_text(json.dumps(rows), encoding="utf-8")
            partial.replace(path)
        except OSError as error:
            self._disk_fails(error)

    # What the venue lists

    async def refresh(self, market: CollectedMarket) -> None:
        """Learn what the market lists; begin to collect what is wanted, and end what is no longer traded.

        Raises FeedUnreachable, and Misconfigured for a symbol that was never traded.
        """
        listed = await market.feed.listed()
        turnovers = await market.feed.turnovers() if isinstance(market.wanted, SymbolRule) else {}
        place, now = market.market, self.clock()
        stored = {
            one.symbol for one in self.store.series() if (one.venue, one.market) == (place.exchange, place.market)
        }
        symbols = chosen(place, market.wanted, listed, turnovers, stored | set(market.series))
        tradable = {one.instrument.symbol for one in listed if one.tradable}
        rows = [ReferenceSymbol(one.instrument.symbol, place.id, one.base, one.quote, one.tradable) for one in listed]
        try:
            self.reference.replace(place.id, rows)
            stated = [(now, one.instrument) for one in listed if one.tradable]
            save_instruments(self.settings.data_dir, place.exchange, place.market, stated)
        except OSError as error:
            self._disk_fails(error)
        for symbol, series in market.series.items():
            if symbol not in tradable:
                self._end(series, "the venue no longer lists it as tradable")
        for symbol in symbols:
            if symbol not in market.series:
                self._begin(market, symbol)
        if market.wanted_trades:
            traded = chosen(place, market.wanted_trades, listed, {}, set(market.trades) | stored)
            for symbol in set(market.trades) - set(traded):
                del market.trades[symbol]
            self.trades.begin(market, [one for one in traded if one not in market.trades])

    def _begin(self, market: CollectedMarket, symbol: str) -> None:
        """Collect a symbol from here on, and what is missing of its last days."""
        now = market.now // MINUTE * MINUTE
        series = CollectedSeries(market.market, symbol, CanonicalMinutes(), SeriesHoles(0))
        first, stored = self._stored(series.name, now)
        market.series[symbol] = series
        for one in self._replayed.pop((market.market.id, symbol), ()):
            self._apply(one, replayed=True)
        there = {*series.minutes.held, *(stored or ())}
        series.minutes.forget(now)  # a day is read back when a minute of it is received
        series.holes = SeriesHoles(first)
        for ts in sorted(ts for ts in there if ts >= first):
            series.holes.heard(ts, HoleCause.COLLECTOR_OFF, market.now)
        series.holes.expect(now, HoleCause.COLLECTOR_OFF, market.now)
        series.newest = max(there, default=0)
        number = len(market.series) % self.save_minutes
        series.saved_ms = now if stored is None else now - number * MINUTE

    def _stored(self, name: SeriesName, now: int) -> tuple[int, list[int] | None]:
        """The first minute to collect, and those from it on that are stored; None for a series that is new."""
        first = now - self.settings.history_days * DAY
        if not self.store.holds(name):
            return first, None
        end = self.store.end(name)
        first = max(min(first, end), now - LONGEST_LOOK_MS)  # what was missed since it last ran is asked for too
        return first, self.store.read(name, first, now).ts.tolist()

    async def refresh_funding(self, market: CollectedMarket) -> None:
        """Store the settlements that are new. Raises FeedUnreachable."""
        if market.market.market is not Market.LINEAR:
            return
        for series in market.series.values():
            held = None if series.holes.ended else self.funding.read(series.name)
            since = market.now - FUNDING_DAYS * DAY if held is None else int(held.ts[-1]) + MINUTE
            if series.holes.ended or since > market.now:
                continue
            rows = await market.feed.funding(series.symbol, since)
            if rows:
                ts, rates = zip(*rows, strict=True)
                try:
                    self.funding.write(series.name, FundingHistory(np.array(ts), np.array(rates)), replace=True)
                except DISK as error:
                    self._disk_fails(error)


def _receipts(series: CollectedSeries, candles: Candles) -> list[Receipt]:
    columns = [getattr(candles, name).tolist() for name in COLUMNS]
    return [Receipt.of(series.market.id, series.symbol, row, 0, Source.STORE) for row in zip(*columns, strict=True)]


def holes_file(data_dir: Path) -> Path:
    """Where the list of holes is."""
    return data_dir / "holes.json"


def read_holes(data_dir: Path) -> list[dict[str, Any]]:
    """Read the list of holes that a collector wrote last; empty where there is none."""
    path = holes_file(data_dir)
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else []


def _locked(data_dir: Path) -> int:
    """Lock a data directory for one collector; raises Misconfigured while another has it."""
    data_dir.mkdir(parents=True, exist_ok=True)
    lock = try_lock(data_dir / "collector.lock")
    if lock is None:
        raise Misconfigured(
            f"data_dir {cut(str(data_dir))} is written by another collector; stop that one, or give another data_dir."
        )
    return lock
