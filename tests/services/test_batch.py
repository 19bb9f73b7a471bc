"""`traderagent batch` over a real store: every run as a backtest has it, failures named, nothing played twice."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import time
from dataclasses import replace

import pytest
import yaml
from typer.testing import CliRunner

from backtesting.candles import to_frame
from backtesting.run import simulate
from bot.errors import Misconfigured
from bot.sources import ROOT
from search.batch import ALL, BatchRun, FailedRun, read_batch
from services.app import batch as playing
from services.app.batch import BatchPlayer, FoundRun, PlayedRun, _ready_portfolio, play_all
from services.command_line.main import app, main
from services.market_data.store import CandleStore
from tests.conftest import walk
from tests.services.test_interrupt import LIMIT, SLACK, interrupted, started

NARROW = {"warmup_bars": 20, "range_factor": 3, "profit_per_grid": "0.4%"}
BATCH = {
    "pairs": ["BTCUSDT", "ETHUSDT"],
    "exchange": "synth",
    "capital": 1_000_000,
    "timeframes": ["1h", "2h"],
    "periods": [{"name": "first", "from": "2024-01-03", "to": "2024-01-06"}, {"last_days": 2}],
    "strategies": [
        {"strategy": "grid", "grid": {"warmup_bars": 20, "range_factor": 3}},
        {"name": "narrow", "strategy": "grid", "grid": NARROW},
    ],
}
KEYS = [
    *("batch_id", "total_runs", "completed", "failed", "failed_runs", "execution_time_minutes"),
    *("aggregated_metrics", "individual_results"),
]


@pytest.fixture
def stocked(store_dir):
    """A data directory with ten days of two pairs."""
    store = CandleStore(store_dir)
    for seed, pair in enumerate(("BTCUSDT", "ETHUSDT")):
        store.write("synth", "linear", pair, walk(10 * 1440, seed=seed, volatility=0.0015))
    return store_dir


def written(folder, **changes):
    path = folder / "batch.yaml"
    path.write_text(yaml.safe_dump({**BATCH, **changes}))
    return path


def command(monkeypatch, capsys, *words):
    """Run the command here; returns its exit code, output and error stream."""
    monkeypatch.setattr(sys, "argv", ["traderagent", *map(str, words)])
    with pytest.raises(SystemExit) as ended:
        main()
    said = capsys.readouterr()
    return ended.value.code or 0, said.out, said.err


def answered(monkeypatch, capsys, *words, code=0):
    found, out, err = command(monkeypatch, capsys, "batch", *words, "--json")
    assert found == code, err
    return json.loads(out)


def test_every_run_is_what_a_backtest_of_it_is(stocked, tmp_path, monkeypatch, capsys):
    whole = answered(monkeypatch, capsys, written(tmp_path), "--out", tmp_path / "out")
    assert list(whole) == KEYS
    assert (whole["total_runs"], whole["completed"], whole["failed"], whole["failed_runs"]) == (16, 16, 0, [])
    assert json.loads((tmp_path / "out" / "summary.json").read_text()) == whole
    rows = whole["individual_results"]
    assert [(row["symbol"], row["rule"], row["timeframe"], row["period"]) for row in rows] == [
        (pair, rule, timeframe, period)
        for pair in BATCH["pairs"]
        for rule in ("grid", "narrow")
        for timeframe in BATCH["timeframes"]
        for period in ("first", "last 2 days")
    ]
    asked = {"strategy": "grid", "pair": "ETHUSDT", "exchange": "synth", "capital": 1_000_000}
    asked.update({"from": "2024-01-03", "to": "2024-01-06"})
    candles = walk(14400, seed=1, volatility=0.0015)
    result = simulate({**asked, "grid": {**NARROW, "timeframe": "2h"}}, candles)
    row = next(row for row in rows if row["run_id"] == result.document.run_id)
    assert (row["rule"], row["timeframe"], row["period"]) == ("narrow", "2h", "first")
    metrics = result.metrics
    assert row["total_return_pct"] == metrics.total_return_pct and row["trades"] == metrics.trades > 0
    assert row["winrate"] == metrics.win_rate_pct
    assert {row["from"] for row in rows if row["period"] == "last 2 days"} == {"2024-01-09T00:00:00Z"}
    best = max(rows, key=lambda row: row["total_return_pct"])
    known = [row["winrate"] for row in rows if row["winrate"] is not None]
    together = whole["aggregated_metrics"]
    assert together["best_run"] == {key: best[key] for key in ("run_id", "symbol", "rule", "winrate")}
    assert together["avg_winrate"] == pytest.approx(sum(known) / len(known))


def test_a_run_that_fails_is_named_and_stops_no_other(stocked, tmp_path, monkeypatch, capsys):
    path = written(tmp_path, pairs=["BTCUSDT", "NONEUSDT"], timeframes=["1h"], periods=[{"last_days": 2}])
    whole = answered(monkeypatch, capsys, path, code=1)
    assert (whole["total_runs"], whole["completed"], whole["failed"]) == (4, 2, 2)
    first = whole["failed_runs"][0]
    assert first["run"] == "grid NONEUSDT 1h last 2 days"
    assert first["reason"].startswith("pair NONEUSDT has no candles for synth linear; import or download them")
    assert (stocked / "batches" / whole["batch_id"] / "summary.json").exists()
    code, out, err = command(monkeypatch, capsys, "batch", path)
    assert code == 1
    assert "2 of 4 runs completed, 2 of them before; 2 failed" in out
    assert "failed: narrow NONEUSDT 1h last 2 days: pair NONEUSDT has no candles" in err


def test_a_fault_in_a_thread_is_an_outcome_like_others():
    runs = [BatchRun("grid", pair, None, ALL, {}) for pair in ("AAA", "BBB", "CCC")]

    def play(run):
        if run.symbol == "BBB":
            raise ZeroDivisionError("by zero")
        if run.symbol == "CCC":
            raise FileNotFoundError(2, "No such file", "x.csv")
        return PlayedRun(run, {}, False, None)

    found = {one.run.symbol: one for one in play_all(runs, play, 2)}
    assert isinstance(found["AAA"], PlayedRun)
    assert found["BBB"] == FailedRun(runs[1], "fault of the program or of a strategy: ZeroDivisionError: by zero")
    assert found["CCC"].reason == "x.csv: No such file; check the path and its rights."


def test_what_was_finished_is_not_played_again_unless_inputs_or_code_changed(stocked, tmp_path, monkeypatch, capsys):
    """F-51: inputs and code name a run."""
    path, played = written(tmp_path, timeframes=["1h"], periods=[{"last_days": 2}]), []
    play = playing.play_single
    monkeypatch.setattr(playing, "play_single", lambda *words: played.append(words) or play(*words))
    first = answered(monkeypatch, capsys, path)
    assert len(played) == 4
    again = answered(monkeypatch, capsys, path, "--workers", 1)
    assert len(played) == 4
    assert {**again, "execution_time_minutes": 0} == {**first, "execution_time_minutes": 0}
    kept = stocked / "batches" / "runs" / f"{first['individual_results'][0]['run_id']}.json"
    kept.write_text("{half")  # damaged: played again
    assert answered(monkeypatch, capsys, path)["batch_id"] == first["batch_id"]
    assert len(played) == 5
    candles = CandleStore(stocked).read(playing.SeriesName("synth", "linear", "ETHUSDT"))
    CandleStore(stocked).write("synth", "linear", "ETHUSDT", replace(candles, volume=candles.volume * 2).rows([-5]))
    assert answered(monkeypatch, capsys, path)["batch_id"] != first["batch_id"]
    assert len(played) == 7
    monkeypatch.setattr("backtesting.result.source_hash", lambda *_: "other code")
    answered(monkeypatch, capsys, path)
    assert len(played) == 11


def test_run_directories_are_those_of_backtest(stocked, tmp_path, monkeypatch, capsys):
    few = {"pairs": ["BTCUSDT"], "timeframes": [], "periods": [{"last_days": 2}], "strategies": ["grid"]}
    path = written(tmp_path, **few)
    whole = answered(monkeypatch, capsys, path)
    (row,) = whole["individual_results"]
    assert row["timeframe"] is None
    folder = tmp_path / "out" / "runs" / f"grid-BTCUSDT-{row['run_id']}"
    folder.mkdir(parents=True)
    (folder / "diary.txt").write_text("mine")
    (failed,) = answered(monkeypatch, capsys, path, "--runs", "--out", tmp_path / "out", code=1)["failed_runs"]
    assert "something that is no run lies there" in failed["reason"]
    (folder / "diary.txt").unlink()
    assert answered(monkeypatch, capsys, path, "--runs", "--out", tmp_path / "out")["batch_id"] == whole["batch_id"]
    code, _, err = command(monkeypatch, capsys, "backtest", folder / "config.yaml", "--out", tmp_path / "own")
    assert code == 0, err
    assert (tmp_path / "own" / "result.json").read_bytes() == (folder / "result.json").read_bytes()


def test_the_whole_algorithm_has_its_own_timeframes(stocked, tmp_path, monkeypatch, capsys):
    few = {"pairs": ["BTCUSDT"], "periods": [{"last_days": 4}], "strategies": ["auto", "grid"]}
    rows = answered(monkeypatch, capsys, written(tmp_path, **few))["individual_results"]
    assert [(row["rule"], row["timeframe"]) for row in rows] == [("auto", None), ("grid", "1h"), ("grid", "2h")]
    asked = ("backtest", "--strategy", "auto", "--pair", "BTCUSDT", "--exchange", "synth", "--from", rows[0]["from"])
    asked += ("--capital", "1000000")
    code, out, err = command(monkeypatch, capsys, *asked, "--json", "--out", tmp_path / "own")
    assert code == 0, err
    result = json.loads(out)
    assert (rows[0]["run_id"], rows[0]["fees"]) == (result["run_id"], result["metrics"]["fees"])


def test_candles_of_a_folder_stand_in_for_the_store(stocked, tmp_path, monkeypatch, capsys):
    folder = tmp_path / "candles"
    folder.mkdir()
    to_frame(walk(14400, seed=0, volatility=0.0015)).write_csv(folder / "BTCUSDT-1m.csv")
    path = written(tmp_path, candles="candles", timeframes=["1h"])
    whole = answered(monkeypatch, capsys, path, code=1)
    assert [row["reason"] for row in whole["failed_runs"]] == [
        "candles: the folder holds none of ETHUSDT; put one there, or set bar."
    ] * 4
    path = written(tmp_path, timeframes=["1h"], pairs=["BTCUSDT"])
    stored = answered(monkeypatch, capsys, path)["individual_results"]
    assert whole["individual_results"] == stored
    to_frame(walk(14400, seed=0, volatility=0.0015)).write_csv(folder / "BTCUSDT-5m.csv")
    path = written(tmp_path, timeframes=["1h"], pairs=["BTCUSDT"], strategies=["grid"], periods=[{"last_days": 2}])
    (failed,) = answered(monkeypatch, capsys, path, "--candles", folder, code=1)["failed_runs"]
    assert "holds 2 files, BTCUSDT-1m.csv, BTCUSDT-5m.csv, of BTCUSDT" in failed["reason"]


def test_a_config_file_gives_what_an_entry_leaves_out(tmp_path):
    config = {"strategy": "grid", "pair": "SOLUSDT", "from": "2020-01-01", "leverage": 2, "grid": {"levels": 7}}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(config))
    entries = ["mine.yaml", {"name": "more", "config": "mine.yaml", "grid": {"profit_per_grid": "1%"}}]
    batch = read_batch(written(tmp_path, strategies=entries, periods=None, timeframes=None))
    assert [run.rule for run in batch.runs] == ["mine", "more"] * 2
    made = batch.runs[3].config()
    assert (made.pair, made.start, made.leverage, made.parameters.levels) == ("ETHUSDT", None, 2.0, 7)
    assert made.capital == 1_000_000.0
    assert made.parameters.profit_per_grid == 0.01


def test_what_the_batch_says_of_a_section_leaves_the_rest_of_it_to_the_config_file(tmp_path):
    """Costs that a file states are not given up for the defaults because the batch names another rule of execution."""
    config = {"strategy": "grid", "pair": "SOLUSDT", "execution": {"slippage_bps": 25, "funding_rate": 0.0003}}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(config))
    entries = ["mine.yaml", {"name": "own", "config": "mine.yaml", "execution": {"slippage_bps": 30}}]
    batch = read_batch(written(tmp_path, strategies=entries, execution={"path": "adverse", "funding_rate": 0.0002}))
    found = {run.rule: run.config().execution for run in batch.runs}
    assert {name: (one.slippage_bps, one.funding_rate, str(one.path)) for name, one in found.items()} == {
        "mine": (25.0, 0.0002, "adverse"),
        "own": (30.0, 0.0002, "adverse"),
    }


def test_a_run_of_auto_is_another_one_once_a_strategy_of_ones_own_in_it_was_edited(tmp_path):
    """Or what the file came to before it was edited would be told of it now."""
    file = tmp_path / "ema_cross.py"
    shutil.copy(ROOT / "tests" / "examples" / "ema_cross.py", file)
    auto = {"strategy": "auto", "auto": {"routes": {"bull_trend": f"{file}:EMA_CROSS"}}}

    def name():
        (run,) = read_batch({"pairs": ["BTCUSDT"], "strategies": [auto]}).runs
        return _ready_portfolio("BTCUSDT", FoundRun(run.config(), walk(3000), None, None)).run_id

    before = name()
    assert name() == before
    file.write_text(file.read_text() + "EDITED = True\n")
    assert name() != before


def test_a_strategy_of_ones_own_is_found_beside_the_batch(tmp_path, monkeypatch):
    shutil.copy(ROOT / "tests" / "examples" / "ema_cross.py", tmp_path)
    (tmp_path / "mine.yaml").write_text("strategy: ema_cross.py\n")
    entries = ["ema_cross.py:EMA_CROSS", "mine.yaml", {"name": "more", "strategy": "ema_cross.py"}]
    monkeypatch.chdir(ROOT)
    batch = read_batch(written(tmp_path, strategies=entries, periods=None, pairs=["BTCUSDT"]))
    assert [(run.rule, run.timeframe) for run in batch.runs] == [
        (rule, timeframe) for rule in ("EMA_CROSS", "mine", "more") for timeframe in ("1h", "2h")
    ]
    assert {run.config().strategy for run in batch.runs} == {f"{tmp_path / 'ema_cross.py'}:EMA_CROSS"}
    assert batch.runs[1].config().parameters.timeframe == "2h"


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"pair": "BTCUSDT"}, "batch has the key 'pair', which is unknown; choose among version, pairs, "),
        ({"pairs": []}, "pairs names none; list each pair of the batch once"),
        ({"pairs": ["BTCUSDT", "btc/usdt"]}, "pairs names BTCUSDT twice; "),
        ({"timeframes": ["1x"]}, "timeframes is ['1x']; list lengths of signal bars"),
        ({"timeframes": ["7m"]}, "strategies, grid: grid.timeframe is '7m'"),
        ({"periods": [3]}, "periods[0] is 3; give from and to, or last_days."),
        ({"periods": [{"from": "2024-02-01", "to": "2024-01-01"}]}, "periods[0]: from (2024-02-01T00:00:00Z) must lie"),
        ({"periods": [{"last_days": 2}, {"last_days": 2}]}, "periods has 'last 2 days' twice; "),
        ({"strategies": []}, "strategies is []; list names"),
        ({"strategies": ["gird"]}, "strategy 'gird' is unknown; did you mean 'grid'"),
        ({"strategies": ["grid", "grid"]}, "strategies has 'grid' twice; give each entry a name of its own."),
        ({"strategies": [{"strategy": "grid", "grid": {"levels": 1}}]}, "strategies, grid: grid.levels is 1"),
        ({"strategies": [{"strategy": "grid", "pair": "X"}]}, "strategies[0].pair is 'X'; pairs, periods"),
        ({"strategies": ["none.yaml"]}, "config "),
        ({"capital": -1}, "strategies, grid: capital is -1"),
        ({"candles": [1]}, "candles is [1]; name a folder"),
        ({"version": 2}, "version is 2 but this program reads version 1"),
        ({"strategies": ["x" * 300]}, "strategy 'xxxxx"),
    ],
)
def test_bad_input_is_one_sentence_and_plays_nothing(store_dir, tmp_path, monkeypatch, capsys, changes, sentence):
    code, out, err = command(monkeypatch, capsys, "batch", written(tmp_path, **changes))
    assert (code, out) == (2, "")
    assert err.startswith(f"error: {sentence}"), err
    assert err.count("\n") == 1 and len(err) < 400
    assert not store_dir.exists()


def test_the_page_shows_a_batch(tmp_path):
    page = (ROOT / "docs" / "batch.md").read_text(encoding="utf-8")
    shown = re.search(r"```yaml\n(.*?)```", page, re.DOTALL)
    assert shown is not None
    (tmp_path / "batch.yaml").write_text(shown.group(1))
    (tmp_path / "configs").mkdir()
    shutil.copy(ROOT / "configs" / "grid.yaml", tmp_path / "configs")
    runs = read_batch(tmp_path / "batch.yaml").runs
    assert len(runs) == 2 * 2 * (2 + 2 + 1)
    assert {run.period.label for run in runs} == {"bull", "last 90 days"}
    assert runs[-1].config().parameters.levels == 30
    assert all(f"`{key}`" in page for key in KEYS)


def test_every_command_and_option_that_the_page_shows_exists():
    page = (ROOT / "docs" / "batch.md").read_text(encoding="utf-8")
    runner, lines = CliRunner(env={"COLUMNS": "200", "TERM": "dumb"}), re.findall(r"traderagent (\w+ [^\n#`>]*)", page)
    assert len(lines) > 6
    for line in lines:
        usage = runner.invoke(app, [line.split()[0], "--help"])
        assert usage.exit_code == 0, line
        assert [word for word in line.split() if word.startswith("--") and word not in usage.output] == []


def test_a_batch_that_is_too_large_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("search.batch.MOST_RUNS", 15)
    with pytest.raises(Misconfigured, match=r"batch asks for 16 runs, more than 15; split it\."):
        read_batch(written(tmp_path))


def test_a_folder_without_candles_is_refused_before_anything_is_played(tmp_path):
    for folder, said in ((tmp_path / "none", "which is no folder"), (tmp_path, "holds no file named by a pair")):
        with pytest.raises(Misconfigured, match=said):
            BatchPlayer(tmp_path, folder)


def test_ctrl_c_ends_a_batch_at_once_and_leaves_whole_files(stocked, tmp_path, monkeypatch, capsys):
    periods = [{"name": f"{hour}", "last_days": 2 + hour / 24} for hour in range(100)]
    pairs = ["BTCUSDT", "NONEUSDT", "ETHUSDT"]
    path = written(tmp_path, pairs=pairs, periods=periods, timeframes=["1h"], strategies=["grid"])
    process = started(
        *("-m", "bot", "batch", str(path), "--out", str(tmp_path / "out")), TRADERAGENT_DATA_DIR=str(stocked)
    )
    said, code, seconds = interrupted(process, "failed: grid NONEUSDT")
    assert code == 130, said
    assert seconds < LIMIT + SLACK
    assert said.endswith("interrupted\n") and "Traceback" not in said
    assert not (tmp_path / "out").exists()
    kept = [file for file in (stocked / "batches").rglob("*") if file.is_file()]
    assert 50 < len(kept) < 200
    for file in kept:
        assert file.suffix == ".json" and json.loads(file.read_text())["run_id"] == file.stem
    whole = answered(monkeypatch, capsys, path, code=1)
    assert (whole["completed"], whole["failed"]) == (200, 100)


def test_batches_are_kept_as_long_as_one_says(store_dir, monkeypatch, capsys):
    folder = store_dir / "batches"
    (folder / "runs").mkdir(parents=True)
    for name, days in (("old", 40), ("new", 1)):
        (folder / name).mkdir()
        (folder / name / "summary.json").write_text("{}")
        run = folder / "runs" / f"{name}.json"
        run.write_text("{}")
        for one in (folder / name, run):
            os.utime(one, (time.time() - days * 86_400,) * 2)
    code, _, err = command(monkeypatch, capsys, "purge", "--batches", "30")
    assert code == 2 and "deleting 2 places asks first" in err
    code, out, _ = command(monkeypatch, capsys, "purge", "--batches", "30", "--yes")
    assert code == 0 and "deleted" in out
    left = {one.relative_to(folder).as_posix() for one in folder.rglob("*") if one.is_file()}
    assert left == {"new/summary.json", "runs/new.json"}
    assert "No batch is that old." in command(monkeypatch, capsys, "purge", "--batches", "30")[1]
