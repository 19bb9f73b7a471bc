"""The Clock port: the machine's own, and the one that tests set by hand."""

from __future__ import annotations

import time

import pytest

from tests.runtime.test_bad_world import HandClock


@pytest.mark.parametrize("clock", [time.monotonic, HandClock()], ids=["machine", "by hand"])
def test_a_clock_gives_seconds_and_never_goes_back(clock):
    told = [clock() for _ in range(1000)]
    assert all(isinstance(one, float) for one in told)
    assert told == sorted(told)
    assert told[-1] - told[0] < 60.0
