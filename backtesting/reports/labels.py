"""The words that a reader sees: names of figures with their units, of reasons, regimes and strategies; and colours."""

from __future__ import annotations

from itertools import cycle
from typing import TYPE_CHECKING, Any

from backtesting.metrics import LARGEST_FACTOR

if TYPE_CHECKING:
    from collections.abc import Iterable

# How a value is written. `money` is followed by its currency.
FORMATS = {
    "money": "{:,.2f}",
    "gained": "{:+,.2f}",
    "pct": "{:.2f} %",
    "fine_pct": "{:.3f} %",
    "gained_pct": "{:+.2f} %",
    "share": "{:.1f} %",
    "count": "{:,}",
    "number": "{:.2f}",
    "factor": "{:.2f}",
    "days": "{:,.1f} days",
    "hours": "{:,.1f} hours",
    "r": "{:+.2f} R",
    "text": "{}",
}
MONEY = frozenset({"money", "gained"})
SIGNED = frozenset({"gained", "gained_pct", "r"})
NOTHING = "n/a"
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
FULL_COLOUR = 10.0  # % of a month's return at which its colour is full, in every report

# Every figure of Metrics by the group it stands in: label and format.
GROUPS: dict[str, dict[str, tuple[str, str]]] = {
    "Result": {
        "initial_capital": ("Initial capital", "money"),
        "final_capital": ("Final capital", "money"),
        "total_profit": ("Total profit", "gained"),
        "total_return_pct": ("Total return", "gained_pct"),
        "annualised_return_pct": ("Annualised return", "gained_pct"),
        "benchmark_return_pct": ("Buy and hold", "gained_pct"),
        "fees": ("Fees paid", "money"),
        "funding": ("Funding received", "gained"),
        "slippage": ("Slippage, within the prices", "money"),
        "turnover": ("Turnover", "money"),
        "start": ("From", "text"),
        "end": ("To", "text"),
        "duration_days": ("Duration", "days"),
    },
    "Risk": {
        "max_drawdown_pct": ("Max drawdown", "pct"),
        "max_drawdown_days": ("Longest drawdown", "days"),
        "average_drawdown_pct": ("Average depth of a drawdown", "fine_pct"),
        "average_drawdown_days": ("Average length of a drawdown", "days"),
        "sharpe": ("Sharpe ratio", "number"),
        "sortino": ("Sortino ratio", "number"),
        "calmar": ("Calmar ratio", "number"),
        "position_coverage_pct": ("Time in position", "share"),
        "mean_exposure_pct": ("Mean gross exposure", "share"),
        "max_exposure_pct": ("Largest gross exposure", "share"),
        "return_per_exposure_pct": ("Return per 100 % exposure", "gained_pct"),
    },
    "Trades": {
        "trades": ("Closed trades", "count"),
        "closed_profit": ("Profit of closed trades", "gained"),
        "open_trades": ("Open trades at the end", "count"),
        "open_profit": ("Profit of open trades so far", "gained"),
        "win_rate_pct": ("Win rate, closed", "share"),
        "win_rate_with_open_pct": ("Win rate, with open", "share"),
        "best_trade_pct": ("Best trade", "gained_pct"),
        "worst_trade_pct": ("Worst trade", "gained_pct"),
        "average_trade_pct": ("Average trade", "gained_pct"),
        "longest_trade_hours": ("Longest trade", "hours"),
        "average_trade_hours": ("Average length of a trade", "hours"),
        "expectancy": ("Expectancy of a trade", "gained"),
        "average_r": ("Average R", "r"),
        "sqn": ("System quality number", "number"),
        "profit_factor": ("Profit factor, closed", "factor"),
        "profit_factor_with_open": ("Profit factor, with open", "factor"),
        "average_win": ("Average win", "gained"),
        "average_loss": ("Average loss", "gained"),
        "longest_losing_run": ("Most losing trades in a row", "count"),
    },
    "Orders": {
        "fills": ("Fills", "count"),
        "refused": ("Refused by the exchange", "count"),
        "under_minimum": ("Under the venue's minimum", "count"),
        "refused_for_costs": ("Refused for their costs", "count"),
        "incomplete_bars": ("Incomplete signal bars", "count"),
        "levels_filled": ("Grid levels filled", "count"),
        "cycles": ("Grid cycles", "count"),
        "deals": ("Deals", "count"),
        "mean_safety_orders": ("Mean safety orders of a deal", "number"),
    },
}
LABELS: dict[str, tuple[str, str]] = {name: row for rows in GROUPS.values() for name, row in rows.items()}
# Shown as tables of their own: figures that are no single value.
ELSEWHERE = frozenset({"entries_by_kind"})
# What a comparison of several runs shows, and a table of `--bounds`.
COMPARED = (
    "total_return_pct",
    "benchmark_return_pct",
    "max_drawdown_pct",
    "sharpe",
    "sortino",
    "mean_exposure_pct",
    "return_per_exposure_pct",
    "trades",
    "closed_profit",
    "open_trades",
    "open_profit",
    "win_rate_pct",
    "win_rate_with_open_pct",
    "fees",
    "slippage",
)

WORDS = {
    "ENTRY": "Entry",
    "GRID_COUNTER": "Grid counter",
    "EXIT_TP": "Take profit",
    "EXIT_SL": "Stop",
    "EXIT_TRANSITION": "Strategy change",
    "EXIT_EMERGENCY": "Emergency",
    "dca": "DCA",
    "smc": "Market structure filter",
    "atr": "ATR",
    "ema": "EMA",
    "rsi": "RSI",
    "adx": "ADX",
    "bps": "bps",
    "pct": "%",
}
REGIME_COLOURS = {
    "unknown": "#9aa5b1",
    "tight_range": "#93c5fd",
    "wide_range": "#3b82f6",
    "quiet_transition": "#fde68a",
    "volatile_transition": "#f59e0b",
    "bull_trend": "#4ade80",
    "bear_trend": "#f87171",
}
MODE_COLOURS = {
    "normal": "#cbd5e1",
    "reduced": "#fde047",
    "stress": "#fb923c",
    "drawdown": "#c084fc",
    "halt": "#ef4444",
}
STRATEGY_COLOURS = ("#6366f1", "#14b8a6", "#f97316", "#db2777", "#65a30d", "#0891b2", "#7c3aed")


def label(key: str) -> str:
    """A key as words: `EXIT_TP` is Take profit, `tight_range` Tight range, `reduced+stress` Reduced, stress."""
    if key in WORDS:
        return WORDS[key]
    told = " ".join(WORDS.get(word, word) for word in key.replace("+", ", ").replace("_", " ").split())
    return told[:1].upper() + told[1:]


def written(value: Any, form: str, currency: str = "") -> str:
    """A value in its format, money with its currency; `n/a` for None."""
    if value is None:
        return NOTHING
    if form == "factor" and value >= LARGEST_FACTOR:
        return f"{LARGEST_FACTOR:,.0f} or more"
    text = FORMATS[form].format(value)
    return f"{text} {currency}" if currency and form in MONEY else text


def strategy_colours(names: Iterable[str]) -> dict[str, str]:
    """Colour of everything that a pair can be about."""
    return {"cash": "#cbd5e1", **dict(zip(names, cycle(STRATEGY_COLOURS), strict=False)), "draining": "#475569"}


def sentence_of(value: Any) -> str:
    """A parameter's value as a reader expects it: yes and no, lists with commas, words without underscores."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return ", ".join(f"{label(str(key))}: {sentence_of(one)}" for key, one in value.items()) or "none"
    if isinstance(value, list | tuple):
        return ", ".join(sentence_of(one) for one in value) or "none"
    if isinstance(value, float):
        return f"{value:,.10g}"
    return value.replace("_", " ") if isinstance(value, str) else str(value)
