"""What is wrong with a config, an option or a file is one sentence and exit code 2, never a trace."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys

import pytest
from numba.core.errors import TypingError

from bot.compile_errors import compiling
from bot.errors import LONGEST_SHOWN, Misconfigured, shown
from bot.sources import ROOT
from coordinator.config import load_config
from coordinator.config_file import parsed
from services.runtime.config import load_bot
from strategies import dca_parameters
from tests.conftest import instrument

LONGEST_SENTENCE = 900  # the list of what may be chosen, and a value cut at 200
GRID = "strategy: grid\npair: BTCUSDT\n"

BAD_CONFIGS = {
    "a number of pairs": ("strategy: grid\npairs: 7\n", "pairs is 7"),
    "pairs that are nothing": ("strategy: grid\npairs: [null, null]\n", "pairs names None"),
    "pairs in pairs": ("strategy: grid\npairs: [[1]]\n", "pairs names [1]"),
    "no pairs": ("strategy: grid\npairs: null\n", "pairs is None"),
    "a date of 400 digits": (f"{GRID}from: '{'9' * 400}'\n", "is no date"),
    "a number of 5000 digits": (f"{GRID}from: {'9' * 5000}\n", "cannot be read"),
    "a month 13": (f"{GRID}from: 2024-13-45\n", "month must be in 1..12"),
    "the year 10000": (f"{GRID}from: '9999-12-31T23:59:59-14:00'\n", "outside the years"),
    "a strategy without a name": ("strategy: ':'\npair: BTCUSDT\n", "':' lacks a part"),
    "a relative module": ("strategy: '..x:Y'\npair: BTCUSDT\n", "neither a file nor a module"),
    "a route without a name": ("strategy: auto\npairs: [A]\nauto: {routes: {tight_range: ':'}}\n", "lacks a part"),
    "two strategies": ("strategy: [grid, dca]\npair: BTCUSDT\n", "strategy is ['grid', 'dca']"),
    "nested lists": (f"{GRID}grid: {'[' * 3000}{']' * 3000}\n", "too deep"),
    "nested lines": (f"{GRID}grid:\n" + "".join(" " * n + "- \n" for n in range(1, 400)), "more than a config can"),
    "nested sections": (f"{GRID}grid: {'{a: ' * 40}1{'}' * 40}\n", "more than a config can"),
    "a section within itself": (f"{GRID}grid: &a {{levels: *a}}\n", "more than a config can"),
    "NUL in a path": (f'{GRID}candles: "a\\0b"\n', "NUL character"),
    "half a character": (f'{GRID}candles: {{"": "\\ud800"}}\n', "half a character"),
    "half a character in a key": (f'{GRID}"\\ud800": 1\n', "is no word"),
    "NUL in a strategy": ('strategy: "a\\0b.py:X"\npair: BTCUSDT\n', "NUL character"),
    "a symbol of 300 letters": (f"strategy: grid\npair: {'A' * 300}\n", "which is no symbol"),
    "symbols of 300 letters": (f"strategy: auto\npairs: [{'A' * 300}, B]\n", "which is no symbol"),
    "a key of 1000 letters": (f"{GRID}{'k' * 1000}: 1\n", "is no known key"),
    "a value of 10000 letters": (f"{GRID}grid: {{levels: {'k' * 10_000}}}\n", "grid.levels is 'kk"),
    "a key that is a number": (f"{GRID}7: 8\n", "the key 7, which is no word"),
    "a section that is a number": ("strategy: auto\npairs: [A]\nallocation: 7\n", "a section of keys and values"),
    "too many pairs": (f"strategy: auto\npairs: [{','.join(f'A{n}' for n in range(600))}]\n", "at most 512"),
    "a strategy of 10000 letters": (f"strategy: {'k' * 10_000}\npair: BTCUSDT\n", "is unknown"),
    "a version of 1000 digits": (f"version: {'1' * 1000}\nstrategy: grid\npair: BTCUSDT\n", "a number of"),
    "much of everything": (f"{GRID}a: &a [{'1,' * 99}1]\nb: &b [{'*a,' * 99}*a]\nc: [{'*b,' * 99}*b]\n", "can"),
}


@pytest.mark.parametrize("name", list(BAD_CONFIGS))
def test_a_bad_config_is_one_sentence(tmp_path, name):
    text, words = BAD_CONFIGS[name]
    path = tmp_path / "c.yaml"
    path.write_text(text)
    for load in (load_config, load_bot):
        with pytest.raises(Misconfigured) as refused:
            load(path)
        sentence = str(refused.value)
        assert words in sentence
        assert "\n" not in sentence
        assert len(sentence.replace(str(path), "")) < LONGEST_SENTENCE


HALF = "{at: 1%, share: 50%}"
BAD_DEALS = {
    "shares that sum to 90 %": (
        f"targets: [{HALF}, {{at: 2%, share: 40%}}]",
        "targets sum to 90 %; make them sum to 100 %",
    ),
    "targets out of order": (f"targets: [{{at: 2%, share: 50%}}, {HALF}]", "order them, nearest first"),
    "one target twice": (f"targets: [{HALF}, {HALF}]", "targets lie at 0.01, 0.01"),
    "too many targets": (f"targets: [{', '.join([HALF] * 9)}]", "dca.targets is"),
    "a target without a share": ("targets: [{at: 1%}]", "dca.targets.0.share"),
    "targets that are a word": ("targets: far", "dca.targets is 'far'"),
    "targets and a trail": (f"trailing: true\n  targets: [{HALF}, {{at: 2%, share: 50%}}]", "choose one of them"),
    "break-even of one target": ("break_even: true", "give two or more targets"),
    "an empty window": ("entry_above: 10\n  entry_below: 9", "entry_above (10) must lie under entry_below (9)"),
    "no window": ("start: price_window", "give entry_above, entry_below or both"),
    "a start that is unknown": ("start: soon", "dca.start is 'soon'"),
    "a schedule shorter than a bar": ("start: schedule\n  schedule_hours: 0.5", "shorter than a signal bar"),
    "no deal a day": ("max_deals_per_day: 0", "dca.max_deals_per_day is 0"),
    "profits reinvested twice": ("reinvest_pct: 50\nreinvest: true", "dca.reinvest_pct is 50; leave one out"),
}


@pytest.mark.parametrize("name", list(BAD_DEALS))
def test_a_bad_deal_is_one_sentence(tmp_path, name):
    text, words = BAD_DEALS[name]
    path = tmp_path / "c.yaml"
    path.write_text(f"strategy: dca\npair: BTCUSDT\ndca:\n  {text}\n")
    for load in (load_config, load_bot):
        with pytest.raises(Misconfigured) as refused:
            load(path)
        assert words in str(refused.value)
        assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("own", "words"),
    [
        ({"take_profit": 0.0007}, "dca.take_profit is 0.0007 but a round trip costs 0.00085"),
        (
            {
                "targets": [{"at": 0.001, "share": 0.5}, {"at": 0.01, "share": 0.5}],
                "break_even": True,
                "min_target_costs": 0,
            },
            "dca.targets[0].at is 0.001 but break-even lies at 0.0011",
        ),
    ],
)
def test_a_deal_that_cannot_earn_its_fees_is_refused(own, words):
    parameters = load_config({"strategy": "dca", "pair": "BTCUSDT", "dca": own}).parameters
    with pytest.raises(Misconfigured, match=re.escape(words)):
        dca_parameters.check(parameters, instrument(), 10_000.0, 50_000.0, 1.0)
    free = instrument(taker_fee=0, maker_fee=0)
    dca_parameters.check(parameters, free, 10_000.0, 50_000.0, 1.0)


def test_a_value_is_shown_with_at_most_200_characters():
    endless: list = []
    endless.append(endless)
    for value in ("x" * 10_000, list(range(10_000)), {"k" * 500: "v" * 500}, 10**5000, endless, "é\n\t" * 500):
        assert len(shown(value)) <= LONGEST_SHOWN
        assert "\n" not in shown(value)


CHANGES = [
    ("grid", "levels=20", ("grid", "levels", 20)),
    ("grid", "grid.trailing=off", ("grid", "trailing", "off")),
    ("grid", "trailing=off", ("grid", "trailing", "off")),
    ("grid", "halt_drawdown=0.2", ("risk", "halt_drawdown", 0.2)),
    ("grid", "slippage_bps=3", ("execution", "slippage_bps", 3.0)),
    ("auto", "levels=20", ("grid", "levels", 20)),
    ("auto", "confirmations=5", ("auto", "confirmations", 5)),
]


@pytest.mark.parametrize(("strategy", "text", "meant"), CHANGES)
def test_a_key_without_its_section_is_that_of_the_chosen_strategy_or_of_the_only_one(strategy, text, meant):
    from services.command_line.backtest import assignment

    section, key, value = meant
    document = load_config({"strategy": strategy, "pairs": ["BTCUSDT"]}, dict([assignment(text)])).document()
    assert document[section][key] == value


@pytest.mark.parametrize(
    ("strategy", "key", "words"),
    [
        ("auto", "warmup_bars", "may mean grid.warmup_bars, dca.warmup_bars, trend.warmup_bars or auto.warmup_bars"),
        ("grid", "levls", "did you mean grid.levels"),
        ("trend", "start", "did you mean from"),
        ("grid", "zzz", "`traderagent parameters grid` lists them"),
    ],
)
def test_a_key_that_may_mean_several_or_none_is_a_sentence(strategy, key, words):
    with pytest.raises(Misconfigured, match=re.escape(words)):
        load_config({"strategy": strategy, "pairs": ["BTCUSDT"]}, {key: 1})


def test_a_word_that_yaml_reads_as_a_boolean_is_meant_as_the_word_in_a_file_too():
    assert load_config(parsed("{strategy: grid, pair: BTCUSDT, grid: {trailing: off}}")).parameters.trailing == "off"
    with pytest.raises(Misconfigured, match=r"grid\.trailing is True"):  # no word of its choices
        load_config(parsed("{strategy: grid, pair: BTCUSDT, grid: {trailing: on}}"))


FILES = {
    "one": ("A = Strategy(*PARTS)", None),
    "several": ("A = Strategy(*PARTS)\nB = Strategy(*PARTS)", "holds 2 strategies; choose one of mine.py:A, mine.py:B"),
    "none": ("x = 1", "holds no line NAME = Strategy"),
    "freqtrade": ("from freqtrade.strategy import IStrategy\nclass A(IStrategy): pass", "is one of freqtrade"),
    "freqtrade by module": ("import freqtrade.strategy as s\nclass A(s.IStrategy): pass", "is one of freqtrade"),
    "jesse": ("from jesse.strategies import Strategy\nclass A(Strategy): pass", "is one of Jesse"),
    "syntax": ("x = 1\ndef f(:\n", "line 2: invalid syntax"),
    "fails": ("x = 1\ny = 1 // 0\nA = Strategy(*PARTS)", "mine.py, line 6, ZeroDivisionError"),
    "not a strategy": ("A = Strategy(1)", "mine.py, line 5, TypeError"),
}
HEAD = """import numpy as np
from bot.authoring import Parameters, Strategy, kernel
decide = kernel(lambda pair, params, state, slots, event: None)
PARTS = ("mine", 1, Parameters, np.dtype([("x", "i8")]), lambda p: 1, decide)
"""


@pytest.mark.parametrize("name", list(FILES))
def test_a_strategy_file_without_a_name_says_what_it_holds(tmp_path, monkeypatch, name):
    text, words = FILES[name]
    foreign = name.startswith(("freqtrade", "jesse", "syntax"))
    (tmp_path / "mine.py").write_text(text if foreign else HEAD + text)
    monkeypatch.chdir(tmp_path)
    if words is None:
        assert load_config({"strategy": "mine.py", "pair": "BTCUSDT"}).strategy == "mine.py:A"
        return
    with pytest.raises(Misconfigured) as refused:
        load_config({"strategy": "mine.py", "pair": "BTCUSDT"})
    assert words in str(refused.value)


def test_the_page_for_freqtrade_users_shows_the_tested_translation():
    page = (ROOT / "docs" / "from_freqtrade.md").read_text(encoding="utf-8")
    assert (ROOT / "tests" / "examples" / "from_freqtrade.py").read_text(encoding="utf-8") in page


def test_the_translation_trades_with_its_stop_and_target_at_the_exchange():
    """Interpreted: no minute of compilation for one example."""
    code = (
        "from dataclasses import replace\nfrom backtesting.run import simulate\nfrom tests.conftest import walk\n"
        "made = walk(6_000, seed=1)\n"
        "candles = replace(made, ts=made.ts + 15 * 86_400_000)\n"  # a block of the inputs begins among them
        "own = {'warmup_bars': 60, 'timeframe': '5m', 'stop': 0.01, 'target': 0.01}\n"
        "asked = {'strategy': 'tests/examples/from_freqtrade.py', 'pair': 'BTCUSDT', 'rsi_dip': own}\n"
        "print(sorted(set(simulate(asked, candles).fills['signal'])))\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        cwd=ROOT,
        env={**os.environ, "NUMBA_DISABLE_JIT": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert {"ENTRY", "EXIT_TP", "EXIT_SL"} <= set(json.loads(done.stdout.replace("'", '"')))


def test_what_is_allowed_and_seldom_meant_is_said():
    from backtesting.run import simulate
    from tests.conftest import walk

    own = {"lower": 10.0, "upper": 20.0, "profit_per_grid": 0.5}
    parameters = load_config({"strategy": "grid", "pair": "BTCUSDT", "grid": own}).parameters
    told = parameters.remarks(50_000.0)
    assert "profit_per_grid is 0.5, which is 50 %; for 0.5 % write 0.5%" in told[0]
    assert "grid.lower (10) and grid.upper (20) do not hold the price, 50000" in told[1]
    assert parameters.changed(profit_per_grid="0.5%", lower=None, upper=None).remarks(50_000.0) == []
    window = load_config({"strategy": "dca", "pair": "BTCUSDT", "dca": {"entry_below": 10.0}}).parameters
    assert window.remarks(9.0) == []
    assert "dca.entry_below (10) leave out the price, 50000" in window.remarks(50_000.0)[0]
    run = simulate({"strategy": "grid", "pair": "BTCUSDT", "grid": own}, walk(120))
    assert set(told) <= set(run.notices)


def test_what_the_compiler_says_of_any_simulation_names_file_and_line(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(HEAD + "A = Strategy(*PARTS)\ndef other(params):\n    return params.quick\n")
    strategy = load_config({"strategy": str(file), "pair": "BTCUSDT"}).loaded
    text = "Failed in nopython mode\nNo match for it:\n"
    text += f"During: typing at {ROOT}/bot/order.py (9)\nDuring: typing at {file} (3)"
    for error, words in (
        (TypingError(text), "mine.py, line 3, No match for it; try"),
        (TypingError("NameError: name 'params' is not defined"), "mine.py, line 7, NameError"),
        (KeyError("quick"), "mine.py, line 7, a record has no field 'quick'"),
    ):
        with pytest.raises(Misconfigured) as refused, compiling((strategy,)):
            raise error
        assert words in str(refused.value)
