"""A sweep: rows that are those of single runs, in any number of threads; what is held out chooses nothing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import yaml

from backtesting.candles import to_frame
from backtesting.run import simulate
from bot.errors import Misconfigured
from bot.sources import ROOT
from bot.times import DAY
from search.reading import read_space
from search.sweep import sweep
from services.app.research import config_of_sweep
from services.runtime.config import load_bot
from tests.conftest import walk

CANDLES = walk(60 * 1440, seed=3, volatility=0.0007)
SPACE = {
    "strategy": "grid",
    "pair": "BTCUSDT",
    "exchange": "synth",
    "grid": {
        "levels": {"from": 6, "to": 12, "step": 3},
        "profit_per_grid": ["0.4%", "0.8%"],
        "range_factor": [2, 4],
        "warmup_bars": 30,
    },
    "search": {"top": 4},
}


def told(more=None, **search):
    return {**SPACE, **(more or {}), "search": {**SPACE["search"], **search}}


@pytest.fixture(scope="module")
def found():
    return sweep(SPACE, CANDLES, workers=2)


def test_the_rows_are_the_same_in_one_thread_and_in_three(found):
    """F-52."""
    for workers in (1, 3):
        assert sweep(SPACE, CANDLES, workers=workers).frame.equals(found.frame)


def same(row, result, part):
    metrics = result.metrics
    for name in ("total_return_pct", "sharpe", "max_drawdown_pct", "trades"):
        value = getattr(metrics, name)
        assert row[f"{name}_{part}"] == (None if value is None else pytest.approx(value, rel=1e-9))


def test_every_row_is_that_of_a_single_run(found):
    assert len(found.numbers) == 12
    for row in found.frame.to_dicts():
        config = found.space.config(row["variant"])
        same(row, simulate(config.changed(start=found.start, end=found.split), CANDLES), "in_sample")


def test_the_best_are_played_again_on_what_was_held_out(found):
    assert found.split % DAY == 0 and found.split == pytest.approx(
        found.start + 0.7 * (found.end - found.start), abs=DAY
    )
    rows = found.frame.to_dicts()
    for row in rows[:4]:
        config = found.space.config(row["variant"])
        result = simulate(config.changed(start=found.split, end=found.end), CANDLES)
        same(row, result, "held_out")
    assert {row["total_return_pct_held_out"] for row in rows[4:]} == {None}
    assert found.best == found.space.config(rows[0]["variant"])


def test_best_first_and_what_fails_a_filter_behind(found):
    middle = int(np.median(found.scores["trades"]))
    filtered = sweep(told(filters=[f"trades > {middle}"]), CANDLES)
    assert filtered.passed.tolist() == (filtered.scores["trades"] > middle).tolist()
    assert np.count_nonzero(np.diff(filtered.passed)) == 1 and filtered.passed[0]
    for part in (filtered.passed, ~filtered.passed):
        assert (np.diff(filtered.scores["information_ratio"][part]) <= 0).all()


def test_variants_that_cannot_work_are_counted_and_only_where_none_can_refused():
    small = {"capital": 480.0, "instrument": {"min_notional": 50}}
    some = sweep(told(small, objective="total_return_pct", filters=[]), CANDLES)
    assert {row["grid.levels"] for row in some.frame.to_dicts()} == {6, 9}
    assert some.found.unplayable == 4
    with pytest.raises(Misconfigured, match="raise the capital"):
        sweep(told({**small, "capital": 60.0}), CANDLES)


@pytest.mark.slow  # a loop of its own
def test_inputs_of_their_own_for_variants_of_rules():
    when = [{"indicator": "RSI", "timeperiod": {"from": 5, "to": 15, "step": 5}, "long_below": 45, "short_above": 55}]
    rules = {"when": when, "timeframe": ["15m", "30m"], "direction": "long_short"}
    space = {"strategy": "rules", "pair": "BTCUSDT", "exchange": "synth", "rules": rules}
    found = sweep({**space, "search": {"objective": "total_return_pct"}}, CANDLES)
    assert len(found.numbers) == 6 == len(set(found.scores["total_return_pct"].tolist()))
    row = found.frame.to_dicts()[2]
    config = found.space.config(row["variant"])
    same(row, simulate(config.changed(start=found.start, end=found.split), CANDLES), "in_sample")


@pytest.mark.parametrize(
    ("days", "search", "said"),
    [
        (3, {}, "too short to choose on one part and to hold out 30%"),
        (20, {}, "undefined for every variant on the 14 days that choose"),
    ],
)
def test_what_cannot_tell_anything_is_refused_with_one_sentence(days, search, said):
    with pytest.raises(Misconfigured, match=said):
        sweep(told(**search), walk(days * 1440, seed=3, volatility=0.0007))


def test_where_limits_may_bind_the_engine_plays():
    limited = {"instrument": {"max_market_quantity": "0.05"}}
    found = sweep(told(limited, objective="total_return_pct"), CANDLES.rows(slice(0, 20 * 1440)))
    row = found.frame.to_dicts()[0]
    config = found.space.config(row["variant"])
    alone = simulate(config.changed(start=found.start, end=found.split), CANDLES)
    same(row, alone, "in_sample")


def command(data_dir, *arguments, code=0):
    done = subprocess.run(
        [sys.executable, "-m", "bot", *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "COLUMNS": "200", "TRADERAGENT_DATA_DIR": str(data_dir)},
    )
    assert done.returncode == code, done.stderr
    return done


@pytest.mark.slow  # processes
def test_the_command_writes_every_row_and_a_config_that_a_backtest_takes(tmp_path):
    candles, space, out = tmp_path / "candles.parquet", tmp_path / "space.yaml", tmp_path / "out"
    to_frame(CANDLES).write_parquet(candles)
    space.write_text(yaml.safe_dump(SPACE))
    shown = command(tmp_path / "data", "sweep", space, "--candles", candles, "--out", out).stdout
    assert "12 variants, chosen on" in shown and "in sample" in shown and "held out" in shown
    assert len((out / "rows.csv").read_text().splitlines()) == 13
    assert sorted(path.name for path in out.iterdir()) == ["best.yaml", "report.html", "rows.csv"]
    refused = command(tmp_path / "data", "sweep", space, "--candles", candles, "--out", out, code=2).stderr
    assert "exists; choose another folder, or give --replace" in refused
    best = json.loads(
        command(tmp_path / "data", "sweep", space, "--candles", candles, "--out", out, "--replace", "--json").stdout
    )
    assert len(best["best"]) == 4 and best["verdict"] and best["best"][0]["variant"] in range(read_space(SPACE).size)
    command(tmp_path / "data", "backtest", out / "best.yaml", "--candles", candles, "--out", tmp_path / "run")
    text = (out / "best.yaml").read_text()
    assert text.startswith("# The best of 12 variants by grid and information_ratio, chosen on")
    _, live = load_bot(out / "best.yaml")
    ((_, own),) = live.algorithm.trading()
    assert own == read_space(SPACE).config(best["best"][0]["variant"]).parameters


def test_pruning_leaves_the_worse_half_of_the_days_played_so_far(found):
    pruned = sweep(told(prune=True, objective="total_return_pct"), CANDLES, workers=2)
    assert [len(one.numbers) for one in pruned.left] == [3, 6] and len(pruned.numbers) == 3
    half, quarter = pruned.left
    length = pruned.split - pruned.start
    assert half.until == (pruned.start + length // 2) // DAY * DAY
    assert quarter.until == (pruned.start + length // 4) // DAY * DAY
    every = [*pruned.numbers.tolist(), *half.numbers.tolist(), *quarter.numbers.tolist()]
    assert sorted(every) == list(range(12))
    config = pruned.space.config(int(quarter.numbers[-1]))
    alone = simulate(config.changed(start=pruned.start, end=quarter.until), CANDLES)
    assert quarter.scores[-1]["total_return_pct"] == pytest.approx(alone.metrics.total_return_pct, rel=1e-9)
    rows = {row["variant"]: row for row in found.frame.to_dicts()}
    for row in pruned.frame.head(3).to_dicts():
        assert row["total_return_pct_in_sample"] == rows[row["variant"]]["total_return_pct_in_sample"]
    assert pruned.evidence.trials == 12
    assert pruned.evidence.superior_ability is None and pruned.evidence.better_than_chance is None
    assert "9 variants were left" in pruned.verdict[-1]
    assert len(pruned.frame) == 12 and pruned.frame["until"].n_unique() == 3
    with pytest.raises(Misconfigured, match=r"search\.prune goes with grid, random:N and sobol:N"):
        sweep(told(prune=True, method="tpe:5"), CANDLES)


def test_a_plateau_ranks_by_the_worst_of_a_variant_and_its_neighbours(found):
    flat = sweep(told(plateau=True), CANDLES, workers=2)
    values = dict(zip(found.numbers.tolist(), found.scores["information_ratio"].tolist(), strict=True))
    lattice = found.space.lattice

    def worst(number):
        digits = lattice.digits(np.array([number]))[0]
        around = [number]
        for place, stride in enumerate(lattice.strides.tolist()):
            around += [number - stride] if digits[place] > 0 else []
            around += [number + stride] if digits[place] < lattice.sizes[place] - 1 else []
        return min(values[one] for one in around)

    order = sorted(values, key=lambda one: -worst(one))
    assert [worst(one) for one in flat.numbers.tolist()] == pytest.approx([worst(one) for one in order])
    best = int(found.numbers[0])
    assert found.plateau.own == values[best] and found.plateau.worst <= found.plateau.mean
    assert found.plateau.worst == min(value for one, value in values.items() if differs(lattice, one, best))


def test_a_plateau_puts_what_stands_alone_behind_and_a_verdict_says_that_nothing_passed():
    found = sweep(told(plateau=True, method="random:5", filters=["trades >= 100000"]), CANDLES, workers=2)
    digits = found.space.lattice.digits(found.numbers)
    near = (np.abs(digits[:, None] - digits[None]).sum(axis=2) == 1).any(axis=1)
    assert 0 < near.sum() < len(near), "choose another count: both kinds are needed"
    assert near[: near.sum()].all()
    assert "No variant passes the filters" in " ".join(found.verdict)
    assert config_of_sweep(found).splitlines()[1].startswith("# No variant passes the filters"), "who takes it is told"


def differs(lattice, one, other):
    first, second = lattice.digits(np.array([one, other]))
    return np.abs(first - second).sum() == 1


def test_a_heat_map_has_the_best_of_each_pair_of_values(found):
    table = found.heat_map("grid.levels", "grid.range_factor")
    rows = found.frame.to_dicts()
    for row in table.to_dicts():
        for factor in ("2", "4"):
            own = [
                one["information_ratio_in_sample"]
                for one in rows
                if one["grid.levels"] == row["grid.levels"] and one["grid.range_factor"] == int(factor)
            ]
            assert row[factor] == max(own)
    with pytest.raises(Misconfigured, match=r"the space has no axis grid\.level; choose two of grid\.levels"):
        found.heat_map("grid.level", "grid.range_factor")


def test_the_pareto_set_is_what_no_other_beats_in_both_metrics():
    both = sweep(told(objective=["total_return_pct", "max_drawdown_pct"], method="nsga2:12"), CANDLES, workers=2)
    rows = both.frame.to_dicts()
    kept = {row["variant"] for row in both.pareto.to_dicts()}
    for row in rows:
        beaten = any(
            other["total_return_pct_in_sample"] >= row["total_return_pct_in_sample"]
            and other["max_drawdown_pct_in_sample"] <= row["max_drawdown_pct_in_sample"]
            and other["variant"] != row["variant"]
            for other in rows
        )
        assert (row["variant"] in kept) == (not beaten)


def test_importance_is_the_share_of_what_an_axis_explains(found):
    shares = found.importance
    assert list(shares) == ["grid.levels", "grid.profit_per_grid", "grid.range_factor"]
    assert all(0.0 <= share <= 1.0 for share in shares.values()) and sum(shares.values()) <= 1.0 + 1e-9
    ranks = {row["variant"]: place for place, row in enumerate(found.frame.to_dicts())}
    digits = found.space.lattice.digits(np.array(list(ranks)))
    values = np.array(list(ranks.values()), float)
    means = [values[digits[:, 1] == digit].mean() for digit in (0, 1)]
    assert shares["grid.profit_per_grid"] == pytest.approx(np.var(means) / np.var(values), abs=1e-9)


@pytest.mark.parametrize("method", ["random:5", "sobol:5", "tpe:8", "cmaes:8", "coarse_fine", "staged"])
def test_rows_of_every_method_are_those_of_the_whole_space(found, method):
    rows = {row["variant"]: row for row in found.frame.to_dicts()}
    some = sweep(told(method=method, coarse=2, preselect=2), CANDLES, workers=2)
    again = sweep(told(method=method, coarse=2, preselect=2), CANDLES, workers=1)
    assert some.frame.equals(again.frame)
    for row in some.frame.to_dicts():
        assert row["sharpe_in_sample"] == rows[row["variant"]]["sharpe_in_sample"]
    assert some.evidence.trials == len(some.numbers) <= 12


def test_the_best_of_a_walk_on_random_candles_is_not_called_better_than_chance(found):
    assert found.evidence.better_than_chance is False
    assert "not better than chance" in found.verdict[0]


@pytest.mark.slow  # a process that is interrupted in the middle
def test_an_interrupted_sweep_ends_at_once_and_leaves_nothing_half_done(tmp_path):
    candles, space, out = tmp_path / "candles.parquet", tmp_path / "space.yaml", tmp_path / "out"
    to_frame(walk(300 * 1440, seed=3, volatility=0.0007)).write_parquet(candles)
    wide = {"levels": {"from": 5, "to": 44, "step": 1}, "profit_per_grid": {"from": "0.3%", "to": "2%", "steps": 60}}
    space.write_text(yaml.safe_dump({**SPACE, "grid": {**wide, "warmup_bars": 30}}))
    line = [sys.executable, "-m", "bot", "sweep", str(space), "--candles", str(candles), "--out", str(out)]
    data = tmp_path / "data"
    running = subprocess.Popen(
        line, cwd=ROOT, stderr=subprocess.PIPE, text=True, env={**os.environ, "TRADERAGENT_DATA_DIR": str(data)}
    )
    deadline = time.monotonic() + 60
    while stored(data) == 0 and time.monotonic() < deadline:
        pass
    began = time.monotonic()
    running.send_signal(signal.SIGINT)
    _, said = running.communicate(timeout=30)
    assert running.returncode == 130, said
    assert time.monotonic() - began < 3.0  # of which the database takes some to end
    assert not out.exists()
    assert 0 < stored(data) < 2400
    (one,) = json.loads(command(data, "sessions", "list", "--json").stdout)
    assert one["status"] == "cancelled"


def stored(data):
    done = command(data, "sessions", "list", "--json")
    return sum(one["trials"] for one in json.loads(done.stdout))
