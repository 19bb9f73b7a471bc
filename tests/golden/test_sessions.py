"""What a pair's core does in sessions where something goes wrong is what it did when they were recorded."""

from __future__ import annotations

from collections import Counter

import pytest

from coordinator.session import replay
from tests.golden.sessions import SESSIONS, recorded

RECORDED = recorded()


@pytest.mark.parametrize("name", RECORDED)
def test_a_session_is_decided_as_it_was_recorded(name):
    lines = RECORDED[name]
    steps = [step for step, _ in replay(lines)]
    assert not steps[-1].expected, f"line {steps[-1].number} now asks for {steps[-1].said}, was {steps[-1].expected}"
    assert steps[-1].number == len(lines)


def test_each_session_is_there_and_trades():
    asked = Counter(line["out"]["of"] for lines in RECORDED.values() for line in lines if "out" in line)
    assert {name.rsplit("-", 1)[0] for name in RECORDED} == set(SESSIONS)
    assert {"Place", "Amend", "Cancel", "SetStop", "Save", "Load"} <= set(asked), asked
