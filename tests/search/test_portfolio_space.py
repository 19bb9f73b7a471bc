"""Spaces over the whole algorithm and over several pairs: scores that are those of single runs."""

from __future__ import annotations

import numpy as np
import pytest

from backtesting.portfolio_run import simulate_portfolio
from bot.errors import Misconfigured
from search.exploration import has_neighbours, worst_around
from search.reading import read_space
from search.score import NAMES, OWN
from search.sweep import sweep
from tests.conftest import walk

CANDLES = {"BTCUSDT": walk(50 * 1440, seed=3, volatility=0.0007), "ETHUSDT": walk(50 * 1440, seed=5, volatility=0.001)}
SPACE = {
    "strategy": "auto",
    "pairs": ["BTCUSDT", "ETHUSDT"],
    "exchange": "synth",
    "capital": 100_000,
    "auto": {"preset": "classic", "enter_range": [18, 22], "exit_range": [20, 25]},
    "risk": {"exposure": [0.5, 1.0]},
    "search": {"objective": "total_return_pct", "top": 2},
}


def test_axes_lie_in_any_section_and_what_contradicts_itself_is_left_out():
    space = read_space(SPACE)
    assert [axis.key for axis in space.axes] == ["auto.enter_range", "auto.exit_range", "risk.exposure"]
    numbers, configs = space.records(range(space.size))
    assert space.size == 8 and len(numbers) == len(configs) == 6, "22 is above 20"
    assert configs[-1].algorithm.risk.exposure == 1.0
    assert configs[0] == space.config(int(numbers[0]))
    assert len({space.key(one) for one in numbers.tolist()}) == 6
    again = read_space(space.source())
    assert again.key(7) == space.key(7)


def test_values_in_per_cent_lie_beside_each_other_as_numbers_do():
    """Or a plateau along them is none, and a peak ranks as high as it stands."""
    space = read_space({**SPACE, "auto": {}, "risk": {}, "grid": {"profit_per_grid": ["0.4%", "0.5%", "0.6%"]}})
    values = np.array([-1.0, -9.0, -2.0])  # lower is better
    numbers = np.arange(3)
    assert has_neighbours(numbers, space.lattice).all()
    assert worst_around(numbers, values, space.lattice).tolist() == [-1.0, -1.0, -2.0]
    assert read_space({**SPACE, "auto": {"bear_strategy": ["dca", "cash"]}, "risk": {}}).lattice.words == (True,)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"capital": [1, 2]}, "capital is [1, 2], but only the strategies' parameters and those of auto"),
        ({"auto": {"enter_rang": [1, 2]}}, "auto.enter_rang is no known key"),
        ({"auto": {}, "risk": {}}, "the space has no axis"),
        ({"auto": {"enter_range": [30, 31], "exit_range": 20}}, "no combination of the space is valid; the first of 4"),
    ],
)
def test_a_mistake_is_one_sentence(more, said):
    with pytest.raises(Misconfigured) as told:
        read_space({**SPACE, **more})
    assert said in str(told.value)


def test_every_row_is_that_of_a_single_run():
    found = sweep(SPACE, CANDLES, workers=2)
    assert len(found.numbers) == 6 and found.found.excluded == 2
    for number, score in zip(found.numbers.tolist(), found.scores, strict=True):
        config = found.space.config(number).changed(start=found.start, end=found.split)
        metrics = simulate_portfolio(config, CANDLES).metrics
        for name in set(NAMES) - set(OWN):
            value = getattr(metrics, name)
            expected = np.nan if value is None else float(value)
            assert score[name] == pytest.approx(expected, rel=1e-9, nan_ok=True), name
    assert found.best.strategy == "auto"
    assert sweep(SPACE, CANDLES, workers=1).frame.equals(found.frame)


def test_beta_is_against_the_pairs_held_in_equal_parts():
    found = sweep({**SPACE, "search": {"objective": "total_return_pct", "top": 1}}, CANDLES, workers=1)
    own, pair = found.best_days[0], found.pair_days[0]
    assert found.scores[0]["beta"] == pytest.approx(np.polyfit(pair, own, 1)[0], rel=1e-4)  # days are kept as float32
    held = [candles.between(found.start, found.split) for candles in CANDLES.values()]
    whole = np.mean([one.close[-1] / one.open[0] for one in held])
    assert np.prod(1.0 + pair) == pytest.approx(whole, rel=1e-4)


def test_one_strategy_on_several_pairs():
    space = {
        "strategy": "grid",
        "pairs": ["BTCUSDT", "ETHUSDT"],
        "exchange": "synth",
        "capital": 100_000,
        "grid": {"levels": [6, 12], "warmup_bars": 30},
        "search": {"objective": "total_return_pct", "top": 1},
    }
    found = sweep(space, CANDLES, workers=2)
    assert len(found.numbers) == 2 and found.best.pairs == ("BTCUSDT", "ETHUSDT")
