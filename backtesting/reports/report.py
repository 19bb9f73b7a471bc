"""The report of a run: one HTML file that opens without a network, with every picture and figure inside."""

from __future__ import annotations

import json
from base64 import b64encode
from html import escape
from importlib.resources import files
from string import Template
from typing import TYPE_CHECKING, Any

import polars as pl

from backtesting.reports.charts import GAIN, LOSS, STOP, rolled_candles

if TYPE_CHECKING:
    from pathlib import Path

    from backtesting.metrics import Metrics
    from backtesting.result import BacktestResult

CANDLES, MARKS, SEGMENTS = 3000, 6000, 3000

# Field: label and format. Every figure of Metrics stands in one of these groups.
GROUPS: dict[str, dict[str, tuple[str, str]]] = {
    "Result": {
        "initial_capital": ("Initial capital", "{:,.2f}"),
        "final_capital": ("Final capital", "{:,.2f}"),
        "total_profit": ("Total profit", "{:+,.2f}"),
        "total_return_pct": ("Total return", "{:+.2f} %"),
        "annualised_return_pct": ("Annualised return", "{:+.2f} %"),
        "benchmark_return_pct": ("Buy and hold", "{:+.2f} %"),
        "fees": ("Fees paid", "{:,.2f}"),
        "funding": ("Funding received", "{:+,.2f}"),
        "slippage": ("Slippage, within the prices", "{:,.2f}"),
        "turnover": ("Turnover", "{:,.0f}"),
    },
    "Risk": {
        "max_drawdown_pct": ("Max drawdown", "{:.2f} %"),
        "max_drawdown_days": ("Longest drawdown", "{:.1f} days"),
        "average_drawdown_pct": ("Average drawdown", "{:.3f} %"),
        "average_drawdown_days": ("Average drawdown", "{:.2f} days"),
        "sharpe": ("Sharpe", "{:.2f}"),
        "sortino": ("Sortino", "{:.2f}"),
        "calmar": ("Calmar", "{:.2f}"),
        "position_coverage_pct": ("Time in position", "{:.1f} %"),
        "mean_exposure_pct": ("Mean gross exposure", "{:.1f} %"),
        "max_exposure_pct": ("Largest gross exposure", "{:.1f} %"),
        "return_per_exposure_pct": ("Return per 100 % exposure", "{:+.2f} %"),
    },
    "Trades": {
        "trades": ("Closed trades", "{:,}"),
        "closed_profit": ("Profit of closed trades", "{:+,.2f}"),
        "open_trades": ("Open trades at the end", "{:,}"),
        "open_profit": ("Profit of open trades so far", "{:+,.2f}"),
        "win_rate_pct": ("Win rate, closed", "{:.1f} %"),
        "win_rate_with_open_pct": ("Win rate, with open", "{:.1f} %"),
        "best_trade_pct": ("Best trade", "{:+.2f} %"),
        "worst_trade_pct": ("Worst trade", "{:+.2f} %"),
        "average_trade_pct": ("Average trade", "{:+.3f} %"),
        "longest_trade_hours": ("Longest trade", "{:,.1f} hours"),
        "average_trade_hours": ("Average trade", "{:,.1f} hours"),
        "expectancy": ("Expectancy", "{:+,.2f}"),
        "average_r": ("Average R", "{:+.2f}"),
        "sqn": ("SQN", "{:.2f}"),
        "profit_factor": ("Profit factor, closed", "{:.2f}"),
        "profit_factor_with_open": ("Profit factor, with open", "{:.2f}"),
        "average_win": ("Average win", "{:,.2f}"),
        "average_loss": ("Average loss", "{:,.2f}"),
        "longest_losing_run": ("Longest losing run", "{:,}"),
    },
    "Orders": {
        "fills": ("Fills", "{:,}"),
        "refused": ("Refused by the exchange", "{:,}"),
        "under_minimum": ("Under the venue's minimum", "{:,}"),
        "refused_for_costs": ("Refused for their costs", "{:,}"),
        "incomplete_bars": ("Incomplete signal bars", "{:,}"),
        "cycles": ("Grid cycles", "{:,}"),
        "levels_filled": ("Levels filled", "{:,}"),
        "deals": ("Deals", "{:,}"),
        "mean_safety_orders": ("Mean safety orders", "{:.2f}"),
        "entries_by_kind": ("Entries by kind", "{}"),
        "start": ("From", "{}"),
        "end": ("To", "{}"),
        "duration_days": ("Duration", "{:.1f} days"),
    },
}
ONLY_WHERE_MEANT = {"cycles", "levels_filled", "deals", "mean_safety_orders", "entries_by_kind"}
TILES = (
    "total_return_pct", "benchmark_return_pct", "max_drawdown_pct", "sharpe", "fees",
    "trades", "closed_profit", "win_rate_pct", "profit_factor",
    "open_trades", "open_profit", "win_rate_with_open_pct", "profit_factor_with_open",
)  # fmt: skip


def write_report(result: BacktestResult, pictures: dict[str, bytes], path: Path) -> None:
    """Write the report with these PNGs to `path`; the same result gives the same bytes."""
    from plotly.offline import get_plotlyjs  # noqa: PLC0415, only a report needs it

    document = result.document
    page = Template(files("backtesting.reports").joinpath("report.html").read_text(encoding="utf-8"))
    drawn = {
        name: "data:image/png;base64," + b64encode(picture).decode()
        for name, picture in pictures.items()
        if name != "candles"
    }
    figure, note = _candle_figure(result)
    title = f"{document.strategy} on {document.pair}"
    html = page.substitute(
        drawn,
        title=escape(title),
        subtitle=_subtitle(result),
        marks=_marks(result),
        verdict=escape(verdict(result.metrics)),
        tiles="".join(_tile(name, result.metrics) for name in TILES),
        candles_note=escape(note),
        groups="".join(_group(name, rows, result.metrics) for name, rows in GROUPS.items()),
        bounds=_bounds(result),
        settings=_settings(result),
        plotly=get_plotlyjs().replace("</script", "<\\/script"),
        figure=_script(figure),
        layout=_script(_layout()),
    )
    path.write_text(html, encoding="utf-8")


def verdict(metrics: Metrics) -> str:
    """What the figures say, in words that follow from them."""
    if metrics.fills == 0:
        return "It never traded: nothing in this period met its conditions."
    earned = "Earned" if metrics.total_return_pct >= 0 else "Lost"
    held = "gained" if metrics.benchmark_return_pct >= 0 else "lost"
    better = metrics.total_return_pct > metrics.benchmark_return_pct
    sentence = (
        f"{earned} {abs(metrics.total_return_pct):.2f} % with a drawdown of {metrics.max_drawdown_pct:.2f} %, "
        f"while buying and holding {held} {abs(metrics.benchmark_return_pct):.2f} %: "
        f"{'better' if better else 'worse'} than holding."
    )
    if metrics.win_rate_pct is not None and metrics.win_rate_pct > 60 and metrics.closed_profit < 0:
        sentence += (
            f" It won {metrics.win_rate_pct:.0f} % of its closed trades and still lost by them: few large losses ate "
            "many small wins."
        )
    if metrics.open_trades:
        sentence += (
            f" Still open: {metrics.open_trades} of its trades, {metrics.open_profit:+,.2f} so far, beside "
            f"{metrics.closed_profit:+,.2f} of those it closed."
        )
    if 0 < metrics.trades < 30:
        sentence += f" {metrics.trades} trades are too few to judge by."
    return sentence


def _subtitle(result: BacktestResult) -> str:
    document, rules = result.document, result.document.execution
    words = (
        f"{document.exchange} {document.market} · {document.start} to {document.end} · run {document.run_id} · "
        f"fill rule {rules['fill_rule']}, path {rules['path']}, fill policy {rules['fill_policy']}, "
        f"slippage {rules['slippage_bps']:g} bps · leverage {result.config.leverage:g} · funding: {document.funding}"
    )
    return escape(words)


def _marks(result: BacktestResult) -> str:
    marks = list(result.document.notices)
    if result.document.exchange == "synth":
        marks.insert(0, "Generated candles: good for trying out, not for believing.")
    return "".join(f'<div class="mark">{escape(mark)}</div>' for mark in marks)


def _value(name: str, metrics: Metrics) -> str:
    form = next(rows[name][1] for rows in GROUPS.values() if name in rows)
    value = getattr(metrics, name)
    if value is None:
        return "n/a"
    if isinstance(value, dict):
        return ", ".join(f"{key} {count}" for key, count in value.items())
    return form.format(value)


def _tile(name: str, metrics: Metrics) -> str:
    label = next(rows[name][0] for rows in GROUPS.values() if name in rows)
    value = getattr(metrics, name)
    tone = ""
    if name in ("total_return_pct", "benchmark_return_pct", "closed_profit", "open_profit"):
        tone = "gain" if value >= 0 else "loss"
    return f'<div class="tile"><b class="{tone}">{_value(name, metrics)}</b><span>{label}</span></div>'


def _group(title: str, rows: dict[str, tuple[str, str]], metrics: Metrics) -> str:
    shown = [name for name in rows if name not in ONLY_WHERE_MEANT or getattr(metrics, name) is not None]
    return _table(title, [(rows[name][0], _value(name, metrics)) for name in shown])


def _table(title: str, rows: list[tuple[str, str]]) -> str:
    cells = "".join(f"<tr><td>{escape(left)}</td><td>{escape(right)}</td></tr>" for left, right in rows)
    return f'<div class="card"><table><caption>{escape(title)}</caption>{cells}</table></div>'


def _bounds(result: BacktestResult) -> str:
    if result.bounds is None:
        return ""
    columns = {"this run": result.metrics, **result.bounds}
    head = "".join(f"<th>{escape(name)}</th>" for name in ("", *columns))
    rows = "".join(
        f"<tr><td>{label}</td>" + "".join(f"<td>{_value(name, one)}</td>" for one in columns.values()) + "</tr>"
        for rows in GROUPS.values()
        for name, (label, _) in rows.items()
        if name in TILES
    )
    return f'<h2>Worst and best fill rules</h2><div class="card"><table><tr>{head}</tr>{rows}</table></div>'


def _settings(result: BacktestResult) -> str:
    document = result.document
    tables = {
        "Parameters": document.parameters,
        "Exchange rules": document.execution,
        "Instrument": document.instrument,
    }
    return "".join(
        _table(title, [(key, str(value)) for key, value in values.items() if value is not None])
        for title, values in tables.items()
    )


def _script(value: Any) -> str:
    return json.dumps(value, separators=(",", ":")).replace("</", "<\\/")


def _candle_figure(result: BacktestResult) -> tuple[list[dict[str, Any]], str]:
    """Plotly traces, and a sentence on what they show."""
    rolled, minutes = rolled_candles(result, CANDLES)
    prices = {name: rolled[name].to_list() for name in ("open", "high", "low", "close")}
    candles = {
        "type": "candlestick",
        "name": "candles",
        "x": _times(rolled["ts"]),
        **prices,
        "increasing": {"line": {"color": GAIN, "width": 1}},
        "decreasing": {"line": {"color": LOSS, "width": 1}},
    }
    fills, levels = result.fills.tail(MARKS), result.levels.tail(SEGMENTS)
    note = f"Candles of {_span(minutes)}. Drag to zoom, double-click to see all, click a legend entry to hide it."
    if len(fills) < len(result.fills):
        note += f" Of {len(result.fills):,} fills the last {len(fills):,} are drawn."
    if len(levels) < len(result.levels):
        note += f" Of {len(result.levels):,} resting orders the last {len(levels):,} are drawn."
    limits = _segments(levels.filter(pl.col("kind") == "limit"), "resting orders", "rgba(100,116,139,0.45)", "solid")
    stops = _segments(levels.filter(pl.col("kind") == "stop"), "stops", STOP, "dot")
    buys = _markers(fills.filter(pl.col("side") == "buy"), "buys", "#0f766e", "triangle-up")
    sells = _markers(fills.filter(pl.col("side") == "sell"), "sells", "#9d174d", "triangle-down")
    return [limits, stops, candles, buys, sells], note


def _span(minutes: int) -> str:
    if minutes % 1440 == 0:
        return f"{minutes // 1440} d"
    return f"{minutes // 60} h" if minutes % 60 == 0 else f"{minutes} min"


def _times(ts: pl.Series) -> list[str]:
    return pl.from_epoch(ts, "ms").dt.strftime("%Y-%m-%d %H:%M").to_list()


def _segments(levels: pl.DataFrame, name: str, colour: str, dash: str) -> dict[str, Any]:
    left, right, price = _times(levels["ts_from"]), _times(levels["ts_to"]), levels["price"].to_list()
    return {
        "type": "scattergl",
        "mode": "lines",
        "name": name,
        "hoverinfo": "skip",
        "x": [at for pair in zip(left, right, strict=True) for at in (*pair, None)],
        "y": [at for one in price for at in (one, one, None)],
        "line": {"color": colour, "width": 1, "dash": dash},
    }


def _markers(fills: pl.DataFrame, name: str, colour: str, symbol: str) -> dict[str, Any]:
    rows = fills.select("signal", "slot", "qty", "liquidity").iter_rows()
    return {
        "type": "scattergl",
        "mode": "markers",
        "name": name,
        "x": _times(fills["ts"]),
        "y": fills["price"].to_list(),
        "text": [f"{signal}, slot {slot}, {qty:g}, {liquidity}" for signal, slot, qty, liquidity in rows],
        "marker": {
            "color": colour,
            "symbol": symbol,
            "size": 9 if len(fills) < 300 else 5,
            "line": {"width": 0},
        },
    }


def _layout() -> dict[str, Any]:
    return {
        "margin": {"l": 60, "r": 20, "t": 10, "b": 30},
        "dragmode": "zoom",
        "hovermode": "closest",
        "legend": {"orientation": "h", "y": 1.06},
        "xaxis": {"rangeslider": {"visible": True, "thickness": 0.06}, "gridcolor": "#eef1f5"},
        "yaxis": {"fixedrange": False, "gridcolor": "#eef1f5"},
        "paper_bgcolor": "white",
        "plot_bgcolor": "white",
    }
