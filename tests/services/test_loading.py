"""What a process loads to do what it is told: a library that it has no use for costs memory and a slow start."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from bot.sources import ROOT
from services.command_line import main
from tests.conftest import unreachable_bot
from tests.services.test_control import answering

FRAMES = {"matplotlib", "pandas", "polars", "pyarrow"}

START = """
import asyncio, json, sys
from pathlib import Path
from bot.errors import TradingError
from services.app.bot import run_bot
try:
    asyncio.run(run_bot(Path(sys.argv[1])))
except TradingError as error:
    print(json.dumps([str(error), sorted({name.split(".")[0] for name in sys.modules})]))
"""


def test_a_bot_starts_without_data_frames_and_without_the_backtest(tmp_path):
    """With database and bus, to where it asks its exchange, which does not answer."""
    path = unreachable_bot(tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", START, str(path)],
        cwd=ROOT,
        env={**os.environ, "TRADERAGENT_KEY": "key-0123456789", "TRADERAGENT_SECRET": "secret-0123456789"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    reason, loaded = json.loads(done.stdout)
    assert "did not answer" in reason
    assert {"asyncpg", "numba", "redis"} <= set(loaded)
    assert not {"backtesting", *FRAMES} & set(loaded)


# Slow to load, or of no use to a command that says one sentence.
HEAVY = {
    *FRAMES,
    *("aiohttp", "alembic", "asyncio", "asyncpg", "ccxt", "numba", "numpy", "prometheus_client", "psutil", "pydantic"),
    *("ray", "redis", "rich", "sqlalchemy", "structlog", "tenacity", "yaml"),
}

COMMAND = """
import sys
from services.command_line.main import main
code = None
try:
    main()
except SystemExit as done:
    code = done.code
print("\\nloaded", code, *sorted({name.split(".")[0] for name in sys.modules}))
"""

AT_ONCE = {
    "help": (["--help"], 0, "Commands:"),
    "help of a command": (["backtest", "--help"], 0, "--strategy"),
    "no bot to ask": (["ctl", "status"], 2, "no bot runs here"),
    "an unknown word": (["ctl", "sing"], 2, "is unknown"),
    "an unknown option": (["run", "--nope"], 2, "No such option"),
    "no such file": (["run", "nowhere.yaml"], 2, "does not exist"),
    "an unknown strategy": (["parameters", "nosuch"], 2, "is unknown"),
    "an unknown strategy to backtest": (["backtest", "--strategy", "nosuch"], 2, "is unknown"),
    "an unknown strategy to compare": (["compare", "--pair", "X", "--strategies", "nosuch"], 2, "is unknown"),
}


@pytest.mark.parametrize("name", list(AT_ONCE))
def test_a_command_that_says_one_sentence_loads_nothing_heavy(tmp_path, name):
    arguments, code, sentence = AT_ONCE[name]
    said, loaded = told(arguments, tmp_path)
    assert sentence in said
    assert loaded[0] == str(code)
    assert not HEAVY & set(loaded)


def told(arguments, data_dir):
    """What a command says, and its exit code and the packages it has loaded at its end."""
    done = subprocess.run(
        [sys.executable, "-c", COMMAND, *arguments],
        cwd=ROOT,
        env={**os.environ, "TRADERAGENT_DATA_DIR": str(data_dir)},
        capture_output=True,
        text=True,
        check=True,
    )
    said, _, loaded = done.stdout.rpartition("\nloaded ")
    return said + done.stderr, loaded.split()


def test_the_status_of_a_running_bot_loads_nothing_but_what_draws_its_table(tmp_path):
    pair = {"pair": "BTCUSDT", "price": 1.0, "regime": "tight_range", "strategy": "grid", "phase": "running"}
    pair |= {"position": 0.0, "equity": 0.0, "entries": 4, "exits": 0, "target": 100.0, "held_off": []}
    status = {"bot": "main", "at": "now", "equity": 1.0, "drawdown_pct": 0.0, "modes": [], "halted": False}
    (tmp_path / "bots").mkdir()
    with answering(tmp_path / "bots" / "main.json", 200, json.dumps({**status, "pairs": [pair]}).encode()):
        said, loaded = told(["ctl", "status"], tmp_path)
    assert "BTCUSDT" in said
    assert (HEAVY - {"rich"}) & set(loaded) == set()


def test_a_mistake_inside_a_config_is_told_before_what_trades_is_loaded(tmp_path):
    (tmp_path / "bot.yaml").write_text("- a list\n")
    said, loaded = told(["doctor", str(tmp_path / "bot.yaml")], tmp_path)
    assert "no keys and values" in said
    assert (HEAVY - {"yaml"}) & set(loaded) == set()


def test_a_command_is_built_alone_and_an_unknown_one_is_sought_in_the_whole_program():
    for wanted in ("ctl", "jobs"):
        alone = main._only(wanted)
        assert [one.name for one in [*alone.registered_commands, *alone.registered_groups]] == [wanted]
        assert alone.info is main.app.info and alone.registered_callback is main.app.registered_callback
    assert main._only("clt") is main.app
    assert main._only("--version") is main.app
    assert len(main.app.registered_commands) > 30, "the program itself stays whole"
