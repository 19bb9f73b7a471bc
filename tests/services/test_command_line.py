"""The command line as a person meets it: in its own process, from an empty data directory."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest

from backtesting.candles import to_frame
from bot.sources import ROOT
from tests.conftest import bars, walk

COMMAND = [sys.executable, "-m", "bot"]


def run(*arguments, cwd=ROOT, code=0):
    done = subprocess.run(
        [*COMMAND, *map(str, arguments)], cwd=cwd, capture_output=True, text=True, check=False, env=environment()
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done


def environment():
    return {**os.environ, "COLUMNS": "160", "PYTHONPATH": str(ROOT)}


@pytest.fixture(scope="module")
def stocked(tmp_path_factory):
    """A data directory with twenty generated days."""
    folder = tmp_path_factory.mktemp("data")
    previous = os.environ.get("TRADERAGENT_DATA_DIR")
    os.environ["TRADERAGENT_DATA_DIR"] = str(folder)
    run("data", "synth", "--pairs", "BTCUSDT,ETHUSDT", "--days", 20, "--seed", 7)
    yield folder
    if previous is None:
        del os.environ["TRADERAGENT_DATA_DIR"]
    else:
        os.environ["TRADERAGENT_DATA_DIR"] = previous


def test_list_shows_what_synth_made(stocked):
    """F-53: generated candles are listed as such."""
    shown = run("data", "list").stdout
    assert "synth" in shown
    assert "28,800" in shown


OWN = pytest.param("tests/examples/ema_cross.py:EMA_CROSS", marks=pytest.mark.slow)  # which is compiled for itself


@pytest.mark.parametrize("strategy", ["grid", "dca", "trend", OWN])
def test_backtest_from_options_alone(stocked, tmp_path, strategy):
    done = run("backtest", "--strategy", strategy, "--pair", "BTCUSDT", "--out", tmp_path / "run")
    assert "generated candles" in done.stdout
    assert (tmp_path / "run" / "report.html").stat().st_size > 200_000
    assert json.loads((tmp_path / "run" / "result.json").read_text())["metrics"]["fills"] > 0


def test_json_is_the_result_and_nothing_else(stocked, tmp_path):
    options = (
        "--strategy",
        "grid",
        "--pair",
        "ETHUSDT",
        "--json",
        "--set",
        "grid.levels=10",
        "--out",
        tmp_path / "run",
    )
    printed = json.loads(run("backtest", *options).stdout)
    assert printed == json.loads((tmp_path / "run" / "result.json").read_text())
    assert printed["parameters"]["levels"] == 10


def test_family_10_two_processes_write_the_same_bytes(stocked, tmp_path):
    for name in ("one", "two"):
        run("backtest", "--strategy", "dca", "--pair", "BTCUSDT", "--out", tmp_path / name)
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes(), path.name


def test_the_config_written_runs_again(stocked, tmp_path):
    run("backtest", "--strategy", "grid", "--pair", "BTCUSDT", "--out", tmp_path / "one")
    run("backtest", tmp_path / "one" / "config.yaml", "--out", tmp_path / "two")
    assert (tmp_path / "one" / "result.json").read_bytes() == (tmp_path / "two" / "result.json").read_bytes()


def test_a_file_outside_the_store(tmp_path, store_dir):
    to_frame(walk(20_000, seed=3)).write_csv(tmp_path / "mine.csv")
    options = ("--strategy", "trend", "--pair", "BTCUSDT", "--candles", "mine.csv", "--out", "run", "--bounds")
    shown = run("backtest", *options, cwd=tmp_path).stdout
    assert "optimistic" in shown
    run("backtest", tmp_path / "run" / "config.yaml", "--out", tmp_path / "again")


@pytest.mark.slow
def test_a_strategy_of_ones_own_under_two_names_in_another_folder(stocked, tmp_path):
    """The same source under another name is other machine code; neither runs the other's."""
    source = (ROOT / "tests" / "examples" / "ema_cross.py").read_text()
    for number, name in enumerate(("mine.py:EMA_CROSS", "other.py:EMA_CROSS", "mine:EMA_CROSS")):
        (tmp_path / f"{name.partition(':')[0].removesuffix('.py')}.py").write_text(source)
        run("backtest", "--strategy", name, "--pair", "BTCUSDT", "--out", f"run{number}", cwd=tmp_path)


@pytest.mark.slow
def test_a_strategy_that_does_not_compile_or_load_is_one_sentence(stocked, tmp_path):
    source = (ROOT / "tests" / "examples" / "ema_cross.py").read_text()
    (tmp_path / "odd.py").write_text(source.replace("params.fast)", "params.quick)"))
    done = run("backtest", "--strategy", "odd.py:EMA_CROSS", "--pair", "BTCUSDT", cwd=tmp_path, code=2)
    *before, last = done.stderr.splitlines()
    assert "strategy ema_cross does not compile: odd.py, line 35, a record has no field 'quick'" in last
    assert all(line.startswith(("compiling ", "compiled ")) for line in before)
    (tmp_path / "worse.py").write_text(source.replace("position > 0:", "position > 'none':"))
    done = run("backtest", "--strategy", "worse.py:EMA_CROSS", "--pair", "BTCUSDT", cwd=tmp_path, code=2)
    assert "strategy ema_cross does not compile: worse.py, line 40, " in done.stderr
    (tmp_path / "broken.py").write_text("def decide(:\n")
    done = run("backtest", "--strategy", "broken.py:X", "--pair", "BTCUSDT", cwd=tmp_path, code=2)
    assert "cannot be loaded" in done.stderr


MISTAKES = {
    "unknown symbol": (["backtest", "--strategy", "grid", "--pair", "NOPEUSDT"], "NOPEUSDT has no candles"),
    "empty period": (
        ["backtest", "--strategy", "grid", "--pair", "BTCUSDT", "--from", "2031-01-01"],
        "holds no candles of BTCUSDT",
    ),
    "small capital": (["backtest", "--strategy", "grid", "--pair", "BTCUSDT", "--capital", "30"], "raise the capital"),
    "one level": (
        ["backtest", "--strategy", "grid", "--pair", "BTCUSDT", "--set", "grid.levels=1"],
        "grid.levels is 1",
    ),
    "bounds": (
        ["backtest", "--strategy", "grid", "--pair", "BTCUSDT", "--set", "grid.lower=9", "--set", "grid.upper=8"],
        "lower (9) must lie below upper (8)",
    ),
    "nan": (["backtest", "--strategy", "grid", "--pair", "BTCUSDT", "--capital", "nan"], "capital is nan"),
    "misspelt": (
        ["backtest", "--strategy", "grid", "--pair", "BTCUSDT", "--set", "grid.levls=9"],
        "did you mean 'levels'",
    ),
    "no assignment": (["backtest", "--strategy", "grid", "--pair", "BTCUSDT", "--set", "levels"], "is no assignment"),
    "no strategy": (["backtest", "--pair", "BTCUSDT"], "strategy is missing"),
    "no config": (["backtest", "none.yaml"], "does not exist"),
    "nothing to import": (["data", "import", "nowhere"], "nowhere holds no candle files"),
    "bad date": (["data", "download", "--symbol", "BTCUSDT", "--from", "x", "--to", "2024-01-01"], "'x' is no date"),
}


@pytest.mark.parametrize("name", list(MISTAKES))
def test_a_mistake_is_one_sentence_and_exit_code_2(stocked, tmp_path, name):
    arguments, words = MISTAKES[name]
    done = run(*arguments, cwd=tmp_path, code=2)
    assert words in done.stderr
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_config_of_another_version(stocked, tmp_path):
    (tmp_path / "old.yaml").write_text("version: 0\nstrategy: grid\npair: BTCUSDT\n")
    assert "version is 0" in run("backtest", tmp_path / "old.yaml", code=2).stderr


@pytest.mark.parametrize("strategy", ["grid", "dca", "trend"])
def test_every_parameter_of_a_strategy_is_listed(strategy):
    from coordinator.config import strategy_named

    shown = run("parameters", strategy).stdout
    assert all(f"{strategy}.{name}" in shown for name in strategy_named(strategy).parameters.model_fields)


HERE = ("--exchange", "bybit", "--market", "linear")


def test_import_check_and_repair(store_dir, tmp_path):
    spoilt = bars((1, 2, 1, 2), (2, 3, 2, 9), (3, 4, 3, 4))
    path, log = tmp_path / "BTCUSDT.csv", tmp_path / "rows.log"
    to_frame(spoilt).write_csv(path)
    assert "row 1" in run("data", "check", path, code=2).stdout
    assert "give --exchange and --market" in run("data", "import", path, code=2).stderr
    assert "row 1" in run("data", "import", path, *HERE, code=2).stderr
    done = run("data", "import", path, *HERE, "--repair", "--log", log)
    assert "1 row: high and low widened" in done.stdout
    assert "bybit linear BTCUSDT 1m, 2024-01-01T00:00 to 2024-01-01T00:02: 3 new, 0 equal, 0 changed" in done.stdout
    assert log.read_text() == f"{path}: row 1 (2024-01-01T00:01:00Z): high and low widened to hold all four prices\n"
    for name in ("BTCUSDT", "btcusdt", "BTC/USDT", "BTC/USDT:USDT", "BTC-USDT"):
        assert "3 bars, no fault" in run("data", "check", name).stdout
    to_frame(bars((1, 2, 1, 2), (2, 3, 2, 3), (3, 4, 3, 4))).write_csv(path)
    assert "1 of its 3 bars differ" in run("data", "import", path, *HERE, code=2).stderr
    assert "0 new, 2 equal, 1 changed" in run("data", "import", path, *HERE, "--replace").stdout


def test_a_pair_that_is_stored_of_two_venues_is_asked_for(store_dir, tmp_path):
    path = tmp_path / "BTCUSDT.csv"
    to_frame(walk(10)).write_csv(path)
    for place in (("binance", "spot"), ("bybit", "linear")):
        run("data", "import", path, "--exchange", place[0], "--market", place[1])
    said = run("data", "check", "BTC/USDT", code=2).stderr
    assert "BTCUSDT is stored of binance spot, bybit linear; choose with --exchange and --market" in said
    assert "10 bars" in run("data", "check", "BTC/USDT", "--market", "spot").stdout
    assert "has no candles" in run("data", "check", "ETHUSDT", code=2).stderr


def test_import_of_a_folder_tells_of_each_file_and_of_each_kind(store_dir, tmp_path):
    folder = tmp_path / "user_data" / "data" / "binance"
    folder.mkdir(parents=True)
    to_frame(walk(100)).rename({"ts": "date"}).write_ipc(folder / "BTC_USDT-1m.feather")
    for name in ("a.csv", "b.csv"):
        to_frame(walk(100)).write_csv(tmp_path / "user_data" / name)
    for name in ("mine.py", "yours.py"):
        (tmp_path / "user_data" / name).write_text("pass")
    done = run("data", "import", tmp_path / "user_data", code=2)
    assert "BTC_USDT-1m.feather: binance spot BTCUSDT 1m" in done.stdout
    assert "skipped a.csv, b.csv: does not tell its exchange and market and symbol; give --exchange" in done.stdout
    assert "skipped mine.py, yours.py: .py files hold no candles" in done.stdout
    assert "2 of 5 files" in done.stderr


def test_ctrl_c_leaves_no_half_written_run(stocked, tmp_path):
    """Interrupted as soon as it begins to write, which the appearing of its partial folder tells."""
    options = ["backtest", "--strategy", "grid", "--pair", "BTCUSDT", "--out", str(tmp_path / "run")]
    process = subprocess.Popen(
        [*COMMAND, *options], cwd=ROOT, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    while process.poll() is None and not list(tmp_path.iterdir()):
        pass
    process.send_signal(signal.SIGINT)
    process.wait(60)
    left = [path.name for path in tmp_path.iterdir()]
    assert left in ([], ["run"])
    if left:
        assert (tmp_path / "run" / "report.html").exists()


def test_the_whole_algorithm_on_two_pairs_and_why_it_held_what_it_held(stocked, tmp_path):
    done = run("backtest", "--strategy", "auto", "--pair", "ETHUSDT,BTCUSDT", "--no-smc", "--out", tmp_path / "run")
    assert "auto on 2 pairs" in done.stdout
    document = json.loads((tmp_path / "run" / "result.json").read_text())
    assert document["pairs"] == ["BTCUSDT", "ETHUSDT"]
    assert document["algorithm"]["verdicts"] == {"enhanced": 0, "neutral": 0, "refused": 0}
    assert document["metrics"]["fills"] > 0
    assert len(document["allocations"]["at"]) > 20
    told = [json.loads(line) for line in (tmp_path / "run" / "events.jsonl").read_text().splitlines()]
    assert {"regime", "candidate", "start", "allocation"} <= {one["event"] for one in told}
    said = run("explain", tmp_path / "run", "--pair", "BTCUSDT", "--at", "2024-01-15T12:00").stdout
    assert "The regime was" in said
    assert "Its capital target was" in said
    assert "exit" not in run("explain", tmp_path / "run", "--pair", "XRPUSDT", "--at", "2024-01-15", code=2).stdout
    assert "the run goes from" in run("explain", tmp_path / "run", "--pair", "BTCUSDT", "--at", "2030", code=2).stderr


def test_compare_puts_strategies_side_by_side(stocked, tmp_path):
    done = run("compare", "--pair", "BTCUSDT", "--strategies", "dca,auto", "--out", tmp_path / "compared.html")
    assert "beat" in done.stdout
    page = (tmp_path / "compared.html").read_text()
    assert "did best with" in page
    assert '"lines":[{"name":"dca"' in page


@pytest.mark.slow  # a report of several pairs
def test_a_single_strategy_on_several_pairs_trades_them_in_one_account(stocked, tmp_path):
    options = ("--strategy", "grid", "--pair", "BTCUSDT", "--pair", "ETHUSDT", "--to", "2024-01-12")
    done = run("backtest", *options, "--out", tmp_path / "run")
    assert "grid on 2 pairs" in done.stdout
    document = json.loads((tmp_path / "run" / "result.json").read_text())
    assert document["pairs"] == ["BTCUSDT", "ETHUSDT"]
    assert document["metrics"]["initial_capital"] == 10_000.0
    assert document["metrics"]["fills"] > 0
    assert document["algorithm"]["verdicts"] == {"enhanced": 0, "neutral": 0, "refused": 0}
    run("backtest", tmp_path / "run" / "config.yaml", "--out", tmp_path / "again")
    assert (tmp_path / "run" / "fills.csv").read_bytes() == (tmp_path / "again" / "fills.csv").read_bytes()


def test_the_filter_judges_the_entries_of_a_single_strategy(stocked, tmp_path):
    options = ("--strategy", "grid", "--pair", "BTCUSDT", "--smc", "--to", "2024-01-12")
    run("backtest", *options, "--out", tmp_path / "run")
    document = json.loads((tmp_path / "run" / "result.json").read_text())
    assert sum(document["algorithm"]["verdicts"].values()) > 0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--strategy", "auto", "--pair", "BTCUSDT", "--bounds"), "leave it out for a portfolio"),
        (("--strategy", "grid", "--pair", "BTCUSDT,ETHUSDT", "--bounds"), "leave it out for a portfolio"),
        (("--strategy", "auto", "--pair", "BTCUSDT,BTCUSDT"), "named twice"),
        (("--strategy", "auto", "--pair", "BTCUSDT,NOPE"), "NOPE"),
        (("--strategy", "auto", "--pair", "BTCUSDT", "--set", "risk.exposre=1"), "did you mean 'exposure'"),
    ],
)
def test_what_a_portfolio_cannot_do_is_one_sentence(stocked, options, said):
    error = run("backtest", *options, code=2).stderr
    assert said in error
    assert len([line for line in error.splitlines() if line.startswith("error")]) == 1
