"""A sweep: rows that are those of single runs, in any number of threads; what is held out chooses nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys

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
