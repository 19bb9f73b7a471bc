"""`traderagent whatif`: which orders fill on the way to a price, and what the strategy would then want."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bot.errors import Misconfigured, TradingError
from coordinator.config_file import symbol_of
from services.command_line.console import console
from services.command_line.interrupt import run_loop
from services.command_line.past import Bot, kept_by

if TYPE_CHECKING:
    from bot.ports import Saved


def whatif(
    pair: Annotated[str, typer.Option(help="such as BTCUSDT", metavar="PAIR")],
    price: Annotated[float, typer.Option(help="where the price goes, quote currency", metavar="PRICE")],
    bot: Bot = None,
    config: Annotated[
        Path | None, typer.Option("--config", help="YAML file of the bot, where its database is your own")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="every order as JSON")] = False,
) -> None:
    """Say what a bot would do if the price of a pair went somewhere, by a copy of its state."""
    if not 0.0 < price < float("inf"):
        raise Misconfigured(f"--price is {price:g}; give one above 0.")
    pair = symbol_of(pair)
    from bot.kernel import interpreting_first
    from services.app.backing import database
    from services.app.whatif import supposed
    from services.logs import passwords, quieten
    from services.storage.live_fills import memory_of

    quieten()
    name, data_dir, address = kept_by(bot, config)
    quieten(secrets=passwords(address))

    async def read() -> Saved:
        async with database(data_dir, name, address) as dsn:
            return await memory_of(dsn, name, pair)

    saved: Saved = run_loop(read())
    with interpreting_first():  # an answer does not wait for a compiler
        found = supposed(data_dir, name, pair, saved, price, _price_now(data_dir, name, pair))
    if as_json:
        print(json.dumps(found))  # noqa: T201, for programs
    else:
        _show(found)


def _price_now(data_dir: Path, bot: str, pair: str) -> float | None:
    """Ask a bot that runs for the price; None where it does not."""
    from services.control.client import ask, control_file, running_bots

    if bot not in running_bots(data_dir):
        return None
    try:
        status = ask(control_file(data_dir, bot), "/status", None, 3.0)
        return next((float(one["price"]) for one in status["pairs"] if one["pair"] == pair), None)
    except (TradingError, KeyError, TypeError, ValueError):
        return None


def _show(found: dict[str, Any]) -> None:
    from rich.table import Table

    from bot.candles import iso

    def say(text: str) -> None:
        console().print(text, highlight=False, soft_wrap=True)

    say(
        f"{found['pair']} from {found['price_now']:g} to {found['price']:g}, by the state of {iso(found['at'])}: "
        f"{len(found['fills'])} fills, {found['position_now']:g} held now, {found['position']:g} then, "
        f"{found['profit']:+,.2f} on the way."
    )
    if found["stopped"]:
        say("The stop that protects the position now is met on the way.")
    for one in found["fills"]:
        how = "rests now" if one["rested"] else "set on the way"
        say(f"  {one['side']} {one['quantity']:g} at {one['price']:g} ({one['reason']}, {how}), fee {one['fee']:.4f}")
    if found["loss_at_stop"] is not None:
        say(f"Then the stop stands at {found['stop']:g}: {found['loss_at_stop']:,.2f} would be lost from there.")
    elif found["position"]:
        say("Then nothing protects the position yet.")
    table = Table("side", "kind", "price", "quantity", "reason", "", box=None)
    for one in found["desired"]:
        price = f"{one['price']:g}" if one["price"] else "market"
        table.add_row(
            one["side"], one["kind"], price, f"{one['quantity']:g}", one["reason"], "new" if one["new"] else ""
        )
    console().print(table if found["desired"] else "Then it would want no order.")
