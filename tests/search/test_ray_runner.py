"""A search over Ray: the same rows as threads, with one actor and two, and when an actor dies in the middle."""

from __future__ import annotations

import pytest

from search.reading import read_space
from search.sweep import sweep
from search.window import market_of
from tests.search.test_sweep import CANDLES, SPACE

pytestmark = pytest.mark.slow  # Ray, and actors that load the program


@pytest.fixture(scope="module")
def space():
    return read_space({**SPACE, "grid": {**SPACE["grid"], "levels": {"from": 6, "to": 25, "step": 1}}})


@pytest.fixture(scope="module")
def rows(space):
    return sweep(space, CANDLES, workers=2).frame


@pytest.mark.filterwarnings("ignore::Warning")  # Ray's own
def test_rows_are_the_same_and_a_dead_actors_work_is_done_again(space, rows):
    """F-52."""
    from search.ray_runner import RayRunner, ray

    market = market_of(space.first, CANDLES, None, None)
    with RayRunner(space, market, "local", actors=2, threads=1) as runner:
        assert sweep(space, CANDLES, runner=runner).frame.equals(rows)
        heard = []

        def told(_progress):
            heard.append(1)
            if len(heard) == 1:
                ray.kill(runner.actors[0])

        assert sweep(space, CANDLES, runner=runner, progress=told).frame.equals(rows)
        assert heard
    with RayRunner(space, market, "local", actors=1, threads=2) as runner:
        assert sweep(space, CANDLES, runner=runner).frame.equals(rows)
