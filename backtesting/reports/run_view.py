"""A run as its page sees it: one shape for one pair, several pairs and `auto`."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from backtesting.portfolio_result import PortfolioResult

if TYPE_CHECKING:
    import polars as pl
    from numpy.typing import NDArray

    from backtesting.portfolio_result import PortfolioDocument
    from backtesting.result import BacktestResult, ResultDocument

QUOTES = ("USDT", "USDC", "FDUSD", "BUSD", "TUSD", "DAI", "USD", "EUR", "GBP", "TRY", "BRL", "JPY", "BTC", "ETH", "BNB")


@dataclass(frozen=True)
class RunView:
    """What a page shows of a run. Times are epoch ms; money is quote currency."""

    document: ResultDocument | PortfolioDocument
    singles: dict[str, BacktestResult]  # each pair's candles, fills and trades
    trades: pl.DataFrame
    ts: NDArray[np.int64]
    equity: NDArray[np.float64]
    benchmark: NDArray[np.float64]
    bar_ms: int
    portfolio: PortfolioResult | None

    @property
    def pairs(self) -> list[str]:
        """Names of its pairs."""
        return list(self.singles)

    @cached_property
    def currency(self) -> str:
        """The currency in which money is counted."""
        return currency_of(self.pairs)

    @property
    def title(self) -> str:
        """What traded where."""
        shown = ", ".join(self.pairs[:6])
        return f"{self.document.strategy} on {shown}{' …' if len(self.pairs) > 6 else ''}"

    @cached_property
    def drawdown(self) -> NDArray[np.float64]:
        """Per cent of equity under its high so far, zero or negative."""
        high = np.maximum.accumulate(np.maximum(self.equity, self.document.metrics.initial_capital))
        return np.asarray(np.maximum(self.equity / high - 1.0, -1.0) * 100.0, np.float64)


def view_of(result: BacktestResult | PortfolioResult) -> RunView:
    """Take from a result what a page shows."""
    if isinstance(result, PortfolioResult):
        singles = {pair: result.of_pair(pair) for pair in result.recording.pairs}
        account = (result.ts, result.equity, result.benchmark)
        return RunView(result.document, singles, result.trade_frame, *account, result.bar_ms, result)
    ts, equity, benchmark = (result.equity[name].to_numpy() for name in ("ts", "equity", "benchmark"))
    bar_ms = result.recording.prepared.candles.bar_ms
    singles = {result.config.pair: result}
    return RunView(result.document, singles, result.trades, ts, equity, benchmark, bar_ms, None)


def currency_of(pairs: list[str]) -> str:
    """The currency that the pairs' names end with; `quote currency` where none is known or they differ."""
    plain = [pair.split(":")[0].replace("/", "").replace("-", "").upper() for pair in pairs]
    found = {next((quote for quote in QUOTES if pair.endswith(quote) and pair != quote), "") for pair in plain}
    return found.pop() if len(found) == 1 and "" not in found else "quote currency"
