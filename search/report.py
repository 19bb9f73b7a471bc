"""The report of a search: one HTML file that opens without a network, with what was asked and found, and its worth."""

from __future__ import annotations

from base64 import b64encode
from html import escape
from importlib.resources import files
from math import isnan
from string import Template
from typing import TYPE_CHECKING, Any

import yaml

from backtesting.reports.charts import png
from bot.candles import iso
from coordinator.config import PortfolioConfig
from search.axes import is_number, short_key
from search.pictures import (
    both_alphas,
    both_parts,
    drawn,
    efficiency,
    heat,
    important,
    joined_equity,
    parallel,
    stressed,
)
from search.pipeline import FINISHED, worst_scenario

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.figure import Figure

    from coordinator.config import BacktestConfig
    from search.monte_carlo import MonteCarlo
    from search.stress import Stressed
    from search.sweep import Sweep
    from search.walk_forward import WalkForward

SHOWN = {
    "total_return_pct": "return %",
    "beta": "beta",
    "alpha_pct": "alpha % / year",
    "information_ratio": "information ratio",
    "max_drawdown_pct": "drawdown %",
    "trades": "trades",
}
MOST_ROWS = 50
TWINS = ("in_sample", "held_out")
RATIOS = ("beta", "information_ratio")


def sweep_page(found: Sweep) -> str:
    """Lay out the page of a sweep; the same result gives the same bytes."""
    days = [iso(one)[:10] for one in (found.start, found.split, found.end)]
    keys = sorted(found.importance, key=lambda key: -found.importance[key])
    several = [key for key in keys if not _is_word(found, key)][:2]
    pictures = [_card(both_parts(found), "Return of the best variant and of its pair"), _best_of(found)]
    pictures += [_heading("What the axes do"), _card(parallel(found), "Parallel coordinates")]
    maps = [_card(heat(found, *several), "Heat map")] if len(several) == 2 else []
    pictures.append(f'<div class="pair">{"".join([*maps, _card(important(found), "Importance of the axes")])}</div>')
    subtitle = (
        f"{len(found.numbers):,} variants by {found.space.search.method}, chosen in sample from {days[0]} to "
        f"{days[1]}; the best tried on the days held out, {days[1]} to {days[2]}. {found.evidence.trials:,} variants "
        "were ever scored on these candles."
    )
    title = f"Search: {_what(*found.space.firsts)}"
    return _page(title, subtitle, found.verdict, "".join(pictures), found.space.source())


def walk_forward_page(found: WalkForward) -> str:
    """Lay out the page of a walk-forward; the same result gives the same bytes."""
    first, last = found.folds[0], found.folds[-1]
    subtitle = (
        f"{len(found.folds)} windows from {iso(first.test[0])[:10]} to {iso(last.test[1])[:10]}, each traded by the "
        f"best of up to {max(fold.tried for fold in found.folds):,} variants on the days before it, "
        f"{found.embargo_days} days apart. What is held at the end of a window is closed and paid for."
    )
    pictures = [_card(joined_equity(found), "Equity out of sample"), _card(efficiency(found), "Windows")]
    pictures.append(_windows(found))
    title = f"Walk-forward: {_what(*found.space.firsts)}"
    return _page(title, subtitle, found.verdict, "".join(pictures), found.space.source())


def monte_carlo_page(found: MonteCarlo, config: BacktestConfig | PortfolioConfig) -> str:
    """Lay out the page of a Monte Carlo; the same result gives the same bytes."""
    body = _card(drawn(found), "Returns and drawdowns of the draws")
    subtitle = (
        "What else might have come of this run, with its trades in another order and on other candles like these."
    )
    return _page(f"Monte Carlo: {_what(config)}", subtitle, found.words, body, config.document())


def stress_page(found: Sequence[Stressed], config: BacktestConfig | PortfolioConfig) -> str:
    """Lay out the page of a stress; the same result gives the same bytes."""
    names = ("return %", "beta", "alpha % / year", "drawdown %", "worst day %", "trades")
    head = "".join(f"<th>{name}</th>" for name in ("scenario", *names, "what it is"))
    rows = []
    for one in found:
        figures = {name: value for name, value in (one.figures or {}).items() if name != "liquidated"}
        cells = [_figure(name, value) for name, value in figures.items()] or [""] * len(names)
        end = "liquidated" if one.figures and one.figures["liquidated"] else one.refusal or one.what
        rows.append("<tr>" + "".join(f"<td>{escape(text)}</td>" for text in (one.name, *cells, end)) + "</tr>")
    table = f'<div class="card"><table><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'
    body = _card(stressed(found), "Return and drawdown of each scenario") + _heading("Scenarios") + table
    subtitle = "The same config in the worst months that its candles hold, and with faults put into them."
    worst = min((one for one in found if one.figures), key=lambda one: one.figures["total_return_pct"])  # type: ignore[index]
    said = [f"The worst is {worst.name}: a return of {worst.figures['total_return_pct']:,.1f} %."]  # type: ignore[index]
    return _page(f"Stress: {_what(config)}", subtitle, said, body, config.document())


def pipeline_page(whole: dict[str, Any]) -> str:
    """Lay out the page of a pipeline from its summary; the same summary gives the same bytes."""
    question, done = whole["question"], [row for row in whole["pairs"] if row["status"] == FINISHED]
    left = [row for row in whole["pairs"] if row["status"] != FINISHED]
    body = ""
    if any(row["held_out"]["alpha_pct"] is not None for row in done):
        body = _card(both_alphas(done), "Alpha of each preset in sample and held out")
    if done:
        body += _pairs_beside(done) + _worth_of_pairs(done)
    if left:
        rows = [[row["symbol"], row["class"] or "", row["status"], row["reason"]] for row in left]
        body += _heading("Without a preset") + _table(("pair", "class", "status", "reason"), rows, wraps=True)
    subtitle = (
        "Each pair by itself: classified, searched in the ranges of its class, first coarsely, then around the best, "
        f"by {question['objective']}, all in sample. Days held out have chosen nothing; stress is over both parts "
        "unless it says otherwise."
    )
    title = f"Pipeline: {question['strategy']} on {whole['total_pairs']:,} pairs"
    return _page(title, subtitle, whole["verdict"], body, question)


def _pairs_beside(done: Sequence[dict[str, Any]]) -> str:
    """Lay out the figures of all pairs, each in sample with its twin held out beside it."""
    over = "".join(f'<th class="part" colspan="2">{name}</th>' for name in SHOWN.values())
    parts = "".join('<th class="first">in sample</th><th>held out</th>' for _ in SHOWN)
    body = []
    for row in done:
        cells = [f"<td>{escape(row['symbol'])}</td><td>{row['class']}</td>"]
        for name in SHOWN:
            inside, held = (_figure(name, row[part][name]) for part in TWINS)
            cells.append(f'<td class="first">{inside}</td><td>{held}</td>')
        body.append(f"<tr>{''.join(cells)}</tr>")
    head = f'<tr><th colspan="2"></th>{over}</tr><tr><th>pair</th><th>class</th>{parts}</tr>'
    table = f'<div class="card"><table><thead>{head}</thead><tbody>{"".join(body)}</tbody></table></div>'
    return _heading("Pairs") + table


def _worth_of_pairs(done: Sequence[dict[str, Any]]) -> str:
    names = [
        *("pair", "alpha held out, 5 to 95 %", "which says", "better than chance", "trials", "worst under stress"),
        *("held out", "stands until"),
    ]
    rows = []
    for row in done:
        alpha, chance, worst = row["alpha_held_out"], row["better_than_chance"], worst_scenario(row)
        interval = "" if alpha is None else f"{alpha['low']:,.1f} to {alpha['high']:,.1f}"
        told = {None: "cannot be said", True: "yes, in sample", False: "no"}[chance]
        stress = ""
        if worst is not None:
            part = "" if worst["part"] == "both" else f" ({worst['part'].replace('_', ' ')})"
            stress = f"{worst['scenario']}{part}: {worst['figures']['total_return_pct']:,.1f} %"
        days = f"{row['held_out']['from']} to {row['held_out']['to']}"
        rows.append([row["symbol"], interval, row["words"], told, f"{row['trials']:,}", stress, days, row["expires"]])
    return _heading("What the presets are worth") + _table(names, rows)


def _table(names: Sequence[str], rows: Sequence[Sequence[str]], *, wraps: bool = False) -> str:
    style = ' style="white-space:normal;text-align:left"' if wraps else ""
    head = "".join(f"<th{style}>{escape(name)}</th>" for name in names)
    cells = ("".join(f"<td{style}>{escape(text)}</td>" for text in row) for row in rows)
    body = "".join(f"<tr>{row}</tr>" for row in cells)
    return f'<div class="card"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _page(title: str, subtitle: str, verdict: Sequence[str], body: str, asked: dict[str, Any]) -> str:
    page = Template(files("search").joinpath("report.html").read_text(encoding="utf-8"))
    return page.substitute(
        title=escape(title),
        subtitle=escape(subtitle),
        verdict="".join(f"<p>{escape(sentence)}</p>" for sentence in verdict),
        body=body,
        asked=escape(yaml.safe_dump(_plain(asked), sort_keys=False)),
    )


def _best_of(found: Sweep) -> str:
    rows = []
    for row in found.frame.head(min(len(found.held_out), MOST_ROWS)).to_dicts():
        axes = [_value(row[axis.key]) for axis in found.space.axes]
        rows.append((axes, *([_figure(name, row[f"{name}_{part}"]) for name in SHOWN] for part in TWINS)))
    names = [_name(axis.key) for axis in found.space.axes]
    return _heading("The best") + _twins(names, ("in sample", "held out"), rows)


def _windows(found: WalkForward) -> str:
    rows = []
    for fold in found.folds:
        days = f"{iso(fold.test[0])[:10]} to {iso(fold.test[1])[:10]}"
        values = [_value(value) for value in found.space.values(fold.number).values()]
        figures = (
            [_figure(name, float(score[name])) for name in SHOWN] for score in (fold.in_sample, fold.out_of_sample)
        )
        rows.append(([days, *values, _figure("pair_return_pct", fold.pair_returned)], *figures))
    names = ["window", *(_name(axis.key) for axis in found.space.axes), "return of the pair %"]
    return _heading("Windows") + _twins(names, ("in sample", "out of sample"), rows)


def _twins(names: list[str], parts: tuple[str, str], rows: list[Any]) -> str:
    """Lay out a table of rows: what a row is about, and its figures in both parts."""
    head = "".join(f"<th>{escape(name)}</th>" for name in names)
    over = "".join(f'<th class="part" colspan="{len(SHOWN)}">{part}</th>' for part in parts)
    figures = "".join(f"<th>{name}</th>" for name in SHOWN.values())
    body = []
    for own, *twins in rows:
        cells = [f"<td>{escape(text)}</td>" for text in own]
        for twin in twins:
            cells += [f'<td class="first">{twin[0]}</td>', *(f"<td>{text}</td>" for text in twin[1:])]
        body.append(f"<tr>{''.join(cells)}</tr>")
    return (
        f'<div class="card"><table><thead><tr><th colspan="{len(names)}"></th>{over}</tr>'
        f"<tr>{head}{figures}{figures}</tr></thead><tbody>{''.join(body)}</tbody></table></div>"
    )


def _name(key: str) -> str:
    return short_key(key).replace("_", " ")


def _value(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _figure(name: str, value: float | None) -> str:
    if value is None or isnan(value):
        return ""
    return f"{value:,.0f}" if name == "trades" else f"{value:,.2f}" if name in RATIOS else f"{value:,.1f}"


def _card(figure: Figure, alternative: str) -> str:
    picture = b64encode(png(figure)).decode()
    return f'<div class="card"><img alt="{escape(alternative)}" src="data:image/png;base64,{picture}"></div>'


def _heading(text: str) -> str:
    return f"<h2>{escape(text)}</h2>"


def _what(*configs: BacktestConfig | PortfolioConfig) -> str:
    """Name the strategy of configs that differ in their pairs alone, and these."""
    pairs = [pair for one in configs for pair in (one.pairs if isinstance(one, PortfolioConfig) else (one.pair,))]
    return f"{configs[0].strategy} on {', '.join(pairs)}"


def _is_word(found: Sweep, key: str) -> bool:
    """Whether an axis has values that a map cannot lay out by their size; per cent of several pairs stay as written."""
    return not all(is_number(one) for axis in found.space.axes if axis.key == key for one in axis.values)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(one) for key, one in value.items() if one is not None}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return value if isinstance(value, str | int | float | bool) else str(value)
