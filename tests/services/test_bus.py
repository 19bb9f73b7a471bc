"""What is told goes to the bot's own streams, one for events and one for metrics."""

from __future__ import annotations

import json

import pytest

from bot.events import Alarm, Decision, EquityMarked
from bot.ports import Cause, Execution
from coordinator.announcements import filled
from services.messaging.bus import RedisBus, stream_of
from tests.conftest import instrument


def bus():
    return RedisBus("redis://127.0.0.1:1", "t")


@pytest.mark.parametrize("cause", Cause)
def test_an_execution_of_every_cause_is_told_in_prices_and_quantities(cause):
    told = bus()
    of = instrument(tick="0.1", lot="0.001")
    told.publish(filled(Execution("1", of.symbol, "t-BTCUSDT-001-1", 1, 411_234, 16, 0.1, True, 60_000, cause), of))
    stream, message = told.waiting.get_nowait()
    assert (stream, message["kind"], message["version"]) == (stream_of("events", "t"), "filled", 1)
    data = json.loads(message["data"])
    assert (data["cause"], data["price"], data["quantity"]) == (cause.value, "41123.4", "0.016")
    assert data["side"] == ("" if cause is Cause.FUNDING else "buy")


def test_figures_go_to_a_stream_of_their_own():
    told = bus()
    told.publish(EquityMarked("", 60_000, 10_000.0, 10_000.0, 0.0, 0.0, 0.0, []))
    assert told.waiting.get_nowait()[0] == stream_of("metrics", "t") != stream_of("events", "t")


def test_what_nobody_foresaw_is_told_as_text():
    """F-58."""
    told = bus()
    told.publish(Decision("", 60_000, "flat", {"what": {1, 2}}))
    assert json.loads(told.waiting.get_nowait()[1]["data"])["fields"] == {"what": "{1, 2}"}


def test_when_there_is_no_room_the_oldest_goes():
    told = bus()
    for number in range(told.waiting.maxsize + 1):
        told.publish(Alarm("", number, "x", "warning", "s", "r"))
    assert json.loads(told.waiting.get_nowait()[1]["data"])["at"] == 1
    assert told.dropped == 1
