"""A search over Ray: the same rows as threads, with one actor and two, and when an actor dies in the middle."""

from __future__ import annotations

import shutil

import pytest

from bot.errors import Misconfigured
from bot.sources import ROOT
from search.reading import read_space
from search.session import code_of
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


def test_a_batch_goes_to_the_actor_that_has_least_left_to_do(monkeypatch):
    """Whichever batch the search waits for: one that waits for the slow actor's leaves the other without work."""
    from search import ray_runner

    done, given = set(), []

    class Actor:
        def __init__(self, place):
            self.place, self.play = place, self

        def remote(self, *_):
            given.append(self.place)
            return len(given) - 1

    def wait(references, **_):
        return [one for one in references if one in done], []

    monkeypatch.setattr(ray_runner.ray, "wait", wait)
    runner = ray_runner.RayRunner.__new__(ray_runner.RayRunner)
    runner.actors, runner._asked = [Actor(0), Actor(1)], {}
    for _ in range(4):
        runner.ask(0, 1, None)
    assert given == [0, 1, 0, 1]
    done.update({1, 3})
    for _ in range(2):
        runner.ask(0, 1, None)
    assert given[4:] == [1, 1]


def test_a_node_that_has_another_version_of_ones_own_strategy_plays_nothing(tmp_path):
    from search.ray_runner import Player

    file = tmp_path / "ema_cross.py"
    shutil.copy(ROOT / "tests" / "examples" / "ema_cross.py", file)
    own = {"strategy": f"{file}:EMA_CROSS", "pair": "BTCUSDT", "exchange": "synth", "ema_cross": {"fast": [5, 10]}}
    space = read_space(own)
    asked = space.source(), market_of(space.first, CANDLES, None, None), code_of(space)
    assert Player(*asked).space.size == 2
    file.write_text(file.read_text() + "EDITED = True\n")
    with pytest.raises(Misconfigured, match="or of your own strategy's file"):
        Player(*asked)
