"""The trend follower: its `classic` preset is kept to the last fill, and every option does what it says."""

from __future__ import annotations

import json

import numpy as np
import pytest

from bot.errors import Misconfigured
from bot.indicators import LONG_RING, LONG_WINDOW, RING, WINDOW, ring_highest, ring_mean, ring_push
from bot.record import new_record
from coordinator.config import load_config
from coordinator.migrations import MIGRATIONS
from coordinator.saved_state import Stored, migrated
from strategies.trend import TrendEntry, TrendParameters
from tests.conftest import instrument, real
from tests.golden.make_trend_fills import CASES, FILE, REAL_BARS, case, fills_of, fingerprint

RECORDED = json.loads(FILE.read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", list(CASES))
def test_classic_trades_as_it_was_recorded(name):
    for number, (now, before) in enumerate(zip(case(name), RECORDED[name], strict=True)):
        assert now == before, f"fill {number}"


@pytest.mark.slow
@pytest.mark.parametrize("file", list(RECORDED["real"]))
def test_classic_trades_as_it_was_recorded_on_real_candles(file):
    assert fingerprint(fills_of(real(file).rows(slice(0, REAL_BARS)), {})) == RECORDED["real"][file]


def test_presets_stand_for_what_the_page_says_and_yield_to_what_is_given():
    wide = TrendParameters(preset="wide", timeframe="1h")
    assert (wide.timeframe, wide.stop, wide.target, wide.trail_distance, wide.entries) == (
        *("1h", 2.5, 0.0, 3.0),
        (TrendEntry.BREAKOUT,),
    )
    channel = TrendParameters(preset="channel")
    assert (channel.range_bars, channel.exit_channel_bars, channel.timeframe) == (20, 10, "1d")


def test_a_stop_or_target_by_phase_is_meant_where_it_is_given():
    assert TrendParameters(weak_stop=1.5).stop is None
    assert TrendParameters(weak_stop=1.5, stop=2.0).stop == 2.0
    assert TrendParameters(strong_target=3.0).target is None
    assert TrendParameters(partial_at=0.5).target is None
    assert TrendParameters(partial_at="none", target="none").target == 0.0


@pytest.mark.parametrize("entries", [["rsi", "breakout"], "rsi, breakout", ["rsi", "breakout", "rsi"]])
def test_a_choice_of_entries_is_a_bit_for_each(entries):
    assert TrendParameters(entries=entries).record().entries == 0b101


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        (
            {"preset": "classic", "target": "none"},
            "trend: partial_at (0.7) is a share of the way to the target and target is none; set part",
        ),
        ({"entries": []}, "trend.entries"),
        ({"entries": "break"}, "trend.entries"),
        ({"stop": 0}, "trend.stop is 0"),
        ({"range_bars": 401}, "trend.range_bars is 401"),
        ({"exit": "chanel"}, "trend.exit is 'chanel'"),
        ({"trail_distance": "far"}, "trend.trail_distance is 'far'"),
        ({"fast_period": 60}, "trend.fast_period (60) must be shorter than trend.slow_period (50)"),
    ],
)
def test_bad_input_is_one_sentence(values, sentence):
    with pytest.raises(Misconfigured) as told:
        checked(values)
    assert str(told.value).startswith(sentence), str(told.value)
    assert "\n" not in str(told.value)


def checked(values):
    config = load_config({"strategy": "trend", "pair": "BTCUSDT", "trend": values})
    config.loaded.check(config.parameters, instrument(), 10_000.0, 50_000.0, 1.0)


@pytest.mark.parametrize("count", [5, WINDOW, 3 * WINDOW + 17])
def test_a_ring_of_an_older_version_reads_the_same_and_goes_on(count):
    old, rng = new_record(RING), np.random.default_rng(count)
    for value in rng.uniform(1.0, 2.0, count):
        ring_push(old, value)
    columns = {f"state.trend.{name}.values": old["values"][None, :] for name in ("highs", "lows", "volumes")}
    found = migrated(Stored(columns, {}), MIGRATIONS).columns["state.trend.highs.values"]
    new = new_record(LONG_RING)
    new["values"][:], new["count"] = found[0], count
    assert found.shape == (1, LONG_WINDOW)
    for _ in range(WINDOW + 30):
        for window in (2, 20, WINDOW - 1):
            if count >= window:
                assert ring_highest(old, window) == ring_highest(new, window)
                assert ring_mean(old, window) == ring_mean(new, window)
        value = rng.uniform(1.0, 2.0)
        ring_push(old, value)
        ring_push(new, value)
