"""`traderagent backtest`: a strategy or the whole algorithm, from a config file or options, to a run directory."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bot.errors import Misconfigured, cut, shown
from bot.market import Market
from coordinator.config_file import config_values, names_of_pairs, parsed
from services.command_line.console import console, notes, progress
from services.settings import Settings

if TYPE_CHECKING:
    from backtesting.metrics import Metrics
    from backtesting.portfolio_result import PortfolioResult
    from backtesting.reports.comparison import ComparedRun
    from backtesting.result import BacktestResult


# What the summary shows: field, label, format.
SUMMARY = (
    ("total_return_pct", "return", "{:+.2f} %"),
    ("benchmark_return_pct", "buy and hold", "{:+.2f} %"),
    ("total_profit", "profit", "{:+,.2f}"),
    ("max_drawdown_pct", "max drawdown", "{:.2f} %"),
    ("sharpe", "Sharpe", "{:.2f}"),
    ("sortino", "Sortino", "{:.2f}"),
    ("trades", "closed trades", "{:,}"),
    ("closed_profit", "profit of closed trades", "{:+,.2f}"),
    ("win_rate_pct", "win rate, closed", "{:.1f} %"),
    ("profit_factor", "profit factor, closed", "{:.2f}"),
    ("open_trades", "open trades", "{:,}"),
    ("open_profit", "profit of open trades so far", "{:+,.2f}"),
    ("win_rate_with_open_pct", "win rate, with open", "{:.1f} %"),
    ("profit_factor_with_open", "profit factor, with open", "{:.2f}"),
    ("position_coverage_pct", "time in position", "{:.1f} %"),
    ("fees", "fees", "{:,.2f}"),
    ("funding", "funding", "{:+,.2f}"),
    ("slippage", "slippage", "{:,.2f}"),
)


def backtest(
    config: Annotated[Path | None, typer.Argument(help="YAML file; options go over what it says")] = None,
    strategy: Annotated[
        str | None, typer.Option(help="grid, dca, trend, rules, auto, or your own FILE.py:NAME", metavar="NAME")
    ] = None,
    pair: Annotated[
        list[str] | None, typer.Option(help="such as BTCUSDT; several times for several pairs", metavar="PAIR")
    ] = None,
    start: Annotated[
        str | None, typer.Option("--from", help="first day or minute that may trade, UTC", metavar="DATE")
    ] = None,
    end: Annotated[str | None, typer.Option("--to", help="end, not included, UTC", metavar="DATE")] = None,
    capital: Annotated[float | None, typer.Option(help="initial capital, quote currency", metavar="AMOUNT")] = None,
    exchange: Annotated[str | None, typer.Option(help="whose candles, from the store", metavar="VENUE")] = None,
    market: Annotated[Market | None, typer.Option(help="spot or linear")] = None,
    leverage: Annotated[float | None, typer.Option(help="leverage, linear only", metavar="NUMBER")] = None,
    candles: Annotated[
        Path | None, typer.Option(help="a candle file instead of the store, one pair only", metavar="FILE")
    ] = None,
    signals: Annotated[
        Path | None, typer.Option(help="a CSV or JSON file of signals to trade on one pair", metavar="FILE")
    ] = None,
    slippage: Annotated[
        str | None,
        typer.Option(help="of orders at the market: 1pip, 2ticks, 5bps, 0.02% [with --signals: 1pip]", metavar="COST"),
    ] = None,
    spread: Annotated[
        str | None, typer.Option(help="likewise; half of it is paid by each order at the market", metavar="COST")
    ] = None,
    smc: Annotated[bool | None, typer.Option("--smc/--no-smc", help="judge entries by market structure")] = None,
    changes: Annotated[
        list[str] | None, typer.Option("--set", help="any key, such as grid.levels=20", metavar="KEY=VALUE")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="run directory [default: in the data directory]", metavar="FOLDER")
    ] = None,
    samples: Annotated[
        int | None, typer.Option(min=1, help="picture every n-th trade, as it was and annotated", metavar="N")
    ] = None,
    bounds: Annotated[bool, typer.Option("--bounds", help="show the worst and the best fill rules too")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print result.json instead of the summary")] = False,
) -> None:
    """Backtest a strategy, or auto, on recorded candles.

    Writes config, result, fills, trades, equity, events and a report into a run directory.
    Several pairs share one account: a single strategy's in fixed shares, auto's as it allocates.
    """
    options = {
        "strategy": strategy,
        "from": start,
        "to": end,
        "capital": capital,
        "exchange": exchange,
        "market": market,
        "leverage": leverage,
        "candles": candles.resolve() if candles else None,
        "smc.enabled": smc,
    }
    given: dict[str, Any] = {key: value for key, value in options.items() if value is not None}
    if signals is not None:
        given.update(_of_signals(signals, strategy))
    given.update(assignment(text) for text in changes or [])
    settings = Settings()
    pairs = names_of_pairs(",".join(pair or []))
    given.update({"pairs": pairs} if pairs else {})
    config_values(config or {}, given)  # a mistake is told before the rest is loaded
    from coordinator.config import PortfolioConfig, load_config
    from services.app.backtest import find_candles, run_portfolio, run_single
    from services.app.signals import paying
    from services.command_line.tested import keep_backtest
    from services.market_data.store import CandleStore

    chosen = load_config(config or {}, given)
    if isinstance(chosen, PortfolioConfig):
        if signals or slippage or spread:
            raise Misconfigured(
                "signals, slippage and spread are of one strategy on one pair; leave out further pairs, smc, risk and "
                "allocation, or set execution.slippage_bps."
            )
        if bounds:
            raise Misconfigured("bounds compares the rules of one strategy on one pair; leave it out for a portfolio.")
        with progress("playing") as show:
            whole = run_portfolio(chosen, settings.data_dir, show)
        folder = _written(whole, list(chosen.pairs), out, settings.data_dir, samples)
        keep_backtest(settings.data_dir, whole)
        if not as_json:
            _print_portfolio(whole, folder)
    else:
        single, held = find_candles(chosen, CandleStore(settings.data_dir))
        single, held = paying(single, held, settings.data_dir, slippage, spread, signals=signals is not None)
        with notes().status("playing"):
            result = run_single(single, held, settings.data_dir, bounds=bounds)
        folder = _written(result, [single.pair], out, settings.data_dir, samples)
        keep_backtest(settings.data_dir, result)
        if not as_json:
            _print_summary(result, folder)
    if as_json:
        print((folder / "result.json").read_text(encoding="utf-8").rstrip())  # noqa: T201, for other programs


def _written(
    result: BacktestResult | PortfolioResult, pairs: list[str], out: Path | None, data_dir: Path, samples: int | None
) -> Path:
    """Write a run where it is told, or in a folder named by what traded, where, and all that decided its result."""
    from backtesting.reports.run_directory import write_run
    from backtesting.signal_export import is_of_signals

    document = result.document
    strategy = "signals" if is_of_signals(result) else document.strategy
    place = out or data_dir / "runs" / "-".join((strategy, *pairs[:3], document.run_id))
    with notes().status("writing the report"):
        return write_run(result, place, samples=samples)


def _of_signals(path: Path, strategy: str | None) -> dict[str, Any]:
    """Config values that a file of signals stands for."""
    from backtesting.signal_file import STRATEGY, read_signals

    if strategy is not None:
        raise Misconfigured(f"strategy is {shown(strategy)} but signals are a strategy themselves; leave one out.")
    return {"strategy": STRATEGY, "signals.table": read_signals(path), "signals.setup_id": cut(path.stem, 80)}


def assignment(text: str) -> tuple[str, Any]:
    """Read key=value of --set."""
    key, sign, value = (part.strip() for part in text.partition("="))
    if not sign or not all(key.split(".")):
        raise Misconfigured(f"--set {shown(text)} is no assignment; write it like grid.levels=20.")
    try:
        return key, parsed(value)
    except ValueError as error:
        raise Misconfigured(
            f"--set {shown(text)}: the value cannot be read ({cut(str(error))}); put quotes around it."
        ) from None


def _print_portfolio(result: PortfolioResult, folder: Path) -> None:
    from rich.table import Table

    from services.market_data.store import SYNTHETIC

    metrics, document, figures = result.metrics, result.document, result.figures
    table = Table(
        "", "", title=f"{document.strategy} on {len(document.pairs)} pairs", show_header=False, title_justify="left"
    )
    for name, label, form in SUMMARY:
        value = getattr(metrics, name)
        table.add_row(label, "n/a" if value is None else form.format(value))
    forced = f"{figures.transitions:,}, {figures.forced_closes:,} closed at the market"
    table.add_row("transitions", f"{forced}, cost {figures.transition_cost:,.2f}")
    table.add_row("filter", ", ".join(f"{name} {count:,}" for name, count in figures.verdicts.items()))
    table.add_row("modes", ", ".join(f"{name} {share * 100:.1f} %" for name, share in figures.modes.items() if share))
    console().print(table)
    columns = (*result.config.algorithm.roster.names, "draining", "cash")
    pairs = Table("pair", "profit", "holding", "closed", "open", "open profit", *columns)
    for pair, one in result.pair_figures.items():
        shares = [f"{one.strategies.get(name, 0.0) * 100:.0f} %" for name in columns]
        trades = (f"{one.trades:,}", f"{one.open_trades:,}", f"{one.open_profit:+,.2f}")
        pairs.add_row(pair, f"{one.profit:+,.2f}", f"{one.benchmark_return_pct:+.2f} %", *trades, *shares)
    console().print(pairs)
    period = f"{metrics.start} to {metrics.end}"
    console().print(f"{period}, capital {metrics.initial_capital:,.2f}, run {document.run_id}", soft_wrap=True)
    if document.market == Market.LINEAR:
        from backtesting.funding import told_together

        console().print(f"funding: {told_together(document.funding)}", highlight=False, soft_wrap=True)
    if document.exchange == SYNTHETIC:
        console().print("[yellow]generated candles: good for trying out, not for believing[/]")
    for notice in document.notices:
        console().print(f"note: {notice}", highlight=False, soft_wrap=True)
    console().print(f"report: {folder / 'report.html'}", soft_wrap=True, highlight=False)


def print_comparison(runs: list[ComparedRun]) -> None:
    """Print the figures of several runs beside each other."""
    from rich.table import Table

    from backtesting.reports.labels import COMPARED, LABELS, written

    table = Table("", *(one.name for one in runs))
    for name in COMPARED:
        label, form = LABELS[name]
        table.add_row(label, *(written(one.figures[name], form) for one in runs))
    console().print(table)


def _print_summary(result: BacktestResult, folder: Path) -> None:
    from rich.table import Table

    from services.market_data.store import SYNTHETIC

    metrics, document = result.metrics, result.document
    columns: dict[str, Metrics] = {"": metrics, **(result.bounds or {})}
    title = f"{document.strategy} on {document.pair} ({document.exchange} {document.market})"
    table = Table("", *columns, title=title, show_header=len(columns) > 1, title_justify="left")
    for name, label, form in SUMMARY:
        values = [getattr(one, name) for one in columns.values()]
        table.add_row(label, *("n/a" if value is None else form.format(value) for value in values))
    console().print(table)
    period = f"{metrics.start} to {metrics.end}"
    console().print(f"{period}, capital {metrics.initial_capital:,.2f}, run {document.run_id}", soft_wrap=True)
    if document.market == Market.LINEAR:
        console().print(f"funding: {document.funding}", highlight=False, soft_wrap=True)
    if document.exchange == SYNTHETIC:
        console().print("[yellow]generated candles: good for trying out, not for believing[/]")
    for notice in document.notices:
        console().print(f"note: {notice}", highlight=False, soft_wrap=True)
    console().print(f"report: {folder / 'report.html'}", soft_wrap=True, highlight=False)
