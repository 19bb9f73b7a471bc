"""The parts of a page about trades, months and pairs: groups, best and worst, heat maps, the table's frame."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from backtesting.reports.labels import FULL_COLOUR, MONTHS, label, written
from backtesting.reports.sections import figure, table, wide_table
from bot.candles import iso

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from backtesting.breakdown import TradeGroup
    from backtesting.portfolio_result import AlgorithmFigures, PairFigures, PortfolioDocument
    from backtesting.reports.run_view import RunView

SHOWN_TRADES = 5
GROUP_TITLES = {"pair": "By pair", "strategy": "By strategy", "exit_reason": "By exit", "entry_kind": "By entry"}


def months_section(view: RunView) -> str:
    """Returns by month on a fixed scale of colours, and the trades that closed in each."""
    years = dict.fromkeys(name[:4] for name in view.document.returns_by_month)
    heat = _heat(MONTHS, [(year, _year(view, year)) for year in years])
    note = f'<p class="soft">Return of each month, %. Full colour at {FULL_COLOUR:g} % and beyond, in every report.</p>'
    return f"<h2>Months</h2>{note}{heat}{_trades_by_month(view)}"


def _heat(head: Sequence[str], rows: Sequence[tuple[str, str]]) -> str:
    """Lay out a table whose cells are coloured; a row is its name and its cells."""
    heads = "".join(f"<th>{escape(name)}</th>" for name in head)
    body = "".join(f"<tr><th>{escape(name)}</th>{cells}</tr>" for name, cells in rows)
    inside = f"<thead><tr><th></th>{heads}</tr></thead><tbody>{body}</tbody>"
    return f'<div class="card"><table class="heat">{inside}</table></div>'


def _year(view: RunView, year: str) -> str:
    cells = []
    for month in range(1, 13):
        name = f"{year}-{month:02d}"
        value = view.document.returns_by_month.get(name)
        shown = "" if value is None else figure_without_tone(f"returns_by_month.{name}", f"{value:+.1f}")
        style = "" if value is None else f' style="background:{diverging(value / FULL_COLOUR)}"'
        cells.append(f"<td{style}>{shown}</td>")
    return "".join(cells)


def figure_without_tone(path: str, text: str) -> str:
    """A value whose colour is its cell's."""
    return f'<span data-figure="{escape(path)}">{escape(text)}</span>'


def diverging(share: float, low: str = "239,68,68", high: str = "34,197,94") -> str:
    """Colour between -1 and 1: pale at 0, full at the ends; dark text is legible on all of them."""
    strength = min(abs(share), 1.0)
    red, green, blue = (int(one) for one in (high if share >= 0 else low).split(","))
    mixed = (round(243 + (one - 243) * strength) for one in (red, green, blue))
    return "rgb({},{},{})".format(*mixed)


def _trades_by_month(view: RunView) -> str:
    months = view.document.trades_by_month
    if not months:
        return ""
    rows = []
    for name, one in months.items():
        path = f"trades_by_month.{name}"
        rows.append(
            (
                name,
                figure(f"{path}.trades", one.trades, "count"),
                figure(f"{path}.profit", one.profit, "gained", view.currency),
                figure(f"{path}.win_rate_pct", one.win_rate_pct, "share"),
                figure(f"{path}.average_pct", one.average_pct, "gained_pct"),
            )
        )
    head = ("Month of exit", "Closed trades", "Profit", "Won", "Mean")
    return wide_table(head, rows, "Trades by month")


TRADES_FRAME = """<div class="card"><div class="filters" id="trades-filters"></div>
<table class="wide" id="trades"><thead><tr></tr></thead><tbody></tbody></table>
<button type="button" class="more" id="trades-more" hidden>Show more</button></div>"""


def trades_section(view: RunView) -> str:
    """Trades by what they share, the best and the worst, and the table of all of them."""
    if view.trades.is_empty():
        return ""
    groups = [_group(view, name, own) for name, own in view.document.trades_by.items() if len(own) > 1]
    note = '<p class="soft">The time of entry shows a trade in the chart; a heading sorts.</p>'
    return f"<h2>Trades</h2>{''.join(groups)}{_best_and_worst(view)}{note}{TRADES_FRAME}"


def _group(view: RunView, name: str, groups: Mapping[str, TradeGroup]) -> str:
    head = (
        GROUP_TITLES[name],
        "Closed",
        "Profit, closed",
        "Won",
        "Mean",
        "Best",
        "Worst",
        "Open",
        "Profit so far",
        "Fees",
    )
    rows = []
    for key, one in groups.items():
        path = f"trades_by.{name}.{key}"
        rows.append(
            (
                escape(key if name == "pair" else label(key)),
                figure(f"{path}.trades", one.trades, "count"),
                figure(f"{path}.closed_profit", one.closed_profit, "gained", view.currency),
                figure(f"{path}.win_rate_pct", one.win_rate_pct, "share"),
                figure(f"{path}.average_pct", one.average_pct, "gained_pct"),
                figure(f"{path}.best_pct", one.best_pct, "gained_pct"),
                figure(f"{path}.worst_pct", one.worst_pct, "gained_pct"),
                figure(f"{path}.open_trades", one.open_trades, "count"),
                figure(f"{path}.open_profit", one.open_profit, "gained", view.currency),
                figure(f"{path}.fees", one.fees, "money", view.currency),
            )
        )
    return wide_table(head, rows)


def _best_and_worst(view: RunView) -> str:
    closed = view.trades.filter(pl.col("exit_time").is_not_null()).sort("pnl", maintain_order=True)
    count = min(SHOWN_TRADES, len(closed) // 2)
    if count == 0:
        return ""
    parts = (("Best trades", closed.tail(count).reverse()), ("Worst trades", closed.head(count)))
    return f'<div class="groups">{"".join(_few(view, title, own) for title, own in parts)}</div>'


def _few(view: RunView, title: str, trades: pl.DataFrame) -> str:
    rows = []
    for one in trades.iter_rows(named=True):
        tone = "gain" if one["pnl"] >= 0 else "loss"
        what = (
            f"{iso(one['entry_time'])[:16].replace('T', ' ')} {one['pair']} {one['side']}, {label(one['exit_reason'])}"
        )
        value = f"{written(one['pnl'], 'gained', view.currency)} ({one['pnl_pct']:+.2f} %)"
        rows.append((what, f'<span class="{tone}">{escape(value)}</span>'))
    return table(title, rows)


def pairs_section(document: PortfolioDocument, currency: str) -> str:
    """Each pair's profit beside holding it, and how its time was spent."""
    head = (
        "Pair",
        "Profit",
        "Buy and hold",
        "Profit factor",
        "Time in position",
        "Funding",
        "Slippage",
        "Turnover",
        "Fills",
    )
    rows = []
    for pair, one in document.results.items():
        path = f"results.{pair}"
        rows.append(
            (
                escape(pair),
                figure(f"{path}.profit", one.profit, "gained", currency),
                figure(f"{path}.benchmark_return_pct", one.benchmark_return_pct, "gained_pct"),
                figure(f"{path}.profit_factor", one.profit_factor, "factor"),
                figure(f"{path}.position_coverage_pct", one.position_coverage_pct, "share"),
                figure(f"{path}.funding", one.funding, "gained", currency),
                figure(f"{path}.slippage", one.slippage, "money", currency),
                figure(f"{path}.turnover", one.turnover, "money", currency),
                figure(f"{path}.fills", one.fills, "count"),
            )
        )
    return f"<h2>Pairs</h2>{wide_table(head, rows)}"


def shares_section(document: PortfolioDocument) -> str:
    """Share of time of each regime and strategy, by pair."""
    parts = []
    for name, title in (("regimes", "Time by regime"), ("strategies", "Time by strategy")):
        names = sorted({key for one in document.results.values() for key in getattr(one, name)})
        if len(names) > 1:
            head = ("", *(label(key) for key in names))
            rows = [(escape(pair), *_shares(pair, one, name, names)) for pair, one in document.results.items()]
            parts.append(wide_table(head, rows, title))
    return "".join(parts)


def _shares(pair: str, figures: PairFigures, name: str, names: list[str]) -> list[str]:
    own = getattr(figures, name)
    return [share_figure(f"results.{pair}.{name}.{key}", own[key]) if key in own else "" for key in names]


def share_figure(path: str, value: float) -> str:
    """A fraction as per cent."""
    return f'<span data-figure="{escape(path)}" data-times="100">{value * 100:.1f} %</span>'


def correlation_section(view: RunView) -> str:
    """Correlation of the pairs' hourly returns, blue to red on a fixed scale from -1 to 1."""
    if view.portfolio is None or len(view.pairs) < 2:
        return ""
    values = view.portfolio.correlations
    heat = _heat(view.pairs, [(pair, _correlated(row)) for pair, row in zip(view.pairs, values, strict=True)])
    return f'<h2>Correlation of hourly returns</h2><p class="soft">1: they move together; 0: independently.</p>{heat}'


def _correlated(row: np.ndarray) -> str:
    return "".join("<td>n/a</td>" if np.isnan(value) else _shaded(float(value)) for value in row)


def _shaded(value: float) -> str:
    return f'<td style="background:{diverging(value, "59,130,246", "239,68,68")}">{value:.2f}</td>'


def algorithm_section(document: PortfolioDocument, currency: str) -> str:
    """What router, allocator, filter and risk did."""
    figures = document.algorithm
    rows = [
        (title, figure(f"algorithm.{name}", getattr(figures, name), form, currency)) for name, title, form in ALGORITHM
    ]
    shares = [(label(name), share_figure(f"algorithm.modes.{name}", own)) for name, own in figures.modes.items() if own]
    parts = [table("Changes and limits", rows), table("Time by risk mode", shares)]
    counted = _counted("verdicts", figures)
    parts += [table("Verdicts of the filter", counted)] if sum(figures.verdicts.values()) else []
    parts += [table("Pauses of pairs", _counted("pauses", figures))] if figures.pauses else []
    return f'<h2>What the algorithm did</h2><div class="packed">{"".join(parts)}</div>'


ALGORITHM = (
    ("transitions", "Strategy changes with a position", "count"),
    ("transition_cost", "Their cost, fees and slippage", "money"),
    ("forced_closes", "Of them closed at the market", "count"),
    ("mean_drain_minutes", "Mean minutes until flat", "number"),
    ("halts", "Halts", "count"),
    ("halt_hours", "Time halted", "hours"),
    ("mean_correlation", "Mean correlation of the pairs", "number"),
    ("overcommitted", "Times over the limit of reserved capital", "count"),
    ("diversification_ratio", "Diversification ratio", "number"),
)


def _counted(name: str, figures: AlgorithmFigures) -> list[tuple[str, str]]:
    own = getattr(figures, name)
    return [(label(key), figure(f"algorithm.{name}.{key}", count, "count")) for key, count in own.items()]
