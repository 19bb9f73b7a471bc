"""A scan: one config played on the last days of each pair, and how far its alpha may be told from nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from backtesting.metrics import LEAST_DAYS
from backtesting.run import BOUNDS
from search.chance import SIGNIFICANT, Interval, intervals
from search.run_figures import daily_of, run_figures

if TYPE_CHECKING:
    from collections.abc import Sequence

    from backtesting.portfolio_result import PortfolioResult
    from backtesting.result import BacktestResult

PESSIMISTIC = {name: str(rule) for name, rule in BOUNDS["pessimistic"].items()}  # of the section `execution`
SHOWN = ("total_return_pct", "benchmark_return_pct", "max_drawdown_pct", "trades", "winrate", "mean_exposure_pct")


def words_of(alpha: Interval | None) -> str:
    """What an alpha says; None of too few days."""
    if alpha is None:
        return f"too few days: alpha takes {LEAST_DAYS}"
    if alpha.low > 0.0:
        return "alpha above nothing"
    if alpha.high < 0.0:
        return "alpha below nothing: it lost beyond its beta"
    return "not distinguishable from nothing"


@dataclass(frozen=True)
class ScannedPair:
    """What a config came to on one pair."""

    symbol: str
    exchange: str
    market: str
    figures: dict[str, Any]
    alpha: Interval | None  # per cent a year; None of too few days
    beta: float | None

    @property
    def words(self) -> str:
        """What its alpha says."""
        return words_of(self.alpha)

    def row(self) -> dict[str, Any]:
        """Plain values."""
        alpha = self.alpha
        return {
            "symbol": self.symbol,
            "exchange": self.exchange,
            "market": self.market,
            "alpha_pct": None if alpha is None else alpha.value,
            "alpha_low_pct": None if alpha is None else alpha.low,
            "alpha_high_pct": None if alpha is None else alpha.high,
            "beta": self.beta,
            **{name: self.figures[name] for name in (*SHOWN, "from", "to", "run_id")},
            "words": self.words,
        }


def scanned(symbol: str, run_id: str, result: BacktestResult | PortfolioResult) -> ScannedPair:
    """Weigh what a run came to."""
    figures = run_figures(run_id, result)
    (own, pair), _ = daily_of(result)
    known = intervals(own, pair) if figures["alpha_pct"] is not None else {}
    config = result.config
    return ScannedPair(
        symbol, config.exchange, str(config.market), figures, known.get("alpha_pct"), figures.get("beta")
    )


def ranked(found: Sequence[ScannedPair]) -> list[ScannedPair]:
    """Highest alpha first, unknown ones last; equal ones by name."""

    def key(one: ScannedPair) -> tuple[bool, float, str, str, str]:
        alpha = one.alpha
        return (alpha is None, 0.0 if alpha is None else -alpha.value, one.symbol, one.exchange, one.market)

    return sorted(found, key=key)


def said_of_all(found: Sequence[ScannedPair]) -> str:
    """How many pairs stand out, beside how many would by luck."""
    known = [one.alpha for one in found if one.alpha is not None]
    above = sum(one.low > 0.0 for one in known)
    return (
        f"{len(known):,} pairs have an alpha, {above:,} of them above nothing; of as many without any edge about "
        f"{len(known) * SIGNIFICANT:.1f} would be. The highest of several is the luckiest too, and pairs move together."
    )
