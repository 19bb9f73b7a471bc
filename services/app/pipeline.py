"""Takes one pair after the other through the chain of `search.pipeline`: what a pair leaves is a row and a preset.

Searches are sessions of the data directory's database: the same chain again, after an interruption too, plays only
what is not stored. Candles and rows of a pair are let go before the next one is read.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml

from backtesting.candles import read_candles
from bot.errors import Misconfigured, TradingError, cut
from search.batch import BAR
from search.pair_classes import PairClass
from search.pipeline import (
    ABANDONED,
    FAILED,
    PipelineQuestion,
    classified,
    coarse_space,
    fine_space,
    preset_comments,
    reason_to_abandon,
    row_of,
    row_of_abandoned,
    split_of,
)
from search.reading import read_space
from search.runners import Threads
from search.session import session_of
from search.stress import stress
from search.sweep import sweep
from search.window import MarketHistory, market_of
from services.app.backtest import histories_of
from services.app.batch import candle_files
from services.app.research import kept_of_sweep
from services.app.search import in_thread, refuse_ended, search_in, trial_store
from services.app.stored_pairs import stored_pairs
from services.market_data.file_names import name_of
from services.market_data.instruments import load_instruments
from services.market_data.store import CandleStore, bar_length_of
from services.runtime.config import EMBEDDED

if TYPE_CHECKING:
    import threading
    from collections.abc import AsyncIterator, Callable, Sequence
    from pathlib import Path

    from bot.candles import Candles
    from search.exploration import Progress
    from search.sweep import Sweep
    from services.storage.trials import TrialStore

STEPS = ("classify", "coarse search", "fine search", "stress")


@dataclass(frozen=True)
class PipelineSource:
    """A pair of a pipeline: what a config says of it, and where its candles lie."""

    name: str  # of its preset's file
    place: dict[str, Any]  # pair, market, and where they are known exchange and bar
    read: Callable[[], Candles]


@dataclass(frozen=True)
class PipelinePair:
    """What came of a pair: its row of the summary, and its preset where it has one."""

    name: str
    row: dict[str, Any]
    preset: str | None


def sources_in_store(
    data_dir: Path, symbols: Sequence[str], exchange: str | None, market: str | None
) -> list[PipelineSource]:
    """List the pairs of the store, or those that are asked for; raises Misconfigured without one."""
    store = CandleStore(data_dir)
    series = stored_pairs(store, symbols, exchange, market)
    names = [one.symbol for one in series]
    return [
        PipelineSource(
            one.symbol if names.count(one.symbol) == 1 else f"{one.symbol}-{one.venue}-{one.market}",
            {"pair": one.symbol, "exchange": one.venue, "market": one.market, "bar": one.bar},
            lambda one=one: store.read(one),  # type: ignore[misc]
        )
        for one in series
    ]


def sources_in_folder(
    folder: Path, symbols: Sequence[str], bar: str | None, exchange: str | None, market: str | None
) -> list[PipelineSource]:
    """List the pairs of a folder of candle files, or those that are asked for; raises Misconfigured without one.

    Of a pair with several files that fit, the source says so when it is read.
    """
    if bar is not None and not BAR.fullmatch(bar):
        raise Misconfigured(f"bar is {cut(bar)}, which is no length of bars; write one such as 1m, 1h or 1d.")
    files = candle_files(folder)
    missing = next((one for one in symbols if one not in files), None)
    if missing is not None:
        raise Misconfigured(
            f"symbols names {missing}, of which the folder holds no file; take it out, or put one there."
        )
    return [
        _source_of(symbol, [one for one in files[symbol] if _fits(one, bar, market)], exchange, market)
        for symbol in sorted(symbols or files)
    ]


def _fits(path: Path, bar: str | None, market: str | None) -> bool:
    named = name_of(path)
    return (bar is None or named.bar_ms == bar_length_of(bar)) and market in (None, named.market or market)


def _source_of(symbol: str, files: list[Path], exchange: str | None, market: str | None) -> PipelineSource:
    named = name_of(files[0]) if len(files) == 1 else None
    place: dict[str, Any] = {"pair": symbol}
    for key, given, told in (
        ("exchange", exchange, named and named.venue),
        ("market", market, named and named.market),
    ):
        if given or told:
            place[key] = str(given or told)

    def read() -> Candles:
        if len(files) != 1:
            said = "none" if not files else f"{len(files)} files, {cut(', '.join(one.name for one in files))},"
            raise Misconfigured(
                f"candles: the folder holds {said} of {symbol} that fit; name one kind by --bar or --market."
            )
        return read_candles(files[0])

    return PipelineSource(symbol, place, read)


def refuse_question(question: PipelineQuestion, sources: Sequence[PipelineSource]) -> None:
    """Raise Misconfigured for what is wrong for every pair, before one is read."""
    read_space(coarse_space(question, sources[0].place, PairClass.STABLE))


async def run_pipeline(
    data_dir: Path,
    question: PipelineQuestion,
    sources: Sequence[PipelineSource],
    workers: int,
    told: Callable[[int, float, str], None],
    address: str = EMBEDDED,
) -> AsyncIterator[PipelinePair]:
    """Take pairs through the chain; `told` hears the pair's place, the share of it that is done, and what is done.

    Rows are in the database at `address`. A pair that cannot be played is named with its reason and stops no other.
    """
    async with trial_store(data_dir, address) as store:
        for number, source in enumerate(sources):

            def hear(share: float, said: str, number: int = number) -> None:
                told(number, share, said)

            chain = _Chain(data_dir, store, question, source, workers, hear)
            yield await chain.outcome()


class _Chain:
    """The steps of one pair."""

    def __init__(
        self,
        data_dir: Path,
        store: TrialStore,
        question: PipelineQuestion,
        source: PipelineSource,
        workers: int,
        told: Callable[[float, str], None],
    ) -> None:
        self.data_dir, self.store, self.question, self.source = data_dir, store, question, source
        self.workers, self._told = workers, told
        self.kind: PairClass | None = None

    async def outcome(self) -> PipelinePair:
        """Go through all steps, or name why the pair was left."""
        try:
            return await self._steps()
        except TradingError as error:
            return self._left(FAILED, str(error))
        except OSError as error:
            if error.filename is None:
                raise
            return self._left(FAILED, f"{cut(str(error.filename))}: {error.strerror}; check the path and its rights.")

    async def _steps(self) -> PipelinePair:
        self._step(0)
        self.kind, movement, candles = await in_thread(self._classified)
        first = read_space(coarse_space(self.question, self.source.place, self.kind))
        market = self._market(first, candles)
        coarse, sessions = await self._search(1, first, market), [session_of("sweep", first, market)]
        if reason := reason_to_abandon(coarse, self.question):
            return self._left(ABANDONED, reason)
        second = read_space(fine_space(coarse))
        fine = await self._search(2, second, market)
        sessions.append(session_of("sweep", second, market))
        if reason := reason_to_abandon(fine, self.question):
            return self._left(ABANDONED, reason)

        def stressed(ended: threading.Event) -> Any:
            def hear(share: float) -> None:
                refuse_ended(ended)
                self._step(3, share)

            return stress(fine.best, market, hear)

        scenarios = await in_thread(stressed)
        names = dict(zip(("coarse", "fine"), (one.name for one in sessions), strict=True))
        row = row_of(self.source.place, self.kind, movement, names, fine, scenarios)
        preset = preset_comments(self.source.name, row, self.question)
        text = "\n".join((*preset, yaml.safe_dump(fine.best.document(), sort_keys=False)))
        return PipelinePair(self.source.name, {**row, "preset": f"presets/{self.source.name}.yaml"}, text)

    def _classified(self, _ended: threading.Event) -> Any:
        candles, last = self.source.read(), self.question.last_candles
        if last is not None and len(candles) > last:
            candles = candles.rows(slice(len(candles) - last, None))
        if not len(candles):
            raise Misconfigured(f"candles: there are none of {self.source.place['pair']}; import or download some.")
        return (*classified(candles, split_of(candles)), candles)

    def _market(self, space: Any, candles: Candles) -> MarketHistory:
        config = space.first
        stated = load_instruments(self.data_dir, config.exchange, config.market).get(config.pair)
        funding = histories_of(config, self.data_dir) if "exchange" in self.source.place else {}
        return market_of(config, candles, stated, funding.get(config.pair))

    async def _search(self, step: int, space: Any, market: MarketHistory) -> Sweep:
        def searched(trials: Any, told: Any) -> Sweep:
            known: dict[str, Any] = {"fetched": market.fetched, "funding": market.funding}
            with Threads(self.workers or None) as runner:
                return sweep(space, market.candles, **known, runner=runner, trials=trials, progress=told)

        def told(now: Progress) -> None:
            self._step(step, now.done / max(now.total, 1), f" {now.done:,} of {now.total:,}")

        return await search_in(self.store, session_of("sweep", space, market), searched, told, kept_of_sweep)

    def _step(self, step: int, share: float = 0.0, said: str = "") -> None:
        self._told((step + share) / len(STEPS), f"{self.source.name}: {STEPS[step]}{said}")

    def _left(self, status: str, reason: str) -> PipelinePair:
        return PipelinePair(self.source.name, row_of_abandoned(self.source.place, status, reason, self.kind), None)
