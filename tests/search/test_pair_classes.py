"""Classes of pairs: ATR as a reference has it, gaps and holes, thresholds, and ranges that are spaces."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from bot.times import DAY, HOUR
from search.pair_classes import ATR_BELOW, SEARCH_RANGES, PairClass, PairMovement, class_of, movement_of
from search.reading import read_space
from tests.conftest import walk


def hours(days, volatility, seed=1):
    """A random walk by the hour."""
    candles = walk(days * 24, seed=seed, volatility=volatility)
    start = candles.ts[0] // DAY * DAY
    return replace(candles, ts=start + HOUR * np.arange(len(candles)), bar_ms=HOUR)


def test_the_atr_is_that_of_a_reference():
    candles = hours(60, 0.006)
    frame = pl.DataFrame({"day": candles.ts // DAY, "h": candles.high, "l": candles.low, "c": candles.close})
    days = frame.group_by("day", maintain_order=True).agg(pl.max("h"), pl.min("l"), pl.last("c"))
    before = pl.col("c").shift(1)
    spans = days.select(pl.max_horizontal(pl.col("h") - pl.col("l"), pl.col("h") - before, before - pl.col("l")), "c")
    shares = spans[1:].select(pl.col("h").rolling_mean(14) / pl.col("c") * 100)["h"].drop_nulls()
    found = movement_of(candles)
    assert found.atr_pct == pytest.approx(shares.median(), rel=1e-9)
    assert (found.days, found.gap_pct, found.missing_pct) == (60, 0.0, 0.0)


@pytest.mark.parametrize(
    ("volatility", "name"), [(0.004, "stable"), (0.0063, "blue_chip"), (0.010, "mid_cap"), (0.03, "meme")]
)
def test_the_wilder_the_pair_the_higher_its_class(volatility, name):
    kind, why = class_of(movement_of(hours(120, volatility)))
    assert kind == name, why
    assert why.startswith("a day's ATR of ")


@pytest.mark.parametrize(
    ("kind", "below", "at"),
    [(PairClass.STABLE, 4.19, 4.2), (PairClass.BLUE_CHIP, 5.49, 5.5), (PairClass.MID_CAP, 9.99, 10.0)],
)
def test_a_threshold_belongs_to_the_wilder_class(kind, below, at):
    wilder = list(PairClass)[list(PairClass).index(kind) + 1]
    assert class_of(PairMovement(730, below, 0.0, 0.0))[0] is kind
    assert class_of(PairMovement(730, at, 0.0, 0.0))[0] is wilder


def test_a_pair_with_holes_or_jumps_is_a_meme_however_calm():
    calm = hours(120, 0.003)
    holes = calm.rows(np.arange(len(calm)) % 50 != 7)
    kind, why = class_of(movement_of(holes))
    assert (kind, why) == (PairClass.MEME, "2.0 % of its bars are missing: not traded, or not downloaded")
    jumps = replace(calm, open=calm.open * 1.001)
    kind, why = class_of(movement_of(jumps))
    assert kind is PairClass.MEME and why.startswith("opens lie 0.100 % from the close before")
    assert class_of(movement_of(calm))[0] is PairClass.STABLE


def test_too_few_days_have_no_class():
    assert class_of(movement_of(hours(29, 0.003))) == (None, "29 days of candles, 30 are needed")
    assert movement_of(hours(1, 0.003).rows(slice(0, 1))).atr_pct is None


@pytest.mark.parametrize("kind", list(PairClass))
def test_the_ranges_of_a_class_are_spaces(kind):
    for strategy, section in SEARCH_RANGES[kind].items():
        space = read_space({"strategy": strategy, "pair": "BTCUSDT", strategy: section})
        assert 40 <= space.size <= 200
        numbers, _ = space.records(range(space.size))
        assert len(numbers) >= space.size // 2, "most of it contradicts itself"


def test_shares_of_the_price_grow_from_class_to_class():
    assert list(ATR_BELOW) == list(PairClass)[:-1] and sorted(ATR_BELOW.values()) == list(ATR_BELOW.values())
    cells = [SEARCH_RANGES[kind]["grid"]["profit_per_grid"]["to"] for kind in PairClass]
    steps = [SEARCH_RANGES[kind]["dca"]["step"][0] for kind in PairClass]
    assert cells == sorted(set(cells)) and steps == sorted(set(steps))
