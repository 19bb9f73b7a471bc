"""The states of a bot's run: every move that the table has, and none beside it."""

from __future__ import annotations

import itertools

import pytest

from bot.errors import OutOfStep
from coordinator.run_state import NEXT, OVER, RunEvent, RunState, begun_again, next_state

# As a person would draw it.
DRAWN = {
    "starting": {"joined": "warming_up", "stop": "stopping", "fault": "failed"},
    "warming_up": {"ready": "running", "stop": "stopping", "fault": "failed"},
    "running": {"stop": "stopping", "fault": "failed"},
    "stopping": {"ended": "stopped", "fault": "failed"},
    "stopped": {"start": "starting"},
    "failed": {"start": "starting"},
}


@pytest.mark.parametrize(("state", "event"), list(itertools.product(RunState, RunEvent)))
def test_a_run_moves_as_it_is_drawn_and_not_otherwise(state, event):
    wanted = DRAWN[state].get(event)
    if wanted is None:
        with pytest.raises(OutOfStep, match=f"a run that is {state} cannot take {event}."):
            next_state(state, event)
    else:
        assert next_state(state, event) == wanted


def test_every_state_is_reached_and_none_is_an_end_for_ever():
    for start in RunState:
        seen, waiting = {start}, [start]
        while waiting:
            state = waiting.pop()
            for (before, _), after in NEXT.items():
                if before is state and after not in seen:
                    seen.add(after)
                    waiting.append(after)
        assert seen == set(RunState)


@pytest.mark.parametrize("former", [None, *RunState])
def test_a_run_begins_again_whatever_became_of_the_one_before(former):
    """Also of one whose process was killed: its lock is free, so it has failed."""
    assert begun_again(former) is RunState.STARTING
    assert former is None or former in OVER or (former, RunEvent.FAULT) in NEXT
