"""Finds a range and spacing of a grid by simulating many on past candles, and tells what the best earned afterwards.

Every candidate is played exactly, under the pessimistic rules of fills, on the first part of the candles; the best is
then played on the rest, which has had no part in the choice. It never looks at that part before.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from backtesting.instruments import instrument_for
from backtesting.run import BOUNDS, paid_history, play_single
from backtesting.simulator import PreparedCandles
from bot.errors import Misconfigured
from coordinator.config import load_single

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from backtesting.funding import FundingHistory
    from backtesting.instruments import DatedInstrument
    from bot.candles import Candles
    from bot.instrument import Instrument
    from coordinator.config import BacktestConfig

CHOSEN_ON = 2 / 3  # of the candles
LEAST_BARS = 1000
CUTS = (0.0, 0.02, 0.05, 0.10)  # of the closes lie under the range, and as many over it
LEVELS = (5, 8, 12, 18, 27, 40, 60, 90)
SPACINGS = ("arithmetic", "geometric")


@dataclass(frozen=True)
class Suggestion:
    """The chosen grid, and what it earned: returns in %, on the part it was chosen on and on the rest."""

    config: BacktestConfig
    chosen_on: float
    afterwards: float
    holding: float  # return of the pair itself on the rest, %
    fills: int  # on the rest
    split: int  # ms: where the rest begins
    tried: int


def suggest(
    config: dict[str, Any],
    candles: Candles,
    *,
    fetched: Instrument | DatedInstrument | None = None,
    funding: FundingHistory | None = None,
    progress: Callable[[float], None] = lambda _: None,
) -> Suggestion:
    """Choose bounds, levels and spacing of the grid in `config`, which has no bounds, on `candles`.

    `progress` hears the share that is done. Raises Misconfigured where there are too few candles or nothing can work.
    """
    if len(candles) < LEAST_BARS:
        raise Misconfigured(f"days: they hold {len(candles)} bars, under {LEAST_BARS}; take more days, or download.")
    base = load_single(config)
    instrument, _ = instrument_for(base.pair, base.market, candles, base.instrument, fetched)
    cut, history = int(len(candles) * CHOSEN_ON), paid_history(base, funding)
    first, rest = (
        PreparedCandles.of(candles.rows(part), instrument, history) for part in (slice(0, cut), slice(cut, None))
    )
    options = list(_candidates(candles.close[:cut]))
    found: list[tuple[float, BacktestConfig]] = []
    for number, option in enumerate(options):
        progress(number / len(options))
        try:
            one = load_single(config, {f"grid.{key}": value for key, value in option.items()})
            found.append((_return(one, first)[0], one))
        except Misconfigured:  # levels nearer than their costs, or cells under the venue's minimum
            continue
    if not found:
        raise Misconfigured(
            f"capital {base.capital:g}: no grid of {base.pair} earns its costs and meets the venue's minimum; raise it."
        )
    best, chosen = max(found, key=lambda each: each[0])
    afterwards, fills = _return(chosen, rest)
    holding = 100.0 * (float(rest.close[-1]) / float(rest.open[0]) - 1.0)
    return Suggestion(chosen, best, afterwards, holding, fills, int(candles.ts[cut]), len(found))


def _candidates(closes: Any) -> Iterator[dict[str, Any]]:
    for cut, levels, spacing in product(CUTS, LEVELS, SPACINGS):
        lower, upper = (float(f"{np.quantile(closes, share):.5g}") for share in (cut, 1.0 - cut))
        if lower < upper:
            yield {"lower": lower, "upper": upper, "levels": levels, "spacing": spacing}


def _return(config: BacktestConfig, prepared: PreparedCandles) -> tuple[float, int]:
    """Return in % and count of fills under the pessimistic rules."""
    rules = config.execution.model_copy(update=BOUNDS["pessimistic"])
    recording = play_single(config.changed(execution=rules), prepared)
    return 100.0 * (float(recording.equity()[-1]) / config.capital - 1.0), len(recording.fills)
