"""Stress: how a config does in the worst months of history, and when things go wrong that its candles do not hold."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from backtesting.portfolio_result import PortfolioResult
from bot.candles import Candles, parse_time
from bot.errors import Misconfigured
from bot.times import DAY
from coordinator.config import PortfolioConfig
from search.monte_carlo import on_ticks, play, tick_of
from search.portfolio_score import score_portfolio
from search.score import scored
from search.window import held_equally_over

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from backtesting.result import BacktestResult
    from coordinator.config import BacktestConfig
    from search.window import MarketHistory

# Months in which markets broke: begin and end, and what it was.
MONTHS = {
    "2020-03": ("2020-03-01", "2020-04-01", "the crash of March 2020"),
    "2021-05": ("2021-05-01", "2021-06-01", "the crash of May 2021"),
    "2022-06": ("2022-06-01", "2022-07-01", "lenders failed"),
    "2022-11": ("2022-11-01", "2022-12-01", "an exchange failed"),
    "2024-08": ("2024-08-01", "2024-09-01", "the crash of August 2024"),
}
GAP = 0.30
SLIPPAGE = ("slippage_bps", "slippage_ticks", "slippage_impact", "forced_exit_bps")
SHOWN = ("total_return_pct", "beta", "alpha_pct", "max_drawdown_pct", "worst_day_pct", "trades", "liquidated")


@dataclass(frozen=True)
class Stressed:
    """One scenario, and what came of it."""

    name: str
    what: str
    figures: dict[str, float] | None  # `SHOWN`, NaN where undefined; None where it could not be played
    refusal: str = ""


def stress(
    config: BacktestConfig | PortfolioConfig, market: MarketHistory, progress: Callable[[float], None] | None = None
) -> list[Stressed]:
    """Play a config as it is, in each bad month that the candles hold, and with four faults put into its candles.

    `progress` hears the share that is done. Raises Misconfigured where it cannot work on these candles at all.
    """
    base = play(config, market)
    found = [Stressed("as it is", "the period of the config", _figures(base))]
    scenarios = [*_months(config, market), *_faults(base, market)]
    for number, (name, what, changed, candles) in enumerate(scenarios, 1):
        try:
            found.append(Stressed(name, what, _figures(play(changed, candles))))
        except Misconfigured as error:
            found.append(Stressed(name, what, None, str(error)))
        if progress is not None:
            progress(number / len(scenarios))
    return found


def _figures(result: BacktestResult | PortfolioResult) -> dict[str, float]:
    if isinstance(result, PortfolioResult):
        tapes = [one.prepared for one in result.recording.recordings]
        score, _ = score_portfolio(result, held_equally_over(tapes, result.ts))
    else:
        score, _ = scored(result.recording, result.first)
    return {name: float(score[name]) for name in SHOWN}


Scenario = tuple[str, str, Any, Any]  # name, what it is, config and market


def _months(config: BacktestConfig | PortfolioConfig, market: MarketHistory) -> Iterator[Scenario]:
    first = max(int(one.ts[0]) for one in market.candles.values())
    last = min(int(one.ts[-1]) + one.bar_ms for one in market.candles.values())
    for name, (begin, end, what) in MONTHS.items():
        start, until = parse_time(begin), parse_time(end)
        if first <= start and until <= last:
            yield name, what, config.changed(start=start, end=until), market


def _faults(base: BacktestResult | PortfolioResult, market: MarketHistory) -> Iterator[Scenario]:
    config = base.config  # with its instruments as they were played
    yield "doubled costs", "fees and slippage are twice as high", _doubled(config), market
    at = _largest_holding(base)
    day = at // DAY * DAY
    missing = {pair: one.rows((one.ts < day) | (one.ts >= day + DAY)) for pair, one in market.candles.items()}
    yield "a missing day", "of the largest position", config, replace(market, candles=missing)
    for share, word in ((-GAP, "down"), (GAP, "up")):
        moved = {pair: _gapped(one, at, 1.0 + share, tick_of(config, pair)) for pair, one in market.candles.items()}
        what = f"every price at once, behind the largest position, on {_date(day)}"
        yield f"a gap {word} of {GAP:.0%}", what, config, replace(market, candles=moved)


def _date(day: int) -> str:
    return str(np.datetime64(day, "ms").astype("datetime64[D]"))


def _doubled(config: Any) -> Any:
    """Double the costs of a config as it was played, whose instruments are whole."""

    def dear(fields: dict[str, Any]) -> dict[str, Any]:
        paid = {name: float(fields[name]) for name in ("maker_fee", "taker_fee")}
        return {**fields, **{name: str(max(2.0 * fee, fee)) for name, fee in paid.items()}}  # a rebate stays

    rules = config.execution
    execution = rules.model_copy(update={name: 2.0 * getattr(rules, name) for name in SLIPPAGE})
    if isinstance(config, PortfolioConfig):
        return config.changed(
            execution=execution, instruments={pair: dear(one) for pair, one in config.instruments.items()}
        )
    return config.changed(execution=execution, instrument=dear(config.instrument or {}))


def _largest_holding(result: BacktestResult | PortfolioResult) -> int:
    """Time of the bar that closed with the largest exposure, ms; the middle of a run that held nothing.

    The last bar is none: nothing comes behind it.
    """
    if isinstance(result, PortfolioResult):
        ts, worth = result.ts, np.sum([np.abs(one) for one in result.holdings.values()], axis=0)
    else:
        ts = result.recording.prepared.candles.ts[: result.recording.bars]
        worth = np.abs(result.recording.worth())
    held = worth[:-1]
    return int(ts[int(np.argmax(held))] if held.any() else ts[len(ts) // 2])


def _gapped(candles: Candles, at: int, factor: float, tick: float) -> Candles:
    """Move every price behind the bar that opens at a time, ms."""
    behind = candles.ts > at
    prices: dict[str, Any] = {
        name: np.where(behind, on_ticks(getattr(candles, name) * factor, tick), getattr(candles, name))
        for name in ("open", "high", "low", "close")
    }
    return replace(candles, **prices)
