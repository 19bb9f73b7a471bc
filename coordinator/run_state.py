"""The states of a bot's run, and what leads from one to the next. What is not in the table cannot happen."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from bot.errors import OutOfStep


class RunState(StrEnum):
    """How far a run is."""

    STARTING = "starting"  # database, bus and account are joined
    WARMING_UP = "warming_up"  # candles are read and the account is compared
    RUNNING = "running"
    STOPPING = "stopping"  # entries are cancelled
    STOPPED = "stopped"
    FAILED = "failed"


class RunEvent(StrEnum):
    """What happens to a run."""

    START = "start"  # also again, after its end
    JOINED = "joined"
    READY = "ready"
    STOP = "stop"
    ENDED = "ended"
    FAULT = "fault"  # an error, or its process is gone


NEXT: Final = {
    (RunState.STARTING, RunEvent.JOINED): RunState.WARMING_UP,
    (RunState.STARTING, RunEvent.STOP): RunState.STOPPING,
    (RunState.STARTING, RunEvent.FAULT): RunState.FAILED,
    (RunState.WARMING_UP, RunEvent.READY): RunState.RUNNING,
    (RunState.WARMING_UP, RunEvent.STOP): RunState.STOPPING,
    (RunState.WARMING_UP, RunEvent.FAULT): RunState.FAILED,
    (RunState.RUNNING, RunEvent.STOP): RunState.STOPPING,
    (RunState.RUNNING, RunEvent.FAULT): RunState.FAILED,
    (RunState.STOPPING, RunEvent.ENDED): RunState.STOPPED,
    (RunState.STOPPING, RunEvent.FAULT): RunState.FAILED,
    (RunState.STOPPED, RunEvent.START): RunState.STARTING,
    (RunState.FAILED, RunEvent.START): RunState.STARTING,
}
OVER: Final = frozenset({RunState.STOPPED, RunState.FAILED})


def next_state(state: RunState, event: RunEvent) -> RunState:
    """Return the state that an event leads to; raises OutOfStep for one that cannot happen there."""
    found = NEXT.get((state, event))
    if found is None:
        raise OutOfStep(f"a run that is {state} cannot take {event}.")
    return found


def begun_again(former: RunState | None) -> RunState:
    """State of a run that starts, after the one before it, whose process is gone: one that was not over has failed."""
    if former is None:
        return RunState.STARTING
    over = former if former in OVER else next_state(former, RunEvent.FAULT)
    return next_state(over, RunEvent.START)
