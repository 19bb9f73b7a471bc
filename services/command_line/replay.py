"""`traderagent replay`: what a pair of a live bot was told and did, step by step, decided again by this program."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from services.command_line.console import console

if TYPE_CHECKING:
    from coordinator.pair_core import PairCore
    from coordinator.session import Step

LONGEST = 160  # characters of a step that are shown


def replay(
    session: Annotated[Path, typer.Argument(help="a file of DATA/bots/NAME/sessions, such as BTCUSDT-1.jsonl")],
    start: Annotated[int, typer.Option("--from", help="show from this line on", metavar="NUMBER", min=1)] = 1,
    step: Annotated[bool, typer.Option("--step", help="wait for Enter after each message")] = False,
) -> None:
    """Play a pair's session again, without any exchange: what it was told, what it asked for, how it stood.

    Ends with 0 where this program does the very same; where it asks for something else, it says what, and ends with 1.
    """
    from coordinator.session import replay as play
    from services.runtime.sessions import read_session

    first: float | None = None
    number = 0
    for one, core in play(read_session(session)):
        number = one.number
        first = one.now if first is None else first
        if one.number >= start:
            _show(one, first)
            if one.kind == "→":
                console().print(f"        {_standing(core)}", style="dim", highlight=False, markup=False)
                if step:
                    input()
        if one.expected:
            console().print(f"        was {one.expected}", style="red", highlight=False, markup=False)
            raise typer.Exit(1)
    console().print(f"{number} lines; this program does the very same.", highlight=False)


def _show(one: Step, first: float) -> None:
    said = one.said if len(one.said) <= LONGEST else one.said[: LONGEST - 1] + "…"
    moment = str(timedelta(seconds=round(one.now - first, 3)))[:11]
    console().print(f"{one.number:>6} {moment:<11} {said}", highlight=False, markup=False, soft_wrap=True)


def _standing(core: PairCore) -> str:
    """Say how the pair stands."""
    from coordinator.phase import Phase

    machine = core.machine
    state, of = machine.states[0], machine.instrument
    held = of.quantity_text(machine.position)
    resting = len(core.open_orders)
    name = machine.roster.name_of(int(state.family))
    return f"{name}, {Phase(int(state.phase)).name.lower()}, holds {held}, {resting} orders rest"
