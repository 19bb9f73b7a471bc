"""The studies behind the defaults: each is a space that can be read, and one goes on where it was ended."""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import replace

import numpy as np
import pytest
import yaml

from backtesting.candles import to_frame
from bot.sources import ROOT
from search.reading import read_space
from search.runners import Threads
from tests.conftest import walk

FOLDER = ROOT / "docs" / "research"
STUDIES = sorted(FOLDER.glob("*.yaml"))
HOUR = 3_600_000


def script(name):
    spec = importlib.util.spec_from_file_location(f"research_{name}", FOLDER / f"{name}.py")
    found = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = found
    spec.loader.exec_module(found)
    return found


@pytest.mark.parametrize("file", STUDIES, ids=lambda file: file.stem)
def test_a_study_is_a_space_and_looks_at_nothing_after_2024(file):
    told = yaml.safe_load(file.read_text())
    assert told.pop("study")["file"]
    assert "to" not in told or str(told["to"]) <= "2025-01-01"
    assert script("study").END == "2025-01-01"
    space = read_space(told)
    assert space.size > 1
    assert space.search.walk_forward.train_days


def test_a_study_goes_on_where_it_was_ended_and_counts_its_trials(tmp_path):
    study = script("study")
    for pair, seed in (("BTCUSDT", 3), ("ETHUSDT", 5)):
        minutes = walk(200 * 24, seed=seed, volatility=0.006)
        candles = replace(minutes, ts=minutes.ts[0] + HOUR * np.arange(len(minutes)), bar_ms=HOUR)
        file = tmp_path / "binance" / "linear" / pair / "1h.parquet"
        file.parent.mkdir(parents=True)
        to_frame(candles).write_parquet(file)
    space = {
        "study": {"file": "1h.parquet"},
        "strategy": "trend",
        "exchange": "binance",
        "market": "linear",
        "pairs": ["BTCUSDT", "ETHUSDT"],
        "capital": 10_000,
        "trend": {"timeframe": "4h", "range_bars": [10, 20], "warmup_bars": 30, "direction": ["long", "both"]},
        "search": {"walk_forward": {"train_days": 60, "test_days": 40}},
    }
    file = tmp_path / "small.yaml"
    file.write_text(yaml.safe_dump(space))
    out, trials = tmp_path / "out", {}
    out.mkdir()
    with Threads(1) as runner:
        found = study.study(file, tmp_path, out, runner, trials)
        rows = sorted((out / "rows").iterdir())
        assert study.study(file, tmp_path, out, runner, trials) == found
    assert sorted((out / "rows").iterdir()) == rows
    windows = found["walk_forward"]["windows"]
    assert len(windows) >= 2
    assert trials == {"small": 4 * (len(windows) + 1) * 2}
    assert found["walk_forward"]["pessimistic"]["days"] == 40 * len(windows)
    assert set(found["whole"]["chosen"]) == {"trend.range_bars", "trend.direction"}
