"""What a process loads to do what it is told: a library that it has no use for costs memory and a slow start."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import yaml

from bot.sources import ROOT

FRAMES = {"matplotlib", "pandas", "plotly", "polars", "pyarrow"}

START = """
import asyncio, json, sys
from pathlib import Path
from bot.errors import TradingError
from services.runtime.live import run_bot
try:
    asyncio.run(run_bot(Path(sys.argv[1])))
except TradingError as error:
    print(json.dumps([str(error), sorted({name.split(".")[0] for name in sys.modules})]))
"""


def test_a_bot_starts_without_data_frames_and_without_the_backtest(tmp_path):
    """With database and bus, to where it asks its exchange, which does not answer."""
    values = {
        "strategy": "auto",
        "pairs": ["BTCUSDT"],
        "bot": {"name": "house", "environment": "venue", "address": "http://127.0.0.1:1", "data_dir": str(tmp_path)},
    }
    (tmp_path / "bot.yaml").write_text(yaml.safe_dump(values))
    done = subprocess.run(
        [sys.executable, "-c", START, str(tmp_path / "bot.yaml")],
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
