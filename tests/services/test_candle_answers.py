"""Stored candles for a chart: longer ones of whole minutes, by the process that reads the store, of the right venue."""

from __future__ import annotations

import asyncio
import json

import numpy as np
import pytest

from bot.candles import Candles
from bot.errors import Misconfigured
from bot.times import HOUR, MINUTE
from services.app.watched import VenueCandles
from services.control.client import control_file
from services.market_data.store import CandleStore
from services.market_data.synth import generate

PAIR = "BTCUSDT"
NOWHERE = {"since": None, "until": None, "bars": 20_000}


def stored(tmp_path, asks, **venue):
    """What the store says of a bot that trades there, of which minute 130 is missing."""
    candles = generate([PAIR], 3, 7)[PAIR]
    kept = np.delete(np.arange(len(candles)), 130)
    columns = {name: getattr(candles, name)[kept] for name in ("ts", "open", "high", "low", "close", "volume")}
    CandleStore(tmp_path).write("bybit", "linear", PAIR, Candles(**columns, bar_ms=MINUTE))
    file = control_file(tmp_path, "main")
    file.parent.mkdir(exist_ok=True)
    where = {"exchange": "bybit", "environment": "live", "address": None, "market": "linear"} | venue
    file.write_text(json.dumps({"venue": where}))

    async def main():
        source = VenueCandles(tmp_path)
        try:
            return [await source.stored("main", **asked) for asked in asks]
        finally:
            await source.close()

    return candles, asyncio.run(main())


def test_hours_are_made_of_whole_ones_and_minutes_come_as_they_are_stored(tmp_path):
    begin = int(generate([PAIR], 3, 7)[PAIR].ts[0])
    window = {"since": begin + 2 * HOUR, "until": begin + 3 * HOUR, "bars": 20_000}
    asks = [
        {"pair": PAIR, "minutes": 60, **NOWHERE},
        {"pair": PAIR, "minutes": 1, **window},
        {"pair": PAIR, "minutes": 60, **NOWHERE, "bars": 5},
        {"pair": "ETHUSDT", "minutes": 60, **NOWHERE},
    ]
    candles, ((hours, withheld), (minutes, none), (last, _), (nothing, _)) = stored(tmp_path, asks)
    whole = {name: getattr(candles, name).reshape(-1, 60) for name in ("open", "high", "low", "close", "volume")}
    rolled = (whole["open"][:, 0], whole["high"].max(1), whole["low"].min(1), whole["close"][:, -1])
    assert withheld == 1
    assert hours[0].tolist() == [begin + hour * HOUR for hour in range(72) if hour != 2]
    for column, expected in zip(hours[1:5], rolled, strict=True):
        assert column.tolist() == np.delete(expected, 2).tolist()
    assert hours[5] == pytest.approx(np.delete(whole["volume"].sum(1), 2))
    assert (none, minutes[0].tolist()) == (0, [begin + k * MINUTE for k in range(120, 180) if k != 130])
    assert last.tolist() == hours[:, -5:].tolist()
    assert nothing.shape == (6, 0)


def test_a_bot_on_prices_of_its_own_has_nothing_in_the_store(tmp_path):
    for environment in ("venue", "testnet"):
        _, ((found, _),) = stored(tmp_path, [{"pair": PAIR, "minutes": 60, **NOWHERE}], environment=environment)
        assert found.shape == (6, 0)


def test_a_store_that_cannot_be_read_is_a_sentence(tmp_path):
    path = tmp_path / "candles" / "bybit" / "linear" / "SOLUSDT" / "1m" / "2024-01.parquet"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"no parquet")
    with pytest.raises(Misconfigured, match="SOLUSDT"):
        stored(tmp_path, [{"pair": "SOLUSDT", "minutes": 60, **NOWHERE}])
