"""How fast a year of one-minute bars goes, beside one NumPy pass over the same four price arrays.

uv run pytest tests/bench --benchmark-only -s
"""

from __future__ import annotations

import subprocess
import sys

import pytest

from backtesting.config import load_config
from backtesting.simulator import Tape, UniversalSimulator
from services.data.synth import generate
from tests.conftest import instrument


@pytest.fixture(scope="module")
def tape():
    return Tape.of(generate(["BTCUSDT"], 365, 7)["BTCUSDT"], instrument())


def numpy_pass(tape):
    """One reading of the four price arrays."""
    return tape.open.sum() + tape.high.max() + tape.low.min() + tape.close.sum()


@pytest.mark.parametrize("name", ["grid", "dca", "trend"])
def test_a_year_of_minutes(benchmark, tape, name):
    simulator = UniversalSimulator(load_config({"strategy": name, "pair": "BTCUSDT"}))
    recording = simulator.run(tape)  # compiled and warm
    baseline = min(_seconds(numpy_pass, tape) for _ in range(30))
    benchmark.pedantic(simulator.run, args=(tape,), rounds=40, warmup_rounds=3)
    took = benchmark.stats.stats.median
    print(  # noqa: T201
        f"\n{name}: {len(tape.close) / took / 1e6:.0f} million bars/s at the median, {len(recording.fills)} fills, "
        f"{took / baseline:.1f} x one NumPy pass"
    )


ALONE = """
import re, sys
from pathlib import Path
from backtesting.candles import read_candles
from backtesting.config import load_config
from backtesting.simulator import Tape, UniversalSimulator
from tests.conftest import instrument
tape = Tape.of(read_candles(sys.argv[2]), instrument())
UniversalSimulator(load_config({"strategy": sys.argv[1], "pair": "BTCUSDT"})).run(tape)
print(int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) // 1024)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the peak of a process is read from Linux's /proc")
@pytest.mark.parametrize("name", ["grid", "dca", "trend"])
def test_memory_of_a_process_that_plays_a_year(benchmark, tape, tmp_path, name):
    path = tmp_path / "year.parquet"
    tape.candles.frame().write_parquet(path)
    command = [sys.executable, "-c", ALONE, name, str(path)]
    done = benchmark.pedantic(subprocess.run, args=(command,), kwargs={"capture_output": True, "check": True}, rounds=2)
    print(f"\n{name}: peak memory {int(done.stdout)} MB, interpreter, libraries and candles included")  # noqa: T201


def _seconds(function, *arguments):
    from time import perf_counter

    before = perf_counter()
    function(*arguments)
    return perf_counter() - before
