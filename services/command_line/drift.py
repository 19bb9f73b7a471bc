"""`traderagent drift`: what a bot has filled beside what a simulation would have, and what the difference cost."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bot.errors import Misconfigured
from services.command_line.console import console, notes, progress
from services.command_line.interrupt import run_loop
from services.command_line.past import Bot, kept_by

if TYPE_CHECKING:
    from backtesting.drift import Drift

SHOWN = 40


def drift(
    bot: Bot = None,
    config: Annotated[
        Path | None, typer.Option("--config", help="YAML file of the bot, where its database is your own")
    ] = None,
    start: Annotated[
        str | None, typer.Option("--from", help="first moment, UTC [default: of the kept sessions]", metavar="TIME")
    ] = None,
    end: Annotated[str | None, typer.Option("--to", help="moment after the last, UTC", metavar="TIME")] = None,
    limit: Annotated[
        float | None, typer.Option("--limit", help="exit code 1 where it cost more, or nothing was compared",
                                   metavar="BPS", min=0.0)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="every fill and figure as JSON")] = False,
) -> None:  # fmt: skip
    """Compare a bot's fills with those of a simulation that saw the same candles; the bot may run meanwhile.

    Fees, slippage, late, missed and unexpected fills in money and in bps of the traded volume, and why. What cannot be
    compared is said.
    """
    from bot.candles import parse_time

    since, until = (None if one is None else parse_time(one) for one in (start, end))
    if since is not None and until is not None and until <= since:
        raise Misconfigured(f"--to is {end}, which is not after --from {start}; give a later moment.")
    from bot.kernel import interpreting_first
    from services.app.backing import database
    from services.app.drift import compare, document
    from services.logs import passwords, quieten
    from services.storage.live_fills import live_fills

    quieten()
    name, data_dir, address = kept_by(bot, config)
    quieten(secrets=passwords(address))

    async def read() -> Any:
        async with database(data_dir, name, address) as dsn:
            return await live_fills(dsn, name, since, until)

    live = run_loop(read())
    # What is not compiled yet takes longer to compile than weeks of minutes to play.
    with interpreting_first(), progress("playing sessions") as show:
        found = compare(data_dir, name, live, since, until, show)
    said = document(name, found, since, until)
    if as_json:
        print(json.dumps(said))  # noqa: T201, for programs
    else:
        _show(name, found)
    compared = any(found.minutes.values())
    if limit is not None and (not compared or (found.bps is not None and found.bps > limit)):
        raise typer.Exit(1)


def _show(name: str, found: Drift) -> None:
    from rich.table import Table

    from services.app.drift import span_text

    minutes = sum(found.minutes.values())
    paired = sum(row.live is not None and row.simulated is not None for row in found.rows)
    console().print(
        f"bot {name}: {minutes:,} minutes of {len(found.minutes)} pairs compared; {paired} of {len(found.rows)} fills "
        f"on both sides, {found.volume:,.2f} traded.",
        highlight=False,
    )
    sums = Table("pair", "kind", box=None)
    for column in ("fills", "cost", "bps of volume"):
        sums.add_column(column, justify="right")
    for one in found.sums:
        if one.fills or not one.pair:
            sums.add_row(one.pair or "all", one.kind.value, str(one.fills), _signed(one.cost, 4), _signed(one.bps, 3))
    sums.add_row("all", "in all", str(len(found.rows)), _signed(found.cost, 4), _signed(found.bps, 3))
    console().print(sums)
    _show_unpaired(found)
    for span in found.uncompared:
        notes().print(f"not compared: {span_text(span)}.", soft_wrap=True, highlight=False, markup=False)


def _signed(value: float | None, digits: int) -> str:
    """Say a number with its sign; what rounds to nothing has none of its own."""
    return "n/a" if value is None else f"{round(value, digits) + 0.0:+,.{digits}f}"


def _show_unpaired(found: Drift) -> None:
    from rich.table import Table

    from bot.candles import iso
    from bot.order import Side

    alone = [row for row in found.rows if row.why]
    if not alone:
        return
    table = Table("at", "pair", "kind", "what", "cost", "why", box=None)
    for row in alone[:SHOWN]:
        one = row.known
        what = f"{Side(one.side).name.lower()} {one.lots * one.lot:g} at {one.price:g}"
        table.add_row(iso(one.at), one.pair, row.kind.value, what, _signed(sum(row.costs.values()), 4), row.why)
    console().print(table)
    if len(alone) > SHOWN:
        console().print(f"… and {len(alone) - SHOWN} more; --json has them all")
