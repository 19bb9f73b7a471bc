"""What the bus is told can be told: no kind of news may break the loop that has it."""

from __future__ import annotations

import json

import pytest

from bot.ports import Cause, Execution
from services.messaging.bus import RedisBus


@pytest.mark.parametrize("cause", Cause)
def test_an_execution_of_every_cause_is_told(cause):
    bus = RedisBus("redis://127.0.0.1:1", "t")
    bus.publish("fill", {"execution": Execution("1", "BTCUSDT", "t-BTCUSDT-001-1", 1, 5, 7, 0.1, True, 60_000, cause)})
    told = json.loads(bus.waiting.get_nowait()["data"])["execution"]
    assert told["cause"] == cause.value
    assert told["lots"] == 7


def test_what_nobody_foresaw_is_told_as_text():
    """F-58."""
    bus = RedisBus("redis://127.0.0.1:1", "t")
    bus.publish("decision", {"what": {1, 2}})
    assert json.loads(bus.waiting.get_nowait()["data"]) == {"what": "{1, 2}"}
