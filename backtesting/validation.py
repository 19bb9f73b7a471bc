"""Validation of a run: what is checked, by which criteria, and what came of it.

A run's tables go in, a report comes out; nothing is read or written here. `fail`: a figure cannot be right, or is worth
nothing; `review_required`: a person has to look; `pass`: neither. The automatic checks stand in `validation_checks`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, Any, Literal, Self

import numpy as np
import polars as pl
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from bot.parameters import Fraction, Number, fraction_of
from bot.times import MINUTE


class QualityStatus(StrEnum):
    """What a check says, and the report as a whole; `skipped`: what it needs is not there."""

    PASS = "pass"  # noqa: S105, no password
    REVIEW_REQUIRED = "review_required"
    FAIL = "fail"
    SKIPPED = "skipped"


@dataclass(frozen=True)
class RunTables:
    """What a run left, as tables. Times are epoch ms, prices and money quote currency."""

    run_id: str
    start: int
    end: int  # not included
    trades: pl.DataFrame  # columns as in trades.csv
    fills: pl.DataFrame  # as in fills.csv
    equity: pl.DataFrame  # ts, equity
    zones: pl.DataFrame | None = None  # ZONE_COLUMNS; None where the run looked for none
    candles: pl.DataFrame | None = None  # pair, ts, open, high, low, close, volume; None where they are not at hand
    ticks: Mapping[str, float] = field(default_factory=dict)  # tick size by pair
    slippage: float = 0.0  # most that a fill may slip, fraction of the price
    slippage_ticks: float = 0.0  # and in ticks

    @property
    def bar_ms(self) -> int:
        """Length of a bar of the account."""
        ts = self.equity["ts"].to_numpy()
        return int(np.diff(ts).min()) if len(ts) > 1 else MINUTE

    @property
    def closed(self) -> pl.DataFrame:
        """Trades that have ended."""
        return self.trades.filter(pl.col("exit_time").is_not_null())

    @property
    def profit(self) -> float:
        """Profit of all trades, open ones as they stand; what is no number counts as none."""
        return float(self.trades["pnl"].fill_nan(None).sum())


def _ascending(bounds: tuple[float | None, float | None]) -> tuple[float | None, float | None]:
    low, high = bounds
    if low is not None and high is not None and low > high:
        raise ValueError(f"the range begins at {low:g} and ends at {high:g}; swap the two")
    return bounds


def _fractions(value: Any) -> Any:
    return [fraction_of(one) for one in value] if isinstance(value, list | tuple) else value


Bounds = Annotated[
    tuple[Number | None, Number | None], BeforeValidator(_fractions), AfterValidator(_ascending), Field(strict=False)
]


class ZoneCriteria(BaseModel):
    """How well the zones of a run must agree with labelled ones."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    labels: str = Field(min_length=1, description="file of labelled zones, seen from the folder of the criteria")
    recall: Fraction = Field(0.7, ge=0, le=1, description="least share of the labelled zones that were found, fraction")
    precision: Fraction = Field(0.7, ge=0, le=1, description="least share of the found zones that are labelled")
    overlap: Fraction = Field(0.5, gt=0, le=1, description="least common part of two price ranges / both together")


class ValidationCriteria(BaseModel):
    """What a run must reach. A range is `[least, most]`, null for no bound; null in place of a range: not asked."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Literal[1] = Field(1, description="version of this file's format")
    trades: int = Field(20, ge=0, le=10_000_000, description="least number of closed trades")
    win_rate: Bounds | None = Field((0.5, 0.7), description="share of closed trades with a profit, fraction")
    average_r: Bounds | None = Field((1.5, 2.5), description="mean profit of closed trades / loss at their stops")
    rr: Bounds | None = Field(None, description="mean win / mean loss")
    max_drawdown: Bounds | None = Field(None, description="largest drawdown, fraction of the highest equity before it")
    expectancy: Bounds | None = Field(None, description="mean profit of closed trades, quote currency")
    samples: int = Field(10, ge=0, le=200, description="trades that a person confirms; 0: none")
    zones: ZoneCriteria | None = Field(None, description="agreement with labelled zones; null: not asked")


@dataclass(frozen=True)
class CheckOutcome:
    """What one check found: its status, and a sentence for each issue."""

    name: str
    status: QualityStatus
    sentences: tuple[str, ...] = ()
    figure: float | None = None  # what a criterion measured


@dataclass(frozen=True)
class QualityReport:
    """All that was checked of a run."""

    run_id: str
    outcomes: tuple[CheckOutcome, ...]
    visual_check_url: str | None = None  # the page on which a person confirms trades

    @property
    def status(self) -> QualityStatus:
        """Fail where one check fails, else review where one asks for it or could not be made."""
        found = {one.status for one in self.outcomes}
        if QualityStatus.FAIL in found:
            return QualityStatus.FAIL
        return QualityStatus.PASS if found <= {QualityStatus.PASS} else QualityStatus.REVIEW_REQUIRED

    @property
    def issues(self) -> list[str]:
        """Every issue as a sentence, those that fail first."""
        order = (QualityStatus.FAIL, QualityStatus.REVIEW_REQUIRED, QualityStatus.SKIPPED)
        return [said for status in order for one in self.outcomes if one.status is status for said in one.sentences]

    def with_outcomes(self, *others: CheckOutcome, url: str | None = None) -> Self:
        """Return the report with further outcomes."""
        return type(self)(self.run_id, (*self.outcomes, *others), url or self.visual_check_url)

    def document(self) -> dict[str, Any]:
        """Content of validation.json."""
        issues = [
            {"check": one.name, "status": one.status.value, "issue": said}
            for one in self.outcomes
            if one.status is not QualityStatus.PASS
            for said in one.sentences
        ]
        return {
            "run_id": self.run_id,
            "qa_status": self.status.value,
            "checks_performed": {
                one.name: {"status": one.status.value, **({} if one.figure is None else {"figure": one.figure})}
                for one in self.outcomes
            },
            "issues_found": issues,
            "visual_check_url": self.visual_check_url,
        }


FIGURES: dict[str, str] = {
    "win_rate": "the win rate",
    "average_r": "the average R",
    "rr": "the mean win / mean loss",
    "max_drawdown": "the largest drawdown",
    "expectancy": "the expectancy of a trade",
}


def figures_of(tables: RunTables) -> dict[str, float | None]:
    """Figures that the criteria are held against; None where one is undefined."""
    closed = tables.closed
    pnl, multiples = (closed[name].cast(pl.Float64).fill_nan(None).drop_nulls() for name in ("pnl", "r_multiple"))
    wins, losses = pnl.filter(pnl > 0), pnl.filter(pnl <= 0)
    both = len(wins) > 0 and len(losses) > 0 and float(losses.sum()) < 0
    equity = tables.equity["equity"].to_numpy()
    under = 1.0 - equity / np.maximum.accumulate(equity) if len(equity) else np.zeros(1)
    return {
        "win_rate": len(wins) / len(pnl) if len(pnl) else None,
        "average_r": float(multiples.to_numpy().mean()) if len(multiples) else None,
        "rr": float(wins.to_numpy().mean() / -losses.to_numpy().mean()) if both else None,
        "max_drawdown": float(under.max()),
        "expectancy": float(pnl.to_numpy().mean()) if len(pnl) else None,
    }


def criteria_outcomes(tables: RunTables, criteria: ValidationCriteria) -> list[CheckOutcome]:
    """Hold the figures of a run against the criteria."""
    count, figures = len(tables.closed), figures_of(tables)
    few = () if count >= criteria.trades else (f"{count} trades were closed, fewer than {criteria.trades}",)
    found = [CheckOutcome("trades", QualityStatus.FAIL if few else QualityStatus.PASS, few, count)]
    for name in FIGURES:
        bounds = getattr(criteria, name)
        if bounds is not None:
            found.append(_held(name, figures[name], *bounds))
    return found


def _held(name: str, value: float | None, low: float | None, high: float | None) -> CheckOutcome:
    if value is None or not np.isfinite(value):
        said = f"{FIGURES[name]} is undefined: no trade has it; set {name}: null in the criteria to leave it out"
        return CheckOutcome(name, QualityStatus.REVIEW_REQUIRED, (said,))
    if (low is None or value >= low) and (high is None or value <= high):
        return CheckOutcome(name, QualityStatus.PASS, (), value)
    least, most = ("any" if one is None else f"{one:g}" for one in (low, high))
    said = f"{FIGURES[name]} is {value:.4g}, outside {least} to {most}"
    return CheckOutcome(name, QualityStatus.FAIL, (said,), value)


ANSWERS = ("right", "wrong", "unsure")
TradeName = tuple[str, int]  # pair and number: each pair counts its own trades


def sampled_trades(tables: RunTables, count: int) -> list[TradeName]:
    """Name `count` closed trades that a person is to confirm: by chance, and of the same run always the same.

    The chance is that of a hash over run and trade.
    """

    def lot(name: TradeName) -> bytes:
        return hashlib.sha256(f"{tables.run_id} {name[0]} {name[1]}".encode()).digest()

    names = {(str(pair), int(trade)) for pair, trade in tables.closed.select("pair", "trade_id").iter_rows()}
    return sorted(sorted(names, key=lot)[:count])


def samples_outcome(asked: Sequence[TradeName], answers: Mapping[TradeName, str]) -> CheckOutcome:
    """What a person said of the sampled trades."""
    wrong = [one for one in asked if answers.get(one) == "wrong"]
    unsure = [one for one in asked if answers.get(one) == "unsure"]
    silent = [one for one in asked if one not in answers]
    confirmed = len(asked) - len(wrong) - len(unsure) - len(silent)
    said = tuple(
        f"{words}: {', '.join(f'{pair} {trade}' for pair, trade in trades)}"
        for trades, words in (
            (wrong, "trades that a person calls wrong"),
            (unsure, "trades of which a person is unsure"),
            (silent, "trades that no person has confirmed"),
        )
        if trades
    )
    status = QualityStatus.REVIEW_REQUIRED if said else QualityStatus.PASS
    return CheckOutcome("samples", QualityStatus.FAIL if wrong else status, said, confirmed)
