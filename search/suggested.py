"""Suggests parameters of a strategy for one pair: the ranges of its class, all played on the first two thirds of days.

The best is played once more on the last third, which has chosen neither it nor the class of the pair.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isnan
from typing import TYPE_CHECKING, Any

from bot.candles import iso
from search.pair_scan import words_of
from search.pipeline import NOT_PLAYED, class_space, classified
from search.reading import read_space
from search.sweep import sweep
from search.window import midnight

if TYPE_CHECKING:
    from collections.abc import Callable

    from bot.candles import Candles
    from search.exploration import Progress
    from search.pair_classes import PairClass
    from search.sweep import Sweep
    from search.window import MarketHistory

HELD_OUT = 1 / 3  # of the candles, their last part
TOLD = ("total_return_pct", "max_drawdown_pct", "trades")


@dataclass(frozen=True)
class SuggestedConfig:
    """The best of the ranges of a class, and what it earned where it was not chosen."""

    kind: PairClass
    found: Sweep

    @property
    def values(self) -> dict[str, Any]:
        """What was searched, and what the best has of it, by name without the section."""
        chosen = self.found.space.values(int(self.found.numbers[0]))
        return {key.partition(".")[2]: value for key, value in chosen.items()}

    @property
    def words(self) -> list[str]:
        """What it is worth, in sentences: both parts, beside its pair, and whether that may be luck."""
        found = self.found
        start, split, end = (iso(one)[:10] for one in (found.start, found.split, found.end))
        pair = [100.0 * (float((1.0 + days).prod()) - 1.0) for days in found.pair_days]
        alpha = found.evidence.held_out.get("alpha_pct")
        return [
            f"chosen on {start} to {split}: {_told(found.scores[0], pair[0])}",
            f"afterwards, to {end}: {_told(found.held_out[0], pair[1])}",
            f"alpha afterwards: {NOT_PLAYED if isnan(found.held_out[0]['total_return_pct']) else words_of(alpha)}",
            found.verdict[0],
        ]


def suggested(
    place: dict[str, Any],
    strategy: str,
    objective: str,
    market: MarketHistory,
    progress: Callable[[Progress], None] | None = None,
) -> SuggestedConfig:
    """Choose parameters for the pair of `place`, by its class; raises Misconfigured where there are too few candles."""
    candles: Candles = market.candles[place["pair"]]
    start, end = market.span()
    kind, _ = classified(candles, midnight(end - HELD_OUT * (end - start)))
    space = read_space(class_space(place, strategy, kind, {"objective": objective, "held_out": HELD_OUT, "top": 1}))
    known: dict[str, Any] = {"fetched": market.fetched, "funding": market.funding}
    return SuggestedConfig(kind, sweep(space, market.candles, **known, progress=progress))


def _told(score: Any, pair: float) -> str:
    total, drawdown, trades = (float(score[name]) for name in TOLD)
    if isnan(total):
        return f"{NOT_PLAYED}, while holding gave {pair:+.2f} %"
    return f"{total:+.2f} %, drawdown {drawdown:.2f} %, {trades:,.0f} trades, while holding gave {pair:+.2f} %"
