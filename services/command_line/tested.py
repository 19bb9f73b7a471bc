"""Keeps that a strategy was tested: by a backtest or a search on real candles that has finished, by chaos."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from services.whole_file import write_whole

if TYPE_CHECKING:
    from pathlib import Path

    from backtesting.portfolio_result import PortfolioResult
    from backtesting.result import BacktestResult
    from coordinator.config import BacktestConfig, PortfolioConfig
    from services.trials.chaos import Findings


def keep_backtest(data_dir: Path, result: BacktestResult | PortfolioResult) -> None:
    """Keep a backtest that went to its end; not one on generated candles, which tell nothing of a market."""
    from services.app.tested import backtest_file

    _keep(backtest_file(data_dir, result))


def keep_test(
    data_dir: Path,
    config: BacktestConfig | PortfolioConfig,
    what: tuple[str, str],
    period: tuple[str, str],
    figures: dict[str, Any],
) -> None:
    """Keep a test of the strategy in a config: `what` is its kind and id."""
    from services.app.tested import test_file

    _keep(test_file(data_dir, config, what, period, figures))


def _keep(made: tuple[Path, str] | None) -> None:
    if made is not None:
        path, text = made
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, text)


def keep_chaos(data_dir: Path, config: PortfolioConfig, found: Findings) -> None:
    """Keep that a bot with this strategy survived kills."""
    from coordinator.saved_strategy import saved_strategy
    from services.storage.tested_runs import CHAOS, FinishedTest, file_of_test

    what = (CHAOS, f"seed-{found.plan.seed}")
    figures = {"kills": found.kills, "freezes": found.freezes, "fills": found.fills}
    one = FinishedTest(saved_strategy(config).content, *what, tuple(config.pairs), "", "", figures)
    _keep(file_of_test(data_dir, one))
