"""`traderagent explain`: why a bot held what it held, in sentences, from a run's own record or a bot's database."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from bot.errors import Misconfigured
from coordinator.config_file import symbol_of
from services.command_line.console import console
from services.command_line.interrupt import run_loop


def explain(
    pair: Annotated[str, typer.Option(help="such as BTCUSDT", metavar="PAIR")],
    run: Annotated[Path | None, typer.Argument(help="run directory of a backtest of auto or of several pairs")] = None,
    bot: Annotated[
        str | None, typer.Option("--bot", help="name of a bot, in place of a run directory", metavar="NAME")
    ] = None,
    config: Annotated[
        Path | None, typer.Option("--config", help="YAML file of the bot, where its database is your own")
    ] = None,
    at: Annotated[
        str | None, typer.Option(help="moment, UTC, such as 2024-03-05T12:00 [default: the last]", metavar="TIME")
    ] = None,
) -> None:
    """Say what a bot held on a pair at a moment, and why."""
    from bot.candles import iso, parse_time

    pair, moment = symbol_of(pair), None if at is None else parse_time(at)
    if (run is None) == (bot is None and config is None):
        raise Misconfigured("explain takes a run directory, or a bot by --bot (or --config); give one of them.")
    moment, held, told = _of_bot(bot, config, pair, moment) if run is None else _of_run(run, pair, moment)
    from coordinator.decisions import explain as sentences

    console().print(f"[bold]{pair} at {iso(moment)}[/]")
    console().print(held, soft_wrap=True, highlight=False)
    for sentence in sentences(told, pair, iso(moment)):
        console().print(sentence, soft_wrap=True, highlight=False)


def _of_bot(
    bot: str | None, config: Path | None, pair: str, moment: int | None
) -> tuple[int, str, list[dict[str, Any]]]:
    """Read the moment, what was held, and what was decided up to then, from a bot's database."""
    from services.app.backing import database
    from services.command_line.past import kept_by
    from services.logs import passwords, quieten
    from services.storage.past_decisions import past_decisions

    quieten()
    name, data_dir, address = kept_by(bot, config)
    quieten(secrets=passwords(address))

    async def read() -> tuple[int, str, list[dict[str, Any]]]:
        async with database(data_dir, name, address) as dsn:
            return await past_decisions(dsn, name, pair, moment)

    return run_loop(read())


def _of_run(run: Path, pair: str, moment: int | None) -> tuple[int, str, list[dict[str, Any]]]:
    """Read the same from a run directory."""
    from bot.candles import iso, parse_time

    path = run / "events.jsonl"
    if not path.exists():
        raise Misconfigured(f"run {run} holds no events.jsonl; give that of a backtest of auto or of several pairs.")
    told = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    document = json.loads((run / "result.json").read_text(encoding="utf-8"))
    if pair not in document["pairs"]:
        raise Misconfigured(f"pair {pair} is not in this run; choose one of {', '.join(document['pairs'])}.")
    moment = parse_time(document["to"]) if moment is None else moment
    if not document["from"] <= iso(moment) <= document["to"]:
        raise Misconfigured(f"at is {iso(moment)} but the run goes from {document['from']} to {document['to']}.")
    return moment, _held(run, pair, moment), told


def _held(run: Path, pair: str, moment: int) -> str:
    """What the position was, and the fill that left it so."""
    import polars as pl

    fills = pl.read_csv(run / "fills.csv")
    before = fills.filter((pl.col("pair") == pair) & (pl.col("ts") <= moment))
    if not len(before):
        return "It held nothing and had not traded yet."
    from bot.candles import iso
    from services.storage.past_decisions import held

    last = before.row(-1, named=True)
    done = f"{last['side']} of {last['qty']:g} at {last['price']:g} ({last['signal']}) at {iso(last['ts'])}"
    return held(last["position"], done)
