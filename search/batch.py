"""A batch: strategies on pairs, timeframes and periods, as a YAML file asks for them, and what came of all its runs.

Reading plays nothing: what is wrong with the file is told before the first run. Every run is one strategy, or `auto`,
on one pair. What a run came to is plain figures, which can be kept and read again.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from backtesting.validation import ValidationCriteria
from bot.candles import iso
from bot.errors import Misconfigured, shown
from bot.parameters import Number
from bot.validation import validated
from coordinator.config import Time, load_config
from coordinator.config_file import AUTO, config_values, is_own, names_of_pairs, read_values

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from coordinator.config import BacktestConfig, PortfolioConfig

MOST_RUNS = 20_000
SHARED = ("exchange", "market", "bar", "capital", "leverage", "execution")  # of a config, said once for all runs
KEYS = ("version", "pairs", "timeframes", "periods", "strategies", "candles", "validation", *SHARED)
OF_THE_BATCH = ("pair", "pairs", "from", "to", "candles", "investments", "instrument", "instruments")
BAR = re.compile(r"[1-9]\d{0,4}[smhdw]")
LABEL = re.compile(r"[^\x00-\x1f]{1,60}")


class BatchPeriod(BaseModel):
    """A part of the candles: between two times, the last days, or all there is."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    name: str | None = Field(None, min_length=1, max_length=60, description="what the period is called")
    start: Time | None = Field(None, alias="from", description="first minute that may trade, UTC")
    end: Time | None = Field(None, alias="to", description="end, not included, UTC")
    last_days: Number | None = Field(None, ge=1, le=36_500, description="the last days of the pair's candles instead")

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if self.last_days is not None and (self.start is not None or self.end is not None):
            raise ValueError("last_days stands beside from or to; leave one of them out")
        if self.start is not None and self.end is not None and self.start >= self.end:
            raise ValueError(f"from ({iso(self.start)}) must lie before to ({iso(self.end)}); swap or widen them")
        return self

    @property
    def label(self) -> str:
        """The name, or the times."""
        if self.name is not None:
            return self.name
        if self.last_days is not None:
            return f"last {self.last_days:g} days"
        start, end = ("" if one is None else iso(one)[:10] for one in (self.start, self.end))
        return f"{start} to {end}".strip() if start or end else "all"


ALL = BatchPeriod()  # of the candles


@dataclass(frozen=True)
class BatchRun:
    """One run: a rule, which is a strategy with its parameters, on one pair, timeframe and period."""

    rule: str
    symbol: str
    timeframe: str | None  # None: the rule's own
    period: BatchPeriod
    values: dict[str, Any] = field(repr=False)  # of its config, without pair and period

    @property
    def label(self) -> str:
        """What a person calls it."""
        return " ".join((self.rule, self.symbol, *([self.timeframe] if self.timeframe else []), self.period.label))

    def config(self) -> BacktestConfig | PortfolioConfig:
        """Build its config; of the last days, without a start. Raises Misconfigured."""
        period = {"from": self.period.start, "to": self.period.end}
        changes: dict[str, Any] = {"pairs": [self.symbol]}
        changes.update({key: value for key, value in period.items() if value is not None})
        if self.timeframe is not None:
            changes["timeframe"] = self.timeframe
        return load_config(self.values, changes)

    def question(self) -> dict[str, Any]:
        """What was asked, as JSON has it."""
        asked = {"rule": self.rule, "symbol": self.symbol, "timeframe": self.timeframe, "values": self.values}
        whole = {**asked, "period": self.period.model_dump(mode="json")}
        return dict(json.loads(json.dumps(whole, default=str)))


@dataclass(frozen=True)
class Batch:
    """Everything that a file asks for; pairs change last, so that one pair's candles are read together."""

    runs: tuple[BatchRun, ...]
    candles: Path | None  # a folder of candle files instead of the store
    document: dict[str, Any]  # what `read_batch` makes this of again, without other files
    validation: dict[str, Any] | None = None  # criteria that every run has to meet; None: none is validated


@dataclass(frozen=True)
class BatchRule:
    """A strategy with its parameters, under a name of its own."""

    name: str
    values: dict[str, Any]
    timeframes: tuple[str | None, ...]


def read_batch(source: Path | dict[str, Any]) -> Batch:
    """Read a batch from a file or a dict and try every rule with every timeframe.

    Raises Misconfigured with one sentence.
    """
    values = dict(source) if isinstance(source, dict) else read_values(source)
    folder = Path() if isinstance(source, dict) else source.parent
    odd = next((key for key in values if key not in KEYS), None)
    if odd is not None:
        raise Misconfigured(f"batch has the key {shown(odd)}, which is unknown; choose among {', '.join(KEYS)}.")
    if values.get("version", 1) != 1:
        raise Misconfigured(f"version is {shown(values['version'])} but this program reads version 1 of a batch.")
    pairs = names_of_pairs(values.get("pairs") or ())
    twice = next((pair for pair in pairs if pairs.count(pair) > 1), None)
    if not pairs or twice is not None:
        said = "names none" if not pairs else f"names {twice} twice"
        raise Misconfigured(f"pairs {said}; list each pair of the batch once, such as [BTCUSDT, ETHUSDT].")
    periods = _periods(values.get("periods"))
    shared = {key: values[key] for key in SHARED if key in values}
    usual = _timeframes(values.get("timeframes"), "timeframes")
    rules = [_rule(one, f"strategies[{at}]", folder, shared, usual) for at, one in _listed(values)]
    names = [one.name for one in rules]
    same = next((name for name in names if names.count(name) > 1), None)
    if same is not None:
        raise Misconfigured(f"strategies has {shown(same)} twice; give each entry a name of its own.")
    size = len(pairs) * len(periods) * sum(len(rule.timeframes) for rule in rules)
    if size > MOST_RUNS:
        raise Misconfigured(f"batch asks for {size:,} runs, more than {MOST_RUNS:,}; split it.")
    runs = tuple(
        BatchRun(rule.name, pair, timeframe, period, rule.values)
        for pair in pairs
        for rule in rules
        for timeframe in rule.timeframes
        for period in periods
    )
    for run in runs[: size // len(pairs) : len(periods)]:  # of the first pair, every rule and timeframe once
        _tried(run)
    candles = values.get("candles")
    if candles is not None and not isinstance(candles, str | Path):
        raise Misconfigured(f"candles is {shown(candles)}; name a folder of candle files, or leave it out.")
    held = None if candles is None else Path(candles)
    validation = _validation(values.get("validation"), folder)
    document = _document(pairs, periods, rules, held)
    return Batch(runs, held, document if validation is None else {**document, "validation": validation}, validation)


def _validation(given: Any, folder: Path) -> dict[str, Any] | None:
    """Criteria that runs have to meet: keys and values, a file beside the batch, or true for the default ones.

    Nobody is there to confirm samples, so a batch asks for none.
    """
    if given is None or given is False:
        return None
    if isinstance(given, str):
        folder, given = (folder / given).parent, read_values(folder / given)
    values = {} if given is True else given
    if not isinstance(values, dict):
        raise Misconfigured(f"validation is {shown(given)}; give true, a file of criteria, or criteria.")
    zones = values.get("zones")
    if isinstance(zones, dict) and isinstance(zones.get("labels"), str):
        values = {**values, "zones": {**zones, "labels": str((folder / zones["labels"]).resolve())}}
    criteria: ValidationCriteria = validated(ValidationCriteria, {**values, "samples": 0}, "validation")
    return criteria.model_dump(mode="json")


def _document(
    pairs: Iterable[str], periods: list[BatchPeriod], rules: list[BatchRule], candles: Path | None
) -> dict[str, Any]:
    """A batch with everything that it takes from other files, as JSON has it."""
    listed = [
        {**rule.values, "name": rule.name, "timeframes": [one for one in rule.timeframes if one is not None]}
        for rule in rules
    ]
    spans = [one.model_dump(mode="json", by_alias=True, exclude_none=True) for one in periods]
    whole = {"pairs": list(pairs), "periods": [one for one in spans if one], "strategies": listed}
    if not whole["periods"]:
        del whole["periods"]
    if candles is not None:
        whole["candles"] = str(candles.resolve())
    return dict(json.loads(json.dumps(whole, default=str)))


def _tried(run: BatchRun) -> None:
    try:
        run.config()
    except Misconfigured as error:
        raise Misconfigured(f"strategies, {run.rule}: {error}") from None


def _listed(values: dict[str, Any]) -> Iterator[tuple[int, Any]]:
    listed = values.get("strategies")
    if not isinstance(listed, list) or not listed:
        raise Misconfigured(f"strategies is {shown(listed)}; list names, config files or sections, such as [trend].")
    yield from enumerate(listed)


def _periods(given: Any) -> list[BatchPeriod]:
    if given is None:
        return [ALL]
    if not isinstance(given, list) or not given:
        raise Misconfigured(f"periods is {shown(given)}; list periods, such as [{{from: 2024-01-01, to: 2024-07-01}}].")
    periods = []
    for at, one in enumerate(given):
        if not isinstance(one, dict):
            raise Misconfigured(f"periods[{at}] is {shown(one)}; give from and to, or last_days.")
        periods.append(validated(BatchPeriod, one, f"periods[{at}]"))
    labels = [one.label for one in periods]
    twice = next((label for label in labels if labels.count(label) > 1), None)
    if twice is not None:
        raise Misconfigured(f"periods has {shown(twice)} twice; give each a name of its own, or leave one out.")
    return periods


def _timeframes(given: Any, place: str) -> tuple[str | None, ...]:
    """Timeframes as they are listed; the strategy's own alone where none is."""
    if given is None or given == []:
        return (None,)
    listed = given if isinstance(given, list) else [given]
    odd = next((one for one in listed if not isinstance(one, str) or not BAR.fullmatch(one)), None)
    if odd is not None or len(set(map(str, listed))) < len(listed):
        raise Misconfigured(f"{place} is {shown(given)}; list lengths of signal bars, each once, such as [1h, 4h].")
    return tuple(listed)


def _rule(entry: Any, place: str, folder: Path, shared: dict[str, Any], usual: tuple[str | None, ...]) -> BatchRule:
    """Read an entry of `strategies`: a name, a config file, or a section with options."""
    if isinstance(entry, str):
        is_file = entry.lower().endswith((".yaml", ".yml"))
        entry = {"config": entry} if is_file else {"strategy": entry}
    if not isinstance(entry, dict):
        raise Misconfigured(f"{place} is {shown(entry)}; give a name, a config file or a mapping with strategy.")
    own = dict(entry)
    name, file, timeframes = own.pop("name", None), own.pop("config", None), own.pop("timeframes", None)
    odd = next((key for key in own if key in OF_THE_BATCH), None)
    if odd is not None:
        raise Misconfigured(f"{place}.{odd} is {shown(own[odd])}; pairs, periods and candles are the batch's own keys.")
    values = _of_file(file, place, folder)
    if "strategy" in own:
        own["strategy"] = _beside(own["strategy"], folder)
    for key, value in (*shared.items(), *own.items()):
        before = values.get(key)
        values[key] = {**before, **value} if isinstance(before, dict) and isinstance(value, dict) else value
    values = config_values(values)
    named = Path(str(file)).stem if file is not None else values["strategy"].rpartition(":")[2]
    name = named if name is None else name
    if not isinstance(name, str) or not LABEL.fullmatch(name):
        raise Misconfigured(f"{place}.name is {shown(name)}; give a name of at most 60 characters.")
    if timeframes is None:
        lengths = (None,) if values["strategy"] == AUTO else usual  # the algorithm has several of its own
    else:
        lengths = _timeframes(timeframes, f"{place}.timeframes")
    return BatchRule(name, values, lengths)


def _of_file(file: Any, place: str, folder: Path) -> dict[str, Any]:
    """Values of a config file beside the batch, without what the batch says itself."""
    if file is None:
        return {}
    if not isinstance(file, str):
        raise Misconfigured(f"{place}.config is {shown(file)}; name a config file.")
    return without_pairs(read_values(folder / file))


def without_pairs(values: dict[str, Any]) -> dict[str, Any]:
    """Values of a config without its pairs, period and candles, and without the bot that runs it."""
    return {key: value for key, value in values.items() if key not in (*OF_THE_BATCH, "bot")}


def _beside(strategy: Any, folder: Path) -> Any:
    """A strategy's file as seen from the folder of the batch."""
    if not isinstance(strategy, str) or not is_own(strategy) or ".py" not in strategy:
        return strategy
    file, colon, name = strategy.partition(":")
    return f"{(folder / file).resolve()}{colon}{name}"


@dataclass(frozen=True)
class FinishedRun:
    """A run that was played, now or before."""

    run: BatchRun
    figures: dict[str, Any]  # plain, from `search.run_figures`

    def row(self) -> dict[str, Any]:
        """Its entry among the individual results."""
        asked = {"rule": self.run.rule, "symbol": self.run.symbol, "timeframe": self.run.timeframe}
        return {"run_id": self.figures["run_id"], **asked, "period": self.run.period.label, **self.figures}


@dataclass(frozen=True)
class FailedRun:
    """A run that could not be played, and why."""

    run: BatchRun
    reason: str

    def row(self) -> dict[str, Any]:
        """Its entry among the failed runs."""
        run = self.run
        asked = {"rule": run.rule, "symbol": run.symbol, "timeframe": run.timeframe, "period": run.period.label}
        return {"run": run.label, **asked, "reason": self.reason}


def summary(outcomes: Iterable[FinishedRun | FailedRun], minutes: float) -> dict[str, Any]:
    """What all runs came to, in the order in which they were asked for.

    The best is that of the highest return; equal ones by run id. A mean is over runs that have the figure.
    """
    outcomes = list(outcomes)
    finished = [one for one in outcomes if isinstance(one, FinishedRun)]
    failed = [one for one in outcomes if isinstance(one, FailedRun)]
    rows = [one.row() for one in finished]
    best = min(rows, key=lambda row: (-row["total_return_pct"], row["run_id"]), default=None)
    return {
        "batch_id": _name(outcomes),
        "total_runs": len(outcomes),
        "completed": len(finished),
        "failed": len(failed),
        "failed_runs": [one.row() for one in failed],
        "execution_time_minutes": round(minutes, 4),
        "aggregated_metrics": {
            "avg_winrate": _mean(row["winrate"] for row in rows),
            "avg_rr": _mean(row["rr"] for row in rows),
            "best_run": best and {name: best[name] for name in ("run_id", "symbol", "rule", "winrate")},
        },
        "individual_results": rows,
    }


def _name(outcomes: list[FinishedRun | FailedRun]) -> str:
    """Hash of what was asked and of the inputs and code of each run, 16 hexadecimal digits."""
    facts = [[one.run.question(), one.figures["run_id"] if isinstance(one, FinishedRun) else None] for one in outcomes]
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


def _mean(values: Iterable[float | None]) -> float | None:
    known = [one for one in values if one is not None]
    return sum(known) / len(known) if known else None
