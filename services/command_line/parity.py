"""`traderagent parity`: the same candles through the simulator and through the live bot, and how they differ."""

from __future__ import annotations

from typing import Annotated

import typer

from bot.errors import Misconfigured
from bot.times import DAY
from coordinator.config_file import AUTO, config_values, names_of_pairs
from services.command_line.backtest import assignment
from services.command_line.console import console, notes, progress
from services.command_line.interrupt import run_loop
from services.settings import Settings

NAMES = ("BTCUSDT", "ETHUSDT", "SOLUSDT", "BNBUSDT", "XRPUSDT")
SHOWN = 20


def parity(
    days: Annotated[float, typer.Option(help="how many days to compare", metavar="DAYS")] = 7.0,
    pairs: Annotated[
        str, typer.Option(help="how many pairs, or their names with commas between", metavar="PAIRS")
    ] = "3",
    start: Annotated[
        str | None, typer.Option("--from", help="first day from the store; else candles are made", metavar="DATE")
    ] = None,
    exchange: Annotated[str, typer.Option(help="whose candles, from the store", metavar="VENUE")] = "bybit",
    seed: Annotated[int, typer.Option(help="seed of the made candles", metavar="NUMBER")] = 7,
    strategy: Annotated[
        str, typer.Option(help="grid, dca, trend, auto, or your own FILE.py:NAME", metavar="NAME")
    ] = AUTO,
    changes: Annotated[
        list[str] | None, typer.Option("--set", help="any key, such as grid.levels=20", metavar="KEY=VALUE")
    ] = None,
    restart: Annotated[
        bool, typer.Option("--restart", help="stop the bot half-way, and start another on what it stored")
    ] = False,
) -> None:
    """Compare simulation and live bot, fill by fill.

    Candles are played through the simulator, and in lock-step through actors, ccxt and the simulated exchange.
    Exit code 1 when anything differs.
    """
    names = _names(pairs, exchange, start)
    sections = dict(assignment(text) for text in changes or [])
    options = {"strategy": strategy, "pairs": names, "from": start}
    asked = {key: value for key, value in options.items() if value is not None}
    config_values(asked, sections)  # a mistake is told before the rest is loaded
    from backtesting.instruments import instrument_for
    from coordinator.config import load_portfolio
    from services.app.backtest import histories_of
    from services.logs import quieten
    from services.market_data.store import CandleStore
    from services.market_data.synth import generate
    from services.trials.parity import parity as compare
    from services.trials.parity import sensible_start, told

    quieten()
    config = load_portfolio(asked, sections)
    history = config.algorithm.most_history_ms / DAY
    if config.start is None:
        candles, histories = generate(names, int(-(-(history + days) // 1)), seed), {}
        config = config.changed(start=sensible_start(candles, days))
    else:
        begin = config.algorithm.history_start(config.start)
        config = config.changed(end=config.start + round(days * DAY))
        store = CandleStore(Settings().data_dir)
        candles = {
            name: store.read(store.finest(exchange, str(config.market), name), begin, config.end) for name in names
        }
        histories = histories_of(config.changed(exchange=exchange), Settings().data_dir)
    instruments = {name: instrument_for(name, config.market, candles[name])[0] for name in names}
    with progress("playing live") as show:
        found = run_loop(compare(config, candles, instruments, show, restart=restart, histories=histories))
    differences = found.differences
    kinds = sorted({one.kind for one in found.decisions})
    console().print(
        f"{strategy}, {found.minutes} minutes of {', '.join(names)}: "
        f"{found.fills.total()} fills and {found.decisions.total()} events ({', '.join(kinds)}) in the simulation, "
        f"{found.live_fills.total()} and {found.live_decisions.total()} live."
    )
    if differences:
        from rich.table import Table

        table = Table("side", "what", title=f"the first of {len(differences)} differences", title_justify="left")
        for side, one in differences[:SHOWN]:
            table.add_row(side, str(told(one, instruments)))
        console().print(table)
    console().print(f"{len(differences)} differences")
    if not found.fills:
        notes().print("Nothing was filled in this period, so little was compared; take more days.")
    raise typer.Exit(1 if differences else 0)


def _names(pairs: str, exchange: str, start: str | None) -> list[str]:
    """Read the names, or so many: of the store's, or of those that are made up."""
    if not pairs.isdigit():
        return names_of_pairs(pairs)
    known = list(NAMES)
    if start is not None:
        from services.market_data.store import CandleStore

        known = sorted({one.symbol for one in CandleStore(Settings().data_dir).series() if one.venue == exchange})
    count = int(pairs)
    if not 1 <= count <= len(known):
        raise Misconfigured(f"pairs is {pairs}; choose 1 to {len(known)}, or name them.")
    return known[:count]
