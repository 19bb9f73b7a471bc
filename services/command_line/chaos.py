"""`traderagent chaos`: kill a bot again and again on an exchange that misbehaves, and certify what came of it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bot.errors import Misconfigured
from bot.market import Market
from coordinator.config_file import read_values
from services.command_line.console import console, notes
from services.command_line.interrupt import run_loop
from services.settings import Settings

if TYPE_CHECKING:
    from bot.candles import Candles
    from coordinator.config import PortfolioConfig
    from services.trials.chaos import ChaosPlan, Findings


def chaos(
    config: Annotated[Path, typer.Argument(help="YAML file of the bot; its environment and keys are not used")],
    kills: Annotated[int, typer.Option(help="how often the bot is killed", min=1, metavar="NUMBER")] = 200,
    seed: Annotated[int, typer.Option(help="of the market, the faults and the moments", metavar="NUMBER")] = 1,
    speed: Annotated[float, typer.Option(help="of the market, times real time", metavar="NUMBER")] = 1200.0,
    exchange: Annotated[
        str | None, typer.Option(help="candles of this exchange from the store instead", metavar="VENUE")
    ] = None,
    report: Annotated[
        Path | None, typer.Option(help="Markdown file to write the certificate to", metavar="FILE")
    ] = None,
    log: Annotated[Path | None, typer.Option(help="file for every line that the bots log", metavar="FILE")] = None,
) -> None:
    """Kill a bot again and again, and certify what came of it.

    It trades on an exchange of its own that misbehaves.
    Positions are held against their stops at every minute, also while the bot is dead. Exit code 1 when anything is
    lost, doubled, bare or different. Nothing is sent to a real exchange.
    """
    if not 1.0 <= speed <= 100_000.0:
        raise Misconfigured(f"speed is {speed:g}; give 1 to 100000 times real time, such as 1200.")
    for path in (report, log):
        _writable(path)
    read_values(config)
    from services.logs import quieten
    from services.trials.chaos import ChaosPlan

    quieten(level=50)
    plan = ChaosPlan(kills, seed, speed, log)
    try:
        found = played(config, plan, exchange)
    except KeyboardInterrupt:
        notes().print("stopped; nothing is left behind")
        os._exit(130)  # an orderly end of the compiler's library would take another second
    from services.trials.chaos_report import certificate, markdown

    if report is not None:
        report.write_text(markdown(found, exchange), encoding="utf-8")
    if found.passed:
        from services.command_line.tested import keep_chaos
        from services.runtime.config import load_bot

        settings, chosen = load_bot(config)
        keep_chaos(settings.data_dir, chosen, found)
    console().print(certificate(found), markup=False, highlight=False, soft_wrap=True)
    raise typer.Exit(0 if found.passed else 1)


def _writable(path: Path | None) -> None:
    if path is not None and not path.absolute().parent.is_dir():
        raise Misconfigured(f"{path} cannot be written; its folder does not exist.")


def played(path: Path, plan: ChaosPlan, source: str | None) -> Findings:
    """Prepare everything that takes long in this thread, where Ctrl-C ends it at once, and run."""
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    from services.runtime.config import load_bot
    from services.runtime.warm import warm
    from services.trials.chaos import Chaos, exchange_of
    from services.trials.warm_exchange import warm_exchange

    settings, config = load_bot(path)
    if config.market is not Market.LINEAR:
        raise Misconfigured(f"market is {config.market}, but chaos holds positions against their stops; use linear.")
    values = {name: value for name, value in read_values(path).items() if name != "bot"}
    with notes().status("preparing candles, exchange and program"):
        candles = _candles(config, plan, source)
        warm(config)
        exchange = exchange_of(config, candles)
        warm_exchange(config)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=notes(), transient=True) as bar:
        task = bar.add_task("kills", total=plan.kills)

        def show(found: Findings) -> None:
            bar.update(task, completed=found.kills, description=f"kills, {len(exchange.trades)} executions")

        return run_loop(Chaos(settings, config, values, exchange, plan, show).run())


def _candles(config: PortfolioConfig, plan: ChaosPlan, source: str | None) -> dict[str, Candles]:
    from bot.times import DAY
    from services.market_data.store import CandleStore
    from services.market_data.synth import generate
    from services.trials.chaos import days_needed

    if source is None:
        days = -(-config.algorithm.most_history_ms // DAY) + 1 + days_needed(plan)
        return generate(list(config.pairs), days, plan.seed)
    store = CandleStore(Settings().data_dir)
    return {pair: store.read(store.finest(source, str(config.market), pair)) for pair in config.pairs}
