"""`traderagent montecarlo` and `stress`: what else might come of a config than what its backtest shows."""

from __future__ import annotations

import json
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bot.errors import Misconfigured, cut
from services.command_line.console import console, progress
from services.settings import Settings
from services.whole_file import write_whole

if TYPE_CHECKING:
    from search.stress import Stressed

Run = Annotated[Path, typer.Argument(help="a run directory, or a config such as best.yaml", metavar="RUN")]
CandleFile = Annotated[
    Path | None, typer.Option(help="a candle file instead of the store, one pair only", metavar="FILE")
]
Page = Annotated[Path | None, typer.Option(help="write a page with pictures", metavar="FILE.html")]
AsJson = Annotated[bool, typer.Option("--json", help="print JSON")]


def montecarlo(
    run: Run,
    candles: CandleFile = None,
    draws: Annotated[int, typer.Option(help="times that the trades are drawn", metavar="NUMBER", min=1)] = 1000,
    tapes: Annotated[int, typer.Option(help="times that candles are drawn and played", metavar="NUMBER", min=0)] = 100,
    seed: Annotated[int, typer.Option(help="of the draws", metavar="NUMBER", min=0)] = 0,
    page: Page = None,
    as_json: AsJson = False,
) -> None:
    """Draw the trades of a run anew, in blocks, and play its config on candles drawn anew, in blocks of days."""
    config, market = _found(run, candles)
    from search.monte_carlo import monte_carlo

    with progress("playing") as show:
        found = monte_carlo(config, market, draws=draws, tapes=tapes, seed=seed, progress=show)
    if page is not None:
        from search.report import monte_carlo_page

        write_whole(page, monte_carlo_page(found, config))
    drawn = {"trades": found.trades, "candles": found.candles}
    rows = {name: None if one is None else {**one.rows(), "lost": one.lost} for name, one in drawn.items()}
    if as_json:
        print(json.dumps({"verdict": found.words, **rows}))  # noqa: T201, for programs
        return
    from rich.table import Table

    table = Table(box=None)
    table.add_column("")
    for name in ("5 %", "25 %", "median", "75 %", "95 %"):
        table.add_column(name, justify="right")
    for name, parts in rows.items():
        for figure in ("total_return_pct", "max_drawdown_pct") if parts else ():
            label = "return" if figure == "total_return_pct" else "drawdown"
            table.add_row(f"{label}, {name} drawn, %", *(f"{value:,.1f}" for value in parts[figure].values()))  # type: ignore[index, union-attr]
    console().print(table)
    for sentence in found.words:
        console().print(f"- {sentence}", highlight=False)


def stress(run: Run, candles: CandleFile = None, page: Page = None, as_json: AsJson = False) -> None:
    """Play a config in the worst months that its candles hold, with doubled costs, a missing day and gaps of 30 %."""
    config, market = _found(run, candles)
    from search.stress import stress as stressed

    with progress("playing") as show:
        found = stressed(config, market, show)
    if page is not None:
        from search.report import stress_page

        write_whole(page, stress_page(found, config))
    if as_json:
        plain = [
            {"scenario": one.name, "what": one.what, "refused": one.refusal or None, **_plain(one.figures)}
            for one in found
        ]
        print(json.dumps(plain))  # noqa: T201, for programs
        return
    from rich.table import Table

    table = Table(box=None)
    for name in ("scenario", "return %", "beta", "alpha %", "drawdown %", "worst day %", "trades", ""):
        table.add_column(name, justify="left" if name in ("scenario", "") else "right")
    for one in found:
        table.add_row(one.name, *_cells(one), style="red" if one.figures and one.figures["liquidated"] else None)
    console().print(table)


def _cells(one: Stressed) -> list[str]:
    if one.figures is None:
        return ["", "", "", "", "", "", one.refusal]
    numbers = [value for name, value in one.figures.items() if name != "liquidated"]
    told = ["" if isnan(value) else f"{value:,.2f}" for value in numbers[:-1]] + [f"{numbers[-1]:,.0f}"]
    return [*told, "liquidated" if one.figures["liquidated"] else one.what]


def _plain(figures: dict[str, float] | None) -> dict[str, Any]:
    return {name: None if isnan(value) else value for name, value in (figures or {}).items()}


def _found(run: Path, candles: Path | None) -> tuple[Any, Any]:
    """Read the config of a run or a file, and find its candles."""
    if not run.exists():
        raise Misconfigured(f"{cut(str(run))} does not exist; give a run directory, or a config.")
    from coordinator.config import load_config
    from services.app.backtest import market_for

    config = load_config(run / "config.yaml" if run.is_dir() else run)
    return config, market_for(config, candles, Settings().data_dir)
