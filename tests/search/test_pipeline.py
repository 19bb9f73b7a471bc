"""The chain of a pipeline: what it looks at in sample alone, when it abandons a pair, and what it tells."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
import yaml

from bot.errors import Misconfigured
from bot.times import DAY
from coordinator.config import load_config
from search.pair_classes import PairClass
from search.pipeline import (
    PipelineQuestion,
    classified,
    coarse_space,
    fine_space,
    pipeline_summary,
    preset_comments,
    reason_to_abandon,
    row_of,
    row_of_abandoned,
    split_of,
    strategy_with_ranges,
    worst_scenario,
    worst_window,
)
from search.reading import read_space
from search.report import pipeline_page
from search.stress import stress
from search.sweep import sweep
from search.window import market_of
from services.app.preset_library import StoredPreset
from tests.search.test_pair_classes import hours

QUESTION = PipelineQuestion("grid", "total_return_pct", 100_000.0, None, 60.0, 1, 30, 60.0)
PLACE = {"pair": "BTCUSDT", "exchange": "binance", "market": "linear"}
CANDLES = hours(260, 0.006, seed=5)


@pytest.fixture(scope="module")
def coarse():
    values = coarse_space(QUESTION, PLACE, PairClass.BLUE_CHIP)
    values["grid"] = {**values["grid"], "timeframe": ["1h"], "range_factor": [6, 12], "levels": [10, 20]}
    return sweep(read_space(values), CANDLES, workers=1)


@pytest.fixture(scope="module")
def fine(coarse):
    return sweep(read_space(fine_space(coarse)), CANDLES, workers=1)


@pytest.fixture(scope="module")
def row(fine):
    kind, movement = classified(CANDLES, split_of(CANDLES))
    scenarios = stress(fine.best, market_of(fine.best, CANDLES))
    return row_of(PLACE, kind, movement, {"coarse": "a1", "fine": "b2"}, fine, scenarios)


def test_a_best_that_cannot_be_played_on_the_days_held_out_says_so_and_stops_nothing():
    """A small account: where the price is twelve times higher, no cell reaches the exchange's smallest order."""
    split = split_of(CANDLES)
    late = CANDLES.ts >= split - DAY
    names = ("open", "high", "low", "close")
    dear = {name: np.round(getattr(CANDLES, name) * np.where(late, 12.0, 1.0), 1) for name in names}
    candles, question = replace(CANDLES, **dear), replace(QUESTION, capital=400.0, max_drawdown=100.0, least_trades=0)
    values = coarse_space(question, PLACE, PairClass.BLUE_CHIP)
    values["grid"] = {"timeframe": "1h", "levels": [5, 6], "range_factor": 6}
    found = sweep(read_space(values), candles, workers=1)
    assert found.evidence.held_out == {} and "held out it could not be played with this capital" in found.verdict[2]
    kind, movement = classified(candles, split)
    row = row_of(PLACE, kind, movement, {"fine": "b2"}, found, ())
    assert (row["alpha_held_out"], row["words"]) == (None, "it could not be played with this capital")
    assert row["held_out"]["total_return_pct"] is None
    assert any("Held out" in line and "it could not be played" in line for line in preset_comments("x", row, question))


def test_what_is_held_out_does_not_tell_the_class():
    split = split_of(CANDLES)
    assert split % DAY == 0 and CANDLES.ts[0] < split < CANDLES.ts[-1]
    kind, movement = classified(CANDLES, split)
    late = CANDLES.ts >= split
    wild = {name: np.where(late, getattr(CANDLES, name) * 3.0, getattr(CANDLES, name)) for name in ("high", "close")}
    assert classified(replace(CANDLES, **wild), split) == (kind, movement)
    assert movement.days == (split - int(CANDLES.ts[0])) // DAY
    with pytest.raises(Misconfigured, match="the part in sample has 14 days of candles, 30 are needed for a class"):
        classified(CANDLES.rows(slice(0, 20 * 24)), int(CANDLES.ts[0]) + 14 * DAY)


def test_the_fine_search_lies_between_the_neighbours_of_the_best_and_holds_it(coarse, fine):
    best = coarse.space.values(int(coarse.numbers[0]))
    steps = {axis.key: axis.values for axis in coarse.space.axes}
    for axis in fine.space.axes:
        around = steps[axis.key]
        at = around.index(best[axis.key])
        low, high = around[max(at - 1, 0)], around[min(at + 1, len(around) - 1)]
        assert (min(axis.values), max(axis.values)) == pytest.approx((low, high), rel=1e-5)
        assert best[axis.key] in axis.values
        assert len(axis.values) > len([one for one in around if low <= one <= high])
    section = fine.best.document()["grid"]
    assert section["timeframe"] == best["grid.timeframe"]  # a word is not searched again
    assert fine.scores["total_return_pct"][0] >= coarse.scores["total_return_pct"][0]
    assert (fine.start, fine.split, fine.end) == (coarse.start, coarse.split, coarse.end)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({}, ""),
        ({"max_drawdown": 0.01}, r"drawdown: each of \d+ variants fell by [\d.]+ % or more in sample, over 0.01 %"),
        ({"least_trades": 10**6}, r"trades: none of \d+ variants traded more than \d+ times in sample, under 1000000"),
        ({"max_loss": 0.0}, r"loss window: the best lost [\d.]+ % in 30 days in a row in sample, over 0 %"),
    ],
)
def test_a_pair_is_abandoned_with_its_reason(coarse, changes, sentence):
    asked = replace(QUESTION, **changes)
    values = coarse_space(asked, PLACE, PairClass.BLUE_CHIP)
    values["grid"] = {**values["grid"], "timeframe": ["1h"], "range_factor": [6, 12], "levels": [10, 20]}
    found = replace(coarse, space=read_space(values))
    said = reason_to_abandon(found, asked)
    assert (not said) if not sentence else re.fullmatch(sentence, said), said


def test_the_loss_window_is_the_worst_of_all_windows():
    days = np.array([0.1, -0.2, -0.1, 0.5, -0.05])
    assert worst_window(days, 2) == pytest.approx((0.8 * 0.9 - 1) * 100)
    assert worst_window(days, 50) == pytest.approx((np.prod(1 + days) - 1) * 100)
    slow = min((np.prod(1 + days[at : at + 3]) - 1) * 100 for at in range(3))
    assert worst_window(days, 3) == pytest.approx(slow)


def test_a_row_tells_both_parts_and_where_each_scenario_lies(row, fine):
    assert row["in_sample"]["to"] == row["held_out"]["from"]
    assert row["held_out"]["total_return_pct"] == fine.held_out[0]["total_return_pct"]
    assert row["in_sample"]["total_return_pct"] == fine.scores[0]["total_return_pct"]
    assert {one["scenario"] for one in row["stress"]} >= {"as it is", "doubled costs", "a missing day"}
    parts = {one["scenario"]: one["part"] for one in row["stress"]}
    assert parts.pop("2024-08") == "held_out" and set(parts.values()) == {"both"}
    worst = worst_scenario(row)
    assert worst["figures"]["total_return_pct"] <= min(
        one["figures"]["total_return_pct"] for one in row["stress"][1:] if one["figures"]
    )
    assert row["trials"] == len(fine.numbers)


def test_a_preset_says_where_it_comes_from_as_the_library_reads_it(row, fine, tmp_path):
    lines = preset_comments("BTCUSDT", row, QUESTION)
    text = "\n".join((*lines, yaml.safe_dump(fine.best.document(), sort_keys=False)))
    path = tmp_path / "BTCUSDT.yaml"
    path.write_text(text)
    found = StoredPreset("BTCUSDT", path, own=True, text=text, values=yaml.safe_load(text))
    assert found.origin.startswith(f"grid on BTCUSDT, a pair of class {row['class']}, ")
    assert found.trials == row["trials"]
    assert str(found.expires) == row["expires"] > row["held_out"]["to"]
    said = " ".join(found.comments)
    assert said.index("In sample") < said.index("Held out") < said.index("Alpha held out")
    assert "sessions coarse a1, fine b2" in said and row["words"] in said
    assert load_config(path).document() == fine.best.document()


def test_the_page_has_every_figure_in_sample_beside_its_twin(row):
    lost = row_of_abandoned({**PLACE, "pair": "<ETH>"}, "failed", "candles: <none>", None)
    whole = pipeline_summary(QUESTION, [row, lost], 0.5)
    assert (whole["total_pairs"], whole["finished"], whole["abandoned"], whole["failed"]) == (2, 1, 0, 1)
    page = pipeline_page(whole)
    assert page == pipeline_page(whole)
    head = page[page.index("<h2>Pairs</h2>") : page.index("<h2>What the presets")]
    assert head.count(">in sample<") == head.count(">held out<") == 6
    assert "&lt;ETH&gt;" in page and "<ETH>" not in page and "candles: &lt;none&gt;" in page
    assert "http://" not in page and "https://" not in page
    assert whole["verdict"][0].startswith(f"{int(row['alpha_held_out']['low'] > 0)} of 1 presets have an alpha above")
    assert pipeline_page(pipeline_summary(QUESTION, [lost], 0.0)).count("<h2>Pairs</h2>") == 0


def test_every_strategy_with_ranges_is_one_that_a_space_can_be_made_of():
    for kind in PairClass:
        for strategy in ("grid", "trend", "dca"):
            asked = replace(QUESTION, strategy=strategy_with_ranges(strategy))
            assert read_space(coarse_space(asked, PLACE, kind)).size > 1
    with pytest.raises(Misconfigured, match="strategy is 'tend', which has no search ranges; did you mean 'trend'"):
        strategy_with_ranges("tend")
