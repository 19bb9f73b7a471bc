"""Reports of the whole algorithm and of comparisons: one HTML file each, pictures inside, words from the numbers."""

from __future__ import annotations

from base64 import b64encode
from html import escape
from string import Template
from typing import TYPE_CHECKING, Any

from backtesting.funding import told_together
from backtesting.reports.charts import png
from backtesting.reports.comparison import verdict as compared_verdict
from backtesting.reports.portfolio_charts import compare_chart
from backtesting.reports.report import verdict

if TYPE_CHECKING:
    from pathlib import Path

    from backtesting.portfolio_result import PortfolioResult
    from backtesting.reports.comparison import ComparedRun

PAGE = Template(
    """<!doctype html><html lang="en"><meta charset="utf-8"><title>$title</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
body{font:15px/1.5 system-ui,sans-serif;margin:0;background:#f6f7f9;color:#1f2937}
main{max-width:1120px;margin:0 auto;padding:28px 20px}
h1{font-size:24px;margin:0 0 4px} h2{font-size:17px;margin:28px 0 8px} .sub{color:#6b7280;font-size:13px}
.verdict{font-size:17px;margin:14px 0} .mark{background:#fef3c7;padding:6px 12px;border-radius:6px;margin:6px 0}
.card{background:#fff;border-radius:10px;padding:14px;box-shadow:0 1px 3px #0001;overflow-x:auto;margin:10px 0}
img{width:100%;height:auto} table{border-collapse:collapse;width:100%;font-size:14px}
td,th{padding:5px 10px;border-bottom:1px solid #eef1f5;text-align:right;white-space:nowrap}
td:first-child,th:first-child{text-align:left} .gain{color:#15803d} .loss{color:#b91c1c}
</style><main><h1>$title</h1><div class="sub">$subtitle</div>$marks<p class="verdict">$verdict</p>$body</main></html>
"""
)
ACCOUNT = {
    "total_return_pct": ("return", "{:+.2f} %"),
    "benchmark_return_pct": ("holding all pairs", "{:+.2f} %"),
    "max_drawdown_pct": ("max drawdown", "{:.2f} %"),
    "sharpe": ("Sharpe", "{:.2f}"),
    "sortino": ("Sortino", "{:.2f}"),
    "mean_exposure_pct": ("mean exposure", "{:.1f} %"),
    "return_per_exposure_pct": ("return per 100 % exposure", "{:+.2f} %"),
    "trades": ("closed trades", "{:,}"),
    "closed_profit": ("profit of closed trades", "{:+,.2f}"),
    "open_trades": ("open trades", "{:,}"),
    "open_profit": ("profit of open trades so far", "{:+,.2f}"),
    "win_rate_pct": ("win rate, closed", "{:.1f} %"),
    "win_rate_with_open_pct": ("win rate, with open", "{:.1f} %"),
    "fees": ("fees", "{:,.2f}"),
    "slippage": ("slippage", "{:,.2f}"),
}


def write_report(result: PortfolioResult, pictures: dict[str, bytes], path: Path) -> None:
    """Write the self-contained report of a run of the whole algorithm, with these PNGs by name."""
    document = result.document
    title = f"{document.strategy} on {', '.join(document.pairs[:6])}{' …' if len(document.pairs) > 6 else ''}"
    subtitle = f"{document.exchange} {document.market} · {document.start} to {document.end} · run {document.run_id}"
    subtitle += f" · funding: {told_together(document.funding)}"
    drawn = "".join(_picture(name, picture) for name, picture in pictures.items())
    body = _account(result) + drawn + _pairs(result) + _algorithm(result)
    marks = list(document.notices)
    if document.exchange == "synth":
        marks.insert(0, "Generated candles: good for trying out, not for believing.")
    path.write_text(_page(title, subtitle, marks, f"{verdict(result.metrics)} {words(result)}", body), encoding="utf-8")


def words(result: PortfolioResult) -> str:
    """What the algorithm did, in a few sentences that follow from its figures."""
    figures = result.figures
    sentences = [
        (
            f"It changed strategy with a position {figures.transitions} times, {figures.forced_closes} of them had to "
            f"close at the market, at a cost of {figures.transition_cost:,.2f}."
        )
    ]
    asked = sum(figures.verdicts.values())
    if asked:
        refused = figures.verdicts["refused"] / asked * 100.0
        sentences.append(f"The filter gave {asked:,} verdicts and refused {refused:.0f} %.")
    if figures.halts:
        sentences.append(f"It halted {figures.halts} times, {figures.halt_hours:.0f} hours in all.")
    if figures.diversification_ratio is not None and len(result.recording.pairs) > 1:
        sentences.append(f"Together the pairs were {figures.diversification_ratio:.2f} times calmer than alone.")
    return " ".join(sentences)


def write_comparison(runs: list[ComparedRun], title: str, subtitle: str, marks: list[str], path: Path) -> None:
    """Write the report of strategies side by side."""
    head = "".join(f"<th>{escape(one.name)}</th>" for one in runs)
    rows = "".join(
        f"<tr><td>{label}</td>" + "".join(f"<td>{_value(one.figures[name], form)}</td>" for one in runs) + "</tr>"
        for name, (label, form) in ACCOUNT.items()
    )
    table = f'<div class="card"><table><tr><th></th>{head}</tr>{rows}</table></div>'
    body = table + _picture("compared", png(compare_chart(runs)))
    path.write_text(_page(title, subtitle, marks, compared_verdict(runs), body), encoding="utf-8")


def _page(title: str, subtitle: str, marks: list[str], said: str, body: str) -> str:
    return PAGE.substitute(
        title=escape(title),
        subtitle=escape(subtitle),
        marks="".join(f'<div class="mark">{escape(mark)}</div>' for mark in marks),
        verdict=escape(said),
        body=body,
    )


def _picture(name: str, picture: bytes) -> str:
    return (
        f'<div class="card"><img alt="{escape(name)}" src="data:image/png;base64,{b64encode(picture).decode()}"></div>'
    )


def _value(value: Any, form: str) -> str:
    return "n/a" if value is None else form.format(value)


def _account(result: PortfolioResult) -> str:
    cells = "".join(
        f"<tr><td>{label}</td><td>{_value(getattr(result.metrics, name), form)}</td></tr>"
        for name, (label, form) in ACCOUNT.items()
    )
    return f'<div class="card"><table>{cells}</table></div>'


def _pairs(result: PortfolioResult) -> str:
    names = (
        "profit",
        "holding",
        "closed",
        "win rate",
        "profit factor",
        "open",
        "open profit",
        "fees",
        "in position",
        "mostly",
    )
    rows = []
    for pair, one in result.pair_figures.items():
        most = max(one.strategies, key=lambda name: one.strategies[name])
        tone = "gain" if one.profit >= 0 else "loss"
        cells = (
            f'<span class="{tone}">{one.profit:+,.2f}</span>',
            f"{one.benchmark_return_pct:+.2f} %",
            f"{one.trades:,}",
            _value(one.win_rate_pct, "{:.1f} %"),
            _value(one.profit_factor, "{:.2f}"),
            f"{one.open_trades:,}",
            f"{one.open_profit:+,.2f}",
            f"{one.fees:,.2f}",
            f"{one.position_coverage_pct:.1f} %",
            f"{most} ({one.strategies[most] * 100:.0f} %)",
        )
        rows.append(f"<tr><td>{escape(pair)}</td>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")
    head = "".join(f"<th>{name}</th>" for name in ("", *names))
    return f'<h2>Pairs</h2><div class="card"><table><tr>{head}</tr>{"".join(rows)}</table></div>'


def _algorithm(result: PortfolioResult) -> str:
    rows = []
    for name, value in result.figures.model_dump().items():
        if isinstance(value, dict):
            shown = ", ".join(f"{k.replace('_', ' ')} {_share(name, v)}" for k, v in value.items() if v) or "none"
        else:
            shown = "n/a" if value is None else f"{value:,.2f}" if isinstance(value, float) else f"{value:,}"
        rows.append(f"<tr><td>{name.replace('_', ' ')}</td><td>{escape(shown)}</td></tr>")
    return f'<h2>What the algorithm did</h2><div class="card"><table>{"".join(rows)}</table></div>'


def _share(name: str, value: float) -> str:
    return f"{value:,}" if name in ("verdicts", "pauses") else f"{value * 100:.1f} %"
