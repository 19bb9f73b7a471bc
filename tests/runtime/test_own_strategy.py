"""A strategy of one's own as a new user tries it: run, killed, started; the fills are those of its backtest."""

from __future__ import annotations

import csv
import io
import shutil
import time
import zipfile

import pytest
import yaml

from tests.conftest import ROOT
from tests.runtime.processes import heard, minute

PAIRS = ("BTCUSDT", "SOLUSDT")
MINUTES = 40  # of each of the bot's two lives
PAUSE = 0.25  # seconds between things of the market, for a bot that is not compiled


def done(process):
    assert process.returncode == 0, process.stderr
    return process


def rows(text, *names):
    return sorted(tuple(row[name] for name in names) for row in csv.DictReader(io.StringIO(text)))


@pytest.mark.slow
def test_a_bot_that_was_killed_has_the_fills_of_the_backtest(processes, tmp_path):
    done(processes.finished("data", "synth", "--pairs", ",".join(PAIRS), "--days", "10", "--seed", "7"))
    venue = processes.start(
        *("venue", "--pairs", ",".join(PAIRS), "--exchange", "synth", "--speed", "0", "--history", "9", "--port", "0")
    )
    address = heard(venue, "venue at http").split()[2]
    shutil.copy(ROOT / "tests/examples/ema_cross.py", tmp_path / "mine.py")
    config = tmp_path / "bot.yaml"
    config.write_text(
        yaml.safe_dump(
            {
                "strategy": "mine.py:EMA_CROSS",
                "pairs": list(PAIRS),
                "ema_cross": {"timeframe": "1m", "fast": 2, "slow": 6, "warmup_bars": 20},
                "bot": {"name": "own", "environment": "venue", "address": address, "requests_per_second": 100},
            }
        )
    )
    for _ in range(2):
        bot = processes.run(str(config))
        for passed in range(MINUTES):
            pause = PAUSE if passed > 3 else 4 * PAUSE  # the first orders of a life ask the exchange for more
            minute(address, pause)
            time.sleep(pause)
        bot.kill()
        bot.wait()
    backup, run = tmp_path / "own.zip", tmp_path / "run"
    bot = processes.run(str(config))  # books what the dead one missed
    done(processes.finished("backup", str(config), "--out", str(backup)))
    played = f"2024-01-10T{MINUTES * 2 // 60:02}:{MINUTES * 2 % 60:02}"
    done(
        processes.finished(
            *("backtest", str(config), "--exchange", "synth", "--from", "2024-01-10", "--to", played),
            *("--out", str(run)),
        )
    )
    with zipfile.ZipFile(backup) as saved:
        live = rows(saved.read("fills.csv").decode(), "symbol", "fee", "at")
    simulated = rows((run / "fills.csv").read_text(), "pair", "fee", "ts")
    assert len(live) >= 8 and {pair for pair, *_ in live} == set(PAIRS)
    assert [one[:2] for one in live] == [one[:2] for one in simulated]
