"""The life of a pair: its phases, what can happen in each, and nothing else.

IDLE -> RUNNING -> DRAINING -> IDLE -> RUNNING(other); PAUSED keeps exits alone; CLOSING closes at the market; HALTED
overrides all. What is not in the table cannot happen, and is a fault where it does.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np

from bot.kernel import Record, kernel


class Phase(IntEnum):
    """What the pair is about."""

    IDLE = 0
    RUNNING = 1
    PAUSED = 2
    DRAINING = 3
    CLOSING = 4
    HALTED = 5


class Trigger(IntEnum):
    """What moves it on."""

    START = 0  # a strategy is called for, and the pair is flat or the position is its own
    SWITCH = 1  # the position belongs to a strategy that is not called for
    PAUSE = 2
    UNPAUSE = 3
    FLAT = 4
    DEADLINE = 5
    HALT = 6
    RESUME = 7
    DISMISS = 8  # another strategy, or none, is called for and there is nothing to drain


NEXT: dict[tuple[Phase, Trigger], Phase] = {
    (Phase.IDLE, Trigger.START): Phase.RUNNING,
    (Phase.IDLE, Trigger.SWITCH): Phase.DRAINING,
    (Phase.RUNNING, Trigger.PAUSE): Phase.PAUSED,
    (Phase.RUNNING, Trigger.SWITCH): Phase.DRAINING,
    (Phase.RUNNING, Trigger.DISMISS): Phase.IDLE,
    (Phase.PAUSED, Trigger.UNPAUSE): Phase.RUNNING,
    (Phase.PAUSED, Trigger.SWITCH): Phase.DRAINING,
    (Phase.PAUSED, Trigger.DISMISS): Phase.IDLE,
    (Phase.DRAINING, Trigger.FLAT): Phase.IDLE,
    (Phase.DRAINING, Trigger.DEADLINE): Phase.CLOSING,
    (Phase.CLOSING, Trigger.FLAT): Phase.IDLE,
    (Phase.HALTED, Trigger.RESUME): Phase.IDLE,
}
NEXT.update({(phase, Trigger.HALT): Phase.HALTED for phase in Phase if phase != Phase.HALTED})

NOWHERE, TRIGGERS = -1, len(Trigger)
TABLE = np.full((len(Phase), len(Trigger)), NOWHERE)
for (_phase, _trigger), _next in NEXT.items():
    TABLE[_phase, _trigger] = _next


@kernel
def can(state: Record, trigger: int) -> bool:
    """Whether the trigger means something in the present phase."""
    return TABLE[state.phase, trigger] != NOWHERE


@kernel
def advance(state: Record, trigger: int) -> None:
    """Move to the next phase; a trigger that is not in the table sets `fault`, and changes nothing else."""
    following = TABLE[state.phase, trigger]
    if following == NOWHERE:
        state.fault = 1 + state.phase * TRIGGERS + trigger
    else:
        state.phase = following


def fault_sentence(fault: int) -> str:
    """Say which trigger met which phase."""
    phase, trigger = divmod(fault - 1, TRIGGERS)
    return f"{Trigger(trigger).name.lower()} cannot happen to a pair that is {Phase(phase).name.lower()}"
