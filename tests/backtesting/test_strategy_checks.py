"""`traderagent check` finds every planted look-ahead, and finds none where there is none."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from backtesting.decision_log import with_another_future
from backtesting.simulator import PreparedCandles
from backtesting.strategy_checks import _Checks
from coordinator.config import load_config, load_single
from services.command_line.check import _given
from services.market_data.store import CandleStore
from tests.backtesting.planted import PLANTED
from tests.conftest import ROOT, instrument, walk

CLEAN = ("nothing", "an array of numbers")
QUICK = ("a centred window", "what an earlier run has left", "nothing")


def checked(folder, names, days):
    """Verdicts on determinism and look-ahead by name of what is planted; interpreted, as each is a file of its own."""
    command = [sys.executable, "-W", "ignore::RuntimeWarning", "-m", "tests.backtesting.planted", folder, days, *names]
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = {}
    for line in done.stdout.splitlines():
        name, check, verdict, sentence = json.loads(line)
        found.setdefault(name, {})[check] = (verdict, sentence)
    return found


def judge(found):
    for name, findings in found.items():
        verdicts = {verdict for verdict, _ in findings.values()}
        assert ("fail" in verdicts) == (name not in CLEAN), (name, findings)


def test_planted_look_aheads_are_caught(tmp_path):
    found = checked(tmp_path, QUICK, "3")
    assert set(found) == set(QUICK)
    judge(found)
    assert found["what an earlier run has left"]["determinism"][0] == "fail"
    assert "Input hint at" in found["a centred window"]["look-ahead"][1], "the input is named"


@pytest.mark.slow
def test_every_planted_look_ahead_is_caught(tmp_path):
    found = checked(tmp_path, tuple(PLANTED), "20")
    assert set(found) == set(PLANTED)
    judge(found)
    assert found["an array of numbers"]["look-ahead"][0] == "review", "nobody can tell what they know"


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["grid", "dca", "trend"])
def test_the_built_in_strategies_do_not_fail(strategy, store_dir):
    command = [sys.executable, "-m", "bot", "check", strategy, "--days", "30", "--walks", "50", "--json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    checks = json.loads(done.stdout)["checks"]
    verdicts = {one["check"]: one["verdict"] for one in checks}
    assert len(verdicts) == 6
    assert {verdicts[name] for name in ("look-ahead", "determinism", "scale", "random walk")} == {"pass"}, checks


@pytest.mark.parametrize("path", ["rules_rsi", "rules_supertrend"])
@pytest.mark.slow
def test_the_example_configs_of_rules_do_not_fail(path, store_dir):
    CandleStore(store_dir).write("bybit", "linear", "BTCUSDT", walk(60 * 1440, seed=3, volatility=0.0015))
    code, out, err = said("check", f"configs/{path}.yaml", "--days", "25", "--walks", "20", "--json")
    assert code == 0, out + err
    assert "fail" not in {one["verdict"] for one in json.loads(out)["checks"]}


def test_a_config_is_checked_with_its_parameters_and_without_what_portfolios_have(tmp_path):
    """Its first pair, or another of the options; a key without its section belongs to the strategy."""
    path = tmp_path / "bot.yaml"
    path.write_text(
        "strategy: grid\npairs: [ETHUSDT, BTCUSDT]\ncapital: 5000\ncandles: {BTCUSDT: btc.csv}\n"
        "grid: {levels: 7}\nrisk: {halt_drawdown: 20%}\nbot: {name: ours}\n"
    )
    changes = {"profit_per_grid": 0.02}
    config = load_single(_given(str(path), None, changes), changes)
    assert (config.pair, config.capital, config.candles) == ("ETHUSDT", 5000.0, None)
    assert (config.parameters.levels, config.parameters.profit_per_grid) == (7, 0.02)
    other = load_single(_given(str(path), "BTC/USDT", {}))
    assert (other.pair, other.candles) == ("BTCUSDT", tmp_path / "btc.csv")


@pytest.mark.parametrize("bars", [1, 50, 99])
def test_another_future_has_the_same_past(bars):
    ours = PreparedCandles.of(walk(100), instrument())
    theirs = with_another_future(ours, bars, 100, seed=1)
    for name in ("open", "high", "low", "close"):
        one, other = getattr(ours, name), getattr(theirs, name)
        assert one[:bars].tobytes() == other[:bars].tobytes()
        assert len(other) == 100
    assert (ours.close[bars:] != theirs.close[bars:]).any()
    assert (theirs.low <= theirs.close).all() and (theirs.high >= theirs.open).all()


def test_the_last_bar_is_no_cut():
    """It has no future: a cut there took an array of another length for a fault of the strategy."""
    prepared = PreparedCandles.of(walk(100), instrument())
    checks = _Checks(load_config({"strategy": "grid", "pair": "BTCUSDT"}), prepared, 1, 10, print)
    kinds, bars = np.full(100, 1), np.arange(100)
    assert checks._cuts(kinds, bars).tolist() == list(range(99))


COMMAND = [sys.executable, "-m", "bot"]


def said(*arguments, cwd=ROOT):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([*COMMAND, *arguments], cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


def test_a_new_strategy_has_a_test_and_is_not_written_twice(tmp_path):
    code, out, err = said("new", "strategy", "dip_buyer", cwd=tmp_path)
    assert code == 0, err
    assert "traderagent check dip_buyer.py:DIP_BUYER" in out
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dip_buyer.py", "test_dip_buyer.py"]
    assert not [
        path for path in tmp_path.iterdir() if "@" in path.read_text().replace("@kernel", "").replace("@cache", "")
    ]
    code, _, err = said("new", "strategy", "dip_buyer", cwd=tmp_path)
    assert (code, err.count("\n")) == (2, 1)
    assert "is there already" in err


@pytest.mark.slow
def test_the_tests_of_a_new_strategy_pass(tmp_path):
    said("new", "strategy", "dip_buyer", cwd=tmp_path)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_dip_buyer.py"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("name", ["numpy", "grid", "execution", "Dip", "two words", "class", ""])
def test_a_bad_name_is_refused_in_one_sentence(name, tmp_path, capsys):
    from bot.errors import Misconfigured
    from services.command_line.new import strategy

    with pytest.raises(Misconfigured, match=r"name .*; "):
        strategy(name, tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("auto",), "strategy auto is checked by what it is made of"),
        (("gird",), "strategy 'gird' is unknown; did you mean 'grid'"),
        (("grid", "--pair", "BTCUSDT"), "pair BTCUSDT has no candles"),
        (("configs/rules_rsi.yaml",), "pair BTCUSDT has no candles"),
        (("configs/auto_routes.yaml",), "strategy auto of configs/auto_routes.yaml is checked by what it is made of"),
        (("nowhere.yaml",), "config nowhere.yaml does not exist"),
    ],
)
def test_what_cannot_be_checked_is_one_sentence(arguments, sentence, store_dir):
    code, _, err = said("check", *arguments)
    assert (code, err.count("\n")) == (2, 1), err
    assert sentence in err
