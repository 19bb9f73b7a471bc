"""How fast a search goes through its parts, beside one NumPy pass over the same four price arrays.

uv run pytest tests/bench/test_search.py -n 0 --benchmark-only -s
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time

import numpy as np
import pytest

from backtesting.portfolio_run import play_portfolio, prepare_portfolio
from backtesting.simulator import PreparedCandles, UniversalSimulator
from bot.candles import COLUMNS
from bot.conditions import when_input
from bot.sources import ROOT
from bot.times import MINUTE
from coordinator.config import load_config, load_portfolio
from search.portfolio_score import score_portfolio
from search.reading import read_space
from search.score import score_of
from search.signals import Signals
from search.sweep import sweep
from search.window import held_equally_over, market_of, window_of
from services.market_data.synth import generate
from tests.bench.test_speed import _seconds, numpy_pass
from tests.conftest import instrument
from tests.search.test_score import hours


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


def grids(count, **search):
    section = {
        "levels": {"from": 5, "to": 44, "step": 1},
        "profit_per_grid": {"from": 0.003, "to": 0.03, "log": True, "steps": 25},
        "range_factor": {"from": 2, "to": 6, "steps": 10},
        "risk_budget": [0.02, 0.05, 0.1],
    }
    return of("grid", section, count, **search)


def trends(count, **search):
    section = {
        "fast_period": {"from": 5, "to": 24, "step": 1},
        "slow_period": {"from": 30, "to": 120, "step": 5},
        "range_bars": {"from": 10, "to": 40, "step": 5},
        "trail_distance": {"from": 1, "to": 4, "steps": 7},
    }
    return of("trend", section, count, **search)


def of(name, section, count, **more):
    search = {"method": f"random:{count}", "held_out": 0.01, "objective": "total_return_pct", **more}
    return read_space({"strategy": name, "pair": "BTCUSDT", "exchange": "synth", name: section, "search": search})


@pytest.fixture(scope="module")
def candles():
    return generate(["BTCUSDT"], 365, 7)["BTCUSDT"]


@pytest.mark.parametrize("made", [grids, trends])
def test_a_sweep_over_a_year_of_minutes(benchmark, candles, made):
    """10,000 grids within 60 s and as many trends within 40 s on two quiet cores, in 500 MB."""
    count = int(os.environ.get("TRADERAGENT_BENCH_VARIANTS", "10000"))
    sweep(made(4), candles)  # compiled and warm
    found = benchmark.pedantic(sweep, args=(made(count), candles), rounds=1)
    took, memory = benchmark.stats.stats.median, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(  # noqa: T201
        f"\n{made.__name__}: {len(found.numbers):,} variants in {took:.1f} s, {took / count * 1e3:.2f} ms each, "
        f"{memory:.0f} MB at most"
    )


def combinations(count, **search):
    """Three conditions of four years of hours, 1,000,000 in all."""
    when = [
        {"indicator": "RSI", "timeperiod": fives(14), "long_below": {"from": 30, "to": 48, "step": 2}},
        {"indicator": "ADX", "timeperiod": fives(14), "long_above": {"from": 10, "to": 28, "step": 2}},
        {"indicator": "CCI", "timeperiod": fives(23, 2), "long_below": {"from": -40, "to": 5, "step": 5}},
    ]
    for condition, above in zip(when, (60, 20, 50), strict=True):
        condition["short_above"] = above
    limits = {"variants": 10**6, "memory_mb": 1500}
    section = {"when": when, "timeframe": "1h", "direction": "long_short"}
    return of("rules", section, count, limits=limits, **search)


def fives(to, step=1):
    return {"from": 5, "to": to, "step": step}


def test_combinations_of_three_conditions_over_four_years_of_hours(benchmark):
    """1,000,000 in ten minutes on two quiet cores; the cost of one more is that between a tenth and all."""
    count = int(os.environ.get("TRADERAGENT_BENCH_VARIANTS", "100000"))
    four_years = hours(4 * 8766, 7, 0.006)
    sweep(combinations(4), four_years)  # compiled
    seconds, used = [], []
    for part in (count // 10, count):
        began, before = time.perf_counter(), time.process_time()
        found = sweep(combinations(part), four_years)
        seconds.append(time.perf_counter() - began)
        used.append(time.process_time() - before)
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(  # noqa: T201
            f"\n{len(found.numbers):,} combinations in {seconds[-1]:.1f} s, {used[-1]:.1f} s of processors, "
            f"{found.scores['fills'].mean():.0f} fills each, {memory:.0f} MB at most"
        )
    benchmark.pedantic(lambda: None, rounds=1)
    more = (10**6 - count) / (count - count // 10)
    print(  # noqa: T201
        f"1,000,000 would take {seconds[1] + more * (seconds[1] - seconds[0]):.0f} s here, "
        f"{used[1] + more * (used[1] - used[0]):.0f} s of processors"
    )


def test_signal_columns_of_a_hundred_sets_of_rsi(benchmark, prepared):
    """At most 0.5 s of a processor for a year of minutes."""
    whens = [
        when_input([{"indicator": "RSI", "timeperiod": period, "long_below": 30, "short_above": 70}], "all", "when")
        for period in range(5, 105)
    ]
    signals = Signals(prepared, MINUTE)
    began = time.process_time()
    benchmark.pedantic(lambda: [signals.sides(one) for one in whens], rounds=1)
    print(f"\n100 columns of RSI over a year of minutes: {time.process_time() - began:.2f} s of a processor")  # noqa: T201


OFTEN = [{"indicator": "RSI", "timeperiod": {"from": 5, "to": 14, "step": 1}, "long_below": {"from": 26, "to": 44}}]
SELDOM = [{"indicator": "RSI", "timeperiod": {"from": 10, "to": 55, "step": 5}, "long_below": {"from": 20, "to": 38}}]


@pytest.mark.parametrize(("timeframe", "when"), [("1h", OFTEN), ("1m", SELDOM)])
def test_a_run_of_rules_over_a_year(benchmark, candles, timeframe, when):
    """At most 0.25 ms on bars of an hour and 5 ms on those of a minute, once the columns are there."""
    when = [{**when[0], "long_below": {**when[0]["long_below"], "step": 2}, "short_above": 62}]
    space = of("rules", {"when": when, "timeframe": timeframe, "direction": "long_short", "warmup_bars": 0}, 100)
    over = hours(8766, 7, 0.006) if timeframe == "1h" else candles
    market = market_of(space.first, over)
    window, numbers = window_of(space, market, *market.span()), np.arange(space.size)
    rows, played = window.job(numbers)(), []
    (ready,) = window._ready.values()
    variants = [space.parameters(number) for number in numbers.tolist()]
    records = space.records(numbers)[1]

    def play():
        began = time.thread_time()
        outcomes = ready.market_rules.play(records, variants)
        played.append(time.thread_time() - began)
        return outcomes

    outcomes = benchmark.pedantic(play, rounds=10, warmup_rounds=1)
    left = sum(one is None for one in outcomes)
    print(  # noqa: T201
        f"\n{len(numbers)} rules on {timeframe}: {np.median(played) / len(numbers) * 1e3:.3f} ms of a processor each, "
        f"{rows.scores['fills'].mean():.0f} fills; {left} of them are left to the ordinary loop"
    )


def test_the_score_of_a_year_of_auto(benchmark, candles):
    """At most 1 ms, as of one strategy."""
    config = load_portfolio({"strategy": "auto", "pair": "BTCUSDT", "exchange": "synth"})
    result = play_portfolio(prepare_portfolio(config, {"BTCUSDT": candles}))
    held = held_equally_over([one.prepared for one in result.recording.recordings], result.ts)
    score, _ = score_portfolio(result, held)  # compiled
    used = []

    def play():
        began = time.thread_time()
        score_portfolio(result, held)
        used.append(time.thread_time() - began)

    benchmark.pedantic(play, rounds=200, warmup_rounds=10)
    print(  # noqa: T201
        f"\nscore of auto: {np.median(used) * 1e3:.2f} ms of a processor at the median, {score.fills:.0f} fills, a "
        f"position at {score.coverage_pct:.0f} % of the bars"
    )


def in_processes(count):
    """Play variants in two processes of one thread each; returns seconds from when both are ready."""
    code = (
        "import sys, time\nfrom search.sweep import sweep\nfrom services.market_data.synth import generate\n"
        "from tests.bench.test_search import grids\n"
        "candles = generate(['BTCUSDT'], 365, 7)['BTCUSDT']\nsweep(grids(4), candles, workers=1)\n"
        "print('ready', flush=True)\nsys.stdin.readline()\n"
        f"sweep(grids({count // 2}, seed=int(sys.argv[1])), candles, workers=1)\nprint('done', flush=True)\n"
    )
    line = [sys.executable, "-c", code]
    both = [
        subprocess.Popen([*line, str(seed)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for seed in (0, 1)
    ]
    for one in both:
        one.stdout.readline()
    began = time.perf_counter()
    for one in both:
        one.stdin.write("\n")
        one.stdin.flush()
    for one in both:
        one.stdout.readline()
    took = time.perf_counter() - began
    for one in both:
        one.communicate()
    return took


@pytest.mark.filterwarnings("ignore::Warning")  # Ray's own
def test_threads_beside_processes_and_ray(benchmark, candles):
    """Two threads at 0.95 of two processes, two actors of Ray at 0.9 of two threads; in turns, the median of three."""
    from search.ray_runner import RayRunner
    from search.window import market_of

    count = 1500
    space = grids(count)
    sweep(grids(4), candles)
    took = {"threads": [], "processes": [], "ray": []}
    with RayRunner(space, market_of(space.first, candles), "local", actors=2, threads=1) as runner:
        sweep(space, candles, runner=runner)  # the actors are ready
        for _ in range(3):
            for name, play in (
                ("threads", lambda: sweep(space, candles, workers=2)),
                ("ray", lambda: sweep(space, candles, runner=runner)),
            ):
                began = time.perf_counter()
                play()
                took[name].append(time.perf_counter() - began)
            took["processes"].append(in_processes(count))
    middle = {name: sorted(seconds)[1] for name, seconds in took.items()}
    benchmark.pedantic(lambda: None, rounds=1)
    print(  # noqa: T201
        f"\n{count} grids: {middle['threads']:.1f} s in two threads, {middle['processes']:.1f} s in two processes, "
        f"{middle['ray']:.1f} s in two actors; threads {middle['processes'] / middle['threads']:.2f} of processes, "
        f"Ray {middle['threads'] / middle['ray']:.2f} of threads"
    )


def test_a_hundred_crosses_beside_vectorbt(benchmark, candles, tmp_path):
    """EMA crosses of one-minute bars, as rules; 50 times as fast as vectorbt, in a tenth of its memory."""
    periods = [",".join(map(str, one)) for one in (range(5, 25, 2), range(30, 130, 10))]
    np.save(tmp_path / "close.npy", candles.close)
    np.savez(tmp_path / "candles.npz", **{name: getattr(candles, name) for name in COLUMNS})
    subprocess.run(["uv", "venv", "-q", str(tmp_path / "own")], check=True)
    python = str(tmp_path / "own" / "bin" / "python")
    subprocess.run(["uv", "pip", "install", "-q", "--python", python, "vectorbt"], check=True)
    script = str(ROOT / "tests" / "bench" / "vectorbt_crosses.py")
    ours = [sys.executable, "-m", "tests.bench.ema_crosses", str(tmp_path / "candles.npz"), *periods]
    theirs = [python, script, str(tmp_path / "close.npy"), *periods]

    def told(line):
        said = subprocess.run(line, check=True, capture_output=True, text=True, cwd=ROOT).stdout
        return json.loads(said.splitlines()[-1])

    own, other = benchmark.pedantic(lambda: (told(ours), told(theirs)), rounds=1)
    assert own["variants"] == other["variants"] == 100
    print(  # noqa: T201
        f"\n100 EMA crosses over a year of minutes, {own['fills']:,.0f} fills each: {own['seconds']:.2f} s beside "
        f"{other['seconds']:.1f} s of vectorbt, {other['seconds'] / own['seconds']:.0f} times as fast; "
        f"{own['processor']:.2f} s of processors beside {other['processor']:.1f}, "
        f"{other['processor'] / own['processor']:.0f} times as little; {own['bytes'] / 1e6:.0f} MB beside "
        f"{other['bytes'] / 1e6:.0f}"
    )
