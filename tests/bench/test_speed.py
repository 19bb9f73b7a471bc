"""How fast a year of one-minute bars goes, beside one NumPy pass over the same four price arrays.

uv run pytest tests/bench -n 0 --benchmark-only -s
"""

from __future__ import annotations

import subprocess
import sys

import pytest

from backtesting.candles import to_frame
from backtesting.portfolio_simulator import PortfolioSimulator, PreparedPortfolio
from backtesting.simulator import PRICES, PreparedCandles, UniversalSimulator
from coordinator.config import load_config
from services.market_data.synth import generate
from tests.conftest import instrument


@pytest.fixture(scope="module")
def prepared():
    return PreparedCandles.of(generate(["BTCUSDT"], 365, 7)["BTCUSDT"], instrument())


def numpy_pass(prepared):
    """One reading of the four price arrays."""
    return prepared.open.sum() + prepared.high.max() + prepared.low.min() + prepared.close.sum()


@pytest.mark.parametrize("name", ["grid", "dca", "trend"])
def test_a_year_of_minutes(benchmark, prepared, name):
    """F-66: speed is stated beside a calibration on the same machine."""
    simulator = UniversalSimulator(load_config({"strategy": name, "pair": "BTCUSDT"}))
    recording = simulator.run(prepared)  # compiled and warm
    baseline = min(_seconds(numpy_pass, prepared) for _ in range(30))
    benchmark.pedantic(simulator.run, args=(prepared,), rounds=40, warmup_rounds=3)
    took = benchmark.stats.stats.median
    print(  # noqa: T201
        f"\n{name}: {len(prepared.close) / took / 1e6:.0f} million bars/s at the median, {len(recording.fills)} fills, "
        f"{took / baseline:.1f} x one NumPy pass"
    )


@pytest.mark.parametrize("count", [1, 10])
def test_a_year_of_the_whole_algorithm(benchmark, count):
    """F-55, F-66."""
    candles = generate([f"P{index}USDT" for index in range(count)], 365, 7)
    pairs = list(candles)
    prepared_pairs = PreparedPortfolio.of(candles, {pair: instrument() for pair in pairs})
    simulator = PortfolioSimulator(load_config({"strategy": "auto", "pairs": pairs}))
    recording = simulator.run(prepared_pairs)  # compiled and warm
    baseline = min(_seconds(lambda: sum(prepared_pairs.bars[name].sum() for name in PRICES)) for _ in range(10))
    benchmark.pedantic(simulator.run, args=(prepared_pairs,), rounds=10, warmup_rounds=1)
    took = benchmark.stats.stats.median
    fills = sum(len(one.fills) for one in recording.recordings)
    print(  # noqa: T201
        f"\nauto, {count} pairs: {len(prepared_pairs.bars) / took / 1e6:.1f} million pair-bars/s at the median, "
        f"{fills} fills, "
        f"{took / baseline:.1f} x one NumPy pass"
    )


WHOLE = """
import re, sys
from pathlib import Path
def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) * 1024
from backtesting.candles import read_candles
from coordinator.config import load_config
from backtesting.portfolio_simulator import PortfolioSimulator, PreparedPortfolio, compiled_loop
from tests.conftest import instrument
pairs = [f"P{index}" for index in range(10)]
simulator = PortfolioSimulator(load_config({"strategy": "auto", "pairs": pairs}))
def play(start):
    candles = {pair: read_candles(sys.argv[1]).rows(slice(start, None)) for pair in pairs}
    prepared_pairs = PreparedPortfolio.of(candles, {pair: instrument() for pair in pairs})
    simulator.run(prepared_pairs)
    return len(prepared_pairs.bars)
small = play(-1440)
before = peak()
bars = play(0)
print((peak() - before) / bars)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the peak of a process is read from Linux's /proc")
def test_memory_of_the_whole_algorithm(benchmark, prepared, tmp_path):
    path = tmp_path / "year.parquet"
    to_frame(prepared.candles).write_parquet(path)
    command = [sys.executable, "-c", WHOLE, str(path)]
    done = benchmark.pedantic(subprocess.run, args=(command,), kwargs={"capture_output": True, "check": True}, rounds=1)
    print(f"\nauto, 10 pairs: {float(done.stdout):.0f} bytes per pair-bar at the peak, over an idle process")  # noqa: T201


ALONE = """
import re, sys
from pathlib import Path
from backtesting.candles import read_candles
from coordinator.config import load_config
from backtesting.simulator import PreparedCandles, UniversalSimulator
from tests.conftest import instrument
prepared = PreparedCandles.of(read_candles(sys.argv[2]), instrument())
UniversalSimulator(load_config({"strategy": sys.argv[1], "pair": "BTCUSDT"})).run(prepared)
print(int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) // 1024)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the peak of a process is read from Linux's /proc")
@pytest.mark.parametrize("name", ["grid", "dca", "trend"])
def test_memory_of_a_process_that_plays_a_year(benchmark, prepared, tmp_path, name):
    path = tmp_path / "year.parquet"
    to_frame(prepared.candles).write_parquet(path)
    command = [sys.executable, "-c", ALONE, name, str(path)]
    done = benchmark.pedantic(subprocess.run, args=(command,), kwargs={"capture_output": True, "check": True}, rounds=2)
    print(f"\n{name}: peak memory {int(done.stdout)} MB, interpreter, libraries and candles included")  # noqa: T201


def _seconds(function, *arguments):
    from time import perf_counter

    before = perf_counter()
    function(*arguments)
    return perf_counter() - before
