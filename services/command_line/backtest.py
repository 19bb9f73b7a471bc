"""`traderagent backtest`: one strategy on one pair, from a config file or from options, to a run directory."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
import yaml
from rich.console import Console
from rich.table import Table

from backtesting.config import load_config
from bot.errors import Misconfigured
from bot.instrument import Market
from services.data.store import SYNTHETIC, CandleStore
from services.data.venue import saved_instrument
from services.settings import Settings

if TYPE_CHECKING:
    from backtesting.candles import Candles
    from backtesting.config import BacktestConfig
    from backtesting.metrics import Metrics
    from backtesting.result import BacktestResult

console = Console()
notes = Console(stderr=True)

# What the summary shows: field, label, format.
SUMMARY = (
    ("total_return_pct", "return", "{:+.2f} %"),
    ("benchmark_return_pct", "buy and hold", "{:+.2f} %"),
    ("total_profit", "profit", "{:+,.2f}"),
    ("max_drawdown_pct", "max drawdown", "{:.2f} %"),
    ("sharpe", "Sharpe", "{:.2f}"),
    ("sortino", "Sortino", "{:.2f}"),
    ("trades", "trades", "{:,}"),
    ("win_rate_pct", "win rate", "{:.1f} %"),
    ("profit_factor", "profit factor", "{:.2f}"),
    ("position_coverage_pct", "time in position", "{:.1f} %"),
    ("fees", "fees", "{:,.2f}"),
    ("funding", "funding", "{:+,.2f}"),
    ("slippage", "slippage", "{:,.2f}"),
)


def backtest(
    config: Annotated[Path | None, typer.Argument(help="YAML file; options go over what it says")] = None,
    strategy: Annotated[str | None, typer.Option(help="grid, dca, trend, or your own module:NAME")] = None,
    pair: Annotated[str | None, typer.Option(help="such as BTCUSDT")] = None,
    start: Annotated[str | None, typer.Option("--from", help="first day or minute that may trade, UTC")] = None,
    end: Annotated[str | None, typer.Option("--to", help="end, not included, UTC")] = None,
    capital: Annotated[float | None, typer.Option(help="initial capital, quote currency")] = None,
    exchange: Annotated[str | None, typer.Option(help="whose candles, from the store")] = None,
    market: Annotated[Market | None, typer.Option(help="spot or linear")] = None,
    leverage: Annotated[float | None, typer.Option(help="leverage, linear only")] = None,
    candles: Annotated[Path | None, typer.Option(help="a candle file instead of the store")] = None,
    changes: Annotated[list[str] | None, typer.Option("--set", help="any key, such as grid.levels=20")] = None,
    out: Annotated[Path | None, typer.Option(help="run directory [default: in the data directory]")] = None,
    bounds: Annotated[bool, typer.Option("--bounds", help="show the worst and the best fill rules too")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print result.json instead of the summary")] = False,
) -> None:
    """Backtest one strategy on one pair and write config, result, fills, trades, equity and a report."""
    options = {
        "strategy": strategy,
        "pair": pair,
        "from": start,
        "to": end,
        "capital": capital,
        "exchange": exchange,
        "market": market,
        "leverage": leverage,
        "candles": candles.resolve() if candles else None,
    }
    given = {key: value for key, value in options.items() if value is not None}
    loaded = load_config(config or {}, {**given, **dict(_assignment(text) for text in changes or [])})
    settings = Settings()
    chosen, held = _candles(loaded, CandleStore(settings.data_dir))
    result = _run(chosen, held, settings.data_dir, bounds=bounds)
    name = f"{chosen.loaded.name}-{chosen.pair}-{result.document.run_id}"
    with notes.status("writing the report"):
        folder = result.write(out or settings.data_dir / "runs" / name)
    if as_json:
        print(result.document.model_dump_json(indent=2, by_alias=True))  # noqa: T201, for other programs
        return
    _print_summary(result, folder)


def _assignment(text: str) -> tuple[str, Any]:
    key, sign, value = text.partition("=")
    if not sign or not key:
        raise Misconfigured(f"--set {text!r} is no assignment; write it like grid.levels=20.")
    try:
        return key.strip(), yaml.safe_load(value)
    except yaml.YAMLError:
        raise Misconfigured(f"--set {text!r}: the value cannot be read; put quotes around it.") from None


def _candles(config: BacktestConfig, store: CandleStore) -> tuple[BacktestConfig, Candles | Path]:
    """Find the candles; where the config does not say whose, take the venue that has them."""
    if config.candles is not None:
        return config, config.candles
    if "exchange" not in config.model_fields_set:
        known = [one.venue for one in store.series() if (one.market, one.symbol) == (config.market, config.pair)]
        if known:
            venue = min(known, key=lambda name: (name == SYNTHETIC, name != "bybit", name))
            config = config.changed(exchange=venue)
    from backtesting.run import warmup_start  # noqa: PLC0415, loads the compiler, which takes most of a second

    series = store.finest(config.exchange, str(config.market), config.pair)
    candles = store.read(series, warmup_start(config), config.end)
    # An empty period is refused with what the store does hold.
    return config, candles if len(candles) else store.read(series)


def _run(config: BacktestConfig, candles: Candles | Path, data_dir: Path, *, bounds: bool) -> BacktestResult:
    from backtesting.run import simulate  # noqa: PLC0415
    from backtesting.simulator import is_ready  # noqa: PLC0415

    fetched = saved_instrument(data_dir, config.exchange, config.market, config.pair)
    ready = is_ready(config.loaded)
    what = f"compiling the decisions of {config.loaded.name} for this machine, once; about half a minute"
    with nullcontext() if ready else notes.status(what):
        return simulate(config, candles, fetched=fetched, bounds=bounds)


def _print_summary(result: BacktestResult, folder: Path) -> None:
    metrics, document = result.metrics, result.document
    columns: dict[str, Metrics] = {"": metrics, **(result.bounds or {})}
    title = f"{document.strategy} on {document.pair} ({document.exchange} {document.market})"
    table = Table("", *columns, title=title, show_header=len(columns) > 1, title_justify="left")
    for name, label, form in SUMMARY:
        values = [getattr(one, name) for one in columns.values()]
        table.add_row(label, *("n/a" if value is None else form.format(value) for value in values))
    console.print(table)
    period = f"{metrics.start} to {metrics.end}"
    console.print(f"{period}, capital {metrics.initial_capital:,.2f}, run {document.run_id}", soft_wrap=True)
    if document.exchange == SYNTHETIC:
        console.print("[yellow]generated candles: good for trying out, not for believing[/]")
    for notice in document.notices:
        console.print(f"note: {notice}", highlight=False, soft_wrap=True)
    console.print(f"report: {folder / 'report.html'}", soft_wrap=True, highlight=False)
