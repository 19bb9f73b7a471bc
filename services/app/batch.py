"""Plays the runs of a batch in threads: compiled code runs in all of them at once.

A run that was finished before, on the same inputs and by the same code, is not played again. One that fails is an
outcome like others. Nothing is written here in a thread: who takes an outcome keeps it.
"""

from __future__ import annotations

import json
import re
import threading
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

from backtesting.candles import read_candles
from backtesting.portfolio_result import run_id_of_pairs
from backtesting.portfolio_run import play_portfolio, prepare_portfolio
from backtesting.result import BacktestResult, run_id_of
from backtesting.run import limits_may_bind, play_single, prepare, simulate
from backtesting.tables import ENDINGS
from backtesting.validation import QualityStatus
from bot.errors import Misconfigured, TradingError, cut
from bot.times import DAY
from coordinator.config import PortfolioConfig
from search.batch import FailedRun, FinishedRun
from search.run_figures import run_figures
from services.app.backtest import candles_for, find_series, find_series_of_one, histories_of
from services.market_data.file_names import FileKind, name_of
from services.market_data.instruments import load_instruments
from services.market_data.store import CandleStore, SeriesName, bar_length_of
from services.whole_file import write_whole

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from backtesting.portfolio_result import PortfolioResult
    from bot.candles import Candles
    from search.batch import BatchRun
    from services.app.criteria import JudgedBy

WORKERS = 4
VALIDATION = "validation"  # among the figures of a run that was validated
AHEAD = 2  # runs that wait for each worker: results are large until they are taken


class FinishedRuns:
    """Figures of finished runs, a small file each, by run id: a hash of inputs and code."""

    def __init__(self, data_dir: Path) -> None:
        self.folder = data_dir / "batches" / "runs"

    def path(self, run_id: str) -> Path:
        """Where the figures of a run lie."""
        return self.folder / f"{run_id}.json"

    def read(self, run_id: str) -> dict[str, Any] | None:
        """Figures of a run; None where there are none, or the file is damaged."""
        try:
            figures = json.loads(self.path(run_id).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        whole = isinstance(figures, dict) and figures.get("run_id") == run_id
        return figures if whole else None

    def write(self, figures: dict[str, Any]) -> None:
        """Keep the figures of a run, whole or not at all."""
        path = self.path(figures["run_id"])
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, json.dumps(figures))


@dataclass(frozen=True)
class PlayedRun:
    """What came of a run: its figures, and the whole result where it was played now and is wanted."""

    run: BatchRun
    figures: dict[str, Any]
    reused: bool
    result: BacktestResult | PortfolioResult | None


@dataclass(frozen=True)
class FoundRun:
    """A run that is ready to be played: its config and candles, and what is known of its pair."""

    config: Any
    candles: Candles
    instrument: Any
    funding: Any


@dataclass(frozen=True)
class ReadyRun:
    """A run whose name is known before it is played: what one machine code plays, and what plays it."""

    run_id: str
    kind: Any
    play: Callable[[bool], BacktestResult | PortfolioResult]  # told whether the whole result is wanted


class ListedStore(CandleStore):
    """A store that is listed once: nothing is imported while a batch plays."""

    @cached_property
    def _listed(self) -> list[SeriesName]:
        return super().series()

    def series(self) -> list[SeriesName]:
        """Everything that is stored, sorted."""
        return self._listed


class BatchPlayer:
    """Plays one run after the other, in any thread."""

    def __init__(
        self,
        data_dir: Path,
        folder: Path | None = None,
        needs_result: Callable[[BatchRun, str], bool] | None = None,
        judged_by: JudgedBy | None = None,
    ) -> None:
        """`folder`: candle files instead of the store; `needs_result`: whether a run's whole result is wanted.

        `judged_by`: what every run is held against.
        """
        self.judged_by = judged_by
        self.data_dir, self.finished = data_dir, FinishedRuns(data_dir)
        self._store, self._needs = ListedStore(data_dir), needs_result or (lambda _run, _run_id: False)
        self._files = None if folder is None else candle_files(folder)
        self._read_file = lru_cache(maxsize=2)(read_candles)
        self._compiled: set[Any] = set()
        self._compiling = threading.Lock()

    def play(self, run: BatchRun) -> PlayedRun:
        """Play a run, or read what it came to; raises TradingError for one that cannot be played."""
        ready = self._ready(run, self.found(run))
        needed = self._needs(run, ready.run_id)
        figures = self.finished.read(ready.run_id)
        if figures is not None and not needed and self._is_judged(figures):
            return PlayedRun(run, figures, True, None)
        with self._alone_first(ready.kind):
            result = ready.play(needed)
            figures = run_figures(ready.run_id, result)
        if self.judged_by is not None:
            figures[VALIDATION] = self.judged_by.figures(result)
        return PlayedRun(run, figures, False, result)

    def _is_judged(self, figures: dict[str, Any]) -> bool:
        """Whether kept figures say what came of these checks, where any are asked for."""
        judged = figures.get(VALIDATION)
        return self.judged_by is None or (isinstance(judged, dict) and judged.get("criteria") == self.judged_by.digest)

    def found(self, run: BatchRun) -> FoundRun:
        """Find the candles of a run, from its warm-up on, and what is known of its pair."""
        config = run.config()
        named = "exchange" in config.model_fields_set
        config, candles = self._stored(run, config) if self._files is None else self._in_file(run, config)
        instrument = load_instruments(self.data_dir, config.exchange, config.market).get(run.symbol)
        funding = histories_of(config, self.data_dir) if named or self._files is None else {}
        return FoundRun(config, candles, instrument, funding.get(run.symbol))

    def _stored(self, run: BatchRun, config: Any) -> tuple[Any, Candles]:
        several = isinstance(config, PortfolioConfig)
        find: Any = find_series_of_one if several else find_series
        config, series = find(config, self._store)
        if run.period.last_days is not None:
            config = config.changed(start=self._store.end(series) - int(run.period.last_days * DAY))
        return config, candles_for(config, self._store, series)

    def _in_file(self, run: BatchRun, config: Any) -> tuple[Any, Candles]:
        assert self._files is not None
        own = [path for path in self._files.get(run.symbol, ()) if _has_bars(path, config.bar)]
        if len(own) != 1:
            said = "holds none" if not own else f"holds {len(own)} files, {cut(', '.join(one.name for one in own))},"
            raise Misconfigured(f"candles: the folder {said} of {run.symbol}; put one there, or set bar.")
        candles = self._read_file(own[0])
        if run.period.last_days is not None and len(candles):
            end = int(candles.ts[-1]) + candles.bar_ms
            config = config.changed(start=end - int(run.period.last_days * DAY))
        return config, candles

    def _ready(self, run: BatchRun, found: FoundRun) -> ReadyRun:
        if isinstance(found.config, PortfolioConfig):
            return _ready_portfolio(run.symbol, found)
        return _ready_single(found)

    @contextmanager
    def _alone_first(self, kind: Any) -> Iterator[None]:
        """Let the first run of a kind be alone: the compiler works for one thread."""
        if kind in self._compiled:
            yield
            return
        with self._compiling:
            yield
            self._compiled.add(kind)


def _ready_single(found: FoundRun) -> ReadyRun:
    known = {"fetched": found.instrument, "funding": found.funding}
    made = prepare(found.config, found.candles, **known)

    def play(needed: bool) -> BacktestResult:
        if needed:
            return simulate(found.config, found.candles, **known)
        return BacktestResult(made.config, play_single(made.config, made.candles), made.first)

    kind = (made.config.loaded, limits_may_bind(made.config, made.candles))
    return ReadyRun(run_id_of(made.config, made.candles), kind, play)


def _ready_portfolio(symbol: str, found: FoundRun) -> ReadyRun:
    known: dict[str, Any] = {"fetched": {symbol: found.instrument} if found.instrument else {}}
    known["funding"] = {symbol: found.funding} if found.funding else {}
    made = prepare_portfolio(found.config, {symbol: found.candles}, **known)
    prepared = dict(zip(made.pairs.pairs, made.pairs.tapes, strict=True))
    kind = tuple(strategy for strategy, _ in made.config.algorithm.trading())
    run_id = run_id_of_pairs(made.config, prepared, made.snapshots)
    return ReadyRun(run_id, kind, lambda needed: play_portfolio(made, keep_desired_orders=needed))


class RunFolders:
    """Run directories of a batch, named by rule, pair and run id."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, run: BatchRun, run_id: str) -> Path:
        """Where the directory of a run lies."""
        rule = re.sub(r"[^A-Za-z0-9._-]+", "-", run.rule)
        return self.folder / f"{rule}-{run.symbol}-{run_id}"

    def misses(self, run: BatchRun, run_id: str) -> bool:
        """Whether a run has no directory yet."""
        return not (self.path(run, run_id) / "result.json").exists()

    def write(self, played: PlayedRun) -> None:
        """Write the directory of a run that has just been played, whole or not at all."""
        from backtesting.reports.run_directory import write_run  # noqa: PLC0415, draws pictures

        if played.result is not None:
            write_run(played.result, self.path(played.run, played.figures["run_id"]))


@dataclass(frozen=True)
class PlayedBatch:
    """What came of all runs, in the order in which they were asked for."""

    outcomes: list[FinishedRun | FailedRun]
    reused: int  # finished before


def play_batch(
    runs: tuple[BatchRun, ...],
    player: BatchPlayer,
    workers: int,
    told: Callable[[int, int, int], None],
    places: RunFolders | None = None,
    failed: Callable[[FailedRun], None] = lambda _failed: None,
) -> PlayedBatch:
    """Play every run and keep what came of it.

    `told` hears how many have ended, of how many, and how many of them failed, and may raise to end the batch; what is
    done is kept. `failed` hears of each that failed.
    """
    found: dict[int, FinishedRun | FailedRun] = {}
    reused = refused = 0
    for done, outcome in enumerate(play_all(runs, player.play, workers), 1):
        one = _kept(outcome, player, places)
        found[id(one.run)] = one
        if isinstance(one, FailedRun):
            refused += 1
            failed(one)
        reused += isinstance(outcome, PlayedRun) and outcome.reused
        told(done, len(runs), refused)
    return PlayedBatch([found[id(run)] for run in runs], reused)


def _kept(outcome: PlayedRun | FailedRun, player: BatchPlayer, places: RunFolders | None) -> FinishedRun | FailedRun:
    """Keep the figures of a run that was played, and its directory where it is wanted."""
    if isinstance(outcome, FailedRun):
        return outcome
    if not outcome.reused:
        try:
            if places is not None:
                places.write(outcome)
        except Misconfigured as error:  # something else lies there
            return FailedRun(outcome.run, str(error))
        player.finished.write(outcome.figures)
    return _judged(outcome, asked=player.judged_by is not None)


def _judged(outcome: PlayedRun, *, asked: bool) -> FinishedRun | FailedRun:
    """A run with what its validation says, where one is asked for: one that fails has failed."""
    figures = {name: value for name, value in outcome.figures.items() if name != VALIDATION}
    if not asked:
        return FinishedRun(outcome.run, figures)
    judged = outcome.figures[VALIDATION]
    if judged["qa_status"] == QualityStatus.FAIL:
        return FailedRun(outcome.run, f"validation: {cut('; '.join(judged['issues_found']), 400)}")
    shown = {name: judged[name] for name in ("qa_status", "issues_found")}
    return FinishedRun(outcome.run, {**figures, **shown})


def candle_files(folder: Path) -> dict[str, list[Path]]:
    """Files of candles under a folder by the pair that their names tell; raises Misconfigured without one."""
    if not folder.is_dir():
        raise Misconfigured(f"candles is {cut(str(folder))}, which is no folder; name one with candle files.")
    found: dict[str, list[Path]] = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and ENDINGS.search(path.name) and not path.name.startswith("."):
            named = name_of(path)
            if named.kind is FileKind.CANDLES and named.symbol:
                found.setdefault(named.symbol, []).append(path)
    if not found:
        raise Misconfigured(f"candles: {cut(str(folder))} holds no file named by a pair; name one like BTCUSDT-1m.csv.")
    return found


def _has_bars(path: Path, bar: str | None) -> bool:
    return bar is None or name_of(path).bar_ms == bar_length_of(bar)


def play_all(
    runs: Iterable[BatchRun], play: Callable[[BatchRun], PlayedRun], workers: int = WORKERS
) -> Iterator[PlayedRun | FailedRun]:
    """Play runs in threads and yield what came of each as it ends; one that fails stops no other."""
    waiting = iter(runs)
    pool = ThreadPoolExecutor(workers)
    pending: dict[Future[PlayedRun], BatchRun] = {}
    try:
        while True:
            while len(pending) < AHEAD * workers and (run := next(waiting, None)) is not None:
                pending[pool.submit(play, run)] = run
            if not pending:
                return
            for one in wait(pending, return_when=FIRST_COMPLETED).done:
                yield outcome_of(pending.pop(one), one)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def outcome_of(run: BatchRun, future: Future[PlayedRun]) -> PlayedRun | FailedRun:
    """What came of a run that has ended; an end of the program itself is raised."""
    error = future.exception()
    if error is None:
        return future.result()
    if not isinstance(error, Exception):
        raise error
    return FailedRun(run, fault_of(error))


def fault_of(error: BaseException) -> str:
    """What is said of something that was played and failed: its sentence, or that it is a fault."""
    if isinstance(error, TradingError):
        return str(error)
    if isinstance(error, OSError) and error.filename is not None:
        return f"{cut(str(error.filename))}: {error.strerror}; check the path and its rights."
    return f"fault of the program or of a strategy: {type(error).__name__}: {cut(str(error))}"
