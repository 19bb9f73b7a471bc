"""`traderagent explain`: why the bot held what it held, in sentences, from a run's own record."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from bot.errors import Misconfigured
from coordinator.config_file import symbol_of
from services.command_line.console import console


def explain(
    run: Annotated[Path, typer.Argument(help="run directory of a backtest of auto or of several pairs")],
    pair: Annotated[str, typer.Option(help="such as BTCUSDT", metavar="PAIR")],
    at: Annotated[str, typer.Option(help="moment, UTC, such as 2024-03-05T12:00", metavar="TIME")],
) -> None:
    """Say what the bot held on a pair at a moment, and why."""
    path = run / "events.jsonl"
    if not path.exists():
        raise Misconfigured(f"run {run} holds no events.jsonl; give that of a backtest of auto or of several pairs.")
    told = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    document = json.loads((run / "result.json").read_text(encoding="utf-8"))
    pair = symbol_of(pair)
    if pair not in document["pairs"]:
        raise Misconfigured(f"pair {pair} is not in this run; choose one of {', '.join(document['pairs'])}.")
    from bot.candles import iso, parse_time

    moment = parse_time(at)
    if not document["from"] <= iso(moment) <= document["to"]:
        raise Misconfigured(f"at is {iso(moment)} but the run goes from {document['from']} to {document['to']}.")
    from coordinator.events import explain as sentences

    console().print(f"[bold]{pair} at {iso(moment)}[/]")
    console().print(_held(run, pair, moment), soft_wrap=True, highlight=False)
    for sentence in sentences(told, pair, iso(moment)):
        console().print(sentence, soft_wrap=True, highlight=False)


def _held(run: Path, pair: str, moment: int) -> str:
    """What the position was, and the fill that left it so."""
    import polars as pl

    from bot.candles import iso

    fills = pl.read_csv(run / "fills.csv")
    before = fills.filter((pl.col("pair") == pair) & (pl.col("ts") <= moment))
    if not len(before):
        return "It held nothing and had not traded yet."
    last = before.row(-1, named=True)
    done = f"{last['side']} of {last['qty']:g} at {last['price']:g} ({last['signal']}) at {iso(last['ts'])}"
    if last["position"] == 0:
        return f"It held nothing since the {done}."
    side = "long" if last["position"] > 0 else "short"
    return f"It was {side} {abs(last['position']):g} since the {done}."
