"""The Bus port: in memory, silent, in Redis, and in a Redis that is away."""

from __future__ import annotations

import asyncio
import json

import pytest

from bot.events import Alarm, Decision, EquityMarked, Filled, Heartbeat, OrderChanged
from services.messaging.bus import RedisBus, stream_of
from services.messaging.embedded import EmbeddedRedis
from services.messaging.silent_bus import SilentBus
from tests.contracts.memory import MemoryBus

EVENTS = [
    Decision("BTCUSDT", 1, "regime", {"regime": "trend"}),
    Filled("BTCUSDT", 2, "e1", "t-BTCUSDT-001-1", "buy", "100", "5", 0.1, True, "order"),
    OrderChanged("BTCUSDT", 3, "cancelled", "t-BTCUSDT-001-1"),
    Alarm("BTCUSDT", 4, "position", "critical", "it differs.", "make them equal"),
    EquityMarked("", 5, 1000.0, 1000.0, 0.0, 0.0, 0.0, []),
    Heartbeat("", 6, 0.1, {"public": True, "private": True}),
]
AT = [1, 2, 3, 4, 5, 6]


async def in_memory(publish, _tmp_path):
    bus = MemoryBus()
    publish(bus)
    return [one.at for one in bus.told]


async def silent(publish, _tmp_path):
    publish(SilentBus())
    return AT


async def in_redis(publish, tmp_path):
    redis = EmbeddedRedis(tmp_path)
    bus = RedisBus(await redis.start(), "t")
    bus.start()
    publish(bus)
    try:
        async with asyncio.timeout(20):
            rows = []
            while len(rows) < len(EVENTS):
                rows = [row for one in ("events", "metrics") for row in await bus.client.xrange(stream_of(one, "t"))]
    finally:
        await bus.stop()
        await redis.stop()
    return [json.loads(fields[b"data"])["at"] for _, fields in rows]


async def away(publish, _tmp_path):
    bus = RedisBus("redis://127.0.0.1:1", "t")
    bus.start()
    publish(bus)
    async with asyncio.timeout(20):
        while bus.dropped < len(EVENTS):  # noqa: ASYNC110, a counter is all there is
            await asyncio.sleep(0)
    await bus.stop()
    return AT


@pytest.mark.parametrize("kind", [in_memory, silent, in_redis, away])
def test_every_event_is_taken_at_once_and_told_in_order(kind, tmp_path):
    def publish(bus):
        for event in EVENTS:
            assert bus.publish(event) is None  # no coroutine: there is nothing to wait for

    assert asyncio.run(kind(publish, tmp_path)) == AT
