"""What is kept of a strategy that was tested on real candles: where its file lies, and what that says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from coordinator.config import BacktestConfig
from coordinator.saved_strategy import saved_strategy
from services.market_data.store import SYNTHETIC
from services.storage.tested_runs import BACKTEST, FinishedTest, file_of_test

if TYPE_CHECKING:
    from pathlib import Path

    from backtesting.portfolio_result import PortfolioResult
    from backtesting.result import BacktestResult
    from coordinator.config import PortfolioConfig

FIGURES = ("total_return_pct", "max_drawdown_pct", "trades")


def backtest_file(data_dir: Path, result: BacktestResult | PortfolioResult) -> tuple[Path, str] | None:
    """Of a backtest; None for one that did not go to its end, or was on generated candles."""
    document, metrics = result.document, result.metrics
    if document.outcome != "complete":
        return None
    figures = {name: getattr(metrics, name) for name in FIGURES}
    return test_file(data_dir, result.config, (BACKTEST, document.run_id), (metrics.start, metrics.end), figures)


def test_file(
    data_dir: Path,
    config: BacktestConfig | PortfolioConfig,
    what: tuple[str, str],
    period: tuple[str, str],
    figures: dict[str, Any],
) -> tuple[Path, str] | None:
    """Of a test of the strategy in a config, `what` its kind and id; None for generated candles: they tell nothing."""
    if config.exchange == SYNTHETIC:
        return None
    pairs = (config.pair,) if isinstance(config, BacktestConfig) else tuple(config.pairs)
    return file_of_test(data_dir, FinishedTest(saved_strategy(config).content, *what, pairs, *period, figures))
