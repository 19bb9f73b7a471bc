"""The figures of a run as a Markdown table of two columns, with the rows that vectorised backtesters made usual.

Durations are days and hours:minutes:seconds, money is quote currency, `[%]` are per cent; `n/a` where there is too
little to say. Gross Exposure is the mean of |position| x close / equity, as a fraction.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from backtesting.metrics import Metrics

NOTHING = "n/a"


def report_table(metrics: Metrics) -> str:
    """Lay out the table `|Metric|Value|` of a run's figures."""
    lines = ["|Metric|Value|", "|---|---|"]
    lines += [f"|{name}|{value}|" for name, value in table_rows(metrics)]
    return "\n".join(lines) + "\n"


def table_rows(metrics: Metrics) -> list[tuple[str, str]]:
    """Name and value of every row, in their order."""
    return [
        ("Start", metrics.start),
        ("End", metrics.end),
        ("Duration", _duration(metrics.duration_days)),
        ("Init. Cash", _number(metrics.initial_capital)),
        ("Total Profit", _number(metrics.total_profit)),
        ("Total Return [%]", _number(metrics.total_return_pct)),
        ("Benchmark Return [%]", _number(metrics.benchmark_return_pct)),
        ("Position Coverage [%]", _number(metrics.position_coverage_pct)),
        ("Max. Drawdown [%]", _number(metrics.max_drawdown_pct)),
        ("Avg. Drawdown [%]", _number(metrics.average_drawdown_pct)),
        ("Max. Drawdown Duration", _duration(metrics.max_drawdown_days)),
        ("Avg. Drawdown Duration", _duration(metrics.average_drawdown_days)),
        ("Num. Trades", f"{metrics.trades}"),
        ("Win Rate [%]", _number(metrics.win_rate_pct)),
        ("Best Trade [%]", _number(metrics.best_trade_pct)),
        ("Worst Trade [%]", _number(metrics.worst_trade_pct)),
        ("Avg. Trade [%]", _number(metrics.average_trade_pct)),
        ("Max. Trade Duration", _hours(metrics.longest_trade_hours)),
        ("Avg. Trade Duration", _hours(metrics.average_trade_hours)),
        ("Expectancy", _number(metrics.expectancy)),
        ("SQN", _number(metrics.sqn)),
        ("Gross Exposure", _number(metrics.mean_exposure_pct / 100.0)),
        ("Sharpe Ratio", _number(metrics.sharpe)),
        ("Sortino Ratio", _number(metrics.sortino)),
        ("Calmar Ratio", _number(metrics.calmar)),
    ]


def _number(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.4f}"


def _hours(value: float | None) -> str:
    return NOTHING if value is None else _duration(value / 24.0)


def _duration(days: float) -> str:
    minutes, seconds = divmod(round(days * 24 * 60 * 60), 60)
    hours, minutes = divmod(minutes, 60)
    whole, hours = divmod(hours, 24)
    return f"{whole} days {hours:02d}:{minutes:02d}:{seconds:02d}"
