"""The parts of a page that show figures: cards, groups, bounds, settings. Each names its place in `result.json`."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

from backtesting.reports.labels import COMPARED, GROUPS, LABELS, SIGNED, label, sentence_of, written
from backtesting.reports.words import budget_words

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from backtesting.grid_figures import GridFigures
    from backtesting.metrics import Metrics
    from backtesting.reports.run_view import RunView
    from backtesting.result import ResultDocument

# Cards: title, the figure, and what stands under it.
CARDS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("Total return", "total_return_pct", ("total_profit",)),
    ("Buy and hold", "benchmark_return_pct", ()),
    ("Annualised", "annualised_return_pct", ("duration_days",)),
    ("Max drawdown", "max_drawdown_pct", ("max_drawdown_days",)),
    ("Sharpe ratio", "sharpe", ("sortino",)),
    ("Closed trades", "closed_profit", ("trades", "win_rate_pct")),
    ("Open trades, at the last close", "open_profit", ("open_trades", "win_rate_with_open_pct")),
    ("Fees", "fees", ("funding",)),
)
UNDER = {
    "duration_days": "over {}",
    "max_drawdown_days": "longest {}",
    "sortino": "Sortino {}",
    "trades": "{} trades",
    "win_rate_pct": "{} won",
    "open_trades": "{} trades",
    "win_rate_with_open_pct": "{} won with these",
    "funding": "funding {}",
}
ON_CARDS = frozenset(name for _, figure, under in CARDS for name in (figure, *under))
IN_GRID = frozenset({"cycles"})
IN_SUBTITLE = frozenset({"start", "end"})


def figure(path: str, value: Any, form: str, currency: str = "") -> str:
    """A value as it is shown, with its place in `result.json`."""
    tone = ""
    if form in SIGNED and value is not None and value != 0:
        tone = ' class="gain"' if value > 0 else ' class="loss"'
    return f'<span data-figure="{escape(path)}"{tone}>{escape(written(value, form, currency))}</span>'


def metric(metrics: Metrics, name: str, currency: str, path: str = "metrics") -> str:
    """A figure of the account."""
    return figure(f"{path}.{name}", getattr(metrics, name), LABELS[name][1], currency)


def table(title: str, rows: Iterable[tuple[str, str]]) -> str:
    """A card of names and values; the values are HTML already."""
    cells = "".join(f"<tr><td>{escape(left)}</td><td>{right}</td></tr>" for left, right in rows)
    caption = f"<caption>{escape(title)}</caption>" if title else ""
    return f'<div class="card"><table class="figures">{caption}<tbody>{cells}</tbody></table></div>'


def wide_table(head: Sequence[str], rows: Iterable[Sequence[str]], title: str = "") -> str:
    """A card with a table of several columns; cells are HTML already, the head is text."""
    heads = "".join(f"<th>{escape(name)}</th>" for name in head)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    caption = f"<caption>{escape(title)}</caption>" if title else ""
    inside = f"{caption}<thead><tr>{heads}</tr></thead><tbody>{body}</tbody>"
    return f'<div class="card"><table class="wide">{inside}</table></div>'


def cards(view: RunView) -> str:
    """The headline figures."""
    metrics, made = view.document.metrics, []
    for title, name, under in CARDS:
        small = ", ".join(UNDER.get(one, "{}").format(metric(metrics, one, view.currency)) for one in under)
        value = metric(metrics, name, view.currency)
        made.append(f'<div class="tile"><span>{title}</span><b>{value}</b><span>{small}</span></div>')
    return f'<div class="cards">{"".join(made)}</div>'


def figure_groups(view: RunView) -> str:
    """Every other figure of the account; those that mean nothing for this strategy are left out."""
    metrics, shown = view.document.metrics, []
    left_out = ON_CARDS | IN_SUBTITLE | (IN_GRID if view.document.grid else frozenset())
    for title, rows in GROUPS.items():
        names = [name for name in rows if name not in left_out and _is_meant(metrics, name)]
        shown.append(table(title, [(LABELS[name][0], metric(metrics, name, view.currency)) for name in names]))
    return f'<h2>Figures</h2><div class="packed">{"".join(shown)}</div>'


OWN_OF_STRATEGIES = frozenset({"cycles", "levels_filled", "deals", "mean_safety_orders"})


def _is_meant(metrics: Metrics, name: str) -> bool:
    return name not in OWN_OF_STRATEGIES or getattr(metrics, name) is not None


def grid_section(view: RunView) -> str:
    """A grid's profit by where it came from, as an exchange's page shows it, and what that page leaves out."""
    grid = view.document.grid
    if grid is None:
        return ""
    idle = budget_words(grid)
    said = f'<p class="mark">{escape(idle)}</p>' if idle else ""
    return f'<h2>Grid</h2>{said}<div class="groups">{_grid_profit(grid, view.currency)}{_grid_prices(view, grid)}</div>'


def _grid_profit(grid: GridFigures, currency: str) -> str:
    rows = [
        ("Grid profit: closed cycles", figure("grid.grid_profit", grid.grid_profit, "gained", currency)),
        ("Floating profit: what it holds", figure("grid.floating_profit", grid.floating_profit, "gained", currency)),
        ("Closed otherwise: stops and ends", figure("grid.other_profit", grid.other_profit, "gained", currency)),
        ("Cycles", figure("grid.cycles", grid.cycles, "count")),
        ("Profit of a cycle", figure("grid.profit_per_cycle", grid.profit_per_cycle, "gained", currency)),
    ]
    return table("Where the profit came from", rows)


def _grid_prices(view: RunView, grid: GridFigures) -> str:
    rows = [
        ("Grid profit, annualised", figure("grid.annualised_grid_pct", grid.annualised_grid_pct, "gained_pct")),
        ("Capital that all cells take", figure("grid.committed_pct", grid.committed_pct, "share")),
    ]
    for pair, price in grid.break_even.items():
        name = "Break-even price" if len(grid.break_even) == 1 else f"Break-even price, {pair}"
        shown = price_figure(f"grid.break_even.{pair}", price, view.singles[pair]) if price else _nothing_held(pair)
        rows.append((name, shown))
    return table("Yield, capital and price", rows)


def _nothing_held(pair: str) -> str:
    return f'<span data-figure="grid.break_even.{escape(pair)}">nothing is held</span>'


def price_figure(path: str, price: float, single: Any) -> str:
    """A price with the digits of its pair's tick."""
    places = max(-int(single.recording.prepared.instrument.tick_size.normalize().as_tuple().exponent), 0)
    return f'<span data-figure="{escape(path)}">{price:,.{places}f}</span>'


EQUAL_BOUNDS = (
    "All three are equal: no fill of this run depended on the way inside a bar, so the rules had nothing to decide."
)
BOUNDS = (
    "Pessimistic: limits fill when the price goes through them, and inside a bar the worse extreme comes first. "
    "Optimistic: limits fill when they are touched, and the nearer extreme comes first. The truth lies between."
)


def bounds_section(document: ResultDocument, currency: str) -> str:
    """The same run under the worst and the best rules, beside this one, and what it means where they agree."""
    if document.bounds is None:
        return ""
    columns = {"this run": ("metrics", document.metrics)}
    columns |= {label(name).lower(): (f"bounds.{name}", own) for name, own in document.bounds.items()}
    rows = []
    for name in COMPARED:
        cells = [metric(own, name, currency, path) for path, own in columns.values()]
        rows.append([escape(LABELS[name][0]), *cells])
    equal = all(len({getattr(own, name) for _, own in columns.values()}) == 1 for name in COMPARED)
    said = EQUAL_BOUNDS if equal else BOUNDS
    return f"<h2>Worst and best fill rules</h2><p>{said}</p>{wide_table(['', *columns], rows)}"


def settings_section(view: RunView) -> str:
    """How it was run, folded away."""
    document = view.document
    tables = []
    for title, values in _settings(document):
        rows = [(label(key), escape(sentence_of(value))) for key, value in values.items() if value is not None]
        if rows:
            tables.append(table(title, rows))
    counts = [(label(name), figure(f"counts.{name}", count, "count")) for name, count in document.counts.items()]
    tables += [table("Counted", counts)] if counts else []
    return f'<details><summary>How it was run</summary><div class="packed">{"".join(tables)}</div></details>'


def _settings(document: Any) -> Iterable[tuple[str, dict[str, Any]]]:
    parameters = document.parameters
    if any(isinstance(value, dict) for value in parameters.values()) and hasattr(document, "pairs"):
        for name, section in parameters.items():
            yield label(name), section
    else:
        yield f"Parameters of {document.strategy}", parameters
    yield "Exchange rules", document.execution
    instruments = document.instruments if hasattr(document, "pairs") else {document.pair: document.instrument}
    for pair, instrument in instruments.items():
        yield f"Instrument {pair}", instrument
