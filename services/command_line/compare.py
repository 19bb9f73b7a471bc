"""`traderagent compare`: strategies side by side on the same pairs, capital and rules; one table, one report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bot.errors import Misconfigured
from bot.market import Market
from coordinator.config_file import AUTO, KEYS, names_of_pairs, reference
from services.command_line.backtest import assignment, print_comparison
from services.command_line.console import console, notes, progress
from services.settings import Settings


def compare(
    pair: Annotated[list[str], typer.Option(help="such as BTCUSDT; several times for several pairs", metavar="PAIR")],
    strategies: Annotated[str, typer.Option(help="names with commas between", metavar="NAMES")] = "grid,dca,trend,auto",
    start: Annotated[
        str | None, typer.Option("--from", help="first day or minute that may trade, UTC", metavar="DATE")
    ] = None,
    end: Annotated[str | None, typer.Option("--to", help="end, not included, UTC", metavar="DATE")] = None,
    capital: Annotated[float | None, typer.Option(help="initial capital, quote currency", metavar="AMOUNT")] = None,
    exchange: Annotated[str | None, typer.Option(help="whose candles, from the store", metavar="VENUE")] = None,
    market: Annotated[Market | None, typer.Option(help="spot or linear")] = None,
    leverage: Annotated[float | None, typer.Option(help="leverage, linear only", metavar="NUMBER")] = None,
    smc: Annotated[bool | None, typer.Option("--smc/--no-smc", help="auto: judge entries by market structure")] = None,
    changes: Annotated[
        list[str] | None, typer.Option("--set", help="any key, such as grid.levels=20", metavar="KEY=VALUE")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="report file [default: in the data directory]", metavar="FILE")
    ] = None,
) -> None:
    """Run strategies side by side and say in words which did better.

    Every strategy trades all pairs in one account: a single one in equal shares, auto as it allocates. `--set` of a
    section counts for the strategies that have it.
    """
    options = {"from": start, "to": end, "capital": capital, "exchange": exchange, "market": market}
    options["leverage"] = leverage
    given = {key: value for key, value in options.items() if value is not None}
    sections = dict(assignment(text) for text in changes or [])
    pairs = names_of_pairs(",".join(pair))
    names = [name.strip() for name in strategies.split(",") if name.strip()]
    if not names:
        raise Misconfigured("strategies names none; give some, such as grid,dca,trend,auto.")
    names = [name if name == AUTO else reference(name) for name in names]
    from backtesting.reports.comparison import compared_run, verdict
    from backtesting.reports.comparison_page import comparison_page
    from backtesting.reports.run_view import currency_of
    from coordinator.config import key_meant, load_portfolio
    from services.app.backtest import run_portfolio
    from services.market_data.store import SYNTHETIC

    settings = Settings()
    for key in sections:
        if not any(_concerns(key, name) for name in names):
            key_meant(key, names[0])  # which says what may have been meant
    runs = []
    for name in sorted(names, key=lambda one: one != AUTO):
        own = {key: value for key, value in sections.items() if _concerns(key, name)}
        more = {"smc.enabled": smc} if name == AUTO and smc is not None else {}
        config = load_portfolio({}, {**given, **own, **more, "strategy": name, "pairs": pairs})
        with progress("playing") as show:
            result = run_portfolio(config, settings.data_dir, show)
        given.setdefault("exchange", result.config.exchange)
        runs.append(compared_run(result))
    runs.sort(key=lambda one: names.index(one.name) if one.name in names else len(names))
    title = f"{', '.join(one.name for one in runs)} on {', '.join(pairs)}"
    path = (
        out or settings.data_dir / "runs" / f"compare-{'-'.join(one.name for one in runs)}-{'-'.join(pairs[:3])}.html"
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    marks = ["Generated candles: good for trying out, not for believing."] if given.get("exchange") == SYNTHETIC else []
    with notes().status("writing the report"):
        period = f"{start or 'all there is'} to {end or 'the last candle'}"
        path.write_text(comparison_page(runs, title, period, marks, currency_of(pairs)), encoding="utf-8")
    print_comparison(runs)
    console().print(verdict(runs), soft_wrap=True, highlight=False)
    console().print(f"report: {path}", soft_wrap=True, highlight=False)


def _concerns(key: str, strategy: str) -> bool:
    """Whether an assignment is meant for this strategy: a key of the whole, of its own section, or of any of auto's."""
    from coordinator.config import keys_meant, strategy_named

    section, dot, _ = key.partition(".")
    if not dot and key not in KEYS:
        return bool(keys_meant(key, strategy))
    return not dot or strategy == AUTO or section in ("execution", strategy_named(strategy).name)
