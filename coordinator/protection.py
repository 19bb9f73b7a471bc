"""What protects a position at the venue, and whose an execution is. Pure: rules of the loops, without the loops.

A linear position carries one stop for all of it, which follows its size and leaves with it. An order that can increase
exposure brings its stop along, and the one that fills last sets the position's.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from bot.ports import Cause

if TYPE_CHECKING:
    from bot.ports import Execution, Order


class Whose(Enum):
    """Who caused an execution."""

    OURS = "ours"
    STOP = "stop"  # of the position
    FOREIGN = "foreign"  # by hand, by another program, or by the venue


def whose(execution: Execution, order: Order | None) -> Whose:
    """Say whose a fill is; `order` is the one of its name that the bot has sent, if any."""
    if order is not None:
        return Whose.OURS
    return Whose.STOP if execution.cause is Cause.STOP else Whose.FOREIGN


def stop_after_fill(stop: int, attached: int, side: int, before: int, after: int) -> int:
    """Give the position's stop (ticks, 0 for none) after a fill on `side` took it from `before` to `after` lots.

    `attached`: the stop that the order brought along. A fill that reduces leaves the stop as it is; without a position
    there is none, and one that was turned has what the turning order brought.
    """
    if after == 0:
        return 0
    if side * after < 0:
        return stop
    if attached > 0:
        return attached
    return stop if before * after > 0 else 0


def partial_sizes(held: int, opening: int, largest: int) -> tuple[int, ...]:
    """Lots of each partial stop beside the stop of the whole position, one market order (`largest` lots) each at most.

    None while one market order can close what is `held` and what may still be filled of the `opening` orders. Else all
    that is held has partial stops, so that the one stop of the position is left for what fills next.
    """
    if held == 0 or held + opening <= largest:
        return ()
    whole, rest = divmod(held, largest)
    return (largest,) * whole + ((rest,) if rest else ())
