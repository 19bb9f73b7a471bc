"""How fast a search goes through its parts, beside one NumPy pass over the same four price arrays.

uv run pytest tests/bench/test_search.py -n 0 --benchmark-only -s
"""

from __future__ import annotations

import pytest

from backtesting.simulator import PreparedCandles, UniversalSimulator
from coordinator.config import load_config
from search.score import score_of
from services.market_data.synth import generate
from tests.bench.test_speed import _seconds, numpy_pass
from tests.conftest import instrument


@pytest.fixture(scope="module")
def prepared():
    return PreparedCandles.of(generate(["BTCUSDT"], 365, 7)["BTCUSDT"], instrument())


def test_the_score_of_a_year_of_minutes(benchmark, prepared):
    """At most 1 ms; how many bars held a position decides, and how many fills there were."""
    values = {"strategy": "grid", "pair": "BTCUSDT", "grid": {"profit_per_grid": 0.02}}
    recording = UniversalSimulator(load_config(values)).run(prepared)
    score = score_of(recording, 0)  # compiled and warm
    baseline = min(_seconds(numpy_pass, prepared) for _ in range(30))
    benchmark.pedantic(score_of, args=(recording, 0), rounds=200, warmup_rounds=10)
    took = benchmark.stats.stats.median
    print(  # noqa: T201
        f"\nscore: {took * 1e3:.2f} ms at the median, {score.fills:.0f} fills, a position at "
        f"{score.coverage_pct:.0f} % of the bars, {took / baseline:.1f} x one NumPy pass"
    )
