"""The page of a run and of a comparison: one HTML file that opens without a network, its data and figures inside."""

from __future__ import annotations

import json
from functools import cache
from html import escape
from importlib.resources import files
from string import Template
from typing import TYPE_CHECKING, Any

from backtesting.portfolio_result import PortfolioDocument
from backtesting.reports.chart_data import chart_data
from backtesting.reports.run_view import view_of
from backtesting.reports.sections import bounds_section, cards, figure_groups, grid_section, settings_section
from backtesting.reports.trade_sections import (
    algorithm_section,
    correlation_section,
    months_section,
    pairs_section,
    shares_section,
    trades_section,
)
from backtesting.reports.words import marks, subtitle, whole_verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from backtesting.portfolio_result import PortfolioResult
    from backtesting.reports.run_view import RunView
    from backtesting.result import BacktestResult

COMPONENT = ("columns", "overlays", "chart")


def run_page(result: BacktestResult | PortfolioResult) -> str:
    """Lay out the page of a run; the same result gives the same bytes."""
    view = view_of(result)
    data = chart_data(view)
    return laid_out(view.title, subtitle(view), marks(view), whole_verdict(view), cards(view), _sections(view), data)


def chart_page(result: BacktestResult | PortfolioResult) -> str:
    """Lay out the chart of a run alone, for where the figures stand elsewhere."""
    view = view_of(result)
    return laid_out(view.title, subtitle(view), [], "", "", "", chart_data(view) | {"trades": None})


def _sections(view: RunView) -> str:
    document = view.document
    parts = [grid_section(view), months_section(view), trades_section(view)]
    if isinstance(document, PortfolioDocument):
        parts += [pairs_section(document, view.currency), shares_section(document), correlation_section(view)]
        if view.portfolio is not None and view.portfolio.config.algorithm.alone is None:
            parts.append(algorithm_section(document, view.currency))
    else:
        parts.append(bounds_section(document, view.currency))
    return "".join([*parts, figure_groups(view), settings_section(view)])


def laid_out(
    title: str, under: str, said: Sequence[str], verdict: str, before: str, after: str, data: dict[str, Any]
) -> str:
    """Put the parts into the page: what stands before and after the chart, and the chart's data."""
    page = Template(_text("page.html"))
    return page.substitute(
        title=escape(title),
        css=_text("chart/chart.css") + _text("page.css"),
        subtitle=escape(under),
        marks=f'<div class="mark">{"<br>".join(escape(mark) for mark in said)}</div>' if said else "",
        verdict=escape(verdict),
        before=before,
        notes="".join(f'<div class="soft">{escape(note)}</div>' for note in data["notes"]),
        after=after,
        data=json.dumps(data, separators=(",", ":")).replace("<", "\\u003c"),
        library=_text("chart/lightweight-charts.js").replace("</script", "<\\/script"),
        component="".join(_text(f"chart/{name}.js") for name in COMPONENT),
        script=_text("page.js"),
    )


@cache
def _text(name: str) -> str:
    return files("backtesting.reports").joinpath(name).read_text(encoding="utf-8")
